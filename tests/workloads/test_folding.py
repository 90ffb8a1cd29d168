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
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_operators_of_shape_arithmetic(
    op_type: str, inputs: list[Array | None], attributes: dict[str, Any]
) -> None:
    assert_folds_like_the_runtime(op_type, inputs, **attributes)


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
