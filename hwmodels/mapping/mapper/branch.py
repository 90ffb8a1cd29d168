"""Branch and bound over the tiles of one spatial vector.

From the inside, `inner_labels` solves all levels below level 1 for every tile that the level-2 buffers can hold (see
`labels`). From the outside, every tile of level 1 with every order class of the outermost loops is a *node* with a
bound. Nodes are taken in the order of their bounds; each becomes *tops*, one for every order of the outermost loops,
with exact unknowns for what flows into level 1; these are joined with the labels of the tiles that divide theirs, until
no bound is better than what has been found. Where the bounds are not the costs themselves, the cost model decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.mapper.bounds import Unknowns, costs, least_unknowns
from hwmodels.mapping.mapper.factors import Floats, Ints
from hwmodels.mapping.mapper.halos import Above, OuterWalks, deep_is_exact, deep_words, groups_by_loops
from hwmodels.mapping.mapper.labels import Labels, Pairs, advance, inner_labels, pairs_of
from hwmodels.mapping.mapper.leaves import Race
from hwmodels.mapping.mapper.nests import Nest, Tiles, subset_product
from hwmodels.mapping.mapper.orders import Dims, Order, OrderClass
from hwmodels.mapping.mapper.rebuild import Ways, inner_labels_of
from hwmodels.mapping.mapper.silicon import Additions, Details

__all__ = ["solve"]

Bools = NDArray[np.bool_]
FIRST_LOT, MOST_LOT = 16, 1024
"""Tiles of level 1 that are looked at together, at first and at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Top:
    """Tiles of level 1 under orders of the outermost loops with the same stationary runs.

    Attributes:
        runs: By tensor.
        orders: Of the outermost loops, innermost first.
        which: One of the orders for each tile; (n,).
        rows: Places of the tiles among those of the nest; (n,).
        tiles: Of level 1.
        trips: Of the outermost loops, by dim; (n,) each.
        unknowns: Exact for flows into level 1, least ones for those further in; (n,) each.
        details: As far as tiles of level 1 tell; None: `Frame.exact`.
    """

    runs: tuple[Dims, ...]
    orders: tuple[Order, ...]
    which: Ints
    rows: Ints
    tiles: Tiles
    trips: tuple[Floats, ...]
    unknowns: Unknowns
    details: Details | None

    def __len__(self) -> int:
        return len(self.tiles)


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """What all nodes of one spatial vector share.

    Attributes:
        nest: The spatial vector.
        race: What has been found.
        tiles: All tiles of level 1.
        additions: What bursts, filling and draining add; None: `Frame.exact`.
        details: Of each tile of level 1.
        walks: By flow, words of tensors with windows that enter level 1.
    """

    nest: Nest
    race: Race
    tiles: Tiles
    additions: Additions | None
    details: Details | None
    walks: dict[int, OuterWalks]


def solve(nest: Nest, race: Race) -> Iterator[float]:
    """Find whatever is better than what has been found, for one spatial vector, a few nodes at a time.

    Yields:
        Before each lot of nodes the least bound of what is left: whoever runs several spatial vectors goes on with the
        one that promises most.
    """
    tiles = nest.tiles(1)
    if not len(tiles):
        return
    additions = None if nest.frame.exact else Additions(nest)
    details = additions.details({1: (tiles.values, np.arange(len(tiles)))}) if additions is not None else None
    walks = {
        place: OuterWalks(nest, flow.role, flow.side == "in")
        for place, flow in enumerate(nest.frame.flows)
        if flow.side and flow.child == 1
    }
    branch = Branch(nest, race, tiles, additions, details, walks)
    energy, cycles = _bounds(branch)
    race.tally.bounded += energy.size
    value = race.found.goal.value(energy, cycles).min(axis=0)
    order = np.argsort(value, kind="stable")
    labels: Labels | None = None
    start, size = 0, FIRST_LOT
    while start < len(order):
        yield float(value[order[start]])
        if race.spent:
            race.leave(energy[:, order[start:]], cycles[:, order[start:]])
            return
        rows = order[start : start + size]
        useful = race.found.useful(energy[:, rows], cycles[:, rows])
        if useful.any():
            labels = inner_labels(nest, 2) if labels is None else labels
            for top in _tops(branch, rows, useful):
                _join(branch, top, labels)
        start, size = start + size, min(2 * size, MOST_LOT)


def _trips(nest: Nest, tiles: Tiles) -> tuple[Floats, ...]:
    return tuple(bound / value for bound, value in zip(nest.bounds, tiles.values, strict=True))


def _bounds(branch: Branch) -> tuple[Floats, Floats]:
    """Bound every tile of level 1 under every order class of the outermost loops: energy, cycles; (classes, tiles)."""
    nest = branch.nest
    trips = _trips(nest, branch.tiles)
    parts = []
    for item in nest.frame.classes[0]:
        unknowns = least_unknowns(nest, branch.tiles, trips, item.runs)
        energy, cycles, _ = np.broadcast_arrays(*costs(nest, unknowns, branch.details), trips[0])
        parts.append((energy, cycles))
    return np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts])


def _tops(branch: Branch, chosen: Ints, useful: Bools) -> list[Top]:
    """Give all orders of the outermost loops that may be better than what has been found.

    Args:
        branch: Of the spatial vector.
        chosen: Tiles of level 1.
        useful: By order class and tile, whether its bound is better; (classes, n). An order is bounded by every class
            whose runs hold its own.
    """
    nest, race = branch.nest, branch.race
    parts: dict[tuple[Dims, ...], list[Top]] = {}
    for active, group in groups_by_loops(nest, 0, _trips(nest, branch.tiles.take(chosen))):
        for item in nest.frame.orders(0, active):
            rows = chosen[group[useful[nest.frame.covering(item)][:, group].all(axis=0)]]
            if not rows.size:
                continue
            tiles = branch.tiles.take(rows)
            trips = _trips(nest, tiles)
            details = branch.details and branch.details.take(rows)
            unknowns = least_unknowns(nest, tiles, trips, item.runs, frozenset(branch.walks))
            for place, walk in branch.walks.items():
                unknowns[place] = walk.words(tiles, item.order).astype(np.float64)
            energy, cycles, _ = np.broadcast_arrays(*costs(nest, unknowns, details), trips[0])
            race.tally.bounded += len(rows)
            kept = np.flatnonzero(race.found.useful(energy, cycles))
            if kept.size:
                spread = {place: np.broadcast_to(value, len(rows))[kept] for place, value in unknowns.items()}
                top = Top(item.runs, (item.order,), np.zeros(kept.size, dtype=np.int64), rows[kept], tiles.take(kept),
                          tuple(trip[kept] for trip in trips), spread, details and details.take(kept))  # fmt: skip
                parts.setdefault(item.runs, []).append(top)
    return [_merged(branch, several) for several in parts.values()]


def _merged(branch: Branch, tops: list[Top]) -> Top:
    """Put tops with the same runs into one."""
    if len(tops) == 1:
        return tops[0]
    rows = np.concatenate([top.rows for top in tops])
    return Top(
        tops[0].runs,
        tuple(top.orders[0] for top in tops),
        np.repeat(np.arange(len(tops)), [len(top) for top in tops]),
        rows,
        branch.tiles.take(rows),
        tuple(np.concatenate(trips) for trips in zip(*[top.trips for top in tops], strict=True)),
        {place: np.concatenate([top.unknowns[place] for top in tops]) for place in tops[0].unknowns},
        branch.details and branch.details.take(rows),
    )


def _join(branch: Branch, top: Top, labels: Labels | None) -> None:
    """Combine a top with all that its tiles can hold."""
    frame = branch.nest.frame
    if branch.race.spent:
        branch.race.leave(*np.broadcast_arrays(*costs(branch.nest, top.unknowns, top.details)))
        return
    for pairs in pairs_of(top.tiles, labels):
        for item in frame.classes[1]:
            join = Join(branch, top, pairs, labels, item.order, _joined(branch.nest, top, pairs, labels, item))
            if frame.deep_windows:
                branch.race.tally.joined += len(pairs)
                kept = np.flatnonzero(branch.race.found.useful(*join.costs()))
                _join_windows(branch, top, pairs.take(kept), labels)
            else:
                join.settle(branch.nest.exact)


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
        run = top.runs[flow.role]
        if run:
            part = np.broadcast_to(subset_product(top.trips, passing - run), len(top))[pairs.upper]
            full = np.where(still_open[place], part, full)
        unknowns[place] = multiplier[place] * full
    return unknowns


def _join_windows(branch: Branch, top: Top, pairs: Pairs, labels: Labels | None) -> None:
    """Give pairs that may be better every order of the loops of level 1, with exact words of windows further in."""
    assert labels is not None
    nest = branch.nest
    counted = [place for place in nest.frame.deep_windows if deep_is_exact(nest, place)]
    exact = nest.exact and len(counted) == len(nest.frame.deep_windows)
    for which, outer in enumerate(top.orders):
        if branch.race.spent:
            branch.race.leave(*np.broadcast_arrays(*costs(branch.nest, top.unknowns, top.details)))
            return
        mine = pairs.take(np.flatnonzero(top.which[pairs.upper] == which))
        trips = tuple(mine.trips(frozenset((dim,))) for dim in range(len(nest.bounds)))
        for active, rows in groups_by_loops(nest, 1, trips):
            some = mine.take(rows)
            tiles = labels.tiles.take(labels.owner[some.lower])
            for item in nest.frame.orders(1, active):
                unknowns = _joined(nest, top, some, labels, item)
                for place in counted:
                    unknowns[place] = deep_words(
                        nest, place, Above(top.tiles, top.trips, outer), some, tiles, item.order
                    )
                Join(branch, top, some, labels, item.order, unknowns).settle(exact)


@dataclass(frozen=True, slots=True, eq=False)
class Join:
    """Mappings: tops with what their tiles hold, in one order of the loops of level 1.

    Attributes:
        branch: Of the spatial vector.
        top: Outermost loops.
        pairs: Tiles of level 1 with labels of level 2.
        labels: Those of level 2.
        order: Of the loops of level 1.
        unknowns: By flow.
    """

    branch: Branch
    top: Top
    pairs: Pairs
    labels: Labels | None
    order: Order
    unknowns: Unknowns

    def costs(self) -> tuple[Floats, Floats]:
        """Give energy and cycles, or bounds of them."""
        details = self.top.details and self.top.details.take(self.pairs.upper)
        energy, cycles, _ = np.broadcast_arrays(*costs(self.branch.nest, self.unknowns, details), self.pairs.upper)
        return energy, cycles

    def settle(self, exact: bool) -> None:
        """Offer the mappings to the race, by their costs if these are exact."""
        energy, cycles = self.costs()
        race = self.branch.race
        race.tally.joined += len(self.pairs)
        if exact:
            race.found.offer(energy, cycles, lambda row: self._ways(np.array([row])))
            return
        race.ask(energy, cycles, self._refined, self._ways)
        if not self.branch.nest.frame.complete:
            race.leave(energy, cycles)

    def _refined(self, rows: Ints) -> tuple[Floats, Floats]:
        """Give closer bounds of some rows, with all tiles known."""
        upper = self.pairs.upper[rows]
        details = None
        if self.branch.additions is not None:
            known: dict[int, tuple[Sequence[Floats], Ints]] = {1: (self.branch.tiles.values, self.top.rows[upper])}
            for level, labels, which in inner_labels_of(self.labels, self.pairs.lower[rows]):
                known[level] = (labels.tiles.values, labels.owner[which])
            details = self.branch.additions.details(known)
        unknowns = {place: np.broadcast_to(value, len(self.pairs))[rows] for place, value in self.unknowns.items()}
        energy, cycles, _ = np.broadcast_arrays(*costs(self.branch.nest, unknowns, details), upper)
        return energy, cycles

    def _ways(self, rows: Ints) -> Ways:
        upper = self.pairs.upper[rows]
        tiles = tuple(value[upper].astype(np.int64) for value in self.top.tiles.values)
        lower = self.pairs.lower[rows]
        return Ways(self.branch.nest, tiles, self.top.orders, self.top.which[upper], self.order, self.labels, lower)
