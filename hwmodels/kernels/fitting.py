"""Fits: the coefficients of a formula and its correction, on logarithms of ratios, robustly."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from hwmodels.kernels.families import Family
from hwmodels.kernels.machine import Machine
from hwmodels.kernels.records import Array
from hwmodels.kernels.surface import Surface, fit_surface

__all__ = ["Rows", "choose_rows", "fit_coefficients", "fit_rows", "refit"]

Rows = list[tuple[Any, Machine | None, Array]]
"""Records, each with its machine and its times [us]."""

RANGE = 3.0  # how far a fit may go from its start, in logarithms
CORNER = 0.1  # log ratios above it count as sizes
PRIOR = 0.15  # weight of one logarithm of distance from the start, beside the root mean square of log ratios
CEILINGS = {
    "compute": 1.1,
    "memory": 1.05,
    "blend": 1.0,
    "resident": 1.5,
}  # shares; 5 to 10 % for clocks above the sheet's
SMOOTH = 3.0  # over how many doublings of a size what the formula does not know stays alike
UNKNOWN = 0.1  # how large that is, in logarithms
NOISE = 0.05  # of one measurement, in logarithms
SURE = 0.25  # how far the coefficients of another device are believed to lie off, in logarithms


def fit_coefficients(family: Family, rows: Rows, kernel: str, start: Any, free: tuple[str, ...], prior: float) -> Any:
    """Fit coefficients, held near those of the start.

    Args:
        family: The formula.
        rows: What was measured, of one device or several.
        kernel: Operation, where the formula asks for it.
        start: Coefficients.
        free: Names of those that the fit may turn.
        prior: Weight of one logarithm of distance from the start.
    """
    from scipy.optimize import least_squares

    first = np.log([getattr(start, name) for name in free])
    times = np.log(np.concatenate([measured for _, _, measured in rows]))
    scale = 1 / np.sqrt(len(times))

    def residuals(x: Array) -> Array:
        values = type(start)(**{**asdict(start), **dict(zip(free, np.exp(x), strict=True))})
        guess = np.concatenate([family.time_us(record, machine, values, kernel) for record, machine, _ in rows])
        return np.concatenate([(np.log(guess) - times) * scale, prior * (x - first)])

    best = least_squares(
        residuals,
        first,
        loss="soft_l1",
        f_scale=CORNER * scale,
        diff_step=(0.02,) * len(free),
        max_nfev=25,
        bounds=(
            first - RANGE,
            [min(x + RANGE, np.log(CEILINGS.get(name, np.inf))) for x, name in zip(first, free, strict=True)],
        ),
    )
    found = {name: float(f"{value:.5g}") for name, value in zip(free, np.exp(best.x), strict=True)}
    return type(start)(**{**asdict(start), **found})


def fit_rows(
    family: Family, rows: Rows, kernel: str, start: Any = None, counts: tuple[int, ...] | None = None
) -> tuple[Any, Surface | None]:
    """Fit all coefficients and the correction of one formula to rows.

    Args:
        family: The formula.
        rows: What was measured.
        kernel: Operation, where the formula asks for it.
        start: Coefficients to start from; None: the family's.
        counts: Gaussians of the correction; None: the family's; (): no correction.

    Returns:
        The coefficients, and the correction.
    """
    start = family.coefficients() if start is None else start
    size = sum(len(measured) for _, _, measured in rows)
    values = fit_coefficients(family, rows, kernel, start, tuple(asdict(start)), PRIOR / np.sqrt(size))
    counts = family.counts if counts is None else counts
    if not counts or size < 40:
        return values, None
    features = np.concatenate([record.features() for record, _, _ in rows])
    ratio = np.concatenate([np.log(t / family.time_us(record, machine, values, kernel)) for record, machine, t in rows])
    return values, fit_surface(features, ratio, counts)


def refit(family: Family, rows: Rows, kernel: str, start: Any, surface: Surface | None = None) -> Any:
    """Turn the few coefficients of `family.few` after a handful of measurements on a new device.

    Args:
        family: The formula.
        rows: The handful.
        kernel: Operation.
        start: Coefficients of a related device.
        surface: Correction that stays as it is.
    """
    size = sum(len(measured) for _, _, measured in rows)
    if surface is not None:
        rows = [(record, machine, t / surface.factor(record.features())) for record, machine, t in rows]
    return fit_coefficients(family, rows, kernel, start, family.few, 0.08 / SURE / np.sqrt(size))


def choose_rows(
    family: Family, record: Any, machine: Machine | None, kernel: str, start: Any, number: int
) -> list[int]:
    """Choose the kernels whose measurement says most about the coefficients, by their formula alone.

    Args:
        family: The formula.
        record: Kernels that could be measured.
        machine: The device.
        kernel: Operation.
        start: Coefficients of a related device.
        number: How many to choose.

    Returns:
        Their places in the record.

    Source: greedy A-optimal choice for Gaussian processes, Cohn, Ghahramani, Jordan, Active learning with statistical
        models, 1996, section 3.
    """
    step = 0.1
    base = np.log(family.time_us(record, machine, start, kernel))
    slopes = []
    for name in asdict(start):
        moved = type(start)(**{**asdict(start), name: getattr(start, name) * (1 + step)})
        slopes.append((np.log(family.time_us(record, machine, moved, kernel)) - base) / step)
    near = record.features() / SMOOTH
    distance = ((near[:, None, :] - near[None, :, :]) ** 2).sum(axis=2)
    slope = np.array(slopes).T * SURE
    covariance = slope @ slope.T + UNKNOWN**2 * np.exp(-0.5 * distance)
    chosen: list[int] = []
    for _ in range(min(number, len(base))):
        noisy = np.diag(covariance) + NOISE**2
        gain = (covariance**2).sum(axis=0) / noisy
        gain[chosen] = -1
        best = int(np.argmax(gain))
        chosen.append(best)
        covariance = covariance - np.outer(covariance[best], covariance[best]) / noisy[best]
    return chosen
