"""One memory at a time: the same numbers as in a batch, in a tenth to a hundredth of the time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from hwmodels.energy.sram.cells import HEIGHT, WIDTH
from hwmodels.energy.sram.checks import LARGEST_BYTES, MOST_BANKS, MOST_PORTS, check_names, check_numbers
from hwmodels.energy.sram.exact import printed_rows, row_numbers
from hwmodels.energy.sram.groups import Group, evaluate_group, node_factors, register_shares
from hwmodels.energy.sram.lookup import LARGEST_BANK, WIDEST, Kind
from hwmodels.energy.sram.ports import cell_mm2, in_table, look_bank_up
from hwmodels.energy.sram.quality import Quality
from hwmodels.energy.sram.registers import LEAST_BYTES, LEAST_WORDS
from hwmodels.energy.sram.stored import DEVICES, NODES, OBJECTIVES, stored
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
        least: Smallest bank that is no register file [B].
        share: The word asked for over that of a macro: macros side by side, or less than one.
        printed: Values and organisation of the rows that CACTI printed, by capacity [B].
        cells_mm2: Area of the bit cells of a byte [mm2].
        warmth: Factor on the leakage of a bank at 350 K, for all banks at the temperature.
        factors: For macros side by side and CACTI's nearest node, as in `exact.PRINTED`; none where all are 1.
        scaled: Whether the node is outside of CACTI's range.
        quality: Of what is not printed.
        exact: Of what is.
    """

    kind: Kind
    width: float
    least: float
    share: float
    printed: Mapping[float, tuple[list[float], tuple[int, ...]]]
    cells_mm2: float
    warmth: float
    factors: tuple[float, ...]
    scaled: bool
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
        if setting.least <= bank <= LARGEST_BANK:
            which, values = look_bank_up(setting.kind, setting.width, bank / setting.width)
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


def _registers(setting: Setting, depth: float) -> list[float]:
    """Go down a line from the smallest SRAM to a single register."""
    full, values, single = _join(setting.kind, setting.width)
    along = (depth - 1) / (full - 1)
    factors = [share + (1 - share) * along for share in single]
    factors[HEIGHT], factors[WIDTH] = math.sqrt(factors[HEIGHT]), math.sqrt(factors[WIDTH])
    return [value * factor for value, factor in zip(values, factors, strict=True)]


@lru_cache(maxsize=1024)
def _join(kind: Kind, width: float) -> tuple[float, list[float], list[float]]:
    """Give the words of the smallest SRAM, its quantities, and a register's shares of them; for sides, of the area."""
    full = max(float(LEAST_WORDS), LEAST_BYTES / width)
    return full, look_bank_up(kind, width, full)[1], _register_shares(width)


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
    if not setting.factors:
        return values, organisation, quality
    if setting.share != 1.0:
        quality = max(quality, Quality.EXTRAPOLATED)
    if setting.scaled:
        quality = quality if quality is Quality.REGISTERS else Quality.SCALED
    return [value * factor for value, factor in zip(values, setting.factors, strict=True)], organisation, quality


@lru_cache(maxsize=4096)
def _setting(
    width: float, node: float, device: str, ports: tuple[int, int, int], banks: float, kelvin: float, objective: str,
    law: str | None,
) -> Setting | None:  # fmt: skip
    """Prepare a word, node, port set, number of banks and temperature; None where it is derived, or none at all."""
    plain = device in DEVICES and objective in OBJECTIVES and _are_ports(ports) and banks in BANK_COUNTS
    inside = NODES[0] <= node <= NODES[-1] or (law in LAWS["sram energy"] and NODES_NM[1] <= node <= NODES_NM[0])
    if not (plain and inside and 0 < width < math.inf and COLDEST_K <= kelvin <= HOTTEST_K):
        return None
    if law is not None and law not in LAWS["sram energy"]:
        return None
    group = Group(device, float(node), ports, int(banks), objective, law)
    narrow = max(width / max(math.ceil(width / WIDEST), 1), 1.0)
    native = group.native_nm
    quality = Quality.INTERPOLATED if math.frexp(narrow)[0] == 0.5 else Quality.BETWEEN_WIDTHS
    quality = quality if native in NODES else Quality.BETWEEN_NODES
    share = width / narrow
    beside = np.array([share, share, share, share, 1.0, 1.0, 1.0, share, 1.0])
    factors = beside if native == node else beside * node_factors(group)
    return Setting(
        kind=group.kind,
        width=narrow,
        least=max(LEAST_WORDS * narrow, float(LEAST_BYTES)),
        share=share,
        printed=_printed().get((device, native, ports, int(banks), narrow), {}) if objective == "ed2" else {},
        cells_mm2=8 * cell_mm2(native, sum(ports)),
        warmth=int(banks) * float(leakage_factor(device, native, kelvin)),
        factors=() if np.all(factors == 1.0) else tuple(factors.tolist()),
        scaled=native != node,
        quality=quality if in_table(device, ports) else Quality.OTHER_PORTS,
        exact=Quality.EXACT if is_printed(device, native) else Quality.INTERPOLATED,
    )


def _are_ports(ports: tuple[int, int, int]) -> bool:
    if len(ports) != 3 or not all(count in range(MOST_PORTS + 1) for count in ports):
        return False
    read_write, read, write = ports
    return min(read_write + read, read_write + write) > 0 and sum(ports) <= MOST_PORTS


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
