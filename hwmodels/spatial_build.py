"""From a checked file to an `Accelerator`: what spans several fields is checked here."""

from __future__ import annotations

from collections.abc import Iterable

from hwmodels.engines import Engine
from hwmodels.records import Citation
from hwmodels.schema import Table
from hwmodels.spatial import ROLES, Accelerator, BufferLevel, MeshAxis, Organisation
from hwmodels.spatial_schema import EngineTable, Level, SpatialSpec
from workloads.errors import MappingError, SpecError, nearest

__all__ = ["build_accelerator"]


def build_accelerator(spec: SpatialSpec, origin: str) -> Accelerator:
    """Build an accelerator from its checked file.

    Args:
        spec: The file.
        origin: Its name, for messages.

    Raises:
        SpecError: Fields that contradict each other.
    """
    if not spec.level or {*spec.level[0].keeps} != {*ROLES} or spec.level[0].capacity is not None:
        raise SpecError(
            f'{origin}: field level.0: the outermost level keeps ["W", "I", "O"] and has no capacity (DRAM): '
            "all tensors start or end there"
        )
    if spec.level[0].bypass:
        raise SpecError(f"{origin}: field level.0.bypass: nothing goes past the outermost level; leave it out")
    _check_unique(f"{origin}: field level", "level", [level.name for level in spec.level])
    clock = spec.array.clock
    return Accelerator(
        name=spec.name,
        vendor=spec.vendor,
        process=spec.process,
        levels=tuple(_level(level, f"{origin}: field level.{at}", clock) for at, level in enumerate(spec.level)),
        mac_j=2 * spec.array.per_flop,
        macs_per_cycle=spec.array.macs_per_cycle,
        clock_hz=clock,
        operand_bits=None if spec.array.operand is None else int(spec.array.operand),
        acc_bits=None if spec.array.accumulator is None else int(spec.array.accumulator),
        static_w=spec.power.static,
        organisations={
            level.name: _organisation(level, f"{origin}: field level.{at}.built")
            for at, level in enumerate(spec.level)
            if level.built is not None
        },
        engines=_engines(spec, origin),
        absorbs=tuple(spec.array.absorbs),
        sources=_citations(spec),
    )


def _level(level: Level, where: str, clock_hz: float) -> BufferLevel:
    read, write = level.read_bandwidth, level.write_bandwidth
    if level.bandwidth is not None and (read is not None or write is not None):
        raise SpecError(f"{where}.bandwidth: shared by reads and writes; leave out read_bandwidth and write_bandwidth")
    _check_unique(where, "mesh", [axis.name for axis in level.mesh])
    _check_wires(level, where)
    if level.capacity is None and level.partitions:
        raise SpecError(f"{where}.partitions: parts of a capacity that is not given; add capacity")
    stray = [role for role in level.bypass or () if role not in level.keeps]
    if stray:
        raise SpecError(
            f"{where}.bypass: {stray[0]} goes past {level.name} anyway, as keeps does not name it; leave it out, or "
            "add it to keeps"
        )
    per_word = clock_hz * level.word / 8
    read, write = (level.bandwidth, level.bandwidth) if level.bandwidth is not None else (read, write)
    return BufferLevel(
        name=level.name,
        keeps=tuple(level.keeps),
        capacity_words=None if level.capacity is None else _words(level.capacity, level, f"{where}.capacity"),
        word_bits=int(level.word),
        read_words_per_cycle=None if read is None else read / per_word,
        write_words_per_cycle=None if write is None else write / per_word,
        read_j=level.energy.read * level.word,
        write_j=level.energy.write * level.word,
        mesh=tuple(
            MeshAxis(
                name=axis.name,
                size=axis.size,
                distinct=tuple(axis.distinct),
                shared=tuple(axis.shared),
                forwards=tuple(axis.forwards),
                dims=None if axis.dims is None else tuple(axis.dims),
            )
            for axis in level.mesh
        ),
        partitions={role: _words(part, level, f"{where}.partitions.{role}") for role, part in level.partitions.items()},
        buffering=level.buffering,
        shared_port=level.bandwidth is not None,
        burst_bits=0 if level.burst is None else int(level.burst * 8),
        bypass=None if level.bypass is None else tuple(level.bypass),
        takes_outputs=level.takes_outputs,
    )


def _engines(spec: SpatialSpec, origin: str) -> tuple[Engine, ...]:
    _check_unique(f"{origin}: field engine", "engine", [engine.name for engine in spec.engine])
    engines = []
    for at, table in enumerate(spec.engine):
        known = [level.name for level in spec.level]
        if table.level not in known:
            raise SpecError(
                f"{origin}: field engine.{at}.level: no level {table.level!r}; {nearest(table.level, known)}"
            )
        try:
            engines.append(_engine(table, spec.array.clock))
        except MappingError as error:
            raise SpecError(f"{origin}: field engine.{at}: {error}") from error
    return tuple(engines)


def _engine(table: EngineTable, clock_hz: float) -> Engine:
    return Engine(
        name=table.name,
        kind=table.kind,
        level=table.level,
        lanes=table.lanes,
        clock_hz=clock_hz if table.clock is None else table.clock,
        cycles=dict(table.cycles),
        passes=dict(table.passes),
        converts=table.converts,
        cycle_j=table.per_cycle,
        path_bytes_per_s=table.path,
        link_bytes_per_s=table.link,
        link_j_per_bit=table.link_energy or 0.0,
        start_s=table.start or 0.0,
    )


def _check_wires(level: Level, where: str) -> None:
    """Refuse mesh axes on which no dim of any operator can be unrolled."""
    for at, axis in enumerate(level.mesh):
        for role in ROLES:
            if role not in axis.distinct and role not in axis.shared:
                raise SpecError(
                    f"{where}.mesh.{at}: along {axis.name} {role} can neither differ nor be shared, so no dim can be "
                    f"unrolled there; name {role} in distinct or in shared"
                )


def _organisation(level: Level, where: str) -> Organisation:
    built = level.built
    assert built is not None
    if level.capacity is None:
        raise SpecError(
            f"{where}: {level.name} has no capacity; a memory without bound is not built here: leave it out"
        )
    ports = built.ports
    if ports is not None and (len(ports) != 3 or min(ports) < 0 or sum(ports) == 0):
        raise SpecError(f"{where}.ports: {ports}; give three numbers: read-write, read and write ports, one at least")
    return Organisation(
        row_bytes=built.row, banks=built.banks, ports=None if ports is None else (ports[0], ports[1], ports[2])
    )


def _words(capacity_bytes: float, level: Level, where: str) -> int:
    words = capacity_bytes * 8 / level.word
    if words != int(words) or words < 1:
        raise SpecError(f"{where}: {capacity_bytes:g} B are {words:g} words of {level.word:g} bit; give a whole number")
    return int(words)


def _check_unique(where: str, what: str, names: Iterable[str]) -> None:
    names = list(names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError(f"{where}: two {what} entries are named {twice[0]!r}; give each its own name")


def _citations(spec: SpatialSpec) -> dict[str, Citation]:
    tables: dict[str, Table] = {"array": spec.array}
    for level in spec.level:
        tables[f"level.{level.name}"] = level
        tables[f"level.{level.name}.energy"] = level.energy
        if level.built is not None:
            tables[f"level.{level.name}.built"] = level.built
    tables |= {f"engine.{engine.name}": engine for engine in spec.engine}
    tables["power"] = spec.power
    return {
        name: Citation(table.source, table.origin, table.note, tuple(table.disagreements))
        for name, table in tables.items()
    }
