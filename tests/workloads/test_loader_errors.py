"""Bad input: each is one WorkloadError whose message names the place and the mend, never another exception."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.workloads.graphs import FLOAT, Graph, shapes_of
from workloads import WorkloadError
from workloads.onnx import Builder, Node, load_onnx

ZOO = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
FIXTURES = Path(__file__).parent.parent / "fixtures"


def message_of(source: Any, **options: Any) -> str:
    """Load what must fail, and give the message."""
    with pytest.raises(WorkloadError) as caught:
        load_onnx(source, **options)
    message = str(caught.value)
    assert "\n" not in message.strip()
    return message


def assert_names(message: str, *parts: str) -> None:
    missing = [part for part in parts if part not in message]
    assert not missing, f"{missing} not in: {message}"


def loads_or_explains(source: Any, **options: Any) -> None:
    """Load what may be usable: only a WorkloadError is allowed to come out."""
    try:
        load_onnx(source, **options)
    except WorkloadError as error:
        assert str(error)  # noqa: PT017  # loading is allowed, too


def dynamic() -> onnx.ModelProto:
    """Give x (batch, seq, 8) times a weight."""
    graph = Graph()
    weight = graph.constant(np.ones((8, 4)), np.float32)
    return graph.model(graph.node("MatMul", graph.input("x", ("batch_size", "tokens", 8)), weight))


# ---------------------------------------------------------------------------------------------------------------------
# Binding


def test_symbols_of_the_graph_and_the_two_aliases_bind() -> None:
    expected = load_onnx(dynamic(), batch_size=2, tokens=5)
    assert expected.macs() == 2 * 5 * 8 * 4
    assert dict(expected.bindings) == {"batch_size": 2, "tokens": 5}
    assert load_onnx(dynamic(), batch=2, seq=5).digest() == expected.digest()
    assert load_onnx(dynamic(), batch=2, tokens=5).digest() == expected.digest()
    assert load_onnx(dynamic(), batch=np.int64(2), seq=np.int32(5)).digest() == expected.digest()  # type: ignore[arg-type]


def test_an_own_symbol_goes_before_an_alias() -> None:
    graph = Graph()
    x = graph.input("x", ("seq", "batch", 3))
    assert shapes_of(load_onnx(graph.model(graph.node("Neg", x)), seq=5, batch=2)) == {"neg_1_0": (5, 2, 3)}


def test_an_alias_binds_every_input_that_has_such_an_axis() -> None:
    graph = Graph()
    inputs = graph.input("a", ("N", 4)), graph.input("b", ("M", 4)), graph.input("c", (3, 4))
    total = graph.node("Sum", *inputs)
    assert dict(load_onnx(graph.model(total), batch=3).bindings) == {"N": 3, "M": 3}


def test_unresolved_dims_are_listed_all_at_once_with_the_way_to_bind_them() -> None:
    message = message_of(dynamic())
    assert_names(message, "batch_size (axis 0 of input 'x')", "tokens (axis 1 of input 'x')", "--bind", "batch_size=1")
    assert_names(message_of(dynamic(), batch=1), "tokens", "seq for axis 1")


def test_an_unnamed_dynamic_axis_has_a_name_that_binds() -> None:
    graph = Graph()
    model = graph.model(graph.node("Neg", graph.input("x", (2, None))))
    assert_names(message_of(model), "x.1")
    bind: dict[str, Any] = {"x.1": 7}
    assert shapes_of(load_onnx(model, **bind)) == {"neg_1_0": (2, 7)}


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    assert_names(message_of(dynamic(), batch=1, token=5), "token=5", "no input has such a dim", "nearest: tokens")
    assert_names(message_of(dynamic(), batch_size=1, tokens=5, heads=2), "heads=2", "known: batch, batch_size")


@pytest.mark.parametrize("size", [0, -1, True, "8", 2.0, None])
def test_an_impossible_size_is_refused(size: Any) -> None:
    assert_names(message_of(dynamic(), batch=1, seq=size), f"seq={size!r}", "whole number of at least 1")


def test_a_fixed_axis_binds_to_its_own_size_only() -> None:
    graph = Graph()
    model = graph.model(graph.node("Neg", graph.input("x", (2, 8))))
    assert load_onnx(model, batch=2, seq=8).flops() == 16
    assert_names(message_of(model, batch=3), "batch=3", "input 'x'", "fixed at 2", "dynamic axis")


# ---------------------------------------------------------------------------------------------------------------------
# Files


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x00" * 100, b"hello, this is text\n" * 20, b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"\x00" * 60,
        b"PK\x03\x04" + b"\x14\x00" * 30, b"{}", "ünïcode".encode("utf-16"), os.urandom(1000),
    ],
    ids=["empty", "zeros", "text", "png", "zip", "json", "utf16", "random"],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".onnx", ".bin", ".json", ".textproto", ".onnxtxt", ""])
def test_a_file_that_is_not_onnx_is_refused_by_name(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"strange{suffix}"
    path.write_bytes(content)
    assert_names(message_of(path), str(path))


@settings(max_examples=80)
@given(content=st.binary(max_size=200))
def test_random_bytes_never_raise_anything_else(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "random.onnx"
    path.write_bytes(content)
    message_of(path)


@pytest.mark.parametrize("name", ["light_squeezenet", "light_shufflenet"])
def test_a_truncated_file_is_refused_or_complete_enough_at_every_offset(name: str, tmp_path: Path) -> None:
    content = (ZOO / f"{name}.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    offsets = {*range(40), *range(len(content) - 60, len(content)), *range(0, len(content), 997)}
    for offset in sorted(offsets):
        path.write_bytes(content[:offset])
        loads_or_explains(path)
    path.write_bytes(content[: len(content) // 2])
    assert_names(message_of(path), str(path), "truncated", "again")


def test_flipped_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    content = bytearray((FIXTURES / "bert_tiny_legacy_dynamic.onnx").read_bytes())
    rng, path = np.random.default_rng(0), tmp_path / "flipped.onnx"
    for _ in range(150):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), 3):
            damaged[position] = int(rng.integers(0, 256))
        path.write_bytes(bytes(damaged))
        loads_or_explains(path, missing_weights="allow", batch=1, seq=8)


def test_a_missing_file_a_folder_and_an_unreadable_file(tmp_path: Path) -> None:
    assert_names(message_of(tmp_path / "none.onnx"), "none.onnx", "no such file")
    assert_names(message_of(tmp_path), str(tmp_path), "is a folder", ".onnx")


def test_an_empty_graph_and_an_empty_model(tmp_path: Path) -> None:
    assert_names(message_of(Graph().model()), "no nodes", "export")
    assert_names(message_of(onnx.ModelProto()), "no operator set", ".onnx file")


# ---------------------------------------------------------------------------------------------------------------------
# External data


def external(location: str, folder: Path) -> Path:
    graph = Graph()
    weight = graph.constant(np.ones((16, 16)), np.float32, "w")
    model = graph.model(graph.node("MatMul", graph.input("x", (2, 16)), weight))
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_missing_external_data_is_named_and_may_be_allowed(tmp_path: Path) -> None:
    path = external("weights.bin", tmp_path)
    assert_names(message_of(path), "model.onnx", "'w'", "'weights.bin'", "missing_weights='allow'")
    assert load_onnx(path, missing_weights="allow").weight_bytes() == 16 * 16 * 4
    (tmp_path / "weights.bin").write_bytes(bytes(16 * 16 * 4))
    assert load_onnx(path).macs() == 2 * 16 * 16


@pytest.mark.parametrize("missing", ["error", "allow"])
@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../secret", "a/../../secret", "C:\\secret", "..\\secret", "\\\\host\\share", "", "a/..", "w\0"],
)
def test_external_data_outside_the_folder_is_refused_even_if_missing_weights_are_allowed(
    location: str, missing: Any, tmp_path: Path
) -> None:
    assert_names(
        message_of(external(location, tmp_path), missing_weights=missing), "'w'", "outside", "refused", "relative"
    )


def test_a_symbolic_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").symlink_to(tmp_path / "secret")
    assert_names(message_of(external("weights.bin", folder)), "'w'", "outside", "refused")


# ---------------------------------------------------------------------------------------------------------------------
# Graphs


def relu(domain: str = "", op_type: str = "Relu", opset: int = 17) -> tuple[Graph, str]:
    graph = Graph(opset, [domain] if domain else [])
    return graph, graph.node(op_type, graph.input("x", (2, 3)), domain=domain)


def test_unknown_operators_are_listed_all_at_once_with_both_ways_out() -> None:
    graph = Graph(domains=["acme"])
    first = graph.node("Fancy", graph.input("x", (2, 3)), domain="acme")
    second = graph.node("Relu", graph.node("Fancy", first, domain="acme"))
    message = message_of(graph.model(graph.node("NonZero", second), graph.node("Unheard", second)))
    assert_names(
        message, "acme::Fancy (2: ", "Fancy.1", "Unheard (1:", "extra_ops=", "free_ops=", "--extra-ops", "--free-ops"
    )


def test_an_operator_of_a_foreign_domain_is_not_taken_for_its_namesake() -> None:
    graph, y = relu("acme", "Add")
    assert_names(message_of(graph.model(y)), "acme::Add")


def test_a_handler_describes_an_unknown_operator() -> None:
    def double(node: Node, builder: Builder) -> None:
        value = builder.value(node, 0)
        output = builder.put(node, (2 * value.shape[0], *value.shape[1:]), value.code)
        dims = {"n": output.size}
        builder.emit(node, "elementwise", dims, [builder.tensor(value, ())], [builder.tensor(output, ())], 3.0)

    graph, y = relu("acme", "Double")
    work = load_onnx(graph.model(graph.node("Neg", y)), extra_ops={"Double": double})
    assert work.operators[0].flops() == 36
    assert shapes_of(work)["neg_2_0"] == (4, 3)


def test_a_free_operator_keeps_the_shape_of_its_first_input_and_costs_nothing() -> None:
    graph, y = relu("acme", "Free")
    work = load_onnx(graph.model(graph.node("Neg", y)), free_ops=["Free"])
    assert (work.operators[0].flops(), work.operators[0].dram_bytes()) == (0, 0)
    assert shapes_of(work)["neg_2_0"] == (2, 3)


def test_the_file_is_named_with_the_unknown_operator(tmp_path: Path) -> None:
    graph, y = relu("acme", "Fancy")
    path = tmp_path / "fancy.onnx"
    path.write_bytes(graph.model(y).SerializeToString())
    assert_names(message_of(path), str(path), "Fancy")


def build(*inputs: tuple[int, ...], then: Callable[[Graph, list[str]], str], opset: int = 17) -> onnx.ModelProto:
    graph = Graph(opset)
    return graph.model(then(graph, [graph.input(f"x{position}", shape) for position, shape in enumerate(inputs)]))


def axes(graph: Graph, *values: int) -> str:
    return graph.constant(values, np.int64)


MISFITS: dict[str, tuple[onnx.ModelProto, tuple[str, ...]]] = {
    "MatMul": (build((2, 3), (4, 5), then=lambda g, x: g.node("MatMul", *x)), ("sizes differ", "(2, 3)", "(4, 5)")),
    "MatMul batch": (build((2, 3, 4), (5, 4, 3), then=lambda g, x: g.node("MatMul", *x)), ("do not broadcast",)),
    "MatMul scalar": (build((), (3, 4), then=lambda g, x: g.node("MatMul", *x)), ("scalar",)),
    "Gemm": (build((2, 3), (4, 5), then=lambda g, x: g.node("Gemm", *x)), ("inner sizes differ",)),
    "Gemm rank": (build((2, 3, 4), (4, 5), then=lambda g, x: g.node("Gemm", *x)), ("matrices",)),
    "Conv": (build((1, 3, 8, 8), (4, 5, 3, 3), then=lambda g, x: g.node("Conv", *x)), ("3 input channels", "takes 5")),
    "Conv rank": (build((1, 3, 8), (4, 3, 3, 3), then=lambda g, x: g.node("Conv", *x)), ("do not fit",)),
    "Conv window": (build((1, 3, 2, 2), (4, 3, 3, 3), then=lambda g, x: g.node("Conv", *x)), ("does not fit",)),
    "MaxPool": (build((1, 3, 2, 2), then=lambda g, x: g.node("MaxPool", *x, kernel_shape=[3, 3])), ("does not fit",)),
    "Add": (build((2, 3), (2, 4), then=lambda g, x: g.node("Add", *x)), ("do not broadcast", "(2, 3)", "(2, 4)")),
    "Concat": (build((2, 3), (4, 5), then=lambda g, x: g.node("Concat", *x, axis=0)), ("differ beside axis 0",)),
    "Concat rank": (build((2, 3), (4,), then=lambda g, x: g.node("Concat", *x, axis=0)), ("differ",)),
    "Reshape": (build((2, 3), then=lambda g, x: g.node("Reshape", *x, axes(g, 4, -1))), ("6 values",)),
    "Reshape copy": (build((2, 3), then=lambda g, x: g.node("Reshape", *x, axes(g, 1, 1, 0))), ("copies an axis",)),
    "Reshape data": (build((2, 3), (2,), then=lambda g, x: g.node("Reshape", *x)), ("run-time data", "'x1'")),
    "Squeeze": (build((2, 3), then=lambda g, x: g.node("Squeeze", *x, axes(g, 0))), ("cannot drop", "[0]")),
    "Expand": (build((2, 3), then=lambda g, x: g.node("Expand", *x, axes(g, 4, 3))), ("do not broadcast",)),
    "Transpose": (build((2, 3), then=lambda g, x: g.node("Transpose", *x, perm=[0, 1, 2])), ("attributes", "(2, 3)")),
    "Split": (build((2, 6), then=lambda g, x: g.node("Split", *x, axes(g, 1, 2), outputs=2, axis=1)[0]), ("6",)),
    "Gather axis": (build((2, 3), then=lambda g, x: g.node("Gather", *x, axes(g, 0), axis=5)), ("axis",)),
    "Tile": (build((2, 3), then=lambda g, x: g.node("Tile", *x, axes(g, 2))), ("Tile",)),
    "missing input": (build((2, 3), then=lambda g, x: g.node("MatMul", x[0])), ("input 1 is missing",)),
    "Cast": (build((2, 3), then=lambda g, x: g.node("Cast", *x, to=999)), ("999",)),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_operands_that_do_not_fit_are_refused_with_node_and_shapes(name: str) -> None:
    model, parts = MISFITS[name]
    assert_names(message_of(model), f"node {model.graph.node[-1].name!r}", *parts)


def test_a_size_that_the_file_fixes_is_named_when_another_is_bound() -> None:
    graph = Graph()
    x = graph.input("x", ("batch", 6))
    model = graph.model(graph.node("Reshape", x, graph.constant([2, 6], np.int64)))
    assert load_onnx(model, batch=2).macs() == 0
    assert_names(message_of(model, batch=3), "Reshape", "18 values", "bound differently")


def test_an_unsorted_or_cyclic_graph_names_the_node_and_its_input() -> None:
    graph = Graph()
    y = graph.node("Neg", graph.node("Relu", graph.input("x", (2, 3))))
    graph.nodes.reverse()
    assert_names(message_of(graph.model(y)), "'Neg.2'", "'relu_1_0'", "topological order")
    cyclic = Graph()
    x = cyclic.input("x", (2, 3))
    cyclic.node("Add", x, "b", outputs=["a"])
    cyclic.node("Neg", "a", outputs=["b"])
    assert_names(message_of(cyclic.model("b")), "'Add.1'", "'b'")


def test_inputs_that_are_no_tensors_or_have_no_shape_are_refused_by_name() -> None:
    graph = Graph()
    assert_names(message_of(graph.model(graph.node("Neg", graph.input("x", None)))), "'x'", "no shape")
    graph = Graph()
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, (2,)))
    graph.inputs.append(helper.make_value_info("xs", kind))
    assert_names(
        message_of(graph.model(graph.node("SequenceAt", "xs", graph.constant(0, np.int64)))), "'xs'", "not a tensor"
    )


@pytest.mark.parametrize("size", [0, -1])
def test_an_input_axis_of_no_or_negative_size_is_refused_by_name(size: int) -> None:
    graph = Graph()
    model = graph.model(graph.node("Neg", graph.input("x", (2, size))))
    assert_names(message_of(model), "axis 1", "'x'", str(size))


def test_an_element_type_that_we_cannot_count_is_refused_by_name() -> None:
    graph = Graph()
    model = graph.model(graph.node("Neg", graph.input("x", (2,), TensorProto.COMPLEX64)))
    assert_names(message_of(model), "'x'", "14", "not supported")


def test_strings_pass_through_data_movement() -> None:
    graph = Graph()
    words = graph.constant(np.array(["a", "b", "c"], object), name="words")
    index = graph.input("index", (2,), TensorProto.INT64)
    work = load_onnx(graph.model(graph.node("Gather", words, index)))
    assert shapes_of(work)[work.outputs[0]] == (2,)


def test_data_that_do_not_fit_their_shape_are_refused_by_name() -> None:
    graph = Graph()
    model = graph.model(graph.node("Add", graph.input("x", (4,)), graph.constant([1, 2, 3, 4], np.float32, "w")))
    model.graph.initializer[0].dims[0] = 3
    assert_names(message_of(model), "'w'", "(3,)", "export")


def test_duplicate_and_missing_node_names_become_unique() -> None:
    graph = Graph()
    x = graph.input("x", (2, 3))
    for _ in range(3):
        x = graph.node("Relu", x)
    for name in ("same", "", ""):
        x = graph.node("Neg", x)
        graph.nodes[-1].name = name
    for node in graph.nodes[:3]:
        node.name = "same"
    work = load_onnx(graph.model(x))
    names = [op.name for op in work]
    assert len(set(names)) == 6
    assert [node for op in work for node in op.nodes] == names


def test_every_damaged_shape_in_one_graph_is_an_explanation_not_a_crash() -> None:
    """Change one dim of one initializer or constant at a time: only a WorkloadError may come out."""
    model = onnx.load(str(FIXTURES / "bert_tiny_legacy_dynamic.onnx"), load_external_data=False)
    for tensor in model.graph.initializer:
        for position, extent in enumerate(tensor.dims):
            for size in (extent + 1, 1, -1):
                tensor.dims[position] = size
                loads_or_explains(model, missing_weights="allow", batch=1, seq=8)
            tensor.dims[position] = extent


@pytest.mark.parametrize(
    ("key", "value"), [("offset", "-8"), ("offset", "abc"), ("offset", "4096"), ("length", "99999")]
)
def test_external_data_that_does_not_lie_in_its_file_is_refused(tmp_path: Path, key: str, value: str) -> None:
    weight = onnx.TensorProto(name="w", dims=[4, 4], data_type=1, data_location="EXTERNAL")
    entries = {"location": "w.bin", "offset": "0", "length": "64"} | {key: value}
    for name, text in entries.items():
        entry = weight.external_data.add()
        entry.key, entry.value = name, text
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    ports = [onnx.helper.make_tensor_value_info(name, 1, [2, 4]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", ports[:1], ports[1:], [weight])
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    (tmp_path / "w.bin").write_bytes(bytes(64))
    with pytest.raises(WorkloadError, match="initializer 'w' wants"):
        load_onnx(path)
