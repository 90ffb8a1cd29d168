"""`dse zoo` and the zoo's models in `dse profile`."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from tests.dse.cli_runs import Run
from workloads import load_onnx
from workloads.errors import WorkloadError
from workloads.zoo import architecture, published, published_names, write_onnx


def test_the_list_names_every_published_architecture(dse_run: Run) -> None:
    rows = json.loads(dse_run("zoo", "--json").out)
    assert [row["name"] for row in rows] == list(published_names())
    assert all(row["source"] and row["parameters"] > 0 for row in rows)


def test_the_list_shows_the_beginning_of_every_source(dse_run: Run) -> None:
    lines = dse_run("zoo").out.splitlines()
    assert max(map(len, lines)) <= 80
    for row in json.loads(dse_run("zoo", "--json").out):
        (line,) = [line for line in lines if line.split()[:1] == [row["name"]]]
        assert row["source"][:12] in line


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
        found = json.loads(dse_run("profile", "llama-2-7b", *options, "-d", "t4", "--json").out)
        return float(found["totals"]["latency_s"])

    steps = sum(latency("--phase", "decode", "--context", str(context)) for context in (32, 33))
    prefill = latency("--phase", "prefill", "-b", "seq=32")
    assert latency("--tokens", "3", "-b", "seq=32") == pytest.approx(prefill + steps, rel=1e-9)


def test_the_encoders_length_of_a_decode_step_is_bound_by_its_name(dse_run: Run) -> None:
    def bound(sizes: str) -> Any:
        arguments = ("profile", "t5-small", "--phase", "decode", "--context", "10", "-d", "t4", "-b", sizes, "--json")
        return json.loads(dse_run(*arguments).out)

    assert bound("source=50")["bind"] == {"batch": 1, "source": 50, "total": 11}
    assert bound("source=500")["totals"]["dram_bytes"] > bound("source=50")["totals"]["dram_bytes"]
    assert bound("seq=50") == bound("source=50")  # by default


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("zoo", "lama-2-7b"), "nearest: llama-2-7b"),
        (("zoo", "bert-base", "--phase", "decode"), "has no phase 'decode'"),
        (("zoo", "bert-base", "--dtype", "fp13"), "fp13"),
        (("zoo", "bert-base", "--out", "bert.txt"), "ends in .onnx"),
        (("zoo", "bert-base", "--weights", "random"), "--out FILE.onnx"),
        (("zoo", "--out", "x.onnx"), "needs a model"),
        (("zoo", "--phase", "decode"), "needs a model"),
        (("zoo", "--kv-bits", "8"), "needs a model"),
        (("zoo", "bert-base", "--kv-bits", "8"), "bert-base: keeps no KV cache in phase 'encode'"),
        (("zoo", "conformer-s", "--phase", "decode", "--kv-bits", "8"), "conformer-s: keeps no KV cache in phase"),
        (("profile", "bert-base", "-d", "t4", "--kv-bits", "8"), "keeps no KV cache in phase 'encode'"),
        (("profile", "bert-base", "-d", "t4", "--context", "4"), "a context of 4 tokens"),
        (("profile", "llama-3-8b", "-d", "t4", "--phase", "prefill", "--context", "10"), "give phase 'decode'"),
        (("profile", "gpt2", "-d", "t4", "--phase", "decode", "--context", "-1"), "context = -1; it is a number of"),
        (
            ("profile", "gpt2", "-d", "t4", "--tokens", "500", "-b", "seq=1000"),
            "total = 1499, but it has positions for",
        ),
        (("profile", "gpt2", "-d", "t4", "--phase", "decode", "-b", "total=4"), "give the context instead"),
        (("profile", "gpt2", "-d", "t4", "--phase", "decode", "-b", "context=4"), "write --context 4"),
        (("profile", "gpt2", "-d", "t4", "-b", "exact=1"), "--bind exact: is no dim of gpt2"),
        (("profile", "vit-b16", "-d", "t4", "-b", "seq=50"), "--bind seq=50: no size of vit-b16 in this phase"),
        (
            ("profile", "gpt2", "-d", "t4", "--phase", "decode", "--context", "4", "-b", "seq=50"),
            "--bind seq=50: no size",
        ),
        (("profile", "gpt2", "-d", "t4", "--free-ops", "Foo"), "--free-ops says how an .onnx file is read"),
        (("profile", "gpt2", "-d", "t4", "--trips", "loop=3"), "--trips says how an .onnx file is read"),
        (("profile", "gpt2", "-d", "t4", "--probability", "if=0.5"), "--probability says how an .onnx file is read"),
        (("profile", "lama-2-7b", "-d", "t4"), "nearest: llama-2-7b"),
        (("profile", "vit-mnist", "--kv-bits", "8", "-d", "t4"), "--kv-bits is for models of the zoo"),
        (("profile", "llama-2-7b", "--tokens", "4", "--phase", "decode", "-d", "t4"), "leave one of them out"),
        (("profile", "llama-2-7b", "--phase", "decode", "--kv-bits", "5", "-d", "t4"), "4 or 8 bits"),
    ],
)
def test_mistakes_are_named(dse_run: Run, arguments: tuple[str, ...], message: str) -> None:
    assert message in dse_run(*arguments).message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("zoo", "vit_mnist"), ["nearest: vit-mnist"]),
        (("zoo", "vit-mnist"), ["is a model with its weights", "dse profile vit-mnist"]),
        (("zoo", "Llama_3_8B"), ["nearest: llama-3-8b"]),
        (("zoo", "meta-llama/Llama-3-8B"), ["nearest: llama-3-8b"]),
        (("zoo", "xyzzy"), ["are known, `dse zoo` lists the architectures; with weights: ", "vit-mnist"]),
        (("profile", "meta-llama/Llama-3-8B", "-d", "t4"), ["'meta-llama/Llama-3-8B'", "nearest: llama-3-8b"]),
        (("profile", "llama-3.11", "-d", "t4"), ["no model 'llama-3.11'", "llama-3.1-8b"]),
        (("profile", "smollm-135m", "-d", "t4"), ["nearest: smollm2-135m"]),
        (("compress", "bert-bas", "--weight-bits", "4", "-o", "x.onnx"), ["nearest: bert-base"]),
    ],
)
def test_an_unknown_name_comes_with_the_nearest_and_where_all_are_listed(
    dse_run: Run, arguments: tuple[str, ...], words: list[str]
) -> None:
    message = dse_run(*arguments).message
    for word in words:
        assert word in message
    assert len(message) < 300  # and not with a hundred names
    close = message.partition(" are known")[0]
    assert close.count("smollm2-135m") == message.count("'smollm-135m'")  # an architecture and a model with weights


def test_a_checkpoint_that_is_not_there_is_said_with_what_can_be_given() -> None:
    with pytest.raises(WorkloadError, match=r"hub/Llama-2-7B: no such file or folder.*nearest: llama-2-7b"):
        write_onnx("hub/Llama-2-7B", "x.onnx")


@pytest.mark.parametrize("model", ["bert-base", "config.json", "folder"])
def test_what_needs_weights_says_how_to_write_an_architecture_with_them(
    dse_run: Run, tmp_path: Path, model: str
) -> None:
    if model != "bert-base":
        folder = tmp_path / "tiny"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(dict(published("bert-tiny").config)))
        model = str(folder if model == "folder" else folder / "config.json")
    stem = "bert-base" if model == "bert-base" else "tiny"
    for command in (
        ("compress", model, "--weight-bits", "4", "--out", tmp_path / "x.onnx"),
        ("optimize", model, "--task", "mnist", "-d", "t4", "--out", tmp_path / "x"),
    ):
        message = dse_run(*command).message
        assert f"{model!r} is an architecture of the zoo, without weights" in message
        assert f"dse zoo {model} --weights FOLDER --out {stem}.onnx" in message


def test_every_written_file_is_named_and_what_it_replaces(dse_run: Run, tmp_path: Path) -> None:
    out, data = tmp_path / "vit.onnx", tmp_path / "vit.weights"
    data.write_text("of another file")
    command = ("zoo", "deit-tiny", "--out", out, "--weights", "random")
    assert dse_run(*command).out == f"written: {out}, {data} (replaced)\n"
    assert dse_run(*command).out == f"written: {out} (replaced), {data} (replaced)\n"
    assert json.loads(dse_run(*command, "--json").out) == {
        "written": [str(out), str(data)], "replaced": [str(out), str(data)]
    }  # fmt: skip
    assert dse_run("zoo", "bert-tiny", "--out", tmp_path / "a.onnx").out == f"written: {tmp_path / 'a.onnx'}\n"


def test_a_place_that_cannot_be_written_to_is_named_as_it_was_given(
    dse_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("")
    for out, reason in (
        (tmp_path / "folder.onnx", "it is a folder"),
        (tmp_path / "file" / "a.onnx", "file exists"),
        (Path("/proc/a.onnx"), ""),  # no folder can be made there, not even by root
    ):
        message = dse_run("zoo", "bert-tiny", "--out", out).message
        assert f"cannot write {str(out)!r}: {reason}" in message
        assert ".partial" not in message

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    message = dse_run("zoo", "bert-tiny", "--out", tmp_path / "b.onnx").message
    assert f"cannot write {str(tmp_path / 'b.onnx')!r}: no space left on device; give another place" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.onnx"]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int4", "int32", "int64", "bool", "fp8_e4m3", "FP16", ""])
@pytest.mark.parametrize(
    "command", [("profile", "gpt2", "-d", "t4"), ("zoo", "gpt2"), ("zoo", "gpt2", "--out", "x.onnx")]
)
def test_a_format_that_no_architecture_is_written_in_is_refused(
    dse_run: Run, command: tuple[str, ...], dtype: str
) -> None:
    message = dse_run(*command, "--dtype", dtype).message
    assert f"gpt2: weights and activations are fp32, fp16, bf16, not {dtype!r}" in message
    assert not Path("x.onnx").exists()


def test_a_configuration_nested_without_end_is_refused(dse_run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    for command in (("profile", tmp_path, "-d", "t4"), ("zoo", tmp_path)):
        assert (
            f"{tmp_path / 'config.json'}: not a readable config.json (nested too deeply)" in dse_run(*command).message
        )
