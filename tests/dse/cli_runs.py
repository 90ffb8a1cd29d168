"""Run the real `dse` command in this process, and small models for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dse.cli import main

__all__ = ["Outcome", "Run", "affine_model", "files_below", "runner"]


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The one error message, checked to be one: exit status 2, no traceback, nothing on stdout."""
        assert self.code == 2, (self.code, self.err)
        assert self.err.startswith("error: ")
        assert self.err.count("error: ") == 1
        assert "Traceback" not in self.err
        assert self.out == ""
        return self.err


Run = Callable[..., Outcome]


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        code = left.value.code
        assert isinstance(code, int)
        return Outcome(code, captured.out, captured.err)

    return run


def affine_model(
    path: Path,
    *,
    shape: Sequence[int | str] = ("batch", 64),
    op_type: str = "MatMul",
    width: int = 64,
    location: str | None = None,
    write_data: bool = True,
) -> Path:
    """Write a model of one node with a stored matrix, by choice with external data at a location."""
    weight = np.ones((64, width), np.float32)
    tensor = numpy_helper.from_array(weight, "w")
    if location is not None:
        if write_data:
            (path.parent / location).write_bytes(weight.tobytes())
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", location
    node = helper.make_node(op_type, ["x", "w"], ["y"], "only_node")
    graph = helper.make_graph(
        [node],
        "affine",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [tensor],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    return path


def files_below(folder: Path) -> set[str]:
    """List every file, hidden ones included, relative to a folder."""
    return {str(item.relative_to(folder)) for item in folder.rglob("*") if item.is_file()}
