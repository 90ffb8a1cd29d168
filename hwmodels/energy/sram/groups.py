"""Points that share everything but capacity, word and temperature: from the table to all numbers of a macro.

Values stand in the order of `exact.PRINTED`: read, write, leakage (of all banks), area, access, cycle, height, width,
array efficiency; and before that, inside, in the order of `stored.QUANTITIES`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.cells import HEIGHT, READ, WIDTH, WRITE
from hwmodels.energy.sram.exact import printed_rows, rows_of
from hwmodels.energy.sram.lookup import LARGEST_BANK, WIDEST, Kind, look_up
from hwmodels.energy.sram.ports import cell_mm2, in_table, look_banks_up
from hwmodels.energy.sram.quality import Quality
from hwmodels.energy.sram.registers import full_depth, single_register_shares
from hwmodels.energy.sram.stored import DEVICES, NODES, PORTS, stored
from hwmodels.energy.sram.temperature import is_printed, leakage_factor
from hwmodels.energy.technology import scaling

__all__ = ["Group", "evaluate_group", "node_factors", "register_shares"]

Floats = NDArray[np.float64]


class Group(NamedTuple):
    """What all points of a call share."""

    device: str
    node_nm: float
    ports: tuple[int, int, int]
    banks: int
    objective: str
    law: str | None

    @property
    def native_nm(self) -> float:
        """The nearest node of CACTI's range [nm]."""
        return min(max(self.node_nm, NODES[0]), NODES[-1])

    @property
    def kind(self) -> Kind:
        """What the table is asked for."""
        return Kind(self.device, self.native_nm, self.ports, self.banks, self.objective)


class Found(NamedTuple):
    """Values (n_points, 9) in the order of `exact.PRINTED`, organisations (n_points, 6), quality (n_points,)."""

    values: Floats
    organisation: NDArray[np.int64]
    quality: NDArray[np.int8]


def evaluate_group(group: Group, size: Floats, width: Floats, kelvin: Floats) -> Found:
    """Give all numbers of macros that differ in capacity, word and temperature alone.

    Args:
        group: What they share.
        size: Capacities of all banks, shape (n_points,) [B].
        width: Words, shape (n_points,) [B].
        kelvin: Temperatures, shape (n_points,) [K].
    """
    narrow = np.maximum(width / np.maximum(np.ceil(width / WIDEST), 1.0), 1.0)
    share = width / narrow
    found = _native(group, size / share, narrow)
    values, quality = found.values, found.quality
    values[:, 2] *= group.banks * leakage_factor(group.device, group.native_nm, kelvin)
    if np.any(share != 1.0):
        values[:, [0, 1, 2, 3, 7]] *= share[:, None]
        quality = np.where(share != 1.0, np.maximum(quality, np.int8(Quality.EXTRAPOLATED)), quality)
    if group.native_nm != group.node_nm:
        values *= node_factors(group)
        quality = np.where(quality == Quality.REGISTERS, quality, np.int8(Quality.SCALED))
    return Found(values, found.organisation, quality)


def _native(group: Group, size: Floats, width: Floats) -> Found:
    """The same at a node of CACTI's range, for words of 1 to 128 B, leakage of one bank at 350 K."""
    if group.objective != "ed2":
        return _computed(group, size, width)
    rows = rows_of(group.device, group.native_nm, group.ports, group.banks, width, size)
    printed, organisations = printed_rows()
    known = rows >= 0
    # a leakage that is replaced is not what CACTI printed
    exact = Quality.EXACT if is_printed(group.device, group.native_nm) else Quality.INTERPOLATED
    if known.all():
        return Found(printed[rows], organisations[rows], np.full(len(size), exact, dtype=np.int8))
    found = _computed(group, size, width)
    at = np.flatnonzero(known)
    found.values[at], found.organisation[at] = printed[rows[at]], organisations[rows[at]]
    found.quality[at] = exact
    return found


def _computed(group: Group, size: Floats, width: Floats) -> Found:
    """The same where CACTI printed nothing."""
    depth = size / (width * group.banks)
    looked = look_banks_up(group.kind, width, np.clip(depth, full_depth(width), LARGEST_BANK / width))
    values = looked.values
    quality = _ordinary_quality(group, width)
    folds = stored()["orgs"].astype(np.int64)[looked.organisation]
    deep = depth * width > LARGEST_BANK
    if deep.any():
        values[deep] = _deeper(group, values[deep], width[deep], depth[deep])
        quality[deep] = Quality.EXTRAPOLATED
    shallow = depth < full_depth(width)
    if shallow.any():
        values[shallow] = _shallower(values[shallow], width[shallow], depth[shallow])
        quality[shallow], folds[shallow] = Quality.REGISTERS, 0
    return Found(_with_area(group, values, size), folds, quality)


def _ordinary_quality(group: Group, width: Floats) -> NDArray[np.int8]:
    if not in_table(group.device, group.ports):
        return np.full(len(width), Quality.OTHER_PORTS, dtype=np.int8)
    if group.native_nm not in NODES:
        return np.full(len(width), Quality.BETWEEN_NODES, dtype=np.int8)
    on_grid = np.exp2(np.floor(np.log2(width))) == width
    return np.where(on_grid, Quality.INTERPOLATED, Quality.BETWEEN_WIDTHS).astype(np.int8)


def _deeper(group: Group, values: Floats, width: Floats, depth: Floats) -> Floats:
    """Continue the last octave of the table as a power of the depth."""
    last = LARGEST_BANK / width
    half = look_banks_up(group.kind, width, last / 2).values
    power = np.maximum(np.log2(values / half), 0.0)
    return np.asarray(values * (depth / last)[:, None] ** power)


def _shallower(values: Floats, width: Floats, depth: Floats) -> Floats:
    """Go down a line from the smallest SRAM to a single register."""
    single = register_shares(width)
    along = ((np.maximum(depth, 1.0) - 1) / (full_depth(width) - 1))[:, None]
    factors = single + (1 - single) * along
    area = single[:, [HEIGHT, WIDTH]] ** 2
    factors[:, [HEIGHT, WIDTH]] = np.sqrt(area + (1 - area) * along)
    return np.asarray(values * factors)


def register_shares(width: Floats) -> Floats:
    """Give a single register's share of the smallest SRAM of its width, by quantity of the table.

    Args:
        width: Words, shape (n_points,) [B].
    """
    reference = Kind(DEVICES[0], 45.0, PORTS[0], 1, "ed2")
    base = look_up(reference, width, full_depth(width)).values
    shares = single_register_shares(8 * width, base[:, READ], base[:, WRITE], base[:, HEIGHT] * base[:, WIDTH])
    side, time = np.sqrt(shares.area), np.full(len(width), shares.time)
    return np.stack([shares.read, shares.write, shares.leakage, time, time, side, side], axis=1)


def _with_area(group: Group, values: Floats, size: Floats) -> Floats:
    area = values[:, HEIGHT] * values[:, WIDTH]
    cells = 8 * size * cell_mm2(group.native_nm, sum(group.ports))
    read, write, leakage, access, cycle, height, width = values.T
    return np.stack([read, write, leakage, area, access, cycle, height, width, np.minimum(cells / area, 1.0)], axis=1)


def node_factors(group: Group) -> Floats:
    """Factors from the nearest node of CACTI's to the one asked for, in the order of `exact.PRINTED`."""
    start, end = group.native_nm, group.node_nm
    energy = float(np.asarray(scaling("sram energy", start, end, law=group.law).value))
    area = float(np.asarray(scaling("sram area", start, end).value))
    leakage = float(np.asarray(scaling("logic leakage", start, end).value))
    time = float(np.asarray(scaling("logic delay", start, end).value))
    side = math.sqrt(area)
    return np.array([energy, energy, leakage, area, time, time, side, side, 1.0])
