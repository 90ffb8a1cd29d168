"""The ONNX loader against ONNX Runtime, op by op, and against independent counts, model by model."""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper

from tests.workloads.graphs import Graph, check_against_runtime, run, shapes_of, single
from workloads import FORMATS, Operator, Workload, peak_bytes
from workloads.onnx import load_onnx, named_nodes

ZOO = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
REFERENCE = Path(__file__).parent.parent / "golden" / "reference" / "onnx_zoo"
FIXTURES = Path(__file__).parent.parent / "fixtures"
RNG = np.random.default_rng(0)

Array = NDArray[Any]
Case = tuple[tuple[Any, ...], dict[str, Any]]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def bindings(row: dict[str, str]) -> dict[str, Any]:
    return {name: int(size) for name, size in (item.split("=") for item in row["bindings"].split(";") if item)}


# ---------------------------------------------------------------------------------------------------------------------
# Whole models


@lru_cache
def zoo_model(name: str) -> onnx.ModelProto:
    return onnx.load(str(ZOO / f"{name}.onnx"))


def macs_by_shape_inference(model: onnx.ModelProto) -> int:
    """Count with the shapes of onnx's own inference: output values x filter volume."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        item.name: [dim.dim_value for dim in item.type.tensor_type.shape.dim]
        for item in (*graph.value_info, *graph.input, *graph.output)
    }
    shapes |= {item.name: list(item.dims) for item in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            weight = shapes[node.input[1]]
            transposed = any(item.name == "transB" and item.i for item in node.attribute)
            volume = math.prod(weight[1:]) if node.op_type == "Conv" or transposed else weight[-2]
            total += math.prod(shapes[node.output[0]]) * volume
    return total


@pytest.mark.parametrize("row", rows(REFERENCE / "macs.csv"), ids=lambda row: row["file"])
def test_zoo_macs_are_the_published_ones_and_those_of_shape_inference(row: dict[str, str]) -> None:
    model = zoo_model(row["file"])
    macs = float(load_onnx(model).macs())
    digits = len(row["gmac"].partition(".")[2])
    assert f"{macs / 1e9:.{digits}f}" == row["gmac"]
    assert macs == macs_by_shape_inference(model)


@pytest.mark.parametrize("row", rows(REFERENCE / "macs.csv"), ids=lambda row: row["file"])
def test_zoo_shapes_are_those_of_shape_inference(row: dict[str, str]) -> None:
    graph = onnx.shape_inference.infer_shapes(zoo_model(row["file"])).graph
    found = shapes_of(load_onnx(zoo_model(row["file"]), structure=False))
    inferred = {
        item.name: tuple(dim.dim_value for dim in item.type.tensor_type.shape.dim)
        for item in graph.value_info
        if item.type.tensor_type.HasField("shape")
    }
    common = inferred.keys() & found.keys()
    assert len(common) > 0.8 * len(found) - 2
    assert {name: found[name] for name in common} == {name: inferred[name] for name in common}


COUNTS = rows(FIXTURES / "expected_macs.csv")


def fixture(row: dict[str, str], **options: Any) -> Workload:
    return load_onnx(FIXTURES / f"{row['model']}.onnx", missing_weights="allow", **bindings(row), **options)


@pytest.mark.parametrize("row", COUNTS, ids=lambda row: f"{row['model']}-{row['bindings']}")
def test_exported_transformers_have_the_macs_of_their_formula(row: dict[str, str]) -> None:
    assert fixture(row).macs() == fixture(row, structure=False).macs() == int(row["macs"])


@pytest.mark.parametrize("structure", [False, True])
@pytest.mark.parametrize("path", [*sorted(FIXTURES.glob("*.onnx")), *sorted(ZOO.glob("*.onnx"))], ids=lambda p: p.stem)
def test_every_node_is_accounted_for_exactly_once(path: Path, structure: bool) -> None:
    sizes: dict[str, Any] = next((bindings(row) for row in COUNTS if row["model"] == path.stem), {})
    work = load_onnx(path, missing_weights="allow", structure=structure, **sizes)
    model = onnx.load(str(path), load_external_data=False)
    counted = Counter(work.folded) + Counter(node for op in work for node in op.nodes)
    assert counted == Counter(name for name, _ in named_nodes(model))


def test_operator_names_are_unique() -> None:
    for row in COUNTS:
        names = [op.name for op in fixture(row)]
        assert len(set(names)) == len(names)


@settings(max_examples=8)
@given(batch=st.integers(1, 9), seq=st.integers(1, 70))
def test_encoder_cost_scales_linearly_with_batch_and_quadratically_with_sequence(batch: int, seq: int) -> None:
    path = FIXTURES / "bert_tiny_legacy_dynamic.onnx"

    def macs(b: int, s: int) -> float:
        return float(load_onnx(path, missing_weights="allow", batch=b, seq=s).macs())

    assert macs(batch, seq) == batch * macs(1, seq)
    # a*s + b*s^2 through zero, so its second difference is constant
    assert macs(1, seq + 2) - 2 * macs(1, seq + 1) + macs(1, seq) == macs(1, 2) - 2 * macs(1, 1)
    assert macs(1, 2) > 2 * macs(1, 1)


def test_weights_do_not_change_with_batch_or_sequence() -> None:
    path = FIXTURES / "bert_tiny_legacy_dynamic.onnx"
    totals, sizes = set(), set()
    for batch, seq in ((1, 8), (4, 8), (2, 100)):
        work = load_onnx(path, missing_weights="allow", batch=batch, seq=seq)
        shapes = [tensor.shape(op.dims) for tensor, op in work.weights().values()]
        totals.add(sum(math.prod(shape) for shape in shapes if shape))  # the rest are scalars of decomposed chains
        sizes.add((work.weight_count(), work.weight_bytes()))
    # Words, types and positions, the norm of the embeddings, two layers.
    layer = 4 * (128 * 128 + 128) + 2 * 128 * 512 + 512 + 128 + 4 * 128
    assert totals == {(30522 + 2 + 512) * 128 + 2 * 128 + 2 * layer}
    assert len(sizes) == 1


def test_positions_and_masks_that_follow_from_the_sizes_are_no_parameters() -> None:
    graph = Graph()
    x = graph.input("x", ("batch", "seq", 4))
    length = graph.node("Gather", graph.node("Shape", x), graph.constant(1, np.int64))
    positions = graph.node("Range", graph.constant(0, np.int64), length, graph.constant(1, np.int64))
    column = graph.node("Unsqueeze", positions, graph.constant([1], np.int64))
    mask = graph.node("Cast", graph.node("GreaterOrEqual", column, positions), to=1)  # [seq, seq], causal
    table = graph.constant(f(512, 4), np.float32, "table")
    summed = graph.node("Add", x, graph.node("Gather", table, positions))
    model = graph.model(graph.node("MatMul", mask, summed))
    for seq in (5, 300):  # the larger mask is described by its shape alone
        work, _ = check_against_runtime(model, {"x": f(2, seq, 4)}, batch=2, seq=seq)
        assert list(work.weights()) == ["table"]
        assert work.weight_count() == 512 * 4
        gather = next(op for op in work if op.kind == "gather")
        assert gather.inputs[0].bytes(gather.dims) == 4 * seq * 4
        product = next(op for op in work if op.kind == "matmul")
        assert product.inputs[0].role == "activation"
        assert product.dram_bytes() == 4 * (seq * seq + 2 * 2 * seq * 4)
        assert peak_bytes(work) - work.weight_bytes() >= 4 * seq * seq  # it lies in memory until it is read


def test_a_model_in_memory_loads_like_its_file() -> None:
    path = ZOO / "light_squeezenet.onnx"
    assert load_onnx(path).digest() == load_onnx(str(path)).digest() == load_onnx(zoo_model(path.stem)).digest()


def test_loading_leaves_the_model_as_it_was() -> None:
    model = zoo_model("light_shufflenet")
    before = model.SerializeToString(deterministic=True)
    load_onnx(model)
    assert model.SerializeToString(deterministic=True) == before


# ---------------------------------------------------------------------------------------------------------------------
# Op by op: the shapes and element types that ONNX Runtime really produces


def f(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def i(*values: int) -> Array:
    return np.array(values, np.int64)


def u8(*shape: int) -> Array:
    return np.ones(shape, np.uint8)


def case(op_type: str, arrays: Sequence[Any], constant: Sequence[int] = (), **options: Any) -> Case:
    return (op_type, arrays, constant), options


def case_id(item: Case) -> str:
    (op_type, arrays, _), options = item
    shapes = "_".join("x".join(map(str, array.shape)) if array is not None else "none" for array in arrays)
    return "-".join([op_type, shapes, *(f"{key}={value}" for key, value in options.items())])


LARGE = 2**62
ELEMENTWISE = [
    *(case(op, [f(2, 1, 3), f(4, 1)]) for op in ("Add", "Sub", "Mul", "Div", "Pow")),
    *(case(op, [f(2, 1, 3), f(4, 1), f(5, 1, 1, 1)]) for op in ("Max", "Min", "Sum", "Mean")),
    *(case(op, [f(2, 1, 3), f()]) for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    *(case(op, [f(2, 3) > 0, f(3) > 0]) for op in ("And", "Or", "Xor")),
    *(
        case(op, [f(2, 3)])
        for op in ("Erf", "Exp", "Abs", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Neg", "IsNaN")
    ),
    *(case(op, [np.abs(f(2, 3))]) for op in ("Sqrt", "Log", "Reciprocal")),
    *(
        case(op, [f(2, 3)])
        for op in ("Relu", "Sigmoid", "Tanh", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Selu")
    ),
    case("Mod", [f(2, 3), f(3)], fmod=1),
    case("Not", [f(2, 3) > 0]),
    case("IsInf", [f(2, 3)]),
    case("Mish", [f(2, 3)], opset=18),
    case("Softplus", [f(2, 3)]),
    case("PRelu", [f(2, 3, 4), f(3, 1)], [1]),
    case("Gelu", [f(2, 3)], opset=20, approximate="tanh"),
    *(case(op, [f(2, 4)], domain="com.microsoft") for op in ("Gelu", "FastGelu", "QuickGelu")),
    case("Pow", [f(2, 3), i(2)], [1]),
    case("Pow", [i(2, 3), f(2)], [1]),
    case("Where", [f(2, 1) > 0, f(3), f(4, 1, 1)]),
    case("Where", [f(2, 1) > 0, i(1, 2, 3), i(7)], [2]),
    case("BitwiseAnd", [i(1, 2), i(3)], opset=18),
    *(case("Cast", [f(2, 3)], to=to) for to in (2, 3, 6, 7, 9, 10, 11)),
    case("CastLike", [f(2, 3), i(1)], [1]),
]
NORMS = [
    *(case(op, [f(2, 3, 4)], opset=opset) for op in ("Softmax", "LogSoftmax") for opset in (7, 11, 13)),
    *(case("Softmax", [f(2, 3, 4)], opset=opset, axis=1) for opset in (7, 11, 13)),
    case("LayerNormalization", [f(2, 3, 4), f(4), f(4)], [1, 2]),
    case("LayerNormalization", [f(2, 3, 4), f(3, 4)], [1], axis=1),
    case("LayerNormalization", [f(2, 3, 4), f(4)], [1], outputs=3),
    case("LayerNormalization", [f(2, 3, 4), f(3, 4)], [1], axis=1, outputs=3),
    case("RMSNormalization", [f(2, 3, 4), f(4)], [1], opset=23),
    case("SimplifiedLayerNormalization", [f(2, 3, 4), f(4)], [1]),
    case("SkipLayerNormalization", [f(2, 3, 4), f(2, 3, 4), f(4), f(4), f(4)], [2, 3, 4], domain="com.microsoft"),
    case("SkipSimplifiedLayerNormalization", [f(2, 3, 4), f(2, 3, 4), f(4)], [2], domain="com.microsoft"),
    case("BatchNormalization", [f(1, 3, 4, 4), f(3), f(3), f(3), f(3) ** 2], [1, 2, 3, 4]),
    case("InstanceNormalization", [f(1, 3, 4, 4), f(3), f(3)], [1, 2]),
    case("GroupNormalization", [f(1, 4, 3, 3), f(4), f(4)], [1, 2], num_groups=2, opset=21),
    case("GroupNormalization", [f(1, 4, 3, 3), f(2), f(2)], [1, 2], num_groups=2, opset=18),
    case("LRN", [f(1, 4, 3, 3)], size=3),
    case("LpNormalization", [f(2, 3)]),
]
REDUCTIONS = [
    *(
        case(
            op,
            [f(2, 3, 4), *([] if axes is None else [np.array(axes, np.int64)])],
            [1],
            opset=18,
            keepdims=keep,
            **more,
        )
        for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceProd", "ReduceL2", "ReduceLogSumExp")
        for axes in (None, (), (0,), (-1,), (2, 0))
        for keep in (0, 1)
        for more in ({}, {"noop_with_empty_axes": 1})
    ),
    *(case(op, [f(2, 3, 4)], opset=12, axes=[1, -1], keepdims=0) for op in ("ReduceMean", "ReduceSum", "ReduceMin")),
    *(case(op, [f(2, 3, 4)], axis=axis, keepdims=k) for op in ("ArgMax", "ArgMin") for axis in (0, -1) for k in (0, 1)),
    case("ReduceMax", [f()]),
    case("CumSum", [f(2, 3), np.array(1)], [1]),
    *(case(op, [f(2, 3, 4, 5)]) for op in ("GlobalAveragePool", "GlobalMaxPool")),
    case("GlobalAveragePool", [f(2, 3, 4)]),
]
PRODUCTS = [
    *(
        case("MatMul", [f(*a), f(*b)], constant)
        for a, b in (((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
                     ((5, 1, 2, 3), (7, 3, 4)), ((3,), (2, 3, 4)), ((2, 4, 3), (3,)), ((1, 2, 3), (6, 3, 1)))
        for constant in ((), (1,))
    ),
    *(
        case("Gemm", [f(*((4, 3), (3, 4))[ta]), f(*((3, 5), (5, 3))[tb]), bias], [1, 2], transA=ta, transB=tb)
        for ta in (0, 1)
        for tb in (0, 1)
        for bias in (None, f(5), f(1, 5), f(4, 1), f(4, 5), f())
    ),
    case("MatMulInteger", [u8(5, 2, 3), np.ones((3, 4), np.int8)]),
    case("MatMulInteger", [u8(2, 3), np.ones((3, 4), np.int8), np.uint8(3), np.int8(1)], [1, 2, 3]),
]  # fmt: skip
QUANTIZED = [
    case("QuantizeLinear", [f(2, 3), np.float32(0.1)], [1]),
    case("QuantizeLinear", [f(2, 3), np.float32(0.1), np.int8(3)], [1, 2]),
    case("QuantizeLinear", [f(2, 3), f(3) ** 2, np.zeros(3, np.int8)], [1, 2], axis=1),
    case("QuantizeLinear", [f(2, 3), f(2) ** 2, np.zeros(2, np.int8)], [1, 2], axis=0),
    case("QuantizeLinear", [f(2, 3), np.float32(0.1)], [1], output_dtype=3, opset=21),
    case("DequantizeLinear", [u8(2, 3), np.float32(0.1)], [1]),
    case("DequantizeLinear", [np.ones((2, 3), np.int8), f(2)], [1], axis=0),
    case("DequantizeLinear", [np.ones((4, 6), np.int8), f(2, 6)], [1], axis=0, block_size=2, opset=21),
    case("DynamicQuantizeLinear", [f(2, 3)], outputs=3),
]
MOVEMENT = [
    *(case("Gather", [f(3, 4), index], [1], axis=axis) for index in (i(0, 1, -1), np.array(1), np.array([[0, 1]]))
      for axis in (-2, -1, 0, 1)),
    case("Gather", [f(3, 4), i(0, 2)], axis=-1),
    case("GatherND", [f(2, 3, 4), np.array([[0, 1], [1, 0]])]),
    case("GatherND", [f(2, 3, 4), np.array([[1], [0]])], batch_dims=1),
    case("GatherElements", [f(2, 3), np.array([[0, 1]])], axis=0),
    case("ScatterND", [f(4, 3), np.array([[0], [2]]), f(2, 3)]),
    case("ScatterElements", [f(4, 3), np.array([[0, 1]]), f(1, 2)], axis=0),
    *(
        case("Slice", [f(4, 5), *(None if item is None else i(*item) for item in limits)], [1, 2, 3, 4])
        for limits in (
            ((0,), (LARGE,), None, None), ((-1,), (-2 * LARGE,), (1,), (-1,)), ((-1,), (-(2**31),), (-1,), (-2,)),
            ((1, 1), (-1, 3), (0, -1), (1, 2)), ((5,), (1,), (1,), (1,)), ((0,), (-2 * LARGE,), (1,), (1,)),
            ((100,), (-100,), (1,), (-3,)), ((4,), (-6,), (1,), (-1,)), ((-100,), (100,), (0,), (2,)),
        )
    ),
    case("Slice", [f(4, 5)], opset=9, starts=[1, -3], ends=[3, 100], axes=[0, 1]),
    *(case("Split", [f(2, 7)], outputs=n, axis=-1, num_outputs=n, opset=18) for n in (1, 2, 3, 4)),
    case("Split", [f(2, 6)], outputs=3, axis=1, opset=13),
    case("Split", [f(2, 7), i(2, 5)], [1], outputs=2, axis=-1, opset=13),
    case("Split", [f(2, 7)], outputs=2, axis=1, split=[3, 4], opset=11),
    *(case("Reshape", [f(2, 3, 4), i(*s)], [1]) for s in ((0, -1), (-1,), (6, 4), (2, 0, -1, 2), (1, 24), (3, 8))),
    case("Reshape", [f(1, 1), np.zeros(0, np.int64)], [1]),
    *(case("Flatten", [f(2, 3, 4)], axis=axis) for axis in (0, 1, 2, 3, -1, -2, -3)),
    case("Flatten", [f(2, 3, 4)]),
    *(case("Expand", [f(*a), i(*s)], [1]) for a, s in (((3, 1), (2, 1, 6)), ((3, 4), (1,)), ((2, 1, 3), (1, 5, 1)))),
    case("Expand", [f(), i(2, 3)], [1]),
    case("Tile", [f(2, 3), i(2, 3)], [1]),
    case("Pad", [f(2, 3), i(0, 1, 2, 3)], [1]),
    case("Pad", [f(4, 3), i(-1, 1, 0, -1)], [1]),
    case("Pad", [f(2, 3), i(1, 2), None, i(-1)], [1, 3], opset=18),
    case("Pad", [f(2, 3)], opset=7, pads=[1, 0, 1, 2]),
    *(case("Concat", [f(2, 3), f(2, 3), f(2, 3)], axis=axis) for axis in (-2, 0, 1)),
    case("Concat", [f(2, 3), f(2, 5)], [1], axis=1),
    case("Transpose", [f(2, 3, 4)]),
    case("Transpose", [f(2, 3, 4)], perm=[1, 2, 0]),
    case("Squeeze", [f(1, 2, 1)]),
    case("Squeeze", [f(1, 2, 1), i(-1)], [1]),
    case("Squeeze", [f(1, 2, 1)], axes=[0], opset=11),
    case("Unsqueeze", [f(2, 3), i(-1, 0)], [1]),
    case("Unsqueeze", [f(2, 3), i(1, 2)], [1]),
    case("Unsqueeze", [f(2, 3)], axes=[0, 3], opset=11),
    case("Unsqueeze", [f(), i(0)], [1]),
    *(case("Resize", [f(1, 2, 5, 5), None, np.array((1, 1, *s), np.float32)], [2])
      for s in ((2, 2), (1.4, 0.6), (0.3, 1.7))),
    case("Resize", [f(1, 2, 5, 5), np.array((1, 1, 1.4, 2), np.float32)], [1], opset=10),
    case("Resize", [f(1, 2, 5, 5), None, None, i(1, 2, 7, 9)], [3]),
    case("Resize", [f(1, 2, 5, 5), None, None, i(7, 9)], [3], axes=[2, 3], opset=18),
    case("Resize", [f(1, 2, 5, 5), None, np.array([2, 3], np.float32)], [2], axes=[-1, -2], opset=18),
    *(case("Resize", [f(1, 2, 5, 8), None, None, i(7, 9)], [3], axes=[2, 3], keep_aspect_ratio_policy=p, opset=18)
      for p in ("not_larger", "not_smaller")),
    case("Upsample", [f(1, 2, 5, 5), np.array((1, 1, 2, 3), np.float32)], [1], opset=9),
    case("Upsample", [f(1, 2, 5, 5)], opset=7, scales=[1.0, 1.0, 2.0, 2.0]),
    case("Trilu", [f(3, 4)]),
    case("Trilu", [f(2, 3, 4), np.array(1)], [1], upper=0),
    case("Identity", [f(2, 3)]),
    case("Dropout", [f(2, 3)], opset=7),
    case("Dropout", [f(2, 3), np.float32(0.5)], [1], outputs=2, opset=13),
    case("Clip", [f(2, 3), np.float32(0), np.float32(1)], [1, 2], opset=13),
    case("Clip", [f(2, 3), None, np.float32(1)], [2], opset=13),
    case("Clip", [f(2, 3)], opset=7, min=0.0, max=1.0),
]  # fmt: skip


@pytest.mark.parametrize("item", [*ELEMENTWISE, *NORMS, *REDUCTIONS, *PRODUCTS, *QUANTIZED, *MOVEMENT], ids=case_id)
def test_an_operator_has_the_shapes_and_types_that_the_runtime_produces(item: Case) -> None:
    positional, options = item
    model, feeds = single(*positional, **options)
    work, _ = check_against_runtime(model, feeds)
    assert len(work) == 1


@st.composite
def windows(draw: st.DrawFn, pool: bool = False) -> tuple[list[int], dict[str, Any]]:
    """Give the spatial extents of an input, and a window that fits in it: where it does not, results are accidents."""
    rank = draw(st.integers(1, 2))

    def per_axis(least: int, most: int) -> list[int]:
        return draw(st.lists(st.integers(least, most), min_size=rank, max_size=rank))

    kernel, pads, dilations = per_axis(1, 4), [0] * 2 * rank, [1] * rank
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    if draw(st.booleans()):
        attributes["strides"] = per_axis(1, 3)
    mode = draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    attributes["auto_pad"] = mode
    if pool and mode.startswith("SAME") and "strides" in attributes:  # ONNX Runtime refuses a pool that skips values
        attributes["strides"] = [min(pair) for pair in zip(attributes["strides"], kernel, strict=True)]
    if mode == "NOTSET":  # ONNX Runtime refuses dilations beside auto_pad, and a pool that pads a whole window
        if draw(st.booleans()):
            attributes["dilations"] = dilations = per_axis(1, 2)
        if draw(st.booleans()):
            drawn = per_axis(0, 2) + per_axis(0, 2)
            pads = [min(pad, size - 1) for pad, size in zip(drawn, kernel + kernel, strict=True)] if pool else drawn
            attributes["pads"] = pads
    reach = [dilations[d] * (kernel[d] - 1) + 1 - pads[d] - pads[d + rank] for d in range(rank)]
    least = [1] * rank if mode.startswith("SAME") else [max(1, size) for size in reach]
    return [draw(st.integers(size, size + 6)) for size in least], attributes


def automatic_pads(attributes: dict[str, Any], extents: Sequence[int], out: Sequence[int]) -> list[int]:
    """Give the pads that auto_pad means: an odd one goes to the end for UPPER, to the start for LOWER."""
    strides, kernel, mode = (
        attributes.get("strides", [1] * len(out)),
        attributes["kernel_shape"],
        attributes["auto_pad"],
    )
    if mode == "VALID":
        return [0] * 2 * len(out)
    totals = [max((out[d] - 1) * strides[d] + kernel[d] - extents[d], 0) for d in range(len(out))]
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return small + large if mode == "SAME_UPPER" else large + small


def brute_force_conv(op: Operator, x: Array, w: Array, out: tuple[int, ...], attributes: dict[str, Any]) -> set[Any]:
    """Give the spatial positions of the input that a convolution with explicit pads really reads."""
    rank = x.ndim - 2
    strides, dilations = attributes.get("strides", [1] * rank), attributes.get("dilations", [1] * rank)
    pads = attributes.get("pads", [0] * 2 * rank)
    read = set()
    for p in np.ndindex(*out[2:]):
        for r in np.ndindex(*w.shape[2:]):
            at = tuple(p[d] * strides[d] + r[d] * dilations[d] - pads[d] for d in range(rank))
            if all(0 <= at[d] < x.shape[2 + d] for d in range(rank)):
                read.add(at)
    return read


@settings(max_examples=120)
@given(
    window=windows(), batch=st.integers(1, 2), groups=st.integers(1, 3), filters=st.integers(1, 2),
    channels=st.integers(1, 2), bias=st.booleans(),
)  # fmt: skip
def test_a_convolution_has_the_shape_macs_and_footprint_of_a_brute_force_walk(
    window: tuple[list[int], dict[str, Any]], batch: int, groups: int, filters: int, channels: int, bias: bool
) -> None:
    extents, attributes = window
    kernel = attributes["kernel_shape"]
    x, w = f(batch, groups * channels, *extents), f(groups * filters, channels, *kernel)
    model, feeds = single("Conv", [x, w, f(groups * filters) if bias else None], [1, 2], group=groups, **attributes)
    work, outputs = check_against_runtime(model, feeds)
    truth = outputs["y0"]
    (op,) = work
    assert op.flops() == 2 * truth.size * channels * math.prod(kernel)
    if attributes["auto_pad"] != "NOTSET":
        attributes["pads"] = automatic_pads(attributes, x.shape[2:], truth.shape[2:])
    read = brute_force_conv(op, x, w, truth.shape, attributes)
    per_axis = [len({at[d] for at in read}) for d in range(len(kernel))]
    assert op.inputs[0].values(op.dims) == batch * groups * channels * math.prod(per_axis)
    assert op.inputs[1].values(op.dims) == w.size


@settings(max_examples=120)
@given(
    window=windows(pool=True), op_type=st.sampled_from(["MaxPool", "AveragePool"]), ceil_mode=st.integers(0, 1)
)  # fmt: skip
def test_a_pool_has_the_shape_that_the_runtime_produces(
    window: tuple[list[int], dict[str, Any]], op_type: str, ceil_mode: int
) -> None:
    extents, attributes = window
    model, feeds = single(op_type, [f(1, 2, *extents)], ceil_mode=ceil_mode, opset=19, **attributes)
    check_against_runtime(model, feeds)


shapes = st.lists(st.integers(1, 4), min_size=0, max_size=4)


@settings(max_examples=60)
@given(data=st.data(), batch=st.lists(st.integers(1, 3), max_size=3))
def test_matrix_products_broadcast_like_the_runtime(data: st.DataObject, batch: list[int]) -> None:
    def operand(rows: int, columns: int) -> Array:
        kept = batch[data.draw(st.integers(0, len(batch))) :]
        return f(*(size if data.draw(st.booleans()) else 1 for size in kept), rows, columns)

    m, n, k = (data.draw(st.integers(1, 4)) for _ in range(3))
    a, b = operand(m, k), operand(k, n)
    model, feeds = single("MatMul", [a, b])
    work, truth = check_against_runtime(model, feeds)
    assert work.macs() == truth["y0"].size * k


@settings(max_examples=60)
@given(data=st.data(), shape=shapes)
def test_element_wise_operands_broadcast_like_the_runtime(data: st.DataObject, shape: list[int]) -> None:
    arrays = [
        f(*(size if data.draw(st.booleans()) else 1 for size in shape[data.draw(st.integers(0, len(shape))) :]))
        for _ in range(2)
    ]
    model, feeds = single("Add", arrays)
    work, truth = check_against_runtime(model, feeds)
    assert work.flops() == truth["y0"].size
    (op,) = work
    assert op.dram_bytes() == 4 * (sum(array.size for array in arrays) + truth["y0"].size)


@settings(max_examples=60)
@given(data=st.data(), shape=st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_slices_read_and_write_what_the_runtime_slices(data: st.DataObject, shape: list[int]) -> None:
    bound = st.integers(-8, 8)
    steps = [data.draw(st.integers(-3, 3).filter(bool)) for _ in shape]
    starts, ends = [data.draw(bound) for _ in shape], [data.draw(bound) for _ in shape]
    model, feeds = single("Slice", [f(*shape), i(*starts), i(*ends), i(*range(len(shape))), i(*steps)], [1, 2, 3, 4])
    work, truth = check_against_runtime(model, feeds)
    (op,) = work
    assert op.inputs[0].values(op.dims) == truth["y0"].size


@settings(max_examples=60)
@given(data=st.data(), shape=st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_views_of_views_keep_shape_and_move_nothing(data: st.DataObject, shape: list[int]) -> None:
    graph, value = Graph(), f(*shape)
    name = graph.input("x", shape)
    current = list(shape)
    for _ in range(3):
        op_type = data.draw(st.sampled_from(["Reshape", "Unsqueeze", "Flatten", "Squeeze"]))
        if op_type == "Reshape":
            size = math.prod(current)
            first = data.draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0]))
            current = [first, size // first]
            name = graph.node("Reshape", name, graph.constant([first, -1], np.int64))
        elif op_type == "Unsqueeze":
            at = data.draw(st.integers(-len(current) - 1, len(current)))
            current.insert(at if at >= 0 else at + len(current) + 1, 1)
            name = graph.node("Unsqueeze", name, graph.constant([at], np.int64))
        elif op_type == "Flatten":
            at = data.draw(st.integers(-len(current), len(current)))
            current = [math.prod(current[:at]) if at else 1, math.prod(current[at:]) if at < len(current) else 1]
            name = graph.node("Flatten", name, axis=at)
        else:
            current = [size for size in current if size != 1]
            name = graph.node("Squeeze", name)
    work, truth = check_against_runtime(graph.model(name), {"x": value})
    assert truth[name].shape == tuple(current)
    assert {op.kind for op in work} == {"view"}
    assert sum(op.dram_bytes() for op in work) == 0


# ---------------------------------------------------------------------------------------------------------------------
# Quantized weights, constants, and attributes that moved to inputs


def block_quantized(bits: int, k: int, n: int, block: int, zero: bool) -> tuple[onnx.ModelProto, dict[str, Array]]:
    blocks = -(-k // block)
    packed = np.zeros((n, blocks, block * bits // 8), np.uint8)
    scales = f(n * blocks)
    zeros = np.zeros(n * -(-blocks * bits // 8), np.uint8) if zero else None
    return single(
        "MatMulNBits", [f(2, 3, k), packed, scales, zeros], [1, 2, 3], domain="com.microsoft",
        K=k, N=n, bits=bits, block_size=block,
    )  # fmt: skip


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize(("k", "n", "block"), [(32, 5, 16), (48, 4, 32), (64, 8, 64)])
def test_block_quantized_products_have_the_runtimes_shape_and_pay_four_bits_and_a_scale(
    k: int, n: int, block: int, zero: bool
) -> None:
    model, feeds = block_quantized(4, k, n, block, zero)
    truth = run(model, feeds)["y0"]
    work = load_onnx(model, structure=False)
    assert shapes_of(work)["y0"] == truth.shape == (2, 3, n)
    assert work.macs() == 2 * 3 * n * k
    product = next(op for op in work if op.kind == "matmul")
    weight = next(tensor for tensor in product.inputs if tensor.role == "weight")
    blocks = -(-k // block)
    assert weight.bits == 4
    assert FORMATS[int(product.format)].name == "fp32"
    scale_bits = 32 * n * blocks
    zero_bits = 4 * n * blocks if zero else 0
    assert weight.stored_bytes(product.dims) == pytest.approx((4 * k * n + scale_bits + zero_bits) / 8)


def test_a_dequantized_weight_is_stored_once_at_its_integer_width() -> None:
    graph = Graph()
    stored = graph.constant(np.ones((8, 4)), np.int8)
    scale = graph.constant(np.ones(4), np.float32)
    weight = graph.node("DequantizeLinear", stored, scale, axis=1)
    model = graph.model(graph.node("MatMul", graph.input("x", (2, 8)), weight))
    work, _ = check_against_runtime(model, {"x": f(2, 8)})
    assert work.weight_bytes() == 8 * 4 + 4 * 4
    assert [op.kind for op in work] == ["convert", "matmul"]
    assert FORMATS[int(work.operators[1].format)].name == "fp32"


def test_weights_folded_through_views_and_transposes_keep_name_and_size() -> None:
    graph = Graph()
    weight = graph.constant(f(64, 48), np.float32, "stored")
    turned = graph.node("Reshape", graph.node("Transpose", weight), graph.constant([48, 64], np.int64))
    work, _ = check_against_runtime(
        graph.model(graph.node("MatMul", graph.input("x", (2, 48)), turned)), {"x": f(2, 48)}
    )
    assert list(work.weights()) == ["stored"]
    assert work.weight_bytes() == 4 * 64 * 48
    assert len(work) == 1
    assert len(work.folded) == 2


@pytest.mark.parametrize("opset", range(7, 26))
def test_every_opset_from_7_to_25_gives_the_same_shapes_whether_by_attribute_or_by_input(opset: int) -> None:
    graph = Graph(opset)
    name = graph.input("x", (1, 6, 8, 1))

    def moved(op_type: str, since: int, value: str, key: str, data: list[int], **more: Any) -> str:
        if opset >= since:
            return str(graph.node(op_type, value, graph.constant(data, np.int64), **more))
        return str(graph.node(op_type, value, **{**more, key: data}))

    if opset < 10:
        name = graph.node("Slice", name, starts=[1], ends=[5], axes=[1])
    else:
        name = graph.node("Slice", name, *(graph.constant([value], np.int64) for value in (1, 5, 1)))
    name = moved("Squeeze", 13, name, "axes", [3])
    name = moved("Unsqueeze", 13, name, "axes", [0])
    parts = (
        graph.node("Split", name, graph.constant([1, 3], np.int64), outputs=2, axis=2)
        if opset >= 13
        else graph.node("Split", name, outputs=2, axis=2, split=[1, 3])
    )
    if opset < 11:
        name = graph.node("Clip", parts[1], min=0.0, max=6.0)
    else:
        name = graph.node("Clip", parts[1], *(graph.constant(value, np.float32) for value in (0, 6)))
    name = graph.node("Dropout", name) if opset >= 12 else graph.node("Dropout", name, ratio=0.5)
    name = graph.node("Softmax", name, axis=3)
    name = moved("ReduceSum", 13, name, "axes", [2], keepdims=0)
    name = moved("ReduceMean", 18, name, "axes", [1], keepdims=1)
    model = graph.model(name)
    work = load_onnx(model, structure=False)
    assert shapes_of(work)[name] == (1, 1, 8)
    if opset < 25:
        check_against_runtime(model, {"x": f(1, 6, 8, 1)})


def test_a_chain_of_shape_arithmetic_folds_away_and_gives_the_runtimes_shapes() -> None:
    """The idiom of exporters: take a size from Shape, divide it, concatenate a new shape, reshape."""
    graph = Graph()
    x = graph.input("x", ("batch", "seq", 12))
    shape = graph.node("Shape", x)
    batch, seq = (graph.node("Gather", shape, graph.constant(position, np.int64), axis=0) for position in (0, 1))
    heads = graph.node("Div", graph.constant(12, np.int64), graph.constant(5, np.int64))
    heads = graph.node("Add", heads, graph.constant(1, np.int64))
    zero = graph.constant([0], np.int64)
    pieces = [graph.node("Unsqueeze", item, zero) for item in (batch, seq, heads)]
    reshaped = graph.node("Reshape", x, graph.node("Concat", *pieces, graph.constant([-1], np.int64), axis=0))
    filled = graph.node("ConstantOfShape", graph.node("Shape", reshaped))
    positions = graph.node("Range", graph.constant(0, np.int64), seq, graph.constant(1, np.int64))
    column = graph.node("Unsqueeze", graph.node("Cast", positions, to=1), graph.constant([1, 2], np.int64))
    model = graph.model(graph.node("Mul", graph.node("Add", reshaped, filled), column))
    work, truth = check_against_runtime(model, {"x": f(2, 5, 12)}, batch=2, seq=5)
    assert truth[reshaped].shape == (2, 5, 3, 4)
    assert [op.op_type for op in work] == ["Reshape", "Add", "Mul"]
    assert len(work.folded) == len(model.graph.node) - 3


def test_the_kv_cache_has_its_role_and_an_empty_past_loads() -> None:
    for past in (0, 7):
        graph = Graph()
        cache = graph.input("past_key", (1, 2, past, 4))
        keys = graph.node("Concat", cache, graph.input("new", (1, 2, 1, 4)), axis=2)
        work = load_onnx(graph.model(graph.node("Neg", keys)), structure=False)
        assert shapes_of(work)[keys] == (1, 2, past + 1, 4)
        assert work.operators[0].inputs[0].role == "kv_cache"


def test_true_widths_in_metadata_replace_the_container(tmp_path: Path) -> None:
    graph = Graph()
    weight = graph.constant(np.ones((8, 4)), np.int8, "w")
    floats = graph.node("DequantizeLinear", weight, graph.constant(0.5, np.float32))
    model = graph.model(graph.node("MatMul", graph.input("x", (2, 8)), floats))
    tensor = next(item for item in model.graph.initializer if item.name == "w")
    tensor.metadata_props.add(key="dse.bits", value="3")
    (stored, _) = load_onnx(model, structure=False).weights()["w"]
    assert stored.bits == 3
    assert FORMATS[int(stored.format)].name == "int3"


def test_initializers_listed_as_inputs_are_weights_not_inputs() -> None:
    graph = Graph()
    weight = graph.constant(f(3, 4), np.float32, "w")
    model = graph.model(graph.node("MatMul", graph.input("x", (2, 3)), weight))
    model.graph.input.append(helper.make_tensor_value_info("w", 1, (3, 4)))
    work = load_onnx(model)
    assert work.inputs == ("x",)
    assert list(work.weights()) == ["w"]


def test_weights_are_never_read_from_external_files(tmp_path: Path) -> None:
    graph = Graph()
    weight = graph.constant(f(64, 64), np.float32, "w")
    model = graph.model(graph.node("MatMul", graph.input("x", (2, 64)), weight))
    onnx.save_model(model, str(tmp_path / "m.onnx"), save_as_external_data=True, location="m.data", size_threshold=0)
    os.truncate(tmp_path / "m.data", 0)
    os.truncate(tmp_path / "m.data", 4 * 64 * 64)  # there, as long as it should be, and empty of data
    assert load_onnx(tmp_path / "m.onnx").weight_bytes() == 4 * 64 * 64


def test_a_large_constant_is_described_by_its_shape_alone() -> None:
    graph = Graph()
    big = graph.constant(np.zeros((400, 400)), np.int64)
    work = load_onnx(graph.model(graph.node("Add", graph.node("Neg", big), graph.input("x", (1,), 7))))
    assert shapes_of(work)[work.outputs[0]] == (400, 400)
