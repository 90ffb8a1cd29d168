"""Kernels of a CPU: formulas, fits on synthetic rows, calibrations and their use, whole models."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hwmodels.kernels.calibration import calibrations, read_calibrations, write_calibrations
from hwmodels.kernels.cpu import (
    CpuAttention,
    CpuAttentionCoefficients,
    CpuFunction,
    CpuFunctionCoefficients,
    CpuProduct,
    CpuProductCoefficients,
    attention_us,
    ceilings_product_us,
    function_us,
    product_us,
)
from hwmodels.kernels.fitting import fit_rows
from hwmodels.kernels.judging import calibrate_table
from hwmodels.kernels.predict import predict_table
from hwmodels.kernels.processor_families import PROCESSORS
from hwmodels.kernels.processor_totals import inside_calibrations, inside_models, model_totals
from hwmodels.kernels.processors import Level, Processor, is_processor, processor, processor_names
from workloads.errors import SpecError

CPU = Processor(
    name="epyc-naples",
    peaks={"fp32": 40e9, "int8": 80e9},
    vector={"elementwise": 2.5e9, "softmax": 3.4e9, "norm": 7e9, "gelu": 1.9e9, "convert": 4e9},
    levels=(Level(512e3, 60e9), Level(8e6, 50e9)),
    dram_bytes_per_s=15e9,
    launch_us=0.7,
)
NOTHING = np.nan


def products(m: Any, n: Any, k: Any, threads: Any = 1, reuse: Any = NOTHING, w_format: str = "fp32") -> CpuProduct:
    values = np.broadcast_arrays(*(np.asarray(value, float) for value in (m, n, k, threads, reuse)))
    m, n, k, threads, reuse = (np.atleast_1d(value).copy() for value in values)
    return CpuProduct(
        batch=np.ones(len(m)), m=m, n=n, k=k, threads=threads, reuse=reuse, a_format="fp32", w_format=w_format
    )


def some_products(number: int = 120) -> CpuProduct:
    rng = np.random.default_rng(0)
    m, n, k = (np.floor(2 ** rng.uniform(low, high, number)) for low, high in ((0, 9), (5, 11), (5, 11)))
    return products(m, n, k)


def functions(rows: Any, cols: Any, reuse: Any = NOTHING) -> CpuFunction:
    values = np.broadcast_arrays(*(np.asarray(value, float) for value in (rows, cols, reuse)))
    rows, cols, reuse = (np.atleast_1d(value).copy() for value in values)
    return CpuFunction(rows=rows, cols=cols, least=8 * rows * cols, threads=np.ones(len(rows)), reuse=reuse)


def measured_rows(coefficients: CpuProductCoefficients, number: int = 48) -> pd.DataFrame:
    record = some_products(number)
    table = pd.DataFrame({"m": record.m, "n": record.n, "k": record.k, "batch": 1.0, "op": "gemm"})
    shared = {"a_dtype": "fp32", "w_dtype": "fp32", "timing": "cpu_thread_time", "framework": "mine 1.0"}
    times = product_us(record, processor("epyc-naples"), coefficients)
    return table.assign(device="epyc-naples", latency_us=times, **shared)


def test_a_batch_of_products_is_its_rows_one_by_one() -> None:
    every, c = some_products(40), CpuProductCoefficients()
    alone = [product_us(products(every.m[i], every.n[i], every.k[i]), CPU, c)[0] for i in range(40)]
    assert product_us(every, CPU, c) == pytest.approx(alone)


def test_no_product_beats_the_ceiling() -> None:
    c = CpuProductCoefficients(compute=1.0, memory=1.0)
    assert (product_us(some_products(), CPU, c) >= some_products().flops() / CPU.peak("fp32") * 1e6).all()


def test_few_rows_waste_the_inner_kernel_and_part_of_a_vector_costs_a_whole_one() -> None:
    c = CpuProductCoefficients(t0_us=0.0, left=0.0, right=0.0, out=0.0, row_loss=1.0)
    one, many = product_us(products([1, 256], 512, 512), CPU, c)
    assert one * 256 > 1.5 * many
    seventeen, sixteen, thirty_two = product_us(products(64, [17, 16, 32], 512), CPU, c)
    assert seventeen > 1.5 * sixteen
    assert seventeen == pytest.approx(thirty_two, rel=0.1)


def test_weights_come_from_the_level_that_holds_what_was_touched_since() -> None:
    c = CpuProductCoefficients(t0_us=0.0, memory=1.0, compute=1.0, right=0.0, row_loss=0.0)
    near, far = product_us(products(1, 512, 512, reuse=[1e5, 1e9]), CPU, c)
    assert far - near > 0.5 * (4 * 512 * 512) * (1 / 15e9 - 1 / 60e9) * 1e6
    footprint = np.array([1e4, 3e6, 1e9])
    assert CPU.seconds_per_byte(footprint) == pytest.approx([1 / 60e9, 1 / 50e9, 1 / 15e9], rel=0.05)


def test_stored_weights_of_four_bits_move_less_and_cost_to_unpack() -> None:
    c = CpuProductCoefficients(t0_us=0.0, memory=1.0, compute=1.0)
    assert products(1, 64, 64, w_format="int4").right_bytes()[0] == 64 * 64 / 2
    slow = replace(c, right=20.0)
    one, many = (product_us(products(m, 512, 512), CPU, slow) / product_us(products(m, 512, 512), CPU, c)
                 for m in (1, 512))  # fmt: skip
    assert one[0] > 1.5
    assert many[0] < 1.05


def test_threads_share_all_but_the_serial_part() -> None:
    c = CpuProductCoefficients(t0_us=0.0, serial=0.1)
    one, four = product_us(products(512, 512, 512, threads=[1, 4]), CPU, c)
    assert one / four == pytest.approx(1 / (0.1 + 0.9 / 4), rel=0.1)


def test_functions_cost_their_values_and_a_constant_per_row() -> None:
    c = CpuFunctionCoefficients(t0_us=0.0, row=32.0)
    wide, narrow = function_us(functions([64, 2048], [1024, 32]), CPU, c, "softmax")
    assert narrow / wide == pytest.approx((2048 * 64) / (64 * 1056), rel=0.1)
    softmax, add = (function_us(functions(64, 1024), CPU, c, op)[0] for op in ("softmax", "add"))
    assert softmax > 2 * add


def test_attention_grows_with_its_pairs_and_causal_halves_them() -> None:
    sizes = {"batch": 1.0, "q_len": 256.0, "kv_len": 256.0, "heads": 8.0, "kv_heads": 8.0, "head_dim": 64.0}
    columns = {name: np.array([value, value]) for name, value in sizes.items()}
    record = CpuAttention(**columns, causal=np.array([0.0, 1.0]), threads=np.ones(2), reuse=np.full(2, NOTHING),
                          a_format="fp32", kv_format="fp32")  # fmt: skip
    full, half = attention_us(record, CPU, CpuAttentionCoefficients(t0_us=0.0))
    assert half == pytest.approx(full / 2, rel=0.05)


def test_a_fit_finds_the_coefficients_that_made_its_rows() -> None:
    truth = CpuProductCoefficients(t0_us=3.0, compute=0.6, row_loss=1.5, right=8.0)
    record = some_products(100)
    times = product_us(record, CPU, truth)
    values, surface = fit_rows(PROCESSORS["cpu_gemm"], [(record, CPU, times)], "gemm")  # type: ignore[list-item]
    assert surface is None
    assert np.abs(product_us(record, CPU, values) / times - 1).mean() < 0.02
    assert values.compute == pytest.approx(0.6, rel=0.1)
    assert values.t0_us == pytest.approx(3.0, rel=0.2)


def test_a_calibration_is_judged_on_sizes_that_it_did_not_see() -> None:
    table = measured_rows(CpuProductCoefficients(t0_us=2.0, compute=0.5, right=6.0))
    noisy = table.assign(latency_us=table.latency_us * np.exp(np.random.default_rng(1).normal(0, 0.05, len(table))))
    (found,) = calibrate_table(noisy, date="2026-01-01")
    off = np.abs(found.after / found.measured - 1)
    assert found.split == "n x k"
    assert off.mean() < 0.08 < np.abs(found.ceilings / found.measured - 1).mean()
    assert 0.6 < found.inside <= 1
    assert found.calibration is not None
    assert found.calibration.source == "rows given by the user"
    assert calibrate_table(noisy.assign(source="bench"), date="2026-01-01")[0].calibration.source == "bench"  # type: ignore[union-attr]


def test_held_out_groups_are_those_that_are_asked_for() -> None:
    table = measured_rows(CpuProductCoefficients()).assign(model=["a", "b", "c"] * 16)
    (found,) = calibrate_table(table, ("model",), date="2026-01-01")
    assert found.split == "model"
    with pytest.raises(SpecError, match="need the column 'nothing'"):
        calibrate_table(table, ("nothing",), date="2026-01-01")
    with pytest.raises(SpecError, match="3 rows or more"):
        calibrate_table(table[:2], date="2026-01-01")


def test_a_calibration_read_back_predicts_the_rows_that_made_it() -> None:
    table = measured_rows(CpuProductCoefficients(t0_us=2.0, compute=0.5))
    (found,) = calibrate_table(table, date="2026-01-01")
    assert found.calibration is not None
    given = read_calibrations(write_calibrations((found.calibration,), "a test"), "copy")
    assert asdict(given[0]) == asdict(found.calibration)
    answer = predict_table(table, calibrations=given)
    assert (answer.remark == "").all()
    assert np.abs(answer.predicted_us / table.latency_us - 1).mean() < 0.03
    assert ((answer.low_us < table.latency_us) & (table.latency_us < answer.high_us)).mean() > 0.8


def test_gpu_rows_are_calibrated_by_the_same_command() -> None:
    rng = np.random.default_rng(0)
    sizes = {name: np.floor(2 ** rng.uniform(7, 12, 12)) for name in ("m", "n", "k")}
    table = pd.DataFrame(sizes).assign(batch=1, op="gemm", a_dtype="bf16", w_dtype="bf16", framework="mine")
    table = table.assign(device="a100_sxm_80gb", timing="cuda_graph_or_event_loop")
    slow = table.assign(latency_us=1.5 * predict_table(table).predicted_us)
    (found,) = calibrate_table(slow, date="2026-01-01")
    before, after = (np.abs(value / found.measured - 1).mean() for value in (found.before, found.after))
    assert after < 0.1 < before


def test_a_cpu_without_rows_of_its_own_takes_the_shipped_ones_with_a_wider_band(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(device_file(), encoding="utf-8")
    table = measured_rows(CpuProductCoefficients()).assign(framework="onnxruntime 1.32.0")[:5]
    own, other = predict_table(table), predict_table(table.assign(device=str(path)))
    assert (own.remark == "").all()
    assert (predict_table(table.assign(timing="process_wall_time")).remark == "timing cpu_thread_time").all()
    assert own.predicted_us.notna().all()
    assert (other.remark.str.startswith("calibrated on epyc-naples")).all()
    widths = [float(np.log(found.high_us.iloc[0] / found.low_us.iloc[0])) for found in (own, other)]
    assert widths[1] > 2 * widths[0]


def device_file() -> str:
    from importlib import resources

    folder = resources.files("hwmodels") / "calibration"
    return (folder / "processor-epyc-naples.toml").read_text(encoding="utf-8")


def test_cpus_are_known_by_name_by_file_and_as_local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert processor_names() == ("epyc-naples",)
    assert [is_processor(name) for name in ("local", "epyc-naples", "h100-sxm", "none.toml")] == [
        True, True, False, False,
    ]  # fmt: skip
    monkeypatch.setenv("DSE_CACHE", str(tmp_path))
    with pytest.raises(SpecError, match="dse devices --local"):
        processor("local")
    (tmp_path / "local.toml").write_text(device_file(), encoding="utf-8")
    assert processor("local").peaks == processor("epyc-naples").peaks
    with pytest.raises(SpecError, match=r"unknown CPU 'epyc'.*epyc-naples"):
        processor("epyc")


def test_a_data_sheet_of_many_cores_gives_a_threads_share() -> None:
    path = Path(__file__).parents[2] / "hwmodels" / "specs" / "epyc-9654.toml"
    found = processor(str(path))
    assert found.peak("fp32") == pytest.approx(7.4e12 / 96, rel=0.05)
    assert found.peak("int4") == found.peak("fp32")
    assert found.levels[0].bytes_per_s > found.levels[1].bytes_per_s > found.dram_bytes_per_s


def test_ceilings_are_the_longer_of_computing_and_moving() -> None:
    tall, flat = ceilings_product_us(products([512, 1], 512, 512), CPU)
    assert tall == pytest.approx(0.7 + 2 * 512**3 / 40e9 * 1e6)
    assert flat == pytest.approx(0.7 + (512 * 512 * 4 + 512 * 8) / 15e9 * 1e6)


def model_rows(nodes: int, whole_us: float, name: str = "m") -> pd.DataFrame:
    shared: dict[str, Any] = {"device": "epyc-naples", "framework": "onnxruntime 1.32.0", "model": name}
    shared |= {"timing": "cpu_thread_time"} | {"threads": 1, "source": "a test"}
    gemm = {"op": "gemm", "batch": 1, "m": 64, "n": 256, "k": 256, "a_dtype": "fp32", "w_dtype": "fp32", "count": nodes}
    call = {"op": "call", "rows": 1, "cols": 1, "bytes": 8, "a_dtype": "fp32", "count": 1, "latency_us": 15.0}
    whole = {"op": "model_forward", "count": 1, "in_layers": 2, "latency_us": whole_us}
    return pd.DataFrame([{**gemm, "in_layers": nodes, "latency_us": 250.0}, call, whole]).assign(**shared)


def test_a_model_has_a_row_of_its_operators_and_one_of_its_weights() -> None:
    rows = inside_models(pd.concat([model_rows(10, 1.0), model_rows(20, 1.0, "n")]))
    weights = rows[rows.op == "weights"].set_index("model")
    assert weights.bytes["m"] == 10 * 256 * 256 * 4
    assert weights.bytes["n"] == 2 * weights.bytes["m"]
    nodes = rows[rows.op == "node"].set_index("model")
    assert list(nodes["count"]) == [10, 20]
    assert nodes.bytes["m"] == 2 * 64 * 256 * 4


def test_a_fused_kernel_beside_its_operators_does_not_count_twice() -> None:
    plain = model_rows(10, 1.0)
    fused = plain[:1].assign(note="fused: instead of its products and softmax")
    both = pd.concat([plain, fused], ignore_index=True)
    assert model_totals(both).predicted_us["m"] == pytest.approx(model_totals(plain).predicted_us["m"])


def test_what_operators_take_more_inside_of_models_is_found() -> None:
    plain = pd.concat([model_rows(count, 1.0, f"m{count}") for count in (5, 10, 20, 40, 80)], ignore_index=True)
    rows = inside_models(plain)
    kernels = predict_table(rows[~rows.op.isin(["node", "weights"])])
    sums = (kernels.predicted_us * kernels["count"]).groupby(kernels.model).sum()
    far = rows[rows.op == "weights"].set_index("model").bytes
    more_us = (
        5.0 * far.index.str[1:].astype(float)
        + far * processor("epyc-naples").seconds_per_byte(far.to_numpy(dtype=float)) * 1e6
    )
    whole = plain.model.map(sums + more_us)
    measured = plain.assign(latency_us=plain.latency_us.where(plain.op != "model_forward", whole))
    made = inside_calibrations(measured, (), date="2026-01-01", source="a test")
    assert [item.key.kernel for item in made] == ["node", "weights"]
    totals = model_totals(plain, made)
    assert totals.predicted_us.to_numpy() == pytest.approx(whole[plain.op == "model_forward"].to_numpy(), rel=0.01)
    assert totals.layer_us["m10"] == pytest.approx((totals.predicted_us["m10"] - 15) / 2, rel=0.1)
    assert (totals.low_us < totals.predicted_us).all()
    assert inside_calibrations(model_rows(5, 1.0), (), date="2026-01-01", source="a test") == ()


@pytest.mark.parametrize("name", PROCESSORS)
def test_shipped_calibrations_of_cpus_read_back_and_say_what_they_are(name: str) -> None:
    items = calibrations(name)
    assert read_calibrations(write_calibrations(items), "copy") == items
    for item in items:
        assert item.key.device == "epyc-naples"
        assert all((item.source, item.split, item.date))
        assert item.band[0] < item.band[1]


def test_on_the_cpu_that_ships_int8_is_no_twice_as_fast_and_int4_no_faster_than_int8() -> None:
    """What reports/cpu_kernels.md measured of ONNX Runtime on AVX2 without VNNI: a layer of MiniLM on 128 tokens."""
    shape = {"batch": 1, "m": 128, "n": 1536, "k": 384, "framework": "onnxruntime 1.32.0", "device": "epyc-naples"}
    forms = [("gemm", "fp32", "fp32"), ("gemm_dynamic", "int8", "int8"), ("gemm_nbits", "fp32", "int4")]
    forms.append(("gemm_nbits_dynamic", "fp32", "int8"))
    rows = [{**shape, "op": op, "a_dtype": a, "w_dtype": w, "timing": "cpu_thread_time"} for op, a, w in forms]
    fp32, int8, int4, weights8 = predict_table(pd.DataFrame(rows)).predicted_us
    assert 0.7 < fp32 / int8 < 1.5
    assert int4 > 0.85 * int8
    assert weights8 > 1.8 * fp32
