"""Energy and area of one operation or a few by the law of the two published sets: what the public functions use.

Bands here are those of the published sets' own circuits; `arithmetic_published.of_make` widens them to any make.
"""

from __future__ import annotations

from dataclasses import replace

from hwmodels.energy.arithmetic_formats import Number, NumberFormat, default_accumulator, number
from hwmodels.energy.arithmetic_law import Measure, Operation
from hwmodels.energy.arithmetic_nodes import UNITS, operation_estimate, where
from hwmodels.energy.combining import total
from hwmodels.energy.estimate import Estimate, Origin
from workloads.operator import Num

__all__ = ["add", "mac", "multiply", "summed"]

_ORIGINS: tuple[Origin, ...] = ("interpolated", "derived", "scaled")


def multiply(measure: Measure, a: NumberFormat, b: NumberFormat | None, *, node_nm: Num, law: str | None) -> Estimate:
    """Estimate energy or area of a multiplication."""
    first = number(a)
    second = first if b is None else number(b)
    operation: Operation = "int mult" if first.kind == second.kind == "int" else "float mult"
    return operation_estimate(measure, operation, first, second, node_nm=node_nm, law=law)


def add(measure: Measure, format_: NumberFormat, *, node_nm: Num, law: str | None) -> Estimate:
    """Estimate energy or area of an addition."""
    form = number(format_)
    operation: Operation = "int add" if form.kind == "int" else "float add"
    return operation_estimate(measure, operation, form, form, node_nm=node_nm, law=law)


def mac(
    measure: Measure,
    a: NumberFormat,
    b: NumberFormat | None,
    *,
    accumulator: NumberFormat | None,
    node_nm: Num,
    law: str | None,
) -> Estimate:
    """Estimate energy or area of a multiply-accumulate."""
    first = number(a)
    second = first if b is None else number(b)
    form: Number = default_accumulator(first, second) if accumulator is None else number(accumulator)
    parts = {
        "multiply": multiply(measure, first, second, node_nm=node_nm, law=law),
        "add": add(measure, form, node_nm=node_nm, law=law),
    }
    return summed(measure, parts, f"{first.name} x {second.name}, added in {form.name}, {where(measure, node_nm)}")


def summed(measure: Measure, parts: dict[str, Estimate], formula: str) -> Estimate:
    """Add operations up; the sum is as uncertain in kind as its least certain part, and never a published figure.

    Example:
        >>> one = add("energy", "int8", node_nm=7, law=None)
        >>> summed("energy", {"a": one, "b": one}, "two of them").origin
        'derived'
    """
    origins = [part.origin if part.origin in _ORIGINS else "derived" for part in parts.values()]
    return replace(total(parts, UNITS[measure], formula), origin=max([*origins, "derived"], key=_ORIGINS.index))
