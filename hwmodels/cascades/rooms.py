"""Room that the tiles of a fused mapping take on chip beside what the products' own mappings hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hwmodels.cascades.choices import Choice, loads
from hwmodels.cascades.setting import PASSING, Setting
from hwmodels.mapping.problem import Problem, problem_on
from hwmodels.mapping.residency import home_words
from hwmodels.spatial import Accelerator

__all__ = ["Held", "adds_up", "held_tiles", "over_full", "room_for", "rows_of", "tile_problem", "trips_of"]


BETWEEN = 2
"""The stage of the first link's functions."""

ALWAYS = frozenset({0, 1, BETWEEN})


@dataclass(frozen=True, slots=True)
class Held:
    """A tile that lies in a level.

    Attributes:
        name: Of its tensor.
        place: Of the level.
        role: In the product that it belongs to; "": of none.
        words: Of one copy.
        copies: Of the tile.
        stages: During which it is there: places of products, or `BETWEEN` them.
        owners: Places of the products whose mappings count one copy themselves.
    """

    name: str
    place: int
    role: str
    words: int
    copies: int
    stages: frozenset[int]
    owners: frozenset[int]


def tile_problem(setting: Setting, at: int, choice: Choice) -> Problem:
    """Give the product of a tile as the mapper sees it, with its homes."""
    names = {role: setting.accelerator.levels[place].name for role, place in choice.homes[at]}
    stage = setting.stage(at, dict(choice.tile), choice.sources[at])
    return problem_on(stage, setting.accelerator, setting.rules, names)


def held_tiles(setting: Setting, choice: Choice, problems: tuple[Problem, ...]) -> tuple[Held, ...]:
    """Give the tiles that a fused mapping holds on chip.

    Args:
        setting: The cascade.
        choice: Of loops and residents.
        problems: `tile_problem` of each product.
    """
    trips = trips_of(setting, choice)
    held: list[Held] = []
    for at, homes in enumerate(choice.homes):
        for role, place in homes:
            operand = setting.problems[at].operands[role]
            handed = (at == 1 and role == setting.flow) or (role == "O" and (at == 0 or not adds_up(setting, choice)))
            if handed and at == 0 and choice.sources[0] == PASSING and setting.pairs:
                continue  # the same tile as the second product's, which is counted there
            words = home_words(problems[at], role, setting.accelerator.levels[place], setting.rules)
            changes = loads(choice.order, trips, operand.indexed)
            copies = 1 + (choice.overlap and (handed or changes > 1))
            stages, owners = ALWAYS, frozenset({at})
            if handed and not choice.overlap:
                stages = frozenset({0, BETWEEN}) if at == 0 else frozenset({1} if role == "O" else {1, BETWEEN})
            if handed and at == 1 and role == setting.flow and choice.sources[0] == PASSING:
                stages, owners = frozenset({0, 1, BETWEEN}), frozenset({0, 1})
            held.append(Held(operand.name, place, role, words, copies, stages, owners))
    return (*held, *_parameters(setting, choice, trips), *_statistics(setting, choice, trips))


def trips_of(setting: Setting, choice: Choice) -> dict[str, int]:
    """Give how many tiles there are along each shared dim."""
    return {dim: setting.cascade.sizes[dim] // size for dim, size in choice.tile}


def adds_up(setting: Setting, choice: Choice) -> bool:
    """Say whether the second product's outputs are added to over iterations."""
    return any(dim in setting.added and setting.cascade.sizes[dim] > size for dim, size in choice.tile)


def _parameters(setting: Setting, choice: Choice, trips: Mapping[str, int]) -> list[Held]:
    """Give the functions' further operands that stay over some loops; those that differ everywhere stream past."""
    held = []
    for at, tensor, indexed in setting.parameters:
        if indexed == frozenset(setting.shared):
            continue
        place = setting.place(at)
        bits = float(tensor.bits_per_value()) / setting.accelerator.levels[place].word_bits
        elements = float(tensor.values({**setting.cascade.sizes, **dict(choice.tile)}))
        words = math.ceil(elements * (bits if setting.rules.bit_true else 1.0))
        copies = 1 + (choice.overlap and loads(choice.order, trips, indexed) > 1)
        held.append(Held(tensor.name, place, "", words, copies, ALWAYS, frozenset()))
    return held


def _statistics(setting: Setting, choice: Choice, trips: Mapping[str, int]) -> list[Held]:
    """Give the two sums of each row that an online form keeps at the engine's level."""
    if not choice.online:
        return []
    place = setting.place(0)
    rows = rows_of(setting, choice)
    bits = setting.problems[0].acc_bits / setting.accelerator.levels[place].word_bits
    words = math.ceil(2 * rows * (bits if setting.rules.bit_true else 1.0))
    indexed = setting.problems[0].operands["O"].indexed - setting.cascade.links[0].whole_rows
    twice = choice.overlap and loads(choice.order, trips, indexed) > 1
    return [Held("statistics of rows", place, "", words, 1 + twice, ALWAYS, frozenset())]


def rows_of(setting: Setting, choice: Choice) -> int:
    """Count the rows of a tile of the first link."""
    rows = setting.cascade.links[0].whole_rows
    return math.prod(size for dim, size in choice.tile if dim not in rows)


def room_for(setting: Setting, at: int, held: tuple[Held, ...]) -> Accelerator | None:
    """Give an accelerator whose levels are smaller by what lies in them while a product runs; None: it does not fit.

    What the product's own homes take is left for `search`, which counts it.
    """
    levels = list(setting.accelerator.levels)
    for item in held:
        if at not in item.stages:
            continue
        level = levels[item.place]
        taken = item.words * (item.copies - (at in item.owners))
        partitions = dict(level.partitions)
        if item.role in partitions:
            partitions[item.role] -= item.words * item.copies
            if partitions[item.role] < 0:
                return None
        capacity = level.capacity_words
        if capacity is not None and capacity < taken:
            return None
        room = None if capacity is None else capacity - taken
        levels[item.place] = replace(level, capacity_words=room, partitions=partitions)
    return replace(setting.accelerator, levels=tuple(levels), static_w=0.0)


def over_full(setting: Setting, held: tuple[Held, ...]) -> bool:
    """Say whether tiles alone are too much for a level, in some stage."""
    return any(
        sum(item.words * item.copies for item in held if item.place == place and during in item.stages)
        > level.capacity_words
        for place, level in enumerate(setting.accelerator.levels)
        if level.capacity_words is not None
        for during in ALWAYS
    )
