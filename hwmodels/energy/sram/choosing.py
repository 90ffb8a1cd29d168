"""The choice of an organisation: every candidate of a point's interval is interpolated, and the best one stays.

One candidate at a time for all points that have so many: arrays of one dimension, a few per candidate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.between import Between, blend, mix
from hwmodels.energy.sram.cells import ACCESS, HEIGHT, LEAST_ROWS, READ, WIDTH, Cells
from hwmodels.energy.sram.stored import QUANTITIES, Objective

__all__ = ["Looked", "Wires", "choose"]

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

Wires = Callable[[Floats, Places], Floats]
"""Adds the wires between banks to values of shape (points, quantities), given which points they are of."""


class Looked(NamedTuple):
    """What was found: `values` of shape (n_points, quantities), and the organisation's place in the table."""

    values: Floats
    organisation: NDArray[np.int64]


def choose(
    cells: Cells, slot: Places, depth: Floats, between: Between, objective: Objective, wires: Wires | None = None
) -> Looked:
    """Choose a candidate for every bank, and give its quantities.

    Args:
        cells: The candidates.
        slot: Of each point in `cells`, shape (n_points,).
        depth: Words of each, shape (n_points,).
        between: Where the points lie between the sides of `cells`.
        objective: What to choose for.
        wires: Adds the wires between banks to every candidate before it is judged.
    """
    at = cells.intervals(slot, depth)
    count = cells.count.take(at)
    best, reached = np.zeros(len(at), dtype=np.intp), np.zeros(len(at))
    least = np.full(len(at), np.inf)
    mine = np.arange(len(at))
    for place in range(cells.step.shape[1]):
        if place:
            mine = mine[count.take(mine) > place]
            if not len(mine):
                break
        here, part = at.take(mine), between.of(mine)
        share, few = _shares(cells, here, depth.take(mine), place)
        if wires is None:
            cost = _cost(cells, here, place, share, part, objective)
        else:
            every = [_values(cells, here, place, share, what, part) for what in range(len(QUANTITIES))]
            cost = _cost_of(wires(np.stack(every, axis=-1), mine), objective)
        cost[few] = np.inf
        lower = cost < least.take(mine)
        better = mine[lower]
        least[better], best[better], reached[better] = cost[lower], place, share[lower]
    flat = at * cells.step.shape[1] + best
    start, slope = (
        array.reshape(len(array), -1, len(QUANTITIES)).take(flat, axis=1) for array in (cells.start, cells.slope)
    )
    low, rise = mix(start, slope, between)
    values = low + rise * reached[:, None]
    if wires is not None:
        values = wires(values, np.arange(len(at)))
    return Looked(values, cells.organisation.ravel().take(flat))


def _shares(cells: Cells, at: Places, depth: Floats, place: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Give how far along its interval a candidate's whole rows reach, and whether they are too few."""
    step = cells.steps[place].take(at)
    share = np.ceil(depth / step)
    few = share < LEAST_ROWS
    share *= step
    low = cells.low.take(at)
    share -= low
    share /= cells.high.take(at) - low
    return share, few


def _values(cells: Cells, at: Places, place: int, share: Floats, what: int, between: Between) -> Floats:
    """Give a quantity of a candidate. Shape (points,)."""
    sides = cells.columns[what]
    if len(sides) == 1:
        ((low, rise),) = sides
        values: Floats = rise[place].take(at)
        values *= share
        values += low[place].take(at)
        return values
    starts = [low[place].take(at) for low, _ in sides]
    ends = [start + rise[place].take(at) for start, (_, rise) in zip(starts, sides, strict=True)]
    first = blend(starts, what, between)
    return np.asarray(first + (blend(ends, what, between) - first) * share)


def _cost(cells: Cells, at: Places, place: int, share: Floats, between: Between, objective: Objective) -> Floats:
    """Give what the objective minimises, of a candidate. Shape (points,)."""
    cost: Floats | None = None
    for what, power in _factors(objective):
        values = _values(cells, at, place, share, what, between)
        for _ in range(power):
            cost = values.copy() if cost is None else cost * values
    assert cost is not None
    return cost


def _cost_of(values: Floats, objective: Objective) -> Floats:
    cost = np.ones(len(values))
    for what, power in _factors(objective):
        cost *= values[:, what] ** power
    return cost


def _factors(objective: Objective) -> list[tuple[int, int]]:
    powers = ((READ, objective.energy), (ACCESS, objective.delay), (HEIGHT, objective.area), (WIDTH, objective.area))
    return [(what, power) for what, power in powers if power]
