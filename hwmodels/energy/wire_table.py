"""CACTI's table of wires read at any node: rows as they are, straight lines in logs between, a named law beyond."""

from __future__ import annotations

from functools import cache as remember

import numpy as np
from numpy.typing import NDArray

from hwmodels.cited import cited_rows
from hwmodels.energy.estimate import Origin
from hwmodels.energy.shapes import plain
from hwmodels.energy.technology import node_range, scaling
from hwmodels.energy.technology.factors import law_name
from workloads.errors import SpecError, nearest
from workloads.operator import Num

__all__ = [
    "DEVICES",
    "KINDS",
    "LOW_SWING",
    "PROJECTIONS",
    "TABLE",
    "between",
    "check_node",
    "largest_miss",
    "origin_of",
    "published_spread",
    "read_column",
    "scaled",
    "wire_rows",
]

Floats = NDArray[np.float64]

KINDS = ("delay_optimal", "delay_plus_5pct", "delay_plus_10pct", "delay_plus_20pct", "delay_plus_30pct")
"""Repeated wires: the fastest, and those that are 5 to 30 % slower with fewer or smaller repeaters."""

DEVICES = ("itrs-hp", "itrs-lstp")
"""Of the repeaters."""

PROJECTIONS = ("conservative", "aggressive")
"""Of the metal and the dielectric."""

LOW_SWING = "low_swing_1mm"
TABLE = "CACTI 7, commit 1ffd8dfb (2017), repeated global wires (tables/wires_cacti.csv)"


def check_node(node_nm: Num, where: str) -> None:
    """Refuse what no law of wires reaches.

    Raises:
        SpecError: It is outside of 180 to 3 nm, or no number.
    """
    largest, smallest = node_range("wire energy")
    nodes = np.asarray(node_nm, dtype=np.float64)
    wrong = nodes[~((nodes <= largest) & (nodes >= smallest))]  # NaN is wrong too
    if wrong.size:
        raise SpecError(f"{where}: node_nm = {wrong[0]:g}; wires are known from {largest:g} to {smallest:g} nm")


def read_column(node_nm: Num, kind: str, device: str, projection: str, column: str, where: str) -> tuple[Num, Num, Num]:
    """Give a column at the nearest nodes that the table reaches, the factor it may miss by, and those nodes."""
    known = (*KINDS, LOW_SWING) if where == "low_swing" else KINDS
    if kind == LOW_SWING and where != "low_swing":
        raise SpecError(f"{where}: {kind} is a wire of exactly 1 mm and not a figure per mm; use low_swing(node_nm)")
    for argument, name, names in (("kind", kind, known), ("device", device, DEVICES),
                                  ("projection", projection, PROJECTIONS)):  # fmt: skip
        if name not in names:
            raise SpecError(f"{where}: no {argument} {name!r}; {nearest(name, names)}")
    check_node(node_nm, where)
    nodes, values = wire_rows(kind, device, projection, column)
    inside = np.clip(node_nm, nodes[0], nodes[-1])
    miss = plain(np.where(np.isin(inside, nodes), 1.0, largest_miss(kind, device, projection, column)))
    return between(nodes, values, inside), miss, inside


@remember
def wire_rows(kind: str, device: str, projection: str, column: str) -> tuple[Floats, Floats]:
    """Give nodes, ascending, and a column; "leakage" is the sum of both leakages."""
    wanted = (kind, device, projection)
    rows = [row for row in cited_rows("wires_cacti") if (row["wire_type"], row["device"], row["projection"]) == wanted]
    columns = ("leakage_uw_per_mm", "gate_leakage_uw_per_mm") if column == "leakage" else (column,)
    pairs = sorted((float(row["node_nm"]), sum(float(row[name]) for name in columns)) for row in rows)
    nodes, values = zip(*pairs, strict=True)
    return np.array(nodes), np.array(values)


def between(nodes: Floats, values: Floats, at: Num) -> Num:
    """Read between rows by straight lines in logs; a row comes back unchanged."""
    read = np.exp(np.interp(np.log(at), np.log(nodes), np.log(values)))
    place = np.clip(np.searchsorted(nodes, at), 0, len(nodes) - 1)
    return plain(np.where(nodes[place] == at, values[place], read))


@remember
def largest_miss(kind: str, device: str, projection: str, column: str) -> float:
    """Leave each inner node out and read it from its neighbours: the largest factor that this misses by."""
    nodes, values = wire_rows(kind, device, projection, column)
    left_out = range(1, len(nodes) - 1)
    read = [float(between(np.delete(nodes, i), np.delete(values, i), nodes[i])) for i in left_out]
    return float(np.exp(np.abs(np.log(np.array(read) / values[1:-1])).max()))


def scaled(quantity: str, node_nm: Num, inside: Num, law: str | None) -> tuple[Num, Num, Num, str, str]:
    """Give factor, low, high, what to say, and the source; the law is asked only about nodes outside of the table."""
    law_name(quantity, law)
    nodes, held = np.broadcast_arrays(np.asarray(node_nm, dtype=np.float64), np.asarray(inside, dtype=np.float64))
    outside = nodes != held
    if not outside.any():
        return 1.0, 1.0, 1.0, "", TABLE
    step = scaling(quantity, held[outside], nodes[outside], law=law)
    found = []
    for number in (step.value, step.low, step.high):
        factor = np.ones(nodes.shape)
        factor[outside] = number
        found.append(plain(factor))
    return *found, f"; {step.formula.split('; band')[0]}", f"{TABLE}; {step.source}"  # type: ignore[return-value]


@remember
def published_spread() -> tuple[float, float]:
    """Give the lowest and the highest ratio of a comparable published figure to this model, for its default wire."""
    ratios = []
    for row in cited_rows("wires_published"):
        if row["comparable"] == "yes":
            node = float(row["node_nm"])
            value, _, inside = read_column(node, KINDS[-1], DEVICES[0], PROJECTIONS[0], "energy_fj_per_bit_mm", "")
            factor = scaled("wire energy", node, inside, None)[0]
            ratios.append(float(row["energy_fj_per_bit_mm"]) / float(row["activity"]) / float(value * factor))
    return min(1.0, *ratios), max(1.0, *ratios)


def origin_of(node_nm: Num, inside: Num, kind: str, device: str, projection: str) -> Origin:
    """Name the weakest of what the points are: scaled, interpolated, rows."""
    if not np.all(np.equal(node_nm, inside)):
        return "scaled"
    nodes, _ = wire_rows(kind, device, projection, "energy_fj_per_bit_mm")
    return "table" if np.isin(node_nm, nodes).all() else "interpolated"
