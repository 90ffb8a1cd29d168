"""What each operator of a workload costs on a device: `breakdown`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from hwmodels.records import Demand, add_demands
from hwmodels.roofline import RooflineDevice
from hwmodels.spatial import Accelerator
from hwmodels.step import Step
from workloads.errors import SpecError
from workloads.operator import Operator, is_batch
from workloads.workload import Program, Workload

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["OperatorCost", "breakdown", "breakdown_records"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCost:
    """One row of a breakdown.

    Attributes:
        name: Of the operator.
        op_type: What the source calls it.
        kind: matmul, softmax, ...
        block: Where it sits.
        step: Position of its step in the plan; operators of one kernel share it. -1: it runs nowhere (a view).
        flops: Of all its executions.
        dram_bytes: What it moves to and from DRAM [B].
        intensity: FLOPs per DRAM byte; inf where nothing is moved.
        bound: compute | memory | launch: the longest of the three. Empty for a view.
        latency_s: Its part of the step's time, launch included, in proportion to its own time [s].
        energy_j: Its own dynamic energy and the static energy of its part of the time [J].
        share: Part of the workload's latency.
        energy_by: The same energy by component [J]: one entry per memory level, innermost first ("L1", "L2", "DRAM":
            what the level adds to the bits that come through it), then "compute" and "static".
    """

    name: str
    op_type: str
    kind: str
    block: str
    step: int
    flops: float
    dram_bytes: float
    intensity: float
    bound: str
    latency_s: float
    energy_j: float
    share: float
    energy_by: Mapping[str, float] = field(default_factory=dict)

    def columns(self) -> dict[str, Any]:
        """Give the row of a table: the fields, with a column `NAME_j` per component in place of `energy_by`.

        Example:
            >>> row = OperatorCost(name="p", op_type="MatMul", kind="matmul", block="", step=0, flops=1.0,
            ...                    dram_bytes=1.0, intensity=1.0, bound="memory", latency_s=1.0, energy_j=3.0,
            ...                    share=1.0, energy_by={"DRAM": 2.0, "static": 1.0})
            >>> row.columns()["DRAM_j"], "energy_by" in row.columns()
            (2.0, False)
        """
        plain = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "energy_by"}
        return plain | {f"{name}_j": value for name, value in self.energy_by.items()}


def breakdown(workload: Workload | Program, device: RooflineDevice | Accelerator) -> pd.DataFrame:
    """Give one row per operator, in order: see `OperatorCost`. Latencies and energies add up to `evaluate`'s.

    Columns `L1_j`, `L2_j`, `DRAM_j` (one per memory level of the device), `compute_j` and `static_j` say where the
    energy of an operator goes, and add up to `energy_j`.

    Of a program, the rows of every part, as often as it runs in the mean; steps are numbered through.

    Raises:
        SpecError: The workload or the device holds a batch of design points.
        MappingError: On a spatial accelerator: an operator that nothing takes, or does not fit.

    Example:
        >>> import hwmodels
        >>> from workloads import Workload
        >>> len(breakdown(Workload(name="nothing", operators=()), hwmodels.load("t4")))
        0
    """
    import pandas

    rows = [row.columns() for row in breakdown_records(workload, device)]
    names = [item.name for item in fields(OperatorCost) if item.name != "energy_by"]
    components = device.energy_components if isinstance(device, RooflineDevice) else ()
    names += [f"{component}_j" for component in components] or [
        name for row in rows[:1] for name in row if name.endswith("_j") and name not in names
    ]
    return pandas.DataFrame(rows, columns=names)


def breakdown_records(workload: Workload | Program, device: RooflineDevice | Accelerator) -> tuple[OperatorCost, ...]:
    """Give the rows of `breakdown` without pandas.

    Raises:
        SpecError: The workload or the device holds a batch of design points.
        MappingError: On a spatial accelerator: an operator that nothing takes, or does not fit.

    Example:
        >>> import hwmodels
        >>> from workloads import Operator, Tensor, Workload, axis
        >>> x, y = (Tensor(name=name, axes=(axis("n"),)) for name in "xy")
        >>> relu = Operator(name="relu", op_type="Relu", kind="elementwise", dims={"n": 10**8}, inputs=(x,),
        ...                 outputs=(y,), flops_per_point=1.0)
        >>> (row,) = breakdown_records(Workload(name="w", operators=(relu,)), hwmodels.load("t4"))
        >>> row.bound, row.intensity
        ('memory', 0.125)
    """
    if isinstance(device, Accelerator):
        from hwmodels.machines import run, run_records

        return run_records(run(workload, device))
    rows = _program_rows(workload, device) if isinstance(workload, Program) else _rows(workload, device)
    total = sum(row.latency_s for row in rows)
    return tuple(replace(row, share=row.latency_s / total if total else 0.0) for row in rows)


def _program_rows(program: Program, device: RooflineDevice) -> list[OperatorCost]:
    """Give the rows of all parts; where two parts have an operator of one name, the part's name goes before it."""
    names = Counter(op.name for _, part in program for op in part.operators)
    rows: list[OperatorCost] = []
    for weight, part in program:
        if is_batch(weight):
            raise SpecError(f"{program.name}: a breakdown is of one design point, and its weights are a batch")
        first = 1 + max((row.step for row in rows), default=-1)
        for row in _rows(part, device):
            times = float(weight)
            rows.append(
                replace(
                    row,
                    name=row.name if names[row.name] == 1 else f"{part.name}: {row.name}",
                    step=row.step + first if row.step >= 0 else -1,
                    flops=times * row.flops,
                    dram_bytes=times * row.dram_bytes,
                    latency_s=times * row.latency_s,
                    energy_j=times * row.energy_j,
                    energy_by={name: times * joules for name, joules in row.energy_by.items()},
                )
            )
    return rows


def _rows(workload: Workload, device: RooflineDevice) -> list[OperatorCost]:
    found: dict[str, OperatorCost] = {}
    for position, step in enumerate(device.plan(workload)):
        for row in _step_rows(step, position, device):
            found[row.name] = row
    return [found.get(op.name) or _view_row(op, device) for op in workload.operators]


def _step_rows(step: Step, position: int, device: RooflineDevice) -> list[OperatorCost]:
    """Share a step's latency out to its operators in proportion to their own times."""
    demands = device.demands(step)
    total_s = device.step_latency_s(step, add_demands(demands))
    if is_batch(total_s):
        raise SpecError(
            f"{step.operators[0].name}: a breakdown is of one design point, and this is a batch; "
            "take one row of it first"
        )
    launch_s = device.launch_overhead_s(step)
    own = [max(device.times_s(demand)) for demand in demands]
    rows = []
    for op, demand, own_s in zip(step.operators, demands, own, strict=True):
        part = own_s / sum(own) if sum(own) else 1.0 / len(own)
        rows.append(_row(op, position, demand, device, float(total_s * part), float(launch_s)))
    return rows


def _row(
    op: Operator, position: int, demand: Demand, device: RooflineDevice, latency_s: float, launch_s: float
) -> OperatorCost:
    compute_s, memory_s = device.times_s(demand)
    bound = "memory" if memory_s > compute_s else "compute"
    if launch_s >= max(compute_s, memory_s):
        bound = "launch"
    flops, moved = float(demand.flops), float(demand.dram_bytes)
    energy_by = {name: float(joules) for name, joules in device.energy_by_level_j(demand, latency_s).items()}
    return OperatorCost(
        name=op.name,
        op_type=op.op_type,
        kind=op.kind,
        block=op.block,
        step=position,
        flops=flops,
        dram_bytes=moved,
        intensity=flops / moved if moved else (math.inf if flops else 0.0),
        bound=bound,
        latency_s=latency_s,
        energy_j=sum(energy_by.values()),
        share=0.0,
        energy_by=energy_by,
    )


def _view_row(op: Operator, device: RooflineDevice) -> OperatorCost:
    return OperatorCost(
        name=op.name, op_type=op.op_type, kind=op.kind, block=op.block, step=-1, flops=0.0, dram_bytes=0.0,
        intensity=0.0, bound="", latency_s=0.0, energy_j=0.0, share=0.0,
        energy_by=dict.fromkeys(device.energy_components, 0.0),
    )  # fmt: skip
