"""A device of another year: its ceilings grown by the trends of the memory wall.

What has no trend in the source stays: on-chip capacities, energies per operation and bit, static power, TDP, launch
overhead. So the energy of a projected device is that of today's silicon doing the same work, and no more. On-chip
bandwidth, where it is stated, grows with the arithmetic that it feeds (assumption).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hwmodels.records import Citation, MemoryLevel
from hwmodels.roofline import RooflineDevice
from hwmodels.trends.fits import Fit, refit
from workloads.errors import SpecError

__all__ = ["Growth", "growths", "project"]

PROJECTED = ("peak_compute", "dram_bandwidth", "interconnect_bandwidth", "memory_capacity")
"""The quantities that a device has."""

LATEST = 2100.0
EARLIEST = 1990.0

_SOURCE = "Gholami et al., AI and Memory Wall, IEEE Micro 44(3), 2024, arXiv 2403.14123; refit of tables/trend_*.csv"


@dataclass(frozen=True, slots=True)
class Growth:
    """The factor of one quantity between two years, with one standard error of its rate to either side.

    Attributes:
        quantity: What grows.
        factor: By how much.
        low: With the rate one standard error slower.
        high: With the rate one standard error faster.
    """

    quantity: str
    factor: float
    low: float
    high: float


def growths(device: RooflineDevice, year: float, fits: Mapping[str, Fit] | None = None) -> dict[str, Growth]:
    """Give the growth of a device's ceilings from its own year to another.

    Args:
        device: With a year.
        year: Target year; an earlier one shrinks them.
        fits: Trends; default: the refit of the bundled tables.

    Returns:
        Quantity to growth; low and high are swapped with the direction of time, so low is always the smaller.

    Raises:
        SpecError: The device states no year, or the year is out of range.

    Example:
        >>> import hwmodels
        >>> grown = growths(hwmodels.load("h100-sxm"), 2024)["peak_compute"]
        >>> round(grown.factor, 2), round(grown.low, 2), round(grown.high, 2)
        (3.03, 2.85, 3.21)
    """
    elapsed = _elapsed(device, year)
    trends = refit() if fits is None else fits
    found = {}
    for name in PROJECTED:
        low, high = sorted(float(trends[name].growth(elapsed, errors)) for errors in (-1.0, 1.0))
        found[name] = Growth(name, float(trends[name].growth(elapsed)), low, high)
    return found


def project(
    device: RooflineDevice, year: float, *, errors: float = 0.0, fits: Mapping[str, Fit] | None = None
) -> RooflineDevice:
    """Give a device as the trends have it in another year.

    Args:
        device: With a year.
        year: Target year.
        errors: By how many standard errors all rates are moved: 1 faster, -1 slower; the range between is the
            uncertainty of the fit, not of the future.
        fits: Trends; default: the refit of the bundled tables.

    Returns:
        The device with peak compute, DRAM and interconnect bandwidth and memory capacity of that year.

    Raises:
        SpecError: The device states no year, or the year is out of range.

    Example:
        >>> import hwmodels
        >>> now, later = hwmodels.load("h100-sxm"), project(hwmodels.load("h100-sxm"), 2030)
        >>> later.name, round(later.dram.bytes_per_s / now.dram.bytes_per_s, 2), round(later.ridge_point(3))
        ('h100-sxm@2030', 6.42, 3858)

    Source: Gholami et al., AI and Memory Wall, 2024: exponential trends, ordinary least squares.
    """
    elapsed = _elapsed(device, year)
    if elapsed == 0:
        return device
    trends = refit() if fits is None else fits
    compute, bandwidth, link, capacity = (float(trends[name].growth(elapsed, errors)) for name in PROJECTED)
    inner = [replace(level, bytes_per_s=level.bytes_per_s * compute) for level in device.memory[:-1]]
    outer: MemoryLevel = replace(
        device.dram,
        bytes_per_s=device.dram.bytes_per_s * bandwidth,
        capacity_bytes=device.dram.capacity_bytes * capacity,
    )
    note = (
        f"from {device.year:g} to {year:g}, rates moved by {errors:g} standard errors; energies and on-chip sizes stay"
    )
    return replace(
        device,
        name=f"{device.name}@{year:g}",
        year=float(year),
        matrix_flops_per_cycle=device.matrix_flops_per_cycle * compute,
        vector_flops_per_cycle=device.vector_flops_per_cycle * compute,
        vector_kinds={kind: peak * compute for kind, peak in device.vector_kinds.items()},
        memory=(*inner, outer),
        interconnect_bytes_per_s=device.interconnect_bytes_per_s * link,
        sources={**device.sources, "projection": Citation(_SOURCE, "derived", note)},
    )


def _elapsed(device: RooflineDevice, year: float) -> float:
    if not device.year:
        raise SpecError(
            f"device {device.name!r} states no year to project from; add to its file: [release] year = 2022, with "
            "source and origin"
        )
    if not EARLIEST <= year <= LATEST:
        raise SpecError(f"year {year:g} is no year to project to; give one from {EARLIEST:g} to {LATEST:g}")
    return float(year) - device.year
