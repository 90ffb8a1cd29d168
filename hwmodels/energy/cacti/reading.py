"""CACTI's outputs into one record, in base units: the file that it writes, and the report that it prints."""

from __future__ import annotations

import math
from pathlib import Path

from hwmodels.energy.cacti.printed import CELLS, from_report
from hwmodels.energy.cacti.records import Report
from hwmodels.energy.cacti.tables import from_table
from workloads.errors import SpecError

__all__ = ["merged", "read_output", "refusal"]

_DRAM_RATIO = 7.0
"""A write of more than seven reads is no SRAM: the most of the 1,400 SRAM results of the reference runs is 6.7."""


def read_output(path_or_text: str | Path, *, cell: str = "") -> Report:
    r"""Read one result of CACTI.

    Args:
        path_or_text: A file, or its text if it has more than one line: the `.out` that CACTI writes beside its input,
            of several results (CACTI appends) the last; or the report that it prints.
        cell: Device of the cells, which the `.out` does not say: "lp-dram" and "comm-dram" lose the write energy.

    Raises:
        SpecError: Not there, no output of CACTI, cut off, or CACTI refused; the message says which.

    Source: CACTI 7, writers of both (io.cc): leakage is of one bank, area of all; energies in nJ, times in ns.

    Example:
        >>> header = "Tech node (nm), Capacity (bytes), Number of banks, Access time (ns), Random cycle time (ns), "
        >>> header += "Dynamic read energy (nJ), Standby leakage per bank(mW)"
        >>> macro = read_output(f"{header}\n45, 65536, 4, 0.509318, 0.318311, 0.0141364, 18.2583\n")
        >>> round(macro.read_j * 1e12, 4), round(macro.leakage_w * 1e3, 4)
        (14.1364, 73.0332)
    """
    text, where = _text(path_or_text)
    if cell and cell not in CELLS:
        raise SpecError(f"cell {cell!r}: CACTI has {', '.join(CELLS)}")
    if "Tech node (nm)" in text:
        found = from_table(text, where)
    elif "Cache Parameters:" in text:
        found = from_report(text, where)
    elif reason := refusal(text):
        raise SpecError(f"{where}: CACTI gave no result: {reason}")
    else:
        raise SpecError(f"{where}: neither the .out file of CACTI nor the report that it prints")
    return _made(found, where, cell)


def merged(table: str, printed: str, *, cell: str) -> Report:
    """Read the file and the report of the same run: figures of the file, and what only the report says.

    Args:
        table: Text of the `.out` file.
        printed: What CACTI printed.
        cell: Device of the cells.

    Raises:
        SpecError: The file is not whole.
    """
    found = from_table(table, "the .out file of CACTI")
    if "Cache Parameters:" in printed:
        found = {**from_report(printed, "the report of CACTI"), **found}
    return _made(found, "the output of CACTI", cell)


def refusal(text: str) -> str:
    """Give the sentence with which CACTI refused, "" if there is none.

    Args:
        text: What it printed, on both streams.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        if line.startswith("ERROR:"):
            return line.removeprefix("ERROR:").strip()
    return next((line for line in reversed(lines) if any(mark in line for mark in _REFUSALS)), "")


_REFUSALS = ("must be", "Must have", "must >=", "should be", "Invalid", "does not support", "is missing!")


def _text(path_or_text: str | Path) -> tuple[str, str]:
    if isinstance(path_or_text, str) and "\n" in path_or_text:
        return path_or_text, "the output given"
    try:
        return Path(path_or_text).read_text(encoding="utf-8", errors="replace"), str(path_or_text)
    except OSError as error:
        raise SpecError(
            f"{path_or_text}: no output of CACTI can be read there ({error.strerror}); "
            "CACTI writes NAME.out beside its input NAME, unless it refused"
        ) from error


def _made(found: dict[str, object], where: str, cell: str) -> Report:
    cells = str(found.get("cell") or cell)
    read, write = found.get("read_j"), found.get("write_j")
    if cells.endswith("dram"):
        write = math.nan
    elif not cells and isinstance(read, float) and isinstance(write, float) and write > _DRAM_RATIO * read:
        raise SpecError(
            f"{where}: a write of {write / read:.0f} reads is what CACTI prints for DRAM cells, and is wrong; "
            'say cell="lp-dram" or "comm-dram" to leave it out'
        )
    return Report(**{**found, "write_j": math.nan if write is None else write, "cell": cells})  # type: ignore[arg-type]
