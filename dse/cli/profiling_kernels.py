"""`dse profile --kernels`: a model as the kernels that a GPU runs, uncalibrated, calibrated and with an error band."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.cli.mapping_files import write_rows
from dse.cli.output import console, print_table
from dse.numbers import si
from workloads.errors import SpaceError

if TYPE_CHECKING:
    from hwmodels import RooflineDevice
    from hwmodels.kernels import KernelDevice, KernelTime
    from workloads.workload import Program, Workload

__all__ = ["KernelOptions", "kernel_record", "profile_kernels"]


@dataclass(frozen=True, slots=True)
class KernelOptions:
    """What `dse profile` was asked for.

    Attributes:
        timing: kernel, graph or eager.
        style: library, compiled or eager; "": that of the timing.
        framework: Whose calibrations are preferred; "": any.
        gpus: Tensor parallelism over so many.
        top: Only the longest kernels; 0: all.
        as_json: JSON to stdout.
        table: A CSV file of all kernels.
    """

    timing: str
    style: str
    framework: str
    gpus: int
    top: int
    as_json: bool
    table: Path | None


def profile_kernels(work: Workload | Program, devices: Sequence[RooflineDevice], options: KernelOptions) -> None:
    """Profile a model kernel by kernel: print, and write what was asked for.

    Args:
        work: Scalar.
        devices: GPUs.
        options: What was asked for.

    Raises:
        SpaceError: Several devices and one table.
        SpecError: A device that is no GPU, an unknown timing or style.
    """
    from hwmodels import calibrated

    if len(devices) > 1 and options.table is not None:
        raise SpaceError("--csv takes one device; give one --device, or run the command once for each")
    records = []
    for device in devices:
        timing: Any = options.timing  # `calibrated` checks it
        gpu = calibrated(device, timing=timing, style=options.style, framework=options.framework, gpus=options.gpus)
        records.append(kernel_record(work, gpu))
    if options.table is not None:
        names = dict.fromkeys(name for row in records[0]["kernels"] for name in row)
        write_rows([{name: row.get(name, "") for name in names} for row in records[0]["kernels"]], options.table)
    if options.as_json:
        print(json.dumps(records[0] if len(records) == 1 else {"profiles": records}, indent=1, allow_nan=False))
        return
    for number, record in enumerate(records):
        if number:
            console().print()
        _print_record(record, options.top)
    if options.table is not None:
        console().print(f"written: {options.table}", soft_wrap=True)


def kernel_record(work: Workload | Program, gpu: KernelDevice) -> dict[str, Any]:
    """Give a profile as plain data: totals and kernels, equal ones once with their count.

    Args:
        work: Scalar.
        gpu: From `hwmodels.calibrated`.
    """
    from hwmodels import fits

    whole, cost = gpu.predict(work), gpu.cost_of(work)
    kernels = _merged(whole.kernels)
    total = sum(row["count"] * row["time_us"] for row in kernels) or 1.0
    for row in kernels:
        row["share"] = row["count"] * row["time_us"] / total
    times = ("roofline_us", "time_us", "low_us", "high_us")
    totals: dict[str, Any] = {name: float(getattr(whole, name)) for name in times}
    totals |= {"energy_j": float(cost.energy_j), "dram_bytes": float(cost.dram_bytes), "flops": float(cost.flops),
               "peak_bytes": float(cost.peak_bytes)}  # fmt: skip
    totals["by_us"] = {name: float(value) * 1e6 for name, value in cost.latency_by.items() if float(value)}
    memory = {"fits": bool(fits(cost, gpu)), "capacity_bytes": float(gpu.capacity_bytes)}
    return {"model": work.name, "device": gpu.name, "bind": dict(work.bindings), "timing": gpu.timing,
            "totals": totals, "memory": memory, "kernels": kernels}  # fmt: skip


def _merged(rows: Sequence[KernelTime]) -> list[dict[str, Any]]:
    """Join kernels of equal sizes and times, in the order in which the first of each runs."""
    found: dict[tuple[object, ...], dict[str, Any]] = {}
    for row in rows:
        kernel = row.kernel
        sizes = {name: float(value) for name, value in kernel.sizes.items()}
        key = (kernel.op, *sizes.values(), kernel.a_format, str(kernel.w_format), round(float(row.time_us), 6))
        if key in found:
            found[key]["count"] += float(kernel.count)
            continue
        found[key] = {
            "name": kernel.name, "block": kernel.block, "op": kernel.op, "count": float(kernel.count), **sizes,
            "a_format": kernel.a_format, "w_format": str(kernel.w_format), "roofline_us": float(row.roofline_us),
            "time_us": float(row.time_us), "low_us": float(row.low_us), "high_us": float(row.high_us),
            "hot_bytes": float(row.hot_bytes), "remark": row.remark,
        }  # fmt: skip
    return list(found.values())


def _print_record(record: dict[str, Any], top: int) -> None:
    kernels = record["kernels"]
    shown = sorted(kernels, key=lambda row: -row["share"])[:top] if top else kernels
    sizes = ", ".join(f"{name}={size}" for name, size in record["bind"].items())
    model = f"{record['model']}{f' ({sizes})' if sizes else ''}"
    title = f"{model} on {record['device']}, predicted, {record['timing']} timing"
    cells = [
        [
            row["block"] or row["name"], row["op"], _sizes(row), f"{row['count']:g}", _us(row["roofline_us"]),
            _us(row["time_us"]), f"{_us(row['low_us'])}-{_us(row['high_us'])}", f"{row['share']:.1%}",
        ]
        for row in shown
    ]  # fmt: skip
    header = ["block", "kernel", "sizes", "runs", "roofline", "calibrated", "80 % band", "share"]
    print_table(header, cells, left=(0, 1, 2), cut=(0,), cut_end=(2, 1), title=title)
    _print_remarks(kernels)
    out = console()
    if len(shown) < len(kernels):
        out.print(f"{len(kernels) - len(shown)} shorter kernels are not shown")
    out.print()
    _print_totals(record)


def _print_remarks(kernels: Sequence[dict[str, Any]]) -> None:
    """Say what serves the kernels that no calibration of their own serves."""
    served: dict[str, list[str]] = {}
    for row in kernels:
        if row["remark"]:
            served.setdefault(row["remark"], []).append(row["op"])
    for remark, names in served.items():
        console().print(f"{', '.join(dict.fromkeys(names))}: {remark}", soft_wrap=True)


def _sizes(row: dict[str, Any]) -> str:
    """Write the sizes that tell a kernel from others."""
    formats = "x".join(name for name in dict.fromkeys((row["a_format"], row["w_format"])) if name)
    if "m" in row:
        batch = f"{row['batch']:g} of " if row["batch"] != 1 else ""
        return f"{batch}{row['m']:g}x{row['k']:g}x{row['n']:g} {formats}"
    if "q_len" in row:
        heads = f"{row['heads']:g}/{row['kv_heads']:g}x{row['head_dim']:g}"
        return f"{row['batch']:g} of {row['q_len']:g} on {row['kv_len']:g}, {heads} {formats}"
    if "rows" in row:
        return f"{row['rows']:g}x{row['cols']:g} {formats}"
    return f"{si(row['bytes'], 'B')} over {row['num_gpus']:g} GPUs"


def _us(value: float) -> str:
    return si(value * 1e-6, "s").replace(" ", "")


def _print_totals(record: dict[str, Any]) -> None:
    totals, memory = record["totals"], record["memory"]
    by = ", ".join(f"{name} {_us(value)}" for name, value in totals["by_us"].items())
    rows = [
        ["roofline", si(totals["roofline_us"] * 1e-6, "s"), "uncalibrated: the data sheet alone, no launches"],
        ["calibrated", si(totals["time_us"] * 1e-6, "s"),
         f"80 % band {_us(totals['low_us'])} to {_us(totals['high_us'])}"],
        ["energy", si(totals["energy_j"], "J"), ""],
        ["DRAM traffic", si(totals["dram_bytes"], "B"), ""],
        ["peak memory", si(totals["peak_bytes"], "B"), f"of {si(memory['capacity_bytes'], 'B')}"],
    ]  # fmt: skip
    print_table(["total", "", ""], rows, left=(0, 2))
    console().print(f"of the time: {by}", soft_wrap=True)
    if not memory["fits"]:
        console().print("DOES NOT FIT in the memory of the device", style="bold")
