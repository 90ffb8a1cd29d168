"""Random mappings as arrays: what `sampling` draws, which of it is valid, and how it is grouped by structure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.mapper.factors import prime_powers
from hwmodels.mapping.mapper.patterns import bypass_patterns
from hwmodels.mapping.pricing import element_words, usable_words
from hwmodels.mapping.problem import Problem
from hwmodels.mapping.records import MappingBatch, Slot, Structure
from hwmodels.mapping.windows import piece_words
from hwmodels.spatial import ROLES, Accelerator, Conventions

__all__ = ["LOT", "Lot", "Maker", "factorisations"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Place = tuple[int, str]
"""(level, mesh axis); "": its temporal loops."""

LOT = 1 << 14
"""Draws at a time; fixed, so that a larger sample begins with the smaller one of the same seed."""


@dataclass(frozen=True, slots=True, eq=False)
class Lot:
    """Valid mappings.

    Attributes:
        draws: Which of the lot's draws they are; (n,).
        pattern: Place of their kept tensors; (n,).
        factors: Trip counts; (n, dims, places).
        orders: Places of the dims, outermost first; (n, levels, dims).
    """

    draws: Ints
    pattern: Ints
    factors: Ints
    orders: Ints

    def first(self, n: int) -> Lot:
        """Give the first of them."""
        return Lot(self.draws[:n], self.pattern[:n], self.factors[:n], self.orders[:n])


@dataclass(frozen=True, slots=True, eq=False)
class Maker:
    """What all draws share.

    Attributes:
        problem: The operator.
        accelerator: Where it runs.
        rules: What room counts as usable.
        dims: Those longer than 1.
        places: Loops that a dim may have: outermost first, temporal before spatial.
        free: Whether a dim may have a loop there; (dims, places).
        keeps: All choices of kept tensors.
    """

    problem: Problem
    accelerator: Accelerator
    rules: Conventions
    dims: tuple[str, ...]
    places: tuple[Place, ...]
    free: Bools
    keeps: tuple[tuple[tuple[str, ...], ...], ...]

    @classmethod
    def of(cls, problem: Problem, accelerator: Accelerator, rules: Conventions, relaxed: bool) -> Maker:
        """Find where loops may stand and what may be kept."""
        dims = tuple(dim for dim, size in problem.sizes.items() if size > 1)
        places = tuple((at, name) for at, level in enumerate(accelerator.levels)
                       for name in ("", *(axis.name for axis in level.mesh)))  # fmt: skip

        def allowed(dim: str, place: Place) -> bool:
            level, name = place
            return relaxed or not name or accelerator.levels[level].axis(name).allows(dim, problem.indexes(dim))

        free = np.array([[allowed(dim, place) for place in places] for dim in dims], dtype=bool)
        keeps = tuple(bypass_patterns(accelerator, relaxed))
        return cls(problem, accelerator, rules, dims, places, free.reshape(len(dims), len(places)), keeps)

    def draw(self, rng: np.random.Generator) -> tuple[Lot, Bools, Bools]:
        """Draw a lot; give the valid ones, and which draws are too wide and which too large."""
        factors = np.ones((LOT, len(self.dims), len(self.places)), dtype=np.int64)
        for place, dim in enumerate(self.dims):
            factors[:, place, self.free[place]] = _random_factors(
                rng, self.problem.sizes[dim], int(self.free[place].sum())
            )
        pattern = rng.integers(len(self.keeps), size=LOT)
        narrow = np.ones(LOT, dtype=bool)
        for at, (level, name) in enumerate(self.places):
            if name:
                narrow &= factors[:, :, at].prod(axis=1) <= self.accelerator.levels[level].axis(name).size
        rows = np.flatnonzero(narrow)
        rows = rows[self._fits(factors[rows], pattern[rows])]
        large = narrow.copy()
        large[rows] = False
        orders = rng.random((len(rows), len(self.accelerator.levels), len(self.dims))).argsort(axis=2)
        return Lot(rows, pattern[rows], factors[rows], orders), ~narrow, large

    def _fits(self, factors: Ints, pattern: Ints) -> Bools:
        """Say which mappings have room for all tiles at all levels."""
        fits = np.ones(len(factors), dtype=bool)
        for place, level in enumerate(self.accelerator.levels[1:], 1):
            inside = [at for at, (owner, _) in enumerate(self.places) if owner >= place]
            pieces = dict(zip(self.dims, factors[:, :, inside].prod(axis=2).T, strict=True))
            words = element_words(self.problem, level, self.rules)
            taken = np.zeros(len(factors))
            for column, role in enumerate(ROLES):
                kept = np.array([role in keeps[place] for keeps in self.keeps])[pattern]
                if kept.any():
                    own = np.where(kept, self._tile(role, pieces) * words[column], 0.0)
                    taken += own
                    fits &= own <= usable_words(level, self.rules, role)
            fits &= taken <= usable_words(level, self.rules)
        return fits

    def _tile(self, role: str, pieces: dict[str, Ints]) -> Ints:
        operand, one = self.problem.operands[role], np.ones(1, dtype=np.int64)
        words: Ints = np.asarray(math.prod((pieces.get(dim, one) for dim in operand.dims), start=one))
        for window in operand.windows:
            exact = self.rules.exact_windows or role != "I"
            words = words * piece_words(window, [pieces.get(dim, one) for dim in window.dims], exact)
        return words

    def batches(self, lots: Sequence[Lot]) -> Iterator[tuple[MappingBatch, Ints]]:
        """Group mappings by structure: kept tensors, and how many cycles of loops each level needs."""
        pattern = np.concatenate([lot.pattern for lot in lots])
        factors, orders = np.concatenate([lot.factors for lot in lots]), np.concatenate([lot.orders for lot in lots])
        temporal = [at for at, (_, name) in enumerate(self.places) if not name]
        cycle = _cycles(factors[:, :, temporal] > 1, orders)
        keys = np.concatenate([pattern[:, None], cycle.max(axis=1, initial=0) + 1], axis=1)
        unique, inverse = np.unique(keys, axis=0, return_inverse=True)
        for group, (keeps, *cycles) in enumerate(unique.tolist()):
            rows = np.flatnonzero(inverse.reshape(-1) == group)
            yield self._batch(self.keeps[keeps], cycles, factors[rows], cycle[rows]), rows

    def _batch(self, keeps: tuple[tuple[str, ...], ...], cycles: list[int], factors: Ints, cycle: Ints) -> MappingBatch:
        slots, trips = [], []
        for at, (level, name) in enumerate(self.places):
            repeated = range(1 if name else cycles[level])
            for turn, place in itertools.product(repeated, np.flatnonzero(self.free[:, at])):
                slots.append(Slot(level, self.dims[place], name))
                here = factors[:, place, at]
                trips.append(here if name else np.where(cycle[:, place, level] == turn, here, 1))
        inside = dict.fromkeys(self.dims, np.ones(len(factors), dtype=np.int64))
        steps = np.empty((len(factors), len(slots)), dtype=np.int64)
        for column in reversed(range(len(slots))):
            dim = slots[column].dim
            steps[:, column] = inside[dim]
            inside[dim] = inside[dim] * trips[column]
        names = tuple(level.name for level in self.accelerator.levels)
        return MappingBatch(Structure(names, keeps, tuple(slots)), steps)


def _cycles(active: Bools, orders: Ints) -> Ints:
    """Give the cycle of all dims in which each loop stands, so that loops with steps follow one another as drawn.

    Args:
        active: Whether a loop makes steps; (n, dims, levels).
        orders: Places of the dims, outermost first; (n, levels, dims).

    Returns:
        From 0, loops without steps 0; (n, dims, levels).
    """
    n, n_dims, n_levels = active.shape
    cycle = np.zeros((n, n_dims, n_levels), dtype=np.int64)
    rows, levels = np.arange(n)[:, None], np.arange(n_levels)[None, :]
    last, turn = np.full((n, n_levels), -1), np.zeros((n, n_levels), dtype=np.int64)
    for position in range(n_dims):
        dim = orders[:, :, position]
        here = active[rows, dim, levels]
        turn += here & (dim < last)
        last = np.where(here, dim, last)
        cycle[rows, dim, levels] = np.where(here, turn, 0)
    return cycle


def _random_factors(rng: np.random.Generator, size: int, parts: int) -> Ints:
    """Draw ordered factorisations uniformly; (LOT, parts)."""
    factors = np.ones((LOT, parts), dtype=np.int64)
    for prime, power in prime_powers(size):
        table = _compositions(power, parts)
        factors *= prime ** table[rng.integers(len(table), size=LOT)].astype(np.int64)
    return factors


@lru_cache(maxsize=256)
def factorisations(size: int, parts: int) -> Ints:
    """List all ordered factorisations of a number; (count, parts).

    Example:
        >>> factorisations(6, 2).tolist()
        [[6, 1], [2, 3], [3, 2], [1, 6]]
    """
    table = np.ones((1, parts), dtype=np.int64)
    for prime, power in prime_powers(size):
        powers = prime ** _compositions(power, parts)[::-1].astype(np.int64)
        table = (table[:, None] * powers[None]).reshape(-1, parts)
    return table


@lru_cache(maxsize=256)
def _compositions(total: int, parts: int) -> NDArray[np.int8]:
    """List the ways to write a number as an ordered sum of some numbers from 0 on.

    Example:
        >>> _compositions(2, 2).tolist()
        [[0, 2], [1, 1], [2, 0]]
    """
    bars = itertools.combinations(range(total + parts - 1), parts - 1)
    edges = [(-1, *bar, total + parts - 1) for bar in bars]
    return (np.diff(np.array(edges, dtype=np.int64), axis=1) - 1).astype(np.int8)
