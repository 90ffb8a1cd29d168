"""Handlers of ONNX Runtime's attention operators that hold the projection to queries, keys and values too.

The projection is a product of its own before the attention kernel, as in ONNX Runtime.

Source: ONNX Runtime, documentation of the contributed operators (ContribOperators.md).
"""

from __future__ import annotations

from collections.abc import Sequence

from workloads.errors import WorkloadError
from workloads.formats import format_code
from workloads.onnx.attention import Extras, attend, rotate
from workloads.onnx.builder import Builder, Node, Value, index_names, plain
from workloads.onnx.heads import Heads, separate, split_packed, write_in_place
from workloads.operator import axis

__all__ = ["attention", "decoder_masked_self_attention", "packed_self_attention", "quantized_attention"]


def attention(node: Node, builder: Builder) -> None:
    """Attention of com.microsoft: projection, then self-attention; past and present hold keys and values together."""
    x, weight, bias = builder.value(node, 0), builder.value(node, 1), builder.optional(node, 2)
    packed = _project(node, builder, x, weight, bias)
    _attend(node, builder, packed, past=4, biases=[5], masks=[3], length=6)


def decoder_masked_self_attention(node: Node, builder: Builder) -> None:
    """DecoderMaskedSelfAttention: the same with one query per sequence."""
    packed = _project(node, builder, builder.value(node, 0), builder.value(node, 1), builder.value(node, 2))
    _attend(node, builder, packed, past=4, biases=[5], masks=[3, 7, 8], length=6)


def quantized_attention(node: Node, builder: Builder) -> None:
    """QAttention: the projection in int8, its sums scaled to floats; the attention in floats."""
    x, weight, bias = (builder.value(node, index) for index in range(3))
    start = len(builder.operators)
    sums = _project(node, builder, x, weight, None, code=format_code("int8"), out=format_code("int32"))
    packed = builder.inner(node, "qkv", sums.shape, bias.code)
    names = index_names(sums.rank)
    axes = [plain(name) for name in names]
    scales = [builder.value(node, index) for index in (3, 4)] + [builder.optional(node, index) for index in (6, 7)]
    others = [
        builder.tensor(
            scale,
            [plain(names[-1])] if scale.size == sums.shape[-1] else [axis(extent=extent) for extent in scale.shape],
        )
        for scale in scales
        if scale is not None
    ]
    builder.emit(
        node,
        "convert",
        dict(zip(names, sums.shape, strict=True)),
        [builder.tensor(sums, axes), *others, builder.tensor(bias, [plain(names[-1])])],
        [builder.tensor(packed, axes)],
        3,
        code=bias.code,
        suffix=":rescale",
        op_type="Requantize",
    )
    builder.fuse(node, start)
    _attend(node, builder, packed, past=8, biases=[], masks=[5], length=-1)


def packed_self_attention(node: Node, builder: Builder) -> None:
    """PackedAttention: projection of tokens without padding; sequences count as equally long (see packed_attention)."""
    packed = _project(node, builder, builder.value(node, 0), builder.value(node, 1), builder.value(node, 2))
    offsets, bias = builder.value(node, 3), builder.optional(node, 5)
    batch, heads = offsets.shape[0], node.int("num_heads")
    length = -(-packed.shape[0] // max(1, batch))
    start = len(builder.operators)
    widths = _widths(node, packed)
    parts = [
        builder.inner(node, part, (packed.shape[0], width), packed.code)
        for part, width in zip(("query", "key", "value"), widths, strict=True)
    ]
    separate(node, builder, packed, parts, (plain("i0"),), {"i0": packed.shape[0]})
    q, k, v = (Heads(part, "tc", batch, heads, length, part.shape[1] // heads) for part in parts)
    output = builder.put(node, (packed.shape[0], widths[2]), packed.code)
    extras = Extras(keys=length, biases=[] if bias is None else [bias], masks=[offsets, builder.value(node, 4)])
    attend(node, builder, q, k, v, Heads(output, "tc", batch, heads, length, v.size), extras)
    builder.fuse(node, start)


def _project(
    node: Node, builder: Builder, x: Value, weight: Value, bias: Value | None, code: int = -1, out: int = -1
) -> Value:
    """Emit the product of [.., k] tokens with the merged [k, n] weights."""
    if weight.rank != 2 or x.shape[-1] != weight.shape[0]:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): inner sizes differ, {x.shape} x {weight.shape}; "
            "run onnx.checker on the model"
        )
    result = builder.inner(
        node, "qkv" if out < 0 else "int32", (*x.shape[:-1], weight.shape[1]), x.code if out < 0 else out
    )
    outer = ["b0", "m"] if x.rank == 3 else ["m"]
    rows = [plain(name) for name in outer]
    dims = dict(zip(outer, x.shape[:-1], strict=True)) | {"n": weight.shape[1], "k": weight.shape[0]}
    inputs = [builder.tensor(x, [*rows, plain("k")]), builder.tensor(weight, [plain("k"), plain("n")])]
    if bias is not None:
        inputs.append(builder.tensor(bias, [plain("n")]))
    builder.emit(
        node,
        "matmul",
        dims,
        inputs,
        [builder.tensor(result, [*rows, plain("n")])],
        2,
        code=builder.pair_format(x, weight) if code < 0 else code,
        suffix=":qkv",
        op_type="MatMul",
    )
    return result


def _widths(node: Node, packed: Value) -> tuple[int, ...]:
    """Give the widths of queries, keys and values."""
    widths = node.ints("qkv_hidden_sizes", [packed.shape[-1] // 3] * 3)
    heads = node.int("num_heads")
    if heads < 1 or any(width % heads for width in widths) or sum(widths) != packed.shape[-1]:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): {list(widths)} hidden sizes in {heads} heads do not fit weights of "
            f"{packed.shape[-1]} columns"
        )
    return widths


def _attend(
    node: Node, builder: Builder, packed: Value, *, past: int, biases: Sequence[int], masks: Sequence[int], length: int
) -> None:
    """Emit the attention of packed [batch, positions, queries, keys and values]; indices say which input is which."""
    start = len(builder.operators)
    heads = node.int("num_heads")
    sizes = {part: width // heads for part, width in zip(("query", "key", "value"), _widths(node, packed), strict=True)}
    q, k, v = split_packed(node, builder, packed, dict.fromkeys(sizes, heads), sizes)
    if node.int("do_rotary"):
        q, k = (
            rotate(
                node,
                builder,
                x,
                builder.inner(node, f"{part}:rotated", x.value.shape, x.value.code),
                (),
                None,
                node.int("rotary_embedding_dim"),
                f":{part}:rotate",
            )
            for part, x in (("query", q), ("key", k))
        )
    keys = k.length
    before = builder.optional(node, past)
    if before is not None or node.has(1):
        k, v, keys = _grow(node, builder, k, v, before, builder.optional(node, length) if length >= 0 else None)
    output = builder.put(node, (q.batch, q.length, heads * v.size), packed.code)
    extras = Extras(
        biases=[bias for bias in (builder.optional(node, index) for index in biases) if bias is not None],
        masks=[mask for mask in (builder.optional(node, index) for index in masks) if mask is not None],
        keys=keys,
    )
    attend(node, builder, q, k, v, Heads(output, "bsc", q.batch, heads, q.length, v.size), extras)
    builder.fuse(node, start)


def _grow(
    node: Node, builder: Builder, k: Heads, v: Heads, past: Value | None, given: Value | None
) -> tuple[Heads, Heads, int]:
    """Append to past [2, batch, heads, positions, size]; give keys and values of the present, and how many are filled.

    A shared buffer is written in place; if the past length is not known before run time, all of it is read.
    """
    shared = bool(node.int("past_present_share_buffer")) and past is not None
    filled = 0 if past is None else past.shape[3]
    known = None if given is None or given.data is None else int(given.data.ravel()[0])
    total = (filled if known is None else known + k.length) if shared else filled + k.length
    room = filled if shared else total
    shape, code = (2, k.batch, k.heads, room, k.size), k.value.code
    if node.has(1):
        present = builder.put(node, shape, code, 1, role="kv_cache")
    else:
        present = builder.inner(node, "present", shape, code)
    dims = {"b0": k.batch, "b1": k.heads, "m": k.length, "k": k.size}
    new = [builder.tensor(part.value, part.axes("m", "k")) for part in (k, v)]
    walked = tuple(map(plain, ("i", "b0", "b1", "n", "k")))
    if shared and past is not None:
        added = builder.inner(node, "appended", (2, k.batch, k.heads, k.length, k.size), code)
        axes = (axis(extent=2), *map(plain, ("b0", "b1", "m", "k"))), walked
        write_in_place(node, builder, new, added, past, present, axes, dims, {"i": 2, "n": room}, ":cache")
    else:
        outer = (axis(extent=2), plain("b0"), plain("b1"))
        if past is not None and past.size:
            new.insert(0, builder.tensor(past, (*outer, axis(extent=filled), plain("k"))))
        target = [builder.tensor(present, (*outer, axis(extent=room), plain("k")))]
        builder.emit(node, "move", dims, new, target, code=code, suffix=":cache:append", op_type="Concat")
    halves = [builder.inner(node, part, shape[1:], code) for part in ("keys", "values")]
    for half in halves:
        half.role = "kv_cache"
    separate(node, builder, present, halves, walked[1:], {"b0": k.batch, "b1": k.heads, "n": room, "k": k.size}, 0)
    keys, values = (Heads(half, "bhsd", k.batch, k.heads, room, k.size) for half in halves)
    return keys, values, total
