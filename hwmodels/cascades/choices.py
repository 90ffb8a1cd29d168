"""The outer part of a fused mapping: the loops that all stages run inside, and which tensors stay on chip over them.

The space: every tile of the shared dims that divides them; every order of the loops over tiles that differs in how
often a tensor is loaded; every further operand of a product resident over the loops that do not index it, or streaming,
each by itself; functions on whole tiles or in passing; stages in series, or overlapping with two copies of what they
hand on. Dims that index everything are outermost, and are walked one index at a time where no mesh axis unrolls them.
An output that is added to over iterations lies whole in a buffer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hwmodels.cascades.setting import PASSING, WHOLE, Setting
from hwmodels.mapping.mapper.factors import divisors
from hwmodels.spatial import ROLES, Role

__all__ = ["Choice", "Homes", "choices", "loads", "tiles_of"]

Homes = tuple[tuple[Role, int], ...]
"""Roles of one product with the places of the levels that their tiles lie whole in."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The outer part of a fused mapping.

    Attributes:
        tile: Size of the tile in each shared dim.
        order: Dims of the loops over tiles, outermost first; those with one tile have none.
        homes: By product: tiles that lie whole in a level during an iteration.
        sources: By link: "whole", "passing", or "" without functions.
        online: Rows are taken in pieces.
        overlap: Array, engine and outermost port work on different iterations at once.
    """

    tile: tuple[tuple[str, int], ...]
    order: tuple[str, ...]
    homes: tuple[Homes, ...]
    sources: tuple[str, ...]
    online: bool
    overlap: bool


def loads(order: tuple[str, ...], trips: Mapping[str, int], indexed: frozenset[str]) -> int:
    """Count how often a tile changes: the trips of all loops from the outermost to the innermost that indexes it.

    Example:
        >>> loads(("m", "n"), {"m": 4, "n": 8}, frozenset("m")), loads(("n", "m"), {"m": 4, "n": 8}, frozenset("m"))
        (4, 32)
    """
    last = max((at for at, dim in enumerate(order) if dim in indexed), default=-1)
    return math.prod(trips[dim] for dim in order[: last + 1])


def tiles_of(setting: Setting) -> Iterator[dict[str, int]]:
    """Give the tiles of the shared dims; rows that have no online form stay whole."""
    sizes = setting.cascade.sizes
    rows = setting.cascade.links[0].whole_rows
    options: list[tuple[int, ...]] = []
    for dim in setting.shared:
        if dim in rows and setting.form is None:
            options.append((int(sizes[dim]),))
        elif dim in setting.one_by_one:
            options.append((1,))
        else:
            options.append(divisors(sizes[dim]))
    later = frozenset().union(*(link.whole_rows for link in setting.cascade.links[1:]), frozenset())
    for values in itertools.product(*options):
        tile = dict(zip(setting.shared, values, strict=True))
        if all(tile[dim] == sizes[dim] for dim in later & frozenset(tile)):
            yield tile


def choices(setting: Setting, tile: Mapping[str, int]) -> Iterator[Choice]:
    """Give the choices with one tile."""
    sizes = setting.cascade.sizes
    trips = {dim: sizes[dim] // tile[dim] for dim in setting.shared}
    rows = setting.cascade.links[0].whole_rows
    online = any(trips.get(dim, 1) > 1 for dim in rows)
    number = math.prod(trips.values())
    for order in _orders(setting, trips):
        for sources, firsts, seconds in _ways(setting, trips, order, online):
            for homes in _residents(setting, trips, order, firsts, seconds):
                for overlap in (False, True)[: 1 + (number > 1)]:
                    yield Choice(tuple(tile.items()), order, homes, sources, online, overlap)


def _orders(setting: Setting, trips: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
    active = [dim for dim in setting.shared if trips[dim] > 1]
    outer = tuple(dim for dim in active if dim in setting.common)
    seen = set()
    tensors = [operand.indexed for problem in setting.problems for operand in problem.operands.values()]
    tensors += [dims for _, _, dims in setting.parameters]
    for inner in itertools.permutations([dim for dim in active if dim not in setting.common]):
        order = (*outer, *inner)
        key = tuple(loads(order, trips, dims) for dims in tensors)
        if key not in seen:
            seen.add(key)
            yield order


Way = tuple[tuple[str, ...], dict[Role, int], dict[Role, int]]
"""Sources of the links, and homes of what the products hand on."""


def _ways(setting: Setting, trips: Mapping[str, int], order: tuple[str, ...], online: bool) -> Iterator[Way]:
    """Give the ways of the results from product to function to product, and where added-up outputs lie."""
    for first in _sources(setting, 0):
        if online and first == PASSING:
            continue
        if not setting.pairs:
            if first == WHOLE or math.prod(trips.values()) == 1:
                yield (first,), {"O": setting.place(0)} if first == WHOLE else {}, {}
            continue
        for handover in setting.handovers:
            if first == PASSING and not setting.as_wide(handover):
                continue
            sums = setting.place(0) if first == WHOLE else handover
            for second, outputs in _outputs(setting, trips, order, online):
                yield (first, second), {"O": sums}, {setting.flow: handover, **outputs}


def _sources(setting: Setting, at: int) -> tuple[str, ...]:
    if setting.engines[at] is None:
        return (PASSING,)
    return (WHOLE, PASSING) if setting.may_pass(at) else (WHOLE,)


def _outputs(
    setting: Setting, trips: Mapping[str, int], order: tuple[str, ...], online: bool
) -> Iterator[tuple[str, dict[Role, int]]]:
    """Give how the second product's outputs leave, and their home if they have one."""
    adds = any(trips[dim] > 1 for dim in setting.added)
    functions = setting.engines[1] is not None
    if not adds and not online:
        if not functions:
            yield "", {}
            return
        for source in _sources(setting, 1):
            yield source, {"O": setting.place(1)} if source == WHOLE else {}
        return
    indexed = setting.problems[1].operands["O"].indexed
    distinct = math.prod(trips[dim] for dim in setting.shared if dim in indexed)
    returns = loads(order, trips, indexed) > distinct
    for place in setting.homes_of("O"):
        if (functions and place != setting.place(1)) or (online and (returns or place != setting.place(0))):
            continue
        yield WHOLE if functions else "", {"O": place}


def _residents(
    setting: Setting,
    trips: Mapping[str, int],
    order: tuple[str, ...],
    firsts: Mapping[Role, int],
    seconds: Mapping[Role, int],
) -> Iterator[tuple[Homes, ...]]:
    """Give the homes with every subset of the further operands resident over the loops that do not index them."""
    number = math.prod(trips.values())
    given = (firsts, seconds)[: len(setting.problems)]
    slots: list[tuple[int, Role]] = []
    options: list[tuple[int, ...]] = []
    for at, problem in enumerate(setting.problems):
        for role in ROLES[:2]:
            if role not in given[at] and loads(order, trips, problem.operands[role].indexed) < number:
                slots.append((at, role))
                options.append((0, *setting.homes_of(role)))
    for places in itertools.product(*options):
        homes = [dict(mine) for mine in given]
        for (at, role), place in zip(slots, places, strict=True):
            if place:
                homes[at][role] = place
        yield tuple(tuple(sorted(mine.items())) for mine in homes)
