"""Port sets that the table does not hold: from the ratio of two ports to one.

Every port adds a word line and a pair of bit lines to each cell, so that the cell, and all wires over it, grow by the
same length with each. CACTI's macros of three ports (one of each kind, 484 of itrs-hp) confirm the line: read energy
within 6 % in half of them and 20 % in nine of ten, area within 8 %. Two ports of which one reads are as the table's
read-only and write-only port (8 macros of a read-write and a write-only port: energies
within 8 %, area within 11 %); two that read as its two
read-write ports.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.cells import HEIGHT, LEAKAGE, WIDTH
from hwmodels.energy.sram.choosing import Looked
from hwmodels.energy.sram.lines import Candidate, best_of, choose_one, line_of, piece_of
from hwmodels.energy.sram.lookup import Kind, look_up
from hwmodels.energy.sram.stored import DEVICES, PORTS, QUANTITIES

__all__ = ["bank_of", "cell_mm2", "in_table", "look_banks_up"]

Floats = NDArray[np.float64]

CELL_F2 = {1: 146.0, 2: 294.0}
"""Bit cell of one and two ports, in squares of the feature size: array efficiency x area / bits of the table's rows."""

READ_ONLY_LEAKAGE = 1.085
"""Leakage of a read-only port and a read-write port against two read-write ports: median of 484 macros, CACTI 7."""


def cell_mm2(node_nm: float, ports: int) -> float:
    """Give the area of a bit cell [mm2].

    Example:
        >>> round(cell_mm2(45.0, 1) * 1e6, 3)
        0.296
    """
    wider = math.sqrt(CELL_F2[2] / CELL_F2[1]) - 1
    return CELL_F2[1] * (1 + wider * (ports - 1)) ** 2 * (node_nm * 1e-6) ** 2


def in_table(device: str, ports: tuple[int, int, int]) -> bool:
    """Say whether the table holds a device type with a port set."""
    return ports == PORTS[0] or (device == DEVICES[0] and ports in PORTS)


LEAST_RATIO = 0.2
"""However many ports: no quantity falls below this share of what it is with one."""


class Likes(NamedTuple):
    """What a port set is derived from.

    Attributes:
        one: The device type with one port.
        single: itrs-hp with one port.
        double: itrs-hp with two.
        steps: Ports beyond the first.
        before: What the ratio of two ports' leakage to one's is divided by.
        after: What that of all ports is multiplied by.
    """

    one: Kind
    single: Kind
    double: Kind
    steps: int
    before: float
    after: float


@lru_cache(maxsize=256)
def _likes(kind: Kind) -> Likes:
    pair = PORTS[1] if kind.ports[0] + kind.ports[1] == 1 else PORTS[2]
    single = kind._replace(device=DEVICES[0], ports=PORTS[0])
    before = READ_ONLY_LEAKAGE if pair == PORTS[1] else 1.0
    after = READ_ONLY_LEAKAGE if kind.ports[1] else 1.0
    one, double = kind._replace(ports=PORTS[0]), single._replace(ports=pair)
    return Likes(one, single, double, sum(kind.ports) - 1, before, after)


def look_banks_up(kind: Kind, width: Floats, depth: Floats) -> Looked:
    """Look banks up, or derive them from those of one and two ports.

    Two ports may take another shape, so what grows by the port is the side of a square of the same area.

    Args:
        kind: Device type, node, any port set, banks, objective.
        width: Words, 1 to 128, shape (n_points,) [B].
        depth: Words of a bank, at least 32, shape (n_points,).
    """
    if in_table(kind.device, kind.ports):
        return look_up(kind, width, depth)
    likes = _likes(kind)
    one = look_up(likes.one, width, depth)
    single = one if likes.single == likes.one else look_up(likes.single, width, depth)
    step = look_up(likes.double, width, depth).values / single.values
    step[:, HEIGHT] = step[:, WIDTH] = np.sqrt(step[:, HEIGHT] * step[:, WIDTH])
    step[:, LEAKAGE] /= likes.before
    ratio = np.maximum(1 + (step - 1) * likes.steps, LEAST_RATIO)
    ratio[:, LEAKAGE] *= likes.after
    return Looked(one.values * ratio, one.organisation)


def bank_of(kind: Kind) -> Callable[[Kind, float, float], tuple[int, list[float]]]:
    """Give what looks a bank of a kind up by kind, word [B] and depth: its place in the table, and its quantities."""
    return choose_one if in_table(kind.device, kind.ports) else _derive_one


def _derive_one(kind: Kind, width: float, depth: float) -> tuple[int, list[float]]:
    begins, pieces, fewer, after = _pieces_of(kind, width)
    ones, singles, doubles = pieces[piece_of(begins, depth)]
    step, which, constant, linear, _ = ones[0] if len(ones) == 1 else best_of(ones, depth)
    rows = -(-depth // step)
    step, _, base, rise, _ = singles[0] if len(singles) == 1 else best_of(singles, depth)
    low = -(-depth // step)
    step, _, two, growth, _ = doubles[0] if len(doubles) == 1 else best_of(doubles, depth)
    high = -(-depth // step)
    values = [
        (start + slope * rows)
        * (ratio if (ratio := (end + more * high) / (first + up * low) - fewer) > LEAST_RATIO else LEAST_RATIO)
        for start, slope, first, up, end, more in zip(constant, linear, base, rise, two, growth)  # noqa: B905
    ]
    values[LEAKAGE] *= after
    area = (base[HEIGHT] + rise[HEIGHT] * low) * (base[WIDTH] + rise[WIDTH] * low)
    larger = (two[HEIGHT] + growth[HEIGHT] * high) * (two[WIDTH] + growth[WIDTH] * high)
    side = max(math.sqrt(larger / area) - fewer, LEAST_RATIO)
    values[HEIGHT] = (constant[HEIGHT] + linear[HEIGHT] * rows) * side
    values[WIDTH] = (constant[WIDTH] + linear[WIDTH] * rows) * side
    return which, values


class Pieces(NamedTuple):
    """What a port set is derived from, for single banks of one width.

    Attributes:
        begins: Number of the first half octave.
        candidates: Those of one port, of itrs-hp with one port, and of itrs-hp with two times `Likes.steps`.
        fewer: Ports beyond the second.
        after: As in `Likes`.
    """

    begins: int
    candidates: list[tuple[tuple[Candidate, ...], tuple[Candidate, ...], tuple[Candidate, ...]]]
    fewer: int
    after: float


@lru_cache(maxsize=1024)
def _pieces_of(kind: Kind, width: float) -> Pieces:
    likes = _likes(kind)
    one, single, double = (line_of(each, width) for each in likes[:3])
    if not one.begins == single.begins == double.begins:
        raise AssertionError(f"{kind}: the table's port sets begin at other depths")  # they share one grid
    factors = [float(likes.steps)] * len(QUANTITIES)
    factors[LEAKAGE] /= likes.before
    scaled = {each: _scaled(each, factors) for piece in double.pieces for each in piece}
    doubles = [tuple(scaled[each] for each in piece) for piece in double.pieces]
    return Pieces(one.begins, list(zip(one.pieces, single.pieces, doubles, strict=True)), likes.steps - 1, likes.after)


def _scaled(candidate: Candidate, factors: list[float]) -> Candidate:
    step, which, constant, linear, judged = candidate
    start, slope = (
        tuple(value * factor for value, factor in zip(values, factors, strict=True)) for values in (constant, linear)
    )
    return step, which, start, slope, judged
