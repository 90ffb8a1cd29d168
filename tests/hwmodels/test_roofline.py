from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import hwmodels
from hwmodels.roofline import RooflineDevice
from tests.hwmodels.bert import act, bert, operator, weight
from workloads import Operator, Program, Tensor, Workload, axis, format_code, pattern_code

A100 = hwmodels.load("a100-sxm-80gb")
PLAIN = replace(A100, fuses=())
FP16 = format_code("fp16")


def gemm(
    m: Any, n: Any, k: Any, bits: Any = 16, code: Any = FP16, pattern: Any = 0, op_type: str = "MatMul"
) -> Operator:
    inputs = [act("x", "m", "k"), weight("w", "k", "n", bits=bits, pattern=pattern)]
    return operator("gemm", "matmul", {"m": m, "n": n, "k": k}, inputs, act("y", "m", "n"), 2.0, op_type, code)


def work(*operators: Operator, **options: Any) -> Workload:
    return Workload(name="w", operators=operators, inputs=("x",), **options)


def dequantize(name: str = "w", bits: Any = 4) -> Operator:
    """The loader's contract: the stored weight goes in, `<weight>:dequantized` comes out, and no edge reads it."""
    return Operator(
        name=f"{name}:dequantize",
        op_type="DequantizeLinear",
        kind="convert",
        dims={"k": 4096, "n": 4096},
        inputs=(weight(name, "k", "n", bits=bits),),
        outputs=(act(f"{name}:dequantized", "k", "n"),),
        flops_per_point=2.0,
        format=FP16,
    )


def seconds(workload: Workload, device: RooflineDevice) -> float:
    return float(hwmodels.evaluate(workload, device).latency_s)


def test_a_compute_bound_gemm_takes_its_flops_at_the_peak() -> None:
    cost = hwmodels.evaluate(work(gemm(4096, 4096, 4096)), A100)
    assert cost.latency_s == pytest.approx(2.8e-6 + 2 * 4096**3 / 312e12)
    assert cost.flops == 2 * 4096**3
    assert cost.dram_bytes == 3 * 4096**2 * 2
    assert cost.latency_by["memory"] == 0
    assert cost.latency_by["launch"] == pytest.approx(2.8e-6)
    assert cost.energy_by["compute"] == pytest.approx(2 * 4096**3 * 0.36e-12)
    assert cost.energy_by["dram"] == pytest.approx(3 * 4096**2 * 2 * 8 * (1.59 + 4.71 + 13.11) * 1e-12)
    assert cost.energy_by["static"] == pytest.approx(54 * cost.latency_s)
    assert cost.energy_j == pytest.approx(sum(cost.energy_by.values()))


def test_a_memory_bound_gemm_takes_its_bytes_at_the_bandwidth() -> None:
    cost = hwmodels.evaluate(work(gemm(1, 4096, 4096)), A100)
    moved = (4096**2 + 4096 + 4096) * 2
    assert cost.dram_bytes == moved
    assert cost.latency_s == pytest.approx(2.8e-6 + moved / 2.039e12)
    assert cost.latency_by["compute"] == 0


def test_four_bit_weights_move_a_quarter_and_compute_in_the_activation_format() -> None:
    cost = hwmodels.evaluate(work(gemm(1, 4096, 4096, bits=4)), A100)
    assert cost.latency_s == pytest.approx(2.8e-6 + (4096**2 / 2 + 4 * 4096) / 2.039e12)
    large = hwmodels.evaluate(work(gemm(8192, 4096, 4096, bits=4)), A100)
    assert large.latency_s == pytest.approx(2.8e-6 + 2 * 8192 * 4096**2 / 312e12)


def test_arithmetic_formats_may_differ_from_point_to_point() -> None:
    codes = np.array([FP16, format_code("int8"), format_code("fp8_e4m3")])
    cost = hwmodels.evaluate(work(gemm(4096, 4096, 4096, code=codes)), A100)
    assert cost.latency_s == pytest.approx(2.8e-6 + 2 * 4096**3 / np.array([312e12, 624e12, 312e12]))


def test_a_format_without_any_path_takes_forever() -> None:
    xeon = hwmodels.load("xeon-8480")
    no_fp64 = replace(
        xeon, native=np.full_like(xeon.native, -1), matrix_flops_per_cycle=0 * xeon.matrix_flops_per_cycle
    )
    assert seconds(work(gemm(64, 64, 64, code=format_code("fp64"))), no_fp64) == np.inf


def test_only_the_patterns_and_formats_that_kernels_exploit_are_faster() -> None:
    def compute_s(pattern: str, code: int, device: RooflineDevice) -> float:
        cost = hwmodels.evaluate(work(gemm(8192, 8192, 8192, code=code, pattern=pattern_code(pattern))), device)
        return float(cost.latency_by["compute"])

    dense = compute_s("dense", FP16, A100)
    assert compute_s("2:4", FP16, A100) == pytest.approx(dense / 2)
    assert compute_s("unstructured", FP16, A100) == dense
    fp32 = format_code("fp32")
    assert compute_s("2:4", fp32, A100) == compute_s("dense", fp32, A100)
    v100 = hwmodels.load("v100-sxm-32gb")
    assert compute_s("2:4", FP16, v100) == compute_s("dense", FP16, v100)
    both = work(gemm(8192, 8192, 8192, pattern=np.array([0, pattern_code("2:4")])))
    assert hwmodels.evaluate(both, A100).latency_by["compute"] == pytest.approx([dense, dense / 2])


def test_everything_but_products_runs_at_the_vector_peak_or_its_own_ceiling() -> None:
    softmax = operator("s", "softmax", {"m": 10, "n": 10}, [act("x", "m", "n")], act("y", "m", "n"), 1e9)
    assert seconds(work(softmax), A100) == pytest.approx(2.8e-6 + 100 * 1e9 / 19.5e12)
    own = replace(A100, vector_kinds={"softmax": 1e12})
    assert seconds(work(softmax), own) == pytest.approx(2.8e-6 + 100 * 1e9 / 1e12)


def test_an_efficiency_applies_to_its_op_type_only() -> None:
    device = replace(PLAIN, efficiency={"MatMulNBits": 0.5})
    full, half = (
        hwmodels.evaluate(work(gemm(4096, 4096, 4096, op_type=name)), device).latency_by["compute"]
        for name in ("MatMul", "MatMulNBits")
    )
    assert half == pytest.approx(2 * full)


def test_knobs_scale_compute_and_bandwidth() -> None:
    big, thin = work(gemm(4096, 4096, 4096)), work(gemm(1, 4096, 4096))
    launch = A100.launch_s
    assert seconds(big, A100.at(clock_scale=0.5)) - launch == pytest.approx(2 * (seconds(big, A100) - launch))
    assert seconds(thin, A100.at(bandwidth_scale=0.5)) - launch == pytest.approx(2 * (seconds(thin, A100) - launch))
    assert seconds(thin, A100.at(clock_scale=0.5)) == seconds(thin, A100)


def test_views_and_folded_nodes_cost_nothing() -> None:
    view = operator("v", "view", {"m": 8, "n": 8}, [act("y", "m", "n")], act("z", "m", "n"), 0.0, "Reshape")
    one = gemm(8, 8, 8)
    assert seconds(work(one, view, folded=("c",)), A100) == seconds(work(one), A100)
    frame = hwmodels.breakdown(work(one, view), A100)
    assert list(frame.name) == ["gemm", "v"]
    assert frame.latency_s[1] == frame.energy_j[1] == frame.share[1] == 0


def attention() -> tuple[Operator, ...]:
    names = ("scores", "scale", "mask", "softmax", "context")
    return tuple(op for op in bert(layers=1, tokens=512).operators if op.name.split(".")[-1] in names)


def test_a_fused_group_moves_only_its_border() -> None:
    ops = attention()
    group = tuple(op.name for op in ops)
    fused = hwmodels.evaluate(work(*ops, groups=(group,), outputs=("layer.0.context:0",)), A100)
    alone = hwmodels.evaluate(work(*ops, outputs=("layer.0.context:0",)), A100)
    assert fused.dram_bytes == 4 * 512 * 768 * 2  # q, k, v and the result
    assert fused.latency_by["launch"] == pytest.approx(A100.launch_s)
    assert fused.flops == alone.flops
    assert fused.latency_s < alone.latency_s
    assert fused.peak_bytes == 4 * 512 * 768 * 2  # the scores never reach memory
    assert alone.peak_bytes > 2 * 12 * 512**2 * 2


def test_a_tensor_that_is_read_outside_its_group_is_written() -> None:
    ops = attention()
    group = tuple(op.name for op in ops)
    kept = hwmodels.evaluate(work(*ops, groups=(group,), outputs=("layer.0.context:0", "layer.0.scale:0")), A100)
    assert kept.dram_bytes == 4 * 512 * 768 * 2 + 12 * 512**2 * 2


def test_a_view_inside_a_group_is_transparent() -> None:
    first = operator("a", "elementwise", {"m": 8, "n": 8}, [act("x", "m", "n")], act("y", "m", "n"), 1.0)
    view = operator("v", "view", {"m": 8, "n": 8}, [act("y", "m", "n")], act("z", "n", "m"), 0.0)
    last = operator("b", "elementwise", {"m": 8, "n": 8}, [act("z", "n", "m")], act("out", "n", "m"), 1.0)
    for group in (("a", "v", "b"), ("a", "b")):
        cost = hwmodels.evaluate(work(first, view, last, outputs=("out",), groups=(group,)), A100)
        assert cost.dram_bytes == 2 * 64 * 2
    kept = hwmodels.evaluate(work(first, view, last, outputs=("out", "y"), groups=(("a", "b"),)), A100)
    assert kept.dram_bytes == 3 * 64 * 2  # y is written; its view is not read again


@pytest.mark.parametrize("tokens", [1, 64, 512])
@pytest.mark.parametrize("name", hwmodels.names())
def test_fusing_never_costs_time_or_energy(name: str, tokens: int) -> None:
    device = hwmodels.load(name)
    plain = bert(tokens, layers=2)
    names = [op.name for op in plain.operators]
    for size in (2, 3, 7):
        groups = tuple(tuple(names[i : i + size]) for i in range(0, len(names), size))
        fused, alone = (hwmodels.evaluate(replace(plain, groups=g), device) for g in (groups, ()))
        assert fused.latency_s <= alone.latency_s * (1 + 1e-12)
        assert fused.energy_j <= alone.energy_j * (1 + 1e-12)
        assert fused.flops == pytest.approx(alone.flops)


def test_the_bias_joins_its_product_where_the_device_has_epilogues() -> None:
    plain = bert(layers=1)
    fused = hwmodels.evaluate(plain, replace(A100, fuses=("epilogue",)))
    alone = hwmodels.evaluate(plain, PLAIN)
    assert alone.latency_by["launch"] - fused.latency_by["launch"] == pytest.approx(6 * A100.launch_s)
    saved = 2 * 2 * 128 * (5 * 768 + 3072)  # each product's result is neither written nor read again
    assert alone.dram_bytes - fused.dram_bytes == saved


def test_an_epilogue_takes_only_a_bias_that_nothing_else_waits_for() -> None:
    product = gemm(8, 8, 8)
    bias = operator("b", "elementwise", {"m": 8, "n": 8}, [act("y", "m", "n"), weight("bias", "n")], act("z", "m", "n"),
                    1.0, "Add")  # fmt: skip
    other = operator("o", "elementwise", {"m": 8, "n": 8}, [act("y", "m", "n")], act("q", "m", "n"), 1.0, "Relu")
    device = replace(A100, fuses=("epilogue",))
    assert len(device.plan(work(product, bias, outputs=("z",)))) == 1
    assert len(device.plan(work(product, bias, other, outputs=("z", "q")))) == 3
    assert len(device.plan(work(product, bias, outputs=("z", "y")))) == 2
    residual = replace(bias, inputs=(act("y", "m", "n"), act("x", "m", "n")))
    assert len(device.plan(work(product, residual, outputs=("z",)))) == 2


def test_a_device_that_fuses_dequantization_charges_only_its_flops() -> None:
    product = gemm(8, 4096, 4096, bits=4)
    device = replace(A100, fuses=("dequantize",))
    both = hwmodels.evaluate(work(dequantize(), product, outputs=("y",)), device)
    alone = hwmodels.evaluate(work(product, outputs=("y",)), device)
    assert both.dram_bytes == alone.dram_bytes
    assert both.latency_s == alone.latency_s  # hidden behind the weights' traffic
    assert both.peak_bytes == alone.peak_bytes
    assert both.flops - alone.flops == 2 * 4096**2
    large = gemm(65536, 4096, 4096, bits=4)
    extra = seconds(work(dequantize(), large), device) - seconds(work(large), device)
    assert extra == pytest.approx(2 * 4096**2 / 19.5e12)


def test_a_device_that_does_not_fuse_it_writes_and_reads_the_full_width() -> None:
    product = gemm(8, 4096, 4096, bits=4)
    both = hwmodels.evaluate(work(dequantize(), product, outputs=("y",)), PLAIN)
    alone = hwmodels.evaluate(work(product, outputs=("y",)), PLAIN)
    stored, full = 4096**2 / 2, 4096**2 * 2
    assert both.dram_bytes - alone.dram_bytes == stored + full + (full - stored)
    assert both.latency_by["launch"] == pytest.approx(2 * PLAIN.launch_s)
    assert both.latency_s > hwmodels.evaluate(work(gemm(8, 4096, 4096)), PLAIN).latency_s


def test_a_kernel_that_unpacks_its_own_weight_does_so_on_every_device() -> None:
    product = gemm(8, 4096, 4096, bits=4, op_type="MatMulNBits")
    both = hwmodels.evaluate(work(dequantize(), product, outputs=("y",)), PLAIN)
    assert both.dram_bytes == hwmodels.evaluate(work(product, outputs=("y",)), PLAIN).dram_bytes


def test_a_conversion_of_an_activation_is_an_ordinary_kernel() -> None:
    quantize = Operator(
        name="q",
        op_type="DynamicQuantizeLinear",
        kind="convert",
        dims={"m": 64, "k": 64},
        inputs=(act("x", "m", "k"),),
        outputs=(replace(act("xq", "m", "k"), bits=8, format=format_code("uint8")),),
        flops_per_point=5.0,
    )
    cost = hwmodels.evaluate(work(quantize, outputs=("xq",)), A100)
    assert cost.dram_bytes == 64 * 64 * 3
    assert cost.latency_by["launch"] == pytest.approx(A100.launch_s)


def test_a_shared_weight_is_unpacked_by_its_first_reader() -> None:
    first = gemm(8, 4096, 4096, bits=4)
    second = replace(first, name="again", outputs=(act("y2", "m", "n"),))
    device = replace(A100, fuses=("dequantize",))
    both = hwmodels.evaluate(work(dequantize(), first, second, outputs=("y", "y2")), device)
    assert both.dram_bytes == 2 * hwmodels.evaluate(work(first, outputs=("y",)), device).dram_bytes


def test_a_converted_weight_that_no_product_reads_costs_its_flops_where_conversions_are_fused() -> None:
    lonely = work(dequantize())
    cost = hwmodels.evaluate(lonely, replace(A100, fuses=("dequantize",)))
    assert (cost.dram_bytes, cost.latency_by["launch"]) == (0, 0)
    assert cost.latency_s == pytest.approx(2 * 4096**2 / 19.5e12)


def test_costs_add_and_the_peak_does_not() -> None:
    one, two = (hwmodels.evaluate(work(gemm(m, 64, 64)), A100) for m in (8, 800))
    both = one + two
    assert both.latency_s == one.latency_s + two.latency_s
    assert both.energy_j == one.energy_j + two.energy_j
    assert both.peak_bytes == two.peak_bytes
    for name in both.energy_by:
        assert both.energy_by[name] == one.energy_by[name] + two.energy_by[name]
    tripled = np.array([3.0, 1.0]) * two
    assert isinstance(tripled, hwmodels.Cost)
    assert tripled.latency_s == pytest.approx([3 * two.latency_s, two.latency_s])


def test_a_workload_costs_the_sum_of_its_steps() -> None:
    plain = bert()
    total = hwmodels.evaluate(plain, A100)
    parts = [A100.cost(step) for step in A100.plan(plain)]
    summed = sum(parts[1:], start=parts[0])
    for name in ("latency_s", "energy_j", "flops", "dram_bytes"):
        assert getattr(total, name) == pytest.approx(getattr(summed, name), rel=1e-12)


def test_executions_multiply() -> None:
    once, often = gemm(8, 4096, 4096), replace(gemm(8, 4096, 4096), count=7.5)
    a, b = (hwmodels.evaluate(work(op), A100) for op in (once, often))
    for name in ("latency_s", "energy_j", "flops", "dram_bytes"):
        assert getattr(b, name) == pytest.approx(7.5 * getattr(a, name))


def test_a_program_is_an_expectation() -> None:
    short, long = bert(16), bert(256)
    cost = hwmodels.evaluate(Program(name="p", parts=((0.75, short), (0.25, long))), A100)
    assert cost.latency_s == pytest.approx(0.75 * seconds(short, A100) + 0.25 * seconds(long, A100))
    assert cost.peak_bytes == hwmodels.evaluate(long, A100).peak_bytes


def test_what_does_not_fit_is_infinite_and_keeps_its_demand() -> None:
    t4 = hwmodels.load("t4")
    huge = gemm(8, 65536, np.array([1024.0, 262144.0]))
    cost = hwmodels.evaluate(work(huge), t4, enforce_capacity=True)
    assert np.isfinite(cost.latency_s).tolist() == hwmodels.fits(cost, t4).tolist() == [True, False]
    assert cost.energy_j[1] == np.inf  # type: ignore[index]
    assert cost.peak_bytes[1] > t4.capacity_bytes  # type: ignore[index]
    scalar = hwmodels.evaluate(work(gemm(8, 65536, 262144)), t4, enforce_capacity=True)
    assert scalar.latency_s == np.inf
    assert np.isfinite(hwmodels.evaluate(work(gemm(8, 65536, 262144)), t4).latency_s)


def test_the_largest_batch_is_exact() -> None:
    t4 = hwmodels.load("t4")

    def load(batch: int) -> Workload:
        return bert(512, batch=batch, layers=1)

    best = hwmodels.largest_batch(load, t4)
    assert hwmodels.fits(hwmodels.evaluate(load(best), t4), t4)
    assert not hwmodels.fits(hwmodels.evaluate(load(best + 1), t4), t4)
    assert hwmodels.largest_batch(load, t4, limit=10) == 10
    tiny = replace(t4, memory=(replace(t4.memory[-1], capacity_bytes=1e6),))
    assert hwmodels.largest_batch(load, tiny) == 0


def test_a_tensor_that_is_read_in_part_moves_that_part() -> None:
    table = Tensor(name="e", axes=(axis(extent=30000), axis("d")), role="weight", bits=32, touched=0.001)
    gather = operator("g", "gather", {"t": 30, "d": 64}, [table], act("y", "t", "d", bits=32), 0.0)
    assert hwmodels.evaluate(work(gather), A100).dram_bytes == pytest.approx(30 * 64 * 4 + 30 * 64 * 4)
