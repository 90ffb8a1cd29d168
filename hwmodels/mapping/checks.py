"""Is a mapping valid for an operator and an accelerator? Every fault says what is wrong, where, and what is right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.problem import Problem
from hwmodels.mapping.records import MappingBatch, Structure
from hwmodels.spatial import ROLES, Accelerator
from workloads.errors import MappingError, nearest

__all__ = ["check_structure"]


def check_structure(problem: Problem, accelerator: Accelerator, batch: MappingBatch, relaxed: bool) -> None:
    """Check a batch of mappings of one structure; capacities are not checked here (see `Traffic.fits`).

    Raises:
        MappingError: See `evaluate`.
    """
    _check_levels(accelerator, batch.structure)
    if not relaxed:
        _check_bypass(accelerator, batch.structure)
    _check_homes(problem, accelerator, batch.structure)
    _check_slots(problem, accelerator, batch.structure, relaxed)
    _check_steps(problem, accelerator, batch)


def _check_levels(accelerator: Accelerator, structure: Structure) -> None:
    for name in structure.levels:
        accelerator.level_index(name)
    names = tuple(level.name for level in accelerator.levels)
    if structure.levels != names:
        raise MappingError(
            f"{accelerator.name}: the mapping has levels {', '.join(structure.levels)}; "
            f"give every level once, outermost first: {', '.join(names)}"
        )
    for level, keeps in zip(accelerator.levels, structure.keeps, strict=True):
        wrong = [role for role in keeps if role not in level.keeps]
        if wrong:
            raise MappingError(f"level {level.name} cannot keep {wrong[0]}; it keeps {', '.join(level.keeps)}")
    missing = [role for role in ROLES if role not in structure.keeps[0]]
    if missing:
        raise MappingError(f"the outermost level {names[0]} has to keep {missing[0]}: all tensors start or end there")


def _check_bypass(accelerator: Accelerator, structure: Structure) -> None:
    for level, keeps in zip(accelerator.levels[1:], structure.keeps[1:], strict=True):
        for role in level.keeps:
            if role in keeps or level.bypass is None or role in level.bypass:
                continue
            may = f"only {', '.join(level.bypass)} may" if level.bypass else "no tensor that it can keep may"
            kept = ", ".join(one for one in level.keeps if one == role or one in keeps)
            raise MappingError(
                f"{role} cannot bypass level {level.name} of {accelerator.name}: its data path leads through it, "
                f"{may}; let {level.name} keep {kept} (relaxed=True counts it all the same)"
            )


def _check_homes(problem: Problem, accelerator: Accelerator, structure: Structure) -> None:
    for role, place in problem.homes.items():
        level = accelerator.levels[place]
        if role in level.keeps and role not in structure.keeps[place]:
            raise MappingError(
                f"{problem.name}: {role} lies in {level.name}, so it cannot bypass it; let {level.name} keep it"
            )


def _check_slots(problem: Problem, accelerator: Accelerator, structure: Structure, relaxed: bool) -> None:
    for slot in structure.slots:
        if slot.dim not in problem.sizes:
            raise MappingError(f"{problem.name} has no dim {slot.dim!r}; {nearest(slot.dim, problem.sizes)}")
        if not slot.axis:
            continue
        level = accelerator.levels[slot.level]
        axis = level.axis(slot.axis)
        if not relaxed and not axis.allows(slot.dim, problem.indexes(slot.dim)):
            allowed = [dim for dim in problem.sizes if axis.allows(dim, problem.indexes(dim))]
            raise MappingError(
                f"mesh axis {axis.name} below {level.name} cannot unroll dim {slot.dim!r} of {problem.name}: it can "
                f"multicast or reduce only {', '.join(axis.shared) or 'nothing'} and tell apart only "
                f"{', '.join(axis.distinct) or 'nothing'}; it unrolls {', '.join(allowed) or 'none of its dims'} "
                "(relaxed=True counts it all the same)"
            )


def _check_steps(problem: Problem, accelerator: Accelerator, batch: MappingBatch) -> None:
    steps = batch.steps
    if steps.ndim != 2 or steps.shape[1] != len(batch.structure.slots):
        raise MappingError(f"steps have shape {steps.shape}; give (n_mappings, {len(batch.structure.slots)})")
    left = {dim: np.full(len(steps), size, dtype=np.int64) for dim, size in problem.sizes.items()}
    widths: dict[tuple[int, str], NDArray[np.int64]] = {}
    for slot, step in zip(batch.structure.slots, steps.T, strict=True):
        where = f"a loop over {slot.dim} at {batch.structure.levels[slot.level]} has step {{}}"
        _refuse(step < 1, f"{where}; a step is at least 1", step)
        _refuse(step > left[slot.dim], f"{where}, more than the piece of {{}} that it walks", step, left[slot.dim])
        if slot.axis:
            key = (slot.level, slot.axis)
            widths[key] = widths.get(key, np.ones(len(steps), dtype=np.int64)) * -(-left[slot.dim] // step)
        left[slot.dim] = step
    for dim, rest in left.items():
        text = (
            f"{problem.name}: the loops over {dim} end in pieces of {{}}, but a MAC takes one; add a loop with step 1"
        )
        _refuse(rest > 1, text, rest)
    for (place, name), width in widths.items():
        size = accelerator.levels[place].axis(name).size
        where = f"mesh axis {name} below {accelerator.levels[place].name}"
        _refuse(width > size, f"{where} has {size} instances; the spatial loops ask for {{}}", width)


def _refuse(wrong: NDArray[np.bool_], text: str, *values: NDArray[np.int64]) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        where = f" (mapping {row} of {len(wrong)})" if len(wrong) > 1 else ""
        raise MappingError(text.format(*[int(value[row]) for value in values]) + where)
