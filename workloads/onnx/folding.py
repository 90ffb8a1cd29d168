"""Constant folding of small arrays in NumPy: the shape arithmetic that exporters leave in a graph.

Nothing here makes an array that is larger than `LIMIT`, whatever a file asks for: functions that can grow their input
look at the size of their result first. What is not in the tables is described by its shape, like any other constant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.onnx.builder import Node
from workloads.onnx.folding_moves import LIMIT, MOVES, Folder, NotFoldedError, axes_of, bounded, sliced

__all__ = ["LIMIT", "fold", "sliced"]

Array = NDArray[Any]


# ---------------------------------------------------------------------------------------------------------------------
# Element by element


def _elementwise(function: Callable[..., Any]) -> Folder:
    def apply(node: Node, a: Sequence[Any]) -> Array:
        if node.int("broadcast"):  # the rule of operator sets before 7
            raise NotFoldedError
        if len(a) > 1:
            bounded(prod(np.broadcast_shapes(*[array.shape for array in a])))
        return np.asarray(function(*a))

    return apply


def _variadic(function: Callable[[Any, Any], Any]) -> Folder:
    return _elementwise(lambda *arrays: reduce(function, arrays))


def _divide(a: Any, b: Any) -> Any:
    if a.dtype.kind not in "iu":
        return a / b
    quotient = np.abs(a) // np.abs(b)  # ONNX integer division truncates
    return np.asarray(quotient * np.sign(a) * np.sign(b), dtype=a.dtype)


def _mod(node: Node, a: Sequence[Any]) -> Array:
    function = np.fmod if node.int("fmod") else np.mod
    return np.asarray(_elementwise(function)(node, a))


def _clip(node: Node, a: Sequence[Any]) -> Array:
    low = node.attributes.get("min", a[1] if len(a) > 1 else None)
    high = node.attributes.get("max", a[2] if len(a) > 2 else None)
    result = a[0] if low is None else np.maximum(a[0], np.asarray(low, a[0].dtype))
    return np.asarray(result if high is None else np.minimum(result, np.asarray(high, a[0].dtype)))


def _cast(node: Node, a: Sequence[Any]) -> Array:
    from onnx.helper import tensor_dtype_to_np_dtype

    to = a[1].dtype if node.op_type == "CastLike" else np.dtype(tensor_dtype_to_np_dtype(node.int("to")))
    if to.kind not in "biuf":  # the narrow floats of ml_dtypes saturate in their own ways
        raise NotFoldedError
    return np.asarray(a[0].astype(to))


# ---------------------------------------------------------------------------------------------------------------------
# Fewer values


def _reduction(function: Callable[..., Any], *, typed: bool = False) -> Folder:
    def apply(node: Node, a: Sequence[Any]) -> Array:
        axes = axes_of(node, a)
        if not axes and node.int("noop_with_empty_axes"):
            return np.asarray(a[0])
        options: dict[str, Any] = {"dtype": a[0].dtype} if typed else {}
        return np.asarray(function(a[0], axis=tuple(axes) if axes else None, keepdims=bool(node.int("keepdims", 1)),
                                   **options))  # fmt: skip

    return apply


def _arg(function: Callable[..., Any]) -> Folder:
    def apply(node: Node, a: Sequence[Any]) -> Array:
        if node.int("select_last_index"):
            raise NotFoldedError
        return np.asarray(function(a[0], axis=node.int("axis"), keepdims=bool(node.int("keepdims", 1))))

    return apply


def _cumsum(node: Node, a: Sequence[Any]) -> Array:
    axis = int(a[1].item())
    values = np.flip(a[0], axis) if node.int("reverse") else a[0]
    total = np.cumsum(values, axis=axis, dtype=a[0].dtype)
    if node.int("exclusive"):
        total = total - values
    return np.flip(total, axis) if node.int("reverse") else total


_FOLDERS: dict[str, Folder] = {
    **MOVES,
    "Abs": _elementwise(np.abs),
    "Add": _elementwise(np.add),
    "And": _elementwise(np.logical_and),
    "ArgMax": _arg(np.argmax),
    "ArgMin": _arg(np.argmin),
    "Cast": _cast,
    "CastLike": _cast,
    "Ceil": _elementwise(np.ceil),
    "Clip": _clip,
    "Cos": _elementwise(np.cos),
    "CumSum": _cumsum,
    "Div": _elementwise(_divide),
    "Equal": _elementwise(np.equal),
    "Exp": _elementwise(np.exp),
    "Floor": _elementwise(np.floor),
    "Greater": _elementwise(np.greater),
    "GreaterOrEqual": _elementwise(np.greater_equal),
    "Identity": _elementwise(lambda a: a),
    "IsNaN": _elementwise(np.isnan),
    "Less": _elementwise(np.less),
    "LessOrEqual": _elementwise(np.less_equal),
    "Log": _elementwise(np.log),
    "Max": _variadic(np.maximum),
    "Min": _variadic(np.minimum),
    "Mod": _mod,
    "Mul": _elementwise(np.multiply),
    "Neg": _elementwise(np.negative),
    "Not": _elementwise(np.logical_not),
    "Or": _elementwise(np.logical_or),
    "Pow": _elementwise(lambda a, b: np.power(a, b).astype(a.dtype)),
    "Reciprocal": _elementwise(lambda a: (1 / a).astype(a.dtype)),
    "ReduceMax": _reduction(np.max),
    "ReduceMean": _reduction(np.mean, typed=True),
    "ReduceMin": _reduction(np.min),
    "ReduceProd": _reduction(np.prod, typed=True),
    "ReduceSum": _reduction(np.sum, typed=True),
    "Round": _elementwise(np.rint),
    "Sign": _elementwise(np.sign),
    "Sin": _elementwise(np.sin),
    "Sqrt": _elementwise(np.sqrt),
    "Sub": _elementwise(np.subtract),
    "Sum": _variadic(np.add),
    "Tanh": _elementwise(np.tanh),
    "Where": _elementwise(np.where),
    "Xor": _elementwise(np.logical_xor),
}


def fold(node: Node, arrays: Sequence[Array | None]) -> list[Array] | None:
    """Evaluate a node on known inputs.

    Args:
        node: The node.
        arrays: Its inputs; None where an optional one is left out.

    Returns:
        Its outputs, or None where the result would be large or the node is not one that shapes are computed with.
    """
    function = None if node.domain else _FOLDERS.get(node.op_type)
    if function is None or any(array is not None and array.dtype.kind in "OSU" for array in arrays):
        return None  # strings could double with every node
    try:
        with np.errstate(all="raise", under="ignore"):  # a division by zero is for run time to answer
            results = function(node, arrays)
    except Exception:  # the node is then described by its shape, like any other constant
        return None
    listed = [np.asarray(result) for result in results] if isinstance(results, list) else [results]
    return listed if all(result.size <= LIMIT for result in listed) else None
