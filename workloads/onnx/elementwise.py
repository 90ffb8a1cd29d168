"""Handlers of element-wise operators, activations, softmax, norms and reductions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from workloads.errors import WorkloadError
from workloads.formats import FORMATS, format_code
from workloads.onnx.builder import Builder, Node, Value, broadcast_axes, index_axes, index_names, plain, whole
from workloads.onnx.dtypes import code_of_onnx
from workloads.opcounts import ACTIVATIONS, ELEMENTWISE, NORMS, REDUCTIONS

__all__ = [
    "activation",
    "batch_norm",
    "bit_cast",
    "broadcast_shape",
    "cast",
    "elementwise",
    "emit_alike",
    "emit_channel_norm",
    "emit_reduction",
    "global_pool",
    "group_norm",
    "hardmax",
    "norm",
    "reduce",
    "softmax",
]

BOOL = format_code("bool")
_LOGIC = {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not", "Xor", "IsNaN", "IsInf"}
_VARIADIC = {"Sum", "Mean", "Max", "Min"}


def broadcast_shape(node: Node, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Broadcast shapes by the ONNX (NumPy) rule.

    Raises:
        WorkloadError: They do not fit.
    """
    shape = _broadcast(*shapes)
    if shape is None:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): shapes {', '.join(map(str, shapes))} do not broadcast; "
            "check the sizes given for the symbolic dims"
        )
    return shape


@lru_cache(maxsize=4096)
def _broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    """Broadcast shapes; None: they do not fit."""
    rank = max(len(shape) for shape in shapes)
    result = [1] * rank
    for shape in shapes:
        for position, extent in enumerate(shape, start=rank - len(shape)):
            if extent != 1 and result[position] not in (1, extent):
                return None
            result[position] = extent if result[position] == 1 else result[position]
    return tuple(result)


def elementwise(node: Node, builder: Builder) -> None:
    """Element-wise arithmetic and logic with broadcasting."""
    values = [builder.value(node, index) for index, name in enumerate(node.inputs) if name]
    shape = broadcast_shape(node, [value.shape for value in values])
    code = BOOL if node.op_type in _LOGIC else values[1 if node.op_type == "Where" else 0].code
    output = builder.put(node, shape, code)
    if _scales_stored_integers(node, values, output):
        return
    names = index_names(len(shape))
    flops = ELEMENTWISE[node.op_type] * (len(values) - 1 if node.op_type in _VARIADIC else 1)
    builder.emit(
        node,
        "elementwise",
        dict(zip(names, shape, strict=True)),
        [builder.tensor(value, broadcast_axes(value.shape, names, shape)) for value in values],
        [builder.tensor(output, index_axes(len(shape)))],
        flops,
        code=values[-1].code,
    )


def _scales_stored_integers(node: Node, values: Sequence[Value], output: Value) -> bool:
    """Recognise `Cast(int weight) (-|*) constant`: weight-only quantization that was written out by hand."""
    if not values[0].constant or node.op_type not in ("Mul", "Sub", "Div", "Add"):
        return False
    if not all(value.constant for value in values):
        return False
    chained = [value for value in values if value.chain]
    if len(chained) != 1 or chained[0].size != output.size:
        return False
    stored = chained[0]
    extra = sum(value.size * FORMATS[value.code].bits for value in values if value is not stored)
    output.root, output.bits, output.stored = stored.root, stored.bits, stored.stored
    output.overhead_bits = stored.overhead_bits + extra / max(stored.size, 1)
    output.chain = (*stored.chain, node.name)
    return True


def activation(node: Node, builder: Builder) -> None:
    """One-operand activation functions (and PRelu, Clip, whose other operands are small)."""
    value = builder.value(node, 0)
    names = index_names(value.rank)
    output = builder.put(node, value.shape, value.code)
    others = [builder.value(node, index) for index in range(1, len(node.inputs)) if node.inputs[index]]
    axes = index_axes(value.rank)
    builder.emit(
        node,
        "gelu" if "gelu" in node.op_type.lower() else "activation",
        dict(zip(names, value.shape, strict=True)),
        [builder.tensor(value, axes)]
        + [builder.tensor(other, broadcast_axes(other.shape, names, value.shape)) for other in others if other.rank],
        [builder.tensor(output, axes)],
        ACTIVATIONS[node.op_type],
        code=value.code,
    )


def cast(node: Node, builder: Builder) -> None:
    """Cast: a conversion of every value; on a stored integer weight, the first step of its dequantization."""
    value = builder.value(node, 0)
    code = (
        code_of_onnx(node.int("to", 1), f"node {node.name!r}")
        if node.op_type == "Cast"
        else builder.value(node, 1).code
    )
    output = builder.put(node, value.shape, code)
    if value.constant:
        output.root = value.root
        narrow_integer = FORMATS[value.stored].kind in ("int", "uint") and FORMATS[value.stored].bits <= 8
        if value.chain or (narrow_integer and FORMATS[code].kind == "float"):
            output.bits, output.stored, output.overhead_bits = value.bits, value.stored, value.overhead_bits
            output.chain = (*value.chain, node.name)
    names = index_names(value.rank)
    axes = index_axes(value.rank)
    dims = dict(zip(names, value.shape, strict=True))
    builder.emit(node, "convert", dims, [builder.tensor(value, axes)], [builder.tensor(output, axes)], 1, code=code)


def bit_cast(node: Node, builder: Builder) -> None:
    """BitCast: the same memory read as another type."""
    value = builder.value(node, 0)
    output = builder.put(node, value.shape, code_of_onnx(node.int("to", 1), f"node {node.name!r}"))
    emit_alike(node, builder, "view", 0.0, [output])


def softmax(node: Node, builder: Builder) -> None:
    """Softmax and LogSoftmax: max, subtract, exp, sum, divide."""
    value = builder.value(node, 0)
    emit_alike(node, builder, "softmax", 5.0, [builder.put(node, value.shape, value.code)])


def norm(node: Node, builder: Builder) -> None:
    """LayerNormalization, RMSNormalization, LRN and their kin: scale and shift are weights over the last axes.

    The Skip... ones add a residual and perhaps a bias first, and may write the sum as their fourth output.
    """
    value = builder.value(node, 0)
    outputs = [builder.put(node, value.shape, value.code)]
    if node.has(1) or node.has(2):  # mean, inverse deviation: unused at inference
        first = builder.position(node, node.int("axis", -1), value.rank)
        reduced = (*value.shape[:first], *([1] * (value.rank - first)))
        for index in (1, 2):
            if node.has(index):
                builder.put(node, reduced, value.code, index)
    flops = NORMS[node.op_type]
    if node.op_type.startswith("Skip"):
        flops += builder.optional(node, 4 if node.op_type == "SkipLayerNormalization" else 3) is not None
        if node.has(3):
            outputs.append(builder.put(node, value.shape, value.code, 3))
    emit_alike(node, builder, "norm", flops, outputs)


def batch_norm(node: Node, builder: Builder) -> None:
    """BatchNormalization at inference (also Group- and InstanceNormalization): one weight vector entry per channel."""
    value = builder.value(node, 0)
    output = builder.put(node, value.shape, value.code)
    for index in range(1, len(node.outputs)):  # running statistics: unused at inference
        if node.has(index):
            builder.put(node, value.shape[1:2], value.code, index)
    weights = [builder.value(node, index) for index in range(1, len(node.inputs)) if node.inputs[index]]
    emit_channel_norm(node, builder, value, [output], weights, 1 if value.rank > 1 else 0, NORMS[node.op_type])


def group_norm(node: Node, builder: Builder) -> None:
    """GroupNorm and SkipGroupNorm of com.microsoft: channels last by default, an activation function inside."""
    value = builder.value(node, 0)
    channel = value.rank - 1 if node.int("channels_last", 1) else 1
    outputs = [builder.put(node, value.shape, value.code)]
    flops = NORMS[node.op_type] + (ACTIVATIONS["Swish"] if node.int("activation") else 0)
    added: list[Value] = []
    if node.op_type == "SkipGroupNorm":
        added = [builder.value(node, 3)]
        if builder.optional(node, 4) is not None:
            flops += 1
        if node.has(1):
            outputs.append(builder.put(node, value.shape, value.code, 1))
    weights = [builder.optional(node, index) for index in (1, 2, 4)]
    emit_channel_norm(node, builder, value, outputs, [w for w in weights if w is not None], channel, flops, added)


def emit_channel_norm(
    node: Node,
    builder: Builder,
    value: Value,
    outputs: Sequence[Value],
    weights: Sequence[Value],
    channel: int,
    flops: float,
    added: Sequence[Value] = (),
) -> None:
    """Emit a norm whose weights have an entry per channel (or per group of channels)."""
    names = index_names(value.rank)
    axes = index_axes(value.rank)
    inputs = [builder.tensor(value, axes)]
    inputs += [builder.tensor(skip, broadcast_axes(skip.shape, names, value.shape) if skip.rank == value.rank else
                              [*map(whole, skip.shape)]) for skip in added]  # fmt: skip
    inputs += [builder.tensor(weight, [axes[channel] if weight.size == value.shape[channel] else
                                       whole(weight.size)]) for weight in weights]  # fmt: skip
    dims = dict(zip(names, value.shape, strict=True))
    builder.emit(node, "norm", dims, inputs, [builder.tensor(o, axes) for o in outputs], flops, code=value.code)


def hardmax(node: Node, builder: Builder) -> None:
    """Hardmax: find the largest value along an axis."""
    value = builder.value(node, 0)
    emit_alike(node, builder, "reduce", 1.0, [builder.put(node, value.shape, value.code)])


def emit_alike(node: Node, builder: Builder, kind: str, flops: float, outputs: Sequence[Value]) -> None:
    """Emit an operator whose outputs have the shape of its first input; the other inputs broadcast against it."""
    value = builder.value(node, 0)
    names = index_names(value.rank)
    axes = index_axes(value.rank)
    others = [builder.value(node, index) for index in range(1, len(node.inputs)) if node.inputs[index]]
    inputs = [builder.tensor(value, axes)]
    inputs += [builder.tensor(other, broadcast_axes(other.shape, names, value.shape)) for other in others]
    dims = dict(zip(names, value.shape, strict=True))
    builder.emit(node, kind, dims, inputs, [builder.tensor(o, axes) for o in outputs], flops, code=value.code)


def reduce(node: Node, builder: Builder) -> None:
    """Reductions over given axes (attribute or second input), and ArgMax, ArgMin, CumSum, CumProd."""
    value = builder.value(node, 0)
    if node.op_type.startswith("Cum"):
        output = builder.put(node, value.shape, value.code)
        emit_alike(node, builder, "reduce", REDUCTIONS[node.op_type], [output])
        return
    if node.op_type in ("ArgMax", "ArgMin"):
        axes_given: tuple[int, ...] = (node.int("axis", 0),)
    elif "axes" in node.attributes:
        axes_given = node.ints("axes")
    elif builder.optional(node, 1) is not None:
        axes_given = tuple(int(item) for item in builder.known(node, 1, "axes").ravel())
    else:
        axes_given = ()
    if not axes_given and not node.int("noop_with_empty_axes"):  # no axes, or an empty list of them: all
        axes_given = tuple(range(value.rank))
    reduced = {builder.position(node, axis_given, value.rank) for axis_given in axes_given} if value.rank else set()
    code = format_code("int64") if node.op_type.startswith("Arg") else value.code
    if node.op_type == "ReduceSumInteger":
        code = format_code("int32")
    keep = bool(node.int("keepdims", 1))
    output = builder.put(node, _reduced(value, reduced, keep), code)
    emit_reduction(node, builder, value, reduced, output, keep)


def global_pool(node: Node, builder: Builder) -> None:
    """Global pooling: a reduction over the spatial axes that keeps them."""
    value = builder.value(node, 0)
    reduced = set(range(2, value.rank))
    output = builder.put(node, _reduced(value, reduced, keep=True), value.code)
    emit_reduction(node, builder, value, reduced, output, keep=True)


def emit_reduction(
    node: Node, builder: Builder, value: Value, reduced: set[int], output: Value, keep: bool, suffix: str = ""
) -> None:
    """Emit a reduction over the given positions."""
    names = index_names(value.rank)
    positions = [p for p in range(value.rank) if keep or p not in reduced]
    builder.emit(
        node,
        "reduce",
        dict(zip(names, value.shape, strict=True)),
        [builder.tensor(value, index_axes(value.rank))],
        [builder.tensor(output, [whole(1) if p in reduced else plain(names[p]) for p in positions])],
        REDUCTIONS.get(node.op_type, 1.0),
        code=value.code,
        suffix=suffix,
    )


def _reduced(value: Value, reduced: set[int], keep: bool) -> list[int]:
    """Give the shape of a reduction."""
    return [1 if p in reduced else extent for p, extent in enumerate(value.shape) if keep or p not in reduced]
