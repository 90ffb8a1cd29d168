"""Handlers of the standard's Attention and RotaryEmbedding."""

from __future__ import annotations

from workloads.errors import WorkloadError
from workloads.onnx.attention import Extras, attend, rotate
from workloads.onnx.builder import Builder, Node, Value, index_names, plain
from workloads.onnx.heads import Heads, append, write_in_place
from workloads.operator import axis

__all__ = ["attention", "flex_attention", "gemma_rotary_embedding", "rotary_embedding", "tensor_scatter"]

_STAGES = {0: "raw", 1: "masked", 2: "masked", 3: "softmax"}


def attention(node: Node, builder: Builder) -> None:
    """Attention 23 to 25: 3-D or 4-D operands, grouped queries, a cache that is copied into the present.

    With `nonpad_kv_seqlen` (a cache that grows in place outside) all of its room is read, unless the lengths are known.

    Source: ONNX operator specification, Attention 25.
    """
    q = Heads.read(node, builder.value(node, 0), node.int("q_num_heads"))
    k = Heads.read(node, builder.value(node, 1), node.int("kv_num_heads"))
    v = Heads.read(node, builder.value(node, 2), node.int("kv_num_heads"))
    total = k.length
    past = [builder.optional(node, index) for index in (4, 5)]
    if past[0] is not None and past[1] is not None:
        total += past[0].shape[2]
    output = _output(node, builder, q, v.size)
    start = len(builder.operators)
    lengths = builder.optional(node, 6)
    filled = total if lengths is None or lengths.data is None else min(total, int(lengths.data.max(initial=0)))
    if past[0] is not None or node.has(1):
        k, v = (
            _appended(node, builder, part, heads, cache, total, index)
            for part, heads, cache, index in (("key", k, past[0], 1), ("value", v, past[1], 2))
        )
    left = node.int("left_window_size", -1)
    first = max(0, filled - q.length - left) if left >= 0 else 0
    mask = builder.optional(node, 3)
    stages = {}
    if node.has(3):
        stage = _STAGES[node.int("qk_matmul_output_mode")]
        stages[stage] = builder.put(node, (q.batch, q.heads, q.length, filled - first), q.value.code, 3)
    extras = Extras(
        biases=[] if mask is None else [mask],
        masks=[] if lengths is None else [lengths],
        softcap=node.float("softcap") != 0.0,
        keys=filled - first,
        first=first,
        stages=stages,
    )
    attend(node, builder, q, k, v, output, extras)
    builder.fuse(node, start)


def _output(node: Node, builder: Builder, q: Heads, size: int) -> Heads:
    shape = (q.batch, q.heads, q.length, size) if q.layout == "bhsd" else (q.batch, q.length, q.heads * size)
    return Heads(builder.put(node, shape, q.value.code), q.layout, q.batch, q.heads, q.length, size)


def _appended(node: Node, builder: Builder, part: str, new: Heads, past: Value | None, total: int, index: int) -> Heads:
    """Append to a cache whose present is an output, or stays inside where the graph does not want it."""
    shape, code = (new.batch, new.heads, total, new.size), new.value.code
    if node.has(index):
        present = builder.put(node, shape, code, index, role="kv_cache")
    else:
        present = builder.inner(node, f"{part}s", shape, code)
    return append(node, builder, new, past, present, part)


def flex_attention(node: Node, builder: Builder) -> None:
    """FlexAttention without modifier graphs: attention of 4-D operands.

    Raises:
        WorkloadError: It has a score_mod or prob_mod graph.
    """
    if "score_mod" in node.attributes or "prob_mod" in node.attributes:
        raise WorkloadError(
            f"node {node.name!r} (FlexAttention): its score_mod and prob_mod graphs are not counted; "
            "export the attention without them, as MatMul, Softmax and MatMul"
        )
    q, k, v = (Heads.read(node, builder.value(node, index), 0) for index in range(3))
    output = _output(node, builder, q, v.size)
    start = len(builder.operators)
    attend(node, builder, q, k, v, output, Extras(keys=k.length))
    builder.fuse(node, start)


def rotary_embedding(node: Node, builder: Builder) -> None:
    """RotaryEmbedding 23, and of com.microsoft: of 3-D or 4-D queries or keys.

    Source: ONNX operator specification, RotaryEmbedding 23; ONNX Runtime contributed operators.
    """
    microsoft = bool(node.domain)
    x, positions = builder.value(node, 0), builder.optional(node, 1 if microsoft else 3)
    tables = [builder.value(node, index) for index in ((2, 3) if microsoft else (1, 2))]
    rotated = node.int("rotary_embedding_dim")
    heads = node.int("num_heads")
    if x.rank == 3 and not heads and microsoft:  # the tables tell the size of a head
        heads = x.shape[-1] // max(1, 2 * tables[0].shape[-1])
    read = Heads.read(node, x, heads)
    output = builder.put(node, x.shape, x.code)
    if not rotated and tables[0].size:
        rotated = min(read.size, 2 * tables[0].shape[-1])
    rotate(node, builder, read, output, tables, positions, rotated)


def tensor_scatter(node: Node, builder: Builder) -> None:
    """TensorScatter: a cache that grows in place; only the new positions move, the present is the past's memory.

    Source: ONNX operator specification, TensorScatter 24 (it models an in-place update).
    """
    past, update = builder.value(node, 0), builder.value(node, 1)
    position = builder.position(node, node.int("axis", -2), past.rank)
    present = builder.put(node, past.shape, past.code, role=past.role)
    names = index_names(past.rank)
    written = [plain(name) for name in names]
    whole = [axis(extent=past.shape[i]) if i == position else item for i, item in enumerate(written)]
    added = builder.inner(node, "appended", update.shape, past.code)
    sources = [builder.tensor(update, written)]
    where = builder.optional(node, 2)
    if where is not None:
        sources.append(builder.tensor(where, [axis(extent=extent) for extent in where.shape]))
    dims = dict(zip(names, update.shape, strict=True))
    write_in_place(node, builder, sources, added, past, present, (written, whole), dims, {})


def gemma_rotary_embedding(node: Node, builder: Builder) -> None:
    """GemmaRotaryEmbedding: cosines and sines of angles, then x cos + rotated(x) sin of queries and keys.

    Source: ONNX Runtime, documentation of the contributed operators: its formula in onnxscript.
    """
    angles = builder.value(node, 0)
    start = len(builder.operators)
    names = index_names(3)
    walked = [plain(name) for name in names]
    tables = [builder.inner(node, part, angles.shape, angles.code) for part in ("cos", "sin")]
    builder.emit(
        node,
        "elementwise",
        dict(zip(names, angles.shape, strict=True)),
        [builder.tensor(angles, walked)],
        [builder.tensor(table, walked) for table in tables],
        2,
        code=angles.code,
        suffix=":angles",
        op_type="Cos",
    )
    for index in (0, 1):
        x, turned = builder.value(node, 1 + 2 * index), builder.value(node, 2 + 2 * index)
        heads = Heads.read(node, x, 0)
        output = builder.put(node, x.shape, x.code, index)
        rotate(node, builder, heads, output, tables, turned, suffix=f":{('query', 'key')[index]}")
    builder.fuse(node, start)
