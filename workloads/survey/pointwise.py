"""What operators of a layer that are no product are: activation functions, residual additions, biases, scale, mask."""

from __future__ import annotations

from collections.abc import Iterable

from workloads.operator import Num, Operator, Tensor

__all__ = [
    "distinct",
    "is_activation",
    "is_bias",
    "is_residual",
    "is_scale_or_mask",
    "is_vector",
    "moved_values",
    "values",
]


def is_activation(op: Operator) -> bool:
    """Say whether an operator is the activation function of a feed-forward block."""
    return op.kind == "gelu" or (op.kind == "activation" and op.block.endswith(".activation"))


def is_residual(op: Operator) -> bool:
    """Say whether an operator adds two activations of one shape."""
    shapes = [tensor.shape(op.dims) for tensor in op.inputs if tensor.role != "weight"]
    return op.op_type == "Add" and len(op.inputs) == len(shapes) == 2 and shapes[0] == shapes[1]


def is_bias(op: Operator) -> bool:
    """Say whether an operator adds a stored vector to the result of a product."""
    return op.op_type == "Add" and any(is_vector(tensor, op) for tensor in op.inputs if tensor.role == "weight")


def is_scale_or_mask(op: Operator) -> bool:
    """Say whether an operator works element-wise on the scores, or with one stored number."""
    if op.kind != "elementwise":
        return False
    at_scores = op.block.endswith(".scores")
    return at_scores or any(values([tensor], op) == 1 for tensor in op.inputs if tensor.role == "weight")


def is_vector(tensor: Tensor, op: Operator) -> bool:
    """Say whether a tensor has one value per channel: all of them lie along its last axis, and they are many."""
    shape = tensor.shape(op.dims)
    return bool(shape and shape[-1] > 1 and all(extent == 1 for extent in shape[:-1]))


def moved_values(op: Operator) -> tuple[Num, Num]:
    """Count the activation values that an operator reads, each tensor once, and those that it writes."""
    read = [tensor for tensor in distinct(op.inputs) if tensor.role != "weight"]
    return values(read, op), values(op.outputs, op)


def distinct(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Give every tensor once: x * x reads x once."""
    return list({tensor.name: tensor for tensor in tensors}.values())


def values(tensors: Iterable[Tensor], op: Operator) -> Num:
    """Count the values of tensors that one execution touches."""
    return sum((tensor.values(op.dims) for tensor in tensors), start=0.0)
