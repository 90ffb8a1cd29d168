"""The operator model: a loop nest, and tensors whose axes are sums of its dims.

FLOPs, bytes and footprints of every operator kind follow from `dims` and `axes` in this one place; no kind has formulas
of its own. Every number may be one value or an array of design points of shape (n_points,).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workloads.errors import WorkloadError
from workloads.formats import Code, format_code
from workloads.positions import distinct_positions
from workloads.quick import quick

__all__ = ["FREE_KINDS", "PATTERNS", "Axis", "Num", "Operator", "Role", "Tensor", "axis", "is_batch", "pattern_code"]

_FP32 = format_code("fp32")

Num = float | NDArray[Any]
"""One value, or a batch of design points: shape (n_points,)."""

Role = Literal["weight", "activation", "kv_cache"]

FREE_KINDS = frozenset({"view", "control"})
"""Kinds that cost nothing: a view shares memory; control stands for bodies that are other operators or workloads."""

PATTERNS: tuple[str, ...] = ("dense", "unstructured", "1:4", "2:4", "block", "dense_and_sparse")
"""Sparsity patterns; `Tensor.pattern` is a code into this table."""


def pattern_code(name: str) -> int:
    """Look up the code of a sparsity pattern.

    Example:
        >>> pattern_code("2:4")
        3

    Raises:
        WorkloadError: The name is not in the table.
    """
    if name not in PATTERNS:
        raise WorkloadError(f"unknown sparsity pattern {name!r}; known: {', '.join(PATTERNS)}")
    return PATTERNS.index(name)


def _is(value: object, scalar: float) -> bool:
    """Say whether a number is that scalar: an array operation saved on the hot path."""
    return not isinstance(value, np.ndarray) and value == scalar


def is_batch(value: object) -> bool:
    """Say whether a number is a batch of design points rather than one value."""
    return isinstance(value, np.ndarray) and value.ndim > 0


@quick
@dataclass(frozen=True, slots=True)
class Axis:
    """One tensor axis as an affine function of loop dims: index = offset + sum(coefficient x dim).

    Attributes:
        terms: (coefficient, dim name) pairs. None: the axis is read whole, whatever the dims are (extent values).
        offset: Constant part of the index; -padding for a convolution.
        extent: Stored length; indices outside [0, extent) are padding and never read. None: what the dims reach.
    """

    terms: tuple[tuple[int, str], ...] = ()
    offset: int = 0
    extent: Num | None = None

    def footprint(self, dims: Mapping[str, Num]) -> Num:
        """Count the distinct stored indices that the given dims (or tile of dims) touch.

        Example:
            >>> axis((2, "p"), (1, "r"), offset=-1, extent=8).footprint({"p": 4, "r": 3})
            8
        """
        if not self.terms:
            return 1 if self.extent is None else self.extent
        if len(self.terms) == 1 and self.offset == 0 and self.extent is None:
            return dims[self.terms[0][1]]
        if self.extent is None and self._is_mixed_radix(dims):
            return math.prod(dims[name] for _, name in self.terms)
        return self._counted(dims)

    def _is_mixed_radix(self, dims: Mapping[str, Num]) -> bool:
        """Say whether the terms are digits of one number (h * head_dim + d): then the footprint is their product."""
        reach = 1
        for coefficient, name in sorted(self.terms, key=lambda term: term[0]):
            if coefficient != reach:
                return False
            size = dims[name]
            if is_batch(size):
                reach = -1  # only the outermost digit may be a batch
            else:
                reach *= int(size)
        return True

    def _counted(self, dims: Mapping[str, Num]) -> Num:
        sizes = [dims[name] for _, name in self.terms]
        bounds = [*sizes, self.extent]
        coefficients = tuple([coefficient for coefficient, _ in self.terms])
        if any(map(is_batch, bounds)):
            rows = np.broadcast_arrays(*[np.asarray(-1 if bound is None else bound) for bound in bounds])
            unique, inverse = np.unique(np.stack(rows, axis=-1).reshape(-1, len(bounds)), axis=0, return_inverse=True)
            counts = [
                distinct_positions(coefficients, tuple(int(v) for v in row[:-1]), self.offset, int(row[-1]))
                for row in unique
            ]
            return np.asarray(counts, dtype=float)[inverse.reshape(rows[0].shape)]
        extent = -1 if self.extent is None else int(self.extent)  # no batch here
        return distinct_positions(coefficients, tuple(map(int, sizes)), self.offset, extent)

    def length(self, dims: Mapping[str, Num]) -> Num:
        """Give the stored length of the axis: its extent, or what the whole nest reaches."""
        return self.footprint(dims) if self.extent is None else self.extent


def axis(*terms: str | tuple[int, str], offset: int = 0, extent: Num | None = None) -> Axis:
    """Write an axis: `axis("m")`, `axis((2, "p"), "r", offset=-1, extent=224)`, `axis(extent=768)` (read whole).

    Example:
        >>> axis("m").terms
        ((1, 'm'),)
    """
    pairs = tuple([(1, term) if isinstance(term, str) else term for term in terms])
    return Axis(pairs, offset, extent)


@quick
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensor:
    """One tensor as one operator sees it.

    Attributes:
        name: Edge name, unique in the workload.
        axes: One `Axis` per dimension, in terms of the operator's dims.
        role: weight, activation or kv_cache.
        bits: True stored width of one value [bit].
        format: Code of the number format.
        density: Fraction of the values that is stored.
        overhead_bits: Scales, zero points, indices, per value of the dense tensor [bit].
        pattern: Code of the sparsity pattern.
        touched: Expected fraction that is read: embedding rows, MoE experts, paged KV.
    """

    name: str
    axes: tuple[Axis, ...]
    role: Role = "activation"
    bits: Num = 32
    format: Code = _FP32
    density: Num = 1.0
    overhead_bits: Num = 0.0
    pattern: Code = 0
    touched: Num = 1.0

    def values(self, dims: Mapping[str, Num]) -> Num:
        """Count the distinct values that the given dims (or tile of dims) touch."""
        return math.prod(item.footprint(dims) for item in self.axes)

    def bits_per_value(self) -> Num:
        """Give the stored bits per dense value: density x bits + overhead [bit]."""
        stored = self.bits if _is(self.density, 1) else self.density * self.bits
        return stored if _is(self.overhead_bits, 0) else stored + self.overhead_bits

    def bytes(self, dims: Mapping[str, Num]) -> Num:
        """Give the bytes that the given dims move, each value once [B]."""
        return self.values(dims) * (self.touched / 8) * self.bits_per_value()  # scalars first: fewer array operations

    def stored_bytes(self, dims: Mapping[str, Num]) -> Num:
        """Give the bytes that the whole tensor occupies [B]."""
        return math.prod(item.length(dims) for item in self.axes) / 8 * self.bits_per_value()

    def shape(self, dims: Mapping[str, Num]) -> tuple[Num, ...]:
        """Give the stored shape."""
        return tuple(item.length(dims) for item in self.axes)


@quick
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operator:
    """One operator of a workload: a loop nest over `dims` that reads `inputs` and writes `outputs`.

    Attributes:
        name: Unique in the workload.
        op_type: What the source calls it: an ONNX op type, or the name of a collapsed chain.
        kind: matmul, conv, softmax, norm, gelu, elementwise, reduce, gather, move, view, control, convert.
        block: Where it sits, by structure: "layer.3.ffn.up".
        nodes: Names of the ONNX nodes that it stands for.
        dims: The loop nest: dim name to size.
        inputs: Tensors that are read.
        outputs: Tensors that are written.
        flops_per_point: FLOPs per point of the nest: 2 for multiply-add; 0 for data movement.
        format: Code of the arithmetic format.
        acc_bits: Accumulator width [bit].
        count: Expected executions.
    """

    name: str
    op_type: str
    kind: str
    dims: Mapping[str, Num]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    block: str = ""
    nodes: tuple[str, ...] = ()
    flops_per_point: Num = 2.0
    format: Code = _FP32
    acc_bits: Num = 32
    count: Num = 1

    def points(self) -> Num:
        """Count the points of the loop nest (MACs of a matrix product)."""
        return math.prod(self.dims.values())

    def flops(self) -> Num:
        """Count FLOPs of one execution, dense-equivalent; a multiply-add is two."""
        return self.flops_per_point * self.points()

    def tensors(self) -> tuple[Tensor, ...]:
        """Give inputs, then outputs."""
        return self.inputs + self.outputs

    def in_block(self, block: str) -> Operator:
        """Give the same operator in a block: `replace` takes four times as long, and every load does it to them all."""
        return Operator(
            name=self.name, op_type=self.op_type, kind=self.kind, dims=self.dims, inputs=self.inputs,
            outputs=self.outputs, block=block, nodes=self.nodes, flops_per_point=self.flops_per_point,
            format=self.format, acc_bits=self.acc_bits, count=self.count,
        )  # fmt: skip

    def dram_bytes(self) -> Num:
        """Give the least bytes of one execution: every input read once, every output written once [B]."""
        if self.kind in FREE_KINDS:
            return 0.0
        read = {tensor.name: tensor for tensor in reversed(self.inputs)}  # x * x reads x once
        return sum(tensor.bytes(self.dims) for tensor in (*read.values(), *self.outputs))

    def signature(self) -> Hashable:
        """Give the hashable identity of a scalar operator: what it costs, not what it is called.

        Raises:
            WorkloadError: The operator holds a batch; a batch has no identity.
        """
        if any(is_batch(size) for size in self.dims.values()):
            raise WorkloadError(_NO_SIGNATURE.format(self.name))
        return (
            self.kind,
            tuple(self.dims.items()),
            _scalars(self, "flops_per_point", "format", "acc_bits", "count"),
            tuple(_tensor_signature(tensor) for tensor in self.inputs),
            tuple(_tensor_signature(tensor) for tensor in self.outputs),
        )


_NO_SIGNATURE = "{}: a batch of design points has no signature; take one row of it first"


def _tensor_signature(tensor: Tensor) -> Hashable:
    if any(is_batch(item.extent) for item in tensor.axes):
        raise WorkloadError(_NO_SIGNATURE.format(tensor.name))
    return (
        tensor.axes,
        tensor.role,
        _scalars(tensor, "bits", "format", "density", "overhead_bits", "pattern", "touched"),
    )


def _scalars(record: Operator | Tensor, *names: str) -> tuple[float, ...]:
    values = tuple(getattr(record, name) for name in names)
    if any(is_batch(value) for value in values):
        raise WorkloadError(_NO_SIGNATURE.format(record.name))
    return values
