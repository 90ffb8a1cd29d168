"""The `.out` file that CACTI writes beside its input."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping

from workloads.errors import SpecError

__all__ = ["from_table", "number"]

NEEDED = ("node_nm", "size_bytes", "banks", "access_s", "cycle_s")
"""Without these an output is none."""

_COLUMNS: Mapping[str, tuple[str, float]] = {
    "Tech node (nm)": ("node_nm", 1.0),
    "Capacity (bytes)": ("size_bytes", 1.0),
    "Number of banks": ("banks", 1.0),
    "Associativity": ("associativity", 1.0),
    "Output width (bits)": ("output_bits", 1.0),
    "Access time (ns)": ("access_s", 1e-9),
    "Random cycle time (ns)": ("cycle_s", 1e-9),
    "Dynamic read energy (nJ)": ("read_j", 1e-9),
    "Dynamic write energy (nJ)": ("write_j", 1e-9),
    "Standby leakage per bank(mW)": ("bank_leakage_w", 1e-3),
    "Area (mm2)": ("area_mm2", 1.0),
    "Data arrary area efficiency %": ("array_efficiency", 1e-2),
}

_ORGANISATION: Mapping[str, str] = {
    **{f"N{name}": f"n{name}" for name in ("dwl", "dbl", "spd", "dcm", "twl", "tbl", "tspd", "tcm")},
    **{f"N{letter}sam_level_{level}": f"n{letter}sam{level}" for letter in "dt" for level in "12"},
}


def from_table(text: str, where: str) -> dict[str, object]:
    """Read the last result of the file.

    Args:
        text: Of the file.
        where: For messages.

    Returns:
        Fields of `Report` by name.

    Raises:
        SpecError: Cut off, or no such file.
    """
    try:
        read = list(csv.reader(text.splitlines()))
    except csv.Error as error:
        raise SpecError(f"{where}: no .out file of CACTI ({error})") from error
    rows = [[cell.strip() for cell in row] for row in read if any(map(str.strip, row))]
    starts = [index for index, row in enumerate(rows) if row[0].startswith("Tech node")]
    if not starts:
        raise SpecError(f"{where}: no row of column names that begins with Tech node; run CACTI again")
    header, values = rows[starts[-1]], rows[-1]
    if values is header or len(values) != len(header) or not text.endswith("\n"):
        cut = f"{len(values)} of {len(header)} columns"
        raise SpecError(f"{where}: the last row is missing or cut off ({cut}); run CACTI again")
    numbers = dict(zip(header, values, strict=True))
    found: dict[str, object] = {
        name: number(numbers[column], column, where) * scale
        for column, (name, scale) in _COLUMNS.items()
        if column in numbers
    }
    if lacking := [name for name in NEEDED if name not in found]:
        raise SpecError(f"{where}: no column for {', '.join(lacking)}; is it the .out file of another tool?")
    splits = [(name, column) for column, name in _ORGANISATION.items() if column in numbers]
    split = {name: number(numbers[column], column, where) for name, column in splits}
    return {**found, "organisation": {name: value for name, value in split.items() if not math.isnan(value)}}


def number(text: str, column: str, where: str) -> float:
    """Read a number; N/A is NaN.

    Args:
        text: As it stands.
        column: For messages.
        where: For messages.

    Raises:
        SpecError: No number, or one that overflowed.
    """
    if text == "N/A":
        return math.nan
    try:
        value = float(text)
    except ValueError as error:
        raise SpecError(f"{where}: {text!r} in column {column!r} is no number; run CACTI again") from error
    if not 0 <= value < 1e30:
        raise SpecError(
            f"{where}: {text} in column {column!r} is impossible (CACTI overflows for stacks of several dies); "
            "ask for one die"
        )
    return value
