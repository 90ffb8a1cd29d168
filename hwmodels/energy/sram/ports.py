"""Port sets that the table does not hold: from the ratio of two ports to one.

Every port adds a word line and a pair of bit lines to each cell, so that the cell, and all wires over it, grow by the
same length with each. CACTI's macros of three ports (one of each kind, 484 of itrs-hp) confirm the line: read energy
within 6 % in half of them and 20 % in nine of ten, area within 8 %. Two ports of which one reads are as the table's
read-only and write-only port (8 macros of a read-write and a write-only port: energies
within 8 %, area within 11 %); two that read as its two
read-write ports.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["READ_ONLY_LEAKAGE", "cell_mm2", "more_ports"]

Floats = NDArray[np.float64]

CELL_F2 = {1: 146.0, 2: 294.0}
"""Bit cell of one and two ports, in squares of the feature size: array efficiency x area / bits of the table's rows."""

READ_ONLY_LEAKAGE = 1.085
"""Leakage of a read-only port and a read-write port against two read-write ports: median of 484 macros, CACTI 7."""


def cell_mm2(node_nm: float, ports: int) -> float:
    """Give the area of a bit cell [mm2].

    Example:
        >>> round(cell_mm2(45.0, 1) * 1e6, 3)
        0.296
    """
    wider = math.sqrt(CELL_F2[2] / CELL_F2[1]) - 1
    return CELL_F2[1] * (1 + wider * (ports - 1)) ** 2 * (node_nm * 1e-6) ** 2


def more_ports(one: Floats, two: Floats, ports: int) -> Floats:
    """Continue the line from one port to two [any unit, shape of both].

    Args:
        one: A quantity that grows with the length of wires, with one port.
        two: The same with two ports.
        ports: Of a bank: 2 gives `two`.
    """
    return np.asarray(np.maximum(one + (two - one) * (ports - 1), 0.2 * one))
