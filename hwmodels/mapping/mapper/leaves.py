"""The race of a search: its best against its bounds. Where bounds are not costs, the cost model decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hwmodels.mapping.mapper.factors import Floats, Ints
from hwmodels.mapping.mapper.goals import Found
from hwmodels.mapping.mapper.rebuild import Ways, batches
from hwmodels.mapping.traffic import evaluate

__all__ = ["Race", "Tally"]

FIRST, MOST = 16, 16384
"""Mappings that are looked at together, at first and at most."""


PRICED = 400
"""Costs or bounds in closed form that take as long as asking the cost model once."""


@dataclass(slots=True)
class Tally:
    """How much was looked at.

    Attributes:
        bounded: Classes of mappings that a bound was computed for.
        joined: Mappings whose cost, or a bound of it, was computed.
        asked: Mappings that the cost model was asked for.
    """

    bounded: int = 0
    joined: int = 0
    asked: int = 0


@dataclass(slots=True)
class Race:
    """What has been found, and what may still be better: mutable, as `Found` is.

    Attributes:
        found: The best.
        budget: Most mappings that the cost model is asked for; `PRICED` bounds count as one.
        tally: How much was looked at.
        left: Bounds (energy, cycles) of what was not looked at since the budget ran out, the least of each lot.
    """

    found: Found
    budget: int
    tally: Tally = field(default_factory=Tally)
    left: list[tuple[float, float]] = field(default_factory=list)

    @property
    def spent(self) -> bool:
        """Say whether the budget is used up, once anything is found: what is left is noted by its bounds."""
        if not self.found.what:
            return False
        return self.tally.asked + (self.tally.joined + self.tally.bounded) // PRICED >= self.budget

    def open_below(self, bound: float) -> bool:
        """Say whether something with such a bound of the objective may still be better; of a front, always."""
        if not self.found.what or self.found.goal.objective == "pareto":
            return True
        return bound <= self.found.goal.one(self.found.energy[0], self.found.cycles[0]) * (1.0 + 1e-9)

    def ask(
        self,
        energy: Floats,
        cycles: Floats,
        refine: Callable[[Ints], tuple[Floats, Floats]],
        ways: Callable[[Ints], Ways],
    ) -> None:
        """Ask the cost model for all mappings whose bounds are better than what has been found, best bounds first.

        Args:
            energy: Lower bounds; (n,).
            cycles: Likewise.
            refine: Gives closer bounds of some rows.
            ways: Gives the mappings of some rows.
        """
        rows = np.flatnonzero(self.found.useful(energy, cycles))
        rows = rows[np.argsort(self.found.goal.value(energy[rows], cycles[rows]), kind="stable")]
        size = FIRST
        while rows.size:
            self._ask_some(rows[:size], refine, ways)
            rows = rows[size:]
            rows = rows[self.found.useful(energy[rows], cycles[rows])]
            size = min(4 * size, MOST)

    def _ask_some(
        self, rows: Ints, refine: Callable[[Ints], tuple[Floats, Floats]], ways: Callable[[Ints], Ways]
    ) -> None:
        energy, cycles = refine(rows)
        order = np.argsort(self.found.goal.value(energy, cycles), kind="stable")
        size = FIRST
        while order.size:
            order = order[self.found.useful(energy[order], cycles[order])]
            if order.size and self.spent:
                self.leave(energy[order], cycles[order])
                return
            self._ask(ways(rows[order[:size]]))
            order = order[size:]
            size = min(2 * size, MOST)

    def leave(self, energy: Floats, cycles: Floats) -> None:
        """Note the bounds of what is not looked at, as far as they are better than what has been found."""
        better = self.found.useful(energy, cycles)
        energy, cycles = energy[better], cycles[better]
        if not energy.size:
            return
        if self.found.goal.objective == "pareto":
            rest = Found(self.found.goal)
            rest.offer(energy, cycles, lambda row: row)
            self.left += zip(map(float, rest.energy), map(float, rest.cycles), strict=True)
            return
        best = int(np.argmin(self.found.goal.value(energy, cycles)))
        self.left.append((float(energy[best]), float(cycles[best])))

    def _ask(self, ways: Ways) -> None:
        if not len(ways):
            return
        nest = ways.nest
        self.tally.asked += len(ways)
        for batch, rows in batches(ways):
            cost = evaluate(nest.frame.problem, nest.frame.device, batch, nest.frame.rules, relaxed=True)
            some = ways.take(rows)
            self.found.offer(cost.energy_j, cost.cycles, lambda row: some.take(np.array([row])))  # noqa: B023
