"""The best mapping of an operator on an accelerator, with proof: `search(operator, accelerator, objective)`.

Interface. The space is every mapping with perfect factors: all tiles, loop orders, spatial unrolling that the mesh axes
can wire, and bypass of the levels that allow it. Spatial vectors of all bypass patterns stand in one queue by their
bounds (compulsory traffic); the best are opened one by one (`branch.solve`) until no bound is better than what has been
found. `Result.lower_bound` is the least bound of what was not looked at, so `Result.gap` 0 is a proof within
`Result.space`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from hwmodels.mapping.mapper.branch import solve
from hwmodels.mapping.mapper.factors import Floats, Ints
from hwmodels.mapping.mapper.goals import Found, Goal, Objective
from hwmodels.mapping.mapper.leaves import Race
from hwmodels.mapping.mapper.linear import Forms, cost_forms
from hwmodels.mapping.mapper.nests import Frame, Nest
from hwmodels.mapping.mapper.rebuild import Ways, batches
from hwmodels.mapping.mapper.results import Point, Result, Space
from hwmodels.mapping.mapper.spatial import SpatialChoices, spatial_choices
from hwmodels.mapping.pricing import element_words, usable_words
from hwmodels.mapping.problem import Problem, problem_on
from hwmodels.mapping.records import Mapping
from hwmodels.mapping.traffic import evaluate
from hwmodels.spatial import REFERENCE, ROLES, Accelerator, Conventions
from workloads.errors import MappingError
from workloads.operator import Operator

__all__ = ["search"]

BUDGET = 200_000
"""Mappings that the cost model is asked for before a search states a gap: some ten seconds of one core."""


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """All spatial vectors with one choice of what each level keeps.

    Attributes:
        frame: What is kept.
        choices: Spatial vectors, by level of the frame.
        forms: Their costs.
        energy: Lower bounds; (n_choices,).
        cycles: Likewise.
    """

    frame: Frame
    choices: SpatialChoices
    forms: Forms
    energy: Floats
    cycles: Floats

    def nest(self, row: int) -> Nest:
        """Give one spatial vector."""
        factors = self.choices.factors[row]
        spans = np.ones((len(factors) + 1, factors.shape[1]), dtype=np.int64)
        spans[:-1] = factors[::-1].cumprod(axis=0)[::-1]
        sizes = self.frame.problem.sizes.values()
        bounds = tuple(int(size // span) for size, span in zip(sizes, spans[0], strict=True))
        passing = self.choices.passing[row : row + 1]
        fill = int(self.choices.fill[row])
        return Nest(self.frame, row, bounds, spans, self.forms, fill, passing, self.choices.loops[row])


def search(
    operator: Operator,
    accelerator: Accelerator,
    objective: Objective = "edp",
    *,
    conventions: Conventions | None = None,
    relaxed: bool = False,
    budget: int = BUDGET,
) -> Result:
    """Find the best mapping with perfect factors, or the whole energy-latency front.

    Args:
        operator: A scalar product of two tensors.
        accelerator: Where it runs.
        objective: "edp", "energy", "latency", or "pareto": all mappings that no other one beats in energy and cycles.
        conventions: What counts include; default: those of the accelerator.
        relaxed: Any dim on any mesh axis, and any level may be bypassed, whatever the device can wire.
        budget: Mappings that the cost model is asked for where bounds are no costs (fill and drain, bursts, windows
            that reach levels further in); when it runs out, the result states a gap.

    Raises:
        MappingError: The operator cannot be mapped; or nothing fits: which tensor needs how much at which level.

    Example:
        >>> from hwmodels.mapping.cases import gemm_operator
        >>> from hwmodels.spatial import REFERENCE, BufferLevel
        >>> dram = BufferLevel(name="DRAM", keeps=ROLES, capacity_words=None, word_bits=8, read_j=1.0, write_j=1.0)
        >>> buffer = BufferLevel(name="Buffer", keeps=ROLES, capacity_words=12, word_bits=8)
        >>> toy = Accelerator(name="toy", levels=(dram, buffer), mac_j=0.0, conventions=REFERENCE)
        >>> found = search(gemm_operator("g", {"M": 4, "N": 4, "K": 4}), toy, "energy")
        >>> found.gap, float(found.cost.energy_j[0])
        (0.0, 80.0)
    """
    rules = accelerator.conventions if conventions is None else conventions
    problem = problem_on(operator, accelerator, rules)
    _require_searchable(problem, accelerator, objective)
    choices = spatial_choices(problem, accelerator, rules, relaxed)
    patterns = list(_patterns(problem, accelerator, rules, choices, relaxed))
    race = Race(Found(Goal(objective)), budget)
    race.tally.bounded += sum(len(pattern.energy) for pattern in patterns)
    opened = _run(patterns, race)
    if not race.found.what:
        raise MappingError(_nothing_fits(problem, accelerator, rules))
    points = tuple(_points(problem, accelerator, rules, race.found))
    space = Space(
        factors="perfect",
        spatial="relaxed: any dim on any axis" if relaxed else "wired: what each mesh axis can carry",
        bypass=len(patterns),
        orders="all",
        conventions=rules.name,
        spatial_vectors=len(choices),
    )
    best = points[0]
    bounds = [race.found.goal.one(energy, cycles) for energy, cycles in race.left]
    value = race.found.goal.one(float(best.cost.energy_j[0]), float(best.cost.cycles[0]))
    return Result(
        operator=operator,
        accelerator=accelerator,
        conventions=rules,
        objective=objective,
        points=points,
        value=value,
        lower_bound=min([value, *bounds]),
        candidates=race.tally.joined,
        bounded=race.tally.bounded,
        evaluated=race.tally.asked,
        opened=opened,
        space=space,
    )


def _require_searchable(problem: Problem, accelerator: Accelerator, objective: str) -> None:
    if objective not in ("edp", "energy", "latency", "pareto"):
        raise MappingError(f"objective {objective!r} is unknown; give edp, energy, latency or pareto")
    if len(accelerator.levels) < 2:
        raise MappingError(f"{accelerator.name} has one level: there is nothing to search; give it a buffer level")
    if problem.operands["O"].windows:
        raise MappingError(
            f"{problem.name}: outputs of several steps meet in one axis of {problem.operands['O'].name!r}; such "
            "mappings can be evaluated but not searched"
        )


def _patterns(
    problem: Problem, accelerator: Accelerator, rules: Conventions, choices: SpatialChoices, relaxed: bool
) -> Iterator[Pattern]:
    """Give all bypass patterns with the bounds of their spatial vectors."""
    fed: dict[tuple[int, int], Floats] = {}
    for keeps in bypass_patterns(accelerator, relaxed):
        frame = Frame(problem, accelerator, rules, keeps)
        reduced = frame.reduced(choices)
        forms = cost_forms(problem, frame.accelerator, rules, frame.keeps, reduced, fed)
        energy, cycles = _compulsory(frame, reduced, forms)
        yield Pattern(frame, reduced, forms, energy, cycles)


def bypass_patterns(accelerator: Accelerator, relaxed: bool) -> Iterator[tuple[tuple[str, ...], ...]]:
    """Give all choices of the tensors that each level keeps; the outermost keeps all.

    Example:
        >>> from hwmodels.spatial import BufferLevel
        >>> dram = BufferLevel(name="DRAM", keeps=ROLES, capacity_words=None, word_bits=8)
        >>> buffer = BufferLevel(name="Buffer", keeps=("W", "I"), capacity_words=12, word_bits=8, bypass=("I",))
        >>> list(bypass_patterns(Accelerator(name="toy", levels=(dram, buffer), mac_j=0.0), relaxed=False))
        [(('W', 'I', 'O'), ('W', 'I')), (('W', 'I', 'O'), ('W',))]
    """
    options = [[tuple(accelerator.levels[0].keeps)]]
    for level in accelerator.levels[1:]:
        free = level.keeps if relaxed or level.bypass is None else level.bypass
        sets = [
            tuple(role for role in level.keeps if role not in passing)
            for count in range(len(free) + 1)
            for passing in itertools.combinations(free, count)
        ]
        options.append(sets)
    yield from itertools.product(*options)


def _compulsory(frame: Frame, choices: SpatialChoices, forms: Forms) -> tuple[Floats, Floats]:
    """Bound every spatial vector: each element that is used makes each way once."""
    sizes = tuple(frame.problem.sizes.values())
    n = len(choices)
    above = np.ones((n, frame.depth + 1, len(sizes)), dtype=np.int64)
    np.cumprod(choices.factors, axis=1, out=above[:, 1:])
    least = np.ones((n, len(frame.flows) + 1))
    for place, flow in enumerate(frame.flows):
        if flow.side:
            passing = sorted(set(range(len(sizes))) - frame.indexed[flow.role])
            end = flow.parent if flow.side == "out" else flow.child
            least[:, place] = frame.used_elements(flow.role) * above[:, end][:, passing].prod(axis=1)
    energy = (forms.energy * least).sum(axis=1)
    cycles = np.maximum(forms.steps, (forms.port * least[:, None, :]).sum(axis=2).max(axis=1, initial=0.0))
    if frame.rules.fill_drain:
        cycles = np.maximum(cycles, forms.steps + choices.fill)
    cycles = np.ceil(cycles * (1.0 - 1e-12))
    return energy + cycles * forms.static_j, cycles


def _run(patterns: list[Pattern], race: Race) -> int:
    """Open spatial vectors, best bounds first, until none is better than what has been found; give how many."""
    energy = np.concatenate([pattern.energy for pattern in patterns])
    cycles = np.concatenate([pattern.cycles for pattern in patterns])
    owner = np.repeat(np.arange(len(patterns)), [len(pattern.energy) for pattern in patterns])
    row = np.concatenate([np.arange(len(pattern.energy)) for pattern in patterns])
    opened = 0
    for place in np.argsort(race.found.goal.value(energy, cycles), kind="stable"):
        if race.found.useful(energy[place : place + 1], cycles[place : place + 1])[0]:
            opened += 1
            solve(patterns[owner[place]].nest(int(row[place])), race)
    return opened


def _points(problem: Problem, accelerator: Accelerator, rules: Conventions, found: Found) -> Iterator[Point]:
    """Give what was found as mappings with their exact costs, by ascending cycles."""
    for way in found.what:
        batch, _ = next(batches(way))
        mapping = _trimmed(batch.mapping(0), problem)
        yield Point(mapping, evaluate(problem, accelerator, mapping, rules, relaxed=True))


def _trimmed(mapping: Mapping, problem: Problem) -> Mapping:
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


def _nothing_fits(problem: Problem, accelerator: Accelerator, rules: Conventions) -> str:
    """Say which tensors need how much where, in the smallest tiles that there are."""
    faults = []
    for place, level in enumerate(accelerator.levels):
        whole = place == 0
        needs = {
            role: (float(used) if whole else 1.0) * float(words)
            for role, used, words in zip(
                ROLES, _elements(problem), element_words(problem, level, rules), strict=True
            )
            if role in level.keeps and (whole or (level.bypass is not None and role not in level.bypass))
        }
        room = usable_words(level, rules)
        parts = ", ".join(f"{role} {words:,.6g}" for role, words in needs.items())
        if sum(needs.values()) > room:
            faults.append(
                f"{level.name} has room for {room:,.6g} words, the smallest tiles need {sum(needs.values()):,.6g}: {parts}"
            )
        for role in level.partitions:
            own = usable_words(level, rules, role)
            if needs.get(role, 0.0) > own:
                faults.append(f"{level.name} has room for {own:,.6g} words of {role}, it needs {needs[role]:,.6g}")
    reason = "; ".join(faults) or "no tile of any level fits"
    return f"{problem.name} does not fit {accelerator.name}: {reason}; give the level more capacity, or let tensors bypass it"


def _elements(problem: Problem) -> list[int]:
    frame = Frame(problem, Accelerator(name="", levels=(), mac_j=0.0), REFERENCE, ())
    return [frame.used_elements(role) for role in range(len(ROLES))]
