"""Sliding windows on their way between two levels: the sums of `walks` for an axis that several dims share.

Pieces of a window overlap from step to step (halo) and from child to child, so the sums are taken by walking the axis
itself, one position after the other: at most (product of its dims) x (its length) marks, whatever the other dims do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.problem import Window
from hwmodels.mapping.walks import AxisLoop, Ints, Kind, Sums

__all__ = ["piece_words", "window_sums"]

Row = tuple[tuple[int, int, Kind], ...]
"""The loops of an axis: (place of the dim, step, kind)."""

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
    rows = [
        _row_sums(
            window,
            tuple(sizes),
            tuple((loop.dim, int(step), loop.kind) for loop, step in zip(loops, row, strict=True)),
            exact,
            forwards,
        )
        for row in unique
    ]
    table = np.array(rows, dtype=np.int64)[inverse.reshape(-1)]
    columns = iter(np.ascontiguousarray(table.T))
    own = sum(loop.kind == "temporal" for loop in loops)
    parts = [tuple(next(columns) for _ in range(length)) for length in (own + 1, own + 1, own, own)]
    return Sums(*parts)


def piece_words(window: Window, sizes: Sequence[Ints], exact: bool) -> Ints:
    """Give the words of an inner piece, by the sizes of its dims: what a buffer must have room for.

    Args:
        window: The axis.
        sizes: Of the piece along each dim, each of shape (n_mappings,).
        exact: As in `window_sums`.
    """
    box = 1 + sum(abs(coefficient) * (size - 1) for (coefficient, _), size in zip(window.terms, sizes, strict=True))
    words: Ints = np.asarray(box)
    if exact:
        unique, inverse = np.unique(np.stack(sizes, axis=1), axis=0, return_inverse=True)
        counts = [_distinct(tuple(c for c, _ in window.terms), tuple(map(int, row))) for row in unique]
        words = np.array(counts, dtype=np.int64)[inverse.reshape(-1)]
    return words if window.extent is None else np.minimum(words, window.extent)


@lru_cache(maxsize=65536)
def _distinct(coefficients: tuple[int, ...], sizes: tuple[int, ...]) -> int:
    reached = np.zeros(1, dtype=np.int64)
    for coefficient, size in zip(coefficients, sizes, strict=True):
        reached = np.unique(np.add.outer(reached, coefficient * np.arange(size)))
    return reached.size


@lru_cache(maxsize=65536)
def _row_sums(window: Window, sizes: tuple[int, ...], row: Row, exact: bool, forwards: bool) -> tuple[int, ...]:
    """Give new, kept, new_own, kept_own of one mapping, one after the other."""
    temporal = [place for place, (_, _, kind) in enumerate(row) if kind == "temporal"]
    other = [_group(window, sizes, row, place, False, exact, forwards) for place in (*temporal, len(row))]
    own = [_group(window, sizes, row, place, True, exact, forwards) for place in temporal]
    return tuple(pair[part] for group in (other, own) for part in (0, 1) for pair in group)


def _group(
    window: Window, sizes: tuple[int, ...], row: Row, place: int, own: bool, exact: bool, forwards: bool
) -> tuple[int, int]:
    """Give new and kept words of the steps at which the loop at `place` (or another one there) advanced last."""
    ranges = [
        np.arange(trip) if position < place or kind != "temporal" else np.arange(1, trip) if own and position == place else np.arange(1)
        for position, ((_, _, kind), trip) in enumerate(zip(row, _trips(sizes, row), strict=True))
    ]
    marks = math.prod(len(item) for item in ranges) * _reach(window, sizes)[1]
    new = kept = 0
    for part in _chunks(ranges, row, marks):
        now = _marks(window, sizes, _pieces(sizes, row, part, len(row), 0), exact)
        before = _marks(window, sizes, _pieces(sizes, row, part, place, int(own)), exact)
        joined = tuple(position for position, (_, _, kind) in enumerate(row) if kind == "joined")
        union = now.any(axis=joined) if joined else now
        new += int(union.sum())
        if forwards:
            kept += int((union & (before.any(axis=joined) if joined else before)).sum())
        else:
            fetched = now & ~before
            kept += int((union & ~(fetched.any(axis=joined) if joined else fetched)).sum())
    return new, kept


def _trips(sizes: tuple[int, ...], row: Row) -> list[int]:
    """Give the trip counts of the first pieces: the most that any piece has."""
    left = list(sizes)
    trips = []
    for dim, step, _ in row:
        trips.append(-(-left[dim] // step))
        left[dim] = min(left[dim], step)
    return trips


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


def _pieces(
    sizes: tuple[int, ...], row: Row, ranges: list[NDArray[np.int64]], place: int, back: int
) -> list[tuple[Ints, Ints]]:
    """Give start and size of the piece of each dim at all positions; from `place` on as in the step before.

    The loop at `place` stands `back` earlier; temporal loops after it (at it, if `back` is 0) stand at their last value.
    """
    pieces = [(np.zeros((), dtype=np.int64), np.asarray(size)) for size in sizes]
    for position, ((dim, step, kind), item) in enumerate(zip(row, ranges, strict=True)):
        start, size = pieces[dim]
        index = item.reshape([-1 if axis == position else 1 for axis in range(len(row))])
        if kind == "temporal" and position >= place:
            index = index - back if back and position == place else np.maximum(-(-size // step) - 1, 0)
        pieces[dim] = (start + index * step, np.clip(size - index * step, 0, step))
    return pieces


def _reach(window: Window, sizes: tuple[int, ...]) -> tuple[int, int]:
    """Give the first index of the axis that is stored and used, and how many there are from it on."""
    low = window.offset + sum(min(c * (size - 1), 0) for (c, _), size in zip(window.terms, sizes, strict=True))
    high = window.offset + sum(max(c * (size - 1), 0) for (c, _), size in zip(window.terms, sizes, strict=True))
    if window.extent is not None:
        low, high = max(low, 0), min(high, window.extent - 1)
    return low, max(high - low + 1, 0)


def _marks(window: Window, sizes: tuple[int, ...], pieces: list[tuple[Ints, Ints]], exact: bool) -> NDArray[np.bool_]:
    """Mark the indices that each piece holds: shape (*positions, length)."""
    low, length = _reach(window, sizes)
    shape = np.broadcast_shapes(*[size.shape for _, size in pieces])
    filled = np.ones(shape, dtype=bool)
    for _, size in pieces:
        filled = filled & (size > 0)
    if not exact:
        first: Ints = np.asarray(window.offset - low)
        last: Ints = np.asarray(window.offset - low)
        for (coefficient, _), (start, size) in zip(window.terms, pieces, strict=True):
            ends = coefficient * start, coefficient * (start + size - 1)
            first, last = first + np.minimum(*ends), last + np.maximum(*ends)
        index = np.arange(length)
        inside: NDArray[np.bool_] = (
            (index >= first[..., None]) & (index <= last[..., None]) & filled[..., None]
        )
        return inside
    return _used(window, pieces, filled, low, length)


def _used(
    window: Window, pieces: list[tuple[Ints, Ints]], filled: NDArray[np.bool_], low: int, length: int
) -> NDArray[np.bool_]:
    marks = np.zeros((filled.size, length), dtype=bool)
    starts = [np.broadcast_to(start, filled.shape).reshape(-1) for start, _ in pieces]
    counts = [np.broadcast_to(size, filled.shape).reshape(-1) for _, size in pieces]
    for offsets in np.ndindex(*[int(count.max(initial=0)) for count in counts]):
        index = np.full(filled.size, window.offset - low)
        valid = filled.reshape(-1).copy()
        for (coefficient, _), start, count, offset in zip(window.terms, starts, counts, offsets, strict=True):
            index += coefficient * (start + offset)
            valid &= offset < count
        valid &= (index >= 0) & (index < length)
        marks[np.nonzero(valid)[0], index[valid]] = True
    return marks.reshape(*filled.shape, length)
