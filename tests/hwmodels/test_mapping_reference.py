"""Counts, cycles and energy of fully specified mappings against Timeloop: tests/golden/reference/mapping."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from hwmodels.mapping.case_tables import case_tables
from hwmodels.mapping.cases import Case, read_architectures, read_cases

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "reference" / "mapping"
CASES = read_cases(GOLDEN / "cases.yaml", read_architectures(GOLDEN / "architectures.yaml"))


def golden(name: str) -> list[dict[str, str]]:
    with (GOLDEN / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


COUNTS, SUMMARY = golden("counts.csv"), golden("summary.csv")


def test_the_cases_are_those_of_the_reference() -> None:
    assert [case.name for case in CASES] == [row["case"] for row in SUMMARY]
    assert {row["case"] for row in COUNTS} == {case.name for case in CASES}
    assert len(CASES) == 32


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_count_is_the_reference_s(case: Case) -> None:
    """Reads, fills, updates, tiles, partitions and instances exactly; energy of each row to 1e-6."""
    rows, _ = case_tables([case])
    expected = [row for row in COUNTS if row["case"] == case.name]
    assert [list(row) for row in rows] == [list(row) for row in expected]
    for ours, theirs in zip(rows, expected, strict=True):
        for column, text in theirs.items():
            agree(column, ours[column], text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cycles_bound_and_energy_are_the_reference_s(case: Case) -> None:
    """MACs and steps exactly, cycles within 1, energy, utilization and their product to 1e-6."""
    _, (ours,) = case_tables([case])
    (theirs,) = (row for row in SUMMARY if row["case"] == case.name)
    assert list(ours) == list(theirs)
    for column, text in theirs.items():
        if column == "cycles":
            assert abs(ours[column] - int(text)) <= 1
        elif column != "independent_check":
            agree(column, ours[column], text)


def agree(column: str, ours: Any, theirs: str) -> None:
    if isinstance(ours, str):
        assert ours == theirs, column
    elif column.startswith(("energy", "edp", "utilization")):
        assert ours == pytest.approx(float(theirs), rel=1e-6, abs=1e-6), column
    else:
        assert ours == int(theirs), column
