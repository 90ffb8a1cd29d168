"""`sweep`: cost every point of a space, many at a time, and check that a batch means what its rows mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.constraints import Bounds
from dse.knobs import Genes
from dse.points import Points
from dse.results import Result
from dse.space import Space
from workloads.errors import SpaceError
from workloads.knobs import PerLayer

__all__ = ["CHUNK", "Model", "Result", "check_against_rows", "evaluate_chunks", "evaluate_points", "sweep"]

Model = Callable[[Any], Any]
"""Design points to a `Cost` or a mapping of columns; its attribute `structural` names more knobs that split batches."""

COST_FIELDS = ("latency_s", "energy_j", "flops", "dram_bytes", "peak_bytes")
LARGEST_SWEEP = 50_000_000
_LARGEST_BLOCK = (32 << 20) - (64 << 10)  # of what glibc counts
CHUNK = 8192
"""Points per batch: larger ones fall out of the cache, smaller ones pay the interpreter (tests/bench)."""


def sweep(
    space: Space,
    model: Model,
    *,
    genes: Genes | None = None,
    minimize: Sequence[str] = (),
    constraints: Bounds | None = None,
    chunk: int = CHUNK,
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
        chunk: Points per batch.
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


def evaluate_chunks(
    space: Space,
    model: Model,
    genes: Genes,
    *,
    chunk: int = CHUNK,
    map: Callable[..., Iterable[Any]] = map,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, NDArray[Any]]:
    """Cost points chunk by chunk, through any `map`; points of different names go in chunks of their own.

    Args:
        space: Of the genes.
        model: As in `sweep`.
        genes: Shape (n_points, genes).
        chunk: Points per batch.
        map: Over chunks of genes; the model and the chunks must pickle for a process pool.
        progress: Called as progress(points done, points in all).

    Returns:
        Column name to values, shape (n_points,) each.
    """
    total = len(genes)
    if not total:
        raise SpaceError("there are no design points to cost")
    groups = _alike(space, model, genes)
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


def scatter(columns: dict[str, NDArray[Any]], part: Mapping[str, Any], rows: NDArray[Any], total: int) -> None:
    """Write the columns of some rows into the columns of all, in place; what a part lacks is NaN."""
    for name, values in part.items():
        if name not in columns:
            columns[name] = np.full(total, np.nan)
        columns[name][rows] = values


def _structural(space: Space, model: Model) -> list[str]:
    """Name the knobs that split batches: names, `choice`, and what the model declares in its attribute `structural`."""
    declared = getattr(model, "structural", ())
    return [name for name, knob in space.knobs.items() if knob.is_structural or name in declared]


def _alike(space: Space, model: Model, genes: Genes) -> list[NDArray[np.intp]]:
    """Group rows that share every structural value: row indices, group by group."""
    keys = np.zeros(len(genes), dtype=np.int64)
    for name in _structural(space, model):
        if space.knobs[name].is_range or space.knobs[name].blocks:
            raise SpaceError(f"the model needs {name!r} constant within a batch; give it a list of values")
        keys = keys * len(space.knobs[name].values) + genes[:, space.position(name).start].astype(np.int64)
    if (keys == keys[0]).all():
        return [np.arange(len(genes))]
    order = np.argsort(keys, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(keys[order])) + 1)


def evaluate_points(space: Space, model: Model, genes: Genes) -> dict[str, NDArray[Any]]:
    """Cost points given as genes, shape (n_points, genes); points of different names go in batches of their own."""
    _keep_heap()
    columns: dict[str, NDArray[Any]] = {}
    groups = _alike(space, model, genes)
    for index in groups:
        rows = genes if len(groups) == 1 else genes[index]
        scatter(columns, _evaluate_batch(model, _batch(space, model, rows), len(rows)), index, len(genes))
    return columns


def _keep_heap() -> None:
    """Have the C library keep freed memory, or every batch pays a page fault for every 4 KiB of its columns.

    glibc lets the heap keep twice the size of the largest block that was ever freed, up to 64 MiB (mallopt(3), "dynamic
    mmap threshold"). The block is never touched, so it costs microseconds: 110,000 points/s became 173,000 at 4096.
    Elsewhere it does nothing.
    """
    np.empty(_LARGEST_BLOCK, dtype=np.uint8)


def _batch(space: Space, model: Model, genes: Genes) -> Points:
    """Decode rows that share their structural values into a batch of at least two: a single point is doubled."""
    points = space.decode(genes if len(genes) > 1 else np.repeat(genes, 2, axis=0))
    shared = {
        name: space.knobs[name].values[int(genes[0, space.position(name).start])] for name in _structural(space, model)
    }
    return points.replaced(**shared) if shared else points


def _evaluate_batch(model: Model, batch: Points, count: int) -> dict[str, NDArray[Any]]:
    """Cost one batch, and give the columns of its first `count` rows."""
    try:
        outcome = _columns_of(model(batch))
    except (TypeError, ValueError) as error:
        if not _is_branching(error):
            raise
        raise SpaceError(_branching_knobs(model, batch)) from error
    columns = {}
    for name, values in outcome.items():
        array = np.asarray(values, dtype=np.float64)
        if array.ndim and array.shape != (len(batch),):
            raise SpaceError(
                f"column {name!r} has shape {array.shape}; a batch of {len(batch)} points needs one value each"
            )
        columns[name] = np.array(np.broadcast_to(array, (len(batch),))[:count])
    return columns


def _columns_of(outcome: Any) -> Mapping[str, Any]:
    if isinstance(outcome, Mapping):
        return outcome
    missing = [name for name in COST_FIELDS if not hasattr(outcome, name)]
    if missing:
        raise SpaceError(
            f"the model returned {type(outcome).__name__}; return a Cost or a mapping of columns to values"
        )
    return {name: getattr(outcome, name) for name in COST_FIELDS}


def _is_branching(error: Exception) -> bool:
    """Recognise `if` on an array, and float(), int() or math functions of one (a TypeError in NumPy's words)."""
    return "truth value of an array" in str(error) or "can be converted to Python scalars" in str(error)


def _branching_knobs(model: Model, batch: Points) -> str:
    """Replay with one array knob at a time and say which the model branches on."""
    guilty = []
    single = batch.row(0)
    arrays = [name for name in batch.names if isinstance(getattr(batch, name), np.ndarray | PerLayer)]
    for name in arrays:
        try:
            model(
                Points(
                    {**{other: getattr(single, other) for other in single.names}, name: getattr(batch, name)},
                    len(batch),
                )
            )
        except (TypeError, ValueError) as error:
            if _is_branching(error):
                guilty.append(name)
    knobs = ", ".join(guilty) or f"a combination of {', '.join(arrays)}"
    return (
        f"the model uses `if` (or and/or/not, min, max, float, math.*) on an array: {knobs}. Use numpy.where, "
        "numpy.minimum or numpy.maximum, or make the knob structural: dse.choice([...])"
    )


def check_against_rows(
    space: Space,
    model: Model,
    genes: Genes,
    columns: Mapping[str, NDArray[Any]],
    number: int,
    rng: np.random.Generator,
) -> None:
    """Cost a few random rows one by one as scalars and compare.

    Raises:
        SpaceError: A column of the batch differs from the row: the model mixes rows (a reduction over the batch).
    """
    for row in rng.choice(len(genes), size=min(number, len(genes)), replace=False):
        point = _batch(space, model, genes[row : row + 1]).row(0)
        for name, value in _columns_of(model(point)).items():
            single, batched = float(np.asarray(value)), float(columns[name][row])
            if not np.isclose(single, batched, rtol=1e-9, atol=0, equal_nan=True):
                raise SpaceError(
                    f"column {name!r}, row {row}: {batched:.9g} in a batch, {single:.9g} alone. The model mixes the "
                    "rows of a batch: look for sum, max, mean, any or sort without an axis"
                )
