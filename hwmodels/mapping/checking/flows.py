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
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.checking.settings import Classes, Floats, Flow, Ints, Line, Setting
from hwmodels.mapping.pricing import element_words, usable_words
from hwmodels.spatial import ROLES

__all__ = ["least_sent"]


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
    return np.asarray(np.maximum(sent * copies.prod(axis=1), used * copies[:, flow.free].prod(axis=1, dtype=float)))


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
        clean = tuple((above[:, flow.child][:, line.dims] == 1).all(axis=1) & line.rising for line in flow.lines)
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
        elements: Floats = self.extents[:, level][:, self.flow.simple].prod(axis=1, dtype=float)
        for line, clean in zip(self.flow.lines, self.clean, strict=True):
            pieces = self.pieces(line, level)
            sums = pieces.sum(axis=1) - len(line.dims) + 1 if line.plain else 0
            some = np.where(clean, line.elements(pieces), sums) if line.plain else 0
            whole = (pieces == [self.setting.sizes[dim] for dim in line.dims]).all(axis=1)
            elements = elements * np.where(whole, line.used, some)
        return elements

    def base(self) -> Floats:
        """Give at least what the innermost known tile brings, from nothing."""
        elements = self.footprint(self.last)
        if self.last < self.flow.child or self._exact:
            return elements
        for line, clean in zip(self.flow.lines, self.clean, strict=True):
            pieces = self.pieces(line, self.last)
            elements = elements * np.where(clean & line.plain, line.box(pieces) / line.elements(pieces), 1.0)
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
        return np.asarray(visits * inside - saved)

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
            length = line.span(pieces)
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
            overlap = np.minimum(overlap, line.elements(pieces) if self._exact else line.box(pieces))
            most = pieces.prod(axis=1, dtype=float) * (1 if self._exact else line.box(pieces))
            shared = shared * np.where(clean, overlap, most)
        if self.flow.lines:
            return np.asarray(np.minimum(shared, self.room))
        return np.asarray(np.where(self.room >= shared, shared, 0.0))


def _capacity(setting: Setting, flow: Flow) -> float:
    """Give how many elements of a tensor one copy of the child has room for."""
    level = setting.accelerator.levels[flow.child]
    words = usable_words(level, setting.rules)
    if flow.role in level.partitions:
        words = min(words, usable_words(level, setting.rules, flow.role))
    return float(words / element_words(setting.problem, level, setting.rules)[ROLES.index(flow.role)])
