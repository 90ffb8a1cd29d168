"""What the conventions of real devices add to the linear forms: bursts, and the cycles before the first step and after
the last. Lower bounds where tiles are not known yet, or where children share words of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.mapping.mapper.factors import Floats
from hwmodels.mapping.mapper.nests import Nest
from hwmodels.mapping.windows import piece_words
from hwmodels.spatial import ROLES

__all__ = ["Ends", "Known", "burst_scales", "ends"]

O = ROLES.index("O")  # noqa: E741

Known = dict[int, Sequence[Floats]]
"""By level, its tiles (without the spatial part) as far as they are known: (n,) for each dim."""


@dataclass(frozen=True, slots=True, eq=False)
class Ends:
    """Work before the first step and after the last.

    Attributes:
        cycles: What it takes; (n,) or a number.
        ports: Of each port, cycles that are part of it and so overlap with nothing.
    """

    cycles: Floats
    ports: list[Floats]


def burst_scales(nest: Nest, known: Known) -> dict[int, Floats]:
    """Give how many words the outermost level moves per word that is asked for, of tensors whose tiles are known."""
    frame = nest.frame
    burst = frame.accelerator.levels[0].burst_bits
    if not frame.rules.bursts or not burst:
        return {}
    scales = {}
    for role, operand in enumerate(frame.operands):
        child = frame.first_child(role)
        if child not in known and child < frame.depth:
            continue
        width = operand.bits if frame.rules.bit_true else frame.accelerator.levels[0].word_bits
        bits = _run(nest, role, child, known.get(child)) * width
        scales[role] = np.ceil(bits / burst) * burst / bits
    return scales


def _run(nest: Nest, role: int, level: int, values: Sequence[Floats] | None) -> Floats:
    """Count the elements of a tile that lie side by side in the outermost level (row-major)."""
    operand, names, sizes = nest.frame.operands[role], nest.frame.names, nest.frame.problem.sizes
    run: Floats = np.asarray(1.0)
    whole = np.asarray(True)

    def piece_of(dim: str) -> Floats:
        at = names.index(dim)
        return np.asarray((1.0 if values is None else values[at]) * nest.spans[level][at])

    for entry in reversed(operand.layout):
        if isinstance(entry, str):
            piece, length = piece_of(entry), float(sizes[entry])
        else:
            window = operand.windows[entry]
            piece = piece_words(window, [piece_of(dim).astype(np.int64) for dim in window.dims], False)  # type: ignore[assignment]
            every = [np.full(1, sizes[dim], dtype=np.int64) for dim in window.dims]
            length = float(window.extent or int(piece_words(window, every, False)[0]))
        run = np.where(whole, run * piece, run)
        whole = whole & (piece == length)
    return run


def ends(nest: Nest, known: Known, scales: dict[int, Floats]) -> Ends | None:
    """Give the work before the first step and after the last; None: it takes no time by the conventions.

    A level loads the tiles of the next inner levels once its own are there, and stores in the opposite order. Tiles
    that are not known are taken to be a single step of the array.

    Args:
        nest: Spatial vector.
        known: Tiles by level.
        scales: As `burst_scales` gives them.
    """
    frame = nest.frame
    if not frame.rules.fill_drain:
        return None
    n_ports = len(nest.forms.ports)
    ports: list[Floats] = [np.asarray(0.0)] * n_ports
    cycles: Floats = np.asarray(float(nest.fill))
    for parent in range(frame.depth):
        loads = [np.asarray(0.0)] * n_ports
        stores = [np.asarray(0.0)] * n_ports
        for role in range(len(ROLES)):
            child = frame.child_of(role, parent)
            if child is not None:
                _add(nest, role, parent, child, known.get(child), scales, stores if role == O else loads)
        for part in (loads, stores):
            if part:
                cycles = cycles + np.max(np.broadcast_arrays(*part), axis=0)
                ports = [one + other for one, other in zip(ports, part, strict=True)]
    return Ends(cycles, ports)


def _add(
    nest: Nest,
    role: int,
    parent: int,
    child: int,
    values: Sequence[Floats] | None,
    scales: dict[int, Floats],
    loads: list[Floats],
) -> None:
    """Add the cycles of one tensor's first (or last) tile to the ports that it passes."""
    frame = nest.frame
    tiles = [np.ones(1)] * len(frame.names) if values is None else values
    sent = nest.least_footprint(role, parent, tiles) * _width(nest, role, parent) * (
        scales.get(role, 1.0) if parent == 0 else 1.0
    )
    held = nest.footprint(role, child, tiles) * float(frame.words[child][role])
    for place, (level, name) in enumerate(nest.forms.ports):
        buffer = frame.accelerator.levels[level]
        if level == parent and (name == "port" or name == ("write" if role == O else "read")):
            per_cycle = buffer.write_words_per_cycle if role == O else buffer.read_words_per_cycle
            loads[place] = loads[place] + sent / per_cycle if per_cycle else loads[place]
        elif level == child and role != O and name != "read" and buffer.write_words_per_cycle:
            loads[place] = loads[place] + held / buffer.write_words_per_cycle


def _width(nest: Nest, role: int, parent: int) -> float:
    """Give the words of one element on its way: finished outputs enter the outermost level at their stored width."""
    frame = nest.frame
    if role == O and parent == 0 and frame.rules.bit_true:
        return frame.operands[O].bits / frame.accelerator.levels[0].word_bits
    return float(frame.words[parent][role])
