"""From a capacity and a word to what CACTI computes: the candidates of the table, interpolated, and the best of them.

All points of one call share a device type, node, port set and number of banks: `macro.sram` splits a batch so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.between import Between
from hwmodels.energy.sram.cells import ACCESS, HEIGHT, LEAKAGE, READ, WIDTH, WRITE, Cells, collect_cells
from hwmodels.energy.sram.choosing import Looked, Wires, choose
from hwmodels.energy.sram.picking import Table, join, pick
from hwmodels.energy.sram.routing import Banks, route
from hwmodels.energy.sram.stored import NODES, OBJECTIVES, QUANTITIES, block
from hwmodels.energy.sram.winners import Winners, find_winners
from hwmodels.energy.sram.words import Word, cells_of

__all__ = ["LARGEST_BANK", "WIDEST", "Kind", "look_up", "winners_of"]

Floats = NDArray[np.float64]

WIDEST = 128
"""Widest word of a macro in the table [B]; wider ones are macros side by side."""
LARGEST_BANK = 2**27
"""Largest bank in the table [B]."""
POINTS_A_WIDTH = 4
"""Points of a batch for each of its words from which on it pays to find what may win for these words (8 ms each, once).
"""
FEW_WIDTHS = 16
"""Words of a batch up to which it has a table of its own; else large ones share that of all whole words."""


class Kind(NamedTuple):
    """What all points of a call share; `node_nm` may lie between nodes of the table."""

    device: str
    node_nm: float
    ports: tuple[int, int, int]
    banks: int
    objective: str


@lru_cache(maxsize=256)
def _cells(kind: Kind, pairs: bool) -> Cells:
    """Give the candidates at the widths of the table, or between neighbouring ones."""
    blocks = [block(kind.device, node, kind.ports) for node in _nodes_around(kind.node_nm)]
    widths = blocks[0].widths
    slots: list[tuple[int, ...]] = list(pairwise(widths)) if pairs else [(width,) for width in widths]
    return collect_cells(blocks, slots, OBJECTIVES[kind.objective], banked=kind.banks > 1)


def _nodes_around(node_nm: float) -> tuple[float, ...]:
    """Give the nodes of the table on both sides of a node [nm]; one where it is in the table."""
    if node_nm in NODES:
        return (node_nm,)
    above = next(place for place, node in enumerate(NODES) if node > node_nm)
    return NODES[above - 1 : above + 1]


@lru_cache(maxsize=64)
def _node_shares(node_nm: float) -> tuple[float, float]:
    low, high = _nodes_around(node_nm)[0], _nodes_around(node_nm)[-1]
    if low == high:
        return 0.0, 0.0
    return math.log(node_nm / low) / math.log(high / low), (node_nm - low) / (high - low)


def look_up(kind: Kind, width: Floats, depth: Floats) -> Looked:
    """Choose an organisation for every point and give what CACTI computes for it.

    Args:
        kind: Device type, node, ports, banks, objective.
        width: Words, 1 to `WIDEST`, shape (n_points,) [B].
        depth: Words of a bank, at least 32, shape (n_points,).
    """
    whole = np.floor(width) == width
    words = width.astype(np.intp)
    widths = np.flatnonzero(np.bincount(words if whole.all() else words[whole], minlength=1)).tolist()
    if not widths or len(width) < POINTS_A_WIDTH * len(widths):
        return _judge_all(kind, width, depth)
    if len(width) >= POINTS_A_WIDTH * WIDEST and len(widths) > FEW_WIDTHS:
        widths = list(range(1, WIDEST + 1))
    table = _table(kind, tuple(widths))
    if whole.all():
        return pick(table, words, depth)
    return _joined(
        whole,
        lambda mine: pick(table, words[mine], depth[mine]) if whole[mine[0]]
        else _judge_all(kind, width[mine], depth[mine]),
    )  # fmt: skip


def _joined(one_kind: NDArray[np.bool_], look: Callable[[NDArray[np.intp]], Looked]) -> Looked:
    """Look two kinds of points up apart."""
    values, organisation = np.empty((len(one_kind), len(QUANTITIES))), np.empty(len(one_kind), dtype=np.int64)
    for mine in (np.flatnonzero(one_kind), np.flatnonzero(~one_kind)):
        if len(mine):
            values[mine], organisation[mine] = look(mine)
    return Looked(values, organisation)


def _judge_all(kind: Kind, width: Floats, depth: Floats) -> Looked:
    """Look a few points up, of any width: judge all candidates of each."""
    low = np.exp2(np.floor(np.log2(width)))
    on_grid = low == width
    shares = _node_shares(kind.node_nm)

    def look(mine: NDArray[np.intp]) -> Looked:
        pairs = bool(low[mine[0]] != width[mine[0]])
        slot, part = np.log2(low[mine]).astype(np.intp), width[mine] / low[mine]
        between = Between(2, np.log2(part), part - 1, *shares) if pairs else Between(1, 0.0, 0.0, *shares)
        wires = _wires(kind, width[mine], depth[mine]) if kind.banks > 1 else None
        cells = _cells(_table_kind(kind), pairs)
        return choose(cells, slot, depth[mine], between, OBJECTIVES[kind.objective], wires)

    return _joined(on_grid, look)


def _table_kind(kind: Kind) -> Kind:
    """Leave out what the candidates do not depend on: how many banks there are, as soon as there are several."""
    return kind._replace(banks=min(kind.banks, 2))


@lru_cache(maxsize=1024)
def _word(kind: Kind, width: float) -> Word:
    objective = OBJECTIVES[kind.objective] if kind.banks == 1 else None
    return cells_of(_cells(kind, math.frexp(width)[0] != 0.5), width, _node_shares(kind.node_nm), objective)


@lru_cache(maxsize=4096)
def winners_of(kind: Kind, width: float) -> Winners:
    """Find the candidates of a word of 1 to `WIDEST` [B] that may be the best."""
    read_write, read, write = kind.ports
    words = (2 * read_write + read + write) / 2
    banks = Banks(kind.device, kind.node_nm, kind.banks, sum(kind.ports), words) if kind.banks > 1 else None
    return find_winners(_word(_table_kind(kind), width), width, LARGEST_BANK, OBJECTIVES[kind.objective], banks)


@lru_cache(maxsize=64)
def _table(kind: Kind, widths: tuple[int, ...]) -> Table:
    return join({width: winners_of(kind, float(width)) for width in widths})


def _wires(kind: Kind, width: Floats, depth: Floats) -> Wires:
    """Say how the wires between banks are added; leakage is that of one bank and all wires."""
    read_write, read, write = kind.ports
    address = np.ceil(np.log2(depth)) * (read_write + read + write)
    word = 8 * width * (2 * read_write + read + write) / 2

    def add(values: Floats, mine: NDArray[np.intp]) -> Floats:
        height, across = values[:, HEIGHT], values[:, WIDTH]
        wires = route(kind.device, kind.node_nm, kind.banks, height, across, address.take(mine), word.take(mine))
        added = values.copy()
        added[:, READ] += wires.energy_j
        added[:, WRITE] += wires.energy_j
        added[:, LEAKAGE] += wires.leakage_w
        added[:, ACCESS] += wires.delay_s
        added[:, HEIGHT], added[:, WIDTH] = wires.height_mm, wires.width_mm
        return added

    return add
