"""How `dse energy` shows figures: a table, their traces, JSON."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dse.cli.energy_items import Looked
from dse.cli.output import console, print_table
from dse.numbers import si

if TYPE_CHECKING:
    from hwmodels.energy import Estimate

__all__ = ["number", "print_explained", "print_figures", "print_json"]

_UNIT = re.compile(r"_(j|w|s|mm2)$")
"""What ends the names of fields; a printed value has its unit with it."""


NARROWEST = 12
"""Characters that the first column keeps, however narrow the terminal."""


def number(value: float, unit: str) -> str:
    """Write a number for people; small areas in um2.

    Example:
        >>> number(0.000419, "mm2"), number(0.796, "mm2"), number(2e-13, "J")
        ('419 um2', '0.796 mm2', '200 fJ')
    """
    return f"{value * 1e6:.3g} um2" if unit == "mm2" and 0 < value < 0.001 else si(value, unit)


def print_figures(found: Sequence[Looked]) -> None:
    """Print figures, those of one look-up below each other, with what holds for all of them under its name."""
    header = ["figure", "value", "low", "high", "origin"]
    cells = [_rows(item) for item in found]
    widths = [max(map(len, column)) for column in zip(header, *(row for rows in cells for row in rows), strict=True)]
    room = console().width - sum(widths) - 2 * len(widths)
    if room < NARROWEST:  # --explain has the origins, too
        room, header, cells = room + widths[-1] + 2, header[:-1], [[row[:-1] for row in rows] for rows in cells]
    room = max(room, NARROWEST)
    lines: list[list[str]] = []
    for item, rows in zip(found, cells, strict=True):
        about = textwrap.wrap(item.about, room, initial_indent="  ", subsequent_indent="  ")
        beside = [*textwrap.wrap(item.what, room, subsequent_indent="  "), *about]
        for place in range(max(len(beside), len(rows))):
            what = beside[place] if place < len(beside) else ""
            lines.append([what, *(rows[place] if place < len(rows) else [""] * len(header))])
    print_table(["what", *header], lines, left=(0, 1, len(header)) if "origin" in header else (0, 1), cut=())


def _rows(item: Looked) -> list[list[str]]:
    rows = []
    for name, one in item.figures.items():
        rows.append(_cells(name, one))
        if item.parted:
            rows += [_cells(f"  {part}", inside) for part, inside in one.parts.items()]
    return rows


def _cells(name: str, one: Estimate) -> list[str]:
    numbers = [number(float(end), one.unit) for end in (one.value, one.low, one.high)]
    return [_UNIT.sub("", name), *numbers, one.origin]


def print_explained(found: Sequence[Looked]) -> None:
    """Print the trace of every figure; on a terminal its long lines are broken below their indent."""
    from hwmodels.energy import explain

    out = console()
    for place, item in enumerate(found):
        if place:
            out.print()
        out.print(f"{item.what}: {item.about}", style="bold", soft_wrap=True)
        for line in explain(item).splitlines():
            indent = line[: len(line) - len(line.lstrip())]
            broken = textwrap.wrap(line, max(out.width, 40), subsequent_indent=f"{indent}    ", break_long_words=False)
            out.print("\n".join(broken) if out.is_terminal else line, soft_wrap=True)


def print_json(found: Sequence[Looked]) -> None:
    """Write figures with their traces as JSON."""
    items = [
        {"what": item.what, "about": item.about, **item.details,
         "figures": {name: _record(one) for name, one in item.figures.items()}}
        for item in found
    ]  # fmt: skip
    print(json.dumps({"items": items}, indent=1, allow_nan=False))


def _record(one: Estimate) -> dict[str, Any]:
    record: dict[str, Any] = {
        "value": float(one.value), "unit": one.unit, "low": float(one.low), "high": float(one.high),
        "origin": one.origin, "formula": one.formula, "source": one.source,
    }  # fmt: skip
    if one.parts:
        record["parts"] = {name: _record(part) for name, part in one.parts.items()}
    return record
