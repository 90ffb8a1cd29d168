"""`dse profile --weights measure`: the profile reads what the values need, and says so."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from tests.dse.cli_runs import Run
from workloads import compress, load_onnx, weight_table
from workloads.zoo import embedded_model


@pytest.fixture
def ternary(tmp_path: Path) -> Path:
    path = tmp_path / "ternary.onnx"
    onnx.save(compress.apply(onnx.load(str(embedded_model())), compress.Quantize(weight_bits=2)), str(path))
    return path


def test_measured_weights_change_the_profile_and_are_listed(dse_run: Run, ternary: Path) -> None:
    given = ("profile", ternary, "--device", "t4", "--bind", "batch=1", "--json")
    plain, found = (json.loads(dse_run(*given, "--weights", mode).out) for mode in ("describe", "measure"))
    assert "weights" not in plain
    assert found["totals"]["weight_bytes"] < plain["totals"]["weight_bytes"]
    assert found["totals"]["weight_bytes"] == load_onnx(ternary, batch=1, weights="measure").weight_bytes()
    assert found["totals"]["flops"] == plain["totals"]["flops"]
    table = weight_table(ternary)
    assert sum(row["stored_bytes"] for row in found["weights"]) == table["stored_bytes"].sum()
    assert sum(row["tensors"] for row in found["weights"]) == len(table)
    shown = dse_run(*given[:-1], "--weights", "measure").out
    assert "weights, measured" in shown
    assert "unstructured" in shown


def test_what_cannot_be_measured_is_said(dse_run: Run) -> None:
    options = ("--device", "t4", "--weights")
    assert "give describe" in dse_run("profile", "vit-mnist", *options, "weigh").message
    assert "no stored values" in dse_run("profile", "llama-2-7b", *options, "measure").message
