"""`dse profile` on spatial accelerators: tasks by engine, tensors on chip, traffic, energy, area."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.cli.mapping_files import write_rows
from dse.cli.output import console, print_table, progress_bar
from dse.numbers import si
from hwmodels.units import format_si
from workloads.errors import DseError, SpaceError

if TYPE_CHECKING:
    from hwmodels import Accelerator
    from hwmodels.machines import MachineRun
    from workloads.workload import Program, Workload

__all__ = [
    "MachineOptions",
    "machine_record",
    "plain",
    "print_engines",
    "profile_machines",
    "refuse_for_machines",
    "refuse_for_processors",
]

OBJECTIVES = ("edp", "energy", "latency")


def refuse_for_machines(objective: str, given: dict[str, bool]) -> None:
    """Refuse options that say nothing about an accelerator.

    Args:
        objective: As it was given.
        given: Whether each option was given, by name.

    Raises:
        SpaceError: One that was, or an unknown objective.
    """
    if objective not in OBJECTIVES:
        raise SpaceError(f"--objective {objective!r} is unknown; give {', '.join(OBJECTIVES)}")
    for name, here in given.items():
        if here:
            raise SpaceError(f"{name} is for GPUs and CPUs, and this is a spatial accelerator; leave it out")


def refuse_for_processors(given: dict[str, bool]) -> None:
    """Refuse options that say nothing about a GPU or CPU.

    Args:
        given: Whether each option was given, by name.

    Raises:
        SpaceError: One that was.
    """
    for name, here in given.items():
        if here:
            raise SpaceError(f"{name} is for spatial accelerators, and there is a GPU or CPU here; leave it out")


@dataclass(frozen=True, slots=True)
class MachineOptions:
    """What `dse profile` was asked for.

    Attributes:
        objective: edp, energy, latency.
        keep: Let tensors stay on chip.
        cascades: Fuse where that is better.
        top: Only the longest tasks; 0: all.
        as_json: JSON to stdout.
        plot: A figure.
        table: A CSV file of all tasks.
    """

    objective: str
    keep: bool
    cascades: bool
    top: int
    as_json: bool
    plot: Path | None
    table: Path | None


def profile_machines(work: Workload | Program, devices: Sequence[Accelerator], options: MachineOptions) -> None:
    """Profile a network on accelerators: print, and write what was asked for.

    Args:
        work: Scalar.
        devices: Where it runs.
        options: What was asked for.

    Raises:
        MappingError: Something that nothing takes, or that does not fit.
    """
    records = []
    for device in devices:
        run = run_machine(work, device, options)
        records.append(machine_record(run, work))
        if options.plot is not None:
            from dse import plots

            plots.machine_run(run, options.plot)
        if options.table is not None:
            write_rows(records[0]["tasks"], options.table)
    if options.as_json:
        print(json.dumps(records[0] if len(records) == 1 else {"profiles": records}, indent=1, allow_nan=False))
        return
    for number, record in enumerate(records):
        if number:
            console().print()
        print_machine(record, options.top)
    for path in (options.plot, options.table):
        if path is not None:
            console().print(f"written: {path}", soft_wrap=True)


def run_machine(work: Workload | Program, device: Accelerator, options: MachineOptions) -> MachineRun:
    """Cost a network on an accelerator; mappings are remembered from run to run.

    Args:
        work: Scalar.
        device: Where it runs.
        options: Objective, what stays on chip, what is fused.

    Raises:
        MappingError: Something that nothing takes, or that does not fit.
    """
    from hwmodels.machines.running import finder, run
    from hwmodels.mapping.mapper.memo import Memo, mapping_cache

    with progress_bar("mapping operators") as bar:
        objective: Any = options.objective
        find = finder(objective, Memo(mapping_cache()))
        return run(work, device, objective, find=find, keep=options.keep, cascades=options.cascades, progress=bar)


def machine_record(run: MachineRun, work: Workload | Program) -> dict[str, Any]:
    """Give a profile as plain data.

    Args:
        run: The network on an accelerator.
        work: The network.
    """
    from hwmodels.machines.rows import area_rows, engine_rows, level_rows, placement_rows, task_rows

    outer = run.accelerator.levels[0].name
    read, written = run.moved_bytes(outer)
    area: list[dict[str, Any]] = []
    unpriced = ""
    try:
        area = area_rows(run)
    except DseError as error:
        unpriced = str(error)
    return {
        "model": run.name,
        "device": run.accelerator.name,
        "bind": dict(work.bindings),
        "totals": {
            "flops": float(work.flops()),
            "macs": run.macs,
            "utilization": run.utilization,
            "latency_s": run.latency_s,
            "energy_j": run.energy_j,
            "dram_bytes": read + written,
            "area_mm2": sum(row["area_mm2"] for row in area) if area else None,
            "narrowed_from_bits": run.narrowed_from,
        },
        "engines": plain(engine_rows(run)),
        "components": plain(level_rows(run)),
        "on_chip": placement_rows(run),
        "area": area,
        "unpriced": unpriced,
        "tasks": task_rows(run),
    }


def plain(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give rows for JSON: null where a table leaves a cell empty.

    Args:
        rows: Of `hwmodels.machines.rows`.
    """
    return [{name: None if value == "" else value for name, value in row.items()} for row in rows]


def print_machine(record: dict[str, Any], top: int) -> None:
    """Print a profile.

    Args:
        record: Of `machine_record`.
        top: Only the longest tasks; 0: all, in order.
    """
    out = console()
    _print_tasks(record, top)
    out.print()
    print_engines(record["engines"], "time by engine")
    out.print()
    _print_components(record)
    out.print()
    if record["area"]:
        cells = [[row["component"], f"{row['count']}", f"{row['area_mm2']:.3g}", f"{row['area_share']:.1%}"]
                 for row in record["area"]]  # fmt: skip
        print_table(["component", "count", "area\nmm2", "share"], cells, title="area, predicted")
        out.print()
    for line in _notes(record):
        out.print(line, soft_wrap=True)


def _print_tasks(record: dict[str, Any], top: int) -> None:
    rows = record["tasks"]
    shown = sorted(rows, key=lambda row: -row["latency_s"])[:top] if top else rows
    sizes = ", ".join(f"{name}={size}" for name, size in record["bind"].items())
    title = f"{record['model']}{f' ({sizes})' if sizes else ''} on {record['device']}, predicted"
    cells = [
        [row["block"] or row["task"], row["op_type"], row["engine"], row["bound"], si(row["latency_s"], "s"),
         f"{row['utilization']:.1%}" if row["kind"] == "product" else "-", si(row["energy_j"], "J"),
         f"{row['share']:.1%}"]
        for row in shown
    ]  # fmt: skip
    header = ["block or task", "type", "engine", "bound", "latency", "utilization", "energy", "share"]
    print_table(header, cells, left=(0, 1, 2, 3), cut=(0,), cut_end=(1,), title=title)
    if len(shown) < len(rows):
        console().print(f"{len(rows) - len(shown)} shorter tasks are not shown")


def print_engines(rows: Sequence[dict[str, Any]], title: str) -> None:
    """Print which engine works how long for what.

    Args:
        rows: Of `engine_rows`.
        title: Of the table.
    """
    kinds = [kind for kind in ("product", "function", "fused", "conversion", "transfer")
             if any(row[f"{kind}_s"] for row in rows)]  # fmt: skip
    cells = [
        [row["engine"], f"{row['tasks']}", si(row["busy_s"], "s"), f"{row['share']:.1%}",
         *[si(row[f"{kind}_s"], "s") if row[f"{kind}_s"] else "-" for kind in kinds]]
        for row in rows
    ]  # fmt: skip
    header = [
        "engine",
        "tasks",
        "busy",
        "of the\nlatency",
        *["fused" if kind == "fused" else f"{kind}s" for kind in kinds],
    ]
    print_table(header, cells, title=title)


def _print_components(record: dict[str, Any]) -> None:
    cells = [
        [row["component"], _moved(row["read_bytes"]), _moved(row["written_bytes"]), si(row["energy_j"], "J"),
         f"{row['share']:.1%}"]
        for row in record["components"]
    ]  # fmt: skip
    print_table(["component", "read", "written", "energy", "share"], cells, title="traffic and energy")


def _moved(size: float | None) -> str:
    return "-" if size is None else si(size, "B")


def _notes(record: dict[str, Any]) -> list[str]:
    totals, kept = record["totals"], record["on_chip"]
    notes = [
        f"latency {format_si(totals['latency_s'], 's')}, energy {format_si(totals['energy_j'], 'J')}, "
        f"{format_si(totals['macs'], 'MAC')} at utilization {totals['utilization']:.1%}, "
        f"{format_si(totals['dram_bytes'], 'B')} of outer traffic"
        + (f", {totals['area_mm2']:.3g} mm2" if totals["area_mm2"] else "")
    ]
    if kept:
        size = format_si(sum(row["bytes"] for row in kept), "B")
        notes.append(f"{len(kept)} tensors of {size} stay on chip between tasks (--no-keep: none)")
    absorbed = sum(len(row["absorbed"].split()) for row in record["tasks"])
    if absorbed:
        notes.append(f"{absorbed} operators are taken along by the array's products")
    if totals["narrowed_from_bits"]:
        notes.append(f"elements of {totals['narrowed_from_bits']:g} bit count as those that the array takes")
    if record["unpriced"]:
        notes.append(f"no area: {record['unpriced']}")
    return notes
