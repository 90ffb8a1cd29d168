"""Real workloads in the survey's classes: operators are told apart by structure, then counted by its convention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from workloads.errors import WorkloadError
from workloads.operator import Num, Operator
from workloads.structure.patterns import find_attention
from workloads.survey.convention import CLASSES, NATURAL_RESIDUAL_MOPS, PRINTED, Constants, Count, with_total
from workloads.survey.pointwise import (
    distinct,
    is_activation,
    is_bias,
    is_residual,
    is_scale_or_mask,
    is_vector,
    values,
)
from workloads.workload import Workload

__all__ = ["EXCLUDED", "classify", "count_workload", "own_count"]

EXCLUDED = "excluded"
"""The class of what the source leaves out: embedding, head and everything else outside the layers."""

_PROJECTIONS = ("q", "k", "v", "qkv", "out")
_PRODUCTS_OF_ACTIVATIONS = ("scores", "context")
_FREE = ("view", "move", "gather", "convert")  # the source has every tensor at 8 bits and in place


def classify(workload: Workload) -> dict[str, str]:
    """Say which of the survey's classes every operator belongs to.

    Products of the attention with a stored matrix are projections, its two products of activations act-to-act, those
    of the feed-forward block FFN; a bias addition goes with its product. The rest of a layer is "other".

    Args:
        workload: With block names, as `load_onnx` gives it.

    Returns:
        Operator name to a class of `CLASSES`, or "excluded".

    Raises:
        WorkloadError: The workload has no transformer layer.

    Example:
        >>> from workloads.onnx import load_onnx
        >>> from workloads.zoo import embedded_model
        >>> found = classify(load_onnx(embedded_model("vit-mnist"), batch=1))
        >>> sorted(set(found.values()))
        ['act_act', 'excluded', 'ffn_proj', 'mha_proj', 'other']
    """
    found = {op.name: _class_of(op) for op in workload}
    if set(found.values()) <= {EXCLUDED}:
        raise WorkloadError(
            f"{workload.name}: no operator sits in a transformer layer, so it has none of the survey's classes; load "
            "it with structure=True, or use survey.convolution_classes for a convolutional network"
        )
    return found


def _class_of(op: Operator) -> str:
    layer, _, part = op.block.partition(".")[2].partition(".")
    if not op.block.startswith("layer.") or not layer:
        return EXCLUDED
    block, _, role = part.partition(".")
    if op.kind != "matmul" and not is_bias(op):
        return "other"
    if block.startswith("ffn"):
        return "ffn_proj"
    if role in _PRODUCTS_OF_ACTIVATIONS:
        return "act_act"
    return "mha_proj" if role in _PROJECTIONS else "other"


def own_count(workload: Workload) -> dict[str, Count]:
    """Count by the survey's classes, but with our own operators' FLOPs (`workloads.opcounts`), every tensor at 8 bits.

    Nothing inside a layer is left out: bias additions, scale, mask and data movement count as the graph has them.

    Returns:
        Class to count: `CLASSES`, then "total".

    Raises:
        WorkloadError: The workload has no transformer layer.
    """
    return _summed(workload, lambda op: Count(op.flops(), _moved(op)))


def count_workload(workload: Workload, *, generates: bool = False, constants: Constants = PRINTED) -> dict[str, Count]:
    """Count the FLOPs and MOPs of a workload by operator class, by the survey's convention.

    The graph gives the products, the softmax, the activation functions, the norms and the residual additions. What the
    source leaves out is left out: bias additions, scale, mask, conversions and data movement. Anything else inside a
    layer, which the models of the source do not have (a gate, a rotation of positions), counts its own FLOPs and bytes.

    Args:
        workload: One pass over all tokens, batch 1, with block names.
        generates: Count generating as many tokens one by one instead, as the source does for GPT-2.
        constants: Of the operators that are no product.

    Returns:
        Class to count: `CLASSES`, then "total".

    Raises:
        WorkloadError: The workload has no transformer layer.

    Example:
        >>> from workloads.onnx import load_onnx
        >>> from workloads.zoo import embedded_model
        >>> counts = count_workload(load_onnx(embedded_model("vit-mnist"), batch=1))
        >>> list(counts)
        ['mha_proj', 'act_act', 'ffn_proj', 'other', 'total']
    """
    products = _fused_products(workload)
    counter = _generated if generates else _one_pass
    return _summed(workload, partial(counter, products=products, c=constants))


def _summed(workload: Workload, counter: Callable[[Operator], Count]) -> dict[str, Count]:
    classes = classify(workload)
    counts = dict.fromkeys(CLASSES, Count())
    for op in workload:
        if classes[op.name] != EXCLUDED:
            counts[classes[op.name]] += op.count * counter(op)
    return with_total(counts)


def _fused_products(workload: Workload) -> dict[str, int]:
    """Say how many of query, key and value a product makes: the source counts them as separate products."""
    made: dict[str, int] = {}
    for attention in find_attention(workload):
        for name in (attention.query, attention.key, attention.value):
            made[name] = made.get(name, 0) + 1
    return made


def _one_pass(op: Operator, products: Mapping[str, int], c: Constants) -> Count:
    if op.kind == "matmul":
        weight, read, written = _operands(op)
        if weight:
            return Count(2 * op.points(), weight + products.get(op.name, 1) * sum(read) + written)
        return Count(2 * op.points() - written, sum(read) + written)  # the first product of a sum needs no addition
    return _pointwise(op, c, c.residual_mops, rereads=1)


def _generated(op: Operator, products: Mapping[str, int], c: Constants) -> Count:
    """Count an operator of a pass over n tokens as if they were generated: the sum of the contexts is n^2 / 2."""
    if op.kind == "matmul":
        weight, read, written = _operands(op)
        if weight:
            rows = op.points() / weight  # every token reads the weights anew
            return Count(2 * op.points(), weight * rows + products.get(op.name, 1) * sum(read) + written)
        tokens = op.dims["m"]
        first, cached = read
        if op.block.endswith(".scores"):  # queries x keys; the scores are charged to the product that reads them
            return Count(op.points(), first + cached * (tokens / 2 + 1))
        return Count(op.points(), first * (1 / 2 + 1 / tokens) + cached * (tokens / 2 + 1) + written)
    counted = _pointwise(op, c, NATURAL_RESIDUAL_MOPS, rereads=_rows(op))
    return 0.5 * counted if op.kind == "softmax" else counted


def _operands(op: Operator) -> tuple[Num, list[Num], Num]:
    """Give the values of a product's stored matrix (0: it has none), of its activations, and of its result."""
    matrices = [tensor for tensor in op.inputs if tensor.role == "weight" and not is_vector(tensor, op)]
    activations = [tensor for tensor in op.inputs if tensor.role != "weight"]
    return values(matrices, op), [tensor.values(op.dims) for tensor in activations], values(op.outputs, op)


def _pointwise(op: Operator, c: Constants, residual_mops: float, rereads: Num) -> Count:
    written = values(op.outputs, op)
    if op.kind == "softmax":
        return Count(c.softmax_flops * written, 2 * written)
    if is_activation(op):
        return Count(c.gelu_flops * written, 2 * written)
    if op.kind == "norm":
        channels = op.outputs[0].shape(op.dims)[-1]
        return Count(c.norm_flops * written, 2 * written + rereads * c.norm_parameters * channels)
    if is_residual(op):
        return Count(c.residual_flops * written, residual_mops * written)
    if op.kind in _FREE or is_bias(op) or is_scale_or_mask(op):
        return Count()
    return Count(op.flops(), _moved(op))


def _rows(op: Operator) -> Num:
    return values(op.outputs, op) / op.outputs[0].shape(op.dims)[-1]


def _moved(op: Operator) -> Num:
    """Count all values that an operator reads and writes, stored ones too."""
    return 0.0 if op.kind == "view" else values((*distinct(op.inputs), *op.outputs), op)
