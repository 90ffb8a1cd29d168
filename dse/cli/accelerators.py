"""Spatial accelerators in `dse devices`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dse.cli.citations import origins, print_citations
from dse.cli.output import console, print_table
from dse.numbers import si

if TYPE_CHECKING:
    from hwmodels import Accelerator
    from hwmodels.engines import Engine
    from hwmodels.spatial import BufferLevel

__all__ = ["list_accelerators", "show_accelerator"]


def list_accelerators() -> None:
    """Print the spatial accelerators that come with the package."""
    import hwmodels

    found = [hwmodels.load(name, kind=hwmodels.Accelerator) for name in hwmodels.accelerators()]
    rows = [
        [
            device.name,
            f"{device.mac_instances}",
            si(_peak(device)),
            "-" if device.operand_bits is None else f"{device.operand_bits}",
            " ".join(level.name for level in device.levels),
            origins(device.sources),
        ]
        for device in found
    ]
    print_table(["accelerator", "MACs", "FLOP/s", "bit", "levels", "facts\nread"], rows, left=(0, 4), cut=(4,))


def show_accelerator(device: Accelerator) -> None:
    """Print one accelerator with every source and disagreement."""
    out = console()
    about = ", ".join(part for part in (device.vendor, device.process) if part)
    out.print(f"{device.name}: {device.kind}, {about}", style="bold")
    widths = [f"operands up to {device.operand_bits} bit"] if device.operand_bits else []
    widths += [f"partial sums of {device.acc_bits} bit"] if device.acc_bits else []
    peak = f"{device.mac_instances} MACs at {si(device.clock_hz, 'Hz')}: {si(_peak(device), 'FLOP/s')}"
    out.print("; ".join([peak, f"{si(device.mac_j, 'J')} a MAC", *widths]))
    out.print()
    header = ["level", "keeps", "copies", "capacity", "buffering", "bandwidth\nread, write", "energy\nread, write"]
    rows = [_level_row(device, place, level) for place, level in enumerate(device.levels)]
    print_table(header, rows, left=(0, 1, 4, 5, 6))
    out.print()
    for level in device.levels:
        for axis in level.mesh:
            apart, shared = (", ".join(roles) or "nothing" for roles in (axis.distinct, axis.shared))
            passes = f"; passes on {', '.join(axis.forwards)}" if axis.forwards else ""
            text = f"tells apart {apart}; multicasts or reduces {shared}{passes}"
            out.print(f"below {level.name}, axis {axis.name} of {axis.size}: {text}", soft_wrap=True)
    out.print()
    if device.absorbs:
        out.print(f"the array takes along: {', '.join(device.absorbs)}", soft_wrap=True)
    for engine in device.engines:
        out.print(_engine_text(engine), soft_wrap=True)
    if device.absorbs or device.engines:
        out.print()
    print_citations(device.sources)


def _engine_text(engine: Engine) -> str:
    """Write an engine in one line: what it is, and the cycles of a lane for an element of each function."""
    lanes = f"{engine.lanes} lanes" if engine.lanes > 1 else "one lane"
    place = f"{lanes} at {si(engine.clock_hz, 'Hz')}, at {engine.level}"
    if engine.link_bytes_per_s is not None:
        place += f" over a link of {si(engine.link_bytes_per_s, 'B/s')}"
    converts = ", converts to fp32 and back" if engine.converts else ""
    cycles = ", ".join(f"{name} {count:g}" for name, count in engine.cycles.items())
    return f"{engine.name} ({engine.kind}): {place}{converts}; cycles of a lane per element: {cycles}"


def _peak(device: Accelerator) -> float:
    return 2 * device.mac_instances * device.macs_per_cycle * device.clock_hz


def _level_row(device: Accelerator, place: int, level: BufferLevel) -> list[str]:
    return [
        level.name,
        " ".join(level.keeps),
        f"{device.instances(place)}",
        "unbounded" if level.capacity_words is None else si(level.capacity_words * level.word_bits / 8, "B"),
        "-" if level.capacity_words is None else level.buffering,
        _bandwidth(device, level),
        _pair(level.read_j / level.word_bits, level.write_j / level.word_bits, "J/bit"),
    ]


def _bandwidth(device: Accelerator, level: BufferLevel) -> str:
    read, write = level.read_words_per_cycle, level.write_words_per_cycle
    if read is None or write is None:
        return "unlimited"
    rate = level.word_bits / 8 * device.clock_hz
    return f"{si(read * rate, 'B/s')}, one port" if level.shared_port else _pair(read * rate, write * rate, "B/s")


def _pair(read: float, write: float, unit: str) -> str:
    """Write a number for reads and one for writes, once if they are equal."""
    return si(read, unit) if read == write else f"{si(read, unit)}, {si(write, unit)}"
