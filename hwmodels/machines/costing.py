"""What one task costs, with the tensors that lie on chip while it runs.

A product costs what its mapping costs (`hwmodels.mapping`). A function on an engine takes the longest of its
computation, the outermost level's port, the engine's own way to its level, and that level's port; operands from outside
pass through the engine's level, as often as the function reads them if a row (or a vector of lanes) has room there,
else every pass comes from outside. An engine behind a link works in a memory of its own, whose energy is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hwmodels.engines import ROW_FUNCTIONS, Engine, function_of
from hwmodels.machines.records import LINK, MACS, TaskCost
from hwmodels.machines.tasks import Task, Use
from hwmodels.mapping import records
from hwmodels.mapping.network import Finding
from hwmodels.mapping.pricing import usable_words
from hwmodels.mapping.traffic import Traffic, evaluate
from hwmodels.spatial import Accelerator, BufferLevel
from workloads.errors import MappingError
from workloads.operator import Operator

__all__ = ["Coster", "Find"]

Find = Callable[[Operator, Accelerator, Mapping[str, str]], Finding]
"""Finds a mapping of a product, given where it runs, and the levels that its tensors lie in by role."""


@dataclass(frozen=True, slots=True)
class _Reused:
    """A mapping that was found for other homes, priced for these."""

    mapping: records.Mapping
    cost: Traffic
    gap: float
    candidates: int = 0


@dataclass(slots=True)
class Coster:
    """Costs tasks, equal ones once: what is known grows.

    Attributes:
        accelerator: Where they run.
        find: The mapper.
        known: Findings by product, room and homes.
        tried: Mappings that were found for other rooms or homes, priced for these.
        fused: Costs of fused tasks by name.
    """

    accelerator: Accelerator
    find: Find
    known: dict[Any, Finding] = field(default_factory=dict)
    tried: dict[Any, Finding] = field(default_factory=dict)
    fused: dict[str, TaskCost] = field(default_factory=dict)

    def cost(
        self, task: Task, homes: Mapping[str, str], taken: Mapping[str, float], *, quick: bool = False
    ) -> TaskCost:
        """Cost one execution of a task.

        Args:
            task: What runs.
            homes: Tensors on chip, name to level.
            taken: Room that tensors on chip take beside the task's own, by level [B].
            quick: A convolution may keep the mapping that it has with nothing on chip, if that fits: a search for
                another one takes seconds, where one for a matrix product takes a tenth of one.

        Raises:
            MappingError: A product does not fit.
        """
        if task.kind == "fused":
            return self.fused[task.name]
        mine = {use.name: homes[use.name] for use in (*task.reads, *task.writes) if use.name in homes}
        if task.kind == "product":
            return self._product(task, mine, taken, quick)
        engine = next(one for one in self.accelerator.engines if one.name == task.engine)
        if task.kind == "transfer":
            return self._transfer(task, engine, mine)
        return self._function(task, engine, mine)

    def _finding(self, product: Operator, roles: Mapping[str, str], taken: Mapping[str, float], quick: bool) -> Finding:
        signature = product.signature()
        key = (signature, tuple(sorted(roles.items())), tuple(sorted(taken.items())))
        if key in self.known:
            return self.known[key]
        machine = _with_less(self.accelerator, taken)
        first = self.known.get((signature, (), ()))
        if quick and first is not None and product.kind == "conv":
            if key not in self.tried:
                self.tried[key] = self._reused(product, machine, roles, first)
            return self.tried[key]
        self.known[key] = self.find(product, machine, roles)
        return self.known[key]

    def _reused(self, product: Operator, machine: Accelerator, roles: Mapping[str, str], first: Finding) -> Finding:
        """Price a mapping anew; one that does not fit any more is looked for anew."""
        try:
            cost = evaluate(product, machine, first.mapping, relaxed=True, resident=roles)
            cost.require_fit()
        except MappingError:
            return self.find(product, machine, roles)
        return _Reused(first.mapping, cost, first.gap)

    def _product(self, task: Task, mine: Mapping[str, str], taken: Mapping[str, float], quick: bool) -> TaskCost:
        assert task.product is not None
        roles = {use.role: mine[use.name] for use in (*task.reads, *task.writes) if use.role and use.name in mine}
        finding = self._finding(task.product, roles, taken, quick)
        cost = finding.cost
        cost.require_fit()
        width = [level.word_bits / 8 for level in self.accelerator.levels]
        read = [float(cost.read_words[0, at].sum()) * size for at, size in enumerate(width)]
        written = [float(cost.written_words[0, at].sum()) * size for at, size in enumerate(width)]
        extra = sum(use.bytes for use in task.reads if not use.role)
        read[0] += extra
        energy = {name: float(cost.level_j[0, at].sum()) for at, name in enumerate(cost.levels)}
        outer = self.accelerator.levels[0]
        energy[outer.name] += extra * 8 / outer.word_bits * outer.read_j
        return TaskCost(
            task=task,
            latency_s=float(cost.latency_s[0]),
            bound=cost.bounds[cost.bound[0]],
            outer_s=_port_s(outer, read[0], written[0], self.accelerator.clock_hz),
            read_bytes=dict(zip(cost.levels, read, strict=True)),
            written_bytes=dict(zip(cost.levels, written, strict=True)),
            energy_by={**energy, MACS: float(cost.mac_j)},
            utilization=float(cost.utilization[0]),
            gap=float(finding.gap),
            resident=mine,
        )

    def _function(self, task: Task, engine: Engine, mine: Mapping[str, str]) -> TaskCost:
        if engine.link_bytes_per_s is not None:
            return self._function_apart(task, engine)
        moved = _Moved(self.accelerator)
        level = self.accelerator.levels[self.accelerator.level_index(engine.level)]
        passes = max(engine.passes.get(function_of(op), 1) for op in task.operators)
        rows_fit = all(self._row_fits(task, use, level) for use in task.reads)
        for use in task.reads:
            outside = 1 if rows_fit else passes
            moved.read(use, mine.get(use.name), outside)
            if level is not self.accelerator.levels[0] and use.name not in mine:
                moved.write(replace(use, bytes=use.bytes * outside), level.name)
                moved.read(use, level.name, passes)
            elif use.name in mine:
                moved.read(use, mine[use.name], passes - 1)
        for use in task.writes:
            moved.write(use, mine.get(use.name))
            if level is not self.accelerator.levels[0] and use.name not in mine:
                moved.write(use, level.name)
                moved.read(use, level.name, 1)
        cycles = self._cycles(task, engine) / engine.lanes
        seconds = {"compute": cycles / engine.clock_hz, **moved.seconds()}
        if engine.path_bytes_per_s is not None:
            seconds[f"way to {level.name}"] = moved.outer_bytes / engine.path_bytes_per_s
        bound = max(seconds, key=lambda name: seconds[name])
        return moved.cost(task, seconds[bound] + engine.start_s, bound, mine,
                          {engine.name: cycles * engine.lanes * engine.cycle_j})  # fmt: skip

    def _function_apart(self, task: Task, engine: Engine) -> TaskCost:
        """Cost a function of an engine behind a link, whose operands lie in a memory of its own."""
        cycles = self._cycles(task, engine) / engine.lanes
        seconds = {"compute": cycles / engine.clock_hz}
        if engine.path_bytes_per_s is not None:
            size = sum(use.bytes for use in (*task.reads, *task.writes))
            seconds["its own memory"] = size / engine.path_bytes_per_s
        bound = max(seconds, key=lambda name: seconds[name])
        spent = {engine.name: cycles * engine.lanes * engine.cycle_j}
        return _Moved(self.accelerator).cost(task, seconds[bound] + engine.start_s, bound, {}, spent)

    def _cycles(self, task: Task, engine: Engine) -> float:
        """Give the cycles of one lane for all elements."""
        if task.kind == "conversion":
            values = task.reads[0].bytes * 8 / task.reads[0].bits
            what = "dequantize" if task.writes[0].bits > task.reads[0].bits else "requantize"
            return values * engine.cycles.get(what, engine.cycles.get("flop", 1.0))
        return sum(float(op.points()) * engine.element_cycles(op) for op in task.operators)

    def _row_fits(self, task: Task, use: Use, level: BufferLevel) -> bool:
        """Say whether the rows that a function needs whole have room in a level."""
        rows = [op for op in task.operators if function_of(op) in ROW_FUNCTIONS]
        if not rows:
            return True
        length = max(float(op.inputs[0].axes[-1].length(op.dims)) for op in rows)
        return length * use.bits / level.word_bits <= usable_words(level, self.accelerator.conventions)

    def _transfer(self, task: Task, engine: Engine, mine: Mapping[str, str]) -> TaskCost:
        """Cost a tensor that crosses a link: one end is the accelerator's outermost level."""
        assert engine.link_bytes_per_s is not None
        moved, use = _Moved(self.accelerator), task.reads[0]
        if task.writes[0].name.endswith("the device"):
            moved.write(task.writes[0], None)
        else:
            moved.read(use, None, 1)
        seconds = {LINK: use.bytes / engine.link_bytes_per_s, **moved.seconds()}
        bound = max(seconds, key=lambda name: seconds[name])
        return moved.cost(task, seconds[bound] + engine.start_s, bound, mine,
                          {LINK: use.bytes * 8 * engine.link_j_per_bit})  # fmt: skip


@dataclass(slots=True)
class _Moved:
    """What a task moves, level by level: adds up.

    Attributes:
        accelerator: Its levels.
        out: Read from each level [B].
        into: Written to each level [B].
    """

    accelerator: Accelerator
    out: dict[str, float] = field(default_factory=dict)
    into: dict[str, float] = field(default_factory=dict)

    def read(self, use: Use, level: str | None, times: float) -> None:
        name = level or self.accelerator.levels[0].name
        self.out[name] = self.out.get(name, 0.0) + use.bytes * times

    def write(self, use: Use, level: str | None) -> None:
        name = level or self.accelerator.levels[0].name
        self.into[name] = self.into.get(name, 0.0) + use.bytes

    @property
    def outer_bytes(self) -> float:
        name = self.accelerator.levels[0].name
        return self.out.get(name, 0.0) + self.into.get(name, 0.0)

    def seconds(self) -> dict[str, float]:
        return {
            f"{level.name} port": _port_s(
                level, self.out.get(level.name, 0.0), self.into.get(level.name, 0.0), self.accelerator.clock_hz
            )
            for level in self.accelerator.levels
            if level.name in self.out or level.name in self.into
        }

    def cost(
        self, task: Task, latency_s: float, bound: str, mine: Mapping[str, str], more: Mapping[str, float]
    ) -> TaskCost:
        energy = {
            level.name: 8 / level.word_bits
            * (self.out.get(level.name, 0.0) * level.read_j + self.into.get(level.name, 0.0) * level.write_j)
            for level in self.accelerator.levels
            if level.name in self.out or level.name in self.into
        }  # fmt: skip
        outer = self.accelerator.levels[0].name
        return TaskCost(
            task=task, latency_s=latency_s, bound=bound, outer_s=self.seconds().get(f"{outer} port", 0.0),
            read_bytes=self.out, written_bytes=self.into, energy_by={**energy, **more}, resident=mine,
        )  # fmt: skip


def _port_s(level: BufferLevel, read: float, written: float, clock_hz: float) -> float:
    """Give the time that a level's ports take [s]."""
    per_second = level.word_bits / 8 * clock_hz
    out = read / (level.read_words_per_cycle * per_second) if level.read_words_per_cycle else 0.0
    into = written / (level.write_words_per_cycle * per_second) if level.write_words_per_cycle else 0.0
    return out + into if level.shared_port else max(out, into)


def _with_less(accelerator: Accelerator, taken: Mapping[str, float]) -> Accelerator:
    """Give an accelerator whose levels are smaller by what tensors on chip take [B]."""
    levels = tuple(
        level
        if level.capacity_words is None or level.name not in taken
        else replace(level, capacity_words=level.capacity_words - math.ceil(taken[level.name] * 8 / level.word_bits))
        for level in accelerator.levels
    )
    return accelerator if not taken else replace(accelerator, levels=levels)
