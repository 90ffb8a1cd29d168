"""Where the time of a network on an accelerator goes, by what is done: products, softmax, conversions, and the rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hwmodels.engines import function_of
from hwmodels.machines.records import MachineRun
from hwmodels.machines.tasks import Task

__all__ = ["KINDS", "kind_of", "seconds_by_kind"]

KINDS = ("product", "softmax", "layernorm", "gelu", "add", "conversion", "transfer", "other")
"""Kinds of work, in the order of the rows of a table.

softmax: with the mask and the scale that only a softmax reads; layernorm: with what its engine takes along; add: sums
of two activations, as a residual; conversion: between integers and floats.
"""


def seconds_by_kind(run: MachineRun) -> dict[str, float]:
    """Give the time that all tasks of each kind take, one after the other [s].

    Args:
        run: The network.

    Example:
        >>> import hwmodels
        >>> from hwmodels.machines import run
        >>> from workloads import zoo
        >>> found = seconds_by_kind(run(zoo.architecture("bert-tiny", seq=32), hwmodels.load("gemmini")))
        >>> max(found, key=found.get)
        'gelu'
    """
    tasks = [cost.task for cost in run.costs]
    seconds = dict.fromkeys(KINDS, 0.0)
    for cost in run.costs:
        seconds[kind_of(cost.task, tasks)] += cost.latency_s * cost.task.executions
    return seconds


def kind_of(task: Task, tasks: Sequence[Task]) -> str:
    """Name the kind of work of a task: one of `KINDS`.

    Args:
        task: One of the tasks.
        tasks: All of them.
    """
    if task.kind != "function":
        return task.kind
    functions = [function_of(op) for op in task.operators]
    for name in ("softmax", "layernorm", "gelu"):
        if name in functions:
            return name
    if set(functions) <= {"add", "multiply", "divide"}:
        readers = list(_readers(task, tasks))
        if readers and all("softmax" in map(function_of, reader.operators) for reader in readers):
            return "softmax"
        if functions == ["add"] and sum(not use.constant for use in task.reads) == 2:
            return "add"
    return "other"


def _readers(task: Task, tasks: Sequence[Task]) -> Iterator[Task]:
    """Give the tasks that work on what a task writes, behind conversions and transfers."""
    names = {use.name for use in task.writes}
    for other in tasks:
        if any(use.name in names for use in other.reads):
            if other.kind in ("conversion", "transfer"):
                yield from _readers(other, tasks)
            else:
                yield other
