"""Sliding windows on their way between two levels: the sums of `walks` for an axis that several dims share.

Pieces of a window overlap from step to step (halo) and from child to child, so the sums are taken by walking the axis
itself, one position after the other, whatever the other dims do. Two conventions:

- exact: a piece is the set of elements that are used; a word that several children are sent in a step is read once.
- boxes (Timeloop's): a piece is a bounding box; children share a read only when they are sent the same box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.problem import Window
from hwmodels.mapping.walks import AxisLoop, Ints, Kind, Sums

__all__ = ["first_words", "piece_words", "window_sums"]

Row = tuple[tuple[int, int, Kind], ...]
"""The loops of an axis: (place of the dim, step, kind)."""

Pieces = list[tuple[Ints, Ints]]
"""Start and size of the piece of each dim of the axis, at all positions of the walk."""

MOST_MARKS = 20_000_000


def window_sums(
    window: Window, sizes: Sequence[int], loops: Sequence[AxisLoop], n: int, exact: bool, forwards: bool
) -> Sums:
    """Sum the words of a window axis, in the groups of `Sums`.

    Args:
        window: The axis.
        sizes: Of its dims.
        loops: Those of its dims above the child, outermost first.
        n: Number of mappings.
        exact: Pieces hold the elements that are used; else their bounding box.
        forwards: What any child held in the step before counts as kept.
    """
    steps = np.stack([loop.step for loop in loops], axis=1) if loops else np.zeros((n, 0), dtype=np.int64)
    unique, inverse = np.unique(steps, axis=0, return_inverse=True)
    named = [tuple((loop.dim, int(step), loop.kind) for loop, step in zip(loops, row, strict=True)) for row in unique]
    rows = [_whole_row_sums(_Walk(window, tuple(sizes), row, exact, forwards)) for row in named]
    table = np.array(rows, dtype=np.int64)[inverse.reshape(-1)]
    columns = iter(np.ascontiguousarray(table.T))
    own = sum(loop.kind == "temporal" for loop in loops)
    new, kept, same = (tuple(next(columns) for _ in range(own + 1)) for _ in range(3))
    new_own, kept_own, same_own = (tuple(next(columns) for _ in range(own)) for _ in range(3))
    return Sums(new, kept, same, new_own, kept_own, same_own, first=next(columns))


def piece_words(window: Window, sizes: Sequence[Ints], exact: bool) -> Ints:
    """Give the words of an inner piece, by the sizes of its dims: what a buffer must have room for.

    Args:
        window: The axis.
        sizes: Of the piece along each dim, each of shape (n_mappings,).
        exact: As in `window_sums`.
    """
    box = 1 + sum(abs(coefficient) * (size - 1) for (coefficient, _), size in zip(window.terms, sizes, strict=True))
    words: Ints = np.asarray(box)
    if exact and sizes:
        words = _distinct(tuple(coefficient for coefficient, _ in window.terms), sizes)
    return words if window.extent is None else np.minimum(words, window.extent)


def first_words(window: Window, sizes: Sequence[Ints]) -> Ints:
    """Give the stored elements that the first piece of an axis uses: less than `piece_words` where padding begins it.

    Args:
        window: The axis.
        sizes: Of the piece along each dim, each of shape (n_mappings,).
    """
    coefficients = tuple(coefficient for coefficient, _ in window.terms)
    if window.extent is None:
        return _distinct(coefficients, sizes)
    unique, inverse = np.unique(np.stack(np.broadcast_arrays(*sizes), axis=1), axis=0, return_inverse=True)
    counts = [
        sum(0 <= value + window.offset < window.extent for value in _offsets(coefficients, tuple(map(int, row))))
        for row in unique
    ]
    return np.array(counts, dtype=np.int64)[inverse.reshape(-1)]


def _distinct(coefficients: tuple[int, ...], sizes: Sequence[Ints]) -> Ints:
    """Count the distinct values of sum(coefficient x i), 0 <= i < size."""
    code: Ints = np.zeros((), dtype=np.int64)
    for size in sizes:
        code = code * (int(size.max(initial=0)) + 1) + size
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    rows = np.stack([np.broadcast_to(size, code.shape).reshape(-1)[first] for size in sizes], axis=1)
    counts = [len(_offsets(coefficients, tuple(map(int, row)))) for row in rows]
    return np.asarray(np.array(counts, dtype=np.int64)[inverse].reshape(code.shape))


@lru_cache(maxsize=65536)
def _offsets(coefficients: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[int, ...]:
    """List the distinct values of sum(coefficient x i), 0 <= i < size; none if a size is 0."""
    reached = {0}
    for coefficient, size in zip(coefficients, sizes, strict=True):
        steps = range(0, coefficient * size, coefficient) if coefficient else range(min(size, 1))
        reached = {value + step for value in reached for step in steps}
    return tuple(sorted(reached))


@dataclass(frozen=True, slots=True)
class _Walk:
    """One axis of one mapping."""

    window: Window
    sizes: tuple[int, ...]
    row: Row
    exact: bool
    forwards: bool

    @property
    def temporal(self) -> list[int]:
        return [place for place, (_, _, kind) in enumerate(self.row) if kind == "temporal"]

    @property
    def trips(self) -> list[int]:
        """Trip counts of the first pieces: the most that any piece has."""
        left = list(self.sizes)
        trips = []
        for dim, step, _ in self.row:
            trips.append(-(-left[dim] // step))
            left[dim] = min(left[dim], step)
        return trips

    @property
    def uniform(self) -> bool:
        """Say whether all steps look the same: nothing is clipped, and all pieces of a loop have one size."""
        left = list(self.sizes)
        for dim, step, _ in self.row:
            if left[dim] % step:
                return False
            left[dim] = step
        return self.window.extent is None

    @property
    def joined(self) -> tuple[int, ...]:
        return tuple(place for place, (_, _, kind) in enumerate(self.row) if kind == "joined")


def _whole_row_sums(walk: _Walk) -> tuple[int, ...]:
    """Give the sums of `_row_sums`. Loops of one step move nothing: they are left out of the walk."""
    turns = [trip > 1 for trip in walk.trips]
    if all(turns):
        return _row_sums(walk)
    sums = _row_sums(replace(walk, row=tuple(loop for loop, turn in zip(walk.row, turns, strict=True) if turn)))
    temporal = [turns[place] for place in walk.temporal]
    outside = list(accumulate(temporal, initial=0))
    groups = outside[-1] + 1
    found = [sums[part * groups + place] for part in range(3) for place in outside]
    own, start = sums[3 * groups :], list(zip(temporal, outside, strict=False))
    found += [own[part * (groups - 1) + place] if turn else 0 for part in range(3) for turn, place in start]
    return (*found, sums[-1])


@lru_cache(maxsize=65536)
def _row_sums(walk: _Walk) -> tuple[int, ...]:
    """Give new, kept, same, new_own, kept_own, same_own, first of one mapping, one after the other."""
    other = [_group(walk, place, False) for place in (*walk.temporal, len(walk.row))]
    own = [_group(walk, place, True) for place in walk.temporal]
    sums = [sums[part] for group in (other, own) for part in range(3) for sums in group]
    start = [
        np.arange(1 if kind == "temporal" else trip) for (_, _, kind), trip in zip(walk.row, walk.trips, strict=True)
    ]
    pieces = _pieces(walk.sizes, walk.row, start, len(walk.row), 0)
    first = (_set_sums if walk.exact else _box_sums)(walk, pieces, pieces)[0]
    return (*sums, int(first))


def _group(walk: _Walk, place: int, own: bool) -> tuple[int, int, int]:
    """Give new, kept and same words of the steps at which the loop at `place` (or another one there) advanced last."""
    ranges = []
    for position, ((_, _, kind), trip) in enumerate(zip(walk.row, walk.trips, strict=True)):
        free = position < place or kind != "temporal"
        ranges.append(np.arange(trip) if free else np.arange(1, trip) if own and position == place else np.arange(1))
    alike = 1
    if walk.uniform:
        alike = math.prod(len(item) for item, (_, _, kind) in zip(ranges, walk.row, strict=True) if kind != "joined")
        ranges = [item if kind == "joined" else item[:1] for item, (_, _, kind) in zip(ranges, walk.row, strict=True)]
    marks = math.prod(len(item) for item in ranges) * _reach(walk.window, walk.sizes)[1]
    sums = np.zeros(3, dtype=np.int64)
    for part in _chunks(ranges, walk.row, marks):
        now = _pieces(walk.sizes, walk.row, part, len(walk.row), 0)
        before = _pieces(walk.sizes, walk.row, part, place, int(own))
        sums += _set_sums(walk, now, before) if walk.exact else _box_sums(walk, now, before)
    new, kept, same = (int(part) * alike for part in sums)
    return new, kept, same


def _set_sums(walk: _Walk, now: Pieces, before: Pieces) -> NDArray[np.int64]:
    """Sum over steps with pieces as sets. `same` is `kept`: sets may move along several axes and still share words."""
    held, had = _marks(walk, now), _marks(walk, before)
    union = held.any(axis=walk.joined) if walk.joined else held
    if walk.forwards:
        had = had & _present(now)[..., None]  # an idle child passes nothing on
        stays = union & (had.any(axis=walk.joined) if walk.joined else had)
    else:
        fetched = held & ~had
        stays = union & ~(fetched.any(axis=walk.joined) if walk.joined else fetched)
    return np.array([union.sum(), stays.sum(), stays.sum()])


def _box_sums(walk: _Walk, now: Pieces, before: Pieces) -> NDArray[np.int64]:
    """Sum over steps with pieces as bounding boxes; equal boxes of joined children count once."""
    first, last = _boxes(walk, now)
    first_before, last_before = _boxes(walk, before)
    boxes = np.stack(np.broadcast_arrays(first, last, first_before, last_before))
    together = math.prod(boxes.shape[1 + axis] for axis in walk.joined)
    if together > 1:
        apart = [axis for axis in range(1, boxes.ndim) if axis - 1 not in walk.joined]
        flat = boxes.transpose(0, *apart, *[1 + axis for axis in walk.joined]).reshape(4, -1, together)
        step = np.broadcast_to(np.arange(flat.shape[1])[:, None], flat.shape[1:])
        boxes = np.unique(np.concatenate([flat, step[None]]).reshape(5, -1), axis=1)[:4]
    first, last, first_before, last_before = boxes
    size = last - first + 1
    overlap = np.minimum(last, last_before) - np.maximum(first, first_before) + 1
    unmoved = (first == first_before) & (last == last_before)
    return np.array([size.sum(), np.maximum(overlap, 0).sum(), (size * unmoved).sum()])


def _chunks(ranges: list[NDArray[np.int64]], row: Row, marks: int) -> list[list[NDArray[np.int64]]]:
    """Split the longest range that is not joined until the marks fit."""
    if marks <= MOST_MARKS:
        return [ranges]
    free = [position for position, (_, _, kind) in enumerate(row) if kind != "joined"]
    longest = max(free, key=lambda position: len(ranges[position]), default=None)
    if longest is None or len(ranges[longest]) < 2:
        return [ranges]
    halves = np.array_split(ranges[longest], 2)
    parts = [[*ranges[:longest], half, *ranges[longest + 1 :]] for half in halves]
    return [chunk for part in parts for chunk in _chunks(part, row, marks // 2)]


def _pieces(sizes: tuple[int, ...], row: Row, ranges: list[NDArray[np.int64]], place: int, back: int) -> Pieces:
    """Give start and size of the piece of each dim at all positions; from `place` on as in the step before.

    The loop at `place` stands `back` earlier; temporal loops after it (at it, if `back` is 0) stand at the last value
    for which there is a piece.
    """
    pieces = [(np.zeros((), dtype=np.int64), np.asarray(size)) for size in sizes]
    indices = [
        item.reshape([-1 if axis == position else 1 for axis in range(len(row))])
        for position, item in enumerate(ranges)
    ]
    for position, (dim, step, kind) in enumerate(row):
        start, size = pieces[dim]
        index = indices[position]
        if kind == "temporal" and position >= place:
            last = -(-size // step) - 1
            rest = _first_piece(size - last * step, dim, row, indices, position + 1)
            index = index - back if back and position == place else np.maximum(last - (rest <= 0), 0)
        pieces[dim] = (start + index * step, np.clip(size - index * step, 0, step))
    return pieces


def _first_piece(size: Ints, dim: int, row: Row, indices: Sequence[Ints], position: int) -> Ints:
    """Give the size of the first piece that the loops of a dim from a position on leave of a size."""
    for (other, step, kind), index in zip(row[position:], indices[position:], strict=True):
        if other == dim:
            size = np.clip(size if kind == "temporal" else size - index * step, 0, step)
    return size


def _reach(window: Window, sizes: tuple[int, ...]) -> tuple[int, int]:
    """Give the first index of the axis that is stored and used, and how many there are from it on."""
    low = window.offset + sum(min(c * (size - 1), 0) for (c, _), size in zip(window.terms, sizes, strict=True))
    high = window.offset + sum(max(c * (size - 1), 0) for (c, _), size in zip(window.terms, sizes, strict=True))
    if window.extent is not None:
        low, high = max(low, 0), min(high, window.extent - 1)
    return low, max(high - low + 1, 0)


def _present(pieces: Pieces) -> NDArray[np.bool_]:
    """Say at which positions no dim has run out."""
    present: NDArray[np.bool_] = np.asarray(True)
    for _, size in pieces:
        present = present & (size > 0)
    return present


def _boxes(walk: _Walk, pieces: Pieces) -> tuple[Ints, Ints]:
    """Give the first and last stored index of the bounding box of each piece; last = first - 1 where there is none."""
    low, length = _reach(walk.window, walk.sizes)
    first: Ints = np.asarray(walk.window.offset)
    last: Ints = np.asarray(walk.window.offset)
    for (coefficient, _), (start, size) in zip(walk.window.terms, pieces, strict=True):
        ends = coefficient * start, coefficient * (start + size - 1)
        first, last = first + np.minimum(*ends), last + np.maximum(*ends)
    first, last = np.maximum(first, low), np.minimum(last, low + length - 1)
    filled = _present(pieces) & (last >= first)
    return np.where(filled, first, 0), np.where(filled, last, -1)


def _marks(walk: _Walk, pieces: Pieces) -> NDArray[np.bool_]:
    """Mark the stored indices that each piece uses: shape (*positions, length)."""
    low, length = _reach(walk.window, walk.sizes)
    coefficients = tuple(coefficient for coefficient, _ in walk.window.terms)
    shape = np.broadcast_shapes(*[size.shape for _, size in pieces])
    starts = sum((c * start for c, (start, _) in zip(coefficients, pieces, strict=True)), start=np.zeros((), np.int64))
    base = np.broadcast_to(starts + walk.window.offset - low, shape).reshape(-1)
    code = np.zeros(shape, dtype=np.int64)  # pieces of equal sizes hold the same set, shifted
    for (_, size), most in zip(pieces, walk.sizes, strict=True):
        code = code * (most + 1) + size
    marks = np.zeros((base.size, length), dtype=bool)
    for number in np.unique(code):
        rows = np.nonzero(code.reshape(-1) == number)[0]
        index = base[rows, None] + np.array(_offsets(coefficients, _digits(int(number), walk.sizes)), dtype=np.int64)
        inside = (index >= 0) & (index < length)
        marks[np.broadcast_to(rows[:, None], index.shape)[inside], index[inside]] = True
    return marks.reshape(*shape, length)


def _digits(number: int, most: tuple[int, ...]) -> tuple[int, ...]:
    digits = []
    for size in reversed(most):
        number, digit = divmod(number, size + 1)
        digits.append(digit)
    return tuple(reversed(digits))
