"""One memory at a time: the same numbers as in a batch, in a tenth of the time where it is a plain one."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from hwmodels.energy.sram.cells import HEIGHT, LEAST_ROWS, WIDTH
from hwmodels.energy.sram.checks import check_names, check_numbers
from hwmodels.energy.sram.exact import printed_rows, row_numbers
from hwmodels.energy.sram.groups import Group, evaluate_group, in_table
from hwmodels.energy.sram.lookup import LARGEST_BANK, WIDEST, Kind, line_of
from hwmodels.energy.sram.ports import cell_mm2
from hwmodels.energy.sram.quality import Quality
from hwmodels.energy.sram.registers import LEAST_BYTES, LEAST_WORDS
from hwmodels.energy.sram.stored import DEVICES, NODES, OBJECTIVES, Objective, stored
from hwmodels.energy.sram.temperature import COLDEST_K, HOTTEST_K, leakage_factor

__all__ = ["evaluate_one"]

Numbers = tuple[list[float], tuple[int, ...], Quality]
"""Values in the order of `exact.PRINTED`, organisation, quality."""


class Setting(NamedTuple):
    """What plain memories of one bank share that differ in capacity alone.

    Attributes:
        kind: What the table is asked for.
        width: Word [B].
        least: Smallest capacity that is an SRAM [B].
        printed: Values and organisation of the rows that CACTI printed, by capacity [B].
        cells_mm2: Area of the bit cells of a byte [mm2].
        warmth: Factor on the leakage at 350 K.
        objective: What organisations are chosen for.
        quality: Of what is not printed.
    """

    kind: Kind
    width: float
    least: float
    printed: Mapping[float, tuple[list[float], tuple[int, ...]]]
    cells_mm2: float
    warmth: float
    objective: Objective
    quality: Quality


def evaluate_one(
    size: float, width: float, node: float, device: str, ports: tuple[int, int, int], banks: float, kelvin: float,
    objective: str, law: str | None,
) -> Numbers:  # fmt: skip
    """Give all numbers of one memory.

    Raises:
        SpecError: See `macro.sram`.
    """
    if banks == 1 and law is None:
        setting = _setting(width, node, device, ports, kelvin, objective)
        if setting is not None:
            row = setting.printed.get(size)
            if row is not None:
                values, organisation = row
                return [*values[:2], values[2] * setting.warmth, *values[3:]], organisation, Quality.EXACT
            if setting.least <= size <= LARGEST_BANK:
                return _plain(setting, size)
    check_names(device, ports, objective)
    given: list[Any] = [np.atleast_1d(value) for value in (size, width, node, banks, kelvin)]
    sizes, widths, nodes, counts, kelvins = check_numbers(given, law)
    group = Group(device, float(nodes[0]), ports, int(counts[0]), objective, law)
    found = evaluate_group(group, sizes, widths, kelvins)
    return found.values[0].tolist(), tuple(found.organisation[0].tolist()), Quality(int(found.quality[0]))


def _plain(setting: Setting, size: float) -> Numbers:
    """Choose an organisation for one bank: what `lookup.choose` does for arrays of them."""
    edges, candidates = line_of(setting.kind, setting.width)
    depth = size / setting.width
    at = min(max(bisect_right(edges, depth) - 1, 0), len(edges) - 2)
    low = edges[at]
    scale = edges[at + 1] - low
    _, x, y, z = setting.objective
    least, best, reached = math.inf, candidates[at][0], 0.0
    for candidate in candidates[at]:
        step, read, rise, access, lengthening, _, values = candidate
        lines = math.ceil(depth / step)
        if lines < LEAST_ROWS:
            continue
        share = (lines * step - low) / scale
        cost = (read + rise * share) ** x * (access + lengthening * share) ** y
        if z:
            cost *= (values[HEIGHT][0] + values[HEIGHT][1] * share) * (values[WIDTH][0] + values[WIDTH][1] * share)
        if cost < least:
            least, best, reached = cost, candidate, share
    read, write, leakage, access, cycle, height, across = [start + slope * reached for start, slope in best[6]]
    area = height * across
    efficiency = min(setting.cells_mm2 * size / area, 1.0)
    leakage *= setting.warmth
    return [read, write, leakage, area, access, cycle, height, across, efficiency], _folds()[best[5]], setting.quality


@lru_cache(maxsize=4096)
def _setting(
    width: float, node: float, device: str, ports: tuple[int, int, int], kelvin: float, objective: str
) -> Setting | None:
    """Prepare a word, node, port set and temperature; None where it is no plain one, or none at all."""
    plain = device in DEVICES and objective in OBJECTIVES and in_table(device, ports)
    inside = 1 <= width <= WIDEST and NODES[0] <= node <= NODES[-1] and COLDEST_K <= kelvin <= HOTTEST_K
    if not (plain and inside):
        return None
    quality = Quality.INTERPOLATED if math.frexp(width)[0] == 0.5 else Quality.BETWEEN_WIDTHS
    return Setting(
        Kind(device, float(node), ports, 1, objective),
        float(width),
        max(LEAST_WORDS * width, LEAST_BYTES),
        _printed().get((device, node, ports, width), {}) if objective == "ed2" else {},
        8 * cell_mm2(node, sum(ports)),
        float(leakage_factor(device, node, kelvin)),
        OBJECTIVES[objective],
        quality if node in NODES else Quality.BETWEEN_NODES,
    )


@cache
def _folds() -> list[tuple[int, ...]]:
    return [tuple(row) for row in stored()["orgs"].tolist()]


@cache
def _printed() -> Mapping[tuple[str, float, tuple[int, int, int], float], Mapping[float, Any]]:
    """Rows of one bank that CACTI printed, by device, node, ports and width, and by capacity."""
    values, organisations = (array.tolist() for array in printed_rows())
    found: dict[tuple[str, float, tuple[int, int, int], float], dict[float, Any]] = {}
    for (device, node, ports, banks, size, width), number in row_numbers().items():
        if banks == 1:
            row = (values[number], tuple(organisations[number]))
            found.setdefault((device, node, ports, width), {})[size] = row
    return found
