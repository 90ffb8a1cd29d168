"""Cells of a table of memories: numbers, port sets and names, or why they are none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.checks import check_names
from hwmodels.energy.sram.stored import NODES
from workloads.errors import SpecError

__all__ = ["Names", "names_of", "numbers_of", "port_counts"]

Floats = NDArray[np.float64]


class Names(NamedTuple):
    """What rows must share to be evaluated together.

    Attributes:
        device: CACTI's device type.
        ports: Read-write, read-only and write-only ports of a bank.
        objective: What the sub-arrays are organised for.
        law: Scaling law, or None.
        scaled_nm: The node where a law must carry the numbers, else None: a law's band is that of one node.
    """

    device: str
    ports: tuple[int, int, int]
    objective: str
    law: str | None
    scaled_nm: float | None


def numbers_of(column: Sequence[Any], name: str, refused: dict[int, str]) -> Floats:
    """Read a column of numbers, or of texts of numbers; what is none becomes nan.

    Args:
        column: Its cells.
        name: Of the column.
        refused: Gets the place of every cell that is no number, and why.

    Example:
        >>> refused = {}
        >>> numbers_of(["8", "eight", ""], "width_bytes", refused).tolist()
        [8.0, nan, nan]
        >>> for why in refused.values():
        ...     print(why)
        width_bytes is 'eight', which is no number
        width_bytes is empty; give a number
    """
    try:
        return np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        pass
    numbers = np.full(len(column), np.nan)
    for place, cell in enumerate(column):
        try:
            numbers[place] = float(cell)
        except (TypeError, ValueError, OverflowError):
            empty = cell is None or not str(cell).strip()
            why = "empty; give a number" if empty else f"{cell!r}, which is no number"
            refused.setdefault(place, f"{name} is {why}")
    return numbers


def port_counts(numbers: Mapping[str, Floats], refused: dict[int, str]) -> list[tuple[int, int, int]]:
    """Turn three columns of ports into whole numbers.

    Args:
        numbers: Columns by name, rw_ports, rd_ports and wr_ports among them.
        refused: Gets the place of every row where one is not whole, and why.
    """
    whole = []
    for name in ("rw_ports", "rd_ports", "wr_ports"):
        column = numbers[name]
        bad = ~np.isfinite(column) | (column != np.floor(column))
        for place in np.flatnonzero(bad).tolist():
            refused.setdefault(place, f"{name} is {column[place]:g}; give a whole number")
        whole.append(np.clip(np.where(bad, 0.0, column), -1e9, 1e9).astype(np.int64).tolist())
    return list(zip(*whole, strict=True))


def names_of(
    devices: Sequence[Any], objectives: Sequence[Any], laws: Sequence[Any], ports: Sequence[tuple[int, int, int]],
    nodes: Floats, refused: dict[int, str],
) -> Iterator[Names]:  # fmt: skip
    """Give what each row's names are; rows with names that do not exist are refused.

    Args:
        devices: Device types; whatever their case.
        objectives: Likewise; empty: the default.
        laws: Scaling laws; empty: none.
        ports: Of each row.
        nodes: Of each row [nm].
        refused: Gets the place of every row with an unknown name, and why.
    """
    outside = ((nodes < NODES[0]) | (nodes > NODES[-1])).tolist()
    known: dict[tuple[str, tuple[int, int, int], str], str | None] = {}
    for place, (device, objective, law, mine, node) in enumerate(
        zip(devices, objectives, laws, ports, nodes.tolist(), strict=True)
    ):
        key = (_word(device).lower(), mine, _word(objective).lower() or "ed2")
        if key not in known:
            known[key] = _refusal(*key)
        why = known[key]
        if why is not None:
            refused.setdefault(place, why)
        named = _word(law) or None
        yield Names(*key, named, node if named and outside[place] else None)


def _word(cell: Any) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return str(cell).strip()


def _refusal(device: str, ports: tuple[int, int, int], objective: str) -> str | None:
    try:
        check_names(device, ports, objective)
    except SpecError as error:
        return str(error)
    return None
