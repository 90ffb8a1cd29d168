"""Commodity DRAM dies, plain and with through-silicon vias: CACTI's own figures, and splines in logs between them."""

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

__all__ = ["DramDie", "StackedDie", "dram_die", "stacked_dram_die"]

DIE_COLUMNS = {
    "activate_j": ("activate_nj", "J", 1e-9),
    "precharge_j": ("precharge_nj", "J", 1e-9),
    "read_burst_j": ("read_burst_nj", "J", 1e-9),
    "write_burst_j": ("write_burst_nj", "J", 1e-9),
    "refresh_w": ("refresh_mw", "W", 1e-3),
    "leakage_w": ("leak_closed_page_mw", "W", 1e-3),
    "area_mm2": ("area_mm2", "mm2", 1.0),
    "access_s": ("access_ns", "s", 1e-9),
    "cycle_s": ("cycle_ns", "s", 1e-9),
}
STACK_COLUMNS = {
    "activate_j": ("activate_nj", "J", 1e-9),
    "precharge_j": ("precharge_nj", "J", 1e-9),
    "read_burst_j": ("read_nj", "J", 1e-9),
    "write_burst_j": ("write_nj", "J", 1e-9),
    "area_mm2": ("area_per_die_mm2", "mm2", 1.0),
    "tsv_area_mm2": ("tsv_area_mm2", "mm2", 1.0),
    "activate_to_read_s": ("trcd_ns", "s", 1e-9),
    "activate_to_precharge_s": ("tras_ns", "s", 1e-9),
    "row_cycle_s": ("trc_ns", "s", 1e-9),
    "read_to_data_s": ("tcas_ns", "s", 1e-9),
}
DIE_FIXES = {
    "node_nm": "scale from there with scaling('dram energy', from_nm, to_nm)",
    "size_bytes": "CACTI finds no organisation for dies of 2^30 B and more: take two dies of 2^29 B",
    "output_bits": "take a die of one of these widths, and several of them side by side",
    "page_bits": "take one of these pages; the activation energy is nearly proportional to the page",
}
STACK_FIXES = {
    "node_nm": "scale from there with scaling('dram energy', from_nm, to_nm)",
    "die_gbit": "take several dies",
    "io_bits": "take one of these widths",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DramDie:
    """A commodity DRAM die without its interface: CACTI's core.

    Attributes:
        activate_j: Opening one page.
        precharge_j: Closing it.
        read_burst_j: A burst of 8 beats of `output_bits` from an open page.
        write_burst_j: The same, written.
        refresh_w: Average power of refreshing.
        leakage_w: With all pages closed; erratic between nodes, and the band says so.
        area_mm2: Area.
        access_s: Row closed, address in to data out.
        cycle_s: Row cycle.
    """

    activate_j: Estimate
    precharge_j: Estimate
    read_burst_j: Estimate
    write_burst_j: Estimate
    refresh_w: Estimate
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
            "dram_die: write_j: CACTI prints 5 to 1300 times the read energy for whole writes of DRAM cells, a fault "
            "of the tool; add activate_j, write_burst_j and precharge_j, which are sound"
        )

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its numbers by name."""
        return {name: getattr(self, name) for name in DIE_COLUMNS}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StackedDie:
    """One die of a stack, after CACTI-3DD, its through-silicon vias included.

    Attributes:
        activate_j: Opening one page of 8192 bits.
        precharge_j: Closing it.
        read_burst_j: A burst of 8 beats of `io_bits` from an open page.
        write_burst_j: The same, written.
        area_mm2: Area of the die.
        tsv_area_mm2: Of its vias.
        activate_to_read_s: tRCD.
        activate_to_precharge_s: tRAS.
        row_cycle_s: tRC.
        read_to_data_s: tCAS.
    """

    activate_j: Estimate
    precharge_j: Estimate
    read_burst_j: Estimate
    write_burst_j: Estimate
    area_mm2: Estimate
    tsv_area_mm2: Estimate
    activate_to_read_s: Estimate
    activate_to_precharge_s: Estimate
    row_cycle_s: Estimate
    read_to_data_s: Estimate

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its numbers by name."""
        return {name: getattr(self, name) for name in STACK_COLUMNS}


@checked
def dram_die(size_bytes: Num, *, output_bits: Num = 8, page_bits: Num = 8192, node_nm: Num = 32.0) -> DramDie:
    """Estimate a commodity DRAM die at 350 K: the core, without interface and termination.

    Args:
        size_bytes: Capacity, 2^24 to 2^29; one value, or shape (n_points,).
        output_bits: Data pins, 8 or 16; one value, or shape (n_points,).
        page_bits: 8192 or 16384; one value, or shape (n_points,).
        node_nm: Technology, 22 to 90; one value, or shape (n_points,).

    Raises:
        SpecError: Outside of what CACTI was run for.

    Source: CACTI 7 (Balasubramonian et al., CACTI 7, TACO 2017), table `dram_dies`.

    Example:
        >>> die = dram_die(2**29, node_nm=32)
        >>> print(f"{(die.activate_j.value + die.precharge_j.value) * 1e9:.4f} nJ, {die.activate_j.origin}")
        0.4978 nJ, table
    """
    at = {
        "node_nm": positive(node_nm, "node_nm", "dram_die"),
        "size_bytes": positive(size_bytes, "size_bytes", "dram_die"),
        "output_bits": positive(output_bits, "output_bits", "dram_die"),
        "page_bits": positive(page_bits, "page_bits", "dram_die"),
    }
    reading = look_up(_dies(), at, where="dram_die", fixes=DIE_FIXES)
    return DramDie(**{name: to_estimate(reading, *column) for name, column in DIE_COLUMNS.items()})


@checked
def stacked_dram_die(die_gbit: Num, *, io_bits: Num = 16, node_nm: Num = 32.0, stacked_dies: int = 1) -> StackedDie:
    """Estimate one die of CACTI-3DD's model.

    Args:
        die_gbit: Capacity in 2^30 bits, 1 to 16; one value, or shape (n_points,).
        io_bits: Data pins, 4 or 16; one value, or shape (n_points,).
        node_nm: Technology, 22 to 65; one value, or shape (n_points,).
        stacked_dies: 1 alone is sound.

    Raises:
        SpecError: More than one die: the tool overflows; or outside of what it was run for.

    Source: Chen et al., CACTI-3DD, DATE 2012; table `dram_stacks`.

    Example:
        >>> die = stacked_dram_die(8, node_nm=22)
        >>> print(f"{die.read_burst_j.value * 1e9:.6f} nJ for 128 bits, {die.read_burst_j.origin}")
        0.963839 nJ for 128 bits, table
    """
    if stacked_dies != 1:
        raise SpecError(
            f"stacked_dram_die: stacked_dies = {stacked_dies!r}: CACTI-3DD overflows or crashes for more than one die; "
            "take dies of one, and add the stack's links with link_energy"
        )
    at = {
        "node_nm": positive(node_nm, "node_nm", "stacked_dram_die"),
        "die_gbit": positive(die_gbit, "die_gbit", "stacked_dram_die"),
        "io_bits": positive(io_bits, "io_bits", "stacked_dram_die"),
    }
    reading = look_up(_stacks(), at, where="stacked_dram_die", fixes=STACK_FIXES)
    return StackedDie(**{name: to_estimate(reading, *column) for name, column in STACK_COLUMNS.items()})


@remember
def _dies() -> LogTable:
    rows = [row for row in cited_rows("dram_dies") if row["feasible"] == "1"]
    axes = ("node_nm", "size_bytes", "output_bits", "page_bits")
    columns = tuple(column for column, _, _ in DIE_COLUMNS.values())
    return build_table("dram_dies", rows, axes=axes, columns=columns, fixed=frozenset({"output_bits", "page_bits"}))


@remember
def _stacks() -> LogTable:
    rows = [row for row in cited_rows("dram_stacks") if row["feasible"] == "1"]
    columns = tuple(column for column, _, _ in STACK_COLUMNS.values())
    axes = ("node_nm", "die_gbit", "io_bits")
    return build_table("dram_stacks", rows, axes=axes, columns=columns, fixed=frozenset({"io_bits"}))
