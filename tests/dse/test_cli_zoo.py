"""`dse zoo` and the zoo's models in `dse profile`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.dse.cli_runs import Run
from workloads import load_onnx
from workloads.zoo import architecture, published_names


def test_the_list_names_every_published_architecture(dse_run: Run) -> None:
    rows = json.loads(dse_run("zoo", "--json").out)
    assert [row["name"] for row in rows] == list(published_names())
    assert all(row["source"] and row["parameters"] > 0 for row in rows)


def test_one_architecture_is_shown_with_its_parameters_beside_the_published(dse_run: Run) -> None:
    shown = json.loads(dse_run("zoo", "bert-base", "--json").out)
    # Devlin et al. 2019: 110 M; 12 x (12 x 768^2) in layers, 30,522 x 768 and 512 x 768 in embeddings
    assert abs(shown["parameters"] / shown["published"] - 1) < 0.005
    assert shown["config"]["num_hidden_layers"] == 12


def test_a_written_file_gives_the_workload_of_the_name(dse_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "vit.onnx"
    assert dse_run("zoo", "deit-tiny", "--out", str(out), "--weights", "random").code == 0
    assert load_onnx(out, batch=2).digest() == architecture("deit-tiny", batch=2).digest()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vit.onnx", "vit.weights"]


def test_a_decode_step_reads_every_weight_and_the_cache_once(dse_run: Run) -> None:
    found = json.loads(
        dse_run("profile", "llama-2-7b", "--phase", "decode", "--context", "999", "-d", "h100-sxm", "--json").out
    )
    weights = 6_738_415_616 - 32000 * 4096  # one row of the embedding table is read
    cache = 2 * 32 * 4096 * 1000  # keys and values, 32 layers, width 4096, 1000 tokens
    assert found["totals"]["dram_bytes"] == pytest.approx(2 * (weights + cache), rel=0.01)


def test_a_generation_costs_its_prefill_and_its_steps(dse_run: Run) -> None:
    def latency(*options: str) -> float:
        found = json.loads(dse_run("profile", "llama-2-7b", "-b", "seq=32", *options, "-d", "t4", "--json").out)
        return float(found["totals"]["latency_s"])

    steps = sum(latency("--phase", "decode", "--context", str(context)) for context in (32, 33))
    assert latency("--tokens", "3") == pytest.approx(latency("--phase", "prefill") + steps, rel=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("zoo", "lama-2-7b"), "nearest: llama-2-7b"),
        (("zoo", "bert-base", "--phase", "decode"), "has no phase 'decode'"),
        (("zoo", "bert-base", "--dtype", "fp13"), "fp13"),
        (("zoo", "bert-base", "--out", "bert.txt"), "ends in .onnx"),
        (("zoo", "bert-base", "--weights", "random"), "--out FILE.onnx"),
        (("zoo", "--out", "x.onnx"), "need a model"),
        (("profile", "lama-2-7b", "-d", "t4"), "nearest: llama-2-7b"),
        (("profile", "vit-mnist", "--kv-bits", "8", "-d", "t4"), "--kv-bits is for models of the zoo"),
        (("profile", "llama-2-7b", "--tokens", "4", "--phase", "decode", "-d", "t4"), "leave one of them out"),
        (("profile", "llama-2-7b", "--phase", "decode", "--kv-bits", "5", "-d", "t4"), "4 or 8 bits"),
    ],
)
def test_mistakes_are_named(dse_run: Run, arguments: tuple[str, ...], message: str) -> None:
    assert message in dse_run(*arguments).message
