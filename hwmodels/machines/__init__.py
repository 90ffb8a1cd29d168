"""Whole networks on accelerators: operators on engines, tensors kept on chip, costs by engine, level and task."""

from hwmodels.machines.kinds import seconds_by_kind
from hwmodels.machines.records import MachineRun, TaskCost
from hwmodels.machines.running import run
from hwmodels.machines.summary import run_cost, run_records
from hwmodels.machines.tasks import Task

__all__ = ["MachineRun", "Task", "TaskCost", "run", "run_cost", "run_records", "seconds_by_kind"]
