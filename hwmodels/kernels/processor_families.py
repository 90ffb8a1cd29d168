"""The families of a CPU's kernels, beside those of GPUs: same tables, same calibrations, formulas of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hwmodels.kernels.cpu import (
    CpuAttention,
    CpuAttentionCoefficients,
    CpuFunction,
    CpuFunctionCoefficients,
    CpuProduct,
    CpuProductCoefficients,
    attention_us,
    ceilings_attention_us,
    ceilings_function_us,
    ceilings_product_us,
    function_us,
    product_us,
)
from hwmodels.kernels.families import ATTENTION, FAMILIES, Family
from hwmodels.kernels.records import Array

__all__ = ["OPTIONAL", "PROCESSORS", "family_named", "function_format", "processor_family_of"]

OPTIONAL = ("threads", "reuse_bytes")
"""Columns that a table of CPU kernels may leave out: one thread, and kernels repeated in a loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _OnProcessor(Family):
    """A family whose record knows threads and what was touched since the operands were last used."""

    def record(self, columns: dict[str, Array], a_format: str, w_format: str) -> Any:
        """Make the record of rows that share a pair of formats."""
        sizes = {name: value for name, value in columns.items() if name not in OPTIONAL}
        threads, reuse = (columns[name] for name in OPTIONAL)
        shared = {"threads": np.where(np.isfinite(threads), np.maximum(threads, 1), 1.0), "reuse": reuse}
        if self.name == "cpu_gemm":
            return CpuProduct(**sizes, **shared, a_format=a_format, w_format=w_format or a_format)
        if self.name == "cpu_attention":
            return CpuAttention(**sizes, **shared, a_format=a_format, kv_format=w_format or a_format)
        return CpuFunction(rows=sizes["rows"], cols=sizes["cols"], least=sizes["bytes"], **shared)


PROCESSORS: dict[str, Family] = {
    family.name: family
    for family in (
        _OnProcessor(
            name="cpu_gemm",
            coefficients=CpuProductCoefficients,
            time_us=lambda record, cpu, c, kernel: product_us(record, cpu, c),  # type: ignore[arg-type]
            roofline_us=lambda record, cpu, kernel: ceilings_product_us(record, cpu),  # type: ignore[arg-type]
            columns=("batch", "m", "n", "k", *OPTIONAL),
            few=("t0_us", "compute", "memory"),
        ),
        _OnProcessor(
            name="cpu_elementwise",
            coefficients=CpuFunctionCoefficients,
            time_us=lambda record, cpu, c, kernel: function_us(record, cpu, c, kernel),  # type: ignore[arg-type]
            roofline_us=lambda record, cpu, kernel: ceilings_function_us(record, cpu, kernel),  # type: ignore[arg-type]
            columns=("rows", "cols", "bytes", *OPTIONAL),
            few=("t0_us", "value"),
        ),
        _OnProcessor(
            name="cpu_attention",
            coefficients=CpuAttentionCoefficients,
            time_us=lambda record, cpu, c, kernel: attention_us(record, cpu, c),  # type: ignore[arg-type]
            roofline_us=lambda record, cpu, kernel: ceilings_attention_us(record, cpu),  # type: ignore[arg-type]
            columns=(*ATTENTION, *OPTIONAL),
            few=("t0_us", "compute", "score"),
        ),
    )
}
"""By name. They have no corrections: few rows of a CPU are measured, too few for one."""


def family_named(name: str) -> Family:
    """Give a family of GPUs or CPUs.

    Raises:
        KeyError: Unknown.

    Example:
        >>> family_named("cpu_gemm").few
        ('t0_us', 'compute', 'memory')
    """
    return FAMILIES[name] if name in FAMILIES else PROCESSORS[name]


def processor_family_of(columns: set[str], op: str) -> str:
    """Say which family of a CPU a row belongs to; "": none.

    Example:
        >>> processor_family_of({"rows", "cols", "bytes"}, "softmax")
        'cpu_elementwise'
    """
    if op.startswith(("gemm", "bgemm")) or op == "conv":
        return "cpu_gemm"
    if op.startswith("attention"):
        return "cpu_attention"
    return "cpu_elementwise" if {"rows", "cols", "bytes"} <= columns and op != "model_forward" else ""


def function_format(name: str) -> str:
    """Give the format that a function's calibration is kept by: what is no narrow float is bound by its bytes alone.

    Example:
        >>> function_format("int64"), function_format("bf16")
        ('', 'bf16')
    """
    return name if name in ("fp16", "bf16") else ""
