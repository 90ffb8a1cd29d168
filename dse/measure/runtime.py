"""Every unique operator of a model, and the whole model, timed in ONNX Runtime on this CPU."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dse.measure.families import tensor_columns
from dse.measure.graphs import Part, chain, product
from dse.measure.nodes import Node, nodes_of, optimized_graph, single_node
from dse.measure.rows import Measured, Rounds, Run, quiet_rounds, quiet_time_s, row
from dse.measure.timing import Call, Feeds, Timing, session_of, time_calls

if TYPE_CHECKING:
    import onnx

__all__ = ["measure_onnxruntime"]

CHAINS = (1, 65)  # nodes
PROBE = (128, 384, 384)  # m, k, n of the product that says how fast the machine was
REPEATS = 400
TRACED_RUNS = 8


def measure_onnxruntime(
    model: onnx.ModelProto | str | Path,
    feeds: Feeds,
    run: Run,
    seconds: float,
    blocks: Mapping[str, str] | None = None,
    energy: Any = None,
) -> list[dict[str, Any]]:
    """Time a model.

    Args:
        model: Or its path.
        feeds: Its inputs.
        run: What all rows share.
        seconds: Wall time to spend; every kernel is timed three times whatever it takes [s].
        blocks: Edge, or node, to the block that it belongs to, as `Workload` names blocks.
        energy: Call to its `rapl.Energy`; None: energy is not measured.

    Returns:
        Rows: one per kind of equal operators, `call` and `model_forward`.

    Raises:
        MeasureError: ONNX Runtime cannot open or run the model, or it cannot be taken apart.
    """
    graph = optimized_graph(model, run.model, run.threads)
    nodes = nodes_of(graph, feeds, run.model)
    timed = {str(place): node for place, node in enumerate(nodes) if not node.shares_memory}
    calls = {name: _call(node, graph, run.threads) for name, node in timed.items()}
    others = _others(model, feeds, run)
    found = time_calls(
        {**others, **calls}, seconds_limit=seconds, warm={"model", *calls}, threads=run.threads, repeats=REPEATS
    )
    rounds = quiet_rounds(found)
    launch_s, bound_s = _overheads(found, rounds, "bound")
    _, call_s = _overheads(found, rounds, "call")
    inside = _in_model(graph, feeds, run)
    known = blocks or {}
    probe = {"probe_us": round(quiet_time_s(found["probe"], rounds) * 1e6, 2)}
    rows = []
    for name, node in timed.items():
        spent = {} if energy is None else energy(calls[name])
        times = Measured.of(found[name], rounds, bound_s, launch_s)
        rows.append(_row(run, node, times, known, inside, **probe, **spent))
    launch = Measured.constant(launch_s, found[f"bound {CHAINS[0]}"])
    note = "shares memory: a node's launch"
    rows += [_row(run, node, launch, known, inside, note=note, **probe) for node in nodes if node.shares_memory]
    once = Measured.constant(call_s, found[f"call {CHAINS[0]}"])
    rows.append(row(run, tensor_columns("call", (1, 1), 8, "fp32", "call"), "call", 1, once, **probe))
    spent = {} if energy is None else energy(others["model"])
    whole = Measured.of(found["model"], rounds)
    return [*rows, row(run, {"op": "model_forward"}, run.model, 1, whole, in_layers=_layers(known), **probe, **spent)]


def _others(model: onnx.ModelProto | str | Path, feeds: Feeds, run: Run) -> dict[str, Call]:
    """Give the calls beside the operators: the whole model, chains of small nodes, a product as a probe."""
    graph = product(*PROBE, "fp32", np.random.default_rng(0))
    probe, fed = session_of(graph.model, "probe", run.threads), dict(graph.feeds)
    return {
        "model": _whole(model, feeds, run),
        "probe": lambda: probe.run(None, fed),
        **{f"call {size}": _chain(size, run.threads) for size in CHAINS},
        **{f"bound {size}": _chain(size, run.threads, bound=True) for size in CHAINS},
    }


def _layers(blocks: Mapping[str, str]) -> int:
    return len({".".join(block.split(".")[:2]) for block in blocks.values() if block.startswith("layer.")})


def _row(
    run: Run, node: Node, times: Measured, blocks: Mapping[str, str], inside: Mapping[str, float], **more: Any
) -> dict[str, Any]:
    known = [inside[name] for name in node.names if name in inside]
    if known:
        more["in_model_us"] = round(sum(known) / len(known), 2)
    places = [blocks.get(edge, blocks.get(name, "")) for name, edge in zip(node.names, node.edges, strict=True)]
    more["in_layers"] = sum(place.startswith("layer.") for place in places)
    return row(run, node.columns, node.names[0], len(node.names), times, block=places[0], **more)


def _overheads(found: Mapping[str, Timing], rounds: Rounds, kind: str) -> tuple[float, float]:
    """Give what a node of a chain takes, and what a call takes beyond its nodes [s]."""
    few, many = (quiet_time_s(found[f"{kind} {size}"], rounds) for size in CHAINS)
    launch_s = max((many - few) / (CHAINS[1] - CHAINS[0]), 1e-9)
    return launch_s, max(few - launch_s, 0.0)


def _chain(size: int, threads: int, bound: bool = False) -> Call:
    graph = chain([Part("Neg"), *[Part("Abs"), Part("Neg")] * (size // 2)], np.ones(16, np.float32))
    session = session_of(graph.model, "empty call", threads)
    if bound:
        return _bound(session, dict(graph.feeds), {f"x{size}": np.ones(16, np.float32)})
    feeds = dict(graph.feeds)
    return lambda: session.run(None, feeds)


def _whole(model: onnx.ModelProto | str | Path, feeds: Feeds, run: Run) -> Call:
    session = session_of(model, run.model, run.threads)
    given = {item.name: feeds[item.name] for item in session.get_inputs()}
    return lambda: session.run(None, given)


def _call(node: Node, graph: onnx.ModelProto, threads: int) -> Call:
    model, fed, written = single_node(node, graph)
    return _bound(session_of(model, node.names[0], threads, as_it_is=True), fed, written)


def _bound(session: Any, fed: Mapping[str, Any], written: Mapping[str, Any]) -> Call:
    """Bind inputs and outputs to memory once, as inside of a model: no call allocates."""
    import onnxruntime

    binding = session.io_binding()
    kept = []
    for name, array in fed.items():
        kept.append(onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array)))
        binding.bind_ortvalue_input(name, kept[-1])
    for name, array in written.items():
        kept.append(onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros_like(array)))
        binding.bind_ortvalue_output(name, kept[-1])
    return lambda keep=kept: session.run_with_iobinding(binding)  # type: ignore[misc]


def _in_model(graph: onnx.ModelProto, feeds: Feeds, run: Run) -> dict[str, float]:
    """Give the best time of every node inside of the model, by ONNX Runtime's own trace, by wall time [us]."""
    with tempfile.TemporaryDirectory() as folder:
        session = session_of(graph, run.model, run.threads, as_it_is=True, trace=Path(folder) / "trace")
        given = {item.name: feeds[item.name] for item in session.get_inputs()}
        for _ in range(TRACED_RUNS + 1):
            session.run(None, given)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return _best_by_node(events)


def _best_by_node(events: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    best: dict[str, float] = {}
    for event in events:
        if event.get("cat") == "Node" and (found := re.fullmatch(r"(.*)_kernel_time", event["name"])):
            best[found[1]] = min(best.get(found[1], float("inf")), float(event["dur"]))
    return best
