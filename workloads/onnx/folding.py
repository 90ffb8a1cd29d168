"""Constant folding of small arrays: the shape arithmetic that exporters leave in a graph.

The common operators are plain NumPy; the rest goes through the reference evaluator of the `onnx` package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.onnx.builder import Node

__all__ = ["LIMIT", "fold", "sliced"]

Array = NDArray[Any]
LIMIT = 65536
"""Larger results are described by their shape alone."""


def _axes(node: Node, arrays: Sequence[Array | None]) -> list[int] | None:
    if "axes" in node.attributes:
        return list(node.ints("axes"))
    second = arrays[1] if len(arrays) > 1 else None
    return None if second is None else [int(item) for item in second.ravel()]


def _gather(node: Node, a: Sequence[Any]) -> Array:
    return np.asarray(np.take(a[0], a[1], axis=node.int("axis")))


def _unsqueeze(node: Node, a: Sequence[Any]) -> Array:
    axes = _axes(node, a) or []
    rank = a[0].ndim + len(axes)
    return np.asarray(np.expand_dims(a[0], tuple(position % rank for position in axes)))


def _squeeze(node: Node, a: Sequence[Any]) -> Array:
    axes = _axes(node, a)
    return np.asarray(np.squeeze(a[0], None if axes is None else tuple(axes)))


def _divide(node: Node, a: Sequence[Any]) -> Array:
    if a[0].dtype.kind in "iu":  # ONNX integer division truncates
        quotient = np.abs(a[0]) // np.abs(a[1])
        return np.asarray(quotient * np.sign(a[0]) * np.sign(a[1]), dtype=a[0].dtype)
    return np.asarray(a[0] / a[1])


def _reshape(node: Node, a: Sequence[Any]) -> Array:
    wanted = a[1].ravel().tolist() if len(a) > 1 else list(node.ints("shape"))
    keep_zero = bool(node.int("allowzero"))
    return np.asarray(a[0].reshape([e if e or keep_zero else a[0].shape[i] for i, e in enumerate(wanted)]))


def _slice(node: Node, a: Sequence[Any]) -> Array:
    if "starts" in node.attributes:
        starts, ends = node.ints("starts"), node.ints("ends")
        axes, steps = node.ints("axes", range(len(starts))), (1,) * len(starts)
    else:
        starts, ends = a[1].ravel().tolist(), a[2].ravel().tolist()
        axes = range(len(starts)) if len(a) < 4 or a[3] is None else a[3].ravel().tolist()  # type: ignore[assignment]
        steps = (1,) * len(starts) if len(a) < 5 or a[4] is None else a[4].ravel().tolist()
    result = a[0]
    for start, end, position, step in zip(starts, ends, axes, steps, strict=True):
        result = result.take(np.array(sliced(start, end, step, result.shape[position]), dtype=np.int64), axis=position)
    return np.asarray(result)


def sliced(start: int, end: int, step: int, extent: int) -> range:
    """Give the indices that an ONNX Slice takes: as NumPy, but a backward slice starts inside the axis.

    Example:
        >>> list(sliced(-9, -8, -1, extent=4)), np.arange(4)[-9:-8:-1].tolist()
        ([0], [])

    Source: ONNX operator specification, Slice (clamping of starts and ends).
    """
    start, end = (start + extent if start < 0 else start), (end + extent if end < 0 else end)
    if step > 0:
        return range(min(max(start, 0), extent), min(max(end, 0), extent), step)
    return range(min(max(start, 0), extent - 1), min(max(end, -1), extent - 1), step)


_NUMPY: dict[str, Callable[[Node, Sequence[Any]], Array]] = {
    "Add": lambda node, a: a[0] + a[1],
    "Concat": lambda node, a: np.concatenate(a, axis=node.int("axis")),
    "Div": _divide,
    "Equal": lambda node, a: np.equal(a[0], a[1]),
    "Expand": lambda node, a: a[0] * np.ones(a[1].tolist(), dtype=a[0].dtype),
    "Gather": _gather,
    "Greater": lambda node, a: np.greater(a[0], a[1]),
    "GreaterOrEqual": lambda node, a: np.greater_equal(a[0], a[1]),
    "Identity": lambda node, a: a[0],
    "Less": lambda node, a: np.less(a[0], a[1]),
    "LessOrEqual": lambda node, a: np.less_equal(a[0], a[1]),
    "Mul": lambda node, a: a[0] * a[1],
    "Neg": lambda node, a: -a[0],
    "Range": lambda node, a: np.arange(a[0].item(), a[1].item(), a[2].item(), dtype=a[0].dtype),
    "ReduceProd": lambda node, a: np.prod(a[0], axis=None, keepdims=bool(node.int("keepdims", 1))),
    "Reshape": _reshape,
    "Slice": _slice,
    "Sqrt": lambda node, a: np.sqrt(a[0]),
    "Squeeze": _squeeze,
    "Sub": lambda node, a: a[0] - a[1],
    "Unsqueeze": _unsqueeze,
    "Where": lambda node, a: np.where(a[0], a[1], a[2]),
}


def fold(node: Node, arrays: Sequence[Array | None], proto: Any, opset: int) -> list[Array] | None:
    """Evaluate a node on known inputs.

    Args:
        node: The node.
        arrays: Its inputs; None where an optional one is left out.
        proto: The `onnx.NodeProto`, for the reference evaluator.
        opset: Version of the default operator set.

    Returns:
        Its outputs, or None where the result would be large or nobody can evaluate the node.
    """
    function = _NUMPY.get(node.op_type) if not node.domain else None
    if node.op_type == "ReduceProd" and _axes(node, arrays) is not None:
        function = None
    if node.op_type == "Expand" and int(np.prod(arrays[1])) > LIMIT:  # type: ignore[arg-type]
        return None
    try:
        with np.errstate(all="raise", under="ignore"):  # a division by zero is for run time to answer
            results = (
                _reference(node, arrays, proto, opset) if function is None else [np.asarray(function(node, arrays))]
            )
    except Exception:  # the node is then described by its shape, like any other constant
        return None
    return results if all(result.size <= LIMIT for result in results) else None


def _reference(node: Node, arrays: Sequence[Array | None], proto: Any, opset: int) -> list[Array]:
    import onnx
    from onnx.reference import ReferenceEvaluator

    feeds = {name: array for name, array in zip(node.inputs, arrays, strict=True) if name and array is not None}
    inputs = [onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
              for name, array in feeds.items()]  # fmt: skip
    outputs = [onnx.ValueInfoProto(name=name) for name in node.outputs if name]
    graph = onnx.helper.make_graph([proto], "folding", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    return [np.asarray(result) for result in ReferenceEvaluator(model).run(None, feeds)]
