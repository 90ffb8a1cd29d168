"""Handlers of views: another shape for the same memory, at no cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

from workloads.errors import WorkloadError
from workloads.onnx.builder import Builder, Node, Value, whole
from workloads.operator import Axis, axis

__all__ = ["flatten", "identity", "inherit", "reshape", "squeeze", "unsqueeze"]

Names = tuple[str, ...]
Axes = tuple[Axis, ...]


def _view(node: Node, builder: Builder, shape: Sequence[int]) -> None:
    """Record an output that shares the input's memory."""
    value = builder.value(node, 0)
    output = builder.put(node, shape, value.code)
    inherit(value, output)
    if builder.quiet:
        return
    names, sizes, before, after = _view_axes(value.shape, output.shape)
    dims = dict(zip(names, sizes, strict=True))
    builder.emit(node, "view", dims, [builder.tensor(value, before)], [builder.tensor(output, after)], code=value.code)


def inherit(value: Value, output: Value) -> None:
    """Keep the identity of a stored weight through a change of shape."""
    if value.constant:
        output.root, output.bits, output.stored = value.root, value.bits, value.stored
        output.overhead_bits, output.chain = value.overhead_bits, value.chain


@lru_cache(maxsize=4096)
def _view_axes(before: tuple[int, ...], after: tuple[int, ...]) -> tuple[Names, tuple[int, ...], Axes, Axes]:
    """Write both shapes of a view as digits of one flat index: [n] -> [h, d] becomes n = d_size * h + d.

    Where the two shapes cut the flat index at places that do not divide each other, axes are read whole.

    Returns:
        Names and sizes of the dims, axes before, axes after.
    """
    cuts = sorted({1, *_suffix_products(before), *_suffix_products(after)})
    if cuts[0] == 0 or any(upper % lower for lower, upper in itertools.pairwise(cuts)):
        return (), (), tuple(map(whole, before)), tuple(map(whole, after))
    digits = list(itertools.pairwise(cuts))[::-1]
    names = {low: f"i{position}" for position, (low, _) in enumerate(digits)}

    def axes(shape: Sequence[int]) -> Axes:
        result, low = [], math.prod(shape)
        for extent in shape:
            low //= extent
            inside = [(start // low, names[start]) for start, end in digits if start >= low and end <= low * extent]
            result.append(axis(*inside) if inside and extent > 1 else whole(extent))
        return tuple(result)

    return tuple(names.values()), tuple(high // low for low, high in digits), axes(before), axes(after)


def _suffix_products(shape: Sequence[int]) -> list[int]:
    products, product = [], 1
    for extent in reversed(shape):
        product *= extent
        products.append(product)
    return products


def identity(node: Node, builder: Builder) -> None:
    """Identity and Dropout at inference."""
    _view(node, builder, builder.value(node, 0).shape)
    for index in range(1, len(node.outputs)):
        if node.outputs[index]:  # the mask of Dropout: unused at inference
            builder.put(node, builder.value(node, 0).shape, builder.value(node, 0).code, index, constant=True)


def reshape(node: Node, builder: Builder) -> None:
    """Reshape to a shape that is known before run time."""
    value = builder.value(node, 0)
    wanted = node.ints("shape") if "shape" in node.attributes else builder.known(node, 1, "shape").ravel().tolist()
    keep_zero = bool(node.int("allowzero"))
    try:
        shape = [int(e) if e or keep_zero else value.shape[i] for i, e in enumerate(wanted)]
    except IndexError:
        raise WorkloadError(
            f"node {node.name!r} (Reshape): {list(wanted)} copies an axis that {value.shape} has not"
        ) from None
    if -1 in shape:
        rest = math.prod(extent for extent in shape if extent != -1)
        shape[shape.index(-1)] = value.size // rest if rest else 0
    if math.prod(shape) != value.size:
        raise WorkloadError(
            f"node {node.name!r} (Reshape): {value.shape} has {value.size} values, {list(wanted)} has "
            f"{math.prod(shape)}; the file fixes a size that was bound differently"
        )
    _view(node, builder, shape)


def flatten(node: Node, builder: Builder) -> None:
    """Flatten to a matrix."""
    value = builder.value(node, 0)
    position = node.int("axis", 1)
    position += value.rank if position < 0 else 0
    _view(node, builder, (math.prod(value.shape[:position]), math.prod(value.shape[position:])))


def _axes_given(node: Node, builder: Builder) -> list[int] | None:
    if "axes" in node.attributes:
        return list(node.ints("axes"))
    if builder.optional(node, 1) is not None:
        return [int(item) for item in builder.known(node, 1, "axes").ravel()]
    return None


def squeeze(node: Node, builder: Builder) -> None:
    """Drop axes of extent one."""
    value = builder.value(node, 0)
    axes = _axes_given(node, builder)
    if axes is None:
        dropped = {position for position, extent in enumerate(value.shape) if extent == 1}
    else:
        dropped = {builder.position(node, position, value.rank) for position in axes}
    if any(value.shape[position] != 1 for position in dropped):
        raise WorkloadError(
            f"node {node.name!r} (Squeeze): cannot drop axes {sorted(dropped)} of {value.shape}, not all are of "
            "size 1; the file fixes a size that was bound differently"
        )
    _view(node, builder, [extent for position, extent in enumerate(value.shape) if position not in dropped])


def unsqueeze(node: Node, builder: Builder) -> None:
    """Insert axes of extent one."""
    value = builder.value(node, 0)
    axes = _axes_given(node, builder) or []
    rank = value.rank + len(axes)
    inserted = {builder.position(node, position, rank) for position in axes}
    if len(inserted) < len(axes):
        raise WorkloadError(f"node {node.name!r} (Unsqueeze): axes {axes} name one axis twice; run onnx.checker on it")
    extents = iter(value.shape)
    _view(node, builder, [1 if position in inserted else next(extents) for position in range(rank)])
