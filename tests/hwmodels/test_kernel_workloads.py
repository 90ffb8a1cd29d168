"""Workloads as GPU kernels: what runs as one, with which sizes; what stays in the cache; many GPUs; sums and bands."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import hwmodels
from hwmodels.kernels.clusters import STYLES
from hwmodels.kernels.device import Timing
from hwmodels.kernels.lowering import Kernel, lower_kernels
from hwmodels.kernels.machine import machine
from hwmodels.kernels.parallel import split_kernels
from hwmodels.kernels.reuse import REACH, hot_bytes
from hwmodels.kernels.whole import DISPATCH_US, predict_program, predict_workload
from workloads import compress
from workloads.compress import Quantize
from workloads.errors import SpecError
from workloads.workload import Program, Workload
from workloads.zoo import architecture

KINDS: tuple[Timing, ...] = ("kernel", "graph", "eager")
SMALL = {
    "model_type": "llama", "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 2,
    "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 1000, "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-5, "rope_theta": 1e4,
}  # fmt: skip


@cache
def llama(phase: str = "prefill", **options: Any) -> Workload:
    sizes = {"seq": 256} if phase == "prefill" else {"context": 1023}
    return architecture(SMALL, phase=phase, batch=4, **(sizes | options))  # type: ignore[arg-type]


@cache
def bert(**options: Any) -> Workload:
    return architecture("bert-mini", batch=8, seq=128, **options)


def of(kernels: tuple[Kernel, ...], op: str) -> list[Kernel]:
    return [kernel for kernel in kernels if kernel.op == op]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_every_operator_that_runs_is_in_one_kernel(style: str, phase: str) -> None:
    work = llama(phase)
    named = [name for kernel in lower_kernels(work, style) for name in kernel.operators]
    assert len(named) == len(set(named))
    left = {op.name for op in work.operators} - set(named)
    shuffles = {"Transpose", "Expand", "Split", "Slice", "Unsqueeze", "Squeeze", "Reshape"}
    assert {op.kind for op in work.operators if op.name in left and op.op_type not in shuffles} <= {"view"}


@pytest.mark.parametrize("style", STYLES)
def test_products_have_the_flops_of_the_workload(style: str) -> None:
    """Fused attention counts its products in full here: both of them, masked half included."""
    work = llama()
    flops = 0.0
    for kernel in lower_kernels(work, style):
        s = kernel.sizes
        if kernel.family == "gemm":
            flops += 2 * float(s["batch"] * s["m"] * s["n"] * s["k"])
        if kernel.family.startswith("attention"):
            flops += 4 * float(s["batch"] * s["heads"] * s["head_dim"] * s["q_len"] * s["kv_len"])
    assert flops == sum(op.flops() for op in work.operators if op.kind == "matmul")


def test_a_library_runs_a_llama_layer_in_nine_kernels() -> None:
    kernels = [k for k in lower_kernels(llama(), "library") if k.block.startswith("layer.0.")]
    assert [kernel.op for kernel in kernels] == [
        "gemm", "rope", "attention_prefill", "gemm", "rmsnorm", "gemm", "silu_mul", "gemm", "rmsnorm",
    ]  # fmt: skip
    qkv, _, attention, out, norm, up, gated, down, *_ = kernels
    assert (qkv.sizes["m"], qkv.sizes["n"], qkv.sizes["k"]) == (1024, 512 + 2 * 128, 512)
    assert (out.sizes["n"], up.sizes["n"], down.sizes["k"]) == (512, 2 * 1536, 1536)
    assert {name: float(attention.sizes[name]) for name in attention.sizes} == {
        "batch": 4, "q_len": 256, "kv_len": 256, "heads": 8, "kv_heads": 2, "head_dim": 64, "causal": 1,
    }  # fmt: skip
    # The norm reads two tensors, writes their sum and its result; the gate reads both halves.
    assert norm.sizes["bytes"] == 4 * 1024 * 512 * 2 + 512 * 2
    assert gated.sizes["bytes"] == 3 * 1024 * 1536 * 2


def test_a_decoding_step_reads_a_cache_that_query_heads_share() -> None:
    attention = of(lower_kernels(llama("decode", kv_bits=8), "library"), "attention_decode")
    assert len(attention) == 2
    assert {name: float(value) for name, value in attention[0].sizes.items()} == {
        "batch": 4, "q_len": 1, "kv_len": 1024, "heads": 8, "kv_heads": 2, "head_dim": 64, "causal": 0,
    }  # fmt: skip
    assert attention[0].w_format == "int8"
    appended = [k for k in lower_kernels(llama("decode", kv_bits=8), "library") if "append" in " ".join(k.operators)]
    assert len(appended) == 2  # a layer: keys and values quantized and appended at once


def test_an_encoder_attends_both_ways_and_eager_frameworks_run_its_parts() -> None:
    fused = of(lower_kernels(bert(), "library"), "attention_prefill")
    assert len(fused) == 4
    assert all(kernel.sizes["causal"] == 0 for kernel in fused)
    eager = lower_kernels(bert(), "eager")
    assert len(of(eager, "bgemm")) == 8
    assert len(of(eager, "softmax")) == 4
    assert of(eager, "bgemm")[0].sizes["batch"] == 8 * 4


@cache
def published(name: str, **options: Any) -> Workload:
    return architecture(name, batch=1, **options)


def test_latent_attention_decodes_with_all_heads_on_one_cache() -> None:
    """DeepSeek-V2 after absorbing: 128 heads share a latent of 512 values and 64 rotated ones (its paper, table 1)."""
    attention = of(lower_kernels(published("deepseek-v2", phase="decode", context=64), "library"), "attention_decode")
    assert len(attention) == 60
    sizes = {name: float(attention[0].sizes[name]) for name in ("q_len", "heads", "kv_heads", "head_dim", "kv_len")}
    assert sizes == {"q_len": 1, "heads": 128, "kv_heads": 1, "head_dim": 576, "kv_len": 65}


def test_scores_that_are_capped_are_fused_too() -> None:
    kernels = lower_kernels(published("gemma-2-2b", phase="prefill", seq=64), "library")
    assert len(of(kernels, "attention_prefill")) == 26
    assert not of(kernels, "softmax")


def test_experts_are_a_batch_of_products_that_read_the_weights_they_touch() -> None:
    """Mixtral: 128 tokens go to 2 of 8 experts each; all 8 are read, and each computes a share of 256 rows."""
    experts = [k for k in lower_kernels(published("mixtral-8x7b", seq=128), "library") if "moe:up" in k.name]
    sizes = experts[0].sizes
    assert sizes["batch"] == pytest.approx(8, abs=0.01)
    assert sizes["batch"] * sizes["m"] == pytest.approx(2 * 128)
    assert (sizes["n"], sizes["k"]) == (2 * 14336, 4096)


def test_a_compiler_merges_what_an_eager_framework_runs_alone() -> None:
    eager, compiled = lower_kernels(bert(), "eager"), lower_kernels(bert(), "compiled")

    def moved(kernels: tuple[Kernel, ...]) -> float:
        return float(sum(kernel.sizes["bytes"] for kernel in kernels if kernel.family == "elementwise"))

    assert len(compiled) < 0.7 * len(eager)
    assert moved(compiled) < 0.7 * moved(eager)


def test_an_operator_may_run_as_several_kernels() -> None:
    style = replace(STYLES["eager"], expand={"gelu": ("mul", "tanh", "add")})
    plain, wide = lower_kernels(bert(), "eager"), lower_kernels(bert(), style)
    assert len(wide) == len(plain) + 2 * len(of(plain, "gelu"))


def chain(sizes: dict[str, float], weights: tuple[str, ...] = ()) -> list[Kernel]:
    names = list(sizes)
    return [
        Kernel(
            name=after, operators=(after,), block="", family="elementwise", op="add", sizes={}, a_format="fp16",
            w_format="", reads={before: sizes[before], **dict.fromkeys(weights, 1e6)}, writes={after: sizes[after]},
            weights=frozenset(weights),
        )
        for before, after in pairwise(names)
    ]  # fmt: skip


def test_what_was_written_just_before_stays_in_a_cache_that_holds_it() -> None:
    kernels = chain({"a": 1e6, "b": 1e6, "c": 1e6})
    large, small = (hot_bytes(kernels, size / REACH) for size in (1e9, 1e4))
    assert large == pytest.approx([1e6, 1e6], abs=64)  # b is neither written out nor read back; a and c are
    assert small == [0, 0]
    at_edge = hot_bytes(kernels, 3e6 / REACH)  # 3 MB are touched from b's writer to its reader
    assert 0.1e6 < at_edge[1] < 0.9e6


def test_weights_are_hot_only_where_a_run_follows_a_run() -> None:
    kernels = chain({"a": 1e3, "b": 1e3, "c": 1e3}, ("w",))
    assert hot_bytes(kernels[:1], 1e9)[0] == 0
    assert hot_bytes(kernels[:1], 1e9, repeated=True)[0] == pytest.approx(1e6, abs=64)
    assert hot_bytes(kernels, 1e9)[1] == pytest.approx(1e6 + 1e3, abs=64)  # the second kernel reads the same weight


def test_reuse_saves_time_and_dram_traffic_on_a_large_cache_alone() -> None:
    cold, warm = (hwmodels.evaluate(bert(), hwmodels.calibrated("a100-sxm-80gb", reuse=on)) for on in (False, True))
    assert warm.latency_s < cold.latency_s
    assert warm.dram_bytes < 0.7 * cold.dram_bytes
    tiny = [hwmodels.evaluate(bert(), hwmodels.calibrated("p100-pcie", reuse=on)).dram_bytes for on in (False, True)]
    assert tiny[1] / tiny[0] > warm.dram_bytes / cold.dram_bytes


@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_gpus_share_the_flops_of_layers_and_join_their_sums(gpus: int) -> None:
    one = lower_kernels(llama(), "library")
    many = split_kernels(one, gpus)

    def flops(kernels: tuple[Kernel, ...]) -> float:
        return float(sum(k.sizes["m"] * k.sizes["n"] * k.sizes["k"] for k in kernels if k.family == "gemm"))

    assert flops(many) == pytest.approx(flops(one) / gpus, rel=0.01)
    reduced = of(many, "all_reduce")
    assert len(reduced) == 2 * 2  # two a layer
    assert all(kernel.sizes["bytes"] == 1024 * 512 * 2 for kernel in reduced)
    assert len(of(many, "all_gather")) == 1
    heads = of(many, "attention_prefill")[0].sizes
    assert (heads["heads"], heads["kv_heads"]) == (8 / gpus, max(1, 2 / gpus))


def test_gpus_that_do_not_divide_the_heads_wait_for_those_with_one_more() -> None:
    heads = of(split_kernels(lower_kernels(llama(), "library"), 3), "attention_prefill")[0].sizes
    assert (heads["heads"], heads["kv_heads"]) == (3, 1)


@pytest.mark.parametrize("gpus", [0, -2])
def test_no_gpus_are_refused(gpus: int) -> None:
    with pytest.raises(SpecError, match="1 or more"):
        split_kernels(lower_kernels(llama(), "library"), gpus)


def test_a_sum_is_that_of_its_kernels_and_its_band_is_narrower_than_theirs() -> None:
    whole = predict_workload(llama(), "h100-sxm")
    assert whole.time_us == pytest.approx(sum(row.kernel.count * row.time_us for row in whole.kernels))
    assert whole.low_us < whole.time_us < whole.high_us
    widest = sum(row.kernel.count * (row.high_us - row.low_us) for row in whole.kernels)
    assert whole.high_us - whole.low_us < widest
    assert whole.roofline_us < whole.time_us


def test_a_host_may_be_slower_than_the_kernels_that_it_launches() -> None:
    times = {kind: predict_workload(llama("decode"), "h100-sxm", timing=kind) for kind in KINDS}
    assert times["eager"].time_us > times["graph"].time_us
    count = len(times["eager"].kernels)
    assert times["eager"].time_us >= count * DISPATCH_US
    slow = predict_workload(architecture("bert-base", batch=64, seq=512), "t4", timing="eager")
    assert slow.time_us == pytest.approx(sum(row.kernel.count * row.time_us for row in slow.kernels), rel=0.01)


def test_a_gpu_of_another_name_takes_its_familys_calibration_with_a_wider_band() -> None:
    known, other = (predict_workload(llama(), name) for name in ("h100-sxm", "h200-sxm"))
    gemm = [next(row for row in whole.kernels if row.kernel.op == "gemm") for whole in (known, other)]
    assert gemm[0].remark == ""
    assert "h100_sxm_80gb" in gemm[1].remark
    spread = [np.log(row.high_us / row.low_us) for row in gemm]
    assert spread[1] > 2 * spread[0]


def test_every_gpu_that_ships_predicts_a_whole_model() -> None:
    from hwmodels.kernels.machine import machine_names

    for name in machine_names():
        whole = predict_workload(bert(), name)
        assert np.isfinite(whole.time_us)
        assert whole.time_us > sum(row.kernel.count * row.roofline_us for row in whole.kernels)


def test_a_batch_of_widths_is_its_rows_one_by_one() -> None:
    device = hwmodels.calibrated("a100-sxm-80gb")
    bits = np.array([4, 8, 16, 8, 3])
    batch = hwmodels.evaluate(compress.cost(bert(), Quantize(weight_bits=bits)), device)
    for place, width in enumerate(bits):
        one = hwmodels.evaluate(compress.cost(bert(), Quantize(weight_bits=int(width))), device)
        for field in ("latency_s", "energy_j", "dram_bytes", "sd_shared", "sd_independent", "peak_bytes"):
            assert np.broadcast_to(getattr(batch, field), bits.shape)[place] == pytest.approx(getattr(one, field))


def test_a_batch_of_clocks_is_its_rows_one_by_one() -> None:
    device = hwmodels.calibrated("a100-sxm-80gb")
    clocks, widths = np.array([1.0, 0.5, 1.0]), np.array([1.0, 1.0, 0.5])
    batch = hwmodels.evaluate(bert(), device.at(clock_scale=clocks, bandwidth_scale=widths))
    alone = [hwmodels.evaluate(bert(), device.at(float(c), float(w))) for c, w in zip(clocks, widths, strict=True)]
    assert batch.latency_s == pytest.approx([cost.latency_s for cost in alone])
    assert batch.energy_j == pytest.approx([cost.energy_j for cost in alone])
    assert batch.latency_s[1] > batch.latency_s[0]  # type: ignore[index]


def test_a_program_is_the_weighted_sum_of_its_parts() -> None:
    parts = ((3.0, llama("decode")), (5.0, llama("decode", kv_bits=8)))
    program = Program(name="p", parts=parts)
    total = predict_program(program, "a100-sxm-80gb").time_us
    assert total == pytest.approx(sum(w * predict_workload(part, "a100-sxm-80gb").time_us for w, part in parts))
    cost = hwmodels.evaluate(program, hwmodels.calibrated("a100-sxm-80gb"))
    assert cost.latency_s == pytest.approx(total * 1e-6)


def test_the_parts_of_a_cost_add_up() -> None:
    cost = hwmodels.evaluate(llama(), hwmodels.calibrated("h100-sxm", gpus=2, timing="eager"))
    assert sum(cost.latency_by.values()) == pytest.approx(cost.latency_s)
    assert sum(cost.energy_by.values()) == pytest.approx(cost.energy_j)
    assert cost.latency_by["host"] > 0


def test_a_peak_that_two_of_four_double_is_used() -> None:
    from hwmodels.kernels.gemm import GemmCoefficients, gemm_us
    from hwmodels.kernels.records import Gemm

    one = np.ones(1)
    large = {"batch": one, "m": 8192 * one, "n": 8192 * one, "k": 8192 * one, "a_format": "fp16"}
    times = {
        name: gemm_us(Gemm(**large, w_format=stored), machine(name), GemmCoefficients())[0]  # type: ignore[arg-type]
        for name, stored in (("a100_sxm_80gb", "fp16_2:4"), ("v100_sxm_32gb", "fp16_2:4"))
    }
    dense = {
        name: gemm_us(Gemm(**large, w_format="fp16"), machine(name), GemmCoefficients())[0]  # type: ignore[arg-type]
        for name in times
    }
    assert times["a100_sxm_80gb"] < 0.62 * dense["a100_sxm_80gb"]
    assert times["v100_sxm_32gb"] == pytest.approx(dense["v100_sxm_32gb"], rel=0.02)


@pytest.mark.parametrize("name", ["a100-sxm-80gb", "l40s", "h100-sxm"])
def test_narrow_formats_compare_on_one_device(name: str) -> None:
    """A cache of half the width cannot be read more than twice as fast; unpacked weights save no arithmetic."""

    def attention(kv_bits: int | None) -> float:
        step = architecture(SMALL, phase="decode", batch=64, context=4095, dtype="bf16", kv_bits=kv_bits)
        rows = predict_workload(step, name).kernels
        return sum(float(row.time_us) for row in rows if row.kernel.op == "attention_decode")

    wide, eight, four = attention(None), attention(8), attention(4)
    assert wide / 2.1 < eight < wide
    assert wide / 4.2 < four < eight
    prompt = architecture("llama-3.2-1b", phase="prefill", batch=4, seq=2048, dtype="bf16")
    dense = predict_workload(prompt, name).time_us
    stored = predict_workload(compress.cost(prompt, Quantize(weight_bits=8)), name).time_us
    assert 0.9 < float(stored / dense) < 1.25


def test_fused_attention_needs_no_room_for_scores_or_mask() -> None:
    prompt = architecture("llama-3.2-1b", phase="prefill", batch=1, seq=16384)
    costs = {style: hwmodels.evaluate(prompt, hwmodels.calibrated("h100-sxm", style=style)) for style in STYLES}
    scores = 32 * 16384**2 * 2
    assert costs["eager"].peak_bytes - costs["library"].peak_bytes > scores
    assert costs["eager"].dram_bytes - costs["library"].dram_bytes > 16 * scores


def test_sums_of_small_messages_take_the_measured_graph_launches() -> None:
    whole = predict_workload(architecture("llama-3-8b", phase="decode", batch=8, context=1024), "h100-sxm", gpus=8)
    found = [row for row in whole.kernels if row.kernel.op == "all_reduce"]
    assert float(found[0].time_us) < 10  # the table's graph rows of 64 KB: 6.4 us; NCCL's 18
    assert found[0].remark == ""


@pytest.mark.parametrize("wrong", [{"timing": "slow"}, {"style": "jit"}, {"gpus": 0}])
def test_what_is_no_way_to_run_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        hwmodels.calibrated("h100-sxm", **wrong)


def test_cpus_are_refused_by_name() -> None:
    with pytest.raises(SpecError, match="epyc-9654"):
        hwmodels.calibrated("epyc-9654")
