"""Mappings as rows of numbers that tell their cost on every device of one make.

Devices of one make have the same levels, mesh and conventions; capacities, bandwidths, energies, static power and clock
may differ. Energy and cycles of a mapping rise with every column of its row, whatever these are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hwmodels.mapping.counting import Counts
from hwmodels.mapping.pricing import taken_words, words_of
from hwmodels.mapping.problem import Problem
from hwmodels.mapping.records import Structure
from hwmodels.mapping.timing import Floats, Loads, Moved, loads_of
from hwmodels.spatial import ROLES, Accelerator, Conventions

__all__ = ["Layout", "Make", "rows_of"]

Key = tuple[str | int, ...]


@dataclass(frozen=True, eq=False)
class Make:
    """What devices have in common that one front answers for.

    Attributes:
        problem: The operator as these devices see it.
        accelerator: One of them.
        rules: What counts include.
    """

    problem: Problem
    accelerator: Accelerator
    rules: Conventions

    @cached_property
    def layout(self) -> Layout:
        """Columns of the rows."""
        return Layout.of(self.accelerator, self.rules)


@dataclass(frozen=True, eq=False)
class Layout:
    """Columns of a row, and where each is.

    - need: words of a level that tiles take; share: of one tensor's partition (level, tensor).
    - read, write: words, all instances together, for energy.
    - out, into: words of one instance that overlap with other work, for its ports.
    - lead out, lead into, last: before the first step (level; level and the one inside it), after the last (level).
    - moved out, moved into: tiles of a level (the first number) at the ports of another one; serial levels need that.
    - compute, fill: cycles.

    Attributes:
        levels: How many.
        serial: Of each level, whether its loads stop the work inside it.
        place: By column.
    """

    levels: int
    serial: tuple[bool, ...]
    place: Mapping[Key, int]

    @classmethod
    def of(cls, accelerator: Accelerator, rules: Conventions) -> Layout:
        """Give the columns for a make of devices."""
        levels = range(len(accelerator.levels))
        serial = tuple(rules.device_buffering and level.buffering == "serial" for level in accelerator.levels)
        keys: list[Key] = [(name, at) for name in ("need", "read", "write", "out", "into") for at in levels]
        keys += [("share", at, ROLES.index(role)) for at in levels for role in accelerator.levels[at].partitions]
        keys += [("compute",), ("fill",)]
        if rules.fill_drain:
            keys += [(name, at) for name in ("lead out", "last") for at in levels]
            keys += [("lead into", parent, at) for parent in levels for at in levels if at > parent]
        if any(serial):
            keys += [(f"moved {way}", child, at) for way in ("out", "into") for child in levels[1:] for at in levels]
        return cls(len(levels), serial, {key: number for number, key in enumerate(keys)})

    def columns(self, *names: str) -> list[int]:
        """Give the places of all columns of some names."""
        return [place for key, place in self.place.items() if key[0] in names]

    def loads(self, table: Floats, relaxed: bool = False) -> Loads:
        """Give what takes time of each row of a table, (n, columns).

        Args:
            table: Rows.
            relaxed: No stage is told apart from the work that it overlaps with: see `least_cycles`.
        """
        every = range(self.levels)
        overlapped: Moved = (
            {at: table[:, self.place["out", at]] for at in every},
            {at: table[:, self.place["into", at]] for at in every},
        )
        moves = []
        if any(self.serial):
            for child in reversed(every[1:]):
                moved = tuple(
                    self._some(table, {at: (f"moved {way}", child, at) for at in every}) for way in ("out", "into")
                )
                moves.append(((moved[0], moved[1]), self.serial[child]))
        fill = table[:, self.place["fill",]]
        return Loads(table[:, self.place["compute",]], overlapped, tuple(self._stages(table)), tuple(moves), fill)

    def _stages(self, table: Floats) -> list[Moved]:
        stages: list[Moved] = []
        for parent in range(self.levels) if ("last", 0) in self.place else ():
            inner = {at: ("lead into", parent, at) for at in range(parent + 1, self.levels)}
            stages.append((self._some(table, {parent: ("lead out", parent)}), self._some(table, dict(inner))))
            stages.append(({}, self._some(table, {parent: ("last", parent)})))
        return [stage for stage in stages if stage[0] or stage[1]]

    def _some(self, table: Floats, keys: Mapping[int, Key]) -> dict[int, Floats]:
        """Give columns by level, but for those that are 0 throughout."""
        found = {at: table[:, self.place[key]] for at, key in keys.items()}
        return {at: column for at, column in found.items() if column.any()}


def rows_of(make: Make, structure: Structure, counts: Counts) -> Floats:
    """Give the rows of counted mappings; (n, columns)."""
    problem, accelerator, rules, layout = make.problem, make.accelerator, make.rules, make.layout
    words = words_of(problem, accelerator, rules, counts)
    taken = taken_words(problem, accelerator, rules, counts)
    loads = loads_of(accelerator, rules, structure, counts, words, counts.steps / accelerator.macs_per_cycle)
    table = np.zeros((len(counts.steps), len(layout.place)))

    def put(name: str, by_level: Any) -> None:
        for at, column in by_level:
            place: int = layout.place[(name, *at) if isinstance(at, tuple) else (name, at)]
            table[:, place] = column

    put("need", enumerate(taken.sum(axis=2).T))
    put("share", ((key[1:], taken[:, int(key[1]), int(key[2])]) for key in layout.place if key[0] == "share"))
    read = words.reads.sum(axis=2)
    read[:, 0] += words.extra
    put("read", enumerate(read.T))
    put("write", enumerate((words.fills + words.updates).sum(axis=2).T))
    put("out", loads.overlapped[0].items())
    put("into", loads.overlapped[1].items())
    for number, (out, into) in enumerate(loads.stages):
        put("lead out" if number % 2 == 0 else "last", (out if number % 2 == 0 else into).items())
        put("lead into", [((number // 2, at), part) for at, part in into.items()] if number % 2 == 0 else ())
    for number, ((out, into), _) in enumerate(loads.moves if any(layout.serial) else ()):
        child = layout.levels - 1 - number
        put("moved out", [((child, at), part) for at, part in out.items()])
        put("moved into", [((child, at), part) for at, part in into.items()])
    table[:, layout.place["compute",]], table[:, layout.place["fill",]] = loads.compute, loads.fill
    return table
