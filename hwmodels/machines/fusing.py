"""Cascades that run fused where that is better: tasks that become one (`hwmodels.cascades`).

Each cascade of the network is searched once per kind; those that gain most replace their tasks, no task twice. Gains
are against the tasks with nothing on chip, by the product of the network's energy and time, or by one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hwmodels.cascades import FusedResult, search_cascade
from hwmodels.cascades.chain import Cascade
from hwmodels.cascades.finding import cascade_key, every_cascade
from hwmodels.machines.records import TaskCost
from hwmodels.machines.tasks import ARRAY, Task, Use
from hwmodels.mapping.mapper.goals import Objective
from hwmodels.spatial import Accelerator
from workloads.errors import MappingError
from workloads.workload import Workload

__all__ = ["Fused", "fuse", "fuser"]

Fuse = Callable[[Cascade], FusedResult | None]
"""Finds the best fused mapping of a cascade; None: it cannot be fused."""


@dataclass(frozen=True, slots=True)
class Fused:
    """Tasks of a network, some of them fused, and what these cost.

    Attributes:
        tasks: In order.
        costs: Of the fused ones, by name.
    """

    tasks: tuple[Task, ...]
    costs: dict[str, TaskCost]


def fuser(accelerator: Accelerator, objective: Objective) -> Fuse:
    """Give a search for fused mappings that remembers what it found.

    Args:
        accelerator: Where they run.
        objective: edp, energy, latency.
    """
    known: dict[tuple[object, ...], FusedResult | None] = {}

    def find(cascade: Cascade) -> FusedResult | None:
        key = cascade_key(cascade)
        if key not in known:
            try:
                known[key] = search_cascade(cascade, accelerator, objective)
            except MappingError:  # no tile of it fits, or a function that no vector unit takes
                known[key] = None
        return known[key]

    return find


def fuse(
    work: Workload,
    accelerator: Accelerator,
    tasks: Sequence[Task],
    costs: Sequence[TaskCost],
    objective: Objective,
    find: Fuse,
) -> Fused:
    """Fuse cascades where that is better.

    Args:
        work: The network.
        accelerator: Where it runs.
        tasks: Of the network.
        costs: With nothing on chip.
        objective: edp, energy, latency.
        find: The search.
    """
    place = {
        op.name: at for at, task in enumerate(tasks) for op in task.operators if task.kind in ("product", "function")
    }
    totals = _totals(costs, accelerator)
    options: list[tuple[float, tuple[int, ...], FusedResult]] = []
    for cascade in every_cascade(work, accelerator):
        found = find(cascade)
        if found is None:
            continue
        members = tuple(sorted({place[name] for name in cascade.names if name in place}))
        change = _change(found, [costs[at] for at in members], totals, accelerator, objective)
        if change < 0.0:
            options.append((change, members, found))
    taken: set[int] = set()
    chosen: dict[int, tuple[tuple[int, ...], FusedResult]] = {}
    for _, members, found in sorted(options, key=lambda one: (one[0], one[1])):
        if taken.isdisjoint(members):
            taken.update(members)
            chosen[members[-1]] = (members, found)
    return _replaced(tasks, taken, chosen)


def _totals(costs: Sequence[TaskCost], accelerator: Accelerator) -> tuple[float, float]:
    seconds = sum(cost.latency_s * cost.task.executions for cost in costs)
    energy = sum(cost.energy_j * cost.task.executions for cost in costs)
    return energy + seconds * accelerator.static_w, seconds


def _change(
    found: FusedResult, costs: Sequence[TaskCost], totals: tuple[float, float], accelerator: Accelerator,
    objective: Objective,
) -> float:  # fmt: skip
    """Give the relative change of the network's objective: negative is a gain."""
    times = costs[0].task.executions
    before_j, before_s = _totals(costs, accelerator)
    energy = (found.energy_j * times - before_j) / totals[0]
    seconds = (found.latency_s * times - before_s) / totals[1]
    return {"energy": energy, "latency": seconds}.get(objective, energy + seconds)


def _replaced(tasks: Sequence[Task], taken: set[int], chosen: dict[int, tuple[tuple[int, ...], FusedResult]]) -> Fused:
    """Put fused tasks where the last of their members was."""
    new: list[Task] = []
    costs: dict[str, TaskCost] = {}
    for at, task in enumerate(tasks):
        if at in chosen:
            members, found = chosen[at]
            fused = _fused_task([tasks[one] for one in members], found.cascade)
            new.append(fused)
            costs[fused.name] = _fused_cost(fused, found)
        elif at not in taken:
            new.append(task)
    return Fused(tuple(new), costs)


def _fused_task(members: Sequence[Task], cascade: Cascade) -> Task:
    written = {use.name for task in members for use in task.writes}
    kept = {use.name for use in members[-1].writes} | {link.result.name for link in cascade.links if link.kept}
    reads: dict[str, Use] = {use.name: use for task in members for use in task.reads if use.name not in written}
    writes = tuple(use for task in members for use in task.writes if use.name in kept)
    return Task(
        name=" + ".join(task.name for task in members),
        kind="fused",
        engine=ARRAY,
        operators=tuple(op for task in members for op in task.operators),
        reads=tuple(reads.values()),
        writes=writes,
        executions=members[0].executions,
        absorbed=tuple(item for task in members for item in task.absorbed),
    )


def _fused_cost(task: Task, found: FusedResult) -> TaskCost:
    accelerator = found.accelerator
    outer = accelerator.levels[0].name
    busy = dict(found.busy_s)
    peak = accelerator.mac_instances * accelerator.macs_per_cycle * accelerator.clock_hz
    energy = {name: joules for name, joules in found.cost.energy_by.items() if name != "static"}
    return TaskCost(
        task=task,
        latency_s=found.latency_s,
        bound=max(busy, key=lambda name: busy[name]),
        outer_s=next((seconds for name, seconds in busy.items() if name.startswith(outer)), 0.0),
        read_bytes=found.read_bytes,
        written_bytes=found.written_bytes,
        energy_by=energy,
        utilization=task.macs / (peak * found.latency_s),
        gap=found.gap,
        busy_by={name: seconds for name, seconds in busy.items() if not name.startswith(outer)},
    )
