"""What tasks and networks cost on an accelerator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hwmodels.machines.tasks import ARRAY, Task
from hwmodels.spatial import Accelerator

__all__ = ["MACS", "STATIC", "MachineRun", "Placement", "TaskCost"]

MACS, STATIC, LINK = "MACs", "static", "link"
"""Components of energy beside the levels and the engines."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskCost:
    """One execution of a task.

    Attributes:
        task: What runs.
        latency_s: Alone [s].
        bound: What the latency is: "compute", a port, "link".
        outer_s: Time that the outermost level's port is busy [s].
        read_bytes: By level [B].
        written_bytes: By level [B].
        energy_by: By level, engine, "MACs", "link": without static power [J].
        utilization: MACs over those that the array could do meanwhile; 0 for what is no product.
        gap: Of the mapping to its lower bound.
        resident: Tensors that it finds, or leaves, on chip: name to level.
        busy_by: Time that engines work, where that is not its engine for all of the latency [s].
    """

    task: Task
    latency_s: float
    bound: str
    outer_s: float
    read_bytes: Mapping[str, float]
    written_bytes: Mapping[str, float]
    energy_by: Mapping[str, float]
    utilization: float = 0.0
    gap: float = 0.0
    resident: Mapping[str, str] = field(default_factory=dict)
    busy_by: Mapping[str, float] = field(default_factory=dict)

    @property
    def energy_j(self) -> float:
        """Without static power [J]."""
        return sum(self.energy_by.values())


@dataclass(frozen=True, slots=True)
class Placement:
    """A tensor that stays on chip from the task that writes it to the last one that reads it.

    Attributes:
        name: Of the tensor.
        level: Where.
        bytes: Its size [B].
        first: Place of the task that writes it.
        last: Place of the last task that reads it.
    """

    name: str
    level: str
    bytes: float
    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MachineRun:
    """A network on an accelerator.

    Attributes:
        name: Of the network.
        accelerator: Where it runs.
        costs: Of one execution of each task, in order.
        starts_s: When each task starts, in a run of the network in which every task runs as often as it does [s].
        latency_s: Of the network [s].
        placements: Tensors that stay on chip.
        static_j: Static power over the latency [J].
        narrowed_from: Widest element of the network's products, if that is more than the array takes [bit]; else 0.
    """

    name: str
    accelerator: Accelerator
    costs: tuple[TaskCost, ...]
    starts_s: tuple[float, ...]
    latency_s: float
    placements: tuple[Placement, ...]
    static_j: float
    narrowed_from: float = 0.0

    @property
    def energy_by(self) -> dict[str, float]:
        """Energy of the network by component [J]."""
        total: dict[str, float] = {}
        for cost in self.costs:
            for name, joules in cost.energy_by.items():
                total[name] = total.get(name, 0.0) + joules * cost.task.executions
        return total | {STATIC: self.static_j}

    @property
    def energy_j(self) -> float:
        """Energy of the network [J]."""
        return sum(self.energy_by.values())

    @property
    def busy_s(self) -> dict[str, float]:
        """Time that each engine works [s]."""
        busy = dict.fromkeys((ARRAY, *(engine.name for engine in self.accelerator.engines)), 0.0)
        for cost in self.costs:
            for name, seconds in (cost.busy_by or {cost.task.engine: cost.latency_s}).items():
                busy[name] += seconds * cost.task.executions
        return busy

    @property
    def macs(self) -> float:
        """Multiply-accumulates of the array."""
        return sum(cost.task.macs * cost.task.executions for cost in self.costs)

    @property
    def utilization(self) -> float:
        """MACs over those that the array could do in the latency."""
        peak = self.accelerator.mac_instances * self.accelerator.macs_per_cycle * self.accelerator.clock_hz
        return self.macs / (peak * self.latency_s) if self.latency_s else 0.0

    def moved_bytes(self, level: str) -> tuple[float, float]:
        """Give what the network reads from and writes to a level [B]."""
        read = sum(cost.read_bytes.get(level, 0.0) * cost.task.executions for cost in self.costs)
        written = sum(cost.written_bytes.get(level, 0.0) * cost.task.executions for cost in self.costs)
        return read, written
