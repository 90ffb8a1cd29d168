"""What the kernel formulas ask of an operator: sizes of products, of fused attention, of tensors; names of formats.

Sizes may be batches of design points of shape (n_points,).
"""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from workloads.formats import FORMATS
from workloads.operator import PATTERNS, Num, Operator, Tensor
from workloads.structure.patterns import is_expert

__all__ = ["Names", "attention_sizes", "elementwise_sizes", "format_name", "product_sizes", "stored_format"]

Sizes = dict[str, Num]
Names = NDArray[np.str_]
"""A name for each design point."""

NAMES = {"fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "uint8": "int8", "uint4": "int4"}


def format_name(code: int) -> str:
    """Give the name of a number format as the measured tables spell it.

    Example:
        >>> from workloads import format_code
        >>> format_name(format_code("fp8_e4m3"))
        'fp8'
    """
    name = FORMATS[code].name
    return NAMES.get(name, name)


def stored_format(weight: Tensor, computed: str) -> str | Names:
    """Name the format that a product's second operand is stored in: "int4", or "fp16_2:4" where two of four are kept.

    Args:
        weight: The operand; where its bits or pattern are a batch there is a name for each design point.
        computed: Format of the arithmetic, which a weight as wide as it has too.
    """
    own = format_name(int(np.max(weight.format)))
    if np.ndim(weight.bits) == 0 and np.ndim(weight.pattern) == 0:
        return _stored(float(weight.bits), int(weight.pattern), own, computed)
    pairs = np.broadcast_arrays(weight.bits, weight.pattern)
    return np.array([_stored(float(bits), int(pattern), own, computed) for bits, pattern in zip(*pairs, strict=True)])


def _stored(bits: float, pattern: int, own: str, computed: str) -> str:
    width = {"fp32": 32, "tf32": 32, "fp16": 16, "bf16": 16}.get(computed, 8)
    name = computed if bits >= width else own if own.startswith("fp") and bits >= 8 else f"int{math.ceil(bits)}"
    return f"{name}_{PATTERNS[pattern]}" if ":" in PATTERNS[pattern] else name


def product_sizes(op: Operator) -> Sizes:
    """Give `batch`, `m`, `n`, `k` of a product: dims that both operands, only one, or no result have.

    A convolution is the product that its im2col makes: windows x (channels of a window), times as many groups. Experts
    that tokens are routed to are a batch of products: as many as are expected to be touched, the tokens shared out.
    """
    left, right = _names(op.inputs[0]), _names(op.inputs[1]) if len(op.inputs) > 1 else set()
    out = _names(op.outputs[0])
    both = left & right & out
    batch, rows = _size(op, both), _size(op, out - right)
    experts = _experts(op)
    return {
        "batch": batch * experts,
        "m": rows if np.ndim(experts) == 0 and experts == 1 else np.maximum(rows / experts, 1.0),
        "n": _size(op, (right & out) - left),
        "k": _size(op, (left | right) - out),
    }


def _experts(op: Operator) -> Num:
    """Give how many of the stored matrices a product is expected to touch: 1 where there is but one."""
    if not is_expert(op):
        return 1.0
    weight = next(tensor for tensor in op.inputs if tensor.role == "weight")
    stored = weight.axes[0].extent
    touched: Num = np.maximum(1.0, np.round((1.0 if stored is None else stored) * weight.touched, 3))
    return touched


def attention_sizes(scores: Operator, causal: bool, one_query: bool) -> Sizes:
    """Give the sizes of the fused attention around a product of queries and keys.

    Args:
        scores: The product; its result ends in (queries, keys).
        causal: A query sees only keys before it.
        one_query: A decoding step: what shares a key is not queries of several tokens but heads of one.
    """
    result = scores.outputs[0]
    queries, keys = (set(_axis_names(result, place)) for place in (-2, -1))
    left, right = _names(scores.inputs[0]), _names(scores.inputs[1])
    shared = (left & right & _names(result)) - queries - keys
    heads = max(shared, key=lambda name: (name[0] != "b", name), default="")
    alone = (left & _names(result)) - right - queries - keys
    group = _size(scores, alone)
    kv_heads: Num = scores.dims[heads] if heads else 1.0
    if one_query:
        group, queries = group * _size(scores, queries), set()
    return {
        "batch": _size(scores, shared - {heads}),
        "q_len": _size(scores, queries),
        "kv_len": _size(scores, keys),
        "heads": kv_heads * group,
        "kv_heads": kv_heads,
        "head_dim": _size(scores, (left & right) - _names(result)),
        "causal": 1.0 if causal else 0.0,
    }


def elementwise_sizes(read: Collection[tuple[Operator, Tensor]], written: Collection[tuple[Operator, Tensor]]) -> Sizes:
    """Give `rows`, `cols` and the least `bytes` of a kernel over tensors: each read once, each written once.

    Args:
        read: Tensors that it reads, each with the operator whose dims it is in.
        written: Those that it writes; the largest gives rows and columns.
    """
    op, largest = max(written, key=lambda pair: float(np.max(pair[1].values(pair[0].dims))))
    shape = largest.shape(op.dims) or (1.0,)
    moved = [tensor.bytes(op.dims) for op, tensor in (*read, *written)]
    total: Num = sum(moved[1:], start=moved[0])
    return {"rows": math.prod(shape[:-1]), "cols": shape[-1], "bytes": total}


def _names(tensor: Tensor) -> set[str]:
    return {name for item in tensor.axes for _, name in item.terms}


def _axis_names(tensor: Tensor, place: int) -> list[str]:
    return [name for _, name in tensor.axes[place].terms] if len(tensor.axes) >= -place else []


def _size(op: Operator, names: Collection[str]) -> Num:
    total: Num = 1.0
    for name in names:
        total = total * op.dims[name]
    return total
