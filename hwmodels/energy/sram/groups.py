"""Points that share everything but capacity, word and temperature: from the table to all numbers of a macro.

Values stand in the order of `exact.PRINTED`: read, write, leakage (of all banks), area, access, cycle, height, width,
array efficiency; and before that, inside, in the order of `stored.QUANTITIES`.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.cells import HEIGHT, LEAKAGE, READ, WIDTH, WRITE
from hwmodels.energy.sram.checks import check_names, check_numbers
from hwmodels.energy.sram.exact import printed_rows, row_numbers, rows_of
from hwmodels.energy.sram.lookup import LARGEST_BANK, WIDEST, Kind, Looked, look_up, look_up_one
from hwmodels.energy.sram.ports import EXCLUSIVE_LEAKAGE, cell_mm2, more_ports
from hwmodels.energy.sram.quality import Quality
from hwmodels.energy.sram.registers import FULL_DEPTH, single_register_shares
from hwmodels.energy.sram.stored import DEVICES, NODES, OBJECTIVES, PORTS, stored
from hwmodels.energy.sram.temperature import COLDEST_K, HOTTEST_K, leakage_factor
from hwmodels.energy.technology import scaling

__all__ = ["Group", "evaluate_group", "evaluate_one"]

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
        values *= _node_factors(group)
        quality = np.full(len(size), Quality.SCALED, dtype=np.int8)
    return Found(values, found.organisation, quality)


def _native(group: Group, size: Floats, width: Floats) -> Found:
    """The same at a node of CACTI's range, for words of 1 to 128 B, leakage of one bank at 350 K."""
    depth = size / (width * group.banks)
    looked = _bank(group.kind, width, np.clip(depth, FULL_DEPTH, LARGEST_BANK / width))
    values = looked.values
    quality = _ordinary_quality(group, width)
    folds = stored()["orgs"].astype(np.int64)[looked.organisation]
    deep = depth * width > LARGEST_BANK
    if deep.any():
        values[deep] = _deeper(group, values[deep], width[deep], depth[deep])
        quality[deep] = Quality.EXTRAPOLATED
    shallow = depth < FULL_DEPTH
    if shallow.any():
        values[shallow] = _shallower(values[shallow], width[shallow], depth[shallow])
        quality[shallow], folds[shallow] = Quality.REGISTERS, 0
    all_values = _with_area(group, values, size)
    if group.objective == "ed2":
        rows = rows_of(group.device, group.native_nm, group.ports, group.banks, width, size)
        known = np.flatnonzero(rows >= 0)
        printed, organisations = printed_rows()
        all_values[known], folds[known] = printed[rows[known]], organisations[rows[known]]
        quality[known] = Quality.EXACT
    return Found(all_values, folds, quality)


def _ordinary_quality(group: Group, width: Floats) -> NDArray[np.int8]:
    if not _in_table(group.device, group.ports):
        return np.full(len(width), Quality.OTHER_PORTS, dtype=np.int8)
    if group.native_nm not in NODES:
        return np.full(len(width), Quality.BETWEEN_NODES, dtype=np.int8)
    on_grid = np.exp2(np.floor(np.log2(width))) == width
    return np.where(on_grid, Quality.INTERPOLATED, Quality.BETWEEN_WIDTHS).astype(np.int8)


def _in_table(device: str, ports: tuple[int, int, int]) -> bool:
    return ports == PORTS[0] or (device == DEVICES[0] and ports in PORTS)


def _bank(kind: Kind, width: Floats, depth: Floats) -> Looked:
    """Look banks of a port set up, or derive them from those of one and two ports."""
    if _in_table(kind.device, kind.ports):
        return look_up(kind, width, depth)
    one = look_up(kind._replace(ports=PORTS[0]), width, depth)
    single = look_up(kind._replace(device=DEVICES[0], ports=PORTS[0]), width, depth)
    pair = kind.ports if kind.ports == PORTS[1] else PORTS[2]
    double = look_up(kind._replace(device=DEVICES[0], ports=pair), width, depth)
    step = double.values / single.values
    # two ports may take another shape: what grows by the port is the side of a square of the same area
    step[:, [HEIGHT, WIDTH]] = np.sqrt(step[:, HEIGHT] * step[:, WIDTH])[:, None]
    ratio = more_ports(np.ones_like(step), step, sum(kind.ports))
    if kind.ports[1] + kind.ports[2] and kind.ports != PORTS[1]:
        ratio[:, LEAKAGE] *= EXCLUSIVE_LEAKAGE
    return Looked(one.values * ratio, one.organisation)


def _deeper(group: Group, values: Floats, width: Floats, depth: Floats) -> Floats:
    """Continue the last octave of the table as a power of the depth."""
    last = LARGEST_BANK / width
    half = _bank(group.kind, width, last / 2).values
    power = np.maximum(np.log2(values / half), 0.0)
    return np.asarray(values * (depth / last)[:, None] ** power)


def _shallower(values: Floats, width: Floats, depth: Floats) -> Floats:
    """Go down a line from the SRAM of 32 words to a single register."""
    reference = Kind(DEVICES[0], 45.0, PORTS[0], 1, "ed2")
    base = look_up(reference, width, np.full(len(width), float(FULL_DEPTH))).values
    shares = single_register_shares(8 * width, base[:, READ], base[:, WRITE], base[:, HEIGHT] * base[:, WIDTH])
    side = np.sqrt(shares.area)
    time = np.full(len(width), shares.time)
    single = np.stack([shares.read, shares.write, shares.leakage, time, time, side, side], axis=1)
    along = (np.maximum(depth, 1.0)[:, None] - 1) / (FULL_DEPTH - 1)
    factors = single + (1 - single) * along
    factors[:, [HEIGHT, WIDTH]] = np.sqrt(shares.area[:, None] + (1 - shares.area[:, None]) * along)
    return np.asarray(values * factors)


def _with_area(group: Group, values: Floats, size: Floats) -> Floats:
    area = values[:, HEIGHT] * values[:, WIDTH]
    cells = 8 * size * cell_mm2(group.native_nm, sum(group.ports))
    read, write, leakage, access, cycle, height, width = values.T
    return np.stack([read, write, leakage, area, access, cycle, height, width, np.minimum(cells / area, 1.0)], axis=1)


def _node_factors(group: Group) -> Floats:
    """Factors from the nearest node of CACTI's to the one asked for, in the order of `exact.PRINTED`."""
    start, end = group.native_nm, group.node_nm
    energy = float(np.asarray(scaling("sram energy", start, end, law=group.law).value))
    area = float(np.asarray(scaling("sram area", start, end).value))
    leakage = float(np.asarray(scaling("logic leakage", start, end).value))
    time = float(np.asarray(scaling("logic delay", start, end).value))
    side = math.sqrt(area)
    return np.array([energy, energy, leakage, area, time, time, side, side, 1.0])


def evaluate_one(
    size: float, width: float, node: float, device: str, ports: tuple[int, int, int], banks: float, kelvin: float,
    objective: str, law: str | None,
) -> tuple[list[float], tuple[int, ...], Quality]:  # fmt: skip
    """Give all numbers of one macro: the same as in a batch, faster where it is a plain one.

    Raises:
        SpecError: See `macro.sram`.
    """
    plain = COLDEST_K <= kelvin <= HOTTEST_K and device in DEVICES and law is None
    number = row_numbers().get((device, node, ports, banks, size, width)) if plain and objective == "ed2" else None
    if number is not None:
        values, organisation = _printed_lists()[number]
        return _warmed(values, banks, device, node, kelvin), organisation, Quality.EXACT
    plain = plain and banks == 1 and objective in OBJECTIVES and _in_table(device, ports)
    inside = 1 <= width <= WIDEST and FULL_DEPTH * width <= size <= LARGEST_BANK and NODES[0] <= node <= NODES[-1]
    if plain and inside:
        return _plain(size, width, node, device, ports, kelvin, objective)
    check_names(device, ports, objective)
    given: list[Any] = [np.atleast_1d(value) for value in (size, width, node, banks, kelvin)]
    sizes, widths, nodes, counts, kelvins = check_numbers(given, law)
    group = Group(device, float(nodes[0]), ports, int(counts[0]), objective, law)
    found = evaluate_group(group, sizes, widths, kelvins)
    return found.values[0].tolist(), tuple(found.organisation[0].tolist()), Quality(int(found.quality[0]))


def _plain(
    size: float, width: float, node: float, device: str, ports: tuple[int, int, int], kelvin: float, objective: str
) -> tuple[list[float], tuple[int, ...], Quality]:
    kind = Kind(device, node, ports, 1, objective)
    which, found = look_up_one(kind, width, size / width)
    read, write, leakage, access, cycle, height, across = found
    area = height * across
    efficiency = min(8 * size * cell_mm2(node, sum(ports)) / area, 1.0)
    values = [read, write, leakage, area, access, cycle, height, across, efficiency]
    quality = Quality.INTERPOLATED if math.frexp(width)[0] == 0.5 else Quality.BETWEEN_WIDTHS
    if node not in NODES:
        quality = Quality.BETWEEN_NODES
    return _warmed(values, 1, device, node, kelvin), _folds()[which], quality


def _warmed(values: list[float], banks: float, device: str, node: float, kelvin: float) -> list[float]:
    warmed = values.copy()
    warmed[2] *= banks * float(leakage_factor(device, node, kelvin))
    return warmed


@cache
def _folds() -> list[tuple[int, ...]]:
    return [tuple(row) for row in stored()["orgs"].tolist()]


@cache
def _printed_lists() -> list[tuple[list[float], tuple[int, ...]]]:
    values, organisations = printed_rows()
    return [(row, tuple(fold)) for row, fold in zip(values.tolist(), organisations.tolist(), strict=True)]
