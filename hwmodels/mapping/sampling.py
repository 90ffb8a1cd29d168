"""Random valid mappings, as Timeloop's random mapper draws them: `random_mappings(operator, accelerator, n, seed=0)`.

A mapping is drawn as independent uniform choices, and drawn again as a whole if it is not valid; so every valid tuple
of choices is as likely as any other:

- factors: of each dim, all ordered factorisations over the temporal loops of all levels and over the mesh axes whose
  wires can unroll it,
- orders: of each level, all orders of the dims, each mapping and level for itself, however many dims there are,
- bypass: all choices of kept tensors that the levels allow.

Not valid is what asks an axis for more instances than it has, or a level for more room than is usable.

Loops of one step cost nothing wherever they stand. So a level's loops are written as a cycle of all dims, repeated: a
mapping takes its loops in the drawn order from the first cycle, and from the next one where its order turns back; all
other loops of the cycles make one step. A few structures then hold any number of mappings of any order, and `evaluate`
counts them as arrays.

Source: Parashar et al., Timeloop: A Systematic Approach to DNN Accelerator Evaluation, ISPASS 2019 (random sampling of
the mapspace: index factorisation, loop permutation, level bypass; mappings that do not fit are drawn again). There one
spatial factor per dim and level is cut into axes at a random place; here every axis draws its own.
"""

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
from hwmodels.mapping.problem import Problem, problem_on
from hwmodels.mapping.records import MappingBatch, Slot, Structure
from hwmodels.mapping.windows import piece_words
from hwmodels.spatial import ROLES, Accelerator, Conventions
from workloads.errors import MappingError
from workloads.operator import Operator

__all__ = ["Sample", "random_mappings"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Place = tuple[int, str]
"""(level, mesh axis); "": its temporal loops."""

LOT = 1 << 14
"""Draws at a time; fixed, so that a larger sample begins with the smaller one of the same seed."""
MOST_DRAWS = 20_000
"""Draws per mapping that is asked for, before a search for valid ones gives up."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Random valid mappings.

    Attributes:
        batches: By structure; each row fits.
        places: Of each batch, which draw each row was: 0 to n - 1.
        drawn: Mappings that were drawn up to the last valid one, valid or not.
        too_wide: Of these, those that asked a mesh axis for too much.
        too_large: Of the rest, those whose tiles do not fit.
    """

    batches: tuple[MappingBatch, ...]
    places: tuple[Ints, ...]
    drawn: int
    too_wide: int
    too_large: int

    def __len__(self) -> int:
        return sum(map(len, self.batches))

    @property
    def acceptance(self) -> float:
        """Share of valid mappings among the drawn ones."""
        return len(self) / self.drawn


def random_mappings(
    operator: Operator | Problem,
    accelerator: Accelerator,
    n: int,
    *,
    seed: int | np.random.Generator,
    conventions: Conventions | None = None,
    relaxed: bool = False,
) -> Sample:
    """Draw random valid mappings.

    Args:
        operator: A scalar product of two tensors (or what `problem_on` made of it with the same conventions).
        accelerator: Where it runs.
        n: How many.
        seed: Same seed, same mappings; the first of a larger sample are those of a smaller one.
        conventions: What room counts as usable; default: those of the accelerator.
        relaxed: Any dim on any mesh axis, and any level may be bypassed.

    Raises:
        MappingError: n is less than 1, the operator cannot be mapped, or next to no draw is valid: how many were too
            wide and how many too large.

    Example:
        >>> import hwmodels
        >>> from hwmodels.mapping.cases import gemm_operator
        >>> gemm = gemm_operator("g", {"M": 64, "N": 64, "K": 64})
        >>> sample = random_mappings(gemm, hwmodels.load("gemmini"), 100, seed=0)
        >>> len(sample), len(sample) < sample.drawn
        (100, True)
    """
    if n < 1:
        raise MappingError(f"{operator.name}: {n} random mappings; ask for at least 1")
    rules = accelerator.conventions if conventions is None else conventions
    problem = operator if isinstance(operator, Problem) else problem_on(operator, accelerator, rules)
    maker = _Maker.of(problem, accelerator, rules, relaxed)
    rng = np.random.default_rng(seed)
    lots: list[_Lot] = []
    drawn = too_wide = too_large = found = 0
    while found < n:
        if drawn > MOST_DRAWS * n:
            raise MappingError(
                f"{problem.name} on {accelerator.name}: {found} of {drawn:,} random mappings are valid, {too_wide:,} ask "
                f"a mesh axis for too many instances, {too_large:,} tiles do not fit; search() finds what there is"
            )
        lot, wide, large = maker.draw(rng)
        short = min(len(lot.draws), n - found)
        last = int(lot.draws[short - 1]) + 1 if found + short == n else LOT
        drawn, found = drawn + last, found + short
        too_wide, too_large = too_wide + int(wide[:last].sum()), too_large + int(large[:last].sum())
        lots.append(lot.first(short))
    batches, places = zip(*maker.batches(lots), strict=True)
    return Sample(batches=batches, places=places, drawn=drawn, too_wide=too_wide, too_large=too_large)


@dataclass(frozen=True, slots=True, eq=False)
class _Lot:
    """Valid mappings: (n,) which draws they are, (n,) kept tensors, (n, dims, places) factors, (n, levels, dims) orders."""

    draws: Ints
    pattern: Ints
    factors: Ints
    orders: Ints

    def first(self, n: int) -> _Lot:
        return _Lot(self.draws[:n], self.pattern[:n], self.factors[:n], self.orders[:n])


@dataclass(frozen=True, slots=True, eq=False)
class _Maker:
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
    def of(cls, problem: Problem, accelerator: Accelerator, rules: Conventions, relaxed: bool) -> _Maker:
        dims = tuple(dim for dim, size in problem.sizes.items() if size > 1)
        places = tuple((at, name) for at, level in enumerate(accelerator.levels)
                       for name in ("", *(axis.name for axis in level.mesh)))  # fmt: skip

        def allowed(dim: str, place: Place) -> bool:
            level, name = place
            return relaxed or not name or accelerator.levels[level].axis(name).allows(dim, problem.indexes(dim))

        free = np.array([[allowed(dim, place) for place in places] for dim in dims], dtype=bool)
        keeps = tuple(bypass_patterns(accelerator, relaxed))
        return cls(problem, accelerator, rules, dims, places, free.reshape(len(dims), len(places)), keeps)

    def draw(self, rng: np.random.Generator) -> tuple[_Lot, Bools, Bools]:
        """Draw a lot; give the valid ones, and which draws are too wide and which too large."""
        factors = np.ones((LOT, len(self.dims), len(self.places)), dtype=np.int64)
        for place, dim in enumerate(self.dims):
            factors[:, place, self.free[place]] = _factorisations(rng, self.problem.sizes[dim], int(self.free[place].sum()))
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
        return _Lot(rows, pattern[rows], factors[rows], orders), ~narrow, large

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

    def batches(self, lots: Sequence[_Lot]) -> Iterator[tuple[MappingBatch, Ints]]:
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


def _factorisations(rng: np.random.Generator, size: int, parts: int) -> Ints:
    """Draw ordered factorisations uniformly; (LOT, parts)."""
    factors = np.ones((LOT, parts), dtype=np.int64)
    for prime, power in prime_powers(size):
        table = _compositions(power, parts)
        factors *= prime ** table[rng.integers(len(table), size=LOT)].astype(np.int64)
    return factors


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
