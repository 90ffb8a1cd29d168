"""Every order of the loops of classes whose tiles are all decided, as batches for the cost model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from hwmodels.mapping.checking.classes import Spread, Way
from hwmodels.mapping.checking.settings import Classes, Ints, Setting
from hwmodels.mapping.records import MappingBatch, Slot, Structure

__all__ = ["every_order", "order_count"]

Order = tuple[int, ...]
"""Places of dims, outermost first."""


def order_count(setting: Setting, vectors: Sequence[Spread], classes: Classes) -> int:
    """Count the mappings that `every_order` gives."""
    total = 0
    for part, orders in _alike(setting, classes):
        total += len(part) * math.prod(map(len, orders)) * len(vectors[int(part.vector[0])].ways)
    return total


def every_order(setting: Setting, vectors: Sequence[Spread], classes: Classes) -> Iterator[MappingBatch]:
    """Give all mappings of some classes: every permutation of the loops longer than 1 of every level.

    Loops further in than the innermost level that keeps something stand in one order: what feeds the MACs is read at
    every step, whichever comes first.
    """
    names = tuple(level.name for level in setting.accelerator.levels)
    for part, orders in _alike(setting, classes):
        trips = _trips(setting, part)
        for ways, _ in vectors[int(part.vector[0])].ways:
            for order in itertools.product(*orders):
                slots, steps = _loops(setting, ways, order, trips)
                yield MappingBatch(Structure(names, setting.keeps, tuple(slots)), np.stack(steps, axis=1))


def _trips(setting: Setting, classes: Classes) -> Ints:
    """Give the trip counts of all temporal loops; (n, levels, dims)."""
    inner: Ints = np.concatenate([classes.tiles[:, 1:], np.ones_like(classes.tiles[:, :1])], axis=1)
    return np.asarray(classes.tiles // (inner * setting.factors[classes.vector]))


def _alike(setting: Setting, classes: Classes) -> Iterator[tuple[Classes, list[list[Order]]]]:
    """Split classes by spatial vector, loops longer than 1 and innermost loops; give the orders of each level."""
    if not len(classes):
        return
    longer = _trips(setting, classes) > 1
    keys = np.column_stack([classes.vector, classes.inner, longer.reshape(len(classes), -1)])
    unique, back = np.unique(keys, axis=0, return_inverse=True)
    for number in range(len(unique)):
        rows = np.flatnonzero(back.reshape(-1) == number)
        part = classes.take(rows)
        orders = []
        for level in range(setting.depth):
            active = tuple(map(int, np.flatnonzero(longer[rows[0], level])))
            if level >= setting.ordered or not active:
                orders.append([active])
                continue
            last = setting.groups[int(part.inner[0, level])]
            orders.append([order for order in itertools.permutations(active) if order[-1] in last])
        yield part, orders


def _loops(
    setting: Setting, ways: Sequence[Way], orders: Sequence[Order], trips: Ints
) -> tuple[list[Slot], list[Ints]]:
    """Give all loops, outermost first, with their steps."""
    inside = {name: np.ones(len(trips), dtype=np.int64) for name in setting.names}
    slots: list[Slot] = []
    steps: list[Ints] = []
    for level in reversed(range(setting.depth)):
        loops: list[tuple[str, str, Ints | int]] = [
            ("", setting.names[dim], trips[:, level, dim]) for dim in orders[level]
        ]
        for axis, name, count in reversed([*loops, *ways[level]]):
            slots.append(Slot(level, name, axis))
            steps.append(inside[name])
            inside[name] = inside[name] * count
    if not steps:  # a nest of one point
        name = setting.names[0]
        return [Slot(0, name)], [inside[name]]
    return slots[::-1], steps[::-1]
