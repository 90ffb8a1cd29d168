"""What weights really store: made by hand, compressed by us, quantized by others, and real."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.workloads.graphs import Graph
from workloads import PATTERNS, WorkloadError, compress, load_onnx, weight_table
from workloads.onnx.measured import StoredWeight, measure_weights
from workloads.onnx.scanning import BLOCK_BYTES, Matrix, scan
from workloads.zoo import embedded_model

Array = NDArray[Any]


def product(weight: Array, *, transposed: bool = False, name: str = "w") -> onnx.ModelProto:
    """A graph of one product with a stored matrix (its rows are summed over, or its columns where transposed)."""
    graph = Graph()
    stored = graph.constant(weight, name=name)
    x = graph.input("x", [2, weight.shape[1 if transposed else 0]])
    return graph.model(graph.node("Gemm", x, stored, transB=1) if transposed else graph.node("MatMul", x, stored))


def measured(weight: Array, **options: Any) -> StoredWeight:
    return measure_weights(product(weight, **options))["w"]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def kept_in_four(weight: Array, n: int, axis: int) -> Array:
    """Keep the n largest of every four along an axis."""
    moved = np.moveaxis(weight.copy(), axis, -1)
    groups = moved.reshape(-1, 4)
    smallest = np.argsort(np.abs(groups), axis=1)[:, : 4 - n]
    np.put_along_axis(groups, smallest, 0, axis=1)
    return np.ascontiguousarray(np.moveaxis(groups.reshape(moved.shape), -1, axis))


# ---------------------------------------------------------------------------------------------------------------------
# Width


def test_random_floats_need_their_container() -> None:
    found = measured(normal(64, 32))
    assert (found.bits, found.exact_format, found.density, found.form.pattern) == (32, "fp32", 1.0, "dense")
    assert found.packed_bytes == found.stored_bytes == 64 * 32 * 4


@pytest.mark.parametrize(
    ("narrow", "name", "bits"),
    [(np.float16, "fp16", 16), (ml_dtypes.bfloat16, "bf16", 16), (ml_dtypes.float8_e4m3fn, "fp8_e4m3", 8)],
)
def test_floats_that_a_narrower_format_holds_exactly_say_so(narrow: Any, name: str, bits: int) -> None:
    found = measured(normal(128, 128).astype(narrow).astype(np.float32))
    assert (found.exact_format, found.container_bits) == (name, 32)
    # 8-bit floats have at most 256 values; indices into a table of them are as narrow or narrower
    assert found.bits <= bits
    if bits == 16:
        assert found.bits == 16
    wide = measured(normal(128, 128).astype(narrow).astype(np.float32) * np.float32(1 + 2**-20))
    assert wide.bits == 32 or wide.table_bits > 0


def test_one_value_beyond_the_narrow_format_is_enough_to_need_the_wide_one() -> None:
    weight = normal(256, 64).astype(np.float16).astype(np.float32)
    weight[-1, -1] = 1 + 2.0**-20
    assert measured(weight).bits == 32


def test_sixteen_levels_in_int8_need_four_bits() -> None:
    levels = np.arange(-8, 8, dtype=np.int8)
    assert measured(np.random.default_rng(0).choice(levels, (64, 64))).bits == 4
    assert measured(np.random.default_rng(0).choice(levels * 5, (64, 64))).bits == 4  # a step belongs to the scale


def test_levels_without_an_even_grid_need_a_table() -> None:
    table = np.array([-100, -61, -37, -20, -11, -5, -1, 0, 2, 7, 13, 22, 35, 60, 97, 127], np.int8)
    found = measured(np.random.default_rng(0).choice(table, (64, 64)))
    assert (found.bits, found.levels) == (4, 16)
    assert found.table_bits == 16 * 8 / 64**2


@settings(max_examples=40, deadline=None)
@given(
    low=st.integers(-128, 126), count=st.integers(2, 40), shape=st.tuples(st.integers(4, 40), st.integers(4, 9)),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_levels_and_zeros_are_those_of_a_plain_count(low: int, count: int, shape: tuple[int, int], seed: int) -> None:
    values = np.random.default_rng(seed).integers(low, min(low + count, 128), shape).astype(np.int8)
    found = scan(Matrix(name="w", shape=shape, format="int8", bits=8, read=lambda a, b: values[a:b]))
    assert found.levels is not None
    assert found.levels.tolist() == sorted(set(values.ravel().tolist()))
    assert found.nonzero == int((values != 0).sum())
    assert found.size == values.size


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.float32, np.float16])
def test_blocks_add_up_to_the_whole(dtype: Any) -> None:
    rows = 3 * BLOCK_BYTES // (512 * np.dtype(dtype).itemsize) + 7
    values = np.random.default_rng(0).integers(0, 100, (rows, 512)).astype(dtype)
    values[-1, -1] = 101
    found = scan(Matrix(name="w", shape=values.shape, format=np.dtype(dtype).name.replace("float", "fp"),
                        bits=8 * np.dtype(dtype).itemsize, read=lambda a, b: values[a:b]))  # fmt: skip
    assert found.nonzero == int((values != 0).sum())
    assert found.levels is not None
    assert len(found.levels) == 101


def test_a_declared_width_is_kept_and_checked() -> None:
    values = np.random.default_rng(0).integers(-2, 2, (32, 32)).astype(np.int8)
    model = product(values)
    model.graph.initializer[0].metadata_props.add(key="dse.bits", value="3")
    assert measure_weights(model)["w"].bits == 3  # its two bits sit in a format of three
    model.graph.initializer[0].metadata_props[0].value = "2"
    assert measure_weights(model)["w"].bits == 2
    wide = product(values * 3)
    wide.graph.initializer[0].metadata_props.add(key="dse.bits", value="2")
    assert measure_weights(wide)["w"].bits == 2  # four levels, whatever their step
    wrong = product(np.random.default_rng(0).integers(-8, 8, (32, 32)).astype(np.int8))
    wrong.graph.initializer[0].metadata_props.add(key="dse.bits", value="3")
    with pytest.raises(WorkloadError, match=r"'w' declares 3 bits .* 16 distinct values need 4"):
        measure_weights(wrong)


# ---------------------------------------------------------------------------------------------------------------------
# Zeros


def test_a_few_zeros_do_not_make_a_tensor_sparse() -> None:
    weight = normal(64, 64)
    weight[0, :3] = 0
    found = measured(weight)
    assert (found.form.pattern, found.form.density) == ("dense", 1.0)
    assert found.density == 1 - 3 / 64**2


@pytest.mark.parametrize(("n", "name"), [(1, "1:4"), (2, "2:4")])
@pytest.mark.parametrize("transposed", [False, True])
def test_n_of_four_is_found_along_the_axis_that_is_summed(n: int, name: str, transposed: bool) -> None:
    weight = kept_in_four(normal(64, 48), n, axis=1 if transposed else 0)
    found = measured(weight, transposed=transposed)
    assert (found.form.pattern, found.form.density) == (name, n / 4)
    assert found.packed_bytes == 64 * 48 * n * (32 + 2) // 4 // 8  # two index bits a kept value
    other = measured(weight, transposed=not transposed)
    assert other.form.pattern == "unstructured"  # along the other axis it is no pattern


def test_one_group_too_full_breaks_the_pattern() -> None:
    weight = kept_in_four(normal(64, 64), 2, axis=0)
    weight[0:3, 5] = 1
    assert measured(weight).form.pattern == "unstructured"


def test_convolutions_are_summed_over_their_input_channels() -> None:
    graph = Graph()
    weight = graph.constant(kept_in_four(normal(8, 16, 3, 3), 2, axis=1), name="w")
    model = graph.model(graph.node("Conv", graph.input("x", [1, 16, 8, 8]), weight))
    assert measure_weights(model)["w"].form.pattern == "2:4"


@pytest.mark.parametrize("tile", [4, 8, 16, 32])
def test_blocks_are_found_with_their_size(tile: int) -> None:
    keep = np.random.default_rng(1).random((256 // tile, 128 // tile)) < 0.4
    keep[0, 0], keep[-1, -1] = True, False
    mask = np.kron(keep, np.ones((tile, tile)))
    found = measured((normal(256, 128) * mask).astype(np.float32))
    assert (found.form.pattern, found.form.label) == ("block", f"block {tile}x{tile}")
    assert found.form.density == found.density == keep.mean()


def test_unstructured_zeros_cost_a_bitmap() -> None:
    weight = normal(64, 64) * (np.random.default_rng(2).random((64, 64)) < 0.5)
    found = measured(weight.astype(np.float32))
    assert found.form.pattern == "unstructured"
    assert found.packed_bytes == int(np.ceil(64 * 64 * (found.density * 32 + 1) / 8))


def test_all_zero_stores_nothing() -> None:
    found = measured(np.zeros((64, 64), np.float32))
    assert (found.density, found.form.density, found.levels) == (0.0, 0.0, 1)
    assert found.packed_bytes <= 4
    assert measured(np.full((64, 64), -0.0, np.float32)).density == 0.0


def test_nan_is_a_value_that_is_counted() -> None:
    weight = normal(64, 64)
    weight[3, 4], weight[5, 6] = np.nan, np.inf
    found = measured(weight)
    assert (found.non_finite, found.density, found.bits) == (2, 1.0, 32)
    half = measured(np.where(np.isnan(weight), weight, weight.astype(np.float16)).astype(np.float32))
    assert half.bits == 16  # every format has a NaN


def test_zero_points_are_the_zeros_of_integers() -> None:
    values = np.random.default_rng(0).integers(100, 156, (64, 64)).astype(np.uint8)
    values[np.random.default_rng(1).random((64, 64)) < 0.7] = 128
    graph = Graph()
    names = [graph.constant(values, name="w"), graph.constant(np.float32(0.1)), graph.constant(np.uint8(128))]
    model = graph.model(graph.node("MatMul", graph.input("x", [2, 64]), graph.node("DequantizeLinear", *names)))
    found = measure_weights(model)["w"]
    assert found.density == (values != 128).mean()
    assert found.form.pattern == "unstructured"
    per_row = Graph()
    points = np.arange(64, dtype=np.uint8)
    stored = [per_row.constant(np.tile(points[:, None], (1, 8)), name="w"), per_row.constant(np.ones(64, np.float32)),
              per_row.constant(points)]  # fmt: skip
    dequantized = per_row.node("DequantizeLinear", *stored, axis=0)
    found = measure_weights(per_row.model(per_row.node("MatMul", per_row.input("x", [2, 64]), dequantized)))["w"]
    assert found.density == 0.0


def test_packed_element_types_are_unpacked() -> None:
    values = np.random.default_rng(0).integers(-8, 8, (33, 7)).astype(np.int8)
    values[:, 0] = 0
    tensor = helper.make_tensor("w", TensorProto.INT4, values.shape, values.ravel().tolist())
    graph = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["y"])], "g", [], [onnx.ValueInfoProto(name="y")], [tensor]
    )
    found = measure_weights(helper.make_model(graph))["w"]
    assert (found.levels, found.density, found.bits) == (16, (values != 0).mean(), 4)


# ---------------------------------------------------------------------------------------------------------------------
# Models


@pytest.fixture(scope="module")
def vit() -> onnx.ModelProto:
    return onnx.load(str(embedded_model()))


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("granularity", ["channel", "group"])
def test_what_compression_applies_is_what_is_measured(vit: onnx.ModelProto, bits: int, granularity: Any) -> None:
    small = compress.apply(vit, compress.Quantize(weight_bits=bits, granularity=granularity))
    described = load_onnx(small, batch=1).weights()
    found = load_onnx(small, batch=1, weights="measure").weights()
    quantized = {name for name, (tensor, _) in described.items() if tensor.bits < 16}
    assert quantized
    assert {found[name][0].bits for name in quantized} == {bits}
    assert {name for name, (tensor, _) in found.items() if tensor.bits == 32} == set(described) - quantized
    levels = weight_table(small).set_index("name").loc[list(quantized), "levels"]
    assert int(levels.max()) <= 2**bits


def test_a_measured_workload_costs_the_same_products(vit: onnx.ModelProto) -> None:
    pruned = onnx.ModelProto.FromString(vit.SerializeToString())
    name = next(t.name for t in pruned.graph.initializer if len(t.dims) == 2 and min(t.dims) >= 96)
    tensor = next(t for t in pruned.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(kept_in_four(numpy_helper.to_array(tensor), 2, axis=0), name))
    plain, found = load_onnx(pruned, batch=1), load_onnx(pruned, batch=1, weights="measure")
    assert found.macs() == plain.macs()
    weight = found.weights()[name][0]
    assert PATTERNS[int(weight.pattern)] == "2:4"
    saved = plain.weight_bytes() - found.weight_bytes()
    values = numpy_helper.to_array(tensor).size
    assert saved == pytest.approx(values * 4 - values * (0.5 * 32 + 1) / 8)


def test_external_data_is_mapped_and_measured(tmp_path: Path, vit: onnx.ModelProto) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(vit, str(path), save_as_external_data=True, location="weights.bin", size_threshold=1024)
    inside = weight_table(embedded_model())
    assert weight_table(path).equals(inside)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(WorkloadError, match=r"weights\.bin"):
        weight_table(path)
    work = load_onnx(path, batch=1, missing_weights="allow", weights="measure")
    assert work.weight_bytes() == load_onnx(embedded_model(), batch=1).weight_bytes()


def test_measuring_is_fast_and_bounded(tmp_path: Path) -> None:
    rows, columns = 8192, 2048
    (tmp_path / "weights.bin").write_bytes(normal(rows, columns).tobytes())
    model = product(np.zeros((4, 4), np.float32))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    del tensor.dims[:]
    tensor.dims.extend((rows, columns))
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        found = measure_weights(model, tmp_path)["w"]
        best = min(best, time.process_time() - start)
    assert found.form.pattern == "dense"
    assert found.stored_bytes / best > 200e6


@pytest.mark.slow
def test_real_encoders_in_fp32_and_in_someone_elses_int8() -> None:
    from workloads.zoo.pretrained import fetch

    try:
        full, small = fetch("minilm-l3") / "model.onnx", fetch("minilm-l6-int8") / "model.onnx"
    except WorkloadError as error:
        pytest.skip(str(error))
    table = weight_table(full)
    matrices = table[(table["shape"].map(len) == 2) & (table["format"] == "fp32")]
    assert set(matrices["pattern"]) == {"dense"}
    assert float(matrices["density"].min()) > 0.98
    table = weight_table(small)
    integers = table[table["format"] == "int8"]
    assert len(integers) >= 36
    assert set(integers["true_bits"]) == {8}
    assert (integers["levels"] > 100).all()
