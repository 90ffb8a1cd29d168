"""Handlers of pools: sliding, global, of regions, and their inverses."""

from __future__ import annotations

import math
from dataclasses import dataclass

from workloads.formats import format_code
from workloads.onnx.builder import Builder, Node, Value, index_names, plain
from workloads.onnx.windows import windows
from workloads.operator import Axis, axis

__all__ = ["PoolingNest", "col2im", "max_unpool", "pool", "pooling_nest"]

_FLOPS = {"LpPool": 2.0}
"""Per point of the window: LpPool takes a power and adds; the others compare or add."""


@dataclass(frozen=True, slots=True)
class PoolingNest:
    """The loop nest of a sliding pool: dims b, c, p0.. (positions), r0.. (window); axes of what it reads and writes."""

    dims: dict[str, int]
    read: tuple[Axis, ...]
    written: tuple[Axis, ...]
    shape: tuple[int, ...]


def pooling_nest(node: Node, x: Value, channels_last: bool = False) -> PoolingNest:
    """Give the nest of a pool with the node's window."""
    kernel = node.ints("kernel_shape")
    sizes, reach = windows(node, x.shape[1:-1] if channels_last else x.shape[2:], kernel)
    batch, channel = plain("b"), plain("c")
    places = [plain(f"p{i}") for i in range(len(sizes))]
    dims = {"b": x.shape[0], "c": x.shape[-1] if channels_last else x.shape[1]}
    dims |= {f"p{i}": size for i, size in enumerate(sizes)} | {f"r{i}": size for i, size in enumerate(kernel)}
    if channels_last:
        shape = (x.shape[0], *sizes, x.shape[-1])
        return PoolingNest(dims, (batch, *reach, channel), (batch, *places, channel), shape)
    return PoolingNest(dims, (batch, channel, *reach), (batch, channel, *places), (*x.shape[:2], *sizes))


def pool(node: Node, builder: Builder) -> None:
    """MaxPool, AveragePool, LpPool; NhwcMaxPool with the channels last."""
    x = builder.value(node, 0)
    nest = pooling_nest(node, x, channels_last=node.op_type.startswith("Nhwc"))
    outputs = [builder.put(node, nest.shape, x.code)]
    if node.has(1):  # MaxPool's indices, for MaxUnpool
        outputs.append(builder.put(node, nest.shape, format_code("int64"), 1))
    results = [builder.tensor(output, nest.written) for output in outputs]
    flops = _FLOPS.get(node.op_type, 1.0)
    builder.emit(node, "pool", nest.dims, [builder.tensor(x, nest.read)], results, flops, code=x.code)


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
