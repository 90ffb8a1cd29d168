"""Every bad input: one message that names the file, node or field and the mend; nothing is written."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from hwmodels.specs import spec_text
from tests.dse.cli_runs import Run, affine_model, files_below
from workloads.zoo import embedded_model


def _text(path: Path) -> Path:
    path.write_text("this is no model\n")
    return path


def _truncated(path: Path) -> Path:
    path.write_bytes(embedded_model().read_bytes()[:100_000])
    return path


def _empty(path: Path) -> Path:
    model = onnx.load(str(affine_model(path)))
    del model.graph.node[:]
    onnx.save(model, str(path))
    return path


BAD_MODELS: dict[str, tuple[Callable[[Path], Path], list[str]]] = {
    "not ONNX": (_text, ["model.onnx", "ONNX"]),
    "truncated": (_truncated, ["model.onnx", "truncated"]),
    "empty graph": (_empty, ["model.onnx", "no nodes"]),
    "unbound dim": (affine_model, ["batch", "--bind batch=1"]),
    "impossible dim": (lambda path: affine_model(path, shape=(-3, 64)), ["'x'", "-3"]),
    "missing external data": (
        lambda path: affine_model(path, shape=(1, 64), location="w.bin", write_data=False),
        ["'w.bin'", "missing", "--no-weights"],
    ),
    "external data outside the folder": (
        lambda path: affine_model(path, shape=(1, 64), location="../w.bin", write_data=False),
        ["'../w.bin'", "outside", "refused"],
    ),
    "external data at an absolute path": (
        lambda path: affine_model(path, shape=(1, 64), location="/etc/hostname", write_data=False),
        ["'/etc/hostname'", "outside", "refused"],
    ),
    "unknown op": (
        lambda path: affine_model(path, shape=(1, 64), op_type="Mystery"),
        ["Mystery", "only_node", "--extra-ops", "--free-ops"],
    ),
    "shapes that do not fit": (lambda path: affine_model(path, shape=(1, 63)), ["only_node", "63"]),
}


# Compressing needs no sizes.
CASES = [(command, case) for command in ("profile", "compress") for case in BAD_MODELS if case != "unbound dim"]


@pytest.mark.parametrize(("command", "case"), [("profile", "unbound dim"), *CASES])
def test_a_bad_model_is_refused_by_name_and_nothing_is_written(
    dse_run: Run, tmp_path: Path, case: str, command: str
) -> None:
    make, named = BAD_MODELS[case]
    model = make(tmp_path / "model.onnx")
    before = files_below(tmp_path)
    if command == "profile":
        outcome = dse_run("profile", model, "-d", "t4", "--plot", tmp_path / "a.png", "--csv", tmp_path / "a.csv")
    else:
        named = [word for word in named if not word.startswith("--")]
        outcome = dse_run("compress", model, "--weight-bits", 4, "--out", tmp_path / "small.onnx")
    for word in named:
        assert word in outcome.message
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    ("bind", "named"),
    [
        ("batch=0", ["batch", "0"]),
        ("batch=-1", ["batch", "-1"]),
        ("batch=1.5", ["batch=1.5", "whole number"]),
        ("batch", ["'batch'", "NAME=SIZE"]),
        ("batch=1,batch=2", ["batch", "twice"]),
        ("sequence=3,batch=1", ["sequence"]),
        ("source=3", ["source", "no input has such a dim"]),
        ("weights=3", ["cannot bind 'weights'", "rename it in the file"]),
    ],
)
def test_impossible_sizes_are_refused(dse_run: Run, affine: Path, bind: str, named: list[str]) -> None:
    message = dse_run("profile", affine, "-d", "t4", "--bind", bind).message
    for word in named:
        assert word in message


def test_a_file_that_is_not_there_and_a_name_that_is_unknown(dse_run: Run, tmp_path: Path) -> None:
    missing = tmp_path / "missing.onnx"
    assert f"{missing}: no such file" in dse_run("profile", missing, "-d", "t4").message
    assert f"{tmp_path}: is a folder" in dse_run("profile", tmp_path, "-d", "t4").message
    assert "vit-mnist" in dse_run("profile", "vit-minst", "-d", "t4").message


def test_an_unknown_device_comes_with_the_nearest_names(dse_run: Run, affine: Path) -> None:
    message = dse_run("profile", affine, "-d", "h100-smx", "-b", "batch=1").message
    assert "'h100-smx'" in message
    assert "nearest: h100-sxm" in message
    assert "no device file" in dse_run("profile", affine, "-d", "nowhere.toml", "-b", "batch=1").message


BAD_DEVICES = {
    "wrong unit": (r'tdp = "70 W"', 'tdp = "70 GB"', ["power.tdp", "70 GB", "W"]),
    "no unit": (r'tdp = "70 W"', "tdp = 70", ["power.tdp", "without a unit"]),
    "unknown key": (r"\[power\]", "[power]\nttdp = 1", ["power.ttdp", "unknown key", "nearest: tdp"]),
    "no source": (r'(\[launch\][^\[]*?)source = "[^"]*"\n', r"\1", ["launch.source", "no source"]),
    "not TOML": (r"\[power\]", "[power", ["not valid TOML"]),
}


@pytest.mark.parametrize("case", BAD_DEVICES)
def test_a_bad_device_file_is_refused_by_field(dse_run: Run, tmp_path: Path, affine: Path, case: str) -> None:
    pattern, replacement, named = BAD_DEVICES[case]
    text, count = re.subn(pattern, replacement, spec_text("t4"), count=1)
    assert count == 1
    path = tmp_path / "mine.toml"
    path.write_text(text)
    for arguments in (("devices", path), ("profile", affine, "-b", "batch=1", "-d", path)):
        message = dse_run(*arguments).message
        for word in (str(path), *named):
            assert word in message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("raise ValueError('oops')", ["fails", "ValueError", "oops"]),
        ("x = 1", ["HANDLERS"]),
        ("HANDLERS = {'A': 1}", ["HANDLERS"]),
        ("def broken(:", ["fails", "SyntaxError"]),
    ],
)
def test_a_handler_file_that_does_not_work_is_named(
    dse_run: Run, tmp_path: Path, affine: Path, text: str, named: list[str]
) -> None:
    path = tmp_path / "ops.py"
    path.write_text(text)
    message = dse_run("profile", affine, "-d", "t4", "-b", "batch=1", "--extra-ops", path).message
    for word in (str(path), *named):
        assert word in message
    assert "no such file" in dse_run("profile", affine, "-d", "t4", "--extra-ops", tmp_path / "none.py").message


def test_output_that_cannot_be_written_is_named_before_the_work(dse_run: Run, tmp_path: Path, affine: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    inside = blocker / "folder"
    commands = (
        ("profile", affine, "-d", "t4", "-b", "batch=1", "--csv", inside / "a.csv"),
        ("profile", affine, "-d", "t4", "-b", "batch=1", "--plot", inside / "a.png"),
        ("compress", "vit-mnist", "--weight-bits", 4, "--out", inside / "a.onnx"),
        ("optimize", "vit-mnist", "--task", "mnist", "-d", "t4", "--out", inside),
    )
    for arguments in commands:
        assert str(inside) in dse_run(*arguments).message
    assert "it is a folder" in dse_run("profile", affine, "-d", "t4", "-b", "batch=1", "--csv", tmp_path).message
    assert "one of .png" in dse_run("profile", affine, "-d", "t4", "-b", "batch=1", "--plot", "a.bmp").message
    assert files_below(tmp_path) == {"file", "affine.onnx"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(dse_run: Run, tmp_path: Path, affine: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    message = dse_run("profile", affine, "-d", "t4", "-b", "batch=1", "--csv", locked / "a.csv").message
    assert "permission denied" in message
