"""Where a macro's numbers come from, and how far they may be off: measured, see `reports/energy.md`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hwmodels.cited import cited_rows
from hwmodels.energy.estimate import Estimate, Origin
from hwmodels.energy.sram.quality import Quality
from hwmodels.energy.sram.stored import NODES
from hwmodels.energy.sram.temperature import printed_over_ours, suspects
from hwmodels.energy.technology import scaling
from workloads.operator import Num

if TYPE_CHECKING:
    from hwmodels.energy.sram.macro import Macro

__all__ = ["BANDED", "bands", "macro_estimates"]

BANDED: Mapping[str, str] = {
    "read_j": "J", "write_j": "J", "leakage_w": "W", "area_mm2": "mm2", "access_s": "s", "cycle_s": "s",
}  # fmt: skip
"""Quantities with a band of their own, and their units."""

_SOURCE = "Balasubramonian et al., CACTI 7, ACM TACO 14(2), 2017, commit 1ffd8dfb"

_ORIGINS: Mapping[Quality, Origin] = {
    Quality.EXACT: "table",
    Quality.INTERPOLATED: "interpolated",
    Quality.BETWEEN_WIDTHS: "interpolated",
    Quality.BETWEEN_NODES: "interpolated",
    Quality.OTHER_PORTS: "derived",
    Quality.EXTRAPOLATED: "derived",
    Quality.REGISTERS: "assumption",
    Quality.SCALED: "scaled",
}

_FORMULAS: Mapping[Quality, str] = {
    Quality.EXACT: "a row that CACTI printed",
    Quality.INTERPOLATED: "organisations near the best interpolated over their rows, the best one taken",
    Quality.BETWEEN_WIDTHS: "organisations near the best interpolated over rows and word widths, the best one taken",
    Quality.BETWEEN_NODES: "organisations near the best interpolated over rows, widths and nodes, the best one taken",
    Quality.OTHER_PORTS: "one port x (1 + (two ports / one port - 1) x (ports - 1))",
    Quality.EXTRAPOLATED: "macros of at most 128 B a word side by side; beyond 128 MiB as the last octave goes on",
    Quality.REGISTERS: "on a line from an SRAM of 32 words to a row of flip-flops (Horowitz, ISSCC 2014)",
    Quality.SCALED: "CACTI's nearest node x the named scaling law",
}


@cache
def bands() -> NDArray[np.float64]:
    """Give the relative half-width of the band by quality and quantity of `BANDED`: nine errors of ten are less."""
    found = np.zeros((len(Quality), len(BANDED)))
    for row in cited_rows("sram_bands"):
        found[Quality[row["quality"]], list(BANDED).index(row["quantity"])] = float(row["band"])
    return found


def macro_estimates(macro: Macro) -> Mapping[str, Estimate]:
    """Give every number of a macro with its band, formula and source."""
    worst = Quality(int(np.max(macro.quality)))
    return {name: _estimate(macro, name, place, worst) for place, name in enumerate(BANDED)}


def _estimate(macro: Macro, name: str, place: int, worst: Quality) -> Estimate:
    value: Num = getattr(macro, name)
    band = bands()[:, place][np.asarray(macro.quality, dtype=np.int64)]
    low, high = 1 / (1 + band), 1 + band
    parts, note = {}, ""
    if np.any((np.asarray(macro.node_nm) < NODES[0]) | (np.asarray(macro.node_nm) > NODES[-1])):
        factor = _factor(macro, name)
        parts = {"node": factor}
        reach = [np.asarray(end) / np.asarray(factor.value) for end in (factor.low, factor.high)]
        if BANDED[name] == "s":
            same = 1 / np.asarray(factor.value)
            reach = [np.minimum(reach[0], same), np.maximum(reach[1], same)]
            note = "; the band of a time reaches to no scaling at all, as for wires"
        low, high = low * reach[0], high * reach[1]
    if name == "leakage_w":
        replaced = np.asarray(printed_over_ours(macro.device, macro.node_nm, macro.temperature_k))
        low, high = low * np.minimum(replaced, 1), high * np.maximum(replaced, 1)
    return Estimate(
        value=value,
        unit=BANDED[name],
        low=_plain(np.asarray(value) * low),
        high=_plain(np.asarray(value) * high),
        origin=_ORIGINS[worst],
        formula=f"{_described(macro)}: {_FORMULAS[worst]}{_temperature(macro, name)}{note}",
        source=_SOURCE,
        parts=parts,
    )


def _factor(macro: Macro, name: str) -> Estimate:
    """Give the factor from the nearest node of CACTI's to each one asked for: 1 inside its range."""
    end = np.asarray(macro.node_nm, dtype=np.float64)
    start = np.clip(end, NODES[0], NODES[-1])
    if name in ("read_j", "write_j"):
        return scaling("sram energy", start, end, law=macro.law)
    quantity = {"area_mm2": "sram area", "leakage_w": "logic leakage"}.get(name, "logic delay")
    return scaling(quantity, start, end)


def _temperature(macro: Macro, name: str) -> str:
    if name != "leakage_w":
        return ""
    kelvin = np.unique(np.asarray(macro.temperature_k))
    span = f"{kelvin[0]:g}" if kelvin.size == 1 else f"{kelvin[0]:g} to {kelvin[-1]:g}"
    bad = suspects(macro.device, np.unique(np.asarray(macro.node_nm)))
    note = f"; CACTI's entries at {bad} are off their trend and replaced, the band reaches to them" if bad else ""
    return f"; at {span} K by one curve per device type and node (tables/sram_temperature.csv){note}"


def _described(macro: Macro) -> str:
    def span(value: Num) -> str:
        numbers = np.unique(np.asarray(value))
        return f"{numbers[0]:g}" if numbers.size == 1 else f"{numbers[0]:g} to {numbers[-1]:g}"

    read_write, read, write = macro.ports
    return (
        f"{span(macro.size_bytes)} B in words of {span(macro.width_bytes)} B, {span(macro.banks)} banks of "
        f"{read_write} rw + {read} r + {write} w ports, {macro.device}, {span(macro.node_nm)} nm, for {macro.objective}"
    )


def _plain(value: NDArray[np.float64]) -> Num:
    return float(value) if value.ndim == 0 else value
