"""`dse devices`: what ships, one device with its sources, and this CPU as it was measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dse.cli import inputs
from dse.cli.accelerators import list_accelerators, show_accelerator
from dse.cli.citations import origins, print_citations
from dse.cli.output import console, print_table
from dse.numbers import si
from workloads.errors import SpecError

if TYPE_CHECKING:
    from hwmodels import Accelerator, RooflineDevice

__all__ = ["devices"]


def devices(
    name: Annotated[str | None, typer.Argument(help="One device: a name, an alias, or a TOML file.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Measure this CPU (about ten seconds).")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="With --local: where to write its TOML; default: the user's cache.")
    ] = None,
) -> None:
    """List the devices, or show one with every source and disagreement."""
    if out is not None and not local:
        raise SpecError("--out goes with --local: it is where the measured device is written")
    if name is not None and local:
        raise SpecError(f"--local measures this CPU and takes no name; leave out {name!r} or --local")
    if local:
        path = out or inputs.local_file()
        _show(inputs.measured_here(path))
        console().print(f"written to {path}; use it as --device {'local' if out is None else path}", soft_wrap=True)
    elif name == "local":
        _show(inputs.device(name))
    elif name is not None:
        _show_any(name)
    else:
        _list_all()


def _show_any(name: str) -> None:
    import hwmodels

    device: RooflineDevice | Accelerator = hwmodels.load(name)
    if isinstance(device, hwmodels.Accelerator):
        show_accelerator(device)
    else:
        _show(device)


def _peak(device: RooflineDevice, name: str) -> str:
    """Write the matrix peak of a format, with the format it runs in where the device has no path of its own."""
    from workloads import format_code

    code = format_code(name)
    runs_in = device.runs_in(code)
    if runs_in == "none":
        return "-"
    peak = si(float(device.peak[code]))
    return peak if runs_in == name else f"{peak} ({runs_in})"


def _list_all() -> None:
    import hwmodels

    found = [hwmodels.load(name) for name in hwmodels.names()]
    rows = [
        [
            device.name,
            device.kind,
            _peak(device, "fp16"),
            _peak(device, "int8"),
            si(device.dram.bytes_per_s),
            si(device.dram.capacity_bytes),
            f"{device.tdp_w:g}",
            origins(device.sources),
        ]
        for device in found
    ]
    header = ["device", "kind", "fp16\nFLOP/s", "int8\nOP/s", "DRAM\nB/s", "DRAM\nB", "TDP\nW", "facts\nread"]
    print_table(header, rows, left=(0, 1))
    out = console()
    out.print()
    out.print(
        "Dense peaks; in brackets the format it runs in. facts read: groups of numbers read in their source or "
        "measured, not derived, recalled or assumed. dse devices NAME shows every source."
    )
    out.print()
    list_accelerators()


def _show(device: RooflineDevice) -> None:
    out = console()
    cores = f"{device.cores} {'multiprocessors' if device.kind == 'gpu' else 'cores'}" if device.cores else ""
    about = [
        part for part in (device.vendor, device.process, device.architecture, cores) if part not in ("", "unknown")
    ]
    out.print(f"{device.name}: {device.kind}, {', '.join(about)}", style="bold")
    out.print()
    print_table(["compute", "peak", "ridge point"], _compute_rows(device))
    out.print()
    levels = [
        [level.name, si(level.capacity_bytes, "B"), si(level.bytes_per_s, "B/s") if level.bytes_per_s else "not stated",
         si(level.j_per_bit, "J/bit")]
        for level in device.memory
    ]  # fmt: skip
    print_table(["memory", "capacity", "bandwidth", "energy on top of inner levels"], levels)
    out.print()
    fuses = ", ".join(device.fuses) or "nothing"
    sparse = ", ".join(device.exploits) or "no pattern"
    out.print(
        f"power: TDP {si(device.tdp_w, 'W')}, static {si(device.static_w, 'W')}; launch {si(device.launch_s, 's')}"
    )
    out.print(f"kernels fuse {fuses}; {sparse} of sparsity runs faster")
    out.print()
    print_citations(device.sources)


def _compute_rows(device: RooflineDevice) -> list[list[str]]:
    """List the formats that the device has a path for, and the vector peak."""
    from workloads import FORMATS

    rows = []
    for code, entry in enumerate(FORMATS):
        if device.runs_in(code) == entry.name:
            ridge = f"{float(device.ridge_point(code)):.3g} FLOP/B"
            rows.append([f"matrix {entry.name}", si(float(device.peak[code]), "FLOP/s"), ridge])
    ridge = f"{device.vector_peak / device.dram.bytes_per_s:.3g} FLOP/B"
    return [*rows, ["vector", si(device.vector_peak, "FLOP/s"), ridge]]
