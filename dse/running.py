"""`run`: drive a search with a model until its budget is spent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from dse.constraints import Bounds, violations
from dse.pareto import objective_matrix
from dse.search.protocol import Search
from dse.sweeps import CHUNK, Model, Result, check_against_rows, evaluate_points

__all__ = ["run"]


def run(
    search: Search,
    model: Model,
    *,
    budget: int,
    minimize: Sequence[str],
    constraints: Bounds | None = None,
    check_rows: int = 3,
    map: Callable[..., Iterable[Any]] = map,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Cost what a search proposes, until the budget is spent or the search ends.

    Args:
        search: `exhaustive`, `random_search`, `nsga2`, or a user's own.
        model: As in `sweep`.
        budget: Most points to cost.
        minimize: Objectives.
        constraints: The search is told how far points are outside.
        check_rows: Random rows that are costed again one by one and compared.
        map: Any `map`, over batches.
        progress: Called as progress(points done, budget).

    Returns:
        Every point that was costed; the best are `Result.pareto(constraints=...)`.
    """
    evaluate = partial(evaluate_points, search.space, model)
    genes_seen, parts, done = [], [], 0
    try:
        genes = next(search.proposals)
        while done < budget:
            genes = genes[: budget - done]
            columns = _evaluated(evaluate, genes, map)
            genes_seen.append(genes)
            parts.append(columns)
            done += len(genes)
            if progress is not None:
                progress(done, budget)
            if done >= budget:
                break
            outside = violations(columns, constraints or {})
            total = np.sum([np.minimum(over, 1e9) for over in outside.values()], axis=0) if outside else np.zeros(len(genes))
            genes = search.proposals.send((objective_matrix(columns, tuple(minimize)), total))
    except StopIteration:
        pass
    every = np.concatenate(genes_seen)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    check_against_rows(search.space, model, every, columns, check_rows, np.random.default_rng(0))
    return Result(search.space.decode(every), every, columns, tuple(minimize))


def _evaluated(evaluate: Callable[[Any], Any], genes: Any, map: Callable[..., Iterable[Any]]) -> dict[str, Any]:
    chunks = [genes[start : start + CHUNK] for start in range(0, len(genes), CHUNK)]
    parts = list(map(evaluate, chunks))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
