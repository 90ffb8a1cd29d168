"""`dse map --cases`: evaluate fully specified mappings from files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.cli.mapping_files import write_rows
from dse.cli.output import console, print_table
from dse.files import output_folder
from dse.numbers import si
from workloads.errors import MappingError

if TYPE_CHECKING:
    from hwmodels.mapping import Conventions

__all__ = ["map_cases"]


def map_cases(folder: Path, out: Path, rules: Conventions) -> None:
    """Evaluate `cases.yaml` of a folder on its `architectures.yaml`; write `counts.csv` and `summary.csv`.

    Args:
        folder: Where the cases are.
        out: Where the tables go.
        rules: What counts include.

    Raises:
        MappingError: Faults of the files, or a case that is not valid. One that does not fit is told so in its row.
    """
    from hwmodels.mapping.case_tables import case_tables
    from hwmodels.mapping.cases import read_architectures, read_cases

    if not folder.is_dir():
        raise MappingError(f"--cases {folder}: no such folder; it holds architectures.yaml and cases.yaml")
    cases = read_cases(folder / "cases.yaml", read_architectures(folder / "architectures.yaml"))
    counts, summary = case_tables(cases, rules)
    output_folder(out)
    for name, rows in (("counts.csv", counts), ("summary.csv", summary)):
        write_rows(rows, out / name)
    _print(summary, rules.name)
    out_ = console()
    misfits = [row for row in summary if row["cycles"] == math.inf]
    for row in misfits:
        out_.print(f"{row['case']} {row['bound']}", soft_wrap=True)
    few = f", {len(misfits)} of them {'does' if len(misfits) == 1 else 'do'} not fit" if misfits else ""
    out_.print(f"{len(cases)} cases{few}; written to {out}: counts.csv, summary.csv", soft_wrap=True)


def _print(summary: Sequence[dict[str, Any]], conventions: str) -> None:
    header = ["case", "device", "layer", "MACs", "cycles", "bound", "utili-\nzation", "energy"]
    cells = [
        [
            row["case"],
            row["architecture"],
            row["layer"],
            si(row["macs"]),
            *(
                [f"{row['cycles']:,}", row["bound"], f"{row['utilization']:.1%}", si(row["energy_pJ"] * 1e-12, "J")]
                if row["cycles"] < math.inf
                else ["-", "does not fit", "-", "-"]
            ),
        ]
        for row in summary
    ]
    print_table(header, cells, left=(0, 1, 2, 5), cut=(0, 1, 2), title=f"counted by the {conventions} conventions")
