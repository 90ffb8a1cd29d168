"""Leakage over the junction temperature: one factor per device type and node, on the leakage at 350 K.

Subthreshold leakage rises with temperature and gate leakage hardly does; their shares belong to the devices, so that
one curve holds for all macros within 1.4 % (16 KiB against 1 MiB, itrs-hp, all nodes and temperatures).

Four entries of CACTI's device tables are off their trend by 3 to 4 times (itrs-lstp 22 nm at 360 K, itrs-lop 90 nm at
350 to 370 K). They are marked in the table and replaced by a line in logs between their neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hwmodels.cited import cited_rows
from hwmodels.energy.sram.stored import NODES
from workloads.errors import SpecError
from workloads.operator import Num

__all__ = ["COLDEST_K", "HOTTEST_K", "NOMINAL_K", "is_printed", "leakage_factor", "printed_over_ours", "suspects"]

COLDEST_K, HOTTEST_K, NOMINAL_K = 300.0, 400.0, 350.0


def leakage_factor(device: str, node_nm: float, temperature_k: Num) -> Num:
    """Give the leakage at a temperature relative to what CACTI's table says at 350 K.

    Args:
        device: CACTI's device type.
        node_nm: 22 to 90 [nm].
        temperature_k: 300 to 400, one or shape (n_points,) [K].

    Raises:
        SpecError: Colder or hotter.

    Example:
        >>> leakage_factor("itrs-hp", 45.0, 350.0)
        1.0
        >>> round(leakage_factor("itrs-lop", 90.0, 350.0), 2)  # CACTI's entry there is one of the bad ones
        0.28
    """
    if not isinstance(temperature_k, np.ndarray):
        if not COLDEST_K <= temperature_k <= HOTTEST_K:
            raise SpecError(_refusal(temperature_k))
        return _at(device, node_nm, float(temperature_k))
    if not np.all((temperature_k >= COLDEST_K) & (temperature_k <= HOTTEST_K)):
        outside = temperature_k[~((temperature_k >= COLDEST_K) & (temperature_k <= HOTTEST_K))]
        raise SpecError(_refusal(float(outside[0])))
    return np.asarray(np.exp(_log(device, node_nm, temperature_k)))


def _refusal(temperature_k: float) -> str:
    return f"sram: temperature_k is {temperature_k:g}; the device tables hold {COLDEST_K:g} to {HOTTEST_K:g} K"


@cache
def _at(device: str, node_nm: float, temperature_k: float) -> float:
    return float(np.exp(_log(device, node_nm, temperature_k)))


def is_printed(device: str, node_nm: float) -> bool:
    """Say whether leakage at 350 K is what CACTI prints for a device type and node [nm].

    Example:
        >>> is_printed("itrs-hp", 90.0), is_printed("itrs-lop", 90.0)
        (True, False)
    """
    return float(leakage_factor(device, node_nm, NOMINAL_K)) == 1.0


def printed_over_ours(device: str, node_nm: Num, temperature_k: Num) -> Num:
    """Give CACTI's own leakage over ours: 1 but where a bad entry of its device tables is replaced.

    Args:
        device: CACTI's device type.
        node_nm: One or shape (n_points,); outside of 22 to 90 nothing is replaced [nm].
        temperature_k: One or shape (n_points,) [K].

    Example:
        >>> round(printed_over_ours("itrs-lop", 90.0, 350.0), 2)
        3.53
    """
    nodes, kelvin = np.broadcast_arrays(np.clip(node_nm, NODES[0], NODES[-1]), np.asarray(temperature_k, dtype=float))
    ratio = np.ones(nodes.shape)
    for node in np.unique(nodes):
        mine = nodes == node
        there = kelvin[mine]
        printed, ours = (_log(device, float(node), there, replaced=replaced) for replaced in (False, True))
        ratio[mine] = np.exp(np.asarray(printed) - np.asarray(ours))
    return float(ratio) if ratio.ndim == 0 else ratio


def _log(device: str, node_nm: float, temperature_k: Num, *, replaced: bool = True) -> Num:
    """The factor in logs; between nodes of the table on a line along the node."""
    above = next(node for node in NODES if node >= node_nm)
    below = max(node for node in NODES if node <= node_nm)
    high, low = (np.interp(temperature_k, *_curve(device, node, replaced)) for node in (above, below))
    share = 0.0 if above == below else (node_nm - below) / (above - below)
    return np.asarray(low + (high - low) * share)


@cache
def _curve(device: str, node_nm: float, replaced: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows = _rows()[device, node_nm]
    nominal = float(rows[NOMINAL_K]["leakage_mw"])
    sound = {
        kelvin: float(row["leakage_mw"]) for kelvin, row in rows.items() if not (replaced and row["suspect"] == "1")
    }
    return np.array(list(sound)), np.log(np.array(list(sound.values())) / nominal)


def suspects(device: str, nodes_nm: NDArray[np.float64]) -> str:
    """Say which entries of CACTI's are replaced for a device type at some nodes; empty: none.

    Example:
        >>> suspects("itrs-lop", np.array([90.0]))
        '90 nm: 350, 360, 370 K'
    """
    found = []
    for node in nodes_nm.tolist():
        bad = [f"{kelvin:g}" for kelvin, row in _rows().get((device, node), {}).items() if row["suspect"] == "1"]
        found += [f"{node:g} nm: {', '.join(bad)} K"] if bad else []
    return "; ".join(found)


@cache
def _rows() -> Mapping[tuple[str, float], Mapping[float, Mapping[str, str]]]:
    found: dict[tuple[str, float], dict[float, Mapping[str, str]]] = {}
    for row in cited_rows("sram_temperature"):
        found.setdefault((row["device"], float(row["node_nm"])), {})[float(row["temperature_k"])] = row
    return found
