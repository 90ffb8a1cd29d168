"""Models taken apart and timed operator by operator; energy counters; refusals. No claim is about absolute time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest

from dse.measure import random_feeds
from dse.measure.facts import machine_facts
from dse.measure.families import Shaped, columns_of
from dse.measure.model import BACKENDS, Job, measure_model
from dse.measure.nodes import nodes_of, optimized_graph, single_node
from dse.measure.rapl import Meter, find_meter, measured_energy
from dse.measure.rows import COLUMNS, Measured, quiet_rounds, quiet_time_s, write_rows
from dse.measure.runtime import _best_by_node
from dse.measure.signatures import EAGER, FUSED, signatures
from dse.measure.timing import Timing, quartiles, session_of, time_calls
from dse.measure.torch_kernels import kernel_call
from workloads import compress
from workloads.errors import MeasureError
from workloads.onnx.loader import load_onnx
from workloads.zoo import architecture, embedded_model

VIT = embedded_model("vit-mnist")


def vit_job(**more: object) -> Job:
    given: dict[str, object] = {"path": VIT, "bind": {"batch": 1}, "seconds": 0.4, **more}
    return Job(name="vit", work=lambda: load_onnx(VIT, batch=1), **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def vit() -> pd.DataFrame:
    return measure_model(vit_job())


def fake_powercap(folder: Path, before: int, limit: int = 1_000_000) -> Path:
    """A package, its core inside of it (which must not count again), and a package's interface."""
    for name in ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl"):
        (folder / name).mkdir(parents=True)
        (folder / name / "energy_uj").write_text(f"{before}\n", encoding="ascii")
        (folder / name / "max_energy_range_uj").write_text(f"{limit}\n", encoding="ascii")
    return folder


def test_every_operator_that_runs_is_in_one_row_with_a_time(vit: pd.DataFrame) -> None:
    graph = optimized_graph(VIT, "vit").graph
    operators = vit[~vit.op.isin(["call", "model_forward"])]
    assert operators["count"].sum() == len(graph.node)
    assert (vit.latency_us > 0).all()
    assert (vit.best_us <= vit.median_us * (1 + 1e-9)).all()
    assert list(vit.columns[: len(COLUMNS)]) == list(COLUMNS)
    assert (vit.timing == "cpu_thread_time").all()


def test_the_operators_add_up_to_the_model(vit: pd.DataFrame) -> None:
    """Within a factor: this is a fraction of a second on a shared machine; reports/cpu_kernels.md has the figures."""
    parts = vit[vit.op != "model_forward"]
    whole = vit[vit.op == "model_forward"].latency_us.iloc[0]
    assert 0.5 < (parts.latency_us * parts["count"]).sum() / whole < 1.6


def test_products_carry_their_sizes_and_layers_are_counted(vit: pd.DataFrame) -> None:
    square = vit[(vit.op == "gemm") & (vit.n == 96) & (vit.k == 96)].iloc[0]
    assert (square.m, square["count"], square.in_layers, square.w_dtype) == (16, 16, 16, "fp32")
    assert vit[vit.op == "model_forward"].in_layers.iloc[0] == 4
    heads = vit[vit.op == "bgemm"]
    assert set(heads.batch) == {8}


def test_rows_say_what_machine_it_was(vit: pd.DataFrame) -> None:
    facts = machine_facts()
    assert (vit.cpu == facts.cpu).all()
    assert facts.clock_mhz > 0
    assert vit.framework.str.startswith("onnxruntime").all()


def test_a_table_of_rows_is_read_back_as_it_was(vit: pd.DataFrame, tmp_path: Path) -> None:
    write_rows(vit, tmp_path / "new" / "rows.csv")
    back = pd.read_csv(tmp_path / "new" / "rows.csv")
    pd.testing.assert_frame_equal(back[["op", "name", "latency_us"]], vit[["op", "name", "latency_us"]])
    assert [item.name for item in (tmp_path / "new").iterdir()] == ["rows.csv"]


def test_a_node_alone_computes_what_it_does_in_the_model() -> None:
    feeds = random_feeds(VIT, np.random.default_rng(0), batch=1)
    graph = optimized_graph(VIT, "vit")
    node = next(item for item in nodes_of(graph, feeds, "vit") if item.columns["op"] == "softmax")
    model, fed, written = single_node(node, graph)
    (name,) = written
    (found,) = session_of(model, "softmax", as_it_is=True).run([name], fed)
    np.testing.assert_allclose(found, written[name], rtol=1e-5)


@pytest.mark.parametrize(
    ("technique", "op", "formats"),
    [
        (compress.Quantize(weight_bits=8, activation_bits=8), "gemm_dynamic", ("int8", "int8")),
        (compress.Quantize(weight_bits=4, granularity="group", group_size=32), "gemm_nbits", ("fp32", "int4")),
        (compress.Quantize(weight_bits=8), "gemm_nbits_dynamic", ("fp32", "int8")),
    ],
)
def test_quantized_products_are_rows_of_their_own(
    technique: compress.Quantize, op: str, formats: tuple[str, str]
) -> None:
    small = compress.apply(onnx.load(VIT), technique)
    found = measure_model(vit_job(path=small, seconds=0.1))
    chosen = found[found.op == op]
    assert len(chosen)
    assert set(zip(chosen.a_dtype, chosen.w_dtype, strict=True)) == {formats}


def test_sizes_of_products_follow_operands_that_are_transposed_or_stored() -> None:
    a, b = np.ones((1, 8, 16, 12), np.float32), np.ones((1, 8, 16, 12), np.float32)
    out = np.ones((1, 8, 16, 16), np.float32)
    scores = columns_of(Shaped("FusedMatMul", (a, b), (out,), (False, False), {"transB": 1}))
    assert [scores[name] for name in ("op", "batch", "m", "n", "k")] == ["bgemm", 8, 16, 16, 12]
    x, w, y = np.ones((2, 16, 96)), np.ones((96, 4)), np.ones((2, 16, 4))
    linear = columns_of(Shaped("MatMul", (x, w), (y,), (False, True)))
    assert [linear[name] for name in ("op", "batch", "m", "n", "k")] == ["gemm", 1, 32, 4, 96]
    image, kernel, result = np.ones((1, 3, 32, 32)), np.ones((8, 3, 4, 4)), np.ones((1, 8, 8, 8))
    patches = columns_of(Shaped("Conv", (image, kernel), (result,), (False, True)))
    assert [patches[name] for name in ("m", "n", "k")] == [64, 8, 48]


def test_a_gather_reads_what_it_writes_and_no_more() -> None:
    embedding, ids, out = np.ones((30000, 8), np.float32), np.ones((1, 4), np.int64), np.ones((1, 4, 8), np.float32)
    found = columns_of(Shaped("Gather", (embedding, ids), (out,), (True, False)))
    assert (found["op"], found["bytes"]) == ("copy", 2 * out.nbytes + ids.nbytes)


def test_times_never_fall_below_a_launch() -> None:
    found = time_calls({"x": lambda: None}, repeats=3)
    times = Measured.of(found["x"], quiet_rounds(found), less_s=1.0, least_s=2e-6)
    assert times.best == times.quiet == times.median == pytest.approx(2.0)


def test_quiet_rounds_are_the_same_for_all_kernels() -> None:
    def timing(name: str, samples: tuple[float, ...]) -> Timing:
        shared: dict[str, Any] = {"cpu": quartiles(samples), "wall": quartiles(samples), "order": tuple(range(16))}
        return Timing(name=name, runs=16, executions=1, threads=1, cpu_samples_s=samples, **shared)

    slow, lucky = tuple([10.0, 10.0, 10.0, 10.0] + [20.0] * 12), tuple([3.0, 3.0, 3.0, 3.0] + [1.0] * 12)
    found = {"long": timing("long", slow), "short": timing("short", lucky)}
    rounds = quiet_rounds(found)
    assert list(rounds) == [True] * 4 + [False] * 12
    assert quiet_time_s(found["short"], rounds) == 3.0


def test_the_trace_gives_the_best_run_of_every_node() -> None:
    events = [
        {"cat": "Node", "name": "a_kernel_time", "dur": 7},
        {"cat": "Node", "name": "a_kernel_time", "dur": 5},
        {"cat": "Node", "name": "a_fence_before", "dur": 1},
        {"cat": "Session", "name": "b_kernel_time", "dur": 1},
    ]
    assert _best_by_node(events) == {"a": 5.0}


def test_energy_is_what_the_counter_gained_even_over_its_end(tmp_path: Path) -> None:
    root = fake_powercap(tmp_path / "powercap", 999_000)
    meter = find_meter(root)
    assert [zone.name for zone in meter.zones] == ["intel-rapl:0"]
    assert meter.between_j((100,), (350_100,)) == pytest.approx(0.35)
    assert meter.between_j((999_000,), (1_000,)) == pytest.approx(0.002)


def test_energy_of_a_call_is_shared_by_its_runs(tmp_path: Path) -> None:
    root = fake_powercap(tmp_path / "powercap", 0, 10**9)
    counter = root / "intel-rapl:0" / "energy_uj"

    def call() -> None:
        counter.write_text(str(int(counter.read_text(encoding="ascii")) + 2_000), encoding="ascii")

    found = measured_energy(find_meter(root), call, seconds=0.02)
    assert found.energy_j == pytest.approx(2e-3)
    assert found.power_w > 0


def test_energy_columns_are_filled_where_there_is_a_counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dse.measure.model.LEAST_S", 0.001)
    meter = find_meter(fake_powercap(tmp_path / "powercap", 5))
    small = architecture("bert-tiny", dtype="fp32", seq=8)
    job = Job(name="small", path=None, work=lambda: small, bind={"seq": 8}, seconds=0.1)
    found = measure_model(job, "torch-cpu", Meter(meter.zones))
    timed = found[found.latency_us.notna()]
    assert (timed.energy_j == 0).all()  # the counter of the test stands still
    assert timed.power_w.notna().all()


def test_no_counter_says_why(tmp_path: Path, vit: pd.DataFrame) -> None:
    assert "no powercap" in find_meter(tmp_path / "none").reason
    (tmp_path / "empty").mkdir()
    assert "no CPU package" in find_meter(tmp_path / "empty").reason
    if not find_meter().zones:
        assert vit.energy_j.isna().all()
        assert (vit.energy_note == find_meter().reason).all()


def test_torch_times_each_kernel_and_says_what_it_has_none_for() -> None:
    model = compress.apply(onnx.load(VIT), compress.Quantize(weight_bits=4, granularity="group", group_size=32))
    job = Job(name="vit4", path=None, work=lambda: load_onnx(model, batch=1), seconds=0.2)
    found = measure_model(job, "torch-cpu")
    four = found[found.w_dtype == "int4"]
    assert len(four)
    assert four.latency_us.isna().all()
    assert four.note.str.contains("no kernel here").all()
    assert (found[found.op == "softmax"].latency_us > 0).all()
    attention = found[found.op == "attention_prefill"]
    assert attention.note.str.startswith("fused").all()
    assert (attention.kernel == "scaled_dot_product_attention").all()


@pytest.mark.slow
def test_torch_runs_the_whole_model_where_it_has_a_module_of_it() -> None:
    small = architecture("bert-tiny", dtype="fp32", seq=8)
    job = Job(name="bert-tiny", path=None, work=lambda: small, bind={"seq": 8}, seconds=0.2)
    found = measure_model(job, "torch-cpu")
    whole, parts = found[found.op == "model_forward"], found[(found.op == "gemm")]
    assert whole.latency_us.iloc[0] > (parts.latency_us * parts["count"]).sum() * 0.5


def test_torch_multiplies_in_int8_where_both_operands_are() -> None:
    import torch

    columns = {"op": "gemm", "batch": 1, "m": 4, "n": 8, "k": 16, "a_dtype": "int8", "w_dtype": "int8"}
    call, named = kernel_call(columns, torch.Generator().manual_seed(0))
    assert named["op"] == "gemm_dynamic"
    found: Any = call()
    assert tuple(found.shape) == (4, 8)


def test_signatures_count_every_kernel_of_the_workload_once() -> None:
    work = load_onnx(VIT, batch=1)
    apart, fused = signatures(work, EAGER), signatures(work, FUSED)
    layers = 4
    assert sum(item["count"] for item in fused if item["op"] == "attention_prefill") == layers
    assert sum(item["count"] for item in apart if item["op"] == "bgemm") == 2 * layers
    assert all(isinstance(item["count"], int) for item in apart)


@pytest.mark.parametrize("backend", ["torch-cuda", "triton"])
def test_without_a_gpu_its_backends_say_what_is_missing_and_what_runs(backend: str) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA GPU here")
    with pytest.raises(MeasureError, match=f"{backend} needs a CUDA GPU.*onnxruntime"):
        measure_model(vit_job(), backend)


def test_what_cannot_be_measured_is_refused_by_name() -> None:
    with pytest.raises(MeasureError, match="onnxruntime"):
        measure_model(vit_job(), "onnx")
    with pytest.raises(MeasureError, match="dse zoo bert-tiny"):
        measure_model(Job(name="bert-tiny", path=None, work=lambda: architecture("bert-tiny", seq=8)))
    with pytest.raises(MeasureError, match="threads=0"):
        measure_model(vit_job(threads=0))
    assert set(BACKENDS) == {"onnxruntime", "torch-cpu", "torch-cuda", "triton"}
