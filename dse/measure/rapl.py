"""Energy counters of the CPU (RAPL), where the system shows them: read before and after a measurement.

Source: Linux kernel, Documentation/power/powercap/powercap.rst (energy_uj counts up to max_energy_range_uj and starts
again). A package counts everything that runs on it, not one process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Energy", "Meter", "find_meter", "measured_energy"]

POWERCAP = Path("/sys/class/powercap")

LEAST_S = 0.5
"""Shorter measurements count a few updates of the counter only, which come about once in a millisecond [s]."""


@dataclass(frozen=True, slots=True)
class Meter:
    """Package counters.

    Attributes:
        zones: Folders of the packages; empty: there is none.
        reason: Why there is none.
    """

    zones: tuple[Path, ...]
    reason: str = ""

    def read_uj(self) -> tuple[int, ...]:
        """Read the counters, one a package [uJ]."""
        return tuple(_number(zone / "energy_uj") for zone in self.zones)

    def between_j(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        """Give the energy between two readings, each counter at most once around [J]."""
        total = 0
        for zone, first, second in zip(self.zones, before, after, strict=True):
            grown = second - first
            total += grown if grown >= 0 else grown + _number(zone / "max_energy_range_uj")
        return total * 1e-6


@dataclass(frozen=True, slots=True)
class Energy:
    """Of one execution: energy [J], and the power of the package meanwhile [W]."""

    energy_j: float
    power_w: float


def find_meter(folder: str | os.PathLike[str] = POWERCAP) -> Meter:
    """Find the counters of the CPU packages.

    Args:
        folder: Of the powercap framework.
    """
    root = Path(folder)
    if not root.is_dir():
        return Meter((), "the system shows no powercap counters (no RAPL, or a virtual machine)")
    zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if zone.name.count(":") == 1]
    if not zones:
        return Meter((), "powercap has no CPU package")
    try:
        for zone in zones:
            _number(zone / "energy_uj")
    except PermissionError:
        return Meter((), "energy counters may be read by root only; chmod a+r energy_uj lets others")
    except (OSError, ValueError):
        return Meter((), "energy counters cannot be read")
    return Meter(tuple(zones))


def measured_energy(meter: Meter, call: Callable[[], object], seconds: float = LEAST_S) -> Energy:
    """Run a call over and over and give the energy of one.

    Args:
        meter: With at least one package.
        call: What to run.
        seconds: How long [s].
    """
    runs, begin, before = 0, time.perf_counter(), meter.read_uj()
    while True:
        call()
        runs += 1
        taken = time.perf_counter() - begin
        if taken >= seconds:
            break
    spent = meter.between_j(before, meter.read_uj())
    return Energy(spent / runs, spent / taken)


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
