"""The best mapping of an operator on an accelerator, with proof: `search(operator, accelerator, objective)`.

Interface. The space is every mapping with perfect factors: all tiles, loop orders, spatial unrolling that the mesh axes
can wire, and bypass of the levels that allow it; on request also factors that do not divide (`edges`). Spatial vectors
of all bypass patterns stand in one queue by their bounds (compulsory traffic); the best are opened one by one
(`branch.solve`) until no bound is better than what has been found. `Result.lower_bound` is the least bound of what was
not looked at, so `Result.gap` 0 is a proof within `Result.space`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np

from hwmodels.mapping.homes import Resident
from hwmodels.mapping.mapper.branch import solve
from hwmodels.mapping.mapper.edges import Edges, with_edge_tiles
from hwmodels.mapping.mapper.faults import nothing_fits, require_room
from hwmodels.mapping.mapper.goals import Found, Goal, Objective
from hwmodels.mapping.mapper.leaves import Race
from hwmodels.mapping.mapper.patterns import Pattern, patterns
from hwmodels.mapping.mapper.rebuild import batches
from hwmodels.mapping.mapper.results import Point, Result, Space, trimmed
from hwmodels.mapping.mapper.seeds import offer_seeds
from hwmodels.mapping.mapper.spatial import spatial_choices
from hwmodels.mapping.problem import Problem, problem_on
from hwmodels.mapping.records import Mapping
from hwmodels.mapping.residency import with_room
from hwmodels.mapping.traffic import evaluate
from hwmodels.spatial import Accelerator, Conventions
from workloads.errors import MappingError
from workloads.operator import Operator

__all__ = ["BUDGET", "Factors", "search"]

Factors = Literal["perfect", "imperfect"]

BUDGET = 50_000
"""Mappings that the cost model is asked for before a search states a gap: about a minute of one core."""


def search(
    operator: Operator,
    accelerator: Accelerator,
    objective: Objective = "edp",
    *,
    conventions: Conventions | None = None,
    factors: Factors = "perfect",
    relaxed: bool = False,
    budget: int = BUDGET,
    resident: Resident | None = None,
) -> Result:
    """Find the best mapping, or the whole energy-latency front.

    Args:
        operator: A scalar product of two tensors.
        accelerator: Where it runs.
        objective: "edp", "energy", "latency", or "pareto": all mappings that no other one beats in energy and cycles.
        conventions: What counts include; default: those of the accelerator.
        factors: perfect: every trip count divides, with proof; imperfect: better ones with edge tiles are looked for
            besides, and the gap is to a bound of all of these.
        relaxed: Any dim on any mesh axis, and any level may be bypassed, whatever the device can wire.
        budget: Mappings that the cost model is asked for where bounds are no costs (fill and drain, bursts, windows
            that reach levels further in), 400 bounds counting as one; when it runs out, the result states a gap.
        resident: Levels that tensors lie whole in before (O: after) the operator, by role: see `residency`.

    Raises:
        MappingError: The operator cannot be mapped; or nothing fits: which tensor needs how much at which level.

    Example:
        >>> from hwmodels.mapping.cases import gemm_operator
        >>> from hwmodels.spatial import REFERENCE, ROLES, BufferLevel
        >>> dram = BufferLevel(name="DRAM", keeps=ROLES, capacity_words=None, word_bits=8, read_j=1.0, write_j=1.0)
        >>> buffer = BufferLevel(name="Buffer", keeps=ROLES, capacity_words=12, word_bits=8)
        >>> toy = Accelerator(name="toy", levels=(dram, buffer), mac_j=0.0, conventions=REFERENCE)
        >>> found = search(gemm_operator("g", {"M": 4, "N": 4, "K": 4}), toy, "energy")
        >>> found.gap, float(found.cost.energy_j[0])
        (0.0, 80.0)
    """
    rules = accelerator.conventions if conventions is None else conventions
    problem = problem_on(operator, accelerator, rules, resident)
    device, accelerator = accelerator, with_room(problem, accelerator, rules)
    _require_searchable(problem, accelerator, objective, factors)
    problem = _without_constant_windows(problem)
    require_room(problem, accelerator, rules)
    choices = spatial_choices(problem, accelerator, rules, relaxed)
    every = list(patterns(problem, accelerator, rules, choices, relaxed))
    race = Race(Found(Goal(objective)), budget)
    race.tally.bounded += sum(len(pattern.energy) for pattern in every)
    offer_seeds(problem, accelerator, rules, every, race, relaxed, _run)
    opened = _run(every, race)
    edges = Edges(_points(problem, accelerator, rules, race.found), _lower_bound(race), len(choices))
    if factors == "imperfect":
        edges = with_edge_tiles(problem, accelerator, rules, race, edges, relaxed)
    if not edges.points:
        raise MappingError(nothing_fits(problem, accelerator, rules))
    value = race.found.goal.one(float(edges.points[0].cost.energy_j[0]), float(edges.points[0].cost.cycles[0]))
    space = Space(
        factors=factors,
        spatial="relaxed: any dim on any axis" if relaxed else "wired: what each mesh axis can carry",
        bypass=len(every),
        orders="all",
        conventions=rules.name,
        spatial_vectors=edges.spatial_vectors,
    )
    return Result(
        operator=operator,
        accelerator=device,
        conventions=rules,
        resident={} if resident is None else dict(resident),
        objective=objective,
        points=edges.points,
        value=value,
        lower_bound=min(value, edges.lower_bound),
        candidates=race.tally.joined,
        bounded=race.tally.bounded,
        evaluated=race.tally.asked,
        opened=opened,
        space=space,
    )


def _require_searchable(problem: Problem, accelerator: Accelerator, objective: str, factors: str) -> None:
    if objective not in ("edp", "energy", "latency", "pareto"):
        raise MappingError(f"objective {objective!r} is unknown; give edp, energy, latency or pareto")
    if factors not in ("perfect", "imperfect"):
        raise MappingError(f"factors {factors!r} is unknown; give perfect or imperfect")
    if len(accelerator.levels) < 2:
        raise MappingError(f"{accelerator.name} has one level: there is nothing to search; give it a buffer level")
    if problem.operands["O"].windows:
        raise MappingError(
            f"{problem.name}: outputs of several steps meet in one axis of {problem.operands['O'].name!r}; such "
            "mappings can be evaluated but not searched"
        )


def _without_constant_windows(problem: Problem) -> Problem:
    """Drop the axes of inputs of which the operator uses one index: padding made them windows."""
    operands = {}
    for role, operand in problem.operands.items():
        constant = [window for window in operand.windows if not window.terms]
        if any(window.extent is not None and not 0 <= window.offset < window.extent for window in constant):
            raise MappingError(
                f"{problem.name}: all that it uses of {operand.name!r} lies in the padding; there is nothing to map"
            )
        if constant:
            kept = [place for place, window in enumerate(operand.windows) if window.terms]
            layout = tuple(entry if isinstance(entry, str) else kept.index(entry) for entry in operand.layout
                           if isinstance(entry, str) or entry in kept)  # fmt: skip
            operand = replace(operand, windows=tuple(operand.windows[place] for place in kept), layout=layout)
        operands[role] = operand
    return replace(problem, operands=operands)


def _run(patterns: list[Pattern], race: Race) -> int:
    """Look into spatial vectors, always that with the least bound, until none is better; give how many were opened."""
    energy = np.concatenate([pattern.energy for pattern in patterns])
    cycles = np.concatenate([pattern.cycles for pattern in patterns])
    owner = np.repeat(np.arange(len(patterns)), [len(pattern.energy) for pattern in patterns])
    row = np.concatenate([np.arange(len(pattern.energy)) for pattern in patterns])
    value = race.found.goal.value(energy, cycles)
    queue = [(float(value[place]), int(place)) for place in np.argsort(value, kind="stable")]
    running: dict[int, Iterator[float]] = {}
    opened = 0
    while queue:
        bound, place = heapq.heappop(queue)
        if not race.open_below(bound):
            break
        if place not in running:
            if race.spent:
                race.leave(energy[place : place + 1], cycles[place : place + 1])
                continue
            if not race.found.useful(energy[place : place + 1], cycles[place : place + 1])[0]:
                continue
            opened += 1
            running[place] = solve(patterns[owner[place]].nest(int(row[place])), race)
        left = next(running[place], None)
        if left is None:
            del running[place]
        else:
            heapq.heappush(queue, (left, place))
    return opened


def _points(problem: Problem, accelerator: Accelerator, rules: Conventions, found: Found) -> tuple[Point, ...]:
    """Give what was found as mappings, by ascending cycles, priced by the cost model: it has to agree."""
    points = []
    for way, energy, cycles in zip(found.what, found.energy, found.cycles, strict=True):
        mapping = way if isinstance(way, Mapping) else trimmed(next(batches(way))[0].mapping(0), problem)
        cost = evaluate(problem, accelerator, mapping, rules, relaxed=True)
        if not np.allclose([cost.energy_j[0], cost.cycles[0]], [energy, cycles], rtol=1e-9, atol=0.0):
            raise AssertionError(
                f"{problem.name} on {accelerator.name}: the mapper counts {energy} J and {cycles} cycles, the cost "
                f"model {cost.energy_j[0]} J and {cost.cycles[0]} cycles; please report the operator and the device"
            )
        points.append(Point(mapping, cost))
    return tuple(points)


def _lower_bound(race: Race) -> float:
    """Give the least value of what was left unlooked at; inf: nothing was."""
    found = race.found
    if found.goal.objective != "pareto":
        return min((found.goal.one(energy, cycles) for energy, cycles in race.left), default=math.inf)
    farthest = max(
        (float(np.maximum(found.energy / energy, found.cycles / cycles).min()) for energy, cycles in race.left),
        default=0.0,
    )
    return found.goal.one(found.energy[0], found.cycles[0]) / farthest if farthest > 1.0 else math.inf
