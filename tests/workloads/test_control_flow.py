"""If, Loop and Scan: what runs how often, against ONNX Runtime's own counts and against sums by hand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hwmodels
from tests.workloads.flow_graphs import (
    BOOL,
    FLOAT,
    INT64,
    Body,
    decoding,
    executions,
    model_of,
    repeated,
    tensor,
    two_branches,
)
from tests.workloads.graphs import shapes_of
from workloads import Choice, Program, Workload, WorkloadError, load_onnx, load_program, peak_bytes
from workloads.onnx.scope import all_names

X = np.ones((2, 4), np.float32)
MANY = np.iinfo(np.int64).max


def times_of_nodes(work: Workload | Program) -> Counter[str]:
    """Give the expected executions of every node that runs, by its own name without the path."""
    found: Counter[str] = Counter()
    for op in work.operators:
        for node in op.nodes:
            found[node.rpartition("/")[2]] += float(op.count)  # type: ignore[assignment]  # fractions are meant
    return found


def nodes_of(work: Workload | Program) -> set[str]:
    """Give every node that is accounted for."""
    parts = [work] if isinstance(work, Workload) else [part for _, part in work]
    return {node for part in parts for node in (*part.folded, *(node for op in part.operators for node in op.nodes))}


def message_of(source: Any, **options: Any) -> str:
    with pytest.raises(WorkloadError) as caught:
        load_program(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------------------------
# If


def test_the_expectation_is_the_mean_of_the_two_graphs_that_may_run() -> None:
    device = hwmodels.load("a100-sxm-80gb")
    program = load_program(two_branches(), probabilities={"choose": 0.25})
    taken, other = load_onnx(two_branches(True)), load_onnx(two_branches(False))
    assert program.flops() == 0.25 * taken.flops() + 0.75 * other.flops()
    assert program.macs() == 2 * 4 * 4 * 1.25
    assert program.dram_bytes() == 0.25 * taken.dram_bytes() + 0.75 * other.dram_bytes()
    costs = [hwmodels.evaluate(work, device) for work in (program, taken, other)]
    for name in ("latency_s", "energy_j", "flops", "dram_bytes"):
        mean, then, neg = (float(getattr(cost, name)) for cost in costs)
        assert mean == pytest.approx(0.25 * then + 0.75 * neg, rel=1e-12)


@pytest.mark.parametrize("flags", [(True,), (False,), (True, False, False, False), (True, True, True, False)])
def test_the_runtime_executes_every_node_as_often_as_the_program_says(flags: Sequence[bool], tmp_path: Path) -> None:
    counted: Counter[str] = Counter()
    for flag in flags:
        counted += executions(two_branches(), {"x": X, "flag": np.array(flag)}, tmp_path)[0]
    program = load_program(two_branches(), probabilities={"choose": sum(flags) / len(flags)})
    expected = {name: times * len(flags) for name, times in times_of_nodes(program).items() if times}
    inlined = {"choose"} if sum(flags) in (0, len(flags)) else set()
    assert expected == {name: number for name, number in counted.items() if name not in inlined}


@pytest.mark.parametrize("condition", [True, False])
def test_a_known_condition_needs_no_option_and_leaves_one_workload(condition: bool, tmp_path: Path) -> None:
    model = two_branches(condition)
    work = load_onnx(model)
    counted, _ = executions(model, {"x": X}, tmp_path)
    assert times_of_nodes(work) == counted - Counter(["choose"])
    assert [weight for weight, _ in load_program(model)] == [1.0]
    every = {"MatMul.h", "Relu.z", "choose", "choose/then/MatMul.a", "choose/then/Relu.t", "choose/else/Neg.e"}
    assert nodes_of(work) == every
    assert shapes_of(work)["z"] == (2, 4)


def test_a_branch_that_runs_for_sure_belongs_to_what_is_around_it() -> None:
    for probability, condition in ((1, True), (0, False)):
        program = load_program(two_branches(), probabilities={"choose": probability})
        assert len(program.parts) == 1
        assert program.parts[0][1].digest() == load_onnx(two_branches(condition)).digest()


def test_branches_of_different_shapes_are_refused_unless_one_is_certain() -> None:
    model = two_branches(other_rows=4)
    message = message_of(model, probabilities={"choose": 0.5})
    for part in ("'choose'", "fp32 (2, 4)", "fp32 (4, 2)", "'y'", "probability 1 or 0"):
        assert part in message
    assert shapes_of(load_program(model, probabilities={"choose": 0}).parts[0][1])["z"] == (4, 2)
    assert shapes_of(load_program(model, probabilities={"choose": 1}).parts[0][1])["z"] == (2, 4)


def test_a_branch_may_only_pass_on_what_is_around_it() -> None:
    main = Body("main", [tensor("x", (2, 4)), tensor("flag", (), BOOL)]).store("zero", np.zeros((2, 4)), np.float32)
    keep, drop = Body("keep").node("Identity", ["x"], ["k"]), Body("drop").node("Identity", ["zero"], ["d"])
    main.node("If", ["flag"], ["y"], then_branch=keep.graph("k"), else_branch=drop.graph("d"), name="choose")
    main.node("Relu", ["y"], ["z"])
    model = model_of(main.graph("z"))
    program = load_program(model, probabilities={"choose": 0.5})
    assert (program.flops(), program.dram_bytes()) == (8, 64)
    assert load_program(model, probabilities={"choose": 1}).dram_bytes() == 64


def test_shape_arithmetic_goes_through_a_resolved_branch() -> None:
    """The Squeeze that torch guards with an If on the size of the axis: the size is known, so is the branch."""
    main = Body("main", [tensor("x", ("batch", 1, 4))])
    main.store("one", 1, np.int64).store("at", [1], np.int64).store("axis", [1], np.int64)
    main.node("Shape", ["x"], ["shape"]).node("Gather", ["shape", "one"], ["extent"])
    main.node("Equal", ["extent", "one"], ["is_one"])
    squeeze = Body("squeeze").node("Squeeze", ["x", "axis"], ["s"]).node("Shape", ["s"], ["size"])
    keep = Body("keep").node("Identity", ["x"], ["k"]).node("Shape", ["k"], ["kept"])
    main.node(
        "If", ["is_one"], ["y", "ys"], then_branch=squeeze.graph("s", "size"), else_branch=keep.graph("k", "kept")
    )
    main.node("Expand", ["y", "ys"], ["z"])
    work = load_onnx(model_of(main.graph("z")), batch=3)
    assert shapes_of(work)["z"] == (3, 4)


# ---------------------------------------------------------------------------------------------------------------------
# Loop and Scan


def test_a_known_number_of_trips_counts_every_operator_of_the_body(tmp_path: Path) -> None:
    model = repeated(7)
    work, program = load_onnx(model), load_program(model)
    counted, results = executions(model, {"x": X}, tmp_path)
    assert times_of_nodes(program) == counted
    assert work.macs() == program.macs() == 7 * 2 * 4 * 4
    assert work.flops() == program.flops()
    assert work.dram_bytes() == program.dram_bytes()
    assert [weight for weight, _ in program] == [1.0, 7.0]
    shapes = shapes_of(work)
    assert [shapes["z"], shapes["all"]] == [result.shape for result in results] == [(2, 4), (7,)]
    device = hwmodels.load("epyc-9654")
    one, other = hwmodels.evaluate(work, device), hwmodels.evaluate(program, device)
    assert one.latency_s == pytest.approx(other.latency_s, rel=1e-12)
    assert one.energy_j == pytest.approx(other.energy_j, rel=1e-12)


@pytest.mark.parametrize("trips", [1, 5])
def test_expected_trips_weigh_the_body(trips: int, tmp_path: Path) -> None:
    model = repeated(None)
    program = load_program(model, trips={"loop": trips})
    counted, results = executions(model, {"x": X, "n": np.array(trips)}, tmp_path)
    assert times_of_nodes(program) == counted
    assert [shapes_of(program.parts[0][1])[name] for name in ("z", "all")] == [result.shape for result in results]


def test_a_cache_that_grows_gives_the_exact_sum_over_trips(tmp_path: Path) -> None:
    model = decoding()
    program = load_program(model, trips={"d": 6})
    assert [weight for weight, _ in program] == [1.0] * 7
    lengths = range(4, 10)  # three rows before the loop, one more in each trip
    assert program.macs() == sum(2 * 4 * length for length in lengths)
    moved = [op for op in program.operators if op.op_type == "Concat"]
    assert sum(float(op.dram_bytes()) for op in moved) == sum(2 * 16 * length for length in lengths)
    counted, results = executions(model, {"x": X[:1], "past": np.ones((3, 4), np.float32), "n": np.array(6)}, tmp_path)
    assert times_of_nodes(program) == counted
    assert [shapes_of(program.parts[0][1])[n] for n in ("z", "cache_out")] == [result.shape for result in results]


def test_a_growing_loop_of_known_length_unrolls_into_one_workload() -> None:
    work = load_onnx(decoding(6))
    assert work.macs() == sum(2 * 4 * length for length in range(4, 10))
    assert work.flops() == load_program(decoding(6)).flops()
    assert shapes_of(work)["cache_out"] == (9, 4)
    names = [op.name for op in work]
    assert len(set(names)) == len(names)


def test_a_fraction_of_a_trip_is_the_mean_of_the_neighbouring_whole_numbers() -> None:
    def costs(trips: float) -> list[float]:
        main = decoding()
        del main.graph.node[1:]  # nothing reads the collected contexts: their number need not be whole
        main.graph.node[0].output[1] = ""
        del main.graph.output[0]
        program = load_program(main, trips={"d": trips})
        return [float(program.flops()), float(program.dram_bytes())]

    mean = [(low + high) / 2 for low, high in zip(costs(4), costs(5), strict=True)]
    assert costs(4.5) == pytest.approx(mean, rel=1e-12)
    assert "whole number" in message_of(decoding(), trips={"d": 4.5})


def test_the_number_of_a_trip_may_decide_shapes() -> None:
    """Slice by the counter: one, two, three rows; a symbolic trip cannot say so."""
    main = Body("main", [tensor("x", (5, 4))]).store("n", 3, np.int64).store("zero", [0], np.int64)
    body = Body("step", [tensor("i", (), INT64), tensor("go", (), BOOL), tensor("total", ())])
    body.store("one", [1], np.int64).node("Add", ["i", "one"], ["end"]).node("Slice", ["x", "zero", "end"], ["rows"])
    body.node("ReduceSum", ["rows"], ["sum"], keepdims=0).node("Add", ["total", "sum"], ["next"])
    body.node("Identity", ["go"], ["goes"])
    main.store("start", 0.0, np.float32)
    main.node("Loop", ["n", "", "start"], ["y"], body=body.graph("goes", "next"))
    work = load_onnx(model_of(main.graph("y")))
    assert [op.dims["i0"] for op in work if op.op_type == "ReduceSum"] == [1, 2, 3]
    assert sum(1 for op in work if op.op_type == "Add") == 6  # the counter is computed at run time, too


def test_a_while_loop_whose_counter_is_known_needs_no_option(tmp_path: Path) -> None:
    main = Body("main", [tensor("x", (2, 4))]).store("n", MANY, np.int64).store("start", 3, np.int64)
    main.store("true", True)
    body = Body("step", [tensor("i", (), INT64), tensor("go", (), BOOL), tensor("count", (), INT64), tensor("v")])
    body.store("two", 2, np.int64).store("limit", 12, np.int64)
    body.node("Add", ["count", "two"], ["counted"]).node("Less", ["counted", "limit"], ["goes"])
    body.node("Neg", ["v"], ["w"])
    main.node(
        "Loop", ["n", "true", "start", "x"], ["count_out", "y"], body=body.graph("goes", "counted", "w"), name="l"
    )
    model = model_of(main.graph(tensor("y"), tensor("count_out", (), INT64)))
    counted, _ = executions(model, {"x": X}, tmp_path)
    assert counted["Neg.w"] == 5
    assert times_of_nodes(load_onnx(model))["Neg.w"] == 5
    assert times_of_nodes(load_program(model)) == counted


@pytest.mark.parametrize(("trips", "start"), [(0, True), (4, False)])
def test_a_loop_that_never_runs_passes_its_values_on(trips: int, start: bool, tmp_path: Path) -> None:
    model = repeated(trips)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(start), "start"))
    model.graph.node[0].input[1] = "start"
    work = load_onnx(model)
    counted, results = executions(model, {"x": X}, tmp_path)
    assert times_of_nodes(work) == counted
    shapes = shapes_of(work)
    assert shapes["z"] == results[0].shape
    assert shapes["all"] == results[1].shape == (0,)


def scanned(length: int | str = 5, axis: int = 0, out_axis: int = 0) -> onnx.ModelProto:
    shape = [2, 2]
    shape.insert(axis, length)  # type: ignore[arg-type]  # a symbol is meant
    main = Body("main", [tensor("h", (2, 4)), tensor("xs", shape)]).store("w", np.ones((2, 4)), np.float32)
    body = Body("cell", [tensor("state", (2, 4)), tensor("x", (2, 2))])
    body.node("MatMul", ["x", "w"], ["p"]).node("Add", ["state", "p"], ["sum"]).node("Tanh", ["sum"], ["next"])
    body.node("Relu", ["next"], ["out"])
    main.node(
        "Scan", ["h", "xs"], ["last", "all"], body=body.graph(tensor("next", (2, 4)), tensor("out", (2, 4))),
        num_scan_inputs=1, scan_input_axes=[axis], scan_output_axes=[out_axis], name="scan",
    )  # fmt: skip
    main.node("Neg", ["all"], ["z"]).node("Neg", ["last"], ["end"])
    return model_of(main.graph(tensor("z"), tensor("end")))


@pytest.mark.parametrize(("axis", "out_axis"), [(0, 0), (1, 1), (2, -1)])
def test_a_scan_runs_once_per_slice(axis: int, out_axis: int, tmp_path: Path) -> None:
    model = scanned(5, axis, out_axis)
    feeds = np.ones([[5, 2, 2], [2, 5, 2], [2, 2, 5]][axis], np.float32)
    counted, results = executions(model, {"h": X, "xs": feeds}, tmp_path)
    program, work = load_program(model), load_onnx(model)
    assert times_of_nodes(program) == counted
    assert work.macs() == program.macs() == 5 * 2 * 2 * 4
    assert work.flops() == program.flops()
    assert [shapes_of(work)["z"], shapes_of(work)["end"]] == [result.shape for result in results]


def test_the_length_of_a_scan_is_a_symbol_like_any_other() -> None:
    assert load_onnx(scanned("steps"), steps=9).macs() == 9 * 2 * 2 * 4


FLOWS: dict[str, tuple[onnx.ModelProto, dict[str, Any]]] = {
    "a branch at random": (two_branches(), {"probabilities": {"choose": 0.5}}),
    "a known branch": (two_branches(False), {}),
    "a branch that is certain": (two_branches(), {"probabilities": {"choose": 1}}),
    "a loop": (repeated(None), {"trips": {"loop": 2.0}}),
    "a known loop": (repeated(3), {}),
    "a loop that never runs": (repeated(0), {}),
    "a growing loop": (decoding(3), {}),
    "a scan": (scanned(), {}),
}


@pytest.mark.parametrize("name", FLOWS)
def test_every_node_of_every_body_is_accounted_for(name: str) -> None:
    model, options = FLOWS[name]
    expected = set(all_names(model.graph.node, ""))
    works: list[Workload | Program] = [load_program(model, **options)]
    works += [] if options else [load_onnx(model)]
    for work in works:
        assert {re.sub(r"\[\d+\]", "", node) for node in nodes_of(work)} == expected


# ---------------------------------------------------------------------------------------------------------------------
# What is missing or wrong


def test_all_nodes_that_need_an_option_are_listed_at_once_with_the_call_and_the_flags() -> None:
    main = Body("main", [tensor("x", (2, 4)), tensor("flag", (), BOOL), tensor("n", (), INT64)])
    body = Body("step", [tensor("i", (), INT64), tensor("go", (), BOOL), tensor("v")])
    then, other = Body("then").node("Neg", ["v"], ["t"]), Body("else").node("Relu", ["v"], ["e"])
    body.node("If", ["flag"], ["w"], then_branch=then.graph("t"), else_branch=other.graph("e"), name="inner")
    body.node("Identity", ["go"], ["goes"])
    main.node("Loop", ["n", "", "x"], ["y"], body=body.graph("goes", "w"), name="outer")
    model = model_of(main.graph("y"))
    for load in (load_onnx, load_program):
        with pytest.raises(WorkloadError) as caught:
            load(model)
        for part in (
            "If 'outer/body/inner'", "Loop 'outer'", "workloads.load_program(source",
            "probabilities={'outer/body/inner': 0.5}", "trips={'outer': 8}", "--probability outer/body/inner=0.5",
            "--trips outer=8",
        ):  # fmt: skip
            assert part in str(caught.value)
    program = load_program(model, trips={"outer": 10}, probabilities={"outer/body/inner": 0.3})
    assert times_of_nodes(program)["Neg.t"] == pytest.approx(3)
    assert times_of_nodes(program)["Relu.e"] == pytest.approx(7)


def test_a_loop_that_data_may_end_early_says_how_many_trips_it_has_at_most() -> None:
    model = repeated(12, condition="data")
    message = message_of(model)
    assert "Loop, at most 12 'loop'" in message
    program = load_program(model, trips={"loop": 5})
    assert program.macs() == 5 * 2 * 4 * 4
    assert "at most 12" in message_of(model, trips={"loop": 13})


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"trips": {"loop": 6}}, ("trips=6", "fixes 7", "drop")),
        ({"trips": {"lop": 7}}, ("'lop'", "nearest: loop")),
        ({"probabilities": {"loop": 0.5}}, ("probabilities name 'loop'",)),
        ({"trips": {"loop": -1}}, ("at least 0",)),
        ({"trips": {"loop": float("nan")}}, ("at least 0",)),
        ({"trips": {"loop": float("inf")}}, ("at least 0",)),
        ({"trips": {"loop": "7"}}, ("at least 0",)),
        ({"probabilities": {"loop": 1.5}}, ("from 0 to 1",)),
        ({"probabilities": {"loop": True}}, ("from 0 to 1",)),
    ],
)
def test_options_that_the_file_contradicts_or_does_not_know_are_refused(options: Any, parts: tuple[str, ...]) -> None:
    message = message_of(repeated(7), **options)
    assert not [part for part in parts if part not in message], message


def test_the_number_that_the_file_fixes_may_be_repeated() -> None:
    assert load_program(repeated(7), trips={"loop": 7}).macs() == load_program(repeated(7)).macs()


def test_an_error_inside_a_body_names_the_path_of_its_node() -> None:
    model = two_branches()
    then = next(item.g for item in model.graph.node[1].attribute if item.name == "then_branch")
    then.node[0].input[1] = "nothing"
    message = message_of(model, probabilities={"choose": 0.5})
    assert "'choose/then/MatMul.a'" in message
    assert "'nothing'" in message


def test_an_unknown_operator_inside_a_body_is_listed_once() -> None:
    model = repeated(None)
    body = model.graph.node[0].attribute[0].g
    body.node[1].op_type = "Unheard"
    message = message_of(model, trips={"loop": 50})
    assert "Unheard (1: loop/body/Relu.next)" in message


def test_a_body_that_changes_a_carried_shape_in_a_scan_is_refused() -> None:
    model = scanned()
    body = next(item.g for item in model.graph.node[0].attribute if item.name == "body")
    body.output[0].name = "x"
    assert "carried shape changes" in message_of(model)


# ---------------------------------------------------------------------------------------------------------------------
# Memory, weights, distributions


def test_a_weight_is_counted_once_whoever_reads_it() -> None:
    program = load_program(repeated(None), trips={"loop": 100})
    assert program.weight_bytes() == 4 * 4 * 4
    assert program.weight_count() == 16
    unrolled = decoding(5)
    body = unrolled.graph.node[0].attribute[0].g
    body.initializer.append(onnx.numpy_helper.from_array(np.ones((4, 4), np.float32), "own"))
    body.node.append(onnx.helper.make_node("MatMul", ["x", "own"], ["mixed"], "MatMul.mixed"))
    body.output[2].name = "mixed"
    for work in (load_onnx(unrolled), load_program(unrolled)):
        assert work.weight_count() == 16  # of the body: the same in every trip


def test_a_weight_that_is_dequantized_before_a_loop_is_dequantized_once() -> None:
    model = repeated(9)
    model.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.ones((4, 4), np.int8), "w8"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.5, np.float32), "scale"))
    node = onnx.helper.make_node("DequantizeLinear", ["w8", "scale"], ["w"], "unpack")
    model.graph.node.insert(0, node)
    for work in (load_onnx(model), load_program(model)):
        (conversion,) = [op for op in work.operators if op.op_type == "DequantizeLinear"]
        assert conversion.count == 1
    body = model.graph.node[1].attribute[0].g
    body.node.insert(0, node)
    del model.graph.node[0]
    for work in (load_onnx(model), load_program(model)):  # inside, it is unpacked in every trip
        (conversion,) = [op for op in work.operators if op.op_type == "DequantizeLinear"]
        assert conversion.count == 9


def test_the_peak_counts_what_the_caller_keeps_while_a_branch_runs() -> None:
    """h (32 B) is read by the branch; k (32 B) only after it; then: a (32 B) and t (32 B) beside both."""
    main = Body("main", [tensor("x", (2, 4)), tensor("flag", (), BOOL)])
    main.node("Relu", ["x"], ["h"]).node("Neg", ["x"], ["k"])
    then = Body("then").node("Exp", ["h"], ["a"]).node("Add", ["a", "h"], ["t"])
    other = Body("else").node("Neg", ["h"], ["e"])
    main.node("If", ["flag"], ["y"], then_branch=then.graph("t"), else_branch=other.graph("e"), name="choose")
    main.node("Add", ["y", "k"], ["z"])
    program = load_program(model_of(main.graph("z")), probabilities={"choose": 0.5})
    (_, graph), (_, branch), (_, _) = program
    assert branch.held == {"h": 32, "k": 32}
    assert peak_bytes(branch) == 4 * 32
    assert peak_bytes(graph) == 3 * 32 + 1  # h, k, y and the condition, or x, h, k and the condition
    assert peak_bytes(program) == 4 * 32
    device = replace_fusion(hwmodels.load("t4"))
    assert hwmodels.evaluate(program, device).peak_bytes == 4 * 32


def replace_fusion(device: hwmodels.RooflineDevice) -> hwmodels.RooflineDevice:
    from dataclasses import replace

    return replace(device, fuses=())


def test_the_peak_of_a_loop_counts_what_it_collects_and_what_its_body_borrows() -> None:
    """Before the loop: x and a cache of three rows. In trip t: the cache of 3 + t rows, grown and transposed copies."""
    program = load_program(decoding(), trips={"d": 6})
    for trip, (_, part) in enumerate(program.parts[1:]):
        assert part.held == {"x": 16, "contexts": 6 * 16}
        rows = 3 + trip
        caches = 16 * (rows + 1) * 2  # the grown cache, and its transposition while it is made
        assert peak_bytes(part) >= sum(part.held.values()) + caches
        assert peak_bytes(part) <= sum(part.held.values()) + caches + 16 * rows + 64
    assert peak_bytes(program) == peak_bytes(program.parts[-1][1])


def test_scenarios_are_the_distribution_of_what_runs() -> None:
    main = Body("main", [tensor("x", (2, 4)), tensor("a", (), BOOL), tensor("b", (), BOOL)])
    inner = Body("inner").node("If", ["b"], ["u"], name="second",
                               then_branch=Body("p").node("Exp", ["x"], ["q"]).graph("q"),
                               else_branch=Body("r").node("Tanh", ["x"], ["s"]).graph("s"))  # fmt: skip
    main.node("If", ["a"], ["y"], name="first", then_branch=inner.graph("u"),
              else_branch=Body("n").node("Neg", ["x"], ["m"]).graph("m"))  # fmt: skip
    program = load_program(model_of(main.graph("y")), probabilities={"first": 0.4, "first/then/second": 0.25})
    found = {
        tuple(op.op_type for op in scenario.operators if op.kind != "control"): probability
        for probability, scenario in program.scenarios()
    }
    assert found == pytest.approx({("Exp",): 0.1, ("Tanh",): 0.3, ("Neg",): 0.6})
    mean = sum(probability * float(scenario.flops()) for probability, scenario in program.scenarios())
    assert mean == pytest.approx(program.flops())
    assert program.paths[-1] == (Choice("first", "else", 0.6, 1.0),) or any(
        path == (Choice("first", "else", 0.6, 1.0),) for path in program.paths
    )


def test_a_decision_that_is_made_anew_in_every_trip_has_no_scenarios() -> None:
    main = Body("main", [tensor("x", (2, 4)), tensor("flag", (), BOOL)]).store("n", 3, np.int64)
    body = Body("step", [tensor("i", (), INT64), tensor("go", (), BOOL), tensor("v")])
    then, other = Body("then").node("Neg", ["v"], ["t"]), Body("else").node("Relu", ["v"], ["e"])
    body.node("If", ["flag"], ["w"], then_branch=then.graph("t"), else_branch=other.graph("e"), name="inner")
    body.node("Identity", ["go"], ["goes"])
    main.node("Loop", ["n", "", "x"], ["y"], body=body.graph("goes", "w"), name="outer")
    program = load_program(model_of(main.graph("y")), probabilities={"outer/body/inner": 0.5})
    with pytest.raises(WorkloadError, match="anew in every trip"):
        program.scenarios()


def test_the_breakdown_of_a_program_adds_up_to_its_cost() -> None:
    device = hwmodels.load("t4")
    program = load_program(decoding(), trips={"d": 3})
    rows, cost = hwmodels.breakdown_records(program, device), hwmodels.evaluate(program, device)
    for name in ("latency_s", "energy_j", "flops", "dram_bytes"):
        assert sum(getattr(row, name) for row in rows) == pytest.approx(float(getattr(cost, name)))
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert len({row.name for row in rows}) == len(rows)
    assert len(hwmodels.breakdown(program, device)) == len(rows)


def test_a_program_takes_another_workload_for_each_of_its_parts() -> None:
    program = load_program(two_branches(), probabilities={"choose": 0.5})
    halves = program.map(lambda work: Workload(name=work.name, operators=work.operators[:1]))
    assert [len(part) for _, part in halves] == [1, 1, 1]
    assert halves.paths == program.paths
    assert program.digest() == load_program(two_branches(), probabilities={"choose": 0.5}).digest()
    assert program.digest() != load_program(two_branches(), probabilities={"choose": 0.6}).digest()


# ---------------------------------------------------------------------------------------------------------------------
# Any nesting

bodies = st.recursive(
    st.just(()),
    lambda inner: st.lists(
        st.tuples(st.just("If"), st.booleans(), inner, inner) | st.tuples(st.just("Loop"), st.integers(0, 3), inner),
        min_size=1,
        max_size=2,
    ).map(tuple),
    max_leaves=5,
)


def build(tree: Any, body: Body, value: str, feeds: dict[str, Any], known: Counter[str], top: Body, path: str) -> str:
    """Append what a tree says to a body; collect the feeds, and the options that the truth implies."""
    known["count"] += 1
    out = f"v{known['count']}"
    body.node("Neg", [value], [out])
    for item in tree:
        known["count"] += 1
        name = f"{item[0]}{known['count']}"
        port, result = f"in_{name}", f"out_{name}"
        feeds[port] = np.array(item[1]) if item[0] == "If" else np.array(item[1], np.int64)
        top.inputs.append(tensor(port, (), BOOL if item[0] == "If" else INT64))
        if item[0] == "If":
            sides = {}
            for side, tree_of in (("then", item[2]), ("else", item[3])):
                branch = Body(f"{name}_{side}")
                end = build(tree_of, branch, out, feeds, known, top, f"{path}{name}/{side}/")
                sides[f"{side}_branch"] = branch.graph(end)
            body.node("If", [port], [result], name=name, **sides)
            feeds[f"probability {path}{name}"] = float(item[1])
        else:
            number, going, state = f"i_{name}", f"g_{name}", f"s_{name}"
            inner = Body(name, [tensor(number, (), INT64), tensor(going, (), BOOL), tensor(state)])
            end = build(item[2], inner, state, feeds, known, top, f"{path}{name}/body/")
            inner.node("Identity", [going], [f"goes_{name}"])
            body.node("Loop", [port, "", out], [result], body=inner.graph(f"goes_{name}", end), name=name)
            feeds[f"trips {path}{name}"] = float(item[1])
        out = result
    return out


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=bodies)
def test_in_any_nesting_every_node_runs_as_often_as_in_the_runtime(tree: Any, tmp_path: Path) -> None:
    main, feeds = Body("main", [tensor("x", (2, 4))]), {"x": X}
    end = build(tree, main, "x", feeds, Counter(), main, "")
    main.node("Relu", [end], ["z"])
    model = model_of(main.graph(tensor("z", dtype=FLOAT)))
    options: dict[str, Any] = {"probabilities": {}, "trips": {}}
    for key in [key for key in feeds if " " in key]:
        kind, _, name = key.partition(" ")
        options["probabilities" if kind == "probability" else "trips"][name] = feeds.pop(key)
    reached: Any = {key: dict(value) for key, value in options.items()}
    for key, names in options.items():  # what stands in a branch that never runs takes no option
        for name in names:
            for other, chance in options["probabilities"].items():
                if name.startswith(f"{other}/{'else' if chance else 'then'}/"):
                    reached[key].pop(name, None)
            for other, number in options["trips"].items():
                if name.startswith(f"{other}/body/") and not number:
                    reached[key].pop(name, None)
    counted, _ = executions(model, feeds, tmp_path)
    program = load_program(model, **reached)
    ours = {name: times for name, times in times_of_nodes(program).items() if name.startswith("Neg")}
    assert ours == {name: times for name, times in counted.items() if name.startswith("Neg")}
