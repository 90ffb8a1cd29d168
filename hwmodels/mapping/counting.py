"""What a mapping moves between the levels: exact counts of elements, for a batch of mappings at once.

The rules are those of Timeloop's classic loop-nest analysis with exact set differences (see `traffic`): a child is sent
what its new tile holds beyond its previous one; a word for several children is read once; partial sums of parallel
children for one output are added on the way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from hwmodels.mapping.problem import Operand, Problem
from hwmodels.mapping.records import Slot, Structure
from hwmodels.mapping.walks import AxisLoop, Ints, Kind, Sums, count_steps, size_sums
from hwmodels.mapping.windows import piece_words, window_sums
from hwmodels.spatial import ROLES, Accelerator, Conventions, Role

__all__ = ["Counts", "count_moves", "kept_words"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Counts:
    """Elements, by mapping, level (outermost first) and role (W, I, O); totals over all instances of a level.

    Attributes:
        instances: Copies of a level that hold data; (n, levels).
        tile: Elements that one copy has room for: of the largest tile, wherever padding may cut it; (n, levels, roles).
        partition: Distinct elements that ever visit a copy, summed over the copies.
        reads: Out of the level to the next inner one that keeps the tensor, or to the MACs.
        fills: Into the level from the next outer one that keeps the tensor.
        updates: (Partial) sums into the level from inside.
        first: Reads of the first step (the first tiles); for O: elements of one tile of the next inner level.
        steps: Temporal steps of the whole nest; (n,).
        widths: Instances that each mesh axis uses, by (level, axis name); (n,).
        runs: Elements of a tile of the next level that lie side by side in the outermost one; (n, roles).
    """

    instances: Ints
    tile: Ints
    partition: Ints
    reads: Ints
    fills: Ints
    updates: Ints
    first: Ints
    steps: Ints
    widths: dict[tuple[int, str], Ints]
    runs: Ints


@dataclass(frozen=True, slots=True)
class _Nest:
    """A batch with what all its counts need, and the sums that several of them share."""

    problem: Problem
    accelerator: Accelerator
    conventions: Conventions
    structure: Structure
    steps: Ints
    shared: dict[tuple[object, ...], Sums] = field(default_factory=dict)

    @property
    def n(self) -> int:
        return len(self.steps)

    def slots(self) -> zip[tuple[Slot, Ints]]:
        return zip(self.structure.slots, self.steps.T, strict=True)


def count_moves(
    problem: Problem, accelerator: Accelerator, conventions: Conventions, structure: Structure, steps: Ints
) -> Counts:
    """Count what mappings of one structure move.

    Args:
        problem: The operator.
        accelerator: Its levels are those of the structure.
        conventions: Which windows and which forwarding.
        structure: Loops, order, kept tensors.
        steps: Shape (n_mappings, n_loops).
    """
    nest = _Nest(problem, accelerator, conventions, structure, steps)
    shape = (nest.n, len(structure.levels), len(ROLES))
    tables = {
        name: np.zeros(shape, dtype=np.int64) for name in ("tile", "partition", "reads", "fills", "updates", "first")
    }
    widths = _widths(nest)
    used = [math.prod([w for (at, _), w in widths.items() if at < level]) for level in range(shape[1])]
    instances = np.stack([np.broadcast_to(np.asarray(copies, dtype=np.int64), nest.n) for copies in used], axis=1)
    for column, role in enumerate(ROLES):
        _count_role(nest, role, instances, {name: table[:, :, column] for name, table in tables.items()})
    runs = np.stack([_run(nest, problem.operands[role]) for role in ROLES], axis=1)
    return Counts(instances=instances, steps=_nest_steps(nest), widths=widths, runs=runs, **tables)


def _nest_steps(nest: _Nest) -> Ints:
    """Count the temporal steps of the whole nest: parallel pieces take as long as the first, which is the largest."""
    depth = len(nest.structure.levels)
    every = [
        _dim_sums(nest, dim, _loops(nest, (dim,), depth, 0, "joined"), False).new[-1] for dim in nest.problem.sizes
    ]
    return np.asarray(math.prod(every))


def _count_role(nest: _Nest, role: Role, copies: Ints, out: dict[str, Ints]) -> None:
    """Fill the columns of one role, each of shape (n, levels)."""
    operand = nest.problem.operands[role]
    exact = nest.conventions.exact_windows or role != "I"
    kept = [level for level, roles in enumerate(nest.structure.keeps) if role in roles]
    inner = [*kept[1:], len(nest.structure.levels)]
    for level in kept:
        out["tile"][:, level] = _tile(nest, operand, level, exact)
        out["partition"][:, level] = _partition(nest, operand, level)
    if operand.windows and not exact:
        _share_partitions(nest, operand, kept, copies, out["partition"])
    for parent, child in zip(kept, inner, strict=True):
        to_macs = child == len(nest.structure.levels)
        sums = _sums(nest, operand, parent, child, exact=exact)
        sent = _every_step(sums) if to_macs else _changes(nest, sums, child)
        out["first"][:, parent] = math.prod(item.first for _, item in sums)
        back = sent - out["partition"][:, parent] if role == "O" else sent
        out["reads"][:, parent] = back
        if role == "O":
            out["updates"][:, parent] = sent
        if not to_macs:
            arrived = sent
            if any(slot.axis and parent <= slot.level < child for slot in nest.structure.slots):
                arrived = _changes(nest, _sums(nest, operand, 0, child, exact=exact, apart=True), child)
            out["fills"][:, child] = arrived - (out["partition"][:, child] if role == "O" else 0)


_Groups = list[tuple[frozenset[str], Sums]]
"""Sums of each axis and each further dim, with the dims whose loops are its own."""


def _sums(nest: _Nest, operand: Operand, parent: int, child: int, exact: bool, apart: bool = False) -> _Groups:
    """Give the sums of a tensor's way from a parent to a child level; `apart`: every child counts for itself."""
    between: Kind = "apart" if apart else "joined"
    groups: _Groups = []
    for dim in nest.problem.sizes:
        if dim not in operand.indexed or dim in operand.dims:
            sums = _dim_sums(nest, dim, _loops(nest, (dim,), child, parent, between), dim in operand.dims)
            groups.append((frozenset((dim,)), sums))
    forwards = nest.conventions.forwarding and _forwards(nest, operand, parent, child)
    for window in operand.windows:
        loops = _loops(nest, window.dims, child, parent, between)
        sizes = [nest.problem.sizes[dim] for dim in window.dims]
        sums = window_sums(window, sizes, loops, nest.n, exact, forwards and not apart)
        groups.append((frozenset(window.dims), sums))
    return groups


def _dim_sums(nest: _Nest, dim: str, loops: Sequence[AxisLoop], indexes: bool) -> Sums:
    """Give the sums of one dim that indexes the tensor alone, or not at all."""
    key = (dim, indexes, *[loop.kind for loop in loops])  # loops above a child are the first ones of their dim
    if key not in nest.shared:
        nest.shared[key] = (size_sums if indexes else count_steps)(nest.problem.sizes[dim], loops, nest.n)
    return nest.shared[key]


def _loops(nest: _Nest, dims: Sequence[str], child: int, parent: int, between: Kind) -> list[AxisLoop]:
    """Give the loops of some dims above a child; spatial ones below the parent are `between`, above it apart."""
    return [
        AxisLoop(
            dims.index(slot.dim), step, "temporal" if not slot.axis else between if slot.level >= parent else "apart"
        )
        for slot, step in nest.slots()
        if slot.dim in dims and slot.level < child
    ]


def _forwards(nest: _Nest, operand: Operand, parent: int, child: int) -> bool:
    """Say whether every mesh axis that spreads the windows of a tensor between two levels passes its words on."""
    dims = {dim for window in operand.windows for dim in window.dims}
    axes = [
        nest.accelerator.levels[slot.level].axis(slot.axis)
        for slot in nest.structure.slots
        if slot.axis and slot.dim in dims and parent <= slot.level < child
    ]
    return bool(axes) and all(operand.role in axis.forwards for axis in axes)


def _every_step(groups: _Groups) -> Ints:
    """Sum the elements of all steps: MACs have no registers."""
    return np.asarray(math.prod(sums.new[-1] for _, sums in groups))


def _changes(nest: _Nest, groups: _Groups, child: int) -> Ints:
    """Sum what each step brings beyond the step before."""
    total: Ints = np.asarray(math.prod(sums.first for _, sums in groups))
    place = [0] * len(groups)
    for slot in nest.structure.slots:
        if slot.level >= child or slot.axis:
            continue
        own = [slot.dim in dims for dims, _ in groups]
        parts = [sums.at(at, mine) for (_, sums), at, mine in zip(groups, place, own, strict=True)]
        place = [at + mine for at, mine in zip(place, own, strict=True)]
        total = total + math.prod(new for new, _, _ in parts) - kept_words(parts)
    return total


def kept_words(parts: Sequence[tuple[Ints, Ints, Ints]]) -> Ints:
    """Count what stays of tiles of which at most one axis moved; for sets (`same` is `kept`), of any tiles."""
    same: Ints = np.asarray(math.prod(part for _, _, part in parts))
    total = same
    for index, (_, kept, unmoved) in enumerate(parts):
        if kept is not unmoved:
            others = math.prod(part for place, (_, _, part) in enumerate(parts) if place != index)
            total = total + (kept - unmoved) * others
    return total


def _pieces(nest: _Nest, dims: Sequence[str], level: int) -> list[Ints]:
    """Give the sizes of the first (largest) piece of some dims that one copy of a level holds."""
    pieces = {dim: np.full(nest.n, nest.problem.sizes[dim], dtype=np.int64) for dim in dims}
    for slot, step in nest.slots():
        if slot.level < level and slot.dim in pieces:
            pieces[slot.dim] = np.minimum(pieces[slot.dim], step)
    return [pieces[dim] for dim in dims]


def _tile(nest: _Nest, operand: Operand, level: int, exact: bool) -> Ints:
    words = math.prod(_pieces(nest, operand.dims, level), start=np.ones(nest.n, dtype=np.int64))
    for window in operand.windows:
        words = words * piece_words(window, _pieces(nest, window.dims, level), exact)
    return np.asarray(words)


def _partition(nest: _Nest, operand: Operand, level: int) -> Ints:
    """Sum over the copies of a level the distinct elements that ever visit each."""
    words = np.ones(nest.n, dtype=np.int64)
    for window in operand.windows:
        sizes = [nest.problem.sizes[dim] for dim in window.dims]
        loops = _visits(nest, window.dims, level)
        words = words * window_sums(window, sizes, loops, nest.n, True, False).first
    for dim in nest.problem.sizes:
        if dim not in operand.indexed or dim in operand.dims:
            words = words * _dim_sums(nest, dim, _visits(nest, (dim,), level), dim in operand.dims).first
    return words


def _share_partitions(nest: _Nest, operand: Operand, kept: Sequence[int], copies: Ints, partition: Ints) -> None:
    """Share the partition of a window's parent out evenly over the distinct words of its children, as Timeloop does."""
    for parent, child in pairwise(kept):
        together: Ints = np.asarray(
            math.prod(sums.first for _, sums in _sums(nest, operand, parent, child, exact=True))
        )
        tile = _tile(nest, operand, child, exact=True)
        partition[:, child] = partition[:, parent] * tile // np.maximum(together, 1) * copies[:, child]


def _visits(nest: _Nest, dims: Sequence[str], level: int) -> list[AxisLoop]:
    """Give the loops above a level with all temporal steps joined and all copies apart."""
    return [
        AxisLoop(dims.index(slot.dim), step, "apart" if slot.axis else "joined")
        for slot, step in nest.slots()
        if slot.dim in dims and slot.level < level
    ]


def _widths(nest: _Nest) -> dict[tuple[int, str], Ints]:
    """Give how many instances each mesh axis uses."""
    left = {dim: np.full(nest.n, size, dtype=np.int64) for dim, size in nest.problem.sizes.items()}
    widths: dict[tuple[int, str], Ints] = {}
    for slot, step in nest.slots():
        if slot.axis:
            key = (slot.level, slot.axis)
            widths[key] = widths.get(key, np.ones(nest.n, dtype=np.int64)) * -(-left[slot.dim] // step)
        left[slot.dim] = np.minimum(left[slot.dim], step)
    return widths


def _run(nest: _Nest, operand: Operand) -> Ints:
    """Count the elements of a tile of the next level that lie side by side in the outermost one (row-major)."""
    inner = [level for level, roles in enumerate(nest.structure.keeps) if level and operand.role in roles]
    level = inner[0] if inner else len(nest.structure.levels)
    run = np.ones(nest.n, dtype=np.int64)
    whole = np.ones(nest.n, dtype=bool)
    for entry in reversed(operand.layout):
        if isinstance(entry, str):
            piece, length = _pieces(nest, (entry,), level)[0], nest.problem.sizes[entry]
        else:
            window = operand.windows[entry]
            piece = piece_words(window, _pieces(nest, window.dims, level), False)
            every = [np.full(1, nest.problem.sizes[dim], dtype=np.int64) for dim in window.dims]
            length = window.extent or int(piece_words(window, every, False)[0])
        run = np.where(whole, run * piece, run)
        whole &= piece == length
    return run
