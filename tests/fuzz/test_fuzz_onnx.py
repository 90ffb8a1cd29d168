"""Damaged and hostile ONNX files end in a message or in a workload: in bounded time and memory, inside their folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.cases import KINDS, case_of

ROOT = Path(__file__).parents[2]
CORPUS = 400
"""Files of the default run: seeds 0 to 399, the same on every machine."""
LONG_RUN = 10_000


def report_of(first: int, count: int, folder: Path) -> dict[str, Any]:
    """Load the files of some seeds in a process with limits of its own."""
    target = folder / "report.json"
    command = [sys.executable, "-m", "tests.fuzz.running", str(first), str(count), str(target)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(target.read_text(encoding="utf-8"))
    return found


def check(report: dict[str, Any], count: int) -> None:
    """Hold a report to what every file must do."""
    assert report["failures"] == []
    assert report["files"] == count
    assert report["loads"] + report["errors"] == count
    assert report["loads"] > count / 20  # a fuzzer whose files never load tests the parser alone
    assert report["errors"] > count / 4


def test_a_fixed_corpus_of_mutated_files_ends_well(tmp_path: Path) -> None:
    check(report_of(0, CORPUS, tmp_path), CORPUS)


def test_a_seed_makes_the_same_file_always() -> None:
    assert [case_of(seed).content for seed in range(20)] == [case_of(seed).content for seed in range(20)]


def test_the_corpus_holds_every_kind_of_mutation() -> None:
    missing = set(KINDS) - {kind for seed in range(CORPUS) for kind in case_of(seed).kinds}
    assert missing == set()


@pytest.mark.fuzz
def test_ten_thousand_mutated_files_end_well(tmp_path: Path) -> None:
    check(report_of(0, LONG_RUN, tmp_path), LONG_RUN)
