"""The arithmetic law beside published figures that it was never fitted to, and the bands that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, get_args

from hwmodels.cited import cited_rows
from hwmodels.energy.arithmetic_checks import check_measure, leave_one_out
from hwmodels.energy.arithmetic_law import Measure
from hwmodels.energy.arithmetic_nodes import UNITS
from hwmodels.energy.arithmetic_operations import add, mac, multiply
from hwmodels.energy.checking import checked
from hwmodels.energy.estimate import Estimate
from workloads.errors import SpecError, nearest

__all__ = [
    "ArithmeticDeviation",
    "Circuits",
    "arithmetic_deviations",
    "arithmetic_tables",
    "circuit_spread",
    "of_make",
]

Circuits = Literal["any", "published"]
"""Whose circuits a band holds: those of any make, or those of the make that Horowitz and Jouppi published."""

_SPREADING = ("component", "unit")
"""Scopes whose figures are arithmetic alone: they say how far makes of circuits lie apart."""


@dataclass(frozen=True, slots=True)
class ArithmeticDeviation:
    """A published figure beside the law's.

    Attributes:
        what: Operation, formats and node, for people.
        scope: "component": an operation alone; "unit": one processing element, registers included; "macro": a chip's
            best efficiency, buffers included, often far below the nominal supply; "defect": the paper that it cites
            prints another figure. None of them ever is an anchor.
        published: The figure [J or mm2].
        estimate: The law's, with the band of the published sets' own make.
        ratio: The law's value over the figure.
        inside: Whether the figure lies in that band.
        inside_any: Whether it lies in the band of any make, the spread of which was taken without this figure.
        source: Of the figure.
        note: What is known about it.
    """

    what: str
    scope: str
    published: float
    estimate: Estimate
    ratio: float
    inside: bool
    inside_any: bool
    source: str
    note: str


@checked
@cache
def arithmetic_deviations(measure: Measure = "energy") -> tuple[ArithmeticDeviation, ...]:
    """Compare the law with every published figure at hand that is no anchor.

    Args:
        measure: "energy" or "area".

    Raises:
        SpecError: Another measure.

    Example:
        >>> {each.scope for each in arithmetic_deviations("energy")} == {"component", "unit", "macro", "defect"}
        True
    """
    check_measure(measure)
    column, scale = {"energy": ("energy_pj", 1e-12), "area": ("area_um2", 1e-6)}[measure]
    rows = [row for row in cited_rows("arithmetic_published") if row[column] and row["op"] != "compare"]
    figures = [float(row[column]) * scale for row in rows]
    estimates = [_of_law(row, measure) for row in rows]
    over = [figure / float(estimate.value) for figure, estimate in zip(figures, estimates, strict=True)]
    found = []
    for row, figure, estimate in zip(rows, figures, estimates, strict=True):
        others = [one for one, other in zip(over, rows, strict=True) if other is not row and _spreads(other)]
        low, high = _ends(others)
        found.append(ArithmeticDeviation(
            what=f"{row['op']} {_formats(row)}, {row['node_nm']} nm",
            scope=row["scope"],
            published=figure,
            estimate=estimate,
            ratio=float(estimate.value) / figure,
            inside=float(estimate.low) <= figure <= float(estimate.high),
            inside_any=float(estimate.low) * low <= figure <= float(estimate.high) * high,
            source=row["source"],
            note=row["note"],
        ))  # fmt: skip
    return tuple(found)


def _of_law(row: Mapping[str, str], measure: Measure) -> Estimate:
    node = float(row["node_nm"])
    if row["op"] == "mac":
        return mac(measure, row["format"], None, accumulator=row["accumulator"], node_nm=node, law=None)
    if row["op"] == "add":
        return add(measure, row["format"], node_nm=node, law=None)
    return multiply(measure, row["format"], None, node_nm=node, law=None)


def _formats(row: Mapping[str, str]) -> str:
    return row["format"] + (f" in {row['accumulator']}" if row["accumulator"] else "")


def _spreads(row: Mapping[str, str]) -> bool:
    return row["scope"] in _SPREADING


def _ends(over: Iterable[float]) -> tuple[float, float]:
    """Give the span of figures over the law, with the law itself in it."""
    figures = [1.0, *over]
    return min(figures), max(figures)


@checked
@cache
def circuit_spread(measure: Measure = "energy") -> Estimate:
    """Give how far other circuits than Horowitz' and Jouppi's lie from the law: published over law.

    The law's own bands are those of its two sets. For a circuit of unknown make they are multiplied by this factor
    (`circuits="any"`, the default of every operation); it cancels where two formats of one make are compared.
    Operations alone and single processing elements count; whole macros and defects do not.

    Args:
        measure: "energy" or "area".

    Returns:
        A factor around 1, without unit; its ends are those of the published figures (the span of ten holds 82 % of what
        they were drawn from on average).

    Raises:
        SpecError: Another measure.

    Example:
        >>> circuit_spread("energy").high > 2
        True
    """
    ratios = [1 / each.ratio for each in arithmetic_deviations(measure) if each.scope in _SPREADING]
    low, high = _ends(ratios)
    return Estimate(
        value=1.0, unit="", low=low, high=high, origin="derived",
        formula=f"published over law, {len(ratios)} figures of other sets", source="tables/arithmetic_published.csv",
    )  # fmt: skip


def of_make(estimate: Estimate, measure: Measure, circuits: Circuits) -> Estimate:
    """Say whose circuits the band of an operation holds, and widen it to them; its parts likewise.

    Args:
        estimate: Of the law, with the band of the published sets' own make.
        measure: "energy" or "area".
        circuits: "any": multiplied by `circuit_spread`; "published": as it is.

    Raises:
        SpecError: Another name.

    Example:
        >>> own = add("energy", "int8", node_nm=45, law=None)
        >>> of_make(own, "energy", "any").formula
        "int add of int8, 45 nm (0.9 V); band: circuits of any make, 0.568 to 4.29 times its figures' (circuit_spread)"
    """
    if circuits not in get_args(Circuits):
        raise SpecError(f"circuits {circuits!r}: whose band? {nearest(str(circuits), get_args(Circuits))}")
    if circuits == "published":
        return replace(estimate, formula=f"{estimate.formula}; band: circuits of its figures' make")
    spread = circuit_spread(measure)
    text = f"; band: circuits of any make, {spread.low:.3g} to {spread.high:.3g} times its figures' (circuit_spread)"
    return _widened(estimate, UNITS[measure], spread, text)


def _widened(estimate: Estimate, unit: str, spread: Estimate, text: str = "") -> Estimate:
    """Widen a band and those of the parts in the same unit: others are factors, the same for every make."""
    parts = {name: _widened(part, unit, spread) if part.unit == unit else part for name, part in estimate.parts.items()}
    low, high, formula = estimate.low * spread.low, estimate.high * spread.high, estimate.formula + text
    return replace(estimate, low=low, high=high, formula=formula, parts=parts)


@checked
def arithmetic_tables(measure: Measure = "energy") -> str:
    """Write the leave-one-out errors and the deviations as a text for reports.

    A figure "in that of any make" is in the band whose spread was taken without it.

    Args:
        measure: "energy" or "area".

    Raises:
        SpecError: Another measure.

    Example:
        >>> print(arithmetic_tables("area").splitlines()[0])
        area: published figures, each predicted from the others
    """
    check_measure(measure)
    unit, scale = {"energy": ("pJ", 1e12), "area": ("um2", 1e6)}[measure]
    lines = [f"{measure}: published figures, each predicted from the others"]
    for each in leave_one_out(measure):
        anchor = each.anchor
        pair = f"{anchor.value * scale:>9.4g} {unit}  predicted {each.predicted * scale:>9.4g}"
        name = f"{anchor.node_nm:>3g} nm  {anchor.operation:<10}  {anchor.format:<6}"
        lines.append(f"  {name} {pair}  {each.error:+7.1%}")
    lines.append(f"{measure}: other published figures, never fitted to; ratio = law / published")
    for other in arithmetic_deviations(measure):
        law = float(other.estimate.value) * scale
        pair = f"{other.published * scale:>9.4g} {unit}  law {law:>9.4g}  ratio {other.ratio:.2f}"
        inside = "  in the band" if other.inside else "  in that of any make" if other.inside_any else ""
        lines.append(f"  {other.what:<32} {other.scope:<10} {pair}{inside}")
    return "\n".join(lines)
