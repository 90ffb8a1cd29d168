"""Cost view of quantization: stored widths, scales, and the conversions that are left to do at run time.

In a batch, a design point may leave a layer alone. Such rows keep the untouched operator with count 1, and what
quantization adds has count 0 and tensors of no bits; the other rows the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from workloads.compress.copying import changed, extent, plain_axes, with_axes
from workloads.compress.quantizer import Granularity
from workloads.compress.targets import block_names, epilogues, own_names, weight_of
from workloads.compress.technique import LayerNum, check_names, resolve
from workloads.compress.widths import Width, Widths
from workloads.errors import TechniqueError
from workloads.formats import FORMATS, Code, format_code
from workloads.identity import identity
from workloads.onnx.builder import plain
from workloads.operator import Axis, Num, Operator, Tensor, axis, is_batch
from workloads.workload import Workload

__all__ = ["quantized_workload"]

_INT8, _UINT8, _INT32, _FP32 = (format_code(name) for name in ("int8", "uint8", "int32", "fp32"))


def quantized_workload(
    workload: Workload,
    base: Workload,
    weight_bits: LayerNum,
    granularity: Granularity,
    group_size: int,
    dynamic: bool,
    blocks: tuple[str, ...],
) -> Workload:
    """Give the workload with quantized products; see `Quantize` for the parameters."""
    targets = own_names(base, blocks)
    check_names(weight_bits, block_names(base, blocks), "weight_bits")
    call = _Call(Widths(weight_bits), granularity, group_size, epilogues(base, blocks) if dynamic else {})
    operators: list[Operator] = []
    for op in workload.operators:
        own = targets.get(op.name)
        if own is None:
            operators += call.forked(op) if op.name in call.forks else (op,)
            continue
        width = call.widths.at(resolve(weight_bits, op.block, "weight_bits"), op.block, weight_of(op))
        if width is None:
            operators.append(op)
        elif not dynamic:
            operators += call.weight_only(op, own, width)
        elif granularity == "group":
            operators.append(call.in_kernel(op, own, width))
        else:
            operators += call.dynamic(op, own, width)
    return replace(workload, operators=tuple(operators))


class _Call:
    """One call of the cost view. It remembers derived arrays: equal operators must hold the same array objects."""

    def __init__(self, widths: Widths, granularity: Granularity, group_size: int, epilogues: Mapping[str, str]) -> None:
        self.widths, self.granularity, self.group_size, self.epilogues = widths, granularity, group_size, epilogues
        self.overheads: dict[Any, Num] = {}
        self.quantized: dict[str, list[Num]] = {}
        self.forks: dict[str, tuple[Tensor, Tensor, Num, Num]] = {}

    def forked(self, op: Operator) -> tuple[Operator, Operator]:
        """Repeat an addition for both alternatives of the product before it: each adds to its own, one of them runs."""
        result, kept, rest, count = self.forks[op.name]
        inputs = tuple(replace(kept, axes=t.axes) if t.name == result.name else t for t in op.inputs)
        (output,) = op.outputs
        return (
            changed(op, inputs=inputs, outputs=(replace(output, bits=rest * output.bits),), count=rest),
            changed(op, name=f"{op.name}:int8", outputs=(replace(output, bits=count * output.bits),), count=count),
        )

    def overhead(self, op: Operator, width: Width) -> Num:
        """Give the bits of scales per value of the matrix [bit]."""
        k, n = op.dims["k"], op.dims["n"]
        weight = weight_of(op)
        key = (identity(k), identity(n), identity(width.count), weight.format)
        if key not in self.overheads:
            bits = FORMATS[int(weight.format)].bits
            if self.granularity == "tensor":
                given = bits / (k * n)
            elif self.granularity == "channel":
                given = bits / k
            else:
                given = np.ceil(k / self.group_size) * bits / k
            self.overheads[key] = width.times(given)
        return self.overheads[key]

    def stored(self, op: Operator, own: str, width: Width, overhead: Num) -> Tensor:
        """Describe the quantized matrix."""
        weight = weight_of(op)
        return Tensor(
            name=own or weight.name,
            axes=weight.axes,
            role="weight",
            bits=width.bits,
            format=width.code,
            overhead_bits=overhead,
        )

    def weight_only(self, op: Operator, own: str, width: Width) -> tuple[Operator, Operator]:
        """Weights stored narrow, turned into floats at run time, multiplied in the activation's format."""
        stored = self.stored(op, own, width, self.overhead(op, width))
        weight, activation = weight_of(op), op.inputs[0]
        names, axes = plain_axes(2)
        swapped = weight.axes[0].terms[0][1] == "n" and self.granularity != "group"
        first, second = ("n", "k") if swapped else ("k", "n")
        bits = width.times(activation.bits)
        convert = Operator(
            name=f"{op.name}:dequantize",
            op_type="DequantizeLinear",
            kind="convert",
            block=op.block,
            dims={names[0]: op.dims[first], names[1]: op.dims[second]},
            inputs=(with_axes(stored, axes),),
            outputs=(Tensor(name=f"{stored.name}:dequantized", axes=axes, bits=bits, format=activation.format),),
            flops_per_point=2.0,
            format=activation.format,
            count=width.count,
        )
        if self.granularity == "group":  # MatMulNBits reads [k, n], whatever the layout was
            stored = with_axes(stored, (plain("k"), plain("n")))
            return convert, changed(op, op_type="MatMulNBits", inputs=(activation, stored, *op.inputs[2:]))
        return convert, changed(op, inputs=(activation, stored, *op.inputs[2:]))

    def in_kernel(self, op: Operator, own: str, width: Width) -> Operator:
        """Activations quantized per block inside the kernel that unpacks the weights (accuracy level 4)."""
        stored = with_axes(self.stored(op, own, width, self.overhead(op, width)), (plain("k"), plain("n")))
        inputs = (op.inputs[0], stored, *op.inputs[2:])
        return changed(op, op_type="MatMulNBits", inputs=inputs, format=width.chosen(_INT8, op.format))

    def dynamic(self, op: Operator, own: str, width: Width) -> list[Operator]:
        """Activations quantized on the way in, an int8 product, int32 sums scaled back to floats."""
        source, bias = op.inputs[0], op.inputs[2:]
        if source.format != _FP32:
            raise TechniqueError(
                f"{op.block}: dynamic W8A8 needs fp32 activations, and they are {FORMATS[int(source.format)].name}; "
                "use weight-only quantization (activation_bits=32)"
            )
        operators = self.quantization(op, source, width)
        output = op.outputs[0]
        stored = self.stored(op, own, width, 0.0)
        mixed = is_batch(width.count)
        if mixed:
            rest = 1.0 - width.count
            kept = replace(output, bits=rest * output.bits)
            if op.name in self.epilogues:
                kept = replace(kept, name=f"{output.name}:kept")
                self.forks[self.epilogues[op.name]] = (output, kept, rest, width.count)
            operators.append(changed(op, inputs=(source, stored, *bias), outputs=(kept,), count=rest))
        stored = with_axes(stored, (plain("k"), plain("n")))  # MatMulInteger reads [k, n], whatever the layout was
        narrow = Tensor(name=f"{source.name}:uint8", axes=source.axes, bits=8, format=_UINT8, role=source.role)
        sums = Tensor(name=f"{output.name}:int32", axes=output.axes, bits=width.times(32), format=_INT32)
        operators.append(
            changed(
                op,
                name=f"{op.name}:int8" if mixed else op.name,
                op_type="MatMulInteger",
                inputs=(narrow, stored),
                outputs=(sums,),
                format=_INT8,
                count=width.count,
            )
        )
        operators += self.rescaling(op, own, width, sums, bias)
        return operators

    def rescaling(self, op: Operator, own: str, width: Width, sums: Tensor, bias: tuple[Tensor, ...]) -> list[Operator]:
        """Scale the int32 sums back to floats, and add the bias."""
        source, weight, output = op.inputs[0], weight_of(op), op.outputs[0]
        names, axes = plain_axes(len(output.axes))
        dims = {name: extent(op, item) for name, item in zip(names, output.axes, strict=True)}
        scale = Tensor(
            name=f"{own or weight.name}:scale",
            axes=axes[-1:],
            role="weight",
            bits=width.times(weight.bits),
            format=weight.format,
        )
        factor = Tensor(name=f"{source.name}:scale", axes=(), bits=source.bits, format=source.format)
        bits = width.times(output.bits)
        result = Tensor(name=f"{op.name}:product" if bias else output.name, axes=axes, bits=bits, format=output.format)
        scales = (scale, factor) if self.granularity == "channel" else (factor,)
        rescale = Operator(
            name=f"{op.name}:rescale",
            op_type="Requantize",
            kind="convert",
            block=op.block,
            dims=dims,
            inputs=(with_axes(sums, axes), *scales),
            outputs=(result,),
            flops_per_point=2.0,
            format=source.format,
            count=width.count,
        )
        if not bias:
            return [rescale]
        last = axes[-1:] if any(item.terms for item in bias[0].axes) else (axis(extent=1),)
        addition = Operator(
            name=f"{op.name}:bias",
            op_type="Add",
            kind="elementwise",
            block=op.block,
            dims=dims,
            inputs=(result, with_axes(bias[0], last)),
            outputs=(Tensor(name=output.name, axes=axes, bits=bits, format=output.format),),
            flops_per_point=1.0,
            format=bias[0].format,
            count=width.count,
        )
        return [rescale, addition]

    def quantization(self, op: Operator, source: Tensor, width: Width) -> list[Operator]:
        """Quantize an activation once, before the first product that reads it quantized (in each design point)."""
        before = self.quantized.setdefault(source.name, [])
        if any(earlier is width.count or not is_batch(earlier) for earlier in before):
            return []
        count = width.count
        for earlier in before:
            count = count * (1 - earlier)
        before.append(width.count)
        suffix = f":{len(before)}" if len(before) > 1 else ""
        names, axes = plain_axes(len(source.axes))
        whole = count if is_batch(count) else 1

        def part(name: str, axes: tuple[Axis, ...], bits: Num, code: Code) -> Tensor:
            return Tensor(name=f"{source.name}:{name}", axes=axes, bits=whole * bits, format=code)

        return [
            Operator(
                name=f"{source.name}:quantize{suffix}",
                op_type="DynamicQuantizeLinear",
                kind="convert",
                block=op.block,
                dims={name: extent(op, item) for name, item in zip(names, source.axes, strict=True)},
                inputs=(with_axes(source, axes),),
                outputs=(
                    part("uint8", axes, 8, _UINT8),
                    part("scale", (), source.bits, source.format),
                    part("zero", (), 8, _UINT8),
                ),
                flops_per_point=5.0,
                format=source.format,
                count=count,
            )
        ]
