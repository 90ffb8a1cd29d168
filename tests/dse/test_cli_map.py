"""`dse map`: cases in files, tables out."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from tests.dse.cli_runs import Run, files_below

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "reference" / "mapping"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    target = tmp_path / "cases"
    target.mkdir()
    for name in ("architectures.yaml", "cases.yaml"):
        shutil.copy(GOLDEN / name, target)
    return target


def test_cases_give_tables_with_the_columns_and_counts_of_the_reference(dse_run: Run, tmp_path: Path) -> None:
    done = dse_run("map", "--cases", GOLDEN, "--out", tmp_path / "new" / "out")
    assert done.code == 0
    assert "32 cases; written to" in done.out
    assert files_below(tmp_path) == {"new/out/counts.csv", "new/out/summary.csv"}
    for name in ("counts.csv", "summary.csv"):
        ours, theirs = rows(tmp_path / "new" / "out" / name), rows(GOLDEN / name)
        assert [list(row) for row in ours] == [list(row) for row in theirs]
        whole = [column for column in theirs[0] if not column.startswith(("energy", "edp", "util", "independent"))]
        assert [[row[column] for column in whole] for row in ours] == [[row[c] for c in whole] for row in theirs]
        for mine, expected in zip(ours, theirs, strict=True):
            assert float(mine["energy_pJ"]) == pytest.approx(float(expected["energy_pJ"]), rel=1e-6)


def test_silicon_conventions_cost_more(dse_run: Run, folder: Path, tmp_path: Path) -> None:
    text = (folder / "cases.yaml").read_text()
    start = text.index("- id: rt1")  # its tiles fit into half the buffer
    (folder / "cases.yaml").write_text(text[start : text.index("- id: rt3")])
    for name in ("reference", "silicon"):
        assert dse_run("map", "--cases", folder, "--conventions", name, "--out", tmp_path / name).code == 0
    (ideal,), (real,) = (rows(tmp_path / name / "summary.csv") for name in ("reference", "silicon"))
    assert float(real["energy_pJ"]) > float(ideal["energy_pJ"])
    assert int(real["cycles"]) > int(ideal["cycles"])


def test_a_case_that_does_not_fit_says_so_in_its_row_and_drops_no_other(dse_run: Run, tmp_path: Path) -> None:
    done = dse_run("map", "--cases", GOLDEN, "--conventions", "silicon", "--out", tmp_path)
    assert done.code == 0
    summary = {row["case"]: row for row in rows(tmp_path / "summary.csv")}
    assert list(summary) == [row["case"] for row in rows(GOLDEN / "summary.csv")]
    left = {name for name, row in summary.items() if row["cycles"] == "inf"}
    assert "tb07" in left
    assert summary["tb07"]["bound"].startswith("does not fit: level Buffer has room for 32,768 words, the tiles need")
    assert (summary["tb07"]["energy_pJ"], summary["tb07"]["utilization"]) == ("inf", "0.0")
    assert {row["case"] for row in rows(tmp_path / "counts.csv")} == set(summary) - left
    assert f"32 cases, {len(left)} of them do not fit; written to" in done.out


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "cases.yaml",
            "architecture: textbook2",
            "architecture: textbook3",
            "case tb01: unknown architecture 'textbook3'; nearest: textbook2",
        ),
        (
            "cases.yaml",
            "['M:2', 'N:2', 'K:2']",
            "['M:2', 'N:2', 'K:3']",
            "case tb01: the factors of K (K:3, K:8) multiply to 24, not 16",
        ),
        (
            "cases.yaml",
            "['M:2', 'N:2', 'K:2']",
            "['M:2', 'N:2', 'K']",
            "case tb01: loop 'K' is not DIM:FACTOR with a whole number; write M:4",
        ),
        (
            "cases.yaml",
            "['M:2', 'N:2', 'K:2']",
            "['M:2', 'Z:2', 'K:2']",
            "case tb01: the operator has no dim 'Z'; it has M, N, K",
        ),
        (
            "cases.yaml",
            "- level: Buffer",
            "- level: Bufer",
            "case tb01: textbook2: unknown level 'Bufer'; nearest: Buffer",
        ),
        ("cases.yaml", "- level: Buffer", "- level: DRAM", "case tb01: level DRAM is there twice"),
        ("cases.yaml", "X: ['N:8']", "Y: ['N:8']", "case tb01: level Buffer: no mesh axis 'Y' below it; known: X"),
        (
            "cases.yaml",
            "bounds: {M: 16, N: 16, K: 16}",
            "bounds: {M: 16, N: 16}",
            "case tb01: a gemm has the bounds M, N, K; found M, N",
        ),
        (
            "cases.yaml",
            "bounds: {M: 16, N: 16, K: 16}",
            "bounds: {M: 16, N: 16, K: 0}",
            "case tb01.bounds.K: is 0, give at least 1",
        ),
        ("cases.yaml", "problem: gemm", "problem: gem", "case tb01.problem: Input should be 'gemm' or 'conv'"),
        (
            "cases.yaml",
            "  stride: 1\n",
            "  strides: 1\n",
            "case tb01.strides: unknown key; remove it, or check its spelling",
        ),
        ("cases.yaml", "- id: tb02", "- id: tb01", "case tb01 is there twice; give every case an id of its own"),
        ("cases.yaml", "- id: tb01", "- id: [tb01", "cases.yaml: not valid YAML"),
        (
            "architectures.yaml",
            "    word_bits: 8\n",
            "",
            "textbook2.levels_outermost_first.0.word_bits: missing; add it",
        ),
        (
            "architectures.yaml",
            "    instances: 16\n",
            "    instances: 17\n",
            "textbook2: below Buffer: 17 instances, 16 along X, do not divide over 1 instances",
        ),
    ],
)
def test_a_fault_names_the_case_and_nothing_is_written(
    dse_run: Run, folder: Path, tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    assert message in dse_run("map", "--cases", folder, "--out", tmp_path / "out").message
    assert not (tmp_path / "out").exists()


def test_options_that_do_not_go_together_are_refused(dse_run: Run, folder: Path, tmp_path: Path) -> None:
    assert "nothing to map: give a model, or an operator" in dse_run("map", "--out", tmp_path).message
    assert "MODEL does not go with --cases" in dse_run("map", "vit-mnist", "--cases", folder, "--out", "o").message
    assert "--device does not go with" in dse_run("map", "-d", "gemmini", "--cases", folder, "--out", "o").message
    assert "--cases writes counts.csv and summary.csv: give --out" in dse_run("map", "--cases", folder).message
    assert "no such folder; it holds architectures.yaml" in dse_run("map", "--cases", "nowhere", "--out", "o").message
    assert (
        "unknown; known: reference, silicon"
        in dse_run("map", "--cases", folder, "--out", "o", "--conventions", "x").message
    )
    (folder / "cases.yaml").unlink()
    assert (
        "a folder of cases holds architectures.yaml and cases.yaml"
        in dse_run("map", "--cases", folder, "--out", "o").message
    )
