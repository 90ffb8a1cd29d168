"""Loop and Scan: one body that runs often, or, where shapes change from trip to trip, one body per trip."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from workloads.errors import WorkloadError
from workloads.onnx.bodies import body_of
from workloads.onnx.builder import Builder, Node, Value
from workloads.onnx.scope import Scope
from workloads.onnx.state import BudgetError, Load
from workloads.onnx.trips import Trip, explore, is_known, repeat, skip, unroll, walk_trip

if TYPE_CHECKING:
    import onnx

__all__ = ["loop", "scan"]


def loop(node: Node, proto: onnx.NodeProto, builder: Builder, scope: Scope, load: Load) -> None:
    """Walk the body once, if one walk stands for all trips; else once per trip.

    Source: ONNX operator specification, Loop.

    Raises:
        WorkloadError: The number of trips contradicts the file, or the body makes no sense.
    """
    states = [_state(node, builder, index) for index in range(2, len(node.inputs))]
    _check_ports(node, 2 + len(states), 1 + len(states), 1)
    path = scope.option_name(node)
    limit, start = _limit(node, builder), _start(node, builder)
    asked = load.trips.get(path) if load.apart else None
    load.used[path] = "Loop"
    found = load.found()
    try:
        once = walk_trip(node, states, None, "", builder, scope, load)
    except BudgetError:
        raise
    except WorkloadError:  # it may need the number of the trip
        once = None
    trips = _agreed(path, asked, 0 if start is False else limit, start, once)
    if trips == 0:
        load.forget(found)
        skip(node, states, once, builder)
    elif once is not None and once.is_fixed and trips is not None:
        repeat(node, once, states, trips, builder, load)
    else:
        _each_trip(node, states, once, (trips, limit, start), found, builder, scope, load)


def _each_trip(
    node: Node,
    states: list[Value],
    once: Trip | None,
    known: tuple[float | None, int | None, bool | None],
    found: tuple[dict[str, str], dict[str, str]],
    builder: Builder,
    scope: Scope,
    load: Load,
) -> None:
    """Walk the body with the number of the trip and all that follows from it, for as long as it goes on."""
    trips, limit, start = known
    endless = trips is None and limit is None and once is not None and once.goes_on is True
    before = load.found()
    load.forget(found)
    walked = None if endless else _walk_trips(node, states, trips, limit, start, builder, scope, load)
    if walked is None:
        load.forget(before)
        most = "" if limit is None or limit >= 2**31 - 1 else f", at most {limit}"
        load.undecided[scope.option_name(node)] = f"Loop{most}"
        explore(node, once, len(states), builder)
    elif once is not None and once.is_fixed:  # only the number of trips had to be found
        load.forget(before)
        repeat(node, once, states, len(walked), builder, load)
    elif walked:
        unroll(node, walked, states, len(walked) if trips is None else trips, builder, load)
    else:
        skip(node, states, once, builder)


def _walk_trips(
    node: Node,
    states: list[Value],
    trips: float | None,
    limit: int | None,
    start: bool | None,
    builder: Builder,
    scope: Scope,
    load: Load,
) -> list[Trip] | None:
    """Walk trip after trip; None where nobody says whether another one follows."""
    walked: list[Trip] = []
    going = start
    end = limit if trips is None else ceil(trips)
    while end is None or len(walked) < end:
        if going is None and trips is None:
            return None
        if going is False:
            if trips is None:
                break
            raise WorkloadError(
                f"node {scope.option_name(node)!r} (Loop): trips={trips:g}, but the file ends it after {len(walked)}; "
                "drop the option"
            )
        number = len(walked)
        trip = walk_trip(node, states, number, f"[{number}]", builder, scope, load)
        walked.append(trip)
        states, going = list(trip.left), trip.goes_on
    return walked


def _state(node: Node, builder: Builder, index: int) -> Value:
    name = node.inputs[index]
    value = builder.values.get(name)
    if value is None:
        builder.value(node, index)  # raises: missing, or nothing writes it
        raise AssertionError
    return value


def _check_ports(node: Node, inputs: int, outputs: int, unseen: int) -> None:
    graph = body_of(node, "body")
    if len(graph.input) != inputs or len(graph.output) < outputs or len(node.outputs) > len(graph.output) - unseen:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): its body has {len(graph.input)} inputs and {len(graph.output)} "
            f"outputs, which does not fit the node's {len(node.inputs)} and {len(node.outputs)}; run onnx.checker on it"
        )


def _limit(node: Node, builder: Builder) -> int | None:
    """Give the trip count, if the node has one that is known."""
    value = builder.optional(node, 0)
    return max(0, int(value.data.item())) if value is not None and is_known(value) else None  # type: ignore[union-attr]


def _start(node: Node, builder: Builder) -> bool | None:
    """Give the condition before the first trip, if it is known."""
    value = builder.optional(node, 1)
    if value is None:
        return True
    return bool(value.data.item()) if is_known(value) else None  # type: ignore[union-attr]  # it has data


def _agreed(path: str, asked: float | None, limit: int | None, start: bool | None, once: Trip | None) -> float | None:
    """Give the number of trips from the file or the caller, who must not contradict it; None: still unknown."""
    fixed: float | None = 0 if limit == 0 else None
    going = None if once is None else once.goes_on
    if fixed is None and start is not None and going is not None:
        fixed = limit if going else 1
    if asked is None:
        return fixed
    if fixed is not None and asked != fixed:
        raise WorkloadError(f"node {path!r} (Loop): trips={asked:g}, but the file fixes {fixed:g}; drop the option")
    if limit is not None and asked > limit:
        raise WorkloadError(f"node {path!r} (Loop): trips={asked:g}, but the file allows at most {limit}; give fewer")
    return asked


def scan(node: Node, proto: onnx.NodeProto, builder: Builder, scope: Scope, load: Load) -> None:
    """Walk the body once: it runs for every slice of the scanned inputs.

    Source: ONNX operator specification, Scan (9 and later).

    Raises:
        WorkloadError: The scanned inputs disagree about their length, a carried shape changes, an old operator set.
    """
    if builder.opset < 9:
        raise WorkloadError(f"node {node.name!r} (Scan): operator set {builder.opset}; export with 9 or later")
    number = node.int("num_scan_inputs")
    carried = len(node.inputs) - number
    if number < 1 or carried < 0:
        raise WorkloadError(f"node {node.name!r} (Scan): num_scan_inputs is {number} of {len(node.inputs)} inputs")
    _check_ports(node, len(node.inputs), carried, 0)
    states = [_state(node, builder, index) for index in range(carried)]
    scanned = [builder.value(node, index) for index in range(carried, len(node.inputs))]
    axes = [
        builder.position(node, axis, value.rank)
        for axis, value in zip(node.ints("scan_input_axes", [0] * number), scanned, strict=True)
    ]
    lengths = {value.shape[axis] for axis, value in zip(axes, scanned, strict=True)}
    if len(lengths) != 1:
        raise WorkloadError(f"node {node.name!r} (Scan): scanned inputs of different lengths {sorted(lengths)}")
    slices = [
        Value("", (*value.shape[:axis], *value.shape[axis + 1 :]), value.code)
        for axis, value in zip(axes, scanned, strict=True)
    ]
    once = walk_trip(node, states, None, "", builder, scope, load, slices)
    if not once.is_fixed:
        raise WorkloadError(f"node {node.name!r} (Scan): a carried shape changes from trip to trip; use Loop")
    (trips,) = lengths
    if trips:
        repeat(node, once, states, trips, builder, load, scanned)
    else:
        skip(node, states, once, builder)
