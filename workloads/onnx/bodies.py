"""What bodies of control flow and functions share: what they store, how edges enter and leave, what surrounds them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workloads.errors import WorkloadError
from workloads.onnx.builder import Builder, Node, Value, index_names, plain
from workloads.onnx.constants import stored_sparse, stored_value
from workloads.onnx.scope import Scope
from workloads.operator import Tensor, axis

if TYPE_CHECKING:
    import onnx

__all__ = [
    "body_of",
    "borrowed",
    "edges",
    "emit_control",
    "fresh",
    "link",
    "publish",
    "put_values",
    "results_of",
    "same_shape",
    "store",
]


def body_of(node: Node, name: str) -> onnx.GraphProto:
    """Give a body of a node.

    Raises:
        WorkloadError: It has none of that name.
    """
    body: Any = node.attributes.get(name)
    if body is None or not hasattr(body, "node"):
        raise WorkloadError(f"node {node.name!r} ({node.op_type}): has no body {name!r}; run onnx.checker on the model")
    found: onnx.GraphProto = body
    return found


def store(graph: onnx.GraphProto, builder: Builder, scope: Scope) -> None:
    """Put the values that a graph or body stores.

    Raises:
        WorkloadError: A stored tensor makes no sense, or a name is used twice.
    """
    values = builder.values
    for tensor in graph.initializer:
        name = scope.declare(tensor.name)
        if name in values:
            raise WorkloadError(f"initializer {tensor.name!r} is stored twice; run onnx.checker on the model")
        value = values[name] = stored_value(tensor, name, builder.folder, builder.level)
        if scope.outer is not None:
            value.root = scope.path + name[len(scope.prefix) :]  # the same weight in every trip
    for sparse in graph.sparse_initializer:
        name = scope.declare(sparse.values.name)
        if name in values:
            raise WorkloadError(f"initializer {sparse.values.name!r} is stored twice; run onnx.checker on the model")
        values[name] = stored_sparse(sparse, name, builder.level)


def results_of(graph: onnx.GraphProto, node: Node, builder: Builder, scope: Scope) -> list[Value]:
    """Give the values of a body's outputs.

    Raises:
        WorkloadError: Nothing writes one.
    """
    edges = [scope.edge(item.name) for item in graph.output]
    missing = [item.name for item, edge in zip(graph.output, edges, strict=True) if edge not in builder.values]
    if missing:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): nothing writes the output {missing[0]!r} of its body; "
            "run onnx.checker on the model"
        )
    return [builder.values[edge] for edge in edges]


def publish(node: Node, edges: Sequence[str], builder: Builder) -> None:
    """Put the outputs of a node that stands for other nodes, where those have not written them by themselves.

    Args:
        node: The node.
        edges: Edges whose values its outputs are, in order.
        builder: Where the node stands.

    Raises:
        WorkloadError: Nothing writes one of them.
    """
    for index, output in enumerate(node.outputs):
        if not output or output in builder.values:
            continue
        value = builder.values.get(edges[index]) if index < len(edges) else None
        if value is None:
            raise WorkloadError(
                f"node {node.name!r} ({node.op_type}): nothing writes its output {output!r}; run onnx.checker on it"
            )
        if value.opaque or value.constant or value.items is not None:
            builder.values[output] = replace(value, name=output)
        else:
            link(node, value, fresh(value, output), builder, f":{index}")


def fresh(value: Value, name: str, *, known: bool = False) -> Value:
    """Give a value of the same shape under another name that a body or node makes anew.

    Args:
        value: A tensor or sequence.
        name: Of the new one.
        known: Keep its data, if it is known.
    """
    items = None
    if value.items is not None:
        items = tuple(fresh(item, f"{name}[{index}]") for index, item in enumerate(value.items))
    role: Any = value.role if value.role == "kv_cache" else "activation"
    data = value.data if known else None
    return Value(name, value.shape, value.code, data=data, role=role, opaque=value.opaque, items=items)


def put_values(values: Iterable[Value], builder: Builder) -> None:
    """Put values under their names, those in sequences too."""
    for value in values:
        builder.values[value.name] = value
        put_values(value.items or (), builder)


def link(node: Node, source: Value, target: Value, builder: Builder, suffix: str) -> None:
    """Put a value that shares the memory of another one, and emit the view that says so."""
    builder.values[target.name] = target
    if target.items is not None:
        for index, (item, copy) in enumerate(zip(source.items or (), target.items, strict=True)):
            link(node, item, copy, builder, f"{suffix}[{index}]")
        return
    if target.opaque:
        return
    names = index_names(source.rank)
    axes = [plain(name) for name in names]
    dims = dict(zip(names, source.shape, strict=True))
    inputs, outputs = [builder.tensor(source, axes)], [builder.tensor(target, axes)]
    builder.emit(node, "view", dims, inputs, outputs, code=source.code, suffix=suffix)


def same_shape(a: Value, b: Value) -> bool:
    """Say whether two values have one shape and element type; sequences: whether their tensors have."""
    if a.items is not None or b.items is not None:
        pairs = zip(a.items or (), b.items or (), strict=False)
        return (
            a.items is not None
            and b.items is not None
            and len(a.items) == len(b.items)
            and all(same_shape(x, y) for x, y in pairs)
        )
    return a.shape == b.shape and a.code == b.code


def edges(values: Iterable[Value]) -> list[str]:
    """Give the names of tensors, those in sequences too."""
    return [name for value in values for name in ([value.name] if value.items is None else edges(value.items))]


def borrowed(builder: Builder, own: Iterable[str]) -> dict[str, Tensor]:
    """Give the activations that a body reads and its caller made, each read whole.

    Args:
        builder: Of the body, after its walk.
        own: Edges that the caller sets for the body.
    """
    written = {tensor.name for op in builder.operators for tensor in op.outputs}.union(own)
    found: dict[str, Tensor] = {}
    for op in builder.operators:
        for tensor in op.inputs:
            if tensor.role != "weight" and tensor.name not in written and tensor.name not in found:
                found[tensor.name] = replace(
                    tensor, axes=tuple(axis(extent=extent) for extent in tensor.shape(op.dims)), touched=1.0
                )
    return found


def emit_control(
    node: Node,
    builder: Builder,
    sources: Iterable[Value],
    targets: Iterable[Value],
    captured: Iterable[Tensor] = (),
    suffix: str = "",
) -> None:
    """Emit the operator that stands for a control flow node: it costs nothing itself and joins what runs elsewhere.

    Args:
        node: The node.
        builder: Of the graph or body that it stands in.
        sources: What it is given.
        targets: What it gives.
        captured: What its bodies read besides.
        suffix: Of the operator's name, where the node has more than one.
    """
    read = {tensor.name: tensor for value in sources for tensor in _whole(value, builder) if tensor.role != "weight"}
    read |= {tensor.name: tensor for tensor in captured}
    written = [tensor for value in targets for tensor in _whole(value, builder)]
    builder.emit(node, "control", {}, list(read.values()), written, suffix=suffix)


def _whole(value: Value, builder: Builder) -> list[Tensor]:
    if value.opaque:
        return []
    if value.items is not None:
        return [tensor for item in value.items for tensor in _whole(item, builder)]
    return [builder.tensor(value, [axis(extent=extent) for extent in value.shape])]
