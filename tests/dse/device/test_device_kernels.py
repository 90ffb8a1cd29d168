"""Kernels against float64: Triton's in its interpreter, torch's on this CPU; and what is wrong is found."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="kernels need torch")

from dse.measure.device.gpu import here  # noqa: E402
from dse.measure.device.kernel import Kernel, Launch, Operands, launch_on  # noqa: E402
from dse.measure.device.kernels import WRITTEN  # noqa: E402
from dse.measure.device.kernels.library import LIBRARY  # noqa: E402
from dse.measure.device.language import HAS_TRITON, TRITON_VERSION  # noqa: E402
from dse.measure.device.measuring import Settings, check, operands_of  # noqa: E402
from dse.measure.device.signatures import KernelError, Signature, signature_of  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = Settings(torch_device="cpu", launch=launch_on(here("cpu")))

needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="Triton is not installed: pip install triton")

# Sizes that fill no tile, one row, splits, groups smaller than a block, odd heads, pages that do not fill.
SIGNATURES: list[dict[str, Any]] = [
    *({"op": "gemm", "m": 37, "n": 70, "k": 200, "a_dtype": a} for a in ("fp32", "tf32", "fp16")),
    *({"op": "gemm", "m": 1, "n": 70, "k": 520, "a_dtype": a} for a in ("fp16", "fp8", "int8")),
    {"op": "bgemm", "batch": 3, "m": 40, "n": 33, "k": 65, "a_dtype": "fp16"},
    *({"op": "gemm", "m": 5, "n": 70, "k": 512, "a_dtype": "fp16", "w_dtype": w, "group": 32}
      for w in ("int8", "int4", "int3", "lut4", "lut3", "fp16_2:4")),
    *({"op": "gemm", "m": 3, "n": 20, "k": 512, "a_dtype": "fp16", "w_dtype": w} for w in ("lut4+csr", "lut3+csr")),
    {"op": "attention_prefill", "batch": 2, "q_len": 40, "kv_len": 40, "heads": 4, "kv_heads": 2, "head_dim": 32,
     "causal": 1, "a_dtype": "fp16"},
    {"op": "attention_prefill", "q_len": 20, "kv_len": 90, "heads": 2, "head_dim": 40, "causal": 1, "a_dtype": "fp16"},
    {"op": "attention_prefill", "q_len": 20, "kv_len": 90, "heads": 2, "head_dim": 64, "causal": 0, "a_dtype": "fp16"},
    *({"op": "attention_decode", "batch": 2, "kv_len": 200, "heads": 8, "kv_heads": 2, "head_dim": 64,
       "a_dtype": "fp16", "kv_dtype": kv, "page_size": page} for kv in ("fp16", "int8", "fp8") for page in (0, 16)),
    {"op": "attention_decode", "batch": 1, "kv_len": 1, "heads": 2, "head_dim": 40, "a_dtype": "fp16", "page_size": 8},
    *({"op": op, "rows": 3, "cols": 300, "a_dtype": a} for a in ("fp32", "fp16")
      for op in ("add", "mul", "relu", "tanh", "gelu", "silu_mul", "softmax", "layernorm", "rmsnorm")),
    {"op": "rope", "rows": 3, "cols": 240, "head_dim": 48, "a_dtype": "fp16"},
    *({"op": op, "rows": 4, "cols": cols, "a_dtype": "int32"} for cols in (1, 300)
      for op in ("i_softmax", "i_gelu", "i_layernorm")),
]  # fmt: skip


@needs_triton
@pytest.mark.slow  # one process that interprets every kernel: 20 s
def test_every_kernel_written_here_agrees_with_float64_in_tritons_interpreter(tmp_path: Path) -> None:
    wanted, out = tmp_path / "signatures.json", tmp_path / "rows.csv"
    wanted.write_text(json.dumps(SIGNATURES), encoding="utf-8")
    command = [sys.executable, "-m", "dse.measure.device", "--device", "cpu", str(wanted)]
    env = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command += ["--backend", "triton", "--check-only", "--out", str(out)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert not [(row["kernel"], row["error"]) for row in rows if row["error"]]
    assert len(rows) == len(SIGNATURES)
    assert {row["kernel"] for row in rows} == {kernel.name for kernel in WRITTEN}
    assert {row["framework"] for row in rows} == {f"triton {TRITON_VERSION}"}
    assert all(float(row["check_ratio"]) <= 1 for row in rows)


@pytest.mark.parametrize("kernel", LIBRARY, ids=lambda kernel: f"{kernel.name}-{kernel.op.split()[0]}")
def test_kernels_of_the_library_agree_with_float64(kernel: Kernel) -> None:
    if kernel.name == "torch_two_of_four_gemm":
        pytest.skip("torch compresses 2:4 weights on CUDA alone")
    served = [item for item in map(signature_of, SIGNATURES) if kernel.serves(item)]
    served += [Signature(op="gemm", m=48, n=64, k=128, a_dtype=a, w_dtype=a) for a in ("fp8", "int8")]
    fitting = [item for item in served if kernel.serves(item) and not kernel.refuses(item, here("cpu"))]
    assert fitting
    for signature in fitting:
        found = check(kernel, operands_of(kernel, signature, SETTINGS), SETTINGS.launch)
        assert found.ratio <= 1


def _off(run: Any, change: Any) -> Any:
    def wrong(operands: Operands, launch: Launch) -> Any:
        return change(run(operands, launch))

    return wrong


def _one_element(result: Any) -> Any:
    changed = result.clone()
    changed.view(-1)[-1] += 1 if changed.dtype in (torch.int32, torch.int64) else changed.abs().max() * 0.5 + 0.01
    return changed


def _zero(result: Any) -> Any:
    return torch.zeros_like(result)


def _nan(result: Any) -> Any:
    return torch.full_like(result, float("nan")) if result.is_floating_point() else result + 1


def _first_row_everywhere(result: Any) -> Any:
    return result[..., :1].expand_as(result).contiguous()


@pytest.mark.parametrize("change", [_one_element, _zero, _nan, _first_row_everywhere])
@pytest.mark.parametrize("kernel", LIBRARY, ids=lambda kernel: f"{kernel.name}-{kernel.op.split()[0]}")
def test_a_wrong_result_is_found(kernel: Kernel, change: Any) -> None:
    if kernel.name == "torch_two_of_four_gemm":
        pytest.skip("torch compresses 2:4 weights on CUDA alone")
    small = [Signature(op="gemm", m=48, n=64, k=128, a_dtype=a, w_dtype=a) for a in ("fp8", "int8")]
    served = [item for item in [*map(signature_of, SIGNATURES), *small] if kernel.serves(item)]
    served = [item for item in served if not kernel.refuses(item, here("cpu"))]
    wrong = replace(kernel, run=_off(kernel.run, change))
    with pytest.raises(KernelError, match="times its bound"):
        check(wrong, operands_of(kernel, served[0], SETTINGS), SETTINGS.launch)


def test_a_result_of_another_shape_is_found() -> None:
    kernel = next(item for item in LIBRARY if item.name == "torch_add")
    wrong = replace(kernel, run=_off(kernel.run, lambda result: result[:1]))
    with pytest.raises(KernelError, match="gave shape"):
        check(wrong, operands_of(kernel, Signature(op="add", rows=2, cols=2), SETTINGS), SETTINGS.launch)


def test_operands_are_fresh_for_every_kernel_and_the_same_in_every_run() -> None:
    kernel = next(item for item in LIBRARY if item.name == "torch_add")
    small, large = (Signature(op="add", rows=rows, cols=4) for rows in (2, 3))
    first, again, other = (operands_of(kernel, item, SETTINGS)["x"] for item in (small, small, large))
    assert torch.equal(first, again)
    assert not torch.equal(first, other[:2])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
def test_the_smoke_suite_is_right_on_this_gpu(tmp_path: Path) -> None:
    out = tmp_path / "rows.csv"
    command = [sys.executable, "-m", "dse.measure.device", "--suite", "smoke", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["timing"] for row in rows if not row["error"]} == {
        "kernel_rotating", "cuda_graph_or_event_loop", "cuda_event_eager"
    }  # fmt: skip
    assert not [(row["kernel"], row["error"]) for row in rows if "off by" in row["error"] or "Error" in row["error"]]
