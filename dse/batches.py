"""Batches of design points through a model: alike in what branches, checked against their rows one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.knobs import Genes
from dse.points import Points
from dse.space import Space
from workloads.errors import SpaceError
from workloads.knobs import PerLayer

__all__ = ["Model", "check_against_rows", "chunk_size", "evaluate_chunks", "evaluate_points"]

Model = Callable[[Any], Any]
"""Design points to a `Cost` or a mapping of columns; its attribute `structural` names more knobs that split batches."""

_CHUNK = 8192
"""Points per batch, at least: smaller ones pay the interpreter. See `chunk_size`."""

COST_FIELDS = ("latency_s", "energy_j", "flops", "dram_bytes", "peak_bytes")
_LARGEST_BLOCK = (32 << 20) - (64 << 10)  # of what glibc counts


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


def alike(space: Space, model: Model, genes: Genes) -> list[NDArray[np.intp]]:
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
    groups = alike(space, model, genes)
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
