"""`sweep`: cost every point of a space, many at a time, and check that a batch means what its rows mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dse.constraints import Bounds, check_feasible, satisfied
from dse.pareto import non_dominated, objective_matrix
from dse.space import Points, Space
from workloads.errors import SpaceError, nearest
from workloads.knobs import PerLayer

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CHUNK", "Result", "evaluate_points", "sweep"]

Model = Callable[[Any], Any]
COST_FIELDS = ("latency_s", "energy_j", "flops", "dram_bytes", "peak_bytes")
CHUNK = 8192
"""Points per batch: larger ones fall out of the cache, smaller ones pay the interpreter (tests/bench)."""


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """Design points and their columns.

    Attributes:
        points: The design points.
        genes: Their genes, shape (n_points, genes).
        columns: Column name to values, shape (n_points,).
        minimize: Objectives, for `pareto`.
    """

    points: Points
    genes: NDArray[np.float64]
    columns: Mapping[str, NDArray[Any]]
    minimize: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.genes)

    def take(self, index: NDArray[Any]) -> Result:
        """Give some of the points."""
        columns = {name: values[index] for name, values in self.columns.items()}
        return Result(self.points.take(index), self.genes[index], columns, self.minimize)

    def where(self, constraints: Bounds) -> Result:
        """Give the points that meet constraints.

        Raises:
            SpaceError: None does.
        """
        return self.take(np.flatnonzero(check_feasible(self.columns, constraints)))

    def pareto(self, minimize: Sequence[str] = (), constraints: Bounds | None = None) -> Result:
        """Give the points that no other beats, sorted by the first objective.

        Args:
            minimize: Columns; default: the ones that the sweep was given.
            constraints: Only among the points that meet these.
        """
        names = tuple(minimize) or self.minimize
        missing = [name for name in names if name not in self.columns]
        if not names or missing:
            raise SpaceError(f"pareto needs columns to minimise; {nearest(missing[0] if missing else '', self.columns)}")
        inside = self if constraints is None else self.where(constraints)
        front = np.flatnonzero(non_dominated(objective_matrix(inside.columns, names)))
        order = np.argsort(np.asarray(inside.columns[names[0]])[front], kind="stable")
        return inside.take(front[order])

    def to_frame(self) -> pd.DataFrame:
        """Give knobs and columns as a data frame, one row per point."""
        import pandas

        knobs = {name: np.broadcast_to(np.asarray(value), (len(self),)) for name, value in self.points.columns().items()}
        return pandas.DataFrame({**knobs, **self.columns})

    def to_csv(self, path: str | Path) -> None:
        """Write knobs and columns as CSV, by rename."""
        from dse.files import atomic_write

        with atomic_write(Path(path)) as part:
            self.to_frame().to_csv(part, index=False)

    def to_parquet(self, path: str | Path) -> None:
        """Write knobs and columns as Parquet, by rename."""
        from dse.files import atomic_write

        with atomic_write(Path(path)) as part:
            self.to_frame().to_parquet(part, index=False)


def sweep(
    space: Space,
    model: Model,
    *,
    minimize: Sequence[str] = (),
    constraints: Bounds | None = None,
    chunk: int = CHUNK,
    check_rows: int = 3,
    rng: np.random.Generator | None = None,
    map: Callable[..., Iterable[Any]] = map,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Cost every point of a space.

    Args:
        space: All knobs discrete.
        model: Takes design points (attributes: arrays of shape (n_points,), `PerLayer`, or one name) and returns a
            `Cost` or a mapping of column to values.
        minimize: Objectives of `Result.pareto`.
        constraints: Only points that meet these are kept.
        chunk: Points per batch.
        check_rows: Random rows per sweep that are costed again one by one and compared.
        rng: For the choice of rows.
        map: Any `map`: a process pool's, a cluster client's.
        progress: Called as progress(points done, points in all).

    Raises:
        SpaceError: The model branches on a knob, or a batch differs from its rows; the knob or column is named.
    """
    total = int(space.size()) if space.size() != float("inf") else 0
    genes = list(space.enumerate(chunk))
    done, parts = 0, []
    for columns, part in zip(map(partial(evaluate_points, space, model), genes), genes, strict=True):
        parts.append(columns)
        done += len(part)
        if progress is not None:
            progress(done, total)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    every = np.concatenate(genes)
    check_against_rows(space, model, every, columns, check_rows, rng or np.random.default_rng(0))
    result = Result(space.decode(every), every, columns, tuple(minimize))
    return result if constraints is None else result.where(constraints)


def evaluate_points(space: Space, model: Model, genes: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Cost points given as genes, shape (n_points, genes); points of different names go in batches of their own."""
    points = space.decode(genes)
    structural = [name for name, knob in space.knobs.items() if knob.is_structural]
    if not structural:
        return _evaluate_batch(model, points)
    keys = np.zeros(len(points), dtype=np.int64)
    for name in structural:
        position = space._slices[name].start
        keys = keys * len(space.knobs[name].values) + genes[:, position].astype(np.int64)
    columns: dict[str, NDArray[Any]] = {}
    for key in np.unique(keys):
        index = np.flatnonzero(keys == key)
        batch = points if len(index) == len(points) else points.take(index)
        batch = batch.replaced(**{name: getattr(batch, name)[0] for name in structural})
        for name, values in _evaluate_batch(model, batch).items():
            columns.setdefault(name, np.full(len(points), np.nan))[index] = values
    return columns


def _evaluate_batch(model: Model, points: Points) -> dict[str, NDArray[Any]]:
    """Cost one batch of at least two rows; a single point is doubled."""
    count = len(points)
    batch = points.take(np.zeros(2, dtype=int)) if count == 1 else points
    try:
        outcome = model(batch)
    except ValueError as error:
        if "truth value of an array" not in str(error):
            raise
        raise SpaceError(_branching_knobs(model, batch)) from error
    if not isinstance(outcome, Mapping):
        outcome = {name: getattr(outcome, name) for name in COST_FIELDS}
    columns = {}
    for name, values in outcome.items():
        array = np.asarray(values, dtype=np.float64)
        if array.ndim and array.shape != (len(batch),):
            raise SpaceError(f"column {name!r} has shape {array.shape}; a batch of {len(batch)} points needs one value each")
        columns[name] = np.array(np.broadcast_to(array, (len(batch),))[:count])
    return columns


def _branching_knobs(model: Model, batch: Points) -> str:
    """Replay with one array knob at a time and say which the model branches on."""
    guilty = []
    for name in batch.names:
        value = getattr(batch, name)
        if not isinstance(value, np.ndarray | PerLayer):
            continue
        single = batch.row(0)
        try:
            model(Points({**single._columns, name: value}, len(batch)))
        except ValueError:
            guilty.append(name)
    knobs = ", ".join(guilty) or "a combination of knobs"
    return (
        f"the model uses `if` (or and/or/not, min, max) on an array: {knobs}. Use numpy.where, numpy.minimum or "
        "numpy.maximum, or make the knob structural by giving it names"
    )


def check_against_rows(
    space: Space,
    model: Model,
    genes: NDArray[np.float64],
    columns: Mapping[str, NDArray[Any]],
    number: int,
    rng: np.random.Generator,
) -> None:
    """Cost a few random rows one by one as scalars and compare.

    Raises:
        SpaceError: A column of the batch differs from the row: the model mixes rows (a reduction over the batch).
    """
    for row in rng.choice(len(genes), size=min(number, len(genes)), replace=False):
        point = space.decode(genes[row : row + 1]).row(0)
        outcome = model(point)
        if not isinstance(outcome, Mapping):
            outcome = {name: getattr(outcome, name) for name in COST_FIELDS}
        for name, value in outcome.items():
            single, batched = float(np.asarray(value)), float(columns[name][row])
            if not np.isclose(single, batched, rtol=1e-9, atol=0, equal_nan=True):
                raise SpaceError(
                    f"column {name!r}, row {row}: {batched:.9g} in a batch, {single:.9g} alone. The model mixes the rows "
                    "of a batch: look for sum, max, mean, any or sort without an axis"
                )


def feasible(result: Result, constraints: Bounds) -> NDArray[np.bool_]:
    """Say which points of a result meet constraints, shape (n_points,)."""
    return satisfied(result.columns, constraints)
