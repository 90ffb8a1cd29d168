"""Real view of quantization: integers in containers that ONNX Runtime executes.

Containers: ONNX holds no 3-, 5-, 6- or 7-bit integers and MatMulNBits takes 2, 4 and 8 bits. Other widths sit in the
next container, with the true width in the initializer's metadata.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workloads.compress.edit import MICROSOFT, ModelEditor, attributes_of
from workloads.compress.quantizer import Granularity, QuantizedMatrix, container_bits, pack_blocks, quantize_matrix
from workloads.errors import TechniqueError
from workloads.operator import Operator

__all__ = ["MatrixWriter"]

_INT4 = 22  # onnx.TensorProto.INT4
_INT8_ACTIVATIONS = 4  # MatMulNBits accuracy_level: activations quantized to int8 per block


@dataclass(slots=True)
class MatrixWriter:
    """Replaces products of a model one by one. It changes: it remembers which activations are quantized already."""

    editor: ModelEditor
    granularity: Granularity
    group_size: int
    dynamic: bool
    clip: Literal["max", "mse"]
    shared: dict[str, tuple[str, str, str]] = field(default_factory=dict)

    def write(self, op: Operator, bits: int) -> None:
        """Quantize the matrix of one product and put the product that reads it in its place."""
        name = op.nodes[-1]
        node = self.editor.nodes[name]
        matrix = _float_matrix(self.editor, name)
        try:
            quantized = quantize_matrix(matrix, bits, self.granularity, self.group_size, self.clip)
        except TechniqueError as error:
            raise TechniqueError(f"{op.block}, tensor {op.inputs[1].name!r}: {error}") from None
        wanted = self.editor.free_name(f"{op.inputs[1].name}:int{bits}")
        if self.granularity == "group":
            nodes = self._block_product(node, name, quantized, bits, wanted)
        elif self.dynamic:
            nodes = self._integer_product(op, node, name, quantized, bits, wanted)
        else:
            nodes = self._dequantized_product(node, name, quantized, bits, wanted)
        self.editor.replace(name, nodes)

    def _bias(self, node: Any) -> str:
        """Give the vector that a Gemm adds, scaled by its beta; "" where there is none."""
        if node.op_type != "Gemm" or len(node.input) < 3 or not node.input[2]:
            return ""
        beta = attributes_of(node).get("beta", 1.0)
        if beta == 1.0:
            return str(node.input[2])
        if beta == 0.0:
            return ""
        vector = self.editor.array(node.input[2])
        scaled = (beta * vector).astype(vector.dtype)
        return self.editor.store(self.editor.free_name(f"{node.input[2]}:scaled"), scaled)

    def _scales(self, quantized: QuantizedMatrix, wanted: str) -> str:
        shape: tuple[int, ...] = () if self.granularity == "tensor" else (-1,)
        return self.editor.store(self.editor.free_name(f"{wanted}:scale"), quantized.scales.reshape(shape))

    def _block_product(self, node: Any, name: str, quantized: QuantizedMatrix, bits: int, wanted: str) -> list[Any]:
        from onnx.helper import make_node

        container = container_bits(bits)
        blobs, scales = pack_blocks(quantized, container)
        inputs = [node.input[0], self.editor.store(wanted, blobs, bits=bits)]
        inputs.append(self.editor.store(self.editor.free_name(f"{wanted}:scales"), scales))
        if bias := self._bias(node):
            inputs += ["", "", bias]
        k, n = quantized.integers.shape
        extra: dict[str, Any] = {"K": k, "N": n, "bits": container, "block_size": self.group_size}
        if self.dynamic:
            extra["accuracy_level"] = _INT8_ACTIVATIONS
        return [make_node("MatMulNBits", inputs, node.output, name, domain=MICROSOFT, **extra)]

    def _dequantized_product(
        self, node: Any, name: str, quantized: QuantizedMatrix, bits: int, wanted: str
    ) -> list[Any]:
        """DequantizeLinear in front of the product; the layout [k, n] or [n, k] stays what it was."""
        from onnx.helper import make_node

        given = attributes_of(node)
        transposed = bool(given.get("transB"))
        integers = np.ascontiguousarray(quantized.integers.T) if transposed else quantized.integers
        element = None if container_bits(bits, (4, 8)) == 8 else _INT4
        weight = self.editor.store(wanted, integers, bits=bits, element=element)
        scale, floats = self._scales(quantized, wanted), f"{wanted}:dequantized"
        axis: dict[str, Any] = {} if self.granularity == "tensor" else {"axis": 0 if transposed else 1}
        # ONNX Runtime's own domain: the standard operator takes int4 from opset 21 on only
        convert = make_node(
            "DequantizeLinear", [weight, scale], [floats], f"{name}:dequantize", domain=MICROSOFT, **axis
        )
        bias = self._bias(node)
        inputs = [node.input[0], floats, *([bias] if bias else [])]
        extra: dict[str, Any] = {"transB": 1} if transposed else {}
        return [convert, make_node(node.op_type, inputs, node.output, name, **extra)]

    def _integer_product(
        self, op: Operator, node: Any, name: str, quantized: QuantizedMatrix, bits: int, wanted: str
    ) -> list[Any]:
        """Write the chain that ONNX Runtime fuses into one int8 kernel; products of one input share its uint8 form."""
        from onnx.helper import make_node

        if quantized.scales.dtype != np.float32:
            raise TechniqueError(
                f"{op.block}: dynamic W8A8 needs fp32 activations, and they are {quantized.scales.dtype}; "
                "use weight-only quantization (activation_bits=32)"
            )
        weight = self.editor.store(wanted, quantized.integers, bits=bits)
        scale, bias, source = self._scales(quantized, wanted), self._bias(node), node.input[0]
        nodes = []
        if source not in self.shared:
            self.shared[source] = (f"{source}:uint8", f"{source}:scale", f"{source}:zero")
            nodes.append(make_node("DynamicQuantizeLinear", [source], self.shared[source], f"{source}:quantize"))
        integers, activation_scale, zero = self.shared[source]
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


def _float_matrix(editor: ModelEditor, name: str) -> NDArray[Any]:
    """Read a product's stored matrix as [k, n], behind transposes and other constant nodes; Gemm's alpha is in it."""
    node = editor.nodes[name]
    matrix = editor.array(node.input[1])
    if node.op_type == "Gemm":
        given = attributes_of(node)
        matrix = matrix.T if given.get("transB") else matrix
        alpha = given.get("alpha", 1.0)
        matrix = matrix if alpha == 1.0 else (alpha * matrix).astype(matrix.dtype)
    return np.ascontiguousarray(matrix)
