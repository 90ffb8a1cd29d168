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

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.counting import Counts
from hwmodels.mapping.records import Structure
from hwmodels.spatial import ROLES, Accelerator, Conventions

__all__ = [
    "ONE",
    "Bandwidth",
    "Floats",
    "Loads",
    "Moved",
    "Words",
    "bandwidths_of",
    "cycles_of",
    "loads_of",
    "total_cycles",
    "whole_cycles",
]

Floats = NDArray[np.float64]

_O = ROLES.index("O")

ONE = 1.0 - 1e-12
"""Keeps a sum that is a whole number of cycles but for rounding from being rounded up."""


def whole_cycles(cycles: Floats) -> Floats:
    """Round cycles up to whole ones.

    Example:
        >>> float(whole_cycles(np.asarray(3.0000000000000004))), float(whole_cycles(np.asarray(3.1)))
        (3.0, 4.0)
    """
    return np.asarray(np.ceil(cycles * ONE))


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


Moved = tuple[dict[int, Floats], dict[int, Floats]]
"""Words that one instance of a level reads, and that it writes, by level; (n,) each."""


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Ports of one level.

    Attributes:
        level: Name.
        read: Words per cycle, of one device or shape (n_devices, 1); None: never the bottleneck.
        write: Likewise.
        shared: Reads and writes share one port.
    """

    level: str
    read: Floats | float | None
    write: Floats | float | None
    shared: bool


@dataclass(frozen=True, slots=True, eq=False)
class Loads:
    """What takes time, whatever the bandwidths are.

    Attributes:
        compute: Steps over MACs per cycle; (n,).
        overlapped: Of all levels, but for the first tiles.
        stages: Before the first step and after the last, one after the other.
        moves: Where any stop the work inside: tiles in and out of each level, innermost first, and whether these do.
        fill: Cycles in which the array fills and drains; (n,).
    """

    compute: Floats
    overlapped: Moved
    stages: tuple[Moved, ...]
    moves: tuple[tuple[Moved, bool], ...]
    fill: Floats


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
    loads = loads_of(accelerator, rules, structure, counts, words, compute)
    bandwidths = bandwidths_of(accelerator, rules)
    ports = _port_cycles(bandwidths, loads.overlapped)
    table = np.stack(np.broadcast_arrays(compute, *ports.values()), axis=1)
    return cycles_of(loads, bandwidths), table.argmax(axis=1), ("compute", *ports)


def bandwidths_of(accelerator: Accelerator, rules: Conventions) -> tuple[Bandwidth, ...]:
    """Give the ports of all levels."""
    return tuple(
        Bandwidth(
            level.name,
            level.read_words_per_cycle,
            level.write_words_per_cycle,
            rules.shared_ports and level.shared_port,
        )
        for level in accelerator.levels
    )


def loads_of(
    accelerator: Accelerator, rules: Conventions, structure: Structure, counts: Counts, words: Words, compute: Floats
) -> Loads:
    """Give what takes time. Arguments: as `total_cycles`."""
    used = counts.instances[:, :, None]
    out, into = words.reads / used, (words.fills + words.updates) / used
    out[:, 0, ROLES.index("I")] += words.extra
    stages: list[Moved] = []
    fill = np.zeros_like(compute)
    if rules.fill_drain:
        first_out, first_in, stages = _ends(structure, counts, words)
        fill = _array_cycles(counts)
        out, into = np.maximum(out - first_out, 0.0), np.maximum(into - first_in, 0.0)
    serial = [rules.device_buffering and level.buffering == "serial" for level in accelerator.levels]
    moves = [
        (_moves(_parents(structure, child, words.outlet), child, out, into), serial[child])
        for child in range(len(accelerator.levels) - 1, 0, -1)
        if any(serial)  # else no move takes longer than the whole of its port
    ]
    total_out, total_in = out.sum(axis=2), into.sum(axis=2)
    every = range(len(accelerator.levels))
    overlapped = {at: total_out[:, at] for at in every}, {at: total_in[:, at] for at in every}
    return Loads(compute, overlapped, tuple(stages), tuple(moves), fill)


def cycles_of(loads: Loads, bandwidths: Sequence[Bandwidth]) -> Floats:
    """Give the cycles of each mapping; (n,), or (n_devices, n) with bandwidths of several devices.

    Args:
        loads: Of the mappings.
        bandwidths: By level.
    """
    inside: Floats = loads.compute
    for moved, serial in loads.moves:
        load = _slowest(bandwidths, moved)
        inside = inside + load if serial else np.maximum(inside, load)
    whole = np.maximum(inside, np.maximum(loads.compute, _slowest(bandwidths, loads.overlapped)))
    for stage in loads.stages:
        whole = whole + _slowest(bandwidths, stage)
    return whole_cycles(whole + loads.fill)


def _port_cycles(bandwidths: Sequence[Bandwidth], moved: Moved) -> dict[str, Floats]:
    """Give the cycles of the ports with a finite bandwidth at the levels that move something."""
    ports: dict[str, Floats] = {}
    out, into = moved
    for place, level in enumerate(bandwidths):
        parts = []
        if place in out and level.read is not None:
            parts.append((f"{level.level} read", out[place] / level.read))
        if place in into and level.write is not None:
            parts.append((f"{level.level} write", into[place] / level.write))
        if level.shared and (place in out or place in into):
            ports[f"{level.level} port"] = whole_cycles(sum((cycles for _, cycles in parts), np.zeros(1)))
        else:
            ports.update((name, whole_cycles(cycles)) for name, cycles in parts)
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


def _moves(parents: dict[int, int], child: int, out: Floats, into: Floats) -> Moved:
    """Give what moves tiles in and out of one level; tables are (n, levels, roles)."""
    moved_out: dict[int, Floats] = {}
    moved_in: dict[int, Floats] = {}
    for column, parent in parents.items():
        _add(moved_out, parent, out[:, parent, column])
        end = parent if column == _O else child
        _add(moved_in, end, into[:, end, column])
    return moved_out, moved_in


def _add(moved: dict[int, Floats], level: int, words: Floats) -> None:
    moved[level] = moved[level] + words if level in moved else words


def _slowest(bandwidths: Sequence[Bandwidth], moved: Moved) -> Floats:
    slowest: Floats = np.zeros(1)
    for cycles in _port_cycles(bandwidths, moved).values():
        slowest = np.maximum(slowest, cycles)
    return slowest


def _ends(structure: Structure, counts: Counts, words: Words) -> tuple[Floats, Floats, list[Moved]]:
    """Give what one instance reads and writes before the first step (W, I) and after the last (O), all and by stage.

    A level loads the tiles of the next inner levels once its own are there, and stores in the opposite order.
    """
    first_out, first_in = np.zeros_like(words.reads), np.zeros_like(words.reads)
    stages: list[Moved] = []
    for parent in range(len(structure.levels)):
        out: dict[int, Floats] = {}
        into: dict[int, Floats] = {}
        back: dict[int, Floats] = {}
        for child in range(parent + 1, len(structure.levels)):
            for column, owner in _parents(structure, child, words.outlet).items():
                if owner != parent:
                    continue
                first = words.first[:, parent, column] / counts.instances[:, parent]
                if column == _O:
                    _add(back, parent, first)
                    first_in[:, parent, column] += first
                    continue
                _add(out, parent, first)
                _add(into, child, words.tile[:, child, column])
                first_out[:, parent, column] += first
                first_in[:, child, column] += words.tile[:, child, column]
        stages += [(out, into), ({}, back)]
    return first_out, first_in, stages


def _array_cycles(counts: Counts) -> Floats:
    """Give the cycles in which the array fills and drains."""
    along = [width - 1.0 for width in counts.widths.values()]
    return np.asarray(sum(along, start=np.zeros(len(counts.instances))))
