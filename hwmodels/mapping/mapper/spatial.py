"""Which dims may be unrolled over the mesh axes of an accelerator, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.mapping.mapper.factors import Ints, divisors
from hwmodels.mapping.problem import Problem
from hwmodels.spatial import ROLES, Accelerator, BufferLevel, Conventions

__all__ = ["SpatialChoices", "Unrolled", "passes_on", "spatial_choices"]

Unrolled = tuple[tuple[str, str, int], ...]
"""(axis, dim, factor) of one level."""

Vector = tuple[int, ...]
NONE, ALL, SOME = 0, 1, 2
"""Which of the mesh axes that spread the windows of a tensor below a level pass its words on to neighbours."""


@dataclass(frozen=True, slots=True, eq=False)
class SpatialChoices:
    """All spatial vectors that differ in what they cost.

    Attributes:
        factors: Shape (n_choices, levels, dims): how far each dim is unrolled below each level.
        loops: Of each choice, by level, one way to put the factors on the axes.
        fill: Cycles in which the array fills and drains: over all axes, instances in use less one; (n_choices,).
        passing: NONE, ALL or SOME; (n_choices, levels, roles).
        considered: Ways to put dims on axes that were looked at.
    """

    factors: Ints
    loops: tuple[tuple[Unrolled, ...], ...]
    fill: Ints
    passing: Ints
    considered: int

    def __len__(self) -> int:
        return len(self.factors)


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to put factors on the axes of some levels, and what tells it from other ways to the same factors."""

    factors: Vector
    passing: Vector
    fill: int
    loops: tuple[Unrolled, ...]


def passes_on(passing: Ints, role: int, parent: int, child: int) -> Ints:
    """Say of each choice whether every axis that spreads the windows of a tensor between two levels passes it on.

    Args:
        passing: As in `SpatialChoices`.
        role: Place of the tensor.
        parent: Outer level.
        child: Inner level.
    """
    between = passing[:, parent:child, role]
    return np.asarray((between == ALL).any(axis=1) & (between != SOME).all(axis=1))


def spatial_choices(
    problem: Problem, accelerator: Accelerator, rules: Conventions, relaxed: bool = False, perfect: bool = True
) -> SpatialChoices:
    """Enumerate the spatial vectors. Of ways to one vector, one of those that cost least.

    Args:
        problem: The operator.
        accelerator: Its mesh axes say which dims they may unroll.
        rules: Whether neighbours pass words on.
        relaxed: Any dim on any axis.
        perfect: Factors divide; else all that save a step over the next smaller one.
    """
    n = len(problem.sizes)
    ways = [_Way((), (), 0, ())]
    considered = 1
    for level in accelerator.levels:
        here, seen = _below(problem, level, rules, relaxed, perfect)
        considered *= seen
        ways = _least_fill(
            _Way(
                outer.factors + way.factors, outer.passing + way.passing, outer.fill + way.fill, outer.loops + way.loops
            )
            for outer in ways
            for way in here
            if _allowed(problem, _used(outer.factors, n), way.factors, perfect)
        )
    shape = (len(ways), len(accelerator.levels))
    return SpatialChoices(
        np.array([way.factors for way in ways], dtype=np.int64).reshape(*shape, n),
        tuple(way.loops for way in ways),
        np.array([way.fill for way in ways], dtype=np.int64),
        np.array([way.passing for way in ways], dtype=np.int64).reshape(*shape, len(ROLES)),
        considered,
    )


def _below(
    problem: Problem, level: BufferLevel, rules: Conventions, relaxed: bool, perfect: bool
) -> tuple[list[_Way], int]:
    """Give the ways to use the mesh below one level, and how many were looked at."""
    names = tuple(problem.sizes)
    partial: list[tuple[Vector, int, Unrolled]] = [((1,) * len(names), 0, ())]
    considered = 1
    for axis in level.mesh:
        allowed = [relaxed or axis.allows(name, problem.indexes(name)) for name in names]
        sizes = [problem.sizes[name] if free else 1 for name, free in zip(names, allowed, strict=True)]
        ways = list(_vectors([divisors(size) if perfect else _useful(size) for size in sizes], axis.size))
        considered *= len(ways)
        partial = [
            (
                tuple(a * b for a, b in zip(base, way, strict=True)),
                fill + math.prod(way) - 1,
                (*loops, *[(axis.name, name, factor) for name, factor in zip(names, way, strict=True) if factor > 1]),
            )
            for base, fill, loops in partial
            for way in ways
            if _allowed(problem, base, way, perfect)
        ]
    found = (_Way(vector, _passing(problem, level, rules, loops), fill, (loops,)) for vector, fill, loops in partial)
    return _least_fill(found), considered


def _passing(problem: Problem, level: BufferLevel, rules: Conventions, loops: Unrolled) -> Vector:
    """Say for W, I, O which of the axes that spread its windows pass its words on."""
    if not rules.forwarding or not any(axis.forwards for axis in level.mesh):
        return (NONE,) * len(ROLES)
    found = []
    for role in ROLES:
        dims = {dim for window in problem.operands[role].windows for dim in window.dims}
        axes = [level.axis(axis) for axis, dim, _ in loops if dim in dims]
        found.append(NONE if not axes else ALL if all(role in axis.forwards for axis in axes) else SOME)
    return tuple(found)


def _least_fill(ways: Iterator[_Way]) -> list[_Way]:
    best: dict[tuple[Vector, Vector], _Way] = {}
    for way in ways:
        key = (way.factors, way.passing)
        if key not in best or way.fill < best[key].fill:
            best[key] = way
    return list(best.values())


def _used(factors: Vector, n: int) -> Vector:
    return tuple(math.prod(factors[dim::n]) for dim in range(n))


def _allowed(problem: Problem, first: Vector, second: Vector, perfect: bool) -> bool:
    """Say whether two factors of each dim divide it together, or at least leave no instance idle all the time."""
    products = [a * b for a, b in zip(first, second, strict=True)]
    if perfect:
        return all(size % product == 0 for size, product in zip(problem.sizes.values(), products, strict=True))
    return all(product <= size for size, product in zip(problem.sizes.values(), products, strict=True))


def _useful(size: int) -> tuple[int, ...]:
    """Give the factors that save a step over the next smaller one.

    Example:
        >>> _useful(7)
        (1, 2, 3, 4, 7)
    """
    return tuple(
        factor for factor in range(1, size + 1) if factor == 1 or -(-size // factor) < -(-size // (factor - 1))
    )


def _vectors(options: Sequence[Sequence[int]], most: int) -> Iterator[Vector]:
    """Give all factor vectors whose product is at most `most`; options ascend."""
    if not options:
        yield ()
        return
    for factor in options[0]:
        if factor > most:
            break
        for rest in _vectors(options[1:], most // factor):
            yield (factor, *rest)
