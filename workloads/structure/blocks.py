"""Give every operator a block name from the structure: "layer.3.ffn.up"."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

from workloads.operator import Operator
from workloads.structure.chains import collapse
from workloads.structure.patterns import find_attention, find_ffn, is_weighted
from workloads.workload import Workload

__all__ = ["annotate"]


def annotate(workload: Workload) -> Workload:
    """Collapse decomposed chains and name the block of every operator.

    Products get the names of their role (attn.q, attn.k, attn.v or attn.qkv, attn.scores, attn.context, attn.out,
    ffn.up, ffn.gate, ffn.down); products and convolutions before the first layer are `embed`, after the last one
    `head`; the rest takes the block of the operator whose result it works on.
    """
    workload = collapse(workload)
    anchors = _anchors(workload)
    if not anchors:
        return replace(workload, operators=tuple(_convolutional(workload)))
    anchors |= _outside(workload, anchors)
    blocks = _inherited(workload, anchors)
    return replace(workload, operators=tuple(replace(op, block=blocks[op.name]) for op in workload.operators))


def _anchors(workload: Workload) -> dict[str, str]:
    """Name the products and the softmax of each layer; a layer starts at its attention."""
    anchors: dict[str, str] = {}
    blocks: dict[int, int] = {}
    order = {op.name: position for position, op in enumerate(workload.operators)}
    starts = []
    for index, attention in enumerate(find_attention(workload)):
        layer = f"layer.{index}.attn"
        starts.append((order[attention.softmax], index))
        if attention.query and attention.query == attention.key == attention.value:
            anchors[attention.query] = f"{layer}.qkv"
        else:
            roles = ((attention.query, "q"), (attention.key, "k"), (attention.value, "v"))
            for name, role in roles:
                if name:
                    anchors.setdefault(name, f"{layer}.{role}")
        anchors[attention.scores] = f"{layer}.scores"
        anchors[attention.softmax] = f"{layer}.softmax"
        anchors[attention.context] = f"{layer}.context"
        if attention.output:
            anchors.setdefault(attention.output, f"{layer}.out")
    if not starts:
        return {}
    positions = [position for position, _ in starts]
    for block in find_ffn(workload):
        before = bisect_left(positions, order[block.down])  # attentions come in order
        if not before or block.down in anchors:
            continue
        index = starts[before - 1][1]
        blocks[index] = blocks.get(index, 0) + 1
        layer = f"layer.{index}.ffn{blocks[index] if blocks[index] > 1 else ''}"
        for number, name in enumerate(block.up):  # of a gated block the first goes through the activation function
            gate = number == 0 and len(block.up) > 1
            anchors.setdefault(name, f"{layer}.gate" if gate else f"{layer}.up")
        anchors[block.activation] = f"{layer}.activation"
        anchors[block.down] = f"{layer}.down"
    return anchors


def _outside(workload: Workload, anchors: dict[str, str]) -> dict[str, str]:
    """Name products and convolutions that belong to no layer."""
    order = {op.name: position for position, op in enumerate(workload.operators)}
    positions = [order[name] for name in anchors]
    first, last = min(positions), max(positions)
    named: dict[str, str] = {}
    heads = 0
    for op in workload.operators:
        if op.name in anchors or op.kind not in ("matmul", "conv"):
            continue
        if order[op.name] < first:
            named[op.name] = "embed.patch" if op.kind == "conv" else "embed.projection"
        elif order[op.name] > last:
            named[op.name] = "head" if is_weighted(op) and heads == 0 else f"head.{heads}"
            heads += 1
        else:
            named[op.name] = "between"
    return named


def _inherited(workload: Workload, anchors: dict[str, str]) -> dict[str, str]:
    """Let every other operator follow the operator whose result it works on."""
    blocks: dict[str, str] = {}
    producers, consumers = workload.producers(), workload.consumers()
    order = {op.name: position for position, op in enumerate(workload.operators)}
    for op in workload.operators:
        if op.name in anchors:
            blocks[op.name] = anchors[op.name]
            continue
        above = [producers[tensor.name].name for tensor in op.inputs if tensor.name in producers]
        latest = max(above, key=order.__getitem__, default=None)  # a residual sum belongs to the branch that ends in it
        block = "embed" if latest is None else _parent(blocks[latest], op)
        if op.kind == "convert" and op.inputs[0].role == "weight":
            readers = (reader.name for reader in consumers[op.inputs[0].name] if reader is not op)
            block = anchors.get(next(readers, ""), "")  # a dequantization belongs to the product that reads the weight
        blocks[op.name] = block
    return blocks


def _parent(block: str, op: Operator) -> str:
    """Put a norm beside, everything else into, the block above it."""
    if op.kind != "norm" or block == "embed":
        return block
    parts = block.split(".")
    return ".".join(parts[:3]) + ".norm" if parts[0] == "layer" else f"{parts[0]}.norm"


def _convolutional(workload: Workload) -> list[Operator]:
    """Number the products and convolutions of a network without attention."""
    named: list[Operator] = []
    block, counts = "input", {"conv": 0, "matmul": 0}
    for op in workload.operators:
        if op.kind in counts:
            block = f"{'fc' if op.kind == 'matmul' else 'conv'}.{counts[op.kind]}"
            counts[op.kind] += 1
        named.append(replace(op, block=block))
    return named
