"""Batches of design points through a model: alike in what branches, checked against their rows one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.knobs import Genes
from dse.points import Points
from dse.space import Space
from workloads.errors import SpaceError
from workloads.knobs import PerLayer

__all__ = ["Model", "alike", "check_against_rows", "evaluate_points", "scatter"]

Model = Callable[[Any], Any]
"""Design points to a `Cost` or a mapping of columns; its attribute `structural` names more knobs that split batches."""

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
