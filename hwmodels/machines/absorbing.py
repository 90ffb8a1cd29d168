"""Operators that cost nothing on an accelerator because its array takes them along with a product."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from hwmodels.engines import function_of
from hwmodels.spatial import Accelerator
from workloads.operator import Operator, Tensor, axis

__all__ = ["absorption", "with_bias"]


def absorption(
    op: Operator,
    accelerator: Accelerator,
    is_result: Callable[[Tensor], bool],
    feeds_products: Callable[[], bool],
) -> str:
    """Name what absorbs an operator: an entry of `hwmodels.engines.ABSORBED`; "": nothing does.

    Args:
        op: No product.
        accelerator: What its array takes along.
        is_result: Says whether a tensor is the result of a product that nothing else reads.
        feeds_products: Says whether products alone read the operator's output.
    """
    data = [tensor for tensor in op.inputs if tensor.role != "weight"]
    if len(data) != 1 or len(op.outputs) != 1:
        return ""
    constants = [tensor for tensor in op.inputs if tensor.role == "weight"]
    kind = _candidate(op, constants)
    if kind not in accelerator.absorbs:
        return ""
    if kind == "layout":
        return kind
    if kind == "scale" and feeds_products():
        return kind
    return kind if is_result(data[0]) else ""


def _candidate(op: Operator, constants: list[Tensor]) -> str:
    """Name what could absorb an operator, by what it does."""
    if op.kind == "move" and op.op_type in ("Transpose", "Slice", "Split", "Squeeze", "Unsqueeze", "Expand"):
        return "layout"
    if op.op_type == "BatchNormalization":
        return "batchnorm"
    if function_of(op) == "relu" and not constants:
        return "relu"
    if len(constants) != 1:
        return ""
    values = float(constants[0].values(op.dims))
    if op.op_type in ("Mul", "Div") and values == 1:
        return "scale"
    longest = max((float(item.length(op.dims)) for item in op.outputs[0].axes), default=1.0)
    return "bias" if op.op_type in ("Add", "Sub") and values <= longest else ""


def with_bias(product: Operator, constant: Tensor, op: Operator, bits: float) -> Operator:
    """Give a product that adds a constant to its outputs, read once as partial sums are wide.

    Args:
        product: The product.
        constant: What is added.
        op: The operator that adds it, for its size.
        bits: Of a partial sum [bit].
    """
    size = math.ceil(float(constant.values(op.dims)))
    bias = Tensor(name=constant.name, axes=(axis(extent=size),), role="weight", bits=bits)
    return replace(product, inputs=(*product.inputs, bias))
