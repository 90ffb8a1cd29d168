"""All mappings of one spatial vector, as rows, but for those that are worse than another one on every device.

Works from the inside as `labels` of the mapper does. A label may only stand for another one if the tiles further in
take the same room and are moved in the same pieces, since first tiles and bursts cost something by themselves: those
that differ in the dims of what they keep are told apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.counting import count_moves
from hwmodels.mapping.fronts.rows import Make, rows_of
from hwmodels.mapping.mapper.factors import Ints, divisors
from hwmodels.mapping.mapper.labels import Labels, advance, pairs_of, undominated
from hwmodels.mapping.mapper.nests import Nest, Tiles
from hwmodels.mapping.mapper.rebuild import batch_of
from hwmodels.mapping.records import Mapping, MappingBatch
from hwmodels.mapping.timing import Floats
from hwmodels.spatial import ROLES

__all__ = ["Chains", "chains_of"]

MOST_COUNTED = 1 << 14
"""Mappings that are counted together: some MB of counts."""

MOST_NUMBERS = 1 << 32
"""Beyond, numbers are given anew, so that times the number of tiles they stay whole numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Chains:
    """Mappings with their rows.

    Attributes:
        table: Rows; (n, columns).
        batches: Mappings by structure.
        batch: Which of them each row belongs to; (n,).
        row: Place of each row in its batch; (n,).
    """

    table: Floats
    batches: tuple[MappingBatch, ...]
    batch: Ints
    row: Ints

    def __len__(self) -> int:
        return len(self.table)

    def mapping(self, place: int) -> Mapping:
        """Give one mapping."""
        return self.batches[int(self.batch[place])].mapping(int(self.row[place]))

    def take(self, rows: Ints) -> Chains:
        """Give some of them, and only their mappings."""
        batches: list[MappingBatch] = []
        batch, row = self.batch[rows].copy(), self.row[rows].copy()
        for number, old in enumerate(self.batches):
            mine = np.flatnonzero(self.batch[rows] == number)
            used, row[mine] = np.unique(self.row[rows][mine], return_inverse=True)
            batch[mine] = len(batches)
            if len(used):
                batches.append(replace(old, steps=old.steps[used]))
        return Chains(self.table[rows], tuple(batches), batch, row)


def chains_of(make: Make, nest: Nest, tiles: Ints | None = None) -> Chains:
    """Give the mappings of a spatial vector, level by level from the inside.

    Args:
        make: Of the devices; its accelerator has the largest capacities that are asked for.
        nest: Spatial vector of an operator without windows.
        tiles: Which tiles of level 1; None: all.
    """
    labels: Labels | None = None
    apart: Ints = np.zeros(0, dtype=np.int64)
    for level in range(nest.frame.depth - 1, -1, -1):
        here = nest.tiles(level) if level else _whole(nest)
        if level == 1 and tiles is not None:
            here = here.take(tiles)
        labels, apart = _labels_above(nest, level, here, labels, apart)
    assert labels is not None
    batches: list[MappingBatch] = []
    tables, which, place = [], [], []
    for batch in _batches(nest, labels):
        for start in range(0, len(batch), MOST_COUNTED):
            some = MappingBatch(batch.structure, batch.steps[start : start + MOST_COUNTED])
            counts = count_moves(make.problem, make.accelerator, make.rules, some.structure, some.steps)
            tables.append(rows_of(make, some.structure, counts))
            which.append(np.full(len(some), len(batches)))
            place.append(np.arange(len(some)))
            batches.append(some)
    if not batches:
        nothing = np.zeros(0, dtype=np.int64)
        return Chains(np.zeros((0, len(make.layout.place))), (), nothing, nothing)
    return Chains(np.concatenate(tables), tuple(batches), np.concatenate(which), np.concatenate(place))


def _whole(nest: Nest) -> Tiles:
    """Give the one tile of the outermost level."""
    every = nest.tiles(0)
    return every.take(np.array([int(np.argmax(np.prod(every.values, axis=0)))]))


def _labels_above(nest: Nest, level: int, tiles: Tiles, below: Labels | None, apart: Ints) -> tuple[Labels, Ints]:
    """Give the labels of a level, and for each a number that tells the tiles inside it apart.

    Args:
        nest: Spatial vector.
        level: Whose loops are added.
        tiles: Of the level.
        below: Labels of the next inner level; None: the MACs.
        apart: Their numbers.
    """
    inside = _told_apart(nest, level + 1, below, apart)
    flows = nest.frame.below(level)
    parts: list[tuple[Ints, Ints, Ints]] = []
    columns: list[list[NDArray[np.generic]]] = []
    for pairs in pairs_of(tiles, below):
        for order, item in enumerate(nest.frame.classes[level]):
            multiplier, still_open = advance(nest, level, pairs, below, item)
            rows: list[NDArray[np.generic]] = [multiplier[flow] for flow in flows]
            rows += [~still_open[flow] for flow in flows]
            kept = undominated(pairs.upper * (int(inside.max(initial=0)) + 1) + inside[pairs.lower], rows)
            parts.append((pairs.upper[kept], pairs.lower[kept], np.full(len(kept), order)))
            columns.append([column[kept] for column in rows])
    none = np.zeros(0, dtype=np.int64)
    owner, inner, orders = (np.concatenate([part[at] for part in parts] or [none]) for at in range(3))
    table: list[NDArray[np.generic]] = (
        [np.concatenate(column) for column in zip(*columns, strict=True)] if parts else [none] * (2 * len(flows))
    )
    kept = undominated(owner * (int(inside.max(initial=0)) + 1) + inside[inner], table)
    found = [column[kept] for column in table]
    labels = Labels(
        tiles,
        owner[kept],
        {flow: np.asarray(found[at], dtype=np.float64) for at, flow in enumerate(flows)},
        {flow: ~np.asarray(found[len(flows) + at], dtype=bool) for at, flow in enumerate(flows)},
        inner[kept],
        orders[kept],
        below,
    )
    return labels, inside[labels.inner]


def _told_apart(nest: Nest, level: int, labels: Labels | None, apart: Ints) -> Ints:
    """Number labels by what their tiles hold of the tensors that are kept there, and their tiles further in."""
    if labels is None:
        return np.zeros(1, dtype=np.int64)
    dims = sorted(frozenset().union(*(nest.frame.indexed[ROLES.index(role)] for role in nest.frame.keeps[level])))
    key = apart
    for dim in dims:
        key = key * len(divisors(nest.bounds[dim])) + labels.tiles.index[dim][labels.owner]
    if key.max(initial=0) < MOST_NUMBERS:
        return key
    return np.asarray(np.unique(key, return_inverse=True)[1]).reshape(-1)


def _batches(nest: Nest, labels: Labels) -> list[MappingBatch]:
    """Give mappings by the orders of their loops."""
    code: Ints = np.zeros(len(labels), dtype=np.int64)
    values: list[list[Ints]] = []
    place: Ints = np.arange(len(labels))
    current: Labels | None = labels
    while current is not None:
        code = code * len(nest.frame.classes[len(values)]) + current.order[place]
        values.append([value[current.owner[place]].astype(np.int64) for value in current.tiles.values])
        place, current = current.inner[place], current.below
    values.append([np.ones(len(labels), dtype=np.int64)] * len(nest.bounds))
    counts = [len(classes) for classes in nest.frame.classes]
    batches = []
    for which in np.unique(code):
        rows = np.flatnonzero(code == which)
        places = np.unravel_index(int(which), counts)
        some = [classes[int(at)].order for classes, at in zip(nest.frame.classes, places, strict=True)]
        batches.append(batch_of(nest, some, [[value[rows] for value in level] for level in values]))
    return batches
