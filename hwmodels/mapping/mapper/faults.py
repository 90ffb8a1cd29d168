"""Why nothing fits: which tensor needs how much at which level."""

from __future__ import annotations

from hwmodels.mapping.mapper.nests import Frame
from hwmodels.mapping.pricing import element_words, usable_words
from hwmodels.mapping.problem import Problem
from hwmodels.spatial import REFERENCE, ROLES, Accelerator, Conventions

__all__ = ["nothing_fits"]


def nothing_fits(problem: Problem, accelerator: Accelerator, rules: Conventions) -> str:
    """Say which tensors need how much where, in the smallest tiles that there are.

    Args:
        problem: The operator.
        accelerator: Where it does not fit.
        rules: What a word is, and how much of a level is usable.
    """
    faults = []
    for place, level in enumerate(accelerator.levels):
        whole = place == 0
        needs = {
            role: (float(used) if whole else 1.0) * float(words)
            for role, used, words in zip(ROLES, _elements(problem), element_words(problem, level, rules), strict=True)
            if role in level.keeps and (whole or (level.bypass is not None and role not in level.bypass))
        }
        room = usable_words(level, rules)
        parts = ", ".join(f"{role} {words:,.6g}" for role, words in needs.items())
        if sum(needs.values()) > room:
            faults.append(
                f"{level.name} has room for {room:,.6g} words, the smallest tiles need "
                f"{sum(needs.values()):,.6g}: {parts}"
            )
        for role in level.partitions:
            own = usable_words(level, rules, role)
            if needs.get(role, 0.0) > own:
                faults.append(f"{level.name} has room for {own:,.6g} words of {role}, it needs {needs[role]:,.6g}")
    reason = "; ".join(faults) or "no tile of any level fits"
    return (
        f"{problem.name} does not fit {accelerator.name}: {reason}; give the level more capacity, or let tensors "
        "bypass it"
    )


def _elements(problem: Problem) -> list[int]:
    frame = Frame(problem, Accelerator(name="", levels=(), mac_j=0.0), REFERENCE, ())
    return [frame.used_elements(role) for role in range(len(ROLES))]
