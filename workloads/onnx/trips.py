"""Trips of a loop: the walk of a body, and what many of them are in a workload or a program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from workloads.errors import WorkloadError
from workloads.formats import format_code
from workloads.onnx.bodies import (
    body_of,
    borrowed,
    edges,
    emit_control,
    fresh,
    link,
    publish,
    put_values,
    results_of,
    same_shape,
    store,
)
from workloads.onnx.builder import Builder, Node, Value
from workloads.onnx.limits import MAX_EXECUTIONS, check_shape
from workloads.onnx.scope import Scope, all_names
from workloads.onnx.state import Load, Part
from workloads.onnx.values import INT64
from workloads.onnx.walking import walk
from workloads.operator import Tensor

__all__ = ["Trip", "explore", "is_known", "repeat", "skip", "unroll", "walk_trip"]

BOOL = format_code("bool")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """One walk of a body.

    Attributes:
        scope: Of the body.
        builder: What the walk made.
        entered: Carried values as the body reads them.
        left: Carried values as it leaves them.
        other: What else the caller gives to the body: number and condition, or slices.
        scans: What the body gives once per trip.
        going: The condition that it gives. None: it always goes on.
    """

    scope: Scope
    builder: Builder
    entered: tuple[Value, ...]
    left: tuple[Value, ...]
    other: tuple[Value, ...]
    scans: tuple[Value, ...]
    going: Value | None

    @property
    def is_fixed(self) -> bool:
        """Say whether carried values leave with the shapes that they came with."""
        return all(same_shape(a, b) for a, b in zip(self.entered, self.left, strict=True))

    @property
    def goes_on(self) -> bool | None:
        """Say whether another trip follows this one, as far as that is known."""
        if self.going is None:
            return True
        return bool(self.going.data.item()) if is_known(self.going) else None  # type: ignore[union-attr]


def is_known(value: Value) -> bool:
    """Say whether a value is one number that is known before run time."""
    return value.data is not None and value.data.size == 1


def walk_trip(
    node: Node,
    states: Sequence[Value],
    number: int | None,
    mark: str,
    builder: Builder,
    scope: Scope,
    load: Load,
    slices: Sequence[Value] = (),
) -> Trip:
    """Walk the body of a Loop, or of a Scan if there are slices.

    Args:
        node: The node.
        states: Carried values before the trip.
        number: Of the trip; None: any trip, and then no carried data is known either.
        mark: What tells the names of this trip from those of others.
        builder: Where the node stands.
        scope: Where the node stands.
        load: The load.
        slices: What a Scan gives to the body besides.

    Raises:
        WorkloadError: A node of the body cannot be described.
    """
    graph = body_of(node, "body")
    load.visits -= 1  # a trip takes as long as a node
    inner, body = scope.inside(node, "body", mark), builder.inside(apart=True)
    body.mark = builder.mark + mark
    names = [inner.declare(item.name) for item in graph.input]
    known = number is not None
    if slices:
        entered = [fresh(state, name) for state, name in zip(states, names, strict=False)]
        other = [fresh(item, name) for item, name in zip(slices, names[len(states) :], strict=True)]
    else:
        count = None if number is None else np.array(number, np.int64)
        other = [Value(names[0], (), INT64, data=count), Value(names[1], (), BOOL, data=np.array(True))]  # or no trip
        entered = [fresh(state, name, known=known) for state, name in zip(states, names[2:], strict=True)]
    put_values([*entered, *other], body)
    store(graph, body, inner)
    walk(graph.node, body, inner, load)
    results = results_of(graph, node, body, inner)
    first = 0 if slices else 1
    return Trip(
        scope=inner,
        builder=body,
        entered=tuple(entered),
        left=tuple(results[first : first + len(states)]),
        other=tuple(other),
        scans=tuple(results[first + len(states) :]),
        going=None if slices else results[0],
    )


def skip(node: Node, states: Sequence[Value], once: Trip | None, builder: Builder) -> None:
    """Put the outputs of a loop that never runs: carried values pass, scans are empty.

    Raises:
        WorkloadError: The shape of a scan is not known.
    """
    builder.folded.extend((node.name, *all_names(body_of(node, "body").node, f"{node.name}/body/")))
    _put_scans(node, [once] if once is not None else [], len(states), 0, builder)
    publish(node, [state.name for state in states], builder)


def explore(node: Node, once: Trip | None, states: int, builder: Builder) -> None:
    """Put the outputs of a loop whose number of trips is missing, as far as they do not depend on it."""
    for index, output in enumerate(node.outputs):
        if output and once is not None and once.is_fixed and index < states:
            put_values([fresh(once.left[index], output)], builder)
        elif output:
            builder.values[output] = Value(output, (), opaque=True)


def repeat(
    node: Node,
    once: Trip,
    states: Sequence[Value],
    trips: float,
    builder: Builder,
    load: Load,
    scanned: Sequence[Value] = (),
) -> None:
    """Let one walk stand for all trips: each of its operators counts as often, or the body is one part.

    Args:
        node: The node.
        once: The walk.
        states: Carried values before the loop.
        trips: Expected trips.
        builder: Where the node stands.
        load: The load.
        scanned: What a Scan cuts into slices.

    Raises:
        WorkloadError: More executions than can be counted, or a scan of a fractional length.
    """
    if load.apart:
        _put_apart(node, [once], trips, builder)
        _add_part(node, once, trips, load)
        return
    for index, (state, formal) in enumerate(zip(states, once.entered, strict=True)):
        link(node, state, formal, builder, f":in.{index}")
    if scanned:
        emit_control(node, builder, scanned, once.other, suffix=":slices")
    _merge(once.builder, builder, int(trips), node)
    _put_scans(node, [once], len(states), trips, builder)
    publish(node, [value.name for value in once.left], builder)


def unroll(
    node: Node, walked: Sequence[Trip], states: Sequence[Value], trips: float, builder: Builder, load: Load
) -> None:
    """Put every trip for itself; the last one counts for what is left of a fractional number of trips.

    So `trips` is the mean of two neighbouring whole numbers, and the cost their exact expectation.
    """
    if load.apart:
        _put_apart(node, walked, trips, builder)
        for number, trip in enumerate(walked):
            _add_part(node, trip, min(1.0, trips - number), load)
        return
    before = list(states)
    for number, trip in enumerate(walked):
        for index, (state, formal) in enumerate(zip(before, trip.entered, strict=True)):
            link(node, state, formal, builder, f":in.{index}[{number}]")
        _merge(trip.builder, builder, 1, node)
        before = list(trip.left)
    _put_scans(node, walked, len(states), trips, builder)
    publish(node, [value.name for value in before], builder)


def _merge(body: Builder, builder: Builder, trips: int, node: Node) -> None:
    """Put the operators of a body among those around it."""
    if any(op.count * trips > MAX_EXECUTIONS for op in body.operators):
        raise WorkloadError(f"node {node.name!r} ({node.op_type}): {trips} trips are more than any runtime can count")
    builder.operators.extend(op if trips == 1 else replace(op, count=op.count * trips) for op in body.operators)
    builder.folded.extend(body.folded)
    builder.groups.extend(body.groups)


def _put_scans(node: Node, walked: Sequence[Trip], states: int, trips: float, builder: Builder) -> None:
    """Put what a loop collects, one entry per trip, and emit the operator that joins the entries."""
    targets = _scan_values(node, walked, states, trips)
    put_values(targets, builder)
    if targets and trips:
        emit_control(node, builder, [scan for trip in walked for scan in trip.scans], targets)


def _scan_values(node: Node, walked: Sequence[Trip], states: int, trips: float) -> list[Value]:
    values = []
    for index, output in enumerate(node.outputs[states:]):
        if not output:
            continue
        entries = [trip.scans[index] for trip in walked]
        if not entries or any(entry.items is not None for entry in entries):
            raise WorkloadError(f"node {node.name!r} ({node.op_type}): the shape of its output {output!r} is not known")
        if any(entry.opaque for entry in entries):
            values.append(Value(output, (), opaque=True))
            continue
        if trips != int(trips) or any(entry.shape != entries[0].shape for entry in entries):
            raise WorkloadError(
                f"node {node.name!r} ({node.op_type}): output {output!r} has one entry per trip, all of one shape: "
                f"give a whole number of trips, not {trips:g}; shapes {sorted({entry.shape for entry in entries})}"
            )
        shape = list(entries[0].shape)
        axes = node.ints("scan_output_axes")
        shape.insert(axes[index] % (len(shape) + 1) if index < len(axes) else 0, int(trips))
        check_shape(shape, f"node {node.name!r} ({node.op_type})")
        values.append(Value(output, tuple(shape), entries[0].code))
    return values


def _put_apart(node: Node, walked: Sequence[Trip], trips: float, builder: Builder) -> None:
    """Put the outputs of a loop whose trips are parts, and emit the operator that stands for them."""
    last = walked[-1]
    targets = [fresh(value, output) for value, output in zip(last.left, node.outputs, strict=False) if output]
    targets += _scan_values(node, walked, len(last.left), trips)
    put_values(targets, builder)
    captured = {name: tensor for trip in walked for name, tensor in _borrowed(trip).items()}
    given = [builder.values[name] for name in node.inputs if name]
    emit_control(node, builder, given, targets, captured.values())


def _formals(trip: Trip) -> list[Value]:
    return [*trip.entered, *trip.other]


def _borrowed(trip: Trip) -> dict[str, Tensor]:
    return borrowed(trip.builder, edges(_formals(trip)))


def _add_part(node: Node, trip: Trip, executions: float, load: Load) -> None:
    load.parts.append(
        Part(
            name=trip.scope.prefix[:-1],
            builder=trip.builder,
            node=node.name,
            executions=executions,
            inputs=tuple(edges(_formals(trip))),
            borrowed=tuple(_borrowed(trip)),
            outputs=tuple(edges([*trip.left, *trip.scans])),
            collected=tuple(output for output in node.outputs[len(trip.left) :] if output),
        )
    )
