"""Which candidates may be the best: for every 32nd of an octave of the depth, found once for a width.

In a piece of the depth a candidate takes rows between two numbers, and what the objective minimises is a product of
quantities that are linear in the rows. Of a candidate that can be built in the whole piece, the most that this product
may be is known; whoever is never below that is left out. So is a candidate with coarser rows, if the product is larger
than that of a finer one for the same words: finer rows are rounded up to fewer words, and fewer words cost less. The
products of linear quantities are compared by their Bernstein coefficients, which bound them on the whole piece. What is
left out is so never the best, and of nearly all pieces one candidate is left.

Source: Farouki, The Bernstein polynomial basis: a centennial retrospective, CAGD 29(6), 2012 (products, bounds).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.cells import ACCESS, HEIGHT, READ, WIDTH, grid_number
from hwmodels.energy.sram.entries import Entries, collect_entries
from hwmodels.energy.sram.routing import Banks
from hwmodels.energy.sram.stored import Objective
from hwmodels.energy.sram.words import Word

__all__ = ["PIECES", "Winners", "find_winners"]

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

PIECES = 16
"""Of a half octave of the depth; its first depth alone is one more."""
CLEARLY = 1 - 1e-9
"""Candidates nearer to each other than this are all kept, whatever the rounding."""


class Winners(NamedTuple):
    """Candidates that may be the best, piece by piece of the depth of one width.

    Attributes:
        begins: Number on the grid of the first half octave.
        depths: Last depth of every piece, ascending, shape (pieces,).
        first: Where the candidates of each piece begin in `which`, shape (pieces + 1,).
        which: Places in `entries`.
        entries: The candidates.
        judged: Quantities whose product the objective minimises, each as often as its power says.
    """

    begins: int
    depths: Floats
    first: Places
    which: Places
    entries: Entries
    judged: list[int]


class Pairs(NamedTuple):
    """Candidates of pieces, shape (n,) each.

    Attributes:
        piece: Ascending.
        entry: The candidate.
        fewest: Rows that it takes at least in the piece.
        most: Rows that it takes at most.
        sure: Whether it holds for all of these.
    """

    piece: Places
    entry: Places
    fewest: Floats
    most: Floats
    sure: NDArray[np.bool_]

    def of(self, mine: Places | NDArray[np.bool_]) -> Pairs:
        """Take some of them."""
        arrays: list[Any] = [array[mine] for array in self]
        return Pairs(*arrays)


def _quantities(objective: Objective) -> list[int]:
    powers = ((READ, objective.energy), (ACCESS, objective.delay), (HEIGHT, objective.area), (WIDTH, objective.area))
    return [what for what, power in powers for _ in range(power)]


def find_winners(word: Word, width: float, largest: float, objective: Objective, banks: Banks | None) -> Winners:
    """Find the candidates that may be the best.

    Args:
        word: Candidates of one width and node.
        width: Word [B].
        largest: Bank up to which depths are looked up, beyond the last interval as that goes on [B].
        objective: What to choose for.
        banks: Whose wires are added before candidates are judged, or None.
    """
    begins, ends = (int(number) for number in grid_number(np.array([word.low[0], largest / width])))
    spans = np.arange(ends + 1 - begins)
    interval = np.minimum(spans, len(word.low) - 1)
    depths = np.ldexp(np.where((begins + spans) % 2, 0.75, 0.5), (begins + spans) // 2)
    entries, first = collect_entries(word, interval, depths, banks, width)
    lower, upper = _pieces(depths)
    what = _quantities(objective)
    pairs = _kept(entries, _pairs(entries, first, lower, upper), what)
    used, which = np.unique(pairs.entry, return_inverse=True)
    upper[PIECES :: PIECES + 1] = np.nextafter(upper[PIECES :: PIECES + 1], 0.0)  # where the next half octave begins
    pieces = np.searchsorted(pairs.piece, np.arange(len(upper) + 1))
    return Winners(begins, upper, pieces, which, entries.of(used), what)


def _pieces(depths: Floats) -> tuple[Floats, Floats]:
    """Give the ends of all pieces: those of the first depth of each half octave alone, and what is above the lower."""
    length = np.ldexp(0.5, np.frexp(depths)[1] - 1) / PIECES
    upper = depths[:, None] + length[:, None] * np.arange(PIECES + 1)
    lower = np.concatenate([upper[:, :1], upper[:, :-1]], axis=1)
    return lower.ravel(), upper.ravel()


def _pairs(entries: Entries, first: Places, lower: Floats, upper: Floats) -> Pairs:
    """Pair the pieces with their candidates, and give the rows that these take there."""
    every = np.arange(len(lower))
    group = 2 * (every // (PIECES + 1)) + (every % (PIECES + 1) > 0)
    count = first[group + 1] - first[group]
    piece = every.repeat(count)
    entry = np.arange(count.sum()) + (first[group] - np.cumsum(count) + count)[piece]
    step, low, high = entries.step[entry], lower[piece], upper[piece]
    fewest = np.where(low == high, np.ceil(low / step), np.floor(low / step) + 1)
    most = np.ceil(high / step)
    least, up_to = entries.least[entry], entries.most[entry]
    sure = (fewest >= least) & (most <= up_to)
    found = Pairs(piece, entry, np.maximum(fewest, least), np.minimum(most, up_to), sure)
    return found.of(found.fewest <= found.most)


def _values(entries: Entries, entry: Places, words: Floats, what: Sequence[int]) -> Floats:
    """Give the quantities of candidates for so many words. Shape (quantities, n)."""
    share = (words - entries.low[entry]) / entries.scale[entry]
    return np.stack([entries.start[entry, each] + entries.slope[entry, each] * share for each in what])


class Judged(NamedTuple):
    """What the objective multiplies, at the fewest and the most rows of pairs, shape (quantities, n) each."""

    low: Floats
    high: Floats

    def of(self, mine: Places) -> Judged:
        """Take some pairs."""
        return Judged(self.low[:, mine], self.high[:, mine])


def _kept(entries: Entries, pairs: Pairs, what: Sequence[int]) -> Pairs:
    """Leave out whoever is never below the most that another one may be, then whoever is beaten for all words."""
    step = entries.step[pairs.entry]
    judged = Judged(*[_values(entries, pairs.entry, rows * step, what) for rows in (pairs.fewest, pairs.most)])
    least, most = np.minimum(*judged).prod(axis=0), np.maximum(*judged).prod(axis=0)
    most[~pairs.sure] = np.inf
    starts, sizes = _runs(pairs.piece)
    mine = np.flatnonzero(least * CLEARLY <= np.minimum.reduceat(most, starts).repeat(sizes))
    pairs, judged, most = pairs.of(mine), judged.of(mine), most[mine]
    starts, sizes = _runs(pairs.piece)
    best = np.lexsort((most, pairs.piece))[starts].repeat(sizes)  # a first round against one of each piece: 4 x faster
    mine = np.flatnonzero(~_beaten(entries, pairs, judged, best, np.arange(len(best)), what))
    pairs, judged = pairs.of(mine), judged.of(mine)
    better, worse = _everyone(*_runs(pairs.piece))
    return pairs.of(~_beaten(entries, pairs, judged, better, worse, what))


def _runs(piece: Places) -> tuple[Places, Places]:
    """Give where each piece begins among its pairs, and how many it has."""
    starts = np.flatnonzero(np.diff(piece, prepend=-1))
    return starts, np.diff(starts, append=len(piece))


def _everyone(starts: Places, sizes: Places) -> tuple[Places, Places]:
    """Pair everyone of a piece with everyone."""
    begins, counts = starts.repeat(sizes), sizes.repeat(sizes)
    worse = np.arange(len(counts)).repeat(counts)
    return np.arange(len(worse)) + (begins - np.cumsum(counts) + counts)[worse], worse


def _beaten(
    entries: Entries, pairs: Pairs, judged: Judged, better: Places, worse: Places, what: Sequence[int]
) -> NDArray[np.bool_]:
    """Say which pairs are beaten for all words that they may have, by another one that has rows as fine.

    Args:
        entries: Candidates.
        pairs: Those that are left.
        judged: What is minimised of them.
        better: Pairs that may beat, shape (n_tries,).
        worse: Pairs that these may beat, shape (n_tries,).
        what: Quantities that the objective multiplies.

    Returns:
        Shape (pairs,).
    """
    step = entries.step[pairs.entry]  # powers of two: the finer divides the coarser
    grows = np.all(entries.slope[pairs.entry][:, what] >= 0, axis=1)
    as_fine = (step[better] == step[worse]) | ((step[better] < step[worse]) & grows[better])
    tries = np.flatnonzero(pairs.sure[better] & as_fine & (better != worse))
    better, worse = better[tries], worse[tries]
    words = ((rows * step)[worse] for rows in (pairs.fewest, pairs.most))
    mine = _product(*[_values(entries, pairs.entry[better], each, what) for each in words])
    beaten = np.zeros(len(step), dtype=bool)
    beaten[worse[np.all(mine < CLEARLY * _product(*judged.of(worse)), axis=0)]] = True
    return beaten


def _product(low: Floats, high: Floats) -> Floats:
    """Give the Bernstein coefficients of the product of linear quantities, from their ends of shape (quantities, n)."""
    found = np.ones((1, low.shape[1]))
    for start, end in zip(low, high, strict=True):
        degree = len(found)
        along = np.arange(degree + 1)[:, None] / degree
        padded = np.pad(found, ((1, 1), (0, 0)))
        found = (1 - along) * padded[1:] * start + along * padded[:-1] * end
    return found
