"""A first mapping where bounds are loose: the best of a simpler problem, priced as it is.

Windows that move between inner levels are counted in closed form only as boxes, without padding and under perfect
overlap. The optimum of that problem is a valid mapping of the true one, since its tiles are no smaller; it spares the
search from crawling through mappings that have good bounds and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hwmodels.mapping.mapper.goals import Found
from hwmodels.mapping.mapper.leaves import Race
from hwmodels.mapping.mapper.patterns import Pattern, patterns
from hwmodels.mapping.mapper.rebuild import batches
from hwmodels.mapping.mapper.results import trimmed
from hwmodels.mapping.mapper.spatial import spatial_choices
from hwmodels.mapping.problem import Problem
from hwmodels.mapping.traffic import evaluate
from hwmodels.spatial import Accelerator, Conventions

__all__ = ["offer_seeds"]

SHARE = 4
"""Of the budget, one part in so many goes to the simpler problem."""


def offer_seeds(
    problem: Problem,
    accelerator: Accelerator,
    rules: Conventions,
    every: Sequence[Pattern],
    race: Race,
    relaxed: bool,
    run: Callable[[list[Pattern], Race], int],
) -> None:
    """Offer the best mappings of the simpler problem to a race, if bounds are loose in the true one.

    Args:
        problem: The operator.
        accelerator: Where it runs.
        rules: What counts include.
        every: Patterns of the true problem.
        race: Of the search.
        relaxed: Any dim on any axis, any level may be bypassed.
        run: Runs patterns in a race.
    """
    if not any(pattern.frame.deep_windows and not pattern.frame.exact for pattern in every):
        return
    simple = replace(rules, name="seed", exact_windows=False, fill_drain=False, bursts=False, forwarding=False)
    levels = (replace(lv, buffering="shadow") if lv.buffering == "serial" else lv for lv in accelerator.levels)
    device = replace(accelerator, levels=tuple(levels))
    whole = _without_padding(problem)
    choices = spatial_choices(whole, device, simple, relaxed)
    first = Race(Found(race.found.goal), max(race.budget // SHARE, 1), race.tally)
    run(list(patterns(whole, device, simple, choices, relaxed)), first)
    for way in first.found.what:
        batch, _ = next(batches(way))
        mapping = trimmed(batch.mapping(0), problem)
        cost = evaluate(problem, accelerator, mapping, rules, relaxed=True)
        race.found.offer(cost.energy_j, cost.cycles, lambda row: mapping)  # noqa: B023


def _without_padding(problem: Problem) -> Problem:
    operands = {
        role: replace(operand, windows=tuple(replace(window, offset=0, extent=None) for window in operand.windows))
        for role, operand in problem.operands.items()
    }
    return replace(problem, operands=operands)
