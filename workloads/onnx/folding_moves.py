"""Constant folding of what moves values: reshape, select, repeat. The part of `folding` that is not arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.onnx.builder import Node
from workloads.onnx.limits import MAX_AXES

__all__ = ["LIMIT", "MOVES", "Folder", "NotFoldedError", "axes_of", "bounded", "sliced"]

Array = NDArray[Any]
Folder = Callable[[Node, Sequence[Any]], Array | list[Array]]
"""Takes a node and its inputs, None where an optional one is left out; gives its output, or a list of them."""

LIMIT = 65536
"""Larger results are described by their shape alone."""


class NotFoldedError(Exception):
    """The result would be large, or nobody can say what it is."""


def bounded(size: int) -> None:
    """Raise `NotFoldedError` where a result would be large."""
    if size > LIMIT:
        raise NotFoldedError


def axes_of(node: Node, arrays: Sequence[Array | None], index: int = 1) -> list[int] | None:
    """Give the axes that a node names in an attribute or an input."""
    if "axes" in node.attributes:
        return list(node.ints("axes"))
    given = arrays[index] if len(arrays) > index else None
    return None if given is None else [int(item) for item in given.ravel()]


# ---------------------------------------------------------------------------------------------------------------------
# Same values, another shape


def _reshape(node: Node, a: Sequence[Any]) -> Array:
    wanted = a[1].ravel().tolist() if len(a) > 1 else list(node.ints("shape"))
    keep_zero = bool(node.int("allowzero"))
    return np.asarray(a[0].reshape([e if e or keep_zero else a[0].shape[i] for i, e in enumerate(wanted)]))


def _flatten(node: Node, a: Sequence[Any]) -> Array:
    position = node.int("axis", 1)
    position += a[0].ndim if position < 0 else 0
    return np.asarray(a[0].reshape(prod(a[0].shape[:position]), -1))


def _unsqueeze(node: Node, a: Sequence[Any]) -> Array:
    axes = axes_of(node, a) or []
    rank = a[0].ndim + len(axes)
    return np.asarray(np.expand_dims(a[0], tuple(position % rank for position in axes)))


def _squeeze(node: Node, a: Sequence[Any]) -> Array:
    axes = axes_of(node, a)
    return np.asarray(np.squeeze(a[0], None if axes is None else tuple(axes)))


def _transpose(node: Node, a: Sequence[Any]) -> Array:
    return np.asarray(a[0].transpose(node.ints("perm") or None))


def _concat(node: Node, a: Sequence[Any]) -> Array:
    bounded(sum(array.size for array in a))
    return np.concatenate(a, axis=node.int("axis"))


def _split(node: Node, a: Sequence[Any]) -> list[Array]:
    axis = node.int("axis")
    extent = a[0].shape[axis]
    sizes = list(node.ints("split")) or (a[1].tolist() if len(a) > 1 and a[1] is not None else [])
    if not sizes:
        each = ceil(extent / len(node.outputs))
        sizes = [min(each, extent - each * index) for index in range(len(node.outputs))]
    if sum(sizes) != extent or min(sizes) < 0 or len(sizes) != len(node.outputs):
        raise NotFoldedError
    return np.split(a[0], np.cumsum(sizes)[:-1], axis=axis)


# ---------------------------------------------------------------------------------------------------------------------
# Some of the values


def _gather(node: Node, a: Sequence[Any]) -> Array:
    axis = node.int("axis")
    bounded(a[1].size * (a[0].size // max(a[0].shape[axis], 1)))
    return np.asarray(np.take(a[0], a[1], axis=axis))


def _gather_elements(node: Node, a: Sequence[Any]) -> Array:
    return np.asarray(np.take_along_axis(a[0], a[1], axis=node.int("axis")))


def _gather_nd(node: Node, a: Sequence[Any]) -> Array:
    if node.int("batch_dims"):
        raise NotFoldedError
    depth = a[1].shape[-1]
    bounded(a[1].size // max(depth, 1) * prod(a[0].shape[depth:]))
    return np.asarray(a[0][tuple(np.moveaxis(a[1], -1, 0))])


def _scatter_nd(node: Node, a: Sequence[Any]) -> Array:
    if node.attributes.get("reduction", b"none") != b"none":
        raise NotFoldedError
    result = a[0].copy()
    result[tuple(np.moveaxis(a[1], -1, 0))] = a[2]
    return np.asarray(result)


def _scatter_elements(node: Node, a: Sequence[Any]) -> Array:
    if node.attributes.get("reduction", b"none") != b"none":
        raise NotFoldedError
    result = a[0].copy()
    np.put_along_axis(result, a[1], a[2], axis=node.int("axis"))
    return np.asarray(result)


def _slice(node: Node, a: Sequence[Any]) -> Array:
    if "starts" in node.attributes:
        starts, ends = node.ints("starts"), node.ints("ends")
        axes, steps = node.ints("axes", range(len(starts))), (1,) * len(starts)
    else:
        starts, ends = a[1].ravel().tolist(), a[2].ravel().tolist()
        axes = range(len(starts)) if len(a) < 4 or a[3] is None else a[3].ravel().tolist()  # type: ignore[assignment]
        steps = (1,) * len(starts) if len(a) < 5 or a[4] is None else a[4].ravel().tolist()
    if len(starts) > MAX_AXES:
        raise NotFoldedError
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


def _trilu(node: Node, a: Sequence[Any]) -> Array:
    shift = int(a[1].item()) if len(a) > 1 and a[1] is not None else 0
    return np.asarray((np.triu if node.int("upper", 1) else np.tril)(a[0], shift))


# ---------------------------------------------------------------------------------------------------------------------
# More values


def _expand(node: Node, a: Sequence[Any]) -> Array:
    shape = np.broadcast_shapes(a[0].shape, tuple(a[1].tolist()))
    bounded(prod(shape))
    return np.broadcast_to(a[0], shape)


def _tile(node: Node, a: Sequence[Any]) -> Array:
    bounded(a[0].size * prod(a[1].tolist()))
    return np.asarray(np.tile(a[0], a[1].tolist()))


def _range(node: Node, a: Sequence[Any]) -> Array:
    start, limit, delta = (array.item() for array in a)
    bounded(ceil((limit - start) / delta))
    return np.arange(start, limit, delta, dtype=a[0].dtype)


def _pad(node: Node, a: Sequence[Any]) -> Array:
    pads = list(node.ints("pads")) or a[1].ravel().tolist()
    axes = axes_of(node, a, 3) or list(range(a[0].ndim))
    if node.attributes.get("mode", b"constant") != b"constant" or min(pads, default=0) < 0:
        raise NotFoldedError
    widths = [(0, 0)] * a[0].ndim
    for index, axis in enumerate(axes):
        widths[axis] = (pads[index], pads[index + len(axes)])
    bounded(prod(extent + low + high for extent, (low, high) in zip(a[0].shape, widths, strict=True)))
    given = a[2].item() if len(a) > 2 and a[2] is not None else node.attributes.get("value", 0)
    return np.asarray(np.pad(a[0], widths, constant_values=given))


MOVES: dict[str, Folder] = {
    "Concat": _concat,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "NonZero": lambda node, a: np.stack(np.nonzero(a[0])) if a[0].ndim else np.zeros((0, 1), np.int64),
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
"""ONNX op type to how its result is known."""
