"""One axis of one tensor on its way between two levels: exact sums over all steps of the walk.

The loops between the outermost level and a child level walk every axis of a tensor. At each step (one combination of
the temporal loops above the child) a child holds a piece of the axis. Axes are independent, so a sum over all steps
of a product over axes is a product of sums, one per axis; and what a step moves is the product of the new pieces less
the product of what was kept. Steps are grouped by the loop that advanced last: loops outside it take all values, the
loop itself all but its first, loops inside it their first. For one axis only two things of that loop matter: how many
of the axis's own temporal loops are outside it (`place`), and whether it is one of them.

Three sums per group: `new`, words of the pieces; `kept`, words that were there in the step before; `same`, words of the
pieces that did not change at all. Words that several children of one parent ("joined" loops) hold in a step count once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["AxisLoop", "Sums", "count_steps", "size_sums"]

Ints = NDArray[np.int64]
Kind = Literal["temporal", "joined", "apart"]


@dataclass(frozen=True, slots=True)
class AxisLoop:
    """One loop of an axis.

    Attributes:
        dim: Place of its dim among the dims of the axis.
        step: Shape (n_mappings,).
        kind: temporal; joined: spatial, children of one parent; apart: spatial, counted one by one.
    """

    dim: int
    step: Ints
    kind: Kind


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over the steps of a walk, by group; arrays of shape (n_mappings,).

    Attributes:
        new: Words of the pieces when a loop of another axis advanced last: by `place`, 0 to the number of own loops.
        kept: Of these, words that each holder of the word had in the step before.
        same: Of these, words of pieces that are the same as in the step before.
        new_own: As `new`, when the own loop at `place` advanced last.
        kept_own: As `kept`, likewise.
        same_own: As `same`, likewise.
        first: Words of the pieces of the very first step.
    """

    new: tuple[Ints, ...]
    kept: tuple[Ints, ...]
    same: tuple[Ints, ...]
    new_own: tuple[Ints, ...]
    kept_own: tuple[Ints, ...]
    same_own: tuple[Ints, ...]
    first: Ints

    def at(self, place: int, own: bool) -> tuple[Ints, Ints, Ints]:
        """Give new, kept and same of one group."""
        if own:
            return self.new_own[place], self.kept_own[place], self.same_own[place]
        return self.new[place], self.kept[place], self.same[place]


Pieces = list[tuple[Ints, Ints]]
"""(size, how many) of the pieces of a dim; pieces of the same origin together."""


def _all(pieces: Pieces, step: Ints) -> Pieces:
    whole = [size // step for size, _ in pieces]
    full: Ints = np.asarray(sum(count * times for (_, count), times in zip(pieces, whole, strict=True)))
    edges = [(size - step * times, count) for (size, count), times in zip(pieces, whole, strict=True)]
    return _present([(step, full), *edges])


def _first(pieces: Pieces, step: Ints) -> Pieces:
    return [(np.minimum(size, step), count) for size, count in pieces]


def _later(pieces: Pieces, step: Ints) -> Pieces:
    whole = [size // step for size, _ in pieces]
    full: Ints = np.asarray(
        sum(count * np.maximum(times - 1, 0) for (_, count), times in zip(pieces, whole, strict=True))
    )
    edges = [(size - step * times, count * (times > 0)) for (size, count), times in zip(pieces, whole, strict=True)]
    return _present([(step, full), *edges])


Lone = list[tuple[Ints, Ints, Ints]]
"""(size, edge, how many): pieces of children that are there for one step only, and not at all in a piece of size
edge."""


def _lone_temporal(pieces: Lone, step: Ints) -> Lone:
    """Keep the children with one step in a temporal loop: its trip is 1, or they have no part in its last piece."""
    walked = []
    for size, edge, count in pieces:
        one, two = size <= step, (size > step) & (size < 2 * step)
        rest = np.where(one, edge, np.maximum(size - step, np.minimum(edge, step)))
        walked.append((np.minimum(size, step), rest, count * ((one | two) & (rest < step))))
    return _lone_present(walked)


def _lone_spatial(pieces: Lone, step: Ints) -> Lone:
    """Tell apart the children of a spatial loop: those without a part in the edge, the one at its end, the last."""
    spread = []
    for size, edge, count in pieces:
        full, gone = size // step, edge // step
        part, last = edge - gone * step, size - full * step
        free = gone + (part > 0)
        none = np.zeros_like(part)
        spread += [
            (np.broadcast_to(step, part.shape), none, count * np.maximum(full - free, 0)),
            (np.where(gone < full, step, last), part, count * (part > 0)),
            (last, none, count * (full >= free)),
        ]
    return _lone_present(spread)


def _lone_present(pieces: Lone) -> Lone:
    kept = [(size, edge, count * ((size > 0) & (edge < size))) for size, edge, count in pieces]
    return [entry for entry in kept if entry[2].any()]


def _present(pieces: Pieces) -> Pieces:
    """Drop pieces of no words, and those that no mapping of the batch has."""
    kept = [(size, count * (size > 0)) for size, count in pieces]
    return [(size, count) for size, count in kept if count.any()]


def _words(pieces: Pieces, like: Ints) -> Ints:
    return np.asarray(sum((size * count for size, count in pieces), start=np.zeros_like(like)))


def _number(pieces: Pieces, like: Ints) -> Ints:
    return np.asarray(sum((count for _, count in pieces), start=np.zeros_like(like)))


def size_sums(size: int, loops: Sequence[AxisLoop], n: int) -> Sums:
    """Sum the words of an axis that one dim indexes alone.

    Args:
        size: Of the dim.
        loops: Those of the dim above the child, outermost first.
        n: Number of mappings.
    """
    like = np.zeros(n, dtype=np.int64)
    temporal = [place for place, loop in enumerate(loops) if loop.kind == "temporal"]
    outside: Pieces = [(np.full(n, size, dtype=np.int64), np.ones(n, dtype=np.int64))]
    new, kept, own = [], [], []
    done = 0
    for place in (*temporal, len(loops)):
        for loop in loops[done:place]:
            outside = _all(outside, loop.step)
        done = place
        first = outside
        lone: Lone = [(size, like, count) for size, count in outside]
        for loop in loops[place:]:
            first = _first(first, loop.step) if loop.kind == "temporal" else _all(first, loop.step)
            lone = _lone_temporal(lone, loop.step) if loop.kind == "temporal" else _lone_spatial(lone, loop.step)
        new.append(_words(first, like))
        kept.append(_words([(size, count) for size, edge, count in lone for count in (count * (edge == 0),)], like))
        if place < len(loops):
            later = _later(outside, loops[place].step)
            for loop in loops[place + 1 :]:
                later = _first(later, loop.step) if loop.kind == "temporal" else _all(later, loop.step)
            own.append(_words(later, like))
    none = tuple(like for _ in own)
    return Sums(tuple(new), tuple(kept), tuple(kept), tuple(own), none, none, new[0])


def count_steps(size: int, loops: Sequence[AxisLoop], n: int) -> Sums:
    """Count the steps of a dim that does not index the tensor, in the groups of `Sums`; `kept` and `same` are `new`.

    Children that such a dim tells apart hold the same words: joined ones count once, as the first of them.
    """
    like = np.zeros(n, dtype=np.int64)
    temporal = [place for place, loop in enumerate(loops) if loop.kind == "temporal"]
    outside: Pieces = [(np.full(n, size, dtype=np.int64), np.ones(n, dtype=np.int64))]
    new, own = [], []
    done = 0

    def spread(pieces: Pieces, loop: AxisLoop) -> Pieces:
        return _all(pieces, loop.step) if loop.kind != "joined" else _first(pieces, loop.step)

    for place in (*temporal, len(loops)):
        for loop in loops[done:place]:
            outside = spread(outside, loop)
        done = place
        first = outside
        for loop in loops[place:]:
            first = _first(first, loop.step) if loop.kind == "temporal" else spread(first, loop)
        new.append(_number(first, like))
        if place < len(loops):
            later = _later(outside, loops[place].step)
            for loop in loops[place + 1 :]:
                later = _first(later, loop.step) if loop.kind == "temporal" else spread(later, loop)
            own.append(_number(later, like))
    every, each = tuple(new), tuple(own)
    return Sums(every, every, every, each, each, each, new[0])
