"""Products of tiles: the best mappings of each, and what one costs within a fused mapping.

The tile of a product is an operator of its own for `hwmodels.mapping`: `search` gives its energy-latency front with the
tiles that have a home, in the room that is left. Two things are different within a cascade, and are put into the counts
before they are priced: a tile's rows lie apart in the outermost level where the whole tensor's are longer (bursts), and
an output that is added to again has to be read first.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

import numpy as np

from hwmodels.cascades.choices import Choice
from hwmodels.cascades.rooms import Held, room_for, tile_problem
from hwmodels.cascades.setting import Setting
from hwmodels.cascades.transfers import Moved
from hwmodels.mapping.counting import Counts, count_moves
from hwmodels.mapping.mapper.goals import Objective
from hwmodels.mapping.mapper.patterns import patterns
from hwmodels.mapping.mapper.search import search
from hwmodels.mapping.mapper.spatial import spatial_choices
from hwmodels.mapping.pricing import price_counts, usable_words
from hwmodels.mapping.problem import Operand, Problem
from hwmodels.mapping.records import Mapping
from hwmodels.mapping.residency import with_room
from hwmodels.mapping.traffic import Traffic
from hwmodels.spatial import ROLES, Accelerator, Conventions
from workloads.errors import MappingError

__all__ = ["Front", "Priced", "Stages"]

O = ROLES.index("O")  # noqa: E741


@dataclass(frozen=True, slots=True, eq=False)
class Priced:
    """What the product of one tile costs, of one iteration.

    Attributes:
        energy_by: By level, and "MACs" [J].
        cycles: Alone.
        moved: Words by level.
    """

    energy_by: dict[str, float]
    cycles: float
    moved: Moved

    @property
    def energy_j(self) -> float:
        """In all [J]."""
        return sum(self.energy_by.values())


@dataclass(frozen=True, slots=True, eq=False)
class Front:
    """The mappings of a tile's product that no other one beats in energy and cycles.

    Attributes:
        mappings: Ascending in cycles.
        costs: As if the tile were an operator of its own.
        trust: What the least energy and cycles of any mapping are at least, over those of the front; 1: it is proven.
    """

    mappings: tuple[Mapping, ...]
    costs: tuple[Traffic, ...]
    trust: float


@dataclass(slots=True)
class Stages:
    """Fronts that are known: grows.

    Attributes:
        setting: The cascade.
        objective: Of the cascade.
        known: By tile and homes: rooms (words by level) with what was found in them; None: nothing fits.
        bounds: By tile and homes: least energy and cycles by the way the array is used, those that others beat dropped.
        searches: How often the mapper was asked.
    """

    setting: Setting
    objective: Objective
    known: dict[Hashable, list[tuple[tuple[float, ...], Front | None]]] = field(default_factory=dict)
    bounds: dict[Hashable, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    searches: int = 0

    def front(self, at: int, choice: Choice, held: tuple[Held, ...], bound: bool = False) -> Front | None:
        """Give the front of a product's tile in the room that the choice leaves it; None: nothing fits.

        Args:
            at: Which product.
            choice: Loops and residents.
            held: Tiles that lie on chip.
            bound: In all the room of the device instead: no mapping is better.
        """
        setting = self.setting
        device = replace(setting.accelerator, static_w=0.0) if bound else room_for(setting, at, held)
        if device is None:
            return None
        key = self._key(at, choice)
        entries = self.known.setdefault(key, [])
        problem = tile_problem(setting, at, choice)
        if not entries:
            entries.append(self._search(at, choice, replace(setting.accelerator, static_w=0.0)))
        room = _room(device)
        for size, found in entries:
            if all(mine <= theirs for mine, theirs in zip(room, size, strict=True)):
                if found is None or _fits(problem, found, device, self.rules(choice)):
                    return found
                if room == size:
                    return found
        entries.append(self._search(at, choice, device))
        return entries[-1][1]

    def bound(self, at: int, choice: Choice) -> tuple[tuple[float, float], ...]:
        """Give pairs of energy and cycles, one of which no mapping of a product's tile beats in either."""
        key = self._key(at, choice)
        if key not in self.bounds:
            problem, rules = tile_problem(self.setting, at, choice), self.rules(choice)
            device = replace(self.setting.accelerator, static_w=0.0)
            ways = spatial_choices(problem, device, rules)
            least: dict[float, float] = {}
            for pattern in patterns(problem, device, rules, ways, False):
                for energy, cycles in zip(pattern.energy.tolist(), pattern.cycles.tolist(), strict=True):
                    least[cycles] = min(energy, least.get(cycles, np.inf))
            pairs: list[tuple[float, float]] = []
            for cycles in sorted(least):
                if not pairs or least[cycles] < pairs[-1][0]:
                    pairs.append((least[cycles], cycles))
            self.bounds[key] = tuple(pairs)
        return self.bounds[key]

    def _key(self, at: int, choice: Choice) -> Hashable:
        sizes = tuple(self.setting.tile_sizes(at, dict(choice.tile)).values())
        return at, sizes, choice.homes[at], choice.sources[at]

    def rules(self, choice: Choice) -> Conventions:
        """Give how tiles are timed: one that has no neighbour is filled and drained, see `costing`."""
        return replace(self.setting.rules, fill_drain=self.setting.rules.fill_drain and not choice.order)

    def _search(self, at: int, choice: Choice, device: Accelerator) -> tuple[tuple[float, ...], Front | None]:
        setting = self.setting
        stage = setting.stage(at, dict(choice.tile), choice.sources[at])
        homes = {role: device.levels[place].name for role, place in choice.homes[at]}
        self.searches += 1
        try:
            result = search(stage, device, self._goal(), conventions=self.rules(choice), resident=homes)
        except MappingError:
            return _room(device), None
        trust = min(1.0, result.lower_bound / result.value) if result.value else 1.0
        mappings = tuple(point.mapping for point in result.points)
        return _room(device), Front(mappings, tuple(point.cost for point in result.points), trust)

    def _goal(self) -> Objective:
        """Give what a product's mapping is looked for by: where one number decides, that is the front's only point."""
        if self.objective == "latency" or (self.objective == "energy" and not self.setting.accelerator.static_w):
            return self.objective
        return "pareto"

    def price(self, at: int, choice: Choice, held: tuple[Held, ...], mapping: Mapping, again: bool) -> Priced:
        """Cost one mapping of a product's tile within the cascade.

        Args:
            at: Which product.
            choice: Loops and residents.
            held: Tiles that lie on chip.
            mapping: Of the tile.
            again: Its outputs are added to: they are read first.
        """
        setting, rules = self.setting, self.rules(choice)
        device = room_for(setting, at, held)
        assert device is not None
        problem = tile_problem(setting, at, choice)
        device = with_room(problem, device, rules)
        batch = mapping.batch()
        counts = count_moves(problem, device, rules, batch.structure, batch.steps)
        runs = [_run(setting.problems[at], problem, mapping, role) for role in ROLES]
        counts = replace(counts, runs=np.array([runs], dtype=np.int64))
        if again:
            counts = _again(counts, dict(choice.homes[at])["O"])
        price = price_counts(problem, device, rules, batch.structure, counts)
        moved = Moved(setting.accelerator)
        names = [level.name for level in device.levels]
        for place in range(len(names)):
            moved.read(place, float(price.read_words[0, place].sum()))
            moved.write(place, float(price.written_words[0, place].sum()))
        outer = device.levels[0]
        moved.read(0, problem.extra_bits / outer.word_bits if rules.bit_true else float(problem.extra_values))
        energy = {name: float(price.level_j[0, place].sum()) for place, name in enumerate(names)}
        energy[names[0]] += float(price.other_j[0])
        return Priced({**energy, "MACs": price.mac_j}, float(price.cycles[0]), moved)


def _room(device: Accelerator) -> tuple[float, ...]:
    """Give the words of each level, and of each role's partition in it."""
    return tuple(
        float("inf") if words is None else float(words)
        for level in device.levels
        for words in (level.capacity_words, *[level.partitions.get(role) for role in ROLES])
    )


def _fits(problem: Problem, front: Front, device: Accelerator, rules: Conventions) -> bool:
    """Say whether all mappings of a front fit in less room."""
    try:
        device = with_room(problem, device, rules)
    except MappingError:
        return False
    usable = np.array([usable_words(level, rules) for level in device.levels])
    for cost in front.costs:
        if (cost.tile_words[0].sum(axis=1) > usable).any():
            return False
        for place, level in enumerate(device.levels):
            for role in level.partitions:
                if cost.tile_words[0, place, ROLES.index(role)] > usable_words(level, rules, role):
                    return False
    return True


def _again(counts: Counts, home: int) -> Counts:
    """Give counts of a tile whose outputs are not new: nothing starts from zero."""
    reads, fills = counts.reads.copy(), counts.fills.copy()
    reads[:, home:, O] += counts.partition[:, home:, O]
    fills[:, home + 1 :, O] += counts.partition[:, home + 1 :, O]
    return replace(counts, reads=reads, fills=fills)


def _run(whole: Problem, problem: Problem, mapping: Mapping, role: str) -> int:
    """Count the elements that a transfer finds side by side in the outermost level, where the whole tensor lies."""
    operand: Operand = whole.operands[role]
    inner = next((at for at, level in enumerate(mapping.levels) if at and role in level.keeps), len(mapping.levels))
    pieces = dict(problem.sizes)
    for level in mapping.levels[:inner]:
        for loop in (*level.temporal, *level.spatial):
            pieces[loop.dim] = min(pieces[loop.dim], loop.step)
    run = 1
    for entry in reversed(operand.layout):
        assert isinstance(entry, str)
        run *= pieces[entry]
        if pieces[entry] != whole.sizes[entry]:
            break
    return run
