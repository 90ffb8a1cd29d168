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

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.draws import LOT, Lot, Maker
from hwmodels.mapping.mapper.results import trimmed
from hwmodels.mapping.problem import Problem, problem_on
from hwmodels.mapping.records import Mapping, MappingBatch
from hwmodels.spatial import Accelerator, Conventions
from workloads.errors import MappingError
from workloads.operator import Operator

__all__ = ["Sample", "random_mappings"]

Ints = NDArray[np.int64]

MOST_DRAWS = 20_000
"""Draws per mapping that is asked for, before a search for valid ones gives up."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Random valid mappings.

    Attributes:
        problem: The operator.
        batches: By structure; each row fits.
        places: Of each batch, which draw each row was: 0 to n - 1.
        drawn: Mappings that were drawn up to the last valid one, valid or not.
        too_wide: Of these, those that asked a mesh axis for too much.
        too_large: Of the rest, those whose tiles do not fit.
    """

    problem: Problem
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

    def mapping(self, place: int) -> Mapping:
        """Give one of the mappings: loops of one step are left out.

        Args:
            place: Which draw, from 0.
        """
        for batch, places in zip(self.batches, self.places, strict=True):
            row = np.flatnonzero(places == place)
            if row.size:
                return trimmed(batch.mapping(int(row[0])), self.problem)
        raise MappingError(f"{self.problem.name}: no random mapping {place}; there are {len(self)}")


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
    maker = Maker.of(problem, accelerator, rules, relaxed)
    rng = np.random.default_rng(seed)
    lots: list[Lot] = []
    drawn = too_wide = too_large = found = 0
    while found < n:
        if drawn > MOST_DRAWS * n:
            raise MappingError(
                f"{problem.name} on {accelerator.name}: {found} of {drawn:,} random mappings are valid, {too_wide:,} "
                f"ask a mesh axis for too many instances, {too_large:,} tiles do not fit; search() finds what there is"
            )
        lot, wide, large = maker.draw(rng)
        short = min(len(lot.draws), n - found)
        last = int(lot.draws[short - 1]) + 1 if found + short == n else LOT
        drawn, found = drawn + last, found + short
        too_wide, too_large = too_wide + int(wide[:last].sum()), too_large + int(large[:last].sum())
        lots.append(lot.first(short))
    batches, places = zip(*maker.batches(lots), strict=True)
    return Sample(problem=problem, batches=batches, places=places, drawn=drawn, too_wide=too_wide, too_large=too_large)
