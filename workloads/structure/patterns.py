"""Find attention and feed-forward blocks by how data flows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from workloads.operator import Num, Operator
from workloads.structure.searching import first_above, first_below
from workloads.workload import Workload

__all__ = ["Attention", "FeedForward", "find_attention", "find_ffn", "is_expert", "is_weighted"]

_THROUGH = {"view", "move", "elementwise", "convert", "norm", "activation"}
_BETWEEN = {"view", "move", "elementwise", "convert"}
_REACH = 64
"""Operators between a softmax and its product, or a gate and its product, that are looked at: real ones have a few."""


@dataclass(frozen=True, slots=True)
class Attention:
    """One attention block, as operator names.

    Attributes:
        query: The product that makes the queries (the same as key and value where the three are fused).
        key: The product that makes the keys.
        value: The product that makes the values.
        scores: queries x keys.
        softmax: Over the keys.
        context: probabilities x values.
        output: The product that mixes the heads; empty where there is none.
        heads: Number of heads.
    """

    query: str
    key: str
    value: str
    scores: str
    softmax: str
    context: str
    output: str
    heads: Num


@dataclass(frozen=True, slots=True)
class FeedForward:
    """One feed-forward block, as operator names: up (and gate), activation, down."""

    up: tuple[str, ...]
    activation: str
    down: str


def is_weighted(op: Operator) -> bool:
    """Say whether an operator multiplies an activation with a stored matrix."""
    return op.kind == "matmul" and any(tensor.role == "weight" and len(tensor.axes) == 2 for tensor in op.inputs)


def is_expert(op: Operator) -> bool:
    """Say whether an operator multiplies tokens with the stored matrices of the experts that each is routed to."""
    return op.kind == "matmul" and any(
        tensor.role == "weight" and len(tensor.axes) == 3 and not tensor.axes[0].terms for tensor in op.inputs
    )


def _is_layer(op: Operator) -> bool:
    return is_weighted(op) or is_expert(op)


def find_attention(workload: Workload) -> tuple[Attention, ...]:
    """Find every softmax between two products of activations, and the products around them, in order."""
    if all(op.kind != "softmax" for op in workload.operators):
        return ()
    producers, consumers = workload.producers(), workload.consumers()
    scores_of = first_above(workload, _BETWEEN | {"activation"}, is_activation_product)  # a cap on the scores: tanh
    context_of = first_below(workload, consumers, _BETWEEN, is_activation_product)
    made_by = first_above(workload, _THROUGH, is_weighted)
    mixed_by = first_below(workload, consumers, _BETWEEN, is_weighted)
    found = []
    for op in workload.operators:
        if op.kind != "softmax":
            continue
        scores, context = scores_of(op.inputs[0].name), context_of(op)
        if scores is None or context is None:
            continue
        probabilities = _operand_below(context, op, producers)
        values = next((tensor for tensor in context.inputs if tensor.name != probabilities), context.inputs[-1])
        query, key = made_by(scores.inputs[0].name), made_by(scores.inputs[1].name)
        value, output = made_by(values.name), mixed_by(context)
        batch = [size for name, size in scores.dims.items() if name.startswith("b")]
        found.append(
            Attention(
                query=query.name if query else "",
                key=key.name if key else "",
                value=value.name if value else "",
                scores=scores.name,
                softmax=op.name,
                context=context.name,
                output=output.name if output else "",
                heads=(batch[-1] if batch else 1) * scores.dims.get("g", 1),  # g: queries that share keys
            )
        )
    return tuple(found)


def find_ffn(workload: Workload) -> tuple[FeedForward, ...]:
    """Find every product of weights, activation function, product of weights (with or without a gate), in order.

    The experts of a mixture are one block: all of them at once.
    """
    producers, consumers = workload.producers(), workload.consumers()
    layer_above = first_above(workload, _BETWEEN, _is_layer)
    layer_below = first_below(workload, consumers, _BETWEEN, _is_layer)
    weighted_above = first_above(workload, _BETWEEN, is_weighted)
    found = []
    for op in workload.operators:
        if op.kind not in ("gelu", "activation"):
            continue
        up, down = layer_above(op.inputs[0].name), layer_below(op)
        if up is None or down is None or up.name == down.name:
            continue
        others = _gates(op, down, producers, layer_above, weighted_above)
        found.append(FeedForward(tuple(dict.fromkeys((up.name, *others))), op.name, down.name))
    return tuple(found)


def is_activation_product(op: Operator) -> bool:
    """Say whether an operator multiplies two activations (or an activation with the KV cache)."""
    return op.kind == "matmul" and all(tensor.role != "weight" for tensor in op.inputs)


def _operand_below(product: Operator, source: Operator, producers: Mapping[str, Operator]) -> str:
    """Say which operand of a product comes from the given operator."""
    for tensor in product.inputs:
        name = tensor.name
        for _ in range(_REACH):
            if name not in producers:
                break
            op = producers[name]
            if op.name == source.name:
                return tensor.name
            if op.kind not in _BETWEEN or not op.inputs:
                break
            name = op.inputs[0].name
    return product.inputs[0].name


def _gates(
    op: Operator,
    down: Operator,
    producers: Mapping[str, Operator],
    layer_above: Callable[[str], Operator | None],
    weighted_above: Callable[[str], Operator | None],
) -> list[str]:
    """Find the other product of a gated block: it meets the activation in a multiplication above `down`, or inside."""
    others = [tensor.name for tensor in op.inputs[1:] if tensor.role != "weight"]
    inside = [layer_above(name) for name in others]
    if any(side is not None for side in inside):
        return [side.name for side in inside if side is not None]
    name = next(tensor.name for tensor in down.inputs if tensor.role != "weight")
    for _ in range(_REACH):
        if name not in producers or producers[name].name == op.name:
            break
        current = producers[name]
        activations = [tensor for tensor in current.inputs if tensor.role != "weight"]
        if current.op_type == "Mul" and len(activations) == 2:
            sides = [weighted_above(tensor.name) for tensor in activations]
            return [side.name for side in sides if side is not None]
        if current.kind not in _BETWEEN or not activations:
            break
        name = activations[0].name
    return []
