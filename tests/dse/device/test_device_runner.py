"""Runs that are interrupted, kernels that fail, die or hang; energy and clocks; tables."""

from __future__ import annotations

import csv
import ctypes
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dse.measure.device.gpu import device_name
from dse.measure.device.nvml import Nvml, open_nvml, watch
from dse.measure.device.rows import COLUMNS, Table, key_of
from dse.measure.device.signatures import Signature
from dse.measure.device.stopwatch import summary

ROOT = Path(__file__).resolve().parents[3]
ADD = Signature(op="add", rows=2, cols=8, a_dtype="fp32", name="here", count=3)
GELU = Signature(op="gelu", rows=2, cols=8, a_dtype="fp32")

FAULTS = {
    "add": ("raise ValueError('no such thing')", "ValueError: no such thing"),
    "gelu": ("os._exit(3)", "the process ended with status 3"),
    "softmax": ("time.sleep(60)", "no result within 2 s"),
    "layernorm": ("return operands['x'] * 0", "times its bound"),
}
"""What a kernel does instead of its work, and what its row says then."""

WORKER = """
import sys, time, os
sys.modules["triton"] = None  # kernels of torch do; importing it takes seconds
sys.path.insert(0, {root!r})
from dataclasses import replace
from pathlib import Path
from dse.measure.device.kernels import LIBRARY
from dse.measure.device.runner import work
from dse.measure.device.signatures import Signature

def add(operands, launch):
    {add}

def gelu(operands, launch):
    {gelu}

def softmax(operands, launch):
    {softmax}

def layernorm(operands, launch):
    {layernorm}

bad = dict(torch_add=add, torch_gelu=gelu, torch_softmax=softmax, torch_layernorm=layernorm)
kernels = [replace(kernel, run=bad.get(kernel.name, kernel.run)) for kernel in LIBRARY]
signatures = [Signature(op=op, rows=2, cols=8, a_dtype="fp32") for op in {ops!r}]
sys.exit(work(signatures, Path({out!r}), "cpu", kernels=kernels))
"""


def _rows(out: Path) -> list[dict[str, str]]:
    with out.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow  # three processes that import torch, one after the other
def test_kernels_that_fail_die_hang_or_err_are_rows_and_the_others_go_on(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="kernels need torch")
    from dse.measure.device.runner import summary_of, supervise

    out, script, ops = tmp_path / "rows.csv", tmp_path / "worker.py", [*FAULTS, "silu_mul"]
    faults = {op: fault for op, (fault, _) in FAULTS.items()}
    script.write_text(WORKER.format(root=str(ROOT), out=str(out), ops=ops, **faults), encoding="utf-8")
    command = [sys.executable, str(script)]
    signatures = [Signature(op=op, rows=2, cols=8, a_dtype="fp32") for op in ops]
    assert supervise(command, signatures, out, minutes=2, hang_s=2) == 0
    rows = {row["op"]: row for row in _rows(out)}
    assert set(rows) == set(ops)
    for op, (_, said) in FAULTS.items():
        assert said in rows[op]["error"]
        assert rows[op]["latency_us"] == ""
        assert f"torch_{op}: {rows[op]['error'][:40]}" in summary_of(out)
    assert rows["silu_mul"]["error"] == ""
    assert float(rows["silu_mul"]["latency_us"]) > 0
    assert float(rows["silu_mul"]["check_ratio"]) <= 1


def test_a_second_run_measures_nothing_twice(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="kernels need torch")
    from dse.measure.device.kernels.library import LIBRARY
    from dse.measure.device.runner import work

    out = tmp_path / "rows.csv"
    assert work([ADD], out, "cpu", kernels=LIBRARY) == 0
    assert work([ADD, GELU], out, "cpu", kernels=LIBRARY) == 0
    first = _rows(out)
    assert [row["op"] for row in first] == ["add", "gelu"]
    assert (first[0]["name"], first[0]["count"]) == ("here", "3")
    other = [{"op": "conv", "rows": 4, "error": "no kernel for op 'conv'"}]
    assert work([ADD], out, "cpu", kernels=LIBRARY, unknown=other) == 0
    assert [(row["op"], row["error"] != "") for row in _rows(out)] == [("add", False), ("gelu", False), ("conv", True)]
    before = out.read_bytes()
    assert work([ADD, GELU], out, "cpu", kernels=LIBRARY, unknown=other) == 0
    assert out.read_bytes() == before


def test_a_signature_that_the_chosen_library_has_no_kernel_for_is_not_lost() -> None:
    pytest.importorskip("torch", reason="kernels need torch")
    from dse.measure.device.kernels.library import LIBRARY
    from dse.measure.device.runner import unserved

    narrow = Signature(op="gemm", m=1, n=64, k=128, a_dtype="fp16", w_dtype="int4")
    (found,) = unserved([ADD, narrow], LIBRARY)
    assert (found["op"], found["w_dtype"], found["n"]) == ("gemm", "int4", 64)
    assert found["error"] == "no kernel of torch for gemm with fp16 int4"


def test_a_worker_that_cannot_begin_ends_the_run(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="kernels need torch")
    from dse.measure.device.runner import supervise

    assert supervise([sys.executable, "-c", "import sys; sys.exit(4)"], [ADD], tmp_path / "rows.csv", minutes=1) == 4


def test_no_kernel_starts_after_the_time_is_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="kernels need torch")
    from dse.measure.device.runner import work

    assert work([ADD, GELU], tmp_path / "rows.csv", "cpu", minutes=0) == 0
    assert "left; run the same command again" in capsys.readouterr().out
    assert not (tmp_path / "rows.csv").exists()


def test_rows_of_another_machine_are_not_mixed_in(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="kernels need torch")
    from dse.measure.device.runner import work
    from dse.measure.device.signatures import KernelError

    Table(tmp_path / "rows.csv").add([{"device": "t4", "key": "x"}])
    with pytest.raises(KernelError, match="holds rows of t4, and this is interpreter"):
        work([ADD], tmp_path / "rows.csv", "cpu")


def test_the_command_refuses_a_machine_without_a_gpu_and_says_what_else_there_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch", reason="kernels need torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    from dse.measure.device.__main__ import main

    assert main(["--suite", "smoke", "--out", str(tmp_path / "rows.csv")]) == 2
    assert "--device cpu" in capsys.readouterr().err


def test_a_table_keeps_its_rows_and_forgets_its_errors(tmp_path: Path) -> None:
    table = Table(tmp_path / "rows.csv")
    table.add([{"key": "a", "latency_us": 1.23456789}, {"key": "b", "error": "two\nlines"}])
    again = Table(tmp_path / "rows.csv")
    assert again.known() == {"a", "b"}
    assert [row["latency_us"] for row in again.rows] == ["1.23457", ""]
    assert again.rows[1]["error"] == "two lines"
    again.forget_errors()
    again.add([])
    assert Table(tmp_path / "rows.csv").known() == {"a"}
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_keys_tell_kernels_and_sizes_apart_but_not_names() -> None:
    assert key_of(ADD, "torch_add") != key_of(ADD, "triton_pointwise")
    assert key_of(ADD, "torch_add") != key_of(GELU, "torch_add")
    assert key_of(ADD, "torch_add") == key_of(Signature(op="add", rows=2, cols=8, a_dtype="fp32"), "torch_add")
    assert len(set(COLUMNS)) == len(COLUMNS)


def test_rows_have_the_columns_that_the_prediction_reads() -> None:
    from hwmodels.kernels.families import FAMILIES

    for family in ("gemm", "elementwise", "attention_prefill", "attention_decode"):
        assert set(FAMILIES[family].columns) <= set(COLUMNS)


class FakeNvml:
    """A GPU that draws 200 W: energy is time times that."""

    def __init__(self, counter: bool = True) -> None:
        self.begin = time.perf_counter()
        if not counter:
            setattr(self, "nvmlDeviceGetTotalEnergyConsumption", lambda handle, value: 3)  # noqa: B010  # not supported

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetHandleByPciBusId_v2(self, bus: bytes, handle: Any) -> int:
        return 0 if bus == b"0000:01:00.0" else 6

    def nvmlDeviceGetHandleByIndex_v2(self, index: int, handle: Any) -> int:
        return 0

    def nvmlDeviceGetPowerUsage(self, handle: Any, value: Any) -> int:
        value._obj.value = 200_000
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, value: Any) -> int:
        value._obj.value = round((time.perf_counter() - self.begin) * 200_000)
        return 0

    def nvmlDeviceGetClockInfo(self, handle: Any, kind: int, value: Any) -> int:
        value._obj.value = {1: 1755, 2: 2619}[kind]
        return 0

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Any, value: Any) -> int:
        value._obj.value = 4
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, size: int) -> int:
        text.value = b"580.1"
        return 0


@pytest.mark.parametrize(("counter", "method"), [(True, "counter"), (False, "sampled")])
def test_energy_is_power_times_time_over_the_executions(counter: bool, method: str) -> None:
    nvml = open_nvml("0000:01:00.0", FakeNvml(counter))
    assert isinstance(nvml, Nvml)
    found = watch(nvml, lambda: time.sleep(0.01), calls=5, seconds=0.2)
    assert found.method == method
    assert found.calls % 5 == 0
    assert found.power_w == pytest.approx(200, rel=0.02)
    assert found.energy_j == pytest.approx(200 * found.seconds / found.calls, rel=0.02)
    assert (found.sm_mhz, found.memory_mhz, found.throttle) == (1755, 2619, 4)
    assert found.temperature_c is None  # this one has no thermometer
    assert nvml.driver() == "580.1"


def test_a_machine_without_the_library_has_no_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert open_nvml() is None


def test_samples_are_summarised_per_call() -> None:
    found = summary("kernel_rotating", [10.0, 20.0, 30.0, 40.0, 50.0], 10, "graph")
    assert (found.best, found.lower, found.median, found.upper) == (1.0, 2.0, 3.0, 4.0)
    assert (found.samples, found.calls) == (5, 10)


@pytest.mark.parametrize(
    ("driver", "table"),
    [
        ("NVIDIA H100 80GB HBM3", "h100_sxm_80gb"),
        ("NVIDIA H200", "h200_sxm_141gb"),
        ("NVIDIA A100-SXM4-80GB", "a100_sxm_80gb"),
        ("NVIDIA A100-PCIE-40GB", "a100_pcie_40gb"),
        ("NVIDIA A100 80GB PCIe", "a100_pcie_80gb"),
        ("NVIDIA B200", "b200_sxm"),
        ("Tesla T4", "t4"),
        ("Tesla V100-PCIE-32GB", "v100_pcie_32gb"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA GeForce RTX 3090", "rtx3090"),
        ("NVIDIA RTX A6000", "rtx_a6000"),
    ],
)
def test_gpus_have_the_names_of_the_measured_tables(driver: str, table: str) -> None:
    assert device_name(driver) == table


def test_copies_of_operands_outgrow_the_last_level_cache() -> None:
    torch = pytest.importorskip("torch", reason="kernels need torch")
    from dse.measure.device.measuring import copies_of

    operands = {"x": torch.zeros(1000), "y": torch.zeros(500), "scale": 3.0}
    copies, total = copies_of(operands, cache_bytes=50_000, free_bytes=1e9)
    assert total == len(copies) * 6000 >= 3 * 50_000
    assert len({copy["x"].data_ptr() for copy in copies}) == len(copies)
    assert len(copies_of(operands, cache_bytes=50_000, free_bytes=12_000)[0]) == 3  # memory is the limit
    assert json.dumps(copies[1]["scale"]) == "3.0"
