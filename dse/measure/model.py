"""A model timed with a library: every unique operator and the whole, as one table of rows with the machine's facts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dse.measure.facts import machine_facts
from dse.measure.feeds import random_feeds
from dse.measure.rapl import LEAST_S, Meter, find_meter, measured_energy
from dse.measure.rows import Run, table
from dse.measure.timing import Call
from workloads.errors import MeasureError, WorkloadError, nearest

if TYPE_CHECKING:
    import onnx
    import pandas as pd

    from workloads.workload import Workload

__all__ = ["BACKENDS", "Job", "measure_model"]

LOCAL = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to measure.

    Attributes:
        name: Of the model.
        path: Its file; None: only its workload is known, and no whole model can be run in ONNX Runtime.
        work: Gives its workload; called where a backend needs it.
        bind: Sizes of symbolic dims.
        threads: For the library.
        seconds: Wall time to spend [s].
        device: What predictions shall know this machine by.
        module: Name that torch's whole model goes by, where it is not `name`.
    """

    name: str
    path: str | Path | onnx.ModelProto | None
    work: Callable[[], Workload]
    bind: Mapping[str, int] = field(default_factory=dict)
    threads: int = 1
    seconds: float = 20.0
    device: str = LOCAL
    module: str = ""


def measure_model(job: Job, backend: str = "onnxruntime", meter: Meter | None = None) -> pd.DataFrame:
    """Time every unique operator of a model, and the model.

    Args:
        job: What to measure.
        backend: A key of `BACKENDS`.
        meter: Energy counters; None: those of this machine, if there are any.

    Returns:
        One row per kind of equal operators with its `count`, a row `call` (what a call takes beyond its operators) and
        a row `model_forward`; columns as `dse.measure.rows` says, then the facts of the machine.

    Raises:
        MeasureError: Unknown backend, or one that this machine cannot run; a model that the library refuses.

    Example:
        >>> from workloads.onnx.loader import load_onnx
        >>> from workloads.zoo import embedded_model
        >>> path = embedded_model("vit-mnist")
        >>> job = Job(name="vit", path=path, work=lambda: load_onnx(path, batch=1), bind={"batch": 1}, seconds=0.5)
        >>> found = measure_model(job)
        >>> bool((found[found.op == "gemm"].latency_us > 0).all()), list(found.op)[-1]
        (True, 'model_forward')
    """
    if backend not in BACKENDS:
        raise MeasureError(f"no backend {backend!r}; {nearest(backend, BACKENDS)}")
    if job.threads < 1:
        raise MeasureError(f"threads={job.threads}: at least one is needed")
    meter = find_meter() if meter is None else meter
    rows = BACKENDS[backend](job, meter)
    facts = {**machine_facts().columns(), "energy_note": meter.reason}
    if not rows:
        raise MeasureError(f"{job.name}: nothing to time")
    return table(rows, facts)


def _energy(meter: Meter) -> Callable[[Call], dict[str, Any]] | None:
    if not meter.zones:
        return None
    return lambda call: dataclasses.asdict(measured_energy(meter, call, LEAST_S))


def _onnxruntime(job: Job, meter: Meter) -> list[dict[str, Any]]:
    import onnxruntime

    from dse.measure.runtime import measure_onnxruntime

    if job.path is None:
        raise MeasureError(
            f"{job.name} is an architecture without weights; write it first (dse zoo {job.name} --weights random --out "
            f"{job.name}.onnx) and give that file, or take --backend torch-cpu"
        )
    feeds = random_feeds(job.path, np.random.default_rng(0), **job.bind)
    return measure_onnxruntime(
        job.path,
        feeds,
        _run(job, f"onnxruntime {onnxruntime.__version__}"),
        job.seconds,
        _blocks(job),
        _energy(meter),
    )


def _blocks(job: Job) -> dict[str, str]:
    """Map edges and nodes to their blocks; empty where the graph is one that the loader refuses."""
    try:
        work = job.work()
    except WorkloadError:
        return {}
    nodes = {node: op.block for op in work for node in op.nodes if op.block}
    return nodes | {tensor.name: op.block for op in work for tensor in op.outputs if op.block}


def _torch_cpu(job: Job, meter: Meter) -> list[dict[str, Any]]:
    import torch

    from dse.measure.torch_kernels import measure_torch
    from dse.measure.torch_models import whole_call

    run = _run(job, f"torch {torch.__version__}")
    return measure_torch(job.work(), run, job.seconds, _energy(meter), whole_call(job.module or job.name, job.bind))


def _run(job: Job, framework: str) -> Run:
    return Run(device=job.device, model=job.name, framework=framework, threads=job.threads)


def _on_gpu(library: str) -> Callable[[Job, Meter], list[dict[str, Any]]]:
    def measure(job: Job, meter: Meter) -> list[dict[str, Any]]:
        from dse.measure.gpu import measure_gpu

        return measure_gpu(job.work(), job.name, library)

    return measure


BACKENDS: dict[str, Callable[[Job, Meter], list[dict[str, Any]]]] = {
    "onnxruntime": _onnxruntime,
    "torch-cpu": _torch_cpu,
    "torch-cuda": _on_gpu("torch"),
    "triton": _on_gpu("triton"),
}
"""What times operators."""
