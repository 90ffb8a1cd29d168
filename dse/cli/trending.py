"""`dse trends`: how hardware and models grow, refitted beside the published rates; and a device in another year."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dse.cli import inputs
from dse.cli.output import console, print_table
from dse.cli.projecting import growth_rows, times
from dse.files import atomic_write, output_folder
from workloads.errors import SpecError

if TYPE_CHECKING:
    from hwmodels.trends import Fit

__all__ = ["trends"]


def trends(
    device: Annotated[str | None, typer.Option("--device", "-d", help="With --year: project this device.")] = None,
    year: Annotated[float | None, typer.Option("--year", help="With --device: to which year.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for rates.csv, points.csv, defects.csv and the figures.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout instead of tables.")] = False,
) -> None:
    """Show the memory wall's trends: rates refitted to its data beside the published ones, and what they project.

    Data: Gholami et al., AI and Memory Wall, arXiv 2403.14123. A rate is a least-squares fit of the logarithm on the
    date; its range is one standard error.
    """
    from hwmodels.trends import growths, refit

    if (device is None) != (year is None):
        raise SpecError("--device and --year go together: a device is projected to a year")
    fits = refit()
    rates = [_rate_record(found) for found in fits.values()]
    growth: dict[str, Any] = {}
    if device is not None and year is not None:
        growth = {name: asdict(item) for name, item in growths(inputs.device(device), year).items()}
    written = _write(out, rates) if out is not None else []
    if as_json:
        record: dict[str, Any] = {"rates": rates}
        if growth:
            record["projection"] = {"device": device, "to_year": year, "growth": growth}
        print(json.dumps(record, indent=1, allow_nan=False))
        return
    _print_rates(rates)
    if growth:
        console().print()
        print_table([f"{device} in {year:g}", "growth", "one standard error"], growth_rows(growth), left=(0, 2))
    for path in written:
        console().print(f"written: {path}", soft_wrap=True)


def _rate_record(found: Fit) -> dict[str, Any]:
    """Give a fit as plain data."""
    from hwmodels.trends import quantity

    known = quantity(found.name)
    low, high = (float(found.growth(2.0, errors)) for errors in (-1.0, 1.0))
    return {
        "quantity": found.name,
        "title": known.title,
        "points": found.count,
        "per_two_years": found.per_two_years,
        "low": low,
        "high": high,
        "headline": found.headline,
        "deviation": found.deviation,
        "per_twenty_years": float(found.growth(20.0)),
        "long_run": known.long_run or None,
        "scatter_factor": math.exp(found.scatter),
    }


def _print_rates(rates: list[dict[str, Any]]) -> None:
    header = ["growth per two years", "points", "refit", "one standard error", "published", "apart"]
    rows = [
        [
            rate["title"],
            str(rate["points"]),
            f"{rate['per_two_years']:.4g}x",
            f"{times(rate['low'])} to {times(rate['high'])}",
            f"{rate['headline']:g}x",
            f"{rate['deviation']:+.1%}",
        ]
        for rate in rates
    ]
    print_table(header, rows, title="Trends of AI and Memory Wall (Gholami et al., arXiv 2403.14123)")


def _write(folder: Path, rates: list[dict[str, Any]]) -> list[Path]:
    """Write tables and figures; give their paths."""
    from dse import plots
    from hwmodels.trends import DEFECTS, QUANTITIES, points_of

    output_folder(folder)
    points = [
        {"quantity": name, "unit": known.unit, **asdict(point)}
        for name, known in QUANTITIES.items()
        for point in points_of(name)
    ]
    tables = {"rates": rates, "points": points, "defects": [asdict(defect) for defect in DEFECTS]}
    paths = [_write_csv(folder / f"{name}.csv", rows) for name, rows in tables.items()]
    return [
        *paths,
        plots.hardware_scaling(folder / "hardware_scaling.png"),
        plots.model_size_scaling(folder / "model_size_scaling.png"),
        plots.training_compute_scaling(folder / "training_compute_scaling.png"),
    ]


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
