"""`Quantize`: round-to-nearest weights per tensor, channel or group at 2 to 8 bits, and dynamic int8 activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from workloads.compress.edit import MICROSOFT, ModelEditor, workload_of
from workloads.compress.quantize_apply import MatrixWriter
from workloads.compress.quantize_cost import quantized_workload
from workloads.compress.quantizer import Granularity
from workloads.compress.targets import quantizable
from workloads.compress.technique import LayerNum, check_names, plain, resolve
from workloads.compress.widths import KEEP_BITS, check_bits
from workloads.errors import TechniqueError
from workloads.operator import is_batch
from workloads.workload import Workload

if TYPE_CHECKING:
    import onnx

__all__ = ["KEEP_BITS", "Quantize", "quantizable"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantize:
    """Symmetric round-to-nearest quantization of the products with stored matrices.

    Attributes:
        weight_bits: 2 to 8 per layer; `KEEP_BITS` and more leaves a layer as it is.
        granularity: One scale per tensor, per output channel, or per group of input rows.
        group_size: Rows per group; a power of two of at least 16 (MatMulNBits).
        activation_bits: 8: activations are quantized at run time and the product runs in int8: per tensor
            (MatMulInteger), or with granularity "group" per block inside the kernel (MatMulNBits, accuracy level 4);
            16 and more: weight-only, the product runs in the activation's format.
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
            raise TechniqueError(
                f"activation_bits is 8 (dynamic int8) or {KEEP_BITS} and more, not {self.activation_bits}"
            )
        if self.clip not in ("max", "mse"):
            raise TechniqueError(f"clip is max or mse, not {self.clip!r}")

    @property
    def dynamic(self) -> bool:
        """Whether activations are quantized at run time."""
        return self.activation_bits == 8

    def fit(self, model: onnx.ModelProto) -> Quantize:
        """Give itself: round-to-nearest needs no data."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Give the parameters as plain data."""
        return {
            "technique": "Quantize",
            "weight_bits": plain(self.weight_bits),
            "granularity": self.granularity,
            "group_size": self.group_size,
            "activation_bits": self.activation_bits,
            "clip": self.clip,
            "blocks": list(self.blocks),
        }

    def cost(self, workload: Workload, base: Workload) -> Workload:
        """Give the workload with stored bits, scales, and the conversions that are left to do at run time."""
        return quantized_workload(
            workload, base, self.weight_bits, self.granularity, self.group_size, self.dynamic, self.blocks
        )

    def apply(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Give the model with really quantized weights, in containers that ONNX Runtime executes."""
        editor = ModelEditor(model)
        writer = MatrixWriter(editor, self.granularity, self.group_size, self.dynamic, self.clip)
        operators = quantizable(workload_of(model), self.blocks)
        if not operators:
            raise TechniqueError(
                f"Quantize: {model.graph.name!r} has no product with a stored float matrix in the blocks "
                f"{', '.join(self.blocks)}; nothing can be quantized"
            )
        check_names(self.weight_bits, tuple(op.block for op in operators), "weight_bits")
        for op in operators:
            bits = resolve(self.weight_bits, op.block, "weight_bits")
            if is_batch(bits):
                raise TechniqueError("weight_bits is a batch; a real model takes one design point (PerLayer.row)")
            check_bits(bits, op.block)
            if bits < KEEP_BITS:
                writer.write(op, int(bits))
        return editor.finish(domains=(MICROSOFT,), ir_version=10)
