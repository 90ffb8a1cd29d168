"""`dse energy`: what an access, an operation, a wire or a device costs, with its error band; or a table of memories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dse.cli.energy_devices import ACCELERATOR_OPTIONS, look_up_device, print_bill
from dse.cli.energy_items import KINDS, Given, Looked, is_figure, kind_of, look_up
from dse.cli.energy_output import print_explained, print_figures, print_json
from dse.cli.energy_table import predict_file
from workloads.errors import SpecError

if TYPE_CHECKING:
    from hwmodels.energy import Bill

__all__ = ["energy"]


def energy(
    what: Annotated[
        list[str] | None,
        typer.Argument(help="sram:256KiB/8B, mac:int8xint4, add:fp32, dram:HBM3, wire, ... or a device: gemmini."),
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--table", help="CSV file of memories: size_bytes, width_bytes, ...; - is stdin.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="With --table: CSV file; default: stdout.")] = None,
    node: Annotated[str | None, typer.Option("--node", help="Technology: 45nm (default; a device: its own).")] = None,
    device: Annotated[
        str | None, typer.Option("--device", "-d", help="Transistors: itrs-hp (default), itrs-lstp, itrs-lop.")
    ] = None,
    ports: Annotated[str | None, typer.Option("--ports", help="SRAM: read-write, read, write ports: 1,0,0.")] = None,
    banks: Annotated[int | None, typer.Option("--banks", help="SRAM: a power of two.")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", help="Of the junction, 300 to 400 K.")] = None,
    objective: Annotated[
        str | None, typer.Option("--objective", help="SRAM is organised for: ed2, ed, energy, area, delay.")
    ] = None,
    law: Annotated[str | None, typer.Option("--law", help="Scaling law of energy at nodes without figures.")] = None,
    hits: Annotated[float | None, typer.Option("--hits", help="DRAM: share of row hits, 0 to 1.")] = None,
    scope: Annotated[str | None, typer.Option("--scope", help="DRAM: core, io, device, device+io, ...")] = None,
    hops: Annotated[float | None, typer.Option("--hops", help="Links in a row.")] = None,
    dram: Annotated[str | None, typer.Option("--dram", help="Device: price its DRAM interface: HBM2E.")] = None,
    clock_scale: Annotated[
        float | None, typer.Option("--clock-scale", help="Device: clock, relative to its own.")
    ] = None,
    capacity: Annotated[
        list[str] | None, typer.Option("--capacity", help="Device: LEVEL=FACTOR; may be repeated.")
    ] = None,
    bandwidth: Annotated[
        list[str] | None, typer.Option("--bandwidth", help="Device: LEVEL=FACTOR; may be repeated.")
    ] = None,
    explained: Annotated[bool, typer.Option("--explain", help="Trace every number: formula, source, band.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON to stdout instead of tables.")] = False,
) -> None:
    """Look up energy, area and time, with error bands: of memories, operations, wires, links, DRAM, whole devices.

    Low and high are the ends of a band that about nine true values of ten lie in; --explain says where it comes from.
    """
    given = Given(
        node=node, device=device, ports=ports, banks=banks, temperature=temperature, objective=objective, law=law,
        hits=hits, scope=scope, hops=hops, dram=dram, clock_scale=clock_scale, capacity=capacity, bandwidth=bandwidth,
    )  # fmt: skip
    if table is not None:
        _refuse_with_table(what, given, explained, as_json)
        predict_file(table, out)
        return
    if not what:
        examples = ", ".join(kind.example for kind in KINDS.values())
        raise SpecError(f"nothing to look up: give {examples}, or a device; or --table FILE.csv")
    if out is not None:
        raise SpecError("--out goes with --table; for a file of figures send --json somewhere")
    if explained and as_json:
        raise SpecError("--json holds the trace of every number already: leave out --explain")
    _show(what, given, explained, as_json)


def _show(what: Sequence[str], given: Given, explained: bool, as_json: bool) -> None:
    """Look everything up before anything is printed."""
    found = [(look_up(one, given), None) if is_figure(one) else look_up_device(one, given) for one in what]
    _refuse_idle(found, given)
    if as_json:
        print_json([item for item, _ in found])
    elif explained:
        print_explained([item for item, _ in found])
    else:
        figures: list[Looked] = [item for item, bill in found if bill is None]
        if figures:
            print_figures(figures)
        for place, bill in enumerate(bill for _, bill in found if bill is not None):
            if figures or place:
                print()
            print_bill(bill)


def _refuse_with_table(what: Sequence[str] | None, given: Given, explained: bool, as_json: bool) -> None:
    if what:
        raise SpecError(f"--table predicts the memories of a file, and {what[0]!r} is a look-up; leave one out")
    for name in given.named():
        raise SpecError(f"--{name} does not go with --table, whose columns say it row by row; leave it out")
    if explained or as_json:
        option = "--explain" if explained else "--json"
        raise SpecError(f"{option} does not go with --table, which writes CSV with bands and quality; leave it out")


def _refuse_idle(found: Sequence[tuple[Looked, Bill | None]], given: Given) -> None:
    """Refuse options that move nothing of what was looked up."""
    moving: set[str] = set()
    for item, bill in found:
        if is_figure(item.what):
            moving.update(kind_of(item.what).options)
        elif bill is not None:
            moving.update(ACCELERATOR_OPTIONS)
    for name in given.named():
        if name not in moving:
            users = [kind for kind, entry in KINDS.items() if name in entry.options]
            users += ["spatial accelerators"] if name in ACCELERATOR_OPTIONS else []
            idle = ", ".join(item.what for item, _ in found)
            raise SpecError(f"--{name} is for {', '.join(users)}; it does nothing for {idle}: leave it out")
