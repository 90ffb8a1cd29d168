"""Energy and area of additions, multiplications and multiply-adds in any number format, at any node.

`arithmetic_law` has the law and its published figures, `arithmetic_checks` its errors. Each result says whether it is a
published figure ("anchor"), one interpolated between 45 and 7 nm, one derived by the law, or one scaled beyond. The
figures are those of the two published sets; other sets differ by up to four times, see `deviations`.
"""

from __future__ import annotations

from dataclasses import replace

from hwmodels.energy.arithmetic_formats import Number, NumberFormat, default_accumulator, number
from hwmodels.energy.arithmetic_law import Measure, Operation
from hwmodels.energy.arithmetic_nodes import UNITS, operation_estimate
from hwmodels.energy.combining import total
from hwmodels.energy.estimate import Estimate, Origin
from workloads.operator import Num

__all__ = ["add_area", "add_energy", "mac_area", "mac_energy", "multiply_area", "multiply_energy", "summed"]

_ORIGINS: tuple[Origin, ...] = ("interpolated", "derived", "scaled")


def multiply_energy(
    a: NumberFormat, b: NumberFormat | None = None, *, node_nm: Num, law: str | None = None
) -> Estimate:
    """Estimate the energy of a x b.

    Args:
        a: Format of the first operand: "int8", "fp16", "e4m3", "int3", or a record of `integer` or `floating`.
        b: Of the second, which may be narrower or of the other kind; None: the same.
        node_nm: One node or shape (n_points,), 3 to 180 [nm].
        law: Of `LAWS["logic energy"]`, outside 45 to 7 nm; None: its first.

    Returns:
        The energy [J].

    Raises:
        SpecError: No such format, or a node out of range.

    Example:
        >>> multiply_energy("int8", node_nm=45).value
        2e-13
        >>> multiply_energy("int8", "int4", node_nm=45).origin
        'derived'
    """
    return multiply("energy", a, b, node_nm=node_nm, law=law)


def multiply_area(a: NumberFormat, b: NumberFormat | None = None, *, node_nm: Num, law: str | None = None) -> Estimate:
    """Estimate the area of a multiplier [mm2].

    Published at 45 nm alone; elsewhere scaled. Arguments and errors: as `multiply_energy`, with the laws of
    `LAWS["logic area"]`.

    Example:
        >>> multiply_area("int8", node_nm=45).value
        0.000282
    """
    return multiply("area", a, b, node_nm=node_nm, law=law)


def add_energy(format_: NumberFormat, *, node_nm: Num, law: str | None = None) -> Estimate:
    """Estimate the energy of an addition.

    Args:
        format_: Of both operands: a name or a record, as in `multiply_energy`.
        node_nm: One node or shape (n_points,), 3 to 180 [nm].
        law: Of `LAWS["logic energy"]`, outside 45 to 7 nm; None: its first.

    Returns:
        The energy [J].

    Raises:
        SpecError: No such format, or a node out of range.

    Example:
        >>> add_energy("fp32", node_nm=7).value
        3.8e-13
    """
    return add("energy", format_, node_nm=node_nm, law=law)


def add_area(format_: NumberFormat, *, node_nm: Num, law: str | None = None) -> Estimate:
    """Estimate the area of an adder [mm2].

    Published at 45 nm alone; elsewhere scaled. Arguments and errors: as `add_energy`.

    Example:
        >>> add_area("int32", node_nm=45).value
        0.000137
    """
    return add("area", format_, node_nm=node_nm, law=law)


def mac_energy(
    a: NumberFormat,
    b: NumberFormat | None = None,
    *,
    accumulator: NumberFormat | None = None,
    node_nm: Num,
    law: str | None = None,
) -> Estimate:
    """Estimate the energy of a multiply-accumulate: a x b, added to a running sum.

    Args:
        a: Format of the first operand, as in `multiply_energy`.
        b: Of the second; None: the same.
        accumulator: Format of the sum; None: int32 or int64 for integers, fp32 or fp64 where a float takes part (see
            `default_accumulator`). `exact_accumulator` gives the narrowest integer for a dot product.
        node_nm: One node or shape (n_points,), 3 to 180 [nm].
        law: Of `LAWS["logic energy"]`, outside 45 to 7 nm; None: its first.

    Returns:
        The energy [J], with the parts "multiply" and "add".

    Raises:
        SpecError: No such format, or a node out of range.

    Example:
        >>> mac_energy("int8", node_nm=7).value
        1e-13
        >>> list(mac_energy("fp16", "int4", node_nm=7).parts)
        ['multiply', 'add']
    """
    return mac("energy", a, b, accumulator=accumulator, node_nm=node_nm, law=law)


def mac_area(
    a: NumberFormat,
    b: NumberFormat | None = None,
    *,
    accumulator: NumberFormat | None = None,
    node_nm: Num,
    law: str | None = None,
) -> Estimate:
    """Estimate the area of a multiplier and an accumulating adder, without registers [mm2].

    Arguments and errors: as `mac_energy`, with the laws of `LAWS["logic area"]`.

    Example:
        >>> round(mac_area("int8", node_nm=45).value * 1e6)
        419
    """
    return mac("area", a, b, accumulator=accumulator, node_nm=node_nm, law=law)


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
    return summed(measure, parts, f"{first.name} x {second.name}, added in {form.name}")


def summed(measure: Measure, parts: dict[str, Estimate], formula: str) -> Estimate:
    """Add operations up; the sum is as uncertain in kind as its least certain part, and never a published figure.

    Example:
        >>> one = add_energy("int8", node_nm=7)
        >>> summed("energy", {"a": one, "b": one}, "two of them").origin
        'derived'
    """
    origins = [part.origin if part.origin in _ORIGINS else "derived" for part in parts.values()]
    return replace(total(parts, UNITS[measure], formula), origin=max([*origins, "derived"], key=_ORIGINS.index))
