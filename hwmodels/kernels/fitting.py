"""Fits: the coefficients of a formula and its correction, on logarithms of ratios, robustly."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from hwmodels.kernels.families import Family
from hwmodels.kernels.machine import Machine
from hwmodels.kernels.records import Array, some
from hwmodels.kernels.surface import Surface, fit_surface

__all__ = ["Rows", "correction", "fit_coefficients", "fit_rows", "refit"]

Rows = list[tuple[Any, Machine | None, Array]]
"""Records, each with its machine and its times [us]."""

RANGE = 3.0  # how far a fit may go from its start, in logarithms
CORNER = 0.1  # log ratios above it count as sizes
PRIOR = 0.5  # weight of one logarithm of distance from the start, beside the root mean square of log ratios
CEILINGS = {
    "compute": 1.1,
    "memory": 1.05,
    "blend": 1.0,
    "resident": 1.5,
    "quantum": 1.0,
}  # shares; 5 to 10 % for clocks above the sheet's
MOST = 1200  # rows that coefficients are fitted on; corrections are fitted on all
LEAST = 24  # rows of a correction
SURE = 0.25  # how far the coefficients of another device are believed to lie off, in logarithms


def fit_coefficients(
    family: Family, rows: Rows, kernel: str, start: Any, free: tuple[str, ...], prior: float, rounds: int = 25
) -> Any:
    """Fit coefficients, held near those of the start.

    Args:
        family: The formula.
        rows: What was measured, of one device or several.
        kernel: Operation, where the formula asks for it.
        start: Coefficients.
        free: Names of those that the fit may turn.
        prior: Weight of one logarithm of distance from the start.
        rounds: Most steps of the search.
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
        max_nfev=rounds,
        ftol=1e-4,
        xtol=1e-3,
        bounds=(
            first - RANGE,
            [min(x + RANGE, np.log(CEILINGS.get(name, np.inf))) for x, name in zip(first, free, strict=True)],
        ),
    )
    found = {name: float(f"{value:.5g}") for name, value in zip(free, np.exp(best.x), strict=True)}
    return type(start)(**{**asdict(start), **found})


def fit_rows(
    family: Family,
    rows: Rows,
    kernel: str,
    start: Any = None,
    lengths: tuple[float, ...] | None = None,
    free: tuple[str, ...] = (),
    rounds: int = 25,
) -> tuple[Any, Surface | None]:
    """Fit coefficients and the correction of one formula to rows.

    Args:
        family: The formula.
        rows: What was measured.
        kernel: Operation, where the formula asks for it.
        start: Coefficients to start from; None: the family's.
        lengths: Of the correction; None: the family's second; (): no correction.
        free: Coefficients to fit; (): all.
        rounds: Most steps of the search.

    Returns:
        The coefficients, and the correction.
    """
    start = family.coefficients() if start is None else start
    size = sum(len(measured) for _, _, measured in rows)
    thin = [_thinned(*row, share=MOST / size) for row in rows] if size > MOST else rows
    values = fit_coefficients(family, thin, kernel, start, free or tuple(asdict(start)), PRIOR / np.sqrt(size), rounds)
    if lengths is None:
        lengths = family.corrections[min(1, len(family.corrections) - 1)] if family.corrections else ()
    if not lengths or size < LEAST:
        return values, None
    return values, correction(family, rows, kernel, values, lengths)


def correction(family: Family, rows: Rows, kernel: str, values: Any, lengths: tuple[float, ...]) -> Surface:
    """Fit the correction of a formula whose coefficients are known."""
    features = np.concatenate([record.features() for record, _, _ in rows])
    ratio = np.concatenate([np.log(t / family.time_us(record, machine, values, kernel)) for record, machine, t in rows])
    return fit_surface(features, ratio, lengths)


def _thinned(record: Any, machine: Machine | None, measured: Array, share: float) -> tuple[Any, Machine | None, Array]:
    """Keep a share of the rows, evenly: a dozen coefficients need no more than `MOST` of them."""
    kept = np.unique(np.linspace(0, len(measured) - 1, max(int(len(measured) * share), 1)).astype(int))
    return some(record, kept), machine, measured[kept]


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
