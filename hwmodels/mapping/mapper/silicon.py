"""What the conventions of real devices add to the linear forms.

Bursts, and the cycles before the first step and after the last. Lower bounds where tiles are not known yet, or where
children share words of a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hwmodels.mapping.mapper.factors import Floats, Ints
from hwmodels.mapping.mapper.nests import Nest
from hwmodels.mapping.windows import piece_words
from hwmodels.spatial import ROLES

__all__ = ["Additions", "Details"]

O = ROLES.index("O")  # noqa: E741

Shares = dict[tuple[int, int], dict[int, Floats]]
"""By (parent level, tensor) and port: cycles of moving one tile."""


@dataclass(frozen=True, slots=True, eq=False)
class Details:
    """What is added to the linear forms; arrays of shape (n,), or of one entry for all.

    Attributes:
        scales: By tensor, words that the outermost level moves per word that is asked for.
        cycles: Before the first step and after the last.
        ports: Of each port, cycles that are part of these and so overlap with nothing.
    """

    scales: dict[int, Floats]
    cycles: Floats
    ports: list[Floats]

    def take(self, rows: Ints) -> Details:
        """Give some rows."""
        return Details(
            {role: _rows(scale, rows) for role, scale in self.scales.items()},
            _rows(self.cycles, rows),
            [_rows(port, rows) for port in self.ports],
        )


def _rows(value: Floats, rows: Ints) -> Floats:
    return value[rows] if value.size > 1 else value


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """What the tiles of one level add, one entry per tile."""

    scales: dict[int, Floats]
    shares: Shares


@dataclass(frozen=True, slots=True, eq=False)
class Additions:
    """Details of one spatial vector, put together from what the tiles of each level add.

    Attributes:
        nest: Spatial vector.
        tables: By level, of its tiles; filled as levels become known.
        least: By level, of a single step of the array: what is added at least.
    """

    nest: Nest
    tables: dict[int, _Table] = field(default_factory=dict)
    least: dict[int, _Table] = field(default_factory=dict)

    def details(self, known: Mapping[int, tuple[Sequence[Floats], Ints]]) -> Details:
        """Give what the conventions add.

        Args:
            known: By level, the values of all its tiles by dim, and which of them each mapping has. A level has the
                same tiles at every call.
        """
        frame = self.nest.frame
        for level, (values, _) in known.items():
            if level not in self.tables:
                self.tables[level] = _table(self.nest, level, values)
        scales: dict[int, Floats] = {}
        for role in range(len(ROLES)):
            child = frame.child_of[role][0] or frame.depth
            table, rows = self._at(child, known)
            if role in table.scales and (child in known or child == frame.depth):
                scales[role] = _rows(table.scales[role], rows)
        return Details(scales, *self._ends(known))

    def _at(self, level: int, known: Mapping[int, tuple[Sequence[Floats], Ints]]) -> tuple[_Table, Ints]:
        if level in known:
            return self.tables[level], known[level][1]
        if level not in self.least:
            least = level < self.nest.frame.depth  # nothing is open about what the MACs hold
            self.least[level] = _table(self.nest, level, [np.ones(1)] * len(self.nest.bounds), least)
        return self.least[level], np.zeros(1, dtype=np.int64)

    def _ends(self, known: Mapping[int, tuple[Sequence[Floats], Ints]]) -> tuple[Floats, list[Floats]]:
        """Give the cycles of the work before the first step and after the last, and each port's part of it.

        A level loads the tiles of the next inner levels once its own are there, and stores in the opposite order.
        """
        frame, n_ports = self.nest.frame, len(self.nest.forms.ports)
        ports: list[Floats] = [np.zeros(1)] * n_ports
        if not frame.rules.fill_drain:
            return np.zeros(1), ports
        cycles: Floats = np.full(1, float(self.nest.fill))
        for parent in range(frame.depth):
            for roles in ([role for role in range(len(ROLES)) if role != O], [O]):
                part: dict[int, Floats] = {}
                open_ports: set[int] = set()
                for role in roles:
                    child = frame.child_of[role][parent]
                    table, rows = self._at(child, known) if child else (_Table({}, {}), np.zeros(0, dtype=np.int64))
                    for port, share in table.shares.get((parent, role), {}).items():
                        here = _rows(share, rows)
                        part[port] = part[port] + here if port in part else here
                        if child not in known:
                            open_ports.add(port)
                if part:
                    longest = np.asarray(np.max(np.broadcast_arrays(*part.values()), axis=0))
                    cycles = cycles + longest
                    part |= dict.fromkeys(open_ports, longest)  # a larger tile may take a port as long as the longest
                    ports = [own + part[port] if port in part else own for port, own in enumerate(ports)]
        return cycles, ports


def _table(nest: Nest, level: int, values: Sequence[Floats], least: bool = False) -> _Table:
    """Give what the tiles of a level (the depth: the MACs) add, one entry per tile.

    Args:
        nest: Spatial vector.
        level: Theirs.
        values: Of the tiles, by dim.
        least: They stand for any larger tile: what these move, but one burst at least. A larger tile may need fewer
            bursts, where it is whole rows.
    """
    frame = nest.frame
    scales = {
        role: (_least_scale if least else _burst_scale)(nest, role, level, values)
        for role in range(len(ROLES))
        if (frame.child_of[role][0] or frame.depth) == level and frame.rules.bursts
    }
    shares = {
        (parent, role): _share(
            nest, role, parent, level, values, scales.get(role) if parent == 0 and not frame.homes.get(role) else None
        )
        for role in range(len(ROLES))
        for parent in range(level)
        if frame.child_of[role][parent] == level and frame.homes.get(role, 0) < level < frame.depth
    }
    return _Table(scales, shares)


def _least_scale(nest: Nest, role: int, level: int, values: Sequence[Floats]) -> Floats:
    """Give how many words the outermost level moves at least, per word of the known part of a first tile."""
    words = nest.first_footprint(role, 0, values) * _width(nest, role, 0)
    burst = nest.frame.accelerator.levels[0].burst_bits / nest.frame.accelerator.levels[0].word_bits
    return np.asarray(np.maximum(burst / np.where(words > 0, words, np.inf), 1.0))  # one in the padding: 0


def _burst_scale(nest: Nest, role: int, level: int, values: Sequence[Floats]) -> Floats:
    """Give how many words the outermost level moves per word that is asked for."""
    frame = nest.frame
    outermost = frame.accelerator.levels[0]
    if not outermost.burst_bits:
        return np.ones(1)
    width = frame.operands[role].bits if frame.rules.bit_true else outermost.word_bits
    bits = _run(nest, role, level, values) * width
    return np.asarray(np.ceil(bits / outermost.burst_bits) * outermost.burst_bits / bits)


def _run(nest: Nest, role: int, level: int, values: Sequence[Floats]) -> Floats:
    """Count the elements of a tile that lie side by side in the outermost level (row-major)."""
    operand, names, sizes = nest.frame.operands[role], nest.frame.names, nest.frame.problem.sizes
    pieces = {
        dim: value * nest.spans[level][place] for place, (dim, value) in enumerate(zip(names, values, strict=True))
    }
    run, whole = np.ones(len(values[0])), np.ones(len(values[0]), dtype=bool)
    for entry in reversed(operand.layout):
        if isinstance(entry, str):
            piece, length = pieces[entry], float(sizes[entry])
        else:
            window = operand.windows[entry]
            piece = piece_words(window, [pieces[dim].astype(np.int64) for dim in window.dims], False).astype(np.float64)
            every = [np.full(1, sizes[dim], dtype=np.int64) for dim in window.dims]
            length = float(window.extent or int(piece_words(window, every, False)[0]))
        run = np.where(whole, run * piece, run)
        whole &= piece == length
    return run


def _share(
    nest: Nest, role: int, parent: int, child: int, values: Sequence[Floats], scale: Floats | None
) -> dict[int, Floats]:
    """Give the cycles that one tensor's first (of O: last) tile takes at the ports that it passes."""
    frame = nest.frame
    end = max(parent, frame.outlet) if role == O else parent
    sent = nest.first_footprint(role, parent, values) * _width(nest, role, end) * (1.0 if scale is None else scale)
    held = nest.footprint(role, child, values) * float(frame.words[child][role])
    shares = {}
    for place, (level, name) in enumerate(nest.forms.ports):
        buffer = frame.accelerator.levels[level]
        per_cycle = buffer.write_words_per_cycle if role == O else buffer.read_words_per_cycle
        if level == end and per_cycle and name in ("port", "write" if role == O else "read"):
            shares[place] = np.asarray(sent / per_cycle)
        elif level == child and role != O and name != "read" and buffer.write_words_per_cycle:
            shares[place] = np.asarray(held / buffer.write_words_per_cycle)
    return shares


def _width(nest: Nest, role: int, parent: int) -> float:
    """Give the words of one element on its way: finished outputs enter their last level at their stored width."""
    frame = nest.frame
    stored = parent == 0 or (parent == frame.outlet and "O" not in frame.keeps[parent])
    if role == O and stored and frame.rules.bit_true:
        return frame.operands[O].bits / frame.accelerator.levels[parent].word_bits
    return float(frame.words[parent][role])
