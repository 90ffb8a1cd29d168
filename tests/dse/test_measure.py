"""Real timings: order, errors, feeds, and operators as kernels of their own. No claim is about absolute time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dse.measure import operators, random_feeds, ratio, time_models
from dse.measure.graphs import Part, chain, single
from dse.measure.per_operator import KINDS, kernel_graph
from dse.measure.timing import LEAST_RUNS, quartiles, session_of
from workloads import compress
from workloads.errors import MeasureError
from workloads.onnx.loader import load_onnx
from workloads.zoo import embedded_model

FIXTURES = Path(__file__).parent.parent / "fixtures"
VIT = embedded_model("vit-mnist")


def vit_feeds(batch: int = 1) -> dict[str, np.ndarray]:
    return random_feeds(VIT, np.random.default_rng(0), batch=batch)


def test_times_are_positive_and_quartiles_are_in_order() -> None:
    timing = time_models({"vit": VIT}, vit_feeds(), repeats=7)["vit"]
    for spread in (timing.cpu, timing.wall):
        assert 0 < spread.best <= spread.lower <= spread.median <= spread.upper
    assert timing.cpu_s == timing.cpu.median
    assert timing.runs == len(timing.cpu_samples_s) == 7


def test_models_are_run_in_turn_and_the_order_is_kept() -> None:
    found = time_models({"a": VIT, "b": onnx.load(VIT), "c": str(VIT)}, vit_feeds(), repeats=4)
    assert [found[name].order for name in "abc"] == [(0, 3, 6, 9), (1, 4, 7, 10), (2, 5, 8, 11)]


def test_a_model_takes_as_long_as_itself() -> None:
    found = time_models({"a": VIT, "b": VIT}, vit_feeds(8), repeats=40)
    same = ratio(found["a"], found["b"])
    assert 0.7 <= same.median <= 1.4
    assert same.lower <= same.median <= same.upper


def test_eight_times_the_work_takes_longer() -> None:
    feeds = {"small": vit_feeds(2), "large": vit_feeds(16)}
    found = time_models({"small": VIT, "large": VIT}, feeds, repeats=10)
    assert ratio(found["large"], found["small"]).median > 1.5


def test_ratios_need_runs_side_by_side() -> None:
    first, second = (time_models({"vit": VIT, f"x{i}": VIT}, vit_feeds(), repeats=3 + i) for i in range(2))
    with pytest.raises(MeasureError, match="not timed together"):
        ratio(first["vit"], second["vit"])


def test_the_time_limit_ends_the_rounds_but_never_below_the_least() -> None:
    assert time_models({"vit": VIT}, vit_feeds(), repeats=1000, seconds_limit=0.0)["vit"].runs == LEAST_RUNS


def test_more_threads_are_timed_by_the_process() -> None:
    timing = time_models({"vit": VIT}, vit_feeds(), repeats=3, threads=2)["vit"]
    assert timing.threads == 2
    assert timing.cpu_s > 0


def test_a_model_that_onnx_runtime_refuses_is_named_with_the_reason() -> None:
    wrong = chain([Part("Neg")], np.ones(3, np.float32)).model
    wrong.graph.node[0].op_type = "NoSuchOp"
    with pytest.raises(MeasureError, match=r"'odd'.*NoSuchOp"):
        time_models({"odd": wrong}, {"x0": np.ones(3, np.float32)})


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "no array for input image"),
        ({"other": {"image": np.ones(1)}}, "no inputs given"),
        ({"image": np.ones((1, 1, 9, 9), np.float32)}, r"'vit'.*cannot run it.*image"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_by_name(feeds: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(MeasureError, match=message):
        time_models({"vit": VIT}, feeds)


def test_an_empty_request_and_a_missing_file_are_refused() -> None:
    with pytest.raises(MeasureError, match="no models"):
        time_models({}, {})
    with pytest.raises(MeasureError, match="there is no file"):
        session_of("nowhere.onnx", "vit")
    with pytest.raises(MeasureError, match="repeats=0"):
        time_models({"vit": VIT}, vit_feeds(), repeats=0)


def test_quartiles_of_one_sample_are_that_sample() -> None:
    found = quartiles([2.0])
    assert found.best == found.lower == found.median == found.upper == 2.0


@pytest.mark.parametrize("name", ["minilm_l6_dynamo", "bert_tiny_legacy_dynamic", "gpt2_tiny_legacy_dynamic"])
def test_feeds_fit_the_shapes_and_types_of_language_models(name: str) -> None:
    model = onnx.load(FIXTURES / f"{name}.onnx", load_external_data=False)
    feeds = random_feeds(model, np.random.default_rng(0), batch=2, seq=7)
    stored = {tensor.name for tensor in model.graph.initializer}
    declared = {item.name: item.type.tensor_type for item in model.graph.input if item.name not in stored}
    assert feeds.keys() == declared.keys()
    for key, array in feeds.items():
        assert array.shape == (2, 7)
        assert array.dtype == helper.tensor_dtype_to_np_dtype(declared[key].elem_type)
        if "mask" in key:
            assert (array == 1).all()
        assert array.min() >= 0


def table_model(index_type: int, rows: int) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["ids"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "wide"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info("ids", index_type, ["batch", 50])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones((rows, 4), np.float32), "table")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def test_ids_stay_below_the_table_they_index_even_through_a_cast() -> None:
    model = table_model(TensorProto.INT32, 5)
    feeds = random_feeds(model, np.random.default_rng(0), batch=20)
    assert feeds["ids"].dtype == np.int32
    assert set(np.unique(feeds["ids"])) == {0, 1, 2, 3, 4}
    assert time_models({"table": model}, feeds, repeats=1)["table"].cpu_s > 0


def test_feeds_without_a_size_or_of_an_impossible_type_are_refused() -> None:
    with pytest.raises(MeasureError, match="no size for batch"):
        random_feeds(table_model(TensorProto.INT32, 5), np.random.default_rng(0))
    with pytest.raises(MeasureError, match="element type"):
        random_feeds(table_model(TensorProto.STRING, 5), np.random.default_rng(0), batch=1)


def test_feeds_are_repeatable_by_seed() -> None:
    np.testing.assert_array_equal(vit_feeds(3)["image"], vit_feeds(3)["image"])


def test_every_operator_of_the_timed_kinds_has_a_row_and_a_time() -> None:
    work = load_onnx(VIT, batch=1)
    table = operators(work, seconds=0.3)
    assert table["count"].sum() == sum(op.kind in KINDS for op in work)
    assert set(table.kind) == set(KINDS)
    assert (table.measured_s > 0).all()
    assert (table.best_s <= table.measured_s).all()
    assert (table.runs >= LEAST_RUNS).all()
    assert table.predicted_s.isna().all()


def test_predictions_stand_beside_times_when_a_device_is_given() -> None:
    import hwmodels

    table = operators(load_onnx(VIT, batch=1), device=hwmodels.load("epyc-9654"), seconds=0.1)
    assert (table.predicted_s > 0).all()


@pytest.mark.parametrize(
    ("technique", "op_type"),
    [
        (compress.Quantize(weight_bits=4, granularity="group", group_size=32), "MatMulNBits"),
        (compress.Quantize(weight_bits=8, activation_bits=8), "MatMulInteger"),
    ],
)
def test_quantized_products_are_timed_as_the_kernels_that_run_them(technique: compress.Quantize, op_type: str) -> None:
    work = load_onnx(compress.apply(onnx.load(VIT), technique), batch=1)
    table = operators(work, seconds=0.2)
    chosen = table[table.op_type == op_type]
    assert len(chosen)
    assert (chosen.measured_s > 0).all()
    graph = kernel_graph(next(op for op in work if op.op_type == op_type), np.random.default_rng(0))
    assert [node.op_type for node in graph.model.graph.node] == [op_type]


@pytest.mark.parametrize("bits", [4, 8])
def test_products_with_stored_weights_are_timed_with_their_dequantization(bits: int) -> None:
    work = load_onnx(compress.apply(onnx.load(VIT), compress.Quantize(weight_bits=bits)), batch=1)
    product = next(iter(compress.quantizable(load_onnx(VIT, batch=1))))
    stored = next(op for op in work if op.block == product.block and op.kind == "matmul")
    graph = kernel_graph(stored, np.random.default_rng(0)).model.graph
    assert [node.op_type for node in graph.node] == ["DequantizeLinear", "MatMul"]
    assert graph.initializer[0].data_type == (onnx.TensorProto.INT4 if bits == 4 else onnx.TensorProto.INT8)
    assert (operators(work, seconds=0.2).query("op_type == 'MatMul'").measured_s > 0).all()


def test_a_kernel_that_cannot_be_built_is_a_row_with_a_note() -> None:
    arrays = [np.ones((2, 3), bool), np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)]
    table = operators(load_onnx(single("Where", arrays).model), seconds=0.1)
    assert table.measured_s.isna().all()
    assert "no kernel is built for Where" in table.note.iloc[0]


def test_an_unknown_backend_is_refused_with_the_known_ones() -> None:
    with pytest.raises(MeasureError, match="onnxruntime"):
        operators(load_onnx(VIT, batch=1), backend="onnx-runtime")
