"""The best of many rows for many devices: what a search would say of each device, for all of them at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.fronts.chains import Chains
from hwmodels.mapping.fronts.costs import costs, least_costs, pair_costs, totals
from hwmodels.mapping.fronts.knobs import Devices
from hwmodels.mapping.fronts.rows import Make
from hwmodels.mapping.fronts.thinning import Box, judged, thinned
from hwmodels.mapping.mapper.factors import Ints
from hwmodels.mapping.mapper.goals import ROUNDING, Goal
from hwmodels.mapping.timing import Floats

__all__ = ["Best", "Opened", "blocks"]

BLOCK = 1 << 17
"""Costs that are computed together: a few arrays of 1 MiB stay in the cache."""


@dataclass(slots=True, eq=False)
class Best:
    """The best mapping of each device so far; mutable, as `Found` of the mapper is.

    Attributes:
        goal: What is minimized; ties of energy go to fewer cycles, of cycles to less energy.
        energy: [J]; inf: none yet; (n_devices,).
        cycles: Likewise.
        part: Number of the mappings that it is one of; -1: none; (n_devices,).
        row: Its place there; (n_devices,).
    """

    goal: Goal
    energy: Floats
    cycles: Floats
    part: Ints
    row: Ints

    @classmethod
    def nothing(cls, goal: Goal, n: int) -> Best:
        """Begin."""
        none = np.full(n, -1, dtype=np.int64)
        return cls(goal, np.full(n, np.inf), np.full(n, np.inf), none, none.copy())

    def useful(self, energy: Floats, cycles: Floats, rows: Ints) -> NDArray[np.bool_]:
        """Say which costs, or bounds of costs, are better than what some devices have; (n_devices, n), as `Found`."""
        best, second = (value[rows][:, None] for value in (self.energy, self.cycles))
        with np.errstate(invalid="ignore"):  # inf * 0
            if self.goal.objective == "edp":
                return np.asarray(np.isfinite(energy) & (energy * cycles < best * second * (1.0 - ROUNDING)))
        mine, other = energy, cycles
        if self.goal.objective == "latency":
            best, second, mine, other = second, best, cycles, energy
        tie = (mine <= best * (1.0 + ROUNDING)) & (other < second * (1.0 - ROUNDING))
        return np.asarray(np.isfinite(energy) & ((mine < best * (1.0 - ROUNDING)) | tie))

    def offer(self, energy: Floats, cycles: Floats, rows: Ints, part: int, names: Ints) -> None:
        """Keep what improves on what some devices have.

        Args:
            energy: Costs; (n_devices, n).
            cycles: Likewise.
            rows: Which devices.
            part: Number of the mappings.
            names: Their places; (n,).
        """
        if not len(names):
            return
        value, other = self.goal.value(energy, cycles), energy if self.goal.objective == "latency" else cycles
        value = np.where(np.isfinite(energy), value, np.inf)
        least = value.min(axis=1, keepdims=True)
        choice = np.where(value <= least * (1.0 + ROUNDING), other, np.inf).argmin(axis=1)
        at = np.arange(len(rows))
        self.offer_pairs(energy[at, choice], cycles[at, choice], rows, part, names[choice])

    def offer_pairs(self, energy: Floats, cycles: Floats, rows: Ints, part: int, names: Ints) -> None:
        """Keep what improves on what some devices have: one mapping for each; (n_devices,) all."""
        better = self.useful(energy[:, None], cycles[:, None], rows)[:, 0]
        gone = rows[better]
        self.energy[gone], self.cycles[gone] = energy[better], cycles[better]
        self.part[gone], self.row[gone] = part, names[better]


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """All mappings of one spatial vector that matter on devices within a box.

    A bound of each row stands for those of the rows that it covers: these are looked at where it is not enough.

    Attributes:
        kept: Rows of the front; (n,).
        cover: Of every row, the place in `kept` of one that covers it.
        bounds: Those of the front (`costs.totals`); (n, columns).
        box: Of the devices.
    """

    kept: Ints
    cover: Ints
    bounds: Floats
    box: Box

    @classmethod
    def of(cls, make: Make, chains: Chains, box: Box) -> tuple[Opened, Chains]:
        """Find the front, and leave out what a row of the front costs no more than, whatever the device.

        Returns:
            The front, and the mappings that are left.
        """
        bounds = totals(make.layout, chains.table)
        kept, cover = thinned(judged(make, bounds, box))
        exact = judged(make, chains.table, box, merged=False)
        worse = np.asarray((exact[kept[cover]] <= exact).all(axis=1))
        worse[kept] = False
        left = np.flatnonzero(~worse)
        mine = chains.take(left)
        kept = np.searchsorted(left, kept)
        return cls(kept, cover[left], totals(make.layout, mine.table[kept]), box), mine

    def look(self, make: Make, devices: Devices, rows: Ints, best: Best, part: int, chains: Chains) -> None:
        """Give some devices the best of these mappings, if it is better than what they have.

        Args:
            make: Of the devices.
            devices: All of them.
            rows: Which.
            best: What they have.
            part: Number of the mappings.
            chains: The mappings.
        """
        if not len(self.kept):
            return
        pairs: list[tuple[Ints, Ints]] = []
        for some in blocks(rows, len(self.kept)):
            energy, cycles = least_costs(make, self.bounds, devices.take(some))
            first = self.kept[best.goal.value(energy, cycles).argmin(axis=1)]
            best.offer_pairs(*pair_costs(make, chains.table[first], devices.take(some)), some, part, first)
            at, which = np.nonzero(best.useful(energy, cycles, some))
            pairs.append((some[at], which))
        device, covering = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
        order = np.argsort(self.cover, kind="stable")
        ends = np.searchsorted(self.cover[order], np.arange(len(self.kept) + 1))
        for which in np.unique(covering):
            names = order[ends[which] : ends[which + 1]]
            for some in blocks(device[covering == which], len(names)):
                best.offer(*costs(make, chains.table[names], devices.take(some)), some, part, names)


def blocks(rows: Ints, width: int) -> Iterator[Ints]:
    """Give devices some at a time.

    Args:
        rows: Which.
        width: Rows that each of them is compared with.
    """
    size = max(BLOCK // max(width, 1), 1)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
