"""The walk: every node is evaluated, described by its handler, or handed to what knows bodies and functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from workloads.errors import WorkloadError
from workloads.formats import FORMATS
from workloads.onnx.builder import Builder, Node, Value
from workloads.onnx.constants import SOURCES, known_value
from workloads.onnx.folding import fold
from workloads.onnx.limits import MAX_ADDED_ASKED
from workloads.onnx.registry import HANDLERS, RUNS, Handler, handler_of
from workloads.onnx.scope import Scope, named, node_of
from workloads.onnx.state import CALL, BudgetError, Load, Special, Treatment

if TYPE_CHECKING:
    import onnx

__all__ = ["mark_opaque", "walk"]

_SHAPE = 8
"""More values than the shapes and scales of shape arithmetic have: one per axis."""


def walk(nodes: Iterable[onnx.NodeProto], builder: Builder, scope: Scope, load: Load) -> None:
    """Visit nodes in order.

    Raises:
        WorkloadError: A node cannot be described; nodes without any handler are collected in `load.unknown`.
    """
    values = builder.values
    for name, proto in named(nodes, scope.prefix):
        load.visits -= 1
        if load.visits < 0:
            raise BudgetError(
                f"{load.model}: node {name!r}: loops whose shapes change from trip to trip unroll to too many nodes. "
                f"load_program(..., trips={{...}}) takes up to {MAX_ADDED_ASKED:,} of them; or give fewer trips, or "
                "load the body of the loop alone"
            )
        node = node_of(proto, name, scope)
        for output in node.outputs:
            if output in values or len(node.outputs) > 1:
                _refuse_second_writer(node, values)
                break
        if not _described(node, builder, scope, load, proto):
            op_type = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
            load.unknown[scope.option_name(node)] = op_type
            mark_opaque(node, builder)
        if scope.prefix != scope.path:
            _share_weights(node, builder, scope)


def _share_weights(node: Node, builder: Builder, scope: Scope) -> None:
    """Let a constant that a loop's body makes be the same weight in every trip."""
    for output in node.outputs:
        value = builder.values.get(output)
        if value is not None and value.constant and value.root.startswith(scope.prefix):
            value.root = scope.path + value.root[len(scope.prefix) :]


def _refuse_second_writer(node: Node, values: Mapping[str, Value]) -> None:
    written = [output for output in node.outputs if output]
    twice = [output for output in written if output in values or written.count(output) > 1]
    if twice:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): its output {twice[0]!r} is also written by another node, or is an "
            "input or initializer; run onnx.checker on the model"
        )


def _described(node: Node, builder: Builder, scope: Scope, load: Load, proto: onnx.NodeProto) -> bool:
    """Describe one node, or pass on that its input has no shape. False: nobody knows its op type.

    Raises:
        WorkloadError: Its attributes or inputs are not those of its op type.
    """
    treatment = _treatment(node, proto, load)
    values = builder.values
    for item in node.inputs:
        value = values.get(item)
        if value is not None and value.opaque:
            mark_opaque(node, builder)
            return treatment.known
    try:
        if treatment.free:
            _pass_through(node, builder)
        elif treatment.special is not None:
            treatment.special(node, proto, builder, scope, load)
        elif treatment.source is not None:
            treatment.source(node, builder)
            builder.folded.append(node.name)
        else:
            return _step(node, builder, treatment, load)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        shapes = ", ".join(str(values[item].shape) for item in node.inputs if item in values)
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): its attributes do not fit its inputs of shape {shapes or '(none)'} "
            f"({type(error).__name__}: {error}); run onnx.checker on the model, or mend the handler if it is yours"
        ) from error
    return True


def _treatment(node: Node, proto: onnx.NodeProto, load: Load) -> Treatment:
    """Give how nodes of this op type are described."""
    key = (node.domain, node.op_type, proto.overload if load.functions else "")
    found = load.treatments.get(key)
    if found is None:
        handler = handler_of(node, load.extra)
        found = load.treatments[key] = Treatment(
            free=node.op_type in load.free,
            special=_special(node, proto, load),
            source=SOURCES.get(node.op_type) if handler is None and not node.domain else None,
            handler=handler,
            runs=node.op_type in RUNS,
        )
    return found


def _special(node: Node, proto: onnx.NodeProto, load: Load) -> Special | None:
    """Find what walks a node that calls a function of the model or holds bodies; the caller's handlers go first."""
    if load.extra and not {node.op_type, f"{node.domain}::{node.op_type}"}.isdisjoint(load.extra):
        return None
    if load.functions and (node.domain, node.op_type, proto.overload) in load.functions:
        return load.special[CALL]
    return None if node.domain else load.special.get(node.op_type)


def mark_opaque(node: Node, builder: Builder) -> None:
    """Say that nobody knows the shapes of a node's outputs."""
    for output in node.outputs:
        if output:
            builder.values[output] = Value(output, (), opaque=True)


def _pass_through(node: Node, builder: Builder) -> None:
    first = builder.value(node, 0)
    for index, output in enumerate(node.outputs):
        if output:
            builder.put(node, first.shape, first.code, index)
    handler = HANDLERS["Identity"]
    handler(Node(node.name, node.op_type, node.domain, node.inputs[:1], node.outputs[:1], {}), builder)


def _step(node: Node, builder: Builder, treatment: Treatment, load: Load) -> bool:
    """Describe one node: one that folds, or work that runs. False: nobody can."""
    handler, values = treatment.handler, builder.inputs(node)
    constant = known = computed = False
    for value in values:
        if value is None:
            continue
        if not value.constant:
            constant, known = False, value.data is not None
            break
        constant, computed = True, computed or value.computed
    if (constant or known) and treatment.runs:
        constant = known = False
    if computed and constant and any(map(_is_parameter, values)):  # as in a runtime: sizes are known only when it runs
        constant, known = False, True
    if constant and _folds(node, values, computed, builder, load):
        return True
    if handler is None:
        return False
    if constant:
        _describe_constant(node, builder, handler, computed)
        return True
    handler(node, builder)
    if known:  # what follows from the number of a trip
        for output, array in zip(node.outputs, _evaluated(node, values, load) or (), strict=False):
            if output:
                builder.values[output].data = array
    return True


def _describe_constant(node: Node, builder: Builder, handler: Handler, computed: bool) -> None:
    """Describe a node that folds by the shape of its result."""
    builder.quiet = True
    try:
        handler(node, builder)
    finally:
        builder.quiet = False
    builder.folded.append(node.name)
    for output in node.outputs:
        if output:
            value = builder.values[output]
            value.constant, value.computed, value.role = True, computed or value.computed, "weight"


def _is_parameter(value: Value | None) -> bool:
    """Say whether a constant is a stored matrix or float vector, and no shape: what sizes cut from it runs."""
    if value is None or value.computed or (value.data is not None and value.data.size <= _SHAPE):
        return False
    return sum(extent > 1 for extent in value.shape) > 1 or FORMATS[value.code].kind == "float"


def _folds(node: Node, values: Sequence[Value | None], computed: bool, builder: Builder, load: Load) -> bool:
    """Evaluate the node if all its inputs are known; say whether that worked."""
    arrays = _evaluated(node, values, load)
    if arrays is None:
        return False
    for output, array in zip(node.outputs, arrays, strict=False):
        if output:
            builder.values[output] = known_value(output, array, computed)
    builder.folded.append(node.name)
    return True


def _evaluated(node: Node, values: Sequence[Value | None], load: Load) -> list[NDArray[Any]] | None:
    """Compute the outputs of a node from the data of its inputs, as long as the memory for such data lasts."""
    inputs = []
    for value in values:
        if value is not None and value.data is None:
            return None
        inputs.append(None if value is None else value.data)
    arrays = fold(node, inputs)
    if arrays is None or len(arrays) < len(node.outputs):
        return None
    for array in arrays:
        if array.size > _SHAPE:
            if array.nbytes > load.kept_bytes:
                return None
            load.kept_bytes -= array.nbytes
    return arrays
