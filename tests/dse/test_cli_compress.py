"""`dse compress`: the file runs, is as small as is said, and appears whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnxruntime
import pytest

from tests.dse.cli_runs import Run, affine_model, files_below
from workloads import compress, tasks
from workloads.onnx import load_onnx
from workloads.zoo import embedded_model


def test_the_written_model_runs_and_is_what_the_techniques_make(dse_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "new" / "small.onnx"
    outcome = dse_run(
        "compress", "vit-mnist", "--weight-bits", 4, "--granularity", "group", "--head-density", 0.75,
        "--out", out, "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    sizes = json.loads(outcome.out)
    model = onnx.load(str(embedded_model()))
    expected = compress.apply(
        model, compress.PruneHeads(density=0.75), compress.Quantize(weight_bits=4, granularity="group")
    )
    assert out.read_bytes() == expected.SerializeToString()
    assert sizes["after"]["file_bytes"] == out.stat().st_size
    assert sizes["after"]["packed_bytes"] == pytest.approx(float(load_onnx(out, batch=1).weight_bytes()))
    onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    assert tasks.load("mnist").evaluate(str(out), limit=200).value > 0.9
    assert files_below(tmp_path) == {"new/small.onnx"}


def test_dynamic_int8_needs_no_width(dse_run: Run, tmp_path: Path) -> None:
    outcome = dse_run("compress", "vit-mnist", "--activation-bits", 8, "-o", tmp_path / "a.onnx")
    assert outcome.code == 0, outcome.err
    assert "weights, packed" in outcome.out
    nodes = {node.op_type for node in onnx.load(str(tmp_path / "a.onnx")).graph.node}
    assert "MatMulInteger" in nodes
    before, after = (
        compress.sizes(onnx.load(str(path))).packed_bytes for path in (embedded_model(), tmp_path / "a.onnx")
    )
    assert before / after > 3.5  # as its help says, weights take 8 of their 32 bits


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([], ["nothing to do", "--weight-bits"]),
        (["--weight-bits", "1"], ["1"]),
        (["--weight-bits", "4", "--granularity", "row"], ["granularity", "row"]),
        (["--weight-bits", "4", "--granularity", "group", "--group-size", "33"], ["group_size", "33"]),
        (["--weight-bits", "4", "--group-size", "64"], ["--group-size", "--granularity group"]),
        (["--head-density", "0.5", "--granularity", "tensor"], ["--granularity", "does nothing", "--weight-bits"]),
        (["--head-density", "0.5", "--clip", "mse"], ["--clip", "does nothing"]),
        (["--neuron-density", "0.5", "--activation-bits", "32"], ["--activation-bits", "does nothing"]),
        (["--weight-bits", "4", "--activation-bits", "7"], ["activation_bits", "7"]),
        (["--head-density", "0"], ["density", "0"]),
        (["--neuron-density", "1.5"], ["density", "1.5"]),
    ],
)
def test_bad_parameters_are_named_and_nothing_is_written(
    dse_run: Run, tmp_path: Path, options: list[str], named: list[str]
) -> None:
    message = dse_run("compress", "vit-mnist", *options, "--out", tmp_path / "a.onnx").message
    for word in named:
        assert word in message
    assert not files_below(tmp_path)


def test_external_data_is_read_and_the_model_itself_is_never_overwritten(dse_run: Run, tmp_path: Path) -> None:
    model = affine_model(tmp_path / "m.onnx", shape=(1, 64), location="w.bin")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "the model itself" in dse_run("compress", model, "--weight-bits", 8, "--out", model).message
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "w.bin").write_bytes(b"short")
    message = dse_run("compress", model, "--weight-bits", 8, "--out", tmp_path / "a.onnx").message
    assert "'w' wants 16384 bytes from offset 0 of 'w.bin', which has 5" in message
