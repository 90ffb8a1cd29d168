"""Spatial vectors of all bypass patterns, each with rows that no mapping of it is cheaper than.

Two bounds: the traffic that every mapping needs, one row per vector (`Vectors.least`); and the least traffic of each
tile of level 1 under each order of the outermost loops, where the levels inside have some room (`Vectors.tops`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwmodels.mapping.fronts.rows import Make
from hwmodels.mapping.fronts.thinning import Box, judged, thinned
from hwmodels.mapping.mapper.bounds import costs as linear_costs
from hwmodels.mapping.mapper.bounds import least_unknowns
from hwmodels.mapping.mapper.factors import Ints
from hwmodels.mapping.mapper.frames import Frame
from hwmodels.mapping.mapper.linear import Forms, cost_forms
from hwmodels.mapping.mapper.nests import Nest
from hwmodels.mapping.mapper.patterns import Pattern, patterns
from hwmodels.mapping.mapper.silicon import Additions
from hwmodels.mapping.mapper.spatial import spatial_choices
from hwmodels.mapping.timing import ONE, Floats
from hwmodels.spatial import Accelerator

__all__ = ["Vectors", "vectors_of"]

Way = tuple[str, int]
"""("read" or "write", level of the device)."""


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """All spatial vectors.

    Attributes:
        make: Of the devices.
        patterns: With their spatial vectors.
        words: Of each pattern, words as linear forms, by way.
        owner: Pattern of each vector; (n,).
        row: Its place there; (n,).
        least: A row for each; (n, columns).
    """

    make: Make
    patterns: tuple[Pattern, ...]
    words: tuple[dict[Way, Forms], ...]
    owner: Ints
    row: Ints
    least: Floats

    def __len__(self) -> int:
        return len(self.owner)

    def nest(self, number: int) -> Nest:
        """Give one of them."""
        return self.patterns[int(self.owner[number])].nest(int(self.row[number]))

    def thin_tops(self, number: int, rooms: Sequence[int | None], box: Box) -> Floats:
        """Give those of `tops` that bound the others, on devices of a box."""
        every, _ = self.tops(number, rooms)
        return every[thinned(judged(self.make, every, box))[0]] if len(every) else every

    def tops(self, number: int, rooms: Sequence[int | None]) -> tuple[Floats, Ints]:
        """Bound one spatial vector: rows for `least_costs`, one of which bounds each of its mappings.

        Args:
            number: Which.
            rooms: Capacity of each level of the device, at least that of all devices in question; of level 1 nothing is
                taken from it.

        Returns:
            The rows, and the tile of level 1 that each is for.
        """
        make, nest = self.make, self.nest(number)
        tiles = nest.tiles(1)
        frame = nest.frame
        small = Frame(frame.problem, _with_rooms(frame.device, rooms), frame.rules, frame.all_keeps)
        details = None if frame.exact else Additions(nest).details({1: (tiles.values, np.arange(len(tiles)))})
        trips = tuple(bound / value for bound, value in zip(nest.bounds, tiles.values, strict=True))
        rows = np.repeat(self.least[number : number + 1], len(tiles), axis=0)
        need = sum((words for _, words in nest.demand(1, tiles.values)), np.zeros(len(tiles)))
        rows[:, make.layout.place["need", frame.merged[1][0]]] = need * ONE
        tables = []
        for item in frame.classes[0]:
            unknowns = least_unknowns(replace(nest, frame=small), tiles, trips, item.runs)
            table = rows.copy()
            for way, forms in self.words[int(self.owner[number])].items():
                words, _ = linear_costs(replace(nest, forms=forms), unknowns, details)
                table[:, make.layout.place[way]] = words * ONE
            tables.append(_with_ports(make, table, nest))
        return np.concatenate(tables), np.tile(np.arange(len(tiles)), len(tables))


def vectors_of(make: Make, relaxed: bool) -> Vectors:
    """Find all spatial vectors and bound them.

    Args:
        make: Of the devices; its accelerator has the largest capacities that are asked for.
        relaxed: As in `search`.
    """
    choices = spatial_choices(make.problem, make.accelerator, make.rules, relaxed)
    every = tuple(patterns(make.problem, make.accelerator, make.rules, choices, relaxed))
    words = tuple(_words(pattern) for pattern in every)
    tables = []
    for pattern, forms in zip(every, words, strict=True):
        table = np.zeros((len(pattern.choices), len(make.layout.place)))
        for way, form in forms.items():
            table[:, make.layout.place[way]] = form.energy.sum(axis=1) * ONE
        table[:, make.layout.place["compute",]] = pattern.forms.steps
        if make.rules.fill_drain:
            table[:, make.layout.place["fill",]] = pattern.choices.fill
        tables.append(table)
    owner = np.repeat(np.arange(len(every)), [len(pattern.choices) for pattern in every])
    row = np.concatenate([np.arange(len(pattern.choices)) for pattern in every])
    found = Vectors(make, every, words, owner, row, np.concatenate(tables))
    for number in range(len(owner)):
        found.least[number] = _with_ports(make, found.least[number : number + 1], found.nest(number))[0]
    return found


def _words(pattern: Pattern) -> dict[Way, Forms]:
    """Give the words of each level as linear forms: its energies if a word takes 1 J there, and nothing elsewhere."""
    frame = pattern.frame
    still = tuple(
        replace(level, read_j=0.0, write_j=0.0, read_words_per_cycle=None, write_words_per_cycle=None)
        for level in frame.accelerator.levels
    )
    places = [group[0] for group in frame.merged]
    found: dict[Way, Forms] = {}
    for at, place in enumerate(places):
        for way in ("read", "write"):
            counted = replace(still[at], read_j=float(way == "read"), write_j=float(way == "write"))
            levels = (*still[:at], counted, *still[at + 1 :])
            device = replace(frame.accelerator, levels=levels, mac_j=0.0, static_w=0.0)
            found[way, place] = cost_forms(
                frame.problem, device, frame.rules, frame.keeps, pattern.choices, places, {}, frame.homes
            )
    return found


def _with_ports(make: Make, table: Floats, nest: Nest) -> Floats:
    """Fill in the words of one instance: those of all over the instances in use."""
    place = make.layout.place
    for at, group in enumerate(nest.frame.merged):
        used = float(np.prod(nest.spans[0] // nest.spans[at]))
        for way, port in (("read", "out"), ("write", "into")):
            table[:, place[port, group[0]]] = table[:, place[way, group[0]]] / used * ONE
    return table


def _with_rooms(accelerator: Accelerator, rooms: Sequence[int | None]) -> Accelerator:
    levels = tuple(replace(level, capacity_words=room) for level, room in zip(accelerator.levels, rooms, strict=True))
    return replace(accelerator, levels=levels)
