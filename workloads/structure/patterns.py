"""Find attention and feed-forward blocks by how data flows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workloads.operator import Num, Operator
from workloads.workload import Workload

__all__ = ["Attention", "FeedForward", "find_attention", "find_ffn", "is_expert", "is_weighted"]

_THROUGH = {"view", "move", "elementwise", "convert", "norm", "activation"}
_BETWEEN = {"view", "move", "elementwise", "convert"}


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
    producers, consumers = workload.producers(), workload.consumers()
    found = []
    for op in workload.operators:
        if op.kind != "softmax":
            continue
        scores = _up(op.inputs[0].name, producers, _BETWEEN, is_activation_product)
        context = _down(op, consumers, _BETWEEN, is_activation_product)
        if scores is None or context is None:
            continue
        probabilities = _operand_below(context, op, producers)
        values = next((tensor for tensor in context.inputs if tensor.name != probabilities), context.inputs[-1])
        query = _up(scores.inputs[0].name, producers, _THROUGH, is_weighted)
        key = _up(scores.inputs[1].name, producers, _THROUGH, is_weighted)
        value = _up(values.name, producers, _THROUGH, is_weighted)
        output = _down(context, consumers, _BETWEEN, is_weighted)
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
    found = []
    for op in workload.operators:
        if op.kind not in ("gelu", "activation"):
            continue
        up = _up(op.inputs[0].name, producers, _BETWEEN, _is_layer)
        down = _down(op, consumers, _BETWEEN, _is_layer)
        if up is None or down is None or up.name == down.name:
            continue
        others = _gates(op, down, producers)
        found.append(FeedForward(tuple(dict.fromkeys((up.name, *others))), op.name, down.name))
    return tuple(found)


def is_activation_product(op: Operator) -> bool:
    """Say whether an operator multiplies two activations (or an activation with the KV cache)."""
    return op.kind == "matmul" and all(tensor.role != "weight" for tensor in op.inputs)


def _up(tensor: str, producers: Mapping[str, Operator], through: set[str], wanted: object) -> Operator | None:
    """Search upwards until an operator is wanted, the largest activation first; the others lead past a KV cache."""
    pending, seen = [tensor], set()
    while pending:
        op = producers.get(pending.pop())
        if op is None or op.name in seen:
            continue
        seen.add(op.name)
        if wanted(op):  # type: ignore[operator]  # one of the predicates above
            return op
        if op.kind in through:
            activations = {item.name: _volume(op, item.name) for item in op.inputs if item.role != "weight"}
            pending += sorted(activations, key=activations.__getitem__, reverse=True)[::-1]  # of equals the first
    return None


def _volume(op: Operator, name: str) -> float:
    tensor = next(item for item in op.inputs if item.name == name)
    size = 1.0
    for extent in tensor.shape(op.dims):
        size *= float(extent)  # structure is found on scalar workloads
    return size


def _down(op: Operator, consumers: Mapping[str, list[Operator]], through: set[str], wanted: object) -> Operator | None:
    """Search the readers, breadth first, until an operator is wanted."""
    pending, seen = [op], {op.name}
    while pending:
        current = pending.pop(0)
        for tensor in current.outputs:
            for reader in consumers.get(tensor.name, []):
                if wanted(reader):  # type: ignore[operator]  # one of the predicates above
                    return reader
                if reader.kind in through and reader.name not in seen:
                    seen.add(reader.name)
                    pending.append(reader)
    return None


def _operand_below(product: Operator, source: Operator, producers: Mapping[str, Operator]) -> str:
    """Say which operand of a product comes from the given operator."""
    for tensor in product.inputs:
        name = tensor.name
        while name in producers:
            op = producers[name]
            if op.name == source.name:
                return tensor.name
            if op.kind not in _BETWEEN or not op.inputs:
                break
            name = op.inputs[0].name
    return product.inputs[0].name


def _gates(op: Operator, down: Operator, producers: Mapping[str, Operator]) -> list[str]:
    """Find the other product of a gated block: it meets the activation in a multiplication above `down`, or inside."""
    others = [tensor.name for tensor in op.inputs[1:] if tensor.role != "weight"]
    inside = [_up(name, producers, _BETWEEN, _is_layer) for name in others]
    if any(side is not None for side in inside):
        return [side.name for side in inside if side is not None]
    name = next(tensor.name for tensor in down.inputs if tensor.role != "weight")
    while name in producers and producers[name].name != op.name:
        current = producers[name]
        activations = [tensor for tensor in current.inputs if tensor.role != "weight"]
        if current.op_type == "Mul" and len(activations) == 2:
            sides = [_up(tensor.name, producers, _BETWEEN, is_weighted) for tensor in activations]
            return [side.name for side in sides if side is not None]
        if current.kind not in _BETWEEN or not activations:
            break
        name = activations[0].name
    return []
