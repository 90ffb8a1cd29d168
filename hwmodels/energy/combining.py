"""Estimates of estimates: products and sums whose bands are as wide as if all errors had one cause."""

from __future__ import annotations

from collections.abc import Mapping

from hwmodels.energy.estimate import Estimate, Origin
from workloads.errors import SpecError
from workloads.operator import Num

__all__ = ["exact", "in_unit", "product", "total"]


def exact(value: Num, unit: str, formula: str, source: str) -> Estimate:
    """Give a number that is what it is by definition: a count, a geometry, nothing.

    Example:
        >>> exact(3.0, "mm2", "given", "the caller").high
        3.0
    """
    return Estimate(value=value, unit=unit, low=value, high=value, origin="derived", formula=formula, source=source)


def in_unit(estimate: Estimate, unit: str, name: str) -> Estimate:
    """Return an estimate that must be in a unit.

    Raises:
        SpecError: It is in another.

    Example:
        >>> in_unit(exact(3.0, "mm2", "given", "the caller"), "mm2", "area_mm2").value
        3.0
    """
    if estimate.unit != unit:
        raise SpecError(f"{name} is in {estimate.unit}; {unit} is needed")
    return estimate


def product(estimate: Estimate, *factors: Num | Estimate, unit: str | None = None, formula: str) -> Estimate:
    """Multiply an estimate by numbers or estimates: the ends of the band are the products of the ends.

    Args:
        estimate: The first factor; the result keeps its unit, origin and source.
        factors: Numbers, or estimates, whose sources join; none below zero.
        unit: Of the result, if not the first's.
        formula: What the product means.

    Example:
        >>> one = Estimate(value=2.0, unit="J", low=1.0, high=4.0, origin="anchor", formula="read", source="A")
        >>> twice = product(one, 2.0, formula="two of them")
        >>> twice.value, twice.low, twice.high
        (4.0, 2.0, 8.0)
    """
    value, low, high, sources = estimate.value, estimate.low, estimate.high, [estimate.source]
    for factor in factors:
        if isinstance(factor, Estimate):
            value, low, high = value * factor.value, low * factor.low, high * factor.high
            sources.append(factor.source)
        else:
            value, low, high = value * factor, low * factor, high * factor
    origin: Origin = "scaled" if len(sources) > 1 else "derived"
    return Estimate(
        value=value,
        unit=estimate.unit if unit is None else unit,
        low=low,
        high=high,
        origin=origin,
        formula=f"{formula}: {estimate.formula}" if formula else estimate.formula,
        source="; ".join(dict.fromkeys(sources)),
        parts=estimate.parts,
    )


def total(parts: Mapping[str, Estimate], unit: str, formula: str) -> Estimate:
    """Add estimates up: the ends of the band are the sums of the ends.

    Example:
        >>> one = exact(1.0, "W", "given", "the caller")
        >>> total({"a": one, "b": one}, "W", "a and b").value
        2.0
    """
    value: Num = 0.0
    low: Num = 0.0
    high: Num = 0.0
    for part in parts.values():
        value, low, high = value + part.value, low + part.low, high + part.high
    return Estimate(
        value=value, unit=unit, low=low, high=high, origin="derived", formula=formula, source="its parts", parts=parts
    )
