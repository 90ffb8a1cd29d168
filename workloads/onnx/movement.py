"""Handlers of operators that move data."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from workloads.errors import WorkloadError
from workloads.onnx.builder import Builder, Node, Value, broadcast_axes, index_axes, index_names, plain, whole
from workloads.onnx.elementwise import broadcast_shape
from workloads.onnx.folding import sliced
from workloads.onnx.views import inherit
from workloads.operator import axis

__all__ = [
    "concat",
    "expand",
    "gather",
    "gather_nd",
    "pad",
    "range_",
    "resize",
    "scatter",
    "slice_",
    "split",
    "tile",
    "transpose",
    "trilu",
]


def transpose(node: Node, builder: Builder) -> None:
    """Transpose moves every value once (of a constant: folded, and the stored weight keeps its name)."""
    value = builder.value(node, 0)
    order = node.ints("perm", tuple(reversed(range(value.rank))))
    names = index_names(value.rank)
    output = builder.put(node, [value.shape[position] for position in order], value.code)
    inherit(value, output)
    builder.emit(
        node,
        "move",
        dict(zip(names, value.shape, strict=True)),
        [builder.tensor(value, index_axes(value.rank))],
        [builder.tensor(output, [plain(names[position]) for position in order])],
        code=value.code,
    )


def concat(node: Node, builder: Builder) -> None:
    """Concat copies its inputs side by side."""
    values = [builder.value(node, index) for index, name in enumerate(node.inputs) if name]
    rank = values[0].rank
    position = builder.position(node, node.int("axis"), rank)
    if len({(*value.shape[:position], *value.shape[position + 1 :]) for value in values}) > 1:
        listed = ", ".join(str(value.shape) for value in values)
        raise WorkloadError(
            f"node {node.name!r} (Concat): shapes {listed} differ beside axis {position}; "
            "check the sizes given for the symbolic dims"
        )
    shape = list(values[0].shape)
    shape[position] = sum(value.shape[position] for value in values)
    output = builder.put(node, shape, values[0].code)
    _emit_parts(node, builder, position, inputs=values, outputs=[output])


def split(node: Node, builder: Builder) -> None:
    """Split copies the parts out."""
    value = builder.value(node, 0)
    position = builder.position(node, node.int("axis"), value.rank)
    if "split" in node.attributes:
        parts: Sequence[int] = node.ints("split")
    elif builder.optional(node, 1) is not None:
        parts = [int(item) for item in builder.known(node, 1, "split sizes").ravel()]
    else:
        number = node.int("num_outputs", len(node.outputs))
        each = -(-value.shape[position] // number)
        parts = [min(each, value.shape[position] - each * i) for i in range(min(number, len(node.outputs)))]
    if sum(parts) != value.shape[position] or len(parts) != len(node.outputs):
        raise WorkloadError(
            f"node {node.name!r} (Split): parts {list(parts)} for {len(node.outputs)} outputs of axis {position} of "
            f"{value.shape}; the file fixes a size that was bound differently"
        )
    outputs = []
    for index, part in enumerate(parts):
        shape = [*value.shape[:position], part, *value.shape[position + 1 :]]
        outputs.append(builder.put(node, shape, value.code, index))
    _emit_parts(node, builder, position, inputs=[value], outputs=outputs)


def _emit_parts(node: Node, builder: Builder, position: int, inputs: list[Value], outputs: list[Value]) -> None:
    """Emit a copy whose tensors differ along one axis, which each reads or writes whole."""
    names, axes = index_names(inputs[0].rank), index_axes(inputs[0].rank)
    dims = {name: extent for i, (name, extent) in enumerate(zip(names, inputs[0].shape, strict=True)) if i != position}
    before, after = axes[:position], axes[position + 1 :]
    sources = [builder.tensor(value, (*before, whole(value.shape[position]), *after)) for value in inputs]
    targets = [builder.tensor(value, (*before, whole(value.shape[position]), *after)) for value in outputs]
    builder.emit(node, "move", dims, sources, targets, code=inputs[0].code)


def slice_(node: Node, builder: Builder) -> None:
    """Slice reads the strided part of its input and copies it."""
    value = builder.value(node, 0)
    if "starts" in node.attributes:
        starts, ends = node.ints("starts"), node.ints("ends")
        axes, steps = node.ints("axes", range(len(starts))), (1,) * len(starts)
    else:
        starts = tuple(builder.known(node, 1, "starts").ravel().tolist())
        ends = tuple(builder.known(node, 2, "ends").ravel().tolist())
        given = builder.optional(node, 3)
        axes = tuple(range(len(starts))) if given is None else tuple(builder.known(node, 3, "axes").ravel().tolist())
        given = builder.optional(node, 4)
        steps = (1,) * len(starts) if given is None else tuple(builder.known(node, 4, "steps").ravel().tolist())
    names = index_names(value.rank)
    shape = list(value.shape)
    read = [plain(name) for name in names]
    for start, end, position, step in zip(starts, ends, axes, steps, strict=True):
        position %= value.rank
        chosen = sliced(start, end, step, value.shape[position])
        shape[position] = len(chosen)
        if len(chosen) != value.shape[position]:
            low = min(chosen[0], chosen[-1]) if len(chosen) else 0
            read[position] = axis((abs(step), names[position]), offset=low, extent=value.shape[position])
    output = builder.put(node, shape, value.code)
    written = [plain(name) for name in names]
    dims = dict(zip(names, shape, strict=True))
    builder.emit(node, "move", dims, [builder.tensor(value, read)], [builder.tensor(output, written)], code=value.code)


def gather(node: Node, builder: Builder) -> None:
    """Gather reads at most one row per index; of an embedding table that is a small, touched part."""
    value, indices = builder.value(node, 0), builder.value(node, 1)
    position = builder.position(node, node.int("axis"), value.rank)
    kept = [f"j{i}" for i in range(value.rank)]
    index_dims = index_names(indices.rank)
    shape = (*value.shape[:position], *indices.shape, *value.shape[position + 1 :])
    output = builder.put(node, shape, value.code)
    dims = dict(zip(index_dims, indices.shape, strict=True))
    dims |= {kept[i]: extent for i, extent in enumerate(value.shape) if i != position}
    rows = [axis(extent=value.shape[i]) if i == position else plain(kept[i]) for i in range(value.rank)]
    touched = min(1.0, indices.size / value.shape[position]) if value.shape[position] else 1.0
    after = [plain(kept[i]) for i in range(position)] + [plain(name) for name in index_dims]
    after += [plain(kept[i]) for i in range(position + 1, value.rank)]
    inputs = [builder.tensor(value, rows, touched), builder.tensor(indices, [plain(name) for name in index_dims])]
    builder.emit(node, "gather", dims, inputs, [builder.tensor(output, after)], code=value.code)


def gather_nd(node: Node, builder: Builder) -> None:
    """GatherND and GatherElements: as many values as the output has."""
    value, indices = builder.value(node, 0), builder.value(node, 1)
    if node.op_type == "GatherElements":
        shape = indices.shape
    else:
        batch = node.int("batch_dims")
        shape = (*indices.shape[:-1], *value.shape[batch + indices.shape[-1] :])
    output = builder.put(node, shape, value.code)
    names = index_names(output.rank)
    touched = min(1.0, output.size / value.size) if value.size else 1.0
    inputs = [
        builder.tensor(value, [axis(extent=extent) for extent in value.shape], touched),
        builder.tensor(indices, [axis(extent=extent) for extent in indices.shape]),
    ]
    outputs = [builder.tensor(output, [plain(name) for name in names])]
    builder.emit(node, "gather", dict(zip(names, output.shape, strict=True)), inputs, outputs, code=value.code)


def scatter(node: Node, builder: Builder) -> None:
    """ScatterND and ScatterElements: a copy of the data with the updates written over it."""
    value, indices, updates = (builder.value(node, index) for index in range(3))
    names = index_names(value.rank)
    output = builder.put(node, value.shape, value.code)
    axes = index_axes(value.rank)
    inputs = [
        builder.tensor(value, axes),
        builder.tensor(indices, [*map(whole, indices.shape)]),
        builder.tensor(updates, [*map(whole, updates.shape)]),
    ]
    outputs = [builder.tensor(output, axes)]
    builder.emit(node, "move", dict(zip(names, value.shape, strict=True)), inputs, outputs, code=value.code)


def expand(node: Node, builder: Builder) -> None:
    """Expand broadcasts into memory."""
    value = builder.value(node, 0)
    wanted = tuple(int(extent) for extent in builder.known(node, 1, "shape").ravel())
    _emit_copy(node, builder, value, broadcast_shape(node, [value.shape, wanted]))


def tile(node: Node, builder: Builder) -> None:
    """Tile repeats its input."""
    value = builder.value(node, 0)
    repeats = [int(item) for item in builder.known(node, 1, "repeats").ravel()]
    _emit_copy(node, builder, value, [extent * times for extent, times in zip(value.shape, repeats, strict=True)])


def _emit_copy(node: Node, builder: Builder, value: Value, shape: Sequence[int]) -> None:
    """Emit a copy that reads its input once and writes every value of the output."""
    output = builder.put(node, shape, value.code)
    names = index_names(output.rank)
    axes = broadcast_axes(value.shape, names, output.shape)
    inputs = [builder.tensor(value, axes)]
    outputs = [builder.tensor(output, [plain(name) for name in names])]
    builder.emit(node, "move", dict(zip(names, output.shape, strict=True)), inputs, outputs, code=value.code)


def pad(node: Node, builder: Builder) -> None:
    """Pad copies its input into a larger tensor."""
    value = builder.value(node, 0)
    pads = node.ints("pads") if "pads" in node.attributes else builder.known(node, 1, "pads").ravel().tolist()
    given = builder.optional(node, 3)
    axes = (
        range(value.rank)
        if given is None
        else [builder.position(node, a, value.rank) for a in builder.known(node, 3, "axes").ravel().tolist()]
    )
    shape = list(value.shape)
    for i, position in enumerate(axes):
        shape[position] += int(pads[i]) + int(pads[i + len(axes)])
    _emit_copy(node, builder, value, shape)


def resize(node: Node, builder: Builder) -> None:
    """Resize and Upsample: every output value is written; sizes or scales are known before run time.

    Source: ONNX operator specification, Resize 10 to 19 (axes, keep_aspect_ratio_policy).
    """
    value = builder.value(node, 0)
    axes = [builder.position(node, position, value.rank) for position in node.ints("axes", range(value.rank))]
    extents = [value.shape[position] for position in axes]
    sizes = builder.optional(node, 3)
    if sizes is not None and sizes.size:
        wanted = [int(extent) for extent in builder.known(node, 3, "sizes").ravel()]
        policy = node.attributes.get("keep_aspect_ratio_policy", b"stretch")
        if policy != b"stretch":
            ratios = [size / extent for size, extent in zip(wanted, extents, strict=True)]
            ratio = min(ratios) if policy == b"not_larger" else max(ratios)
            wanted = [math.floor(ratio * extent + 0.5) for extent in extents]
    else:
        scales = node.attributes.get("scales")
        if scales is None:
            scales = builder.known(node, 2 if node.op_type == "Resize" and builder.opset > 10 else 1, "scales").ravel()
        # In float32, as runtimes do: 5 x 1.4 is 7 there and 6.99... in float64.
        with np.errstate(over="ignore"):  # an infinite size is refused as any other impossible one
            wanted = [int(np.float32(e) * np.float32(scale)) for e, scale in zip(extents, scales, strict=True)]
    shape = list(value.shape)
    for position, size in zip(axes, wanted, strict=True):
        shape[position] = size
    _emit_copy(node, builder, value, shape)


def range_(node: Node, builder: Builder) -> None:
    """Range between limits that are known before run time."""
    start, limit, delta = (float(builder.known(node, index, "limits").item()) for index in range(3))
    builder.put(node, (max(0, math.ceil((limit - start) / delta)),), builder.value(node, 0).code)


def trilu(node: Node, builder: Builder) -> None:
    """Trilu copies one triangle."""
    value = builder.value(node, 0)
    _emit_copy(node, builder, value, value.shape)
