"""Handlers of fused embeddings, relative position biases, and the removal of padding."""

from __future__ import annotations

from collections.abc import Sequence

from workloads.errors import WorkloadError
from workloads.formats import format_code
from workloads.onnx.builder import Builder, Node, Value, plain
from workloads.opcounts import ACTIVATIONS, NORMS
from workloads.operator import Axis, axis

__all__ = [
    "embed_layer_norm",
    "gated_relative_position_bias",
    "quantized_embed_layer_norm",
    "relative_position_bias",
    "remove_padding",
    "restore_padding",
]


def embed_layer_norm(node: Node, builder: Builder) -> None:
    """EmbedLayerNormalization: words, positions and segments looked up, summed and normalised in one kernel."""
    given = [builder.optional(node, index) for index in range(9)]
    word, position, segment = given[2], given[3], given[4]
    _embed(node, builder, ((word, given[0]), (position, given[8]), (segment, given[1])), given[5:7], given[7])


def quantized_embed_layer_norm(node: Node, builder: Builder) -> None:
    """QEmbedLayerNormalization: the same with 8-bit tables and weights."""
    given = [builder.optional(node, index) for index in range(18)]
    tables = ((given[2], given[0]), (given[3], None), (given[4], given[1]))
    scales = [value for value in given[8:18] if value is not None]
    _embed(node, builder, tables, given[5:7], given[7], scales, code=scales[0].code, convert=2.0)


def _embed(
    node: Node,
    builder: Builder,
    tables: Sequence[tuple[Value | None, Value | None]],
    weights: Sequence[Value | None],
    mask: Value | None,
    scales: Sequence[Value] = (),
    code: int = -1,
    convert: float = 0.0,
) -> None:
    """Emit look-ups and the norm.

    Args:
        node: The node.
        builder: The state of the load.
        tables: Pairs of a table and its indices; positions without indices count from 0.
        weights: Scale and shift.
        mask: Of the attention; its lengths are the second output.
        scales: Of 8-bit tables.
        code: Format of the result; by default that of the first table.
        convert: FLOPs per looked-up value.
    """
    ids = builder.value(node, 0)
    batch, length = ids.shape
    words = tables[0][0]
    if words is None:
        raise WorkloadError(f"node {node.name!r} ({node.op_type}): it has no word embedding; run onnx.checker")
    width = words.shape[1]
    code = words.code if code < 0 else code
    shape, start = (batch, length, width), len(builder.operators)
    dims, rows = {"b0": batch, "m": length, "n": width}, (plain("b0"), plain("m"), plain("n"))
    found = []
    for part, (table, indices) in zip(("word", "position", "segment"), tables, strict=True):
        if table is not None:
            looked_up = builder.inner(node, part, shape, code)
            _look_up(node, builder, table, indices, looked_up, dims, convert)
            found.append(looked_up)
    outputs = [builder.put(node, shape, code)]
    if node.has(2):
        outputs.append(builder.put(node, shape, code, 2))
    inputs = [builder.tensor(value, rows) for value in found]
    inputs += [builder.tensor(weight, (plain("n"),)) for weight in weights if weight is not None]
    inputs += [builder.tensor(scale, [axis(extent=extent) for extent in scale.shape]) for scale in scales]
    flops = NORMS["LayerNormalization"] + len(found) - 1
    results = [builder.tensor(output, rows) for output in outputs]
    builder.emit(node, "norm", dims, inputs, results, flops, code=code, suffix=":norm", op_type="LayerNormalization")
    builder.fuse(node, start)
    if node.has(1):
        _count_tokens(node, builder, mask, batch, length)


def _look_up(
    node: Node,
    builder: Builder,
    table: Value,
    indices: Value | None,
    result: Value,
    dims: dict[str, int],
    convert: float,
) -> None:
    """Emit the rows of a table, one per token; positions without indices are the same for every sequence."""
    count = dims["m"] * (dims["b0"] if indices is not None else 1)
    touched = min(1.0, count / max(1, table.shape[0]))
    inputs = [builder.tensor(table, (axis(extent=table.shape[0]), plain("n")), touched)]
    if indices is not None:
        walked = plain("b0") if indices.shape[0] == dims["b0"] else axis(extent=indices.shape[0])
        inputs.append(builder.tensor(indices, (walked, plain("m"))))
    written = [builder.tensor(result, (plain("b0"), plain("m"), plain("n")))]
    suffix = f":{result.name.rpartition(':')[2]}"
    builder.emit(node, "gather", dims, inputs, written, convert, code=result.code, suffix=suffix, op_type="Gather")


def _count_tokens(node: Node, builder: Builder, mask: Value | None, batch: int, length: int) -> None:
    """Emit the lengths of the sequences, by the mask."""
    lengths = builder.put(node, (batch,), format_code("int32"), 1)
    read = [] if mask is None else [builder.tensor(mask, (plain("b0"), plain("m")))]
    written, dims = [builder.tensor(lengths, (plain("b0"),))], {"b0": batch, "m": length}
    builder.emit(node, "reduce", dims, read, written, code=lengths.code, suffix=":lengths", op_type="ReduceSum")


def relative_position_bias(node: Node, builder: Builder) -> None:
    """RelativePositionBias: [1, heads, queries, keys] looked up in a table of buckets."""
    table = builder.value(node, 0)
    lengths = [int(builder.known(node, index, "length").ravel()[0]) for index in (1, 2)]
    output = builder.put(node, (1, table.shape[1], *lengths), table.code)
    dims = {"b1": table.shape[1], "m": lengths[0], "n": lengths[1]}
    inputs = [builder.tensor(table, (axis(extent=table.shape[0]), plain("b1")))]
    written = (axis(extent=1), plain("b1"), plain("m"), plain("n"))
    builder.emit(node, "gather", dims, inputs, [builder.tensor(output, written)], code=table.code)


def gated_relative_position_bias(node: Node, builder: Builder) -> None:
    """GatedRelativePositionBias: a projection of the queries gates a stored bias; one kernel.

    Source: ONNX Runtime, documentation of the contributed operators: its formula in PyTorch.
    """
    query, bias, position, weight, shift, eco = (builder.value(node, index) for index in range(6))
    heads, keys = node.int("num_heads"), position.shape[-1]
    size, gates = weight.shape
    offsets = builder.optional(node, 6)
    batch, length = query.shape[:2] if offsets is None else offsets.shape
    start = len(builder.operators)
    outer = {"b0": batch, "b1": heads, "m": length}
    rows = tuple(map(plain, outer))
    joined = axis((size, "b1"), "k")
    read: tuple[Axis, ...] = (plain("b0"), plain("m"), joined)
    if query.rank == 2:
        read = (axis((length, "b0"), "m"), joined)
    projected = builder.inner(node, "projection", (batch, heads, length, gates), query.code)
    inputs = [
        builder.tensor(query, read),
        builder.tensor(weight, (plain("k"), plain("n"))),
        builder.tensor(bias, (joined,)),
        builder.tensor(shift, (plain("n"),)),
    ]
    if offsets is not None:
        inputs.append(builder.tensor(offsets, [axis(extent=extent) for extent in offsets.shape]))
    builder.emit(node, "matmul", outer | {"n": gates, "k": size}, inputs,
                 [builder.tensor(projected, (*rows, plain("n")))], 2, code=builder.pair_format(query, weight),
                 suffix=":projection", op_type="MatMul")  # fmt: skip
    gate = builder.inner(node, "gate", (batch, heads, length, 1), query.code)
    inputs = [builder.tensor(projected, (*rows, plain("n"))), builder.tensor(eco, (axis(extent=1), plain("b1"),
              axis(extent=1), axis(extent=1)))]  # fmt: skip
    # A sum per value; per row two sigmoids and u (r a - 1) + 2.
    flops = 1.0 + (2 * ACTIVATIONS["Sigmoid"] + 4) / max(1, gates)
    builder.emit(node, "reduce", outer | {"n": gates}, inputs, [builder.tensor(gate, (*rows, axis(extent=1)))], flops,
                 code=query.code, suffix=":gate", op_type="ReduceSum")  # fmt: skip
    output = builder.put(node, (batch, heads, length, keys), query.code)
    stored = (axis(extent=1), plain("b1"), plain("m"), plain("n"))
    inputs = [builder.tensor(gate, (*rows, axis(extent=1))), builder.tensor(position, stored)]
    builder.emit(node, "elementwise", outer | {"n": keys}, inputs, [builder.tensor(output, (*rows, plain("n")))], 1,
                 code=query.code, suffix=":scale", op_type="Mul")  # fmt: skip
    builder.fuse(node, start)


def remove_padding(node: Node, builder: Builder) -> None:
    """RemovePadding: the tokens that are no padding; how many stands in run-time data, so all: an upper bound."""
    x, counts = builder.value(node, 0), builder.value(node, 1)
    batch, length, width = x.shape
    outputs = [builder.put(node, (batch * length, width), x.code)]
    shapes = ((batch, length), (batch + 1,), (1,))
    outputs += [builder.put(node, shape, format_code("int32"), index)
                for index, shape in enumerate(shapes, start=1) if node.has(index)]  # fmt: skip
    dims = {"b0": batch, "m": length, "n": width}
    inputs = [builder.tensor(x, (plain("b0"), plain("m"), plain("n"))), builder.tensor(counts, (plain("b0"),))]
    results = [builder.tensor(outputs[0], (axis((length, "b0"), "m"), plain("n")))]
    results += [builder.tensor(output, [axis(extent=extent) for extent in output.shape]) for output in outputs[1:]]
    builder.emit(node, "move", dims, inputs, results, code=x.code)


def restore_padding(node: Node, builder: Builder) -> None:
    """RestorePadding: tokens back to their places, zeros elsewhere."""
    x, offsets = builder.value(node, 0), builder.value(node, 1)
    batch, length = offsets.shape
    output = builder.put(node, (batch, length, x.shape[1]), x.code)
    dims = {"b0": batch, "m": length, "n": x.shape[1]}
    inputs = [
        builder.tensor(x, (axis(extent=x.shape[0]), plain("n"))),
        builder.tensor(offsets, (plain("b0"), plain("m"))),
    ]
    builder.emit(
        node, "move", dims, inputs, [builder.tensor(output, (plain("b0"), plain("m"), plain("n")))], code=x.code
    )
