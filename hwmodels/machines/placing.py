"""Which tensors stay on chip between the tasks that write and read them.

A tensor lives from the task that writes it to the last one that reads it, and takes its whole size meanwhile: tasks in
between have that much less room, products are mapped anew for it. One that is not kept goes out once and comes back for
every reader. Tensors are tried one by one, short lives first, large ones first among these, and kept if the network
gets better by it, convolutions with the mappings that they had; these are then mapped anew for what is kept.
What is found is no proof that no better set exists.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from hwmodels.machines.costing import Coster
from hwmodels.machines.records import Placement, TaskCost
from hwmodels.machines.tasks import ARRAY, Task
from hwmodels.mapping.homes import find_homes
from hwmodels.mapping.mapper.goals import Objective
from hwmodels.spatial import Accelerator
from workloads.errors import MappingError

__all__ = ["costs_of", "place"]


@dataclass(frozen=True, slots=True)
class _Life:
    """A tensor that could stay on chip."""

    name: str
    bytes: float
    first: int
    last: int
    roles: tuple[str, ...]


@dataclass(slots=True)
class _State:
    """What is decided so far: mutable, tensor by tensor.

    Attributes:
        tasks: In order.
        coster: Costs them.
        costs: With the tensors that are kept so far.
        placements: These tensors.
    """

    tasks: Sequence[Task]
    coster: Coster
    costs: list[TaskCost]
    placements: list[Placement] = field(default_factory=list)

    def cost_at(self, at: int, placements: Sequence[Placement], quick: bool) -> TaskCost:
        """Cost a task while some tensors lie on chip; quick: a convolution with the mapping that it had."""
        live = [item for item in placements if item.first <= at <= item.last]
        homes = {item.name: item.level for item in live}
        own = {use.name: use.bytes for use in (*self.tasks[at].reads, *self.tasks[at].writes) if use.role}
        taken: dict[str, float] = {}
        for item in live:
            rest = item.bytes - own.get(item.name, 0.0)
            if rest > 0.0:
                taken[item.level] = taken.get(item.level, 0.0) + rest
        return self.coster.cost(self.tasks[at], homes, taken, quick=quick)

    def room(self, life: _Life, level: str) -> bool:
        """Say whether a level can hold a tensor beside those that are there while it lives."""
        accelerator = self.coster.accelerator
        buffer = accelerator.levels[accelerator.level_index(level)]
        if buffer.capacity_words is None:
            return True
        most = max(
            sum(item.bytes for item in self.placements if item.level == level and item.first <= at <= item.last)
            for at in range(life.first, life.last + 1)
        )
        return most + life.bytes <= buffer.capacity_words * buffer.word_bits / 8

    def totals(self, changed: dict[int, TaskCost]) -> tuple[float, float]:
        """Give energy and time of all tasks in series, some of them changed."""
        energy = seconds = 0.0
        for at, cost in enumerate(self.costs):
            cost = changed.get(at, cost)
            energy += cost.energy_j * cost.task.executions
            seconds += cost.latency_s * cost.task.executions
        return energy + seconds * self.coster.accelerator.static_w, seconds


def costs_of(tasks: Sequence[Task], coster: Coster) -> list[TaskCost]:
    """Cost tasks of which nothing stays on chip.

    Raises:
        MappingError: A product does not fit.
    """
    return [coster.cost(task, {}, {}) for task in tasks]


def place(
    tasks: Sequence[Task], coster: Coster, objective: Objective, outputs: Collection[str]
) -> tuple[list[TaskCost], tuple[Placement, ...]]:
    """Choose the tensors that stay on chip, and cost the tasks with them.

    Args:
        tasks: In order.
        coster: Costs them.
        objective: edp, energy, latency.
        outputs: Tensors that have to be in the outermost level at the end.

    Raises:
        MappingError: A product does not fit.
    """
    state = _State(tasks, coster, costs_of(tasks, coster))
    for life in sorted(_lives(tasks, coster.accelerator, outputs), key=lambda one: (one.last - one.first, -one.bytes)):
        for level in _homes_for(life, tasks, coster.accelerator):
            if state.room(life, level) and _try(state, life, level, objective):
                break
    inside = {at for item in state.placements for at in range(item.first, item.last + 1)}
    for at in sorted(inside):
        state.costs[at] = _better(state.costs[at], state.cost_at(at, state.placements, False), objective)
    return state.costs, tuple(state.placements)


def _better(one: TaskCost, other: TaskCost, objective: Objective) -> TaskCost:
    first, second = (_value((cost.energy_j, cost.latency_s), objective) for cost in (one, other))
    return other if second <= first else one


def _try(state: _State, life: _Life, level: str, objective: Objective) -> bool:
    """Keep a tensor if the network gets better by it."""
    item = Placement(life.name, level, life.bytes, life.first, life.last)
    placements = [*state.placements, item]
    try:
        changed = {at: state.cost_at(at, placements, True) for at in range(life.first, life.last + 1)}
    except MappingError:
        return False
    before, after = state.totals({}), state.totals(changed)
    if _value(after, objective) >= _value(before, objective):
        return False
    state.placements.append(item)
    for at, cost in changed.items():
        state.costs[at] = cost
    return True


def _value(totals: tuple[float, float], objective: Objective) -> float:
    energy, seconds = totals
    return {"energy": energy, "latency": seconds}.get(objective, energy * seconds)


def _lives(tasks: Sequence[Task], accelerator: Accelerator, outputs: Collection[str]) -> Iterator[_Life]:
    """Give the tensors that tasks on the chip alone write and read."""
    on_chip = {ARRAY} | {
        engine.name for engine in accelerator.engines if engine.kind == "vector" and engine.link_bytes_per_s is None
    }
    for first, task in enumerate(tasks):
        for use in task.writes:
            readers = [at for at, other in enumerate(tasks) if any(one.name == use.name for one in other.reads)]
            fused = any(tasks[at].kind == "fused" for at in (first, *readers))
            if not readers or use.name in outputs or task.engine not in on_chip or fused:
                continue
            if all(tasks[at].engine in on_chip for at in readers) and all(
                tasks[at].executions == task.executions for at in readers
            ):
                reads = [one for at in readers for one in tasks[at].reads if one.name == use.name]
                roles = tuple(sorted({one.role for one in (use, *reads) if one.role}))
                size = max(use.bytes, *[one.bytes for one in reads])
                yield _Life(use.name, size, first, max(readers), roles)


def _homes_for(life: _Life, tasks: Sequence[Task], accelerator: Accelerator) -> Iterator[str]:
    """Give the levels that can hold a tensor in all its roles, innermost last."""
    for place, level in enumerate(accelerator.levels):
        if place == 0 or accelerator.instances(place) > 1 or level.capacity_words is None:
            continue
        if "O" in life.roles and "O" in level.keeps:  # it would stay there as partial sums, wider than it is read
            continue
        try:
            for role in life.roles:
                find_homes(accelerator, {role: level.name}, life.name)
        except MappingError:
            continue
        yield level.name
