"""Rates of growth: ordinary least squares of the logarithm on the date."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.trends.points import QUANTITIES, Point, points_of, quantity
from workloads.errors import SpecError
from workloads.operator import Num

__all__ = ["Fit", "fit", "refit"]


@dataclass(frozen=True, slots=True)
class Fit:
    """An exponential trend: log(value) = log_value + rate x (year - mean_year).

    Attributes:
        name: Of the quantity.
        count: Number of points.
        rate: Growth of the logarithm [1/year].
        rate_error: Standard error of the rate [1/year].
        mean_year: Mean date of the points.
        log_value: Mean logarithm of the values.
        scatter: Standard deviation of the points around the trend, of the logarithm.
        headline: Published growth per two years; nan: none.
    """

    name: str
    count: int
    rate: float
    rate_error: float
    mean_year: float
    log_value: float
    scatter: float
    headline: float = math.nan

    @property
    def per_two_years(self) -> float:
        """Growth per two years, as the source states it."""
        return math.exp(2 * self.rate)

    @property
    def deviation(self) -> float:
        """Growth per two years relative to the headline, less 1."""
        return self.per_two_years / self.headline - 1

    def growth(self, elapsed: Num, errors: float = 0.0) -> Num:
        """Give the factor of growth over some years.

        Args:
            elapsed: Years, one or shape (n_points,); negative: backwards.
            errors: By how many standard errors the rate is moved: 1 faster, -1 slower.

        Example:
            >>> round(refit()["peak_compute"].growth(2.0), 2)
            3.03
        """
        factor = np.exp((self.rate + errors * self.rate_error) * np.asarray(elapsed, dtype=np.float64))
        return factor if factor.ndim else float(factor)

    def value(self, year: Num) -> Num:
        """Give the trend's value in a year, in the unit of the points.

        Example:
            >>> round(refit()["interconnect_bandwidth"].value(2003.0), 1)
            2.3
        """
        value = self.growth(np.asarray(year, dtype=np.float64) - self.mean_year)
        return math.exp(self.log_value) * value


def fit(points: Sequence[Point], name: str = "", headline: float = math.nan) -> Fit:
    """Fit a trend to points.

    Raises:
        SpecError: Fewer than three points (no standard error), a value that is not positive, or one date only.

    Example:
        >>> doubling = [Point(2000.0 + year, 2.0**year, "") for year in range(4)]
        >>> found = fit(doubling)
        >>> round(found.per_two_years, 6), found.rate_error < 1e-9
        (4.0, True)

    Source: ordinary least squares; standard error of the slope from the residuals with n - 2 degrees of freedom.
    """
    year = np.array([point.year for point in points])
    value = np.array([point.value for point in points])
    if len(points) < 3 or not (value > 0).all() or np.ptp(year) == 0:
        raise SpecError(
            f"trend {name!r}: a fit needs at least three points with positive values at different dates; "
            f"found {len(points)} points"
        )
    logs = np.log(value)
    centred = year - year.mean()
    spread = float(centred @ centred)
    rate = float(centred @ logs) / spread
    residuals = logs - logs.mean() - rate * centred
    scatter = math.sqrt(float(residuals @ residuals) / (len(points) - 2))
    return Fit(
        name=name,
        count=len(points),
        rate=rate,
        rate_error=scatter / math.sqrt(spread),
        mean_year=float(year.mean()),
        log_value=float(logs.mean()),
        scatter=scatter,
        headline=headline,
    )


def refit() -> dict[str, Fit]:
    """Fit every quantity of the bundled tables anew.

    Returns:
        Quantity to fit, in the order of `QUANTITIES`.

    Example:
        >>> [round(found.per_two_years, 2) for found in refit().values()]
        [3.03, 1.59, 1.42, 1.83, 413.43, 750.04]
    """
    return {name: fit(points_of(name), name, quantity(name).headline) for name in QUANTITIES}
