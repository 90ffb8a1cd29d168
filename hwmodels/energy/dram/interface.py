"""Energy of a bit at the pins of a DDR3, DDR4 or WideIO interface: CACTI-IO, between its clocks."""

from __future__ import annotations

from functools import cache as remember

import numpy as np

from hwmodels.cited import cited_rows
from hwmodels.energy.checking import checked, positive
from hwmodels.energy.estimate import Estimate
from workloads.errors import SpecError, nearest
from workloads.operator import Num

__all__ = ["dram_interface_energy"]

DIRECTIONS = {"read": "READ", "write": "WRITE"}


@checked
def dram_interface_energy(interface: str, bus_hz: Num, *, ranks: int = 1, direction: str = "read") -> Estimate:
    """Estimate the interface energy of a bit at full rate: drivers, PHY, termination, bias; half of the bits toggle.

    Args:
        interface: "DDR3", "DDR4" or "WideIO".
        bus_hz: Clock of the bus; one value, or shape (n_points,). DDR moves two bits a pin and clock.
        ranks: 1, 2 or 4; WideIO has one.
        direction: "read" or "write".

    Raises:
        SpecError: An interface, rank or clock that CACTI-IO was not run for, or whose timing margin it found negative,
            which makes its power unreliable: all of LPDDR2, and DDR3 at 400 and 1067 MHz.

    Source: Jouppi et al., CACTI-IO, ICCAD 2012; table `dram_io`.

    Example:
        >>> estimate = dram_interface_energy("DDR4", 1.6e9)
        >>> print(f"{estimate.value * 1e12:.3f} pJ/bit, {estimate.origin}")
        12.579 pJ/bit, table
    """
    clocks, energies, source = _series(interface, ranks, direction)
    bus_mhz = np.atleast_1d(positive(bus_hz, "bus_hz", "dram_interface_energy")) / 1e6
    # 266 MHz may come as 266.0000000001e6.
    nearest_row = np.abs(bus_mhz[:, None] - clocks[None, :]).argmin(axis=1)
    exact = np.isclose(clocks[nearest_row], bus_mhz, rtol=1e-9, atol=0)
    outside = bus_mhz[~exact & ((bus_mhz < clocks[0]) | (bus_mhz > clocks[-1]))]
    if outside.size:
        raise SpecError(
            f"dram_interface_energy: {interface} at {outside[0]:g} MHz; sound rows reach from {clocks[0]:g} to "
            f"{clocks[-1]:g} MHz (beyond them CACTI-IO was not run, or found a negative timing margin); stay between"
        )
    values = np.exp(np.interp(np.log(bus_mhz), np.log(clocks), np.log(energies)))
    values = np.where(exact, energies[nearest_row], values) * 1e-12
    factor = np.where(exact, 1.0, _missed())
    shape = (lambda a: float(a[0])) if np.ndim(bus_hz) == 0 else (lambda a: a)
    return Estimate(
        value=shape(values),
        unit="J/bit",
        low=shape(values / factor),
        high=shape(values * factor),
        origin="table" if exact.all() else "interpolated",
        formula=f"{interface} {direction}, {ranks} rank(s): I/O, PHY, termination and bias over the peak rate, lines "
        "in logs between clocks; band: 90 % of left-out clocks",
        source=source,
    )


@remember
def _series(interface: str, ranks: int, direction: str) -> tuple[np.ndarray, np.ndarray, str]:
    every = cited_rows("dram_io")
    if direction not in DIRECTIONS:
        raise SpecError(f"dram_interface_energy: direction {direction!r}; {nearest(str(direction), DIRECTIONS)}")
    known = {row["interface"] for row in every}
    if interface not in known:
        raise SpecError(f"dram_interface_energy: interface {interface!r}; {nearest(str(interface), known)}")
    rows = [row for row in every if row["interface"] == interface and row["state"] == DIRECTIONS[direction]]
    sound = [row for row in rows if row["timing_ok"] == "1"]
    if not sound:
        raise SpecError(
            f"dram_interface_energy: {interface}: CACTI-IO finds a negative timing margin at each clock, so its power "
            "is unreliable; take DDR4, or the I/O part of dram_energy('LPDDR4')"
        )
    mine = sorted((row for row in sound if row["ranks"] == str(ranks)), key=lambda row: float(row["bus_mhz"]))
    if not mine:
        have = sorted({row["ranks"] for row in sound})
        raise SpecError(f"dram_interface_energy: {interface} with ranks = {ranks!r}; sound rows have {', '.join(have)}")
    clocks = np.array([float(row["bus_mhz"]) for row in mine])
    return clocks, np.array([float(row["io_pj_per_bit"]) for row in mine]), mine[0]["source"]


@remember
def _missed() -> float:
    """Give the factor that 90 % of the inner clocks miss by at most when each is left out of its series."""
    errors = []
    for interface in ("DDR4", "WideIO"):
        for ranks in (1, 2, 4) if interface == "DDR4" else (1,):
            for direction in DIRECTIONS:
                clocks, energies, _ = _series(interface, ranks, direction)
                x, y = np.log(clocks), np.log(energies)
                inner = range(1, len(x) - 1)
                errors += [abs(np.interp(x[i], np.delete(x, i), np.delete(y, i)) - y[i]) for i in inner]
    return float(np.exp(np.quantile(errors, 0.9)))
