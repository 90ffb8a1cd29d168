"""What a kernel is called in the measured tables: its operation and sizes, from the arrays that it reads and writes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Columns", "Shaped", "columns_of", "tensor_columns"]

Array = NDArray[Any]

Columns = dict[str, Any]
"""Column name to value: `op`, the sizes of its family, the formats."""

_PRODUCTS = ("MatMul", "FusedMatMul", "Gemm", "FusedGemm", "MatMulInteger", "MatMulIntegerToFloat")
_FUNCTIONS = {
    "Softmax": "softmax",
    "LayerNormalization": "layernorm",
    "SkipLayerNormalization": "skip_layernorm",
    "SimplifiedLayerNormalization": "rmsnorm",
    "RMSNormalization": "rmsnorm",
    "SkipSimplifiedLayerNormalization": "skip_rmsnorm",
    "Gelu": "gelu",
    "BiasGelu": "bias_gelu",
    "FastGelu": "fast_gelu",
    "QuickGelu": "quick_gelu",
    "Erf": "erf",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Relu": "relu",
    "Add": "add",
    "Sub": "add",
    "Mul": "mul",
    "Div": "div",
    "Pow": "pow",
    "Sqrt": "sqrt",
    "Transpose": "transpose",
    "DynamicQuantizeLinear": "dynamic_quantize",
    "QuantizeLinear": "quantize",
    "DequantizeLinear": "dequantize",
    "RotaryEmbedding": "rope",
}
"""Op types to operations that have ceilings of their own."""

_PAIRS = ("Add", "Sub", "Mul", "Div")
_PICKS = ("Gather", "GatherND", "GatherElements", "Slice", "Split", "Expand")  # read what they write, no more
_VIEWS = ("Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity", "Shape", "Size")
_FORMATS = {
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float64": "fp64",
    "int8": "int8",
    "uint8": "int8",
    "int4": "int4",
    "uint4": "int4",
    "int32": "int32",
    "int64": "int64",
    "bool": "bool",
}


@dataclass(frozen=True, slots=True, eq=False)
class Shaped:
    """One kernel with the arrays of its inputs (None: left out) and outputs, and which inputs are weights."""

    op_type: str
    inputs: tuple[Array | None, ...]
    outputs: tuple[Array, ...]
    stored: tuple[bool, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


def columns_of(kernel: Shaped) -> Columns:
    """Give the columns of a kernel.

    Example:
        >>> a, b, c = np.ones((1, 8, 16)), np.ones((16, 4)), np.ones((1, 8, 4))
        >>> columns_of(Shaped("MatMul", (a, b), (c,), (False, True)))["op"]
        'gemm'
    """
    op = kernel.op_type
    if op in _PRODUCTS:
        return _product(kernel, *_operands(kernel, 0, 1), "gemm" if kernel.stored[1] else "bgemm")
    if op == "DynamicQuantizeMatMul":
        return {**_product(kernel, *_operands(kernel, 0, 1), "gemm_dynamic"), "a_dtype": "int8", "w_dtype": "int8"}
    if op in ("QLinearMatMul", "QGemm"):
        return _product(kernel, *_operands(kernel, 0, 3), "gemm_static" if kernel.stored[3] else "bgemm_static")
    if op == "MatMulNBits":
        return _packed(kernel)
    if op == "Conv":
        return _convolution(kernel)
    return _function(kernel)


def _operands(kernel: Shaped, left: int, right: int) -> tuple[Array, Array]:
    a, b = kernel.inputs[left], kernel.inputs[right]
    assert a is not None
    assert b is not None
    return a, b


def _product(kernel: Shaped, a: Array, b: Array, op: str) -> Columns:
    """Take both operands as matrices: rows of a product with a stored operand are all one."""
    out = kernel.outputs[0]
    n = out.shape[-1] if out.ndim else 1
    across = bool(kernel.attributes.get("transA", 0)) and a.ndim > 1
    k = a.shape[-2] if across else a.shape[-1]
    shared = b.ndim <= 2 or math.prod(b.shape[:-2]) == 1
    batch = 1 if shared else math.prod(out.shape[:-2])
    m = out.size // max(n * batch, 1)
    formats = {"a_dtype": _format(a), "w_dtype": _format(b)}
    return {"op": op, "batch": batch, "m": m, "n": n, "k": k, **formats, "kernel": kernel.op_type}


def _packed(kernel: Shaped) -> Columns:
    n, k, bits = (int(kernel.attributes[name]) for name in ("N", "K", "bits"))
    sizes = {"batch": 1, "m": kernel.outputs[0].size // n, "n": n, "k": k}
    accuracy = int(kernel.attributes.get("accuracy_level", 0))
    op = "gemm_nbits" if accuracy != 4 else "gemm_nbits_dynamic"
    return {"op": op, **sizes, "a_dtype": "fp32", "w_dtype": f"int{bits}", "kernel": "MatMulNBits"}


def _convolution(kernel: Shaped) -> Columns:
    """Take a convolution as the product that it unrolls to."""
    weight, out = kernel.inputs[1], kernel.outputs[0]
    assert weight is not None
    groups = int(kernel.attributes.get("group", 1))
    n, k = weight.shape[0] // groups, math.prod(weight.shape[1:])
    sizes = {"batch": groups, "m": out.size // max(n * groups, 1), "n": n, "k": k}
    return {"op": "conv", **sizes, "a_dtype": _format(out), "w_dtype": _format(weight), "kernel": "Conv"}


def _function(kernel: Shaped) -> Columns:
    op = kernel.op_type
    picks = op in _PICKS
    read = {id(array): array.nbytes for array in kernel.inputs if array is not None}
    written = sum(array.nbytes for array in kernel.outputs)
    if op in _VIEWS:
        least = 8
    elif picks:
        least = 2 * written + sum(array.nbytes for array in kernel.inputs[1:] if array is not None)
    else:
        least = sum(read.values()) + written
    reduces = op.startswith("Reduce") or op in ("GlobalAveragePool", "ArgMax")
    shape = kernel.inputs[0].shape if reduces and kernel.inputs[0] is not None else kernel.outputs[0].shape
    name = _named(kernel) or ("view" if op in _VIEWS else "copy" if picks else "reduce" if reduces else "map")
    return tensor_columns(name, shape, least, _format(kernel.outputs[0]), op)


def tensor_columns(op: str, shape: tuple[int, ...], least_bytes: float, a_dtype: str, kernel: str) -> Columns:
    """Give the columns of a function over a tensor of a shape."""
    cols = shape[-1] if shape else 1
    return {
        "op": op,
        "rows": max(math.prod(shape[:-1]), 1),
        "cols": max(cols, 1),
        "bytes": max(least_bytes, 1),
        "a_dtype": a_dtype,
        "kernel": kernel,
    }


def _named(kernel: Shaped) -> str:
    """Give the operation of a function that has ceilings of its own; "": it has none.

    With one operand that is spread over the other, or with the last axis moved, a kernel is another one.
    """
    name = _FUNCTIONS.get(kernel.op_type, "")
    if kernel.op_type in _PAIRS:
        first, second = (array for array in kernel.inputs[:2] if array is not None)
        if first.size != second.size:
            return f"{name}_scalar" if min(first.size, second.size) == 1 else f"{name}_row"
    if kernel.op_type == "Transpose":
        order = list(kernel.attributes.get("perm", ()))
        if not order or order[-1] != len(order) - 1:
            return "transpose_last"
    return name


def _format(array: Array) -> str:
    return _FORMATS.get(np.dtype(array.dtype).name, np.dtype(array.dtype).name)
