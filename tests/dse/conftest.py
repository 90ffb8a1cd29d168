"""Fixtures for the tests of the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dse.cli_runs import Run, affine_model, runner


@pytest.fixture
def dse_run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `dse ARGUMENTS` in an 80-column terminal that is none."""
    monkeypatch.setenv("COLUMNS", "80")
    return runner(capsys)


@pytest.fixture
def affine(tmp_path: Path) -> Path:
    """A model of one matrix product, batch open."""
    return affine_model(tmp_path / "affine.onnx")
