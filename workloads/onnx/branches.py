"""If: the branch that a known condition takes stands in the node's place; else both become parts of a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workloads.errors import WorkloadError
from workloads.onnx.bodies import (
    body_of,
    borrowed,
    edges,
    emit_control,
    fresh,
    publish,
    put_values,
    results_of,
    same_shape,
    store,
)
from workloads.onnx.builder import Builder, Node, Value
from workloads.onnx.scope import Scope, all_names
from workloads.onnx.state import BudgetError, Load, Part
from workloads.onnx.walking import mark_opaque, walk

if TYPE_CHECKING:
    import onnx

__all__ = ["if_"]

_BODIES = {"then": "then_branch", "else": "else_branch"}


def if_(node: Node, proto: onnx.NodeProto, builder: Builder, scope: Scope, load: Load) -> None:
    """Walk one branch, or both.

    Source: ONNX operator specification, If.

    Raises:
        WorkloadError: The branches disagree about a shape, or a body makes no sense.
    """
    for name in _BODIES.values():
        if len(body_of(node, name).output) < len(node.outputs):
            raise WorkloadError(
                f"node {node.name!r} (If): its {name} has too few outputs; run onnx.checker on the model"
            )
    condition = builder.value(node, 0)
    path = scope.option_name(node)
    if condition.data is not None and condition.data.size == 1:
        _take("then" if condition.data.item() else "else", node, builder, scope, load)
        return
    probability = load.probabilities.get(path) if load.apart else None
    load.used[path] = "If"
    if probability is None:
        load.undecided[path] = "If"
        _explore(node, builder, scope, load)
    elif probability in (0, 1):
        _take("then" if probability else "else", node, builder, scope, load)
    else:
        _fork(probability, node, builder, scope, load)


def _take(taken: str, node: Node, builder: Builder, scope: Scope, load: Load) -> None:
    """Walk the branch that runs as if its nodes stood around the node; the other's never run."""
    graph = body_of(node, _BODIES[taken])
    inner = scope.inside(node, taken)
    for item, output in zip(graph.output, node.outputs, strict=False):
        if output:
            inner.results.setdefault(item.name, output)
    body = builder.inside(apart=False)
    builder.folded.append(node.name)
    store(graph, body, inner)
    walk(graph.node, body, inner, load)
    publish(node, [inner.edge(item.name) for item in graph.output], builder)
    other = "else" if taken == "then" else "then"
    builder.folded.extend(all_names(body_of(node, _BODIES[other]).node, f"{node.name}/{other}/"))


def _walk_branch(
    which: str, node: Node, builder: Builder, scope: Scope, load: Load
) -> tuple[Builder, list[Value], Scope]:
    graph = body_of(node, _BODIES[which])
    inner, body = scope.inside(node, which), builder.inside(apart=True)
    store(graph, body, inner)
    walk(graph.node, body, inner, load)
    return body, results_of(graph, node, body, inner), inner


def _explore(node: Node, builder: Builder, scope: Scope, load: Load) -> None:
    """Look for more nodes that need an option, so that one message can list all; nothing of it is kept."""
    try:
        results = [_walk_branch(which, node, builder, scope, load)[1] for which in _BODIES]
    except BudgetError:
        raise
    except WorkloadError:  # of a branch that may never run
        results = []
    for index, output in enumerate(node.outputs):
        if not output:
            continue
        if results and same_shape(results[0][index], results[1][index]):
            put_values([fresh(results[0][index], output)], builder)
        else:
            builder.values[output] = Value(output, (), opaque=True)


def _fork(probability: float, node: Node, builder: Builder, scope: Scope, load: Load) -> None:
    """Make a part of each branch; what follows must not depend on which one ran."""
    walked = {which: _walk_branch(which, node, builder, scope, load) for which in _BODIES}
    results = [result for _, result, _ in walked.values()]
    for index, output in enumerate(node.outputs):
        if not output:
            continue
        then, other = results[0][index], results[1][index]
        if not (then.opaque or other.opaque or same_shape(then, other)):
            raise WorkloadError(
                f"node {node.name!r} (If): its branches give {_described(then)} and {_described(other)} for output "
                f"{output!r}, and what follows depends on it; cost one branch at a time: probability 1 or 0 for "
                f"{scope.option_name(node)!r}"
            )
        put_values([fresh(then if not then.opaque else other, output)], builder)
    if any(value.opaque for result in results for value in result):
        mark_opaque(node, builder)
    captured = {which: borrowed(body, ()) for which, (body, _, _) in walked.items()}
    emit_control(
        node,
        builder,
        [builder.value(node, 0)],
        [builder.values[output] for output in node.outputs if output],
        [tensor for tensors in captured.values() for tensor in tensors.values()],
    )
    for which, (body, result, inner) in walked.items():
        executions = probability if which == "then" else 1.0 - probability
        load.parts.append(
            Part(
                name=inner.prefix[:-1],
                builder=body,
                node=node.name,
                executions=executions,
                inputs=(),
                borrowed=tuple(captured[which]),
                outputs=tuple(edges(result)),
                branch=which,
            )
        )


def _described(value: Value) -> str:
    from workloads.formats import FORMATS

    if value.items is not None:
        return f"a sequence of {len(value.items)}"
    return f"{FORMATS[value.code].name} {value.shape}"
