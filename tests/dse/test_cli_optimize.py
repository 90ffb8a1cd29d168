"""`dse optimize` hands its arguments on, and refuses what cannot work before any work is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dse
from tests.dse.cli_runs import Run, affine_model, files_below
from workloads.errors import SpaceError
from workloads.zoo import embedded_model


def test_arguments_reach_the_pipeline(dse_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def optimize(*arguments: Any, **options: Any) -> None:
        calls.append((arguments, options))
        raise SpaceError("far enough")

    monkeypatch.setattr(dse, "optimize", optimize, raising=False)
    message = dse_run(
        "optimize", "vit-mnist", "--task", "mnist", "--device", "t4", "-d", "l4", "--max-drop", "1%", "--out", tmp_path,
        "--budget", 500, "--seed", 7, "--constraint", "energy_j<=0.5", "--objective", "size_bytes", "--measured", 5,
    ).message  # fmt: skip
    assert "far enough" in message
    ((arguments, options),) = calls
    assert arguments == (embedded_model(), "mnist", ["t4", "l4"])
    assert options["max_drop"] == "1%"
    assert options["bind"] == {"batch": 1}
    assert options["constraints"] == {"energy_j": (None, 0.5)}
    assert (options["budget"], options["seed"], options["objective"], options["measured"]) == (500, 7, "size_bytes", 5)
    dse_run("optimize", "vit-mnist", "--task", "mnist", "-d", "t4", "--batch", 32, "--out", tmp_path)
    assert calls[-1][1]["bind"] == {"batch": 32}
    fixed = affine_model(tmp_path / "fixed.onnx", shape=(3, 64))
    dse_run("optimize", fixed, "--task", "mnist", "-d", "t4", "--out", tmp_path)
    assert calls[-1][1]["bind"] == {}
    renamed = affine_model(tmp_path / "renamed.onnx", shape=("n", 64))
    dse_run("optimize", renamed, "--task", "mnist", "-d", "t4", "--bind", "n=5", "--out", tmp_path)
    assert calls[-1][1]["bind"] == {"n": 5}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--task", "minst", "-d", "t4"], ["'minst'", "nearest: mnist"]),
        (["--task", "agreement:gone.npz", "-d", "t4"], ["gone.npz", "no such file"]),
        (["--task", "gone.py:Task", "-d", "t4"], ["gone.py", "no such file"]),
        (["--task", "mnist", "-d", "t44"], ["'t44'", "nearest: t4"]),
        (["--task", "mnist", "-d", "t4", "-d", "t4"], ["--device", "twice"]),
        (["--task", "mnist", "-d", "t4", "--max-drop", "much"], ["max-drop", "'much'"]),
        (["--task", "mnist", "-d", "t4", "--constraint", "fast"], ["'fast'", "latency_s <= 0.001"]),
        (["--task", "mnist", "-d", "t4", "--objective", "speed"], ["'speed'", "latency_s"]),
        (["--task", "mnist", "-d", "t4", "--bind", "batch=0"], ["batch"]),
        (["--task", "mnist", "-d", "t4", "--batch", "0"], ["--batch"]),
    ],
)
def test_what_cannot_work_is_one_message(dse_run: Run, tmp_path: Path, options: list[str], named: list[str]) -> None:
    message = dse_run("optimize", "vit-mnist", *options, "--out", tmp_path / "out").message
    for word in named:
        assert word in message
    assert not files_below(tmp_path)
