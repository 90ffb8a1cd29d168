"""Candidates of one word width as one list, half octave by half octave; those of banks with the wires between them.

Between two depths of the grid all that a candidate has is linear in its rows, and so are the wires between banks of it,
as long as the address has as many bits and a bank stays taller than wide or does not. So wires are added once, at both
ends: for the first depth of a half octave apart, since a power of two takes one address bit less than what follows; and
twice to a bank that may be taller or wider, each for the rows that it holds for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.cells import ACCESS, HEIGHT, LEAKAGE, LEAST_ROWS, READ, WIDTH, WRITE
from hwmodels.energy.sram.routing import Banks, Layout, lay_out, layouts, wire
from hwmodels.energy.sram.words import Word

__all__ = ["Entries", "collect_entries", "join_entries"]

Floats = NDArray[np.float64]
Places = NDArray[np.intp]


class Entries(NamedTuple):
    """Candidates. One of so many rows lies at share (rows x step - low) / scale of its interval.

    Attributes:
        step: Words of a row, shape (n,), as all others but the last three.
        low: Depth at the lower end.
        scale: Depth at the upper end minus that.
        least: Rows from which on it holds.
        most: Rows up to which it holds.
        organisation: Index in the table.
        start: Values at the lower end, shape (n, quantities).
        slope: Values at the upper end minus those.
    """

    step: Floats
    low: Floats
    scale: Floats
    least: Floats
    most: Floats
    organisation: NDArray[np.int64]
    start: Floats
    slope: Floats

    def of(self, mine: Places) -> Entries:
        """Take some of them."""
        arrays: list[Any] = [array.take(mine, axis=0) for array in self]
        return Entries(*arrays)


def collect_entries(
    word: Word, interval: Places, depths: Floats, banks: Banks | None, width: float
) -> tuple[Entries, Places]:
    """List the candidates of half octaves of the depth, twice each: for the first depth alone, and for those after it.

    Args:
        word: Candidates of one width and node.
        interval: In `word`, of each half octave, shape (n_spans,).
        depths: First depth of each, shape (n_spans,).
        banks: Whose wires are added, or None.
        width: Word [B].

    Returns:
        The candidates, and the first one of each list, shape (2 x n_spans + 1,).
    """
    row, place = np.nonzero((word.organisation >= 0)[interval.repeat(2)])
    where = interval.repeat(2)[row]
    low = word.low[where]
    found = Entries(
        step=word.step[where, place],
        low=low,
        scale=word.high[where] - low,
        least=np.full(len(row), float(LEAST_ROWS)),
        most=np.full(len(row), np.inf),
        organisation=word.organisation[where, place],
        start=word.start[where, place],
        slope=word.slope[where, place],
    )
    if banks is not None:
        bits = np.ceil(np.log2(depths))  # and one more after a power of two
        after = np.floor(np.log2(depths)) + 1
        address = np.stack([bits, after], axis=1).ravel()[row] * banks.ports
        found, row = _with_wires(found, row, banks, address, 8 * width * banks.words)
    return found, np.searchsorted(row, np.arange(2 * len(interval) + 1))


def _with_wires(
    bare: Entries, row: Places, banks: Banks, address_bits: Floats, word_bits: float
) -> tuple[Entries, Places]:
    """Add the wires to all candidates, taller than wide and not, each for the rows for which a bank is."""
    tall, wide = layouts(banks.number)
    cases = [(tall, (bare.least, bare.most))]
    if tall != wide:
        cases = list(zip((tall, wide), _rows_of_tall_and_wide(bare), strict=True))
    parts = []
    for layout, (least, most) in cases:
        some = np.flatnonzero(least <= most)
        low = _wired(bare.start[some], banks, layout, address_bits[some], word_bits)
        high = _wired(bare.start[some] + bare.slope[some], banks, layout, address_bits[some], word_bits)
        held = bare._replace(least=least, most=most).of(some)
        parts.append((row[some], held._replace(start=low, slope=high - low)))
    rows = np.concatenate([mine for mine, _ in parts])
    order = np.argsort(rows, kind="stable")
    return join_entries([held for _, held in parts]).of(order), rows[order]


def join_entries(parts: Sequence[Entries]) -> Entries:
    """Put lists of candidates one after the other."""
    arrays: list[Any] = [np.concatenate(each) for each in zip(*parts, strict=True)]
    return Entries(*arrays)


def _rows_of_tall_and_wide(bare: Entries) -> list[tuple[Floats, Floats]]:
    """Give from which and to which rows banks are taller than wide, and the same of those that are not."""
    excess, growth = (values[:, HEIGHT] - values[:, WIDTH] for values in (bare.start, bare.slope))
    with np.errstate(divide="ignore", invalid="ignore"):
        square = (bare.low - bare.scale * excess / growth) / bare.step
    grows, shrinks, never = growth > 0, growth < 0, np.inf
    tall = np.where(grows, np.floor(square) + 1, np.where(shrinks | (excess > 0), -never, never))
    tall_to = np.where(shrinks, np.ceil(square) - 1, never)
    wide = np.where(shrinks, np.ceil(square), np.where(grows | (excess <= 0), -never, never))
    wide_to = np.where(grows, np.floor(square), never)
    ends = ((tall, tall_to), (wide, wide_to))
    return [(np.maximum(bare.least, least), np.where(least == never, 0.0, most)) for least, most in ends]


def _wired(values: Floats, banks: Banks, layout: Layout, address_bits: Floats, word_bits: float) -> Floats:
    """Give the quantities of all banks with their wires; leakage is that of one bank and all wires."""
    energy, delay, leakage, height, width = lay_out(
        wire(banks.device, banks.node_nm), layout, values[:, HEIGHT], values[:, WIDTH], address_bits, word_bits
    )
    added = values.copy()
    added[:, READ] += energy
    added[:, WRITE] += energy
    added[:, LEAKAGE] += leakage
    added[:, ACCESS] += delay
    added[:, HEIGHT], added[:, WIDTH] = height, width
    return added
