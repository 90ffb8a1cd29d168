"""Interpolation between word widths and nodes of the table, for one organisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.cells import LEAKAGE, READ, WRITE

__all__ = ["Between", "blend", "mix"]

Floats = NDArray[np.float64]


class Between(NamedTuple):
    """Where points lie between the sides: shares of the way from the lower one, 0 to 1.

    Attributes:
        widths: Sides at a node: 1 or 2.
        power: Along the width, in logs: one number, or shape (n_points,).
        line: Along the width, linear: likewise.
        node_power: Along the node, in logs.
        node_line: Along the node, linear.
    """

    widths: int
    power: float | Floats
    line: float | Floats
    node_power: float
    node_line: float

    def of(self, mine: NDArray[np.intp]) -> Between:
        """Take some of the points."""
        if isinstance(self.power, np.ndarray) and isinstance(self.line, np.ndarray):
            return self._replace(power=self.power.take(mine), line=self.line.take(mine))
        return self


def blend(found: Sequence[Floats], what: int, between: Between) -> Floats:
    """Interpolate a quantity between the sides: energies along the width as a power, nodes as a power, else on a line.

    Wires grow with the words that they carry, so that energies grow faster than the word. CACTI's leakage is linear
    between nodes.

    Args:
        found: Values on every side, of the smaller node first, shape (n_points,) each.
        what: Place in `QUANTITIES`.
        between: Where the points lie.
    """
    if between.widths == 2:
        pairs = zip(found[::2], found[1::2], strict=True)
        if what in (READ, WRITE):
            found = [low * (high / low) ** between.power for low, high in pairs]
        else:
            found = [low + (high - low) * between.line for low, high in pairs]
    if len(found) == 1:
        return found[0]
    low, high = found
    if what == LEAKAGE:
        return low + (high - low) * between.node_line
    return np.asarray(low * (high / low) ** between.node_power)


def mix(start: Floats, slope: Floats, between: Between) -> tuple[Floats, Floats]:
    """Interpolate all quantities between the sides, at both ends of intervals.

    Args:
        start: Values at the lower ends, shape (sides, n_points, quantities).
        slope: Upper minus lower, likewise.
        between: Where the points lie.

    Returns:
        Start and slope, shape (n_points, quantities).
    """
    if len(start) == 1:
        return start[0], slope[0]
    every = range(start.shape[-1])
    low = np.stack([blend(list(start[..., what]), what, between) for what in every], axis=-1)
    high = np.stack([blend(list(start[..., what] + slope[..., what]), what, between) for what in every], axis=-1)
    return low, high - low
