"""Tables of memories: the columns that describe them in, what `hwmodels.energy.sram` says of every row out.

Columns have the names and units of CACTI tables: pJ per access of a word, mW, ns, mm2. A row that no memory can be
says so and stops no other one.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram import Macro, Quality, sram
from hwmodels.energy.sram.checks import check_numbers
from hwmodels.energy.sram.stored import NODES
from hwmodels.energy.sram.temperature import leakage_factor
from hwmodels.energy.sram_table_cells import Names, names_of, numbers_of, port_counts
from hwmodels.energy.sram_table_parts import bad_points
from workloads.errors import SpecError, nearest

__all__ = ["BAND_COLUMNS", "DEFAULTS", "OUTPUT_COLUMNS", "REQUIRED", "Columns", "predict_table"]

REQUIRED = ("size_bytes", "width_bytes")
"""Columns that a table must have."""

DEFAULTS: Mapping[str, float | str] = {
    "cell_type": "itrs-hp", "tech_nm": 45.0, "rw_ports": 1.0, "rd_ports": 0.0, "wr_ports": 0.0, "banks": 1.0,
    "temp_k": 350.0, "objective": "ed2", "law": "",
}  # fmt: skip
"""Columns that a table may have, and what holds where it has none: the defaults of `sram`."""

OUTPUT_COLUMNS = (
    "feasible", "read_pj", "write_pj", "leak_mw_per_bank", "leak_mw_total", "area_mm2", "access_ns", "cycle_ns",
    "height_mm", "width_mm", "ndwl", "ndbl", "nspd", "ndcm", "ndsam1", "ndsam2", "array_eff_pct", "reason",
)  # fmt: skip
"""What CACTI tables hold of every memory."""

BAND_COLUMNS = tuple(
    f"{name}_{end}"
    for name in ("read_pj", "write_pj", "leak_mw_per_bank", "leak_mw_total", "area_mm2", "access_ns", "cycle_ns")
    for end in ("low", "high")
)
"""Ends of the error bands: about nine true values of ten lie between them."""

_OURS = {"node_nm": "tech_nm", "device": "cell_type", "temperature_k": "temp_k", "ports": "rw_ports"}
"""Arguments of `sram` that tables spell otherwise."""

_ORGANISATION = ("ndwl", "ndbl", "nspd", "ndcm", "ndsam1", "ndsam2")
_UNITS: Mapping[str, tuple[str, float]] = {
    "read_j": ("read_pj", 1e12),
    "write_j": ("write_pj", 1e12),
    "leakage_w": ("leak_mw_total", 1e3),
    "area_mm2": ("area_mm2", 1.0),
    "access_s": ("access_ns", 1e9),
    "cycle_s": ("cycle_ns", 1e9),
}


class Columns(Protocol):
    """A table by columns: a dict of lists or arrays, or a data frame of pandas."""

    def __iter__(self) -> Iterator[str]:
        """Go through the names of the columns."""

    def __getitem__(self, name: str, /) -> Any:
        """Give a column: numbers or texts, all columns equally long."""


class _Rows(NamedTuple):
    """Rows that share every name, shape (n_rows,) each, and their places in the table."""

    place: NDArray[np.intp]
    size: NDArray[np.float64]
    width: NDArray[np.float64]
    node: NDArray[np.float64]
    banks: NDArray[np.float64]
    kelvin: NDArray[np.float64]

    def part(self, which: slice | NDArray[np.intp]) -> _Rows:
        """Take some rows."""
        return _Rows._make(column[which] for column in self)


def predict_table(rows: Columns) -> dict[str, Any]:
    """Predict every memory of a table.

    Args:
        rows: Columns by name: size_bytes and width_bytes [B]; where they differ from the defaults cell_type, tech_nm
            [nm], rw_ports, rd_ports, wr_ports (of a bank), banks, temp_k [K], objective and law, see `sram`. Others
            are carried through, those of the result replaced.

    Returns:
        The columns in their order, then those of `OUTPUT_COLUMNS`, `quality` and `BAND_COLUMNS` that the table lacked.
        Numbers are arrays of shape (n_rows,), nan where `feasible` is 0; `reason` says then why.

    Raises:
        SpecError: A required column is missing, one is spelt as an argument of `sram`, or lengths differ.

    Example:
        >>> table = predict_table({"size_bytes": [262144, 4], "width_bytes": [8, 8]})
        >>> table["feasible"].tolist(), round(float(table["read_pj"][0]), 4), table["quality"].tolist()
        ([1, 0], 40.6252, ['exact', ''])
        >>> print(table["reason"][1])
        sram: size_bytes is 4; every bank holds at least one word of width_bytes: give more
    """
    if not (hasattr(rows, "__iter__") and hasattr(rows, "__getitem__")):
        raise SpecError(f"predict_table: {reprlib.repr(rows)} is no table; give columns by name, as in "
                        '{"size_bytes": [262144], "width_bytes": [8]}')  # fmt: skip
    given = list(rows)
    _check_columns(given)
    count = _length(rows, given)
    outcome = _empty(count)
    refused: dict[int, str] = {}
    for names, some in _groups(rows, given, count, refused):
        _fill(outcome, names, some, refused)
    for place, why in refused.items():
        outcome["reason"][place] = why
    outcome["feasible"][list(refused)] = 0
    return {name: rows[name] for name in given} | outcome


def _check_columns(given: Sequence[str]) -> None:
    for name in REQUIRED:
        if name not in given:
            one = f"; it has the one column {given[0]!r}: are its cells parted by commas?" if len(given) == 1 else ""
            raise SpecError(f"the table has no column {name!r}; {one.lstrip('; ') or nearest(name, given)}")
    for name, theirs in _OURS.items():
        if name in given and theirs not in given:
            raise SpecError(f"the table has a column {name!r}, which is spelt {theirs!r} in tables; rename it")


def _length(rows: Columns, given: Sequence[str]) -> int:
    for name in given:
        column = rows[name]
        if isinstance(column, str | bytes) or not hasattr(column, "__len__") or getattr(column, "ndim", 1) != 1:
            raise SpecError(f"column {name!r} is {reprlib.repr(column)}; give a list or an array of its cells")
    lengths = {name: len(rows[name]) for name in given}
    first = lengths[REQUIRED[0]]
    for name, length in lengths.items():
        if length != first:
            raise SpecError(f"column {name!r} has {length} rows and {REQUIRED[0]!r} {first}; give all as many")
    return first


def _empty(count: int) -> dict[str, Any]:
    """Make the columns of the result, nothing filled in."""
    outcome: dict[str, Any] = {name: np.full(count, np.nan) for name in OUTPUT_COLUMNS}
    outcome["feasible"] = np.ones(count, dtype=np.int64)
    outcome["reason"], outcome["quality"] = np.full(count, "", dtype=object), np.full(count, "", dtype=object)
    return outcome | {name: np.full(count, np.nan) for name in BAND_COLUMNS}


def _groups(rows: Columns, given: Sequence[str], count: int, refused: dict[int, str]) -> Iterator[tuple[Names, _Rows]]:
    """Split the table by what branches; rows whose cells cannot be read are refused here."""

    def column(name: str) -> Any:
        return rows[name] if name in given else [DEFAULTS[name]] * count

    numbers = {
        name: numbers_of(column(name), name, refused)
        for name in (*REQUIRED, "tech_nm", "banks", "temp_k", "rw_ports", "rd_ports", "wr_ports")
    }
    ports = port_counts(numbers, refused)
    names = names_of(column("cell_type"), column("objective"), column("law"), ports, numbers["tech_nm"], refused)
    places: dict[Names, list[int]] = {}
    for place, key in enumerate(names):
        if place not in refused:
            places.setdefault(key, []).append(place)
    values = [numbers[name] for name in (*REQUIRED, "tech_nm", "banks", "temp_k")]
    for key, mine in places.items():
        at = np.array(mine, dtype=np.intp)
        yield key, _Rows(at, *(value[at] for value in values))


def _fill(outcome: dict[str, Any], names: Names, rows: _Rows, refused: dict[int, str]) -> None:
    """Predict rows that share every name; those that no memory can be are refused."""

    def check(which: slice) -> None:
        _, *numbers = rows.part(which)
        check_numbers(numbers, names.law)
        leakage_factor(names.device, NODES[0], numbers[-1])

    bad = bad_points(check, len(rows.place))
    rows = _without(rows, bad, refused)
    if not len(rows.place):
        return
    try:
        macro = _macro(names, rows)
    except SpecError:
        bad = bad_points(lambda which: _macro(names, rows.part(which)), len(rows.place))
        rows = _without(rows, bad, refused)
        if not len(rows.place):
            return
        macro = _macro(names, rows)
    _write(outcome, macro, rows)


def _without(rows: _Rows, bad: Mapping[int, str], refused: dict[int, str]) -> _Rows:
    """Take bad rows out, and note what is wrong with them."""
    refused.update({int(rows.place[at]): why for at, why in bad.items()})
    return rows.part(np.setdiff1d(np.arange(len(rows.place)), list(bad))) if bad else rows


def _macro(names: Names, rows: _Rows) -> Macro:
    return sram(
        rows.size, rows.width, node_nm=rows.node, device=names.device, ports=names.ports, banks=rows.banks,
        temperature_k=rows.kelvin, objective=names.objective, law=names.law,
    )  # fmt: skip


def _write(outcome: dict[str, Any], macro: Macro, rows: _Rows) -> None:
    """Write what was found into the columns, in their units."""
    at = rows.place
    for name, estimate in macro.estimates().items():
        column, scale = _UNITS[name]
        ends = {"": estimate.value, "_low": estimate.low, "_high": estimate.high}
        for end, value in ends.items():
            outcome[column + end][at] = np.asarray(value) * scale
            if name == "leakage_w":
                outcome["leak_mw_per_bank" + end][at] = np.asarray(value) * scale / rows.banks
    for name in ("height_mm", "width_mm"):
        outcome[name][at] = getattr(macro, name)
    outcome["array_eff_pct"][at] = np.asarray(macro.array_efficiency) * 100
    for name, values in zip(_ORGANISATION, np.asarray(macro.organisation).T, strict=True):
        outcome[name][at] = values
    outcome["quality"][at] = _QUALITIES[np.asarray(macro.quality)]


_QUALITIES: NDArray[Any] = np.array([one.name.lower() for one in Quality], dtype=object)
