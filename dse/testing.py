"""Conformance kits: what a user's extension must do, as one call in a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.pareto import hypervolume, objective_matrix
from dse.results import Result
from dse.running import run
from dse.search.protocol import Search
from dse.search.simple import random_search
from dse.space import Space, per_layer
from workloads.knobs import PerLayer

__all__ = ["allocation_columns", "allocation_space", "check_search"]

MINIMIZE = ("size_bytes", "loss")
LAYERS = 8
WIDTHS = (2, 3, 4, 5, 6, 7, 8)


def allocation_space() -> Space:
    """Make the space of a small test problem: one weight width for each of eight layers.

    Example:
        >>> allocation_space().size() == 7**8
        True
    """
    return Space(weight_bits=per_layer([f"layer.{index}" for index in range(LAYERS)], WIDTHS))


def allocation_columns(point: Any) -> dict[str, Any]:
    """Cost a point of `allocation_space`: layers differ in size and in sensitivity, and both objectives add up.

    Source: the additive error model of Dong et al., HAWQ-V2, 2020; noise power falls by four with every bit.

    Example:
        >>> point = allocation_space().decode(np.zeros((1, 8))).row(0)
        >>> allocation_columns(point)["size_bytes"]
        72.0
    """
    bits: PerLayer = point.weight_bits
    size: Any = 0.0
    noise: Any = 0.0
    for index in range(LAYERS):
        width = bits.at(f"layer.{index}")
        size = size + width * (1 + index)
        noise = noise + 4.0**-width * 3.0 ** (index * 3 % LAYERS)
    return {"size_bytes": size, "loss": np.log10(noise)}


def check_search(make: Callable[[Space, np.random.Generator], Search], *, budget: int = 4000) -> None:
    """Check that a search stays in its space, repeats itself by seed, and beats random search.

    Args:
        make: Gives a new search over a space, with all randomness from the generator.
        budget: Points per run.

    Raises:
        AssertionError: It does not; the message says what is wrong.

    Example:
        >>> from dse.search import nsga2
        >>> check_search(lambda space, rng: nsga2(space, rng=rng))
    """
    first, again = (_found(make(allocation_space(), np.random.default_rng(7)), budget) for _ in range(2))
    _check_in_space(first)
    assert np.array_equal(first.genes, again.genes), "two runs with the same seed propose different points"
    volume = _volume(first)
    chance = np.mean([_volume(_found(_random(seed), budget)) for seed in range(3)])
    assert volume > chance, f"random search is as good: hypervolume {chance:.4f} at random, {volume:.4f} here"


def _random(seed: int) -> Search:
    return random_search(allocation_space(), rng=np.random.default_rng(seed))


def _found(search: Search, budget: int) -> Result:
    return run(search, allocation_columns, budget=budget, minimize=MINIMIZE)


def _check_in_space(result: Result) -> None:
    genes: NDArray[Any] = np.asarray(result.genes, dtype=np.float64)
    outside = (genes < 0) | (genes > len(WIDTHS) - 1) | (genes != np.floor(genes))
    rows = np.flatnonzero(outside.any(axis=1))
    assert not len(rows), f"{len(rows)} points are not in the space; the first has the genes {genes[rows[0]].tolist()}"


def _volume(result: Result) -> float:
    costs = objective_matrix(result.columns, MINIMIZE)
    low = objective_matrix(allocation_columns(allocation_space().decode(np.full((2, LAYERS), 6.0))), MINIMIZE)[0]
    high = objective_matrix(allocation_columns(allocation_space().decode(np.zeros((2, LAYERS)))), MINIMIZE)[0]
    corner = np.array([[high[0], low[1]], [low[0], high[1]]])  # least size, least loss
    best, worst = corner.min(axis=0), corner.max(axis=0)
    return hypervolume((costs - best) / (worst - best), [1.05, 1.05])
