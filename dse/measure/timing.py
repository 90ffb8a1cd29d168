"""Real ONNX Runtime executions: several models interleaved, CPU time and wall time, ratios pair by pair.

On a shared machine wall time swings by tens of percent; CPU time on one thread, runs of the compared models interleaved
(A B A B ...), and ratios of neighbouring runs are what holds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from dse.measure.sessions import reason_of, session_of
from workloads.errors import MeasureError

if TYPE_CHECKING:
    import onnx

__all__ = [
    "Call",
    "Feeds",
    "Quartiles",
    "Timing",
    "quartiles",
    "ratio",
    "session_of",
    "time_calls",
    "time_models",
    "time_sessions",
]

Feeds = Mapping[str, NDArray[Any]]
"""Input name to array."""

Call = Callable[[], object]
"""What is timed."""

WARM_UPS = 2
"""Executions before the first timed one: the first one allocates, the second one finds its memory."""

LEAST_SAMPLE_S = 200e-6
"""Shorter executions are repeated inside one sample: reading the CPU clock costs about 1 us."""

LEAST_RUNS = 3
"""Samples per model that are taken whatever the time limit says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quartiles:
    """The spread of samples.

    Attributes:
        median: Half of the samples are below.
        lower: First quartile.
        upper: Third quartile.
        best: The least: noise only ever adds time.
    """

    median: float
    lower: float
    upper: float
    best: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Time of one execution of a model.

    Attributes:
        name: Of the model.
        cpu: CPU time: of the calling thread with one thread, of the process with more [s].
        wall: Wall time [s].
        runs: Samples.
        executions: Executions inside one sample; times are per execution.
        threads: Threads that ONNX Runtime was given.
        cpu_samples_s: Shape (runs,), in order [s].
        order: Position of each sample in the whole interleaved sequence, shape (runs,).
        wall_samples_s: Shape (runs,), in order [s].
    """

    name: str
    cpu: Quartiles
    wall: Quartiles
    runs: int
    executions: int
    threads: int
    cpu_samples_s: tuple[float, ...]
    order: tuple[int, ...]
    wall_samples_s: tuple[float, ...] = ()

    @property
    def cpu_s(self) -> float:
        """Median CPU time of one execution [s]."""
        return self.cpu.median


def quartiles(samples: Sequence[float] | NDArray[np.float64]) -> Quartiles:
    """Summarise samples.

    Args:
        samples: Shape (n_samples,), n_samples >= 1.

    Example:
        >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
        Quartiles(median=3.0, lower=2.0, upper=4.0, best=1.0)
    """
    lower, median, upper = np.quantile(samples, (0.25, 0.5, 0.75))
    return Quartiles(median=float(median), lower=float(lower), upper=float(upper), best=float(np.min(samples)))


def ratio(a: Timing, b: Timing) -> Quartiles:
    """Give the CPU time of one model relative to another's, from neighbouring runs of one `time_models` call.

    Neighbours share the machine's mood, so the ratio of two runs side by side scatters less than the ratio of medians.

    Returns:
        Quartiles of a / b; below one: `a` is faster.

    Raises:
        MeasureError: The two were not timed together.

    Example:
        >>> once = dict(wall=quartiles([1.0]), executions=1, threads=1)
        >>> a = Timing(name="a", cpu=quartiles([1, 2]), runs=2, cpu_samples_s=(1.0, 2.0), order=(0, 2), **once)
        >>> b = Timing(name="b", cpu=quartiles([2, 4]), runs=2, cpu_samples_s=(2.0, 4.0), order=(1, 3), **once)
        >>> ratio(a, b).median
        0.5
    """
    neighbours = {abs(second - first) for first, second in zip(a.order, b.order, strict=False)}
    if a.runs != b.runs or len(neighbours) != 1:
        raise MeasureError(f"{a.name!r} and {b.name!r} were not timed together; give both to one time_models call")
    return quartiles(np.asarray(a.cpu_samples_s) / np.asarray(b.cpu_samples_s))


def time_models(
    models: Mapping[str, onnx.ModelProto | str | Path],
    feeds: Feeds | Mapping[str, Feeds],
    *,
    repeats: int = 30,
    threads: int = 1,
    seconds_limit: float = 30.0,
) -> dict[str, Timing]:
    """Time models by executing them in ONNX Runtime, interleaved: A B C A B C ...

    Args:
        models: Name to model (with its weights) or to the path of one.
        feeds: Inputs for all models, or model name to its inputs. Names that a model does not have are left out.
        repeats: Samples per model.
        threads: Threads for ONNX Runtime. Compare on one: with more, other work on the machine decides.
        seconds_limit: Wall time after which no further round starts, once each model has `LEAST_RUNS` samples [s].

    Returns:
        One `Timing` per model, in order; `ratio` compares two of them.

    Raises:
        MeasureError: No models, or a model that ONNX Runtime cannot open or run; the message gives its reason.

    Example:
        >>> from workloads.zoo import embedded_model
        >>> from dse.measure.feeds import random_feeds
        >>> feeds = random_feeds(embedded_model("vit-mnist"), np.random.default_rng(0), batch=1)
        >>> found = time_models({"vit": embedded_model("vit-mnist")}, feeds, repeats=3)
        >>> found["vit"].cpu_s > 0, found["vit"].runs
        (True, 3)
    """
    if not models:
        raise MeasureError("no models to time; give at least one")
    sessions = {name: session_of(model, name, threads) for name, model in models.items()}
    given = {name: _feeds_of(name, session, feeds) for name, session in sessions.items()}
    return time_sessions(sessions, given, repeats=repeats, threads=threads, seconds_limit=seconds_limit)


def time_sessions(
    sessions: Mapping[str, Any],
    feeds: Mapping[str, Feeds],
    *,
    repeats: int = 30,
    threads: int = 1,
    seconds_limit: float = 30.0,
) -> dict[str, Timing]:
    """Time open sessions, as `time_models` does.

    Args:
        sessions: Name to an `onnxruntime.InferenceSession`.
        feeds: Name to the inputs of that session, exactly.
        repeats: Samples per session, at least 1.
        threads: Threads that the sessions were opened with.
        seconds_limit: Wall time after which no further round starts [s].

    Raises:
        MeasureError: A session cannot run; the message gives ONNX Runtime's reason.
    """
    calls = {name: _bound(name, session, feeds[name]) for name, session in sessions.items()}
    return time_calls(calls, repeats=repeats, threads=threads, seconds_limit=seconds_limit)


def time_calls(
    calls: Mapping[str, Call],
    *,
    repeats: int = 30,
    threads: int = 1,
    seconds_limit: float = 30.0,
    warm: Collection[str] = (),
) -> dict[str, Timing]:
    """Time calls of any library, interleaved: A B C A B C ...

    Args:
        calls: Name to a call without arguments.
        repeats: Samples per call, at least 1.
        threads: Threads that a call uses: one is timed by the clock of its thread, more by that of the process.
        seconds_limit: Wall time after which no further round starts [s].
        warm: Names of calls that run once, untimed, before each of their samples: they find in the caches what fits.

    Raises:
        MeasureError: No sample is asked for.

    Example:
        >>> time_calls({"sum": lambda: sum(range(100))}, repeats=3)["sum"].runs
        3
    """
    if repeats < 1:
        raise MeasureError(f"repeats={repeats}: at least one sample is needed")
    end = time.perf_counter() + seconds_limit
    clock = time.thread_time if threads == 1 else time.process_time
    executions = {name: _warm_up(call) for name, call in calls.items()}
    samples: dict[str, list[tuple[float, float, int]]] = {name: [] for name in calls}
    position = 0
    for done in range(repeats):
        if done >= LEAST_RUNS and time.perf_counter() > end:
            break
        for name, call in calls.items():
            times = executions[name]
            if name in warm:
                call()
            wall, cpu = time.perf_counter(), clock()
            for _ in range(times):
                call()
            cpu, wall = clock() - cpu, time.perf_counter() - wall
            samples[name].append((cpu / times, wall / times, position))
            position += 1
    return {name: _timing(name, taken, executions[name], threads) for name, taken in samples.items()}


def _timing(name: str, samples: Sequence[tuple[float, float, int]], executions: int, threads: int) -> Timing:
    cpu, wall, order = zip(*samples, strict=True)
    return Timing(
        name=name,
        cpu=quartiles(cpu),
        wall=quartiles(wall),
        runs=len(samples),
        executions=executions,
        threads=threads,
        cpu_samples_s=cpu,
        order=order,
        wall_samples_s=wall,
    )


def _bound(name: str, session: Any, feeds: Feeds) -> Call:
    """Give the call of a session, run once to see that it runs."""
    try:
        session.run(None, feeds)
    except Exception as error:  # as in `session_of`
        raise MeasureError(f"model {name!r}: ONNX Runtime cannot run it: {reason_of(error)}") from None
    return lambda: session.run(None, feeds)


def _warm_up(call: Call) -> int:
    """Execute a call until it is warm; say how many executions make a sample that is long enough."""
    for _ in range(WARM_UPS):
        call()
    begin = time.perf_counter()
    call()
    taken = time.perf_counter() - begin
    return max(1, math.ceil(LEAST_SAMPLE_S / max(taken, 1e-9)))


def _feeds_of(name: str, session: Any, feeds: Feeds | Mapping[str, Feeds]) -> Feeds:
    own: Mapping[str, Any] = feeds
    if any(isinstance(value, Mapping) for value in feeds.values()):
        if name not in feeds:
            raise MeasureError(f"model {name!r}: no inputs given; feeds has those of {', '.join(feeds)}")
        own = cast("Feeds", feeds[name])
    wanted = [item.name for item in session.get_inputs()]
    missing = [item for item in wanted if item not in own]
    if missing:
        raise MeasureError(f"model {name!r}: no array for input {', '.join(missing)}; random_feeds makes some")
    return {item: own[item] for item in wanted}
