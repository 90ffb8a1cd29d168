"""From what the search remembers of a mapping to the mapping."""

from __future__ import annotations

from hwmodels.mapping.branch import Way
from hwmodels.mapping.records import Mapping, from_factors
from hwmodels.mapping.spatial_choices import Unrolled

__all__ = ["rebuild"]


def rebuild(way: Way, spatial: tuple[Unrolled, ...]) -> Mapping:
    """Give the mapping that a way names.

    Args:
        way: Tiles and order classes, level by level.
        spatial: Loops of its spatial vector, by level.
    """
    frame, bounds = way.nest.frame, way.nest.bounds
    tiles, orders = [bounds, way.tile], [way.outer.order, way.order.order]
    labels, label = way.labels, way.label
    while labels is not None:
        owner = labels.owner[label]
        tiles.append(tuple(int(value[owner]) for value in labels.tiles.values))
        orders.append(frame.classes[len(orders)][int(labels.order[label])].order)
        labels, label = labels.below, int(labels.inner[label])  # type: ignore[union-attr]
    tiles.append((1,) * len(bounds))
    levels = []
    for place, level in enumerate(frame.accelerator.levels):
        trips = [outer // inner for outer, inner in zip(tiles[place], tiles[place + 1], strict=True)]
        temporal = [(frame.names[dim], trips[dim]) for dim in reversed(orders[place]) if trips[dim] > 1]
        axes: dict[str, list[tuple[str, int]]] = {}
        for axis, dim, factor in spatial[place] if spatial else ():
            axes.setdefault(axis, []).append((dim, factor))
        levels.append((level.name, frame.keeps[place], temporal, axes))
    return from_factors(levels, frame.problem.sizes)
