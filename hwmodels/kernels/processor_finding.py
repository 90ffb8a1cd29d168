"""The calibration that serves a CPU's kernel: its own, else that of the nearest library, operation and format."""

from __future__ import annotations

from dataclasses import replace

from hwmodels.kernels.calibration import Calibration
from hwmodels.kernels.finding import Found
from hwmodels.kernels.tables import Key
from workloads.errors import SpecError

__all__ = ["find_on_processor"]

FOREIGN = 3.0
"""How much wider, in logarithms, the band of a CPU is that took another one's calibration. Assumption: as of GPUs."""

RELATED = {
    "map": "add", "reduce": "layernorm", "add_row": "add", "add_scalar": "add", "mul_row": "mul", "mul_scalar": "mul",
    "div_scalar": "mul_scalar", "div_row": "mul_row", "div": "mul", "transpose_last": "transpose", "conv": "gemm",
    "erf": "gelu", "gelu": "bias_gelu", "bias_gelu": "gelu", "fast_gelu": "gelu", "skip_layernorm": "layernorm",
    "skip_rmsnorm": "rmsnorm", "rmsnorm": "layernorm",
}  # fmt: skip
"""Operation that stands in for one that was never measured; other functions take the rate of `copy`."""


def find_on_processor(key: Key, among: tuple[Calibration, ...]) -> Found:
    """Find the calibration nearest to a key of a CPU.

    Args:
        key: What is to be predicted.
        among: Calibrations of the family, the user's first.

    Raises:
        SpecError: None of the formats; or no such operation of products.
    """
    names = [key.kernel, RELATED.get(key.kernel, ""), "copy" if key.family == "cpu_elementwise" else ""]
    for name in names:
        fitting = [item for item in among if item.key.kernel == name and _formats(item.key) == _formats(key)]
        if fitting:
            best = max(fitting, key=lambda item: _nearness(item.key, key))
            return _found(best, key)
    formats = f" with {key.a_format} {key.w_format}" if key.a_format else ""
    raise SpecError(f"no calibration of {key.kernel}{formats} on a CPU; dse calibrate makes one of measured rows")


def _formats(key: Key) -> tuple[str, str]:
    return key.a_format, key.w_format


def _nearness(one: Key, key: Key) -> tuple[bool, ...]:
    library = one.framework.split(" ")[0] == key.framework.split(" ")[0]
    return library, one.device == key.device, one.framework == key.framework, one.timing == key.timing


def _found(best: Calibration, key: Key) -> Found:
    other = best.key.device != key.device
    remarks = [f"calibrated on {best.key.device}"] if other else []
    if best.key.kernel != key.kernel:
        remarks.append(f"as {best.key.kernel}")
    if key.timing and best.key.timing != key.timing:
        remarks.append(f"timing {best.key.timing}")
    if key.framework and best.key.framework != key.framework:
        remarks.append(f"framework {best.key.framework}")
    if not remarks:
        return Found(best, "")
    wider = FOREIGN if other else FOREIGN / 2
    return Found(replace(best, band=(best.band[0] * wider, best.band[1] * wider)), "; ".join(remarks))
