"""NSGA-II over mixed genes: the whole population at a time, constraint domination, no duplicates.

Source: Deb, Pratap, Agarwal, Meyarivan, A fast and elitist multiobjective genetic algorithm: NSGA-II, IEEE TEC 6(2),
2002. Uniform crossover; a discrete gene mutates by one step of its ordered values or to any value, a continuous one by
a Gaussian step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.digests import digest_of
from dse.pareto import crowding_distance, front_ranks
from dse.search.protocol import Proposals, Search, seed_of
from dse.space import Space
from workloads.errors import SpaceError

__all__ = ["nsga2"]

Floats = NDArray[np.float64]
_ATTEMPTS = 8
_SMALL = 65_536


def nsga2(
    space: Space,
    *,
    rng: np.random.Generator,
    population: int = 256,
    mutation: float | None = None,
    starts: Floats | None = None,
) -> Search:
    """Evolve a population towards the Pareto front; no point is proposed twice, and the search ends when none is left.

    Args:
        space: Discrete genes, continuous ones, or both.
        rng: Everything random comes from it.
        population: Points per generation, at least 4.
        mutation: Probability that a gene mutates; default: 1.5 genes per child.
        starts: Genes to start from, shape (n, genes); random points fill the population.

    Raises:
        SpaceError: The population is too small, or a start is outside the space.

    Example:
        >>> from dse.running import run
        >>> search = nsga2(Space(x=list(range(100))), rng=np.random.default_rng(0), population=8)
        >>> found = run(search, lambda p: {"a": p.x**2, "b": (p.x - 2) ** 2}, budget=80, minimize=["a", "b"])
        >>> found.pareto().points.x
        array([0., 1., 2.])
    """
    if population < 4:
        raise SpaceError(f"a population of {population} cannot evolve; give at least 4")
    if starts is not None and not space.contains(starts).all():
        raise SpaceError("a start point is not in the space")
    rate = min(0.5, 1.5 / space.genes) if mutation is None else mutation
    settings: dict[str, Any] = {"population": population, "mutation": rate}
    if starts is not None:
        settings["starts"] = digest_of(starts)
    return Search("nsga2", space, _evolve(space, rng, population, rate, starts), seed_of(rng), settings)


def _evolve(space: Space, rng: np.random.Generator, population: int, rate: float, starts: Floats | None) -> Proposals:
    seen: set[bytes] = set()
    first = _seeded(space, rng, population)
    first = first if starts is None else np.vstack([starts, first])
    genes = _unseen(first, seen, len(first))
    objectives, violation = yield genes
    rank, crowding = _fitness(objectives, violation)
    while True:
        children = _offspring(space, rng, genes, rank, crowding, rate, seen, population)
        if not len(children):
            return
        more, over = yield children
        genes = np.concatenate([genes, children])
        objectives, violation = np.concatenate([objectives, more]), np.concatenate([violation, over])
        rank, crowding = _fitness(objectives, violation)
        best = np.lexsort((-crowding, rank))[:population]
        genes, objectives, violation = genes[best], objectives[best], violation[best]
        rank, crowding = rank[best], crowding[best]


def _unseen(genes: Floats, seen: set[bytes], most: int) -> Floats:
    """Give the first rows that were not proposed before, and remember them."""
    fresh: list[int] = []
    for row, genome in enumerate(np.ascontiguousarray(genes)):
        key = genome.tobytes()
        if key not in seen and len(fresh) < most:
            seen.add(key)
            fresh.append(row)
    return genes[fresh]


def _offspring(
    space: Space,
    rng: np.random.Generator,
    genes: Floats,
    rank: NDArray[Any],
    crowding: Floats,
    rate: float,
    seen: set[bytes],
    number: int,
) -> Floats:
    """Breed up to that many points that were not proposed before; fill up at random where breeding repeats itself."""
    batches: list[Floats] = []
    missing = number
    for _ in range(_ATTEMPTS):
        batches.append(_unseen(_children(space, rng, genes, rank, crowding, rate), seen, missing))
        missing -= len(batches[-1])
        if missing <= 0:
            break
    else:
        batches.append(_unseen(_unexplored(space, rng, missing, seen), seen, missing))
    return np.concatenate(batches)


def _unexplored(space: Space, rng: np.random.Generator, number: int, seen: set[bytes]) -> Floats:
    """Give points at random; where most of the space was seen, or it is small, all of it in random order."""
    if space.size() > max(_SMALL, 2 * len(seen)):
        return space.sample(rng, 4 * number + 64)  # at least half of them are new, on average
    return np.asarray(rng.permutation(np.concatenate(list(space.enumerate()))))


def _seeded(space: Space, rng: np.random.Generator, number: int) -> Floats:
    """Start from random points and from the lines between the corners: every gene low, ..., every gene high."""
    genes = space.sample(rng, number)
    counts = np.maximum(space.cardinalities - 1, 0)
    levels = min(number // 4, 32)
    for row, level in enumerate(np.linspace(0, 1, levels) if levels > 1 else []):
        genes[row] = np.where(space.cardinalities > 0, np.rint(level * counts), level)
    return genes


def _fitness(objectives: Floats, violation: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Rank by front, feasible points first, then by violation; crowding within each front."""
    over = np.where(np.isfinite(objectives).all(axis=1), violation, np.inf)  # what has no objectives comes last
    feasible = over <= 0
    rank = np.empty(len(objectives), dtype=np.int64)
    rank[feasible] = front_ranks(objectives[feasible])
    last = rank[feasible].max() + 1 if feasible.any() else 0
    rank[~feasible] = last + np.unique(over[~feasible], return_inverse=True)[1]
    crowding = np.zeros(len(objectives))
    for front in range(int(last)):
        members = np.flatnonzero(feasible & (rank == front))
        crowding[members] = crowding_distance(objectives[members])
    return rank, crowding


def _children(
    space: Space, rng: np.random.Generator, genes: Floats, rank: NDArray[Any], crowding: Floats, rate: float
) -> Floats:
    count = len(genes)

    def tournament() -> NDArray[Any]:
        a, b = rng.integers(count, size=(2, count))
        better = (rank[a] < rank[b]) | ((rank[a] == rank[b]) & (crowding[a] > crowding[b]))
        return np.asarray(np.where(better, a, b))

    mother, father = genes[tournament()], genes[tournament()]
    children = np.where(rng.random(mother.shape) < 0.5, mother, father)
    return _mutated(space, rng, children, rate)


def _mutated(space: Space, rng: np.random.Generator, genes: Floats, rate: float) -> Floats:
    counts = space.cardinalities
    chosen = rng.random(genes.shape) < rate
    step = np.where(rng.random(genes.shape) < 0.5, -1.0, 1.0)
    anywhere = np.floor(rng.random(genes.shape) * np.maximum(counts, 1))
    discrete = np.where(rng.random(genes.shape) < 0.7, np.clip(genes + step, 0, np.maximum(counts - 1, 0)), anywhere)
    continuous = np.clip(genes + rng.normal(0, 0.1, genes.shape), 0, 1)
    return np.asarray(np.where(chosen, np.where(counts > 0, discrete, continuous), genes))
