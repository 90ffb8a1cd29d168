"""From counts to words, energy and cycles (`timing`).

An element takes one word at every level, or with `Conventions.bit_true` its bits / word_bits: W and I at their stored
width, partial sums at the accumulator's, finished outputs at their stored width once they enter the outermost level.

Energy: words x energy per word at every level, MACs, and with them further inputs (a bias), each read once from the
outermost level, and static power over the latency.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.counting import Counts
from hwmodels.mapping.problem import Problem
from hwmodels.mapping.records import Structure
from hwmodels.mapping.timing import Floats, Words, total_cycles
from hwmodels.spatial import ROLES, Accelerator, BufferLevel, Conventions

__all__ = ["Price", "element_words", "price_counts", "taken_words", "usable_words", "words_of"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Price:
    """Cycles and energy of a batch of mappings; the fields of `Traffic` of the same names."""

    compute_cycles: Floats
    cycles: Floats
    bound: NDArray[np.int64]
    bounds: tuple[str, ...]
    utilization: Floats
    read_words: Floats
    written_words: Floats
    level_j: Floats
    mac_j: float
    other_j: Floats
    energy_j: Floats
    latency_s: Floats
    tile_words: Floats
    usable_words: Floats
    level_fits: NDArray[np.bool_]


def price_counts(
    problem: Problem, accelerator: Accelerator, rules: Conventions, structure: Structure, counts: Counts
) -> Price:
    """Give cycles and energy of counted mappings."""
    words = words_of(problem, accelerator, rules, counts)
    tile_words, usable, level_fits = _fit(problem, accelerator, rules, counts)
    fits = level_fits.all(axis=1)
    compute = counts.steps / accelerator.macs_per_cycle
    cycles, bound, bounds = total_cycles(accelerator, rules, structure, counts, words, compute)
    level_j = np.zeros_like(words.reads)
    for place, level in enumerate(accelerator.levels):
        level_j[:, place] = words.reads[:, place] * level.read_j
        level_j[:, place] += (words.fills[:, place] + words.updates[:, place]) * level.write_j
    cycles = np.where(fits, cycles, np.inf)
    latency = cycles / accelerator.clock_hz
    mac_j = problem.macs * accelerator.mac_j
    other = words.extra * accelerator.levels[0].read_j + accelerator.static_w * np.where(fits, latency, 0.0)
    energy = np.where(fits, level_j.sum(axis=(1, 2)) + mac_j + other, np.inf)
    return Price(
        compute_cycles=compute,
        cycles=cycles,
        bound=bound,
        bounds=bounds,
        utilization=problem.macs / (cycles * accelerator.mac_instances * accelerator.macs_per_cycle),
        read_words=words.reads,
        written_words=words.fills + words.updates,
        level_j=level_j,
        mac_j=mac_j,
        other_j=other,
        energy_j=energy,
        latency_s=latency,
        tile_words=tile_words,
        usable_words=usable,
        level_fits=level_fits,
    )


def usable_words(level: BufferLevel, rules: Conventions, role: str = "") -> float:
    """Give the words of a level that tiles may fill: all tensors together, or one role's partition; inf: unbounded.

    Example:
        >>> from hwmodels.spatial import REFERENCE, SILICON
        >>> buffer = BufferLevel(name="Buffer", keeps=ROLES, capacity_words=1024, word_bits=8)
        >>> usable_words(buffer, REFERENCE), usable_words(buffer, SILICON)
        (1024, 512)
    """
    capacity = level.partitions.get(role) if role else level.capacity_words
    if capacity is None:
        return math.inf
    return capacity // 2 if rules.device_buffering and level.buffering == "double" else capacity


def element_words(problem: Problem, level: BufferLevel, rules: Conventions) -> Floats:
    """Give the words that one element of W, I, O takes in a level; O as partial sums."""
    if not rules.bit_true:
        return np.ones(len(ROLES))
    bits = [problem.operands[role].bits for role in ROLES[:2]] + [problem.acc_bits]
    return np.array(bits) / level.word_bits


def taken_words(problem: Problem, accelerator: Accelerator, rules: Conventions, counts: Counts) -> Floats:
    """Give the words that the tiles take of each level; (n, levels, roles)."""
    taken: Floats = counts.tile.astype(float) * np.stack(
        [element_words(problem, level, rules) for level in accelerator.levels]
    )
    for role, place in problem.homes.items():
        taken[:, place, ROLES.index(role)] = 0.0  # the level is smaller by the whole tensor: `residency.with_room`
    return taken


def _fit(
    problem: Problem, accelerator: Accelerator, rules: Conventions, counts: Counts
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Give what tiles take of each level, what is usable, and which levels are large enough."""
    usable = np.array([usable_words(level, rules) for level in accelerator.levels])
    taken = taken_words(problem, accelerator, rules, counts)
    fits = taken.sum(axis=2) <= usable
    for place, level in enumerate(accelerator.levels):
        for role in level.partitions:
            fits[:, place] &= taken[:, place, ROLES.index(role)] <= usable_words(level, rules, role)
    return taken, usable, np.asarray(fits)


def words_of(problem: Problem, accelerator: Accelerator, rules: Conventions, counts: Counts) -> Words:
    """Turn elements into words of each level. Finished outputs enter the outermost level at their stored width."""
    reads, fills, updates, first, tile = (
        table.astype(np.float64) for table in (counts.reads, counts.fills, counts.updates, counts.first, counts.tile)
    )
    _go_home(problem, accelerator, (reads, fills, updates, first), tile)
    if not rules.bit_true and not rules.bursts:
        return Words(reads, fills, updates, first, tile, float(problem.extra_values), problem.outlet)
    per_level = np.stack([element_words(problem, level, rules) for level in accelerator.levels])
    scale = _burst_factors(problem, accelerator, rules, counts)
    out, leaving = problem.outlet, first[:, problem.outlet, 2].copy()
    updates, first = updates * per_level, first * per_level
    extra = float(problem.extra_values)
    if rules.bit_true:
        if not out or "O" not in accelerator.levels[out].keeps:
            stored = problem.operands["O"].bits / accelerator.levels[out].word_bits
            updates[:, out, 2] += counts.partition[:, 0, 2] * (stored - per_level[out, 2])
            first[:, out, 2] = leaving * stored
        extra = problem.extra_bits / accelerator.levels[0].word_bits
    return Words(
        reads * per_level * scale, fills * per_level, updates * scale, first * scale, tile * per_level, extra, out
    )


def _go_home(problem: Problem, accelerator: Accelerator, moved: tuple[Floats, ...], tile: Floats) -> None:
    """Take away what tensors with a home do not move, in place; finished outputs enter theirs, not the outermost level.

    Args:
        problem: The operator.
        accelerator: Where it runs.
        moved: Reads, fills, updates, first reads; (n, levels, roles) each.
        tile: Held by an instance.
    """
    reads, fills, updates, first = moved
    for role, home in problem.homes.items():
        column = ROLES.index(role)
        if role == "O" and role not in accelerator.levels[home].keeps:
            for table in (reads, updates, first):
                table[:, home, column] = table[:, 0, column]
        for table in (reads, updates, first):
            table[:, :home, column] = 0.0
        fills[:, : home + 1, column] = 0.0
        tile[:, home, column] = 0.0


def _burst_factors(problem: Problem, accelerator: Accelerator, rules: Conventions, counts: Counts) -> Floats:
    """Give how many words the outermost level moves per word that is asked for; (n, levels, roles), 1 inside it."""
    scale = np.ones(counts.tile.shape)
    burst = accelerator.levels[0].burst_bits
    if not rules.bursts or not burst:
        return scale
    for column, role in enumerate(ROLES):
        width = problem.operands[role].bits if rules.bit_true else accelerator.levels[0].word_bits
        bits = counts.runs[:, column] * width
        scale[:, 0, column] = np.ceil(bits / burst) * burst / bits
    return scale
