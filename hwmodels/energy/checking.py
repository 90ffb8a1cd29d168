"""Checks of the numbers that a user passes to the models of this room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from workloads.errors import SpecError
from workloads.operator import Num

__all__ = ["fraction", "positive"]


def positive(value: Num, name: str, where: str) -> Num:
    """Return a number, or an array of them, that must be finite and above zero.

    Args:
        value: One value, or shape (n_points,).
        name: Of the argument, with its unit.
        where: The function that was called.

    Raises:
        SpecError: A value is zero, negative, infinite, not a number.

    Example:
        >>> positive(64, "size_bytes", "cache")
        64
    """
    _within(value, name, where, ok=lambda v: np.isfinite(v) & (v > 0), rule="finite and above zero")
    return value


def fraction(value: Num, name: str, where: str) -> Num:
    """Return a number, or an array of them, that must lie in 0 to 1.

    Args:
        value: One value, or shape (n_points,).
        name: Of the argument.
        where: The function that was called.

    Raises:
        SpecError: A value lies outside of 0 to 1.

    Example:
        >>> fraction(0.5, "row_hit_rate", "dram_energy")
        0.5
    """
    _within(value, name, where, ok=lambda v: (v >= 0) & (v <= 1), rule="between 0 and 1")
    return value


def _within(
    value: Num, name: str, where: str, *, ok: Callable[[NDArray[np.float64]], NDArray[np.bool_]], rule: str
) -> None:
    try:
        numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError) as fault:
        raise SpecError(
            f"{where}: {name} = {value!r} is no number; give one number or an array of shape (n_points,)"
        ) from fault
    if numbers.ndim > 1:
        raise SpecError(f"{where}: {name} has shape {numbers.shape}; give one number or an array of shape (n_points,)")
    bad = numbers[~ok(numbers)]
    if bad.size:
        raise SpecError(f"{where}: {name} = {bad[0]:g}; it must be {rule}")
