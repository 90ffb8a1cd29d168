"""`dse map --cases`: evaluate fully specified mappings from files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dse.cli.output import console, print_table
from dse.files import atomic_write, output_folder
from dse.numbers import si
from workloads.errors import MappingError, nearest

__all__ = ["map_cases", "write_rows"]


def map_cases(folder: Path, out: Path, conventions: str) -> None:
    """Evaluate `cases.yaml` of a folder on its `architectures.yaml`; write `counts.csv` and `summary.csv`.

    Args:
        folder: Where the cases are.
        out: Where the tables go.
        conventions: "reference" or "silicon".

    Raises:
        MappingError: Faults of the files, or a case that is not valid or does not fit.
    """
    from hwmodels.mapping import REFERENCE, SILICON
    from hwmodels.mapping.cases import case_tables, read_architectures, read_cases

    known = {rules.name: rules for rules in (REFERENCE, SILICON)}
    if conventions not in known:
        raise MappingError(f"--conventions {conventions!r}: unknown; {nearest(conventions, known)}")
    if not folder.is_dir():
        raise MappingError(f"--cases {folder}: no such folder; it holds architectures.yaml and cases.yaml")
    cases = read_cases(folder / "cases.yaml", read_architectures(folder / "architectures.yaml"))
    counts, summary = case_tables(cases, known[conventions])
    output_folder(out)
    for name, rows in (("counts.csv", counts), ("summary.csv", summary)):
        write_rows(rows, out / name)
    _print(summary, conventions)
    console().print(f"{len(cases)} cases; written to {out}: counts.csv, summary.csv", soft_wrap=True)


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a CSV file by rename, one column per key of the first row."""
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _print(summary: Sequence[dict[str, Any]], conventions: str) -> None:
    header = ["case", "architecture", "layer", "MACs", "cycles", "bound", "utilization", "energy"]
    cells = [
        [
            row["case"],
            row["architecture"],
            row["layer"],
            f"{row['macs']:,}",
            f"{row['cycles']:,}",
            row["bound"],
            f"{row['utilization']:.1%}",
            si(row["energy_pJ"] * 1e-12, "J"),
        ]
        for row in summary
    ]
    print_table(header, cells, left=(0, 1, 2, 5), cut=(0, 2), title=f"counted by the {conventions} conventions")
