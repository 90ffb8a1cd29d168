"""`dse profile` and `dse devices`: the numbers are those of the library, the tables fit."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

import hwmodels
from dse.cli import inputs
from tests.dse.cli_runs import Run, affine_model
from workloads.onnx import load_onnx

FIXTURES = Path(__file__).parents[1] / "fixtures"
BERT = (FIXTURES / "bert_base_dynamo.onnx", "--no-weights", "--bind", "batch=1,seq=128")
OPERATOR_KEYS = {
    "name", "op_type", "kind", "flops", "dram_bytes", "intensity", "bound", "latency_s", "energy_j"
}  # fmt: skip
TOTAL_KEYS = {"flops", "matmul_conv_macs", "dram_bytes", "latency_s", "energy_j", "peak_bytes"}


def profiled(dse_run: Run, *arguments: object) -> Any:
    outcome = dse_run("profile", *arguments, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON number")

    return json.loads(outcome.out, parse_constant=refuse)


def test_the_profile_of_bert_base_is_what_the_library_says(dse_run: Run) -> None:
    found = profiled(dse_run, *BERT, "--device", "h100-sxm")
    work = load_onnx(BERT[0], batch=1, seq=128, missing_weights="allow")
    cost = hwmodels.evaluate(work, hwmodels.load("h100-sxm"))
    totals = found["totals"]
    assert set(totals) >= TOTAL_KEYS
    for name in ("flops", "dram_bytes", "latency_s", "energy_j", "peak_bytes"):
        assert totals[name] == pytest.approx(float(getattr(cost, name)), rel=1e-9)
    assert totals["matmul_conv_macs"] == work.macs()


def test_a_dim_called_source_is_bound_as_the_error_says(dse_run: Run, tmp_path: Path) -> None:
    path = affine_model(tmp_path / "m.onnx", shape=("batch", "source", 64))
    message = dse_run("profile", path, "-d", "t4").message
    assert "--bind batch=1,source=1" in message
    assert profiled(dse_run, path, "-d", "t4", "--bind", "batch=1,source=7")["bind"] == {"batch": 1, "source": 7}


def test_free_ops_that_the_model_does_not_hold_are_refused(dse_run: Run, tmp_path: Path) -> None:
    path = affine_model(tmp_path / "m.onnx", op_type="Mystery")
    command = ("profile", path, "-d", "t4", "-b", "batch=1", "--free-ops")
    assert dse_run(*command, "Mystery").code == 0
    message = dse_run(*command, "Mystery,Misery").message
    assert "--free-ops Misery: the model has no such op type; nearest: Mystery" in message


def test_op_types_keep_their_beginnings_in_a_narrow_terminal(dse_run: Run) -> None:
    model = FIXTURES / "graph_kinds" / "bert4_qdq_int8.onnx"
    lines = dse_run("profile", model, "--no-weights", "-d", "t4", "-b", "batch=1,seq=8").out.splitlines()
    kinds = {line[len("operator       ") :].split()[0] for line in lines if line.endswith("%")}
    assert {"QuantizeL…", "Dequantiz…", "MatMul"} <= kinds
    assert max(map(len, lines)) <= 80


def test_top_is_for_the_table(dse_run: Run) -> None:
    assert "--top is for the printed table" in dse_run("profile", *BERT, "-d", "t4", "--top", "3", "--json").message


def test_totals_are_the_sums_of_the_rows_and_every_row_is_plain(dse_run: Run) -> None:
    found = profiled(dse_run, "vit-mnist", "--device", "t4", "--bind", "batch=16")
    rows = found["operators"]
    for name in ("flops", "dram_bytes", "latency_s", "energy_j"):
        assert found["totals"][name] == pytest.approx(sum(row[name] for row in rows), rel=1e-12)
    for row in rows:
        assert set(row) >= OPERATOR_KEYS
        assert row["bound"] in ("compute", "memory", "launch", "none")
        assert all(math.isfinite(row[name]) for name in ("flops", "dram_bytes", "intensity", "latency_s", "energy_j"))
    assert sum(row["share"] for row in rows) == pytest.approx(1)


@pytest.mark.parametrize("columns", ["80", "100", "160"])
def test_tables_fit_the_terminal_and_have_no_colour_in_a_pipe(
    dse_run: Run, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for arguments in (("profile", *BERT, "-d", "xeon-8480", "--top", "15"), ("devices",), ("devices", "h100-sxm")):
        outcome = dse_run(*arguments)
        assert outcome.code == 0
        assert max(map(len, outcome.out.splitlines())) <= int(columns)
        assert "\x1b" not in outcome.out


def test_a_table_row_stands_for_every_operator_that_runs(dse_run: Run) -> None:
    found = profiled(dse_run, "vit-mnist", "--device", "t4", "--bind", "batch=1")
    running = [row for row in found["operators"] if row["bound"] != "none"]
    table = dse_run("profile", "vit-mnist", "--device", "t4", "--bind", "batch=1").out
    assert sum(line.endswith("%") for line in table.splitlines()) == len(running)
    longest = dse_run("profile", "vit-mnist", "--device", "t4", "--bind", "batch=1", "--top", "3").out
    assert f"{len(running) - 3} shorter operators are not shown" in longest
    assert "peak memory" in longest


def test_csv_and_plot_hold_the_same_operators(dse_run: Run, tmp_path: Path) -> None:
    table, plot = tmp_path / "new" / "rows.csv", tmp_path / "new" / "roofline.svg"
    outcome = dse_run("profile", "vit-mnist", "-d", "t4", "-b", "batch=1", "--csv", table, "--plot", plot, "--top", 1)
    assert outcome.code == 0, outcome.err
    found = profiled(dse_run, "vit-mnist", "--device", "t4", "--bind", "batch=1")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [row["name"] for row in found["operators"]]
    assert sum(float(row["latency_s"]) for row in rows) == pytest.approx(found["totals"]["latency_s"])
    assert plot.read_text().lstrip().startswith("<?xml")
    assert {item.name for item in table.parent.iterdir()} == {"rows.csv", "roofline.svg"}


def test_several_devices_give_a_profile_each(dse_run: Run) -> None:
    found = profiled(dse_run, "vit-mnist", "-d", "t4", "-d", "l4", "-b", "batch=1")
    assert [profile["device"] for profile in found["profiles"]] == ["t4", "l4"]
    assert (
        "one device" in dse_run("profile", "vit-mnist", "-d", "t4", "-d", "l4", "-b", "batch=1", "--csv", "x").message
    )


def test_without_fusion_more_is_moved_and_launched(dse_run: Run) -> None:
    fused = profiled(dse_run, "vit-mnist", "-d", "h100-sxm", "-b", "batch=1")["totals"]
    apart = profiled(dse_run, "vit-mnist", "-d", "h100-sxm", "-b", "batch=1", "--no-fuse")["totals"]
    assert apart["dram_bytes"] > fused["dram_bytes"]
    assert apart["latency_s"] > fused["latency_s"]
    assert apart["flops"] == fused["flops"]


def test_what_does_not_fit_is_said_with_demand_capacity_and_the_largest_batch(dse_run: Run, tmp_path: Path) -> None:
    model = affine_model(tmp_path / "wide.onnx", shape=("n", "rows", 64))
    found = profiled(dse_run, model, "-d", "t4", "-b", "n=1000,rows=1000000")
    largest = found["memory"]["largest_batch"]
    assert not found["memory"]["fits"]
    t4 = hwmodels.load("t4")

    def fits(batch: int) -> bool:
        return bool(hwmodels.fits(hwmodels.evaluate(load_onnx(model, n=batch, rows=1_000_000), t4), t4))

    assert fits(largest)
    assert not fits(largest + 1)
    text = dse_run("profile", model, "-d", "t4", "-b", "n=1000,rows=1000000").out
    assert f"DOES NOT FIT: needs 512 GB, the device has 16 GB; the largest batch that fits is {largest}" in text
    fixed = affine_model(tmp_path / "fixed.onnx", shape=(10**9, 64))
    assert "the file fixes the batch size" in dse_run("profile", fixed, "-d", "t4").out
    alone = dse_run("profile", model, "-d", "t4", "-b", "n=1,rows=100000000").out
    assert "not even batch 1 fits" in alone


def test_an_unknown_op_can_be_described_or_counted_as_free(dse_run: Run, tmp_path: Path) -> None:
    model = affine_model(tmp_path / "odd.onnx", op_type="MyOwnProduct")
    free = profiled(dse_run, model, "-d", "t4", "-b", "batch=2", "--free-ops", "MyOwnProduct")
    assert free["totals"]["flops"] == 0
    handlers = tmp_path / "handlers.py"
    handlers.write_text("from workloads.onnx import HANDLERS as K\nHANDLERS = {'MyOwnProduct': K['MatMul']}\n")
    described = profiled(dse_run, model, "-d", "t4", "-b", "batch=2", "--extra-ops", handlers)
    assert described["totals"]["matmul_conv_macs"] == 2 * 64 * 64


def test_devices_lists_every_device_and_one_with_its_sources_and_disagreements(dse_run: Run) -> None:
    table = dse_run("devices").out
    assert all(name in table for name in hwmodels.names())
    one = dse_run("devices", "H100").out
    for group, citation in hwmodels.load("h100-sxm").sources.items():
        assert f"{group} ({citation.origin})" in one
    assert "disagrees: hahnyuan/LLM-Viewer hardware_params: 3.072 TB/s" in one


def test_local_measures_this_cpu_and_shows_it(dse_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def measure(path: Path) -> hwmodels.RooflineDevice:
        asked.append(path)
        return hwmodels.load("xeon-8480")

    monkeypatch.setattr(inputs, "measured_here", measure)
    outcome = dse_run("devices", "--local", "--out", tmp_path / "mine.toml")
    assert outcome.code == 0
    assert asked == [tmp_path / "mine.toml"]
    assert "mine.toml" in outcome.out
    assert "--local" in dse_run("devices", "--out", tmp_path / "mine.toml").message
    assert "takes no name" in dse_run("devices", "t4", "--local").message
