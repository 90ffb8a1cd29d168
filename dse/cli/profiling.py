"""`dse profile`: what a model costs on a device, operator by operator."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dse.cli import inputs
from dse.cli.inputs import ModelSource
from dse.cli.output import console, print_table
from dse.cli.profiling_kernels import KernelOptions, profile_kernels
from dse.cli.profiling_machines import MachineOptions, profile_machines, refuse_for_machines, refuse_for_processors
from dse.cli.projecting import print_projection, projection_record
from dse.cli.sources import model_source
from dse.cli.weights import print_weights, weights_mode, weights_record
from dse.cli.zoo_source import ZooOptions, ZooSource
from dse.files import atomic_write
from dse.numbers import si
from hwmodels import format_si
from workloads.errors import SpaceError

if TYPE_CHECKING:
    from hwmodels import OperatorCost, RooflineDevice
    from workloads.workload import Program, Workload

__all__ = ["profile", "profile_record"]

WIDE = 110
"""Columns of a terminal from which names and blocks stand side by side."""


def profile(
    model: Annotated[str, typer.Argument(help="An .onnx file, a name such as vit-mnist, or one that `dse zoo` lists.")],
    device: Annotated[
        list[str], typer.Option("--device", "-d", help="A name, a TOML file, or local; may be repeated.")
    ],
    bind: Annotated[
        list[str] | None, typer.Option("--bind", "-b", help="Sizes of symbolic dims: batch=1,seq=128.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout instead of tables.")] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw a roofline: FILE.png, .svg or .pdf.")] = None,
    table: Annotated[Path | None, typer.Option("--csv", help="Write all operators to a CSV file.")] = None,
    top: Annotated[int, typer.Option("--top", min=0, help="Show only the N longest operators; 0: all, in order.")] = 0,
    fuse: Annotated[
        bool, typer.Option("--fuse/--no-fuse", help="What the device's kernels fuse by themselves.")
    ] = True,
    no_weights: Annotated[bool, typer.Option("--no-weights", help="Go without missing external data.")] = False,
    weights: Annotated[
        str, typer.Option("--weights", help="describe: as the containers say; measure: what the stored values need.")
    ] = "describe",
    extra_ops: Annotated[Path | None, typer.Option("--extra-ops", help="Python file with a dict HANDLERS.")] = None,
    free_ops: Annotated[str, typer.Option("--free-ops", help="Op types to count as free: A,B.")] = "",
    probability: Annotated[
        list[str] | None, typer.Option("--probability", help="Of the then-branch of an If: NODE=0.25; may be repeated.")
    ] = None,
    trips: Annotated[
        list[str] | None, typer.Option("--trips", help="Expected trips of a Loop: NODE=8; may be repeated.")
    ] = None,
    phase: Annotated[str | None, typer.Option("--phase", help="Zoo: encode, prefill or decode.")] = None,
    context: Annotated[int | None, typer.Option("--context", help="Zoo: tokens in the cache of a decode step.")] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", help="Zoo: a whole generation of so many tokens.")] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="Zoo: fp32, fp16 or bf16.")] = None,
    kv_bits: Annotated[int | None, typer.Option("--kv-bits", help="Zoo: bits of the KV cache, 4 or 8.")] = None,
    year: Annotated[
        float | None, typer.Option("--year", help="Project the device to this year by the memory wall's trends.")
    ] = None,
    objective: Annotated[
        str, typer.Option("--objective", help="Accelerators: what mappings are best in: edp, energy, latency.")
    ] = "edp",
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Accelerators: tensors may stay on chip between tasks.")
    ] = True,
    cascades: Annotated[
        bool, typer.Option("--cascades", help="Accelerators: fuse attention and the like where that is better; slower.")
    ] = False,
    kernels: Annotated[
        str | None, typer.Option("--kernels", help="GPUs: calibrated kernels with error bands: kernel, graph or eager.")
    ] = None,
    style: Annotated[str, typer.Option("--style", help="With --kernels: library, compiled or eager.")] = "",
    gpus: Annotated[int, typer.Option("--gpus", min=1, help="With --kernels: tensor parallelism over N GPUs.")] = 1,
    framework: Annotated[str, typer.Option("--framework", help="With --kernels: whose are preferred.")] = "",
) -> None:
    """Cost a model on a device: FLOPs, traffic, what bounds it, latency and energy of every operator.

    All costs are predicted: ceilings of the device's data sheet, dense-equivalent FLOPs. Of a model with control flow
    they are means over what runs. --kernels turns a model into GPU kernels and predicts each from measurements. On a
    spatial accelerator: the time of its array and of the engines beside it,
    conversions and transfers, what stays on chip, traffic and energy by level, area.
    """
    import hwmodels

    zoo = ZooOptions(phase=phase, context=context, tokens=tokens, dtype=dtype, kv_bits=kv_bits)
    measure = weights_mode(weights) == "measure"
    source = model_source(
        model, inputs.parse_bind(bind or ()), zoo, measure,
        extra_ops=inputs.extra_handlers(extra_ops),
        free_ops=[name.strip() for name in free_ops.split(",") if name.strip()],
        weights=not no_weights,
        probabilities=inputs.parse_expected(probability or (), "--probability"),
        trips=inputs.parse_expected(trips or (), "--trips"),
    )  # fmt: skip
    every = [inputs.any_device(name) for name in device]
    found = [item for item in every if isinstance(item, hwmodels.RooflineDevice)]
    machines = [item for item in every if isinstance(item, hwmodels.Accelerator)]
    if machines:
        refuse_for_machines(objective, {"--year": year is not None, "--no-fuse": not fuse})
        if found and as_json:
            raise SpaceError("--json: records of GPUs and of accelerators differ; run the command once for each kind")
    if found:
        refuse_for_processors({"--objective": objective != "edp", "--no-keep": not keep, "--cascades": cascades})
    if kernels is not None:
        refused = {"--plot": plot is not None, "--year": year is not None, "--no-fuse": not fuse, "--weights": measure}
        _refuse_for_kernels(refused, machines)
        options = KernelOptions(kernels, style, framework, gpus, top, as_json, table)
        profile_kernels(source.load_work(), found, options)
        return
    _refuse_without_kernels({"--style": bool(style), "--gpus": gpus != 1, "--framework": bool(framework)})
    if len(every) > 1 and (plot is not None or table is not None):
        raise SpaceError("--plot and --csv take one device; give one --device, or run the command once for each")
    if top and as_json:
        raise SpaceError("--top is for the printed table; --json holds every operator; leave one of them out")
    if not fuse:
        found = [replace(item, fuses=()) for item in found]
    work = source.load_work()
    own, found = found, [item if year is None else hwmodels.project(item, year) for item in found]
    if machines:
        profile_machines(work, machines, MachineOptions(objective, keep, cascades, top, as_json, plot, table))
        if not found:
            return
    records = [profile_record(work, item, source) for item in found]
    if year is not None:
        for record, item in zip(records, own, strict=True):
            record["projection"] = projection_record(work, item, year)
    stored = weights_record(source.path) if measure and isinstance(source, ModelSource) else []
    for record in records if measure else ():
        record["weights"] = stored
    if plot is not None:
        from dse import plots

        plots.roofline(work, found[0], plot)
    if table is not None:
        _write_csv(records[0]["operators"], table)
    if as_json:
        print(json.dumps(records[0] if len(records) == 1 else {"profiles": records}, indent=1, allow_nan=False))
        return
    _print_profiles(records, top)
    if measure:
        print_weights(stored)
    for path in (plot, table):
        if path is not None:
            console().print(f"written: {path}", soft_wrap=True)


def _refuse_for_kernels(given: dict[str, bool], machines: Sequence[object]) -> None:
    if machines:
        raise SpaceError("--kernels is for GPUs, and there is a spatial accelerator here; run the command for each")
    for name, here in given.items():
        if here:
            raise SpaceError(f"{name} says nothing about calibrated kernels; leave out it or --kernels")


def _refuse_without_kernels(given: dict[str, bool]) -> None:
    for name, here in given.items():
        if here:
            raise SpaceError(f"{name} is for calibrated kernels; give --kernels kernel, graph or eager with it")


def _print_profiles(records: Sequence[dict[str, Any]], top: int) -> None:
    for number, record in enumerate(records):
        if number:
            console().print()
        _print_profile(record, top)


def profile_record(
    work: Workload | Program, device: RooflineDevice, source: ModelSource | ZooSource | None = None
) -> dict[str, Any]:
    """Give a profile as plain data: totals that are the sums of the operators, and the operators.

    Args:
        work: Scalar.
        device: Scalar.
        source: Where the workload came from, to find the largest batch that fits.
    """
    import hwmodels

    operators = [_operator_record(row) for row in hwmodels.breakdown_records(work, device)]
    cost = hwmodels.evaluate(work, device)
    totals: dict[str, Any] = {
        name: math.fsum(row[name] for row in operators) for name in ("flops", "dram_bytes", "latency_s", "energy_j")
    }
    totals |= {
        "matmul_conv_macs": float(work.macs()),
        "peak_bytes": float(cost.peak_bytes),
        "weight_bytes": float(work.weight_bytes()),
    }
    fits = bool(hwmodels.fits(cost, device))
    memory: dict[str, Any] = {"fits": fits, "capacity_bytes": float(device.capacity_bytes)}
    if not fits and source is not None:
        memory["largest_batch"] = _largest_batch(source, device)
    return {
        "model": work.name,
        "device": device.name,
        "bind": dict(work.bindings),
        "totals": totals,
        "memory": memory,
        "operators": operators,
    }


def _operator_record(row: OperatorCost) -> dict[str, Any]:
    """Give a row with plain numbers: no infinity where nothing is moved, and a word where nothing runs."""
    plain = row.columns()
    plain["intensity"] = row.intensity if math.isfinite(row.intensity) else None
    plain["bound"] = row.bound or "none"
    return plain


def _largest_batch(source: ModelSource | ZooSource, device: RooflineDevice) -> int | None:
    """Find the largest batch that fits; None where the file fixes the batch."""
    import hwmodels

    if not source.batch_symbols():
        return None
    return hwmodels.largest_batch(source.load_work, device)


def _write_csv(operators: Sequence[dict[str, Any]], path: Path) -> None:
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(operators[0]))
        writer.writeheader()
        writer.writerows(operators)


def _print_profile(record: dict[str, Any], top: int) -> None:
    running = [row for row in record["operators"] if row["bound"] != "none"]
    shown = sorted(running, key=lambda row: -row["latency_s"])[:top] if top else running
    sizes = ", ".join(f"{name}={size}" for name, size in record["bind"].items())
    title = f"{record['model']}{f' ({sizes})' if sizes else ''} on {record['device']}, predicted"
    _print_rows(shown, title)
    out = console()
    hidden = len(record["operators"]) - len(running)
    notes = [f"{len(running) - len(shown)} shorter operators are not shown"] if len(running) > len(shown) else []
    notes += [f"{hidden} views cost nothing and are not shown"] if hidden else []
    if notes:
        out.print("; ".join(notes))
    out.print()
    _print_totals(record["totals"], record["memory"])
    if "projection" in record:
        print_projection(record["projection"])


def _print_rows(rows: Sequence[dict[str, Any]], title: str) -> None:
    wide = console().width >= WIDE
    header = [
        "operator",
        *(["block"] if wide else []),
        "type",
        "FLOP",
        "B",
        "FLOP/B",
        "bound",
        "latency",
        "energy",
        "share",
    ]
    cells = []
    for row in rows:
        names = [row["name"], row["block"]] if wide else [row["block"] or row["name"]]
        cells.append(
            [
                *names,
                row["op_type"],
                _tight(row["flops"]),
                _tight(row["dram_bytes"]),
                "-" if row["intensity"] is None else f"{row['intensity']:.3g}",
                row["bound"],
                _tight(row["latency_s"], "s"),
                _tight(row["energy_j"], "J"),
                f"{row['share']:.1%}",
            ]
        )
    kind = header.index("type")
    left = (*range(kind + 1), header.index("bound"))
    print_table(header, cells, left=left, cut=range(kind), cut_end=(kind,), title=title)


def _tight(value: float, unit: str = "") -> str:
    return si(value, unit).replace(" ", "")


def _print_totals(totals: dict[str, Any], memory: dict[str, Any]) -> None:
    speed = totals["flops"] / totals["latency_s"] if totals["latency_s"] else 0.0
    reached = f"{si(speed, 'FLOP/s')} reached" if speed else ""
    rows = [
        ["work", format_si(totals["flops"], "FLOP"), f"{format_si(totals['matmul_conv_macs'], 'MAC')} in products"],
        ["DRAM traffic", format_si(totals["dram_bytes"], "B"), f"weights {format_si(totals['weight_bytes'], 'B')}"],
        ["latency", format_si(totals["latency_s"], "s"), reached],
        ["energy", format_si(totals["energy_j"], "J"), ""],
        ["peak memory", format_si(totals["peak_bytes"], "B"), f"of {si(memory['capacity_bytes'], 'B')}"],
    ]  # fmt: skip
    print_table(["total", "", ""], rows, left=(0, 2))
    if not memory["fits"]:
        demand, capacity = format_si(totals["peak_bytes"], "B"), format_si(memory["capacity_bytes"], "B")
        largest = memory.get("largest_batch")
        advice = {None: "the file fixes the batch size", 0: "not even batch 1 fits"}.get(
            largest, f"the largest batch that fits is {largest}"
        )
        console().print(
            f"DOES NOT FIT: needs {demand}, the device has {capacity}; {advice}", style="bold", soft_wrap=True
        )
