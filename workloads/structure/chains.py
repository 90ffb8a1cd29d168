"""Collapse decomposed chains: a LayerNorm written as nine nodes becomes one operator that lists them.

A chain is a region of element-wise and reducing operators with one activation in, one out, and nothing read from
outside in between. Its op types, counted, name what it computes.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import reduce

from workloads.opcounts import ACTIVATIONS, NORMS
from workloads.operator import Operator, Tensor
from workloads.workload import Workload

__all__ = ["CHAINS", "Chain", "collapse"]


@dataclass(frozen=True, slots=True)
class Chain:
    """What a region of op types computes.

    Attributes:
        op_type: The fused ONNX operator that means the same.
        kind: Its kind.
        anchor: The op type to start from.
        members: Op types of the region, counted.
        flops: FLOPs per point of the fused operator.
    """

    op_type: str
    kind: str
    anchor: str
    members: tuple[tuple[str, int], ...]
    flops: float


def _chain(op_type: str, kind: str, anchor: str, members: str, flops: float) -> Chain:
    return Chain(op_type, kind, anchor, tuple(sorted(Counter(members.split()).items())), flops)


_GELU, _TANH_GELU = ACTIVATIONS["Gelu"], ACTIVATIONS["FastGelu"]
# Scale and shift are one FLOP each, where they are there.
_NORM, _RMS = NORMS["LayerNormalization"] - 2, NORMS["RMSNormalization"] - 1
CHAINS: tuple[Chain, ...] = (
    # Hendrycks & Gimpel 2016: x/2 (1 + erf(x / sqrt 2)), and its tanh form
    _chain("Gelu", "gelu", "Erf", "Div Erf Add Mul Mul", _GELU),
    _chain("Gelu", "gelu", "Erf", "Mul Erf Add Mul Mul", _GELU),
    _chain("FastGelu", "gelu", "Tanh", "Mul Mul Mul Mul Pow Add Add Tanh", _TANH_GELU),
    _chain("FastGelu", "gelu", "Tanh", "Mul Mul Mul Mul Mul Mul Add Add Tanh", _TANH_GELU + 1),
    _chain("FastGelu", "gelu", "Tanh", "Mul Mul Mul Mul Mul Add Add Tanh", _TANH_GELU),
    _chain("QuickGelu", "gelu", "Sigmoid", "Mul Sigmoid Mul", ACTIVATIONS["QuickGelu"]),
    _chain("Swish", "activation", "Sigmoid", "Sigmoid Mul", ACTIVATIONS["Swish"]),
    # Ba et al. 2016, with and without scale and shift; the square as Pow or as Mul
    *(
        _chain(
            "LayerNormalization", "norm", "Sqrt", f"ReduceMean Sub {square} ReduceMean Add Sqrt Div{affine}", _NORM + n
        )
        for square in ("Pow", "Mul")
        for n, affine in enumerate(("", " Mul", " Mul Add"))
    ),
    # Zhang & Sennrich 2019, as Div, or as Reciprocal and Mul
    *(
        _chain("RMSNormalization", "norm", "Sqrt", f"{square} ReduceMean Add Sqrt {inverse}{scale}", _RMS + n)
        for square in ("Pow", "Mul")
        for inverse in ("Div", "Reciprocal Mul")
        for n, scale in enumerate(("", " Mul"))
    ),
    _chain("Softmax", "softmax", "Exp", "ReduceMax Sub Exp ReduceSum Div", 5.0),
)
_BY_MEMBERS = {(chain.anchor, chain.members): chain for chain in CHAINS}
_ANCHORS = frozenset(chain.anchor for chain in CHAINS)
# How many operators of each type a chain around an anchor has at most.
_MOST: dict[str, Counter[str]] = {
    anchor: reduce(operator.or_, [Counter(dict(chain.members)) for chain in CHAINS if chain.anchor == anchor])
    for anchor in _ANCHORS
}
_REGION_KINDS = {"elementwise", "activation", "reduce"}
_LONGEST = max(sum(count for _, count in chain.members) for chain in CHAINS)


def collapse(workload: Workload) -> Workload:
    """Replace every decomposed chain by one operator that lists its nodes.

    Args:
        workload: In topological order.

    Returns:
        The same computation with fewer operators; FLOPs and bytes are those of the fused operators.
    """
    workload = _fuse_requantization(workload)
    if not any(op.op_type in _ANCHORS for op in workload.operators):
        return workload
    producers, consumers = workload.producers(), workload.consumers()
    outputs = set(workload.outputs)
    replaced: dict[str, Operator] = {}
    gone: set[str] = set()
    grouped = {name for group in workload.groups for name in group}
    for op in workload.operators:
        if op.op_type not in _ANCHORS or op.name in gone or op.kind not in _REGION_KINDS:
            continue
        found = _largest_region(op, producers, consumers, outputs)
        if found is not None and grouped.isdisjoint(member.name for member in found[1]):  # a kernel keeps its parts
            chain, region, source = found
            end = region[-1]
            replaced[end.name] = _fused(chain, region, source)
            gone |= {member.name for member in region}
    if not gone:
        return workload
    kept = (replaced.get(op.name, op) for op in workload.operators if op.name in replaced or op.name not in gone)
    return replace(workload, operators=tuple(kept))


def _largest_region(
    anchor: Operator,
    producers: Mapping[str, Operator],
    consumers: Mapping[str, list[Operator]],
    outputs: set[str],
) -> tuple[Chain, list[Operator], str] | None:
    """Find the longest known chain around an anchor: (chain, operators in order, source tensor)."""
    most = _MOST[anchor.op_type]
    sources = _ancestors(anchor, producers, most)
    largest: tuple[Chain, list[Operator], str] | None = None  # a LayerNorm without shift holds a whole RMSNorm
    for end in reversed(_descendants(anchor, consumers, most)):
        for source in sources:
            found = _region(end, source, producers, most)
            if found is None or anchor.name not in found:
                continue
            members = tuple(sorted(Counter(op.op_type for op in found.values()).items()))
            chain = _BY_MEMBERS.get((anchor.op_type, members))
            if chain is None or (largest is not None and len(found) <= len(largest[1])):
                continue
            region = _in_order(found.values(), end)
            if _computes(chain, region, source) and _closed(region, consumers, outputs):
                largest = (chain, region, source)
    return largest


def _computes(chain: Chain, region: list[Operator], source: str) -> bool:
    """Say whether the source is read where the chain reads it: twice or more, and not by a residual addition."""
    readers = [op.op_type for op in region if source in _activations(op)]
    return len(readers) > 1 and ("Add" not in readers or chain.op_type == "FastGelu")


def _activations(op: Operator) -> list[str]:
    return [tensor.name for tensor in op.inputs if tensor.role != "weight"]


def _ancestors(op: Operator, producers: Mapping[str, Operator], most: Mapping[str, int]) -> list[str]:
    """List activation tensors above an operator, nearest first, through what a chain may hold besides it."""
    found = list(dict.fromkeys(_activations(op)))
    for name in found:
        above = producers.get(name)
        if above is None or above.kind not in _REGION_KINDS or len(found) >= _LONGEST:
            continue
        if most.get(above.op_type, 0) > (above.op_type == op.op_type):
            found.extend(item for item in _activations(above) if item not in found)
    return found


def _descendants(op: Operator, consumers: Mapping[str, list[Operator]], most: Mapping[str, int]) -> list[Operator]:
    """Follow the first reader downwards, as long as a chain may hold all that is passed."""
    chain, left = [op], Counter(most)
    left[op.op_type] -= 1
    while len(chain) < _LONGEST:
        readers = consumers.get(chain[-1].outputs[0].name, [])
        if not readers or readers[0].kind not in _REGION_KINDS or left[readers[0].op_type] < 1:
            break
        left[readers[0].op_type] -= 1
        chain.append(readers[0])
    return chain


def _region(
    end: Operator, source: str, producers: Mapping[str, Operator], most: Mapping[str, int]
) -> dict[str, Operator] | None:
    """Collect the operators between a tensor and an operator; None if anything else, or too much, comes in."""
    region: dict[str, Operator] = {}
    left = Counter(most)
    pending = [end]
    while pending:
        op = pending.pop()
        if op.name in region:
            continue
        left[op.op_type] -= 1
        if op.kind not in _REGION_KINDS or left[op.op_type] < 0 or op.count != end.count:
            return None
        region[op.name] = op
        for name in _activations(op):
            if name == source:
                continue
            above = producers.get(name)
            if above is None:
                return None
            pending.append(above)
    return region


def _in_order(region: Iterable[Operator], end: Operator) -> list[Operator]:
    """Sort topologically by edges; the end comes last."""
    pending = {op.name: op for op in region}
    written = {tensor.name: op.name for op in pending.values() for tensor in op.outputs}
    ordered: list[Operator] = []

    def visit(op: Operator) -> None:
        if op.name not in pending:
            return
        del pending[op.name]
        for name in _activations(op):
            if name in written and written[name] in pending:
                visit(pending[written[name]])
        ordered.append(op)

    visit(end)
    return ordered


def _closed(region: list[Operator], consumers: Mapping[str, list[Operator]], outputs: set[str]) -> bool:
    """Say whether nobody outside reads what stays inside."""
    names = {op.name for op in region}
    for op in region[:-1]:
        for tensor in op.outputs:
            if tensor.name in outputs or any(reader.name not in names for reader in consumers.get(tensor.name, [])):
                return False
    return True


def _fused(chain: Chain, region: list[Operator], source: str) -> Operator:
    """Make the one operator: the nest of the last, the source as input, every non-scalar weight kept."""
    end = region[-1]
    output = end.outputs[0]
    x: Tensor | None = None
    weights: dict[str, Tensor] = {}
    for op in region:
        for tensor in op.inputs:
            if tensor.name == source and x is None:
                x = replace(tensor, axes=output.axes)
            elif tensor.role == "weight" and any(item.terms for item in tensor.axes):
                weights.setdefault(tensor.name, tensor)
    assert x is not None  # the region was grown from it
    return replace(
        end,
        op_type=chain.op_type,
        kind=chain.kind,
        inputs=(x, *weights.values()),
        nodes=tuple(node for op in region for node in op.nodes),
        flops_per_point=chain.flops,
    )


def _fuse_requantization(workload: Workload) -> Workload:
    """Join Cast(int32) -> Mul(scales) after an integer product into one conversion, with the product of the scales."""
    if not any(op.op_type == "MatMulInteger" for op in workload.operators):
        return workload
    producers, consumers = workload.producers(), workload.consumers()
    replaced: dict[str, Operator] = {}
    gone: set[str] = set()
    for op in workload.operators:
        if op.kind != "convert" or op.op_type != "Cast":
            continue
        source = producers.get(op.inputs[0].name)
        readers = consumers.get(op.outputs[0].name, [])
        if source is None or source.op_type != "MatMulInteger" or len(readers) != 1 or readers[0].op_type != "Mul":
            continue
        scaling = readers[0]
        scale = next((tensor for tensor in scaling.inputs if tensor.name != op.outputs[0].name), None)
        if scale is None:
            continue
        inputs: tuple[Tensor, ...] = (replace(op.inputs[0], axes=scaling.outputs[0].axes),)
        nodes = (*op.nodes, *scaling.nodes)
        product = producers.get(scale.name)
        if product is not None and product.op_type == "Mul" and len(consumers.get(scale.name, [])) == 1:
            nodes = (*product.nodes, *nodes)
            last = scaling.outputs[0].axes[-1:]
            weights = tuple(replace(t, axes=last) for t in product.inputs if t.role == "weight" and t.axes)
            inputs += weights + tuple(t for t in product.inputs if t.role != "weight")
            gone.add(product.name)
        else:
            inputs += (scale,)
        gone |= {op.name, scaling.name}
        replaced[scaling.name] = replace(
            scaling, op_type="Requantize", kind="convert", inputs=inputs, nodes=nodes, flops_per_point=2.0
        )
    kept = (replaced.get(op.name, op) for op in workload.operators if op.name in replaced or op.name not in gone)
    return replace(workload, operators=tuple(kept)) if gone else workload
