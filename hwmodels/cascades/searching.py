"""The best fused mapping of a cascade, with proof: `search_cascade(cascade, accelerator, objective)`.

Choices of loops and residents (`choices`) stand in a queue by a bound of what they cost: steps of a full array, words
that the outermost level has to move, functions and transfers as they are, and the least that the products' data move on
the chip. The best are opened: the products' mappings come from `search`, first in all the room that the device has (a
closer bound), then in the room that is left. `FusedResult.lower_bound` is the least bound of what was not settled.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from hwmodels.cascades.chain import Cascade
from hwmodels.cascades.choices import choices, tiles_of
from hwmodels.cascades.costing import Pair, Totals, totals
from hwmodels.cascades.faults import nothing_fused
from hwmodels.cascades.plan import Plan, plan_of
from hwmodels.cascades.results import FusedResult
from hwmodels.cascades.setting import Setting, setting_of
from hwmodels.cascades.stages import Front, Priced, Stages
from hwmodels.cascades.unfused import Finder, unfused
from hwmodels.mapping.mapper.goals import ROUNDING, Goal, Objective
from hwmodels.mapping.mapper.search import search
from hwmodels.mapping.mapper.spatial import spatial_choices
from hwmodels.mapping.records import Mapping
from hwmodels.spatial import Accelerator, Conventions
from workloads.errors import MappingError

__all__ = ["search_cascade"]


def search_cascade(
    cascade: Cascade,
    accelerator: Accelerator,
    objective: Objective = "edp",
    *,
    conventions: Conventions | None = None,
    find: Finder | None = None,
) -> FusedResult:
    """Find the best fused mapping of a cascade, and what its operators cost one by one.

    Args:
        cascade: From `find_cascades` or `cascade_of`.
        accelerator: With a vector unit that takes the functions.
        objective: "edp", "energy" or "latency".
        conventions: What counts include; default: those of the accelerator.
        find: Finds the mappings of the unfused products; None: `search`.

    Raises:
        MappingError: The cascade cannot be fused there (`setting_of`), or no tile of it fits: what needs how much.

    Example:
        >>> import hwmodels
        >>> from hwmodels.cascades import cascade_of
        >>> from workloads import Operator, Tensor, axis
        >>> x, w, y, z = (Tensor(name=name, axes=tuple(map(axis, dims)), bits=8)
        ...               for name, dims in (("x", "mk"), ("w", "kn"), ("y", "mn"), ("z", "mn")))
        >>> product = Operator(name="product", op_type="MatMul", kind="matmul", dims=dict(m=64, n=64, k=64),
        ...                    inputs=(x, w), outputs=(y,))
        >>> gelu = Operator(name="gelu", op_type="Gelu", kind="gelu", dims=dict(m=64, n=64), inputs=(y,), outputs=(z,))
        >>> found = search_cascade(cascade_of([product, gelu]), hwmodels.load("gemmini-ibert"), "energy")
        >>> found.gap, found.outer_bytes, found.unfused.outer_bytes
        (0.0, 12288.0, 20480.0)
    """
    if objective not in ("edp", "energy", "latency"):
        raise MappingError(f"objective {objective!r} is none of a cascade's; give edp, energy or latency")
    rules = accelerator.conventions if conventions is None else conventions
    setting = setting_of(cascade, accelerator, rules)
    race = _Race(setting, Goal(objective), Stages(setting, objective))
    race.run()
    return _result(race, objective, find)


def _result(race: _Race, objective: Objective, find: Finder | None) -> FusedResult:
    """Give what was found.

    Raises:
        MappingError: Nothing was.
    """
    setting = race.setting
    if race.best is None:
        raise MappingError(nothing_fused(setting))
    plan, mappings, cost = race.best
    value = race.value
    return FusedResult(
        cascade=setting.cascade,
        accelerator=setting.accelerator,
        conventions=setting.rules,
        objective=objective,
        choice=plan.choice,
        mappings=mappings,
        iterations=plan.number,
        cost=cost,
        extra_flops=plan.extra_flops,
        value=value,
        lower_bound=value if race.lower_bound >= value * (1.0 - ROUNDING) else race.lower_bound,
        candidates=race.seen,
        opened=race.opened,
        searches=race.stages.searches,
        unfused=unfused(setting, objective, find),
    )


@dataclass(slots=True)
class _Race:
    """The incumbent against the bounds that are left: mutable.

    Attributes:
        setting: The cascade.
        goal: The objective.
        stages: Fronts of products.
        best: What was found.
        value: Of it.
        lower_bound: Least bound of what was settled by less than its exact costs, or left.
        seen: Choices that a bound was computed for.
        opened: Choices whose products were mapped.
        least_j: Least energy of each product's data on the chip, of the whole product [J].
        steps: Least steps of a product's tile.
    """

    setting: Setting
    goal: Goal
    stages: Stages
    best: tuple[Plan, tuple[Mapping, ...], Totals] | None = None
    value: float = math.inf
    lower_bound: float = math.inf
    seen: int = 0
    opened: int = 0
    least_j: tuple[float, ...] = ()
    steps: dict[tuple[int, tuple[int, ...]], float] = field(default_factory=dict)

    def run(self) -> None:
        """Open choices, always that with the least bound, until none is better."""
        self.least_j = tuple(_least_on_chip(self.setting, at) for at in range(len(self.setting.problems)))
        queue = [(bound, at, plan, False) for at, (bound, plan) in enumerate(self._bounded())]
        heapq.heapify(queue)
        while queue:
            bound, at, plan, close = heapq.heappop(queue)
            if bound >= self.value * (1.0 - ROUNDING):
                self.lower_bound = min(self.lower_bound, bound)
                return
            if close:
                self._open(plan)
            else:
                heapq.heappush(queue, (max(bound, self._closer(plan)), at, plan, True))

    def _bounded(self) -> Iterator[tuple[float, Plan]]:
        for tile in tiles_of(self.setting):
            for choice in choices(self.setting, tile):
                plan = plan_of(self.setting, choice)
                if plan is None:
                    continue
                self.seen += 1
                pairs = [_pair(plan, at, self._least(plan, at)) for at in range(len(plan.problems))]
                yield self._value(totals(self.setting, plan, pairs)), plan

    def _least(self, plan: Plan, at: int) -> Priced:
        """Give what the product of a tile costs at least, from its steps and compulsory words alone."""
        problem, device = plan.problems[at], self.setting.accelerator
        sizes = tuple(problem.sizes.values())
        if (at, sizes) not in self.steps:
            ways = spatial_choices(replace(problem, homes={}), device, self.setting.rules)
            widest = float(ways.factors.prod(axis=(1, 2)).max())
            self.steps[at, sizes] = problem.macs / widest / device.macs_per_cycle
        moved = plan.compulsory[at]
        cycles = max(self.steps[at, sizes], moved.cycles(self.setting.rules, 0))
        inside = self.least_j[at] * problem.macs / self.setting.problems[at].macs
        return Priced({"least": moved.energy_j() + inside}, cycles, moved)

    def _closer(self, plan: Plan) -> float:
        """Bound a choice by the compulsory traffic of its products' tiles on all levels."""
        options = []
        for at in range(len(plan.problems)):
            parts = [Priced({"least": joules}, cycles, plan.compulsory[at])
                     for joules, cycles in self.stages.bound(at, plan.choice)]  # fmt: skip
            options.append([_pair(plan, at, part) for part in parts])
        return min(self._value(totals(self.setting, plan, some)) for some in itertools.product(*options))

    def _open(self, plan: Plan) -> None:
        """Settle a choice: map its products, first in all the room of the device."""
        self.opened += 1
        loose = self._fronts(plan, bound=True)
        if loose is None or self._relaxed(plan, loose) >= self.value * (1.0 - ROUNDING):
            if loose is not None:
                self.lower_bound = min(self.lower_bound, self._relaxed(plan, loose))
            return
        fronts = self._fronts(plan, bound=False)
        if fronts is None:
            return
        self.lower_bound = min(self.lower_bound, self._relaxed(plan, fronts))
        for mappings in itertools.product(*[front.mappings for front in fronts]):
            pairs = [self._priced(plan, at, mapping) for at, mapping in enumerate(mappings)]
            cost = totals(self.setting, plan, pairs)
            value = self._value(cost)
            if value < self.value:
                self.best, self.value = (plan, mappings, cost), value

    def _fronts(self, plan: Plan, bound: bool) -> list[Front] | None:
        fronts = []
        for at in range(len(plan.problems)):
            front = self.stages.front(at, plan.choice, plan.held, bound)
            if front is None:
                return None
            fronts.append(front)
        return fronts

    def _relaxed(self, plan: Plan, fronts: list[Front]) -> float:
        """Bound what a choice costs with any mappings of its products, from their fronts."""
        options: list[list[Priced]] = []
        for at, front in enumerate(fronts):
            energy, cycles = (np.array([getattr(cost, name)[0] for cost in front.costs]) * front.trust
                              for name in ("energy_j", "cycles"))  # fmt: skip
            options.append([Priced({"front": float(joules)}, float(time), plan.compulsory[at])
                            for joules, time in zip(energy, cycles, strict=True)])  # fmt: skip
        pairs = [[_pair(plan, at, one) for one in some] for at, some in enumerate(options)]
        every = (totals(self.setting, plan, some) for some in itertools.product(*pairs))
        return min(self._value(cost) for cost in every)

    def _priced(self, plan: Plan, at: int, mapping: Mapping) -> Pair:
        new = self.stages.price(at, plan.choice, plan.held, mapping, again=False)
        if at == 0 or plan.fresh == plan.number:
            return new, None
        return new, self.stages.price(at, plan.choice, plan.held, mapping, again=True)

    def _value(self, cost: Totals) -> float:
        return self.goal.one(cost.energy_j, cost.cycles)


def _pair(plan: Plan, at: int, least: Priced) -> Pair:
    """Give bounds of a product whose outputs are new, and of one whose outputs are read again first."""
    if at == 0 or plan.fresh == plan.number:
        return least, None
    return least, Priced({**least.energy_by, "again": plan.again_j}, least.cycles, least.moved)


def _least_on_chip(setting: Setting, at: int) -> float:
    """Give the least energy of a product's MACs and of its data inside the chip, however it is mapped [J].

    All its tensors lie in a level of unbounded room, wherever one can; the outermost level is free.
    """
    device, link = setting.accelerator, setting.cascade.links[at]
    levels = [replace(device.levels[0], read_j=0.0, write_j=0.0, read_words_per_cycle=None, write_words_per_cycle=None)]
    for place, level in enumerate(device.levels[1:], start=1):
        free = device.instances(place) == 1
        levels.append(replace(level, capacity_words=None, partitions={}) if free else level)
    homes = {role: levels[max(setting.homes_of(role))].name for role in "WIO" if setting.homes_of(role)}
    rules = replace(setting.rules, bursts=False, fill_drain=False)
    roomy = replace(device, levels=tuple(levels), static_w=0.0)
    return search(link.product, roomy, "energy", conventions=rules, resident=homes).lower_bound
