"""The cost model of a mapped operator: `evaluate(operator, accelerator, mappings) -> Traffic`.

Interface. `mappings` is one `Mapping`, a sequence of them (any structures), or a `MappingBatch` (one structure, arrays
of steps: fast). All arrays of `Traffic` have the mappings first: (n,), (n, levels) or (n, levels, roles), levels
outermost first, roles in the order W, I, O. Counts are elements, summed over all instances of a level.

Counts, after the Timeloop definitions:

- reads of a level serve the next inner level that keeps the tensor, or the MACs; fills come from the next outer one.
- A child is sent what its new tile holds beyond its previous one (sets of indices, each instance walking its own
  loops).
- A word for several children in the same step is read once and filled once per child; partial sums of parallel children
  for the same output in the same step are one update.
- MACs have no registers: the level that feeds them is read at every step.
- The first accumulation into an output starts from zero: reads of O = updates - partition; fills of O = exchanged
  words - partition, where partition is the number of distinct words that ever visit the instance.
- Edge tiles are counted with their true sizes.

Costs: `pricing`. What does not fit has infinite cycles and energy, and `tile_words` stands beside `usable_words`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.checks import check_structure
from hwmodels.mapping.counting import Counts, count_moves
from hwmodels.mapping.homes import Resident
from hwmodels.mapping.pricing import Price, price_counts
from hwmodels.mapping.problem import Problem, problem_on
from hwmodels.mapping.records import Mapping, MappingBatch, Structure
from hwmodels.mapping.residency import with_room
from hwmodels.spatial import ROLES, Accelerator, Conventions
from workloads.errors import MappingError
from workloads.operator import Operator

__all__ = ["Traffic", "evaluate"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traffic:
    """What mappings move and cost. First axis: mappings; levels outermost first; roles W, I, O.

    Attributes:
        levels: Names.
        macs: Multiply-accumulates of the operator.
        instances: Copies of a level that hold data; (n, levels).
        tile: Elements that one copy has room for: of the largest tile, wherever padding may cut it; (n, levels, roles).
        partition: Distinct elements that ever visit a copy, summed over the copies; (n, levels, roles).
        reads: Elements read out of the level; (n, levels, roles).
        fills: Elements written into it from outside; (n, levels, roles).
        updates: (Partial) sums written into it from inside; (n, levels, roles).
        compute_cycles: Steps of the nest over MACs per cycle; (n,).
        cycles: Of the whole operator; (n,).
        bound: Place in `bounds` of what the cycles are; (n,).
        bounds: "compute", "DRAM read", "DRAM write", ...
        utilization: MACs / (cycles x MAC instances); (n,).
        read_words: Words read out of the level, bursts included; (n, levels, roles).
        written_words: Words written into it, from outside and inside; (n, levels, roles).
        level_j: Energy of each level and role [J]; (n, levels, roles).
        mac_j: Energy of the multiply-accumulates [J].
        other_j: Energy of what is not mapped (reading a bias) and of static power [J]; (n,).
        energy_j: Of the whole operator [J]; (n,).
        latency_s: Cycles at the accelerator's clock [s]; (n,).
        tile_words: Words of a level's capacity that each tile takes; (n, levels, roles).
        usable_words: What is usable of it, by all tensors together; (levels,); inf: unbounded.
        level_fits: All tiles fit in the level, those with a partition of their own also in that; (n, levels).
    """

    levels: tuple[str, ...]
    macs: int
    instances: NDArray[np.int64]
    tile: NDArray[np.int64]
    partition: NDArray[np.int64]
    reads: NDArray[np.int64]
    fills: NDArray[np.int64]
    updates: NDArray[np.int64]
    compute_cycles: NDArray[np.float64]
    cycles: NDArray[np.float64]
    bound: NDArray[np.int64]
    bounds: tuple[str, ...]
    utilization: NDArray[np.float64]
    read_words: NDArray[np.float64]
    written_words: NDArray[np.float64]
    level_j: NDArray[np.float64]
    mac_j: float
    other_j: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    tile_words: NDArray[np.float64]
    usable_words: NDArray[np.float64]
    level_fits: NDArray[np.bool_]

    @property
    def fits(self) -> NDArray[np.bool_]:
        """All tiles fit; (n,)."""
        return np.asarray(self.level_fits.all(axis=1))

    @property
    def edp_j_cycles(self) -> NDArray[np.float64]:
        """Energy-delay product [J x cycles]; (n,)."""
        return self.energy_j * self.cycles

    def __len__(self) -> int:
        return len(self.cycles)

    def require_fit(self, row: int = 0) -> None:
        """Refuse a mapping whose tiles do not fit.

        Args:
            row: Which mapping.

        Raises:
            MappingError: Each level that is too small, and how many words each tensor's tile needs there.
        """
        if self.fits[row]:
            return
        faults = []
        for place, level in enumerate(self.levels):
            parts = [
                f"{role} {tile:,} elements = {words:,.6g} words"
                for role, tile, words in zip(ROLES, self.tile[row, place], self.tile_words[row, place], strict=True)
                if tile
            ]
            if not self.level_fits[row, place]:
                need = self.tile_words[row, place].sum()
                faults.append(
                    f"level {level} has room for {self.usable_words[place]:,.6g} words, the tiles need {need:,.6g}: "
                    f"{', '.join(parts)}; hand it smaller pieces"
                )
        raise MappingError("\n".join(faults))


def evaluate(
    operator: Operator | Problem,
    accelerator: Accelerator,
    mappings: Mapping | MappingBatch | Sequence[Mapping],
    conventions: Conventions | None = None,
    relaxed: bool = False,
    resident: Resident | None = None,
) -> Traffic:
    """Count what mappings move, and what that costs.

    Args:
        operator: A scalar product of two tensors (or what `problem_on` made of it with the same conventions).
        accelerator: Where it runs.
        mappings: One, several, or a batch of one structure.
        conventions: What counts include; default: those of the accelerator.
        relaxed: Do not hold the spatial loops to what the mesh axes can wire, nor bypass to what each level allows.
        resident: Levels that tensors lie whole in before (O: after) the operator, by role: see `residency`. Of a
            `Problem` its own homes count, and the accelerator has room for them already (`with_room`).

    Raises:
        MappingError: The operator cannot be mapped, or a mapping is not valid for it: unknown level, dim or axis, a dim
            that is not covered, more instances than an axis has, a dim that an axis cannot unroll.

    Source: Parashar et al., Timeloop: A Systematic Approach to DNN Accelerator Evaluation, ISPASS 2019.
    """
    rules = accelerator.conventions if conventions is None else conventions
    if isinstance(operator, Problem):
        problem = operator
    else:
        problem = problem_on(operator, accelerator, rules, resident)
        accelerator = with_room(problem, accelerator, rules)
    if isinstance(mappings, MappingBatch):
        return _evaluate_batch(problem, accelerator, mappings, rules, relaxed)
    each = [mappings] if isinstance(mappings, Mapping) else list(mappings)
    if not each:
        raise MappingError(f"{problem.name}: no mapping to evaluate")
    groups: dict[Structure, list[int]] = {}
    for row, mapping in enumerate(each):
        groups.setdefault(mapping.structure(), []).append(row)
    parts = []
    for structure, rows in groups.items():
        steps = np.array([[loop.step for loop in each[row].loops()] for row in rows], dtype=np.int64)
        batch = MappingBatch(structure, steps.reshape(len(rows), -1))
        parts.append(_evaluate_batch(problem, accelerator, batch, rules, relaxed))
    return _joined(parts, np.concatenate([np.array(rows) for rows in groups.values()]))


def _evaluate_batch(
    problem: Problem, accelerator: Accelerator, batch: MappingBatch, rules: Conventions, relaxed: bool
) -> Traffic:
    check_structure(problem, accelerator, batch, relaxed)
    counts: Counts = count_moves(problem, accelerator, rules, batch.structure, batch.steps)
    price: Price = price_counts(problem, accelerator, rules, batch.structure, counts)
    return Traffic(
        levels=batch.structure.levels,
        macs=problem.macs,
        instances=counts.instances,
        tile=counts.tile,
        partition=counts.partition,
        reads=counts.reads,
        fills=counts.fills,
        updates=counts.updates,
        **{entry.name: getattr(price, entry.name) for entry in fields(price)},
    )


def _joined(parts: Sequence[Traffic], order: NDArray[np.int64]) -> Traffic:
    """Put the rows of several batches into one, at the places that `order` names."""
    if len(parts) == 1:
        return parts[0]
    back = np.argsort(order)
    columns: dict[str, Any] = {}
    for entry in fields(Traffic):
        values = [getattr(part, entry.name) for part in parts]
        rows = isinstance(values[0], np.ndarray) and entry.name != "usable_words"
        columns[entry.name] = np.concatenate(values)[back] if rows else values[0]
    return Traffic(**columns)
