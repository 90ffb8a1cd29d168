"""How energy and area of an operation follow from the widths of its operands, at the nodes with published figures.

    integer add       one cell per bit                                     ~ w
    integer multiply  partial products                                     ~ a b
    float multiply    partial products, rounding and normalising, and      ~ a b + r (a + b) / 2, + integer add of
                      an addition of exponents                               the wider exponent
    float add         align, add and normalise, and a comparison of        energy ~ m; area ~ m (1 + log2 m): shifters;
                      exponents                                              + integer add of the exponent

a, b, m are significands with their hidden bit; r is one number for both nodes, fitted. An integer times a float is a
product of significands whose second operand has no exponent. What a published figure leaves over from its structure is
interpolated along the width (in logs; of a product along the geometric mean of its widths), so every published figure
comes back, and beyond the last one its remainder stays.

Source: Horowitz, Computing's energy problem, ISSCC 2014 (45 nm, energy and area); Jouppi et al., Ten lessons from three
generations shaped Google's TPUv4i, ISCA 2021, Table 2 (7 nm, energy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hwmodels.cited import cited_rows
from hwmodels.energy.arithmetic_formats import Number, number
from workloads.operator import Num

__all__ = [
    "ANCHOR_NODES_NM",
    "Anchor",
    "Measure",
    "Operation",
    "anchors",
    "at_anchor_node",
    "fitted",
    "is_anchor",
    "structure",
]

Measure = Literal["energy", "area"]
Operation = Literal["int add", "int mult", "float add", "float mult"]

ANCHOR_NODES_NM: Mapping[Measure, tuple[float, ...]] = {"energy": (45.0, 7.0), "area": (45.0,)}
_UNIT_EXPONENT: Mapping[Measure, str] = {"energy": "e-12", "area": "e-6"}
"""From the tables' pJ and um2 to J and mm2; appended to the printed digits, so that none is lost."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A published figure.

    Attributes:
        operation: Of which operation.
        node_nm: At which node [nm].
        format: Name of both operands.
        significand_bits: Of each operand [bit].
        exponent_bits: Of each operand [bit].
        value: The figure [J or mm2].
        rounding: Half a unit of its last printed digit, relative.
        source: Author, title, year, table.
        supply_v: At which supply; None: the source does not say, and the node's nominal one is taken [V].
    """

    operation: Operation
    node_nm: float
    format: str
    significand_bits: float
    exponent_bits: float
    value: float
    rounding: float
    source: str
    supply_v: float | None = None


@dataclass(frozen=True, slots=True)
class Law:
    """One operation at one node: published over structure, along the width.

    Attributes:
        linear: r, of the term (a + b) / 2.
        log_widths: Of the published figures, rising.
        log_ratios: Logarithm of each figure (without its exponents) over its structure.
    """

    linear: float
    log_widths: NDArray[np.float64]
    log_ratios: NDArray[np.float64]


@cache
def anchors(measure: Measure) -> tuple[Anchor, ...]:
    """Read the published figures.

    Example:
        >>> len(anchors("energy")), len(anchors("area"))
        (19, 9)
    """
    column = {"energy": "energy_pj", "area": "area_um2"}[measure]
    return tuple(_anchor(row, row[column], measure) for row in cited_rows("arithmetic_anchors") if row[column])


@cache
def anchors_of(measure: Measure, operation: Operation, node_nm: float) -> tuple[Anchor, ...]:
    """Give the published figures of one operation at one node.

    Example:
        >>> [anchor.format for anchor in anchors_of("energy", "float mult", 7.0)]
        ['bf16', 'fp16', 'fp32']
    """
    return tuple(each for each in anchors(measure) if (each.operation, each.node_nm) == (operation, node_nm))


def _anchor(row: Mapping[str, str], printed: str, measure: Measure) -> Anchor:
    form = number(row["format"])
    decimals = len(printed.partition(".")[2])
    operation: Operation = f"{form.kind} {row['op']}"  # type: ignore[assignment]
    return Anchor(
        operation=operation,
        node_nm=float(row["node_nm"]),
        format=row["format"],
        significand_bits=float(np.max(form.significand_bits)),
        exponent_bits=float(np.max(form.exponent_bits)),
        value=float(printed + _UNIT_EXPONENT[measure]),
        rounding=0.5 * 10.0**-decimals / float(printed),
        source=row["source"],
        supply_v=float(row["vdd_v"]) if row["vdd_v"] else None,
    )


def structure(measure: Measure, operation: Operation, a: Num, b: Num, linear: Num) -> NDArray[np.float64]:
    """Give what an operation's energy or area is proportional to, without its exponents.

    Args:
        measure: "energy" or "area".
        operation: Which.
        a: Significand of the first operand: one or shape (n_points,) [bit].
        b: Of the second [bit].
        linear: Weight of rounding and normalising; 0 leaves the partial products.

    Example:
        >>> float(structure("energy", "int mult", 8, 4, 0.0))
        32.0
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if operation.endswith("mult"):
        return np.asarray(a * b + linear * (a + b) / 2)
    if measure == "area" and operation == "float add":
        return np.asarray(a * (1 + np.log2(a)))
    return a


@cache
def fitted(measure: Measure, without: Anchor | None = None) -> Mapping[tuple[Operation, float], Law]:
    """Fit every operation at every node with published figures.

    Args:
        measure: "energy" or "area".
        without: A figure to leave out.

    Example:
        >>> law = fitted("energy")["float mult", 7.0]
        >>> 1 < law.linear < 20
        True
    """
    groups: dict[tuple[Operation, float], list[Anchor]] = {}
    for anchor in anchors(measure):
        if anchor != without:
            groups.setdefault((anchor.operation, anchor.node_nm), []).append(anchor)
    laws: dict[tuple[Operation, float], Law] = {}
    for (operation, node), group in sorted(groups.items(), key=lambda item: item[0][0] != "int add"):
        group.sort(key=lambda anchor: anchor.significand_bits)
        linear = 0.0
        if (measure, operation) == ("energy", "float mult"):
            linear = _linear_weight([each for (name, _), each in groups.items() if name == operation], laws)
        widths = np.array([anchor.significand_bits for anchor in group])
        laws[operation, node] = Law(linear, np.log(widths), _log_ratios(measure, group, linear, laws))
    return laws


def _linear_weight(groups: Sequence[list[Anchor]], laws: Mapping[tuple[Operation, float], Law]) -> float:
    """Find the r that makes published over structure the most constant, node by node (least squares in logs)."""
    candidates = np.geomspace(0.01, 1000.0, 2001)[:, None]
    scatter = np.zeros(candidates.size)
    for group in groups:
        widths, values = _without_exponents("energy", group, laws)
        logs = np.log(values / structure("energy", "float mult", widths, widths, candidates))
        scatter += np.var(logs, axis=1) * widths.size
    return float(candidates[int(np.argmin(scatter)), 0])


def _log_ratios(
    measure: Measure, group: Sequence[Anchor], linear: float, laws: Mapping[tuple[Operation, float], Law]
) -> NDArray[np.float64]:
    widths, values = _without_exponents(measure, group, laws)
    return np.asarray(np.log(values / structure(measure, group[0].operation, widths, widths, linear)))


def _without_exponents(
    measure: Measure, group: Sequence[Anchor], laws: Mapping[tuple[Operation, float], Law]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the widths of published figures, and the figures less their addition of exponents."""
    widths = np.array([anchor.significand_bits for anchor in group])
    exponents = np.array([anchor.exponent_bits for anchor in group])
    values = np.array([anchor.value for anchor in group])
    if group[0].operation.startswith("float"):
        values = values - _by_law(measure, "int add", exponents, exponents, laws["int add", group[0].node_nm])
    return widths, values


def _by_law(measure: Measure, operation: Operation, a: Num, b: Num, law: Law) -> NDArray[np.float64]:
    """Evaluate one law; an absent exponent (0 bits) costs nothing."""
    mean = np.log(np.maximum(np.sqrt(np.multiply(a, b)), 1e-9))
    ratio = np.exp(np.interp(mean, law.log_widths, law.log_ratios))
    return np.asarray(structure(measure, operation, a, b, law.linear) * ratio)


def at_anchor_node(
    measure: Measure, operation: Operation, a: Number, b: Number, node_nm: float, *, without: Anchor | None = None
) -> NDArray[np.float64]:
    """Give the energy or area of an operation at a node with published figures; those come back to the digit.

    Args:
        measure: "energy" or "area".
        operation: Which.
        a: First operand.
        b: Second operand.
        node_nm: One of `ANCHOR_NODES_NM[measure]` [nm].
        without: A figure to leave out of the fit.

    Returns:
        Shape () or (n_points,) [J or mm2].

    Example:
        >>> float(at_anchor_node("energy", "int add", number("int8"), number("int8"), 45.0))
        3e-14
    """
    laws = fitted(measure, without)
    value = _by_law(measure, operation, a.significand_bits, b.significand_bits, laws[operation, node_nm])
    if operation.startswith("float"):
        exponent = np.maximum(a.exponent_bits, b.exponent_bits)
        value = value + _by_law(measure, "int add", exponent, exponent, laws["int add", node_nm])
    for anchor in anchors_of(measure, operation, node_nm):
        if anchor != without:
            value = np.where(is_anchor(anchor, a, b), anchor.value, value)
    return np.asarray(value)


def is_anchor(anchor: Anchor, a: Number, b: Number) -> NDArray[np.bool_]:
    """Say of each point whether its operands are those of a published figure.

    Example:
        >>> bool(is_anchor(anchors("energy")[0], number("int8"), number("uint8")))
        True
    """
    same = np.equal(a.significand_bits, anchor.significand_bits) & np.equal(a.exponent_bits, anchor.exponent_bits)
    twin = np.equal(a.significand_bits, b.significand_bits) & np.equal(a.exponent_bits, b.exponent_bits)
    return np.asarray(same & twin)
