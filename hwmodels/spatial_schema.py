"""The schema of the file of a spatial accelerator: frozen dataclasses that pydantic reads, each table with a source.

See `specs/README.md` for the same in prose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from hwmodels.engines import Absorbed
from hwmodels.limits import Count, Positive
from hwmodels.schema import Table
from hwmodels.units import Unit

__all__ = ["Array", "Built", "EngineTable", "Level", "LevelEnergy", "Mesh", "SpatialSpec", "StaticPower"]

_CONFIG = {"extra": "forbid"}

RoleName = Literal["W", "I", "O"]
Bandwidth = Annotated[float, Unit("B/s")]
JPerBit = Annotated[float, Unit("J/bit", positive=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Array(Table):
    """The multiply-accumulate units; `absorbs` names what they take along with a product (`hwmodels.engines`)."""

    clock: Annotated[float, Unit("Hz")]
    per_flop: Annotated[float, Unit("J/FLOP")]
    macs_per_cycle: Positive = 1.0
    operand: Annotated[float, Unit("bit")] | None = None
    accumulator: Annotated[float, Unit("bit")] | None = None
    absorbs: list[Absorbed] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelEnergy(Table):
    """Energy of an access."""

    read: JPerBit
    write: JPerBit


@dataclass(frozen=True, slots=True, kw_only=True)
class Built(Table):
    """How the memory of one instance is built; `ports` of a bank: read-write, read, write."""

    row: Annotated[float, Unit("B")] | None = None
    banks: Count | None = None
    ports: list[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """One axis of the fan-out below a level."""

    __pydantic_config__ = _CONFIG

    name: str
    size: Count
    distinct: list[RoleName]
    shared: list[RoleName]
    forwards: list[RoleName] = field(default_factory=list)
    dims: list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Level(Table):
    """One buffer level, per instance; either `bandwidth`, which reads and writes share, or one of each, or none.

    `bypass` names the kept roles that may also go past the level; left out: any of them, [] : none. `takes_outputs`:
    finished outputs can be written into it.
    """

    name: str
    keeps: list[RoleName]
    bypass: list[RoleName] | None = None
    word: Annotated[float, Unit("bit")]
    capacity: Annotated[float, Unit("B")] | None = None
    partitions: dict[RoleName, Annotated[float, Unit("B")]] = field(default_factory=dict)
    bandwidth: Bandwidth | None = None
    read_bandwidth: Bandwidth | None = None
    write_bandwidth: Bandwidth | None = None
    buffering: Literal["double", "serial", "shadow"] = "double"
    burst: Annotated[float, Unit("B")] | None = None
    takes_outputs: bool = False
    energy: LevelEnergy
    built: Built | None = None
    mesh: list[Mesh] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTable(Table):
    """A vector unit or the host; see `hwmodels.engines.Engine`. Without a clock it runs at the array's."""

    name: str
    kind: Literal["vector", "host"]
    level: str
    lanes: Count = 1
    clock: Annotated[float, Unit("Hz")] | None = None
    cycles: dict[str, Positive]
    passes: dict[str, Count] = field(default_factory=dict)
    converts: bool = False
    per_cycle: Annotated[float, Unit("J", positive=False)]
    path: Bandwidth | None = None
    link: Bandwidth | None = None
    link_energy: JPerBit | None = None
    start: Annotated[float, Unit("s", positive=False)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticPower(Table):
    """Power that flows whatever runs."""

    static: Annotated[float, Unit("W", positive=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatialSpec:
    """The file of a spatial accelerator; levels outermost first."""

    __pydantic_config__ = _CONFIG

    name: str
    title: str
    kind: Literal["spatial"]
    vendor: str
    process: str
    aliases: list[str] = field(default_factory=list)
    array: Array
    level: list[Level]
    power: StaticPower
    engine: list[EngineTable] = field(default_factory=list)
