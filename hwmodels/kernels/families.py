"""The families of kernels: a formula, its coefficients, the grid of its correction, and what its tables are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwmodels.kernels.attention import AttentionCoefficients, attention_roofline_us, decode_us, prefill_us
from hwmodels.kernels.collectives import SHARES, CollectiveCoefficients, collective_us
from hwmodels.kernels.elementwise import ElementwiseCoefficients, elementwise_roofline_us, elementwise_us
from hwmodels.kernels.gemm import GemmCoefficients, gemm_us, roofline_us
from hwmodels.kernels.machine import Machine
from hwmodels.kernels.records import Array, Attention, Collective, Elementwise, Gemm

__all__ = ["FAMILIES", "Family", "family_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One formula and what goes with it.

    Attributes:
        name: As the tables are called.
        coefficients: The dataclass of its coefficients; their defaults are where a fit starts.
        time_us: (record, machine, coefficients, kernel) to time [us].
        roofline_us: (record, machine, kernel) to the data sheet's time [us].
        counts: Gaussians of the correction, by feature.
        columns: Numeric columns of a table that the record takes.
        few: Coefficients that a handful of measurements on a new device may turn.
    """

    name: str
    coefficients: Callable[..., Any]
    time_us: Callable[[Any, Machine | None, Any, str], Array]
    roofline_us: Callable[[Any, Machine | None, str], Array]
    counts: tuple[int, ...]
    columns: tuple[str, ...]
    few: tuple[str, ...]

    def record(self, columns: dict[str, Array], a_format: str, w_format: str) -> Any:
        """Make the record of rows that share a pair of formats."""
        if self.name == "gemm":
            return Gemm(**columns, a_format=a_format, w_format=w_format)
        if self.name == "elementwise":
            return Elementwise(rows=columns["rows"], cols=columns["cols"], least=columns["bytes"])
        if self.name == "collective":
            local = columns["devices_per_node"]
            nodes = np.where(np.isfinite(local), columns["num_gpus"] / np.maximum(local, 1), 1.0)
            return Collective(size=columns["bytes"], devices=columns["num_gpus"], nodes=nodes)
        return Attention(**columns, a_format=a_format, kv_format=w_format)


ATTENTION = ("batch", "q_len", "kv_len", "heads", "kv_heads", "head_dim", "causal")
BUS = 300.0
"""Bus bandwidth of the naive figure: one direction of NVLink 3 [GB/s]."""

FAMILIES = {
    family.name: family
    for family in (
        Family(
            name="gemm",
            coefficients=GemmCoefficients,
            time_us=lambda record, machine, c, kernel: gemm_us(record, machine, c),  # type: ignore[arg-type]
            roofline_us=lambda record, machine, kernel: roofline_us(record, machine),  # type: ignore[arg-type]
            counts=(6, 5, 5),
            columns=("batch", "m", "n", "k"),
            few=("t0_us", "compute", "memory", "ramp_us", "l2_bytes_per_flop", "blend"),
        ),
        Family(
            name="elementwise",
            coefficients=ElementwiseCoefficients,
            time_us=lambda record, machine, c, kernel: elementwise_us(record, machine, c),  # type: ignore[arg-type]
            roofline_us=lambda record, machine, kernel: elementwise_roofline_us(record, machine),  # type: ignore[arg-type]
            counts=(5, 3),
            columns=("rows", "cols", "bytes"),
            few=("t0_us", "memory"),
        ),
        Family(
            name="attention_prefill",
            coefficients=AttentionCoefficients,
            time_us=lambda record, machine, c, kernel: prefill_us(record, machine, c),  # type: ignore[arg-type]
            roofline_us=lambda record, machine, kernel: attention_roofline_us(record, machine),  # type: ignore[arg-type]
            counts=(6, 7, 3, 2),
            columns=ATTENTION,
            few=("t0_us", "compute", "memory"),
        ),
        Family(
            name="attention_decode",
            coefficients=AttentionCoefficients,
            time_us=lambda record, machine, c, kernel: decode_us(record, machine, c),  # type: ignore[arg-type]
            roofline_us=lambda record, machine, kernel: attention_roofline_us(record, machine),  # type: ignore[arg-type]
            counts=(6, 6, 3, 2),
            columns=ATTENTION,
            few=("t0_us", "block_gb_per_s", "memory"),
        ),
        Family(
            name="collective",
            coefficients=CollectiveCoefficients,
            time_us=lambda record, machine, c, kernel: collective_us(record, SHARES[kernel], c),
            roofline_us=lambda record, machine, kernel: SHARES[kernel] * record.size / (BUS * 1e3),
            counts=(9, 3, 2),
            columns=("num_gpus", "devices_per_node", "bytes"),
            few=("t0_us", "bus_gb_per_s"),
        ),
    )
}
"""The families by name."""


def family_of(columns: set[str], op: str) -> str:
    """Say which family a row of a table belongs to, by its operation and columns; "": none."""
    if op in ("gemm", "bgemm"):
        return "gemm"
    if op in ("attention_prefill", "attention_decode"):
        return op
    if op in SHARES:
        return "collective"
    return "elementwise" if {"rows", "cols", "bytes"} <= columns else ""
