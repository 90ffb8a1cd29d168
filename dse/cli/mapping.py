"""`dse map`: what the mappings of a folder move on a spatial accelerator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dse.cli.mapping_cases import map_cases

__all__ = ["map_command"]


def map_command(
    cases: Annotated[Path, typer.Option("--cases", help="Folder with architectures.yaml and cases.yaml.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for counts.csv and summary.csv.")],
    conventions: Annotated[
        str, typer.Option("--conventions", help="What counts include: reference or silicon.")
    ] = "reference",
) -> None:
    """Evaluate fully specified mappings: reads, fills, updates, cycles, energy of every level and tensor."""
    map_cases(cases, out, conventions)
