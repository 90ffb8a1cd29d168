"""The data of "AI and Memory Wall": what was reached when, from the bundled tables.

Source: Gholami et al., AI and Memory Wall, IEEE Micro 44(3), 2024, arXiv 2403.14123, and its repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from hwmodels.cited import cited_rows
from workloads.errors import SpecError, nearest

__all__ = ["QUANTITIES", "Point", "Quantity", "points_of", "quantity", "table", "years"]


@dataclass(frozen=True, slots=True)
class Point:
    """One marker.

    Attributes:
        year: Its date, in years.
        value: In the quantity's unit.
        label: What it is; empty where the source does not say.
    """

    year: float
    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Quantity:
    """What grows.

    Attributes:
        name: Of the trend.
        title: For people.
        unit: Of the values.
        file: Bundled table, `tables/trend_*.csv`.
        column: Which of its columns is the value.
        select: Column and value that its rows have.
        headline: Published growth per two years.
        long_run: Published growth per twenty years; 0: none.
    """

    name: str
    title: str
    unit: str
    file: str
    column: str
    select: tuple[str, str]
    headline: float
    long_run: float = 0.0


# Headlines: abstract of arXiv 2403.14123 and the figures of its repository (tables/trend_rates.csv).
QUANTITIES: dict[str, Quantity] = {
    item.name: item
    for item in (
        Quantity(
            "peak_compute", "peak compute", "GFLOP/s", "hardware", "absolute_estimate", ("series", "peak_compute"), 3.0,
            60_000,
        ),
        Quantity(
            "dram_bandwidth", "DRAM bandwidth", "GB/s", "hardware", "absolute_estimate", ("series", "dram_bandwidth"),
            1.6, 100,
        ),
        Quantity(
            "interconnect_bandwidth", "interconnect bandwidth", "GT/s a lane", "hardware", "absolute_estimate",
            ("series", "interconnect"), 1.4, 30,
        ),
        Quantity(
            "memory_capacity", "accelerator memory", "GB", "model_size", "value", ("kind", "accelerator memory"),
            2.0,
        ),
        Quantity(
            "model_parameters", "transformer parameters", "billion", "model_size", "value",
            ("kind", "transformer"), 410.0,
        ),
        Quantity(
            "training_compute", "transformer training", "PFLOP", "training_compute", "training_compute",
            ("kind", "transformer"), 750.0,
        ),
    )
}  # fmt: skip
"""What the source gives a rate for."""


def quantity(name: str) -> Quantity:
    """Look a quantity up.

    Raises:
        SpecError: There is none of this name.

    Example:
        >>> quantity("dram_bandwidth").headline
        1.6
    """
    if name not in QUANTITIES:
        raise SpecError(f"there is no trend {name!r}; {nearest(name, QUANTITIES)}")
    return QUANTITIES[name]


def table(name: str) -> tuple[Mapping[str, str], ...]:
    """Read a bundled table: hardware, model_size, training_compute, models, training_memory or rates.

    Example:
        >>> len(table("hardware"))
        59
    """
    return cited_rows(f"trend_{name}")


def points_of(name: str) -> tuple[Point, ...]:
    """Give the markers that a quantity's rate is fitted to, by date.

    Raises:
        SpecError: There is no such quantity.

    Example:
        >>> points_of("interconnect_bandwidth")[0]
        Point(year=2003.0, value=2.5, label='PCIe 1.0a')
    """
    wanted = quantity(name)
    column, value = wanted.select
    rows = [row for row in table(wanted.file) if row[column] == value]
    found = [Point(years(row["date"]), float(row[wanted.column]), row["label"]) for row in rows]
    return tuple(sorted(found, key=lambda point: point.year))


def years(text: str) -> float:
    """Turn an ISO date, or a year alone, into years.

    Example:
        >>> years("2020-07-02"), years("2016")
        (2020.5, 2016.0)
    """
    if len(text) == 4:
        return float(text)
    day = date.fromisoformat(text)
    start, end = date(day.year, 1, 1), date(day.year + 1, 1, 1)
    return day.year + (day - start).days / (end - start).days
