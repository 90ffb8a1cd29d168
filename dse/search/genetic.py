"""NSGA-II over mixed genes: the whole population at a time, constraint domination, no duplicates.

Source: Deb, Pratap, Agarwal, Meyarivan, A fast and elitist multiobjective genetic algorithm: NSGA-II, IEEE TEC 6(2),
2002. Uniform crossover; a discrete gene mutates by one step of its ordered values or to any value, a continuous one by a
Gaussian step.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.pareto import crowding_distance, front_ranks
from dse.search.protocol import Proposals, Search
from dse.space import Space

__all__ = ["nsga2"]

Floats = NDArray[np.float64]


def nsga2(
    space: Space,
    *,
    rng: np.random.Generator,
    population: int = 256,
    mutation: float | None = None,
    starts: Floats | None = None,
) -> Search:
    """Evolve a population towards the Pareto front.

    Args:
        space: Discrete genes, continuous ones, or both.
        rng: Everything random comes from it.
        population: Points per generation.
        mutation: Probability that a gene mutates; default: 1.5 genes per child.
        starts: Genes to start from, shape (n, genes); random points fill the population.
    """
    rate = min(0.5, 1.5 / space.genes) if mutation is None else mutation
    return Search("nsga2", space, _evolve(space, rng, population, rate, starts))


def _evolve(space: Space, rng: np.random.Generator, population: int, rate: float, starts: Floats | None) -> Proposals:
    genes = _seeded(space, rng, population)
    if starts is not None:
        genes = np.unique(np.vstack([starts, genes]), axis=0)
    objectives, violation = yield genes
    rank, crowding = _fitness(objectives, violation)
    while True:
        children = _children(space, rng, genes, rank, crowding, rate)
        more, over = yield children
        genes = np.concatenate([genes, children])
        objectives, violation = np.concatenate([objectives, more]), np.concatenate([violation, over])
        unique = np.unique(genes, axis=0, return_index=True)[1]
        genes, objectives, violation = genes[unique], objectives[unique], violation[unique]
        rank, crowding = _fitness(objectives, violation)
        best = np.lexsort((-crowding, rank))[:population]
        genes, objectives, violation = genes[best], objectives[best], violation[best]
        rank, crowding = rank[best], crowding[best]


def _seeded(space: Space, rng: np.random.Generator, number: int) -> Floats:
    """Start from random points and from the lines between the corners: every gene low, ..., every gene high."""
    genes = space.sample(rng, number)
    counts = np.maximum(space.cardinalities - 1, 0)
    levels = min(number // 4, 32)
    for row, level in enumerate(np.linspace(0, 1, levels) if levels > 1 else []):
        genes[row] = np.where(space.cardinalities > 0, np.rint(level * counts), level)
    return genes


def _fitness(objectives: Floats, violation: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Rank by front, feasible points first; crowding within each front."""
    feasible = (violation <= 0) & np.isfinite(objectives).all(axis=1)
    rank = np.empty(len(objectives), dtype=np.int64)
    rank[feasible] = front_ranks(objectives[feasible])
    last = rank[feasible].max() + 1 if feasible.any() else 0
    order = np.argsort(np.argsort(violation[~feasible], kind="stable"), kind="stable")
    rank[~feasible] = last + order
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
        return np.where(better, a, b)

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
    return np.where(chosen, np.where(counts > 0, discrete, continuous), genes)
