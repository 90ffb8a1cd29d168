"""What a fused mapping costs: energies and times of its parts put together.

Buffers that load while they work do so across stages too: while a product works on its last tiles, the first ones of
the next product come in, and its last outputs leave during the next. So with more than one iteration a product costs
its cycles without loading first and storing last tiles; with one, all of them.

In series, stages of an iteration follow each other, the array is filled and drained for every product, and residents
are loaded before the iteration that needs them. Functions in passing keep pace with their product.

Overlapping, the array, the engine and the port of the outermost level work on different iterations at once, with two
copies of every tile that they hand on or that changes. The first iteration passes through all stages; then the one of
the three that is busy longest sets the pace. The array is filled and drained once. Ports on the chip are not shared out
between array and engine: each alone is held to them (a buffer of several banks).

Static power flows over the whole latency.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwmodels.cascades.plan import Plan, Transfer
from hwmodels.cascades.setting import PASSING, Setting
from hwmodels.cascades.stages import Priced
from hwmodels.cascades.transfers import Moved

__all__ = ["Totals", "totals"]

Pair = tuple[Priced, Priced | None]
"""A product of a tile whose outputs are new, and one whose outputs are added to (None: as the first)."""


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """What a fused mapping costs.

    Attributes:
        energy_by: By level, engine, "MACs", "static" [J].
        cycles: Of the accelerator's clock.
        busy: Cycles of the array, of each engine, and of the outermost level's port.
        moved: Words by level.
    """

    energy_by: dict[str, float]
    cycles: float
    busy: dict[str, float]
    moved: Moved

    @property
    def energy_j(self) -> float:
        """In all [J]."""
        return sum(self.energy_by.values())


def totals(setting: Setting, plan: Plan, pairs: Sequence[Pair]) -> Totals:
    """Put the parts of a fused mapping together.

    Args:
        setting: The cascade.
        plan: Functions and transfers.
        pairs: Products of a tile.
    """
    moved = _moved(setting, plan, pairs)
    busy = _busy(setting, plan, pairs, moved)
    cycles = _overlapping(setting, plan, pairs, busy) if plan.choice.overlap else _in_series(setting, plan, pairs)
    energy: dict[str, float] = {}
    for at, (new, again) in enumerate(pairs):
        fresh = plan.number if at == 0 or again is None else plan.fresh
        for name, joules in new.energy_by.items():
            energy[name] = energy.get(name, 0.0) + fresh * joules
        if again is not None:
            for name, joules in again.energy_by.items():
                energy[name] = energy.get(name, 0.0) + (plan.number - fresh) * joules
    for item, times in _works(plan):
        for place, level in enumerate(setting.accelerator.levels):
            words = item.moved.out.get(place, 0.0) * level.read_j + item.moved.into.get(place, 0.0) * level.write_j
            energy[level.name] = energy.get(level.name, 0.0) + times * words
    for at, work in enumerate(plan.works):
        engine = setting.engines[at]
        if work is not None and engine is not None:
            energy[engine.name] = energy.get(engine.name, 0.0) + work[0].engine_j * work[1]
    if plan.online is not None and setting.engines[0] is not None:
        name = setting.engines[0].name
        energy[name] += plan.online[0].engine_j * plan.number + plan.online[1].engine_j * plan.fresh
    if setting.accelerator.static_w:
        energy["static"] = setting.accelerator.static_w * cycles / setting.accelerator.clock_hz
    return Totals(energy, cycles, busy, moved)


@dataclass(frozen=True, slots=True)
class _Item:
    """Words that move several times."""

    moved: Moved


def _works(plan: Plan) -> list[tuple[_Item, int]]:
    """Give everything but the products that moves words, and how often."""
    found = [(_Item(work[0].moved), work[1]) for work in plan.works if work is not None]
    if plan.online is not None:
        found += [(_Item(plan.online[0].moved), plan.number), (_Item(plan.online[1].moved), plan.fresh)]
    return found + [(_Item(transfer.moved), transfer.times) for transfer in plan.transfers]


def _moved(setting: Setting, plan: Plan, pairs: Sequence[Pair]) -> Moved:
    total = Moved(setting.accelerator)
    for at, (new, again) in enumerate(pairs):
        fresh = plan.number if at == 0 or again is None else plan.fresh
        total.add(new.moved, fresh)
        if again is not None:
            total.add(again.moved, plan.number - fresh)
    for item, times in _works(plan):
        total.add(item.moved, times)
    return total


def _busy(setting: Setting, plan: Plan, pairs: Sequence[Pair], moved: Moved) -> dict[str, float]:
    array = 0.0
    for at, (new, again) in enumerate(pairs):
        fresh = plan.number if at == 0 or again is None else plan.fresh
        array += fresh * new.cycles + ((plan.number - fresh) * again.cycles if again is not None else 0.0)
    busy = {"array": array}
    for at, work in enumerate(plan.works):
        engine = setting.engines[at]
        if work is not None and engine is not None:
            busy[engine.name] = busy.get(engine.name, 0.0) + work[0].cycles * work[1]
    if plan.online is not None and setting.engines[0] is not None:
        busy[setting.engines[0].name] += plan.online[0].cycles * plan.number + plan.online[1].cycles * plan.fresh
    busy[f"{setting.accelerator.levels[0].name} port"] = moved.cycles(setting.rules, 0)
    return busy


def _transfer_cycles(setting: Setting, transfer: Transfer) -> float:
    places = {*transfer.moved.out, *transfer.moved.into}
    return max(transfer.moved.cycles(setting.rules, place) for place in places)


def _stage(setting: Setting, plan: Plan, at: int, product: Priced) -> float:
    """Give the cycles of a product, and of its functions if these keep pace with it."""
    work = plan.works[at]
    if work is None or plan.choice.sources[at] != PASSING:
        return product.cycles
    both = Moved(setting.accelerator)
    both.add(product.moved)
    both.add(work[0].moved)
    return max(product.cycles, work[0].cycles, both.cycles(setting.rules, 0))


def _after(setting: Setting, plan: Plan, at: int) -> float:
    """Give the cycles of functions that follow on a whole tile."""
    work = plan.works[at]
    if work is None or plan.choice.sources[at] == PASSING:
        return 0.0
    return max(work[0].cycles, work[0].moved.cycles(setting.rules, 0))


def _in_series(setting: Setting, plan: Plan, pairs: Sequence[Pair]) -> float:
    cycles = sum(transfer.times * _transfer_cycles(setting, transfer) for transfer in plan.transfers)
    for at, (new, again) in enumerate(pairs):
        fresh = plan.number if at == 0 or again is None else plan.fresh
        cycles += fresh * _stage(setting, plan, at, new)
        if again is not None:
            cycles += (plan.number - fresh) * _stage(setting, plan, at, again)
        cycles += _after(setting, plan, at) * (plan.number if at == 0 else plan.fresh)
    if plan.online is not None:
        cycles += plan.number * plan.online[0].cycles + plan.fresh * plan.online[1].cycles
    if plan.number > 1:
        cycles += plan.number * len(pairs) * _fill(setting)
    return cycles


def _overlapping(setting: Setting, plan: Plan, pairs: Sequence[Pair], busy: dict[str, float]) -> float:
    first = sum(_transfer_cycles(setting, transfer) for transfer in plan.transfers)
    once = Moved(setting.accelerator)
    for transfer in plan.transfers:
        once.add(transfer.moved)
    shares = dict.fromkeys(busy, 0.0)
    for at, (new, _) in enumerate(pairs):
        first += _stage(setting, plan, at, new) + _after(setting, plan, at)
        shares["array"] += new.cycles
        once.add(new.moved)
        work, engine = plan.works[at], setting.engines[at]
        if work is not None and engine is not None:
            shares[engine.name] += work[0].cycles
            once.add(work[0].moved)
    if plan.online is not None and setting.engines[0] is not None:
        for work_of_rows in plan.online:
            first += work_of_rows.cycles
            shares[setting.engines[0].name] += work_of_rows.cycles
    port = f"{setting.accelerator.levels[0].name} port"
    shares[port] = once.cycles(setting.rules, 0)
    rest = max(0.0, *[cycles - shares[name] for name, cycles in busy.items()])
    return first + rest + _fill(setting)


def _fill(setting: Setting) -> int:
    """Give the cycles in which the whole array fills and drains."""
    if not setting.rules.fill_drain:
        return 0
    return sum(axis.size - 1 for level in setting.accelerator.levels for axis in level.mesh)
