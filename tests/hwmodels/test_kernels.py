"""Kernel formulas, fits and calibrations on small synthetic rows."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from hwmodels.kernels.attention import AttentionCoefficients, decode_us, prefill_us
from hwmodels.kernels.calibration import calibrations, read_calibrations, write_calibrations
from hwmodels.kernels.collectives import CollectiveCoefficients, collective_us
from hwmodels.kernels.elementwise import ElementwiseCoefficients, elementwise_us
from hwmodels.kernels.families import FAMILIES
from hwmodels.kernels.finding import find
from hwmodels.kernels.fitting import fit_rows
from hwmodels.kernels.gemm import GemmCoefficients, gemm_us, roofline_us
from hwmodels.kernels.machine import machine, machine_names
from hwmodels.kernels.records import Array, Attention, Collective, Elementwise
from hwmodels.kernels.surface import fit_surface
from hwmodels.kernels.tables import Key
from tests.hwmodels.kernel_rows import A100, products, some_products
from workloads.errors import SpecError


def attention(batch: Any, q_len: Any, kv_len: Any, heads: Any = 32, kv_heads: Any = 8, causal: Any = 1) -> Attention:
    values = np.broadcast_arrays(*(np.asarray(v, float) for v in (batch, q_len, kv_len, heads, kv_heads, 128, causal)))
    names = ("batch", "q_len", "kv_len", "heads", "kv_heads", "head_dim", "causal")
    columns = {name: np.atleast_1d(value).copy() for name, value in zip(names, values, strict=True)}
    return Attention(**columns, a_format="bf16", kv_format="bf16")


def test_a_batch_of_products_is_its_rows_one_by_one() -> None:
    every = some_products(50)
    alone = [gemm_us(products(every.m[i], every.n[i], every.k[i]), A100, GemmCoefficients())[0] for i in range(50)]
    assert gemm_us(every, A100, GemmCoefficients()) == pytest.approx(alone, rel=1e-6)


def test_no_product_is_faster_than_the_data_sheet_when_nothing_is_resident() -> None:
    cold = GemmCoefficients(compute=1.0, memory=1.0, resident=0.0)
    assert (gemm_us(some_products(), A100, cold) >= roofline_us(some_products(), A100) * (1 - 1e-5)).all()


def test_one_tile_more_than_a_wave_takes_a_second_wave() -> None:
    # 108 tiles of 128 x 128 fill an A100 once; with no split worth its second pass the next one starts a wave.
    whole = products(128, 128 * 108, 4096)
    exact = GemmCoefficients(t0_us=0.0, ramp_us=0.0, small_tile=1.0, split_us=1e6, blend=0.0, resident=0.0)
    bound = 2 * 128 * 128 * 4096 * 108 / (exact.compute * 312e12) * 1e6 * 1.5
    assert gemm_us(whole, A100, exact)[0] == pytest.approx(bound, rel=0.25)
    assert gemm_us(products(128, 128 * 109, 4096), A100, exact)[0] > 1.05 * gemm_us(whole, A100, exact)[0]


def test_a_deep_product_of_one_tile_is_split() -> None:
    deep = products(64, 64, 65536)
    split, whole = GemmCoefficients(), GemmCoefficients(split_us=1e6)
    assert gemm_us(deep, A100, split)[0] < 0.4 * gemm_us(deep, A100, whole)[0]


def test_unpacked_weights_save_traffic_and_no_arithmetic() -> None:
    c = GemmCoefficients(resident=0.0)
    few, many = ([gemm_us(products(m, 8192, 8192, "bf16", w), A100, c)[0] for w in ("int4", "bf16")] for m in (1, 8192))
    assert few[0] < 0.45 * few[1]
    assert many[0] == pytest.approx(many[1], rel=0.03)


def test_a_format_without_a_path_is_refused() -> None:
    with pytest.raises(SpecError, match="no peak for fp8"):
        gemm_us(products(64, 64, 64, "fp8", "fp8"), A100, GemmCoefficients())


def test_causal_prompts_take_half_and_decoding_is_bound_by_its_cache() -> None:
    c = AttentionCoefficients(t0_us=0.0)
    half, full = (prefill_us(attention(8, 8192, 8192, causal=one), A100, c)[0] for one in (1, 0))
    assert half == pytest.approx(full / 2, rel=0.05)
    token = attention(256, 1, 8192, causal=0)
    floor = token.kv_bytes()[0] / A100.dram_bytes_per_s * 1e6
    assert floor < decode_us(token, A100, c)[0] < 3 * floor


def test_splitting_the_cache_helps_one_sequence() -> None:
    c = AttentionCoefficients()
    one, many = decode_us(attention([1, 32], 1, 32768, causal=0), A100, c)
    assert one < many
    assert decode_us(attention(1, 1, 32768, causal=0), A100, replace(c, combine_us=1e6))[0] > 2 * one


def test_queries_of_one_key_head_share_its_cache() -> None:
    grouped, single = (
        decode_us(attention(64, 1, 8192, kv_heads=h, causal=0), A100, AttentionCoefficients())[0] for h in (4, 32)
    )
    assert grouped < 0.3 * single


def test_small_tensors_take_the_constant_and_large_ones_the_bandwidth() -> None:
    c = ElementwiseCoefficients(row_us=0.0)
    record = Elementwise(rows=np.array([1.0, 2**16]), cols=np.array([16.0, 2**14]), least=np.array([64.0, 2.0**32]))
    small, large = elementwise_us(record, A100, c)
    assert small == pytest.approx(c.t0_us, rel=1e-3)
    assert large == pytest.approx(2.0**32 / (c.memory * 2.039e12) * 1e6, rel=0.01)


def test_an_all_reduce_moves_twice_the_other_devices_share() -> None:
    c = CollectiveCoefficients()
    large = Collective(size=np.array([1e9]), devices=np.array([8.0]), nodes=np.ones(1))
    assert collective_us(large, 2.0, c)[0] == pytest.approx(2 * 7 / 8 * 1e9 / 200e3, rel=0.02)


def test_a_fit_finds_the_coefficients_that_made_its_rows() -> None:
    truth = GemmCoefficients(t0_us=5.0, compute=0.7, memory=0.6)
    record = some_products()
    measured = gemm_us(record, A100, truth)
    values, _ = fit_rows(FAMILIES["gemm"], [(record, A100, measured)], "gemm", lengths=())
    assert np.abs(gemm_us(record, A100, values) / measured - 1).mean() < 0.02
    assert values.t0_us == pytest.approx(5.0, rel=0.1)


def test_a_surface_follows_a_smooth_residual_and_stays_flat_outside() -> None:
    rng = np.random.default_rng(3)
    x: Array = rng.uniform(0, 10, (400, 3))
    surface = fit_surface(x, 0.3 * np.sin(x[:, 0] / 3), (3.0, 6.0, 6.0), 0.02)
    fresh = rng.uniform(1, 9, (100, 3))
    assert np.abs(np.log(surface.factor(fresh)) - 0.3 * np.sin(fresh[:, 0] / 3)).mean() < 0.02
    assert surface.factor(np.array([[50.0, 5, 5]])) == pytest.approx(surface.factor(np.array([[x[:, 0].max(), 5, 5]])))


@pytest.mark.parametrize("name", FAMILIES)
def test_shipped_calibrations_read_back_and_say_what_they_are(name: str) -> None:
    items = calibrations(name)
    assert read_calibrations(write_calibrations(items), "copy") == items
    for item in items:
        assert item.rows >= 15
        assert all((item.source, item.split, item.date))
        assert item.band[0] < item.band[1]
        assert all(np.isfinite(getattr(item.coefficients, field.name)) for field in fields(item.coefficients))


def test_a_broken_calibration_is_refused_by_file_and_entry() -> None:
    with pytest.raises(SpecError, match=r"mine\.toml: entry 1"):
        read_calibrations("[[entry]]\nband = [0.0, 0.1]\n", "mine.toml")


def test_a_gpu_without_measurements_takes_its_familys_calibration_with_a_wider_band() -> None:
    key = Key("gemm", "h200_sxm_141gb", "gemm", "bf16", "bf16", "cuda_graph_or_event_loop", "vllm 0.24.0")
    among = calibrations("gemm")
    found = find(key, machine("h200_sxm_141gb"), among)
    own = find(replace(key, device="h100_sxm_80gb"), machine("h100_sxm_80gb"), among)
    assert own.remark == ""
    assert found.remark == "calibrated on h100_sxm_80gb"
    assert found.calibration.band[1] - found.calibration.band[0] > 2 * (
        own.calibration.band[1] - own.calibration.band[0]
    )


@pytest.mark.parametrize("name", machine_names())
def test_every_gpu_is_known_by_its_name_and_has_what_the_formulas_need(name: str) -> None:
    found = machine(name)
    assert found.clock_hz > 5e8
    assert found.l2_bytes > 1e6
    # FLOPs of one multiprocessor in a cycle are a power of two, up to the rounding of data sheets.
    lanes = found.peaks["fp32"] / found.sms / found.clock_hz / 2
    assert min(abs(lanes / expected - 1) for expected in (64, 128, 256)) < 0.12


def test_unknown_gpus_are_refused_by_name() -> None:
    with pytest.raises(SpecError, match=r"unknown GPU 'h101_sxm'.*h100"):
        machine("h101_sxm")
