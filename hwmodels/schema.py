"""The schema of a device file: frozen dataclasses that pydantic reads, one per table, each with a source.

See `specs/README.md` for the same in prose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from hwmodels.units import Unit

__all__ = [
    "ArithmeticEnergy",
    "DeviceSpec",
    "Efficiency",
    "Interconnect",
    "Kernels",
    "Launch",
    "Matrix",
    "Memory",
    "MemoryEnergy",
    "Power",
    "Release",
    "Source",
    "Sparsity",
    "Table",
    "Unpacking",
    "Vector",
    "VectorPeaks",
]


class Source:
    """Marks a field that says where numbers come from: text that is not blank."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Tell pydantic to refuse a blank source."""
        from pydantic_core import PydanticCustomError, core_schema

        def validate(value: str) -> str:
            if not value.strip():
                raise PydanticCustomError("blank_source", "blank")
            return value

        return core_schema.no_info_after_validator_function(validate, core_schema.str_schema())


Origin = Literal["read", "derived", "recalled", "assumption", "measured"]
Rate = Annotated[float, Unit("FLOP/s")]
JPerFlop = Annotated[float, Unit("J/FLOP")]

# Unknown keys are faults.
_CONFIG = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A group of numbers with one source.

    Attributes:
        source: Author, title or table: where a reader can check it.
        origin: read in the source, derived from it, recalled without a text at hand, assumption, measured here.
        note: What to know when using it.
        disagreements: What other sources say instead.
    """

    __pydantic_config__ = _CONFIG

    source: Annotated[str, Source()]
    origin: Origin
    note: str = ""
    disagreements: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix(Table):
    """Dense peaks of matrix products by arithmetic format, stated at a clock."""

    clock: Annotated[float, Unit("Hz")]
    peak: dict[str, Rate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector(Table):
    """Peak of everything that is no matrix product."""

    clock: Annotated[float, Unit("Hz")]
    peak: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorPeaks(Table):
    """Ceilings of single operator kinds that differ from the vector peak."""

    peak: dict[Literal["softmax", "norm", "gelu", "elementwise", "reduce", "gather", "move", "convert"], Rate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparsity(Table):
    """Sparsity patterns that speed matrix products up."""

    speedup: dict[str, float]
    formats: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory(Table):
    """One memory level; bandwidth may be left out inside the outermost."""

    name: str
    capacity: Annotated[float, Unit("B")]
    bandwidth: Annotated[float, Unit("B/s")] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEnergy(Table):
    """Energy of a bit at each level, on top of the levels inside it."""

    increment: dict[str, Annotated[float, Unit("J/bit", positive=False)]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArithmeticEnergy(Table):
    """Energy of a FLOP: by `hwmodels.energy` at a technology node, or numbers of one's own."""

    node: Annotated[float, Unit("m")] | None = None
    per_flop: dict[str, JPerFlop] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch(Table):
    """Overhead of one kernel: from one kernel's end to the next one's start when launches are queued."""

    overhead: Annotated[float, Unit("s", positive=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Power(Table):
    """Thermal design power (a bound for checks) and the power that flows whatever runs."""

    tdp: Annotated[float, Unit("W")]
    static: Annotated[float, Unit("W", positive=False)]
    static_memory_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels(Table):
    """What the device's kernels fuse by themselves."""

    fuses: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency(Table):
    """Factors on the compute peak by op type: kernels that are known to reach less."""

    factor: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacking(Table):
    """Speed of products whose kernel unpacks a stored weight, relative to the same product with a full one.

    The unpacking is part of it. Keys: weights of up to so many bits.
    """

    efficiency: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Table):
    """When the device came out: what `hwmodels.project` counts years from."""

    year: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Interconnect(Table):
    """What joins devices; the bandwidth is the total of both directions."""

    name: str
    bandwidth: Annotated[float, Unit("B/s")]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSpec:
    """A device file."""

    __pydantic_config__ = _CONFIG

    name: str
    title: str
    kind: Literal["gpu", "cpu"]
    vendor: str
    process: str
    architecture: str = ""
    aliases: list[str] = field(default_factory=list)
    cores: int = 0
    dies: int = 1
    threads: int = 0
    matrix: Matrix
    vector: Vector
    memory: list[Memory]
    memory_energy: MemoryEnergy
    arithmetic_energy: ArithmeticEnergy
    launch: Launch
    power: Power
    kernels: Kernels
    sparsity: Sparsity | None = None
    vector_peaks: VectorPeaks | None = None
    efficiency: Efficiency | None = None
    unpacking: Unpacking | None = None
    release: Release | None = None
    interconnect: Interconnect | None = None
