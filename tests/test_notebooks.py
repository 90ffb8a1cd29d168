"""The notebooks of reports/ run, and print what is committed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted(path.stem for path in (ROOT / "reports").glob("*.ipynb"))


def test_there_are_notebooks_and_each_has_its_script() -> None:
    assert NOTEBOOKS
    assert all((ROOT / "reports" / f"{name}.py").is_file() for name in NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_committed_notebook_names_no_place_of_the_machine_that_ran_it(name: str) -> None:
    text = (ROOT / "reports" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert not [place for place in ("/tmp/", "/home/", "/root/", "/work/", "/Users/") if place in text]


@pytest.mark.notebook
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_prints_what_is_committed(name: str) -> None:
    command = [sys.executable, "reports/build_notebook.py", "--check", f"reports/{name}.py"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": ""}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
