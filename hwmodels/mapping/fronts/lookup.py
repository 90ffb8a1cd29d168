"""An operator solved for all devices of one make: `front(operator, accelerator)`, then `Front.answer(devices)`.

Interface. A make of devices is an accelerator without its capacities, bandwidths, energies, static power and clock.
What `answer` gives each device is what `search` finds for it: the least energy, latency or energy-delay product of all
mappings with perfect factors, all orders, wired spatial vectors and allowed bypass. Spatial vectors are solved when a
device first needs them: as in `search`, most never are, because their bounds are worse than what has been found.

Operators with sliding windows have no front: each device is searched by itself, once (`Searched`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hwmodels.mapping.fronts.answers import Best, Opened, blocks
from hwmodels.mapping.fronts.chains import Chains, chains_of
from hwmodels.mapping.fronts.costs import costs, least_costs
from hwmodels.mapping.fronts.knobs import Devices, same_make
from hwmodels.mapping.fronts.rows import Make
from hwmodels.mapping.fronts.thinning import Box
from hwmodels.mapping.fronts.vectors import Vectors, vectors_of
from hwmodels.mapping.mapper.factors import Ints
from hwmodels.mapping.mapper.goals import Goal, Objective
from hwmodels.mapping.mapper.results import trimmed
from hwmodels.mapping.problem import Problem
from hwmodels.mapping.records import Mapping
from hwmodels.mapping.timing import Floats
from hwmodels.spatial import Accelerator
from workloads.errors import MappingError

__all__ = ["Answer", "Front"]

FEW, SEVERAL = 512, 32
"""Devices for which a spatial vector is not solved as a whole, unless they are most of several."""

MOST_BOUNDS = 1 << 20
"""Bounds of spatial vectors that are computed together."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The best mapping of an operator on each of some devices.

    Attributes:
        energy_j: [J]; inf: nothing fits; (n_devices,).
        cycles: Likewise.
        part: Number of the mappings that it is one of; -1: nothing fits; (n_devices,).
        row: Its place there; (n_devices,).
    """

    energy_j: Floats
    cycles: Floats
    part: Ints
    row: Ints


@dataclass(slots=True, eq=False)
class Front:
    """All mappings of an operator that are the best on some device; mutable, since it is solved as far as it is asked.

    Attributes:
        make: Of the devices; its accelerator has the largest capacities that may be asked for.
        vectors: All spatial vectors.
        parts: Mappings, as they were found.
        opened: Spatial vectors that are solved, and the places of their mappings among the parts.
        box: Of the devices that these are solved for.
        looked: Of spatial vectors that are not solved as a whole, tiles of level 1 and the place of their mappings.
        tops: Closer bounds of spatial vectors, by room.
        stored: What was `solved` when it was last written or read.
    """

    make: Make
    vectors: Vectors
    parts: list[Chains] = field(default_factory=list)
    opened: dict[int, tuple[Opened, int]] = field(default_factory=dict)
    box: Box | None = None
    looked: dict[int, list[tuple[Ints, int]]] = field(default_factory=dict)
    tops: dict[tuple[int, tuple[float, ...]], Floats] = field(default_factory=dict)
    stored: tuple[int, ...] = ()

    @classmethod
    def of(cls, problem: Problem, accelerator: Accelerator, relaxed: bool = False) -> Front:
        """Bound all spatial vectors of an operator without windows.

        Args:
            problem: The operator, as accelerators of this make see it.
            accelerator: With the largest capacities that are asked for.
            relaxed: As in `search`.
        """
        make = Make(problem, accelerator, accelerator.conventions)
        return cls(make, vectors_of(make, relaxed))

    @property
    def solved(self) -> tuple[int, ...]:
        """Places of the mappings that were found, but for those of spatial vectors that are solved anew."""
        whole = [part for opened, part in self.opened.values() if opened.box is self.box]
        return tuple(sorted([*whole, *(part for looked in self.looked.values() for _, part in looked)]))

    @property
    def entries(self) -> int:
        """Rows of the front."""
        return sum(len(opened.kept) for opened, _ in self.opened.values())

    @property
    def alternates(self) -> int:
        """Rows behind the front, which differ from it by what overlaps at the ends."""
        return sum(len(self.parts[part]) - len(opened.kept) for opened, part in self.opened.values())

    def answer(self, devices: Devices | Sequence[Accelerator], objective: Objective = "edp") -> Answer:
        """Give each device its best mapping.

        Args:
            devices: Of the front's make, with at most its capacities.
            objective: "edp", "energy" or "latency".

        Raises:
            MappingError: Another objective, make, or more capacity than the front is solved for.
        """
        if objective not in ("edp", "energy", "latency"):
            raise MappingError(f"objective {objective!r}: a front answers edp, energy or latency")
        if not isinstance(devices, Devices):
            for one in devices:
                same_make(self.make.accelerator, one)
            devices = Devices.of(devices, self.make.rules)
        self._check_room(devices)
        self._fit_box(devices)
        best = Best.nothing(Goal(objective), len(devices))
        size = max(MOST_BOUNDS // max(len(self.vectors), 1), 1)
        for start in range(0, len(devices), size):
            self._answer(devices, np.arange(start, min(start + size, len(devices))), best)
        return Answer(best.energy, best.cycles, best.part, best.row)

    def mapping(self, answer: Answer, device: int) -> Mapping:
        """Give the mapping of one device.

        Raises:
            MappingError: Nothing fits.
        """
        part = int(answer.part[device])
        if part < 0:
            raise MappingError(f"{self.make.problem.name}: no mapping fits device {device}; give it more capacity")
        return trimmed(self.parts[part].mapping(int(answer.row[device])), self.make.problem)

    def _answer(self, devices: Devices, rows: Ints, best: Best) -> None:
        """Look into spatial vectors, always that which is the most promising of most devices, until none is better."""
        energy, cycles = least_costs(self.make, self.vectors.least, devices.take(rows))
        value = best.goal.value(energy, cycles)
        left = np.isfinite(value)
        while left.any():
            first = np.where(left, value, np.inf).argmin(axis=1)[left.any(axis=1)]
            vector = int(np.bincount(first, minlength=len(self.vectors)).argmax())
            mine = self._promising(vector, devices, rows[left[:, vector]], best)
            most = 2 * mine.size > len(rows) and len(rows) >= SEVERAL
            if mine.size and (mine.size > FEW or most or vector in self.opened):
                opened, part = self._open(vector)
                opened.look(self.make, devices, mine, best, part, self.parts[part])
            elif mine.size:
                self._look_closely(vector, devices, mine, best)
            left[:, vector] = False
            left &= best.useful(energy, cycles, rows)

    def _promising(self, vector: int, devices: Devices, rows: Ints, best: Best) -> Ints:
        """Give the devices for which closer bounds leave hope that a spatial vector holds something better."""
        assert self.box is not None
        unique, which = np.unique(self._rooms(devices, rows), axis=0, return_inverse=True)
        found = []
        for number, room in enumerate(unique):
            key = (vector, tuple(map(float, room)))
            if key not in self.tops:
                rooms = [None if np.isinf(one) else int(one) for one in room]
                self.tops[key] = self.vectors.thin_tops(vector, rooms, self.box)
            for some in blocks(rows[which.reshape(-1) == number], len(self.tops[key])):
                hope = best.useful(*least_costs(self.make, self.tops[key], devices.take(some)), some)
                found.append(some[hope.any(axis=1)])
        return np.sort(np.concatenate(found))

    def _look_closely(self, vector: int, devices: Devices, rows: Ints, best: Best) -> None:
        """Look at those mappings of a spatial vector that bounds leave a few devices."""
        room = self._rooms(devices, rows).max(axis=0)
        tops, tile = self.vectors.tops(vector, [None if np.isinf(one) else int(one) for one in room])
        hope = np.zeros(len(tops), dtype=bool)
        for some in blocks(rows, len(tops)):
            hope |= best.useful(*least_costs(self.make, tops, devices.take(some)), some).any(axis=0)
        wanted = np.unique(tile[hope])
        looked = self.looked.setdefault(vector, [])
        missing = np.setdiff1d(wanted, np.concatenate([tiles for tiles, _ in looked] or [wanted[:0]]))
        if missing.size:
            self.parts.append(chains_of(self.make, self.vectors.nest(vector), missing))
            looked.append((missing, len(self.parts) - 1))
        for tiles, part in looked:
            table = self.parts[part].table
            for some in blocks(rows, len(table)) if np.isin(tiles, wanted).any() else ():
                best.offer(*costs(self.make, table, devices.take(some)), some, part, np.arange(len(table)))

    def _rooms(self, devices: Devices, rows: Ints) -> Floats:
        """Round the capacities of the levels inside level 1 up to powers of 2, of level 1 to the largest."""
        room = devices.capacity[rows].copy()
        inner = room[:, 2:]
        some = np.isfinite(inner) & (inner > 0)
        room[:, 2:] = np.where(some, 2.0 ** np.ceil(np.log2(np.where(some, inner, 1.0))), inner)
        most = [np.inf if one.capacity_words is None else one.capacity_words for one in self.make.accelerator.levels]
        room[:, :2] = most[:2]
        return np.minimum(room, most)

    def _open(self, vector: int) -> tuple[Opened, int]:
        """Solve a spatial vector, if it is not solved yet; give its front and the place of its mappings."""
        assert self.box is not None
        if vector not in self.opened or self.opened[vector][0].box is not self.box:
            opened, chains = Opened.of(self.make, chains_of(self.make, self.vectors.nest(vector)), self.box)
            self.parts.append(chains)
            self.opened[vector] = opened, len(self.parts) - 1
        return self.opened[vector]

    def _fit_box(self, devices: Devices) -> None:
        box = Box.of(devices)
        if self.box is None or not self.box.holds(box):
            self.box = box.around(box if self.box is None else self.box)
            self.tops.clear()

    def _check_room(self, devices: Devices) -> None:
        for at, level in enumerate(self.make.accelerator.levels):
            most = devices.capacity[:, at].max(initial=0.0)
            if level.capacity_words is not None and most > level.capacity_words:
                raise MappingError(
                    f"{self.make.problem.name}: {level.name} with {most:,.0f} words; the front is solved for up to "
                    f"{level.capacity_words:,}: give it more capacity"
                )


def with_capacity(accelerator: Accelerator, factor: float) -> Accelerator:
    """Give an accelerator with so many times the capacity at every bounded level below the outermost.

    A level that holds a single word is a register, and stays one.
    """
    levels = tuple(
        level
        if not at or level.capacity_words is None or level.capacity_words <= 1
        else replace(
            level,
            capacity_words=int(level.capacity_words * factor),
            partitions={role: int(words * factor) for role, words in level.partitions.items()},
        )
        for at, level in enumerate(accelerator.levels)
    )
    return replace(accelerator, levels=levels)
