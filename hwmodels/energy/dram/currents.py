"""Energies and powers of a DRAM device from the supply currents of its data sheet.

Source: Micron, Calculating Memory Power for DDR4 SDRAM, TN-40-07, and Calculating Memory System Power for DDR3,
TN-41-01: each state's current above that of the state it started from, times voltage and time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache as remember

import numpy as np

from hwmodels.cited import cited_rows

__all__ = ["STATES", "Device", "Span", "devices", "spans"]

STATES = {"active": "idd3n_ma", "standby": "idd2n_ma", "power-down": "idd2p_ma", "self-refresh": "idd6_ma"}
"""Idle states and the current that a device draws in them: pages open, closed, clock off, refreshing by itself."""

IO_RAIL = "vddq"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What the currents of one device say.

    Attributes:
        part: Its name.
        activate_j_per_page_bit: Opening and closing a page, per bit of the page.
        read_j_per_bit: Reading from an open page, core alone.
        write_j_per_bit: Writing to an open page, core alone.
        io_j_per_bit: Driving a read bit, where the data sheet has a rail for that; else 0.
        state_w_per_byte: Power of each of `STATES`, per byte of capacity, without refresh but in self-refresh.
        refresh_w_per_byte: Average power of refreshing.
        source: Of the currents.
    """

    part: str
    activate_j_per_page_bit: float
    read_j_per_bit: float
    write_j_per_bit: float
    io_j_per_bit: float
    state_w_per_byte: Mapping[str, float]
    refresh_w_per_byte: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A figure over the devices of a technology: geometric mean, least and greatest."""

    mean: float
    low: float
    high: float


@remember
def devices(technology: str) -> tuple[Device, ...]:
    """Give the devices of a technology whose data-sheet currents are tabled; none for many.

    Args:
        technology: "DDR4".

    Example:
        >>> [f"{device.part}: {device.read_j_per_bit * 1e12:.2f} pJ/bit" for device in devices("DDR4")]
        ['Micron 4Gb x8 DDR4-2400 A: 8.78 pJ/bit', 'Micron 8Gb x8 DDR4-3200 D: 5.44 pJ/bit']
    """
    rows = [row for row in cited_rows("dram_currents") if row["technology"] == technology]
    parts = dict.fromkeys(row["part"] for row in rows)
    return tuple(_device([row for row in rows if row["part"] == part]) for part in parts)


def spans(technology: str, figure: Callable[[Device], float]) -> Span:
    """Summarise a figure over the devices of a technology.

    Args:
        technology: One that `devices` knows.
        figure: Of one device, above zero.
    """
    values = [figure(device) for device in devices(technology)]
    return Span(mean=float(np.exp(np.mean(np.log(values)))), low=min(values), high=max(values))


def _device(rails: list[Mapping[str, str]]) -> Device:
    """Add up the rails of one device."""
    first = rails[0]
    core = [row for row in rails if row["rail"] != IO_RAIL]
    pins = [row for row in rails if row["rail"] == IO_RAIL]
    byte = float(first["density_gbit"]) * 2**30 / 8
    return Device(
        part=first["part"],
        activate_j_per_page_bit=sum(map(_activate_j, rails)) / float(first["page_bits"]),
        read_j_per_bit=sum(_burst_j_per_bit(row, "idd4r_ma") for row in core),
        write_j_per_bit=sum(_burst_j_per_bit(row, "idd4w_ma") for row in core),
        io_j_per_bit=sum(_burst_j_per_bit(row, "idd4r_ma") for row in pins),
        state_w_per_byte={
            name: sum(_power_w(row, row[current]) for row in rails) / byte for name, current in STATES.items()
        },
        refresh_w_per_byte=sum(map(_refresh_w, rails)) / byte,
        source=first["source"],
    )


def _power_w(row: Mapping[str, str], current_ma: str) -> float:
    return float(row["volt"]) * float(current_ma) * 1e-3


def _activate_j(row: Mapping[str, str]) -> float:
    """Charge of one activate and precharge above standing by with the page open, then closed."""
    cycle, opened = float(row["rc_clk"]), float(row["ras_clk"])
    standing = float(row["idd3n_ma"]) * opened + float(row["idd2n_ma"]) * (cycle - opened)
    clock_s = float(row["tck_ns"]) * 1e-9
    return float(row["volt"]) * (float(row["idd0_ma"]) * cycle - standing) * 1e-3 * clock_s


def _burst_j_per_bit(row: Mapping[str, str], current: str) -> float:
    """Power of a gapless stream above pages standing open, over two beats a clock on all pins."""
    clock_s = float(row["tck_ns"]) * 1e-9
    extra_w = _power_w(row, row[current]) - _power_w(row, row["idd3n_ma"])
    return extra_w * clock_s / (2 * float(row["width_bits"]))


def _refresh_w(row: Mapping[str, str]) -> float:
    extra_w = _power_w(row, row["idd5_ma"]) - _power_w(row, row["idd3n_ma"])
    return extra_w * float(row["rfc_clk"]) / float(row["refi_clk"])
