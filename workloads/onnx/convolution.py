"""Handlers of convolutions: strided, dilated, padded, grouped, transposed, fused, quantized, channels first or last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workloads.errors import WorkloadError
from workloads.formats import format_code
from workloads.onnx.builder import Builder, Node, Value, dim_axes, dim_names, plain
from workloads.onnx.epilogue import activate, requantize
from workloads.onnx.windows import transposed_windows, windows
from workloads.operator import Axis, Tensor, axis
from workloads.quick import quick

__all__ = [
    "conv",
    "conv_integer",
    "conv_transpose",
    "deform_conv",
    "fused_conv",
    "nhwc_conv",
    "nhwc_fused_conv",
    "qlinear_conv",
]


@quick
@dataclass(frozen=True, slots=True)
class _Nest:
    """The loop nest of a convolution and the axes of its tensors.

    Attributes:
        dims: b, g where grouped, m (filters of a group), c (channels of a group), p0.. (positions), r0.. (window).
        x: Axes of the input.
        w: Axes of the weight.
        y: Axes of the output.
        channel: Axis of the output channels.
        shape: Of the output.
    """

    dims: dict[str, int]
    x: tuple[Axis, ...]
    w: tuple[Axis, ...]
    y: tuple[Axis, ...]
    channel: Axis
    shape: tuple[int, ...]


def conv(node: Node, builder: Builder) -> None:
    """Conv of any rank, grouped, strided, dilated, padded; footprints are exact."""
    x, w = builder.value(node, 0), builder.value(node, 1)
    nest = _nest(node, x, w)
    output = builder.put(node, nest.shape, x.code)
    _emit(node, builder, nest, x, w, output, builder.pair_format(x, w), builder.optional(node, 2))


def nhwc_conv(node: Node, builder: Builder) -> None:
    """NhwcConv: the same with the channels last."""
    x, w = builder.value(node, 0), builder.value(node, 1)
    nest = _nest(node, x, w, channels_last=True)
    output = builder.put(node, nest.shape, x.code)
    _emit(node, builder, nest, x, w, output, builder.pair_format(x, w), builder.optional(node, 2))


def fused_conv(node: Node, builder: Builder) -> None:
    """FusedConv: convolution, then a tensor that is added, then an activation function, in one kernel."""
    _emit_fused(node, builder, channels_last=False)


def nhwc_fused_conv(node: Node, builder: Builder) -> None:
    """NhwcFusedConv: the same with the channels last."""
    _emit_fused(node, builder, channels_last=True)


def _emit_fused(node: Node, builder: Builder, channels_last: bool) -> None:
    x, w = builder.value(node, 0), builder.value(node, 1)
    nest = _nest(node, x, w, channels_last)
    start = len(builder.operators)
    added, function = builder.optional(node, 3), node.text("activation")
    plain_conv = added is None and not function
    result = builder.put(node, nest.shape, x.code) if plain_conv else builder.inner(node, "conv", nest.shape, x.code)
    suffix = "" if plain_conv else ":conv"
    code = builder.pair_format(x, w)
    _emit(node, builder, nest, x, w, result, code, builder.optional(node, 2), suffix, op_type="Conv")
    if not plain_conv:
        activate(node, builder, result, function, added)
    builder.fuse(node, start)


def conv_integer(node: Node, builder: Builder) -> None:
    """ConvInteger: int8 operands, int32 result; zero points ride along."""
    x, w = builder.value(node, 0), builder.value(node, 1)
    nest = _nest(node, x, w)
    output = builder.put(node, nest.shape, format_code("int32"))
    _emit(node, builder, nest, x, w, output, format_code("int8"), None)


def qlinear_conv(node: Node, builder: Builder) -> None:
    """QLinearConv: int8 operands, int32 sums that are scaled to 8 bits on the way out."""
    x, w = builder.value(node, 0), builder.value(node, 3)
    nest = _nest(node, x, w, bool(node.int("channels_last")))
    start = len(builder.operators)
    sums = builder.inner(node, "int32", nest.shape, format_code("int32"))
    _emit(
        node, builder, nest, x, w, sums, format_code("int8"), builder.optional(node, 8), ":conv", op_type="ConvInteger"
    )
    output = builder.put(node, nest.shape, builder.value(node, 7).code)
    requantize(node, builder, sums, output, scales=(1, 2, 4, 5, 6, 7), channel=nest.shape.index(w.shape[0], 1))
    builder.fuse(node, start)


def conv_transpose(node: Node, builder: Builder) -> None:
    """ConvTranspose (and with dynamic pads): every input value meets every weight of its channel.

    The nest walks the input's positions; products that fall outside the output count, as padding does in Conv.
    """
    dynamic = node.op_type == "ConvTransposeWithDynamicPads"
    x, w = builder.value(node, 0), builder.value(node, 1)
    rank, groups = _rank(node, x, w), node.int("group", 1)
    if w.shape[0] != x.shape[1]:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): {x.shape[1]} input channels, but the weight {w.shape} takes "
            f"{w.shape[0]}"
        )
    kernel = node.ints("kernel_shape", w.shape[2:])
    pads = None
    if dynamic and builder.optional(node, 2) is not None:
        pads = [int(pad) for pad in builder.known(node, 2, "pads").ravel()]
    sizes, positions = transposed_windows(node, x.shape[2:], kernel, pads)
    filters, channels = w.shape[1], x.shape[1] // groups
    dims = {"b": x.shape[0]} | ({"g": groups} if groups > 1 else {}) | {"m": filters, "c": channels}
    dims |= {f"p{i}": size for i, size in enumerate(x.shape[2:])} | {f"r{i}": size for i, size in enumerate(kernel)}
    written = [item if item.footprint(dims) == size else axis(extent=size)  # a stride beyond the window leaves gaps
               for item, size in zip(positions, sizes, strict=True)]  # fmt: skip
    inside, outside = _channels(groups, channels, "c"), _channels(groups, filters, "m")
    nest = _Nest(
        dims,
        (plain("b"), inside, *(plain(f"p{i}") for i in range(rank))),
        (inside, plain("m"), *(plain(f"r{i}") for i in range(rank))),
        (plain("b"), outside, *written),
        outside,
        (x.shape[0], filters * groups, *sizes),
    )
    output = builder.put(node, nest.shape, x.code)
    bias = builder.optional(node, 3 if dynamic else 2)
    _emit(node, builder, nest, x, w, output, builder.pair_format(x, w), bias)


def deform_conv(node: Node, builder: Builder) -> None:
    """DeformConv: values sampled between the pixels, then a convolution of the samples; one kernel.

    A sample of n spatial axes is a sum of 2^n weighted values; a mask multiplies it once more.

    Source: Dai et al., Deformable Convolutional Networks, 2017; Zhu et al. 2018 (mask).
    """
    x, w, offset = (builder.value(node, index) for index in range(3))
    mask = builder.optional(node, 4)
    rank, groups = _rank(node, x, w), node.int("group", 1)
    kernel = node.ints("kernel_shape", w.shape[2:])
    sizes, _ = windows(node, x.shape[2:], kernel)
    window = {f"r{i}": size for i, size in enumerate(kernel)}
    places = {f"p{i}": size for i, size in enumerate(sizes)}
    walked = tuple(map(plain, (*window, *places)))
    samples = builder.inner(node, "samples", (*x.shape[:2], *kernel, *sizes), x.code)
    start = len(builder.operators)
    others = [builder.tensor(value, [axis(extent=extent) for extent in value.shape])
              for value in (x, offset, mask) if value is not None]  # fmt: skip
    flops = 2.0 * 2**rank + (mask is not None)
    result = builder.tensor(samples, (plain("b"), plain("ch"), *walked))
    builder.emit(node, "gather", {"b": x.shape[0], "ch": x.shape[1]} | window | places, others, [result], flops,
                 code=x.code, suffix=":sample", op_type="GridSample")  # fmt: skip
    filters, channels = w.shape[0] // groups, w.shape[1]
    dims = {"b": x.shape[0]} | ({"g": groups} if groups > 1 else {}) | {"m": filters, "c": channels} | places | window
    inside, outside = _channels(groups, channels, "c"), _channels(groups, filters, "m")
    spatial = tuple(map(plain, places))
    nest = _Nest(
        dims, (plain("b"), inside, *walked), (outside, plain("c"), *map(plain, window)),
        (plain("b"), outside, *spatial), outside, (x.shape[0], w.shape[0], *sizes),
    )  # fmt: skip
    output = builder.put(node, nest.shape, x.code)
    _emit(
        node, builder, nest, samples, w, output, builder.pair_format(x, w), builder.optional(node, 3), ":conv", "Conv"
    )
    builder.fuse(node, start)


def _rank(node: Node, x: Value, w: Value) -> int:
    if x.rank < 3 or w.rank != x.rank:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): input {x.shape} and weight {w.shape} do not fit each other"
        )
    return x.rank - 2


def _channels(groups: int, size: int, dim: str) -> Axis:
    """Give the axis of channels that lie group by group."""
    return axis((size, "g"), dim) if groups > 1 else plain(dim)


def _nest(node: Node, x: Value, w: Value, channels_last: bool = False) -> _Nest:
    rank, groups = _rank(node, x, w), node.int("group", 1)
    extents = x.shape[1:-1] if channels_last else x.shape[2:]
    given = x.shape[-1] if channels_last else x.shape[1]
    filters, channels = w.shape[0] // groups, w.shape[1]
    if channels * groups != given:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): {given} input channels, but the weight {w.shape} "
            f"in {groups} group(s) takes {channels * groups}"
        )
    kernel = node.ints("kernel_shape", w.shape[2:])
    sizes, reach = windows(node, extents, kernel)
    dims = {"b": x.shape[0]} | ({"g": groups} if groups > 1 else {}) | {"m": filters, "c": channels}
    dims.update(zip(dim_names("p", rank), sizes, strict=True))
    dims.update(zip(dim_names("r", rank), kernel, strict=True))
    inside, outside = _channels(groups, channels, "c"), _channels(groups, filters, "m")
    spatial = dim_axes("p", rank)
    weight = (outside, plain("c"), *dim_axes("r", rank))
    if channels_last:
        shape = (x.shape[0], *sizes, w.shape[0])
        return _Nest(dims, (plain("b"), *reach, inside), weight, (plain("b"), *spatial, outside), outside, shape)
    shape = (x.shape[0], w.shape[0], *sizes)
    return _Nest(dims, (plain("b"), inside, *reach), weight, (plain("b"), outside, *spatial), outside, shape)


def _emit(
    node: Node,
    builder: Builder,
    nest: _Nest,
    x: Value,
    w: Value,
    output: Value,
    code: int,
    bias: Value | None,
    suffix: str = "",
    op_type: str = "",
) -> None:
    """Emit the product; the bias is read, its additions are not counted."""
    inputs: list[Tensor] = [builder.tensor(x, nest.x), builder.tensor(w, nest.w)]
    if bias is not None:
        inputs.append(builder.tensor(bias, (nest.channel,)))
    outputs: Sequence[Tensor] = [builder.tensor(output, nest.y)]
    builder.emit(node, "conv", nest.dims, inputs, outputs, 2, code=code, suffix=suffix, op_type=op_type)
