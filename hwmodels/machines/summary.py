"""A network on an accelerator in the terms of `hwmodels.evaluate` and `hwmodels.breakdown`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hwmodels.cost import Cost
from hwmodels.machines.records import STATIC, MachineRun
from workloads.liveness import activation_peak_bytes
from workloads.workload import Program, Workload

if TYPE_CHECKING:
    from hwmodels.operator_costs import OperatorCost

__all__ = ["run_cost", "run_records"]


def run_cost(run: MachineRun, work: Workload | Program) -> Cost:
    """Give what a network costs in all.

    Args:
        run: The network on an accelerator.
        work: The network.

    Returns:
        `latency_by` is the time that each engine works; peak and weights are those of the network as it is stored.
    """
    weights = work.weight_bytes()
    read, written = run.moved_bytes(run.accelerator.levels[0].name)
    return Cost(
        latency_s=run.latency_s,
        energy_j=run.energy_j,
        flops=work.flops(),
        dram_bytes=read + written,
        peak_bytes=weights + activation_peak_bytes(work),
        weight_bytes=weights,
        latency_by=run.busy_s,
        energy_by=run.energy_by,
    )


def run_records(run: MachineRun) -> tuple[OperatorCost, ...]:
    """Give one row per task: conversions and transfers are rows of their own.

    Args:
        run: The network on an accelerator.
    """
    from hwmodels.operator_costs import OperatorCost

    outer = run.accelerator.levels[0].name
    series = sum(cost.latency_s * cost.task.executions for cost in run.costs)
    rows = []
    for step, cost in enumerate(run.costs):
        task, times = cost.task, cost.task.executions
        share = cost.latency_s * times / series if series else 0.0
        moved = times * (cost.read_bytes.get(outer, 0.0) + cost.written_bytes.get(outer, 0.0))
        counted = task.kind in ("product", "function", "fused")
        flops = times * sum(float(op.flops()) / float(op.count) for op in task.operators) if counted else 0.0
        energy = {name: times * cost.energy_by.get(name, 0.0) for name in run.energy_by if name != STATIC}
        energy[STATIC] = run.static_j * share
        rows.append(
            OperatorCost(
                name=task.name,
                op_type=task.op_type,
                kind=task.kind if task.kind != "function" else task.operators[0].kind,
                block=task.block,
                step=step,
                flops=flops,
                dram_bytes=moved,
                intensity=flops / moved if moved else (math.inf if flops else 0.0),
                bound=cost.bound,
                latency_s=cost.latency_s * times,
                energy_j=sum(energy.values()),
                share=share,
                energy_by=energy,
            )
        )
    return tuple(rows)
