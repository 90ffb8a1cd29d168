"""The choice of an organisation for one memory at a time, in plain numbers: what `picking` does for batches."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from hwmodels.energy.sram.lookup import Kind, winners_of
from hwmodels.energy.sram.winners import PIECES

__all__ = ["Candidate", "best_of", "choose_one", "line_of", "piece_of"]

Values = tuple[float, ...]
Judged = tuple[float, float, float, float, tuple[tuple[float, float], ...]]
Candidate = tuple[float, int, Values, Values, Judged]
"""Words of a row; organisation; quantities at no rows, and by the row; least and most rows, low, scale, and start and
slope of what the objective multiplies, as in `entries.Entries`."""


class Line(NamedTuple):
    """Candidates of one width and node that may be the best, piece by piece, and the first half octave's number."""

    begins: int
    pieces: list[tuple[Candidate, ...]]


@lru_cache(maxsize=1024)
def line_of(kind: Kind, width: float) -> Line:
    """Give the candidates of a word of 1 to `WIDEST` [B] that may be the best."""
    winners = winners_of(kind, width)
    step, low, scale, least, most, organisation, start, slope = winners.entries
    rise = slope / scale[:, None]
    constant = start - rise * low[:, None]
    linear = rise * step[:, None]
    judged = [
        list(zip(*pair, strict=True))
        for pair in zip(start[:, winners.judged].tolist(), slope[:, winners.judged].tolist(), strict=True)
    ]
    rules = zip(least.tolist(), most.tolist(), low.tolist(), scale.tolist(), map(tuple, judged), strict=True)
    every: list[Candidate] = list(
        zip(
            step.tolist(),
            organisation.tolist(),
            map(tuple, constant.tolist()),
            map(tuple, linear.tolist()),
            rules,
            strict=True,
        )
    )
    which, first = winners.which.tolist(), winners.first.tolist()
    return Line(winners.begins, [tuple(every[place] for place in which[at:end]) for at, end in pairwise(first)])


def piece_of(begins: int, depth: float) -> int:
    """Number the piece of a depth, from the first one of a half octave."""
    mantissa, exponent = math.frexp(depth)
    if mantissa < 0.75:
        return (2 * exponent - begins) * (PIECES + 1) + math.ceil((mantissa - 0.5) * (4 * PIECES))
    return (2 * exponent - begins + 1) * (PIECES + 1) + math.ceil((mantissa - 0.75) * (4 * PIECES))


def choose_one(kind: Kind, width: float, depth: float) -> tuple[int, list[float]]:
    """Choose an organisation. Gives its place in the table, and its quantities.

    Args:
        kind: Device type, node, ports, banks, objective.
        width: Word, 1 to `WIDEST` [B].
        depth: Words of a bank, at least 32.
    """
    begins, pieces = line_of(kind, width)
    candidates = pieces[piece_of(begins, depth)]
    step, which, constant, linear, _ = candidates[0] if len(candidates) == 1 else best_of(candidates, depth)
    rows = -(-depth // step)  # rounded up, and still a float: faster than an integer in what follows
    return which, [start + slope * rows for start, slope in zip(constant, linear)]  # noqa: B905  in a third of the time


def best_of(candidates: tuple[Candidate, ...], depth: float) -> Candidate:
    """Give the best candidate of a piece."""
    least, best = math.inf, candidates[0]
    for candidate in candidates:
        step, _, _, _, (fewest, most, low, scale, judged) = candidate
        rows = -(-depth // step)
        if fewest <= rows <= most:
            share, cost = (rows * step - low) / scale, 1.0
            for start, slope in judged:
                cost *= start + slope * share
            if cost < least:
                least, best = cost, candidate
    return best
