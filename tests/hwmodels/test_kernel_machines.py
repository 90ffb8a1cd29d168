"""What kernel formulas take from device files: `hwmodels.kernels.machine`."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hwmodels
from hwmodels.kernels.machine import machine, machine_names
from hwmodels.specs import spec_text
from workloads.errors import SpecError

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "reference" / "hardware" / "measured_devices.csv"
with GOLDEN.open(newline="", encoding="utf-8") as _file:
    MEASURED = list(csv.DictReader(_file))


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: row["device"])
def test_a_gpu_of_the_measured_tables_has_the_numbers_listed_with_them(row: dict[str, str]) -> None:
    found = machine(row["device"])
    assert found.name == row["device"]
    for name in ("fp16", "int8", "fp32"):
        cited = row[f"{name}_{'tops' if name == 'int8' else 'tflops'}"]
        if cited:  # they round to three digits
            assert found.peaks[name] == pytest.approx(float(cited) * 1e12, rel=2e-3)
    assert found.dram_bytes_per_s == pytest.approx(float(row["mem_bw_gbs"]) * 1e9, rel=1e-3)
    assert found.sms == int(row["sms"])
    assert found.l2_bytes == float(row["l2_mb"]) * 1e6
    assert found.clock_hz == pytest.approx(float(row["boost_mhz"]) * 1e6)


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("h200_sxm_141gb", "h200_sxm_141gb"),
        ("h200-sxm", "h200_sxm_141gb"),
        ("b200_sxm", "b200_sxm"),
        ("b200_sxm_180gb", "b200_sxm"),
        ("B200", "b200_sxm"),
        ("rtx4090", "rtx4090"),
        ("RTX 4090", "rtx4090"),
        ("rtx3090", "rtx3090"),
        ("GeForce RTX 3090", "rtx3090"),
        ("A100-PCIE-40GB", "a100_pcie_40gb"),
        ("a100-sxm4-40gb", "a100_sxm_40gb"),
        ("Tesla V100-PCIE-32GB", "v100_pcie_32gb"),
        ("Tesla-P100", "p100_pcie"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA A40", "a40"),
        ("A6000", "rtx_a6000"),
        ("RTX PRO 6000", "rtx_pro_6000"),
        ("MI210", "mi210"),
        ("mi250", "mi250"),
        ("Instinct MI300X", "mi300x"),
    ],
)
def test_usual_spellings_find_the_gpu(spelled: str, name: str) -> None:
    assert machine(spelled).name == name
    assert hwmodels.load(spelled).name == hwmodels.load(name).name


def test_every_gpu_that_ships_has_one_name_in_tables_and_an_architecture() -> None:
    gpus = [name for name in hwmodels.names() if hwmodels.load(name).kind == "gpu"]
    assert len(set(machine_names())) == len(gpus)
    for name, table in zip(gpus, machine_names(), strict=True):
        assert table == table.lower().replace("-", "_")
        assert machine(name) == machine(table)
        assert machine(name).architecture == hwmodels.load(name).architecture != ""


def test_a_file_names_the_architecture_whose_kernels_it_runs(tmp_path: Path) -> None:
    text = spec_text("h200-sxm").replace('name = "h200-sxm"', 'name = "h900"')
    path = tmp_path / "h900.toml"
    path.write_text(text)
    assert (machine(path).name, machine(path).architecture) == ("h900", "hopper")
    path.write_text(text.replace('architecture = "hopper"\n', ""))  # read again: a file may change
    assert machine(str(path)).architecture == "unknown"


def test_a_device_at_hand_is_taken_with_its_own_clock_and_bandwidth() -> None:
    device = hwmodels.load("a100-sxm-80gb")
    assert machine(device) == machine("a100_sxm_80gb")
    slow, sheet = machine(device.at(clock_scale=0.5, bandwidth_scale=2.0)), machine(device)
    assert slow.name == sheet.name
    assert slow.clock_hz == pytest.approx(sheet.clock_hz / 2)
    assert slow.peaks["fp16"] == pytest.approx(sheet.peaks["fp16"] / 2)
    assert slow.dram_bytes_per_s == pytest.approx(2 * sheet.dram_bytes_per_s)
    assert slow.sparsity == sheet.sparsity
    with pytest.raises(SpecError, match="clock_scale is a batch of 2"):
        machine(device.at(clock_scale=np.array([0.5, 1.0])))


def test_a_kernel_runs_on_one_of_two_dies() -> None:
    board, die, single = hwmodels.load("mi250"), machine("mi250"), machine("mi210")  # the same die
    assert (board.dies, board.cores, die.sms) == (2, 208, 104)
    assert die.peaks == pytest.approx({name: single.peaks[name] for name in die.peaks}, rel=2e-3)  # rounded
    assert (die.l2_bytes, die.clock_hz) == (single.l2_bytes, single.clock_hz)
    assert die.dram_bytes_per_s == pytest.approx(single.dram_bytes_per_s, rel=1e-3)


def test_sparse_products_are_known_by_pattern_and_format() -> None:
    a100 = machine("a100_sxm_80gb")
    assert a100.sparsity == {"2:4": dict.fromkeys(("tf32", "fp16", "bf16", "int8", "int4"), 2.0)}
    assert (a100.speedup("2:4", "fp16"), a100.speedup("2:4", "fp32"), a100.speedup("1:4", "fp16")) == (2.0, 1.0, 1.0)
    assert machine("h100_sxm_80gb").speedup("2:4", "fp8") == 2.0
    for name in ("v100_pcie_32gb", "t4", "p100_pcie", "mi210"):
        assert machine(name).sparsity == {}


def test_launches_are_those_of_the_file() -> None:
    assert machine("l40s").launch_us == 1.7
    assert machine("h100_sxm_80gb").launch_us == 2.5


def test_what_no_kernels_are_predicted_on_is_refused_by_name(tmp_path: Path) -> None:
    for name in ("epyc-9654", "eyeriss"):
        with pytest.raises(SpecError, match=f"{name} is of kind (cpu|spatial); kernels are predicted on GPUs"):
            machine(name)
    path = tmp_path / "mine.toml"
    path.write_text(spec_text("t4").replace("cores = 40", "cores = 0"))
    with pytest.raises(SpecError, match=r"mine\.toml: kernels are predicted on a GPU whose file gives cores"):
        machine(path)
    device = hwmodels.load("t4")
    with pytest.raises(SpecError, match="a cache inside its DRAM"):
        machine(replace(device, memory=device.memory[-1:]))
    with pytest.raises(SpecError, match="no device file"):
        machine(tmp_path / "none.toml")


def test_a_users_gpu_takes_the_calibration_of_its_architecture(tmp_path: Path) -> None:
    import pandas as pd

    from hwmodels.kernels.predict import predict_table

    path = tmp_path / "h900.toml"
    path.write_text(spec_text("h200-sxm").replace('name = "h200-sxm"', 'name = "h900"'))
    row = {"device": str(path), "op": "gemm", "batch": 1, "m": 4096, "n": 4096, "k": 4096, "a_dtype": "bf16",
           "w_dtype": "bf16", "timing": "cuda_graph_or_event_loop", "framework": "vllm 0.24.0"}  # fmt: skip
    names = [str(path), "l4", "a40", "a100_pcie_40gb", "b200_sxm", "mi250"]
    found = predict_table(pd.concat([pd.DataFrame([row]).assign(device=name) for name in names], ignore_index=True))
    assert found.predicted_us.notna().all(), found.remark.to_list()
    for place, (architecture, remark) in enumerate(zip(("hopper", "ada"), found.remark[:2], strict=True)):
        named = remark.split("calibrated on ")[1].split(";")[0].split(",")[0].split(" ")[0]
        assert machine(named).architecture == architecture, (place, remark)
