"""Every printed cell of the survey beside what is derived here: reproduced to rounding, or a named discrepancy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from workloads.survey.convention import PRINTED, Constants
from workloads.survey.derivations import TABLES, Row, Tables, half_digit, outside_reason
from workloads.survey.discrepancies import DISCREPANCIES, Discrepancy
from workloads.survey.identities import IDENTITIES
from workloads.workload import Workload

__all__ = ["Cell", "compare", "rounds_to"]

Status = Literal["reproduced", "discrepancy", "outside", "open"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One printed number.

    Attributes:
        table: Name of the reference table.
        key: Which row: the values of its key columns.
        column: Which column.
        printed: As printed.
        derived: What is derived here, in the printed unit; None: nothing is.
        status: reproduced (rounds to the printed digits), discrepancy (does not, and is named), outside (measured or
            simulated by the source, nothing that counting could reproduce), open (none of these: a fault).
        why: Reason of a discrepancy, or of being outside.
        holds: What holds instead, where it is a discrepancy.
    """

    table: str
    key: tuple[str, ...]
    column: str
    printed: str
    derived: float | None
    status: Status
    why: str = ""
    holds: str = ""


def rounds_to(value: float, printed: str) -> bool:
    """Say whether a value rounds to a printed number, to the digits that are printed.

    Example:
        >>> rounds_to(159.6798, "159.68"), rounds_to(159.67, "159.68"), rounds_to(0.0944, "0.09")
        (True, False, True)
    """
    return abs(value - float(printed)) <= half_digit(printed) * (1 + 1e-9)


def compare(
    tables: Mapping[str, Sequence[Row]],
    *,
    resnet50: Workload | None = None,
    constants: Constants = PRINTED,
    discrepancies: Iterable[Discrepancy] = DISCREPANCIES,
) -> tuple[Cell, ...]:
    """Derive every cell of the given printed tables.

    Args:
        tables: Name of the table to its rows, as `csv.DictReader` gives them; tests/golden/reference/survey has them.
        resnet50: A graph of ResNet-50, batch 1; without it the classes of Table 4 are open.
        constants: Of the operators that are no product.
        discrepancies: The named ones.

    Returns:
        A cell for every number of every table that is known here, then the identities between printed numbers whose
        tables are given.
    """
    known = tuple(discrepancies)
    found = Tables(tables, resnet50, constants)
    cells = [
        cell
        for name, rows in tables.items()
        if name in TABLES
        for row in rows
        for cell in _cells_of_row(name, row, found, known)
    ]
    return (*cells, *(_identity(name, found, known) for name in IDENTITIES if IDENTITIES[name].needs <= set(tables)))


def _cells_of_row(name: str, row: Row, tables: Tables, known: Sequence[Discrepancy]) -> list[Cell]:
    table = TABLES[name]
    key = tuple(row[column] for column in table.key)
    cells = []
    for column in table.columns:
        printed = row[column]
        if printed == "":
            continue
        derived = table.derive(row, column, tables)
        cells.append(_cell(name, key, column, printed, derived, known))
    return cells


def _identity(name: str, tables: Tables, known: Sequence[Discrepancy]) -> Cell:
    identity = IDENTITIES[name]
    value, slack = identity.evaluate(tables)
    if abs(value - float(identity.stated)) <= slack * (1 + 1e-9):
        return Cell("identities", (name,), "value", identity.stated, value, "reproduced")
    return _missed("identities", (name,), "value", identity.stated, value, known)


def _cell(
    table: str, key: tuple[str, ...], column: str, printed: str, derived: float | None, known: Sequence[Discrepancy]
) -> Cell:
    if derived is None:
        reason = outside_reason(table, key)
        return Cell(table, key, column, printed, None, "outside" if reason else "open", reason)
    unit = next((item for item in known if item.factor != 1 and _covers(item, table, key, column)), None)
    value = derived if unit is None else derived * unit.factor
    if rounds_to(value, printed):
        return Cell(table, key, column, printed, value, "reproduced")
    return _missed(table, key, column, printed, value, known)


def _missed(
    table: str, key: tuple[str, ...], column: str, printed: str, value: float, known: Sequence[Discrepancy]
) -> Cell:
    """Make the cell of a number that is not reproduced: a named discrepancy, or open."""
    named = next((item for item in known if item.factor == 1 and _covers(item, table, key, column)), None)
    if named is None:
        return Cell(table, key, column, printed, value, "open")
    return Cell(table, key, column, printed, value, "discrepancy", named.why, named.holds)


def _covers(item: Discrepancy, table: str, key: tuple[str, ...], column: str) -> bool:
    """Say whether a discrepancy is about a cell; one of a unit covers every row whose key starts like its own."""
    if item.table != table or item.column != column:
        return False
    return item.key == key if item.factor == 1 else item.key == key[: len(item.key)]
