"""A whole network on an accelerator: `run(work, accelerator) -> MachineRun`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from hwmodels.machines.costing import Coster, Find
from hwmodels.machines.lowering import lower
from hwmodels.machines.placing import costs_of, place
from hwmodels.machines.records import MachineRun, Placement, TaskCost
from hwmodels.machines.scheduling import schedule
from hwmodels.machines.tasks import Task
from hwmodels.mapping.mapper.goals import Objective
from hwmodels.mapping.mapper.memo import Memo
from hwmodels.mapping.mapper.results import Result
from hwmodels.mapping.mapper.spatial import spatial_choices
from hwmodels.mapping.problem import problem_on
from hwmodels.spatial import Accelerator
from workloads.errors import MappingError
from workloads.operator import Operator
from workloads.workload import Program, Workload

__all__ = ["IDLE", "finder", "run"]

IDLE = 1.15
"""Steps over the fewest that edge tiles could take from which on mappings with edge tiles are looked for besides."""


def finder(objective: Objective = "edp", memo: Memo | None = None) -> Find:
    """Give a mapper: the proven best with perfect factors; where these leave the array idle, with edge tiles besides.

    Args:
        objective: edp, energy or latency.
        memo: Remembers searches; None: in memory, for this one.
    """
    known = Memo() if memo is None else memo

    def find(product: Operator, accelerator: Accelerator, homes: Mapping[str, str]) -> Result:
        found = known.search(product, accelerator, objective, resident=homes)
        compute, cycles = float(found.cost.compute_cycles[0]), float(found.cost.cycles[0])
        if cycles > IDLE * compute or compute <= IDLE * _fewest_steps(product, accelerator):
            return found
        edges = known.search(product, accelerator, objective, factors="imperfect", budget=2000, resident=homes)
        return edges if edges.value < found.value else found

    return find


def _fewest_steps(product: Operator, accelerator: Accelerator) -> float:
    """Give the fewest cycles of computing that any unrolling allows, edge tiles included."""
    rules = accelerator.conventions
    problem = problem_on(product, accelerator, rules)
    factors = spatial_choices(problem, accelerator, rules, False, perfect=False).factors.prod(axis=1)
    steps = np.ceil(np.array(list(problem.sizes.values())) / factors).prod(axis=1)
    return float(steps.min()) / accelerator.macs_per_cycle


def run(
    work: Workload | Program,
    accelerator: Accelerator,
    objective: Objective = "edp",
    *,
    find: Find | None = None,
    keep: bool = True,
    cascades: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> MachineRun:
    """Cost a network on an accelerator and the engines beside its array.

    Elements wider than the array takes are costed as if they were quantized to its width.

    Args:
        work: Scalar. Of a program, the tasks of all parts, as often as they run in the mean.
        accelerator: With engines that take what the array does not.
        objective: What mappings, and the choice of tensors that stay on chip, are best in: edp, energy, latency.
        find: The mapper; None: `finder(objective)`.
        keep: Let tensors stay on chip between tasks.
        cascades: Fuse products and the functions between them where that is better: attention, feed-forward blocks.
        progress: Told how many tasks of how many are costed.

    Raises:
        MappingError: An operator that nothing takes, or a product that does not fit.
    """
    if objective not in ("edp", "energy", "latency"):
        raise MappingError(f"objective {objective!r} is none of a network's; give edp, energy or latency")
    coster = Coster(accelerator, finder(objective) if find is None else find)
    parts = [(1.0, work)] if isinstance(work, Workload) else [(float(weight), part) for weight, part in work]
    together = _fuser(accelerator, objective) if cascades else None
    costs: list[TaskCost] = []
    starts: list[float] = []
    placements: list[Placement] = []
    latency = 0.0
    for weight, part in parts:
        tasks = lower(part, accelerator)
        if together is not None:
            tasks = together(part, tasks, coster)
        some, kept = _costed(tasks, coster, objective, part, keep, progress)
        begins, ends = schedule(some)
        starts += [latency + begin for begin in begins]
        placements += [replace(item, first=item.first + len(costs), last=item.last + len(costs)) for item in kept]
        costs += [_times(cost, weight) for cost in some]
        latency += weight * ends
    return MachineRun(
        name=work.name,
        accelerator=accelerator,
        costs=tuple(costs),
        starts_s=tuple(starts),
        latency_s=latency,
        placements=tuple(placements),
        static_j=accelerator.static_w * latency,
        narrowed_from=_widest(costs, accelerator),
    )


def _fuser(
    accelerator: Accelerator, objective: Objective
) -> Callable[[Workload, tuple[Task, ...], Coster], tuple[Task, ...]]:
    """Give what fuses the tasks of a part; parts share what was found."""
    from hwmodels.machines.fusing import fuse, fuser

    find = fuser(accelerator, objective)

    def fused(part: Workload, tasks: tuple[Task, ...], coster: Coster) -> tuple[Task, ...]:
        found = fuse(part, accelerator, tasks, costs_of(tasks, coster), objective, find)
        coster.fused.update(found.costs)
        return found.tasks

    return fused


def _costed(
    tasks: tuple[Task, ...],
    coster: Coster,
    objective: Objective,
    part: Workload,
    keep: bool,
    progress: Callable[[int, int], None],
) -> tuple[list[TaskCost], tuple[Placement, ...]]:
    for done, task in enumerate(tasks, start=1):
        coster.cost(task, {}, {})
        progress(done, len(tasks))
    if not keep:
        return costs_of(tasks, coster), ()
    return place(tasks, coster, objective, part.outputs)


def _times(cost: TaskCost, weight: float) -> TaskCost:
    return cost if weight == 1.0 else replace(cost, task=replace(cost.task, executions=cost.task.executions * weight))


def _widest(costs: list[TaskCost], accelerator: Accelerator) -> float:
    """Give the widest element of the network's products if the array does not take it; else 0."""
    products = [cost.task.operators[0] for cost in costs if cost.task.kind == "product"]
    widest = max((float(tensor.bits) for op in products for tensor in op.inputs[:2]), default=0.0)
    most = accelerator.operand_bits
    return widest if most is not None and widest > most else 0.0
