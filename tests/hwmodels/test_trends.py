"""Trends of the memory wall: headline rates from the bundled markers, defects by name, devices of other years."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

import hwmodels
from hwmodels import trends
from hwmodels.trends.projecting import PROJECTED
from workloads import SpecError, format_code
from workloads.operator import Operator, Tensor, axis
from workloads.workload import Workload

ACCELERATORS = Path(__file__).parent.parent / "golden" / "reference" / "hardware" / "accelerators.csv"
HEADLINES = {
    "peak_compute": 3.0,
    "dram_bandwidth": 1.6,
    "interconnect_bandwidth": 1.4,
    "model_parameters": 410.0,
    "training_compute": 750.0,
}  # per two years: arXiv 2403.14123, abstract and Figs. 1, 2
COUNTS = {"peak_compute": 37, "dram_bandwidth": 12, "interconnect_bandwidth": 10, "model_parameters": 10,
          "training_compute": 10, "memory_capacity": 7}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Rates


@pytest.mark.parametrize("name", HEADLINES)
def test_refitted_rates_are_within_two_percent_of_the_headlines(name: str) -> None:
    found = trends.refit()[name]
    assert found.count == COUNTS[name]
    assert found.headline == HEADLINES[name]
    assert found.per_two_years == pytest.approx(HEADLINES[name], rel=0.02)
    assert abs(found.deviation) <= 0.02


def test_the_memory_of_accelerators_grows_slower_than_the_headline_but_within_one_standard_error() -> None:
    found = trends.refit()["memory_capacity"]
    assert found.count == COUNTS["memory_capacity"]
    assert found.headline == 2.0
    assert found.per_two_years == pytest.approx(1.83, abs=0.005)
    assert float(found.growth(2.0, errors=1.0)) > 2.0


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("peak_compute", "peak_compute_refit"),
        ("dram_bandwidth", "dram_bandwidth_refit"),
        ("interconnect_bandwidth", "interconnect_refit"),
        ("model_parameters", "transformer_params_refit"),
        ("training_compute", "transformer_training_compute_refit"),
    ],
)
def test_someone_elses_refit_of_the_same_markers_agrees(name: str, row: str) -> None:
    stated = next(item for item in trends.table("rates") if item["quantity"] == row)
    found = trends.refit()[name]
    assert found.per_two_years == pytest.approx(float(stated["rate"].partition("x")[0]), rel=0.003)
    if stated["long_run"]:
        twenty = float(stated["long_run"].partition("x")[0])
        assert float(found.growth(20.0)) == pytest.approx(twenty, rel=0.02)


def test_the_fit_up_to_gshard_is_the_thousandfold_one() -> None:
    found = trends.fit(trends.points_of("model_parameters")[:8])
    assert found.per_two_years == pytest.approx(1004, rel=0.005)


def test_long_runs_follow_from_the_refitted_rates() -> None:
    for name, found in trends.refit().items():
        stated = trends.QUANTITIES[name].long_run
        if stated:
            assert float(found.growth(20.0)) == pytest.approx(stated, rel=0.08)  # 60000x, 100x, 30x: one digit each


def test_rates_and_errors_are_those_of_a_textbook_regression() -> None:
    from scipy import stats

    for name, found in trends.refit().items():
        points = trends.points_of(name)
        year, logs = [point.year for point in points], np.log([point.value for point in points])
        line = stats.linregress(year, logs)
        assert found.rate == pytest.approx(line.slope, rel=1e-9)
        assert found.rate_error == pytest.approx(line.stderr, rel=1e-9)
        assert math.log(float(found.value(2000.0))) == pytest.approx(line.intercept + 2000 * line.slope, abs=1e-6)


def test_the_standard_error_covers_the_true_rate_as_often_as_it_should() -> None:
    rng = np.random.default_rng(0)
    year = np.linspace(2000, 2020, 15)
    inside = 0
    for _ in range(400):
        logs = 0.4 * (year - 2010) + rng.normal(0, 0.5, 15)
        found = trends.fit([trends.Point(float(y), float(v), "") for y, v in zip(year, np.exp(logs), strict=True)])
        inside += abs(found.rate - 0.4) < found.rate_error
    assert 0.60 < inside / 400 < 0.73  # one standard error, 13 degrees of freedom: 0.664


def test_few_points_or_one_date_are_refused() -> None:
    point = trends.Point(2000.0, 1.0, "")
    for points in ([point, point], [point] * 3, [point, trends.Point(2001.0, 0.0, ""), trends.Point(2002.0, 1.0, "")]):
        with pytest.raises(SpecError, match="at least three points"):
            trends.fit(points)
    with pytest.raises(SpecError, match="nearest: dram_bandwidth"):
        trends.points_of("dram_bandwith")


# ---------------------------------------------------------------------------------------------------------------------
# The tables and their defects


@pytest.mark.parametrize("defect", trends.DEFECTS, ids=lambda item: f"{item.key}-{item.column}")
def test_each_defect_is_in_the_table_as_printed(defect: trends.Defect) -> None:
    key = {"rates": "quantity"}.get(defect.table, "model")
    (row,) = [row for row in trends.table(defect.table) if row[key] == defect.key]
    assert row[defect.column] == defect.printed
    assert defect.holds != defect.printed
    assert len(defect.why) > 20


def test_defects_are_what_their_reasons_say() -> None:
    models = {row["model"]: row for row in trends.table("models")}
    for column in ("params_million", "features_million", "inference_gflops"):
        assert models["RoBERTa Large"][column] == models["GPT-2"][column]
    figure = {row["label"]: float(row["training_compute"]) for row in trends.table("training_compute")}
    assert figure["BERT Large"] > 2 * float(models["BERT Large"]["training_pflops"])
    for row in trends.table("training_memory"):
        parts = sum(float(row[name]) for name in ("params_gb", "optimizer_gb", "activation_gb"))
        agrees = abs(parts - float(row["total_gb"])) < 0.11  # GPT-2's parts sum to 26.11
        assert agrees == (row["model"] != "AlexNet")
    assert models["GPT-2"]["input_size"] == "1024"


def test_models_of_table_and_figure_agree_but_for_the_named_one() -> None:
    named = {defect.key for defect in trends.DEFECTS if defect.column == "training_pflops"}
    figure = {row["label"]: float(row["training_compute"]) for row in trends.table("training_compute")}
    compared = 0
    for row in trends.table("models"):
        if row["model"] in figure and row["training_pflops"]:
            compared += 1
            agrees = figure[row["model"]] == pytest.approx(float(row["training_pflops"]), rel=0.05)
            assert agrees == (row["model"] not in named), row["model"]
    assert compared >= 9


def test_every_row_of_the_bundled_tables_has_a_source() -> None:
    for name in ("hardware", "model_size", "training_compute", "models", "training_memory", "rates"):
        rows = trends.table(name)
        assert rows
        assert all(row["source"] and row["origin"] in ("read", "derived") for row in rows)


# ---------------------------------------------------------------------------------------------------------------------
# Devices of other years


def product(m: int = 64, width: int = 4096) -> Workload:
    code = format_code("fp16")
    x = Tensor(name="x", axes=(axis("m"), axis("k")), bits=16, format=code)
    w = Tensor(name="w", axes=(axis("k"), axis("n")), role="weight", bits=16, format=code)
    y = Tensor(name="y", axes=(axis("m"), axis("n")), bits=16, format=code)
    op = Operator(name="p", op_type="MatMul", kind="matmul", dims={"m": m, "n": width, "k": width}, inputs=(x, w),
                  outputs=(y,), format=code)  # fmt: skip
    return Workload(name="one", operators=(op,), inputs=("x",), outputs=("y",))


@pytest.mark.parametrize("name", hwmodels.names())
def test_every_shipped_device_has_the_year_of_the_reference(name: str) -> None:
    device = hwmodels.load(name)
    with ACCELERATORS.open(encoding="utf-8", newline="") as file:
        rows = {row["device_file"]: row for row in csv.DictReader(file)}
    row = rows.get(name) or rows[f"{name}.toml"]
    assert device.year == float(row["year"])
    assert device.sources["release"].source
    if row["interconnect_gbs_total_bidir"]:
        assert device.interconnect_bytes_per_s == float(row["interconnect_gbs_total_bidir"]) * 1e9
        assert device.sources["interconnect"].source
    else:
        assert device.interconnect_bytes_per_s == 0


@pytest.mark.parametrize("name", hwmodels.names())
@pytest.mark.parametrize("year", [2010, 2026.5, 2030])
def test_a_projected_device_has_the_ceilings_of_the_rates(name: str, year: float) -> None:
    device, later = hwmodels.load(name), hwmodels.project(hwmodels.load(name), year)
    fits = trends.refit()
    factor = {key: math.exp(fits[key].rate * (year - device.year)) for key in PROJECTED}
    assert later.peak == pytest.approx(device.peak * factor["peak_compute"])
    assert later.vector_peak == pytest.approx(device.vector_peak * factor["peak_compute"])
    assert later.dram.bytes_per_s == pytest.approx(device.dram.bytes_per_s * factor["dram_bandwidth"])
    assert later.capacity_bytes == pytest.approx(device.capacity_bytes * factor["memory_capacity"])
    link = device.interconnect_bytes_per_s * factor["interconnect_bandwidth"]
    assert later.interconnect_bytes_per_s == pytest.approx(link)
    assert later.year == year
    assert "projection" in later.sources
    assert (later.launch_s, later.tdp_w, later.static_w) == (device.launch_s, device.tdp_w, device.static_w)
    assert [level.capacity_bytes for level in later.memory[:-1]] == [
        level.capacity_bytes for level in device.memory[:-1]
    ]


def test_projecting_there_and_back_gives_the_device_again() -> None:
    device = hwmodels.load("a100-sxm-80gb")
    back = hwmodels.project(hwmodels.project(device, 2031), 2020)
    assert back.peak == pytest.approx(device.peak, rel=1e-12)
    assert back.dram.bytes_per_s == pytest.approx(device.dram.bytes_per_s, rel=1e-12)
    assert back.capacity_bytes == pytest.approx(device.capacity_bytes, rel=1e-12)
    assert hwmodels.project(device, 2020) is device


def test_the_future_turns_products_memory_bound() -> None:
    device, code = hwmodels.load("h100-sxm"), format_code("fp16")
    ridges = [float(hwmodels.project(device, year).ridge_point(code)) for year in range(2022, 2036, 2)]
    assert ridges == sorted(ridges)
    assert ridges[1] / ridges[0] == pytest.approx(3.026 / 1.591, rel=1e-3)
    work = product(m=1024, width=16384)  # 910 FLOP/B in fp16: above today's ridge, below that of 2030
    (now,) = hwmodels.breakdown_records(work, device)
    (later,) = hwmodels.breakdown_records(work, hwmodels.project(device, 2030))
    assert (now.bound, later.bound) == ("compute", "memory")
    assert hwmodels.evaluate(work, hwmodels.project(device, 2030)).latency_s < hwmodels.evaluate(work, device).latency_s


def test_the_standard_error_brackets_a_projection_and_widens_with_time() -> None:
    device = hwmodels.load("h100-sxm")
    for name in PROJECTED:
        previous = 1.0
        for year in (2024, 2026, 2030):
            grown = trends.growths(device, year)[name]
            assert grown.low < grown.factor < grown.high
            assert grown.high / grown.low > previous
            previous = grown.high / grown.low
        past = trends.growths(device, 2018)[name]
        assert past.low < past.factor < past.high < 1
    fast, slow = (hwmodels.project(device, 2030, errors=errors) for errors in (1, -1))
    work = product()
    latencies = [
        float(hwmodels.evaluate(work, item).latency_s) for item in (fast, hwmodels.project(device, 2030), slow)
    ]
    assert latencies == sorted(latencies)


def test_knobs_of_a_device_are_kept_when_it_is_projected() -> None:
    device = hwmodels.load("t4").at(clock_scale=0.5, bandwidth_scale=np.array([1.0, 2.0]))
    later = hwmodels.project(device, 2024)
    assert later.clock_scale == 0.5
    assert np.array_equal(later.bandwidth_scale, [1.0, 2.0])


def test_a_device_without_a_year_and_a_year_out_of_range_are_refused(tmp_path: Path) -> None:
    from hwmodels.specs import spec_text

    text = spec_text("t4")
    start, end = text.index("[release]"), text.index("[interconnect]")
    own = tmp_path / "own.toml"
    own.write_text(text[:start] + text[end:], encoding="utf-8")
    with pytest.raises(SpecError, match=r"states no year.*\[release\] year"):
        hwmodels.project(hwmodels.load(own), 2030)
    with pytest.raises(SpecError, match="from 1990 to 2100"):
        hwmodels.project(hwmodels.load("t4"), 3000)
    own.write_text(text.replace("year = 2018", "year = 18"), encoding="utf-8")
    with pytest.raises(SpecError, match=r"release\.year: found 18"):
        hwmodels.load(own)
    own.write_text(text.replace('source = "NVIDIA T4: announced in September 2018"\n', ""), encoding="utf-8")
    with pytest.raises(SpecError, match="release"):
        hwmodels.load(own)
