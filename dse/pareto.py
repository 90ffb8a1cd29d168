"""Pareto fronts, all objectives minimised: non-dominated points, sorting into fronts, crowding, hypervolume."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workloads.errors import SpaceError, nearest

__all__ = ["crowding_distance", "front_ranks", "hypervolume", "non_dominated"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

LARGE = 4096  # points from which thinning pays
PIVOTS = 16
BLOCK = 128
PAIRS = 1024  # points up to which all pairs are compared at once


def non_dominated(costs: ArrayLike) -> Mask:
    """Say which points no other beats: no worse in every objective, better in one.

    Args:
        costs: Shape (n_points, n_objectives), minimised. Points with NaN or infinite values are never on the front.

    Returns:
        Shape (n_points,). Equal points are kept together.

    Example:
        >>> non_dominated([[1, 2], [2, 1], [2, 2]]).tolist()
        [True, True, False]
    """
    costs = _matrix(costs)
    index = np.flatnonzero(np.isfinite(costs).all(axis=1))
    finite = costs[index]
    index, finite = _thinned(index, finite)
    unique, inverse = np.unique(finite, axis=0, return_inverse=True)  # sorted by the first objective
    kept = _sweep(unique) if unique.shape[1] <= 2 else _filter(unique)
    mask = np.zeros(len(costs), dtype=bool)
    mask[index] = kept[inverse.ravel()]
    return mask


def _matrix(costs: ArrayLike) -> Floats:
    matrix = np.asarray(costs, dtype=np.float64)
    if matrix.ndim != 2:
        raise SpaceError(f"costs have shape (n_points, n_objectives), not {matrix.shape}")
    return matrix


def _thinned(index: NDArray[np.intp], costs: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Drop what a few strong points dominate: most of a large set, before anything is sorted."""
    for _ in range(PIVOTS if len(costs) > LARGE else 0):
        pivot = costs[np.argmin(_scaled_sums(costs))]
        alive = (costs < pivot).any(axis=1) | (costs == pivot).all(axis=1)
        if alive.mean() > 0.9:
            break
        index, costs = index[alive], costs[alive]
    return index, costs


def _sweep(sorted_costs: Floats) -> Mask:
    """Two objectives: a point survives if its second is below everything before it."""
    if sorted_costs.shape[1] == 1:
        return np.asarray(np.arange(len(sorted_costs)) == 0)
    second = sorted_costs[:, 1]
    best = np.concatenate([[np.inf], np.minimum.accumulate(second)[:-1]])
    return np.asarray(second < best)


def _filter(unique: Floats) -> Mask:
    """Many objectives: take the points with the least sums, drop what they dominate, repeat on the rest.

    In the order of sums a point can only be beaten by an earlier one, so what is left at the head is on the front.
    """
    order = np.argsort(_scaled_sums(unique), kind="stable")  # equal sums stay in the order of the first objective
    remaining, costs = order, np.ascontiguousarray(unique[order].T)  # one objective a row: contiguous comparisons
    front: list[NDArray[np.intp]] = []
    while len(remaining):
        head = costs[:, :BLOCK]
        beaten = _dominated_by(head, head)
        strong = head[:, ~beaten]
        front.append(remaining[:BLOCK][~beaten])
        rest = costs[:, BLOCK:]
        alive = np.ones(rest.shape[1], dtype=bool)
        for start in range(0, rest.shape[1], 8 * BLOCK):
            part = slice(start, start + 8 * BLOCK)
            alive[part] = ~_dominated_by(rest[:, part], strong)
        remaining, costs = remaining[BLOCK:][alive], rest[:, alive]
    mask = np.zeros(len(unique), dtype=bool)
    mask[np.concatenate(front)] = True
    return mask


def _scaled_sums(costs: Floats) -> Floats:
    """Add up each point's objectives, each scaled to [0, 1]; a dominating point's sum is never the larger one."""
    low = costs.min(axis=0)
    half_span = costs.max(axis=0) / 2 - low / 2  # halves: the span of doubles may be no double
    half_span[half_span == 0] = 1.0
    return np.asarray(((costs / 2 - low / 2) / half_span).sum(axis=1))


def _dominated_by(costs: Floats, others: Floats) -> Mask:
    """Say which columns of costs, shape (n_objectives, n), an unequal column of others is nowhere above."""
    below = others[0][:, None] <= costs[0]
    for mine, theirs in zip(costs[1:], others[1:], strict=True):
        below &= theirs[:, None] <= mine
    if costs is others:
        np.fill_diagonal(below, False)  # the columns are unique
    return np.asarray(below.any(axis=0))


def front_ranks(costs: ArrayLike) -> NDArray[np.int64]:
    """Sort points into fronts: 0 for the non-dominated, 1 for those that only front 0 beats, ...

    Args:
        costs: Shape (n_points, n_objectives); points with NaN or infinite values come last, together.

    Source: Deb et al., A fast and elitist multiobjective genetic algorithm: NSGA-II, IEEE TEC 6(2), 2002.

    Example:
        >>> front_ranks([[1, 1], [2, 2], [3, 3]]).tolist()
        [0, 1, 2]
    """
    costs = _matrix(costs)
    ranks = np.full(len(costs), -1, dtype=np.int64)
    rank = 0
    rest = np.arange(len(costs))
    while len(rest):
        if len(rest) <= PAIRS:
            ranks[rest] = rank + _ranks_by_pairs(costs[rest])
            break
        front = non_dominated(costs[rest])
        if not front.any():  # only infinite points are left
            front[:] = True
        ranks[rest[front]] = rank
        rest, rank = rest[~front], rank + 1
    return ranks


def _ranks_by_pairs(costs: Floats) -> NDArray[np.int64]:
    """Compare all pairs once, then take fronts off by counting who still beats whom."""
    columns = np.where(np.isfinite(costs).all(axis=1), costs.T, np.inf)
    no_worse = np.logical_and.reduce([column[:, None] <= column for column in columns])
    beats = no_worse & ~no_worse.T
    beaten_by = beats.sum(axis=0)
    ranks = np.full(len(costs), -1, dtype=np.int64)
    rank = 0
    while (ranks < 0).any():
        front = np.flatnonzero((beaten_by == 0) & (ranks < 0))
        ranks[front] = rank
        beaten_by -= beats[front].sum(axis=0)
        rank += 1
    return ranks


def crowding_distance(costs: ArrayLike) -> Floats:
    """Give how much room each point has on its front; the ends have infinitely much.

    Args:
        costs: Shape (n_points, n_objectives), of one front.

    Example:
        >>> crowding_distance([[0, 2], [1, 1], [2, 0]]).tolist()
        [inf, 2.0, inf]

    Source: Deb et al., NSGA-II, 2002.
    """
    costs = _matrix(costs)
    distance = np.zeros(len(costs))
    for column in costs.T if len(costs) else ():
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if span > 0 and len(costs) > 2:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return distance


def hypervolume(costs: ArrayLike, reference: ArrayLike) -> float:
    """Give the volume that points dominate, up to a reference point.

    Args:
        costs: Shape (n_points, n_objectives), minimised.
        reference: Shape (n_objectives,); points that are not below it in every objective do not count.

    Example:
        >>> hypervolume([[1, 2], [2, 1]], [3, 3])
        3.0

    Source: While, Bradstreet, Barone, A fast way of calculating exact hypervolumes, IEEE TEC 16(1), 2012 (WFG).
    """
    costs, bound = _matrix(costs), np.asarray(reference, dtype=np.float64)
    if bound.shape != costs.shape[1:]:
        raise SpaceError(f"the reference point has shape {bound.shape}; the costs have {costs.shape[1]} objectives")
    inside = costs[np.isfinite(costs).all(axis=1) & (costs < bound).all(axis=1)]
    if not len(inside):
        return 0.0
    front = np.unique(inside[non_dominated(inside)], axis=0)
    return _volume(front, bound)


def _volume(front: Floats, bound: Floats) -> float:
    if front.shape[1] == 1:
        return float(bound[0] - front.min())
    if front.shape[1] == 2:  # sorted by the first objective, so the second falls
        widths = np.diff(np.concatenate([front[:, 0], [bound[0]]]))
        return float(np.sum(widths * (bound[1] - front[:, 1])))
    if front.shape[1] == 3:
        return _volume_3d(front, bound)
    total = 0.0
    ordered = front[np.argsort(-front[:, -1], kind="stable")]
    for index, point in enumerate(ordered):
        limited = np.maximum(ordered[index + 1 :], point)
        # every later point is below in the last objective, so all limited ones share it: one dimension less
        depth = bound[-1] - point[-1]
        overlap = _volume(_front_of_few(limited[:, :-1]), bound[:-1]) * depth if len(limited) else 0.0
        total += float(np.prod(bound - point)) - overlap
    return total


def _front_of_few(costs: Floats) -> Floats:
    """Give the distinct non-dominated points of a small set, sorted by the first objective."""
    columns = costs[np.lexsort(costs.T[::-1])].T
    no_worse = np.logical_and.reduce([column[:, None] <= column for column in columns])
    # in this order an earlier point that is no worse beats or equals a later one, and never the other way round
    return np.asarray(columns.T[~np.triu(no_worse, 1).any(axis=0)])


def _volume_3d(front: Floats, bound: Floats) -> float:
    """Sweep the third objective; the staircase of the first two, and the area above it, grow point by point.

    Source: Fonseca, Paquete, Lopez-Ibanez, An improved dimension-sweep algorithm for the hypervolume indicator,
    CEC 2006.
    """
    edge_x, edge_y = float(bound[0]), float(bound[1])
    xs, ys = [-np.inf, edge_x], [edge_y, -np.inf]  # a staircase that falls from left to right, between two ends
    total, area, height = 0.0, 0.0, 0.0
    for x, y, z in sorted(front.tolist(), key=lambda point: point[2]):
        total, height = total + area * (z - height), z
        last = bisect_right(xs, x) - 1
        if ys[last] <= y:
            continue
        first, corner, top = last + 1, x, ys[last]
        while ys[first] >= y:  # the steps that the new point takes in
            area += (xs[first] - corner) * (top - y)
            corner, top = xs[first], ys[first]
            first += 1
        area += (xs[first] - corner) * (top - y)
        keep = last + 1 if xs[last] < x else last
        xs[keep:first], ys[keep:first] = [x], [y]
    return float(total + area * (bound[2] - height))


def objective_matrix(columns: Mapping[str, Any], minimize: Sequence[str]) -> Floats:
    """Stack objective columns, shape (n_points, n_objectives); "-column" is minimised where the column is greatest.

    Raises:
        SpaceError: No such column.

    Example:
        >>> objective_matrix({"latency_s": [1, 2], "accuracy": [0.5, 0.75]}, ["latency_s", "-accuracy"]).tolist()
        [[1.0, -0.5], [2.0, -0.75]]
    """
    stacked = []
    for name in minimize:
        column = name.removeprefix("-")
        if column not in columns:
            raise SpaceError(f"no column {column!r} to minimise; {nearest(column, columns)}")
        values = np.asarray(columns[column], dtype=np.float64)
        stacked.append(-values if name.startswith("-") else values)
    return np.stack(stacked, axis=1)
