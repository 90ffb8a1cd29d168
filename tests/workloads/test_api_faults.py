"""What is given in the wrong kind ends in an error of ours; errors name their file; records print briefly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from workloads import WorkloadError, load_onnx, load_program
from workloads.zoo import architecture, embedded_model, generation, parameter_count, published

ANY: Any = None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: architecture(ANY), "None: not a source; give a published name"),
        (lambda: parameter_count(5), "5: not a source"),  # type: ignore[arg-type]
        (lambda: published(ANY), "no published architecture None"),
        (lambda: architecture("gpt2", seq="5"), "gpt2: seq = '5'; it is a number of tokens"),  # type: ignore[arg-type]
        (lambda: architecture("gpt2", seq=0), "gpt2: seq = 0"),
        (lambda: architecture("gpt2", phase="decode", context="5"), "context = '5'"),  # type: ignore[arg-type]
        (lambda: generation("gpt2", prompt="5", tokens=2), "not '5' and 2"),  # type: ignore[arg-type]
        (lambda: generation("gpt2", prompt=5, tokens=2.5), "not 5 and 2.5"),  # type: ignore[arg-type]
        (lambda: generation("gpt2", prompt=5, tokens=ANY), "not 5 and None"),
        (lambda: load_onnx(ANY), r"a model is the path of an \.onnx file or an onnx\.ModelProto, not None"),
        (lambda: load_program(3), "not 3"),  # type: ignore[arg-type]
    ],
)
def test_arguments_of_the_wrong_kind_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(WorkloadError, match=message):
        call()


def test_a_workload_and_a_program_print_in_a_line() -> None:
    work = architecture("llama-3-8b", seq=4)
    assert repr(work) == f"<Workload 'llama-3-8b': {len(work)} operators, batch=1, seq=4>"
    assert repr(load_onnx(embedded_model(), batch=2)).endswith("operators, batch=2>")
    program = generation("gpt2", prompt=2, tokens=3)
    assert repr(program) == f"<Program 'gpt2': {len(program.parts)} parts>"


def test_a_fault_of_a_configuration_names_its_file(tmp_path: Path) -> None:
    config = {**published("gpt2").config, "n_head": 7}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    for source in (tmp_path, path, str(path), str(tmp_path)):
        with pytest.raises(WorkloadError, match="n_head") as raised:
            architecture(source)
        assert str(raised.value).startswith(f"{source}: configuration of 'gpt2': ")
    with pytest.raises(WorkloadError, match=r"^configuration of 'gpt2': n_head"):
        architecture(config)


def test_a_fault_of_a_node_names_its_file(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "x"], ["y"], "MatMul_0")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    graph = helper.make_graph([node], "g", [value], [helper.make_empty_tensor_value_info("y")])
    path = tmp_path / "broken.onnx"
    onnx.save(helper.make_model(graph), str(path))
    with pytest.raises(WorkloadError, match=r"broken\.onnx: node 'MatMul_0'"):
        load_onnx(path)


def test_a_folder_is_told_from_a_folder_with_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(
        WorkloadError, match=r"is a folder; give the \.onnx file inside it, or a folder with a config\.json"
    ):
        load_onnx(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(WorkloadError, match=r"is a folder; its config\.json is read by workloads\.zoo\.architecture"):
        load_onnx(tmp_path)
