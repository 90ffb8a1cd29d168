"""Functions of the model itself: a call is walked as if the function's nodes stood in its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from workloads.errors import WorkloadError
from workloads.onnx.bodies import publish
from workloads.onnx.builder import Builder, Node
from workloads.onnx.limits import MAX_ADDED, MAX_DEPTH
from workloads.onnx.scope import Scope, resolved
from workloads.onnx.state import Load
from workloads.onnx.walking import walk

if TYPE_CHECKING:
    import onnx

__all__ = ["call", "check_inlining", "functions_of"]

Key = tuple[str, str, str]

_GRAPHS = (5, 10)  # onnx.AttributeProto.GRAPH and GRAPHS


def functions_of(model: onnx.ModelProto) -> dict[Key, onnx.FunctionProto]:
    """Give the functions of a model by domain, name and overload.

    Raises:
        WorkloadError: Two have the same name.
    """
    found: dict[Key, onnx.FunctionProto] = {}
    for function in model.functions:
        key = ("" if function.domain == "ai.onnx" else function.domain, function.name, function.overload)
        if key in found:
            raise WorkloadError(f"two functions of the model are called {_shown(key)}; run onnx.checker on the model")
        found[key] = function
    return found


def check_inlining(model: onnx.ModelProto, functions: Mapping[Key, onnx.FunctionProto], written: int) -> None:
    """Count the nodes of a model with every call replaced by the function's nodes, without replacing any.

    Args:
        model: The model.
        functions: Of the model.
        written: Nodes that the file holds.

    Raises:
        WorkloadError: A function calls itself, calls are nested too deep, or there would be too many nodes.
    """
    counts: dict[Key, int] = {}
    active: list[Key] = []

    def count(nodes: Iterable[onnx.NodeProto]) -> int:
        total = 0
        for node in nodes:
            total += 1
            key = ("" if node.domain == "ai.onnx" else node.domain, node.op_type, node.overload)
            if key in functions:
                total += count_function(key)
            for attribute in node.attribute:
                if attribute.type in _GRAPHS:
                    total += sum(count(body.node) for body in (attribute.g, *attribute.graphs))
        return total

    def count_function(key: Key) -> int:
        if key in active:
            chain = " calls ".join(_shown(item) for item in (*active[active.index(key) :], key))
            raise WorkloadError(f"the functions of the model call themselves: {chain}; no such model can run")
        if len(active) >= MAX_DEPTH:
            raise WorkloadError(f"functions of the model call each other more than {MAX_DEPTH} deep at {_shown(key)}")
        if key not in counts:
            active.append(key)
            counts[key] = count(functions[key].node)
            active.pop()
        return counts[key]

    total = count(model.graph.node)
    if total > MAX_ADDED + written:
        raise WorkloadError(
            f"the functions of the model unfold to {total:,} nodes (at most {MAX_ADDED:,} more than are in the "
            "file can be described); export the model without functions inside functions"
        )


def _shown(key: Key) -> str:
    domain, name, overload = key
    return f"{domain}::{name}{f':{overload}' if overload else ''}"


def call(node: Node, proto: onnx.NodeProto, builder: Builder, scope: Scope, load: Load) -> None:
    """Walk a function's nodes with the call's inputs and attributes; its results are the call's edges.

    Source: ONNX intermediate representation specification, Functions.

    Raises:
        WorkloadError: The call does not fit the function.
    """
    function = load.functions[node.domain, node.op_type, proto.overload]
    given = {item.name: item for item in (*function.attribute_proto, *resolved(proto, scope))}
    if any(item.type in _GRAPHS for item in given.values()):
        raise WorkloadError(
            f"node {node.name!r}: its function {node.op_type!r} takes a body as an attribute, which is not supported; "
            "inline the function before loading (onnx.inliner)"
        )
    if len(node.inputs) > len(function.input) or len(node.outputs) > len(function.output):
        raise WorkloadError(
            f"node {node.name!r}: calls function {node.op_type!r} with {len(node.inputs)} inputs and "
            f"{len(node.outputs)} outputs; it has {len(function.input)} and {len(function.output)}"
        )
    inner = scope.inside(node, "", attributes=given)
    missing = [""] * (len(function.input) - len(node.inputs))
    inner.names.update(zip(function.input, (*node.inputs, *missing), strict=True))
    for formal, output in zip(function.output, node.outputs, strict=False):
        if output:
            inner.results.setdefault(formal, output)
    body = builder.inside(apart=False)
    body.opset = next((entry.version for entry in function.opset_import if entry.domain in ("", "ai.onnx")), body.opset)
    builder.folded.append(node.name)
    walk(function.node, body, inner, load)
    publish(node, [inner.edge(formal) for formal in function.output], builder)
