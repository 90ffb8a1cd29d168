"""How good random mappings are: the energy-delay products of a random sample beside the best one, drawn and proven.

Interface. `mapspace(operator, accelerator, n, seed)` draws n valid mappings (`sampling`), prices all of them
(`traffic.evaluate`) and finds the optimum (`mapper.search`). All figures are relative to a base: "sampled", the best
mapping of the sample, as published studies do, or "optimum".

Source: Kim et al., Full Stack Optimization of Transformer Inference, arXiv 2302.14017, section 5.5.1, Figs. 18 and 19:
100,000 random valid mappings, EDP over the least one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.mapper.results import Result
from hwmodels.mapping.mapper.search import search
from hwmodels.mapping.problem import problem_on
from hwmodels.mapping.records import Mapping, MappingBatch
from hwmodels.mapping.sampling import random_mappings
from hwmodels.mapping.traffic import evaluate
from hwmodels.spatial import Accelerator, Conventions
from workloads.errors import MappingError
from workloads.operator import Operator

__all__ = ["Base", "Mapspace", "mapspace"]

Base = Literal["sampled", "optimum"]

ROWS = 4096
"""Mappings that are priced together: their arrays stay in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mapspace:
    """A random sample of an operator's valid mappings, priced.

    Attributes:
        operator: What is computed.
        accelerator: On what.
        conventions: How it was counted.
        energy_j: Of each mapping, in the order in which they were drawn [J]; (n,).
        cycles: Likewise; (n,).
        best: The sampled mapping with the least energy x cycles.
        optimum: What the search found, and its lower bound.
        acceptance: Share of valid mappings among the drawn ones.
        draw_s: CPU time of drawing [s].
        price_s: CPU time of pricing [s].
    """

    operator: Operator
    accelerator: Accelerator
    conventions: Conventions
    energy_j: NDArray[np.float64]
    cycles: NDArray[np.float64]
    best: Mapping
    optimum: Result
    acceptance: float
    draw_s: float
    price_s: float

    def __len__(self) -> int:
        return len(self.cycles)

    @property
    def edp_j_cycles(self) -> NDArray[np.float64]:
        """Energy x cycles of each mapping, in the order in which they were drawn [J x cycles]; (n,)."""
        return self.energy_j * self.cycles

    def base(self, base: Base = "sampled") -> float:
        """Give what figures are relative to: energy x cycles of the best sampled mapping, or of the optimum.

        Raises:
            MappingError: Unknown base.
        """
        if base not in ("sampled", "optimum"):
            raise MappingError(f"base {base!r} is unknown; give sampled or optimum")
        return float(self.edp_j_cycles.min()) if base == "sampled" else self.optimum.value

    def relative(self, base: Base = "sampled") -> NDArray[np.float64]:
        """Give energy x cycles over the base, ascending; (n,)."""
        return np.sort(self.edp_j_cycles) / self.base(base)

    def percentile(self, percent: float, base: Base = "sampled") -> float:
        """Give the energy x cycles over the base that so many percent of the mappings do not exceed."""
        return float(np.percentile(self.relative(base), percent))

    def share_below(self, times: float, base: Base = "sampled") -> float:
        """Give the share of the mappings that are within so many times the base."""
        return float((self.relative(base) < times).mean())

    @property
    def decades(self) -> float:
        """Range from the best to the worst sampled mapping, in powers of ten."""
        return float(np.log10(self.edp_j_cycles.max() / self.edp_j_cycles.min()))

    def best_after(self, draws: int) -> float:
        """Give the best of the first mappings over the optimum."""
        return float(self.edp_j_cycles[:draws].min() / self.optimum.value)


def mapspace(
    operator: Operator,
    accelerator: Accelerator,
    n: int = 100_000,
    seed: int | np.random.Generator = 0,
    *,
    conventions: Conventions | None = None,
    relaxed: bool = False,
) -> Mapspace:
    """Draw and price random valid mappings, and find the optimum beside them.

    Args:
        operator: A scalar product of two tensors.
        accelerator: Where it runs.
        n: How many mappings.
        seed: Same seed, same sample.
        conventions: What counts include; default: those of the accelerator.
        relaxed: Do not hold the spatial loops to what the mesh axes can wire, nor bypass to what each level allows.

    Raises:
        MappingError: See `random_mappings` and `search`.

    Example:
        >>> import hwmodels
        >>> from hwmodels.mapping.cases import gemm_operator
        >>> found = mapspace(gemm_operator("g", {"M": 64, "N": 64, "K": 64}), hwmodels.load("gemmini"), 200)
        >>> found.percentile(10, "optimum") >= found.percentile(10) >= 1.0
        True
    """
    rules = accelerator.conventions if conventions is None else conventions
    problem = problem_on(operator, accelerator, rules)
    start = time.process_time()
    sample = random_mappings(problem, accelerator, n, seed=seed, conventions=rules, relaxed=relaxed)
    drawn = time.process_time()
    energy, cycles = np.empty(n), np.empty(n)
    for batch, places in zip(sample.batches, sample.places, strict=True):
        for first in range(0, len(batch), ROWS):
            part = MappingBatch(batch.structure, batch.steps[first : first + ROWS])
            cost = evaluate(problem, accelerator, part, rules, relaxed)
            rows = places[first : first + ROWS]
            energy[rows], cycles[rows] = cost.energy_j, cost.cycles
    return Mapspace(
        operator=operator,
        accelerator=accelerator,
        conventions=rules,
        energy_j=energy,
        cycles=cycles,
        best=sample.mapping(int(np.argmin(energy * cycles))),
        price_s=time.process_time() - drawn,
        draw_s=drawn - start,
        acceptance=sample.acceptance,
        optimum=search(operator, accelerator, conventions=rules, relaxed=relaxed),
    )
