"""Below 32 words: registers and latches instead of an SRAM, joined to it continuously.

CACTI builds nothing shallower than 32 words or smaller than 64 B. A register file reads through multiplexers and writes
through clock gates, both of which grow with the words, so every quantity goes on a line from the smallest SRAM to a
single register:

    value(depth) = value(full) x (share + (1 - share) x (depth - 1) / (full - 1)),    full = 32, or 64 B

and the single register is a row of flip-flops. A flip-flop has about as many transistors as a full adder (24 against
28, Weste & Harris, CMOS VLSI Design, 2011), and Horowitz (ISSCC 2014) has int8 to int32 adders at 45 nm: 3.1 to 3.8 fJ
and 4.2 to 4.5 um2 a bit. Its share of the 32-word SRAM is taken at 45 nm itrs-hp and kept elsewhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shares", "full_depth", "single_register_shares"]

Floats = NDArray[np.float64]

LEAST_WORDS, LEAST_BYTES = 32, 64
"""CACTI takes no bank of fewer."""

FLIP_FLOP_J = 3.4e-15
"""Per bit at 45 nm: Horowitz, ISSCC 2014, adders of 8, 16 and 32 bits: 0.03, 0.05, 0.1 pJ [J]."""
FLIP_FLOP_MM2 = 4.3e-6
"""Per bit at 45 nm: Horowitz, ISSCC 2014, adders of 8, 16 and 32 bits: 36, 67, 137 um2 [mm2]."""
TIME_SHARE = 0.3
"""Of a 32-word SRAM's access: clock to output of a flip-flop, three gate delays of ten. An assumption."""


def full_depth(width: Floats) -> Floats:
    """Give the words from which on there is an SRAM: 32, or 64 B [shape of the widths, in B]."""
    return np.asarray(np.maximum(LEAST_WORDS, LEAST_BYTES / width))


class Shares(NamedTuple):
    """Single registers relative to SRAMs of 32 words of the same width, shape (n_points,); the time is one number."""

    read: Floats
    write: Floats
    leakage: Floats
    area: Floats
    time: float


def single_register_shares(bits: Floats, read_j: Floats, write_j: Floats, area_mm2: Floats) -> Shares:
    """Compare rows of flip-flops with SRAMs of 32 words at 45 nm, itrs-hp.

    Args:
        bits: Of the words, shape (n_points,).
        read_j: Of the SRAMs of 32 words, shape (n_points,) [J].
        write_j: The same [J].
        area_mm2: The same [mm2].
    """
    area = np.minimum(bits * FLIP_FLOP_MM2 / area_mm2, 1.0)
    read, write = (np.minimum(bits * FLIP_FLOP_J / energy, 1.0) for energy in (read_j, write_j))
    return Shares(read, write, area, area, TIME_SHARE)
