"""Times of kernels: warm, with buffers that rotate through more than the last-level cache, medians of many samples.

Three kinds, since they differ by ten times on small kernels:

- `kernel_rotating`: a graph of many calls, each on other operands than the last, so that they come from memory; time of
  a replay over its calls. Starts of kernels inside a graph cost about a microsecond, which is in the time.
- `cuda_graph_or_event_loop`: the same on one set of operands, which may stay in the last-level cache.
- `cuda_event_eager`: one call between two events on an idle GPU, so that the cost of starting it from Python shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["KINDS", "Sampled", "replayed", "time_eager", "time_loop", "time_on_cpu"]

KINDS = ("kernel_rotating", "cuda_graph_or_event_loop", "cuda_event_eager")

Call = Callable[[], Any]

SAMPLE_US = 1000.0
"""What one sample lasts at least: starting a graph costs some 10 us, events resolve 0.5 us."""

MOST_CALLS = 400
SAMPLES = (15, 60)
"""At least and at most."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Samples of the time of one call.

    Attributes:
        kind: One of `KINDS`.
        median: [us].
        lower: First quartile [us].
        upper: Third quartile [us].
        best: The least [us].
        samples: How many.
        calls: In one sample.
        method: "graph", "event loop", "event" or "interpreter".
    """

    kind: str
    median: float
    lower: float
    upper: float
    best: float
    samples: int
    calls: int
    method: str


def summary(kind: str, samples: Sequence[float], calls: int, method: str) -> Sampled:
    """Summarise samples of `calls` calls each [us].

    Example:
        >>> summary("kernel_rotating", [20.0, 22.0, 24.0], 2, "graph").median
        11.0
    """
    each = np.asarray(samples, dtype=float) / calls
    lower, median, upper = (float(value) for value in np.quantile(each, (0.25, 0.5, 0.75)))
    return Sampled(kind, median, lower, upper, float(each.min()), len(each), calls, method)


def replayed(calls: Sequence[Call], estimate_us: float) -> tuple[Callable[[], Any], int, str]:
    """Make something that executes calls in turn as one unit: a graph, or a loop where no graph can be captured.

    Args:
        calls: One for each set of operands.
        estimate_us: Of one call [us].

    Returns:
        What to run, how many calls that is, and "graph" or "event loop".
    """
    import torch

    rounds = max(1, min(-(-int(SAMPLE_US / max(estimate_us, 0.5)) // len(calls)), max(1, MOST_CALLS // len(calls))))
    kept: list[Any] = [None] * len(calls)  # results live until their turn comes again, so that they rotate too

    def run() -> None:
        for _ in range(rounds):
            for place, call in enumerate(calls):
                kept[place] = call()

    for call in calls[:2]:
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            run()
    except RuntimeError:
        torch.cuda.synchronize()
        kept[:] = [None] * len(calls)
        return run, rounds * len(calls), "event loop"
    return _Replay(graph, kept).replay, rounds * len(calls), "graph"


@dataclass(frozen=True, slots=True)
class _Replay:
    """A graph, and the results that its memory belongs to."""

    graph: Any
    kept: list[Any]

    def replay(self) -> None:
        self.graph.replay()


def _event() -> Any:
    import torch

    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def time_loop(kind: str, run: Callable[[], Any], calls: int, method: str, seconds: float = 0.1) -> Sampled:
    """Time runs of `calls` calls on a GPU that is kept busy.

    A loop without a graph starts behind a kernel that waits, so that Python is ahead of the GPU.
    """
    import torch

    for _ in range(3):
        run()
    torch.cuda.synchronize()
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while len(samples) < SAMPLES[0] or (len(samples) < SAMPLES[1] and time.perf_counter() < end):
        start, stop = _event(), _event()
        if method != "graph":
            torch.cuda._sleep(calls * 40_000)  # type: ignore[no-untyped-call]  # some 20 us a call at 2 GHz
        start.record()
        run()
        stop.record()
        stop.synchronize()
        samples.append(start.elapsed_time(stop) * 1e3)
    return summary(kind, samples, calls, method)


def time_eager(call: Call, samples: int = 31) -> Sampled:
    """Time single calls on an idle GPU between two events."""
    import torch

    for _ in range(3):
        call()
    torch.cuda.synchronize()
    times = []
    for _ in range(samples):
        start, stop = _event(), _event()
        start.record()
        call()
        stop.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(stop) * 1e3)
    return summary("cuda_event_eager", times, 1, "event")


def time_on_cpu(call: Call) -> Sampled:
    """Time the interpreter on a CPU: it says that a kernel ran, nothing about a GPU."""
    begin = time.perf_counter()
    call()
    return summary("interpreter", [(time.perf_counter() - begin) * 1e6], 1, "interpreter")
