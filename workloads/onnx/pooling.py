"""Handlers of pools: sliding, global, of regions, and their inverses."""

from __future__ import annotations

import math

from workloads.formats import format_code
from workloads.onnx.builder import Builder, Node, index_names, plain
from workloads.onnx.windows import windows
from workloads.operator import axis

__all__ = ["col2im", "max_unpool", "nhwc_pool", "pool"]

_FLOPS = {"LpPool": 2.0}
"""Per point of the window: LpPool takes a power and adds; the others compare or add."""


def pool(node: Node, builder: Builder) -> None:
    """MaxPool, AveragePool and LpPool."""
    _emit_pool(node, builder, channels_last=False)


def nhwc_pool(node: Node, builder: Builder) -> None:
    """NhwcMaxPool: the same with the channels last."""
    _emit_pool(node, builder, channels_last=True)


def _emit_pool(node: Node, builder: Builder, channels_last: bool) -> None:
    x = builder.value(node, 0)
    kernel = node.ints("kernel_shape")
    extents = x.shape[1:-1] if channels_last else x.shape[2:]
    sizes, reach = windows(node, extents, kernel)
    batch, channel = plain("b"), plain("c")
    places = [plain(f"p{i}") for i in range(len(sizes))]
    if channels_last:
        shape = (x.shape[0], *sizes, x.shape[-1])
        read, written = (batch, *reach, channel), (batch, *places, channel)
    else:
        shape = (*x.shape[:2], *sizes)
        read, written = (batch, channel, *reach), (batch, channel, *places)
    dims = {"b": x.shape[0], "c": shape[-1] if channels_last else shape[1]}
    dims |= {f"p{i}": size for i, size in enumerate(sizes)} | {f"r{i}": size for i, size in enumerate(kernel)}
    outputs = [builder.put(node, shape, x.code)]
    if node.has(1):  # MaxPool's indices, for MaxUnpool
        outputs.append(builder.put(node, shape, format_code("int64"), 1))
    results = [builder.tensor(output, written) for output in outputs]
    flops = _FLOPS.get(node.op_type, 1.0)
    builder.emit(node, "pool", dims, [builder.tensor(x, read)], results, flops, code=x.code)


def max_unpool(node: Node, builder: Builder) -> None:
    """MaxUnpool: values go back to where their indices say; the rest is zero.

    Source: ONNX operator specification, MaxUnpool (its output shape).
    """
    x, indices = builder.value(node, 0), builder.value(node, 1)
    kernel = node.ints("kernel_shape")
    rank = len(kernel)
    strides, pads = node.ints("strides", (1,) * rank), node.ints("pads", (0,) * 2 * rank)
    if builder.optional(node, 2) is not None:
        shape = tuple(int(extent) for extent in builder.known(node, 2, "output shape").ravel())
    else:
        sizes = [(x.shape[2 + i] - 1) * strides[i] + kernel[i] - pads[i] - pads[i + rank] for i in range(rank)]
        shape = (*x.shape[:2], *sizes)
    output = builder.put(node, shape, x.code)
    names = index_names(x.rank)
    axes = [plain(name) for name in names]
    whole = [*axes[:2], *(axis(extent=extent) for extent in shape[2:])]
    inputs = [builder.tensor(x, axes), builder.tensor(indices, axes)]
    dims = dict(zip(names, x.shape, strict=True))
    builder.emit(node, "move", dims, inputs, [builder.tensor(output, whole)], code=x.code)


def col2im(node: Node, builder: Builder) -> None:
    """Col2Im: blocks are added up into an image, one FLOP per value."""
    x = builder.value(node, 0)
    image = [int(extent) for extent in builder.known(node, 1, "image shape").ravel()]
    block = math.prod(int(extent) for extent in builder.known(node, 2, "block shape").ravel())
    output = builder.put(node, (x.shape[0], x.shape[1] // max(1, block), *image), x.code)
    names = index_names(x.rank)
    inputs = [builder.tensor(x, [plain(name) for name in names])]
    written = [plain(names[0]), *(axis(extent=extent) for extent in output.shape[1:])]
    dims = dict(zip(names, x.shape, strict=True))
    builder.emit(node, "reduce", dims, inputs, [builder.tensor(output, written)], 1, code=x.code)
