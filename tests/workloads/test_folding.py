"""Constant folding against ONNX Runtime on the arithmetic that exporters leave in a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from onnx.helper import get_attribute_value

from tests.workloads.graphs import Graph, check_against_runtime, run, single
from workloads.onnx import Node
from workloads.onnx.folding import LIMIT, fold, sliced

Array = NDArray[Any]
numbers = st.integers(-9, 9)
vectors = st.lists(numbers, min_size=1, max_size=5).map(lambda values: np.array(values, np.int64))
arrays = hnp.arrays(np.int64, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), elements=numbers)


def i(*values: int) -> Array:
    return np.array(values, np.int64)


def folded(op_type: str, inputs: list[Array | None], opset: int = 17, **attributes: Any) -> list[Array] | None:
    model, _ = single(op_type, inputs, opset=opset, **attributes)
    (proto,) = model.graph.node
    known = {item.name: get_attribute_value(item) for item in proto.attribute}
    node = Node(proto.name, op_type, "", tuple(proto.input), tuple(proto.output), known)
    return fold(node, inputs)


def assert_folds_like_the_runtime(op_type: str, inputs: list[Array | None], opset: int = 17, **attributes: Any) -> None:
    model, feeds = single(op_type, inputs, opset=opset, **attributes)
    truth = run(model, feeds)["y0"]
    result = folded(op_type, inputs, opset, **attributes)
    assert result is not None
    assert result[0].dtype == truth.dtype
    assert result[0].shape == truth.shape
    np.testing.assert_array_equal(result[0], truth)


@settings(max_examples=40)
@given(op_type=st.sampled_from(["Add", "Sub", "Mul"]), a=vectors, b=numbers)
def test_integer_arithmetic(op_type: str, a: Array, b: int) -> None:
    assert_folds_like_the_runtime(op_type, [a, np.array(b)])


@settings(max_examples=60)
@given(a=vectors, b=numbers.filter(bool), fmod=st.booleans())
def test_division_truncates_and_the_remainder_follows_its_mode(a: Array, b: int, fmod: bool) -> None:
    assert_folds_like_the_runtime("Div", [a, np.array(b)])
    assert_folds_like_the_runtime("Mod", [a, np.array(b)], fmod=int(fmod))


@settings(max_examples=30)
@given(op_type=st.sampled_from(["Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"]), a=vectors, b=numbers)
def test_comparisons(op_type: str, a: Array, b: int) -> None:
    assert_folds_like_the_runtime(op_type, [a, np.array(b)])


@settings(max_examples=80)
@given(a=arrays, data=st.data())
def test_slices_with_any_start_end_and_step(a: Array, data: st.DataObject) -> None:
    bound = numbers | st.sampled_from([2**63 - 1, -(2**63), 2**31 - 1, -(2**31)])
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    start, end, step = data.draw(bound), data.draw(bound), data.draw(st.integers(-3, 3).filter(bool))
    assume(step > 0 or end < 2**31 - 1)  # the specification and the runtime read that differently
    assert_folds_like_the_runtime("Slice", [a, i(start), i(end), i(axis), i(step)])


@given(start=numbers, end=numbers, step=st.integers(1, 3), extent=st.integers(0, 6))
def test_a_forward_slice_is_that_of_python(start: int, end: int, step: int, extent: int) -> None:
    assert list(sliced(start, end, step, extent)) == list(range(extent))[start:end:step]


@settings(max_examples=40)
@given(a=arrays, data=st.data())
def test_gathers_from_both_ends_along_any_axis(a: Array, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    index = st.integers(-a.shape[axis], a.shape[axis] - 1)
    indices = data.draw(index | st.lists(index, min_size=1, max_size=3))
    assert_folds_like_the_runtime("Gather", [a, np.array(indices, np.int64)], axis=axis)


@settings(max_examples=30)
@given(a=vectors, b=vectors)
def test_concatenation_and_selection(a: Array, b: Array) -> None:
    assert_folds_like_the_runtime("Concat", [a, b, a], axis=0)
    assert_folds_like_the_runtime("Where", [a > 0, a, np.array(7)])


@settings(max_examples=40)
@given(start=numbers, end=numbers, step=st.integers(-4, 4).filter(bool), real=st.booleans())
def test_ranges(start: int, end: int, step: int, real: bool) -> None:
    scale = np.float32(0.5) if real else np.int64(1)
    assert_folds_like_the_runtime("Range", [np.array(value * scale) for value in (start, end, step)])


@settings(max_examples=30)
@given(a=hnp.arrays(np.float32, 4, elements=st.floats(-100, 100, width=32)), to=st.sampled_from([1, 6, 7, 9, 10, 11]))
def test_casts_truncate_toward_zero(a: Array, to: int) -> None:
    assert_folds_like_the_runtime("Cast", [a], to=to)


@settings(max_examples=40)
@given(a=arrays, data=st.data())
def test_reshape_with_zero_and_minus_one(a: Array, data: st.DataObject) -> None:
    shape = list(a.shape)
    for position in range(len(shape)):
        if data.draw(st.booleans()):
            shape[position] = 0
    if data.draw(st.booleans()):
        shape[data.draw(st.integers(0, len(shape) - 1))] = -1
    assert_folds_like_the_runtime("Reshape", [a, np.array(shape, np.int64)])


def test_reshape_keeps_a_zero_that_is_meant() -> None:
    assert_folds_like_the_runtime("Reshape", [np.zeros((0, 3), np.int64), i(3, 0)], allowzero=1)


@settings(max_examples=40)
@given(a=arrays, data=st.data())
def test_axes_come_and_go(a: Array, data: st.DataObject) -> None:
    rank = a.ndim + 2
    axes = data.draw(st.lists(st.integers(-rank, rank - 1), min_size=2, max_size=2, unique_by=lambda at: at % rank))
    assert_folds_like_the_runtime("Unsqueeze", [a, np.array(axes)])
    wide = np.expand_dims(a, tuple(at % rank for at in axes))
    assert_folds_like_the_runtime("Squeeze", [wide, np.array(axes)])
    assert_folds_like_the_runtime("Squeeze", [wide])


@settings(max_examples=30)
@given(a=arrays, keep=st.integers(0, 1), op_type=st.sampled_from(["ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin"]))
def test_reductions(a: Array, keep: int, op_type: str) -> None:
    assume(float(np.prod(np.maximum(np.abs(a), 1), dtype=float)) < 2**53)  # beyond it the runtime's product rounds
    if op_type == "ReduceProd":
        a = np.sign(a) * np.minimum(np.abs(a), 2)  # the runtime multiplies in floating point: exact up to 2^53
    assert_folds_like_the_runtime(op_type, [a], keepdims=keep)
    assert_folds_like_the_runtime(op_type, [a, i(-1)], opset=18, keepdims=keep)


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes"),
    [
        ("Expand", [i(1, 2), i(3, 2)], {}),
        ("Expand", [np.array([[True], [False]]), i(1, 3)], {}),
        ("Expand", [i(1, 2, 3), i(1)], {}),
        ("Tile", [i(1, 2), i(3)], {}),
        ("Transpose", [np.arange(6).reshape(2, 3)], {}),
        ("Neg", [i(1, -2)], {}),
        ("Sqrt", [np.array([64.0], np.float32)], {}),
        ("Ceil", [np.array([1.2, -1.2], np.float32)], {}),
        ("Floor", [np.array([1.2, -1.2], np.float32)], {}),
        ("Not", [np.array([True, False])], {}),
        ("And", [np.array([True, False]), np.array([True, True])], {}),
        ("Max", [i(1, 5), i(3)], {}),
        ("Min", [i(1, 5), i(3)], {}),
        ("Trilu", [np.ones((3, 3), np.int64)], {"upper": 0}),
        ("CumSum", [i(1, 2, 3), np.array(0)], {}),
        ("Pow", [i(2, 3), i(2)], {}),
        ("Abs", [i(-2, 3)], {}),
        ("ScatterND", [i(1, 2, 3), np.array([[1]]), i(9)], {}),
        ("Div", [np.array([1.0], np.float32), np.array(3.0, np.float32)], {}),
        ("Identity", [i(4)], {}),
        ("Flatten", [np.arange(24).reshape(2, 3, 4)], {"axis": 2}),
        ("Flatten", [np.arange(24).reshape(2, 3, 4)], {"axis": -1}),
        ("GatherElements", [np.arange(6).reshape(2, 3), np.array([[0, -1], [2, 1]])], {"axis": 1}),
        ("GatherND", [np.arange(6).reshape(2, 3), np.array([[0, 1], [-1, 2]])], {}),
        ("GatherND", [np.arange(6).reshape(2, 3), np.array([[1], [0]])], {}),
        ("ScatterElements", [i(1, 2, 3), i(2, 0), i(7, 9)], {}),
        ("ScatterND", [np.arange(6).reshape(2, 3), np.array([[1]]), np.array([[7, 8, 9]])], {}),
        ("Pad", [np.arange(4).reshape(2, 2), i(1, 0, 0, 2), np.array(7)], {}),
        ("Pad", [np.arange(4).reshape(2, 2), i(1, 0, 0, 2)], {}),
        ("Tile", [np.arange(4).reshape(2, 2), i(2, 3)], {}),
        ("Transpose", [np.arange(24).reshape(2, 3, 4)], {"perm": [1, 2, 0]}),
        ("Trilu", [np.ones((3, 4), np.int64), np.array(1)], {}),
        ("NonZero", [i(0, 3, 0, 4)], {}),
        ("ArgMax", [np.array([[3, 9], [8, 1]])], {"axis": 1, "keepdims": 0}),
        ("ArgMin", [np.array([[3, 9], [8, 1]])], {"axis": 0}),
        ("CumSum", [i(1, 2, 3), np.array(0)], {"exclusive": 1}),
        ("CumSum", [i(1, 2, 3), np.array(0)], {"reverse": 1}),
        ("CumSum", [i(1, 2, 3), np.array(0)], {"exclusive": 1, "reverse": 1}),
        ("Clip", [i(1, 5, 9), np.array(2), np.array(7)], {}),
        ("Clip", [i(1, 5, 9), None, np.array(7)], {}),
        ("Max", [i(1, 2), i(3, 0), i(2, 6)], {}),
        ("Sign", [i(-3, 0, 2)], {}),
        ("Round", [np.array([0.5, 1.5, -2.5], np.float32)], {}),
        ("Reciprocal", [np.array([2.0, 4.0], np.float32)], {}),
        ("Or", [np.array([True, False]), np.array([False, False])], {}),
        ("Xor", [np.array([True, False]), np.array([True, True])], {}),
        ("Where", [np.array([True, False]), i(1, 2), i(3, 4)], {}),
        ("IsNaN", [np.array([1.0, np.nan], np.float32)], {}),
        ("CastLike", [np.array([1.7, -1.7], np.float32), i(0)], {}),
        ("ReduceMean", [np.array([[1.0, 2.0], [3.0, 5.0]], np.float32)], {"axes": [1], "keepdims": 0}),
        ("Sum", [np.array([1.0, 2.0], np.float32), np.array([3.0, 4.0], np.float32)], {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_operators_of_shape_arithmetic(
    op_type: str, inputs: list[Array | None], attributes: dict[str, Any]
) -> None:
    assert_folds_like_the_runtime(op_type, inputs, **attributes)


@pytest.mark.parametrize("op_type", ["Cos", "Sin", "Exp", "Log", "Tanh", "Sqrt"])
def test_functions_of_position_tables_are_those_of_the_runtime(op_type: str) -> None:
    values = np.linspace(0.1, 3, 7, dtype=np.float32)
    model, feeds = single(op_type, [values])
    result = folded(op_type, [values])
    assert result is not None
    np.testing.assert_allclose(result[0], run(model, feeds)["y0"], rtol=3e-7)


@pytest.mark.parametrize("sizes", [None, [1, 2, 3], [0, 6, 0]])
def test_splits_into_equal_and_given_parts(sizes: list[int] | None) -> None:
    inputs: list[Array | None] = [np.arange(12).reshape(2, 6), *([] if sizes is None else [i(*sizes)])]
    model, feeds = single("Split", inputs, constant=[1], outputs=3, axis=1)
    truth = run(model, feeds)
    (proto,) = model.graph.node
    node = Node(proto.name, "Split", "", tuple(proto.input), tuple(proto.output), {"axis": 1})
    result = fold(node, inputs)
    assert result is not None
    for name, part in zip(truth, result, strict=True):
        np.testing.assert_array_equal(part, truth[name])


@pytest.mark.parametrize(
    ("op_type", "inputs"),
    [
        ("Tile", [np.ones((2, 2)), i(2**40, 2)]), ("Range", [np.array(0), np.array(2**40), np.array(1)]),
        ("Pad", [np.ones((2, 2)), i(0, 0, 2**40, 0)]), ("Add", [np.ones((60000, 1)), np.ones(60000)]),
        ("Concat", [np.ones(40000), np.ones(40000)]), ("Gather", [np.ones((2, 60000)), np.zeros((9, 9), np.int64)]),
        ("Expand", [i(1), i(2**62, 4)]), ("Slice", [i(*range(100)), i(*[0] * 100), i(*[9] * 100), i(*[0] * 100)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_would_be_large_is_never_made(op_type: str, inputs: list[Array]) -> None:
    attributes = {"axis": 0} if op_type in ("Concat", "Gather") else {}
    names = tuple(f"x{at}" for at in range(len(inputs)))
    assert fold(Node("n", op_type, "", names, ("y",), attributes), inputs) is None


def test_what_cannot_be_evaluated_is_left_to_its_shape() -> None:
    assert folded("Div", [i(4), i(0)]) is None
    assert folded("Gather", [i(1, 2), i(5)]) is None
    assert folded("Expand", [i(1), i(LIMIT + 1)]) is None


expression = st.recursive(
    st.sampled_from(["batch", "seq", "width"]) | st.integers(1, 5),
    lambda inner: st.tuples(st.sampled_from(["Add", "Mul", "Sub", "Div", "Max", "Mod"]), inner, inner),
    max_leaves=6,
)


@settings(max_examples=60)
@given(tree=expression, batch=st.integers(1, 3), seq=st.integers(1, 6))
def test_any_expression_of_sizes_becomes_the_shape_that_the_runtime_computes(tree: Any, batch: int, seq: int) -> None:
    graph = Graph()
    shape = graph.node("Shape", graph.input("x", ("batch", "seq", 4)))

    def build(item: Any) -> str:
        if isinstance(item, tuple):
            left, right = build(item[1]), build(item[2])
            if item[0] in ("Div", "Mod"):  # never by zero
                right = graph.node("Max", right, graph.constant(1, np.int64))
            return str(graph.node(item[0], left, right))
        if isinstance(item, int):
            return graph.constant(item, np.int64)
        position = graph.constant(["batch", "seq", "width"].index(item), np.int64)
        return str(graph.node("Gather", shape, position, axis=0))

    bounded = graph.node("Clip", build(tree), graph.constant(1, np.int64), graph.constant(50, np.int64))
    target = graph.node("Unsqueeze", bounded, graph.constant([0], np.int64))
    model = graph.model(graph.node("Expand", graph.input("one", (1,)), target))
    feeds = {"x": np.zeros((batch, seq, 4), np.float32), "one": np.zeros(1, np.float32)}
    work, _ = check_against_runtime(model, feeds, batch=batch, seq=seq)
    assert [op.op_type for op in work] == ["Expand"]


def test_an_opset_of_the_file_decides_how_the_reference_reads_a_node() -> None:
    graph = Graph(12)
    x = graph.input("x", (2, 3, 4))
    total = graph.node("ReduceSum", graph.node("Shape", x), axes=[0], keepdims=1)
    model = graph.model(graph.node("Expand", graph.input("one", (1,)), total))
    work, _ = check_against_runtime(model, {"x": np.zeros((2, 3, 4), np.float32), "one": np.zeros(1, np.float32)})
    assert [op.op_type for op in work] == ["Expand"]
