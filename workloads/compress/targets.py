"""Which products a technique may quantize: found on the scalar base workload, once."""

from __future__ import annotations

from functools import lru_cache

from workloads.formats import FORMATS
from workloads.operator import Operator, Tensor
from workloads.structure.patterns import is_weighted
from workloads.workload import Workload

__all__ = ["block_names", "epilogues", "own_names", "quantizable", "weight_of"]


def weight_of(op: Operator) -> Tensor:
    """Give the stored matrix of a product: its second operand."""
    return op.inputs[1]


@lru_cache(maxsize=64)
def quantizable(workload: Workload, blocks: tuple[str, ...] = ("layer", "fc")) -> tuple[Operator, ...]:
    """List the products with a stored float matrix in the given blocks (default: the layers, not embedding or head).

    Example:
        >>> from workloads.onnx import load_onnx
        >>> from workloads.zoo import embedded_model
        >>> [op.block for op in quantizable(load_onnx(embedded_model(), batch=1))][:2]
        ['layer.0.attn.q', 'layer.0.attn.k']
    """
    return tuple(op for op in workload.operators if op.block.split(".")[0] in blocks and _is_float_product(op))


def _is_float_product(op: Operator) -> bool:
    """Say whether an operator is a MatMul or Gemm node of [.., m, k] with a stored float matrix, as both views need it.

    Not a product inside a fused operator, nor a Gemm that reads its activations transposed or adds more than a stored
    vector: no operator holds its quantized matrix.
    """
    if op.op_type not in ("MatMul", "Gemm") or any(op.name.startswith(f"{node}:") for node in op.nodes):
        return False
    if not is_weighted(op) or op.inputs[0].role == "weight" or op.inputs[1].role != "weight":
        return False
    if op.inputs[0].axes[-1].terms != ((1, "k"),):
        return False
    if any(bias.role != "weight" or [axis.terms for axis in bias.axes] != [((1, "n"),)] for bias in op.inputs[2:]):
        return False
    weight = weight_of(op)
    return len(weight.axes) == 2 and FORMATS[int(weight.format)].kind == "float"


@lru_cache(maxsize=64)
def own_names(base: Workload, blocks: tuple[str, ...]) -> dict[str, str]:
    """Map each product to quantize to the name of its own copy of the matrix ("" where it alone reads it)."""
    readers: dict[str, int] = {}
    for op in base.operators:
        for tensor in op.inputs:
            if tensor.role == "weight":
                readers[tensor.name] = readers.get(tensor.name, 0) + 1
    return {
        op.name: f"{weight_of(op).name}@{op.name}" if readers[weight_of(op).name] > 1 else ""
        for op in quantizable(base, blocks)
    }


@lru_cache(maxsize=64)
def block_names(base: Workload, blocks: tuple[str, ...]) -> tuple[str, ...]:
    """List the full block names of the products to quantize."""
    return tuple(op.block for op in quantizable(base, blocks))


@lru_cache(maxsize=64)
def epilogues(base: Workload, blocks: tuple[str, ...]) -> dict[str, str]:
    """Map each product to the addition of a stored bias that alone reads its result: devices may fuse the two."""
    consumers = base.consumers()
    found = {}
    for op in quantizable(base, blocks):
        result = op.outputs[0].name
        readers = consumers.get(result, [])
        alone = len(readers) == 1 and result not in base.outputs and readers[0].op_type == "Add"
        if alone and any(tensor.role == "weight" for tensor in readers[0].inputs):
            found[op.name] = readers[0].name
    return found
