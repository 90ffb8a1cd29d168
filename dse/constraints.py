"""Constraints: bounds on columns, and what to say when nobody meets them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import SpaceError, SpecError, nearest

__all__ = [
    "Bounds",
    "check_feasible",
    "parse_constraints",
    "satisfied",
    "total_violation",
    "violations",
]

Bounds = Mapping[str, tuple[float | None, float | None]]
"""Column to (lower, upper), each a number or None."""

_FAR = 1e9
_TEXT = re.compile(r"^\s*(\w+)\s*(<=|>=|<|>)\s*(\S.*?)\s*$")
_SAMPLE = "latency_s <= 0.001, or size_bytes <= 2 MB"
_UNITS = {"s": "s", "j": "J", "w": "W", "hz": "Hz", "bytes": "B", "mm2": "mm^2"}


def parse_constraints(texts: Sequence[str]) -> dict[str, tuple[float | None, float | None]]:
    """Read constraints such as "latency_s <= 0.001" or "size_bytes <= 2 MB": a column, a comparison, a quantity.

    Example:
        >>> parse_constraints(["latency_s<=1e-3", "size_bytes <= 2 MB"])
        {'latency_s': (None, 0.001), 'size_bytes': (None, 2000000.0)}

    Raises:
        SpaceError: A text is not that, or its unit is not the column's.
    """
    bounds: dict[str, tuple[float | None, float | None]] = {}
    for text in texts:
        match = _TEXT.match(text)
        if match is None:
            raise SpaceError(f"constraint {text!r} is not understood; write column <= number: {_SAMPLE}")
        number = _number(text, match[1], match[3])
        low, high = bounds.get(match[1], (None, None))
        bounds[match[1]] = (low, number) if "<" in match[2] else (number, high)
    return bounds


def _number(text: str, column: str, written: str) -> float:
    """Read the right side of a constraint, in the unit that the column's name ends in."""
    try:
        number = float(written)
    except ValueError:
        unit = _UNITS.get(column.rpartition("_")[2])
        if unit is None:
            raise SpaceError(f"constraint {text!r}: {written!r} is not a number; write: {_SAMPLE}") from None
        number = _quantity(text, written, unit)
    if number != number:
        raise SpaceError(f"constraint {text!r} is not a bound; write: {_SAMPLE}")
    return number


def _quantity(text: str, written: str, unit: str) -> float:
    from hwmodels.units import parse_quantity

    try:
        return parse_quantity(written, unit)
    except (SpecError, KeyError) as error:
        raise SpaceError(f"constraint {text!r}: {written!r} is not a number in {unit}; write: {_SAMPLE}") from error


def violations(columns: Mapping[str, Any], bounds: Bounds) -> dict[str, NDArray[np.float64]]:
    """Give how far each point is outside each bound, as a fraction of the bound (0: inside), shape (n_points,).

    NaN is infinitely far outside. Of a bound of zero the distance itself is given.

    Raises:
        SpaceError: There is no such column.

    Example:
        >>> violations({"latency_s": [1.0, 3.0]}, {"latency_s": (None, 2.0)})["latency_s"].tolist()
        [0.0, 0.5]
    """
    found = {}
    for name, (low, high) in bounds.items():
        if name not in columns:
            raise SpaceError(f"constraint on {name!r}: there is no such column; {nearest(name, columns)}")
        values = np.asarray(columns[name], dtype=np.float64)
        over = np.where(np.isnan(values), np.inf, 0.0)
        with np.errstate(over="ignore"):
            if high is not None and high < np.inf:
                over = np.maximum(over, (values - high) / (abs(high) or 1.0))
            if low is not None and low > -np.inf:
                over = np.maximum(over, (low - values) / (abs(low) or 1.0))
        found[name] = np.where(np.isnan(over), np.inf, over)
    return found


def total_violation(columns: Mapping[str, Any], bounds: Bounds) -> NDArray[np.float64]:
    """Add up how far each point is outside all bounds, shape (n_points,); what is infinitely far counts as far.

    Example:
        >>> total_violation({"a": [1.0, 3.0], "b": [1.0, 0.5]}, {"a": (None, 2.0), "b": (1.0, None)}).tolist()
        [0.0, 1.0]
    """
    total = np.zeros(len(next(iter(columns.values()))))
    for over in violations(columns, bounds).values():
        total += np.minimum(over, _FAR)
    return total


def satisfied(columns: Mapping[str, Any], bounds: Bounds) -> NDArray[np.bool_]:
    """Say which points meet every constraint, shape (n_points,).

    Example:
        >>> satisfied({"latency_s": [1.0, 3.0]}, {"latency_s": (None, 2.0)}).tolist()
        [True, False]
    """
    return np.asarray(total_violation(columns, bounds) <= 0)


def check_feasible(columns: Mapping[str, Any], bounds: Bounds, what: str = "") -> NDArray[np.bool_]:
    """Say which points meet every constraint, and explain if none does.

    Args:
        columns: Result columns, shape (n_points,) each.
        bounds: The constraints.
        what: What the points are, for the message.

    Raises:
        SpaceError: Nobody meets them; the message says which constraint is to blame and what comes closest.

    Example:
        >>> check_feasible({"latency_s": [1.0, 3.0]}, {"latency_s": (None, 2.0)}).tolist()
        [True, False]
    """
    allowed = satisfied(columns, bounds)
    if allowed.any():
        return allowed
    where = f" ({what})" if what else ""
    if not len(allowed):
        raise SpaceError(f"there are no points to choose from{where}")
    closest = int(np.argmin(total_violation(columns, bounds)))
    values = ", ".join(f"{name} = {float(np.asarray(columns[name])[closest]):.6g}" for name in bounds)
    blamed = [name for name, over in violations(columns, bounds).items() if not (over <= 0).any()]
    reason = (
        " and ".join(f"no point meets {_written(name, bounds)}" for name in blamed)
        if blamed
        else f"no point meets {' and '.join(_written(name, bounds) for name in bounds)} together"
    )
    raise SpaceError(f"{reason}{where}; the closest has {values}. Loosen the bound, or widen the space")


def _written(name: str, bounds: Bounds) -> str:
    low, high = bounds[name]
    parts = [f"{name} >= {low:g}" if low is not None else "", f"{name} <= {high:g}" if high is not None else ""]
    return " and ".join(part for part in parts if part)
