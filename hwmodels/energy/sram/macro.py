"""`sram`: energy, leakage, area and time of an on-chip memory, for one macro or a batch of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.estimate import Estimate
from hwmodels.energy.sram.checks import MOST_BANKS, as_ports, check_names, check_numbers, one_shape
from hwmodels.energy.sram.groups import Group, evaluate_group
from hwmodels.energy.sram.quality import Quality
from hwmodels.energy.sram.singles import evaluate_one
from hwmodels.energy.sram.traces import macro_estimates
from workloads.operator import Num
from workloads.quick import quick

__all__ = ["Macro", "sram"]


_PLAIN = (float, int)
"""Kinds of numbers that need no look; all others are looked at."""


@quick
@dataclass(frozen=True, slots=True, eq=False)
class Macro:
    """An on-chip memory. Numbers are single, or arrays of shape (n_points,) when an argument was one.

    Attributes:
        size_bytes: Capacity of all banks [B].
        width_bytes: Word that an access moves [B].
        node_nm: Technology node [nm].
        device: CACTI's device type.
        ports: Read-write, read-only and write-only ports of a bank.
        banks: Independent banks; an access takes one.
        temperature_k: Of the junction [K]; moves the leakage alone.
        objective: What the sub-arrays are organised for.
        law: Scaling law of the node, outside of CACTI's 22 to 90 nm.
        read_j: Energy of reading a word [J].
        write_j: Of writing one [J].
        leakage_w: Of all banks [W].
        area_mm2: Of all banks and the wires between them [mm2].
        access_s: From the address to the word [s].
        cycle_s: From one random access of a bank to the next [s].
        height_mm: Outline [mm].
        width_mm: Outline [mm].
        array_efficiency: Area of the bit cells over all area.
        organisation: ndwl, ndbl, nspd, ndcm, ndsam1, ndsam2, shape (6,) or (n_points, 6); zeros: registers.
        quality: How the numbers came about, see `Quality`.
    """

    size_bytes: Num
    width_bytes: Num
    node_nm: Num
    device: str
    ports: tuple[int, int, int]
    banks: Num
    temperature_k: Num
    objective: str
    law: str | None
    read_j: Num
    write_j: Num
    leakage_w: Num
    area_mm2: Num
    access_s: Num
    cycle_s: Num
    height_mm: Num
    width_mm: Num
    array_efficiency: Num
    organisation: tuple[int, ...] | NDArray[np.int64]
    quality: Quality | NDArray[np.int8]

    def estimates(self) -> Mapping[str, Estimate]:
        """Give every number with its error band, formula and source."""
        return macro_estimates(self)


def sram(
    size_bytes: Num,
    width_bytes: Num,
    *,
    node_nm: Num = 45.0,
    device: str = "itrs-hp",
    ports: tuple[int, int, int] = (1, 0, 0),
    banks: Num = 1,
    temperature_k: Num = 350.0,
    objective: str = "ed2",
    law: str | None = None,
) -> Macro:
    """Give what CACTI 7 computes for an on-chip memory, without CACTI: about 1 us a point in a batch.

    A point that CACTI was asked for comes back as it printed it. Others choose among the organisations that are near
    the best around them, as CACTI does (`hwmodels.energy.sram.cells`). Words wider than 128 B are macros side by side.
    Below 32 words a bank is a register file. The settings are those of `hwmodels/tables/README.md`.

    Args:
        size_bytes: Capacity of all banks [B].
        width_bytes: Word that an access moves [B].
        node_nm: 22 to 90; with a `law`, 3 to 180 [nm].
        device: "itrs-hp" (fast), "itrs-lstp" (low standby power) or "itrs-lop" (low operating power).
        ports: Read-write, read-only and write-only ports of a bank.
        banks: A power of two, 1 to 64.
        temperature_k: 300 to 400 [K].
        objective: "ed2" (energy x delay^2, the setting of the reference tables), "ed", "energy", "area" or "delay".
        law: How energy leaves CACTI's nodes: a law of "sram energy" in `hwmodels.energy.LAWS`. Area and time follow
            the first laws of their own.

    Returns:
        Numbers when all arguments are numbers, else arrays of shape (n_points,).

    Raises:
        SpecError: A size, width, node, port set or name that no memory has; a node out of range without a law.

    Source: Balasubramonian et al., CACTI 7, ACM TACO 14(2), 2017, commit 1ffd8dfb.

    Example:
        >>> macro = sram(256 * 1024, 8)
        >>> f"{macro.read_j * 1e12:.4f} pJ, {macro.area_mm2:.4f} mm2, {macro.quality.name}"
        '40.6252 pJ, 0.7963 mm2, EXACT'
    """
    if type(ports) is not tuple:
        ports = as_ports(ports)
    given: tuple[Any, Any, Any, Any, Any] = (size_bytes, width_bytes, node_nm, banks, temperature_k)
    if (
        type(size_bytes) in _PLAIN
        and type(width_bytes) in _PLAIN
        and type(node_nm) in _PLAIN
        and type(banks) in _PLAIN
        and type(temperature_k) in _PLAIN
        and type(device) is type(objective) is str
    ):
        size, width, node, bank, kelvin = given
        one = evaluate_one(size, width, node, device, ports, bank, kelvin, objective, law)
        return _macro(given, device, ports, objective, law, *one)
    check_names(device, ports, objective)
    size, width, node, bank, kelvin = check_numbers(one_shape(given), law)
    values = np.empty((len(size), 9))
    organisation = np.empty((len(size), 6), dtype=np.int64)
    quality = np.empty(len(size), dtype=np.int8)
    for (at, banked), mine in _groups(node, bank):
        group = Group(device, at, ports, banked, objective, law)
        values[mine], organisation[mine], quality[mine] = evaluate_group(group, size[mine], width[mine], kelvin[mine])
    if all(np.ndim(value) == 0 for value in given):  # numbers of another kind than Python's
        only = Quality(int(quality[0]))
        return _macro(given, device, ports, objective, law, values[0].tolist(), tuple(organisation[0].tolist()), only)
    return _macro(given, device, ports, objective, law, values.T, organisation, quality)


def _macro(
    given: tuple[Num, Num, Num, Num, Num], device: str, ports: tuple[int, int, int], objective: str, law: str | None,
    values: Any, organisation: Any, quality: Any,
) -> Macro:  # fmt: skip
    size, width, node, banks, kelvin = given
    read, write, leakage, area, access, cycle, height, across, efficiency = values
    return Macro(
        size, width, node, device, ports, banks, kelvin, objective, law, read, write, leakage, area, access, cycle,
        height, across, efficiency, organisation, quality,
    )  # fmt: skip


def _groups(
    node: NDArray[np.float64], banks: NDArray[np.int64]
) -> list[tuple[tuple[float, int], slice | NDArray[np.intp]]]:
    """Split a batch into points that share a node and a number of banks."""
    if np.all(node == node[0]) and np.all(banks == banks[0]):
        return [((float(node[0]), int(banks[0])), slice(None))]
    nodes, at = np.unique(node, return_inverse=True)
    kind = at * (MOST_BANKS + 1) + banks
    return [
        ((float(nodes[each // (MOST_BANKS + 1)]), each % (MOST_BANKS + 1)), np.flatnonzero(kind == each))
        for each in np.flatnonzero(np.bincount(kind)).tolist()
    ]
