"""From the walk of a graph and its bodies to a program: each body with its weight, and with what surrounds it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace

from workloads.errors import WorkloadError
from workloads.liveness import live_bytes
from workloads.onnx.builder import Builder
from workloads.onnx.limits import MAX_EXECUTIONS
from workloads.onnx.state import Load, Part
from workloads.workload import Choice, Program, Workload

__all__ = ["assembled"]


def assembled(
    name: str,
    builder: Builder,
    load: Load,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    bindings: Mapping[str, int],
    finish: Callable[[Workload], Workload],
) -> Program:
    """Give the program: the graph first, then each body after what calls it.

    Args:
        name: Of the program.
        builder: Of the graph.
        load: The load, after its walk.
        inputs: Of the graph.
        outputs: Of the graph.
        bindings: Sizes of symbolic dims.
        finish: What is done to every workload.

    Raises:
        WorkloadError: A part runs more often than can be counted.
    """
    main = finish(_workload(name, builder, inputs, outputs, bindings))
    called: dict[int, list[Part]] = {}
    for part in load.parts:
        called.setdefault(id(_owner(part.builder)), []).append(part)
    found: list[tuple[float, Workload]] = [(1.0, main)]
    paths: list[tuple[Choice, ...]] = [()]
    held: dict[Hashable, dict[str, float]] = {}
    # What is still to be put: part, its caller, how often that runs, and the choices that lead there.
    none: tuple[Choice, ...] = ()
    pending = [(part, main, 1.0, none) for part in reversed(called.get(id(builder), []))]
    while pending:
        part, caller, times, path = pending.pop()
        weight = times * part.executions
        if weight > MAX_EXECUTIONS:
            raise WorkloadError(f"{part.name}: {weight:.3g} expected executions are more than any runtime can count")
        work = _workload(f"{name}:{part.name}", part.builder, (*part.inputs, *part.borrowed), part.outputs, bindings)
        work = replace(finish(work), held=_held(caller, part, held))
        if part.branch:
            path = (*path, Choice(part.node, part.branch, part.executions, times))
        found.append((weight, work))
        paths.append(path)
        pending += [(inner, work, weight, path) for inner in reversed(called.get(id(part.builder), []))]
    return Program(name=name, parts=tuple(found), paths=tuple(paths))


def _owner(body: Builder) -> Builder:
    """Give the builder of the part that calls a body: those that share its operators are no parts."""
    owner = body.parent
    assert owner is not None  # a body stands somewhere
    while owner.parent is not None and owner.operators is owner.parent.operators:
        owner = owner.parent
    return owner


def _workload(
    name: str, builder: Builder, inputs: Sequence[str], outputs: Sequence[str], bindings: Mapping[str, int]
) -> Workload:
    """Give the workload of a builder.

    A node that dequantizes a stored weight runs, so it is not among the folded ones.
    """
    running = {node for op in builder.operators for node in op.nodes}
    return Workload(
        name=name,
        operators=tuple(builder.operators),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        folded=tuple(node for node in builder.folded if node not in running),
        groups=tuple(builder.groups),
        bindings=dict(bindings),
    )


def _held(caller: Workload, part: Part, known: dict[Hashable, dict[str, float]]) -> dict[str, float]:
    """Give what the caller keeps in memory while the part runs, what the part borrows among it [B].

    Args:
        caller: Of the part.
        part: The part.
        known: What was found before: it is the same in every trip of a loop.
    """
    key = (id(caller), part.node, part.borrowed, part.collected)
    if key not in known:
        held = live_bytes(caller, part.node, part.borrowed, part.collected)
        known[key] = {**dict.fromkeys(part.borrowed, 0.0), **held}
    return known[key]
