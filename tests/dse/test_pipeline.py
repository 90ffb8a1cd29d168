"""The main job: from the embedded model to a measured front. Real weights, real task, a small budget."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest

import dse
import hwmodels
from dse.pareto import non_dominated
from dse.pipeline import OBJECTIVES, Optimized, allowed_drop, optimize
from dse.reachable import UnmetError
from dse.report.optimization import write_designs
from tests.dse.cli_runs import Run, files_below
from workloads import compress, tasks
from workloads.compress.edit import workload_of
from workloads.errors import DseError, SpaceError, TaskError
from workloads.onnx import load_onnx
from workloads.zoo import embedded_model

DEVICES = ("h100-sxm", "t4")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sensitivities")


@pytest.fixture(scope="module")
def found(cache: Path) -> Optimized:
    return _optimized(cache)


def _optimized(cache: Path) -> Optimized:
    return optimize(
        embedded_model(), "mnist", DEVICES, bind={"batch": 16}, budget=6000, measured=10, seed=1, cache=cache
    )


def test_every_design_on_a_front_was_measured_on_the_whole_test_split(found: Optimized) -> None:
    for front in found.fronts.values():
        assert front
        for name in front:
            measured = found.design(name).measured
            assert measured.score.count == 2000
            assert measured.drop.standard_error >= 0


def test_a_reported_drop_is_what_anyone_gets_who_applies_the_design(found: Optimized) -> None:
    name = found.chosen["t4"]
    design = found.design(name)
    model = compress.apply(onnx.load(str(embedded_model())), *design.techniques)
    task = tasks.load("mnist")
    again = tasks.drop(task.evaluate(str(embedded_model())), task.evaluate(model))
    assert again.value == pytest.approx(design.measured.drop.value, abs=1e-12)


def test_the_chosen_design_keeps_the_limit_and_beats_the_uncompressed_model(found: Optimized) -> None:
    for device, name in found.chosen.items():
        design, reference = found.design(name), found.designs[0]
        assert design.measured.drop.value <= found.allowed
        assert design.columns[device]["latency_s"] <= reference.columns[device]["latency_s"]
        assert design.sizes.packed_bytes < reference.sizes.packed_bytes / 2


def test_fronts_hold_exactly_the_designs_that_no_other_beats(found: Optimized) -> None:
    for device, front in found.fronts.items():
        costs = [
            [d.measured.drop.value, *(d.columns[device][objective] for objective in OBJECTIVES)] for d in found.designs
        ]
        names = {d.name for d, on in zip(found.designs, non_dominated(costs), strict=True) if on}
        assert names == set(front)


def test_predicted_columns_are_those_of_the_model_that_was_applied(found: Optimized) -> None:
    """The commuting square, end to end: load what was written, cost it, compare."""
    design = found.design(found.chosen["h100-sxm"])
    model = compress.apply(found.model, *design.techniques)
    loaded = load_onnx(model, batch=16)
    cost = hwmodels.evaluate(loaded, hwmodels.load("h100-sxm"))
    assert design.columns["h100-sxm"]["latency_s"] == pytest.approx(float(cost.latency_s), rel=1e-12)
    assert design.columns["h100-sxm"]["energy_j"] == pytest.approx(float(cost.energy_j), rel=1e-12)
    assert design.sizes.packed_bytes == pytest.approx(float(workload_of(model).weight_bytes()))


def test_predicted_drops_order_the_designs_that_were_measured_afterwards(found: Optimized) -> None:
    later = [d for d in found.designs[1:] if np.isfinite(d.predicted_drop)]
    predicted = np.array([d.predicted_drop for d in later])
    measured = np.array([d.measured.drop.value for d in later])
    assert len(later) >= 3
    assert np.mean(np.abs(predicted - measured)) < max(3 * found.curve.sd, 0.02)


def test_the_same_seed_finds_the_same_designs(found: Optimized, cache: Path) -> None:
    again = _optimized(cache)
    assert [d.columns for d in again.designs] == [d.columns for d in found.designs]
    assert again.chosen == found.chosen


@pytest.mark.parametrize(
    ("bounds", "match"),
    [
        ({"latency_s": (None, 1e-9)}, r"latency_s <= 1e-09.*on t4.*searched.*closest has latency_s = "),
        ({"energy_j": (None, 1e-30)}, "energy_j <= 1e-30"),
        ({"size_bytes": (1e12, None)}, r"size_bytes >= 1e\+12"),
        ({"size_bytes": (None, 70e3), "latency_s": (1.0, None)}, "latency_s >= 1"),
        ({"flops": (None, 1.0)}, "'flops': there is no such column; .*latency_s"),
    ],
)
def test_a_limit_that_no_design_can_meet_is_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, bounds: dict[str, Any], match: str
) -> None:
    def measured(*_: Any) -> None:
        raise AssertionError("something was measured")

    monkeypatch.setattr("dse.pipeline.Scorer", measured)
    with pytest.raises(SpaceError, match=match):
        optimize(embedded_model(), "mnist", ["t4"], bind={"batch": 16}, constraints=bounds)


def test_a_limit_that_no_measured_design_meets_names_it_and_keeps_what_was_measured(
    cache: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        UnmetError, match=r"no point meets drop <= -0\.5 .*of 5 measured designs.*closest has"
    ) as raised:
        optimize(
            embedded_model(), "mnist", ["t4"], bind={"batch": 16}, budget=2000, measured=4, cache=cache,
            constraints={"drop": (None, -0.5)},
        )  # fmt: skip
    kept = raised.value.found
    assert len(kept.designs) == 5
    assert not kept.chosen
    write_designs(kept, tmp_path)
    rows = pd.read_csv(tmp_path / "designs.csv")
    assert rows["design"].tolist() == [design.name for design in kept.designs]
    assert not rows["chosen"].any()
    assert json.loads((tmp_path / "designs.json").read_text()).keys() == {design.name for design in kept.designs}


def test_the_command_leaves_what_was_measured_and_says_where(
    found: Optimized, dse_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unmet(*_: Any, **__: Any) -> None:
        raise UnmetError("nobody meets it", replace(found, chosen={}))

    monkeypatch.setattr(dse, "optimize", unmet, raising=False)
    out = tmp_path / "out"
    message = dse_run("optimize", "vit-mnist", "--task", "mnist", "-d", "t4", "--out", out).message
    assert f"nobody meets it; what was measured is in {out / 'designs.csv'}" in message
    assert files_below(out) == {"designs.csv", "designs.json"}


def test_a_batch_that_exceeds_the_device_names_the_largest_that_fits(tmp_path: Path) -> None:
    spec = Path(hwmodels.__file__).parent / "specs" / "t4.toml"
    small = tmp_path / "small.toml"
    text = spec.read_text().replace("16 GB", "8 MB").replace('name = "t4"', 'name = "small"')
    assert text != spec.read_text()
    small.write_text(text)
    with pytest.raises(SpaceError, match=r"largest batch that fits is [1-9]"):
        optimize(embedded_model(), "mnist", [str(small)], bind={"batch": 4096})


def test_a_model_that_only_fits_compressed_gets_a_design_that_fits(cache: Path, tmp_path: Path) -> None:
    text = (Path(hwmodels.__file__).parent / "specs" / "t4.toml").read_text()
    tight = tmp_path / "tight.toml"
    tight.write_text(text.replace("16 GB", "1.5 MB").replace('name = "t4"', 'name = "tight"'))
    device = hwmodels.load(tight)
    found = optimize(embedded_model(), "mnist", [str(tight)], bind={"batch": 1}, budget=3000, measured=6, cache=cache)
    uncompressed, chosen = found.designs[0].columns[str(tight)], found.design(found.chosen[str(tight)])
    assert uncompressed["peak_bytes"] > device.capacity_bytes
    assert uncompressed["latency_s"] == np.inf
    assert found.designs[0].name not in found.fronts[str(tight)]
    assert chosen.columns[str(tight)]["peak_bytes"] <= device.capacity_bytes
    assert chosen.measured.drop.value <= found.allowed


@pytest.mark.parametrize(("text", "allowed"), [("0.01", 0.01), ("1%", 0.0099), (0.5, 0.5), ("0", 0.0)])
def test_max_drop_is_absolute_or_relative(text: str | float, allowed: float) -> None:
    assert allowed_drop(text, 0.99) == pytest.approx(allowed)


@pytest.mark.parametrize("text", ["-1", "x", "", "1%%", "nan", "inf", "5", "200%"])
def test_max_drop_that_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(TaskError, match="max-drop"):
        allowed_drop(text, 0.99)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "mnits"}, "nearest: mnist"),
        ({"devices": ["h100-smx"]}, "h100-sxm"),
        ({"objective": "speed"}, "latency_s"),
        ({"bind": {"bach": 2}}, "batch"),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_one(arguments: dict[str, object], message: str) -> None:
    given = {"task": "mnist", "devices": ["t4"], "bind": {"batch": 2}} | arguments
    with pytest.raises(DseError, match=message):
        optimize(embedded_model(), **given)  # type: ignore[arg-type]
