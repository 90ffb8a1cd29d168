"""Kernels of a workload timed on a CUDA GPU, by the package `dse.measure.device` in a process of its own.

That package needs numpy, torch and triton alone; signatures go to it as JSON and rows come back as CSV.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from dse.measure.signatures import FUSED, signatures
from workloads.errors import MeasureError
from workloads.workload import Workload

__all__ = ["measure_gpu", "signature_file"]

BACKENDS = {"torch": "torch-cuda", "triton": "triton"}


def measure_gpu(work: Workload, model: str, library: str) -> list[dict[str, Any]]:
    """Time the kernels of a workload on the GPU.

    Args:
        work: Scalar.
        model: Its name.
        library: "torch" or "triton".

    Raises:
        MeasureError: There is no CUDA GPU or no Triton here, or the measurement failed; the message says what would
        run.
    """
    _check(library)
    import pandas

    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder) / "signatures.json", Path(folder) / "rows.csv"
        signature_file(work, asked)
        command = [sys.executable, "-m", "dse.measure.device", str(asked), "--out", str(answer), "--backend", library]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not answer.is_file():
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise MeasureError(f"{model} with {BACKENDS[library]}: {reason}")
        rows = pandas.read_csv(answer).rename(columns={"error": "note"}).assign(model=model)
        return [{str(name): value for name, value in item.items()} for item in rows.to_dict("records")]


def signature_file(work: Workload, path: Path) -> None:
    """Write the kernels of a workload as JSON: what `python -m dse.measure.device FILE` reads."""
    path.write_text(json.dumps(signatures(work, FUSED), indent=1), encoding="utf-8")


def _check(library: str) -> None:
    """Refuse a machine that cannot run it.

    Raises:
        MeasureError: With what is missing, and what runs here.
    """
    import importlib.util

    name = BACKENDS[library]
    instead = "this CPU runs --backend onnxruntime and --backend torch-cpu"
    if importlib.util.find_spec("torch") is None:
        raise MeasureError(f"--backend {name} needs torch with CUDA, which is not installed; {instead}")
    import torch

    if not torch.cuda.is_available():
        raise MeasureError(
            f"--backend {name} needs a CUDA GPU; torch {torch.__version__} sees none. On a machine with one it times "
            f"every unique operator of the model with {library} kernels; {instead}"
        )
    if library == "triton" and importlib.util.find_spec("triton") is None:
        raise MeasureError(
            "--backend triton needs Triton, which is not installed; --backend torch-cuda needs only torch"
        )
