"""`dse measure`, `dse calibrate` and `dse predict --calibration`, one after the other."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.dse.cli_runs import Run


def test_a_model_is_measured_calibrated_on_and_predicted(dse_run: Run, tmp_path: Path) -> None:
    rows, made, out = tmp_path / "rows.csv", tmp_path / "mine.toml", tmp_path / "out.csv"
    found = dse_run("measure", "vit-mnist", "-b", "batch=1", "--seconds", "0.3", "--name", "epyc-naples", "--out", rows)
    assert found.code == 0, found.err
    assert "the whole model" in found.out
    table = pd.read_csv(rows)
    assert set(table.device) == {"epyc-naples"}

    found = dse_run("calibrate", rows, "--out", made, "--source", "a test")
    assert found.code == 0, found.err
    assert "calibrated" in found.out
    assert 'source = "a test"' in made.read_text(encoding="utf-8")

    found = dse_run("predict", rows, "--out", out, "--calibration", made)
    assert found.code == 0, found.err
    answer = pd.read_csv(out)
    products = answer[answer.op == "gemm"]
    assert products.remark.isna().all()  # by the very calibration
    assert (answer.predicted_us > 0).all()
    parts, whole = answer[answer.op != "model_forward"], answer[answer.op == "model_forward"].iloc[0]
    assert whole.predicted_us > (parts.predicted_us * parts["count"]).sum()


@pytest.mark.slow
def test_an_architecture_runs_in_torch_without_weights(dse_run: Run, tmp_path: Path) -> None:
    arguments = ("measure", "bert-tiny", "--backend", "torch-cpu", "-b", "seq=8", "--seconds", "0.2")
    found = dse_run(*arguments, "--out", tmp_path / "rows.csv")
    assert found.code == 0, found.err
    table = pd.read_csv(tmp_path / "rows.csv")
    assert set(table[table.op == "gemm"].a_dtype) == {"fp32"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("measure", "bert-tiny"), "dse zoo bert-tiny --weights random"),
        (("measure", "vit-mnist", "-b", "batch=1", "--backend", "tvm"), "no backend 'tvm'"),
        (("measure", "vit-mnit"), "vit-mnist"),
    ],
)
def test_what_cannot_be_measured_is_refused(dse_run: Run, arguments: tuple[str, ...], message: str) -> None:
    assert message in dse_run(*arguments).message


def test_rows_that_cannot_be_fitted_are_refused(dse_run: Run, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    shared = {"op": "gemm", "batch": 1, "m": [8, 16, 32], "n": 64, "k": 64, "a_dtype": "fp32", "latency_us": [5, 6, 9]}
    pd.DataFrame({**shared, "device": "no-such-cpu"}).to_csv(rows, index=False)
    assert "no-such-cpu" in dse_run("calibrate", rows).message
    assert "column 'model'" in dse_run("calibrate", rows, "--hold", "model").message
    pd.DataFrame({**shared, "device": "epyc-naples"}).to_csv(rows, index=False)
    assert "is a .toml file" in dse_run("calibrate", rows, "--out", tmp_path / "mine.csv").message.replace("\n", " ")
