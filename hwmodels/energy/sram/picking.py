"""The best candidate of every point of a batch, among those that may be: `winners` of several widths in one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.choosing import Looked
from hwmodels.energy.sram.entries import Entries, join_entries
from hwmodels.energy.sram.winners import PIECES, Winners

__all__ = ["Table", "join", "pick"]

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

HALF_OCTAVE = 51
"""Bits of a float's mantissa below the first one, which says whether it is in the upper half of its octave."""
PIECE = HALF_OCTAVE - (PIECES.bit_length() - 1)
"""Bits below those that say in which piece of the half octave it is."""
FIRST_NUMBER = 2 * 1022
"""Half octaves by their bits, over their number on the grid of depths (`cells.grid_number`)."""


class Table(NamedTuple):
    """The winners of some widths.

    Attributes:
        base: What the pieces of each whole width are numbered from, shape (widest + 1,).
        first: Where the candidates of each piece begin in `which`, shape (pieces,).
        several: Candidates of each piece, shape (pieces,).
        which: Places in `entries`.
        entries: Candidates of all widths.
        judged: Start and slope of the quantities whose product is minimised, of all candidates.
        bounded: Whether some hold for some rows alone.
    """

    base: Places
    first: Places
    several: Places
    which: Places
    entries: Entries
    judged: list[tuple[Floats, Floats]]
    bounded: bool


def join(words: Mapping[int, Winners]) -> Table:
    """Join the winners of some whole words [B] to a table."""
    widths, found = list(words), list(words.values())
    pieces = np.cumsum([0, *[len(one.depths) for one in found]])
    places = np.cumsum([0, *[len(one.which) for one in found]])
    shift = np.cumsum([0, *[len(one.entries.step) for one in found]])
    entries = join_entries([one.entries for one in found])
    begins = np.array([one.begins for one in found]) + FIRST_NUMBER
    base = np.zeros(max(widths) + 1, dtype=np.intp)
    base[widths] = pieces[:-1] - begins * (PIECES + 1)
    return Table(
        base=base,
        first=np.concatenate([one.first[:-1] + at for one, at in zip(found, places[:-1], strict=True)]),
        several=np.concatenate([np.diff(one.first) for one in found]),
        which=np.concatenate([one.which + at for one, at in zip(found, shift[:-1], strict=True)]),
        entries=entries,
        judged=[(entries.start[:, what].copy(), entries.slope[:, what].copy()) for what in found[0].judged],
        bounded=bool(np.any(np.isfinite(entries.most))),
    )


def pick(table: Table, width: Places, depth: Floats) -> Looked:
    """Choose a candidate for every bank, and give its quantities.

    Args:
        table: The candidates.
        width: Whole words of the table, shape (n_points,) [B].
        depth: Words of each, shape (n_points,).
    """
    piece = _pieces(depth)
    piece += table.base.take(width)
    first = table.first.take(piece)
    best = table.which.take(first)
    count = table.several.take(piece)
    mine = np.flatnonzero(count > 1)
    if len(mine):
        best[mine] = _judge(table, best[mine], first[mine], count[mine], depth[mine])
    values = table.entries.slope.take(best, axis=0)
    values *= _shares(table.entries, best, depth)[1][:, None]
    values += table.entries.start.take(best, axis=0)
    return Looked(values, table.entries.organisation.take(best))


def _pieces(depth: Floats) -> Places:
    """Number the pieces of the depth: the first depth of a half octave alone, then those up to each sixteenth of it."""
    bits = depth.view(np.int64)
    half = bits >> HALF_OCTAVE
    part = bits & ((1 << HALF_OCTAVE) - 1)
    part += (1 << PIECE) - 1
    part >>= PIECE
    half *= PIECES + 1
    half += part
    return half


def _shares(entries: Entries, which: Places, depth: Floats) -> tuple[Floats, Floats]:
    """Give the whole rows of candidates, and how far along their intervals these reach."""
    step = entries.step.take(which)
    rows = np.ceil(depth / step)
    share = rows * step
    share -= entries.low.take(which)
    share /= entries.scale.take(which)
    return rows, share


def _judge(table: Table, best: Places, first: Places, count: Places, depth: Floats) -> Places:
    """Choose where there are several; shapes (points,)."""
    least = np.full(len(best), np.inf)
    mine = np.arange(len(best))
    for place in range(int(count.max())):
        mine = mine[count.take(mine) > place]
        which = table.which.take(first.take(mine) + place)
        rows, share = _shares(table.entries, which, depth.take(mine))
        cost = np.ones(len(mine))
        for start, slope in table.judged:
            cost *= start.take(which) + slope.take(which) * share
        wrong = rows < table.entries.least.take(which)
        if table.bounded:
            wrong |= rows > table.entries.most.take(which)
        cost[wrong] = np.inf
        lower = np.flatnonzero(cost < least.take(mine))
        better = mine.take(lower)
        least[better], best[better] = cost.take(lower), which.take(lower)
    return best
