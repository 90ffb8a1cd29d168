"""Branch and bound over the tiles of one spatial vector.

From the inside, `inner_labels` solves all levels below level 1 for every tile that the level-2 buffers can hold (see
`labels`). From the outside, every tile of level 1 with every order class of the outermost loops is a *node* with a
bound. Nodes are taken in the order of their bounds; each becomes *tops*, one for every order of the outermost loops,
with exact unknowns for what flows into level 1; these are joined with the labels of the tiles that divide theirs, until
no bound is better than what has been found. Where the bounds are not the costs themselves, `Leaves` asks the cost model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.mapper.bounds import Unknowns, costs, least_unknowns
from hwmodels.mapping.mapper.factors import Floats, Ints
from hwmodels.mapping.mapper.halos import OuterWalks, deep_is_exact, deep_words, groups_by_loops
from hwmodels.mapping.mapper.labels import Labels, Pairs, advance, inner_labels, pairs_of
from hwmodels.mapping.mapper.leaves import Race
from hwmodels.mapping.mapper.nests import Nest, Tiles, subset_product
from hwmodels.mapping.mapper.orders import OrderClass
from hwmodels.mapping.mapper.rebuild import Ways, inner_tiles
from hwmodels.mapping.mapper.silicon import Known

__all__ = ["solve"]

Bools = NDArray[np.bool_]
FIRST_TILES = 16
MOST_TILES = 1024


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

    def take(self, rows: Ints) -> Top:
        """Give some of them."""
        spread = {place: np.broadcast_to(value, len(self))[rows] for place, value in self.unknowns.items()}
        return Top(self.order, self.tiles.take(rows), tuple(trip[rows] for trip in self.trips), spread)


def solve(nest: Nest, race: Race) -> None:
    """Find whatever is better than what has been found, for one spatial vector."""
    tiles = nest.tiles(1)
    if not len(tiles):
        return
    energy, cycles = _bounds(nest, tiles)
    race.tally.bounded += energy.size
    value = race.found.goal.value(energy, cycles).min(axis=0)
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
        rows = rows[race.found.useful(energy[:, rows], cycles[:, rows]).any(axis=0)]
        if rows.size:
            labels = inner_labels(nest, 2) if labels is None else labels
            for top in _tops(nest, tiles.take(rows), walks, race):
                _join(nest, top, labels, race)
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


def _tops(nest: Nest, tiles: Tiles, walks: dict[int, OuterWalks], race: Race) -> list[Top]:
    """Give all orders of the outermost loops that may be better than what has been found."""
    tops = []
    for active, rows in groups_by_loops(nest, 0, _trips(nest, tiles)):
        some = tiles.take(rows)
        trips = _trips(nest, some)
        for item in nest.frame.orders(0, active):
            unknowns = least_unknowns(nest, some, trips, item.runs)
            for place, walk in walks.items():
                unknowns[place] = walk.words(some, item.order).astype(np.float64)
            energy, cycles, _ = np.broadcast_arrays(*costs(nest, unknowns), trips[0])
            race.tally.bounded += len(some)
            kept = np.flatnonzero(race.found.useful(energy, cycles))
            top = Top(item, some, trips, unknowns).take(kept)
            if kept.size and not nest.frame.exact:
                top = top.take(np.flatnonzero(race.found.useful(*costs(nest, top.unknowns, {1: top.tiles.values}))))
            if len(top):
                tops.append(top)
    return tops


def _join(nest: Nest, top: Top, labels: Labels | None, race: Race) -> None:
    """Combine a top with all that its tiles can hold."""
    for pairs in pairs_of(top.tiles, labels):
        for item in nest.frame.classes[1]:
            join = Join(nest, top, pairs, labels, item, _joined(nest, top, pairs, labels, item))
            if nest.frame.deep_windows:
                race.tally.joined += len(pairs)
                kept = np.flatnonzero(race.found.useful(*join.costs()))
                _join_windows(nest, top, pairs.take(kept), labels, race)
            else:
                join.settle(nest.frame.exact, race)


def _joined(nest: Nest, top: Top, pairs: Pairs, labels: Labels | None, item: OrderClass) -> Unknowns:
    """Give the unknowns of pairs: what level 1 drives, closed by the outermost loops; of windows, least ones."""
    multiplier, still_open = advance(nest, 1, pairs, labels, item)
    dims = frozenset(range(len(nest.bounds)))
    unknowns: Unknowns = {}
    for place, flow in enumerate(nest.frame.flows):
        if place not in multiplier or flow.side:
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


def _join_windows(nest: Nest, top: Top, pairs: Pairs, labels: Labels | None, race: Race) -> None:
    """Give pairs that may be better every order of the loops of level 1, with exact words of windows further in."""
    assert labels is not None
    counted = [place for place in nest.frame.deep_windows if deep_is_exact(nest, place)]
    exact = nest.frame.exact and len(counted) == len(nest.frame.deep_windows)
    trips = tuple(pairs.trips(frozenset((dim,))) for dim in range(len(nest.bounds)))
    for active, rows in groups_by_loops(nest, 1, trips):
        some = pairs.take(rows)
        tiles = labels.tiles.take(labels.owner[some.lower])
        for item in nest.frame.orders(1, active):
            unknowns = _joined(nest, top, some, labels, item)
            for place in counted:
                unknowns[place] = deep_words(nest, place, top, some, tiles, item.order)
            Join(nest, top, some, labels, item, unknowns).settle(exact, race)


@dataclass(frozen=True, slots=True, eq=False)
class Join:
    """Mappings: tops with what their tiles hold, in one order of the loops of level 1.

    Attributes:
        nest: Spatial vector.
        top: Outermost loops.
        pairs: Tiles of level 1 with labels of level 2.
        labels: Those of level 2.
        order: Of the loops of level 1.
        unknowns: By flow.
    """

    nest: Nest
    top: Top
    pairs: Pairs
    labels: Labels | None
    order: OrderClass
    unknowns: Unknowns

    def costs(self) -> tuple[Floats, Floats]:
        """Give energy and cycles, or bounds of them."""
        energy, cycles, _ = np.broadcast_arrays(*costs(self.nest, self.unknowns), self.pairs.upper)
        return energy, cycles

    def settle(self, exact: bool, race: Race) -> None:
        """Offer the mappings to the race, by their costs if these are exact."""
        energy, cycles = self.costs()
        race.tally.joined += len(self.pairs)
        if exact:
            race.found.offer(energy, cycles, lambda row: self._ways(np.array([row])))
        else:
            race.ask(energy, cycles, self._refined, self._ways)

    def _refined(self, rows: Ints) -> tuple[Floats, Floats]:
        """Give closer bounds of some rows, with all tiles known."""
        upper = self.pairs.upper[rows]
        known: Known = {1: [value[upper] for value in self.top.tiles.values]}
        for level, _, _, tiles in inner_tiles(self.labels, self.pairs.lower[rows]):
            known[level] = [tile.astype(np.float64) for tile in tiles]
        unknowns = {place: np.broadcast_to(value, len(self.pairs))[rows] for place, value in self.unknowns.items()}
        energy, cycles, _ = np.broadcast_arrays(*costs(self.nest, unknowns, known), upper)
        return energy, cycles

    def _ways(self, rows: Ints) -> Ways:
        upper = self.pairs.upper[rows]
        tiles = tuple(value[upper].astype(np.int64) for value in self.top.tiles.values)
        return Ways(self.nest, tiles, self.top.order.order, self.order.order, self.labels, self.pairs.lower[rows])
