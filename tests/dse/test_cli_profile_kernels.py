"""`dse profile --kernels`, and sweeps with calibrated kernels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dse
import hwmodels
from dse.cli.app import run_command
from workloads.errors import SpaceError
from workloads.zoo import architecture

MODEL = ["profile", "bert-tiny", "-b", "batch=4,seq=64", "-d", "h100-sxm"]


def test_kernels_are_printed_with_roofline_band_and_what_serves_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([*MODEL, "--kernels", "graph"]) == 0
    out = capsys.readouterr().out
    for word in ("roofline", "calibrated", "80 % band", "attention", "uncalibrated", "of the time: elementwise"):
        assert word in out
    assert "timing kineto_kernel_time" in out


def test_json_adds_up_and_holds_the_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([*MODEL, "--kernels", "graph", "--gpus", "2", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    total = sum(row["count"] * row["time_us"] for row in record["kernels"])
    assert record["totals"]["time_us"] == pytest.approx(total)
    assert sum(record["totals"]["by_us"].values()) == pytest.approx(total)
    assert record["totals"]["low_us"] < total < record["totals"]["high_us"]
    assert {row["op"] for row in record["kernels"]} >= {"gemm", "attention_prefill", "layernorm", "gelu", "all_reduce"}
    attention = next(row for row in record["kernels"] if row["op"] == "attention_prefill")
    assert (attention["heads"], attention["q_len"], attention["head_dim"]) == (1, 64, 64)  # of two heads on two GPUs


def test_the_table_is_written(tmp_path: Path) -> None:
    path = tmp_path / "kernels.csv"
    assert run_command([*MODEL, "--kernels", "eager", "--csv", str(path)]) == 0
    rows = pd.read_csv(path)
    assert {"op", "count", "roofline_us", "time_us", "low_us", "high_us", "remark"} <= set(rows.columns)
    assert (rows.low_us < rows.time_us).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kernels", "fast"], "unknown timing 'fast'"),
        (["--kernels", "graph", "--style", "jit"], "unknown style 'jit'"),
        (["--kernels", "graph", "--year", "2030"], "--year says nothing about calibrated kernels"),
        (["--gpus", "2"], "give --kernels"),
        (["--kernels", "graph", "-d", "gemmini"], "--kernels is for GPUs"),
        (["--kernels", "graph", "-d", "epyc-9654"], "epyc-9654"),
    ],
)
def test_what_does_not_go_together_is_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*MODEL, *options]) == 2
    assert message in capsys.readouterr().err


def test_a_sweep_over_gpus_and_widths_has_bands_and_equals_evaluate() -> None:
    work = architecture("bert-mini", batch=8, seq=128)
    space = dse.Space(
        device=["a100-sxm-80gb"], timing=["graph"], gpus=[1, 2], weight_bits=[4, 16], head_density=[0.5, 0.75, 1]
    )
    columns = dse.sweep(space, dse.standard_model(work), minimize=("latency_s",)).columns
    assert len(columns["latency_s"]) == 12
    assert (columns["latency_low_s"] < columns["latency_s"]).all()
    assert (columns["latency_s"] < columns["latency_high_s"]).all()
    whole = hwmodels.evaluate(work, hwmodels.calibrated("a100-sxm-80gb", gpus=2))
    assert np.isclose(columns["latency_s"], whole.latency_s).any()


@pytest.mark.parametrize(
    ("knobs", "message"), [({"gpus": [2]}, "add timing"), ({"timing": ["graph"], "year": [2030]}, "leave one out")]
)
def test_knobs_that_need_each_other_say_so(knobs: dict[str, list[object]], message: str) -> None:
    work = architecture("bert-tiny", batch=1, seq=64)
    with pytest.raises(SpaceError, match=message):
        dse.sweep(dse.Space(weight_bits=[4, 8], **knobs), dse.standard_model(work), minimize=("latency_s",))
