"""Pareto fronts, all objectives minimised: non-dominated points, sorting into fronts, crowding, hypervolume."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["crowding_distance", "front_ranks", "hypervolume", "non_dominated"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


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
    costs = np.asarray(costs, dtype=np.float64)
    mask = np.isfinite(costs).all(axis=1)
    index = np.flatnonzero(mask)
    unique, inverse = np.unique(costs[index], axis=0, return_inverse=True)  # sorted by the first objective
    kept = _sweep(unique) if unique.shape[1] <= 2 else _filter(unique)
    mask[index] = kept[inverse.ravel()]
    return mask


def _sweep(sorted_costs: Floats) -> Mask:
    """Two objectives: a point survives if its second is below everything before it."""
    if sorted_costs.shape[1] == 1:
        return np.arange(len(sorted_costs)) == 0
    second = sorted_costs[:, 1]
    best = np.concatenate([[np.inf], np.minimum.accumulate(second)[:-1]])
    return np.asarray(second < best)


def _filter(unique: Floats) -> Mask:
    """Many objectives: take the point with the least sum, drop what it dominates, repeat on the rest."""
    scale = np.maximum(np.ptp(unique, axis=0), 1e-300)
    order = np.argsort((unique / scale).sum(axis=1), kind="stable")
    remaining, front = order, []
    costs = unique[order]
    while len(remaining):
        front.append(remaining[0])
        alive = (costs < costs[0]).any(axis=1)
        remaining, costs = remaining[alive], costs[alive]
    mask = np.zeros(len(unique), dtype=bool)
    mask[front] = True
    return mask


def front_ranks(costs: ArrayLike) -> NDArray[np.int64]:
    """Sort points into fronts: 0 for the non-dominated, 1 for those that only front 0 beats, ...

    Args:
        costs: Shape (n_points, n_objectives), finite.

    Source: Deb et al., A fast and elitist multiobjective genetic algorithm: NSGA-II, IEEE TEC 6(2), 2002.

    Example:
        >>> front_ranks([[1, 1], [2, 2], [3, 3]]).tolist()
        [0, 1, 2]
    """
    costs = np.asarray(costs, dtype=np.float64)
    ranks = np.full(len(costs), -1, dtype=np.int64)
    rank = 0
    rest = np.arange(len(costs))
    while len(rest):
        front = non_dominated(costs[rest])
        if not front.any():  # only infinite points are left
            front[:] = True
        ranks[rest[front]] = rank
        rest, rank = rest[~front], rank + 1
    return ranks


def crowding_distance(costs: ArrayLike) -> Floats:
    """Give how much room each point has on its front; the ends have infinitely much.

    Args:
        costs: Shape (n_points, n_objectives), of one front.

    Source: Deb et al., NSGA-II, 2002.
    """
    costs = np.asarray(costs, dtype=np.float64)
    distance = np.zeros(len(costs))
    for column in costs.T:
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
    costs, bound = np.asarray(costs, dtype=np.float64), np.asarray(reference, dtype=np.float64)
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
        overlap = 0.0
        if len(limited):
            kept = np.unique(limited[non_dominated(limited)], axis=0)
            overlap = _volume(kept, bound)
        total += float(np.prod(bound - point)) - overlap
    return total


def _volume_3d(front: Floats, bound: Floats) -> float:
    """Sweep the third objective; the area below it grows point by point."""
    ordered = front[np.argsort(front[:, 2], kind="stable")]
    total, layer = 0.0, np.empty((0, 2))
    for index, point in enumerate(ordered):
        layer = np.vstack([layer, point[:2]])
        layer = np.unique(layer[non_dominated(layer)], axis=0)
        top = ordered[index + 1, 2] if index + 1 < len(ordered) else bound[2]
        if top > point[2]:
            total += (top - point[2]) * _volume(layer, bound[:2])
    return float(total)


def objective_matrix(columns: Any, minimize: tuple[str, ...]) -> Floats:
    """Stack objective columns, shape (n_points, n_objectives)."""
    return np.stack([np.asarray(columns[name], dtype=np.float64) for name in minimize], axis=1)
