"""Handlers of ONNX Runtime's own attention operators (domain com.microsoft).

Source: ONNX Runtime, documentation of the contributed operators (ContribOperators.md) and its CPU kernels, which decide
the shape of the present.
"""

from __future__ import annotations

from collections.abc import Sequence

from workloads.errors import WorkloadError
from workloads.onnx.attention import Extras, attend, rotate
from workloads.onnx.attention_parts import add_biases, cached, grow, head_norm
from workloads.onnx.builder import Builder, Node, Value, index_names, plain
from workloads.onnx.heads import Heads, separate, split_packed

__all__ = ["decoder_masked_attention", "group_query_attention", "multi_head_attention", "packed_attention"]


def multi_head_attention(node: Node, builder: Builder) -> None:
    """MultiHeadAttention: separate, packed or cached operands; biases of the projections; past and present."""
    start = len(builder.operators)
    q, k, v = _operands(node, builder)
    if builder.optional(node, 3) is not None:
        q, k, v = add_biases(node, builder, (q, k, v), builder.value(node, 3))
    past = [builder.optional(node, index) for index in (6, 7)]
    total = k.length + (past[0].shape[2] if past[0] is not None else 0)
    k, v = (
        grow(node, builder, heads, cache, total, index) for heads, cache, index in ((k, past[0], 1), (v, past[1], 2))
    )
    bias, mask = builder.optional(node, 5), builder.optional(node, 4)
    _finish(node, builder, start, (q, k, v), keys=total, biases=[bias], masks=[mask], softmax_output=3)


def decoder_masked_attention(node: Node, builder: Builder) -> None:
    """DecoderMaskedMultiHeadAttention: one query per sequence.

    Where past and present share a buffer and the past length is not known before run time, all of the buffer is read.
    """
    start = len(builder.operators)
    q, k, v = _operands(node, builder)
    if builder.optional(node, 10) is not None:
        q, k, v = add_biases(node, builder, (q, k, v), builder.value(node, 10))
    past = [builder.optional(node, index) for index in (5, 6)]
    total = k.length
    if past[0] is not None:
        length = builder.optional(node, 7)
        known = None if length is None or length.data is None else int(length.data.ravel()[0])
        shared = bool(node.int("past_present_share_buffer"))
        total = past[0].shape[2] + (0 if shared else 1) if known is None else known + 1
        room = past[0].shape[2] if shared else total
        k, v = (
            grow(node, builder, heads, cache, room, index) for heads, cache, index in ((k, past[0], 1), (v, past[1], 2))
        )
    others = [builder.optional(node, index) for index in (3, 7, 8, 9)]
    biases = [builder.optional(node, 4)]
    _finish(node, builder, start, (q, k, v), keys=total, biases=biases, masks=others, softmax_output=3)


def group_query_attention(node: Node, builder: Builder) -> None:
    """GroupQueryAttention: rotary embedding and norms inside, a cache that grows in place or is copied.

    The total length is the input of that name where it is known before run time (a shape), else past plus new. The
    present has room for the larger of the past's room and the total; a past of that size is written in place.
    """
    start = len(builder.operators)
    q, k, v = _grouped_operands(node, builder)
    norms = [builder.optional(node, index) for index in (14, 15)]
    if norms[0] is not None and norms[1] is not None:
        q = head_norm(node, builder, q, norms[0], "query")
        k = head_norm(node, builder, k, norms[1], "key")
    if node.int("do_rotary"):
        q, k = _rotated(node, builder, q, "query"), _rotated(node, builder, k, "key")
    past = [builder.optional(node, index) for index in (3, 4)]
    filled = past[0].shape[2] if past[0] is not None else 0
    given = builder.optional(node, 6)
    known = None if given is None or given.data is None else int(given.data.ravel()[0])
    total = filled + k.length if known is None else known
    if node.int("sliding_window_cache"):  # the buffers hold the window and no more
        total = min(total, filled)
    room = max(total, filled)
    window = node.int("local_window_size", -1)
    keys = min(total, q.length + window - 1) if window > 0 else total
    k, v = (
        cached(node, builder, heads, cache, room, index, total - keys, keys)
        for heads, cache, index in ((k, past[0], 1), (v, past[1], 2))
    )
    _finish(
        node,
        builder,
        start,
        (q, k, v),
        keys=keys,
        first=total - keys,
        biases=[builder.optional(node, 10)],
        masks=[builder.optional(node, 5)],
        sinks=builder.optional(node, 11),
        softmax_output=3 if node.int("qk_output") else -1,
    )


def _rotated(node: Node, builder: Builder, x: Heads, part: str) -> Heads:
    """Turn queries or keys by the tables that the operator holds."""
    tables = [builder.value(node, index) for index in (7, 8)]
    turned = builder.inner(node, f"{part}:rotated", x.value.shape, x.value.code)
    count = min(x.size, 2 * tables[0].shape[-1])
    return rotate(node, builder, x, turned, tables, builder.optional(node, 9), count, f":{part}:rotate")


def packed_attention(node: Node, builder: Builder) -> None:
    """PackedMultiHeadAttention: tokens without padding, as if all sequences were equally long.

    How long each is stands in run-time data. Equal lengths are exact where all are, else the least that the same number
    of tokens can cost.
    """
    start = len(builder.operators)
    query, offsets = builder.value(node, 0), builder.value(node, 4)
    batch, heads = offsets.shape[0], node.int("num_heads")
    length = -(-query.shape[0] // max(1, batch))
    if query.rank == 4:  # [tokens, heads, 3, size]
        size = query.shape[-1]
        shape = (query.shape[0], heads, size)
        parts = tuple(builder.inner(node, part, shape, query.code) for part in ("query", "key", "value"))
        separate(
            node,
            builder,
            query,
            parts,
            tuple(map(plain, index_names(3))),
            dict(zip(index_names(3), shape, strict=True)),
            2,
        )
        q, k, v = (Heads(part, "thd", batch, heads, length, size) for part in parts)
    else:
        values = [builder.value(node, index) for index in range(3)]
        q, k, v = (Heads(value, "tc", batch, heads, length, value.shape[-1] // heads) for value in values)
    if builder.optional(node, 3) is not None:
        q, k, v = add_biases(node, builder, (q, k, v), builder.value(node, 3))
    output = builder.put(node, (query.shape[0], heads * v.size), query.code)
    result = Heads(output, "tc", batch, heads, length, v.size)
    bias = builder.optional(node, 6)
    extras = Extras(keys=length, biases=[] if bias is None else [bias], masks=[offsets, builder.value(node, 5)])
    attend(node, builder, q, k, v, result, extras)
    builder.fuse(node, start)


def _operands(node: Node, builder: Builder) -> tuple[Heads, Heads, Heads]:
    """Read queries, keys and values: three tensors, [.., heads, 3, size], or queries and [.., heads, 2, size]."""
    heads = node.int("num_heads")
    query, key, value = builder.value(node, 0), builder.optional(node, 1), builder.optional(node, 2)
    if key is None and query.rank == 5:
        q, k, v = _interleaved(node, builder, query, ("query", "key", "value"))
        return q, k, v
    if key is None:
        size = query.shape[-1] // (3 * heads)
        packed = split_packed(
            node,
            builder,
            query,
            dict.fromkeys(("query", "key", "value"), heads),
            dict.fromkeys(("query", "key", "value"), size),
        )
        return packed[0], packed[1], packed[2]
    q = Heads.read(node, query, heads)
    if key.rank == 5:
        k, v = _interleaved(node, builder, key, ("key", "value"))
        return q, k, v
    return q, Heads.read(node, key, heads), Heads.read(node, builder.value(node, 2) if value is None else value, heads)


def _interleaved(node: Node, builder: Builder, packed: Value, names: Sequence[str]) -> tuple[Heads, ...]:
    """Cut [batch, positions, heads, 3 or 2, size]."""
    batch, length, heads, count, size = packed.shape
    if count != len(names) or heads != node.int("num_heads"):
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): {packed.name!r} has shape {packed.shape}, and "
            f"{node.int('num_heads')} heads of {' and '.join(names)} have [batch, positions, heads, {len(names)}, size]"
        )
    shape = (batch, length, heads, size)
    parts = tuple(builder.inner(node, name, shape, packed.code) for name in names)
    dims = dict(zip(index_names(4), shape, strict=True))
    separate(node, builder, packed, parts, tuple(map(plain, dims)), dims, 3)
    return tuple(Heads(part, "bshd", batch, heads, length, size) for part in parts)


def _grouped_operands(node: Node, builder: Builder) -> tuple[Heads, Heads, Heads]:
    heads, shared = node.int("num_heads"), node.int("kv_num_heads")
    query, key = builder.value(node, 0), builder.optional(node, 1)
    if key is None:
        size = query.shape[-1] // (heads + 2 * shared)
        counts = {"query": heads, "key": shared, "value": shared}
        packed = split_packed(node, builder, query, counts, dict.fromkeys(counts, size))
        return packed[0], packed[1], packed[2]
    return (
        Heads.read(node, query, heads),
        Heads.read(node, key, shared),
        Heads.read(node, builder.value(node, 2), shared),
    )


def _finish(
    node: Node,
    builder: Builder,
    start: int,
    parts: tuple[Heads, Heads, Heads],
    *,
    keys: int,
    first: int = 0,
    biases: Sequence[Value | None] = (),
    masks: Sequence[Value | None] = (),
    sinks: Value | None = None,
    softmax_output: int = -1,
) -> None:
    """Put the output [batch, positions, heads x size], emit the attention, and fuse all since `start`."""
    q, k, v = parts
    output = builder.put(node, (q.batch, q.length, q.heads * v.size), q.value.code)
    result = Heads(output, "bsc", q.batch, q.heads, q.length, v.size)
    stages = {}
    if softmax_output >= 0 and node.has(softmax_output):
        stage = "raw" if node.int("qk_output") == 1 else "softmax"
        stages[stage] = builder.put(node, (q.batch, q.heads, q.length, keys), q.value.code, softmax_output)
    extras = Extras(
        biases=[bias for bias in biases if bias is not None],
        masks=[mask for mask in masks if mask is not None],
        softcap=node.float("softcap") != 0.0,
        sinks=sinks,
        keys=keys,
        first=first,
        stages=stages,
    )
    attend(node, builder, q, k, v, result, extras)
    builder.fuse(node, start)
