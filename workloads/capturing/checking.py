"""An export against torch, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.capturing.exporting import quiet
from workloads.errors import WorkloadError

if TYPE_CHECKING:
    import torch

__all__ = ["TOLERANCE", "check_against_torch"]

_SHOWN = 4
"""Inputs whose shapes a message gives: a decoder has one per layer and more."""

TOLERANCE: dict[str, float] = {"float64": 1e-5, "float32": 1e-5, "float16": 5e-3, "bfloat16": 4e-2}
"""Largest difference from torch, relative to the largest value of the output (and at least to 1): both compute the same
sums in another order, so a few hundred units in the last place of the format are what may differ."""


def check_against_torch(
    path: Path,
    flat: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    *,
    tolerance: float | None,
    where: str,
) -> float:
    """Compare every output of a file with torch.

    Args:
        path: The ONNX file.
        flat: The module behind it: tensors in, tuple of tensors out.
        inputs: By name.
        outputs: Names of the tensors in the tuple.
        tolerance: Largest difference, relative to the largest value; None: by the format, `TOLERANCE`.
        where: For messages.

    Returns:
        The largest relative difference that was seen.

    Raises:
        WorkloadError: ONNX Runtime refuses the file, or an output differs; the first one is named.
    """
    import torch

    with quiet(), torch.no_grad():
        wanted = flat(*inputs.values())
    shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in list(inputs.items())[:_SHOWN])
    shapes += ", ..." if len(inputs) > _SHOWN else ""
    got = _run(path, inputs, f"{where}: on {shapes}")
    worst = 0.0
    for name, want in zip(outputs, wanted, strict=True):
        format_name = str(want.dtype).removeprefix("torch.")
        allowed = tolerance if tolerance is not None else TOLERANCE.get(format_name, 0.0)
        reference = want.detach().to(torch.float32).numpy() if format_name == "bfloat16" else want.detach().numpy()
        error, place = _difference(np.asarray(got[name]), reference)
        worst = max(worst, error)
        if not error <= allowed:
            raise WorkloadError(
                f"{where}: the export differs from torch by {error:.2g} of the largest value (allowed {allowed:.0e}), "
                f"first in output {name!r} at {place}, on {shapes}. The exporter froze something of its example, or "
                "translated an operator wrongly; do not use the file"
            )
    return worst


def _run(path: Path, inputs: Mapping[str, torch.Tensor], where: str) -> dict[str, NDArray[Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feeds = {item.name: inputs[item.name].detach().numpy() for item in session.get_inputs()}
        names = [item.name for item in session.get_outputs()]
        return dict(zip(names, session.run(names, feeds), strict=True))
    except Exception as error:  # the runtime has exceptions of its own, without a common root
        line = next((part for part in str(error).splitlines() if part), type(error).__name__)
        raise WorkloadError(
            f"{where} ONNX Runtime cannot run the export: {line[:300]}. If another shape than the example's is "
            "refused, the exporter froze a size: leave that axis out of dynamic=. If the runtime has no kernel "
            "(bfloat16 on a CPU), capture with check=False and compare elsewhere"
        ) from None


def _difference(got: NDArray[Any], want: NDArray[Any]) -> tuple[float, str]:
    """Give the largest difference over the largest value, and where it is; NaN equals NaN."""
    if got.shape != want.shape:
        return float("inf"), f"its shape, {got.shape} instead of {want.shape}"
    if not got.size:
        return 0.0, ""
    a, b = got.astype(np.float64), want.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(a - b))
    error[np.isnan(error)] = np.inf
    place = np.unravel_index(int(np.argmax(error)), error.shape)
    finite = np.abs(b[np.isfinite(b)])
    scale = max(1.0, float(finite.max(initial=0.0)))
    return float(error[place]) / scale, f"index {tuple(int(index) for index in place)}"
