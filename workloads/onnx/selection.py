"""Handlers of operators that select or place values: top-k, one-hot, sequences, boxes, masks.

Where the size of a result depends on data there is no shape to count with. Boxes of NonMaxSuppression have a bound in
the node itself, which is taken. NonZero, Compress and Unique are refused; `worst_case` describes them by their largest
possible result, for those who ask for it (`extra_ops={"NonZero": worst_case}`).
"""

from __future__ import annotations

from collections.abc import Sequence

from workloads.errors import WorkloadError
from workloads.formats import format_code
from workloads.onnx.builder import Builder, Node, Value, broadcast_axes, index_names, plain
from workloads.operator import Axis, axis

__all__ = [
    "center_crop_pad",
    "depth_to_space",
    "expand_dims",
    "is_all_finite",
    "ngram_repeat_block",
    "non_max_suppression",
    "one_hot",
    "reverse_sequence",
    "space_to_depth",
    "top_k",
    "unfold",
    "worst_case",
]

INT64 = format_code("int64")


def top_k(node: Node, builder: Builder) -> None:
    """TopK: one comparison per value; a heap of k takes log2(k) of them in the worst case, few on average."""
    x = builder.value(node, 0)
    position = builder.position(node, node.int("axis", -1), x.rank)
    count = node.int("k") if "k" in node.attributes else int(builder.known(node, 1, "k").ravel()[0])
    if not 0 <= count <= x.shape[position]:
        raise WorkloadError(f"node {node.name!r} (TopK): k = {count} of an axis of {x.shape[position]} in {x.shape}")
    shape = [count if i == position else extent for i, extent in enumerate(x.shape)]
    outputs = [builder.put(node, shape, code, index)
               for index, code in ((0, x.code), (1, INT64)) if node.has(index)]  # fmt: skip
    names = index_names(x.rank)
    written = [axis(extent=count) if i == position else plain(name) for i, name in enumerate(names)]
    builder.emit(
        node, "reduce", dict(zip(names, x.shape, strict=True)), [builder.tensor(x, [plain(name) for name in names])],
        [builder.tensor(output, written) for output in outputs], 1, code=x.code,
    )  # fmt: skip


def one_hot(node: Node, builder: Builder) -> None:
    """OneHot with a depth that is known before run time: every value is written."""
    indices, values = builder.value(node, 0), builder.value(node, 2)
    depth = int(builder.known(node, 1, "depth").ravel()[0])
    position = builder.position(node, node.int("axis", -1), indices.rank + 1)
    shape = (*indices.shape[:position], depth, *indices.shape[position:])
    output = builder.put(node, shape, values.code)
    names = index_names(len(shape))
    walked = [plain(name) for i, name in enumerate(names) if i != position]
    inputs = [builder.tensor(indices, walked), builder.tensor(values, [axis(extent=values.size)])]
    written = [builder.tensor(output, [plain(name) for name in names])]
    builder.emit(node, "move", dict(zip(names, shape, strict=True)), inputs, written, code=values.code)


def reverse_sequence(node: Node, builder: Builder) -> None:
    """ReverseSequence: a copy."""
    x, lengths = builder.value(node, 0), builder.value(node, 1)
    _emit_copy(node, builder, [x, lengths], builder.put(node, x.shape, x.code))


def ngram_repeat_block(node: Node, builder: Builder) -> None:
    """NGramRepeatBlock: scores, some of them overwritten."""
    ids, scores = builder.value(node, 0), builder.value(node, 1)
    _emit_copy(node, builder, [scores, ids], builder.put(node, scores.shape, scores.code))


def depth_to_space(node: Node, builder: Builder) -> None:
    """DepthToSpace: channels become blocks of pixels."""
    x, block = builder.value(node, 0), node.int("blocksize")
    batch, channels, height, width = x.shape
    shape = (batch, channels // block**2, height * block, width * block)
    _emit_copy(node, builder, [x], builder.put(node, shape, x.code))


def space_to_depth(node: Node, builder: Builder) -> None:
    """SpaceToDepth: blocks of pixels become channels."""
    x, block = builder.value(node, 0), node.int("blocksize")
    batch, channels, height, width = x.shape
    shape = (batch, channels * block**2, height // block, width // block)
    _emit_copy(node, builder, [x], builder.put(node, shape, x.code))


def center_crop_pad(node: Node, builder: Builder) -> None:
    """CenterCropPad: each axis cut or padded to a size; only what stays is read."""
    x = builder.value(node, 0)
    wanted = [int(extent) for extent in builder.known(node, 1, "shape").ravel()]
    axes = [builder.position(node, item, x.rank) for item in node.ints("axes", range(x.rank))]
    shape = list(x.shape)
    for position, extent in zip(axes, wanted, strict=True):
        shape[position] = extent
    output = builder.put(node, shape, x.code)
    names = index_names(x.rank)
    read = [plain(name) if new == old else axis(name, extent=old)
            for name, old, new in zip(names, x.shape, shape, strict=True)]  # fmt: skip
    written = [builder.tensor(output, [plain(name) for name in names])]
    dims = dict(zip(names, output.shape, strict=True))
    builder.emit(node, "move", dims, [builder.tensor(x, read)], written, code=x.code)


def unfold(node: Node, builder: Builder) -> None:
    """UnfoldTensor: all slices of one size along an axis, side by side in a new last axis."""
    x, size, step = builder.value(node, 0), node.int("size"), node.int("step", 1)
    position = builder.position(node, node.int("dim", -1), x.rank)
    count = (x.shape[position] - size) // step + 1
    output = builder.put(node, [*(count if i == position else e for i, e in enumerate(x.shape)), size], x.code)
    names = index_names(output.rank)
    read: list[Axis] = [plain(name) for name in names[:-1]]
    read[position] = axis((step, names[position]), names[-1], extent=x.shape[position])
    written = [builder.tensor(output, [plain(name) for name in names])]
    dims = dict(zip(names, output.shape, strict=True))
    builder.emit(node, "move", dims, [builder.tensor(x, read)], written, code=x.code)


def expand_dims(node: Node, builder: Builder) -> None:
    """ExpandDims: insert an axis of size one; nothing moves."""
    x = builder.value(node, 0)
    position = builder.position(node, int(builder.known(node, 1, "axis").ravel()[0]), x.rank + 1)
    output = builder.put(node, (*x.shape[:position], 1, *x.shape[position:]), x.code)
    names = index_names(x.rank)
    walked = [plain(name) for name in names]
    written = [*walked[:position], axis(extent=1), *walked[position:]]
    dims = dict(zip(names, x.shape, strict=True))
    inputs, outputs = [builder.tensor(x, walked)], [builder.tensor(output, written)]
    builder.emit(node, "view", dims, inputs, outputs, code=x.code)


def is_all_finite(node: Node, builder: Builder) -> None:
    """IsAllFinite: one truth value of all inputs."""
    values = [builder.value(node, index) for index in range(len(node.inputs))]
    output = builder.put(node, (), format_code("bool"))
    inputs = [builder.tensor(value, [axis(extent=extent) for extent in value.shape]) for value in values]
    dims = {"i0": sum(value.size for value in values)}
    builder.emit(node, "reduce", dims, inputs, [builder.tensor(output, ())], code=values[0].code)


# Two minima, two maxima, two subtractions, two clamps, intersection, union (2), division, comparison.
_IOU_FLOPS = 13.0


def non_max_suppression(node: Node, builder: Builder) -> None:
    """NonMaxSuppression: as many boxes as the node allows, each compared with all: an upper bound.

    Raises:
        WorkloadError: The number of boxes per class is not known before run time.
    """
    boxes, scores = builder.value(node, 0), builder.value(node, 1)
    batch, classes, places = scores.shape
    chosen = 0
    if builder.optional(node, 2) is not None:
        chosen = min(places, int(builder.known(node, 2, "number of boxes per class").ravel()[0]))
    output = builder.put(node, (batch * classes * chosen, 3), INT64)
    dims = {"b": batch, "c": classes, "m": chosen, "n": places}
    inputs = [
        builder.tensor(boxes, (plain("b"), plain("n"), axis(extent=boxes.shape[2]))),
        builder.tensor(scores, (plain("b"), plain("c"), plain("n"))),
    ]
    rows = axis((classes * chosen, "b"), (chosen, "c"), "m") if chosen else axis(extent=0)
    written = [builder.tensor(output, (rows, axis(extent=3)))]
    builder.emit(node, "reduce", dims, inputs, written, _IOU_FLOPS, code=boxes.code)


def worst_case(node: Node, builder: Builder) -> None:
    """Describe NonZero, Compress or Unique by the largest result that it can have.

    Give it to `load_onnx(..., extra_ops={"NonZero": worst_case})` where an upper bound is wanted.

    Raises:
        WorkloadError: The op type is another.
    """
    x = builder.value(node, 0)
    if node.op_type == "NonZero":
        _emit_copy(node, builder, [x], builder.put(node, (x.rank, x.size), INT64))
    elif node.op_type == "Compress":
        condition = builder.value(node, 1)
        if "axis" in node.attributes:
            position = builder.position(node, node.int("axis"), x.rank)
            kept = min(condition.size, x.shape[position])
            shape = [kept if i == position else extent for i, extent in enumerate(x.shape)]
        else:
            shape = [min(condition.size, x.size)]
        _emit_copy(node, builder, [x, condition], builder.put(node, shape, x.code))
    elif node.op_type == "Unique":
        whole = "axis" not in node.attributes
        count = x.size if whole else x.shape[builder.position(node, node.int("axis"), x.rank)]
        _emit_copy(node, builder, [x], builder.put(node, (x.size,) if whole else x.shape, x.code))
        for index in (1, 2, 3):
            if node.has(index):
                builder.put(node, (count,), INT64, index)
    else:
        raise WorkloadError(
            f"node {node.name!r}: worst_case describes NonZero, Compress and Unique, not {node.op_type}"
        )


def _emit_copy(node: Node, builder: Builder, values: Sequence[Value], output: Value) -> None:
    """Emit a copy into an output of another shape; inputs are read whole."""
    if values[0].shape == output.shape and all(value.rank <= output.rank for value in values):
        names = index_names(output.rank)
        whole = [builder.tensor(value, [axis(extent=extent) for extent in value.shape]) for value in values[1:]]
        first = builder.tensor(values[0], broadcast_axes(values[0].shape, names, output.shape))
        inputs = [first, *whole]
    else:
        names = index_names(output.rank)
        inputs = [builder.tensor(value, [axis(extent=extent) for extent in value.shape]) for value in values]
    written = [builder.tensor(output, [plain(name) for name in names])]
    dims = dict(zip(names, output.shape, strict=True))
    builder.emit(node, "move", dims, inputs, written, code=values[0].code)
