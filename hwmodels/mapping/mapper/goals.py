"""What a search looks for, and what it has found so far: the best mapping, or the energy-latency front."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.mapper.factors import Floats

__all__ = ["ROUNDING", "Found", "Goal", "Objective"]

Objective = Literal["edp", "energy", "latency", "pareto"]

ROUNDING = 1e-12
"""Relative difference below which two costs are the same: sums of a few dozen float64 terms differ by less."""


@dataclass(frozen=True, slots=True)
class Goal:
    """An objective as arithmetic on (energy, cycles); ties of energy go to fewer cycles, of cycles to less energy."""

    objective: Objective

    def value(self, energy: Floats, cycles: Floats) -> Floats:
        """Give what is minimized; for a front the product, which says where to look first."""
        if self.objective == "energy":
            return energy
        if self.objective == "latency":
            return cycles
        return energy * cycles

    def one(self, energy: float, cycles: float) -> float:
        """Give what is minimized of one mapping."""
        return float(self.value(np.asarray(energy), np.asarray(cycles)))


@dataclass(slots=True)
class Found:
    """What has been found: mutable, because a search is a race between its bounds and its best.

    Attributes:
        goal: What is looked for.
        energy: Of the mappings that are kept; shape (n,).
        cycles: Likewise.
        what: What names each of them.
    """

    goal: Goal
    energy: Floats = field(default_factory=lambda: np.zeros(0))
    cycles: Floats = field(default_factory=lambda: np.zeros(0))
    what: list[Any] = field(default_factory=list)

    def useful(self, energy: Floats, cycles: Floats) -> NDArray[np.bool_]:
        """Say which of some costs (or lower bounds of costs) are better than what has been found."""
        if not self.what:
            return np.isfinite(energy) & np.isfinite(cycles)
        less = 1.0 - ROUNDING
        if self.goal.objective == "edp":
            return np.asarray(energy * cycles < self.energy[0] * self.cycles[0] * less)
        if self.goal.objective == "energy":
            best, second, mine, other = self.energy[0], self.cycles[0], energy, cycles
        elif self.goal.objective == "latency":
            best, second, mine, other = self.cycles[0], self.energy[0], cycles, energy
        else:
            return self._beyond_front(energy, cycles)
        tie = (mine <= best / less) & (other < second * less)
        return np.asarray((mine < best * less) | tie)

    def _beyond_front(self, energy: Floats, cycles: Floats) -> NDArray[np.bool_]:
        """Say which are dominated by no member: the front is kept by ascending cycles, so descending energy."""
        place = np.searchsorted(self.cycles, cycles * (1.0 + ROUNDING), side="right") - 1
        level = np.where(place >= 0, self.energy[np.maximum(place, 0)], np.inf)
        return np.asarray(energy < level * (1.0 - ROUNDING))

    def offer(self, energy: Floats, cycles: Floats, name: Callable[[int], Any]) -> None:
        """Keep what improves on what has been found.

        Args:
            energy: Exact costs; shape (n,).
            cycles: Likewise.
            name: Names the mapping of a row; only asked for rows that are kept.
        """
        rows = np.flatnonzero(self.useful(energy, cycles))
        if not rows.size:
            return
        if self.goal.objective == "pareto":
            self._merge(energy[rows], cycles[rows], [int(row) for row in rows], name)
            return
        keys = (cycles, energy) if self.goal.objective == "energy" else (energy, cycles)
        value = self.goal.value(energy[rows], cycles[rows])
        least = rows[value <= value.min() * (1.0 + ROUNDING)]
        row = int(least[np.lexsort([key[least] for key in keys[:1]])[0]])
        self.energy, self.cycles, self.what = energy[row : row + 1].copy(), cycles[row : row + 1].copy(), [name(row)]

    def _merge(self, energy: Floats, cycles: Floats, rows: list[int], name: Callable[[int], Any]) -> None:
        every_energy = np.concatenate([self.energy, energy])
        every_cycles = np.concatenate([self.cycles, cycles])
        order = np.lexsort((every_energy, every_cycles))
        least = np.minimum.accumulate(every_energy[order])
        before = np.concatenate([[np.inf], least[:-1]])
        kept = order[every_energy[order] < before * (1.0 - ROUNDING)]
        old = len(self.what)
        self.what = [self.what[place] if place < old else name(rows[place - old]) for place in kept]
        self.energy, self.cycles = every_energy[kept], every_cycles[kept]
