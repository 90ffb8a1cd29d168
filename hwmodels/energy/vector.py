"""Vector units: lanes of adders and multipliers for what is no matrix product, and what their functions take.

The units of a lane are the most that any one of its functions needs: functions take turns, an element a cycle.

Source: Kim et al., I-BERT: Integer-only BERT Quantization, ICML 2021, Algorithms 1 to 4 (operations of the functions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hwmodels.energy.area import Component, logic_leakage
from hwmodels.energy.arithmetic import add_area, add_energy, multiply_area, multiply_energy
from hwmodels.energy.checking import number
from hwmodels.energy.clocks import Clocking
from hwmodels.energy.combining import product, total
from hwmodels.energy.estimate import Estimate
from workloads.errors import SpecError, nearest
from workloads.operator import Num

__all__ = ["FUNCTIONS", "Operations", "VectorUnit", "vector_component"]


@dataclass(frozen=True, slots=True)
class Operations:
    """Operations on one element."""

    multiplies: int = 0
    adds: int = 0
    divides: int = 0


FUNCTIONS: Mapping[str, Operations] = {
    "add": Operations(adds=1),
    "multiply": Operations(multiplies=1),
    "relu": Operations(adds=1),
    "max": Operations(adds=1),
    "dequantize": Operations(multiplies=1),
    "requantize": Operations(multiplies=1, adds=1),
    "gelu": Operations(multiplies=2, adds=4),
    "exp": Operations(multiplies=3, adds=3),
    "softmax": Operations(multiplies=4, adds=5, divides=1),
    "layernorm": Operations(multiplies=2, adds=4, divides=1),
}
"""gelu: clip, (q + b)^2 + c, times q + 1; exp: range reduction, (q + b)^2 + c, shift; softmax: exp, the largest, the
sum and its reciprocal, a product; layernorm: sum, sum of squares, the root's division, difference and product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorUnit:
    """A vector unit of a spatial accelerator.

    Attributes:
        name: "activation unit".
        lanes: Elements a cycle.
        format: Of its arithmetic.
        functions: Names of `FUNCTIONS`.
    """

    name: str = "vector unit"
    lanes: int
    format: str = "int32"
    functions: tuple[str, ...] = ("add", "multiply")

    def __post_init__(self) -> None:
        if not 1 <= number(self.lanes, "int", "lanes", self.name) < 2**53 or self.lanes % 1:
            raise SpecError(f"{self.name}: {self.lanes} lanes; give at least one, a whole number")
        for function in self.functions:
            if not isinstance(function, str) or function not in FUNCTIONS:
                raise SpecError(f"{self.name}: no function {function!r}; {nearest(function, FUNCTIONS)}")
        if not self.functions:
            raise SpecError(f"{self.name}: no functions; name at least one of {', '.join(FUNCTIONS)}")

    @property
    def units(self) -> Operations:
        """Multipliers, adders and dividers of a lane."""
        needed = [FUNCTIONS[function] for function in self.functions]
        return Operations(*(max(getattr(one, what) for one in needed) for what in ("multiplies", "adds", "divides")))


def vector_component(
    unit: VectorUnit, *, node_nm: Num, clocked: Clocking, low_power: Estimate | None = None
) -> Component:
    """Price a vector unit: area, leakage, and the energy of an element of each of its functions.

    A divider counts as a multiplier of the same width: both are an array of as many rows of adders. No registers,
    sequencing or tables are counted.

    Args:
        unit: What it can do.
        node_nm: One or shape (n_points,) [nm].
        clocked: What the clock does to energy and leakage.
        low_power: Leakage of the device class relative to high-performance transistors.

    Example:
        >>> from hwmodels.energy.clocks import clocking
        >>> unit = VectorUnit(lanes=16, functions=("gelu", "requantize"))
        >>> part = vector_component(unit, node_nm=45, clocked=clocking(45))
        >>> sorted(part.energy_j), part.count
        (['gelu', 'requantize'], 16)
    """
    multiplier = {
        "area": multiply_area(unit.format, node_nm=node_nm),
        "energy": multiply_energy(unit.format, node_nm=node_nm),
    }
    adder = {"area": add_area(unit.format, node_nm=node_nm), "energy": add_energy(unit.format, node_nm=node_nm)}

    def sum_of(what: str, count: Operations, unit_name: str) -> Estimate:
        parts = {
            "multipliers": product(multiplier[what], count.multiplies + count.divides, formula="multipliers, dividers"),
            "adders": product(adder[what], count.adds, formula="adders"),
        }
        return total(parts, unit_name, "arithmetic")

    lane = sum_of("area", unit.units, "mm2")
    area = product(lane, unit.lanes, formula=f"{unit.lanes} lanes of {unit.format}")
    leakage = logic_leakage(area, node_nm=node_nm, low_power=low_power)
    return Component(
        name=unit.name,
        count=unit.lanes,
        area_mm2=area,
        static_w=product(leakage, clocked.leakage, formula="at the supply of the clock"),
        energy_j={
            name: product(sum_of("energy", FUNCTIONS[name], "J"), clocked.energy, formula=f"{name} of an element")
            for name in unit.functions
        },
    )
