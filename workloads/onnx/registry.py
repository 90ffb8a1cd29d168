"""Which handler describes which ONNX operator: the literal table."""

from __future__ import annotations

from collections.abc import Callable

from workloads.onnx import elementwise, movement, products, quantized
from workloads.onnx.builder import Builder, Node
from workloads.opcounts import ACTIVATIONS, ELEMENTWISE, NORMS, REDUCTIONS

__all__ = ["HANDLERS", "Handler"]

Handler = Callable[[Node, Builder], None]
"""Reads the node's input values from the builder, puts its output values, and emits operators."""

_CHANNEL_NORMS = ("BatchNormalization", "GroupNormalization", "InstanceNormalization")
_GLOBAL_POOLS = ("GlobalAveragePool", "GlobalMaxPool")

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(ELEMENTWISE, elementwise.elementwise),
    **dict.fromkeys(ACTIVATIONS, elementwise.activation),
    **dict.fromkeys(NORMS, elementwise.norm),
    **dict.fromkeys(_CHANNEL_NORMS, elementwise.batch_norm),
    **dict.fromkeys(REDUCTIONS, elementwise.reduce),
    **dict.fromkeys(_GLOBAL_POOLS, elementwise.global_pool),
    "AveragePool": products.pool,
    "Cast": elementwise.cast,
    "CastLike": elementwise.cast,
    "Concat": movement.concat,
    "Conv": products.conv,
    "DequantizeLinear": quantized.dequantize_linear,
    "Dropout": movement.identity,
    "DynamicQuantizeLinear": quantized.dynamic_quantize,
    "Expand": movement.expand,
    "Flatten": movement.flatten,
    "Gather": movement.gather,
    "GatherElements": movement.gather_nd,
    "GatherND": movement.gather_nd,
    "Gemm": products.gemm,
    "Identity": movement.identity,
    "LogSoftmax": elementwise.softmax,
    "MatMul": products.matmul,
    "MatMulInteger": products.matmul_integer,
    "MatMulNBits": quantized.matmul_nbits,
    "MaxPool": products.pool,
    "Pad": movement.pad,
    "QuantizeLinear": quantized.quantize_linear,
    "Range": movement.range_,
    "Reshape": movement.reshape,
    "Resize": movement.resize,
    "ScatterElements": movement.scatter,
    "ScatterND": movement.scatter,
    "Slice": movement.slice_,
    "Softmax": elementwise.softmax,
    "Split": movement.split,
    "Squeeze": movement.squeeze,
    "Tile": movement.tile,
    "Transpose": movement.transpose,
    "Trilu": movement.trilu,
    "Unsqueeze": movement.unsqueeze,
    "Upsample": movement.resize,
}
"""ONNX op type (default domain, and com.microsoft where the name is its own) to handler."""
