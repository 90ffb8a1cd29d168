"""Rows of measurements: one form for every backend, the columns of the measured tables and what a measurement adds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dse.measure.families import Columns
from dse.measure.timing import Quartiles, Timing

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "Measured",
    "Rounds",
    "Run",
    "quiet_rounds",
    "quiet_time_s",
    "row",
    "table",
    "write_rows",
]

COLUMNS = (
    "op", "device", "model", "batch", "m", "n", "k", "rows", "cols", "bytes", "q_len", "kv_len", "heads", "kv_heads",
    "head_dim", "causal", "a_dtype", "w_dtype", "kv_dtype", "framework", "kernel", "timing", "source", "threads",
    "name", "block", "count", "in_layers", "latency_us", "best_us", "median_us", "lower_us", "upper_us", "in_model_us",
    "runs", "executions", "probe_us", "energy_j", "power_w", "note",
)  # fmt: skip
"""Columns of every backend, in order; the facts of the machine follow.

`latency_us` is the median of the quiet quarter of all rounds (`quiet_rounds`), `best_us` the least of all samples.
`count` says how many operators of the model the row stands for, `in_layers` how many of them stand in layers.
`in_model_us` is what the same operators took inside of the whole model, the best run of each, on average. `probe_us` is
a product of fixed size in the same rounds: how fast the machine was. The row `model_forward` is the whole model, its
`in_layers` the number of layers; `call` is what a call of it takes beyond its operators.
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
    """Times of one operator, as the rows need them [us]: in the quiet rounds, the least, and the quartiles."""

    quiet: float
    best: float
    median: float
    lower: float
    upper: float
    runs: int
    executions: int

    @staticmethod
    def of(timing: Timing, rounds: Rounds, less_s: float = 0.0, least_s: float = 1e-9) -> Measured:
        """Take times of one thread by CPU time, of more by wall time.

        Args:
            timing: Of calls.
            rounds: From `quiet_rounds` of the same measurement.
            less_s: What the call itself took [s].
            least_s: Of an operator, whatever it does: its launch [s].
        """
        spread: Quartiles = timing.cpu if timing.threads == 1 else timing.wall
        quiet = float(np.median(_samples(timing)[rounds]))
        values = (quiet, spread.best, spread.median, spread.lower, spread.upper)
        quiet, best, median, lower, upper = (max(value - less_s, least_s) * 1e6 for value in values)
        return Measured(
            quiet=quiet,
            best=best,
            median=median,
            lower=lower,
            upper=upper,
            runs=timing.runs,
            executions=timing.executions,
        )

    @staticmethod
    def constant(time_s: float, timing: Timing) -> Measured:
        """Give a time that follows from others, with the runs of one of them."""
        values = dict.fromkeys(("quiet", "best", "median", "lower", "upper"), time_s * 1e6)
        return Measured(**values, runs=timing.runs, executions=timing.executions)


Rounds = NDArray[np.bool_]
"""Which rounds of a measurement count, shape (runs,)."""

QUIET = 0.25
"""Share of the rounds that count: those in which all kernels together took the least."""


def quiet_rounds(found: Mapping[str, Timing]) -> Rounds:
    """Choose the rounds in which the machine was quiet: the same ones for every kernel.

    The least time of each kernel would flatter short ones: on a shared machine a quiet millisecond is more frequent
    than a quiet tenth of a second.

    Args:
        found: All timings of one `time_calls`.
    """
    taken = sum(_samples(timing) * timing.executions for timing in found.values())
    total = np.asarray(taken, dtype=np.float64)
    kept = np.zeros(len(total), dtype=bool)
    kept[np.argsort(total)[: max(3, round(QUIET * len(total)))]] = True
    return kept


def quiet_time_s(timing: Timing, rounds: Rounds) -> float:
    """Give the time of one execution in the quiet rounds [s]."""
    return float(np.median(_samples(timing)[rounds]))


def _samples(timing: Timing) -> NDArray[np.float64]:
    return np.asarray(timing.cpu_samples_s if timing.threads == 1 else timing.wall_samples_s)


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
            ("latency_us", "best_us", "median_us", "lower_us", "upper_us"),
            (found.quiet, found.best, found.median, found.lower, found.upper),
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
