"""What a choice of loops and residents costs beside the products' own mappings: functions, loads, drains."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hwmodels.cascades.chain import Link
from hwmodels.cascades.choices import Choice, loads
from hwmodels.cascades.functions import (
    Work,
    function_work,
    online_work,
    outer_words,
    parameter_work,
)
from hwmodels.cascades.rooms import (
    Held,
    adds_up,
    held_tiles,
    over_full,
    rows_of,
    tile_problem,
    trips_of,
)
from hwmodels.cascades.setting import PASSING, Setting
from hwmodels.cascades.transfers import Moved, burst_factor, tile_run
from hwmodels.mapping.problem import Problem
from hwmodels.mapping.residency import elements_of
from hwmodels.spatial import ROLES

__all__ = ["Plan", "Transfer", "plan_of"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """A tile that moves between the outermost level and its home.

    Attributes:
        name: Of its tensor.
        moved: Words of one transfer.
        times: How often.
        at_end: After an iteration, not before.
    """

    name: str
    moved: Moved
    times: int
    at_end: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A choice with everything that does not depend on the products' own mappings.

    Attributes:
        choice: Loops and residents.
        number: Of iterations.
        fresh: Iterations in which the second product's outputs are new.
        problems: Products of a tile.
        held: Tiles on chip.
        works: By link: its functions, and how often they run; None: it has none.
        online: What an online form takes with every piece, and once at the end of the rows; None: it is not used.
        transfers: Of tiles.
        compulsory: Words of the outermost level that the products' streaming operands move at least in an iteration.
        again_j: Least energy of reading the second product's outputs where they are added to, of an iteration [J].
    """

    choice: Choice
    number: int
    fresh: int
    problems: tuple[Problem, ...]
    held: tuple[Held, ...]
    works: tuple[tuple[Work, int] | None, ...]
    online: tuple[Work, Work] | None
    transfers: tuple[Transfer, ...]
    compulsory: tuple[Moved, ...]
    again_j: float

    @property
    def extra_flops(self) -> float:
        """FLOPs of the online form."""
        if self.online is None:
            return 0.0
        each, end = self.online
        return self.number * each.flops + self.fresh * end.flops


def plan_of(setting: Setting, choice: Choice) -> Plan | None:
    """Work out a choice; None: its tiles alone are too much for a level."""
    problems = tuple(tile_problem(setting, at, choice) for at in range(len(setting.problems)))
    held = held_tiles(setting, choice, problems)
    if over_full(setting, held):
        return None
    trips = trips_of(setting, choice)
    number = math.prod(trips.values())
    fresh = number
    if setting.pairs:
        indexed = setting.problems[1].operands["O"].indexed
        fresh = math.prod(trip for dim, trip in trips.items() if dim in indexed)
    works = tuple(_function(setting, choice, at, number if at == 0 else fresh) for at in range(len(problems)))
    return Plan(
        choice=choice,
        number=number,
        fresh=fresh,
        problems=problems,
        held=held,
        works=works,
        online=_online(setting, choice, problems) if choice.online else None,
        transfers=(*_operand_loads(setting, choice, problems), *_parameter_loads(setting, choice),
                   *_drains(setting, choice, problems, fresh)),
        compulsory=tuple(_compulsory(setting, choice, problems, at) for at in range(len(problems))),
        again_j=_again_j(setting, choice, problems) if fresh < number else 0.0,
    )  # fmt: skip


def _tile(setting: Setting, choice: Choice) -> dict[str, int]:
    return {**setting.cascade.sizes, **dict(choice.tile)}


def _function(setting: Setting, choice: Choice, at: int, times: int) -> tuple[Work, int] | None:
    engine, link = setting.engines[at], setting.cascade.links[at]
    if engine is None:
        return None
    tile, device, rules = _tile(setting, choice), setting.accelerator, setting.rules
    source = setting.place(at)
    level = device.levels[source]
    passing = choice.sources[at] == PASSING
    bits = setting.problems[at].acc_bits if "O" in level.keeps else float(link.sums.bits_per_value())
    last = at == len(setting.problems) - 1
    target = 0 if last else dict(choice.homes[1])[setting.flow]
    work = function_work(link, engine, device, rules, tile, source, target, bits, by_product=passing)
    if link.kept and not (last and passing):
        work.moved.write(0, outer_words(link.result, device, rules, tile, setting.cascade.sizes))
        forced(setting, work.moved, "O", source, 1.0, outwards=True, link=link, tile=tile)
    return work, times


def forced(
    setting: Setting, moved: Moved, role: str, place: int, words: float, outwards: bool, link: Link | None = None,
    tile: dict[str, int] | None = None,
) -> None:  # fmt: skip
    """Add the levels that a tile cannot go past on its way between the outermost level and another one."""
    for between in range(1, place):
        level = setting.accelerator.levels[between]
        if role not in level.keeps or level.bypass is None or role in level.bypass:
            continue
        if link is not None and tile is not None:
            bits = float(link.result.bits_per_value()) / level.word_bits if setting.rules.bit_true else 1.0
            moved.write(between, float(link.result.values(tile)) * bits)
            continue
        moved.write(between, words)
        if not outwards:
            moved.read(between, words)


def _online(setting: Setting, choice: Choice, problems: tuple[Problem, ...]) -> tuple[Work, Work]:
    engine, form = setting.engines[0], setting.form
    assert engine is not None
    assert form is not None
    outputs = elements_of(problems[1].sizes, problems[1].operands["O"], setting.rules)
    return online_work(
        form, engine, setting.accelerator, setting.rules, rows_of(setting, choice), outputs, setting.place(0),
        setting.problems[1].acc_bits,
    )  # fmt: skip


def _outer(setting: Setting, choice: Choice, at: int, role: str, elements: float, bits: float) -> float:
    """Give the words of the outermost level that a whole tile of an operand moves."""
    level, rules = setting.accelerator.levels[0], setting.rules
    tile = _tile(setting, choice)
    run = tile_run(setting.problems[at].operands[role], tile, setting.cascade.sizes)
    words = elements * (bits / level.word_bits if rules.bit_true else 1.0)
    return words * burst_factor(level, rules, run, bits)


def _operand_loads(setting: Setting, choice: Choice, problems: tuple[Problem, ...]) -> list[Transfer]:
    """Give the loads of the products' further operands that stay resident."""
    trips = trips_of(setting, choice)
    found = []
    for at, homes in enumerate(choice.homes):
        for role, place in homes:
            if role == "O" or (at == 1 and role == setting.flow):
                continue
            operand, moved = problems[at].operands[role], Moved(setting.accelerator)
            elements = elements_of(problems[at].sizes, operand, setting.rules)
            level = setting.accelerator.levels[place]
            words = elements * (operand.bits / level.word_bits if setting.rules.bit_true else 1.0)
            moved.read(0, _outer(setting, choice, at, role, elements, operand.bits))
            moved.write(place, words)
            forced(setting, moved, role, place, words, outwards=False)
            times = loads(choice.order, trips, setting.problems[at].operands[role].indexed)
            found.append(Transfer(operand.name, moved, times))
    return found


def _parameter_loads(setting: Setting, choice: Choice) -> list[Transfer]:
    trips, found = trips_of(setting, choice), []
    for at, tensor, indexed in setting.parameters:
        engine = setting.engines[at]
        assert engine is not None
        tile = _tile(setting, choice)
        moved, _ = parameter_work(tensor, engine, setting.accelerator, setting.rules, tile, setting.cascade.sizes)
        found.append(Transfer(tensor.name, moved, loads(choice.order, trips, indexed)))
    return found


def _drains(setting: Setting, choice: Choice, problems: tuple[Problem, ...], fresh: int) -> list[Transfer]:
    """Give the ways of added-up outputs out of their home, and of unfinished ones out and back."""
    if not setting.pairs or "O" not in dict(choice.homes[1]):
        return []
    place = dict(choice.homes[1])["O"]
    operand, rules, device = problems[1].operands["O"], setting.rules, setting.accelerator
    elements = elements_of(problems[1].sizes, operand, rules)
    acc = problems[1].acc_bits
    found = []
    if setting.engines[1] is None:
        out = Moved(device)
        words = _outer(setting, choice, 1, "O", elements, operand.bits)
        out.write(0, words)
        forced(setting, out, "O", place, words, outwards=True)
        found.append(Transfer(operand.name, out, fresh, at_end=True))
    visits = loads(choice.order, trips_of(setting, choice), setting.problems[1].operands["O"].indexed)
    if adds_up(setting, choice) and visits > fresh:
        there, back = Moved(device), Moved(device)
        words = _outer(setting, choice, 1, "O", elements, acc)
        home = elements * (acc / device.levels[place].word_bits if rules.bit_true else 1.0)
        there.write(0, words)
        forced(setting, there, "O", place, home, outwards=True)
        back.read(0, words)
        back.write(place, home)
        forced(setting, back, "O", place, home, outwards=False)
        found += [
            Transfer(f"{operand.name}, unfinished", there, visits - fresh, at_end=True),
            Transfer(f"{operand.name}, again", back, visits - fresh),
        ]
    return found


def _again_j(setting: Setting, choice: Choice, problems: tuple[Problem, ...]) -> float:
    """Give the least energy of fetching a tile of outputs to be added to, from its home to where sums are made."""
    home = dict(choice.homes[1])["O"]
    elements = elements_of(problems[1].sizes, problems[1].operands["O"], setting.rules)
    joules = 0.0
    for place, level in enumerate(setting.accelerator.levels[home:], start=home):
        if place > home and ("O" not in level.keeps or level.bypass is None or "O" in level.bypass):
            continue
        words = elements * (problems[1].acc_bits / level.word_bits if setting.rules.bit_true else 1.0)
        joules += words * (level.read_j + (level.write_j if place > home else 0.0))
    return joules


def _compulsory(setting: Setting, choice: Choice, problems: tuple[Problem, ...], at: int) -> Moved:
    """Give the words of the outermost level that a product's operands without a home move at least."""
    moved, problem = Moved(setting.accelerator), problems[at]
    homes = dict(choice.homes[at])
    outer, rules = setting.accelerator.levels[0], setting.rules
    for role in ROLES:
        if role in homes:
            continue
        operand = problem.operands[role]
        elements = elements_of(problem.sizes, operand, rules)
        words = elements * (operand.bits / outer.word_bits if rules.bit_true else 1.0)
        run = tile_run(setting.problems[at].operands[role], _tile(setting, choice), setting.cascade.sizes)
        width = operand.bits if rules.bit_true else outer.word_bits
        if run * width < outer.burst_bits:  # longer runs may be cut into whole bursts
            words *= burst_factor(outer, rules, run, operand.bits)
        (moved.write if role == "O" else moved.read)(0, words)
    moved.read(0, problem.extra_bits / outer.word_bits if rules.bit_true else float(problem.extra_values))
    return moved
