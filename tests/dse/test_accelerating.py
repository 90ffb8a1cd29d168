"""Accelerators as design points: `dse.accelerator_model`, and `dse sweep` on a spatial device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import dse
import hwmodels
from dse.cli.app import app
from hwmodels.spatial import Accelerator
from workloads import zoo
from workloads.errors import SpaceError, SpecError
from workloads.workload import Workload

SMALL = """
[model]
path = "bert-tiny"
bind = { seq = 16 }
[space]
device = "gemmini"
array_rows = [8, 16]
"capacity_scale.Scratchpad" = [0.5, 1]
%s
[search]
minimize = ["latency_s", "energy_j", "area_mm2"]
"""


@pytest.fixture(scope="module")
def work() -> Workload:
    return zoo.architecture("bert-tiny", seq=16)


def test_a_space_of_accelerators_is_swept_with_area_and_stored(work: Workload, tmp_path: Path) -> None:
    space = dse.Space(**{"array_rows": [8, 16], "capacity_scale.Scratchpad": [0.5, 1.0]})
    model = dse.accelerator_model(work, "gemmini")
    result = dse.sweep(space, model, minimize=["latency_s", "area_mm2"])
    alone = dse.accelerator_model(work, hwmodels.resized(hwmodels.load("gemmini", kind=Accelerator), rows=8))
    for row in range(len(result)):
        point = result.points.row(row)
        if getattr(point, "array_rows") == 8:  # noqa: B009
            one = alone.fronts.sweep({"capacity_scale.Scratchpad": getattr(point, "capacity_scale.Scratchpad")})
            assert result.columns["area_mm2"][row] == pytest.approx(one["area_mm2"][0], rel=1e-12)
            assert result.columns["latency_s"][row] == pytest.approx(one["latency_s"][0], rel=1e-12)
    assert {"latency_s", "energy_j", "area_mm2", "utilization"} <= set(result.columns)
    stored = dse.run(
        dse.search.exhaustive(space), model, budget=4, minimize=["latency_s", "energy_j"], store=tmp_path / "run"
    )
    assert np.array_equal(stored.columns["energy_j"], result.columns["energy_j"])
    assert "Softmax" in (tmp_path / "run" / "run.toml").read_text(encoding="utf-8")


def test_a_knob_without_a_price_stops_a_sweep(work: Workload) -> None:
    space = dse.Space(**{"bandwidth_scale.DRAM": [1.0, 2.0]})
    with pytest.raises(SpecError, match="bandwidth of DRAM has no price"):
        dse.sweep(space, dse.accelerator_model(work, "gemmini"), minimize=["latency_s"])


def test_the_command_sweeps_an_accelerator(tmp_path: Path) -> None:
    config = tmp_path / "small.toml"
    config.write_text(SMALL % "", encoding="utf-8")
    done = CliRunner().invoke(app, ["sweep", str(config), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "4 points, all of the space" in done.output
    header = (tmp_path / "out" / "results.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "area_mm2" in header
    assert "capacity_scale.Scratchpad" in header


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('"bandwidth_scale.DRAM" = [1, 2]', "bandwidth of DRAM has no price without its technology"),
        ('"capacity_scale.Scratchpd" = [1, 2]', "capacity_scale.Scratchpad"),
        ('[accelerator]\ndram = "DDR9"', "accelerator.dram: found 'DDR9'"),
        ('[accelerator]\nmapping = "best"', "accelerator.mapping: found 'best'; give one of edp, energy, latency"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path: Path, lines: str, message: str) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text(SMALL % lines, encoding="utf-8")
    done = CliRunner().invoke(app, ["sweep", str(config), "--out", str(tmp_path / "out")])
    assert done.exit_code != 0
    assert message in (done.output + str(done.exception)).replace("\n", " ")


def test_a_spatial_device_is_given_alone(tmp_path: Path) -> None:
    from dse.cli.sweep_config import read_config

    config = tmp_path / "two.toml"
    config.write_text(SMALL.replace('device = "gemmini"', 'device = ["gemmini", "t4"]') % "", encoding="utf-8")
    with pytest.raises(SpaceError, match="gemmini is a spatial accelerator, whose knobs are its own; give it alone"):
        read_config(config)
