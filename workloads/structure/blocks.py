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
    return replace(workload, operators=tuple(op.in_block(blocks[op.name]) for op in workload.operators))


def _anchors(workload: Workload) -> dict[str, str]:
    """Name the products and the softmax of each layer; a layer starts at its attention."""
    anchors: dict[str, str] = {}
    blocks: dict[int, int] = {}
    order = {op.name: position for position, op in enumerate(workload.operators)}
    starts = []
    for number, attention in enumerate(find_attention(workload)):
        layer = f"layer.{number}.attn"
        starts.append(order[attention.softmax])
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
    found = find_ffn(workload)
    owners = _owners(starts, [order[block.down] for block in found])
    for block, owner in zip(found, owners, strict=True):
        if owner is None or block.down in anchors:
            continue
        blocks[owner] = blocks.get(owner, 0) + 1
        layer = f"layer.{owner}.ffn{blocks[owner] if blocks[owner] > 1 else ''}"
        for number, name in enumerate(block.up):  # of a gated block the first goes through the activation function
            gate = number == 0 and len(block.up) > 1
            anchors.setdefault(name, f"{layer}.gate" if gate else f"{layer}.up")
        anchors[block.activation] = f"{layer}.activation"
        anchors[block.down] = f"{layer}.down"
    return anchors


def _owners(attentions: list[int], downs: list[int]) -> list[int | None]:
    """Say which layer each feed-forward block belongs to: that of the attention before it; None: there is none.

    Where blocks stand before the first attention and every later attention has more than these before it, layers begin
    with them (Conformer: half a feed-forward block before the attention, half after it).
    """
    before = [bisect_left(attentions, down) for down in downs]  # attentions come in order
    leading = before.count(0)
    counts = [before.count(number) for number in range(1, len(attentions))]
    if not leading or not counts or min(counts) <= leading:
        return [number - 1 if number else None for number in before]
    owners: list[int | None] = []
    for index, number in enumerate(before):
        last = number < len(attentions) and before[index : index + leading + 1].count(number) <= leading
        owners.append(number if last else number - 1)
    return owners


def _outside(workload: Workload, anchors: dict[str, str]) -> dict[str, str]:
    """Name products and convolutions that are no part of a layer's attention or feed-forward blocks.

    What stands inside an attention (a product of positions, of a latent vector) belongs to it; a convolution and the
    products next to it are a module of the layer; the rest (a router) is `between`.
    """
    order = {op.name: position for position, op in enumerate(workload.operators)}
    positions = [order[name] for name in anchors]
    first, last = min(positions), max(positions)
    named: dict[str, str] = {}
    heads = 0
    group: list[Operator] = []
    layer = ""
    numbers: dict[str, int] = {}
    for op in workload.operators:
        if op.name in anchors:
            named |= _within(group, layer, anchors[op.name], numbers)
            group, layer = [], anchors[op.name]
        elif op.kind not in ("matmul", "conv"):
            continue
        elif order[op.name] < first:
            named[op.name] = "embed.patch" if op.kind == "conv" else "embed.projection"
        elif order[op.name] > last:
            named[op.name] = "head" if is_weighted(op) and heads == 0 else f"head.{heads}"
            heads += 1
        else:
            group.append(op)
    return named


def _within(group: list[Operator], above: str, below: str, numbers: dict[str, int]) -> dict[str, str]:
    """Name the products and convolutions between two that have names; `numbers` counts those of each part."""
    layer = ".".join(above.split(".")[:2])
    if below.split(".")[:3] == above.split(".")[:3] and above.endswith((".q", ".k", ".v", ".qkv", ".scores")):
        part = f"{layer}.attn.inner"
    elif any(op.kind == "conv" for op in group):
        part = f"{layer}.conv"
    else:
        return dict.fromkeys((op.name for op in group), "between")
    named = {}
    for op in group:
        named[op.name] = f"{part}.{numbers.get(part, 0)}"
        numbers[part] = numbers.get(part, 0) + 1
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
        named.append(op.in_block(block))
    return named
