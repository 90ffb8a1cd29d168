"""What is recommended for this machine follows what it measured: never a design slower than the original."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import dse.model
import hwmodels
from dse import choosing
from dse.choosing import LOCAL, choose_by_speed, measured_gain, time_designs, warnings_of
from dse.measure import random_feeds
from dse.measure.timing import Timing, quartiles
from dse.pipeline import Optimized, optimize
from dse.report.optimization import write_chosen, write_report
from tests.dse.cli_runs import Run
from workloads.tasks import Score
from workloads.tasks.mnist import MnistClassification
from workloads.zoo import embedded_model

pytestmark = pytest.mark.slow

NAMES = ("uncompressed", "d01", "d02", "d03")


class Few(MnistClassification):
    """A few digits: what is tested here is no accuracy."""

    def evaluate(self, model: Any, split: str = "test", *, limit: int | None = None, threads: int = 1) -> Score:
        return MnistClassification.evaluate(self, model, split, limit=16, threads=threads)


@pytest.fixture(scope="module")
def found() -> Optimized:
    """Four measured designs on a device that stands for this machine."""
    base = hwmodels.load("epyc-9654")
    patch = pytest.MonkeyPatch()
    patch.setattr("dse.measure.local.load_local", lambda: replace(base, name=LOCAL))
    patch.setattr("dse.pipeline.WEIGHT_BITS", (4, 32))  # fewer changes to measure
    patch.setattr("dse.pipeline.DENSITIES", (0.5, 1.0))
    dse.model.device_of.cache_clear()
    result = optimize(embedded_model(), Few(), [LOCAL, "t4"], bind={"batch": 4}, budget=800, measured=3)
    patch.undo()
    dse.model.device_of.cache_clear()
    assert tuple(design.name for design in result.designs) == NAMES
    return result


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    base = replace(hwmodels.load("epyc-9654"), name=LOCAL)
    real = dse.model.device_of
    for module in ("dse.report.optimization", "dse.model"):
        monkeypatch.setattr(f"{module}.device_of", lambda name: base if name == LOCAL else real(name))


def timed(**seconds: float) -> dict[str, Timing]:
    return {
        name: Timing(
            name=name, cpu=quartiles([taken]), wall=quartiles([taken]), runs=1, executions=1, threads=1,
            cpu_samples_s=(taken,), order=(position,),
        )
        for position, (name, taken) in enumerate(seconds.items())
    }  # fmt: skip


def ordered(found: Optimized, *names: str, objective: str = "latency_s") -> Optimized:
    eligible = {**found.eligible, LOCAL: names}
    return replace(found, eligible=eligible, chosen={**found.chosen, LOCAL: names[0]}, objective=objective)


def test_the_fastest_measured_design_is_chosen_whatever_was_predicted(found: Optimized) -> None:
    timings = timed(uncompressed=1.0, d01=1.2, d02=0.7, d03=0.9)
    chosen = choose_by_speed(ordered(found, "d01", "d03", "d02", "uncompressed"), timings)
    assert chosen.chosen[LOCAL] == "d02"
    assert chosen.chosen["t4"] == found.chosen["t4"]
    assert measured_gain(chosen, timings, "d02") == pytest.approx(1 / 0.7)
    assert not warnings_of(chosen, timings)


@pytest.mark.parametrize("objective", ["latency_s", "energy_j"])
def test_the_uncompressed_model_is_chosen_where_all_designs_are_slower(found: Optimized, objective: str) -> None:
    timings = timed(uncompressed=1.0, d01=1.2, d02=1.1)
    chosen = choose_by_speed(ordered(found, "d01", "d02", "uncompressed", objective=objective), timings)
    assert chosen.chosen[LOCAL] == "uncompressed"
    assert "no design that meets the limits was measured faster" in warnings_of(chosen, timings)[0]


def test_with_energy_the_best_predicted_design_that_is_not_slower_is_chosen(found: Optimized) -> None:
    timings = timed(uncompressed=1.0, d01=1.2, d02=0.9, d03=0.5)
    names = ("d01", "d02", "d03", "uncompressed")
    assert choose_by_speed(ordered(found, *names, objective="energy_j"), timings).chosen[LOCAL] == "d02"


def test_with_size_the_choice_stays_and_its_speed_is_said(found: Optimized) -> None:
    timings = timed(uncompressed=1.0, d01=1.25)
    chosen = choose_by_speed(ordered(found, "d01", "uncompressed", objective="size_bytes"), timings)
    assert chosen.chosen[LOCAL] == "d01"
    assert "0.80x the speed" in warnings_of(chosen, timings)[0]


def test_without_a_faster_design_that_meets_the_limits_the_least_slow_one_is_chosen_and_said(found: Optimized) -> None:
    timings = timed(uncompressed=1.0, d01=1.25, d02=1.1)
    chosen = choose_by_speed(ordered(found, "d01", "d02"), timings)
    assert chosen.chosen[LOCAL] == "d02"
    assert "0.91x the speed" in warnings_of(chosen, timings)[0]


def test_what_is_timed_are_the_original_the_choices_and_the_best_of_the_local_device(found: Optimized) -> None:
    feeds = random_feeds(found.model, np.random.default_rng(0), batch=4)
    timings = time_designs(found, feeds, 1.0)
    assert set(timings) == {"uncompressed", *found.chosen.values(), *found.eligible[LOCAL][: choosing.TIMED]}
    assert all(measured_gain(found, timings, name) > 0 for name in timings)
    chosen = choose_by_speed(found, timings)
    assert measured_gain(chosen, timings, chosen.chosen[LOCAL]) >= 1


def test_the_report_shows_measured_beside_predicted_gains(found: Optimized, here: None, tmp_path: Path) -> None:
    timings = timed(uncompressed=1.0, d01=1.25, d02=0.8)
    chosen = choose_by_speed(ordered(found, "d01", "d02", "uncompressed"), timings)
    paths = write_chosen(chosen, tmp_path)
    onnx.checker.check_model(str(paths["d02"]))
    text = write_report(chosen, tmp_path, timings, paths).read_text()
    assert "latency gain (predicted) | latency gain (measured)" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| local | d02 (`chosen.onnx`)")]
    assert "| 1.25x |" in row
    assert "d02 **chosen**" in text


def test_the_terminal_prints_the_measured_gain(
    dse_run: Run, found: Optimized, here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timings = timed(uncompressed=1.0, d01=1.25, d02=0.8, d03=0.8)
    monkeypatch.setattr("dse.optimize", lambda *a, **k: ordered(found, "d01", "d02", "uncompressed"), raising=False)
    monkeypatch.setattr("dse.cli.inputs.device", lambda name: hwmodels.load("t4"))
    monkeypatch.setattr("dse.choosing.time_designs", lambda *a: timings)
    run = dse_run("optimize", "vit-mnist", "--task", "mnist", "-d", LOCAL, "--batch", "4", "--out", tmp_path / "out")
    assert run.code == 0, run.err
    (row,) = [line for line in run.out.splitlines() if line.startswith(LOCAL)]
    assert "d02" in row
    assert "1.25x" in row
    assert all(len(line) <= 80 for line in run.out.splitlines() if "x" in line and "|" not in line and "/" not in line)
