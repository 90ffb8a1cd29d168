"""`sweep`: cost every point of a space, many at a time, and check that a batch means what its rows mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.batches import Model, alike, check_against_rows, evaluate_points, scatter
from dse.constraints import Bounds
from dse.knobs import Genes
from dse.results import Result
from dse.space import Space
from workloads.errors import SpaceError

__all__ = ["Model", "Result", "check_against_rows", "evaluate_chunks", "evaluate_points", "sweep"]

LARGEST_SWEEP = 50_000_000
_CHUNK = 8192
"""Points per batch, at least: smaller ones pay the interpreter. See `chunk_size`."""


def sweep(
    space: Space,
    model: Model,
    *,
    genes: Genes | None = None,
    minimize: Sequence[str] = (),
    constraints: Bounds | None = None,
    chunk: int | None = None,
    check_rows: int = 3,
    rng: np.random.Generator | None = None,
    store: str | Path | None = None,
    map: Callable[..., Iterable[Any]] = map,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Cost every point of a space, or the given ones.

    Args:
        space: All knobs discrete, unless genes are given.
        model: Takes design points (attributes: arrays of shape (n_points,), `PerLayer`, or one name) and returns a
            `Cost` or a mapping of column to values.
        genes: Only these points, shape (n_points, genes): of `space.sample` or `space.encode`.
        minimize: Objectives of `Result.pareto`.
        constraints: Only points that meet these are kept.
        chunk: Points per batch; default: `chunk_size`.
        check_rows: Random rows per sweep that are costed again one by one and compared.
        rng: For the choice of rows.
        store: Run directory, as in `run`; for whole spaces only.
        map: Any `map`: a process pool's, a cluster client's.
        progress: Called as progress(points done, points in all).

    Raises:
        SpaceError: The model branches on a knob, or a batch differs from its rows; the knob or column is named.

    Example:
        >>> result = sweep(Space(x=[1, 2, 3]), lambda p: {"cost": (p.x - 2) ** 2}, minimize=["cost"])
        >>> result.pareto().points.x
        array([2.])
    """
    if store is not None:
        return _stored_sweep(
            space,
            model,
            genes,
            store,
            minimize,
            constraints,
            chunk=chunk,
            check_rows=check_rows,
            map=map,
            progress=progress,
        )
    genes = _every_point(space) if genes is None else genes
    columns = evaluate_chunks(space, model, genes, chunk=chunk, map=map, progress=progress)
    check_against_rows(space, model, genes, columns, check_rows, rng or np.random.default_rng(0))
    result = Result(space.decode(genes), genes, columns, tuple(minimize))
    return result if constraints is None else result.where(constraints)


def _stored_sweep(
    space: Space,
    model: Model,
    genes: Genes | None,
    store: str | Path,
    minimize: Sequence[str],
    constraints: Bounds | None,
    **options: Any,
) -> Result:
    """Sweep as an exhaustive search, whose batches are what a crash leaves behind."""
    from dse.running import run
    from dse.search import exhaustive

    if genes is not None:
        raise SpaceError("a sweep of given genes is not stored; search with dse.run, or leave out `store`")
    total = _countable(space)
    result = run(exhaustive(space), model, budget=total, minimize=minimize, store=store, **options)
    return result if constraints is None else result.where(constraints)


def _countable(space: Space) -> int:
    size = space.size()
    if LARGEST_SWEEP < size < float("inf"):
        raise SpaceError(
            f"a sweep of {size:.3g} points is too large; search it with dse.run, or sweep a sample: "
            "genes=space.sample(rng, 100_000)"
        )
    return int(size) if size < float("inf") else 0  # an endless one is refused by name, in `enumerate`


def _every_point(space: Space) -> Genes:
    _countable(space)
    return np.concatenate(list(space.enumerate()))


def chunk_size(space: Space) -> int:
    """Give the points per batch at which the columns of a batch just fit the heap that is kept between batches.

    Larger batches pay page faults, smaller ones the interpreter: see tests/bench/README.md.

    Example:
        >>> chunk_size(Space(x=[1, 2])), chunk_size(Space(**{f"x{gene}": [1, 2] for gene in range(76)}))
        (32768, 16384)
    """
    return _CHUNK * min(4, max(1, 160 // space.genes))


def evaluate_chunks(
    space: Space,
    model: Model,
    genes: Genes,
    *,
    chunk: int | None = None,
    map: Callable[..., Iterable[Any]] = map,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, NDArray[Any]]:
    """Cost points chunk by chunk, through any `map`; points of different names go in chunks of their own.

    Args:
        space: Of the genes.
        model: As in `sweep`.
        genes: Shape (n_points, genes).
        chunk: Points per batch; default: `chunk_size`.
        map: Over chunks of genes; the model and the chunks must pickle for a process pool.
        progress: Called as progress(points done, points in all).

    Returns:
        Column name to values, shape (n_points,) each.
    """
    total, chunk = len(genes), chunk or chunk_size(space)
    if not total:
        raise SpaceError("there are no design points to cost")
    groups = alike(space, model, genes)
    index = [part[start : start + chunk] for part in groups for start in range(0, len(part), chunk)]
    # rows in order are sliced: a copy of 72 columns by index costs as much as decoding them
    chunks = [genes[rows[0] : rows[-1] + 1] if len(groups) == 1 else genes[rows] for rows in index]
    columns: dict[str, NDArray[Any]] = {}
    done = 0
    for rows, part in zip(index, map(partial(evaluate_points, space, model), chunks), strict=True):
        scatter(columns, part, rows, total)
        done += len(rows)
        if progress is not None:
            progress(done, total)
    return columns
