"""What a search gives back: mappings with their exact costs, the bound that they were held against, and its space."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hwmodels.mapping.homes import Resident
from hwmodels.mapping.mapper.goals import Goal, Objective
from hwmodels.mapping.problem import Problem
from hwmodels.mapping.records import Mapping
from hwmodels.mapping.text import mapping_text
from hwmodels.mapping.traffic import Traffic
from hwmodels.spatial import Accelerator, Conventions
from workloads.operator import Operator

__all__ = ["Point", "Result", "Space", "trimmed"]


@dataclass(frozen=True, slots=True)
class Space:
    """What a search ranged over: a proof holds within it.

    Attributes:
        factors: perfect: every trip count divides; imperfect: edge tiles.
        spatial: What the mesh axes may unroll.
        bypass: Choices of what each level keeps.
        orders: Of the temporal loops.
        conventions: How traffic and time are counted.
        spatial_vectors: Ways to unroll that differ in what they cost.
    """

    factors: str
    spatial: str
    bypass: int
    orders: str
    conventions: str
    spatial_vectors: int

    def __str__(self) -> str:
        return (
            f"{self.factors} factors, {self.orders} orders, {_many(self.bypass, 'bypass pattern')}, "
            f"{_many(self.spatial_vectors, 'spatial vector')} ({self.spatial}), {self.conventions} conventions"
        )


def _many(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A mapping and what it costs.

    Attributes:
        mapping: How.
        cost: Of this one mapping.
    """

    mapping: Mapping
    cost: Traffic


def trimmed(mapping: Mapping, problem: Problem) -> Mapping:
    """Give a mapping without the loops that make one step.

    Args:
        mapping: What to trim.
        problem: Its operator.
    """
    left = dict(problem.sizes)
    levels = []
    for level in mapping.levels:
        kinds = []
        for loops in (level.temporal, level.spatial):
            kept = []
            for loop in loops:
                if left[loop.dim] > loop.step:
                    kept.append(loop)
                left[loop.dim] = loop.step
            kinds.append(tuple(kept))
        levels.append(replace(level, temporal=kinds[0], spatial=kinds[1]))
    return Mapping(tuple(levels))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """What a search found. Printed, it is the loop nest of the best mapping, which `parse_mapping` reads back.

    Attributes:
        operator: What is computed.
        accelerator: On what.
        conventions: How it was counted.
        objective: What was looked for.
        points: The best; for "pareto" the whole front, by ascending cycles.
        value: Of the objective at the first point: energy [J], cycles, or their product.
        lower_bound: No mapping of the space has less. For "pareto", value / (1 + e): no mapping has less than
            1 / (1 + e) of the energy and of the cycles of all points.
        candidates: Mappings whose cost, or a bound of it, was computed one by one.
        bounded: Classes of mappings that one bound was computed for.
        evaluated: Mappings that the cost model was asked for besides.
        opened: Spatial vectors whose tiles were looked at.
        space: What was ranged over.
        resident: Levels that tensors lie whole in, by role.
    """

    operator: Operator
    accelerator: Accelerator
    conventions: Conventions
    objective: Objective
    points: tuple[Point, ...]
    value: float
    lower_bound: float
    candidates: int
    bounded: int
    evaluated: int
    opened: int
    space: Space
    resident: Resident = field(default_factory=dict)

    @property
    def mapping(self) -> Mapping:
        """The best mapping."""
        return self.points[0].mapping

    @property
    def cost(self) -> Traffic:
        """What it costs."""
        return self.points[0].cost

    @property
    def gap(self) -> float:
        """Relative distance of the best to the lower bound; 0: proven."""
        return (self.value - self.lower_bound) / self.value if self.value else 0.0

    def objective_at(self, place: int) -> float:
        """Give the value of the objective at a point; of a front, energy x cycles."""
        cost = self.points[place].cost
        return Goal(self.objective).one(float(cost.energy_j[0]), float(cost.cycles[0]))

    def __str__(self) -> str:
        return mapping_text(self.mapping, self.operator.dims)
