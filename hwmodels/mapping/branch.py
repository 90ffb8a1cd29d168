"""Branch and bound over the tiles of one spatial vector.

From the inside, `inner_labels` solves all levels below level 1 for every tile that the level-2 buffers can hold (see
`labels`).
From the outside, every tile of level 1 with every order class of the outermost loops is a *node* with a bound. Nodes
are
taken in the order of their bounds; each becomes *tops*, one for every order of the outermost loops, with exact
unknowns for
what flows into level 1; these are joined with the labels of the tiles that divide theirs, until no bound is better
than what
has been found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.bounds import Unknowns, costs, least_unknowns
from hwmodels.mapping.factors import Floats
from hwmodels.mapping.goals import Found
from hwmodels.mapping.halos import OuterWalks, deep_words, groups_by_loops
from hwmodels.mapping.labels import Labels, Pairs, advance, inner_labels, pairs_of
from hwmodels.mapping.nests import Nest, Tiles, subset_product
from hwmodels.mapping.orders import OrderClass

__all__ = ["Tally", "Way", "solve"]

Bools = NDArray[np.bool_]
FIRST_TILES = 16
MOST_TILES = 1024


@dataclass(slots=True)
class Tally:
    """How much was looked at.

    Attributes:
        bounded: Classes of mappings that a bound was computed for.
        joined: Mappings whose cost was computed.
    """

    bounded: int = 0
    joined: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """What names a mapping.

    Attributes:
        nest: Spatial vector.
        tile: Of level 1, by dim.
        outer: Order of the outermost loops.
        labels: Those of level 2; None: there is none.
        label: One of them.
        order: Order of the loops of level 1.
    """

    nest: Nest
    tile: tuple[int, ...]
    outer: OrderClass
    labels: Labels | None
    label: int
    order: OrderClass


@dataclass(frozen=True, slots=True, eq=False)
class Top:
    """Tiles of level 1 under one order of the outermost loops.

    Attributes:
        order: Of the outermost loops.
        tiles: Of level 1.
        trips: Of the outermost loops, by dim; (n,) each.
        unknowns: Exact for flows into level 1, least ones for those further in; (n,) each.
    """

    order: OrderClass
    tiles: Tiles
    trips: tuple[Floats, ...]
    unknowns: Unknowns

    def __len__(self) -> int:
        return len(self.tiles)


def solve(nest: Nest, found: Found, tally: Tally) -> None:
    """Find whatever is better than what has been found, for one spatial vector."""
    tiles = nest.tiles(1)
    if not len(tiles):
        return
    energy, cycles = _bounds(nest, tiles)
    tally.bounded += energy.size
    value = found.goal.value(energy, cycles).min(axis=0)
    order = np.argsort(value, kind="stable")
    walks = {
        place: OuterWalks(nest, flow.role, flow.side == "in")
        for place, flow in enumerate(nest.frame.flows)
        if flow.side and flow.child == 1
    }
    labels: Labels | None = None
    start, size = 0, FIRST_TILES
    while start < len(order):
        rows = order[start : start + size]
        rows = rows[found.useful(energy[:, rows], cycles[:, rows]).any(axis=0)]
        if rows.size:
            labels = inner_labels(nest, 2) if labels is None else labels
            for top in _tops(nest, tiles.take(rows), walks, found, tally):
                _join(nest, top, labels, found, tally)
        start, size = start + size, min(2 * size, MOST_TILES)


def _trips(nest: Nest, tiles: Tiles) -> tuple[Floats, ...]:
    return tuple(bound / value for bound, value in zip(nest.bounds, tiles.values, strict=True))


def _bounds(nest: Nest, tiles: Tiles) -> tuple[Floats, Floats]:
    """Bound every tile of level 1 under every order class of the outermost loops: energy, cycles; (classes, tiles)."""
    trips = _trips(nest, tiles)
    parts = []
    for item in nest.frame.classes[0]:
        unknowns = least_unknowns(nest, tiles, trips, item.runs)
        parts.append(np.broadcast_arrays(*costs(nest, unknowns), trips[0])[:2])
    return np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts])


def _tops(nest: Nest, tiles: Tiles, walks: dict[int, OuterWalks], found: Found, tally: Tally) -> list[Top]:
    """Give all orders of the outermost loops that may be better than what has been found."""
    tops = []
    for active, rows in groups_by_loops(nest, 0, _trips(nest, tiles)):
        some = tiles.take(rows)
        trips = _trips(nest, some)
        for item in nest.frame.orders(0, active):
            unknowns = least_unknowns(nest, some, trips, item.runs)
            for place, walk in walks.items():
                unknowns[place] = walk.words(some, item.order).astype(np.float64)
            energy, cycles = np.broadcast_arrays(*costs(nest, unknowns), trips[0])[:2]
            tally.bounded += len(some)
            kept = np.flatnonzero(found.useful(energy, cycles))
            if kept.size:
                spread = {place: np.broadcast_to(value, len(some))[kept] for place, value in unknowns.items()}
                tops.append(Top(item, some.take(kept), tuple(trip[kept] for trip in trips), spread))
    return tops


def _join(nest: Nest, top: Top, labels: Labels | None, found: Found, tally: Tally) -> None:
    """Combine a top with all that its tiles can hold."""
    for pairs in pairs_of(top.tiles, labels):
        for item in nest.frame.classes[1]:
            unknowns = _joined(nest, top, pairs, labels, item)
            energy, cycles = np.broadcast_arrays(*costs(nest, unknowns), pairs.upper)[:2]
            tally.joined += len(pairs.upper)
            if nest.frame.deep_windows:
                kept = pairs.take(np.flatnonzero(found.useful(energy, cycles)))
                _join_windows(nest, top, kept, labels, found, tally)
            else:
                found.offer(energy, cycles, lambda row: _way(nest, top, pairs, labels, item, row))  # noqa: B023
    return


def _joined(nest: Nest, top: Top, pairs: Pairs, labels: Labels | None, item: OrderClass) -> Unknowns:
    """Give the unknowns of pairs: what level 1 drives, closed by the outermost loops; of windows, least ones."""
    multiplier, still_open = advance(nest, 1, pairs, labels, item)
    dims = frozenset(range(len(nest.bounds)))
    unknowns: Unknowns = {}
    for place, flow in enumerate(nest.frame.flows):
        if place not in multiplier:
            unknowns[place] = top.unknowns[place][pairs.upper]
            continue
        passing = dims - nest.frame.indexed[flow.role]
        full = np.broadcast_to(subset_product(top.trips, passing), len(top))[pairs.upper]
        run = top.order.runs[flow.role]
        if run:
            part = np.broadcast_to(subset_product(top.trips, passing - run), len(top))[pairs.upper]
            full = np.where(still_open[place], part, full)
        unknowns[place] = multiplier[place] * full
    return unknowns


def _join_windows(nest: Nest, top: Top, pairs: Pairs, labels: Labels | None, found: Found, tally: Tally) -> None:
    """Give pairs that may be better every order of the loops of level 1, with exact words of windows further in."""
    assert labels is not None
    trips = tuple(pairs.trips(frozenset((dim,))) for dim in range(len(nest.bounds)))
    for active, rows in groups_by_loops(nest, 1, trips):
        some = pairs.take(rows)
        tiles = labels.tiles.take(labels.owner[some.lower])
        for item in nest.frame.orders(1, active):
            unknowns = _joined(nest, top, some, labels, item)
            for place in nest.frame.deep_windows:
                unknowns[place] = deep_words(nest, place, top, some, tiles, item.order)
            energy, cycles = np.broadcast_arrays(*costs(nest, unknowns), some.upper)[:2]
            tally.joined += len(some.upper)
            found.offer(energy, cycles, lambda row: _way(nest, top, some, labels, item, row))  # noqa: B023


def _way(nest: Nest, top: Top, pairs: Pairs, labels: Labels | None, item: OrderClass, row: int) -> Way:
    tile = tuple(int(value[pairs.upper[row]]) for value in top.tiles.values)
    return Way(nest, tile, top.order, labels, int(pairs.lower[row]), item)
