"""Set-associative caches, tags included: CACTI's own figures, and splines in the logs of the size between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache as remember

import numpy as np

from hwmodels.cited import cited_rows
from hwmodels.energy.checking import checked, positive
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.log_tables import LogTable, build_table, look_up, to_estimate
from workloads.errors import SpecError
from workloads.operator import Num

__all__ = ["CacheMacro", "cache"]

COLUMNS = {
    "read_j": ("read_pj", "J", 1e-12),
    "write_j": ("write_pj", "J", 1e-12),
    "leakage_w": ("leak_mw_total", "W", 1e-3),
    "area_mm2": ("area_mm2", "mm2", 1.0),
    "access_s": ("access_ns", "s", 1e-9),
    "cycle_s": ("cycle_ns", "s", 1e-9),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CacheMacro:
    """A cache: tags, data and comparators.

    Attributes:
        read_j: One read hit of a line of `line_bytes`.
        write_j: One write of a line.
        leakage_w: Subthreshold and gate leakage at 350 K.
        area_mm2: Area.
        access_s: Address in to data out.
        cycle_s: Random cycle time; it jumps by up to two times with CACTI's choice of sub-arrays.
    """

    read_j: Estimate
    write_j: Estimate
    leakage_w: Estimate
    area_mm2: Estimate
    access_s: Estimate
    cycle_s: Estimate

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its numbers by name."""
        return {name: getattr(self, name) for name in COLUMNS}


@checked
def cache(size_bytes: Num, line_bytes: int = 64, *, associativity: int = 8, node_nm: float = 22.0) -> CacheMacro:
    """Estimate a set-associative cache of high-performance transistors at 350 K, one bank, one port.

    Args:
        size_bytes: Capacity of the data, without tags; one value, or shape (n_points,).
        line_bytes: Of a line, which is what one access moves.
        associativity: Ways.
        node_nm: Technology.

    Raises:
        SpecError: CACTI was not run for this combination of line, ways and node, or not for this size.

    Source: CACTI 7 (Balasubramonian et al., CACTI 7, TACO 2017), table `caches`.

    Example:
        >>> macro = cache(2**20)
        >>> print(f"{macro.read_j.value * 1e12:.3f} pJ, {macro.read_j.origin}")
        114.845 pJ, table
        >>> macro = cache(3 * 2**20)
        >>> print(f"{macro.read_j.value * 1e12:.0f} pJ, {macro.read_j.origin}")
        182 pJ, interpolated
    """
    key = (_one(line_bytes, "line_bytes"), _one(associativity, "associativity"), _one(node_nm, "node_nm"))
    if key not in _series():
        known = "; ".join(f"{w:g}-way, {b:g} B lines, {n:g} nm" for b, w, n in sorted(_series()))
        raise SpecError(
            f"cache: CACTI was not run for {key[1]:g} ways, lines of {key[0]:g} B, {key[2]:g} nm; known: {known}; "
            "scale one of them with scaling('sram energy', from_nm, to_nm), or add data and tags up with sram()"
        )
    fixes = {"size_bytes": "split it into banks, or sum data and tags with sram()"}
    reading = look_up(
        _table(key), {"size_bytes": positive(size_bytes, "size_bytes", "cache")}, where="cache", fixes=fixes
    )
    return CacheMacro(**{name: to_estimate(reading, *column) for name, column in COLUMNS.items()})


def _one(value: float, name: str) -> float:
    if np.ndim(value):
        raise SpecError(f"cache: {name} is constant within a batch; call cache once for each {name}")
    return float(positive(value, name, "cache"))


@remember
def _series() -> Mapping[tuple[float, float, float], tuple[Mapping[str, str], ...]]:
    """Group the feasible rows by line, ways and node: within such a group only the size differs."""
    series: dict[tuple[float, float, float], tuple[Mapping[str, str], ...]] = {}
    for row in cited_rows("caches"):
        if row["feasible"] == "1":
            key = (float(row["line_bytes"]), float(row["associativity"]), float(row["node_nm"]))
            series[key] = (*series.get(key, ()), row)
    return series


@remember
def _table(key: tuple[float, float, float]) -> LogTable:
    columns = tuple(column for column, _, _ in COLUMNS.values())
    return build_table("caches", _series()[key], axes=("size_bytes",), columns=columns)
