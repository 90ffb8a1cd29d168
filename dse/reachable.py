"""Constraints of an optimisation: refused before the work if no design can meet them, and what is kept if none does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dse import search
from dse.batches import Model, evaluate_points
from dse.constraints import Bounds, check_feasible
from dse.running import run
from dse.space import Space
from workloads.errors import SpaceError, nearest

if TYPE_CHECKING:
    from dse.pipeline import Optimized

__all__ = ["BOUNDED", "UnmetError", "check_reachable"]

BOUNDED = ("latency_s", "energy_j", "size_bytes", "peak_bytes")
"""Columns of a design that constraints may bound, beside its measured `drop`."""

PROBED = 2048
"""Points that are searched for one that meets the constraints, in each space."""


class UnmetError(SpaceError):
    """No measured design meets the limits on some device; what was measured is in `found`."""

    def __init__(self, message: str, found: Optimized) -> None:
        super().__init__(message)
        self.found = found


def check_reachable(model: Model, spaces: Sequence[Space], bounds: Bounds, what: str) -> None:
    """Search spaces for a point that meets constraints, before accuracy is looked at.

    The search starts where each bounded column alone is best, so a bound that one column cannot reach is found at once.

    Args:
        model: Gives the columns `BOUNDED`.
        spaces: With discrete knobs.
        bounds: The constraints; those on `drop` are left for later.
        what: Where, for the message.

    Raises:
        SpaceError: There is no such column, or the search finds no point that meets them; the closest is named.
    """
    for name in bounds:
        if name not in (*BOUNDED, "drop"):
            raise SpaceError(f"constraint on {name!r}: there is no such column; {nearest(name, (*BOUNDED, 'drop'))}")
    known = {name: limits for name, limits in bounds.items() if name in BOUNDED}
    if not known:
        return
    parts = [_searched(model, space, known) for space in spaces]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in known}
    count = len(next(iter(columns.values())))
    check_feasible(columns, known, what=f"{what}, of {count:,} design points searched for it, whatever their accuracy")


def _searched(model: Model, space: Space, bounds: Bounds) -> Any:
    rng = np.random.default_rng(0)
    sides = [(name, limits) for name, limits in bounds.items()]
    best = [name for name, (_, high) in sides if high is not None] + [f"-{name}" for name, (low, _) in sides if low]
    minimize = tuple(best) or tuple(bounds)
    starts = search.additive_starts(space, partial(evaluate_points, space, model), minimize, rng=rng)
    return run(
        search.nsga2(space, rng=rng, starts=starts), model, budget=PROBED, minimize=minimize, constraints=bounds
    ).columns
