"""`sweep`: cost every point of a space, many at a time, and check that a batch means what its rows mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dse.batches import Model, check_against_rows, evaluate_chunks
from dse.constraints import Bounds
from dse.knobs import Genes
from dse.results import Result
from dse.space import Space
from workloads.errors import SpaceError

__all__ = ["sweep"]

LARGEST_SWEEP = 50_000_000


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
