"""Functions of the model and sequences: the same workload as with the nodes written out, the runtime's shapes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper
from onnx.inliner import inline_local_functions

from tests.workloads.flow_graphs import BOOL, FLOAT, INT64, Body, model_of, tensor, two_branches
from tests.workloads.graphs import run, shapes_of
from workloads import Workload, WorkloadError, load_onnx, load_program
from workloads.onnx import Builder, Node
from workloads.onnx.limits import MAX_ADDED, MAX_DEPTH

X = np.ones((2, 4), np.float32)


def function(
    name: str, inputs: Sequence[str], outputs: Sequence[str], nodes: Sequence[onnx.NodeProto], **options: Any
) -> onnx.FunctionProto:
    """Make a function of the domain "own"."""
    imports = [helper.make_opsetid("", options.pop("opset", 17)), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, list(inputs), list(outputs), list(nodes), imports, **options)


def call(name: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(name, list(inputs), list(outputs), f"{name}.{outputs[0]}", domain="own", **attributes)


def calling(
    nodes: Sequence[onnx.NodeProto], functions: Sequence[onnx.FunctionProto], **options: Any
) -> onnx.ModelProto:
    """Make a model of calls from x (2, 4) to y."""
    main = Body("main", [tensor("x", (2, 4))]).store("w", np.ones((4, 4)), np.float32)
    main.nodes.extend(nodes)
    return model_of(main.graph(tensor("y")), domains=["own"], functions=functions, **options)


DENSE = function(
    "Dense", ["a", "b"], ["out"],
    [helper.make_node("MatMul", ["a", "b"], ["product"], "mm"), helper.make_node("Relu", ["product"], ["out"], "act")],
)  # fmt: skip


def assert_as_written_out(model: onnx.ModelProto, **options: Any) -> Workload:
    """Assert that a model costs the same as after onnx's own inliner, and has the runtime's output shape."""
    work, written = load_onnx(model, **options), load_onnx(inline_local_functions(model), **options)
    assert work.digest() == written.digest()
    assert (work.flops(), work.dram_bytes(), work.weight_bytes()) == (
        written.flops(), written.dram_bytes(), written.weight_bytes(),
    )  # fmt: skip
    assert shapes_of(work)["y"] == run(model, {"x": X})["y"].shape
    names = [op.name for op in work]
    assert len(set(names)) == len(names)
    return work


def test_a_call_is_the_functions_nodes_with_the_callers_edges() -> None:
    model = calling([call("Dense", ["x", "w"], ["h"]), call("Dense", ["h", "w"], ["y"])], [DENSE])
    work = assert_as_written_out(model)
    assert [op.name for op in work] == ["Dense.h/mm", "Dense.h/act", "Dense.y/mm", "Dense.y/act"]
    assert work.folded == ("Dense.h", "Dense.y")
    assert [tensor.name for tensor in work["Dense.h/act"].outputs] == ["h"]
    assert work.weight_count() == 16


def test_functions_call_functions() -> None:
    double = function(
        "Double", ["v", "m"], ["end"], [call("Dense", ["v", "m"], ["mid"]), call("Dense", ["mid", "m"], ["end"])]
    )
    work = assert_as_written_out(calling([call("Double", ["x", "w"], ["y"])], [double, DENSE]))
    assert work.macs() == 2 * 2 * 4 * 4


@pytest.mark.parametrize(("given", "rows"), [({"axis": 0}, 4), ({}, 2), ({"axis": 1}, 2)])
def test_attributes_come_from_the_call_or_from_their_default(given: dict[str, int], rows: int) -> None:
    node = helper.make_node("Concat", ["a", "a"], ["out"], "join")
    node.attribute.append(AttributeProto(name="axis", type=AttributeProto.INT, ref_attr_name="axis"))
    twice = function("Twice", ["a"], ["out"], [node], attribute_protos=[helper.make_attribute("axis", 1)])
    model = calling([call("Twice", ["x"], ["y"], **given)], [twice])
    assert shapes_of(load_onnx(model))["y"] == run(model, {"x": X})["y"].shape
    assert shapes_of(load_onnx(model))["y"][0] == rows


def test_an_attribute_that_the_call_leaves_out_is_left_out() -> None:
    node = helper.make_node("Flatten", ["a"], ["out"], "flat")
    node.attribute.append(AttributeProto(name="axis", type=AttributeProto.INT, ref_attr_name="where"))
    flat = function("Flat", ["a"], ["out"], [node], attributes=["where"])
    assert shapes_of(load_onnx(calling([call("Flat", ["x"], ["y"])], [flat])))["y"] == (2, 4)
    assert shapes_of(load_onnx(calling([call("Flat", ["x"], ["y"], where=0)], [flat])))["y"] == (1, 8)


def test_an_attribute_travels_through_two_calls() -> None:
    node = helper.make_node("Concat", ["a", "a"], ["out"], "join")
    node.attribute.append(AttributeProto(name="axis", type=AttributeProto.INT, ref_attr_name="inner_axis"))
    inner = function("Inner", ["a"], ["out"], [node], attributes=["inner_axis"])
    through = call("Inner", ["b"], ["end"])
    through.attribute.append(AttributeProto(name="inner_axis", type=AttributeProto.INT, ref_attr_name="outer_axis"))
    outer = function("Outer", ["b"], ["end"], [through], attributes=["outer_axis"])
    work = assert_as_written_out(calling([call("Outer", ["x"], ["y"], outer_axis=0)], [outer, inner]))
    assert shapes_of(work)["y"] == (4, 4)


def test_an_input_that_the_call_leaves_out_is_missing_inside() -> None:
    nodes = [helper.make_node("Clip", ["a", "", "high"], ["out"], "clip")]
    clip = function("Bounded", ["a", "high"], ["out"], nodes)
    model = calling([call("Bounded", ["x"], ["y"])], [clip])
    assert load_onnx(model).flops() == 2 * 8
    assert load_onnx(inline_local_functions(model)).flops() == 2 * 8


def test_a_function_sees_no_name_of_its_caller() -> None:
    leaking = function("Leak", ["a"], ["out"], [helper.make_node("MatMul", ["a", "w"], ["out"], "mm")])
    with pytest.raises(WorkloadError, match="nothing writes its input"):
        load_onnx(calling([call("Leak", ["x"], ["y"])], [leaking]))


def test_names_inside_may_be_those_outside() -> None:
    nodes = [helper.make_node("Neg", ["x"], ["w"], "one"), helper.make_node("Exp", ["w"], ["y"], "two")]
    shadow = function("Shadow", ["x"], ["y"], nodes)
    work = assert_as_written_out(calling([call("Shadow", ["x"], ["h"]), call("Shadow", ["h"], ["y"])], [shadow]))
    assert len(work) == 4


def test_an_output_may_be_an_input_or_unwanted() -> None:
    nodes = [helper.make_node("Neg", ["a"], ["n"], "neg")]
    both = function("Both", ["a"], ["a", "n"], nodes)
    work = load_onnx(calling([call("Both", ["x"], ["", "m"]), helper.make_node("Relu", ["m"], ["y"], "relu")], [both]))
    assert [op.op_type for op in work] == ["Neg", "Relu"]
    model = calling([call("Both", ["x"], ["same"]), helper.make_node("Relu", ["same"], ["y"], "relu")], [both])
    assert [(op.op_type, op.kind) for op in load_onnx(model)][1:] == [("Both", "view"), ("Relu", "activation")]


def test_the_operator_set_of_a_function_is_its_own() -> None:
    """Squeeze takes its axes as an attribute until 12, as an input from 13 on."""
    old = function("Old", ["a"], ["out"], [helper.make_node("Unsqueeze", ["a"], ["out"], "u", axes=[0])], opset=12)
    work = load_onnx(calling([call("Old", ["x"], ["y"])], [old]))
    assert shapes_of(work)["y"] == (1, 2, 4)


def test_overloads_are_told_apart() -> None:
    def variant(overload: str, op_type: str) -> onnx.FunctionProto:
        made = function("Act", ["a"], ["out"], [helper.make_node(op_type, ["a"], ["out"], "act")])
        made.overload = overload
        return made

    nodes = [call("Act", ["x"], ["h"]), call("Act", ["h"], ["y"])]
    nodes[0].overload, nodes[1].overload = "first", "second"
    work = load_onnx(calling(nodes, [variant("first", "Neg"), variant("second", "Exp")]))
    assert [op.op_type for op in work] == ["Neg", "Exp"]
    with pytest.raises(WorkloadError, match="two functions of the model are called own::Act:first"):
        load_onnx(calling(nodes, [variant("first", "Neg"), variant("first", "Exp")]))


def test_bodies_inside_functions_and_functions_inside_bodies() -> None:
    branch = two_branches().graph.node[1]
    guard = helper.make_node(
        "If", ["flag"], ["out"], "choose",
        then_branch=Body("t").node("Neg", ["a"], ["t"]).graph("t"),
        else_branch=helper.make_graph([call("Dense", ["a", "m"], ["e"])], "e", [], [onnx.ValueInfoProto(name="e")]),
    )  # fmt: skip
    assert branch.op_type == guard.op_type
    guarded = function("Guarded", ["a", "m", "flag"], ["out"], [guard])
    main = Body("main", [tensor("x", (2, 4)), tensor("f", (), BOOL)]).store("w", np.ones((4, 4)), np.float32)
    main.nodes.append(call("Guarded", ["x", "w", "f"], ["y"]))
    model = model_of(main.graph(tensor("y")), domains=["own"], functions=[guarded, DENSE])
    program = load_program(model, probabilities={"Guarded.y/choose": 0.75})
    assert program.macs() == 0.25 * 2 * 4 * 4
    with pytest.raises(WorkloadError, match=r"If 'Guarded\.y/choose'"):
        load_onnx(model)
    body = Body("step", [tensor("i", (), INT64), tensor("go", (), BOOL), tensor("v")])
    body.nodes.append(call("Dense", ["v", "w"], ["next"]))
    body.node("Identity", ["go"], ["goes"])
    main = Body("main", [tensor("x", (2, 4))]).store("w", np.ones((4, 4)), np.float32).store("n", 3, np.int64)
    main.node("Loop", ["n", "", "x"], ["y"], body=body.graph("goes", "next"), name="loop")
    model = model_of(main.graph(tensor("y")), domains=["own"], functions=[DENSE])
    assert load_onnx(model).macs() == load_program(model).macs() == 3 * 2 * 4 * 4


def test_the_callers_handler_goes_before_the_models_function() -> None:
    def free(node: Node, builder: Builder) -> None:
        builder.put(node, builder.value(node, 0).shape, builder.value(node, 0).code)

    model = calling([call("Dense", ["x", "w"], ["y"])], [DENSE])
    assert load_onnx(model, extra_ops={"Dense": free}).flops() == 0
    assert load_onnx(model, free_ops=["Dense"]).macs() == 0


@pytest.mark.parametrize("length", [1, 2, 5])
def test_functions_that_call_themselves_are_refused_with_the_circle(length: int) -> None:
    names = [f"F{index}" for index in range(length)]
    ring = [
        function(name, ["a"], ["out"], [call(names[(index + 1) % length], ["a"], ["out"])])
        for index, name in enumerate(names)
    ]
    with pytest.raises(WorkloadError, match="call themselves: own::F0 calls") as caught:
        load_onnx(calling([call("F0", ["x"], ["y"])], ring))
    assert str(caught.value).count("calls") == length


def test_exponential_inlining_is_refused_before_anything_is_inlined() -> None:
    """Fifty functions that each call the next one twice: 2^50 nodes."""
    functions = [function("F0", ["a"], ["out"], [helper.make_node("Neg", ["a"], ["out"], "n")])]
    for index in range(1, MAX_DEPTH):
        below = f"F{index - 1}"
        functions.append(
            function(f"F{index}", ["a"], ["out"], [call(below, ["a"], ["m"]), call(below, ["m"], ["out"])])
        )
    model = calling([call(f"F{MAX_DEPTH - 1}", ["x"], ["y"])], functions)
    start = time.process_time()
    with pytest.raises(WorkloadError, match=f"unfold to {3 * 2 ** (MAX_DEPTH - 1) - 1:,} nodes"):
        load_onnx(model)
    assert time.process_time() - start < 1


def test_many_calls_within_the_budget_load_and_too_deep_ones_do_not() -> None:
    functions = [function("F0", ["a"], ["out"], [helper.make_node("Neg", ["a"], ["out"], "n")])]
    for index in range(1, 9):
        below = f"F{index - 1}"
        functions.append(
            function(f"F{index}", ["a"], ["out"], [call(below, ["a"], ["m"]), call(below, ["m"], ["out"])])
        )
    assert MAX_ADDED > 2**9
    assert load_onnx(calling([call("F8", ["x"], ["y"])], functions)).flops() == 2**8 * 8
    chain = [function("F0", ["a"], ["out"], [helper.make_node("Neg", ["a"], ["out"], "n")])]
    chain += [function(f"F{i}", ["a"], ["out"], [call(f"F{i - 1}", ["a"], ["out"])]) for i in range(1, MAX_DEPTH + 2)]
    with pytest.raises(WorkloadError, match=f"more than {MAX_DEPTH} deep"):
        load_onnx(calling([call(f"F{MAX_DEPTH + 1}", ["x"], ["y"])], chain))


@pytest.mark.parametrize(
    ("node", "part"),
    [
        (call("Dense", ["x", "w", "w"], ["y"]), "3 inputs"),
        (call("Dense", ["x", "w"], ["y", "z"]), "2 outputs"),
        (call("Other", ["x", "w"], ["y"]), "own::Other"),
    ],
)
def test_a_call_that_does_not_fit_is_refused(node: onnx.NodeProto, part: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        load_onnx(calling([node], [DENSE]))
    assert part in str(caught.value)


def test_a_function_that_takes_a_body_as_an_attribute_is_refused() -> None:
    taking = function("Taking", ["a"], ["out"], [helper.make_node("Neg", ["a"], ["out"], "n")], attributes=["body"])
    body = Body("b").node("Neg", ["x"], ["t"]).graph("t")
    with pytest.raises(WorkloadError, match="takes a body as an attribute"):
        load_onnx(calling([call("Taking", ["x"], ["y"], body=body)], [taking]))


# ---------------------------------------------------------------------------------------------------------------------
# Sequences and optionals


def sequenced(*nodes: tuple[str, Sequence[str], Sequence[str], dict[str, Any]], opset: int = 17) -> onnx.ModelProto:
    """Make a model of nodes from x (6, 4) to y."""
    main = Body("main", [tensor("x", (6, 4))]).store("one", 1, np.int64).store("last", -1, np.int64)
    main.store("sizes", [1, 2, 3], np.int64).store("four", 4, np.int64)
    for op_type, inputs, outputs, attributes in nodes:
        main.node(op_type, inputs, outputs, **attributes)
    return model_of(main.graph(tensor("y")), opset)


Step = tuple[str, list[str], list[str], dict[str, Any]]
SECOND: list[Step] = [("SequenceAt", ["s", "one"], ["t"], {}), ("Neg", ["t"], ["y"], {})]
SPLIT: Step = ("SplitToSequence", ["x", "sizes"], ["s"], {"axis": 0})
SEQUENCES: dict[str, onnx.ModelProto] = {
    "given sizes": sequenced(SPLIT, ("SequenceAt", ["s", "last"], ["t"], {}), ("Relu", ["t"], ["y"], {})),
    "one size": sequenced(("SplitToSequence", ["x", "four"], ["s"], {}), *SECOND),
    "single rows": sequenced(("SplitToSequence", ["x"], ["s"], {"keepdims": 0}), *SECOND),
    "single columns, kept": sequenced(("SplitToSequence", ["x"], ["s"], {"axis": 1}), *SECOND),
    "joined again": sequenced(SPLIT, ("ConcatFromSequence", ["s"], ["t"], {"axis": 0}), ("Neg", ["t"], ["y"], {})),
    "stacked": sequenced(
        ("SequenceConstruct", ["x", "x", "x"], ["s"], {}),
        ("ConcatFromSequence", ["s"], ["t"], {"axis": -1, "new_axis": 1}), ("Neg", ["t"], ["y"], {}),
    ),
    "inserted and erased": sequenced(
        ("SequenceEmpty", [], ["e"], {}), ("SequenceInsert", ["e", "x"], ["s"], {}),
        ("Relu", ["x"], ["r"], {}), ("SequenceInsert", ["s", "r", "one"], ["two"], {}),
        ("SequenceErase", ["two", "one"], ["left"], {}), ("SequenceInsert", ["left", "r"], ["again"], {}),
        ("ConcatFromSequence", ["again"], ["t"], {"axis": 1}), ("Neg", ["t"], ["y"], {}),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_have_the_shapes_of_the_runtime(name: str) -> None:
    model = SEQUENCES[name]
    truth = run(model, {"x": np.ones((6, 4), np.float32)})["y"]
    work = load_onnx(model)
    assert shapes_of(work)["y"] == truth.shape
    accounted = {*work.folded, *(node for op in work for node in op.nodes)}
    assert {node.name for node in model.graph.node} <= accounted


def test_splitting_and_joining_copy_and_the_rest_is_free() -> None:
    moved = {op.op_type: op.dram_bytes() for op in load_onnx(SEQUENCES["joined again"])}
    assert moved == {"SplitToSequence": 2 * 96, "ConcatFromSequence": 2 * 96, "Neg": 2 * 96}
    assert load_onnx(SEQUENCES["stacked"]).dram_bytes() == 6 * 96 + 6 * 96


def test_the_length_of_a_sequence_is_known() -> None:
    main = Body("main", [tensor("x", (6, 4)), tensor("one", (1,))]).store("sizes", [1, 2, 3], np.int64)
    main.store("flat", [1], np.int64).node("SplitToSequence", ["x", "sizes"], ["s"]).node(
        "SequenceLength", ["s"], ["n"]
    )
    main.node("Reshape", ["n", "flat"], ["shape"]).node("Expand", ["one", "shape"], ["t"]).node("Neg", ["t"], ["y"])
    assert shapes_of(load_onnx(model_of(main.graph("y"))))["y"] == (3,)


def test_a_loop_may_collect_a_sequence() -> None:
    main = Body("main", [tensor("x", (2, 4))]).store("n", 4, np.int64).node("SequenceEmpty", [], ["none"])
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    body = Body("step", [tensor("i", (), INT64), tensor("go", (), BOOL), helper.make_value_info("seq", kind)])
    body.node("Relu", ["x"], ["r"]).node("SequenceInsert", ["seq", "r"], ["longer"]).node("Identity", ["go"], ["goes"])
    end = helper.make_value_info("longer", kind)
    main.node("Loop", ["n", "", "none"], ["all"], body=body.graph(tensor("goes", (), BOOL), end), name="loop")
    main.node("ConcatFromSequence", ["all"], ["t"], axis=0).node("Neg", ["t"], ["y"])
    model = model_of(main.graph(tensor("y")))
    assert shapes_of(load_onnx(model))["y"] == run(model, {"x": X})["y"].shape == (8, 4)
    program = load_program(model)
    assert shapes_of(program.parts[0][1])["y"] == (8, 4)
    assert program.flops() == 4 * 8 + 32


def test_a_map_walks_its_body_for_every_tensor() -> None:
    main = Body("main", [tensor("x", (6, 4))]).store("sizes", [1, 2, 3], np.int64)
    body = Body("each", [tensor("part")]).node("Exp", ["part"], ["e"])
    main.node("SplitToSequence", ["x", "sizes"], ["s"], axis=0)
    main.node("SequenceMap", ["s"], ["m"], body=body.graph(tensor("e")))
    main.node("ConcatFromSequence", ["m"], ["y"], axis=0)
    model = model_of(main.graph(tensor("y")))
    work = load_onnx(model)
    assert shapes_of(work)["y"] == run(model, {"x": np.ones((6, 4), np.float32)})["y"].shape
    assert work.flops() == 24


def test_an_optional_is_there_or_not() -> None:
    main = Body("main", [tensor("x", (2, 4))]).node("Optional", ["x"], ["o"])
    main.node("OptionalHasElement", ["o"], ["has"]).node("OptionalGetElement", ["o"], ["g"])
    then, other = Body("t").node("Neg", ["g"], ["t"]), Body("e").node("Exp", ["g"], ["e"])
    main.node("If", ["has"], ["y"], then_branch=then.graph("t"), else_branch=other.graph("e"))
    work = load_onnx(model_of(main.graph("y"), 18))
    assert [op.op_type for op in work if op.kind != "view"] == ["Neg"]
    empty = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    main = Body("main", [tensor("x", (2, 4))]).node("Optional", [], ["o"], type=empty)
    main.node("OptionalGetElement", ["o"], ["y"])
    with pytest.raises(WorkloadError, match="the optional is empty"):
        load_onnx(model_of(main.graph("y"), 18))


@pytest.mark.parametrize(
    ("nodes", "part"),
    [
        ([("SequenceAt", ["x", "one"], ["y"], {})], "is no sequence"),
        ([SPLIT, ("Relu", ["s"], ["y"], {})], "is a sequence, no tensor"),
        ([SPLIT, ("SequenceAt", ["s", "four"], ["y"], {})], "position 4 in a sequence of 3"),
        ([SPLIT, ("SequenceErase", ["s", "four"], ["y"], {})], "position 4"),
        ([("SequenceEmpty", [], ["s"], {}), ("ConcatFromSequence", ["s"], ["y"], {"axis": 0})], "empty sequence"),
        ([("SequenceEmpty", [], ["s"], {}), ("SequenceErase", ["s"], ["y"], {})], "SequenceErase"),
        ([("SequenceEmpty", [], ["s"], {}), ("SequenceAt", ["s", "last"], ["y"], {})], "SequenceAt"),
        ([("SplitToSequence", ["x", "last"], ["y"], {})], "SplitToSequence"),
        ([SPLIT, ("ConcatFromSequence", ["s"], ["y"], {"axis": 7})], "axis 7"),
        ([SPLIT, ("ConcatFromSequence", ["s"], ["y"], {"axis": 1})], "differ beside axis 1"),
    ],
)
def test_what_a_sequence_cannot_do_is_refused_by_node(nodes: Any, part: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        load_onnx(sequenced(*nodes))
    assert part in str(caught.value)
