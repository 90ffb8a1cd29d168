"""Kernels as arrays: one record holds many kernels of one family and one pair of formats."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from workloads.errors import SpecError

__all__ = [
    "Array",
    "Attention",
    "Collective",
    "Elementwise",
    "Gemm",
    "Places",
    "Record",
    "element_bytes",
    "log2",
    "some",
]

Array = NDArray[np.float64]
Places = NDArray[np.int64]

BYTES = {"fp32": 4.0, "tf32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "fp4": 0.5}
STORED = re.compile(r"(?:int|lut)([2-8])")
SPARSE = re.compile(r"(.+)_(\d+):(\d+)")


def element_bytes(name: str) -> float:
    """Give the bytes of one element of a format, as the measured tables spell it.

    "int3" and the like are packed; "lut4" are indices of 4 bit into a table per channel (16 values of 16 bit for each
    output feature, which this leaves out); "fp16_2:4" are the two of four values that are kept, with their places.

    Raises:
        SpecError: A format that no kernel model knows.

    Example:
        >>> element_bytes("int4"), element_bytes("fp16_2:4")
        (0.5, 1.125)
    """
    if name in BYTES:
        return BYTES[name]
    if stored := STORED.fullmatch(name):
        return int(stored[1]) / 8
    if sparse := SPARSE.fullmatch(name):
        kept, among = int(sparse[2]), int(sparse[3])
        return kept * (element_bytes(sparse[1]) + math.ceil(math.log2(among)) / 8) / among
    raise SpecError(f"no kernel model for the format {name!r}; known: {', '.join(BYTES)}, int2 to int8, lut2 to lut8")


def log2(*columns: Array) -> Array:
    """Put columns of counts side by side as logarithms, shape (rows, columns)."""
    return np.log2(np.maximum(np.column_stack(columns), 1e-9))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm:
    """Products of (m, k) by (k, n), `batch` at a time; arrays of shape (rows,).

    Attributes:
        batch: Independent products in one kernel.
        m: Tokens of a linear layer.
        n: Output features.
        k: Input features.
        a_format: Of the activations: "bf16", "int8", "fp8".
        w_format: Of the weights; narrower than 8-bit activations' is unpacked to `a_format`.
        hot: Of the least bytes those that lie in the last-level cache [B]; None: repeats in a loop find what fits.
    """

    batch: Array
    m: Array
    n: Array
    k: Array
    a_format: str
    w_format: str
    hot: Array | None = None

    def flops(self) -> Array:
        """Two per multiply-add."""
        return 2 * self.batch * self.m * self.n * self.k

    def least_bytes(self) -> Array:
        """Each operand read once, the result written once in no less than 16 bit [B]."""
        a, w = element_bytes(self.a_format), element_bytes(self.w_format)
        m, n, k = self.m, self.n, self.k
        table = 2.0 * 2 ** int(self.w_format[3:]) if self.w_format.startswith("lut") else 0.0
        return self.batch * (m * k * a + k * n * w + n * table + m * n * max(a, 2.0))

    def features(self) -> Array:
        """What a correction of the formula may depend on: logarithms of m, n, k."""
        return log2(self.m * self.batch, self.n, self.k)


@dataclass(frozen=True, slots=True, kw_only=True)
class Elementwise:
    """Kernels over a (rows, cols) tensor; `least` is each input read once and each output written once [B].

    `hot` is what of it lies in the last-level cache [B]; None: repeats in a loop find what fits.
    """

    rows: Array
    cols: Array
    least: Array
    hot: Array | None = None

    def features(self) -> Array:
        """Logarithms of the bytes and of the length of a row."""
        return log2(self.least, self.cols)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Fused attention: a prompt, or one query token per sequence against a cache; arrays of shape (rows,).

    `kv_len` counts the new tokens too; `causal` is 1 where a query sees only what is before it. `hot` is what of the
    operands lies in the last-level cache [B]; None: repeats in a loop find what fits. `page` is how many tokens of a
    cache lie together; None: as many as where it was measured.
    """

    batch: Array
    q_len: Array
    kv_len: Array
    heads: Array
    kv_heads: Array
    head_dim: Array
    causal: Array
    a_format: str
    kv_format: str
    hot: Array | None = None
    page: Array | None = None

    def pairs(self) -> Array:
        """Attended pairs of a query and a key, of one head."""
        return self.q_len * self.kv_len - self.causal * self.q_len * (self.q_len - 1) / 2

    def flops(self) -> Array:
        """Scores and context: four per pair and element of a head."""
        return 4 * self.batch * self.heads * self.head_dim * self.pairs()

    def kv_bytes(self) -> Array:
        """Keys and values, read once [B]."""
        return 2 * self.batch * self.kv_heads * self.kv_len * self.head_dim * element_bytes(self.kv_format)

    def query_bytes(self) -> Array:
        """Queries read, results written [B]."""
        return 2 * self.batch * self.heads * self.q_len * self.head_dim * element_bytes(self.a_format)

    def features(self) -> Array:
        """Logarithms of sequences x heads, length, queries that share a key, head dim."""
        group = self.heads / self.kv_heads
        return log2(self.batch * self.kv_heads, self.kv_len, group, self.head_dim)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collective:
    """Messages of `size` bytes a device among `devices` of them, `nodes` groups apart."""

    size: Array
    devices: Array
    nodes: Array

    def features(self) -> Array:
        """Logarithms of the message, of the devices and of the nodes."""
        return log2(self.size, self.devices, self.nodes)


Record = Gemm | Elementwise | Attention | Collective
"""What the formulas take."""

R = TypeVar("R", Gemm, Elementwise, Attention, Collective)


def some(record: R, chosen: NDArray[Any]) -> R:
    """Keep some kernels of a record: places, or a mask."""
    taken = {item.name: getattr(record, item.name) for item in fields(record)}
    return replace(record, **{name: value[chosen] for name, value in taken.items() if isinstance(value, np.ndarray)})


Columns = Mapping[str, NDArray[np.object_]]
