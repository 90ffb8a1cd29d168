"""Wires between the banks of a macro: an H-tree of repeated wires, as CACTI lays it out.

Source: CACTI 7, commit 1ffd8dfb (interbank H-tree); Muralimanohar et al., CACTI 6.0, HPL-2009-85, 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hwmodels.cited import cited_rows

__all__ = ["Routing", "route"]

Floats = NDArray[np.float64]

PITCH_IN_NODES = 4.0
"""Pitch of the wires outside of sub-arrays, in feature sizes: areas of 1,570 banked macros agree within 0.4 %."""


@dataclass(frozen=True, slots=True)
class Wire:
    """A repeated wire that may be 30 % slower than the fastest: CACTI's Global_30.

    Attributes:
        j_per_bit_mm: Energy of a transition [J/bit/mm].
        s_per_mm: Delay [s/mm].
        w_per_bit_mm: Leakage of its repeaters [W/bit/mm].
        pitch_mm: Distance from wire to wire [mm].
    """

    j_per_bit_mm: float
    s_per_mm: float
    w_per_bit_mm: float
    pitch_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class Routing:
    """What the wires between banks add. All arrays have the shape of the banks' sizes.

    Attributes:
        energy_j: To an access [J].
        delay_s: To an access: address there, word back [s].
        leakage_w: Of all wires [W].
        height_mm: Outline of all banks with their wires [mm].
        width_mm: The same.
    """

    energy_j: Floats
    delay_s: Floats
    leakage_w: Floats
    height_mm: Floats
    width_mm: Floats


@cache
def wire(device: str, node_nm: float) -> Wire:
    """Give the wire of a device type; between nodes of the table on a line in logs."""
    rows = sorted((float(row["node_nm"]), row) for row in cited_rows("sram_routing") if row["device"] == device)
    nodes = np.log([node for node, _ in rows])

    def at(column: str) -> float:
        logs = np.log([float(row[column]) for _, row in rows])
        return float(np.exp(np.interp(np.log(node_nm), nodes, logs)))

    return Wire(
        at("energy_fj_per_bit_mm") * 1e-15,
        at("delay_ns_per_mm") * 1e-9,
        at("leakage_uw_per_bit_mm") * 1e-6,
        PITCH_IN_NODES * node_nm * 1e-6,
    )


def route(
    device: str,
    node_nm: float,
    banks: int,
    height_mm: Floats,
    width_mm: Floats,
    address_bits: Floats,
    word_bits: Floats,
) -> Routing:
    """Lay banks of one size out and route address and words to them.

    Args:
        device: CACTI's device type.
        node_nm: A node of the table [nm].
        banks: A power of two.
        height_mm: Of one bank [mm].
        width_mm: Of one bank [mm].
        address_bits: Inside a bank, of all its ports.
        word_bits: Of a word, of all ports of a bank.
    """
    levels = banks.bit_length() - 1
    tall = height_mm > width_mm
    down = np.where(tall, levels // 2, levels - levels // 2)
    across = levels - down
    kind = wire(device, node_nm)
    bits = address_bits + 2 * word_bits
    tall_mm = (height_mm * 2.0**down + bits * kind.pitch_mm * 2 * (1 - 0.5**across)) / 2
    wide_mm = (width_mm * 2.0**across + bits * kind.pitch_mm * 2 * (1 - 0.5**down)) / 2
    length, leaking = _lengths(wide_mm, tall_mm / 2, down, across)
    return Routing(
        kind.j_per_bit_mm * length * (address_bits + word_bits),
        2 * kind.s_per_mm * length,
        kind.w_per_bit_mm * leaking * bits,
        2 * tall_mm,
        2 * wide_mm,
    )


def _lengths(
    across_mm: Floats, down_mm: Floats, down: NDArray[np.integer], across: NDArray[np.integer]
) -> tuple[Floats, Floats]:
    """Add the links from the root to a bank up, and those that leak: a link below a link across is there twice."""
    down, across = np.broadcast_arrays(down, across)
    total, leaking = np.zeros_like(across_mm), np.zeros_like(across_mm)
    wide, tall = across_mm.copy(), down_mm.copy()
    down, across = down.copy(), across.copy()
    while np.any(down + across > 0):
        both = (down > 0) & (across > 0) & (across <= down)
        only_across = (across > 0) & ~both
        only_down = (down > 0) & ~both & ~only_across
        total += np.where(both, wide + tall, np.where(only_across, wide, np.where(only_down, tall, 0.0)))
        leaking += np.where(both, wide + 2 * tall, np.where(only_across, wide, np.where(only_down, tall, 0.0)))
        wide = np.where(both | only_across, wide / 2, wide)
        tall = np.where(both | only_down, tall / 2, tall)
        down = down - (both | only_down)
        across = across - (both | only_across)
    return total, leaking
