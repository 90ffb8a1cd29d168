"""Handlers of element-wise operators, activations, softmax, norms and reductions."""

from __future__ import annotations

from collections.abc import Sequence

from workloads.errors import WorkloadError
from workloads.formats import FORMATS, format_code
from workloads.onnx.builder import Builder, Node, Value, broadcast_axes, index_names, plain
from workloads.onnx.dtypes import code_of_onnx
from workloads.opcounts import ACTIVATIONS, ELEMENTWISE, NORMS, REDUCTIONS
from workloads.operator import axis

__all__ = [
    "activation",
    "batch_norm",
    "broadcast_shape",
    "cast",
    "elementwise",
    "global_pool",
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
    rank = max(len(shape) for shape in shapes)
    result = [1] * rank
    for shape in shapes:
        for position, extent in enumerate(shape, start=rank - len(shape)):
            if extent != 1 and result[position] not in (1, extent):
                raise WorkloadError(
                    f"node {node.name!r} ({node.op_type}): shapes {', '.join(map(str, shapes))} do not broadcast; "
                    "check the sizes given for the symbolic dims"
                )
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
        [builder.tensor(output, [plain(name) for name in names])],
        flops,
        code=values[-1].code,
    )


def _scales_stored_integers(node: Node, values: Sequence[Value], output: Value) -> bool:
    """Recognise `Cast(int weight) (-|*) constant`: weight-only quantization that was written out by hand."""
    if node.op_type not in ("Mul", "Sub", "Div", "Add") or not all(value.constant for value in values):
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
    axes = [plain(name) for name in names]
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
    axes = [plain(name) for name in names]
    dims = dict(zip(names, value.shape, strict=True))
    builder.emit(node, "convert", dims, [builder.tensor(value, axes)], [builder.tensor(output, axes)], 1, code=code)


def softmax(node: Node, builder: Builder) -> None:
    """Softmax and LogSoftmax: max, subtract, exp, sum, divide."""
    _same_shape(node, builder, "softmax", 5.0)


def norm(node: Node, builder: Builder) -> None:
    """LayerNormalization, RMSNormalization, LRN and their kin: scale and shift are weights over the last axes."""
    _same_shape(node, builder, "norm", NORMS[node.op_type])


def batch_norm(node: Node, builder: Builder) -> None:
    """BatchNormalization at inference (also Group- and InstanceNormalization): one weight vector entry per channel."""
    value = builder.value(node, 0)
    names = index_names(value.rank)
    axes = [plain(name) for name in names]
    channel = names[1] if value.rank > 1 else names[0]
    output = builder.put(node, value.shape, value.code)
    weights = [builder.value(node, index) for index in range(1, len(node.inputs)) if node.inputs[index]]
    builder.emit(
        node,
        "norm",
        dict(zip(names, value.shape, strict=True)),
        [builder.tensor(value, axes), *(builder.tensor(weight, [plain(channel)]) for weight in weights)],
        [builder.tensor(output, axes)],
        NORMS[node.op_type],
        code=value.code,
    )


def _same_shape(node: Node, builder: Builder, kind: str, flops: float) -> None:
    value = builder.value(node, 0)
    names = index_names(value.rank)
    axes = [plain(name) for name in names]
    others = [builder.value(node, index) for index in range(1, len(node.inputs)) if node.inputs[index]]
    output = builder.put(node, value.shape, value.code)
    for index in range(1, len(node.outputs)):  # mean, inverse deviation: unused at inference
        if node.outputs[index]:
            builder.put(node, (*value.shape[:-1], 1), value.code, index)
    builder.emit(
        node,
        kind,
        dict(zip(names, value.shape, strict=True)),
        [builder.tensor(value, axes)]
        + [builder.tensor(other, broadcast_axes(other.shape, names, value.shape)) for other in others],
        [builder.tensor(output, axes)],
        flops,
        code=value.code,
    )


def reduce(node: Node, builder: Builder) -> None:
    """Reductions over given axes (attribute or second input), and ArgMax, ArgMin, CumSum."""
    value = builder.value(node, 0)
    if node.op_type == "CumSum":
        _same_shape(node, builder, "reduce", REDUCTIONS["CumSum"])
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
    _emit_reduction(node, builder, value, reduced, code, bool(node.int("keepdims", 1)))


def global_pool(node: Node, builder: Builder) -> None:
    """Global pooling: a reduction over the spatial axes that keeps them."""
    value = builder.value(node, 0)
    _emit_reduction(node, builder, value, set(range(2, value.rank)), value.code, keep=True)


def _emit_reduction(node: Node, builder: Builder, value: Value, reduced: set[int], code: int, keep: bool) -> None:
    names = index_names(value.rank)
    positions = [p for p in range(value.rank) if keep or p not in reduced]
    output = builder.put(node, [1 if p in reduced else value.shape[p] for p in positions], code)
    builder.emit(
        node,
        "reduce",
        dict(zip(names, value.shape, strict=True)),
        [builder.tensor(value, [plain(name) for name in names])],
        [builder.tensor(output, [axis(extent=1) if p in reduced else plain(names[p]) for p in positions])],
        REDUCTIONS[node.op_type],
        code=value.code,
    )
