"""Energy and area of additions, multiplications and multiply-adds in any number format, at any node.

`arithmetic_law` has the law and its published figures, `arithmetic_checks` its errors. Each result says whether it is a
published figure ("anchor"), one interpolated between 45 and 7 nm, one derived by the law, or one scaled beyond. Those
of 45 nm are at 0.9 V, as published; from 65 nm on values are at the node's nominal supply (`arithmetic_nodes`). Values
are those of the two published sets; other sets differ by up to four times (`arithmetic_deviations`), and so the bands
hold circuits of any make unless `circuits="published"` asks for those of the two sets' own make.
"""

from __future__ import annotations

from hwmodels.energy.arithmetic_formats import NumberFormat
from hwmodels.energy.arithmetic_operations import add, mac, multiply
from hwmodels.energy.arithmetic_published import Circuits, of_make
from hwmodels.energy.checking import checked
from hwmodels.energy.estimate import Estimate
from workloads.operator import Num

__all__ = ["add_area", "add_energy", "mac_area", "mac_energy", "multiply_area", "multiply_energy"]


@checked
def multiply_energy(
    a: NumberFormat,
    b: NumberFormat | None = None,
    *,
    node_nm: Num,
    law: str | None = None,
    circuits: Circuits = "any",
) -> Estimate:
    """Estimate the energy of a x b.

    Args:
        a: Format of the first operand: "int8", "fp16", "e4m3", "int3", or a record of `integer` or `floating`.
        b: Of the second, which may be narrower or of the other kind; None: the same.
        node_nm: One node or shape (n_points,), 3 to 180 [nm].
        law: Of `LAWS["logic energy"]`, outside 45 to 7 nm; None: its first.
        circuits: Whose band: "any" make of circuit, or "published": the make of Horowitz' and Jouppi's figures, for
            comparing formats of one make. The value is the same.

    Returns:
        The energy [J].

    Raises:
        SpecError: No such format, law or `circuits`, or a node out of range.

    Source:
        Horowitz, ISSCC 2014 (45 nm); Jouppi et al., Ten Lessons, ISCA 2021 (7 nm); `arithmetic_published.csv` (bands).

    Example:
        >>> multiply_energy("int8", node_nm=45).value
        2e-13
        >>> multiply_energy("int8", "int4", node_nm=45).origin
        'derived'
        >>> any_make = multiply_energy("int8", node_nm=45)
        >>> own_make = multiply_energy("int8", node_nm=45, circuits="published")
        >>> f"up to {any_make.high / any_make.value:.1f} and {own_make.high / own_make.value:.2f} times the value"
        'up to 5.4 and 1.25 times the value'
    """
    return of_make(multiply("energy", a, b, node_nm=node_nm, law=law), "energy", circuits)


@checked
def multiply_area(
    a: NumberFormat,
    b: NumberFormat | None = None,
    *,
    node_nm: Num,
    law: str | None = None,
    circuits: Circuits = "any",
) -> Estimate:
    """Estimate the area of a multiplier [mm2].

    Published at 45 nm alone; elsewhere scaled. Arguments, errors and sources: as `multiply_energy`, with the laws of
    `LAWS["logic area"]`.

    Example:
        >>> multiply_area("int8", node_nm=45).value
        0.000282
    """
    return of_make(multiply("area", a, b, node_nm=node_nm, law=law), "area", circuits)


@checked
def add_energy(format_: NumberFormat, *, node_nm: Num, law: str | None = None, circuits: Circuits = "any") -> Estimate:
    """Estimate the energy of an addition.

    Args:
        format_: Of both operands: a name or a record, as in `multiply_energy`.
        node_nm: One node or shape (n_points,), 3 to 180 [nm].
        law: Of `LAWS["logic energy"]`, outside 45 to 7 nm; None: its first.
        circuits: Whose band: "any" make of circuit, or "published": the make of Horowitz' and Jouppi's figures, for
            comparing formats of one make. The value is the same.

    Returns:
        The energy [J].

    Raises:
        SpecError: No such format, law or `circuits`, or a node out of range.

    Source:
        Horowitz, ISSCC 2014 (45 nm); Jouppi et al., Ten Lessons, ISCA 2021 (7 nm); `arithmetic_published.csv` (bands).

    Example:
        >>> add_energy("fp32", node_nm=7).value
        3.8e-13
    """
    return of_make(add("energy", format_, node_nm=node_nm, law=law), "energy", circuits)


@checked
def add_area(format_: NumberFormat, *, node_nm: Num, law: str | None = None, circuits: Circuits = "any") -> Estimate:
    """Estimate the area of an adder [mm2].

    Published at 45 nm alone; elsewhere scaled. Arguments, errors and sources: as `add_energy`.

    Example:
        >>> add_area("int32", node_nm=45).value
        0.000137
    """
    return of_make(add("area", format_, node_nm=node_nm, law=law), "area", circuits)


@checked
def mac_energy(
    a: NumberFormat,
    b: NumberFormat | None = None,
    *,
    accumulator: NumberFormat | None = None,
    node_nm: Num,
    law: str | None = None,
    circuits: Circuits = "any",
) -> Estimate:
    """Estimate the energy of a multiply-accumulate: a x b, added to a running sum.

    Args:
        a: Format of the first operand, as in `multiply_energy`.
        b: Of the second; None: the same.
        accumulator: Format of the sum; None: int32 or int64 for integers, fp32 or fp64 where a float takes part (see
            `default_accumulator`). `exact_accumulator` gives the narrowest integer for a dot product.
        node_nm: One node or shape (n_points,), 3 to 180 [nm].
        law: Of `LAWS["logic energy"]`, outside 45 to 7 nm; None: its first.
        circuits: Whose band: "any" make of circuit, or "published": the make of Horowitz' and Jouppi's figures, for
            comparing formats of one make. The value is the same.

    Returns:
        The energy [J], with the parts "multiply" and "add".

    Raises:
        SpecError: No such format, law or `circuits`, or a node out of range.

    Source:
        Horowitz, ISSCC 2014 (45 nm); Jouppi et al., Ten Lessons, ISCA 2021 (7 nm); `arithmetic_published.csv` (bands).

    Example:
        >>> mac_energy("int8", node_nm=7).value
        1e-13
        >>> list(mac_energy("fp16", "int4", node_nm=7).parts)
        ['multiply', 'add']
    """
    return of_make(mac("energy", a, b, accumulator=accumulator, node_nm=node_nm, law=law), "energy", circuits)


@checked
def mac_area(
    a: NumberFormat,
    b: NumberFormat | None = None,
    *,
    accumulator: NumberFormat | None = None,
    node_nm: Num,
    law: str | None = None,
    circuits: Circuits = "any",
) -> Estimate:
    """Estimate the area of a multiplier and an accumulating adder, without registers [mm2].

    Arguments, errors and sources: as `mac_energy`, with the laws of `LAWS["logic area"]`.

    Example:
        >>> round(mac_area("int8", node_nm=45).value * 1e6)
        419
    """
    return of_make(mac("area", a, b, accumulator=accumulator, node_nm=node_nm, law=law), "area", circuits)
