"""From what the search remembers of mappings to mappings, one or a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.mapping.mapper.factors import Ints
from hwmodels.mapping.mapper.labels import Labels
from hwmodels.mapping.mapper.nests import Nest
from hwmodels.mapping.mapper.orders import Order
from hwmodels.mapping.mapper.spatial import Unrolled
from hwmodels.mapping.records import MappingBatch, Slot, Structure

__all__ = ["Ways", "batch_of", "batches", "inner_labels_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """Mappings by what the search knows of them.

    Attributes:
        nest: Spatial vector.
        tiles: Of level 1, by dim; (n,) each.
        outer: Orders of the outermost loops, innermost first.
        which: One of them for each mapping; (n,).
        inner: Order of the loops of level 1, innermost first; of a single level, ().
        labels: Those of level 2; None: there is none.
        label: One of them for each mapping; (n,).
    """

    nest: Nest
    tiles: tuple[Ints, ...]
    outer: tuple[Order, ...]
    which: Ints
    inner: Order
    labels: Labels | None
    label: Ints

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: Ints) -> Ways:
        """Give some of them."""
        tiles = tuple(value[rows] for value in self.tiles)
        return Ways(self.nest, tiles, self.outer, self.which[rows], self.inner, self.labels, self.label[rows])


def inner_labels_of(labels: Labels | None, label: Ints) -> Iterator[tuple[int, Labels, Ints]]:
    """Follow labels inwards from level 2: level, all its labels, and which of them each mapping has."""
    level = 2
    while labels is not None:
        yield level, labels, label
        level, label, labels = level + 1, labels.inner[label], labels.below


def batches(ways: Ways) -> Iterator[tuple[MappingBatch, Ints]]:
    """Give the mappings as batches of one structure, each with the rows that it holds."""
    nest = ways.nest
    n, dims = len(ways), range(len(nest.bounds))
    tiles: list[Sequence[Ints]] = [[np.full(n, nest.bounds[dim]) for dim in dims], ways.tiles]
    which = ways.which
    orders: list[tuple[Order, ...]] = [ways.outer, (ways.inner,)]
    chosen = [ways.which, np.zeros(n, dtype=np.int64)]
    for level, labels, label in inner_labels_of(ways.labels, ways.label):
        tiles.append([value[labels.owner[label]].astype(np.int64) for value in labels.tiles.values])
        orders.append(tuple(item.order for item in nest.frame.classes[level]))
        chosen.append(labels.order[label])
        which = which * len(orders[-1]) + chosen[-1]
    tiles.append([np.ones(n, dtype=np.int64)] * len(dims))
    for value in np.unique(which):
        rows = np.flatnonzero(which == value)
        some = [orders[level][int(chosen[level][rows[0]])] for level in range(nest.frame.depth)]
        yield batch_of(nest, some, [[tile[rows] for tile in level] for level in tiles]), rows


def batch_of(nest: Nest, orders: Sequence[Order], tiles: Sequence[Sequence[Ints]]) -> MappingBatch:
    """Give mappings of one structure on all levels of the device, also those that keep nothing."""
    frame = nest.frame
    slots: list[Slot] = []
    steps: list[Ints] = []
    inside = [np.ones_like(tiles[0][0])] * len(nest.bounds)
    for level in reversed(range(frame.depth)):
        for place in reversed(frame.merged[level]):
            for axis, name, factor in reversed(nest.loops[place]):
                dim = frame.names.index(name)
                slots.append(Slot(place, name, axis))
                steps.append(inside[dim])
                inside[dim] = inside[dim] * factor
        place = frame.merged[level][0]
        for dim in orders[level]:
            trips = tiles[level][dim] // tiles[level + 1][dim]
            if (trips > 1).any():
                slots.append(Slot(place, frame.names[dim]))
                steps.append(inside[dim])
                inside[dim] = inside[dim] * trips
    structure = Structure(frame.level_names, frame.all_keeps, tuple(reversed(slots)))
    table = np.stack(steps[::-1], axis=1) if steps else np.zeros((len(tiles[0][0]), 0), dtype=np.int64)
    return MappingBatch(structure, table)


def unrolled(loops: tuple[Unrolled, ...]) -> str:
    """Name spatial loops.

    Example:
        >>> unrolled(((), (("X", "n", 16),)))
        'X: n 16'
    """
    return ", ".join(f"{axis}: {dim} {factor}" for level in loops for axis, dim, factor in level) or "none"
