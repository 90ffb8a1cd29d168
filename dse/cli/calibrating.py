"""`dse calibrate`: coefficients fitted on measured rows, judged on groups of rows that were held out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dse.cli.output import print_table
from dse.cli.predicting import read_table
from workloads.errors import SpecError

if TYPE_CHECKING:
    from pandas import DataFrame

    from hwmodels.kernels.calibration import Calibration
    from hwmodels.kernels.judging import Judgement

__all__ = ["calibrate"]


HEADER = ["operation", "formats", "rows", "held out", "ceilings", "before", "calibrated", "in 80 %\nband"]


def calibrate(
    rows: Annotated[Path, typer.Argument(help="CSV of measured rows: of `dse measure`, or the measured tables.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="TOML to write: dse predict --calibration.")] = None,
    hold: Annotated[
        str, typer.Option("--hold", help="Columns whose combinations are held out together: n,k or model.")
    ] = "",
    device: Annotated[str, typer.Option(help="Name or .toml file, instead of the column device.")] = "",
    source: Annotated[str, typer.Option(help="Whose measurements; default: their column source.")] = "",
) -> None:
    """Fit a calibration per device, operation, formats, timing and framework, and say how far off it is.

    Errors are mean / median in percent of rows that the fit did not see: whole combinations of sizes (or models) are
    left out in turn. ceilings: the roofline of the device; before: what `dse predict` says with the calibrations that
    ship, which may have seen these very rows.
    """
    from datetime import UTC, datetime

    from dse.files import atomic_write
    from hwmodels.kernels.calibration import write_calibrations
    from hwmodels.kernels.judging import calibrate_table

    if out is not None and out.suffix != ".toml":
        raise SpecError(f"--out {out}: a calibration is a .toml file")
    table = read_table(rows)
    if device:
        table = table.assign(device=device)
    columns = tuple(name.strip() for name in hold.split(",") if name.strip())
    today = datetime.now(UTC).date().isoformat()
    found = calibrate_table(table, columns, date=today, source=source)
    _print(found)
    kept = tuple(item.calibration for item in found if item.calibration is not None)
    kept += _inside_models(table, kept, today, source or "rows given by the user")
    if out is not None:
        with atomic_write(out) as part:
            part.write_text(write_calibrations(kept, "dse calibrate"), encoding="utf-8")
        print(f"{out}: {len(kept)} calibrations; use them with dse predict --calibration {out}")


def _inside_models(table: DataFrame, kept: tuple[Calibration, ...], date: str, source: str) -> tuple[Calibration, ...]:
    """Fit what operators take more inside of models, for each CPU and library whose whole models were timed."""
    from hwmodels.kernels.processor_totals import inside_calibrations
    from hwmodels.kernels.processors import is_processor

    made: tuple[Calibration, ...] = ()
    if "model" not in table.columns or "count" not in table.columns:
        return made
    for (device, _), rows in table.groupby(["device", "framework"]):
        if is_processor(str(device)) and (rows["op"] == "model_forward").any():
            more = inside_calibrations(rows, kept, date=date, source=source)
            for item in more[:1]:
                off = f"{item.mean:.1%} of their time in the mean, median {item.median:.1%}"
                print(
                    f"{item.rows} whole models on {device}: off by {off}, fitted with what operators take more inside"
                )
            made += more
    return made


def _print(found: tuple[Judgement, ...]) -> None:
    for about in sorted({_about(item) for item in found}):
        print(", ".join(part for part in about if part))
        print_table(HEADER, [_line(item) for item in found if _about(item) == about], left=(0, 1, 3))
    few = [item for item in found if item.calibration is None]
    if few:
        print(f"{len(few)} of {len(found)} not calibrated: {few[0].remark}")


def _about(item: Judgement) -> tuple[str, str, str]:
    return item.key.device, item.key.framework, item.key.timing


def _line(item: Judgement) -> list[str]:
    formats = " ".join(dict.fromkeys(part for part in (item.key.a_format, item.key.w_format) if part))
    errors = [_error(item, name) for name in ("ceilings", "before", "after")]
    inside = "-" if item.inside != item.inside else f"{item.inside:.0%}"
    return [item.key.kernel, formats, str(item.rows), item.split, *errors, inside]


def _error(item: Judgement, name: str) -> str:
    import numpy as np

    off = np.abs(getattr(item, name) / item.measured - 1) * 100
    return "-" if not np.isfinite(off).all() else f"{off.mean():.1f} / {np.median(off):.1f}"
