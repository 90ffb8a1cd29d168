"""When tasks run: each engine takes its tasks in the order of the network, as soon as their tensors are there."""

from __future__ import annotations

from collections.abc import Sequence

from hwmodels.machines.records import TaskCost

__all__ = ["schedule"]


def schedule(costs: Sequence[TaskCost]) -> tuple[tuple[float, ...], float]:
    """Give the start of every task, and the time until the last one ends [s].

    Engines work side by side; the outermost level's port serves them all, so the whole takes no less than the port.

    Args:
        costs: In the order of the network.
    """
    ready: dict[str, float] = {}
    free: dict[str, float] = {}
    starts: list[float] = []
    for cost in costs:
        task = cost.task
        start = max([free.get(task.engine, 0.0), *[ready.get(use.name, 0.0) for use in task.reads]])
        end = start + cost.latency_s * task.executions
        free[task.engine] = end
        ready.update({use.name: end for use in task.writes})
        starts.append(start)
    port = sum(cost.outer_s * cost.task.executions for cost in costs)
    return tuple(starts), max([port, *free.values()])
