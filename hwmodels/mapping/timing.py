"""Cycles of a mapped operator.

A port's time is its words over its bandwidth; the words of one instance are the average over the instances in use.
From the MACs outwards: the work inside a level starts as steps / MACs per cycle; a level whose loads overlap takes
the longer of the work inside it and its loads, a serial one their sum; no port takes longer than the whole. So with
perfect overlap the cycles are the longest of computing and of all ports.

With `Conventions.fill_drain` the first tiles are loaded before the first step, level by level, the array fills and
drains once (instances along each mesh axis, less one), and one tile of outputs is stored after the last step, level
by level; the words of these tiles are then not part of the overlapped ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.counting import Counts
from hwmodels.mapping.records import Structure
from hwmodels.spatial import ROLES, Accelerator, Conventions

__all__ = ["Floats", "Words", "total_cycles"]

Floats = NDArray[np.float64]

_O = ROLES.index("O")


@dataclass(frozen=True, slots=True)
class Words:
    """Words of each level and role, all instances together: (n, levels, roles); `tile` of one instance.

    Attributes:
        reads: Read from the level.
        fills: Written from outside.
        updates: Written from inside.
        first: Reads for the first tiles of the next inner level; for O, updates of one tile of it.
        tile: Held by one instance.
        extra: Further inputs, read once from the outermost level.
        outlet: Place of the level that finished outputs end in.
    """

    reads: Floats
    fills: Floats
    updates: Floats
    first: Floats
    tile: Floats
    extra: float
    outlet: int = 0


def total_cycles(
    accelerator: Accelerator, rules: Conventions, structure: Structure, counts: Counts, words: Words, compute: Floats
) -> tuple[Floats, NDArray[np.int64], tuple[str, ...]]:
    """Give the cycles of each mapping, the place of what bounds them, and the names of what can.

    Args:
        accelerator: Where it runs.
        rules: Overlap, shared ports, filling and draining.
        structure: What is kept where.
        counts: Of elements.
        words: Of each level.
        compute: Steps over MACs per cycle; (n,).
    """
    used = counts.instances[:, :, None]
    out, into = words.reads / used, (words.fills + words.updates) / used
    out[:, 0, ROLES.index("I")] += words.extra
    extra = np.zeros_like(compute)
    if rules.fill_drain:
        first_out, first_in, ends = _ends(accelerator, rules, structure, counts, words)
        extra = ends + _array_cycles(counts)
        out, into = np.maximum(out - first_out, 0.0), np.maximum(into - first_in, 0.0)
    ports = _port_cycles(accelerator, rules, out.sum(axis=2), into.sum(axis=2))
    inside = compute
    for child in range(len(accelerator.levels) - 1, 0, -1):
        load = _load_cycles(accelerator, rules, _parents(structure, child, words.outlet), child, out, into)
        serial = rules.device_buffering and accelerator.levels[child].buffering == "serial"
        inside = inside + load if serial else np.maximum(inside, load)
    table = np.stack([compute, *ports.values()], axis=1)
    whole = np.maximum(inside, table.max(axis=1))
    return np.ceil(whole + extra), table.argmax(axis=1), ("compute", *ports)


def _port_cycles(accelerator: Accelerator, rules: Conventions, out: Floats, into: Floats) -> dict[str, Floats]:
    """Give the cycles of every port with a finite bandwidth, from the words of one instance; (n, levels) each."""
    ports: dict[str, Floats] = {}
    for place, level in enumerate(accelerator.levels):
        read, write = level.read_words_per_cycle, level.write_words_per_cycle
        reading = out[:, place] / read if read else np.zeros(len(out))
        writing = into[:, place] / write if write else np.zeros(len(out))
        if rules.shared_ports and level.shared_port:
            ports[f"{level.name} port"] = np.ceil(reading + writing)
            continue
        if read:
            ports[f"{level.name} read"] = np.ceil(reading)
        if write:
            ports[f"{level.name} write"] = np.ceil(writing)
    return ports


def _parents(structure: Structure, child: int, outlet: int) -> dict[int, int]:
    """Give the next outer level that keeps each role that a level keeps: column of the role to place of the level.

    Finished outputs leave into the outlet.
    """
    return {
        column: max(
            place for place in range(child) if role in structure.keeps[place] or (column == _O and place == outlet)
        )
        for column, role in enumerate(ROLES)
        if role in structure.keeps[child]
    }


def _load_cycles(
    accelerator: Accelerator, rules: Conventions, parents: dict[int, int], child: int, out: Floats, into: Floats
) -> Floats:
    """Give the cycles of moving tiles in and out of one level: the slowest of the ports that take part."""
    moved_out, moved_in = np.zeros_like(out), np.zeros_like(into)
    for column, parent in parents.items():
        moved_out[:, parent, column] = out[:, parent, column]
        if column == _O:
            moved_in[:, parent, column] = into[:, parent, column]
        else:
            moved_in[:, child, column] = into[:, child, column]
    ports = _port_cycles(accelerator, rules, moved_out.sum(axis=2), moved_in.sum(axis=2))
    return _slowest(ports, len(out))


def _slowest(ports: dict[str, Floats], n: int) -> Floats:
    return np.asarray(np.max([np.zeros(n), *ports.values()], axis=0))


def _ends(
    accelerator: Accelerator, rules: Conventions, structure: Structure, counts: Counts, words: Words
) -> tuple[Floats, Floats, Floats]:
    """Give what one instance reads and writes before the first step (W, I) and after the last (O), and the cycles.

    A level loads the tiles of the next inner levels once its own are there, and stores in the opposite order.
    """
    first_out, first_in = np.zeros_like(words.reads), np.zeros_like(words.reads)
    cycles = np.zeros(len(first_out))
    for parent in range(len(structure.levels)):
        out, into, back = (np.zeros(first_out.shape) for _ in range(3))
        for child in range(parent + 1, len(structure.levels)):
            for column, owner in _parents(structure, child, words.outlet).items():
                if owner != parent:
                    continue
                first = words.first[:, parent, column] / counts.instances[:, parent]
                (back if column == _O else out)[:, parent, column] = first
                into[:, child, column] = 0.0 if column == _O else words.tile[:, child, column]
        for reads, writes in ((out, into), (np.zeros_like(back), back)):
            cycles += _slowest(_port_cycles(accelerator, rules, reads.sum(axis=2), writes.sum(axis=2)), len(cycles))
        first_out, first_in = first_out + out, first_in + into + back
    return first_out, first_in, cycles


def _array_cycles(counts: Counts) -> Floats:
    """Give the cycles in which the array fills and drains."""
    along = [width - 1.0 for width in counts.widths.values()]
    return np.asarray(sum(along, start=np.zeros(len(counts.instances))))
