"""One memory at a time: the same numbers as in a batch, in a tenth to a hundredth of the time."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from hwmodels.energy.sram.cells import ACCESS, HEIGHT, LEAKAGE, LEAST_ROWS, READ, WIDTH, WRITE
from hwmodels.energy.sram.checks import LARGEST_BYTES, MOST_BANKS, check_names, check_numbers
from hwmodels.energy.sram.exact import printed_rows, row_numbers
from hwmodels.energy.sram.groups import Group, evaluate_group, in_table, node_factors, register_shares
from hwmodels.energy.sram.lookup import LARGEST_BANK, WIDEST, Candidate, Kind, line_of
from hwmodels.energy.sram.ports import cell_mm2
from hwmodels.energy.sram.quality import Quality
from hwmodels.energy.sram.registers import LEAST_BYTES, LEAST_WORDS
from hwmodels.energy.sram.routing import route_one
from hwmodels.energy.sram.stored import DEVICES, NODES, OBJECTIVES, Objective, stored
from hwmodels.energy.sram.temperature import COLDEST_K, HOTTEST_K, is_printed, leakage_factor
from hwmodels.energy.technology import LAWS
from hwmodels.energy.technology.factors import NODES_NM

__all__ = ["evaluate_one"]

BANK_COUNTS = tuple(1 << power for power in range(MOST_BANKS.bit_length()))

Numbers = tuple[list[float], tuple[int, ...], Quality]
"""Values in the order of `exact.PRINTED`, organisation, quality."""


class Setting(NamedTuple):
    """What memories share that differ in capacity alone.

    Attributes:
        kind: What the table is asked for.
        width: Word of a macro [B].
        share: The word asked for over that of a macro: macros side by side, or less than one.
        printed: Values and organisation of the rows that CACTI printed, by capacity [B].
        address_ports: Ports whose addresses are routed to the banks.
        word_bits: Of the words of all ports that are.
        cells_mm2: Area of the bit cells of a byte [mm2].
        warmth: Factor on the leakage of a bank at 350 K, for all banks at the temperature.
        node: Factors from CACTI's nearest node, in the order of `exact.PRINTED`; none inside its range.
        objective: What organisations are chosen for.
        quality: Of what is not printed.
        exact: Of what is.
    """

    kind: Kind
    width: float
    share: float
    printed: Mapping[float, tuple[list[float], tuple[int, ...]]]
    address_ports: int
    word_bits: float
    cells_mm2: float
    warmth: float
    node: tuple[float, ...]
    objective: Objective
    quality: Quality
    exact: Quality


def evaluate_one(
    size: float, width: float, node: float, device: str, ports: tuple[int, int, int], banks: float, kelvin: float,
    objective: str, law: str | None,
) -> Numbers:  # fmt: skip
    """Give all numbers of one memory.

    Raises:
        SpecError: See `macro.sram`.
    """
    known = law is None or isinstance(law, str)
    setting = _setting(width, node, device, ports, banks, kelvin, objective, law) if known else None
    if setting is not None and 0 < size <= LARGEST_BYTES:
        inner = size / setting.share
        row = setting.printed.get(inner)
        if row is not None:
            values, organisation = row
            numbers = [*values[:2], values[2] * setting.warmth, *values[3:]]
            return _finished(setting, numbers, organisation, setting.exact)
        bank = inner / setting.kind.banks
        if max(LEAST_WORDS * setting.width, LEAST_BYTES) <= bank <= LARGEST_BANK:
            which, values = _choose(setting, bank / setting.width)
            return _finished(setting, _with_area(setting, values, inner), _folds()[which], setting.quality)
        if setting.width <= bank <= LARGEST_BANK:
            values = _registers(setting, bank / setting.width)
            return _finished(setting, _with_area(setting, values, inner), (0,) * 6, Quality.REGISTERS)
    check_names(device, ports, objective)
    given: list[Any] = [np.atleast_1d(value) for value in (size, width, node, banks, kelvin)]
    sizes, widths, nodes, counts, kelvins = check_numbers(given, law)
    group = Group(device, float(nodes[0]), ports, int(counts[0]), objective, law)
    found = evaluate_group(group, sizes, widths, kelvins)
    return found.values[0].tolist(), tuple(found.organisation[0].tolist()), Quality(int(found.quality[0]))


def _choose(setting: Setting, depth: float) -> tuple[int, list[float]]:
    """Choose an organisation: what `choosing.choose` does for arrays. Gives it, and the quantities of the table."""
    edges, candidates = line_of(setting.kind, setting.width)
    at = min(max(bisect_right(edges, depth) - 1, 0), len(edges) - 2)
    low = edges[at]
    scale = edges[at + 1] - low
    if setting.kind.banks > 1:
        return _choose_banked(setting, depth, candidates[at], low, scale)
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
    return best[5], [start + slope * reached for start, slope in best[6]]


def _choose_banked(
    setting: Setting, depth: float, candidates: list[Candidate], low: float, scale: float
) -> tuple[int, list[float]]:
    """The same with the wires between banks added to every candidate."""
    _, x, y, z = setting.objective
    address = math.ceil(math.log2(depth)) * setting.address_ports
    least, best = math.inf, (candidates[0][5], [start for start, _ in candidates[0][6]])
    for step, *_, which, lines_of in candidates:
        lines = math.ceil(depth / step)
        if lines < LEAST_ROWS:
            continue
        share = (lines * step - low) / scale
        values = [start + slope * share for start, slope in lines_of]
        device, node, _, banks, _ = setting.kind
        energy, delay, leakage, height, across = route_one(
            device, node, banks, values[HEIGHT], values[WIDTH], address, setting.word_bits
        )
        values[READ] += energy
        values[WRITE] += energy
        values[LEAKAGE] += leakage
        values[ACCESS] += delay
        values[HEIGHT], values[WIDTH] = height, across
        cost = values[READ] ** x * values[ACCESS] ** y * (height * across) ** z
        if cost < least:
            least, best = cost, (which, values)
    return best


def _registers(setting: Setting, depth: float) -> list[float]:
    """Go down a line from the smallest SRAM to a single register."""
    full, values, single = _join(setting)
    along = (depth - 1) / (full - 1)
    factors = [share + (1 - share) * along for share in single]
    factors[HEIGHT], factors[WIDTH] = math.sqrt(factors[HEIGHT]), math.sqrt(factors[WIDTH])
    return [value * factor for value, factor in zip(values, factors, strict=True)]


def _join(setting: Setting) -> tuple[float, list[float], list[float]]:
    """Give the words of the smallest SRAM, its quantities, and a register's shares of them; for sides, of the area."""
    full = max(float(LEAST_WORDS), LEAST_BYTES / setting.width)
    _, values = _choose(setting, full)
    return full, values, _register_shares(setting.width)


@lru_cache(maxsize=1024)
def _register_shares(width: float) -> list[float]:
    shares = register_shares(np.array([width]))[0].tolist()
    shares[HEIGHT] **= 2
    shares[WIDTH] **= 2
    return [float(share) for share in shares]


def _with_area(setting: Setting, values: list[float], size: float) -> list[float]:
    read, write, leakage, access, cycle, height, across = values
    area = height * across
    efficiency = min(setting.cells_mm2 * size / area, 1.0)
    return [read, write, leakage * setting.warmth, area, access, cycle, height, across, efficiency]


def _finished(setting: Setting, values: list[float], organisation: tuple[int, ...], quality: Quality) -> Numbers:
    """Put macros side by side and the node on values in the order of `exact.PRINTED`."""
    share = setting.share
    if share == 1.0 and not setting.node:
        return values, organisation, quality
    read, write, leakage, area, access, cycle, height, across, efficiency = values
    numbers = [
        read * share, write * share, leakage * share, area * share, access, cycle, height,
        across * share, efficiency,
    ]  # fmt: skip
    if share != 1.0:
        quality = max(quality, Quality.EXTRAPOLATED)
    if setting.node:
        numbers = [value * factor for value, factor in zip(numbers, setting.node, strict=True)]
        quality = quality if quality is Quality.REGISTERS else Quality.SCALED
    return numbers, organisation, quality


@lru_cache(maxsize=4096)
def _setting(
    width: float, node: float, device: str, ports: tuple[int, int, int], banks: float, kelvin: float, objective: str,
    law: str | None,
) -> Setting | None:  # fmt: skip
    """Prepare a word, node, port set, number of banks and temperature; None where it is derived, or none at all."""
    plain = device in DEVICES and objective in OBJECTIVES and in_table(device, ports) and banks in BANK_COUNTS
    inside = NODES[0] <= node <= NODES[-1] or (law in LAWS["sram energy"] and NODES_NM[1] <= node <= NODES_NM[0])
    if not (plain and inside and 0 < width < math.inf and COLDEST_K <= kelvin <= HOTTEST_K):
        return None
    if law is not None and law not in LAWS["sram energy"]:
        return None
    group = Group(device, float(node), ports, int(banks), objective, law)
    narrow = max(width / max(math.ceil(width / WIDEST), 1), 1.0)
    native = group.native_nm
    quality = Quality.INTERPOLATED if math.frexp(narrow)[0] == 0.5 else Quality.BETWEEN_WIDTHS
    read_write, read, write = ports
    return Setting(
        kind=group.kind,
        width=narrow,
        share=width / narrow,
        printed=_printed().get((device, native, ports, int(banks), narrow), {}) if objective == "ed2" else {},
        address_ports=sum(ports),
        word_bits=8 * narrow * (2 * read_write + read + write) / 2,
        cells_mm2=8 * cell_mm2(native, sum(ports)),
        warmth=int(banks) * float(leakage_factor(device, native, kelvin)),
        node=() if native == node else tuple(node_factors(group).tolist()),
        objective=OBJECTIVES[objective],
        quality=quality if native in NODES else Quality.BETWEEN_NODES,
        exact=Quality.EXACT if is_printed(device, native) else Quality.INTERPOLATED,
    )


@cache
def _folds() -> list[tuple[int, ...]]:
    return [tuple(row) for row in stored()["orgs"].tolist()]


@cache
def _printed() -> Mapping[tuple[str, float, tuple[int, int, int], float, float], Mapping[float, Any]]:
    """Rows that CACTI printed, by device, node, ports, banks and width, and by capacity."""
    values, organisations = (array.tolist() for array in printed_rows())
    found: dict[tuple[str, float, tuple[int, int, int], float, float], dict[float, Any]] = {}
    for (device, node, ports, banks, size, width), number in row_numbers().items():
        row = (values[number], tuple(organisations[number]))
        found.setdefault((device, node, ports, banks, width), {})[size] = row
    return found
