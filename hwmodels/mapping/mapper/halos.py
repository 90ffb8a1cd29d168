"""Words of tensors with sliding windows on their way into level 1: exact, for many tiles at once.

Only the outermost loops are above level 1, so every axis of the tensor knows a few dozen walks: one for each tile along
it and each order of its own loops. They are summed by `walks` and `windows` once per spatial vector; a tile's words are
put together from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.counting import kept_words
from hwmodels.mapping.mapper.factors import Floats, Ints, divisors, grid
from hwmodels.mapping.mapper.frames import Frame
from hwmodels.mapping.mapper.labels import Pairs
from hwmodels.mapping.mapper.nests import Nest, Tiles, subset_product
from hwmodels.mapping.mapper.orders import Dims
from hwmodels.mapping.mapper.spatial import passes_on
from hwmodels.mapping.problem import Window
from hwmodels.mapping.walks import AxisLoop, Kind, Sums, count_steps, size_sums
from hwmodels.mapping.windows import window_sums
from hwmodels.spatial import ROLES

__all__ = ["Above", "OuterWalks", "deep_is_exact", "deep_words", "groups_by_loops"]


class OuterWalks:
    """Words of one tensor with windows that enter level 1, for one spatial vector; keeps the walks that it has summed.

    Args:
        nest: Spatial vector.
        role: Place of the tensor.
        apart: Copies of level 1 count one by one (what they are sent), else words for several of them once (what is
        read).
    """

    def __init__(self, nest: Nest, role: int, apart: bool) -> None:
        self._nest, self._between = nest, "apart" if apart else "joined"
        names, operand = nest.frame.names, nest.frame.operands[role]
        self._exact = nest.frame.rules.exact_windows or role != 1
        self._forwards = not apart and bool(passes_on(nest.passing, role, 0, 1)[0])
        indexed = nest.frame.indexed[role]
        groups: list[tuple[tuple[int, ...], Window | None, bool]] = [
            ((names.index(dim),), None, True) for dim in operand.dims
        ]
        groups += [(tuple(names.index(dim) for dim in window.dims), window, True) for window in operand.windows]
        groups += [((dim,), None, False) for dim in range(len(names)) if dim not in indexed]
        self._groups = [
            group for group in groups if any(nest.bounds[dim] > 1 or nest.spans[0][dim] > 1 for dim in group[0])
        ]
        self._sums: dict[tuple[int, tuple[int, ...]], Sums] = {}

    def words(self, tiles: Tiles, order: tuple[int, ...]) -> Ints:
        """Count the words that enter level 1 under one order of the outermost loops.

        Args:
            tiles: Of level 1.
            order: Dims of the outermost loops, innermost first; the others have none.
        """
        walks = []
        for place, (dims, _, _) in enumerate(self._groups):
            own = tuple(dim for dim in reversed(order) if dim in dims)
            row = np.zeros(len(tiles), dtype=np.int64)
            for dim in own:
                row = row * len(divisors(self._nest.bounds[dim])) + tiles.index[dim]
            walks.append((dims, _Gathered(self._summed(place, own), row)))
        total: Ints = np.asarray(math.prod(walk.first() for _, walk in walks))
        at = [0] * len(walks)
        for dim in reversed(order):
            own_ = [dim in dims for dims, _ in walks]
            parts = [walk.at(where, mine) for (_, walk), where, mine in zip(walks, at, own_, strict=True)]
            at = [where + mine for where, mine in zip(at, own_, strict=True)]
            total = total + math.prod(new for new, _, _ in parts) - kept_words(parts)
        return total

    def _summed(self, place: int, own: tuple[int, ...]) -> Sums:
        """Sum the walks along one axis, for all tiles along it and one order of its loops (outermost first)."""
        if (place, own) not in self._sums:
            dims, window, indexes = self._groups[place]
            nest = self._nest
            columns = grid([np.array(divisors(nest.bounds[dim])) for dim in own])
            tile = dict(zip(own, columns, strict=True))
            n = len(columns[0]) if own else 1
            tile |= {dim: np.full(n, nest.bounds[dim]) for dim in dims if dim not in own}
            loops = [AxisLoop(dims.index(dim), tile[dim] * nest.spans[0][dim], "temporal") for dim in own]
            between: Kind = "apart" if self._between == "apart" else "joined"
            loops += [
                AxisLoop(dims.index(dim), tile[dim] * nest.spans[1][dim], between)
                for dim in dims
                if nest.spans[0][dim] > nest.spans[1][dim]
            ]
            sizes = [nest.bounds[dim] * int(nest.spans[0][dim]) for dim in dims]
            if window is not None:
                sums = window_sums(window, sizes, loops, n, self._exact, self._forwards)
            else:
                sums = (size_sums if indexes else count_steps)(sizes[0], loops, n)
            self._sums[place, own] = sums
        return self._sums[place, own]


class _Gathered:
    """Sums of an axis, spread over the tiles when they are asked for."""

    def __init__(self, sums: Sums, row: Ints) -> None:
        self._sums, self._row = sums, row

    def first(self) -> Ints:
        return self._sums.first[self._row]

    def at(self, place: int, own: bool) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        new, kept, same = self._sums.at(place, own)
        rows = new[self._row]
        stays = rows if kept is new else kept[self._row]
        return rows, stays, stays if same is kept else same[self._row]


def groups_by_loops(nest: Nest, level: int, trips: tuple[Floats, ...]) -> Iterator[tuple[Dims, Ints]]:
    """Group rows by the dims that have a loop, where the order of all loops matters; else give one group.

    Args:
        nest: Spatial vector.
        level: Whose loops.
        trips: Of each dim; (n,) each.
    """
    n = len(trips[0])
    every = frozenset(range(len(trips)))
    if not any(nest.frame.flows[place].side for place in nest.frame.below(level)):
        yield every, np.arange(n)
        return
    mask = np.zeros(n, dtype=np.int64)
    for dim, trip in enumerate(trips):
        mask |= (trip > 1).astype(np.int64) << dim
    for value in np.unique(mask):
        yield frozenset(dim for dim in every if int(value) >> dim & 1), np.flatnonzero(mask == value)


def deep_is_exact(nest: Nest, place: int) -> bool:
    """Say whether `deep_words` counts a flow exactly; else the search bounds it, and the cost model decides."""
    frame, flow = nest.frame, nest.frame.flows[place]
    if flow.child != 2 or (nest.spans[0] != nest.spans[1]).any():
        return False
    if flow.side == "out" and passes_on(nest.passing, flow.role, flow.parent, flow.child)[0]:
        return False
    windows = frame.operands[flow.role].windows
    if any(window.extent is not None for window in windows):
        return False
    if not _as_sets(frame, flow.role):
        return True
    spread = nest.spans[flow.parent] // nest.spans[2]
    sizes = frame.problem.sizes
    return all(
        _gapless(window, tuple(sizes[dim] for dim in window.dims))
        and all(spread[frame.names.index(dim)] == 1 for dim in window.dims)
        for window in windows
    )


def _as_sets(frame: Frame, role: int) -> bool:
    return frame.rules.exact_windows or ROLES[role] != "I"


def _gapless(window: Window, sizes: tuple[int, ...]) -> bool:
    """Say whether all tiles of an axis are without gaps: the dims step by no more than one element."""
    return all(abs(coefficient) == 1 for coefficient, _ in window.terms)


@dataclass(frozen=True, slots=True, eq=False)
class Above:
    """Loops above level 1.

    Attributes:
        tiles: Of level 1.
        trips: Of the outermost loops, by dim; (n,) each.
        order: Of the outermost loops, innermost first.
    """

    tiles: Tiles
    trips: tuple[Floats, ...]
    order: tuple[int, ...]


def deep_words(nest: Nest, place: int, top: Above, pairs: Pairs, tiles: Tiles, order: tuple[int, ...]) -> Floats:
    """Count the elements that a flow of a tensor with windows moves into level 2.

    From the inside, loop by loop: when a loop advances, the loops inside it go back to their first steps, and the
    child's box moves by the difference. What both boxes share stays; as boxes only if they moved along at most one
    axis.

    Args:
        nest: Spatial vector.
        place: The flow.
        top: Outermost loops.
        pairs: Tiles of level 1 with tiles of level 2.
        tiles: Of level 2, one for each pair.
        order: Loops of level 1, innermost first.
    """
    frame, flow = nest.frame, nest.frame.flows[place]
    operand, indexed = frame.operands[flow.role], frame.indexed[flow.role]
    inner = [value * float(span) for value, span in zip(tiles.values, nest.spans[2], strict=True)]
    boxes = [_Box.at_rest(window, [inner[frame.names.index(dim)] for dim in window.dims]) for window in operand.windows]
    alone = np.asarray(subset_product(inner, (frame.names.index(dim) for dim in operand.dims)))
    loops = [(dim, pairs.trips(frozenset((dim,))), tiles.values[dim] * float(nest.spans[1][dim])) for dim in order]
    outer = [top.tiles.values[dim][pairs.upper] * float(nest.spans[0][dim]) for dim in range(len(nest.bounds))]
    loops += [(dim, top.trips[dim][pairs.upper], outer[dim]) for dim in top.order]
    left: Floats = np.asarray(subset_product([trip for _, trip, _ in loops], range(len(loops))))
    total = left * alone * math.prod(box.words for box in boxes)
    found = np.ones(len(pairs), dtype=bool)
    for dim, trip, step in loops:
        left = left / trip
        advances = left * (trip - 1.0)
        if dim in indexed and dim not in frame.windowed[flow.role]:
            found = found & (trip == 1.0)
            continue
        moves = [box.shift(frame.names[dim], step) for box in boxes]
        stays = alone * math.prod(
            np.maximum(box.words - np.abs(move), 0.0) for box, move in zip(boxes, moves, strict=True)
        )
        if not _as_sets(frame, flow.role):
            stays = np.where(sum((move != 0.0).astype(np.int64) for move in moves) <= 1, stays, 0.0)
        total = total - np.where(found, advances * stays, 0.0)
        for box in boxes:
            box.advance(frame.names[dim], step, trip)
    return total * _copies(nest, place, boxes, inner)  # type: ignore[no-any-return]


class _Box:
    """The box of a tile along one axis, and how far the loops seen so far have moved it.

    Attributes:
        words: Its length.
        moved: From the first step of those loops to their last.
    """

    def __init__(self, window: Window, words: Floats) -> None:
        self.window, self.words, self.moved = window, words, np.zeros_like(words)

    @classmethod
    def at_rest(cls, window: Window, sizes: list[Floats]) -> _Box:
        """Give the box of a tile, by the sizes of the axis's dims."""
        spans = [abs(coefficient) * (size - 1.0) for (coefficient, _), size in zip(window.terms, sizes, strict=True)]
        return cls(window, np.asarray(1.0 + sum(spans)))

    def _pace(self, dim: str) -> float:
        return float(next((coefficient for coefficient, name in self.window.terms if name == dim), 0))

    def shift(self, dim: str, step: Floats) -> Floats:
        """Give how far the box moves when a loop advances."""
        return self._pace(dim) * step - self.moved

    def advance(self, dim: str, step: Floats, trip: Floats) -> None:
        """Count a loop among those seen."""
        self.moved = self.moved + self._pace(dim) * step * (trip - 1.0)


def _copies(nest: Nest, place: int, boxes: list[_Box], inner: list[Floats]) -> Floats | float:
    """Give how often the words of one child count: for every child, or once for all that are sent the same box."""
    frame, flow = nest.frame, nest.frame.flows[place]
    spread = nest.spans[flow.parent] // nest.spans[flow.child]
    above = float(np.prod(nest.spans[0] // nest.spans[flow.parent]))
    if flow.side == "in":
        return above * float(np.prod(spread))
    operand = frame.operands[flow.role]
    copies: Floats | float = above * float(np.prod([spread[frame.names.index(dim)] for dim in operand.dims]))
    for box in boxes:
        places = [frame.names.index(dim) for dim in box.window.dims]
        copies = copies * _distinct_starts(
            box.window, [inner[at] for at in places], tuple(int(spread[at]) for at in places)
        )
    return copies


def _distinct_starts(window: Window, sizes: list[Floats], spread: tuple[int, ...]) -> Floats:
    """Count the places at which parallel tiles of some sizes begin."""
    rows, inverse = np.unique(np.stack(sizes, axis=1).astype(np.int64), axis=0, return_inverse=True)
    counts = []
    for row in rows:
        starts = np.zeros(1, dtype=np.int64)
        for (coefficient, _), size, many in zip(window.terms, row, spread, strict=True):
            starts = np.unique(np.add.outer(starts, coefficient * size * np.arange(many)))
        counts.append(float(len(starts)))
    return np.array(counts)[inverse.reshape(-1)]
