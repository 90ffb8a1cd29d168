"""`dse sweep`: the front is right, runs resume, and every fault of the file is named."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pandas
import pytest

import dse
import hwmodels
from dse.pareto import non_dominated
from tests.dse.cli_runs import Run, affine_model, files_below
from workloads import compress
from workloads.onnx import load_onnx
from workloads.zoo import architecture, embedded_model, published

EXAMPLES = Path(__file__).parents[2] / "reports" / "examples"
CONFIG = """
[model]
path = "vit-mnist"

[space]
device = ["t4", "l4"]
weight_bits = [4, 8, 16]
head_density = { from = 0.5, to = 1.0, steps = 2 }
batch = [1, 16]
clock_scale = [0.5, 1.0]

[search]
minimize = ["latency_s", "energy_j"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_the_front_is_the_non_dominated_part_of_every_point_costed_alone(dse_run: Run, tmp_path: Path) -> None:
    outcome = dse_run("sweep", write(tmp_path, CONFIG), "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    frame = pandas.read_parquet(tmp_path / "run" / "results.parquet")
    assert len(frame) == 2 * 3 * 2 * 2 * 2
    assert "points per second" in outcome.out
    assert "earlier run" not in outcome.out
    assert max(map(len, outcome.out.splitlines()[:-1])) <= 80
    row = frame.iloc[17]
    work = load_onnx(embedded_model(), batch=int(row["batch"]))
    small = compress.cost(
        work, compress.PruneHeads(density=row["head_density"]), compress.Quantize(weight_bits=row["weight_bits"])
    )
    device = hwmodels.load(row["device"]).at(clock_scale=row["clock_scale"])
    assert row["latency_s"] == pytest.approx(float(hwmodels.evaluate(small, device).latency_s), rel=1e-12)
    front = pandas.read_csv(tmp_path / "run" / "pareto.csv")
    expected = frame[non_dominated(frame[["latency_s", "energy_j"]].to_numpy())]
    assert sorted(front["latency_s"]) == pytest.approx(sorted(expected["latency_s"]))
    assert front["latency_s"].is_monotonic_increasing
    names = {"config.toml", "pareto.csv", "pareto.png", "results.csv", "results.parquet", "run.toml", "summary.json"}
    written = {name for name in files_below(tmp_path / "run") if not name.startswith("part-")}
    assert written == names
    record = tomllib.loads((tmp_path / "run" / "run.toml").read_text())
    assert record["space"]["device"] == ["t4", "l4"]
    assert "t4" in record["sources"]


def test_constraints_limit_the_front_and_take_units(dse_run: Run, tmp_path: Path) -> None:
    config = write(tmp_path, CONFIG + '[constraints]\nlatency_s = { max = "400 us" }\nsize_bytes = { min = 500000 }\n')
    assert dse_run("sweep", config, "--out", tmp_path / "run").code == 0
    front = pandas.read_csv(tmp_path / "run" / "pareto.csv")
    assert len(front)
    assert (front["latency_s"] <= 400e-6).all()
    assert (front["size_bytes"] >= 500_000).all()


def test_a_constraint_that_nobody_meets_is_named_with_the_closest_point(dse_run: Run, tmp_path: Path) -> None:
    config = write(tmp_path, CONFIG + '[constraints]\nlatency_s = { max = "1 ns" }\nenergy_j = { max = 1.0 }\n')
    message = dse_run("sweep", config, "--out", tmp_path / "run").message
    assert str(config) in message
    assert "no point meets latency_s <= 1e-09" in message
    assert "the closest has latency_s = " in message
    assert not (tmp_path / "run" / "pareto.csv").exists()
    loose = write(tmp_path, CONFIG)
    assert "unfinished" in dse_run("sweep", loose, "--out", tmp_path / "run").message
    assert dse_run("sweep", loose, "--out", tmp_path / "run", "--resume").code == 0


@pytest.mark.parametrize("method", ["random", "nsga2"])
def test_a_search_is_the_same_for_a_seed_whether_resumed_or_not(dse_run: Run, tmp_path: Path, method: str) -> None:
    text = f"""
[model]
path = "vit-mnist"
bind = {{ batch = 4 }}
[space]
device = ["t4"]
weight_bits = {{ per_layer = [4, 8, 16] }}
neuron_density = {{ per_layer = [0.5, 1.0] }}
{"bandwidth_scale = { low = 0.5, high = 2.0, log = true }" if method == "random" else "bandwidth_scale = [0.5, 1]"}
[search]
method = "{method}"
budget = 600
{"population = 100" if method == "nsga2" else ""}
seed = 3
minimize = ["latency_s", "size_bytes"]
"""
    config = write(tmp_path, text)
    assert dse_run("sweep", config, "--out", tmp_path / "a").code == 0
    whole = pandas.read_parquet(tmp_path / "a" / "results.parquet")
    assert len(whole) == 600
    assert whole["weight_bits[layer.0.attn.q]"].isin([4, 8, 16]).all()
    # As if it had been killed: the results and the last batch are gone.
    (tmp_path / "a" / "results.parquet").unlink()
    sorted((tmp_path / "a").glob("part-*"))[-1].unlink()
    resumed = dse_run("sweep", config, "--out", tmp_path / "a", "--resume")
    assert resumed.code == 0, resumed.err
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "a" / "results.parquet"), whole)
    changed = write(tmp_path, text.replace("[0.5, 1.0] }", "[0.25, 1.0] }"))
    assert "another run: space" in dse_run("sweep", changed, "--out", tmp_path / "a", "--resume").message
    assert "no run in" in dse_run("sweep", config, "--out", tmp_path / "b", "--resume").message
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("method", ["random", "nsga2"])
def test_a_space_smaller_than_the_budget_is_costed_once_point_by_point(
    dse_run: Run, tmp_path: Path, method: str
) -> None:
    text = '[model]\npath = "vit-mnist"\nbind = { batch = 1 }\n[space]\ndevice = ["t4"]\nweight_bits = [4, 8]\n'
    config = write(tmp_path, f'{text}[search]\nmethod = "{method}"\nbudget = 100\n')
    outcome = dse_run("sweep", config, "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-2].startswith("2 points, all of the space, in ")
    frame = pandas.read_parquet(tmp_path / "run" / "results.parquet")
    assert sorted(frame["weight_bits"]) == [4, 8]
    front = pandas.read_csv(tmp_path / "run" / "pareto.csv")
    assert len(front) == non_dominated(frame[["latency_s", "energy_j"]].to_numpy()).sum() <= 2


def test_a_sweep_takes_an_architecture_of_the_zoo_in_a_phase(dse_run: Run, tmp_path: Path) -> None:
    text = """
[model]
path = "llama-3.2-1b"
phase = "decode"
context = 500
dtype = "bf16"
kv_bits = 8
[space]
device = ["t4"]
batch = [1, 4]
weight_bits = [4, 16]
"""
    outcome = dse_run("sweep", write(tmp_path, text), "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    frame = pandas.read_parquet(tmp_path / "run" / "results.parquet")
    assert len(frame) == 4
    work = architecture("llama-3.2-1b", phase="decode", context=500, batch=4, dtype="bf16", kv_bits=8)
    small = compress.cost(work, compress.Quantize(weight_bits=4))
    expected = float(hwmodels.evaluate(small, hwmodels.load("t4")).latency_s)
    row = frame[(frame["batch"] == 4) & (frame["weight_bits"] == 4)]
    assert row["latency_s"].item() == pytest.approx(expected, rel=1e-12)


def test_a_configuration_beside_the_file_is_a_model(dse_run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(json.dumps(dict(published("bert-tiny").config)))
    text = '[model]\npath = "mine"\nbind = { seq = 32 }\n[space]\nhead_density = [0.5, 1.0]\n'
    assert dse_run("sweep", write(tmp_path, text), "--out", tmp_path / "run").code == 0
    frame = pandas.read_csv(tmp_path / "run" / "results.csv")
    full = architecture("bert-tiny", seq=32)
    assert frame["flops"].tolist()[1] == float(full.flops()) > frame["flops"].tolist()[0]


def test_advice_on_the_model_is_written_as_the_file_has_it(dse_run: Run, tmp_path: Path) -> None:
    affine_model(tmp_path / "open.onnx", shape=("batch", "steps", 64))
    affine_model(tmp_path / "bare.onnx", location="gone.bin", write_data=False)
    affine_model(tmp_path / "odd.onnx", op_type="Mystery")

    def message(model: str, more: str = "") -> str:
        config = write(tmp_path, f'[model]\npath = "{model}"\n{more}\n[space]\nweight_bits = [4, 8]\n')
        found = dse_run("sweep", config, "--out", tmp_path / "run").message
        assert f"{config}: model: " in found
        assert "--" not in found
        return found

    assert "bind = { batch = 1, steps = 1 } in [model]" in message("open.onnx")
    assert "weights = false in [model]" in message("bare.onnx", "bind = { batch = 1 }")
    assert 'free_ops = ["OpType"] in [model]' in message("odd.onnx", "bind = { batch = 1 }")


def test_a_finished_run_is_done_again_without_resume(dse_run: Run, tmp_path: Path) -> None:
    config = write(tmp_path, CONFIG)
    assert dse_run("sweep", config, "--out", tmp_path / "run").code == 0
    (tmp_path / "run" / "notes.txt").write_text("mine")
    other = write(tmp_path, CONFIG.replace("[4, 8, 16]", "[4]"))
    outcome = dse_run("sweep", other, "--out", tmp_path / "run")
    assert outcome.code == 0
    assert outcome.out.endswith("summary.json; the results of an earlier run were replaced\n")
    assert "notes.txt" not in outcome.out
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["points"] == len(pandas.read_csv(tmp_path / "run" / "results.csv")) == 16


BAD = {
    "unknown table": ("[search]", "[serach]", ["serach", "unknown key", "nearest: search"]),
    "unknown key": ("[search]", "[search]\nbudgte = 3", ["search.budgte", "nearest: budget"]),
    "unknown knob": ("weight_bits", "weigth_bits", ["space.weigth_bits", "nearest: weight_bits"]),
    "empty knob": ("[4, 8, 16]", "[]", ["'weight_bits'", "no values"]),
    "no knob": (CONFIG[CONFIG.index("device") : CONFIG.index("[search]")], "", ["space", "no knob"]),
    "mixed knob": ("[4, 8, 16]", '[4, "eight"]', ["'weight_bits'", "mixes"]),
    "repeated value": ("[4, 8, 16]", "[4, 4]", ["'weight_bits'", "repeats"]),
    "not a width": ("[4, 8, 16]", "[1, 8]", ["weight_bits", "1"]),
    "not a density": ("from = 0.5", "from = 0.0", ["density"]),
    "negative clock": ("[0.5, 1.0]\n", "[-1]\n", ["'clock_scale'", "-1", "above zero"]),
    "clock of zero": ("[0.5, 1.0]\n", "[1, 0]\n", ["'clock_scale'", "0 is no factor", "above zero"]),
    "endless clock": ("[0.5, 1.0]\n", "[inf]\n", ["'clock_scale'", "inf"]),
    "negative bandwidth": ("clock_scale = [0.5, 1.0]", "bandwidth_scale = [-1]", ["'bandwidth_scale'", "above zero"]),
    "bandwidth of zero": ("clock_scale = [0.5, 1.0]", "bandwidth_scale = [0]", ["'bandwidth_scale'", "above zero"]),
    "range from below zero": (
        "[0.5, 1.0]\n\n[search]\n",
        '{ low = -1.0, high = 1.0 }\n[search]\nmethod = "random"\n',
        ["'clock_scale'", "above zero"],
    ),
    "widths from a range": (
        "weight_bits = [4, 8, 16]", "weight_bits = { low = 2, high = 8 }", ["continuous"]
    ),
    "words as widths": ("[4, 8, 16]", '["a"]', ["'weight_bits'", "'a'", "takes numbers"]),
    "words as densities": ("{ from = 0.5, to = 1.0, steps = 2 }", '["half"]', ["'head_density'", "takes numbers"]),
    "a word as a year": ("clock_scale = [0.5, 1.0]", 'year = ["soon"]', ["'year'", "takes numbers"]),
    "a number as a name": ("clock_scale = [0.5, 1.0]", "granularity = [3]", ["'granularity'", "3", "takes names"]),
    "no activation width": ("clock_scale = [0.5, 1.0]", "activation_bits = [7]", ["activation_bits", "7"]),
    "a broken activation width": ("clock_scale = [0.5, 1.0]", "activation_bits = [8.5]", ["activation_bits", "8.5"]),
    "a truth": ("[4, 8, 16]", "[true]", ["'weight_bits'", "True"]),
    "endless range": ("to = 1.0, steps", "to = inf, steps", ["space.head_density", "finite"]),
    "steps without end": ("steps = 2", "steps = 1000000000000", ["space.head_density.steps", "too many"]),
    "half a logarithm": (
        "{ from = 0.5, to = 1.0, steps = 2 }",
        '{ low = 0.5, high = 1, log = "yes" }',
        ["head_density.log", "true or false"],
    ),
    "half a range": ("steps = 2", "step = 2", ["space.head_density", "from, to, steps"]),
    "words in a range": ("from = 0.5", 'from = "half"', ["space.head_density", "numbers"]),
    "unknown device": ('"l4"', '"l40x"', ["space.device", "'l40x'", "nearest: l4"]),
    "unknown objective": ('"energy_j"', '"energy"', ["search.minimize", "'energy'", "nearest: energy_j"]),
    "unknown method": ("[search]", '[search]\nmethod = "anealing"', ["search.method", "'anealing'", "nsga2"]),
    "unknown constraint": ("[search]", "[constraints]\nlatency = { max = 1 }\n[search]", ["constraints.latency"]),
    "constraint without a bound": ("[search]", "[constraints]\nlatency_s = 3\n[search]", ["max = ..."]),
    "constraint in another unit": (
        "[search]", '[constraints]\nlatency_s = { max = "3 W" }\n[search]', ["constraints.latency_s.max", "3 W"]
    ),
    "bounds that exclude each other": (
        "[search]", "[constraints]\nlatency_s = { min = 2, max = 1 }\n[search]", ["latency_s", "nothing meets both"]
    ),
    "batch of zero": ("[1, 16]", "[0, 16]", ["space.batch", "at least 1"]),
    "too many points": ("[search]", "[search]\nbudget = 10", ["48 points", "nsga2"]),
    "continuous and exhaustive": ("[0.5, 1.0]\n", "{ low = 0.5, high = 1.0 }\n", ["continuous", "nsga2"]),
    "empty range": ("[0.5, 1.0]\n", "{ low = 1.0, high = 1.0 }\n", ["clock_scale"]),
    "no model": ('path = "vit-mnist"', "", ["model.path"]),
    "a seed of everything": ("[search]", "[search]\nseed = 1", ["search.seed", "not for exhaustive"]),
    "a population of chance": (
        "[search]", '[search]\nmethod = "random"\npopulation = 9', ["search.population", "not for random"]
    ),
    "groups that are none": ("clock_scale = [0.5, 1.0]", "group_size = [32]", ["space.group_size", "granularity"]),
    "scales of nothing": (
        "weight_bits = [4, 8, 16]", 'granularity = ["tensor"]', ["space.granularity", "add weight_bits"]
    ),
    "free ops that are none": ('path = "vit-mnist"', 'path = "vit-mnist"\nfree_ops = 3', ["model.free_ops", "3"]),
    "free ops that it has not": (
        'path = "vit-mnist"', 'path = "vit-mnist"\nfree_ops = ["Foo"]', ["free_ops in [model], Foo:", "no such op type"]
    ),
    "weights by word": ('path = "vit-mnist"', 'path = "vit-mnist"\nweights = "no"', ["model.weights", "'no'"]),
    "a phase of a file": ('path = "vit-mnist"', 'path = "vit-mnist"\nphase = "decode"', ["model.phase", "is a file"]),
    "weights of the zoo": ('"vit-mnist"', '"vit-b16"\nweights = false', ["model.weights", "of the zoo"]),
    "phase of the zoo": ('"vit-mnist"', '"vit-b16"\nphase = "decode"', ["model: ", "no phase 'decode'"]),
    "context by word": ('"vit-mnist"', '"gpt2"\ncontext = "long"', ["model.context", "'long'", "whole number"]),
    "a batch given twice": (
        'path = "vit-mnist"', 'path = "vit-mnist"\nbind = { batch = 1 }', ["model.bind.batch", "space.batch"]
    ),
    "a size that cannot be bound": (
        'path = "vit-mnist"', 'path = "vit-mnist"\nbind = { structure = 1 }', ["'structure'", "rename it"]
    ),
    "missing model": ('"vit-mnist"', '"gone.onnx"', ["gone.onnx", "no such file"]),
    "not TOML": ("[space]", "[space", ["not valid TOML"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_with_the_key_and_nothing_is_written(dse_run: Run, tmp_path: Path, case: str) -> None:
    old, new, named = BAD[case]
    assert old in CONFIG
    config = write(tmp_path, CONFIG.replace(old, new, 1))
    message = dse_run("sweep", config, "--out", tmp_path / "run").message
    for word in named:
        assert word in message
    assert "config.toml" in message
    assert files_below(tmp_path) == {"config.toml"}
    assert not (tmp_path / "run").exists()


def test_a_missing_file_and_a_blocked_folder_are_named(dse_run: Run, tmp_path: Path) -> None:
    assert "gone.toml: no such file" in dse_run("sweep", tmp_path / "gone.toml").message
    (tmp_path / "file").write_text("")
    inside = tmp_path / "file" / "run"
    assert str(inside) in dse_run("sweep", write(tmp_path, CONFIG), "--out", inside).message


def test_what_fits_nowhere_is_said_with_the_demand(dse_run: Run, tmp_path: Path) -> None:
    text = CONFIG.replace("[1, 16]", "[50000000]").replace("[4, 8, 16]", "[4]")
    message = dse_run("sweep", write(tmp_path, text), "--out", tmp_path / "run").message
    assert "no point fits its device's memory" in message


def test_the_shipped_examples_are_valid(dse_run: Run, tmp_path: Path) -> None:
    from dse.cli.sweep_config import read_config

    sizes = {path.name: read_config(path).space.size() for path in sorted(EXAMPLES.glob("sweep_*.toml"))}
    assert sizes["sweep_vit.toml"] == 576
    assert sizes["sweep_bert.toml"] > 1e50


def test_batches_of_a_sweep_mean_what_the_library_says(tmp_path: Path) -> None:
    works = {batch: load_onnx(embedded_model(), batch=batch) for batch in (1, 8)}
    space = dse.Space(device=["t4"], batch=[1, 8], weight_bits=[4, 8])
    result = dse.sweep(space, dse.standard_model(works))
    alone = [float(hwmodels.evaluate(compress.cost(works[b], compress.Quantize(weight_bits=w)), hwmodels.load("t4"))
             .latency_s) for b in (1, 8) for w in (4, 8)]  # fmt: skip
    assert np.asarray(result.columns["latency_s"]) == pytest.approx(alone)
