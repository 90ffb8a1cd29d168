"""Whole networks on accelerators: operators routed to engines, tensors kept on chip, costs by engine, level and task."""

from hwmodels.machines.running import run
from hwmodels.machines.records import MachineRun, TaskCost
from hwmodels.machines.tasks import Task

__all__ = ["MachineRun", "Task", "TaskCost", "run"]
