"""A network on an accelerator as tables: by task, engine, level, tensor on chip, and component of area."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hwmodels.machines.records import STATIC, MachineRun
from hwmodels.machines.tasks import ARRAY
from hwmodels.spatial import Accelerator

if TYPE_CHECKING:
    from hwmodels.energy.vector import VectorUnit

__all__ = ["area_rows", "engine_rows", "level_rows", "placement_rows", "task_rows", "vector_units"]


def task_rows(run: MachineRun) -> list[dict[str, Any]]:
    """Give one row per task: numbers of all its executions together; static energy by share of the time.

    Args:
        run: The network.
    """
    series = sum(cost.latency_s * cost.task.executions for cost in run.costs)
    outer = run.accelerator.levels[0].name
    components = [name for name in run.energy_by if name != STATIC]
    rows = []
    for cost, start in zip(run.costs, run.starts_s, strict=True):
        task, times = cost.task, cost.task.executions
        latency = cost.latency_s * times
        static = run.static_j * latency / series if series else 0.0
        rows.append({
            "task": task.name,
            "block": task.block,
            "op_type": task.op_type,
            "kind": task.kind,
            "engine": task.engine,
            "executions": times,
            "start_s": start,
            "latency_s": latency,
            "share": latency / series if series else 0.0,
            "bound": cost.bound,
            "macs": task.macs * times,
            "utilization": cost.utilization,
            f"{outer}_read_bytes": cost.read_bytes.get(outer, 0.0) * times,
            f"{outer}_written_bytes": cost.written_bytes.get(outer, 0.0) * times,
            "energy_j": cost.energy_j * times + static,
            **{f"{name}_j": cost.energy_by.get(name, 0.0) * times for name in components},
            f"{STATIC}_j": static,
            "on_chip": " ".join(f"{name}@{level}" for name, level in cost.resident.items()),
            "absorbed": " ".join(name for name, _ in task.absorbed),
            "gap": cost.gap,
        })  # fmt: skip
    return rows


def engine_rows(run: MachineRun) -> list[dict[str, Any]]:
    """Give one row per engine: tasks, time that it works, share of the latency, and time by kind of task.

    Args:
        run: The network.
    """
    rows = []
    for name, busy in run.busy_s.items():
        mine = [cost for cost in run.costs if cost.task.engine == name]
        kinds = {
            f"{kind}_s": sum(cost.latency_s * cost.task.executions for cost in mine if cost.task.kind == kind)
            for kind in ("product", "function", "fused", "conversion", "transfer")
        }
        rows.append({
            "engine": name,
            "tasks": len(mine),
            "busy_s": busy,
            "share": busy / run.latency_s if run.latency_s else 0.0,
            "utilization": run.utilization if name == ARRAY else "",
            **kinds,
        })  # fmt: skip
    return rows


def level_rows(run: MachineRun) -> list[dict[str, Any]]:
    """Give one row per component of energy: what is read, written, and spent there.

    Args:
        run: The network.
    """
    levels = {level.name for level in run.accelerator.levels}
    total = run.energy_j
    rows = []
    for name, joules in run.energy_by.items():
        read, written = run.moved_bytes(name) if name in levels else ("", "")
        share = joules / total if total else 0.0
        rows.append(
            {"component": name, "read_bytes": read, "written_bytes": written, "energy_j": joules, "share": share}
        )
    return rows


def placement_rows(run: MachineRun) -> list[dict[str, Any]]:
    """Give one row per tensor that stays on chip.

    Args:
        run: The network.
    """
    return [
        {"tensor": item.name, "level": item.level, "bytes": item.bytes, "from": run.costs[item.first].task.name,
         "to": run.costs[item.last].task.name}
        for item in run.placements
    ]  # fmt: skip


def area_rows(run: MachineRun) -> list[dict[str, Any]]:
    """Give one row per component of the accelerator's area, from `hwmodels.energy.price`.

    Args:
        run: The network.

    Raises:
        SpecError: The accelerator cannot be priced: its process names no node that the models reach.
    """
    from hwmodels.energy.pricing import price

    bill = price(run.accelerator, vector_units=vector_units(run.accelerator))
    names = ("component", "count", "area_mm2", "area_low_mm2", "area_high_mm2", "area_share")
    return [{name: row[name] for name in names} for row in bill.rows()]


def vector_units(accelerator: Accelerator) -> list[VectorUnit]:
    """Give the vector units of an accelerator as `hwmodels.energy.price` takes them; the host is another chip.

    Args:
        accelerator: Its engines.
    """
    from hwmodels.energy.vector import FUNCTIONS, VectorUnit

    return [
        VectorUnit(
            name=engine.name, lanes=engine.lanes, functions=tuple(name for name in FUNCTIONS if name in engine.cycles)
        )
        for engine in accelerator.engines
        if engine.kind == "vector" and set(engine.cycles) & set(FUNCTIONS)
    ]
