"""`Quantize`: round-to-nearest weights per tensor, channel or group at 2 to 8 bits, and dynamic W8A8.

Containers: ONNX holds no 3-, 5-, 6- or 7-bit integers and MatMulNBits takes 2, 4 and 8 bits. Other widths sit in the
next container, with the true width in the initializer's metadata; the cost view speaks of the true width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from workloads.compress.edit import MICROSOFT, ModelEditor, attributes_of, workload_of
from workloads.compress.quantizer import Granularity, container_bits, pack_blocks, quantize_matrix
from workloads.compress.technique import LayerNum, resolve
from workloads.errors import TechniqueError
from workloads.formats import FORMATS, Code, format_code, integer_code
from workloads.knobs import PerLayer
from workloads.onnx.builder import index_names, plain
from workloads.operator import Num, Operator, Tensor, axis, is_batch
from workloads.structure.patterns import is_weighted
from workloads.workload import Workload

if TYPE_CHECKING:
    import onnx

__all__ = ["KEEP_BITS", "Quantize", "quantizable"]

KEEP_BITS = 16
"""Widths from here on leave a layer as it is stored."""

_INT4 = 22  # onnx.TensorProto.INT4
_INT8_CODE, _UINT8_CODE, _INT32_CODE = format_code("int8"), format_code("uint8"), format_code("int32")


def quantizable(workload: Workload, blocks: tuple[str, ...] = ("layer", "fc")) -> tuple[Operator, ...]:
    """List the products with a stored float matrix in the given blocks (default: the layers, not embedding or head)."""
    return tuple(
        op
        for op in workload.operators
        if is_weighted(op)
        and op.block.split(".")[0] in blocks
        and FORMATS[int(_weight(op).format)].kind == "float"  # type: ignore[arg-type]  # scalar workload
    )


def _weight(op: Operator) -> Tensor:
    return next(tensor for tensor in op.inputs if tensor.role == "weight" and len(tensor.axes) == 2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantize:
    """Symmetric round-to-nearest quantization of the products with stored matrices.

    Attributes:
        weight_bits: 2 to 8 per layer; `KEEP_BITS` and more leaves a layer as it is.
        granularity: One scale per tensor, per output channel, or per group of input rows.
        group_size: Rows per group; a power of two of at least 16 (MatMulNBits).
        activation_bits: 8: activations are quantized dynamically and the product runs in int8 (W8A8); 16 and more:
            weight-only, the product runs in the activation's format.
        clip: "max" or "mse", see `quantize_matrix`.
        blocks: First parts of the block names to quantize.

    Example:
        >>> Quantize(weight_bits=4, granularity="group", group_size=32).to_dict()["weight_bits"]
        4

    Source: Gholami et al., A Survey of Quantization Methods for Efficient Neural Network Inference, 2021.
    """

    weight_bits: LayerNum = 8
    granularity: Granularity = "channel"
    group_size: int = 32
    activation_bits: int = 32
    clip: Literal["max", "mse"] = "max"
    blocks: tuple[str, ...] = ("layer", "fc")

    def __post_init__(self) -> None:
        if self.granularity not in ("tensor", "channel", "group"):
            raise TechniqueError(f"granularity is tensor, channel or group, not {self.granularity!r}")
        if self.granularity == "group" and (self.group_size < 16 or self.group_size & (self.group_size - 1)):
            raise TechniqueError(f"group_size is a power of two of at least 16, not {self.group_size}")
        if self.activation_bits != 8 and self.activation_bits < KEEP_BITS:
            raise TechniqueError(f"activation_bits is 8 (dynamic W8A8) or {KEEP_BITS} and more, not {self.activation_bits}")
        if self.dynamic and self.granularity == "group":
            raise TechniqueError("dynamic W8A8 has one scale per tensor or channel; MatMulInteger knows no groups")

    @property
    def dynamic(self) -> bool:
        """Whether activations are quantized at run time."""
        return self.activation_bits == 8

    def fit(self, model: onnx.ModelProto) -> Quantize:
        """Give itself: round-to-nearest needs no data."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Give the parameters as plain data."""
        bits = self.weight_bits
        if isinstance(bits, PerLayer):
            bits = dict(zip(bits.blocks, np.asarray(bits.values).tolist(), strict=True))
        return {
            "technique": "Quantize",
            "weight_bits": bits.tolist() if isinstance(bits, np.ndarray) else bits,
            "granularity": self.granularity,
            "group_size": self.group_size,
            "activation_bits": self.activation_bits,
            "clip": self.clip,
        }

    def cost(self, workload: Workload, base: Workload) -> Workload:
        """Give the workload with stored bits, scales, and the conversions that are left to do at run time."""
        targets = {op.name: op.block for op in quantizable(base, self.blocks)}
        readers: dict[str, int] = {}
        for op in workload.operators:
            for tensor in op.inputs:
                if tensor.role == "weight":
                    readers[tensor.name] = readers.get(tensor.name, 0) + 1
        operators: list[Operator] = []
        quantized_inputs: set[str] = set()
        for op in workload.operators:
            if op.name not in targets:
                operators.append(op)
                continue
            bits = resolve(self.weight_bits, targets[op.name], "weight_bits")
            if not is_batch(bits) and bits >= KEEP_BITS:
                operators.append(op)
                continue
            _check_bits(bits, op.block)
            own = _renamed(op) if readers[_weight(op).name] > 1 else op
            if self.dynamic:
                operators.extend(_dynamic(own, bits, self.granularity, quantized_inputs))
            else:
                operators.extend(_weight_only(own, bits, self.granularity, self.group_size))
        return replace(workload, operators=tuple(operators))

    def apply(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Give the model with really quantized weights, in containers that ONNX Runtime executes."""
        editor = ModelEditor(model)
        shared: dict[str, tuple[str, str, str]] = {}
        for op in quantizable(workload_of(model), self.blocks):
            bits = float(resolve(self.weight_bits, op.block, "weight_bits"))  # type: ignore[arg-type]  # one point
            if bits < KEEP_BITS:
                _check_bits(bits, op.block)
                self._apply_one(editor, op, int(bits), shared)
        return editor.finish(domains=(MICROSOFT,), ir_version=10)

    def _apply_one(self, editor: ModelEditor, op: Operator, bits: int, shared: dict[str, tuple[str, str, str]]) -> None:
        from onnx.helper import make_node

        name = op.nodes[-1]
        node = editor.nodes[name]
        matrix, stored = _float_matrix(editor, name)
        quantized = quantize_matrix(matrix, bits, self.granularity, self.group_size, self.clip)
        bias = node.input[2] if node.op_type == "Gemm" and len(node.input) > 2 else ""
        wanted = editor.free_name(f"{stored}:int{bits}")
        if self.granularity == "group":
            container = container_bits(bits)
            blobs, scales = pack_blocks(quantized, container)
            inputs = [node.input[0], editor.store(wanted, blobs, bits=bits)]
            inputs.append(editor.store(editor.free_name(f"{stored}:scales"), scales))
            inputs += ["", "", bias] if bias else []
            extra = {"K": matrix.shape[0], "N": matrix.shape[1], "bits": container, "block_size": self.group_size}
            editor.replace(name, [make_node("MatMulNBits", inputs, node.output, name, domain=MICROSOFT, **extra)])
            return
        scales = quantized.scales.reshape(() if self.granularity == "tensor" else -1)
        scale_name = editor.store(editor.free_name(f"{stored}:scale"), scales)
        if self.dynamic:
            weight = editor.store(wanted, quantized.integers, bits=bits)
            editor.replace(name, _integer_product(node, name, weight, scale_name, bias, shared))
            return
        wide = container_bits(bits, (4, 8)) == 8
        weight = editor.store(wanted, quantized.integers, bits=bits, element=None if wide else _INT4)
        floats = f"{wanted}:dequantized"
        axis_given = {} if self.granularity == "tensor" else {"axis": 1}
        convert = make_node(
            "DequantizeLinear", [weight, scale_name], [floats], f"{name}:dequantize", domain=MICROSOFT, **axis_given
        )
        editor.replace(name, [convert, *_with_weight(node, name, floats, bias)])


def _check_bits(bits: Num, block: str) -> None:
    values = np.asarray(bits)
    wrong = values[((values < 2) | (values > 8) | (values != np.round(values))) & (values < KEEP_BITS)]
    if wrong.size:
        raise TechniqueError(
            f"weight_bits of {block}: {wrong.ravel()[0]:g} is not 2 to 8 (or {KEEP_BITS} and more, to leave it alone)"
        )


def _float_matrix(editor: ModelEditor, name: str) -> tuple[Any, str]:
    """Read a product's stored matrix as [k, n], with the name it is stored under."""
    node = editor.nodes[name]
    source = node.input[1]
    transposed = False
    producer = next((item for item in editor.model.graph.node if source in item.output), None)
    if producer is not None and producer.op_type == "Transpose":
        source, transposed = producer.input[0], True
    matrix = editor.array(source)
    matrix = matrix.T if transposed else matrix
    if node.op_type == "Gemm":
        given = attributes_of(node)
        if given.get("transA") or given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0:
            raise TechniqueError(f"node {name!r} (Gemm): alpha, beta and transA are not supported; export it as MatMul")
        matrix = matrix.T if given.get("transB") else matrix
    return np.ascontiguousarray(matrix), source


def _with_weight(node: Any, name: str, weight: str, bias: str) -> list[Any]:
    """Let a product read another matrix, stored as [k, n]."""
    from onnx.helper import make_node

    inputs = [node.input[0], weight, *([bias] if bias else [])]
    return [make_node(node.op_type, inputs, node.output, name)]


def _integer_product(
    node: Any, name: str, weight: str, scale: str, bias: str, shared: dict[str, tuple[str, str, str]]
) -> list[Any]:
    """Write the chain that ONNX Runtime fuses into one int8 kernel; products of one input share its quantization."""
    from onnx.helper import make_node

    source = node.input[0]
    nodes = []
    if source not in shared:
        shared[source] = (f"{source}:uint8", f"{source}:scale", f"{source}:zero")
        nodes.append(make_node("DynamicQuantizeLinear", [source], shared[source], f"{source}:quantize"))
    integers, activation_scale, zero = shared[source]
    product, floats, both = f"{name}:int32", f"{name}:float", f"{name}:scales"
    result = f"{name}:product" if bias else node.output[0]
    nodes += [
        make_node("MatMulInteger", [integers, weight, zero], [product], name),
        make_node("Cast", [product], [floats], f"{name}:cast", to=1),
        make_node("Mul", [activation_scale, scale], [both], f"{name}:scale"),
        make_node("Mul", [floats, both], [result], f"{name}:rescale"),
    ]
    if bias:
        nodes.append(make_node("Add", [result, bias], node.output, f"{name}:bias"))
    return nodes


def _renamed(op: Operator) -> Operator:
    """Give a product its own copy of a matrix that others read too (tied weights)."""
    weight = _weight(op)
    own = replace(weight, name=f"{weight.name}@{op.name}")
    return replace(op, inputs=tuple(own if tensor is weight else tensor for tensor in op.inputs))


def _chosen(bits: Num, quantized: Any, kept: Any) -> Any:
    """Pick, per design point, the quantized or the untouched value."""
    return np.where(np.asarray(bits) < KEEP_BITS, quantized, kept) if is_batch(bits) else quantized


def _codes(bits: Num, kept: Code) -> Code:
    if not is_batch(bits):
        return integer_code(bits)
    clipped = np.where(np.asarray(bits) < KEEP_BITS, bits, 8)
    return np.where(np.asarray(bits) < KEEP_BITS, integer_code(clipped), kept)


def _stored(op: Operator, bits: Num, overhead: Num) -> Tensor:
    weight = _weight(op)
    return replace(
        weight,
        bits=_chosen(bits, bits, weight.bits),
        format=_codes(bits, weight.format),
        overhead_bits=_chosen(bits, overhead, weight.overhead_bits),
    )


def _weight_only(op: Operator, bits: Num, granularity: Granularity, group_size: int) -> list[Operator]:
    """Weights stored narrow, turned into floats at run time, multiplied in the activation's format."""
    weight = _weight(op)
    k, n = op.dims["k"], op.dims["n"]
    scales = 1 if granularity == "tensor" else n if granularity == "channel" else np.ceil(k / group_size) * n
    if not is_batch(scales):
        scales = int(scales)  # type: ignore[arg-type]  # not a batch
    scale_bits = FORMATS[int(weight.format)].bits  # type: ignore[arg-type]  # the base is scalar
    stored = _stored(op, bits, scales * scale_bits / (k * n))
    activation = next(tensor for tensor in op.inputs if tensor.role != "weight")
    names = index_names(2)
    first, second = (("n", "k") if weight.axes[0].terms[0][1] == "n" else ("k", "n")) if granularity != "group" else ("k", "n")
    axes = tuple(plain(name) for name in names)
    convert = Operator(
        name=f"{op.name}:dequantize",
        op_type="DequantizeLinear",
        kind="convert",
        block=op.block,
        dims={names[0]: op.dims[first], names[1]: op.dims[second]},
        inputs=(replace(stored, axes=axes),),
        outputs=(
            Tensor(name=f"{weight.name}:dequantized", axes=axes, bits=activation.bits, format=activation.format),
        ),
        flops_per_point=2.0,
        format=activation.format,
        count=_chosen(bits, 1, 0),
    )
    return [convert, replace(op, inputs=tuple(stored if tensor is weight else tensor for tensor in op.inputs))]


def _dynamic(op: Operator, bits: Num, granularity: Granularity, done: set[str]) -> list[Operator]:
    """Activations quantized on the way in, an int8 product, int32 sums scaled back to floats."""
    if is_batch(bits):
        raise TechniqueError("dynamic W8A8 with a batch of widths: make activation_bits a structural knob, widths per row")
    weight = _weight(op)
    source = next(tensor for tensor in op.inputs if tensor.role != "weight")
    bias = tuple(tensor for tensor in op.inputs if tensor.role == "weight" and tensor is not weight)
    output = op.outputs[0]
    shape_in = [op.dims[item.terms[0][1]] if item.terms else item.extent or 1 for item in source.axes]
    operators: list[Operator] = []
    narrow = replace(source, name=f"{source.name}:uint8", bits=8, format=_UINT8_CODE)
    if source.name not in done:
        done.add(source.name)
        operators.append(_quantization(op, source, shape_in))
    stored = replace(weight, bits=bits, format=integer_code(bits), overhead_bits=0.0)
    sums = replace(output, name=f"{output.name}:int32", bits=32, format=_INT32_CODE)
    operators.append(replace(op, op_type="MatMulInteger", inputs=(narrow, stored), outputs=(sums,), format=_INT8_CODE))
    names = index_names(len(output.axes))
    axes = tuple(plain(name) for name in names)
    dims = {name: op.dims[item.terms[0][1]] for name, item in zip(names, output.axes, strict=True)}
    scale = Tensor(
        name=f"{weight.name}:scale", axes=axes[-1:], role="weight", bits=weight.bits, format=weight.format
    )
    factor = Tensor(name=f"{source.name}:scale", axes=(), bits=source.bits, format=source.format)
    result = replace(output, axes=axes, name=f"{op.name}:product" if bias else output.name)
    scales = (scale, factor) if granularity == "channel" else (factor,)
    operators.append(
        Operator(
            name=f"{op.name}:rescale",
            op_type="Requantize",
            kind="convert",
            block=op.block,
            dims=dims,
            inputs=(replace(sums, axes=axes), *scales),
            outputs=(result,),
            flops_per_point=2.0,
            format=source.format,
        )
    )
    if bias:
        operators.append(_bias_addition(op, bias[0], result, replace(output, axes=axes), dims))
    return operators


def _quantization(op: Operator, source: Tensor, shape: list[Num]) -> Operator:
    names = index_names(len(shape))
    axes = tuple(plain(name) for name in names)
    outputs = (
        Tensor(name=f"{source.name}:uint8", axes=axes, bits=8, format=_UINT8_CODE),
        Tensor(name=f"{source.name}:scale", axes=(), bits=source.bits, format=source.format),
        Tensor(name=f"{source.name}:zero", axes=(), bits=8, format=_UINT8_CODE),
    )
    return Operator(
        name=f"{source.name}:quantize",
        op_type="DynamicQuantizeLinear",
        kind="convert",
        block=op.block,
        dims=dict(zip(names, shape, strict=True)),
        inputs=(replace(source, axes=axes),),
        outputs=outputs,
        flops_per_point=5.0,
        format=source.format,
    )


def _bias_addition(op: Operator, bias: Tensor, product: Tensor, output: Tensor, dims: dict[str, Num]) -> Operator:
    last = output.axes[-1:] if any(item.terms for item in bias.axes) else (axis(extent=1),)
    return Operator(
        name=f"{op.name}:bias",
        op_type="Add",
        kind="elementwise",
        block=op.block,
        dims=dims,
        inputs=(product, replace(bias, axes=last)),
        outputs=(output,),
        flops_per_point=1.0,
        format=bias.format,
    )
