"""Kernels on a CPU: products, functions over a tensor, fused attention; arithmetic beside traffic by cache level.

A product takes its FLOPs, with rows, columns and depth filled up to what the inner kernel takes, and what it costs to
pack, quantize or unpack each operand and to write each result, in FLOPs of the same ceiling. A function takes so many
values a second, and a constant per row for its reductions. Operands come from the cache level that holds what was
touched since their last use. More threads share everything but a serial part, and the memory with each other.

Source: the roofline with a ceiling per level, Ilic, Pratas, Sousa, Cache-aware Roofline model, IEEE CAL 2014; packing
as in Goto and van de Geijn, Anatomy of high-performance matrix multiplication, ACM TOMS 2008; Amdahl's law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwmodels.kernels.processors import Processor
from hwmodels.kernels.records import Array, element_bytes, log2

__all__ = [
    "CpuAttention",
    "CpuAttentionCoefficients",
    "CpuFunction",
    "CpuFunctionCoefficients",
    "CpuProduct",
    "CpuProductCoefficients",
    "attention_us",
    "ceilings_attention_us",
    "ceilings_function_us",
    "ceilings_product_us",
    "function_us",
    "product_us",
]

COLUMNS = 16  # of a result that an inner kernel of 256-bit vectors computes at once
RESULT_BYTES = 4.0  # sums leave a product in 32 bit

KINDS = {
    "softmax": ("softmax", 5.0), "layernorm": ("norm", 7.0), "skip_layernorm": ("norm", 8.0), "rmsnorm": ("norm", 4.0),
    "skip_rmsnorm": ("norm", 5.0), "gelu": ("gelu", 5.0), "bias_gelu": ("gelu", 6.0), "fast_gelu": ("gelu", 5.0),
    "dynamic_quantize": ("convert", 5.0), "quantize": ("convert", 5.0), "dequantize": ("convert", 2.0),
}  # fmt: skip
"""Ceiling of an operation and its FLOPs per value, as `workloads.opcounts` counts them; others: element-wise, 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuProduct:
    """Products of (m, k) by (k, n), `batch` at a time; arrays of shape (rows,).

    Attributes:
        batch: Independent products.
        m: Rows.
        n: Columns.
        k: Summed over.
        threads: Of the library.
        reuse: Bytes touched since the right operand was last used [B].
        a_format: Of the left operand as it is multiplied: "fp32", "int8".
        w_format: Of the right one.
    """

    batch: Array
    m: Array
    n: Array
    k: Array
    threads: Array
    reuse: Array
    a_format: str
    w_format: str

    def flops(self) -> Array:
        """Two per multiply-add."""
        return 2 * self.batch * self.m * self.n * self.k

    def right_bytes(self) -> Array:
        """Of the right operand [B]."""
        return self.batch * self.k * self.n * element_bytes(self.w_format)

    def other_bytes(self) -> Array:
        """Of the left operand and the result [B]."""
        return self.batch * self.m * (self.k * element_bytes(self.a_format) + self.n * RESULT_BYTES)

    def features(self) -> Array:
        """Logarithms of rows, columns, depth."""
        return log2(self.m * self.batch, self.n, self.k)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuFunction:
    """Functions over a (rows, cols) tensor; `least` is each input read and each output written once [B]."""

    rows: Array
    cols: Array
    least: Array
    threads: Array
    reuse: Array

    def features(self) -> Array:
        """Logarithms of the values and of a row's length."""
        return log2(self.rows * self.cols, self.cols)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuAttention:
    """Fused attention as in `records.Attention`, on so many threads."""

    batch: Array
    q_len: Array
    kv_len: Array
    heads: Array
    kv_heads: Array
    head_dim: Array
    causal: Array
    threads: Array
    reuse: Array
    a_format: str
    kv_format: str

    def pairs(self) -> Array:
        """Scores of all heads, those that a mask hides left out."""
        seen = self.q_len * self.kv_len - self.causal * self.q_len * (self.q_len - 1) / 2
        return self.batch * self.heads * seen

    def cache_bytes(self) -> Array:
        """Keys and values [B]."""
        return 2 * self.batch * self.kv_heads * self.kv_len * self.head_dim * element_bytes(self.kv_format)

    def features(self) -> Array:
        """Logarithms of heads, queries, keys, head dim."""
        return log2(self.batch * self.heads, self.q_len, self.kv_len, self.head_dim)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuProductCoefficients:
    """Of one library's products in one pair of formats.

    Attributes:
        t0_us: Of the smallest product [us].
        compute: Share of the ceiling.
        row_loss: Rows that a product of any size costs beyond its own.
        depth_loss: Steps of k, likewise.
        left: To pack or quantize a value of the left operand [FLOP].
        right: To pack or unpack one of the right operand [FLOP].
        out: To write one of the result [FLOP].
        memory: Share of the measured bandwidths.
        blend: How far traffic and arithmetic fail to overlap: 0 the longer of them, 1 their sum.
        serial: Share of the work that threads do not share.
        streams: Threads that saturate the memory.
    """

    t0_us: float = 1.0
    compute: float = 0.9
    row_loss: float = 0.5
    depth_loss: float = 5.0
    left: float = 2.0
    right: float = 2.0
    out: float = 10.0
    memory: float = 0.8
    blend: float = 0.3
    serial: float = 0.03
    streams: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuFunctionCoefficients:
    """Of one library's function.

    Attributes:
        t0_us: Of the smallest tensor [us].
        value: Of one value, in FLOPs of the ceiling of its kind beyond those counted.
        row: Of one row, in values.
        memory: Share of the measured bandwidths.
        blend: As of products.
        serial: As of products.
        streams: As of products.
    """

    t0_us: float = 1.0
    value: float = 1.0
    row: float = 20.0
    memory: float = 0.8
    blend: float = 0.3
    serial: float = 0.03
    streams: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuAttentionCoefficients:
    """Of one library's fused attention.

    Attributes:
        t0_us: Of the smallest [us].
        compute: Share of the ceiling of products.
        row_loss: Rows of a tile that every head costs beyond its own.
        score: Of the softmax of one score, relative to the ceiling of softmax.
        memory: Share of the measured bandwidths.
        blend: As of products.
        serial: As of products.
        streams: As of products.
    """

    t0_us: float = 5.0
    compute: float = 0.7
    row_loss: float = 2.0
    score: float = 0.5
    memory: float = 0.8
    blend: float = 0.3
    serial: float = 0.03
    streams: float = 2.0


def product_us(record: CpuProduct, cpu: Processor, c: CpuProductCoefficients) -> Array:
    """Predict the time of products, shape (rows,) [us]."""
    r = record
    filled = np.ceil(r.n / COLUMNS) * COLUMNS
    work = 2 * (r.m + c.row_loss) * filled * (r.k + c.depth_loss)
    work = r.batch * (work + c.left * r.m * r.k + c.right * r.k * r.n + c.out * r.m * r.n)
    busy = work / (c.compute * cpu.peak(r.a_format)) * 1e6 * _shared(r.threads, c.serial)
    far = _reused(r.reuse, r.right_bytes() + r.other_bytes())
    move = r.right_bytes() * cpu.seconds_per_byte(far) + r.other_bytes() * cpu.seconds_per_byte(r.other_bytes())
    return c.t0_us + _blended(busy, move / c.memory * 1e6 / np.minimum(r.threads, c.streams), c.blend)


def function_us(record: CpuFunction, cpu: Processor, c: CpuFunctionCoefficients, op: str) -> Array:
    """Predict the time of functions over tensors, shape (rows,) [us]."""
    r = record
    kind, flops = KINDS.get(op, ("elementwise", 1.0))
    values = r.rows * (r.cols + c.row)
    busy = values * c.value * flops / _ceiling(cpu, kind) * 1e6 * _shared(r.threads, c.serial)
    move = r.least * cpu.seconds_per_byte(_reused(r.reuse, r.least)) / c.memory * 1e6
    return c.t0_us + _blended(busy, move / np.minimum(r.threads, c.streams), c.blend)


def attention_us(record: CpuAttention, cpu: Processor, c: CpuAttentionCoefficients) -> Array:
    """Predict the time of fused attention, shape (rows,) [us]."""
    r = record
    filled = r.pairs() * (r.q_len + c.row_loss) / r.q_len
    products = 4 * filled * r.head_dim / (c.compute * cpu.peak(r.a_format))
    softmax = c.score * KINDS["softmax"][1] * filled / _ceiling(cpu, "softmax")
    busy = (products + softmax) * 1e6 * _shared(r.threads, c.serial)
    move = r.cache_bytes() * cpu.seconds_per_byte(_reused(r.reuse, r.cache_bytes())) / c.memory * 1e6
    return c.t0_us + _blended(busy, move / np.minimum(r.threads, c.streams), c.blend)


def ceilings_product_us(record: CpuProduct, cpu: Processor) -> Array:
    """Give the longer of computing at the ceiling and moving at the memory's bandwidth, and a launch [us]."""
    moved = record.right_bytes() + record.other_bytes()
    busy = record.flops() / cpu.peak(record.a_format)
    return np.asarray(cpu.launch_us + np.maximum(busy, moved / cpu.dram_bytes_per_s) / record.threads * 1e6)


def ceilings_function_us(record: CpuFunction, cpu: Processor, op: str) -> Array:
    """Give the same of functions [us]."""
    kind, flops = KINDS.get(op, ("elementwise", 1.0))
    busy = flops * record.rows * record.cols / _ceiling(cpu, kind)
    return np.asarray(cpu.launch_us + np.maximum(busy, record.least / cpu.dram_bytes_per_s) / record.threads * 1e6)


def ceilings_attention_us(record: CpuAttention, cpu: Processor) -> Array:
    """Give the same of fused attention [us]."""
    busy = 4 * record.pairs() * record.head_dim / cpu.peak(record.a_format)
    busy = busy + KINDS["softmax"][1] * record.pairs() / _ceiling(cpu, "softmax")
    return np.asarray(
        cpu.launch_us + np.maximum(busy, record.cache_bytes() / cpu.dram_bytes_per_s) / record.threads * 1e6
    )


def _ceiling(cpu: Processor, kind: str) -> float:
    return cpu.vector.get(kind, cpu.vector["elementwise"])


def _shared(threads: Array, serial: float) -> Array:
    return serial + (1 - serial) / threads


def _reused(reuse: Array, own: Array) -> Array:
    """Give the bytes since the last use: in a loop of one kernel its own operands, unless the table says more."""
    return np.where(np.isfinite(reuse), np.maximum(reuse, own), own)


def _blended(a: Array, b: Array, blend: float) -> Array:
    return np.asarray(0.5 * (a + b + np.sqrt((a - b) ** 2 + 4 * blend * a * b)))
