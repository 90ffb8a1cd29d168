"""Hardware of another year: the knob `year`, `dse profile --year` and `dse trends`."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

import dse
import hwmodels
from hwmodels import trends
from tests.dse.cli_runs import Run
from workloads import SpaceError, compress
from workloads.onnx import load_onnx
from workloads.workload import Workload
from workloads.zoo import embedded_model


@pytest.fixture(scope="module")
def work() -> Workload:
    return load_onnx(embedded_model(), batch=256)


# ---------------------------------------------------------------------------------------------------------------------
# The knob


def test_a_sweep_over_years_costs_each_point_on_the_device_of_its_year(work: Workload) -> None:
    space = dse.Space(device=["t4", "h100-sxm"], year=[2024, 2026, 2030], weight_bits=[4, 8, 16])
    result = dse.sweep(space, dse.standard_model(work), minimize=("latency_s", "size_bytes"))
    assert len(result) == 18
    points = result.points
    for row in range(len(result)):
        device = hwmodels.project(hwmodels.load(points.device[row]), float(points.year[row]))
        small = compress.cost(work, compress.Quantize(weight_bits=float(points.weight_bits[row])))
        cost = hwmodels.evaluate(small, device)
        assert result.columns["latency_s"][row] == pytest.approx(float(cost.latency_s), rel=1e-12)
        assert result.columns["energy_j"][row] == pytest.approx(float(cost.energy_j), rel=1e-12)
        fast, slow = (
            hwmodels.evaluate(
                small, hwmodels.project(hwmodels.load(points.device[row]), points.year[row], errors=errors)
            )
            for errors in (1.0, -1.0)
        )
        assert result.columns["latency_low_s"][row] == pytest.approx(float(fast.latency_s), rel=1e-12)
        assert result.columns["latency_high_s"][row] == pytest.approx(float(slow.latency_s), rel=1e-12)


def test_latency_falls_over_the_years_and_its_range_widens(work: Workload) -> None:
    space = dse.Space(year=[2018, 2022, 2026, 2030])
    columns = dse.sweep(space, dse.standard_model(work, "t4"), minimize=("latency_s",)).columns
    latency, low, high = (np.asarray(columns[name]) for name in ("latency_s", "latency_low_s", "latency_high_s"))
    assert (np.diff(latency) < 0).all()
    assert (low <= latency).all()
    assert (latency <= high).all()
    width = high / low
    assert width[0] == 1  # the device's own year
    assert width[1] > 1


def test_other_knobs_of_the_device_work_on_the_projected_one(work: Workload) -> None:
    space = dse.Space(year=[2026], bandwidth_scale=[0.5, 1.0, 2.0], clock_scale=[1.0, 0.8])
    result = dse.sweep(space, dse.standard_model(work, "t4"), minimize=("latency_s",))
    later = hwmodels.project(hwmodels.load("t4"), 2026)
    for row in range(len(result)):
        point = result.points.row(row)
        device = later.at(clock_scale=point.clock_scale, bandwidth_scale=point.bandwidth_scale)
        expected = float(hwmodels.evaluate(work, device).latency_s)
        assert result.columns["latency_s"][row] == pytest.approx(expected, rel=1e-12)


def test_a_continuous_year_is_refused_with_the_way_out(work: Workload) -> None:
    space = dse.Space(year=dse.uniform(2024, 2030))
    with pytest.raises(SpaceError, match="'year' constant within a batch; give it a list"):
        dse.run(dse.search.random_search(space, rng=np.random.default_rng(0)), dse.standard_model(work), budget=4,
                minimize=("latency_s",))  # fmt: skip


def test_points_without_a_year_have_no_range(work: Workload) -> None:
    columns = dse.sweep(dse.Space(weight_bits=[8]), dse.standard_model(work), minimize=("latency_s",)).columns
    assert not {"latency_low_s", "latency_high_s"} & set(columns)


def test_a_stored_run_remembers_the_trends_it_used(work: Workload, tmp_path: Path) -> None:
    space = dse.Space(year=[2024, 2026])
    dse.run(dse.search.exhaustive(space), dse.standard_model(work), budget=2, minimize=("latency_s",), store=tmp_path)
    record = tomllib.loads((tmp_path / "run.toml").read_text(encoding="utf-8"))
    assert "digest" in str(record)
    assert dse.standard_model(work).describe(space)["trends"]["digest"] in str(record)
    assert "trends" not in dse.standard_model(work).describe(dse.Space(weight_bits=[8]))


# ---------------------------------------------------------------------------------------------------------------------
# Commands


def test_a_sweep_file_takes_years(dse_run: Run, tmp_path: Path) -> None:
    config = tmp_path / "years.toml"
    config.write_text(
        '[model]\npath = "vit-mnist"\nbind = { batch = 256 }\n[space]\ndevice = ["t4"]\nyear = [2020, 2026]\n'
        '[search]\nminimize = ["latency_s"]\n',
        encoding="utf-8",
    )
    outcome = dse_run("sweep", str(config), "--out", str(tmp_path / "out"))
    assert outcome.code == 0, outcome.err
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["year"]) for row in rows] == [2020, 2026]
    for row in rows:
        assert float(row["latency_low_s"]) <= float(row["latency_s"]) <= float(row["latency_high_s"])


def test_profile_on_the_hardware_of_a_year(dse_run: Run) -> None:
    outcome = dse_run("profile", "vit-mnist", "-d", "t4", "--bind", "batch=256", "--year", "2026", "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    work = load_onnx(embedded_model(), batch=256)
    device = hwmodels.load("t4")
    later = hwmodels.project(device, 2026)
    assert found["device"] == "t4@2026"
    assert found["totals"]["latency_s"] == pytest.approx(float(hwmodels.evaluate(work, later).latency_s), rel=1e-9)
    projection = found["projection"]
    assert (projection["device"], projection["from_year"], projection["to_year"]) == ("t4", 2018, 2026)
    for name, growth in trends.growths(device, 2026).items():
        assert projection["growth"][name]["factor"] == pytest.approx(growth.factor)
    assert projection["latency_low_s"] <= found["totals"]["latency_s"] <= projection["latency_high_s"]


def test_the_table_of_a_projected_profile_says_how_sure_it_is(dse_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = dse_run("profile", "vit-mnist", "-d", "t4", "--bind", "batch=256", "--year", "2026", "--top", "3")
    assert outcome.code == 0, outcome.err
    assert "on t4@2026, predicted" in outcome.out
    assert "2018 to 2026" in outcome.out
    assert "peak compute" in outcome.out
    assert "one standard error" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_a_year_that_is_none_and_a_device_without_one_are_refused(dse_run: Run, tmp_path: Path) -> None:
    outcome = dse_run("profile", "vit-mnist", "-d", "t4", "--bind", "batch=1", "--year", "26")
    assert outcome.code == 2
    assert "give one from 1990 to 2100" in outcome.err
    own = tmp_path / "own.toml"
    text = hwmodels.specs.spec_text("t4")
    own.write_text(text[: text.index("[release]")], encoding="utf-8")
    outcome = dse_run("profile", "vit-mnist", "-d", str(own), "--bind", "batch=1", "--year", "2026")
    assert outcome.code == 2
    assert "states no year" in outcome.err


def test_trends_prints_refit_beside_headline(dse_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = dse_run("trends")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 80
    for title, cells in (("peak compute", ("3.02", "3x")), ("transformer training", ("750x", "+0.0%"))):
        (line,) = [line for line in lines if line.startswith(title)]
        assert all(cell in line for cell in cells), line


def test_trends_as_json_is_the_refit_and_the_projection(dse_run: Run) -> None:
    outcome = dse_run("trends", "--json", "--device", "h100-sxm", "--year", "2030")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    fits = trends.refit()
    assert {rate["quantity"]: rate["per_two_years"] for rate in found["rates"]} == pytest.approx(
        {name: fit.per_two_years for name, fit in fits.items()}
    )
    expected = trends.growths(hwmodels.load("h100-sxm"), 2030)
    assert {name: item["factor"] for name, item in found["projection"]["growth"].items()} == pytest.approx(
        {name: item.factor for name, item in expected.items()}
    )


def test_trends_writes_its_tables_and_figures(dse_run: Run, tmp_path: Path) -> None:
    outcome = dse_run("trends", "--out", str(tmp_path / "out"))
    assert outcome.code == 0, outcome.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "rates.csv", "points.csv", "defects.csv", "hardware_scaling.png", "model_size_scaling.png",
        "training_compute_scaling.png",
    }  # fmt: skip
    with (tmp_path / "out" / "points.csv").open(encoding="utf-8", newline="") as file:
        points = list(csv.DictReader(file))
    assert len(points) == sum(len(trends.points_of(name)) for name in trends.QUANTITIES)
    with (tmp_path / "out" / "defects.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(trends.DEFECTS)


def test_trends_wants_device_and_year_together(dse_run: Run) -> None:
    outcome = dse_run("trends", "--device", "t4")
    assert outcome.code == 2
    assert "go together" in outcome.err
