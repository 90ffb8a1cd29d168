"""`Result`: design points and their columns, and what one asks of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dse.constraints import Bounds, check_feasible
from dse.pareto import non_dominated, objective_matrix
from dse.points import Points
from workloads.errors import SpaceError, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Result"]


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
        if not names:
            raise SpaceError(f"pareto needs columns to minimise; {nearest('', self.columns)}")
        inside = self if constraints is None else self.where(constraints)
        front = np.flatnonzero(non_dominated(objective_matrix(inside.columns, names)))
        order = np.argsort(objective_matrix(inside.columns, names[:1])[front, 0], kind="stable")
        return inside.take(front[order])

    def best(self, objective: str, constraints: Bounds | None = None) -> Result:
        """Give the one point with the least of a column.

        Args:
            objective: A column, or "-column" for the most of it.
            constraints: Only among the points that meet these.

        Raises:
            SpaceError: No such column, no point meets the constraints, or no point has a finite value.
        """
        inside = self if constraints is None else self.where(constraints)
        values = objective_matrix(inside.columns, (objective,))[:, 0]
        if not np.isfinite(values).any():
            raise SpaceError(f"no point has a finite {objective!r}; widen the space or loosen its limits")
        return inside.take(np.array([np.argmin(np.where(np.isfinite(values), values, np.inf))]))

    def to_frame(self) -> pd.DataFrame:
        """Give knobs and columns as a data frame, one row per point."""
        import pandas

        knobs = {
            name: np.broadcast_to(np.asarray(value), (len(self),)) for name, value in self.points.columns().items()
        }
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
