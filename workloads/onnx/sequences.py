"""Sequences and optionals of tensors: bookkeeping that costs nothing, and the copies that split and join them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from workloads.errors import WorkloadError
from workloads.onnx.bodies import body_of, fresh, link, results_of, same_shape, store
from workloads.onnx.builder import Builder, Node, Value
from workloads.onnx.constants import known_value
from workloads.onnx.movement import concat, split
from workloads.onnx.scope import Scope
from workloads.onnx.state import Load, Special
from workloads.onnx.views import squeeze, unsqueeze
from workloads.onnx.walking import walk

if TYPE_CHECKING:
    import onnx

__all__ = ["SEQUENCES"]


def _sequence(node: Node, builder: Builder, index: int = 0) -> tuple[Value, ...]:
    """Give the tensors of a sequence.

    Raises:
        WorkloadError: The input is no sequence.
    """
    name = node.inputs[index] if index < len(node.inputs) else ""
    value = builder.values.get(name)
    if value is None or value.items is None:
        raise WorkloadError(f"node {node.name!r} ({node.op_type}): its input {name!r} is no sequence of known length")
    return value.items


def _put(node: Node, builder: Builder, items: tuple[Value, ...]) -> None:
    name = node.outputs[0]
    builder.values[name] = Value(name, (), items=items)
    builder.folded.append(node.name)


def _position(node: Node, builder: Builder, index: int, length: int) -> int:
    """Give a position in a sequence, which may count from the back.

    Raises:
        WorkloadError: It depends on run-time data, or lies outside.
    """
    position = int(builder.known(node, index, "position").item())
    if not -length <= position < max(length, 1):
        raise WorkloadError(f"node {node.name!r} ({node.op_type}): position {position} in a sequence of {length}")
    return position + length if position < 0 else position


def _empty(node: Node, builder: Builder) -> None:
    _put(node, builder, ())


def _construct(node: Node, builder: Builder) -> None:
    _put(node, builder, tuple(builder.value(node, index) for index in range(len(node.inputs))))


def _insert(node: Node, builder: Builder) -> None:
    items = list(_sequence(node, builder))
    at = len(items)
    if builder.optional(node, 2) is not None and len(items):
        given = int(builder.known(node, 2, "position").item())
        at = len(items) if given == len(items) else _position(node, builder, 2, len(items))
    items.insert(at, builder.value(node, 1))
    _put(node, builder, tuple(items))


def _erase(node: Node, builder: Builder) -> None:
    items = list(_sequence(node, builder))
    at = _position(node, builder, 1, len(items)) if builder.optional(node, 1) is not None else len(items) - 1
    del items[at]
    _put(node, builder, tuple(items))


def _length(node: Node, builder: Builder) -> None:
    name = node.outputs[0]
    builder.values[name] = known_value(name, np.asarray(len(_sequence(node, builder)), np.int64))
    builder.folded.append(node.name)


def _at(node: Node, builder: Builder) -> None:
    """Take one tensor: where nobody knows which, they must all have one shape."""
    items = _sequence(node, builder)
    where = builder.value(node, 1)
    at = _position(node, builder, 1, len(items)) if where.data is not None else 0
    if not items or (where.data is None and not all(same_shape(items[0], item) for item in items)):
        raise WorkloadError(
            f"node {node.name!r} (SequenceAt): its position depends on run-time data, and the tensors of the sequence "
            "differ in shape; export the model without the sequence"
        )
    _alias(node, builder, items[at])


def _alias(node: Node, builder: Builder, value: Value) -> None:
    """Put an output that is one of the tensors that are there."""
    name = node.outputs[0]
    if value.constant or value.opaque or value.items is not None:
        builder.values[name] = replace(value, name=name)
        builder.folded.append(node.name)
    else:
        link(node, value, fresh(value, name, known=True), builder, "")


def _split(node: Node, builder: Builder) -> None:
    """SplitToSequence: chunks of one size (the last may be smaller), or of given sizes."""
    value = builder.value(node, 0)
    axis = builder.position(node, node.int("axis"), value.rank)
    extent = value.shape[axis]
    keep = True
    if builder.optional(node, 1) is None:
        sizes, keep = [1] * min(extent, _MANY + 1), bool(node.int("keepdims", 1))
    else:
        given = builder.known(node, 1, "sizes")
        if given.size and given.min() < (0 if given.ndim else 1):
            raise WorkloadError(f"node {node.name!r} (SplitToSequence): impossible sizes {given.tolist()}")
        each = int(given.item()) if given.ndim == 0 else 1
        chunks = [min(each, extent - start) for start in range(0, min(extent, each * (_MANY + 1)), each)]
        sizes = [int(size) for size in given] if given.ndim else chunks
    if len(sizes) > _MANY:
        raise WorkloadError(f"node {node.name!r} (SplitToSequence): more than {_MANY} tensors; export no sequences")
    parts = tuple(f"{node.outputs[0]}[{index}]" for index in range(len(sizes)))
    attributes = {"axis": axis, "split": sizes}
    split(Node(node.name, node.op_type, "", node.inputs[:1], parts, attributes), builder)
    items = tuple(builder.values[part] for part in parts)
    if not keep:
        for part in parts:
            squeezed = Node(f"{part}:squeeze", "Squeeze", "", (part,), (f"{part}:1",), {"axes": [axis]})
            squeeze(squeezed, builder)
        items = tuple(builder.values[f"{part}:1"] for part in parts)
    builder.values[node.outputs[0]] = Value(node.outputs[0], (), items=items)


_MANY = 4096
"""Tensors that one node may put into a sequence."""


def _concat(node: Node, builder: Builder) -> None:
    """ConcatFromSequence: a copy side by side, along an axis that is there or a new one."""
    items = _sequence(node, builder)
    if not items:
        raise WorkloadError(f"node {node.name!r} (ConcatFromSequence): an empty sequence has no shape")
    names = [item.name for item in items]
    if node.int("new_axis"):
        axis = builder.position(node, node.int("axis"), items[0].rank + 1)
        for index, name in enumerate(names):
            names[index] = f"{node.name}:{index}"
            unsqueeze(Node(names[index], "Unsqueeze", "", (name,), (names[index],), {"axes": [axis]}), builder)
    else:
        axis = node.int("axis")
    concat(Node(node.name, node.op_type, "", tuple(names), node.outputs, {"axis": axis}), builder)


def _optional(node: Node, builder: Builder) -> None:
    given = bool(node.inputs) and bool(node.inputs[0])
    _put(node, builder, (builder.values[node.inputs[0]],) if given else ())


def _has_element(node: Node, builder: Builder) -> None:
    value = builder.values[node.inputs[0]] if node.inputs and node.inputs[0] else None
    present = value is not None and (value.items is None or len(value.items) > 0)
    builder.values[node.outputs[0]] = known_value(node.outputs[0], np.asarray(present))
    builder.folded.append(node.name)


def _get_element(node: Node, builder: Builder) -> None:
    value = builder.values[node.inputs[0]]
    if value.items is not None and not value.items:
        raise WorkloadError(f"node {node.name!r} (OptionalGetElement): the optional is empty")
    _alias(node, builder, value if value.items is None else value.items[0])


def _map(node: Node, proto: onnx.NodeProto, builder: Builder, scope: Scope, load: Load) -> None:
    """SequenceMap: the body once per tensor of the sequence.

    Source: ONNX operator specification, SequenceMap.
    """
    graph = body_of(node, "body")
    items = _sequence(node, builder)
    given = [builder.values[name] for name in node.inputs]
    collected: list[list[Value]] = [[] for _ in node.outputs]
    builder.folded.append(node.name)
    for number in range(len(items)):
        inner, body = scope.inside(node, "body", f"[{number}]"), builder.inside(apart=False)
        for item, value in zip(graph.input, given, strict=True):
            inner.names[item.name] = (value if value.items is None else value.items[number]).name
        store(graph, body, inner)
        walk(graph.node, body, inner, load)
        for values, result in zip(collected, results_of(graph, node, body, inner), strict=False):
            values.append(result)
    for output, values in zip(node.outputs, collected, strict=True):
        builder.values[output] = Value(output, (), items=tuple(values))


def _plain(
    function: Callable[[Node, Builder], None],
    node: Node,
    proto: onnx.NodeProto,
    builder: Builder,
    scope: Scope,
    load: Load,
) -> None:
    function(node, builder)


SEQUENCES: dict[str, Special] = {
    "ConcatFromSequence": partial(_plain, _concat),
    "Optional": partial(_plain, _optional),
    "OptionalGetElement": partial(_plain, _get_element),
    "OptionalHasElement": partial(_plain, _has_element),
    "SequenceAt": partial(_plain, _at),
    "SequenceConstruct": partial(_plain, _construct),
    "SequenceEmpty": partial(_plain, _empty),
    "SequenceErase": partial(_plain, _erase),
    "SequenceInsert": partial(_plain, _insert),
    "SequenceLength": partial(_plain, _length),
    "SequenceMap": _map,
    "SplitToSequence": partial(_plain, _split),
}
"""ONNX op type to how it is walked."""
