"""Rows that others make superfluous as far as bounds go: what is left is the front that devices are looked up in.

Of two rows one covers the other if it needs no more room, its bound of the cycles is no higher and its energy is no
higher, on every device of a *box*: ranges of energies, and least bandwidths. Words of a port that take no longer than
computing at its least bandwidth do not matter. Energies are linear in those per word, so the corners of their box
decide.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.fronts.knobs import Devices
from hwmodels.mapping.fronts.rows import Make
from hwmodels.mapping.mapper.factors import Ints
from hwmodels.mapping.timing import Floats

__all__ = ["Box", "judged", "thinned"]

CORNERS = 3
"""Energies that have corners of their own, 2**CORNERS columns; further ones are compared word by word."""

LOT = 64
"""Rows that are looked at together."""

CHUNK = 2048
"""Rows that are thinned by themselves first."""


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """Ranges of what devices of one make may differ in.

    Attributes:
        least_j: Energy per word, reads of all levels, then writes [J]; (2 x levels,).
        most_j: Likewise.
        least_rate: Words per cycle, likewise; inf: never the bottleneck.
        even_j: Reads and writes of a level take the same; (levels,).
        even_rate: Reads and writes of a level are as fast; (levels,).
    """

    least_j: Floats
    most_j: Floats
    least_rate: Floats
    even_j: NDArray[np.bool_]
    even_rate: NDArray[np.bool_]

    @classmethod
    def of(cls, devices: Devices) -> Box:
        """Give the box that just holds some devices."""
        energies = np.concatenate([devices.read_j, devices.write_j], axis=1)
        rates = np.concatenate([devices.read, devices.write], axis=1)
        return cls(
            energies.min(axis=0),
            energies.max(axis=0),
            rates.min(axis=0),
            (devices.read_j == devices.write_j).all(axis=0),
            (devices.read == devices.write).all(axis=0),
        )

    def holds(self, other: Box) -> bool:
        """Say whether another box lies inside."""
        inside = (self.least_j <= other.least_j) & (other.most_j <= self.most_j) & (self.least_rate <= other.least_rate)
        return bool(inside.all() and (other.even_j | ~self.even_j).all() and (other.even_rate | ~self.even_rate).all())

    def around(self, other: Box) -> Box:
        """Give a box that holds both, with room to spare: ranges reach to the next powers of 2."""
        least = np.minimum(self.least_j, other.least_j)
        most = np.maximum(self.most_j, other.most_j)
        some = least < most
        return Box(
            np.where(some, _power(least, np.floor), least),
            np.where(some, _power(most, np.ceil), most),
            _power(np.minimum(self.least_rate, other.least_rate), np.floor),
            self.even_j & other.even_j,
            self.even_rate & other.even_rate,
        )


def _power(values: Floats, rounding: np.ufunc) -> Floats:
    usual = (values > 0) & np.isfinite(values)
    return np.where(usual, 2.0 ** rounding(np.log2(np.where(usual, values, 1.0))), values)


def judged(make: Make, table: Floats, box: Box, merged: bool = True) -> Floats:
    """Give the columns by which rows are compared; (n, columns).

    Args:
        make: Of the devices.
        table: Rows for bounds (`costs.totals`), all of the same steps and array.
        box: Of the devices.
        merged: Add up reads and writes that share a port: exact but for rounding.
    """
    layout = make.layout
    stages = layout.columns("need", "share", "lead out", "lead into", "last", "moved out", "moved into")
    columns = [table[:, place] for place in (*stages, layout.place["compute",], layout.place["fill",])]
    columns += _ports(make, table, box, merged) + _energies(make, table, box)
    varying = [column for column in columns if column.size and column.min() < column.max()]
    return np.stack(varying, axis=1) if varying else np.zeros((len(table), 1))


def _ports(make: Make, table: Floats, box: Box, merged: bool) -> list[Floats]:
    """Give the words of each port, as far as they can be what takes longest."""
    layout, columns = make.layout, []
    floor = np.floor(table[:, layout.place["compute",]].min(initial=np.inf))
    for at, level in enumerate(make.accelerator.levels):
        rates = box.least_rate[[at, at + layout.levels]]
        parts = [table[:, layout.place[name, at]] for name in ("out", "into")]
        shared = make.rules.shared_ports and level.shared_port
        if shared and merged and box.even_rate[at]:
            parts, rates = [parts[0] + parts[1]], rates[:1]
        columns += [
            part if shared and len(parts) > 1 else np.maximum(part, floor * rate)
            for part, rate in zip(parts, rates, strict=True)
            if np.isfinite(rate)
        ]
    return columns


def _energies(make: Make, table: Floats, box: Box) -> list[Floats]:
    """Give the energy of words at the corners of the box."""
    layout = make.layout
    fixed, groups = np.zeros(len(table)), []
    for at in range(layout.levels):
        read, write = table[:, layout.place["read", at]], table[:, layout.place["write", at]]
        spans = [(box.least_j[place], box.most_j[place]) for place in (at, at + layout.levels)]
        parts = [(read + write, *spans[0])] if box.even_j[at] else [(read, *spans[0]), (write, *spans[1])]
        for words, least, most in parts:
            if least < most:
                groups.append((words - words.min(initial=0.0 if not len(words) else np.inf), least, most))
            else:
                fixed = fixed + words * least
    groups = sorted(_alike(groups), key=lambda group: -float(group[0].max(initial=0.0) * group[2]))
    return _corners(fixed, groups[:CORNERS]) + [words for words, _, _ in groups[CORNERS:]]


Group = tuple[Floats, float, float]
"""Words, and the least and the most that one takes [J]."""


def _alike(groups: list[Group]) -> list[Group]:
    """Join words that rise in proportion."""
    joined: list[Group] = []
    for words, least, most in groups:
        top = words.max(initial=0.0)
        if not top:
            continue
        for place, (other, low, high) in enumerate(joined):
            factor = top / other.max()
            if np.allclose(words, factor * other, rtol=1e-13, atol=0.0):
                joined[place] = (other, low + factor * least, high + factor * most)
                break
        else:
            joined.append((words, least, most))
    return joined


def _corners(fixed: Floats, groups: list[Group]) -> list[Floats]:
    corners = itertools.product(*[(least, most) for _, least, most in groups])
    return [
        fixed + sum((words * energy for (words, _, _), energy in zip(groups, corner, strict=True)), np.zeros(1))
        for corner in corners
    ]


def thinned(columns: Floats) -> tuple[Ints, Ints]:
    """Give rows that together cover all: their places, and for each row the place among them of one that covers it.

    Args:
        columns: (n, columns).

    Example:
        >>> kept, cover = thinned(np.array([[1.0, 3.0], [2.0, 1.0], [2.0, 3.0]]))
        >>> kept.tolist(), kept[cover].tolist()
        ([1, 0], [0, 1, 1])
    """
    kept, cover = np.arange(len(columns)), np.arange(len(columns))
    for size in (CHUNK, 8 * CHUNK):  # neighbours are alike, and a chunk stays in the cache
        if len(kept) > size:
            parts = [_thinned(columns[kept[start : start + size]]) for start in range(0, len(kept), size)]
            ends = np.cumsum([0, *(len(part[0]) for part in parts)])
            cover = np.concatenate([part[1] + end for part, end in zip(parts, ends, strict=False)])[cover]
            kept = kept[np.concatenate([part[0] + size * number for number, part in enumerate(parts)])]
    last, final = _thinned(columns[kept])
    return kept[last], final[cover]


def _thinned(columns: Floats) -> tuple[Ints, Ints]:
    scale = np.maximum(np.abs(columns).max(axis=0, initial=0.0), 1e-300)
    rest = np.argsort((columns / scale).sum(axis=1), kind="stable")
    left = np.ascontiguousarray(columns[rest].T)
    cover = np.zeros(len(columns), dtype=np.int64)
    kept: list[int] = []
    while rest.size:
        first = _first_of_lot(left[:, :LOT])
        start = len(kept)
        kept += [int(rest[row]) for row in first]
        cover[rest[first]] = start + np.arange(len(first))
        open_ones = np.ones(rest.size, dtype=bool)
        open_ones[first] = False
        for number, row in enumerate(first):
            inside = np.flatnonzero(open_ones & (left[0] >= left[0, row]) & (left[-1] >= left[-1, row]))
            for column in left[1:-1]:
                inside = inside[column[inside] >= column[row]]
            cover[rest[inside]] = start + number
            open_ones[inside] = False
        rest, left = rest[open_ones], left[:, open_ones]
    return np.array(kept, dtype=np.int64), cover


def _first_of_lot(lot: Floats) -> list[int]:
    """Give the rows of a lot, (columns, n), that no row before them covers."""
    covers = np.ones((lot.shape[1],) * 2, dtype=bool)
    for column in lot:
        covers &= column[:, None] <= column[None, :]
    kept: list[int] = []
    for row in range(lot.shape[1]):
        if not covers[kept, row].any():
            kept.append(row)
    return kept
