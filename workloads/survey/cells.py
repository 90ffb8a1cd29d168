"""Every printed cell of the survey beside what is derived here: reproduced to rounding, or a named discrepancy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from workloads.survey.convention import PRINTED, Constants
from workloads.survey.derivations import TABLES, Row, Table, Tables, half_digit, outside_reason
from workloads.survey.discrepancies import DISCREPANCIES, Discrepancy
from workloads.survey.identities import IDENTITIES
from workloads.workload import Workload

__all__ = ["Cell", "compare", "rounds_to"]

Status = Literal["reproduced", "discrepancy", "outside", "open"]
Kind = Literal["printed", "derived", "repeated", "identity"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the reference tables; not all of them are printed in the source (`kind`).

    Attributes:
        table: Name of the reference table.
        key: Which row: the values of its key columns.
        column: Which column.
        printed: As printed, or as the reference table has it.
        derived: What is derived here, in the printed unit; None: nothing is.
        status: reproduced (rounds to the printed digits), discrepancy (does not, and is named), outside (measured or
            simulated by the source, nothing that counting could reproduce), open (none of these: a fault).
        why: Reason of a discrepancy, or of being outside.
        holds: What holds instead, where it is a discrepancy.
        kind: printed (the source prints it, and no other cell is the same number of the same figure), derived (someone
            computed it from printed numbers), repeated (a printed number that stands in another table too), identity
            (a relation between printed numbers).
    """

    table: str
    key: tuple[str, ...]
    column: str
    printed: str
    derived: float | None
    status: Status
    why: str = ""
    holds: str = ""
    kind: Kind = "printed"


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
        cell = _cell(name, key, column, printed, table.derive(row, column, tables), known)
        cells.append(replace(cell, kind=_kind_of(row, column, table)))
    return cells


def _kind_of(row: Row, column: str, table: Table) -> Kind:
    if column in table.repeats:
        return "repeated"
    return "printed" if row.get("origin", "read") == "read" else "derived"


def _identity(name: str, tables: Tables, known: Sequence[Discrepancy]) -> Cell:
    identity = IDENTITIES[name]
    value, slack = identity.evaluate(tables)
    if abs(value - float(identity.stated)) <= slack * (1 + 1e-9):
        cell = Cell("identities", (name,), "value", identity.stated, value, "reproduced")
    else:
        cell = _missed("identities", (name,), "value", identity.stated, value, known)
    return replace(cell, kind="identity")


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
