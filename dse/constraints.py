"""Constraints: bounds on columns, and what to say when nobody meets them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import SpaceError, nearest

__all__ = ["Bounds", "check_feasible", "parse_constraints", "satisfied"]

Bounds = Mapping[str, tuple[float | None, float | None]]
"""Column to (lower, upper), each a number or None."""

_TEXT = re.compile(r"^\s*(\w+)\s*(<=|>=|<|>)\s*([-+0-9.eE]+)\s*$")


def parse_constraints(texts: Sequence[str]) -> dict[str, tuple[float | None, float | None]]:
    """Read constraints such as "latency_s <= 0.001".

    Example:
        >>> parse_constraints(["latency_s<=1e-3", "size_bytes >= 10"])
        {'latency_s': (None, 0.001), 'size_bytes': (10.0, None)}

    Raises:
        SpaceError: A text is not a column, a comparison and a number.
    """
    bounds: dict[str, tuple[float | None, float | None]] = {}
    for text in texts:
        match = _TEXT.match(text)
        try:
            number = float(match[3]) if match else None
        except ValueError:
            number = None
        if match is None or number is None:
            raise SpaceError(f"constraint {text!r} is not understood; write a column, <= or >=, and a number: latency_s<=1e-3")
        low, high = bounds.get(match[1], (None, None))
        bounds[match[1]] = (low, number) if "<" in match[2] else (number, high)
    return bounds


def violations(columns: Mapping[str, Any], bounds: Bounds) -> dict[str, NDArray[np.float64]]:
    """Give how far each point is outside each bound, as a fraction of the bound (0: inside), shape (n_points,)."""
    found = {}
    for name, (low, high) in bounds.items():
        if name not in columns:
            raise SpaceError(f"constraint on {name!r}: there is no such column; {nearest(name, columns)}")
        values = np.asarray(columns[name], dtype=np.float64)
        over = np.zeros(values.shape)
        if high is not None:
            over = np.maximum(over, (values - high) / max(abs(high), 1e-30))
        if low is not None:
            over = np.maximum(over, (low - values) / max(abs(low), 1e-30))
        found[name] = np.where(np.isnan(over), np.inf, over)
    return found


def satisfied(columns: Mapping[str, Any], bounds: Bounds) -> NDArray[np.bool_]:
    """Say which points meet every constraint, shape (n_points,)."""
    outside = violations(columns, bounds)
    if not outside:
        return np.ones(len(next(iter(columns.values()))), dtype=bool)
    return np.asarray(np.all([over <= 0 for over in outside.values()], axis=0))


def check_feasible(columns: Mapping[str, Any], bounds: Bounds, what: str = "") -> NDArray[np.bool_]:
    """Say which points meet every constraint, and explain if none does.

    Args:
        columns: Result columns, shape (n_points,) each.
        bounds: The constraints.
        what: What the points are, for the message.

    Raises:
        SpaceError: Nobody meets them; the message says which constraint is to blame and what comes closest.
    """
    allowed = satisfied(columns, bounds)
    if allowed.any():
        return allowed
    outside = violations(columns, bounds)
    alone = {name: bool((over <= 0).any()) for name, over in outside.items()}
    total = np.sum([np.minimum(over, 1e9) for over in outside.values()], axis=0)
    closest = int(np.argmin(total))
    values = ", ".join(f"{name} = {float(np.asarray(columns[name])[closest]):.6g}" for name in bounds)
    blamed = [name for name, possible in alone.items() if not possible]
    reason = (
        f"no point meets {_written(blamed[0], bounds)}"
        if blamed
        else f"no point meets {' and '.join(_written(name, bounds) for name in bounds)} together"
    )
    where = f" ({what})" if what else ""
    raise SpaceError(f"{reason}{where}; the closest has {values}. Loosen the bound, or widen the space")


def _written(name: str, bounds: Bounds) -> str:
    low, high = bounds[name]
    parts = [f"{name} >= {low:g}" if low is not None else "", f"{name} <= {high:g}" if high is not None else ""]
    return " and ".join(part for part in parts if part)
