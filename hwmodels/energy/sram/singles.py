"""One memory at a time: the same numbers as in a batch, in a tenth to a hundredth of the time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np

from hwmodels.energy.sram.cells import HEIGHT, WIDTH
from hwmodels.energy.sram.checks import LARGEST_BYTES, MOST_BANKS, MOST_PORTS, check_names, check_numbers
from hwmodels.energy.sram.exact import printed_rows, row_numbers
from hwmodels.energy.sram.groups import Group, evaluate_group, node_factors, register_shares
from hwmodels.energy.sram.lookup import LARGEST_BANK, WIDEST, Kind
from hwmodels.energy.sram.ports import bank_of, cell_mm2, in_table
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
        look_up: Looks a bank of it up.
        width: Word of a macro [B].
        banks: How many there are.
        least: Smallest bank that is no register file [B].
        share: The word asked for over that of a macro: macros side by side, or less than one.
        printed: Values and organisation of the rows that CACTI printed, by capacity [B].
        cells_mm2: Area of the bit cells of a byte [mm2].
        factors: For macros side by side, leakage of all banks at the temperature, and a node outside of CACTI's range,
            as in `exact.PRINTED` but the last, which keeps its value.
        quality: Of what is not printed.
        exact: Of what is.
        registers: Of register files.
    """

    kind: Kind
    look_up: Callable[[Kind, float, float], tuple[int, list[float]]]
    width: float
    banks: int
    least: float
    share: float
    printed: Mapping[float, tuple[list[float], tuple[int, ...]]]
    cells_mm2: float
    factors: tuple[float, ...]
    quality: Quality
    exact: Quality
    registers: Quality


def evaluate_one(
    size: float, width: float, node: float, device: str, ports: tuple[int, int, int], banks: float, kelvin: float,
    objective: str, law: str | None,
) -> Numbers:  # fmt: skip
    """Give all numbers of one memory.

    Raises:
        SpecError: See `macro.sram`.
    """
    setting = None
    if law is None or isinstance(law, str):
        setting = _setting(width, node, device, ports, banks, kelvin, objective, law)
    if setting is not None and 0 < size <= LARGEST_BYTES:
        inner = size / setting.share
        printed = setting.printed
        if inner in printed:
            values, organisation = printed[inner]
            return _of_all_banks(setting, values), organisation, setting.exact
        word = setting.width
        bank = inner / setting.banks
        if setting.least <= bank <= LARGEST_BANK:
            which, bare = setting.look_up(setting.kind, word, bank / word)
            return _of_all_banks(setting, _with_area(setting, bare, inner)), _folds()[which], setting.quality
        if word <= bank <= LARGEST_BANK:
            bare = _registers(setting, bank / word)
            return _of_all_banks(setting, _with_area(setting, bare, inner)), (0,) * 6, setting.registers
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
    return full, bank_of(kind)(kind, width, full)[1], _register_shares(width)


@lru_cache(maxsize=1024)
def _register_shares(width: float) -> list[float]:
    shares = register_shares(np.array([width]))[0].tolist()
    shares[HEIGHT] **= 2
    shares[WIDTH] **= 2
    return [float(share) for share in shares]


def _with_area(setting: Setting, values: list[float], size: float) -> list[float]:
    read, write, leakage, access, cycle, height, across = values
    area = height * across
    efficiency = setting.cells_mm2 * size / area
    return [read, write, leakage, area, access, cycle, height, across, efficiency if efficiency < 1.0 else 1.0]


def _of_all_banks(setting: Setting, values: list[float]) -> list[float]:
    """Put banks and macros side by side, warm, at the node; written out, in a third of the time."""
    one, two, three, four, five, six, seven, eight = setting.factors
    read, write, leakage, area, access, cycle, height, across, efficiency = values
    return [
        read * one, write * two, leakage * three, area * four, access * five, cycle * six, height * seven,
        across * eight, efficiency,
    ]  # fmt: skip


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
    quality = quality if in_table(device, ports) else Quality.OTHER_PORTS
    share, warmth = width / narrow, int(banks) * float(leakage_factor(device, native, kelvin))
    factors = np.array([share, share, share * warmth, share, 1.0, 1.0, 1.0, share, 1.0])
    scaled = None
    if native != node:
        factors, scaled = factors * node_factors(group), Quality.SCALED
    beside = Quality.EXACT if share == 1.0 else Quality.EXTRAPOLATED
    return Setting(
        kind=group.kind,
        look_up=bank_of(group.kind),
        width=narrow,
        banks=int(banks),
        least=max(LEAST_WORDS * narrow, float(LEAST_BYTES)),
        share=share,
        printed=_printed().get((device, native, ports, int(banks), narrow), {}) if objective == "ed2" else {},
        cells_mm2=8 * cell_mm2(native, sum(ports)),
        factors=tuple(factors[:-1].tolist()),
        quality=scaled or max(quality, beside),
        exact=scaled or max(Quality.EXACT if is_printed(device, native) else Quality.INTERPOLATED, beside),
        registers=max(Quality.REGISTERS, beside),
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
