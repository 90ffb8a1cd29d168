"""`dse profile` on models with control flow: what is missing is asked for, what is given weighs the parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import hwmodels
from tests.dse.cli_runs import Run
from tests.workloads.flow_graphs import decoding, repeated, two_branches
from workloads import load_program


def write(model: object, folder: Path) -> Path:
    path = folder / "flow.onnx"
    path.write_bytes(model.SerializeToString())  # type: ignore[attr-defined]  # an onnx.ModelProto
    return path


def test_a_missing_option_is_asked_for_with_the_flag_that_gives_it(dse_run: Run, tmp_path: Path) -> None:
    path = write(repeated(None), tmp_path)
    message = dse_run("profile", path, "--device", "t4").message
    assert "--trips loop=8" in " ".join(message.split())
    assert dse_run("profile", path, "--device", "t4", "--trips", "loop=5").code == 0


@pytest.mark.parametrize("chance", [0.25, 0, 1])
def test_probabilities_weigh_the_branches(dse_run: Run, tmp_path: Path, chance: float) -> None:
    path = write(two_branches(), tmp_path)
    done = dse_run("profile", path, "--device", "t4", "--probability", f"choose={chance}", "--json")
    assert done.code == 0, done.err
    totals = json.loads(done.out)["totals"]
    program = load_program(path, probabilities={"choose": chance})
    assert totals["matmul_conv_macs"] == (1 + chance) * 2 * 4 * 4
    assert totals["latency_s"] == pytest.approx(float(hwmodels.evaluate(program, hwmodels.load("t4")).latency_s))
    assert totals["peak_bytes"] == hwmodels.evaluate(program, hwmodels.load("t4")).peak_bytes


def test_a_growing_cache_is_summed_over_trips_and_drawn(dse_run: Run, tmp_path: Path) -> None:
    path = write(decoding(), tmp_path)
    files = tmp_path / "roofline.png", tmp_path / "rows.csv"
    done = dse_run("profile", path, "--device", "t4", "--trips", "d=6", "--plot", files[0], "--csv", files[1])
    assert done.code == 0, done.err
    assert all(file.stat().st_size for file in files)
    record = json.loads(dse_run("profile", path, "--device", "t4", "--trips", "d=6", "--json").out)
    assert record["totals"]["matmul_conv_macs"] == sum(2 * 4 * length for length in range(4, 10))
    assert len(files[1].read_text(encoding="utf-8").splitlines()) == 1 + len(record["operators"])


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (("--trips", "loop"), "NODE=NUMBER"),
        (("--trips", "loop=many"), "NODE=NUMBER"),
        (("--trips", "loop=nan"), "NODE=NUMBER"),
        (("--trips", "loop=3", "--trips", "loop=4"), "twice"),
        (("--trips", "lop=3"), "nearest: loop"),
        (("--trips", "loop=-3"), "at least 0"),
        (("--trips", "loop=3", "--probability", "loop=0.5"), "no If"),
    ],
)
def test_a_bad_flag_is_one_message(dse_run: Run, tmp_path: Path, flags: tuple[str, ...], part: str) -> None:
    path = write(repeated(None), tmp_path)
    assert part in " ".join(dse_run("profile", path, "--device", "t4", *flags).message.split())
