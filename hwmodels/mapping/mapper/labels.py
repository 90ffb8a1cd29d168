"""Labels: ways to map a tile, reduced to what the outer levels can see of them.

What a tile of some level costs when its loops run once is, for every flow inside the level, a multiplier, and whether
the flow's stationary run is still open: then loops further out that do not index the tensor cost it nothing. With the
same tile, a label that is nowhere better than another one can be part of no better mapping, whatever the outer loops
and the prices are, and is dropped; where tiles further in cost something by themselves (`Nest.exact` is off), only if
those are the same too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.mapper.factors import Floats, Ints
from hwmodels.mapping.mapper.nests import Nest, Tiles, subset_product
from hwmodels.mapping.mapper.orders import Dims, OrderClass

__all__ = ["Labels", "Pairs", "advance", "inner_labels", "pairs_of"]

Bools = NDArray[np.bool_]
MOST_TESTS = 1 << 20
"""Pairs that are tested for divisibility at once: 8 MiB of codes."""


@dataclass(frozen=True, eq=False)
class Labels:
    """Ways to map tiles of one level.

    Attributes:
        tiles: Of the level.
        owner: Tile of each label; (n,).
        multiplier: By flow, of those below the level; (n,) each.
        still_open: By flow; (n,) each.
        inner: Label of the next inner level; (n,).
        order: Place of the order class of the level's loops; (n,).
        below: Labels of the next inner level; None: the MACs.
    """

    tiles: Tiles
    owner: Ints
    multiplier: dict[int, Floats]
    still_open: dict[int, Bools]
    inner: Ints
    order: Ints
    below: Labels | None

    def __len__(self) -> int:
        return len(self.owner)


class Pairs:
    """Tiles of one level with labels of the next inner one, and the trip counts of the loops in between.

    Attributes:
        upper: Tile of each pair.
        lower: Label of each pair; 0 below the innermost level.
    """

    def __init__(self, upper: Ints, lower: Ints, tiles: Tiles, labels: Labels | None) -> None:
        self.upper, self.lower = upper, lower
        self._tiles, self._labels = tiles, labels
        self._trips: dict[Dims, Floats] = {}

    def __len__(self) -> int:
        return len(self.upper)

    def take(self, rows: Ints) -> Pairs:
        """Give some of them."""
        return Pairs(self.upper[rows], self.lower[rows], self._tiles, self._labels)

    def trips(self, dims: Dims) -> Floats:
        """Give the trips of some dims' loops together."""
        if dims not in self._trips:
            up = np.broadcast_to(subset_product(self._tiles.values, dims), len(self._tiles))[self.upper]
            if self._labels is not None and dims:
                inner = self._labels.tiles
                down = np.broadcast_to(subset_product(inner.values, dims), len(inner))
                up = up / down[self._labels.owner[self.lower]]
            self._trips[dims] = up
        return self._trips[dims]


def pairs_of(tiles: Tiles, labels: Labels | None) -> Iterator[Pairs]:
    """Give all pairs of a tile and a label whose tile divides it, some at a time."""
    if labels is None:
        yield Pairs(np.arange(len(tiles)), np.zeros(len(tiles), dtype=np.int64), tiles, None)
        return
    codes = labels.tiles.code[labels.owner]
    if not len(codes):
        return
    several = max(MOST_TESTS // len(codes), 1)
    for start in range(0, len(tiles), several):
        missing = ~tiles.code[start : start + several]
        upper, lower = np.nonzero((codes[None, :] & missing[:, None]) == 0)
        if upper.size:
            yield Pairs(upper + start, lower, tiles, labels)


def advance(
    nest: Nest, level: int, pairs: Pairs, labels: Labels | None, item: OrderClass
) -> tuple[dict[int, Floats], dict[int, Bools]]:
    """Run the loops of a level above labels of the next inner one, in one class of orders.

    Returns:
        Multiplier and openness of every flow below the level, of each pair.
    """
    multiplier: dict[int, Floats] = {}
    still_open: dict[int, Bools] = {}
    dims = frozenset(range(len(nest.bounds)))
    for place in nest.frame.below(level):
        flow = nest.frame.flows[place]
        passing = dims - nest.frame.indexed[flow.role]
        part = pairs.trips(passing - item.runs[flow.role])
        stays = pairs.trips(nest.frame.indexed[flow.role]) == 1.0
        if flow.child == level + 1:
            multiplier[place], still_open[place] = part, stays
            continue
        assert labels is not None
        was_open = labels.still_open[place][pairs.lower]
        taken = np.where(was_open, part, pairs.trips(passing)) if item.runs[flow.role] else part
        multiplier[place] = labels.multiplier[place][pairs.lower] * taken
        still_open[place] = was_open & stays
    return multiplier, still_open


def inner_labels(nest: Nest, level: int) -> Labels | None:
    """Give the labels of a level and all levels inside it, innermost first; None beyond the innermost."""
    labels: Labels | None = None
    for place in range(nest.frame.depth - 1, level - 1, -1):
        labels = _labels_above(nest, place, labels)
    return labels


def _labels_above(nest: Nest, level: int, below: Labels | None) -> Labels:
    tiles = nest.tiles(level)
    flows = nest.frame.below(level)
    parts: list[tuple[Ints, ...]] = []
    columns: dict[int, list[Floats]] = {flow: [] for flow in flows}
    flags: dict[int, list[Bools]] = {flow: [] for flow in flows}
    for pairs in pairs_of(tiles, below):
        for order, item in enumerate(nest.frame.classes[level]):
            multiplier, still_open = advance(nest, level, pairs, below, item)
            parts.append((pairs.upper, pairs.lower, np.full(len(pairs.upper), order)))
            for flow in flows:
                columns[flow].append(multiplier[flow])
                flags[flow].append(still_open[flow])
    owner, inner, order_ = (
        np.concatenate([part[at] for part in parts]) if parts else np.zeros(0, dtype=np.int64) for at in range(3)
    )
    none = np.zeros(0)
    multipliers = {flow: np.concatenate(columns[flow]) if parts else none for flow in flows}
    opens = {flow: np.concatenate(flags[flow]) if parts else none.astype(bool) for flow in flows}
    group = owner if nest.exact or below is None else owner * len(below) + inner
    kept = undominated(group, [*multipliers.values(), *(~flag for flag in opens.values())])
    return Labels(
        tiles,
        owner[kept],
        {flow: value[kept] for flow, value in multipliers.items()},
        {flow: value[kept] for flow, value in opens.items()},
        inner[kept],
        order_[kept],
        below,
    )


def undominated(group: Ints, columns: list[NDArray[np.generic]]) -> Ints:
    """Give the rows that no other row of their group matches or beats in every column; of equal ones, one.

    Each round keeps, in every group, the row with the least sum, which nothing beats, and drops what it beats.

    Example:
        >>> rows = undominated(np.array([0, 0, 0, 1]), [np.array([1.0, 2.0, 2.0, 9.0]), np.array([3.0, 1.0, 2.0, 9.0])])
        >>> sorted(map(int, rows))
        [0, 1, 3]
    """
    table = np.stack([np.asarray(column, dtype=np.float64) for column in columns] or [np.zeros(len(group))], axis=1)
    rows = np.lexsort((table.sum(axis=1), group))
    kept = []
    while rows.size:
        first = np.concatenate([[True], group[rows][1:] != group[rows][:-1]])
        best = rows[first]
        kept.append(best)
        against = best[np.cumsum(first) - 1]
        rows = rows[(table[rows] < table[against]).any(axis=1)]
    return np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)
