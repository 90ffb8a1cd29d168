"""Rows of measurements: one form for every backend, the columns of the measured tables and what a measurement adds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dse.measure.families import Columns
from dse.measure.timing import Quartiles, Timing

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Measured", "Run", "row", "table", "write_rows"]

COLUMNS = (
    "op", "device", "model", "batch", "m", "n", "k", "rows", "cols", "bytes", "q_len", "kv_len", "heads", "kv_heads",
    "head_dim", "causal", "a_dtype", "w_dtype", "kv_dtype", "framework", "kernel", "timing", "source", "threads",
    "name", "block", "count", "in_layers", "latency_us", "median_us", "lower_us", "upper_us", "in_model_us", "runs", "executions",
    "energy_j", "power_w", "note",
)  # fmt: skip
"""Columns of every backend, in order; the facts of the machine follow.

`latency_us` is the best of all samples; `count` says how many operators of the model the row stands for. `in_model_us` is
what the same operators took inside of the whole model, the best run of each, on average. `in_layers` is how many of
them stand in layers. The row `model_forward` is the whole model, its `in_layers` the number of layers; `call` is what a
call of it takes beyond its operators.
"""

TIMING = {True: "cpu_thread_time", False: "process_wall_time"}
"""By whether one thread was used: its CPU time, or wall time, since idle threads spin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What all rows of a measurement share.

    Attributes:
        device: Name that predictions know the machine by.
        model: Its name.
        framework: Library and version.
        threads: Given to the library.
        source: Who measured.
    """

    device: str
    model: str
    framework: str
    threads: int
    source: str = "dse measure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Times of one operator, as the rows need them [us]."""

    best: float
    median: float
    lower: float
    upper: float
    runs: int
    executions: int

    @staticmethod
    def of(timing: Timing, less_s: float = 0.0, least_s: float = 1e-9) -> Measured:
        """Take times of one thread by CPU time, of more by wall time.

        Args:
            timing: Of calls.
            less_s: What the call itself took [s].
            least_s: Of an operator, whatever it does: its launch [s].
        """
        spread: Quartiles = timing.cpu if timing.threads == 1 else timing.wall
        values = (spread.best, spread.median, spread.lower, spread.upper)
        best, median, lower, upper = (max(value - less_s, least_s) * 1e6 for value in values)
        return Measured(
            best=best, median=median, lower=lower, upper=upper, runs=timing.runs, executions=timing.executions
        )


def row(run: Run, columns: Columns, name: str, count: int, found: Measured | None, **more: Any) -> dict[str, Any]:
    """Make a row.

    Args:
        run: What all rows share.
        columns: Of the kernel.
        name: Of its first operator.
        count: Operators that it stands for.
        found: Its times; None: it was not timed, and a `note` says why.
        **more: Further columns.
    """
    shared = {name: getattr(run, name) for name in ("device", "model", "framework", "threads", "source")}
    times: dict[str, Any] = {}
    if found is not None:
        for column, value in zip(
            ("latency_us", "median_us", "lower_us", "upper_us"),
            (found.best, found.median, found.lower, found.upper),
            strict=True,
        ):
            times[column] = round(value, 3)
        times |= {"runs": found.runs, "executions": found.executions}
    return {**shared, "timing": TIMING[run.threads == 1], **columns, "name": name, "count": count, **times, **more}


def table(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> pd.DataFrame:
    """Put rows into a table with the facts of the machine in every row, unless a row has its own of that name."""
    import pandas

    found = pandas.DataFrame(list(rows))
    more = [name for name in found.columns if name not in COLUMNS]
    found = found.reindex(columns=[*COLUMNS, *more])
    return found.assign(**{name: value for name, value in facts.items() if name not in more})


def write_rows(rows: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a table as CSV, by rename."""
    from dse.files import atomic_write

    with atomic_write(path) as part:
        rows.to_csv(part, index=False)
