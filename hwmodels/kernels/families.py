"""The families of kernels: a formula, its coefficients, the reach of its correction, and what its tables are called."""

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
from workloads.errors import SpecError

__all__ = ["FAMILIES", "Family", "family_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One formula and what goes with it.

    Attributes:
        name: As the tables are called.
        coefficients: The dataclass of its coefficients; their defaults are where a fit starts.
        time_us: (record, machine, coefficients, kernel) to time [us].
        roofline_us: (record, machine, kernel) to the data sheet's time [us].
        columns: Numeric columns of a table that the record takes.
        few: Coefficients that a handful of measurements on a new device may turn.
        corrections: Lengths of the correction by feature, in doublings, from wide to narrow; a fit chooses among them,
            none, and the formula with few coefficients. (): rows are too few for a correction.
    """

    name: str
    coefficients: Callable[..., Any]
    time_us: Callable[[Any, Machine | None, Any, str], Array]
    roofline_us: Callable[[Any, Machine | None, str], Array]
    columns: tuple[str, ...]
    few: tuple[str, ...]
    corrections: tuple[tuple[float, ...], ...] = ()

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


def _on(machine: Machine | None) -> Machine:
    """Give the machine of kernels that need one.

    Raises:
        SpecError: There is none.
    """
    if machine is None:
        raise SpecError("these kernels need a GPU: hwmodels.kernels.machine gives one by name or device file")
    return machine


def _gemm(record: Gemm, machine: Machine | None, c: GemmCoefficients, kernel: str) -> Array:
    return gemm_us(record, _on(machine), c)


def _gemm_roofline(record: Gemm, machine: Machine | None, kernel: str) -> Array:
    return roofline_us(record, _on(machine))


def _elementwise(record: Elementwise, machine: Machine | None, c: ElementwiseCoefficients, kernel: str) -> Array:
    return elementwise_us(record, _on(machine), c)


def _elementwise_roofline(record: Elementwise, machine: Machine | None, kernel: str) -> Array:
    return elementwise_roofline_us(record, _on(machine))


def _prefill(record: Attention, machine: Machine | None, c: AttentionCoefficients, kernel: str) -> Array:
    return prefill_us(record, _on(machine), c)


def _decode(record: Attention, machine: Machine | None, c: AttentionCoefficients, kernel: str) -> Array:
    return decode_us(record, _on(machine), c)


def _attention_roofline(record: Attention, machine: Machine | None, kernel: str) -> Array:
    return attention_roofline_us(record, _on(machine))


def _collective(record: Collective, machine: Machine | None, c: CollectiveCoefficients, kernel: str) -> Array:
    return collective_us(record, SHARES[kernel], c)


def _collective_roofline(record: Collective, machine: Machine | None, kernel: str) -> Array:
    return np.asarray(SHARES[kernel] * record.size / (BUS * 1e3))


FAMILIES = {
    family.name: family
    for family in (
        Family(
            name="gemm",
            coefficients=GemmCoefficients,
            time_us=_gemm,
            roofline_us=_gemm_roofline,
            columns=("batch", "m", "n", "k"),
            few=("t0_us", "compute", "memory", "ramp_us", "l2_bytes_per_flop", "blend"),
            corrections=((4.0, 5.0, 5.0), (2.0, 3.0, 3.0), (2.0, 2.0, 2.0)),
        ),
        Family(
            name="elementwise",
            coefficients=ElementwiseCoefficients,
            time_us=_elementwise,
            roofline_us=_elementwise_roofline,
            columns=("rows", "cols", "bytes"),
            few=("t0_us", "memory"),
            corrections=((4.0, 4.0), (2.0, 3.0), (1.0, 2.0)),
        ),
        Family(
            name="attention_prefill",
            coefficients=AttentionCoefficients,
            time_us=_prefill,
            roofline_us=_attention_roofline,
            columns=ATTENTION,
            few=("t0_us", "compute", "memory"),
            corrections=((4.0, 4.0, 3.0, 2.0), (3.0, 2.0, 3.0, 2.0)),
        ),
        Family(
            name="attention_decode",
            coefficients=AttentionCoefficients,
            time_us=_decode,
            roofline_us=_attention_roofline,
            columns=ATTENTION,
            few=("t0_us", "block_gb_per_s", "memory"),
            corrections=((4.0, 4.0, 3.0, 2.0), (3.0, 2.0, 3.0, 2.0)),
        ),
        Family(
            name="collective",
            coefficients=CollectiveCoefficients,
            time_us=_collective,
            roofline_us=_collective_roofline,
            columns=("num_gpus", "devices_per_node", "bytes"),
            few=("t0_us", "bus_gb_per_s"),
            corrections=((4.0, 2.0, 2.0), (2.0, 1.0, 1.0), (1.0, 0.5, 0.5)),
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
