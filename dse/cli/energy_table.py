"""`dse energy --table`: a CSV file of memories in, what is predicted of them out."""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from dse.cli.output import console
from dse.files import atomic_write
from workloads.errors import SpecError

__all__ = ["predict_file"]

STDOUT = Path("-")


def predict_file(table: Path, out: Path | None) -> None:
    """Predict every memory of a CSV file and write the table with the predictions in it.

    Args:
        table: The file; "-" is stdin.
        out: Where the result appears, by rename; None or "-": stdout.

    Raises:
        SpecError: No table in it, a column is missing, or both are the same file.
    """
    from hwmodels.energy import predict_table

    if out is not None and STDOUT not in (table, out) and out.exists() and table.exists() and out.samefile(table):
        raise SpecError(f"--table and --out are the same file, {out}, which would be lost; give --out another name")
    columns = _read(table)
    result = predict_table(columns)
    if out is None or out == STDOUT:
        _write(result, columns, sys.stdout)
        return
    with atomic_write(out) as part, part.open("w", newline="", encoding="utf-8") as file:
        _write(result, columns, file)
    for line in _summary(result, columns, out):
        console().print(line, soft_wrap=True)


def _read(path: Path) -> dict[str, list[str]]:
    """Read a CSV file by columns, cells as they are."""
    data = sys.stdin.buffer.read() if path == STDOUT else path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: byte {error.start} is no UTF-8 text; give a CSV file") from None
    if "\0" in text:
        raise SpecError(f"{path}: it has zero bytes in it; give a CSV file of UTF-8 text")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise SpecError(
            f"{path}: line {reader.line_num} is no CSV ({error}); quote cells with commas in them"
        ) from None
    _check(path, header, rows)
    if not rows:
        return {name: [] for name in header}
    return dict(zip(header, map(list, zip(*(row for _, row in rows), strict=True)), strict=True))


def _check(path: Path, header: Sequence[str], rows: Iterable[tuple[int, Sequence[str]]]) -> None:
    from hwmodels.energy.sram_tables import REQUIRED

    if not any(header):
        raise SpecError(f"{path}: it is empty; the first line names columns, {' and '.join(REQUIRED)} among them")
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise SpecError(f"{path}: two columns are called {twice[0]!r}; rename one")
    for line, row in rows:
        if len(row) != len(header):
            raise SpecError(f"{path}: line {line} has {len(row)} cells and the header {len(header)}; give as many")


def _write(result: Mapping[str, Any], given: Mapping[str, Sequence[str]], file: TextIO) -> None:
    from hwmodels.energy.sram_tables import BAND_COLUMNS, OUTPUT_COLUMNS

    ours = {*OUTPUT_COLUMNS, *BAND_COLUMNS, "quality"}
    texts = {name: _texts(values) if name in ours else given[name] for name, values in result.items()}
    if "banks" in given:
        texts["leak_mw_total"] = _totals(texts["leak_mw_per_bank"], given["banks"])
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(texts)
    writer.writerows(zip(*texts.values(), strict=True))


def _texts(values: Any) -> list[str]:
    """Write numbers with the six digits that CACTI has, and nothing where there is no number."""
    return [cell if isinstance(cell, str) else "" if cell != cell else f"{cell:.6g}" for cell in values.tolist()]


def _totals(per_bank: Sequence[str], banks: Sequence[str]) -> list[str]:
    """Multiply what stands in the table, so that whoever checks the product finds it."""
    return [leak and f"{float(leak) * float(count):.7g}" for leak, count in zip(per_bank, banks, strict=True)]


def _summary(result: Mapping[str, Any], given: Mapping[str, Any], out: Path) -> list[str]:
    """Say how the rows came about, what the first bad one lacks, and what was taken for columns that are not there."""
    from hwmodels.energy.sram_tables import DEFAULTS

    reasons = [(place, why) for place, why in enumerate(result["reason"]) if why]
    kinds = Counter(name.replace("_", " ") for name in result["quality"] if name)
    counts = [f"{count} {name}" for name, count in kinds.most_common()]
    counts += [f"{len(reasons)} not feasible"] if reasons else []
    rows = len(result["reason"])
    lines = [f"{rows} row{'' if rows == 1 else 's'}{': ' if counts else ''}{', '.join(counts)}; written to {out}"]
    if reasons:
        place, why = reasons[0]
        lines.append(f"row {place + 1} is not feasible: {why}" + (" (others: column reason)" if reasons[1:] else ""))
    taken = [f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in DEFAULTS.items()
             if value and name not in given]  # fmt: skip
    if taken:
        lines.append(f"not in the table, so taken: {', '.join(taken)}")
    return lines
