"""The candidates of one word width at one node, interpolated where it lies between widths or nodes of the table."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.between import Between, mix
from hwmodels.energy.sram.cells import Cells, is_beaten
from hwmodels.energy.sram.stored import QUANTITIES, Objective

__all__ = ["Word", "cells_of"]

Floats = NDArray[np.float64]


class Word(NamedTuple):
    """Candidates of one width and node, interval by interval of the depth.

    Attributes:
        low: Lower edge of each interval, shape (n,).
        high: Upper edge, shape (n,).
        step: Words by which a candidate's depth grows, shape (n, k).
        start: Values at the lower end, shape (n, k, quantities).
        slope: Values at the upper end minus those at the lower.
        organisation: Index of each candidate in the table, shape (n, k); -1: none, or beaten by others.
    """

    low: Floats
    high: Floats
    step: Floats
    start: Floats
    slope: Floats
    organisation: NDArray[np.int64]


def cells_of(cells: Cells, width: float, shares: tuple[float, float], objective: Objective | None) -> Word:
    """Interpolate the candidates at a width.

    Args:
        cells: Candidates at the widths of the table, if it is one of those; else between neighbouring ones.
        width: Word [B].
        shares: Where the node lies between those of the sides, in logs and linear.
        objective: In which candidates that others beat are dropped; None: none are.
    """
    slot = math.frexp(width)[1] - 1
    low = math.ldexp(1.0, slot)
    pairs = low != width
    mine = slice(int(cells.first[slot]), int(cells.first[slot + 1]))
    start, slope = cells.start[:, mine], cells.slope[:, mine]
    places = (math.log2(width / low), width / low - 1) if pairs else (0.0, 0.0)
    flat = (len(start), -1, len(QUANTITIES))
    mixed = mix(start.reshape(flat), slope.reshape(flat), Between(1 + pairs, *places, *shares))
    first, rise = (part.reshape(start.shape[1:]) for part in mixed)
    organisation = cells.organisation[mine]
    if objective is not None:
        beaten = is_beaten(np.stack([first, first + rise], axis=2), cells.step[mine], objective)
        beaten[[0, -1]] = False  # what lies beyond the table is continued from its ends
        organisation = np.where(beaten, -1, organisation)
    return Word(cells.low[mine], cells.high[mine], cells.step[mine], first, rise, organisation)
