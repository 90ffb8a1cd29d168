"""What is to be measured: files of signatures, suites, what they ask for."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.measure.device.kernels import KERNELS, WRITTEN
from dse.measure.device.signatures import OPS, KernelError, Signature, merged, read_signatures, signature_of
from dse.measure.device.suites import MODELS, SUITES, model_signatures, suite
from dse.measure.device.work import flops, least_bytes

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "dse" / "measure" / "device"


def test_the_folder_imports_nothing_but_numpy_torch_triton_and_the_standard_library() -> None:
    import sys

    allowed = set(sys.stdlib_module_names) | {"numpy", "torch", "triton"}
    files = sorted(FOLDER.rglob("*.py"))
    assert len(files) > 20
    for path in files:
        depth = len(path.relative_to(FOLDER).parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert {alias.name.partition(".")[0] for alias in node.names} <= allowed, path.name
            if isinstance(node, ast.ImportFrom):
                assert node.level <= depth, f"{path.name} imports from outside of the folder"
                assert node.level or (node.module or "").partition(".")[0] in allowed, path.name


def test_every_operation_of_every_suite_has_a_kernel() -> None:
    for signature in suite("all"):
        assert any(kernel.serves(signature) for kernel in KERNELS), signature


def test_every_kernel_is_met_by_the_suite_of_all() -> None:
    signatures = suite("all")
    idle = [kernel.name for kernel in KERNELS if not any(kernel.serves(item) for item in signatures)]
    assert not idle


def test_the_smoke_suite_meets_every_kernel_that_the_suite_of_all_meets() -> None:
    signatures = suite("smoke")
    assert not [kernel.name for kernel in WRITTEN if not any(kernel.serves(item) for item in signatures)]


def test_an_early_end_of_a_suite_has_seen_every_operation() -> None:
    signatures = suite("all")
    kinds = {(item.op, item.a_dtype, item.second) for item in signatures}
    assert len({(item.op, item.a_dtype, item.second) for item in signatures[: len(kinds)]}) == len(kinds)


def test_a_suite_holds_no_signature_twice() -> None:
    keys = [item.key() for item in suite("all")]
    assert len(keys) == len(set(keys))


# Weights of the products by hand, from the published sizes: 4 d^2 + 2 d dff; Llama: q, k, v, out, three of the FFN.
@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("bert-base", 12 * (4 * 768**2 + 2 * 768 * 3072)),
        ("llama-2-7b", 32 * (4 * 4096**2 + 3 * 4096 * 11008)),
        ("llama-3-8b", 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336)),
    ],
)
def test_a_models_products_hold_the_published_number_of_weights(name: str, weights: int) -> None:
    assert name in MODELS
    products = [item for item in model_signatures(name, 1, 16, 16) if item.op == "gemm"]
    assert sum(item.n * item.k * item.count for item in products) == weights


def test_unknown_suites_and_operations_are_refused_by_name() -> None:
    with pytest.raises(KernelError, match="no suite 'everything'"):
        suite("everything")
    with pytest.raises(KernelError, match="no kernel for op 'conv'"):
        signature_of({"op": "conv"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"op": "gemm"}', "JSON list"),
        ("[1]", "JSON list"),
        ("[{", "cannot read"),
        ('[{"op": "add", "rows": 4, "cols": 4}, {"op": "gemm", "m": 4, "n": 4}]', "entry 1: gemm: give whole .* for k"),
        ('[{"op": "add", "rows": "many", "cols": 4}]', "rows='many' is no number"),
    ],
)
def test_files_of_signatures_that_cannot_be_used_say_where_and_why(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(KernelError, match=said):
        read_signatures(path)


def test_equal_signatures_of_a_file_become_one_with_their_counts_added(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    row = {"op": "gemm", "m": 4, "n": 8, "k": 16, "a_dtype": "fp16"}
    path.write_text(json.dumps([{**row, "count": 3, "name": "a"}, {**row, "count": 4, "name": "b"}]), encoding="utf-8")
    ((found,), unknown) = read_signatures(path)
    assert not unknown
    assert (found.count, found.name, found.w_dtype) == (7.0, "a", "fp16")


def test_operations_without_a_kernel_are_kept_apart_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps([{"op": "conv", "rows": 4}, {"op": "relu", "rows": 4, "cols": 4}]), encoding="utf-8")
    found, (unknown,) = read_signatures(path)
    assert [item.op for item in found] == ["relu"]
    assert (unknown["op"], unknown["rows"]) == ("conv", 4)
    assert "no kernel for op 'conv'" in unknown["error"]


@given(st.sampled_from(sorted(SUITES)))
def test_merging_twice_changes_nothing(name: str) -> None:
    once = merged(SUITES[name]())
    assert merged(once) == once


def test_operations_and_bytes_are_those_of_the_textbook() -> None:
    product = Signature(op="gemm", m=16, n=64, k=256, a_dtype="bf16", w_dtype="int4", group=128)
    assert flops(product) == 2 * 16 * 64 * 256
    assert least_bytes(product) == 2 * 16 * 256 + 64 * 256 / 2 + 2 * (256 / 128) * 64 + 2 * 16 * 64
    prompt = Signature(
        op="attention_prefill", q_len=4, kv_len=4, heads=2, kv_heads=1, head_dim=8, causal=1, kv_dtype="bf16"
    )
    assert flops(prompt) == 4 * 2 * 8 * (4 * 5 / 2)
    assert least_bytes(prompt) == 2 * 2 * (2 * 4 * 8 + 4 * 8)
    assert all(flops(item) > 0 and least_bytes(item) > 0 for item in suite("all"))
    assert {item.op for item in suite("all")} == set(OPS)
