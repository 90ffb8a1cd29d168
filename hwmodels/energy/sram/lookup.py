"""From a capacity and a word to what CACTI computes: the candidates of the table, interpolated, and the best of them.

All points of one call share a device type, node, port set and number of banks: `macro.sram` splits a batch so.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.cells import (
    ACCESS,
    HEIGHT,
    LEAKAGE,
    LEAST_ROWS,
    READ,
    WIDTH,
    WRITE,
    Cells,
    collect_cells,
)  # fmt: skip
from hwmodels.energy.sram.routing import route
from hwmodels.energy.sram.stored import NODES, OBJECTIVES, QUANTITIES, Objective, block

__all__ = ["LARGEST_BANK", "WIDEST", "Between", "Kind", "Looked", "choose", "look_up", "look_up_one"]

Floats = NDArray[np.float64]

WIDEST = 128
"""Widest word of a macro in the table [B]; wider ones are macros side by side."""
LARGEST_BANK = 2**27
"""Largest bank in the table [B]."""
AT_ONCE = 4
"""Candidates that are compared at once: most intervals have no more, few have up to 20."""


class Kind(NamedTuple):
    """What all points of a call share; `node_nm` may lie between nodes of the table."""

    device: str
    node_nm: float
    ports: tuple[int, int, int]
    banks: int
    objective: str


class Looked(NamedTuple):
    """What was found: `values` of shape (n_points, quantities), and the organisation's place in the table."""

    values: Floats
    organisation: NDArray[np.int64]


class Between(NamedTuple):
    """Where points lie between the sides: shares of the way from the lower one, 0 to 1.

    Attributes:
        widths: Sides at a node: 1 or 2.
        power: Along the width, in logs: one number, or shape (n_points, 1).
        line: Along the width, linear: likewise.
        node_power: Along the node, in logs.
        node_line: Along the node, linear.
    """

    widths: int
    power: float | Floats
    line: float | Floats
    node_power: float
    node_line: float


def blend(found: Sequence[Floats], what: int, between: Between) -> Floats:
    """Interpolate between the sides: energies along the width as a power, nodes as a power, all else on a line.

    Wires grow with the words that they carry, so that energies grow faster than the word. CACTI's leakage is linear
    between nodes.
    """
    if between.widths == 2:
        pairs = zip(found[::2], found[1::2], strict=True)
        if what in (READ, WRITE):
            found = [low * (high / low) ** between.power for low, high in pairs]
        else:
            found = [low + (high - low) * between.line for low, high in pairs]
    if len(found) == 1:
        return found[0]
    low, high = found
    if what == LEAKAGE:
        return low + (high - low) * between.node_line
    return np.asarray(low * (high / low) ** between.node_power)


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
    if on_grid.all():
        return _look_up(kind, False, slot, width, depth, Between(1, 0.0, 0.0, *_node_shares(kind.node_nm)))
    values, organisation = np.empty((len(width), len(QUANTITIES))), np.empty(len(width), dtype=np.int64)
    for mine, pairs in ((on_grid, False), (~on_grid, True)):
        if mine.any():
            power, line = (np.log2(width / low)[mine, None], (width / low - 1)[mine, None]) if pairs else (0.0, 0.0)
            between = Between(1 + pairs, power, line, *_node_shares(kind.node_nm))
            values[mine], organisation[mine] = _look_up(kind, pairs, slot[mine], width[mine], depth[mine], between)
    return Looked(values, organisation)


def _look_up(kind: Kind, pairs: bool, slot: NDArray[np.intp], width: Floats, depth: Floats, between: Between) -> Looked:
    cells = _cells(kind._replace(banks=min(kind.banks, 2)), pairs)
    if kind.banks > 1:
        return _banked(kind, cells, cells.intervals(slot, depth), width, depth, between)
    return choose(cells, slot, depth, between, OBJECTIVES[kind.objective])


def choose(cells: Cells, slot: NDArray[np.intp], depth: Floats, between: Between, objective: Objective) -> Looked:
    """Choose a candidate for every bank, and give its quantities.

    Args:
        cells: The candidates.
        slot: Of each point in `cells`, shape (n_points,).
        depth: Words of each, shape (n_points,).
        between: Where the points lie between the sides of `cells`.
        objective: What to choose for.
    """
    at = cells.intervals(slot, depth)
    best, share = _best(cells, at, depth, between, objective)
    low, rise = cells.start[:, at, best], cells.slope[:, at, best]
    if len(low) > 1:
        low, rise = _mixed(low[:, :, None], rise[:, :, None], between)
    else:
        low, rise = low[0], rise[0]
    return Looked(low + rise * share[:, None], cells.organisation[at, best])


def _mixed(start: Floats, slope: Floats, between: Between) -> tuple[Floats, Floats]:
    """Interpolate all quantities at both ends of intervals between the sides.

    Args:
        start: Shape (sides, n_points, 1, quantities).
        slope: Likewise.
        between: Where the points lie.

    Returns:
        Start and slope, shape (n_points, quantities).
    """
    every = range(start.shape[-1])
    low = [blend(list(start[..., what]), what, between) for what in every]
    high = [blend(list(start[..., what] + slope[..., what]), what, between) for what in every]
    first = np.concatenate(low, axis=1)
    return first, np.concatenate(high, axis=1) - first


def _best(
    cells: Cells, at: NDArray[np.intp], depth: Floats, between: Between, objective: Objective
) -> tuple[NDArray[np.intp], Floats]:
    """Choose among the candidates of each point's interval, a few at once: its place, and its share of the interval."""
    best, reached = np.zeros(len(at), dtype=np.intp), np.zeros(len(at))
    least = np.full(len(at), np.inf)
    mine: slice | NDArray[np.intp] = slice(None)
    for first in range(0, cells.step.shape[1], AT_ONCE):
        some = slice(first, first + AT_ONCE)
        here = at[mine]
        share, few = _shares(cells, here, depth[mine], some)
        cost = _cost(cells, here, some, share, _of(between, mine), objective)
        cost[few] = np.inf
        place = cost.argmin(axis=1)
        rows = np.arange(len(here))
        lower = cost[rows, place] < least[mine]
        target = np.flatnonzero(lower) if isinstance(mine, slice) else mine[lower]
        least[target], best[target] = cost[rows, place][lower], place[lower] + first
        reached[target] = share[rows, place][lower]
        more = np.flatnonzero(cells.count[at] > first + AT_ONCE)
        if not len(more):
            break
        mine = more
    return best, reached


def _of(between: Between, mine: slice | NDArray[np.intp]) -> Between:
    if isinstance(between.power, np.ndarray) and isinstance(between.line, np.ndarray):
        return between._replace(power=between.power[mine], line=between.line[mine])
    return between


def _shares(cells: Cells, at: NDArray[np.intp], depth: Floats, some: slice) -> tuple[Floats, NDArray[np.bool_]]:
    """Give how far along its interval each candidate's whole rows reach, and whether they are too few."""
    low = cells.low[at][:, None]
    step = cells.step[at, some]
    share = np.ceil(depth[:, None] / step)
    few = share < LEAST_ROWS
    share *= step
    share -= low
    share /= cells.high[at][:, None] - low
    return share, few


def _values(cells: Cells, at: NDArray[np.intp], some: slice, share: Floats, what: int, between: Between) -> Floats:
    """Give a quantity of some candidates. Shape (n_points, k)."""
    if len(cells.start) == 1:
        ((low, rise),) = cells.columns[what]
        values = rise[at, some]
        values *= share
        values += low[at, some]
        return values
    starts = [low[at, some] for low, _ in cells.columns[what]]
    ends = [start + rise[at, some] for start, (_, rise) in zip(starts, cells.columns[what], strict=True)]
    first, last = blend(starts, what, between), blend(ends, what, between)
    last = last - first
    last *= share
    last += first
    return last


def _cost(
    cells: Cells, at: NDArray[np.intp], some: slice, share: Floats, between: Between, objective: Objective
) -> Floats:
    """Give what the objective minimises. Shape (n_points, k)."""
    cost: Floats | None = None
    for what, power in _factors(objective):
        values = _values(cells, at, some, share, what, between)
        for _ in range(power):
            cost = values.copy() if cost is None else cost.__imul__(values)
    assert cost is not None
    return cost


def _factors(objective: Objective) -> list[tuple[int, int]]:
    powers = ((READ, objective.energy), (ACCESS, objective.delay), (HEIGHT, objective.area), (WIDTH, objective.area))
    return [(what, power) for what, power in powers if power]


def _banked(kind: Kind, cells: Cells, at: NDArray[np.intp], width: Floats, depth: Floats, between: Between) -> Looked:
    """Choose with the wires between banks added to every candidate; leakage is that of one bank and all wires."""
    every = slice(0, cells.step.shape[1])
    share, few = _shares(cells, at, depth, every)
    values = np.stack([_values(cells, at, every, share, what, between) for what in range(len(QUANTITIES))], axis=-1)
    read_write, read, write = kind.ports
    address = np.ceil(np.log2(depth))[:, None] * (read_write + read + write)
    word = 8 * width[:, None] * (2 * read_write + read + write) / 2
    wires = route(kind.device, kind.node_nm, kind.banks, values[..., HEIGHT], values[..., WIDTH], address, word)
    values[..., READ] += wires.energy_j
    values[..., WRITE] += wires.energy_j
    values[..., LEAKAGE] += wires.leakage_w
    values[..., ACCESS] += wires.delay_s
    values[..., HEIGHT], values[..., WIDTH] = wires.height_mm, wires.width_mm
    cost = np.ones_like(few, dtype=np.float64)
    for what, power in _factors(OBJECTIVES[kind.objective]):
        cost *= values[..., what] ** power
    cost[few] = np.inf
    best = cost.argmin(axis=1)
    return Looked(values[np.arange(len(at)), best], cells.organisation[at, best])


class Line(NamedTuple):
    """Candidates of one width and node for single points: those of interval i are `candidates[i]`.

    A candidate is its organisation, its step, and start and slope by quantity.
    """

    edges: list[float]
    candidates: list[list[tuple[int, float, list[tuple[float, float]]]]]


def look_up_one(kind: Kind, width: float, depth: float) -> tuple[int, list[float]]:
    """Give the organisation and the quantities of a single bank: the same as `look_up`, in a tenth of the time."""
    edges, candidates = _line(kind, width)
    at = min(max(bisect_right(edges, depth) - 1, 0), len(edges) - 2)
    low = edges[at]
    scale = edges[at + 1] - low
    objective = OBJECTIVES[kind.objective]
    x, y, z = objective.energy, objective.delay, objective.area
    least, best, reached = math.inf, candidates[at][0], 0.0
    for candidate in candidates[at]:
        _, step, values = candidate
        lines = math.ceil(depth / step)
        if lines < LEAST_ROWS:
            continue
        share = (lines * step - low) / scale
        read, rise = values[READ]
        access, lengthening = values[ACCESS]
        cost = (read + rise * share) ** x * (access + lengthening * share) ** y
        if z:
            cost *= (values[HEIGHT][0] + values[HEIGHT][1] * share) * (values[WIDTH][0] + values[WIDTH][1] * share)
        if cost < least:
            least, best, reached = cost, candidate, share
    return best[0], [start + slope * reached for start, slope in best[2]]


@lru_cache(maxsize=1024)
def _line(kind: Kind, width: float) -> Line:
    """Collect the candidates of a width and node, interpolated between the sides where they lie between them."""
    slot = math.frexp(width)[1] - 1
    low = 2.0**slot
    pairs = low != width
    cells = _cells(kind, pairs)
    shares = (math.log2(width / low), width / low - 1) if pairs else (0.0, 0.0)
    mine = slice(int(cells.first[slot]), int(cells.first[slot + 1]))
    start, slope = cells.start[:, mine], cells.slope[:, mine]
    if len(start) > 1:
        between = Between(1 + pairs, *shares, *_node_shares(kind.node_nm))
        flat = (len(start), -1, 1, start.shape[-1])
        mixed = _mixed(start.reshape(flat), slope.reshape(flat), between)
        first, rise = (part.reshape(start.shape[1:]) for part in mixed)
    else:
        first, rise = start[0], slope[0]
    values = np.stack([first, rise], axis=-1).tolist()
    steps, organisations = cells.step[mine].tolist(), cells.organisation[mine].tolist()
    candidates = [
        [
            (organisations[at][place], steps[at][place], [(start, slope) for start, slope in values[at][place]])
            for place in range(count)
        ]
        for at, count in enumerate(cells.count[mine].tolist())
    ]
    return Line(list(cells.edges[slot]), candidates)
