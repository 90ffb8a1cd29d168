"""`dse map`: how the matrix operators of a model, or the cases of a folder, run on a spatial accelerator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dse.cli.mapping_cases import map_cases
from workloads.errors import MappingError

__all__ = ["map_command"]


def map_command(
    model: Annotated[
        str | None, typer.Argument(help="An .onnx file, a name such as vit-mnist, or one that `dse zoo` lists.")
    ] = None,
    cases: Annotated[
        Path | None, typer.Option("--cases", help="Folder with architectures.yaml and cases.yaml, instead of a model.")
    ] = None,
    conventions: Annotated[
        str, typer.Option("--conventions", help="With --cases: what counts include: reference or silicon.")
    ] = "reference",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the tables and figures.")] = None,
) -> None:
    """Map a model on a spatial accelerator, or evaluate the mappings of a folder."""
    if (model is None) == (cases is None):
        raise MappingError("give a model and a --device, or --cases FOLDER; see dse map --help")
    if out is None:
        raise MappingError("--out is missing: the folder that the tables are written to")
    if cases is not None:
        map_cases(cases, out, conventions)
