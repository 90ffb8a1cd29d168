"""Embedded DRAM in a logic process: CACTI's own figures, and splines in logs between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache as remember

from hwmodels.cited import cited_rows
from hwmodels.energy.checking import checked, positive
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.log_tables import LogTable, build_table, look_up, to_estimate
from workloads.errors import SpecError
from workloads.operator import Num

__all__ = ["EdramMacro", "edram"]

COLUMNS = {
    "read_j": ("read_pj", "J", 1e-12),
    "leakage_w": ("leak_mw_total", "W", 1e-3),
    "area_mm2": ("area_mm2", "mm2", 1.0),
    "access_s": ("access_ns", "s", 1e-9),
    "cycle_s": ("cycle_ns", "s", 1e-9),
}
FIXES = {
    "node_nm": "CACTI has no device data for eDRAM at 22 nm and none above 90 nm: take 32 nm and scale it with "
    "scaling('dram energy', 32, node_nm)",
    "size_bytes": "split it into banks",
    "width_bytes": "take several macros side by side for wider words",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EdramMacro:
    """A macro of embedded DRAM; refresh is not in CACTI's eDRAM figures.

    Attributes:
        read_j: One read of a word; the row is written back.
        leakage_w: Leakage at 350 K.
        area_mm2: Area.
        access_s: Address in to data out.
        cycle_s: Random cycle time.
    """

    read_j: Estimate
    leakage_w: Estimate
    area_mm2: Estimate
    access_s: Estimate
    cycle_s: Estimate

    @property
    def write_j(self) -> Estimate:
        """Refuse.

        Raises:
            SpecError: Always: CACTI's write energy of DRAM cells is wrong.
        """
        raise SpecError(
            "edram: write_j: CACTI prints 5 to 1300 times the read energy for writes of DRAM cells, a fault of the "
            "tool; take read_j, which includes writing the row back"
        )

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its numbers by name."""
        return {name: getattr(self, name) for name in COLUMNS}


@checked
def edram(size_bytes: Num, width_bytes: Num = 64, *, node_nm: Num = 45.0) -> EdramMacro:
    """Estimate a macro of logic-process eDRAM with high-performance periphery at 350 K, one bank, one port.

    Args:
        size_bytes: Capacity; one value, or shape (n_points,).
        width_bytes: Of a word, 8 to 64; one value, or shape (n_points,).
        node_nm: Technology, 32 to 90; one value, or shape (n_points,).

    Raises:
        SpecError: Outside of what CACTI was run for; 22 nm has no device data.

    Source: CACTI 7 (Balasubramonian et al., CACTI 7, TACO 2017), table `edram`.

    Example:
        >>> macro = edram(2**20, 64, node_nm=45)
        >>> print(f"{macro.read_j.value * 1e12:.3f} pJ, {macro.read_j.origin}")
        277.348 pJ, table
    """
    at = {
        "node_nm": positive(node_nm, "node_nm", "edram"),
        "size_bytes": positive(size_bytes, "size_bytes", "edram"),
        "width_bytes": positive(width_bytes, "width_bytes", "edram"),
    }
    reading = look_up(_table(), at, where="edram", fixes=FIXES)
    return EdramMacro(**{name: to_estimate(reading, *column) for name, column in COLUMNS.items()})


@remember
def _table() -> LogTable:
    rows = [row for row in cited_rows("edram") if row["feasible"] == "1"]
    columns = tuple(column for column, _, _ in COLUMNS.values())
    return build_table("edram", rows, axes=("node_nm", "size_bytes", "width_bytes"), columns=columns)
