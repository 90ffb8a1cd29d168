"""Factors that do not divide: mappings with edge tiles, and a bound of all of them.

A dim of 197 on 16 instances takes 13 steps, the last of them with 5 instances idle; 13 steps go well in tiles of 7. So
every spatial vector with a useful factor (one that saves a step) has a bound, and the most promising ones are searched
with their dims padded to lengths that have more divisors. What is found is cut back to the true sizes, priced exactly,
and improved tile by tile. The padded problem is only a guide: its costs are nowhere used.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwmodels.mapping.mapper.branch import solve
from hwmodels.mapping.mapper.factors import Ints, divisors
from hwmodels.mapping.mapper.frames import Frame
from hwmodels.mapping.mapper.goals import Found
from hwmodels.mapping.mapper.leaves import Race
from hwmodels.mapping.mapper.patterns import Pattern, patterns
from hwmodels.mapping.mapper.rebuild import batches
from hwmodels.mapping.mapper.results import Point, trimmed
from hwmodels.mapping.mapper.spatial import SpatialChoices, spatial_choices
from hwmodels.mapping.problem import Problem
from hwmodels.mapping.records import Mapping, MappingBatch
from hwmodels.mapping.traffic import evaluate
from hwmodels.spatial import Accelerator, Conventions

__all__ = ["Edges", "with_edge_tiles"]

VECTORS = 8
"""Spatial vectors that are searched with padded dims."""

PADDINGS = 24
"""Ways to pad the dims of one spatial vector."""

ROUNDS = 20
"""Most times that the tiles of one mapping are improved."""

STEPS = 48
"""Sizes that are tried for one tile."""


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """What was found.

    Attributes:
        points: The best mapping, or the front by ascending cycles.
        lower_bound: No mapping of the space has a better value.
        spatial_vectors: How many there are.
    """

    points: tuple[Point, ...]
    lower_bound: float
    spatial_vectors: int


def with_edge_tiles(
    problem: Problem, accelerator: Accelerator, rules: Conventions, race: Race, perfect: Edges, relaxed: bool
) -> Edges:
    """Look for mappings with edge tiles that are better than the best with perfect factors.

    Args:
        problem: The operator.
        accelerator: Where it runs.
        rules: What counts include.
        race: Of the search with perfect factors; its tally goes on.
        perfect: What that found.
        relaxed: Any dim on any axis, any level may be bypassed.
    """
    hunt = _Hunt(problem, accelerator, rules, Found(race.found.goal), race)
    for point in perfect.points:
        hunt.offer(point.mapping)
    choices = spatial_choices(problem, accelerator, rules, relaxed, perfect=False)
    every = list(patterns(problem, accelerator, rules, choices, relaxed))
    race.tally.bounded += sum(len(pattern.energy) for pattern in every)
    value = np.concatenate([hunt.found.goal.value(pattern.energy, pattern.cycles) for pattern in every])
    owner = np.repeat(np.arange(len(every)), len(choices))
    row = np.tile(np.arange(len(choices)), len(every))
    searched = 0
    for place in np.argsort(value, kind="stable"):
        pattern, at = every[owner[place]], int(row[place])
        if searched == VECTORS:
            break
        if hunt.found.useful(pattern.energy[at : at + 1], pattern.cycles[at : at + 1])[0]:
            searched += 1
            _search_padded(hunt, pattern, at)
    for mapping in list(hunt.found.what):
        hunt.improve(mapping)
    points = tuple(
        Point(mapping, evaluate(problem, accelerator, mapping, rules, relaxed=True)) for mapping in hunt.found.what
    )
    return Edges(points, float(value.min()), len(choices))


def _search_padded(hunt: _Hunt, pattern: Pattern, row: int) -> None:
    """Search one spatial vector with dims padded in several ways."""
    choices = _one(pattern.choices, row)
    spread = choices.factors[0].prod(axis=0)
    steps = [-(-size // int(factor)) for size, factor in zip(hunt.problem.sizes.values(), spread, strict=True)]
    for lengths in _paddings(steps):
        sizes = {
            dim: length * int(factor) for dim, length, factor in zip(hunt.problem.sizes, lengths, spread, strict=True)
        }
        padded = replace(hunt.problem, sizes=sizes)
        frame = Frame(padded, hunt.accelerator, hunt.rules, pattern.frame.all_keeps)
        race = Race(Found(hunt.found.goal), hunt.race.budget, hunt.race.tally)
        for _ in solve(Pattern.of(frame, choices, {}).nest(0), race):
            pass
        for way in race.found.what:
            batch, _ = next(batches(way))
            hunt.offer(hunt.cut(batch))


def _one(choices: SpatialChoices, row: int) -> SpatialChoices:
    here = slice(row, row + 1)
    return SpatialChoices(
        choices.factors[here], choices.loops[here], choices.fill[here], choices.passing[here], choices.considered
    )


def _paddings(steps: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Give lengths that are at most an eighth longer, those with more divisors than all shorter ones first."""
    options = []
    for count in steps:
        longer = range(count, count + max(count // 8, 1) + 1) if count > 3 else [count]
        better = sorted(longer, key=lambda length: (-len(divisors(length)), length))[:2]
        options.append(list(dict.fromkeys([*better, count])))
    yield from itertools.islice(itertools.product(*options), PADDINGS)


@dataclass(frozen=True, slots=True, eq=False)
class _Hunt:
    """What is looked for, and the best mappings so far.

    Attributes:
        problem: The operator, at its true sizes.
        accelerator: Where it runs.
        rules: What counts include.
        found: Mappings.
        race: Whose tally counts what the cost model is asked.
    """

    problem: Problem
    accelerator: Accelerator
    rules: Conventions
    found: Found
    race: Race

    def offer(self, mapping: Mapping) -> None:
        """Price a mapping, and keep it if it is better."""
        self._offer_all(mapping.batch())

    def _offer_all(self, batch: MappingBatch) -> None:
        self.race.tally.asked += len(batch)
        cost = evaluate(self.problem, self.accelerator, batch, self.rules, relaxed=True)
        self.found.offer(cost.energy_j, cost.cycles, lambda row: trimmed(batch.mapping(row), self.problem))

    def cut(self, batch: MappingBatch) -> Mapping:
        """Cut a mapping of the padded problem to the true sizes: no step is longer than the piece that it walks."""
        left = dict(self.problem.sizes)
        steps = batch.steps[:1].copy()
        for column, slot in enumerate(batch.structure.slots):
            steps[0, column] = left[slot.dim] = min(left[slot.dim], int(steps[0, column]))
        return trimmed(MappingBatch(batch.structure, steps).mapping(0), self.problem)

    def improve(self, mapping: Mapping) -> None:
        """Change the tiles of a mapping, one at a time, as long as that helps."""
        for _ in range(ROUNDS):
            batch = mapping.batch()
            rows = [steps for column in range(len(batch.structure.slots)) for steps in self._other(batch, column)]
            if not rows:
                return
            before = list(self.found.what)
            self._offer_all(MappingBatch(batch.structure, np.stack(rows)))
            new = [found for found in self.found.what if found not in before]
            if not new:
                return
            mapping = new[0]

    def _other(self, batch: MappingBatch, column: int) -> Iterator[Ints]:
        """Give the mapping with other sizes of one tile."""
        slots, steps = batch.structure.slots, batch.steps[0]
        same = [place for place, slot in enumerate(slots) if slot.dim == slots[column].dim]
        at = same.index(column)
        if at == len(same) - 1:
            return
        inner = int(steps[same[at + 1]])
        outer = int(steps[same[at - 1]]) if at else self.problem.sizes[slots[column].dim]
        now = int(steps[column]) // inner
        most = -(-outer // inner)
        near = range(max(now - STEPS // 4, 1), min(now + STEPS // 4, most) + 1)
        far = {max(round(most * share / STEPS), 1) for share in range(1, STEPS // 2 + 1)}
        for count in sorted({*near, *far} - {now}):
            changed = steps.copy()
            changed[column] = min(count * inner, outer)
            if self._valid(batch, changed):
                yield changed

    def _valid(self, batch: MappingBatch, steps: Ints) -> bool:
        """Say whether the spatial loops still find room on their axes."""
        left = dict(self.problem.sizes)
        widths: dict[tuple[int, str], int] = {}
        for slot, step in zip(batch.structure.slots, steps, strict=True):
            if slot.axis:
                key = (slot.level, slot.axis)
                widths[key] = widths.get(key, 1) * -(-left[slot.dim] // int(step))
            left[slot.dim] = int(step)
        levels = self.accelerator.levels
        return all(width <= levels[level].axis(name).size for (level, name), width in widths.items())
