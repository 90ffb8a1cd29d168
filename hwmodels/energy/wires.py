"""Wires on chip: energy, delay and leakage of a millimetre by node, the tracks that they take, and published figures.

Energy is that of a full transition, C V^2 and the short circuit: the wire is charged and discharged once. A bit that is
sent costs `activity` of it: 1 if every bit toggles the wire and back, `RANDOM_DATA` = 1/4 for random bits (half of them
differ from the one before, and half of those charge the wire).
"""

from __future__ import annotations

import numpy as np

from hwmodels.cited import cited_rows
from hwmodels.energy.checking import checked, fraction, positive
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.shapes import plain
from hwmodels.energy.wire_table import (
    DEVICES,
    KINDS,
    PROJECTIONS,
    TABLE,
    between,
    check_node,
    origin_of,
    published_spread,
    read_column,
    scaled,
    wire_rows,
)
from workloads.operator import Num

__all__ = [
    "DEVICES",
    "KINDS",
    "PROJECTIONS",
    "RANDOM_DATA",
    "wire_area",
    "wire_delay",
    "wire_energy",
    "wire_leakage",
]

RANDOM_DATA = 0.25
"""Activity of random bits: half toggle, and every second toggle draws C V^2 from the supply."""

_SEMI_GLOBAL = 4 / 2.5
"""Pitch over that of local wires. Source: CACTI 7, technology files."""


@checked
def wire_energy(
    node_nm: Num,
    *,
    kind: str = "delay_plus_30pct",
    device: str = "itrs-hp",
    projection: str = "conservative",
    activity: Num = 1.0,
    law: str | None = None,
) -> Estimate:
    """Give the energy of moving one bit one millimetre over a repeated wire.

    From 22 to 90 nm CACTI's table, between its nodes by straight lines in logs; elsewhere from the nearest of its nodes
    by a law of `hwmodels.energy.technology`. The band is the spread of the comparable published figures around this
    model (seven, 10 to 40 nm: the lowest and the highest, `published_wires`), widened by what
    leaving nodes out of the table misses, and by the band of the law.

    Args:
        node_nm: 3 to 180, one value or shape (n_points,).
        kind: One of `KINDS`.
        device: One of `DEVICES`.
        projection: One of `PROJECTIONS`.
        activity: Full transitions per bit, 0 to 1.
        law: How to scale to nodes that the table lacks, of `LAWS["wire energy"]`; None: its first.

    Returns:
        J/bit/mm.

    Raises:
        SpecError: An unknown name, node or law, or an activity outside of 0 to 1.

    Source: table `wires_cacti`.

    Example:
        >>> round(float(wire_energy(45).value) * 1e15, 3)
        249.489
        >>> wire_energy(7).origin
        'scaled'
    """
    share = fraction(activity, "activity", "wire_energy")
    value, miss, inside = read_column(node_nm, kind, device, projection, "energy_fj_per_bit_mm", "wire_energy")
    factor, low, high, how, source = scaled("wire energy", node_nm, inside, law)
    least, most = published_spread()
    scale = value * 1e-15 * share
    return Estimate(
        value=plain(scale * factor),
        unit="J/bit/mm",
        low=plain(scale * low * least / miss),
        high=plain(scale * high * most * miss),
        origin=origin_of(node_nm, inside, kind, device, projection),
        formula=f"{kind}, {device}, {projection}: full transition x activity{how}; band: published figures lie at "
        f"{least:.2f} to {most:.2f} of this model",
        source=source,
    )


@checked
def wire_delay(
    node_nm: Num, *, kind: str = "delay_plus_30pct", device: str = "itrs-hp", projection: str = "conservative"
) -> Estimate:
    """Give the delay of a millimetre of a repeated wire.

    Outside of 22 to 90 nm the table's own trend goes on: a power of the node, fitted to the nearer half of its nodes.
    The band there is what the trend of the other half would give; inside it is what leaving nodes out misses.

    Args:
        node_nm: 3 to 180, one value or shape (n_points,).
        kind: One of `KINDS`.
        device: One of `DEVICES`.
        projection: One of `PROJECTIONS`.

    Returns:
        s/mm.

    Raises:
        SpecError: An unknown name or node.

    Source: table `wires_cacti`.

    Example:
        >>> round(float(wire_delay(45).value) * 1e12, 3)
        207.189
    """
    value, miss, inside = read_column(node_nm, kind, device, projection, "delay_ns_per_mm", "wire_delay")
    nodes, values = wire_rows(kind, device, projection, "delay_ns_per_mm")
    half = len(nodes) // 2
    small, large = (
        float(np.polyfit(np.log(nodes[part]), np.log(values[part]), 1)[0])
        for part in (slice(None, half + 1), slice(half, None))
    )
    step = np.log(np.divide(node_nm, inside))
    own, other = np.where(step < 0, small, large) * step, np.where(step < 0, large, small) * step
    scale = value * 1e-9
    return Estimate(
        value=plain(scale * np.exp(own)),
        unit="s/mm",
        low=plain(scale * np.exp(np.minimum(own, other)) / miss),
        high=plain(scale * np.exp(np.maximum(own, other)) * miss),
        origin=origin_of(node_nm, inside, kind, device, projection),
        formula=f"{kind}, {device}, {projection}"
        + ("" if np.all(step == 0) else f"; beyond the table x node^{small:.2f} (small nodes) or ^{large:.2f} (large)"),
        source=TABLE,
    )


@checked
def wire_leakage(
    node_nm: Num,
    *,
    kind: str = "delay_plus_30pct",
    device: str = "itrs-hp",
    projection: str = "conservative",
    law: str | None = None,
) -> Estimate:
    """Give the leakage of the repeaters of one wire and one millimetre, subthreshold and gate.

    Outside of 22 to 90 nm the repeaters stay as many as at the nearest node of the table, and leak by a law of logic.

    Args:
        node_nm: 3 to 180, one value or shape (n_points,).
        kind: One of `KINDS`.
        device: One of `DEVICES`.
        projection: One of `PROJECTIONS`.
        law: Of `LAWS["logic leakage"]`; None: its first.

    Returns:
        W/mm.

    Raises:
        SpecError: An unknown name, node or law.

    Source: table `wires_cacti`, at 350 K.

    Example:
        >>> round(float(wire_leakage(45).value) * 1e6, 6)
        5.210432
    """
    value, miss, inside = read_column(node_nm, kind, device, projection, "leakage", "wire_leakage")
    factor, low, high, how, source = scaled("logic leakage", node_nm, inside, law)
    scale = value * 1e-6
    return Estimate(
        value=plain(scale * factor),
        unit="W/mm",
        low=plain(scale * low / miss),
        high=plain(scale * high * miss),
        origin=origin_of(node_nm, inside, kind, device, projection),
        formula=f"{kind}, {device}, {projection}: subthreshold and gate leakage{how}; the band is the distance to the "
        "tool's own value, not to silicon",
        source=source,
    )


@checked
def wire_area(bits: Num, length_mm: Num, node_nm: Num) -> Estimate:
    """Give the metal that parallel wires cover: tracks of semi-global pitch, without the repeaters below.

    Args:
        bits: How many wires, one value or shape (n_points,).
        length_mm: Of each.
        node_nm: 3 to 180.

    Returns:
        mm2 of one metal layer. It takes silicon only where nothing else may stand below.

    Raises:
        SpecError: A number that is not above zero, or an unknown node.

    Source: table `wires_pitch`: CACTI's pitches from 32 nm up, a foundry's from 16 nm down; the band is how far another
        maker's pitches lie.

    Example:
        >>> round(float(wire_area(64, 1.0, 45).value), 5)  # 64 wires, 180 nm apart
        0.01152
    """
    check_node(node_nm, "wire_area")
    count, length = positive(bits, "bits", "wire_area"), positive(length_mm, "length_mm", "wire_area")
    rows = cited_rows("wires_pitch")
    model = sorted((float(row["node_nm"]), float(row["local_pitch_nm"])) for row in rows if row["use"] == "model")
    nodes, pitches = (np.array(column) for column in zip(*model, strict=True))
    ratios = [
        float(row["local_pitch_nm"]) / float(between(nodes, pitches, float(row["node_nm"])))
        for row in rows
        if row["use"] == "check"
    ]
    value = count * length * between(nodes, pitches, node_nm) * _SEMI_GLOBAL * 1e-6
    return Estimate(
        value=plain(value),
        unit="mm2",
        low=plain(value * min(1.0, *ratios)),
        high=plain(value * max(1.0, *ratios)),
        origin="derived",
        formula="bits x length x pitch of semi-global wires (1.6 local pitches)",
        source="CACTI 7, technology files; foundry and Intel pitches per process (tables/wires_pitch.csv)",
    )
