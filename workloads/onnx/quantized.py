"""Handlers of conversions in quantized graphs: QuantizeLinear, DequantizeLinear, dynamic quantization."""

from __future__ import annotations

from workloads.formats import FORMATS, format_code
from workloads.onnx.builder import Builder, Node, Value, broadcast_axes, index_names, plain
from workloads.onnx.dtypes import code_of_onnx
from workloads.operator import axis

__all__ = ["dequantize_linear", "dynamic_quantize", "quantize_linear"]


def dequantize_linear(node: Node, builder: Builder) -> None:
    """DequantizeLinear: of a stored weight, the work that turns it into floats; of an activation, a conversion."""
    value, scale = builder.value(node, 0), builder.value(node, 1)
    zero = builder.optional(node, 2)
    number = node.int("output_dtype")
    output = builder.put(node, value.shape, code_of_onnx(number, node.name) if number else scale.code)
    if value.constant:
        extra = sum(other.size * FORMATS[other.code].bits for other in (scale, zero) if other is not None)
        output.root, output.bits, output.stored = value.root, value.bits, value.stored
        output.overhead_bits = value.overhead_bits + extra / max(value.size, 1)
        output.chain = (*value.chain, node.name)
    _emit_conversion(node, builder, value, [output], 2.0)


def quantize_linear(node: Node, builder: Builder) -> None:
    """QuantizeLinear with a given scale: divide, round and shift."""
    value = builder.value(node, 0)
    zero = builder.optional(node, 2)
    number = node.int("output_dtype")
    code = zero.code if zero is not None else code_of_onnx(number, node.name) if number else format_code("uint8")
    _emit_conversion(node, builder, value, [builder.put(node, value.shape, code)], 3.0)


def dynamic_quantize(node: Node, builder: Builder) -> None:
    """DynamicQuantizeLinear: find the range (min, max), then divide, round and shift to uint8."""
    value = builder.value(node, 0)
    code = format_code("uint8")
    outputs = [builder.put(node, value.shape, code)]
    for index, part in ((1, value.code), (2, code)):
        if index < len(node.outputs) and node.outputs[index]:
            outputs.append(builder.put(node, (), part, index))
    _emit_conversion(node, builder, value, outputs, 5.0)


def _emit_conversion(node: Node, builder: Builder, value: Value, outputs: list[Value], flops: float) -> None:
    names = index_names(value.rank)
    tensors = [builder.tensor(value, [plain(name) for name in names])]
    for index in range(1, len(node.inputs)):
        other = builder.optional(node, index)
        if other is not None and not value.constant:
            fits = other.rank <= value.rank and all(
                a in (1, b) for a, b in zip(other.shape[::-1], value.shape[::-1], strict=False)
            )
            axes = broadcast_axes(other.shape, names, value.shape) if fits else [axis(extent=e) for e in other.shape]
            tensors.append(builder.tensor(other, axes))
    results = [builder.tensor(output, [plain(name) for name in names[: output.rank]]) for output in outputs]
    dims = dict(zip(names, value.shape, strict=True))
    builder.emit(
        node, "convert", dims, tensors, results, flops, code=value.code if not value.constant else outputs[0].code
    )
