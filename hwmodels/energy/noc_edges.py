"""Networks of a PE array as sets of wires, and how often each is driven when some PEs get the same word.

A network is a tree from the port of the array to its PEs. A wire is driven if a destination lies behind it. Of d PEs
drawn from an array of N, at least one lies among the b behind a wire with probability 1 - C(N-b, d) / C(N, d); what a
delivery costs is the sum over the wires. So a multicast costs at least one unicast and at most d of them.

Source: the hypergeometric distribution; dimension-ordered (x-y) routing: Dally & Towles, Principles and Practices of
Interconnection Networks, 2004, chapter 8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workloads.errors import SpecError, nearest
from workloads.operator import Num

__all__ = ["AMONG", "NETWORKS", "PES_AT_MOST", "Edges", "Floats", "driven", "edges_of", "whole"]

Floats = NDArray[np.float64]

PES_AT_MOST = 2**20
"""Of an array: factorials are tabled up to there."""

AMONG = ("any", "row", "column")
"""Where the destinations lie: anywhere in the array, all in one row, all in one column (any one)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Edges:
    """Wires of a network in classes, all arrays of shape (n_classes, n_points).

    Attributes:
        count: Wires of a class.
        along_x: Length of one, in pitches along a row.
        along_y: Length of one, in pitches along a column.
        rows: Rows of the PEs behind one; those behind a wire are a block.
        columns: Columns of them.
        routers: Routers at its end.
    """

    count: Floats
    along_x: Floats
    along_y: Floats
    rows: Floats
    columns: Floats
    routers: Floats


def edges_of(network: str, rows: Floats, columns: Floats) -> Edges:
    """Give the wires of a network.

    Args:
        network: A key of `NETWORKS`.
        rows: Of the array, shape (n_points,).
        columns: The same.

    Raises:
        SpecError: No such network, or it needs other sizes.
    """
    if network not in NETWORKS:
        raise SpecError(f"no network {network!r}; {nearest(network, NETWORKS)}")
    return NETWORKS[network](rows, columns)


def driven(edges: Edges, rows: Floats, columns: Floats, destinations: Floats, among: str) -> Floats:
    """Give the share of deliveries in which a wire is driven, shape (n_classes, n_points).

    Args:
        edges: Of the network.
        rows: Of the array, shape (n_points,).
        columns: The same.
        destinations: How many PEs get the word, shape (n_points,).
        among: One of `AMONG`.
    """
    if among == "row":
        return edges.rows / rows * _met(edges.columns, columns, destinations)
    if among == "column":
        return edges.columns / columns * _met(edges.rows, rows, destinations)
    return _met(edges.rows * edges.columns, rows * columns, destinations)


def whole(value: Num, name: str, where: str) -> Floats:
    """Give whole numbers from 1 to 2**53 as an array, shape (n_points,).

    Args:
        value: One value, or shape (n_points,).
        name: Of the argument.
        where: The function that was called.

    Raises:
        SpecError: They are none.
    """
    numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
    wrong = numbers[~(np.isfinite(numbers) & (numbers >= 1) & (numbers <= 2**53) & (numbers == np.floor(numbers)))]
    if wrong.size:
        raise SpecError(f"{where}: {name} = {wrong[0]:g}; a whole number from 1 on is needed, 2**53 at most")
    return numbers


def _met(behind: Floats, of: Floats, drawn: Floats) -> Floats:
    """Give the probability that at least one of `drawn` out of `of` lies among those `behind`."""
    if np.all(drawn == 1):
        return behind / of
    table = _log_factorials(int(np.max(of)))
    rest = np.maximum(of - behind - drawn, 0)
    log_none = _at(table, of - behind) - _at(table, rest) - (_at(table, of) - _at(table, of - drawn))
    none = np.where(of - behind >= drawn, np.exp(np.minimum(log_none, 0.0)), 0.0)
    return np.where(drawn == 1, behind / of, 1.0 - none)  # one destination: exact


def _at(table: Floats, numbers: Floats) -> Floats:
    found: Floats = table[numbers.astype(np.int64)]
    return found


def _log_factorials(last: int) -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, last + 1)))])


def _steps(sizes: Floats, first: int) -> Floats:
    """Give first, first + 1, ... up to the longest array, shape (n_steps, 1)."""
    return np.arange(first, max(int(sizes.max()), first + 1), dtype=np.float64)[:, None]


def _joined(*classes: Mapping[str, Num], points: Floats) -> Edges:
    """Stack classes whose values have shape (n,), (k, 1), (k, n) or none; what one does not say is zero."""
    stacked = {}
    for name in ("count", "along_x", "along_y", "rows", "columns", "routers"):
        blocks = []
        for each in classes:
            lines = max(np.atleast_2d(value).shape[0] for value in each.values())
            blocks.append(np.broadcast_to(each.get(name, 0.0), (lines, points.size)))
        stacked[name] = np.concatenate(blocks).astype(np.float64)
    return Edges(**stacked)


def _tree(rows: Floats, columns: Floats, routers: int = 0) -> Edges:
    """A trunk along the first column, a branch along each row: the port stands one pitch before PE (0, 0)."""
    row, column = _steps(rows, 0), _steps(columns, 1)
    trunk = {
        "count": np.where(row < rows, 1.0, 0.0),
        "along_y": np.ones_like(rows),
        "rows": np.maximum(rows - row, 0),
        "columns": columns,
        "routers": np.full_like(rows, routers),
    }
    branch = {
        "count": np.where(column < columns, rows, 0.0),
        "along_x": np.ones_like(rows),
        "rows": np.ones_like(rows),
        "columns": np.maximum(columns - column, 0),
        "routers": np.full_like(rows, routers),
    }
    return _joined(trunk, branch, points=rows)


def _mesh(rows: Floats, columns: Floats) -> Edges:
    """The same paths, with a router at the end of every link."""
    return _tree(rows, columns, routers=1)


def _systolic(rows: Floats, columns: Floats) -> Edges:
    """Every row has a port one pitch before its first PE; words go from neighbour to neighbour."""
    column = _steps(columns, 0)
    links = {
        "count": np.where(column < columns, rows, 0.0),
        "along_x": np.ones_like(rows),
        "rows": np.ones_like(rows),
        "columns": np.maximum(columns - column, 0),
    }
    return _joined(links, points=rows)


def _bus(rows: Floats, columns: Floats) -> Edges:
    """A bus along the rows' heads, and one along each row: what is driven is driven over its whole length."""
    ones = np.ones_like(rows)
    heads = {"count": ones, "along_y": rows, "rows": rows, "columns": columns}
    each = {"count": rows, "along_x": columns, "rows": ones, "columns": columns}
    return _joined(heads, each, points=rows)


def _point_to_point(rows: Floats, columns: Floats) -> Edges:
    """A wire of its own from the port to every PE, along the shortest right-angled path."""
    ones = np.ones_like(rows)
    wires = {
        "count": rows * columns,
        "along_y": (rows + 1) / 2,
        "along_x": (columns - 1) / 2,
        "rows": ones,
        "columns": ones,
    }
    return _joined(wires, points=rows)


def _h_tree(rows: Floats, columns: Floats) -> Edges:
    """From a port half a pitch beside the array to its middle, then to the middles of halves, columns split first."""
    across, down = np.log2(columns), np.log2(rows)
    if np.any(across != np.floor(across)) or np.any(down != np.floor(down)):
        raise SpecError("an h-tree halves its array: rows and columns must be powers of two; round up, or take a tree")
    ones = np.ones_like(rows)
    root = {"count": ones, "along_x": (columns + 1) / 2, "rows": rows, "columns": columns}
    level = _steps(np.maximum(across, down), 0)
    above = np.minimum(level, down)  # halvings of the rows before this one of the columns
    split = {
        "count": np.where(level < across, 2 ** (level + 1 + above), 0.0),
        "along_x": columns / 2 ** (level + 2),
        "rows": rows / 2**above,
        "columns": np.maximum(columns / 2 ** (level + 1), 1),
    }
    before = np.minimum(level + 1, across)
    halve = {
        "count": np.where(level < down, 2 ** (level + 1 + before), 0.0),
        "along_y": rows / 2 ** (level + 2),
        "rows": np.maximum(rows / 2 ** (level + 1), 1),
        "columns": columns / 2**before,
    }
    return _joined(root, split, halve, points=rows)


NETWORKS: Mapping[str, Callable[[Floats, Floats], Edges]] = {
    "point-to-point": _point_to_point,
    "bus": _bus,
    "tree": _tree,
    "systolic": _systolic,
    "mesh": _mesh,
    "h-tree": _h_tree,
}
"""From the port to the PEs."""
