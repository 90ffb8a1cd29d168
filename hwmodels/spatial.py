"""Accelerators: buffer levels around an array of multiply-accumulate units, and what a count of their traffic includes.

Interface for mapping (`hwmodels.mapping`): everything here is data. Roles are "W" weights, "I" inputs, "O" outputs. A
*word* is a level's own unit of access; an element of one of the tensors takes one word, or bits / word_bits of one,
as `Conventions.bit_true` says.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from hwmodels.engines import Absorbed, Engine
from hwmodels.records import Citation
from workloads.errors import MappingError, nearest

__all__ = [
    "REFERENCE",
    "ROLES",
    "SILICON",
    "Accelerator",
    "BufferLevel",
    "Conventions",
    "MeshAxis",
    "Organisation",
    "Role",
]

RESERVED = ("array", "MACs", "static", "link")
"""Names of what is no engine: the array, and components of the energy."""

Role = str
"""W weights, I inputs, O outputs."""

ROLES: tuple[Role, ...] = ("W", "I", "O")

Buffering = Literal["double", "serial", "shadow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshAxis:
    """One axis of the fan-out below a level, with what its wires can carry.

    A dim may be unrolled along the axis if every tensor that it indexes may differ from instance to instance, and every
    tensor that it does not index may be shared: one word multicast to all (W, I), or partial sums reduced (O).

    Attributes:
        name: "X", "Y".
        size: Instances along it.
        distinct: Roles that may differ along the axis.
        shared: Roles that may be multicast (W, I) or reduced (O) along it.
        forwards: Roles whose words may move from neighbour to neighbour: a word that any instance already holds is not
            read again at the parent.
        dims: The only dims that it may unroll, by name; None: any that the wires allow.
    """

    name: str
    size: int
    distinct: tuple[Role, ...] = ROLES
    shared: tuple[Role, ...] = ROLES
    forwards: tuple[Role, ...] = ()
    dims: tuple[str, ...] | None = None

    def allows(self, dim: str, indexed: Collection[Role]) -> bool:
        """Say whether a dim may be unrolled along the axis.

        Args:
            dim: Its name.
            indexed: Roles of the tensors that the dim indexes.

        Example:
            >>> x = MeshAxis(name="X", size=16, distinct=("W", "O"), shared=("I",))
            >>> x.allows("n", {"W", "O"}), x.allows("m", {"I", "O"})
            (True, False)
        """
        if self.dims is not None and dim not in self.dims:
            return False
        return all(role in (self.distinct if role in indexed else self.shared) for role in ROLES)


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferLevel:
    """One buffer level. Numbers are per instance.

    Attributes:
        name: "DRAM", "Scratchpad".
        keeps: Roles that it can hold; a mapping may let some of them bypass.
        capacity_words: Shared by all tensors; None: unbounded.
        word_bits: Width of one word [bit].
        read_words_per_cycle: Read bandwidth; None: never the bottleneck.
        write_words_per_cycle: Write bandwidth; None: never the bottleneck.
        read_j: Energy of reading one word [J].
        write_j: Energy of writing one word [J].
        mesh: Axes of the fan-out below this level; empty: the next level has as many instances.
        partitions: Most words that a single tensor may take, by role.
        buffering: double: half the capacity is usable, loads overlap; serial: the whole capacity, loads stop the work
            below; shadow: the stated capacity has a second copy (or moves in place), loads overlap.
        shared_port: Reads and writes share one bandwidth (a DRAM bus).
        burst_bits: Shortest transfer [bit]; 0: any.
        bypass: Roles that may go past the level although it could keep them; None: any of them.
        takes_outputs: Finished outputs can be written into it although it keeps no partial sums.
    """

    name: str
    keeps: tuple[Role, ...]
    capacity_words: int | None
    word_bits: int
    read_words_per_cycle: float | None = None
    write_words_per_cycle: float | None = None
    read_j: float = 0.0
    write_j: float = 0.0
    mesh: tuple[MeshAxis, ...] = ()
    partitions: Mapping[Role, int] = field(default_factory=dict)
    buffering: Buffering = "double"
    shared_port: bool = False
    burst_bits: int = 0
    bypass: tuple[Role, ...] | None = None
    takes_outputs: bool = False

    def __post_init__(self) -> None:
        if self.capacity_words is not None and self.capacity_words < 0:
            raise MappingError(f"level {self.name}: capacity_words is {self.capacity_words}; give 0 or more, or None")
        for what in ("read_words_per_cycle", "write_words_per_cycle", "word_bits"):
            value = getattr(self, what)
            if value is not None and not value > 0:
                raise MappingError(f"level {self.name}: {what} is {value}; give more than 0, or None for no limit")
        if self.buffering not in ("double", "serial", "shadow"):
            raise MappingError(f"level {self.name}: buffering {self.buffering!r}; give double, serial or shadow")

    @property
    def fan_out(self) -> int:
        """Instances of the next level below one instance of this one."""
        return math.prod(axis.size for axis in self.mesh)

    def axis(self, name: str) -> MeshAxis:
        """Give a mesh axis by name.

        Raises:
            MappingError: There is none of that name below this level.
        """
        for axis in self.mesh:
            if axis.name == name:
                return axis
        known = [axis.name for axis in self.mesh]
        raise MappingError(f"level {self.name}: no mesh axis {name!r} below it; {nearest(name, known)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """How a buffer is built, where that is known: for its price, see `hwmodels.energy`. Counts of traffic ignore it.

    Attributes:
        row_bytes: Width of a row of a bank [B]; None: what the bandwidth needs.
        banks: Memories that one instance is built of, or more if its bandwidth is turned up; None: by its bandwidth.
        ports: Of a bank: read-write, read, write; None: what the bandwidths need.
    """

    row_bytes: float | None = None
    banks: int | None = None
    ports: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conventions:
    """What a count includes: each option off is the reference's simplification, on is what silicon does.

    Attributes:
        name: For reports and certificates.
        bit_true: An element takes bits / word_bits of a word: its stored bits; partial sums their accumulator's. Off:
            one element is one word at every level.
        device_buffering: Levels are buffered as the device says (half the capacity, or serial loads). Off: a tile may
            fill the whole capacity and loads overlap perfectly.
        shared_ports: Reads and writes share the bandwidth where the device says so. Off: separate ports everywhere.
        fill_drain: Loading the first tiles, filling and draining the array and storing the last outputs take time.
        bursts: Transfers of the outermost level are whole bursts.
        exact_windows: A tile of a strided or dilated window holds the elements that are used. Off: their bounding box.
        forwarding: Neighbours pass on what `MeshAxis.forwards` names.
    """

    name: str
    bit_true: bool
    device_buffering: bool
    shared_ports: bool
    fill_drain: bool
    bursts: bool
    exact_windows: bool
    forwarding: bool


REFERENCE = Conventions(
    name="reference",
    bit_true=False,
    device_buffering=False,
    shared_ports=False,
    fill_drain=False,
    bursts=False,
    exact_windows=False,
    forwarding=False,
)
"""Words, full buffers, perfect overlap, separate ports: Timeloop's model with link transfers off (commit 4cf6d4c)."""

SILICON = Conventions(
    name="silicon",
    bit_true=True,
    device_buffering=True,
    shared_ports=True,
    fill_drain=True,
    bursts=True,
    exact_windows=True,
    forwarding=True,
)
"""What a chip does; the default of devices that come from a file.

Not counted, here as in the reference: the read of a finished output at the level that it leaves.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """A spatial accelerator: buffer levels, outermost first, above an array of multiply-accumulate units.

    The instances of a level are the product of the mesh axes above it; those of the MACs of all mesh axes.

    Attributes:
        name: As in its file.
        levels: Outermost first; the outermost keeps all roles and has one instance.
        mac_j: Energy of one multiply-accumulate [J].
        macs_per_cycle: Per MAC instance.
        clock_hz: Clock [Hz].
        operand_bits: Widest operand that the MACs take [bit]; None: any.
        acc_bits: Width of its partial sums [bit]; None: the operator's.
        vendor: Maker.
        process: What its energies are for: "45 nm".
        static_w: Power that flows whatever runs [W].
        conventions: How its traffic is counted unless a caller says otherwise.
        organisations: How buffers are built, by level, where that is known.
        engines: What runs beside the array.
        absorbs: What the array takes along with a product, names of `hwmodels.engines.ABSORBED`.
        sources: Citation of each group of numbers.
    """

    name: str
    levels: tuple[BufferLevel, ...]
    mac_j: float
    macs_per_cycle: float = 1.0
    clock_hz: float = 1e9
    operand_bits: int | None = None
    acc_bits: int | None = None
    vendor: str = ""
    process: str = ""
    static_w: float = 0.0
    conventions: Conventions = SILICON
    organisations: Mapping[str, Organisation] = field(default_factory=dict)
    engines: tuple[Engine, ...] = ()
    absorbs: tuple[Absorbed, ...] = ()
    sources: Mapping[str, Citation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [level.name for level in self.levels]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise MappingError(f"{self.name}: level {twice[0]!r} is there twice; give every level a name of its own")
        taken = {*names, *RESERVED}
        for engine in self.engines:
            self.level_index(engine.level)
            if engine.name in taken:
                raise MappingError(
                    f"{self.name}: an engine cannot be called {engine.name!r}: a level, another engine or a component "
                    "of the energy has that name; give it another one"
                )
            taken.add(engine.name)
        for what in ("macs_per_cycle", "clock_hz"):
            if not getattr(self, what) > 0:
                raise MappingError(f"{self.name}: {what} is {getattr(self, what)}; give more than 0")

    @property
    def kind(self) -> str:
        """What kind of device it is."""
        return "spatial"

    @property
    def mac_instances(self) -> int:
        """Number of MAC units."""
        return math.prod(level.fan_out for level in self.levels)

    def instances(self, index: int) -> int:
        """Number of instances of a level."""
        return math.prod(level.fan_out for level in self.levels[:index])

    def level_index(self, name: str) -> int:
        """Give the place of a level, outermost 0.

        Raises:
            MappingError: Unknown level.
        """
        names = [level.name for level in self.levels]
        if name not in names:
            raise MappingError(f"{self.name}: unknown level {name!r}; {nearest(name, names)}")
        return names.index(name)

    def wired(self, rules: Mapping[str, MeshAxis]) -> Accelerator:
        """Give the accelerator with other mesh rules: sizes and names stay, everything else comes from `rules`.

        Args:
            rules: By axis name.
        """

        def rewired(axis: MeshAxis) -> MeshAxis:
            return replace(rules[axis.name], name=axis.name, size=axis.size) if axis.name in rules else axis

        levels = tuple(replace(level, mesh=tuple(map(rewired, level.mesh))) for level in self.levels)
        return replace(self, levels=levels)
