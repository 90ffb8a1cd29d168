"""Damaged and hostile ONNX files end in a message or a workload, soon, in little memory, and open no other file.

The default run loads a fixed corpus of a few hundred files, made from seeds; `make fuzz` loads ten thousand, from
`FUZZ_SEED` on (0 by default; `FUZZ_FILES` says how many).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.fuzz.bases import BASES, model_bytes
from tests.fuzz.cases import KINDS, case_of
from tests.fuzz.running import MEMORY_LIMIT_BYTES, Guard

ROOT = Path(__file__).resolve().parents[2]
CORPUS = 400
SEEDS_OF_ALL_KINDS = 600


def fuzzed(first: int, count: int, folder: Path, timeout_s: float) -> Any:
    """Load the files of `count` seeds in a process of its own; give its report."""
    target = folder / f"report-{first}.json"
    command = [sys.executable, "-m", "tests.fuzz.running", str(first), str(count), str(target)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(target.read_text(encoding="utf-8"))


def assert_all_ended_well(report: Any, count: int) -> None:
    lines = [
        f"seed {item['seed']}: {item['base']} {item['kinds']}: {item['how'][-600:]}" for item in report["failures"]
    ]
    assert not lines, "\n".join(lines[:5])
    assert report["files"] == report["loads"] + report["errors"] == count
    assert report["peak_growth_bytes"] < MEMORY_LIMIT_BYTES


@pytest.mark.slow
def test_every_file_of_the_corpus_loads_or_is_explained(tmp_path: Path) -> None:
    report = fuzzed(0, CORPUS, tmp_path, timeout_s=300)
    assert_all_ended_well(report, CORPUS)
    assert report["loads"] > CORPUS / 10  # a mutation that nothing survives tests the parser alone
    assert report["errors"] > CORPUS / 3


@pytest.mark.fuzz
def test_ten_thousand_files_load_or_are_explained(tmp_path: Path) -> None:
    first, count = int(os.environ.get("FUZZ_SEED", "0")), int(os.environ.get("FUZZ_FILES", "10000"))
    report = fuzzed(first, count, tmp_path, timeout_s=7200)
    print(json.dumps(report, indent=1))
    assert_all_ended_well(report, count)


def test_a_seed_always_makes_the_same_file_and_every_mutation_is_drawn() -> None:
    cases = [case_of(seed) for seed in range(SEEDS_OF_ALL_KINDS)]
    assert [case.content for case in cases[:20]] == [case_of(seed).content for seed in range(20)]
    drawn = Counter(kind for case in cases for kind in case.kinds)
    assert set(drawn) == set(KINDS)
    changed = sum(case.content != model_bytes(case.base) for case in cases)
    assert changed > 0.95 * len(cases)
    assert len({case.base.name for case in cases}) >= len(BASES) - 2  # the largest files are drawn seldom


def test_the_guard_sees_what_is_opened_outside_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "in").write_bytes(b"")
    (tmp_path / "out").write_bytes(b"")
    (folder / "link").symlink_to(tmp_path / "out")
    guard = Guard(folder=str(folder.resolve()))
    for path in (folder / "in", folder / "link", tmp_path / "out"):
        guard.hook("open", (str(path), "r", 0))
    guard.hook("subprocess.Popen", ("ls",))
    assert guard.outside[:2] == [str((tmp_path / "out").resolve())] * 2
    assert guard.outside[2].startswith("subprocess.Popen")


def test_every_base_is_a_valid_model() -> None:
    for base in BASES:
        model = onnx.ModelProto.FromString(model_bytes(base))
        assert model.graph.node, base.name
