"""Wires between the banks of a macro: an H-tree of repeated wires, as CACTI lays it out.

Source: CACTI 7, commit 1ffd8dfb (interbank H-tree); Muralimanohar et al., CACTI 6.0, HPL-2009-85, 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.cited import cited_rows

__all__ = ["Banks", "Layout", "Routing", "lay_out", "layouts", "route", "wire"]

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


class Banks(NamedTuple):
    """Banks of one size, and what is routed to them.

    Attributes:
        device: CACTI's device type.
        node_nm: 22 to 90 [nm].
        number: Of banks, a power of two.
        ports: Of a bank, whose addresses are routed.
        words: Words of all ports that are.
    """

    device: str
    node_nm: float
    number: int
    ports: int
    words: float


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


class Layout(NamedTuple):
    """How many banks lie beside and above each other, and how far the H-tree reaches, in outlines of all of them.

    Attributes:
        rows: Banks above each other.
        columns: Banks beside each other.
        gaps: Bits of wires between columns over those between rows: 2 x (1 - rows of wires halved by every level).
        wide: Length of the links across, from the root to a bank, over the half width.
        tall: Of the links up and down, over a quarter of the height.
        leaking_wide: The same of all that leak: a link below a link across is there twice.
        leaking_tall: Likewise.
    """

    rows: float
    columns: float
    row_gaps: float
    column_gaps: float
    wide: float
    tall: float
    leaking_wide: float
    leaking_tall: float


@cache
def layouts(banks: int) -> tuple[Layout, Layout]:
    """Give the layout of banks that are taller than wide, and of others."""
    levels = banks.bit_length() - 1
    return _layout(levels // 2, levels - levels // 2), _layout(levels - levels // 2, levels // 2)


def _layout(down: int, across: int) -> Layout:
    """Go from the root to a bank: across while there are more links across, then one of each, then down."""
    gaps = 2 * (1 - 0.5**across), 2 * (1 - 0.5**down)
    rows, columns = 2.0**down, 2.0**across
    wide = tall = leaking_wide = leaking_tall = 0.0
    width = height = 1.0
    while down or across:
        both = 0 < across <= down
        step_across, step_down = both or across > down, both or across == 0
        if step_across:
            wide, leaking_wide, width, across = wide + width, leaking_wide + width, width / 2, across - 1
        if step_down:
            tall, leaking_tall = tall + height, leaking_tall + height * (1 + both)
            height, down = height / 2, down - 1
    return Layout(rows, columns, *gaps, wide, tall, leaking_wide, leaking_tall)


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
        node_nm: 22 to 90 [nm].
        banks: A power of two.
        height_mm: Of one bank [mm].
        width_mm: Of one bank [mm].
        address_bits: Inside a bank, of all its ports.
        word_bits: Of a word, of all ports of a bank.
    """
    is_tall = height_mm > width_mm
    pairs = zip(*layouts(banks), strict=True)
    at: Any = Layout._make(np.where(is_tall, *pair) for pair in pairs)  # arrays in its places
    return Routing(*lay_out(wire(device, node_nm), at, height_mm, width_mm, address_bits, word_bits))


def lay_out(
    kind: Wire, at: Layout, height_mm: Floats, width_mm: Floats, address_bits: Floats, word_bits: Floats | float
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Give energy, delay, leakage, height and width of banks that all have one layout: what `route` gives."""
    bits = address_bits + 2 * word_bits
    tall_mm = (height_mm * at.rows + bits * kind.pitch_mm * at.row_gaps) / 2
    wide_mm = (width_mm * at.columns + bits * kind.pitch_mm * at.column_gaps) / 2
    length = at.wide * wide_mm + at.tall * tall_mm / 2
    leaking = at.leaking_wide * wide_mm + at.leaking_tall * tall_mm / 2
    energy = kind.j_per_bit_mm * length * (address_bits + word_bits)
    return energy, 2 * kind.s_per_mm * length, kind.w_per_bit_mm * leaking * bits, 2 * tall_mm, 2 * wide_mm
