"""The arithmetic law beside published figures that it was never fitted to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hwmodels.cited import cited_rows
from hwmodels.energy.arithmetic import add_area, add_energy, mac_area, mac_energy, multiply_area, multiply_energy
from hwmodels.energy.arithmetic_checks import leave_one_out
from hwmodels.energy.arithmetic_law import Measure
from hwmodels.energy.estimate import Estimate

__all__ = ["ArithmeticDeviation", "arithmetic_deviations", "arithmetic_tables", "circuit_spread"]


@dataclass(frozen=True, slots=True)
class ArithmeticDeviation:
    """A published figure beside the law's.

    Attributes:
        what: Operation, formats and node, for people.
        scope: "component": an operation alone; "unit": one processing element, registers included; "macro": a chip's
            best efficiency, buffers included, often far below the nominal supply; "defect": the paper that it cites
            prints another figure. None of them ever is an anchor.
        published: The figure [J or mm2].
        estimate: The law's.
        ratio: The law's value over the figure.
        inside: Whether the figure lies in the law's band.
        source: Of the figure.
        note: What is known about it.
    """

    what: str
    scope: str
    published: float
    estimate: Estimate
    ratio: float
    inside: bool
    source: str
    note: str


def arithmetic_deviations(measure: Measure = "energy") -> tuple[ArithmeticDeviation, ...]:
    """Compare the law with every published figure at hand that is no anchor.

    Args:
        measure: "energy" or "area".

    Example:
        >>> {each.scope for each in arithmetic_deviations("energy")} == {"component", "unit", "macro", "defect"}
        True
    """
    column, scale = {"energy": ("energy_pj", 1e-12), "area": ("area_um2", 1e-6)}[measure]
    rows = [row for row in cited_rows("arithmetic_published") if row[column] and row["op"] != "compare"]
    return tuple(_deviation(row, float(row[column]) * scale, measure) for row in rows)


def _deviation(row: Mapping[str, str], published: float, measure: Measure) -> ArithmeticDeviation:
    node = float(row["node_nm"])
    singles: Mapping[tuple[str, Measure], Callable[..., Estimate]] = {
        ("add", "energy"): add_energy, ("add", "area"): add_area,
        ("mult", "energy"): multiply_energy, ("mult", "area"): multiply_area,
    }  # fmt: skip
    if row["op"] == "mac":
        accumulate = mac_energy if measure == "energy" else mac_area
        estimate = accumulate(row["format"], accumulator=row["accumulator"], node_nm=node)
    else:
        estimate = singles[row["op"], measure](row["format"], node_nm=node)
    formats = row["format"] + (f" in {row['accumulator']}" if row["accumulator"] else "")
    return ArithmeticDeviation(
        what=f"{row['op']} {formats}, {row['node_nm']} nm",
        scope=row["scope"],
        published=published,
        estimate=estimate,
        ratio=float(estimate.value) / published,
        inside=float(estimate.low) <= published <= float(estimate.high),
        source=row["source"],
        note=row["note"],
    )


def circuit_spread(measure: Measure = "energy") -> Estimate:
    """Give how far other circuits than Horowitz' and Jouppi's lie from the law: published over law.

    The bands of the law are those of its own two sets. For a circuit of unknown make, multiply them by this factor; it
    cancels where two formats of one make are compared. Operations alone and single processing elements count; whole
    macros and defects do not.

    Args:
        measure: "energy" or "area".

    Returns:
        A factor around 1, without unit; its ends are those of the published figures (the span of ten holds 82 % of what
        they were drawn from on average).

    Example:
        >>> circuit_spread("energy").high > 2
        True
    """
    ratios = [1 / each.ratio for each in arithmetic_deviations(measure) if each.scope in ("component", "unit")]
    return Estimate(
        value=1.0, unit="", low=min(1.0, *ratios), high=max(1.0, *ratios), origin="derived",
        formula=f"published over law, {len(ratios)} figures of other sets", source="tables/arithmetic_published.csv",
    )  # fmt: skip


def arithmetic_tables(measure: Measure = "energy") -> str:
    """Write the leave-one-out errors and the deviations as a text for reports.

    Args:
        measure: "energy" or "area".

    Example:
        >>> print(arithmetic_tables("area").splitlines()[0])
        area: published figures, each predicted from the others
    """
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
        inside = "  in the band" if other.inside else ""
        lines.append(f"  {other.what:<32} {other.scope:<10} {pair}{inside}")
    return "\n".join(lines)
