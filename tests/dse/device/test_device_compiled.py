"""Kernels compiled for GPUs that are not here: all of them compile, fit, and the integer ones hold no floats."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="kernels need torch")

from dse.measure.device.compiled import launches_of, specimens
from dse.measure.device.kernel import Device
from dse.measure.device.language import HAS_TRITON

ROOT = Path(__file__).resolve().parents[3]

needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="Triton is not installed: pip install triton")


@needs_triton
@pytest.mark.slow  # the compiler: some 40 s
def test_every_kernel_compiles_for_ampere_and_hopper_without_spills(tmp_path: Path) -> None:
    out = tmp_path / "compiled.json"
    command = [sys.executable, "-m", "dse.measure.device", "--compile", "80", "90", "--brief", "--out", str(out)]
    env = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    env |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "TRITON_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(out.read_text(encoding="utf-8"))
    assert {row["capability"] for row in rows} == {80, 90}
    names = {row["kernel"] for row in rows}
    assert {"product_kernel", "narrow_kernel", "outlier_kernel", "pairs_kernel", "prefill_kernel"} <= names
    assert {"decode_kernel", "join_kernel", "norm_kernel", "softmax_kernel", "pointwise_kernel", "rope_kernel"} <= names
    assert not [row for row in rows if row["spill_bytes"] or not row["fits"]]
    integer = [row for row in rows if row["kernel"].startswith("i_")]
    assert len(integer) == 6
    assert {row["float_instructions"] for row in integer} == {0}
    assert all(row["float_instructions"] for row in rows if row["kernel"] == "norm_kernel")


@needs_triton
def test_what_is_compiled_is_what_a_launcher_starts() -> None:
    device = Device(sms=132, capability=90, shared_bytes=227 * 1024)
    found = [
        (kernel, item)
        for kernel, item in specimens()
        if kernel.name == "triton_gemm" and item.op == "gemm" and item.a_dtype == "bf16"
    ]
    many, few = (launches_of(kernel, item, device) for kernel, item in found)
    assert [started.kernel.__name__ for started in few] == ["product_kernel", "sum_parts_kernel"]  # one row is split
    assert [started.kernel.__name__ for started in many] == ["product_kernel"]
    assert few[0].constants["M"] == 1  # Triton makes a constant of it
    assert many[0].types["M"] == "i32"
