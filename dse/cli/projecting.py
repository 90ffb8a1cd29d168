"""A projected device in a profile: by how much its ceilings grew, and how sure the rates are."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dse.cli.output import console, print_table
from dse.numbers import si

if TYPE_CHECKING:
    from hwmodels import RooflineDevice
    from workloads.workload import Program, Workload

__all__ = ["growth_rows", "print_projection", "projection_record", "times"]


def projection_record(work: Workload | Program, device: RooflineDevice, year: float) -> dict[str, Any]:
    """Give what a projection does to a device, and the latency with every rate one standard error faster and slower.

    Args:
        work: Scalar.
        device: Of its own year.
        year: Target year.
    """
    import hwmodels
    from hwmodels.trends import growths

    low, high = (
        float(hwmodels.evaluate(work, hwmodels.project(device, year, errors=errors)).latency_s)
        for errors in (1.0, -1.0)
    )
    return {
        "device": device.name,
        "from_year": device.year,
        "to_year": float(year),
        "growth": {name: asdict(growth) for name, growth in growths(device, year).items()},
        "latency_low_s": low,
        "latency_high_s": high,
    }


def growth_rows(growth: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Give table rows: quantity, factor, range of one standard error."""
    from hwmodels.trends import quantity

    return [
        [quantity(name).title, times(item["factor"]), f"{times(item['low'])} to {times(item['high'])}"]
        for name, item in growth.items()
    ]


def times(factor: float) -> str:
    """Write a factor with three digits.

    Example:
        >>> times(3.0257), times(2012.3)
        ('3.03x', '2,010x')
    """
    return f"{factor:.3g}x" if factor < 1000 else f"{float(f'{factor:.3g}'):,.0f}x"


def print_projection(record: dict[str, Any]) -> None:
    """Print a projection below the totals of a profile."""
    out = console()
    out.print()
    header = [f"{record['from_year']:g} to {record['to_year']:g}", "growth", "one standard error"]
    print_table(header, growth_rows(record["growth"]), left=(0, 2))
    low, high = si(record["latency_low_s"], "s"), si(record["latency_high_s"], "s")
    out.print(
        f"latency {low} to {high} with every rate one standard error of its fit faster or slower. Energies per "
        "operation, on-chip sizes and launch overhead have no trend and stay.",
    )
