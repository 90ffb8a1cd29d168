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
from dse.measure.graphs import Part, chain
from dse.measure.nodes import Node, nodes_of, optimized_graph, single_node
from dse.measure.rows import Measured, Run, row
from dse.measure.timing import Call, Feeds, Timing, session_of, time_calls

if TYPE_CHECKING:
    import onnx

__all__ = ["measure_onnxruntime"]

CHAINS = (1, 65)  # nodes
WHOLE_SHARE = 0.4  # of the time, for the whole model: a long sample seldom meets a quiet machine
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
    timed = [node for node in nodes if not node.shares_memory]
    calls = {str(place): _call(node, graph, run.threads) for place, node in enumerate(timed)}
    empty = {f"chain {size}": _chain(size, run.threads, bound=True) for size in CHAINS}
    whole = {"model": _whole(model, feeds, run), **{f"run {size}": _chain(size, run.threads) for size in CHAINS}}
    limits = {"threads": run.threads, "repeats": 200}
    models = time_calls(whole, seconds_limit=seconds * WHOLE_SHARE, **limits)  # type: ignore[arg-type]
    found = time_calls({**empty, **calls}, seconds_limit=seconds * (1 - WHOLE_SHARE), warm=True, **limits)  # type: ignore[arg-type]
    launch_s, bound_s = _overheads(found, "chain", run.threads)
    _, call_s = _overheads(models, "run", run.threads)
    inside = _in_model(model, feeds, run)
    rows = []
    for place, node in enumerate(timed):
        spent = {} if energy is None else energy(calls[str(place)])
        times = Measured.of(found[str(place)], bound_s, launch_s)
        rows.append(_row(run, node, times, blocks or {}, inside, **spent))
    launch = Measured(
        best=launch_s * 1e6, median=launch_s * 1e6, lower=launch_s * 1e6, upper=launch_s * 1e6,
        runs=found[f"chain {CHAINS[0]}"].runs, executions=found[f"chain {CHAINS[0]}"].executions,
    )  # fmt: skip
    note = "shares memory: a node's launch"
    rows += [_row(run, node, launch, blocks or {}, inside, note=note) for node in nodes if node.shares_memory]
    rows += [_call_row(run, models, call_s)]
    layers = len({".".join(block.split(".")[:2]) for block in (blocks or {}).values() if block.startswith("layer.")})
    spent = {} if energy is None else energy(whole["model"])
    return [*rows, row(run, {"op": "model_forward"}, run.model, 1, Measured.of(models["model"]), in_layers=layers, **spent)]


def _row(
    run: Run, node: Node, times: Measured, blocks: Mapping[str, str], inside: Mapping[str, float], **more: Any
) -> dict[str, Any]:
    known = [inside[name] for name in node.names if name in inside]
    if known:
        more["in_model_us"] = round(sum(known) / len(known), 2)
    places = [blocks.get(edge, blocks.get(name, "")) for name, edge in zip(node.names, node.edges, strict=True)]
    more["in_layers"] = sum(place.startswith("layer.") for place in places)
    return row(run, node.columns, node.names[0], len(node.names), times, block=places[0], **more)


def _call_row(run: Run, models: Mapping[str, Timing], call_s: float) -> dict[str, Any]:
    values = dict.fromkeys(("best", "median", "lower", "upper"), call_s * 1e6)
    times = Measured(**values, runs=models[f"run {CHAINS[0]}"].runs, executions=models[f"run {CHAINS[0]}"].executions)
    return row(run, tensor_columns("call", (1, 1), 8, "fp32", "call"), "call", 1, times)


def _overheads(found: Mapping[str, Timing], kind: str, threads: int) -> tuple[float, float]:
    """Give what a node of a chain takes, and what a call takes beyond its nodes [s]."""
    few, many = (
        found[f"{kind} {size}"].cpu.best if threads == 1 else found[f"{kind} {size}"].wall.best for size in CHAINS
    )
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


def _in_model(model: onnx.ModelProto | str | Path, feeds: Feeds, run: Run) -> dict[str, float]:
    """Give the best time of every node inside of the model, by ONNX Runtime's own trace, by wall time [us]."""
    with tempfile.TemporaryDirectory() as folder:
        graph = optimized_graph(model, run.model, run.threads)
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
