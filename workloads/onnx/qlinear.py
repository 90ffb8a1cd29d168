"""Handlers of operators on 8-bit values with scales: products that rescale their sums, and element-wise ones.

An element-wise operator counts what it computes: dequantize (subtract, multiply), the operation, quantize (divide,
round, shift). Products multiply in int8 and sum in int32; the sums are scaled on the way out of the same kernel.
"""

from __future__ import annotations

from workloads.formats import format_code
from workloads.onnx.builder import Builder, Node, Value, broadcast_axes, index_names, plain
from workloads.onnx.elementwise import broadcast_shape, emit_reduction
from workloads.onnx.epilogue import requantize
from workloads.onnx.pooling import pooling_nest
from workloads.onnx.products import emit_gemm, emit_matmul, gemm_shape, matmul_shape
from workloads.opcounts import ACTIVATIONS
from workloads.operator import axis

__all__ = [
    "dynamic_quantize_matmul",
    "matmul_integer_to_float",
    "mul_integer",
    "qgemm",
    "qlinear_average_pool",
    "qlinear_binary",
    "qlinear_concat",
    "qlinear_global_average_pool",
    "qlinear_matmul",
    "qlinear_reduce_mean",
    "qlinear_softmax",
    "qlinear_unary",
    "qlinear_where",
]

_DEQUANTIZE, _QUANTIZE = 2.0, 3.0
_BINARY = {
    "QLinearAdd": 2 * _DEQUANTIZE + 1 + _QUANTIZE,
    "QLinearMul": 6.0,  # two shifts, the product, one scale for all three tensors, round, shift
}
_UNARY = {"QLinearLeakyRelu": ACTIVATIONS["LeakyRelu"], "QLinearSigmoid": ACTIVATIONS["Sigmoid"]}


def qlinear_matmul(node: Node, builder: Builder) -> None:
    """QLinearMatMul."""
    a, b, zero = (builder.value(node, index) for index in (0, 3, 7))
    shape = matmul_shape(node, a.shape, b.shape)
    start = len(builder.operators)
    sums = builder.inner(node, "int32", shape, format_code("int32"))
    emit_matmul(node, builder, a, b, sums, code=format_code("int8"), suffix=":product")
    requantize(node, builder, sums, builder.put(node, shape, zero.code), scales=(1, 2, 4, 5, 6, 7))
    builder.fuse(node, start)


def qgemm(node: Node, builder: Builder) -> None:
    """QGemm: with an output scale an 8-bit result, without one floats."""
    a, b = builder.value(node, 0), builder.value(node, 3)
    scale, zero = builder.value(node, 1), builder.optional(node, 8)
    shape = gemm_shape(node, a, b)
    start = len(builder.operators)
    sums = builder.inner(node, "int32", shape, format_code("int32"))
    emit_gemm(node, builder, a, b, builder.optional(node, 6), sums, format_code("int8"), ":product")
    code = scale.code if zero is None else zero.code
    flops = 1.0 if zero is None else _QUANTIZE
    requantize(node, builder, sums, builder.put(node, shape, code), scales=(1, 2, 4, 5, 7, 8), flops=flops)
    builder.fuse(node, start)


def matmul_integer_to_float(node: Node, builder: Builder) -> None:
    """MatMulIntegerToFloat: int8 operands, sums scaled to floats, perhaps a bias."""
    a, b, scale = (builder.value(node, index) for index in range(3))
    shape = matmul_shape(node, a.shape, b.shape)
    start = len(builder.operators)
    sums = builder.inner(node, "int32", shape, format_code("int32"))
    emit_matmul(node, builder, a, b, sums, code=format_code("int8"), suffix=":product")
    flops = 2.0 + (builder.optional(node, 6) is not None)
    requantize(node, builder, sums, builder.put(node, shape, scale.code), scales=(2, 3, 4, 5, 6), flops=flops)
    builder.fuse(node, start)


def dynamic_quantize_matmul(node: Node, builder: Builder) -> None:
    """DynamicQuantizeMatMul: activations quantized on the way in, an int8 product, sums scaled to floats."""
    a, b = builder.value(node, 0), builder.value(node, 1)
    shape = matmul_shape(node, a.shape, b.shape)
    start = len(builder.operators)
    names = index_names(a.rank)
    axes = [plain(name) for name in names]
    narrow = builder.inner(node, "uint8", a.shape, format_code("uint8"))
    builder.emit(
        node, "convert", dict(zip(names, a.shape, strict=True)), [builder.tensor(a, axes)],
        [builder.tensor(narrow, axes)], 5, code=a.code, suffix=":quantize", op_type="DynamicQuantizeLinear",
    )  # fmt: skip
    sums = builder.inner(node, "int32", shape, format_code("int32"))
    emit_matmul(node, builder, narrow, b, sums, code=format_code("int8"), suffix=":product")
    flops = 2.0 + (builder.optional(node, 4) is not None)
    requantize(node, builder, sums, builder.put(node, shape, a.code), scales=(2, 3, 4), flops=flops)
    builder.fuse(node, start)


def qlinear_binary(node: Node, builder: Builder) -> None:
    """QLinearAdd and QLinearMul, with broadcasting."""
    a, b = builder.value(node, 0), builder.value(node, 3)
    shape = broadcast_shape(node, [a.shape, b.shape])
    output = builder.put(node, shape, a.code)
    _emit(node, builder, "elementwise", [a, b], output, (1, 2, 4, 5, 6, 7), _BINARY[node.op_type])


def mul_integer(node: Node, builder: Builder) -> None:
    """MulInteger: two shifted operands multiplied in int32."""
    a, b = builder.value(node, 0), builder.value(node, 2)
    output = builder.put(node, broadcast_shape(node, [a.shape, b.shape]), format_code("int32"))
    _emit(node, builder, "elementwise", [a, b], output, (1, 3), 3.0)


def qlinear_unary(node: Node, builder: Builder) -> None:
    """QLinearSigmoid and QLinearLeakyRelu."""
    x = builder.value(node, 0)
    flops = _DEQUANTIZE + _UNARY[node.op_type] + _QUANTIZE
    _emit(node, builder, "activation", [x], builder.put(node, x.shape, x.code), (1, 2, 3, 4), flops)


def qlinear_softmax(node: Node, builder: Builder) -> None:
    """QLinearSoftmax."""
    x = builder.value(node, 0)
    flops = _DEQUANTIZE + 5.0 + _QUANTIZE
    _emit(node, builder, "softmax", [x], builder.put(node, x.shape, x.code), (1, 2, 3, 4), flops)


def qlinear_where(node: Node, builder: Builder) -> None:
    """QLinearWhere: a choice between tensors of two scales."""
    values = [builder.value(node, index) for index in (0, 1, 4)]
    output = builder.put(node, broadcast_shape(node, [value.shape for value in values]), values[1].code)
    _emit(node, builder, "elementwise", values, output, (2, 3, 5, 6, 7, 8), _DEQUANTIZE + _QUANTIZE)


def qlinear_concat(node: Node, builder: Builder) -> None:
    """QLinearConcat: tensors of different scales, rescaled side by side."""
    values = [builder.value(node, index) for index in range(2, len(node.inputs), 3)]
    position = builder.position(node, node.int("axis"), values[0].rank)
    shape = list(values[0].shape)
    shape[position] = sum(value.shape[position] for value in values)
    output = builder.put(node, shape, values[0].code)
    names = index_names(output.rank)
    dims = dict(zip(names, output.shape, strict=True))
    inputs = [
        builder.tensor(v, [axis(extent=v.shape[i]) if i == position else plain(name) for i, name in enumerate(names)])
        for v in values
    ]
    outputs = [builder.tensor(output, [plain(name) for name in names])]
    builder.emit(node, "convert", dims, inputs, outputs, _DEQUANTIZE + _QUANTIZE)


def qlinear_average_pool(node: Node, builder: Builder) -> None:
    """QLinearAveragePool: integer sums of windows, rescaled."""
    x = builder.value(node, 0)
    nest = pooling_nest(node, x, channels_last=bool(node.int("channels_last")))
    start = len(builder.operators)
    sums = builder.inner(node, "int32", nest.shape, format_code("int32"))
    builder.emit(
        node, "pool", nest.dims, [builder.tensor(x, nest.read)], [builder.tensor(sums, nest.written)], 1,
        code=x.code, suffix=":pool", op_type="AveragePool",
    )  # fmt: skip
    requantize(node, builder, sums, builder.put(node, nest.shape, x.code), scales=(1, 2, 3, 4))
    builder.fuse(node, start)


def qlinear_global_average_pool(node: Node, builder: Builder) -> None:
    """QLinearGlobalAveragePool."""
    x = builder.value(node, 0)
    spatial = range(1, x.rank - 1) if node.int("channels_last") else range(2, x.rank)
    _emit_mean(node, builder, x, set(spatial), keep=True)


def qlinear_reduce_mean(node: Node, builder: Builder) -> None:
    """QLinearReduceMean."""
    x = builder.value(node, 0)
    axes = {builder.position(node, item, x.rank) for item in node.ints("axes", range(x.rank))}
    _emit_mean(node, builder, x, axes, keep=bool(node.int("keepdims", 1)))


def _emit_mean(node: Node, builder: Builder, x: Value, reduced: set[int], keep: bool) -> None:
    """Emit a mean of integers: a reduction to int32 sums, rescaled."""
    start = len(builder.operators)
    shape = [1 if p in reduced else extent for p, extent in enumerate(x.shape) if keep or p not in reduced]
    sums = builder.inner(node, "int32", shape, format_code("int32"))
    emit_reduction(node, builder, x, reduced, sums, keep, suffix=":sum")
    requantize(node, builder, sums, builder.put(node, shape, x.code), scales=(1, 2, 3, 4))
    builder.fuse(node, start)


def _emit(
    node: Node, builder: Builder, kind: str, values: list[Value], output: Value, scales: tuple[int, ...], flops: float
) -> None:
    """Emit an element-wise operator; scales and zero points are read."""
    names = index_names(output.rank)
    inputs = [builder.tensor(value, broadcast_axes(value.shape, names, output.shape)) for value in values]
    for index in scales:
        scale = builder.optional(node, index)
        if scale is not None:
            inputs.append(builder.tensor(scale, [axis(extent=extent) for extent in scale.shape]))
    dims = dict(zip(names, output.shape, strict=True))
    builder.emit(node, kind, dims, inputs, [builder.tensor(output, [plain(name) for name in names])], flops)
