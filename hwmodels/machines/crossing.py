"""Tensors that change between number domains, or sides of a link: conversions and transfers as tasks of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hwmodels.engines import Engine, function_of
from hwmodels.machines.tasks import Task, TaskKind, Use
from hwmodels.spatial import Accelerator

__all__ = ["with_crossings"]

FLOAT_BITS = 32.0
"""Width of what an engine in floating point reads and writes [bit]."""


def with_crossings(tasks: Iterable[Task], accelerator: Accelerator) -> tuple[Task, ...]:
    """Put a conversion or a transfer before each task that needs one; a tensor is converted and moved once.

    Args:
        tasks: In order.
        accelerator: Its engines.
    """
    state = _Crossing({engine.name: engine for engine in accelerator.engines})
    for task in tasks:
        state.take(task)
    return tuple(state.out)


@dataclass(slots=True)
class _Crossing:
    """What exists of every tensor: mutable, as the tasks are walked.

    Attributes:
        engines: By name.
        out: Tasks so far.
        is_float: Tensors that an engine in floating point wrote.
        host: Engine on whose side of a link a tensor was written; "": the accelerator's.
        made: Copies that there are already.
        writers: Engine that wrote each tensor.
        bits: Width at which each tensor was written [bit].
    """

    engines: dict[str, Engine]
    out: list[Task] = field(default_factory=list)
    is_float: set[str] = field(default_factory=set)
    host: dict[str, str] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    writers: dict[str, str] = field(default_factory=dict)
    bits: dict[str, float] = field(default_factory=dict)

    def take(self, task: Task) -> None:
        """Add a task, after what it needs."""
        engine = self.engines.get(task.engine)
        floats = self._in_floats(task, engine)
        reads = [self._brought(use, task, engine, floats) for use in task.reads]
        writes = [self._widened(use, floats) for use in task.writes]
        for use in writes:
            self.writers[use.name], self.bits[use.name] = task.engine, use.bits
            if floats:
                self.is_float.add(use.name)
            if engine is not None and engine.link_bytes_per_s is not None:
                self.host[use.name] = engine.name
        self.out.append(replace(task, reads=tuple(reads), writes=tuple(writes)))

    def _in_floats(self, task: Task, engine: Engine | None) -> bool:
        """Say whether a task computes in floating point; one that only moves data takes it as it is."""
        if engine is None or not engine.converts:
            return False
        if all(function_of(op) == "copy" for op in task.operators):
            return any(use.name in self.is_float for use in task.reads)
        return True

    def _widened(self, use: Use, floats: bool) -> Use:
        if not floats:
            return use
        return _with_bits(use, FLOAT_BITS)

    def _brought(self, use: Use, task: Task, engine: Engine | None, floats: bool) -> Use:
        """Give a tensor as a task needs it: in its domain, on its side. Narrow elements cross the link."""
        if use.constant or use.name not in self.writers:
            return self._widened(use, floats)
        side = engine.name if engine is not None and engine.link_bytes_per_s is not None else ""
        changes = (use.name in self.is_float) != floats
        if not floats:
            return self._moved(self._converted(use, task, engine, floats) if changes else use, task, side)
        moved = self._moved(_with_bits(use, self.bits[use.name]), task, side)
        return self._converted(moved, task, engine, floats) if changes else self._widened(moved, floats)

    def _converted(self, use: Use, task: Task, engine: Engine | None, floats: bool) -> Use:
        what = "dequantize" if floats else "requantize"
        wide = self._widened(use, True)
        before, after = (use, wide) if floats else (wide, use)
        made = replace(after, name=f"{use.name}:{what}d", role=use.role)
        if made.name not in self.made:
            worker = engine.name if floats and engine is not None else self.writers[use.name]
            self._add(made, before, task, worker, f"{use.name}: {what}", "conversion")
        return made

    def _moved(self, use: Use, task: Task, side: str) -> Use:
        if self.host.get(use.name, "") == side:
            return use
        made = replace(use, name=f"{use.name}:moved to {side or 'the device'}")
        if made.name not in self.made:
            worker = side or self.host[use.name]
            self._add(made, use, task, worker, f"{use.name}: transfer", "transfer")
            self.host[made.name] = side
        return made

    def _add(self, made: Use, before: Use, task: Task, worker: str, name: str, kind: TaskKind) -> None:
        self.made.add(made.name)
        self.writers[made.name], self.bits[made.name] = worker, made.bits
        if made.bits == FLOAT_BITS:
            self.is_float.add(made.name)
        if kind == "conversion" and self.engines[worker].link_bytes_per_s is not None:
            self.host[made.name] = worker
        self.out.append(Task(
            name=name, kind=kind, engine=worker, operators=task.operators[:1], reads=(replace(before, role=""),),
            writes=(replace(made, role=""),), executions=task.executions,
        ))  # fmt: skip


def _with_bits(use: Use, bits: float) -> Use:
    """Give a tensor with elements of another width."""
    return replace(use, bytes=use.bytes * bits / use.bits, bits=bits)
