"""Which dims may be unrolled over the mesh axes of an accelerator, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.mapping.factors import Ints, divisors
from hwmodels.mapping.problem import Problem
from hwmodels.spatial import Accelerator

__all__ = ["SpatialChoices", "spatial_choices"]

Unrolled = tuple[tuple[str, str, int], ...]
"""(axis, dim, factor) of one level."""


@dataclass(frozen=True, slots=True, eq=False)
class SpatialChoices:
    """All spatial vectors that differ in what they cost.

    Attributes:
        factors: Shape (n_choices, levels, dims): how far each dim is unrolled below each level.
        loops: Of each choice, by level, one way to put the factors on the axes.
        considered: Ways to put dims on axes that were looked at.
    """

    factors: Ints
    loops: tuple[tuple[Unrolled, ...], ...]
    considered: int

    def __len__(self) -> int:
        return len(self.factors)


def spatial_choices(problem: Problem, accelerator: Accelerator, relaxed: bool = False) -> SpatialChoices:
    """Enumerate the spatial vectors with perfect factors; ways to reach one vector on other axes cost the same.

    Args:
        problem: The operator.
        accelerator: Its mesh axes say which dims they may unroll.
        relaxed: Any dim on any axis.
    """
    names = tuple(problem.sizes)
    merged: dict[tuple[int, ...], tuple[Unrolled, ...]] = {(1,) * len(names) * len(accelerator.levels): ()}
    considered = 1
    for place, level in enumerate(accelerator.levels):
        here: dict[tuple[int, ...], Unrolled] = {(1,) * len(names): ()}
        for axis in level.mesh:
            allowed = [relaxed or axis.allows(name, problem.indexes(name)) for name in names]
            sizes = [problem.sizes[name] if free else 1 for name, free in zip(names, allowed, strict=True)]
            ways = list(_vectors(sizes, axis.size))
            considered *= len(ways)
            here = {
                tuple(a * b for a, b in zip(base, way, strict=True)): (*loops, *_named(axis.name, names, way))
                for base, loops in here.items()
                for way in ways
                if all(size % (a * b) == 0 for size, a, b in zip(problem.sizes.values(), base, way, strict=True))
            }
        merged = _with_level(merged, here, place, tuple(problem.sizes.values()))
    factors = np.array(list(merged), dtype=np.int64).reshape(len(merged), len(accelerator.levels), len(names))
    return SpatialChoices(factors, tuple(merged.values()), considered)


def _vectors(sizes: Sequence[int], most: int) -> Iterator[tuple[int, ...]]:
    """Give all factor vectors whose product is at most `most`, each factor a divisor of its size."""
    if not sizes:
        yield ()
        return
    for factor in divisors(sizes[0]):
        if factor > most:
            break
        for rest in _vectors(sizes[1:], most // factor):
            yield (factor, *rest)


def _named(axis: str, names: tuple[str, ...], way: tuple[int, ...]) -> Unrolled:
    return tuple((axis, name, factor) for name, factor in zip(names, way, strict=True) if factor > 1)


def _with_level(
    merged: dict[tuple[int, ...], tuple[Unrolled, ...]],
    here: dict[tuple[int, ...], Unrolled],
    place: int,
    sizes: tuple[int, ...],
) -> dict[tuple[int, ...], tuple[Unrolled, ...]]:
    """Combine the vectors of the outer levels with those of one level."""
    n = len(sizes)
    out: dict[tuple[int, ...], tuple[Unrolled, ...]] = {}
    for outer, loops in merged.items():
        used = [math.prod(outer[dim::n]) for dim in range(n)]
        for vector, unrolled in here.items():
            if all(size % (a * b) == 0 for size, a, b in zip(sizes, used, vector, strict=True)):
                row = (*outer[: place * n], *vector, *outer[(place + 1) * n :])
                out[row] = (*loops, unrolled)
    return out
