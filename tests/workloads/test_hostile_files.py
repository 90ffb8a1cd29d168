"""What a file may ask for: no file but those beside it, no memory or time that its size does not explain.

Minimal cases, one by one; tests/fuzz makes thousands more.
"""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.workloads.flow_graphs import Body, model_of, tensor, two_branches
from tests.workloads.graphs import Graph, shapes_of
from workloads import WorkloadError, load_onnx, load_program, peak_bytes
from workloads.onnx.limits import MAX_AXES, MAX_DEPTH

HUGE = 2**40
I64 = np.int64


def message_of(source: Any, **options: Any) -> str:
    with pytest.raises(WorkloadError) as caught:
        load_onnx(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 5000
    return message


def cheaply(load: Callable[[], Any], seconds: float = 1.0, megabytes: float = 30) -> Any:
    """Load something in little CPU time and memory."""
    load_onnx(two_branches(True))  # imports
    tracemalloc.start()
    try:
        start = time.process_time()
        result = load()
        taken, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < seconds
    assert peak < megabytes * 1e6
    return result


# ---------------------------------------------------------------------------------------------------------------------
# Files


def surroundings(root: Path) -> Path:
    """Make a model's folder with all kinds of things beside the model."""
    folder = root / "model"
    (folder / "folder").mkdir(parents=True)
    (root / "secret").write_bytes(bytes(1024))
    (folder / "good").write_bytes(bytes(64) + np.array([4, 4], I64).tobytes() + bytes(64))
    (folder / "link").symlink_to(root / "secret")
    (folder / "inner_link").symlink_to(folder / "good")
    (folder / "circle").symlink_to(folder / "circle")
    (folder / "zero").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    return folder


def moved(item: TensorProto, location: str, offset: int | str = 64, length: int | str = 16) -> TensorProto:
    """Let a tensor keep its data elsewhere."""
    item.ClearField("raw_data")
    item.data_location = TensorProto.EXTERNAL
    del item.external_data[:]
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        item.external_data.add(key=key, value=str(value))
    return item


def stored_shape(location: str, **place: Any) -> onnx.ModelProto:
    """Reshape x (2, 8) to a shape that lies in another file."""
    main = Body("main", [tensor("x", (2, 8))]).store("shape", [4, 4], I64).node("Reshape", ["x", "shape"], ["y"])
    model = model_of(main.graph("y"))
    moved(model.graph.initializer[0], location, **place)
    return model


def in_constant(location: str) -> onnx.ModelProto:
    main = Body("main", [tensor("x", (2, 8))])
    main.node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array([4, 4]), "value"))
    main.node("Reshape", ["x", "shape"], ["y"])
    model = model_of(main.graph("y"))
    moved(model.graph.node[0].attribute[0].t, location)
    return model


def in_branch(location: str) -> onnx.ModelProto:
    model = two_branches(True)
    (body,) = [item.g for item in model.graph.node[1].attribute if item.g.initializer]
    moved(body.initializer[0], location)
    return model


def in_function(location: str) -> onnx.ModelProto:
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array([4, 4]), "value"))
    moved(constant.attribute[0].t, location)
    nodes = [constant, helper.make_node("Reshape", ["a", "c"], ["b"])]
    own = helper.make_function("own", "F", ["a"], ["b"], nodes, [helper.make_opsetid("", 17)])
    main = Body("main", [tensor("x", (2, 8))]).node("F", ["x"], ["y"], domain="own")
    return model_of(main.graph("y"), domains=["own"], functions=[own])


def in_fill(location: str) -> onnx.ModelProto:
    main = Body("main", [tensor("x", (2, 8))]).store("shape", [2, 8], I64)
    main.node("ConstantOfShape", ["shape"], ["c"], value=numpy_helper.from_array(np.array([4.0]), "value"))
    main.node("Add", ["x", "c"], ["y"])
    model = model_of(main.graph("y"))
    moved(model.graph.node[0].attribute[0].t, location)
    return model


def in_sparse(location: str) -> onnx.ModelProto:
    main = Body("main", [tensor("x", (2, 8))]).node("MatMul", ["x", "w"], ["y"])
    values = numpy_helper.from_array(np.ones(2, np.float32), "w")
    model = model_of(main.graph("y"))
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(np.arange(2)), [8, 4])
    )
    moved(model.graph.sparse_initializer[0].values, location)
    return model


PLACES = (stored_shape, in_constant, in_branch, in_function, in_fill, in_sparse)
OUTSIDE = (
    "/etc/passwd", "../secret", "folder/../../secret", "link", "zero", "circle", "", "C:\\x", "..\\x", "x\0",
)  # fmt: skip


@pytest.mark.parametrize("missing", ["error", "allow"])
@pytest.mark.parametrize("make", PLACES, ids=lambda make: make.__name__)
def test_no_tensor_anywhere_may_keep_its_data_outside_of_the_folder(make: Any, missing: Any, tmp_path: Path) -> None:
    folder = surroundings(tmp_path)
    for location in OUTSIDE:
        (folder / "m.onnx").write_bytes(make(location).SerializeToString())
        message = message_of(folder / "m.onnx", missing_weights=missing)
        assert "outside the model's folder" in message, location


@pytest.mark.parametrize("location", ["pipe", "folder", "nothing", "good/more", "a" * 300, "a/" * 3000])
@pytest.mark.parametrize("make", PLACES, ids=lambda make: make.__name__)
def test_what_is_no_regular_file_is_missing(make: Any, location: str, tmp_path: Path) -> None:
    """Opening the pipe would wait forever."""
    folder = surroundings(tmp_path)
    (folder / "m.onnx").write_bytes(make(location).SerializeToString())
    message = message_of(folder / "m.onnx")
    assert "is missing" in message or (len(location) > 1000 and "outside" in message)
    try:
        load_onnx(folder / "m.onnx", missing_weights="allow")
    except WorkloadError as error:
        assert "run-time data" in str(error) or "outside" in str(error)  # noqa: PT017  # a shape that nobody knows


@pytest.mark.parametrize("location", ["good", "./good", "inner_link"])
def test_a_small_shape_in_another_file_is_read(location: str, tmp_path: Path) -> None:
    folder = surroundings(tmp_path)
    (folder / "m.onnx").write_bytes(stored_shape(location).SerializeToString())
    assert shapes_of(load_onnx(folder / "m.onnx"))["y"] == (4, 4)


@pytest.mark.parametrize(
    ("offset", "length"), [(-8, 16), (64, -16), (2**70, 16), (64, 2**70), (140, 16), ("x", 16), (64, "1e3"), ("", "")]
)
def test_data_beyond_the_end_of_its_file_is_refused(offset: Any, length: Any, tmp_path: Path) -> None:
    folder = surroundings(tmp_path)
    (folder / "m.onnx").write_bytes(stored_shape("good", offset=offset, length=length).SerializeToString())
    assert "wants" in message_of(folder / "m.onnx")
    with pytest.raises(WorkloadError):
        load_onnx(folder / "m.onnx", missing_weights="allow")


def test_a_model_in_memory_reads_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(surroundings(tmp_path))
    with pytest.raises(WorkloadError, match="run-time data"):
        load_onnx(stored_shape("good"))


@pytest.mark.parametrize("name", ["pipe", "zero", "folder", "circle", "nothing", "a" * 300, "good\0", "secret/.."])
def test_a_model_that_is_no_regular_file_is_refused(name: str, tmp_path: Path) -> None:
    folder = surroundings(tmp_path)
    message_of(folder / name)


def test_a_file_larger_than_a_message_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(3 << 30)
    assert "2 GiB" in cheaply(lambda: message_of(path))


# ---------------------------------------------------------------------------------------------------------------------
# Sizes


def one(
    op_type: str, *arrays: Any, x: Sequence[int] | None = None, opset: int = 17, **attributes: Any
) -> onnx.ModelProto:
    """Make a graph of one node; x is its first input, arrays are stored."""
    graph = Graph(opset)
    names = [] if x is None else [graph.input("x", x)]
    names += ["" if array is None else graph.constant(array) for array in arrays]
    out = graph.node(op_type, *names, **attributes)
    reader = graph.node("Add", out, graph.input("r", (1,))) if op_type != "Range" else graph.node("Identity", out)
    return graph.model(reader)


BOMBS: dict[str, onnx.ModelProto] = {
    "ConstantOfShape": one("ConstantOfShape", np.array([HUGE, 2**20])),
    "Expand": one("Expand", np.ones(1, np.float32), np.array([HUGE, 64])),
    "Tile": one("Tile", np.ones((2, 2), np.float32), np.array([HUGE, 2**18])),
    "Range": one("Range", np.array(0), np.array(2**62), np.array(1)),
    "Range of floats": one("Range", np.array(0, np.float32), np.array(1e30, np.float32), np.array(1e12, np.float32)),
    "Pad": one("Pad", np.ones((2, 2), np.float32), np.array([HUGE, 0, 0, 2**20])),
    "Resize": one("Resize", None, None, np.array([1, 1, HUGE, 2**20]), x=(1, 1, 2, 2), mode="nearest"),
    "OneHot": one("OneHot", np.zeros(3, I64), np.array(HUGE), np.array([0, 1], np.float32)),
    "Gather": one("Gather", np.ones((4, 60000), np.float32), np.zeros((250, 250), I64)),
    "EyeLike": one("EyeLike", x=(HUGE, 2**20)),
    "Conv": one("Conv", np.ones((1, 1, 3, 3), np.float32), x=(1, 1, HUGE, 2**20)),
    "AveragePool": one("AveragePool", x=(1, 1, HUGE, 64), kernel_shape=[2**20, 1], strides=[2**20, 1]),
    "Einsum": one("Einsum", x=(HUGE, 2**20), equation="ij->ij"),
    "Reshape": one("Reshape", np.array([2**31, 2**29]), x=(2**30, 2**30)),
    "Split": one("Split", x=(HUGE, 2), num_outputs=1, opset=18),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_gigantic_results_are_shapes_or_messages_and_never_arrays(name: str) -> None:
    def load() -> None:
        try:
            work = load_onnx(BOMBS[name])
        except WorkloadError:
            return
        assert 0 <= float(work.flops()) < np.inf
        assert 0 <= float(work.dram_bytes()) < np.inf
        assert 0 <= float(peak_bytes(work)) < np.inf

    cheaply(load)


def test_a_window_over_a_gigantic_input_is_counted_exactly() -> None:
    """A 3 x 3 filter over an image of 2^40 x 8, padded: it reads every value, and every place is an output."""
    work = load_onnx(one("Conv", np.ones((1, 1, 3, 3), np.float32), x=(1, 1, HUGE, 8), pads=[1, 1, 1, 1]))
    conv = work.operators[0]
    assert conv.points() == HUGE * 8 * 9
    assert conv.inputs[0].values(conv.dims) == conv.outputs[0].values(conv.dims) == HUGE * 8
    strided = load_onnx(one("Conv", np.ones((1, 1, 1, 1), np.float32), x=(1, 1, HUGE, 8), strides=[4, 2]))
    assert strided.operators[0].inputs[0].values(strided.operators[0].dims) == HUGE // 4 * 4


@pytest.mark.parametrize("op_type", ["Concat", "Add", "Mul", "Pow"])
@pytest.mark.parametrize("value", [np.array(["a"], object), np.array([2, 3])])
def test_data_that_double_in_every_node_stop_being_kept(op_type: str, value: Any) -> None:
    main = Body("main", [tensor("x", (2, 4))]).store("s0", value)
    attributes = {"axis": 0} if op_type == "Concat" else {}
    for index in range(200):
        main.node(op_type, [f"s{index}", f"s{index}"], [f"s{index + 1}"], **attributes)
    main.node("Expand", ["x", "s200"], ["y"])
    with pytest.raises(WorkloadError):
        cheaply(lambda: load_onnx(model_of(main.graph("y"))), seconds=2)


def test_many_arrays_of_the_largest_size_are_not_all_kept() -> None:
    """Six hundred arrays of half a megabyte, and what is made of them, are 0.6 GB."""
    main = Body("main", [tensor("x", (1,))]).store("one", np.zeros(1, I64)).store("shape", [65536], I64)
    for index in range(600):
        main.node("Expand", ["one", "shape"], [f"e{index}"]).node("Neg", [f"e{index}"], [f"n{index}"])
    main.node("Neg", ["x"], ["y"])
    cheaply(lambda: load_onnx(model_of(main.graph("y"))), seconds=3, megabytes=250)


@pytest.mark.parametrize(
    ("dims", "part"),
    [((-1, 4), "impossible shape"), ((2**62, 4), "more values than"), ((1,) * (MAX_AXES + 1), "axes"),
     ((5, 4), "do not fit"), ((2**63 - 1,) * 20000, "axes")],
    ids=["negative", "overflow", "many axes", "no data", "twenty thousand"],
)  # fmt: skip
def test_a_stored_shape_that_its_data_do_not_fill_is_refused(dims: tuple[int, ...], part: str) -> None:
    main = Body("main", [tensor("x", (2, 4))]).store("w", np.ones((4, 4)), np.float32).node("MatMul", ["x", "w"], ["y"])
    model = model_of(main.graph("y"))
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend(dims)
    assert part in cheaply(lambda: message_of(model))


def test_a_sparse_tensor_is_never_unpacked() -> None:
    model = in_sparse("unused")
    sparse = model.graph.sparse_initializer[0]
    sparse.values.ClearField("external_data")
    sparse.values.data_location = TensorProto.DEFAULT
    sparse.dims[1] = HUGE
    work = cheaply(lambda: load_onnx(model))
    assert work.weight_bytes() == 8 * HUGE * 4
    sparse.dims[0] = 2**62
    assert "more values" in message_of(model)


def test_an_input_of_impossible_size_is_refused_whoever_asks_for_it() -> None:
    graph = Graph()
    model = graph.model(graph.node("Neg", graph.input("x", ("batch", 2**40))))
    assert "more values than" in message_of(model, batch=2**40)
    assert load_onnx(model, batch=2).flops() == 2**41


# ---------------------------------------------------------------------------------------------------------------------
# Names and nesting


def test_nothing_is_written_twice() -> None:
    def model(*nodes: tuple[str, str], stored: Sequence[str] = (), inputs: Sequence[str] = ("x",)) -> onnx.ModelProto:
        main = Body("main", [tensor(name, (2, 4)) for name in inputs])
        for name in stored:
            main.store(name, np.ones((2, 4)), np.float32)
        for index, (source, target) in enumerate(nodes):
            main.node("Neg", [source], [target], name=f"n{index}")
        return model_of(main.graph("y"))

    assert "'n1'" in message_of(model(("x", "y"), ("y", "y")))
    assert "'x'" in message_of(model(("x", "x")))
    assert "'w' is stored twice" in message_of(model(("x", "y"), stored=["w", "w"]))
    assert "'w'" in message_of(model(("x", "w"), ("w", "y"), stored=["w"]))
    assert "two inputs" in message_of(model(("x", "y"), inputs=["x", "x"]))
    main = Body("main", [tensor("x", (2, 4))]).node("Split", ["x"], ["y", "y"], axis=1)
    assert "'y'" in message_of(model_of(main.graph("y")))


def test_bodies_nested_deeper_than_any_file_are_refused() -> None:
    """A message in memory may be deeper than what a parser reads."""
    graph = Body("b").node("Neg", ["x"], ["o"]).graph("o")
    model = onnx.ModelProto()
    target = model.graph
    for _ in range(MAX_DEPTH + 5):
        node = target.node.add(op_type="If", input=["flag"], output=["o"])
        node.attribute.add(name="else_branch", type=onnx.AttributeProto.GRAPH).g.CopyFrom(graph)
        inner = node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH)
        target.output.add(name="o")
        target = inner.g
    target.CopyFrom(graph)
    model.graph.input.append(tensor("x", (2,)))
    model.graph.input.append(tensor("flag", (), TensorProto.BOOL))
    model.opset_import.add(version=17)
    for load in (load_onnx, load_program):
        with pytest.raises(WorkloadError, match="deep"):
            load(model)


def test_a_message_is_one_line_of_bounded_length_whatever_a_file_calls_its_nodes() -> None:
    graph = Graph()
    x = graph.input("x\ny" + "z" * 100_000, ("a\nb", 2))
    model = graph.model(graph.node("Unheard", x))
    assert "a\\nb" in message_of(model)
    assert "[...]" in message_of(model, **{"a\nb": 2}) or len(message_of(model, **{"a\nb": 2})) < 4000
    model.graph.node[0].name = "n\n" * 50_000
    message_of(model, **{"a\nb": 2})


@pytest.mark.parametrize("where", ["node", "output", "initializer", "input"])
def test_a_name_that_is_no_text_is_refused(where: str, tmp_path: Path) -> None:
    main = Body("main", [tensor("input_name", (2, 4))]).store("initializer_name", np.ones((2, 4)), np.float32)
    main.node("Add", ["input_name", "initializer_name"], ["output_name"], name="node_name")
    content = model_of(main.graph("output_name")).SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(content.replace(f"{where}_name".encode(), b"\xff" * len(f"{where}_name")))
    assert "not text" in message_of(path)


# ---------------------------------------------------------------------------------------------------------------------
# What the fuzzer found

FOUND: dict[str, onnx.ModelProto] = {
    "an axis that is inserted twice": one("Unsqueeze", np.array([-3, 0]), x=(2,)),
    "an infinite scale": one("Resize", None, np.array([1, 1, 3e38, 2], np.float32), x=(1, 1, 2, 2)),
    "a scale that is no number": one("Resize", None, np.array([1, 1, np.nan, 2], np.float32), x=(1, 1, 2, 2)),
    "a split into 2^62": one("Split", x=(4, 2), num_outputs=2**62, opset=18),
    "a negative group": one("Conv", np.ones((4, -4 % 5, 3, 3), np.float32), x=(1, 4, 8, 8), group=-(2**40)),
    "a kernel of 2^31": one("MaxPool", x=(1, 1, 2**40, 3), kernel_shape=[2**31, 1], dilations=[2**20, 1]),
    "a stride of zero": one("MaxPool", x=(1, 1, 8, 8), kernel_shape=[2, 2], strides=[0, 1]),
    "a dilation of zero": one("Conv", np.ones((1, 1, 3, 3), np.float32), x=(1, 1, 8, 8), dilations=[0, -1]),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_the_fuzzer_found_stays_mended(name: str) -> None:
    assert "node '" in cheaply(lambda: message_of(FOUND[name]))
