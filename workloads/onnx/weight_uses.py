"""What a graph does with its stored tensors: which axis a product sums over, and which value stands for zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.onnx.stored import stored_array, unpacked

if TYPE_CHECKING:
    import onnx

__all__ = ["Use", "stored_tensors", "weight_uses", "zero_points"]

# Op type to (input of a stored operand to the axis that is summed). Source: ONNX and ONNX Runtime operator
# specifications.
_SUMMED: dict[str, dict[int, int]] = {
    "Attention": {1: -2},
    "Conv": {1: 1},
    "ConvInteger": {1: 1},
    "ConvTranspose": {1: 0},
    "DynamicQuantizeMatMul": {1: -2},
    "FusedConv": {1: 1},
    "FusedMatMul": {0: -1, 1: -2},
    "Gemm": {0: -1, 1: -2},
    "MatMul": {0: -1, 1: -2},
    "MatMulInteger": {0: -1, 1: -2},
    "MatMulIntegerToFloat": {1: -2},
    "QAttention": {1: -2},
    "QGemm": {3: -2},
    "QLinearConv": {3: 1},
    "QLinearMatMul": {3: -2},
}
# Op type to (input of the stored operand, input of its zero point). Same source.
_ZERO_POINTS: dict[str, tuple[int, int]] = {
    "ConvInteger": (1, 3),
    "DequantizeLinear": (0, 2),
    "DynamicQuantizeMatMul": (1, 3),
    "MatMulInteger": (1, 3),
    "MatMulIntegerToFloat": (1, 5),
    "QAttention": (1, 7),
    "QGemm": (3, 5),
    "QLinearConv": (3, 5),
    "QLinearMatMul": (3, 5),
}
_ARITHMETIC = ("Add", "Div", "Mul", "Sub")

_Origin = tuple[str, tuple[int, ...]]
"""A stored tensor, and which of its axes stands at each position."""


@dataclass(slots=True)
class Use:
    """What the graph does with one stored tensor; filled while its nodes are walked.

    Attributes:
        reduction: Axis of the stored tensor that a product sums over.
        zero: Name of its zero points, and the axis that they run along (None: one for all).
        block: Values per zero point along that axis, in a block-quantized tensor; 0: one per position.
        packed: The MatMulNBits node that reads it: several values a byte.
    """

    reduction: int | None = None
    zero: tuple[str, int | None] | None = None
    block: int = 0
    packed: Any = None


def stored_tensors(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Give the stored tensors of a graph by the name of their edge: initializers, and the values of Constant nodes."""
    for tensor in model.graph.initializer:
        yield tensor.name, tensor
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t


def weight_uses(model: onnx.ModelProto) -> dict[str, Use]:
    """Follow every stored tensor through casts, dequantization and transposes to the product that reads it."""
    ranks = {name: len(tensor.dims) for name, tensor in stored_tensors(model)}
    found = {name: Use() for name in ranks}
    origin: dict[str, _Origin] = {name: (name, tuple(range(rank))) for name, rank in ranks.items()}
    for node in model.graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "MatMulNBits" and len(node.input) > 1 and node.input[1] in found:
            found[node.input[1]].packed = node
        _note_sum(node, attributes, origin, found)
        _note_zero(node, attributes, origin, found)
        passed = _passed(node, attributes, origin, ranks)
        if passed is not None and node.output:
            origin[node.output[0]] = passed
    return found


def _note_sum(node: Any, attributes: Mapping[str, Any], origin: Mapping[str, _Origin], found: dict[str, Use]) -> None:
    for index, axis in _SUMMED.get(node.op_type, {}).items():
        if index >= len(node.input) or node.input[index] not in origin:
            continue
        name, order = origin[node.input[index]]
        flipped = attributes.get("transA" if index == 0 else "transB")
        axis = -3 - axis if axis < 0 and len(order) > 1 and flipped is not None and flipped.i else axis
        if -len(order) <= axis < len(order):
            found[name].reduction = order[axis]


def _note_zero(node: Any, attributes: Mapping[str, Any], origin: Mapping[str, _Origin], found: dict[str, Use]) -> None:
    weight, zero = _ZERO_POINTS.get(node.op_type, (0, 0))
    if not zero or zero >= len(node.input) or not node.input[zero] or node.input[weight] not in origin:
        return
    name, order = origin[node.input[weight]]
    axis = 0 if node.op_type in ("QLinearConv", "ConvInteger") else -1
    if node.op_type == "DequantizeLinear":
        axis = attributes["axis"].i if "axis" in attributes else 1
    found[name].zero = (node.input[zero], order[axis] if -len(order) <= axis < len(order) else None)
    found[name].block = attributes["block_size"].i if "block_size" in attributes else 0


def _passed(
    node: Any, attributes: Mapping[str, Any], origin: Mapping[str, _Origin], ranks: Mapping[str, int]
) -> _Origin | None:
    """Say which stored tensor, with its axes in which order, an output still is; None: something else."""
    if node.op_type in _ARITHMETIC and node.input and all(name in origin for name in node.input):
        return max((origin[name] for name in node.input), key=lambda item: ranks[item[0]])
    if not node.input or node.input[0] not in origin:
        return None
    if node.op_type in ("Cast", "DequantizeLinear", "Identity"):
        return origin[node.input[0]]
    if node.op_type == "Transpose":
        name, order = origin[node.input[0]]
        moved = list(attributes["perm"].ints) if "perm" in attributes else list(reversed(range(len(order))))
        return (
            (name, tuple(order[position] for position in moved)) if sorted(moved) == list(range(len(order))) else None
        )
    return None


def zero_points(use: Use, tensors: Mapping[str, Any], shape: tuple[int, ...], folder: Path | None) -> Any:
    """Give the zero points of a stored tensor: one number, or an array that broadcasts against its rows.

    Returns:
        0 where there are none, or where they are not stored.
    """
    if use.zero is None or use.zero[0] not in tensors:
        return 0
    tensor = tensors[use.zero[0]]
    values = stored_array(tensor, folder)
    if tensor.data_type in (21, 22):  # uint4, int4
        count = int(np.prod(tensor.dims))
        values = unpacked(values, 4, tensor.data_type == 22)[:count].reshape(tuple(tensor.dims))
    return _broadcast(values, use, shape)


def _broadcast(values: NDArray[Any], use: Use, shape: tuple[int, ...]) -> Any:
    if not values.size or np.all(values == values.flat[0]):
        return int(values.flat[0]) if values.size else 0
    axis = use.zero[1] if use.zero is not None else None
    if use.block and axis is not None and values.ndim == len(shape):
        values = np.repeat(values, use.block, axis)[tuple(slice(extent) for extent in shape)]
        return values.reshape(shape[0], -1)
    if axis is None or values.size != shape[axis]:
        return 0
    if axis == 0:
        return values.reshape(-1, 1)
    spread = values.reshape([shape[axis] if position == axis else 1 for position in range(len(shape))])
    return np.broadcast_to(spread, (1, *shape[1:])).reshape(1, -1)
