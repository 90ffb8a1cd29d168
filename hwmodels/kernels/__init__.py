"""Real kernels of GPUs and CPUs: one formula per family, calibrations as data, predictions with error bands.

`hwmodels.calibrated` gives a GPU that `hwmodels.evaluate` takes; `predict_workload` shows every kernel of a workload;
`predict_table` takes tables of kernels. `records`, `machine` and the formulas of `gemm`, `attention`, `elementwise` and
`collectives` take arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwmodels.kernels.device import KernelDevice
    from hwmodels.kernels.predict import predict_table
    from hwmodels.kernels.whole import KernelTime, WholeTime, predict_program, predict_workload

__all__ = [
    "KernelDevice",
    "KernelTime",
    "WholeTime",
    "predict_program",
    "predict_table",
    "predict_workload",
]

_HOMES = {
    "KernelDevice": "device",
    "KernelTime": "whole",
    "WholeTime": "whole",
    "predict_program": "whole",
    "predict_table": "predict",
    "predict_workload": "whole",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: formulas and tables load where they are used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
