"""Knobs of a spatial accelerator: other array sizes, buffers, bandwidths, clock or dataflow, as a new accelerator.

Energies stay those of the file: `hwmodels.energy.priced` gives those of the new sizes, `price` their area.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from hwmodels.records import Citation
from hwmodels.spatial import ROLES, Accelerator, BufferLevel, MeshAxis, Organisation, Role
from hwmodels.units import parse_quantity
from workloads.errors import SpecError, nearest

__all__ = ["DATAFLOWS", "resized"]

Quantity = float | str
"""A number in base units, or text with a unit."""

DATAFLOWS: Mapping[str, tuple[Role, tuple[str, str], tuple[str, str]]] = {
    "weight-stationary": ("W", ("WO", "I"), ("WI", "O")),
    "output-stationary": ("O", ("WO", "I"), ("IO", "W")),
    "input-stationary": ("I", ("IO", "W"), ("WI", "O")),
}
"""By name: the role that stays in a PE, and what the first axis (columns) and the second one (rows) of the array tell
apart and share."""


def resized(
    accelerator: Accelerator,
    *,
    mesh: Mapping[str, int] | None = None,
    rows: int | None = None,
    columns: int | None = None,
    capacity: Mapping[str, Quantity] | None = None,
    bandwidth: Mapping[str, Quantity] | None = None,
    clock_hz: float | None = None,
    dataflow: str | None = None,
    scale_ports: bool = True,
) -> Accelerator:
    """Give an accelerator with some of its sizes turned; its name says which.

    Its area need not grow with every size: a buffer with other rows is folded into other sub-arrays, so a narrower
    array may come with a larger accumulator.

    Args:
        accelerator: Unchanged.
        mesh: Instances along mesh axes, by name.
        rows: Along the axis "Y".
        columns: Along the axis "X".
        capacity: Of levels, by name: bytes, or text as "512 KiB"; parts of it grow alike.
        bandwidth: Read bandwidth of levels, by name: bytes a second, or text; the write bandwidth keeps its ratio.
        clock_hz: Of the array and of the vector units that run at its clock; on-chip bandwidths move with it, that of
            the outermost level and hosts do not. A clock that pays with its supply is `price(clock_scale=...)`.
        dataflow: Of an array whose PEs hold one word: a key of `DATAFLOWS`.
        scale_ports: A buffer that feeds the array, or takes its sums, gets ports and rows as many times as wide as what
            the array takes from it at once: for each role the instances along the axes that its words differ on and
            are not multicast over; along the first of them for what stays in the PEs, which is shifted in a row at a
            time; of several roles the widest. Buses (one bandwidth for reads and writes) and engines stay.

    Raises:
        SpecError: Sizes below 1, a capacity of no whole number of words, an axis that is not there, a dataflow that
            the array cannot have.
        MappingError: Unknown level.

    Example:
        >>> import hwmodels
        >>> large = resized(hwmodels.load("gemmini"), rows=32, columns=32, capacity={"Scratchpad": "512 KiB"})
        >>> large.name, large.mac_instances, large.levels[1].capacity_words, large.levels[1].read_words_per_cycle
        ('gemmini[X=32, Y=32, Scratchpad=512 KiB]', 1024, 524288, 128.0)
    """
    sizes = _mesh_sizes(accelerator, mesh, rows, columns)
    capacities = _by_level(accelerator, "capacity", capacity, "B")
    bandwidths = _by_level(accelerator, "bandwidth", bandwidth, "B/s")
    done = accelerator if dataflow is None else _rewired(accelerator, dataflow)
    done = _with_mesh(done, sizes, scale_ports)
    if clock_hz is not None:
        done = _clocked(done, _base(clock_hz, "Hz", "clock_hz", accelerator.name))
    for name, size in capacities.items():
        done = _with_level(done, name, _with_capacity(done, name, size))
    for name, rate in bandwidths.items():
        done = _with_level(done, name, _with_bandwidth(done, name, rate))
    changes = [f"{name}={size}" for name, size in sorted(sizes.items())]
    changes += [f"{name}={_text(size)}B" for name, size in capacities.items()]
    changes += [f"{name}={rate / 1e9:g} GB/s" for name, rate in bandwidths.items()]
    changes += [f"{done.clock_hz / 1e6:g} MHz"] if clock_hz is not None else []
    changes += [dataflow] if dataflow is not None else []
    return _named(accelerator, done, changes) if changes else accelerator


def _named(accelerator: Accelerator, done: Accelerator, changes: list[str]) -> Accelerator:
    """Give the result a name and a source that say what was turned."""
    name = f"{accelerator.name}[{', '.join(changes)}]"
    note = "energies are those of the file until hwmodels.energy.priced replaces them"
    cited = {**done.sources, "resized": Citation(f"hwmodels.resized: {name}", "assumption", note)}
    return replace(done, name=name, sources=cited)


def _by_level(accelerator: Accelerator, what: str, given: Mapping[str, Quantity] | None, unit: str) -> dict[str, float]:
    """Give what a knob says by level, in base units."""
    for name in given or {}:
        accelerator.level_index(name)
    return {name: _base(value, unit, f"{what} of {name}", accelerator.name) for name, value in (given or {}).items()}


def _base(value: Quantity, unit: str, what: str, device: str) -> float:
    """Give a quantity in base units, finite and above 0."""
    number = parse_quantity(value, unit) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number) or number <= 0:
        raise SpecError(f"{device}: {what} is {value!r}; give a number of {unit} above 0, or text with a unit")
    return float(number)


def _text(size: float) -> str:
    """Write bytes in the largest binary unit that they are a whole number of."""
    for power, prefix in ((20, "Mi"), (10, "Ki")):
        if size % 2**power == 0:
            return f"{size / 2**power:g} {prefix}"
    return f"{size:g} "


def _mesh_sizes(
    accelerator: Accelerator, mesh: Mapping[str, int] | None, rows: int | None, columns: int | None
) -> dict[str, int]:
    """Collect the new sizes by axis, and check them."""
    sizes = dict(mesh or {})
    for name, knob, size in (("Y", "rows", rows), ("X", "columns", columns)):
        if size is None:
            continue
        if name in sizes:
            raise SpecError(f"{accelerator.name}: {knob} is the axis {name!r} of mesh; give one of them")
        sizes[name] = size
    known = [axis.name for level in accelerator.levels for axis in level.mesh]
    for name, size in sizes.items():
        if known.count(name) != 1:
            why = f"no mesh axis {name!r}; {nearest(name, known)}" if name not in known else f"several axes {name!r}"
            raise SpecError(f"{accelerator.name}: {why}")
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise SpecError(f"{accelerator.name}: axis {name} of {size!r} instances; give a whole number of at least 1")
    return sizes


def _with_level(accelerator: Accelerator, name: str, level: BufferLevel) -> Accelerator:
    return replace(accelerator, levels=tuple(level if old.name == name else old for old in accelerator.levels))


def _with_capacity(accelerator: Accelerator, name: str, size: float) -> BufferLevel:
    level = accelerator.levels[accelerator.level_index(name)]
    if level.capacity_words is None:
        raise SpecError(f"{accelerator.name}: {name} has no bound, so no capacity to turn")
    words = size * 8 / level.word_bits
    parts = {role: part * words / level.capacity_words for role, part in level.partitions.items()}
    for what, count in {"": words, **{f" for {role}": part for role, part in parts.items()}}.items():
        if count != int(count) or count < 1:
            raise SpecError(
                f"{accelerator.name}: capacity of {name}{what}: {size:g} B are {count:g} words of {level.word_bits} "
                "bit; give a whole number of them"
            )
    return replace(level, capacity_words=int(words), partitions={role: int(part) for role, part in parts.items()})


def _with_bandwidth(accelerator: Accelerator, name: str, rate: float) -> BufferLevel:
    level = accelerator.levels[accelerator.level_index(name)]
    if level.read_words_per_cycle is None:
        raise SpecError(f"{accelerator.name}: {name} states no read bandwidth, so there is none to turn")
    return _widened(level, rate / (level.read_words_per_cycle * level.word_bits / 8 * accelerator.clock_hz))


def _widened(level: BufferLevel, factor: float, writes: bool = True) -> BufferLevel:
    read, write = level.read_words_per_cycle, level.write_words_per_cycle
    return replace(
        level,
        read_words_per_cycle=None if read is None else read * factor,
        write_words_per_cycle=write * factor if write is not None and writes else write,
    )


def _clocked(accelerator: Accelerator, clock_hz: float) -> Accelerator:
    """Give it at another clock: words a cycle stay, but those of the outermost level, which has a clock of its own."""
    faster = clock_hz / accelerator.clock_hz
    outermost = _widened(accelerator.levels[0], 1 / faster)
    engines = tuple(
        replace(engine, clock_hz=clock_hz)
        if engine.kind == "vector" and engine.clock_hz == accelerator.clock_hz
        else engine
        for engine in accelerator.engines
    )
    return replace(accelerator, clock_hz=clock_hz, levels=(outermost, *accelerator.levels[1:]), engines=engines)


def _with_mesh(accelerator: Accelerator, sizes: Mapping[str, int], scale_ports: bool) -> Accelerator:
    def sized(axis: MeshAxis) -> MeshAxis:
        return replace(axis, size=sizes[axis.name]) if axis.name in sizes else axis

    grown = tuple(replace(level, mesh=tuple(map(sized, level.mesh))) for level in accelerator.levels)
    turned = replace(accelerator, levels=grown)
    if not scale_ports:
        return turned
    built = dict(accelerator.organisations)
    levels = []
    for level, old, new in zip(grown, _widths(accelerator), _widths(turned), strict=True):
        wider = 1.0 if level.shared_port else max(new.values(), default=1) / max(old.values(), default=1)
        levels.append(_widened(level, wider, writes="O" in new))
        if level.name in built and wider != 1:
            built[level.name] = _wider_rows(built[level.name], wider, level.word_bits)
    return replace(turned, levels=tuple(levels), organisations=built)


def _widths(accelerator: Accelerator) -> list[dict[Role, int]]:
    """Give the words of each role that the array takes, or gives, at once, at the buffer where it enters or leaves it.

    By level. Words that are multicast on a bus count once; what stays in the PEs is shifted in along the first axis.
    """
    found: list[dict[Role, int]] = [{} for _ in accelerator.levels]
    meshes = [place for place, level in enumerate(accelerator.levels) if level.mesh]
    if not meshes:
        return found
    axes = [axis for level in accelerator.levels for axis in level.mesh]
    for role in ROLES:
        feeder = max(place for place in range(meshes[0] + 1) if role in accelerator.levels[place].keeps)
        stays = any(role in level.keeps for level in accelerator.levels[meshes[-1] + 1 :])
        apart = [axis.size for axis in axes if role in axis.distinct and role not in axis.shared]
        found[feeder][role] = math.prod(apart[:1] if stays else apart)
    return found


def _wider_rows(known: Organisation, factor: float, word_bits: int) -> Organisation:
    """Give rows as wide as the ports; where these would be no whole words, as many memories more; else neither."""
    if known.row_bytes is None:
        return known
    row = known.row_bytes * factor
    if row * 8 % word_bits == 0:
        return replace(known, row_bytes=row)
    banks = (known.banks or 1) * factor
    return replace(known, banks=int(banks)) if banks == int(banks) else replace(known, row_bytes=None, banks=None)


def _rewired(accelerator: Accelerator, dataflow: str) -> Accelerator:
    """Give a systolic array another dataflow: the role that stays in its PEs, and what its axes carry."""
    if dataflow not in DATAFLOWS:
        raise SpecError(f"{accelerator.name}: dataflow {dataflow!r} is unknown; {nearest(dataflow, DATAFLOWS)}")
    *outer, register = accelerator.levels
    role, *ways = DATAFLOWS[dataflow]
    if len(outer) < 2 or len(outer[-1].mesh) != 2 or any(level.mesh for level in (*outer[:-1], register)) or (
        len(register.keeps) != 1 or register.capacity_words != 1
    ):  # fmt: skip
        raise SpecError(
            f"{accelerator.name}: its dataflow cannot be turned: that takes PEs that hold one word, on two mesh axes "
            f"below one level; here {register.name} holds {', '.join(register.keeps)}, {register.capacity_words} words"
        )
    bits = accelerator.acc_bits if role == "O" else accelerator.operand_bits
    if bits is None:
        raise SpecError(f"{accelerator.name}: states no width of its {'sums' if role == 'O' else 'operands'}")
    mesh = tuple(
        MeshAxis(name=axis.name, size=axis.size, distinct=tuple(apart), shared=tuple(shared))
        for axis, (apart, shared) in zip(outer[-1].mesh, ways, strict=True)
    )
    per_bit = bits / register.word_bits
    inner = replace(
        register, name=f"{role}Reg", keeps=(role,), word_bits=bits, bypass=(),
        read_j=register.read_j * per_bit, write_j=register.write_j * per_bit,
    )  # fmt: skip
    sources = {name.replace(f"level.{register.name}", f"level.{inner.name}"): cited
               for name, cited in accelerator.sources.items()}  # fmt: skip
    levels = (*outer[:-1], replace(outer[-1], mesh=mesh), inner)
    return replace(accelerator, levels=levels, sources=sources)
