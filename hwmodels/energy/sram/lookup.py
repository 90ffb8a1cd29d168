"""From a capacity and a word to what CACTI computes: the candidates of the table, interpolated, and the best of them.

All points of one call share a device type, node, port set and number of banks: `macro.sram` splits a batch so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.between import Between, mix
from hwmodels.energy.sram.cells import ACCESS, HEIGHT, LEAKAGE, READ, WIDTH, WRITE, Cells, collect_cells, is_beaten
from hwmodels.energy.sram.choosing import Looked, Wires, choose
from hwmodels.energy.sram.routing import route
from hwmodels.energy.sram.stored import NODES, OBJECTIVES, QUANTITIES, Objective, block
from hwmodels.energy.sram.words import whole_words

__all__ = ["LARGEST_BANK", "WIDEST", "Candidate", "Kind", "Line", "line_of", "look_up"]

Floats = NDArray[np.float64]

WIDEST = 128
"""Widest word of a macro in the table [B]; wider ones are macros side by side."""
LARGEST_BANK = 2**27
"""Largest bank in the table [B]."""
LARGE_BATCH = 1000
"""Points from which on it pays to interpolate every width once (0.3 s) rather than every point."""


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
    slot = np.floor(np.log2(width)).astype(np.intp)
    low = np.exp2(slot)
    on_grid = low == width
    wires = _wires(kind, width, depth) if kind.banks > 1 else None
    objective, shares = OBJECTIVES[kind.objective], _node_shares(kind.node_nm)
    if on_grid.all() and kind.node_nm in NODES:
        return choose(_cells(_table_kind(kind), False), slot, depth, Between(1, 0.0, 0.0, *shares), objective, wires)
    if len(width) >= LARGE_BATCH and np.all(np.floor(width) == width):
        words = _whole_words(_table_kind(kind))
        return choose(words, width.astype(np.intp) - 1, depth, Between(1, 0.0, 0.0, 0.0, 0.0), objective, wires)
    values, organisation = np.empty((len(width), len(QUANTITIES))), np.empty(len(width), dtype=np.int64)
    for mine, pairs in ((on_grid, False), (~on_grid, True)):
        if mine.any():
            power, line = (np.log2(width / low)[mine], (width / low - 1)[mine]) if pairs else (0.0, 0.0)
            some = _wires(kind, width[mine], depth[mine]) if kind.banks > 1 else None
            cells, between = _cells(_table_kind(kind), pairs), Between(1 + pairs, power, line, *shares)
            values[mine], organisation[mine] = choose(cells, slot[mine], depth[mine], between, objective, some)
    return Looked(values, organisation)


def _table_kind(kind: Kind) -> Kind:
    """Leave out what the candidates do not depend on: how many banks there are, as soon as there are several."""
    return kind._replace(banks=min(kind.banks, 2))


@lru_cache(maxsize=64)
def _whole_words(kind: Kind) -> Cells:
    objective = OBJECTIVES[kind.objective] if kind.banks == 1 else None
    return whole_words(_cells(kind, False), _cells(kind, True), WIDEST, _node_shares(kind.node_nm), objective)


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


Candidate = tuple[float, float, float, float, float, int, list[tuple[float, float]]]
"""Step; start and slope of the read energy, then of the access time; organisation; start and slope by quantity."""


class Line(NamedTuple):
    """Candidates of one width and node for single points: those of interval i are `candidates[i]`."""

    edges: list[float]
    candidates: list[list[Candidate]]


@lru_cache(maxsize=1024)
def line_of(kind: Kind, width: float) -> Line:
    """Collect the candidates of a width and node, interpolated between the sides where they lie between them."""
    slot = math.frexp(width)[1] - 1
    low = 2.0**slot
    pairs = low != width
    cells = _cells(_table_kind(kind), pairs)
    shares = (math.log2(width / low), width / low - 1) if pairs else (0.0, 0.0)
    mine = slice(int(cells.first[slot]), int(cells.first[slot + 1]))
    start, slope = cells.start[:, mine], cells.slope[:, mine]
    between = Between(1 + pairs, *shares, *_node_shares(kind.node_nm))
    flat = (len(start), -1, start.shape[-1])
    mixed = mix(start.reshape(flat), slope.reshape(flat), between)
    first, rise = (part.reshape(start.shape[1:]) for part in mixed)
    kept = [
        _kept(first[at, :count], rise[at, :count], cells.step[mine][at, :count], OBJECTIVES[kind.objective])
        if 0 < at < len(first) - 1 and kind.banks == 1
        else range(count)
        for at, count in enumerate(cells.count[mine].tolist())
    ]
    values = np.stack([first, rise], axis=-1).tolist()
    steps, organisations = cells.step[mine].tolist(), cells.organisation[mine].tolist()
    candidates: list[list[Candidate]] = [
        [
            (
                steps[at][place], *values[at][place][READ], *values[at][place][ACCESS], organisations[at][place],
                [(low, rise) for low, rise in values[at][place]],
            )
            for place in places
        ]
        for at, places in enumerate(kept)
    ]  # fmt: skip
    return Line(list(cells.edges[slot]), candidates)


def _kept(first: Floats, rise: Floats, step: Floats, objective: Objective) -> Sequence[int]:
    """Leave those candidates out that others beat here, at one width between two."""
    beaten = is_beaten(np.stack([first, first + rise], axis=1), step, objective)
    return [int(place) for place in np.flatnonzero(~beaten)]
