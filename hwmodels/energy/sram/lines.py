"""The choice of an organisation for one memory at a time, in plain numbers: what `picking` does for batches."""

from __future__ import annotations

import math
from bisect import bisect_left
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from hwmodels.energy.sram.lookup import Kind, winners_of

__all__ = ["Candidate", "Pair", "best_of", "choose_one", "line_of"]

Pair = tuple[float, float]
Candidate = tuple[float, float, float, float, float, int, tuple[Pair, ...], tuple[Pair, ...]]
"""Step, low, scale, least and most rows, organisation; start and slope by quantity, and of those that are judged."""


class Line(NamedTuple):
    """Candidates of one width and node: `pieces[i]` may be the best up to `depths[i]`."""

    depths: list[float]
    pieces: list[list[Candidate]]


@lru_cache(maxsize=1024)
def line_of(kind: Kind, width: float) -> Line:
    """Give the candidates of a word of 1 to `WIDEST` [B] that may be the best."""
    winners = winners_of(kind, width)
    *plain, start, slope = (array.tolist() for array in winners.entries)
    pairs = [tuple(zip(low, rise, strict=True)) for low, rise in zip(start, slope, strict=True)]
    judged = [tuple(values[what] for what in winners.judged) for values in pairs]
    every: list[Candidate] = list(zip(*plain, pairs, judged, strict=True))
    which, first = winners.which.tolist(), winners.first.tolist()
    pieces = [[every[place] for place in which[at:end]] for at, end in pairwise(first)]
    return Line(winners.depths.tolist(), pieces)


def choose_one(kind: Kind, width: float, depth: float) -> tuple[int, list[float]]:
    """Choose an organisation. Gives its place in the table, and its quantities.

    Args:
        kind: Device type, node, ports, banks, objective.
        width: Word, 1 to `WIDEST` [B].
        depth: Words of a bank, at least 32.
    """
    depths, pieces = line_of(kind, width)
    (_, _, _, _, _, which, values, _), share = best_of(pieces[bisect_left(depths, depth)], depth)
    return which, [start + slope * share for start, slope in values]


def best_of(candidates: list[Candidate], depth: float) -> tuple[Candidate, float]:
    """Give the best candidate of a piece, and how far along its interval its whole rows reach."""
    best = candidates[0]
    if len(candidates) > 1:
        least = math.inf
        for candidate in candidates:
            step, low, scale, fewest, most, _, _, judged = candidate
            rows = math.ceil(depth / step)
            if fewest <= rows <= most:
                share, cost = (rows * step - low) / scale, 1.0
                for start, slope in judged:
                    cost *= start + slope * share
                if cost < least:
                    least, best = cost, candidate
    step = best[0]
    return best, (math.ceil(depth / step) * step - best[1]) / best[2]
