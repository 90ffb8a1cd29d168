"""Between the points of the table: organisations that are near the best at both ends of an interval.

For one organisation (how the words are folded into sub-arrays) everything that CACTI computes is smooth: with rows =
depth / (ndbl x nspd), rounded up, and columns = bits x nspd / ndwl, energies and areas grow by the row and by the
column. CACTI's curves jump because it picks another organisation. So each organisation is interpolated on its own, and
the best one is picked again at every point, by CACTI's own objective.

Source: Muralimanohar, Balasubramonian, Jouppi, CACTI 6.0, HP Labs HPL-2009-85, 2009, section 3 (organisations).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.stored import BANKED, QUANTITIES, Block, Objective, stored

__all__ = [
    "ACCESS",
    "HEIGHT",
    "LEAKAGE",
    "LEAST_ROWS",
    "READ",
    "WIDTH",
    "WRITE",
    "Cells",
    "collect_cells",
    "grid_number",
    "is_beaten",
]

Floats = NDArray[np.float64]

READ, WRITE, LEAKAGE, ACCESS, HEIGHT, WIDTH = (
    QUANTITIES.index(name) for name in ("read_j", "write_j", "leakage_w", "access_s", "height_mm", "width_mm")
)

PADDING = 1e6
"""Worse than any candidate in every quantity."""
ENDLESS = 1e30
"""Rows of so many words are always too few."""
CLEARLY = 0.998
"""Of two candidates, the cost of the better one over the other's, from which on they do not change places inside an
interval: 0.99 and 0.9 leave the errors of tests/golden/reference/energy/cacti_random.csv as they are, too."""
LEAST_ROWS = 16
"""CACTI takes no sub-array of fewer rows."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Candidates of all intervals of the depth, slot by slot.

    A slot is a width of the table, or two neighbouring ones; a side is one width at one node: 1, 2 or 4 of them, those
    of the smaller node first.

    Attributes:
        edges: Depths that bound the intervals of every slot, ascending.
        low: Lower edge of each interval, all slots one after the other, shape (n,).
        high: Upper edge, shape (n,).
        first: Interval that each slot begins with, and the number of all, shape (slots + 1,).
        count: Candidates of each interval, shape (n,).
        step: Words by which a candidate's depth grows: ndbl x nspd, shape (n, k); endless where padded.
        start: Values at the lower end, shape (sides, n, k, quantities); `PADDING` where padded.
        slope: Values at the upper end minus those at the lower.
        organisation: Index of each candidate in the table, shape (n, k); -1: padded.
    """

    edges: tuple[tuple[float, ...], ...]
    low: Floats
    high: Floats
    first: NDArray[np.intp]
    count: NDArray[np.intp]
    step: Floats
    start: Floats
    slope: Floats
    organisation: NDArray[np.int64]

    @cached_property
    def begins(self) -> NDArray[np.intp]:
        """Number on the grid of the lowest edge of each slot."""
        return grid_number(np.array([edges[0] for edges in self.edges]))

    def intervals(self, slot: NDArray[np.intp], depth: Floats) -> NDArray[np.intp]:
        """Give the interval that each depth lies in; the nearest one beyond the ends. Shape (n_points,)."""
        first = self.first[slot]
        at = first + (grid_number(depth) - self.begins[slot])
        return np.minimum(np.maximum(at, first, out=at), self.first[slot + 1] - 1, out=at)

    @cached_property
    def steps(self) -> Floats:
        """`step` candidate by candidate, contiguous, shape (k, n)."""
        return np.ascontiguousarray(self.step.T)

    @cached_property
    def columns(self) -> list[list[tuple[Floats, Floats]]]:
        """Start and slope by quantity and side, candidate by candidate, contiguous, each of shape (k, n)."""
        sides = list(zip(self.start, self.slope, strict=True))
        return [
            [(np.ascontiguousarray(low[..., what].T), np.ascontiguousarray(rise[..., what].T)) for low, rise in sides]
            for what in range(len(QUANTITIES))
        ]


def grid_depths(first: int, last: int) -> list[int]:
    """Give the depths of the table's grid: powers of two, and one and a half times those.

    Example:
        >>> grid_depths(32, 128)
        [32, 48, 64, 96, 128]
    """
    powers = range(max(first.bit_length() - 2, 1), last.bit_length())
    depths = [depth for power in powers for depth in (1 << power, 3 << (power - 1))]
    return [depth for depth in depths if first <= depth <= last]


def grid_number(depth: Floats) -> NDArray[np.intp]:
    """Number the depths of the grid; between two of them the lower one's."""
    mantissa, exponent = np.frexp(depth)
    return np.asarray(2 * exponent.astype(np.intp) + (mantissa >= 0.75))


def collect_cells(
    found: Sequence[Block], slots: Sequence[Sequence[int]], objective: Objective, *, banked: bool = False
) -> Cells:
    """Collect the candidates of one or two nodes' blocks, at every width of the table or between neighbours.

    Args:
        found: Blocks, that of the smaller node first.
        slots: One or two widths each [B].
        objective: What organisations are chosen for.
        banked: Wires between banks will be added: take all candidates that could be best then.
    """
    edges: list[tuple[float, ...]] = []
    kept: list[list[tuple[int, Floats]]] = []
    for widths in slots:
        sides = [(block, width) for block in found for width in widths]
        first = max(block.depths[width][0] for block, width in sides)
        last = min(block.depths[width][-1] for block, width in sides)
        depths = grid_depths(first, last)
        edges.append(tuple(map(float, depths)))
        kept += [_candidates(sides, depths, at, objective, banked) for at in range(len(depths) - 1)]
    size = max(len(rows) for rows in kept)
    shape = (len(found) * len(slots[0]), len(kept), size, len(QUANTITIES))
    start, slope = np.full(shape, PADDING), np.zeros(shape)
    step, organisation = np.full(shape[1:3], ENDLESS), np.full(shape[1:3], -1)
    folds = stored()["orgs"]
    for at, rows in enumerate(kept):
        for place, (which, ends) in enumerate(rows):
            step[at, place] = float(folds[which][1]) * float(folds[which][2])
            organisation[at, place] = which
            start[:, at, place] = ends[:, 0]
            slope[:, at, place] = ends[:, 1] - ends[:, 0]
    low, high = np.array([pair for depths in edges for pair in pairwise(depths)]).T
    begins = np.cumsum([0, *[len(depths) - 1 for depths in edges]])
    count = np.array([len(rows) for rows in kept])
    return Cells(tuple(edges), low, high, begins, count, step, start, slope, organisation)


def _candidates(
    sides: Sequence[tuple[Block, int]], depths: list[int], at: int, objective: Objective, banked: bool
) -> list[tuple[int, Floats]]:
    """List the organisations that are near the best around an interval, with their values at its ends on every side."""
    ends = (depths[at], depths[at + 1])
    around = depths[max(at - 3, 0) : at + 5]
    points = [block.points.get((width, depth), {}) for block, width in sides for depth in around]
    wanted = objective.bit | (BANKED if banked else 0)
    near = {which for point in points for which, (bits, _) in point.items() if bits & wanted}
    curves = [block.curves[width] for block, width in sides]
    rows = _reaching(near, curves, ends) or _reaching({which for point in points for which in point}, curves, ends)
    at_an_end = at == 0 or at == len(depths) - 2  # what lies beyond is continued from here
    if at_an_end or len(rows) < 2:
        return rows
    return _unbeaten(rows, None if banked else objective)


def _reaching(
    wanted: set[int], curves: list[Mapping[int, Mapping[int, Floats]]], ends: tuple[int, int]
) -> list[tuple[int, Floats]]:
    """Give those organisations that the table holds around an interval on every side, with their values at its ends."""
    rows = []
    for which in sorted(wanted):
        known = [curve.get(which, {}) for curve in curves]
        if all(ends[0] in side and ends[1] in side for side in known):
            rows.append((which, np.array([[side[ends[0]], side[ends[1]]] for side in known])))
            continue
        near = [{depth: side[depth] for depth in side if ends[0] / 4 < depth < 4 * ends[1]} for side in known]
        if all(len(side) > 1 for side in near):
            values = np.array([[_value_at(side, end) for end in ends] for side in near])
            if np.all(values > 0):  # a line may be continued below zero
                rows.append((which, values))
    return rows


def _value_at(known: Mapping[int, Floats], depth: int) -> Floats:
    """Give an organisation's values at a depth: the table's, or by those at the nearest depths that it has.

    One is missing where its sub-arrays have too few rows, or where it is far from the best. With two on both sides: a
    cubic in the logarithm of the depth; else a line.
    """
    if depth in known:
        return known[depth]
    below = [other for other in known if other < depth][-2:]
    above = [other for other in known if other > depth][:2]
    if len(below) == len(above) == 2:
        near = [*below, *above]
        at = [math.log2(other / depth) for other in near]
        weights = [math.prod(-other / (mine - other) for other in at if other != mine) for mine in at]
        return np.asarray(sum(weight * known[other] for weight, other in zip(weights, near, strict=True)))
    low, high = (below[-1], above[0]) if below and above else (above or below)
    return known[low] + (known[high] - known[low]) * ((depth - low) / (high - low))


def _unbeaten(rows: list[tuple[int, Floats]], objective: Objective | None) -> list[tuple[int, Floats]]:
    folds = stored()["orgs"][[which for which, _ in rows]].astype(np.int64)
    values = np.array([ends for _, ends in rows])
    beaten = is_beaten(values.reshape(len(rows), -1, len(QUANTITIES)), folds[:, 1] * folds[:, 2], objective)
    return [row for row, out in zip(rows, beaten.tolist(), strict=True) if not out]


def is_beaten(values: Floats, step: NDArray[Any], objective: Objective | None) -> NDArray[np.bool_]:
    """Say which candidates another one with rows as fine beats at every corner, by `CLEARLY`.

    Args:
        values: Shape (..., candidates, corners, quantities).
        step: Words by which each grows, shape (..., candidates).
        objective: In what; None: in read energy, access time, height and width alike, whatever wires are added.

    Returns:
        Shape (..., candidates).
    """
    if objective is None:
        asked = values[..., [READ, ACCESS, HEIGHT, WIDTH]].reshape(*values.shape[:-2], -1)
    else:
        area = values[..., HEIGHT] * values[..., WIDTH]
        asked = values[..., READ] ** objective.energy * values[..., ACCESS] ** objective.delay * area**objective.area
    better = (asked[..., :, None, :] <= CLEARLY * asked[..., None, :, :]).all(axis=-1)
    better &= step[..., :, None] <= step[..., None, :]
    return np.asarray(better.any(axis=-2))
