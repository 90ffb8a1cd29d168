"""Sliding windows: output sizes, and the input positions that a window reads."""

from __future__ import annotations

from collections.abc import Sequence

from workloads.errors import WorkloadError
from workloads.onnx.builder import Node, dim_names
from workloads.operator import Axis, axis

__all__ = ["transposed_windows", "windows"]


def windows(node: Node, extents: Sequence[int], kernel: Sequence[int]) -> tuple[list[int], list[Axis]]:
    """Give output sizes and input axes of a sliding window, over dims p0.. (positions) and r0.. (window).

    Args:
        node: With the attributes strides, dilations, pads, auto_pad and ceil_mode.
        extents: Spatial sizes of the input.
        kernel: Of the window.

    Source: ONNX operator specification, Conv and MaxPool (auto_pad, ceil_mode).
    """
    rank = len(extents)
    strides = node.ints("strides", (1,) * rank)
    dilations = node.ints("dilations", (1,) * rank)
    pads = node.ints("pads", (0,) * (2 * rank))
    mode = node.text("auto_pad", "NOTSET")
    ceil = node.int("ceil_mode")
    _check_steps(node, (*strides, *dilations, *kernel))
    places, window = dim_names("p", rank), dim_names("r", rank)
    sizes, axes = [], []
    for i in range(rank):
        reach = dilations[i] * (kernel[i] - 1) + 1
        before, after = pads[i], pads[i + rank]
        if mode.startswith("SAME"):
            size = -(-extents[i] // strides[i])
            total = max((size - 1) * strides[i] + reach - extents[i], 0)
            before = total // 2 if mode == "SAME_UPPER" else total - total // 2
        else:
            span = extents[i] + (0 if mode == "VALID" else before + after) - reach
            size = (-(-span // strides[i]) if ceil else span // strides[i]) + 1
            if ceil and (size - 1) * strides[i] >= extents[i] + before:
                size -= 1  # a window must start inside the input or its left padding
        if size < 1:
            raise WorkloadError(
                f"node {node.name!r} ({node.op_type}): a window of {reach} does not fit an input of {extents[i]} "
                f"with padding {before}+{after}; check the sizes given for the symbolic dims"
            )
        sizes.append(size)
        axes.append(Axis(((strides[i], places[i]), (dilations[i], window[i])), -before, extents[i]))
    return sizes, axes


def transposed_windows(
    node: Node, extents: Sequence[int], kernel: Sequence[int], pads: Sequence[int] | None = None
) -> tuple[list[int], list[Axis]]:
    """Give output sizes and output axes of a transposed convolution, over dims p0.. (input positions) and r0...

    Args:
        node: With the attributes strides, dilations, pads, auto_pad, output_padding and output_shape.
        extents: Spatial sizes of the input.
        kernel: Of the window.
        pads: Given at run time, instead of the attribute.

    Source: ONNX operator specification, ConvTranspose (the formulas of its shape and of its automatic pads).
    """
    rank = len(extents)
    strides = node.ints("strides", (1,) * rank)
    dilations = node.ints("dilations", (1,) * rank)
    given = node.ints("pads", (0,) * (2 * rank)) if pads is None else pads
    extra = node.ints("output_padding", (0,) * rank)
    wanted = node.ints("output_shape")[-rank:]
    mode = node.text("auto_pad", "NOTSET")
    _check_steps(node, (*strides, *dilations, *kernel))
    sizes, axes = [], []
    for i in range(rank):
        whole = strides[i] * (extents[i] - 1) + extra[i] + dilations[i] * (kernel[i] - 1) + 1
        before, after = (0, 0) if mode == "VALID" else (given[i], given[i + rank])
        if wanted or mode.startswith("SAME"):
            size = wanted[i] if wanted else extents[i] * strides[i]
            total = max(0, whole - size)
            before = total - total // 2 if mode == "SAME_LOWER" else total // 2
        else:
            size = whole - before - after
        if size < 1:
            raise WorkloadError(
                f"node {node.name!r} ({node.op_type}): padding {before}+{after} leaves nothing of {whole} positions; "
                "check the sizes given for the symbolic dims"
            )
        sizes.append(size)
        axes.append(axis((strides[i], f"p{i}"), (dilations[i], f"r{i}"), offset=-before, extent=size))
    return sizes, axes


def _check_steps(node: Node, steps: Sequence[int]) -> None:
    """Refuse a stride, a dilation or a window that is not at least 1."""
    if min(steps, default=1) < 1:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): strides, dilations and windows are at least 1, not {min(steps)}; "
            "run onnx.checker on the model"
        )
