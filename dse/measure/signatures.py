"""The unique kernels of a workload as columns of the measured tables, for backends that build kernels of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwmodels.kernels.clusters import Style
from hwmodels.kernels.lowering import Kernel, lower_kernels
from workloads.workload import Workload

__all__ = ["EAGER", "FUSED", "signatures"]

EAGER = Style(name="eager", attention=False, gated=False, siblings=False, chains=False, copies=True)
"""A kernel an operator."""

FUSED = Style(name="fused", attention=True, gated=True, siblings=False, chains=False, copies=False)
"""Attention and gated activations fused, as GPU libraries have them."""


def signatures(workload: Workload, style: Style = EAGER) -> list[dict[str, Any]]:
    """List the unique kernels of a workload.

    Args:
        workload: Scalar.
        style: Which operators are one kernel.

    Returns:
        One mapping per kernel: `op`, the sizes of its family, its formats, `name` and `block` of the first, `count`,
        `in_layers` (how many of them stand in layers).

    Example:
        >>> from workloads.onnx.loader import load_onnx
        >>> from workloads.zoo import embedded_model
        >>> found = signatures(load_onnx(embedded_model("vit-mnist"), batch=1))
        >>> [item["count"] for item in found if item["op"] == "gemm" and (item["n"], item["k"]) == (96, 96)]
        [16]
    """
    groups: dict[object, list[Kernel]] = {}
    for kernel in lower_kernels(workload, style):
        groups.setdefault(_key(kernel), []).append(kernel)
    return [_columns(group) for group in groups.values()]


def _key(kernel: Kernel) -> object:
    sizes = tuple((name, float(np.max(value))) for name, value in kernel.sizes.items())
    return kernel.op, sizes, kernel.a_format, kernel.w_format


def _columns(group: list[Kernel]) -> dict[str, Any]:
    first = group[0]
    sizes = {name: round(float(np.max(value))) for name, value in first.sizes.items()}
    formats: dict[str, Any] = {"a_dtype": first.a_format}
    if first.w_format:
        formats["kv_dtype" if first.family.startswith("attention") else "w_dtype"] = first.w_format
    count = sum(float(np.max(kernel.count)) for kernel in group)
    return {
        "op": first.op,
        **sizes,
        **formats,
        "name": first.name,
        "block": first.block,
        "count": round(count) if count == round(count) else count,
        "in_layers": sum(kernel.block.startswith("layer.") for kernel in group),
    }
