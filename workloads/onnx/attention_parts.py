"""What ONNX Runtime's attention operators do before the scores: biases, norms of heads, caches."""

from __future__ import annotations

from dataclasses import replace

from workloads.onnx.builder import Builder, Node, Value, plain
from workloads.onnx.heads import Heads, append
from workloads.opcounts import NORMS
from workloads.operator import axis

__all__ = ["add_biases", "cached", "grow", "head_norm"]


def add_biases(
    node: Node, builder: Builder, parts: tuple[Heads, Heads, Heads], bias: Value
) -> tuple[Heads, Heads, Heads]:
    """Add the biases of the projections, stored one after the other, to queries, keys and values."""
    results = []
    for name, part in zip(("query", "key", "value"), parts, strict=True):
        added = builder.inner(node, f"{name}:biased", part.value.shape, part.value.code)
        axes = part.axes("m", "k")
        dims = {"b0": part.batch, "b1": part.heads, "m": part.length, "k": part.size}
        inputs = [builder.tensor(part.value, axes), builder.tensor(bias, [axis(extent=bias.size)])]
        builder.emit(
            node,
            "elementwise",
            dims,
            inputs,
            [builder.tensor(added, axes)],
            1,
            code=part.value.code,
            suffix=f":{name}:bias",
            op_type="Add",
        )
        results.append(replace(part, value=added))
    return results[0], results[1], results[2]


def grow(node: Node, builder: Builder, new: Heads, past: Value | None, room: int, index: int) -> Heads:
    """Append to a cache; without past and present there is none."""
    if past is None and not node.has(index):
        return new
    part = "key" if index == 1 else "value"
    shape = (new.batch, new.heads, room, new.size)
    if node.has(index):
        present = builder.put(node, shape, new.value.code, index, role="kv_cache")
    else:
        present = builder.inner(node, f"{part}s", shape, new.value.code)
    return append(node, builder, new, past, present, part)


def cached(
    node: Node, builder: Builder, new: Heads, past: Value | None, room: int, index: int, first: int, keys: int
) -> Heads:
    """Append to a cache that may hold integers: then new positions are quantized and what is read is dequantized."""
    code = new.value.code if past is None else past.code
    if past is None or code == new.value.code:
        return grow(node, builder, new, past, room, index)
    part, stored = ("key" if index == 1 else "value"), past.shape[-1]
    scale = builder.optional(node, 11 + index)
    scales = [] if scale is None else [builder.tensor(scale, [axis(extent=extent) for extent in scale.shape])]
    dims = {"b0": new.batch, "b1": new.heads, "m": new.length, "k": new.size}
    outer = (plain("b0"), plain("b1"))
    inner = plain("k") if stored == new.size else axis(extent=stored)  # two 4-bit values share a byte
    narrow = builder.inner(node, f"{part}:quantized", (new.batch, new.heads, new.length, stored), code)
    builder.emit(
        node,
        "convert",
        dims,
        [builder.tensor(new.value, new.axes("m", "k")), *scales],
        [builder.tensor(narrow, (*outer, plain("m"), inner))],
        3,
        code=new.value.code,
        suffix=f":{part}:quantize",
        op_type="QuantizeLinear",
    )
    grown = grow(node, builder, Heads(narrow, "bhsd", new.batch, new.heads, new.length, stored), past, room, index)
    floats = builder.inner(node, f"{part}:dequantized", (new.batch, new.heads, keys, new.size), new.value.code)
    read = (*outer, axis("m", offset=first, extent=room), inner)
    builder.emit(
        node,
        "convert",
        dims | {"m": keys},
        [builder.tensor(grown.value, read), *scales],
        [builder.tensor(floats, (*outer, plain("m"), plain("k")))],
        2,
        code=new.value.code,
        suffix=f":{part}:dequantize",
        op_type="DequantizeLinear",
    )
    return Heads(floats, "bhsd", new.batch, new.heads, keys, new.size)


def head_norm(node: Node, builder: Builder, x: Heads, weight: Value, part: str) -> Heads:
    """Emit the RMS norm of each head."""
    result = builder.inner(node, f"{part}:normed", x.value.shape, x.value.code)
    dims = {"b0": x.batch, "b1": x.heads, "m": x.length, "k": x.size}
    axes = x.axes("m", "k")
    inputs = [builder.tensor(x.value, axes), builder.tensor(weight, [plain("k")])]
    builder.emit(
        node,
        "norm",
        dims,
        inputs,
        [builder.tensor(result, axes)],
        NORMS["RMSNormalization"],
        code=x.value.code,
        suffix=f":{part}:norm",
        op_type="RMSNormalization",
    )
    return replace(x, value=result)
