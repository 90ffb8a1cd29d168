"""Lower bounds of what classes of mappings cost, for the checker of certificates: no order of loops is written out.

A class (`Classes`) is a spatial vector, the tiles of the outer levels, and which loop is innermost at each of them; the
rest is open. A tensor's way from a level that keeps it to the next one (`Flow`) is bounded alone:

- What feeds the MACs is read at every step: exact from the spatial vector.
- Walking outwards from the child, a loop that does not index the tensor is free while nothing inside it moves the
  child's tile, at its level if it can be innermost there; all others repeat what is inside them.
- Pieces of sliding windows overlap: a step that moves a window is let off the largest overlap that its last and its
  first tile can have. In all, every element that is used makes the way at least once.
- While the child's tile is open, it is taken to hold as much of the innermost known tile as it has room for.

Everything is a lower bound in the cost model of `traffic`; without windows it is exact once all tiles are known.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.pricing import element_words, usable_words
from hwmodels.mapping.problem import Operand, Problem, Window
from hwmodels.spatial import ROLES, Accelerator, Conventions, Role

__all__ = ["Classes", "Flow", "Line", "Setting", "least_sent", "setting_of", "tile_elements"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Line:
    """An axis of a tensor that several dims share: index = sum(coefficient x dim).

    Attributes:
        dims: Places of the dims.
        coefficients: Theirs, as positive numbers.
        extent: Stored length if indices outside of it are skipped.
        plain: Nothing is skipped, and no coefficient is negative: pieces of one size hold one number of elements.
        used: Elements that are used.
        valid: Share of the combinations of the dims that meet a stored element.
    """

    dims: tuple[int, ...]
    coefficients: tuple[int, ...]
    extent: int | None
    plain: bool
    used: int
    valid: float

    def box(self, sizes: Ints) -> Ints:
        """Give the length of a contiguous piece; sizes of its dims (n, line dims)."""
        length: Ints = 1 + ((sizes - 1) * np.array(self.coefficients)).sum(axis=1)
        return length if self.extent is None else np.minimum(length, self.extent)

    def elements(self, sizes: Ints) -> Ints:
        """Count the elements of a contiguous piece that are used; sizes of its dims (n, line dims)."""
        if not self.dims or not len(sizes):
            return np.ones(len(sizes), dtype=np.int64)
        code = sizes @ np.cumprod([1, *(int(column.max()) + 1 for column in sizes.T[:-1])])
        _, first, back = np.unique(code, return_index=True, return_inverse=True)
        counts = [_distinct(self.coefficients, tuple(map(int, row))) for row in sizes[first]]
        number: Ints = np.array(counts, dtype=np.int64)[back]
        return number if self.extent is None else np.minimum(number, self.extent)


@lru_cache(maxsize=65536)
def _distinct(coefficients: tuple[int, ...], sizes: tuple[int, ...]) -> int:
    reached = np.zeros(1, dtype=np.int64)
    for coefficient, size in zip(coefficients, sizes, strict=True):
        reached = np.unique(reached[:, None] + coefficient * np.arange(size))
    return len(reached)


@dataclass(frozen=True, slots=True)
class Flow:
    """A tensor's way from a level that keeps it to the next one, or to the MACs.

    Attributes:
        role: W, I, O.
        parent: Place of the outer level.
        child: Place of the inner one; the number of levels: the MACs.
        simple: Places of the dims that index it alone.
        free: Places of the dims that do not index it.
        lines: Axes that dims share.
    """

    role: Role
    parent: int
    child: int
    simple: tuple[int, ...]
    free: tuple[int, ...]
    lines: tuple[Line, ...]

    @property
    def used(self) -> int:
        """Elements that are used along the shared axes."""
        return math.prod(line.used for line in self.lines)


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What a bypass pattern fixes.

    Attributes:
        problem: The operator.
        accelerator: Where it runs.
        rules: How it is counted.
        keeps: Roles that each level keeps.
        sizes: Of the dims longer than 1.
        names: Of the same.
        flows: All ways between levels.
        groups: Dims that may stand for each other as the innermost loop: those that index the same tensors alone, or
            one dim that shares an axis.
        factors: Spatial vectors, (n_vectors, levels, dims).
        fill: Least sum over mesh axes of (instances - 1); (n_vectors,).
    """

    problem: Problem
    accelerator: Accelerator
    rules: Conventions
    keeps: tuple[tuple[Role, ...], ...]
    sizes: tuple[int, ...]
    names: tuple[str, ...]
    flows: tuple[Flow, ...]
    groups: tuple[tuple[int, ...], ...]
    factors: Ints
    fill: Ints

    @property
    def depth(self) -> int:
        """Number of levels."""
        return len(self.keeps)

    @property
    def ordered(self) -> int:
        """Place of the innermost level that keeps something: orders of loops further in change nothing."""
        return max(place for place, roles in enumerate(self.keeps) if roles)


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """Classes of mappings, one a row.

    Attributes:
        vector: Spatial vector; (n,).
        tiles: Of levels 0 (the whole nest) to the innermost one that is decided; (n, decided + 1, dims).
        inner: Group of the innermost loop longer than 1 of the levels above the last of them, -1: none, or of no
            matter; (n, decided).
    """

    vector: Ints
    tiles: Ints
    inner: Ints

    def __len__(self) -> int:
        return len(self.vector)

    def take(self, rows: NDArray[np.bool_] | Ints | slice) -> Classes:
        """Give some of them."""
        return Classes(self.vector[rows], self.tiles[rows], self.inner[rows])


def setting_of(
    problem: Problem,
    accelerator: Accelerator,
    rules: Conventions,
    keeps: tuple[tuple[Role, ...], ...],
    factors: Ints,
    fill: Ints,
) -> Setting:
    """Give what a bypass pattern fixes."""
    names = tuple(dim for dim, size in problem.sizes.items() if size > 1) or tuple(problem.sizes)[:1]
    flows = tuple(flow for role in ROLES for flow in _flows(problem, role, keeps, names))
    shared = {dim for flow in flows for line in flow.lines for dim in line.dims}
    alike: dict[object, list[int]] = {}
    for place, dim in enumerate(names):
        alike.setdefault(place if place in shared else problem.indexes(dim), []).append(place)
    groups = tuple(map(tuple, alike.values()))
    sizes = tuple(problem.sizes[dim] for dim in names)
    return Setting(problem, accelerator, rules, keeps, sizes, names, flows, groups, factors, fill)


def _flows(problem: Problem, role: Role, keeps: tuple[tuple[Role, ...], ...], names: tuple[str, ...]) -> Iterator[Flow]:
    operand = problem.operands[role]
    kept = [place for place, roles in enumerate(keeps) if role in roles]
    lines = tuple(_line(problem, window, names) for window in operand.windows)
    simple = tuple(place for place, dim in enumerate(names) if dim in operand.dims)
    free = tuple(place for place, dim in enumerate(names) if dim not in operand.indexed)
    for parent, child in itertools.pairwise([*kept, len(keeps)]):
        yield Flow(role, parent, child, simple, free, lines)


def _line(problem: Problem, window: Window, names: tuple[str, ...]) -> Line:
    terms = [(coefficient, names.index(dim)) for coefficient, dim in window.terms if dim in names]
    index = np.full(1, window.offset, dtype=np.int64)
    for coefficient, place in terms:
        index = (index[:, None] + coefficient * np.arange(problem.sizes[names[place]])).reshape(-1)
    stored = np.ones_like(index, dtype=bool) if window.extent is None else (index >= 0) & (index < window.extent)
    return Line(
        dims=tuple(place for _, place in terms),
        coefficients=tuple(abs(coefficient) for coefficient, _ in terms),
        extent=window.extent,
        plain=window.extent is None and all(coefficient > 0 for coefficient, _ in terms),
        used=len(np.unique(index[stored])),
        valid=float(stored.mean()),
    )


def tile_elements(operand: Operand, setting: Setting, tiles: Ints) -> Ints:
    """Count the elements that a tile of a tensor takes room for; (n,)."""
    flow = next(flow for flow in setting.flows if flow.role == operand.role)
    elements: Ints = tiles[:, flow.simple].prod(axis=1)
    for line in flow.lines:
        pieces = tiles[:, line.dims]
        exact = setting.rules.exact_windows or operand.role != "I"
        elements = elements * (line.elements(pieces) if exact else line.box(pieces))
    return elements


def least_sent(setting: Setting, flow: Flow, classes: Classes) -> Floats:
    """Bound the elements that a parent level sends (or, of outputs, receives) on one way, in all; (n,)."""
    spread = setting.factors[classes.vector]
    above = np.ones((len(classes), setting.depth + 1, len(setting.sizes)), dtype=np.int64)
    np.cumprod(spread, axis=1, out=above[:, 1:])
    if flow.child == setting.depth:
        return _fed(setting, flow, above)
    walk = _Walk.of(setting, flow, classes, spread, above)
    sent = walk.base()
    for level in reversed(range(walk.last)):
        sent = np.maximum(walk.outwards(level, sent), walk.footprint(level))
    copies = above[:, flow.parent]
    used = math.prod(setting.sizes[dim] for dim in flow.simple) * flow.used
    return np.maximum(sent * copies.prod(axis=1), used * copies[:, flow.free].prod(axis=1, dtype=float))


def _fed(setting: Setting, flow: Flow, above: Ints) -> Floats:
    """Count what feeds the MACs: of every step what its parallel pieces use together."""
    together = above[:, -1] // above[:, flow.parent]
    sent: Floats = setting.problem.macs / together[:, flow.free].prod(axis=1).astype(float)
    for line in flow.lines:
        pieces = together[:, line.dims]
        least = pieces.max(axis=1, initial=1)
        if line.plain:
            adjacent = (above[:, -2][:, line.dims] == above[:, flow.parent][:, line.dims]).all(axis=1)
            sums = pieces.sum(axis=1) - len(line.dims) + 1  # no two sets of a and b numbers have fewer sums
            least = np.where(adjacent, line.elements(pieces), sums)
        sent = sent * line.valid * least / pieces.prod(axis=1)
    return sent


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """One way, walked outwards; arrays have the classes first.

    Attributes:
        setting: The bypass pattern.
        flow: The way.
        classes: The rows.
        last: The child's level, or the innermost one whose tile is known.
        extents: What the children of one parent cover together, by level; (n, last + 1, dims).
        trips: Of the temporal loops; (n, last, dims).
        clean: By line: none of its dims is spread above the child.
        room: Elements that the children of one parent can hold together; inf: they hold the tile at `last`.
    """

    setting: Setting
    flow: Flow
    classes: Classes
    last: int
    extents: Ints
    trips: Ints
    clean: tuple[NDArray[np.bool_], ...]
    room: Floats

    @classmethod
    def of(cls, setting: Setting, flow: Flow, classes: Classes, spread: Ints, above: Ints) -> _Walk:
        """Prepare the walk of some classes."""
        last = min(classes.tiles.shape[1] - 1, flow.child)
        tiles = classes.tiles[:, : last + 1]
        extents = tiles * above[:, : last + 1] // above[:, flow.parent, None]
        trips = tiles[:, :-1] // (tiles[:, 1:] * spread[:, :last])
        clean = tuple((above[:, flow.child][:, line.dims] == 1).all(axis=1) & line.plain for line in flow.lines)
        room = np.full(len(classes), np.inf)
        if last < flow.child:
            copies = np.delete(above[:, flow.child] // above[:, flow.parent], flow.free, axis=1).prod(axis=1)
            room = _capacity(setting, flow) * copies
        return cls(setting, flow, classes, last, extents, trips, clean, room)

    def pieces(self, line: Line, level: int) -> Ints:
        """Give the sizes of a line's dims of the tile at a level."""
        return self.extents[:, level][:, line.dims]

    def footprint(self, level: int) -> Floats:
        """Give at least how many elements are used while one tile of a level is walked."""
        elements = self.extents[:, level][:, self.flow.simple].prod(axis=1, dtype=float)
        for line, clean in zip(self.flow.lines, self.clean, strict=True):
            pieces = self.pieces(line, level)
            sums = pieces.sum(axis=1) - len(line.dims) + 1 if line.plain else 0
            elements = elements * np.where(clean, line.elements(pieces), sums)
        return elements

    def base(self) -> Floats:
        """Give at least what the innermost known tile brings, from nothing."""
        elements = self.footprint(self.last)
        if self.last < self.flow.child or self._exact:
            return elements
        for line, clean in zip(self.flow.lines, self.clean, strict=True):
            pieces = self.pieces(line, self.last)
            elements = elements * np.where(clean, line.box(pieces) / line.elements(pieces), 1.0)
        return elements

    @property
    def _exact(self) -> bool:
        return self.setting.rules.exact_windows or self.flow.role != "I"

    def outwards(self, level: int, inside: Floats) -> Floats:
        """Bound one walk of a level's tile by one of the next inner level's: all visits, less what overlaps."""
        trips = self.trips[:, level].astype(float)
        free, simple = trips[:, self.flow.free].prod(axis=1), trips[:, self.flow.simple].prod(axis=1)
        visits = trips.prod(axis=1)
        shared = [dim for line in self.flow.lines for dim in line.dims]
        saved = np.zeros(len(visits))
        for number, group in enumerate(self.setting.groups):
            rows = self.classes.inner[:, level] == number
            if group[0] in self.flow.simple or not rows.any():
                continue  # a loop that indexes the tensor alone is innermost: no two visits in a row share anything
            reset = group[0] if group[0] in shared else None
            most = np.zeros(len(visits))
            for dim in shared:
                if dim != reset:
                    most = np.maximum(most, np.where(trips[:, dim] > 1, self._overlap(level, dim, reset), 0.0))
            if reset is None:
                first, once = np.maximum(self._overlap(level, None, None), most), visits / free
            else:
                most = np.maximum(most, np.where(free > 1, self._overlap(level, None, reset), 0.0))
                first, once = self._overlap(level, reset, None), visits / trips[:, reset]
            often = (visits - once) * np.minimum(first, inside) + (once - simple) * np.minimum(most, inside)
            saved[rows] = often[rows]
        return visits * inside - saved

    def _overlap(self, level: int, moved: int | None, reset: int | None) -> Floats:
        """Bound what the last tile of one visit shares with the first of the next.

        Args:
            level: Where a loop advances.
            moved: Its dim, if it shares an axis; None: it does not index the tensor.
            reset: A dim whose loop at this level starts anew, if known; of `moved`'s axis all that may do.
        """
        tile, walked = self.extents[:, self.last], self.extents[:, level + 1]
        simple = list(self.flow.simple)
        shared: Floats = (tile[:, simple] == walked[:, simple]).all(axis=1) * tile[:, simple].prod(axis=1, dtype=float)
        for line, clean in zip(self.flow.lines, self.clean, strict=True):
            pieces = self.pieces(line, self.last)
            length = line.box(pieces)
            options = []
            others = [dim for dim in line.dims if dim != moved]
            unsure = others if moved in line.dims else []
            for again in itertools.product((False, True), repeat=len(unsure)):
                starting = {dim for dim, yes in zip(unsure, again, strict=True) if yes} | {reset}
                shift = np.zeros(len(tile), dtype=np.int64)
                for coefficient, dim in zip(line.coefficients, line.dims, strict=True):
                    reach = walked[:, dim] * (self.trips[:, level, dim] if dim in starting else 1)
                    shift += coefficient * (tile[:, dim] if dim == moved else tile[:, dim] - reach)
                options.append(np.abs(shift))
            overlap = np.maximum(length - np.min(options, axis=0), 0)
            overlap = np.minimum(overlap, line.elements(pieces) if self._exact else length)
            most = pieces.prod(axis=1, dtype=float) * (1 if self._exact else length)
            shared = shared * np.where(clean, overlap, most)
        if self.flow.lines:
            return np.minimum(shared, self.room)
        return np.where(self.room >= shared, shared, 0.0)


def _capacity(setting: Setting, flow: Flow) -> float:
    """Give how many elements of a tensor one copy of the child has room for."""
    level = setting.accelerator.levels[flow.child]
    words = usable_words(level, setting.rules)
    if flow.role in level.partitions:
        words = min(words, usable_words(level, setting.rules, flow.role))
    return float(words / element_words(setting.problem, level, setting.rules)[ROLES.index(flow.role)])
