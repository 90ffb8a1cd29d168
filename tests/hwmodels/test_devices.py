"""Device files against cited tables: `tests/golden/reference/hardware` (see its README)."""

from __future__ import annotations

import csv
import math
import re
from importlib import resources
from pathlib import Path

import pytest

import hwmodels
from hwmodels.build import energy_per_flop
from hwmodels.specs import read_spec, spec_text
from workloads import format_code
from workloads.operator import PATTERNS

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "reference" / "hardware"
GPUS = [name for name in hwmodels.names() if hwmodels.load(name).kind == "gpu"]


def rows(name: str) -> list[dict[str, str]]:
    with (GOLDEN / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(name: str) -> list[dict[str, str]]:
    text = (resources.files("hwmodels") / "tables" / name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def code(precision: str) -> int:
    return format_code({"fp8": "fp8_e4m3"}.get(precision, precision))


FP32_ELSEWHERE = {
    "b200-sxm": (80, 75, "a preliminary sheet; the present one prints 75"),
    "mi210": (22.6, 45.3, "of the lanes; matrix instructions reach 45.3"),
    "mi250x": (47.9, 95.7, "of the lanes; matrix instructions reach 95.7"),
}
"""Where the cited table has another fp32 peak than the device file [TFLOP/s]: theirs, ours, and why."""


@pytest.mark.parametrize("row", rows("ridge_points.csv"), ids=lambda row: f"{row['device_file']}-{row['precision']}")
def test_ridge_points_are_the_cited_ones(row: dict[str, str]) -> None:
    ridge = float(hwmodels.load(row["device_file"]).ridge_point(code(row["precision"])))
    if row["precision"] == "fp32" and row["device_file"] in FP32_ELSEWHERE:
        theirs, ours, _ = FP32_ELSEWHERE[row["device_file"]]
        ridge *= theirs / ours
    # The table prints one decimal; its H100 and H200 inputs carry one more digit than the published peaks.
    assert ridge == pytest.approx(float(row["ridge_op_per_byte"]), rel=2e-3, abs=0.051)


@pytest.mark.parametrize("row", rows("accelerators.csv"), ids=lambda row: row["device_file"])
def test_peaks_memory_and_power_are_the_cited_ones(row: dict[str, str]) -> None:
    device = hwmodels.load(row["device_file"])
    for precision in ("fp32", "tf32", "fp16", "bf16", "fp8", "int8", "int4"):
        cited = row[f"{precision}_{'tops' if precision.startswith('int') else 'tflops'}"]
        if cited:
            expected = float(cited)
            if precision == "fp32" and row["device_file"] in FP32_ELSEWHERE:
                theirs, expected, _ = FP32_ELSEWHERE[row["device_file"]]
                assert theirs == float(cited)
            assert device.peak[code(precision)] == pytest.approx(expected * 1e12, rel=1e-9), precision
    assert device.dram.bytes_per_s == pytest.approx(float(row["mem_bw_gbs"]) * 1e9)
    assert device.tdp_w == float(row["tdp_w"])
    if row["mem_gb"]:
        assert device.capacity_bytes == float(row["mem_gb"]) * 1e9
    assert device.cores == (float(row["units"]) if device.kind == "gpu" else device.cores)
    clock_mhz = float(row["tensor_peak_clock_mhz"] or row["boost_clock_mhz"])
    assert device.matrix_hz == pytest.approx(clock_mhz * 1e6)
    vector_mhz = 2490 if row["device_file"] == "rtx-pro-6000" else float(row["boost_clock_mhz"])  # its notes
    assert device.vector_hz == pytest.approx(vector_mhz * 1e6)
    llc = [level for level in device.memory if level.name in ("L2", "L3")][-1]
    assert llc.capacity_bytes == pytest.approx(float(row["l2_or_llc_mb"]) * 1e6)


LANES = {"cdna2": 64, "cdna3": 128, "ampere-dc": 64, "turing": 64, "volta": 64, "pascal": 64}
"""fp32 multiply-adds of a multiprocessor in a cycle: 128 on the others. A CU of CDNA 3 issues two for each of 64 lanes.
Source: the vendors' architecture white papers."""

TENSOR = {"volta": 1024, "turing": 1024, "ampere-dc": 2048, "hopper": 4096, "blackwell-dc": 8192,
          "ampere-gddr": 1024, "ada": 1024, "blackwell-gddr": 1024, "cdna2": 1024, "cdna3": 2048,
          "pascal": 256}  # fmt: skip
"""Dense fp16 FLOPs of a multiprocessor in a cycle, summed in fp32. Source: the same."""

HALF_RATE = {"rtx-3090", "rtx-4090"}
"""GeForce boards, which add up in fp32 at half the rate of the same chip on other boards."""


@pytest.mark.parametrize("name", GPUS)
def test_peaks_are_dense_and_what_the_multiprocessors_do_in_a_cycle(name: str) -> None:
    device = hwmodels.load(name)
    lanes = device.vector_flops_per_cycle / device.cores / 2
    assert lanes == pytest.approx(LANES.get(device.architecture, 128), rel=0.025)  # B200: printed at 1980 MHz
    fp16 = float(device.matrix_flops_per_cycle[format_code("fp16"), 0]) / device.cores
    assert fp16 == pytest.approx(TENSOR[device.architecture] / (2 if name in HALF_RATE else 1), rel=0.015)
    for form in ("fp16", "int8", "fp8_e4m3"):
        dense, sparse = device.matrix_flops_per_cycle[format_code(form), [0, PATTERNS.index("2:4")]]
        runs = device.runs_in(format_code(form))
        assert sparse == (2 * dense if _sparse(name, runs) else dense)


def _sparse(name: str, form: str) -> bool:
    table = read_spec(spec_text(name), name).sparsity
    return table is not None and form in table.formats


LLM_ANALYSIS = {"h100-sxm-80gb": "h100-sxm", "a100-sxm-80gb": "a100-sxm-80gb", "v100-sxm-32gb": "v100-sxm-32gb",
                "a100-pcie-40gb": "a100-pcie-40gb", "a100-sxm-40gb": "a100-sxm-40gb", "a6000-48gb": "rtx-a6000",
                "v100-pcie-32gb": "v100-pcie-32gb", "mi210-64gb": "mi210", "mi250-128gb": "mi250",
                "mi250x-128gb": "mi250x"}  # fmt: skip
LLM_VIEWER = {"nvidia_H100_SXM": "h100-sxm", "nvidia_A100_80G": "a100-sxm-80gb", "nvidia_V100": "v100-sxm-32gb",
              "nvidia_A6000": "rtx-a6000", "nvidia_A40": "a40"}  # fmt: skip
SCALES = {
    "hbm_bandwidth_in_GB_per_sec": ("bandwidth", 1e9), "peak_fp16_TFLOPS": ("fp16", 1e12),
    "peak_i8_TFLOPS": ("int8", 1e12), "peak_i4_TFLOPS": ("int4", 1e12), "mem_per_GPU_in_GB": ("capacity", 1e9),
    "bandwidth": ("bandwidth", 1.0), "FP16": ("fp16", 1.0), "INT8": ("int8", 1.0),
}  # fmt: skip
# What the second sources say instead, each explained in `disagreements` of the device file.
DISAGREEMENTS = {
    ("h100-sxm-80gb", "int4"): "Hopper has no int4 path; runs as int8",
    ("nvidia_H100_SXM", "bandwidth"): "3.072 TB/s",
    ("nvidia_V100", "fp16"): "112: the PCIe board",
    ("v100-sxm-32gb", "int8"): "0: no tensor path",
    ("v100-sxm-32gb", "int4"): "0: no tensor path",
    ("v100-pcie-32gb", "int8"): "0: no tensor path",
    ("v100-pcie-32gb", "int4"): "0: no tensor path",
    **{
        (name, field): "twice and four times fp16, which matrix instructions do not reach"
        for name in ("mi210-64gb", "mi250-128gb", "mi250x-128gb")
        for field in ("int8", "int4")
    },
    ("mi250-128gb", "bandwidth"): "3200: rounded",
    ("mi250x-128gb", "bandwidth"): "3200: rounded",
}


@pytest.mark.parametrize("row", rows("third_party_specs.csv"), ids=lambda row: f"{row['device']}-{row['field']}")
def test_second_sources_agree_or_the_disagreement_is_known(row: dict[str, str]) -> None:
    if row["field"] not in SCALES:
        pytest.skip("a field that device files do not have")
    field, scale = SCALES[row["field"]]
    device = hwmodels.load((LLM_ANALYSIS | LLM_VIEWER)[row["device"]])
    if field == "bandwidth":
        ours = device.dram.bytes_per_s
    elif field == "capacity":
        ours = device.capacity_bytes
    else:
        ours = float(device.peak[code(field)])
    agrees = float(row["value"]) * scale == pytest.approx(ours, rel=1e-3)  # printed with three digits
    assert agrees != ((row["device"], field) in DISAGREEMENTS)


MEMORY_ABOVE_TDP = {"b200-sxm", "mi300x"}
"""Boards whose memory alone, at its peak and with the energies of a GH200, exceeds TDP; `disagreements` says so."""


@pytest.mark.parametrize("name", hwmodels.names())
def test_full_load_stays_below_tdp_with_a_fifth_to_spare(name: str) -> None:
    device = hwmodels.load(name)
    compute_w = float((device.peak * device.j_per_flop).max())
    memory_w = device.dram.bytes_per_s * 8 * device.dram_j_per_bit
    assert device.static_w + compute_w < 1.2 * device.tdp_w
    assert (memory_w > device.tdp_w) == (name in MEMORY_ABOVE_TDP)
    if name not in MEMORY_ABOVE_TDP:
        assert device.static_w + memory_w < 1.2 * device.tdp_w
    else:
        assert any("TDP" in text for text in device.sources["memory_energy"].disagreements)


BOUND_DEVICES = {"V100 SXM2": "v100-sxm-32gb", "A100 SXM4": "a100-sxm-80gb", "A100 SXM4 80GB": "a100-sxm-80gb",
                 "A100 SXM4 40GB": "a100-sxm-40gb", "H100 SXM5": "h100-sxm", "H200 SXM": "h200-sxm",
                 "RTX 4090": "rtx-4090", "T4": "t4", "L4": "l4"}  # fmt: skip


@pytest.mark.parametrize("row", rows("tdp_bounds.csv"), ids=lambda row: f"{row['gpu']}-{row['item']}")
def test_energies_lie_below_tdp_over_peak(row: dict[str, str]) -> None:
    if row["gpu"] not in BOUND_DEVICES:
        pytest.skip("no file for this board")
    device = hwmodels.load(BOUND_DEVICES[row["gpu"]])
    if "bandwidth" in row["item"]:
        ours = device.dram_j_per_bit
        # 17.99 of 18.2 pJ/bit on the H200: measured Hopper energies leave almost nothing of its TDP.
    else:
        (precision, *_) = re.split(r"[ /]", row["item"])
        ours = float(device.j_per_flop[code(precision)])
        assert device.tdp_w / device.peak[code(precision)] == pytest.approx(float(row["value"]) * 1e-12, rel=5e-3)
    assert ours * 1e12 < float(row["value"])


def test_memory_energies_are_the_measured_ones_where_there_are_any() -> None:
    increments = {(row["chip"], row["level"]): float(row["pj_per_bit"]) for row in table("level_energy.csv")}
    chips = {"a100-sxm-80gb": "A100 SXM4 40GB", "a100-sxm-40gb": "A100 SXM4 40GB", "a100-pcie-40gb": "A100 SXM4 40GB",
             "h100-sxm": "GH200 (Hopper)", "b200-sxm": "GH200 (Hopper)", "rtx-3090": "RTX 3090",
             "rtx-4090": "RTX 3090"}  # fmt: skip
    for name, chip in chips.items():
        for level in hwmodels.load(name).memory:
            assert level.j_per_bit * 1e12 == pytest.approx(increments[chip, level.name], rel=1e-3)
    device_and_io = {row["technology"]: float(row["pj_per_bit"]) for row in table("dram_energy.csv")
                     if row["scope"] == "device+io" and "consensus" in row["note"]}  # fmt: skip
    gddr = dict.fromkeys(("t4", "l4", "l40s", "a40", "rtx-a6000", "rtx-pro-6000"), "GDDR6")
    for name, technology in (gddr | {"epyc-9654": "DDR5", "xeon-8480": "DDR5"}).items():
        assert hwmodels.load(name).dram.j_per_bit * 1e12 == pytest.approx(device_and_io[technology])


def test_arithmetic_energies_follow_from_the_cited_operations() -> None:
    # Multiply and add [pJ] of Horowitz, ISSCC 2014 (45 nm) and of Jouppi et al., ISCA 2021, Table 2 (7 nm); every
    # accumulation is fp32 or int32.
    cited = {"fp32": ((3.7, 0.9), (1.31, 0.38)), "fp16": ((1.1, 0.9), (0.34, 0.38)), "int8": ((0.2, 0.1), (0.07, 0.03))}
    for name, (old, new) in cited.items():
        assert energy_per_flop(name, 45) * 1e12 == pytest.approx(sum(old) / 2)
        assert energy_per_flop(name, 7) * 1e12 == pytest.approx(sum(new) / 2)
        for node in (10, 16):  # each operation falls by its own ratio
            share = math.log(node / 7) / math.log(45 / 7)
            between = sum(young * (aged / young) ** share for aged, young in zip(old, new, strict=True)) / 2
            assert energy_per_flop(name, node) * 1e12 == pytest.approx(between)
    assert energy_per_flop("bf16", 7) * 1e12 == pytest.approx((0.21 + 0.38) / 2)


@pytest.mark.parametrize("name", hwmodels.names())
def test_device_files_take_their_arithmetic_from_the_law(name: str) -> None:
    table = read_spec(spec_text(name), name).arithmetic_energy
    device = hwmodels.load(name)
    if table.node is not None:
        stated = float(device.process.removesuffix(" nm"))
        # Chips of "12 nm" are 16 nm transistors; the published laws know that node.
        assert table.node * 1e9 == pytest.approx({12.0: 16.0}.get(stated, stated))
        for form in ("fp32", "fp16", "int8"):
            (native,) = {device.runs_in(code(form))}
            expected = table.per_flop.get(native, energy_per_flop(native, round(table.node * 1e9)))
            assert device.j_per_flop[code(form)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "fmt", "native"),
    [
        ("h100-sxm", "int4", "int8"),
        ("h100-sxm", "int3", "int8"),
        ("h100-sxm", "fp4_e2m1", "fp8_e4m3"),
        ("a100-sxm-80gb", "int4", "int4"),
        ("a100-sxm-80gb", "fp8_e4m3", "fp16"),
        ("a100-sxm-80gb", "uint8", "int8"),
        ("v100-sxm-32gb", "bf16", "fp32"),
        ("t4", "bf16", "fp32"),
        ("t4", "tf32", "fp32"),
        ("mi300x", "int4", "int8"),
        ("epyc-9654", "fp16", "fp32"),
        ("epyc-9654", "int16", "fp32"),
        ("xeon-8480", "int6", "int8"),
    ],
)
def test_a_format_without_a_path_runs_in_the_next_wider_one(name: str, fmt: str, native: str) -> None:
    device = hwmodels.load(name)
    assert device.runs_in(format_code(fmt)) == native
    assert device.peak[format_code(fmt)] == device.peak[format_code(native)]
    assert device.j_per_flop[format_code(fmt)] == device.j_per_flop[format_code(native)]


@pytest.mark.parametrize("name", hwmodels.names())
def test_every_group_of_numbers_is_cited(name: str) -> None:
    sources = hwmodels.load(name).sources
    assert {"matrix", "vector", "memory.DRAM", "memory_energy", "arithmetic_energy", "launch", "power"} <= set(sources)
    assert all(citation.source.strip() for citation in sources.values())


def test_energy_scales_with_voltage_squared_and_static_power_with_what_is_paid_for() -> None:
    device = hwmodels.load("a100-sxm-80gb")
    fast = device.at(clock_scale=1.2)
    assert fast.voltage_scale() == 1.2
    assert fast.static_power_w() == pytest.approx(54 * (0.26 * 1.2 + 0.74))
    assert device.at(clock_scale=0.1).voltage_scale() == 0.7
    assert device.at(bandwidth_scale=2.0).static_power_w() == pytest.approx(54 * (0.26 + 0.74 * 2))
    assert device.at(clock_scale=2.0).at(clock_scale=0.5).clock_scale == 1.0
