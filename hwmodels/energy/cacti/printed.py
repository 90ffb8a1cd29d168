"""The report that CACTI prints."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from hwmodels.energy.cacti.records import ReportedWire
from hwmodels.energy.cacti.tables import NEEDED, number
from workloads.errors import SpecError

__all__ = ["CELLS", "from_report"]

CELLS = ("itrs-hp", "itrs-lstp", "itrs-lop", "lp-dram", "comm-dram")
"""In the order of CACTI's own numbers for them."""

_LABELS: Mapping[str, tuple[str, float]] = {
    "Total cache size (bytes)": ("size_bytes", 1.0),
    "Number of banks": ("banks", 1.0),
    "Technology size (nm)": ("node_nm", 1.0),
    "Access time (ns)": ("access_s", 1e-9),
    "Cycle time (ns)": ("cycle_s", 1e-9),
    "Total dynamic read energy per access (nJ)": ("read_j", 1e-9),
    "Total dynamic write energy per access (nJ)": ("write_j", 1e-9),
}

_DRAM_LABELS: Mapping[str, tuple[str, float]] = {
    "Activate Energy (nJ)": ("activate_j", 1e-9),
    "Precharge Energy (nJ)": ("precharge_j", 1e-9),
    "Read Energy (nJ)": ("read_burst_j", 1e-9),
    "Write Energy (nJ)": ("write_burst_j", 1e-9),
    "Refresh power (mW)": ("refresh_w", 1e-3),
    "Leakage Power Closed Page (mW)": ("leakage_closed_w", 1e-3),
    "Leakage Power Open Page (mW)": ("leakage_open_w", 1e-3),
}

_WAYS: Mapping[str, float] = {"direct mapped": 1.0, "fully associative": 0.0}

_WIRES = ("Delay Optimal", "5% Overhead", "10% Overhead", "20% Overhead", "30% Overhead", "Low-swing wire (1 mm)")
_WIRE_KINDS = ("delay_optimal", "delay_plus_5pct", "delay_plus_10pct", "delay_plus_20pct", "delay_plus_30pct")


def from_report(text: str, where: str) -> dict[str, object]:
    """Read the report; of several that were printed, the first.

    Args:
        text: What was printed.
        where: For messages.

    Returns:
        Fields of `Report` by name.

    Raises:
        SpecError: Cut off.
    """
    head, _, body = text[: text.rfind("\n") + 1].partition("Cache Parameters:")  # a line without end is half a line
    body, _, wires = body.partition("Wire Properties:")
    said: dict[str, str] = {}
    summary = body.partition("Time Components:")[0]  # labels of the totals return in the parts that follow
    for label, value in (line.split(":", 1) for line in summary.splitlines() if ":" in line):
        said.setdefault(label.strip(), value.strip())
    found: dict[str, object] = dict(_scaled(said, _LABELS, where))
    found["dram"] = _scaled(said, _DRAM_LABELS, where)
    ways = said.get("Associativity", "")
    found["associativity"] = float(ways) if ways.isdigit() else _WAYS.get(ways, math.nan)
    leaks = [said.get(f"Total {kind}leakage power of a bank (mW)") for kind in ("", "gate ")]
    if leaks[0] is not None:
        found["bank_leakage_w"] = sum(number(leak, "leakage", where) for leak in leaks if leak is not None) * 1e-3
    if outline := re.match(r"([\d.e+-]+) x ([\d.e+-]+)$", said.get("Cache height x width (mm)", "")):
        height, width = float(outline[1]), float(outline[2])
        found |= {"height_mm": height, "width_mm": width, "area_mm2": height * width}
    if efficiency := re.search(r"Area efficiency \(Memory cell area/Total area\) - ([\d.e+-]+) %", body):
        found["array_efficiency"] = float(efficiency[1]) * 1e-2
    split = {
        re.sub(r" L(?=\d)", "", label.removeprefix("Best ")).lower(): number(value, label, where)
        for label, value in said.items()
        if label.startswith("Best N")
    }
    if lacking := [name for name in (*NEEDED, "height_mm") if name not in found] + ["organisation"] * (len(split) < 6):
        raise SpecError(f"{where}: the report lacks {', '.join(lacking)}: it is cut off; run CACTI again")
    found["organisation"] = split
    cell = re.search(r"^Data array cell type\s*:\s*(\d)", head, re.MULTILINE)
    version = re.search(r"CACTI \(version ([^)]*)\)", head)
    found["cell"] = CELLS[int(cell[1])] if cell and int(cell[1]) < len(CELLS) else ""
    found["version"] = version[1] if version else ""
    found["wires"] = _wires(wires)
    return found


def _scaled(said: Mapping[str, str], labels: Mapping[str, tuple[str, float]], where: str) -> dict[str, float]:
    return {name: number(said[label], label, where) * scale for label, (name, scale) in labels.items() if label in said}


def _wires(text: str) -> tuple[ReportedWire, ...]:
    """Read the wires; a section that lacks a number is left out."""
    found = []
    sections = re.split("|".join(re.escape(f"\n  {title}") for title in _WIRES), text)[1:]
    for kind, section in zip((*_WIRE_KINDS, "low_swing_1mm"), sections, strict=False):
        numbers = {
            name.lower(): float(value) for name, value in re.findall(r"\t(\w+) - ([\d.e+-]+) \(", section, re.MULTILINE)
        }
        if {"delay", "powerd", "powerl", "powerlgate"} <= numbers.keys():
            found.append(
                ReportedWire(
                    kind=kind,
                    energy_j_per_bit_mm=numbers["powerd"] * 1e-9,
                    delay_s_per_mm=numbers["delay"] * 1e-9,
                    leakage_w_per_mm=numbers["powerl"] * 1e-3,
                    gate_leakage_w_per_mm=numbers["powerlgate"] * 1e-3,
                )
            )
    return tuple(found)
