"""Loop nests that handlers write: names of dims, axes, and the check that tensors have the dims that they walk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod

from workloads.errors import WorkloadError
from workloads.onnx.limits import MAX_POINTS
from workloads.onnx.nodes import Node
from workloads.operator import Axis, Tensor, axis

__all__ = ["broadcast_axes", "check_nest", "dim_axes", "dim_names", "index_axes", "index_names", "plain", "whole"]


def check_nest(
    node: Node, dims: Mapping[str, int], inputs: Sequence[Tensor], outputs: Sequence[Tensor], flops: float
) -> None:
    """Refuse a loop nest that no tensors can have, or whose footprints cannot be counted."""
    sizes = dims.values()
    if prod(sizes) > MAX_POINTS or (sizes and min(sizes) < 0) or not 0 <= flops <= MAX_POINTS:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): the impossible loop nest {dict(dims)} of {flops:.3g} FLOPs per "
            "point; the file is damaged"
        )
    checked: tuple[Axis, ...] = ()
    for tensor in (*inputs, *outputs):
        if tensor.axes is checked:
            continue
        checked = tensor.axes
        for item in checked:
            terms, extent = item.terms, item.extent
            if extent is None and len(terms) == 1 and terms[0][1] in dims:
                continue  # nearly every axis
            if not terms and (extent is None or extent >= 0):
                continue
            if any(name not in dims for _, name in terms) or (extent is not None and extent < 0):
                raise WorkloadError(
                    f"node {node.name!r} ({node.op_type}): {tensor.name!r} has an axis that is none of the loop "
                    "nest's; its inputs have ranks that do not fit the op type: run onnx.checker on the model"
                )
            if len(terms) > 1 and extent is not None:  # a window: counted once, and kept
                try:
                    item.footprint(dims)
                except WorkloadError as error:
                    raise WorkloadError(f"node {node.name!r} ({node.op_type}): {error}") from None


@lru_cache(maxsize=4096)
def plain(name: str) -> Axis:
    """Give the axis that one dim walks."""
    return axis(name)


@lru_cache(maxsize=4096)
def whole(extent: int) -> Axis:
    """Give the axis that is read whole."""
    return axis(extent=extent)


@lru_cache(maxsize=256)
def dim_names(letter: str, count: int) -> tuple[str, ...]:
    """Name dims of one kind: p0, p1, ..."""
    return tuple(f"{letter}{position}" for position in range(count))


@lru_cache(maxsize=256)
def dim_axes(letter: str, count: int) -> tuple[Axis, ...]:
    """Give the axes that walk the dims of one kind (`dim_names`)."""
    return tuple(map(plain, dim_names(letter, count)))


def index_names(rank: int) -> tuple[str, ...]:
    """Name the dims of an element-wise nest: i0, i1, ..."""
    return dim_names("i", rank)


def index_axes(rank: int) -> tuple[Axis, ...]:
    """Give the axes of a tensor whose dims are `index_names`."""
    return dim_axes("i", rank)


def broadcast_axes(shape: Sequence[int], names: Sequence[str], sizes: Sequence[int]) -> tuple[Axis, ...]:
    """Give the axes of an operand that broadcasts against a nest of the given dims (aligned at the right)."""
    return _broadcast_axes(tuple(shape), tuple(names), tuple(sizes))


@lru_cache(maxsize=4096)
def _broadcast_axes(shape: tuple[int, ...], names: tuple[str, ...], sizes: tuple[int, ...]) -> tuple[Axis, ...]:
    shift = len(names) - len(shape)
    return tuple(
        plain(names[shift + position]) if extent == sizes[shift + position] else whole(extent)
        for position, extent in enumerate(shape)
    )
