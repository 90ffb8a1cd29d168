"""Why nothing fits: which tensor needs how much at which level."""

from __future__ import annotations

from collections.abc import Iterator

from hwmodels.mapping.pricing import element_words, usable_words
from hwmodels.mapping.problem import Problem
from hwmodels.mapping.residency import elements_of
from hwmodels.spatial import ROLES, Accelerator, BufferLevel, Conventions
from workloads.errors import MappingError

__all__ = ["nothing_fits", "require_room"]


def require_room(problem: Problem, accelerator: Accelerator, rules: Conventions) -> None:
    """Refuse an operator that the outermost level cannot hold.

    Args:
        problem: The operator.
        accelerator: Where it has to fit.
        rules: What a word is, and how much of a level is usable.

    Raises:
        MappingError: How much each tensor needs.
    """
    level = accelerator.levels[0]
    needs = {
        role: elements_of(problem.sizes, problem.operands[role], rules) * float(words)
        for role, words in zip(ROLES, element_words(problem, level, rules), strict=True)
    }
    faults = list(_faults(level, rules, needs, "the tensors need"))
    if faults:
        raise MappingError(f"{problem.name} does not fit {accelerator.name}: {'; '.join(faults)}; cut it into parts")


def nothing_fits(problem: Problem, accelerator: Accelerator, rules: Conventions) -> str:
    """Say which tensors need how much where, in the smallest tiles that there are.

    Args:
        problem: The operator.
        accelerator: Where it does not fit.
        rules: What a word is, and how much of a level is usable.
    """
    faults: list[str] = []
    for level in accelerator.levels[1:]:
        held = [role for role in level.keeps if level.bypass is not None and role not in level.bypass]
        words = dict(zip(ROLES, map(float, element_words(problem, level, rules)), strict=True))
        place = accelerator.level_index(level.name)
        needs = {role: words[role] for role in ROLES if role in held and problem.homes.get(role) != place}
        faults += _faults(level, rules, needs, "the smallest tiles need")
    reason = "; ".join(faults) or "no tile of any level fits"
    return (
        f"{problem.name} does not fit {accelerator.name}: {reason}; give the level more capacity, or let tensors "
        "bypass it"
    )


def _faults(level: BufferLevel, rules: Conventions, needs: dict[str, float], who: str) -> Iterator[str]:
    total, room = sum(needs.values()), usable_words(level, rules)
    parts = ", ".join(f"{role} {words:,.6g}" for role, words in needs.items())
    if total > room:
        yield f"{level.name} has room for {room:,.6g} words, {who} {total:,.6g}: {parts}"
    for role in level.partitions:
        own = usable_words(level, rules, role)
        if needs.get(role, 0.0) > own:
            yield f"{level.name} has room for {own:,.6g} words of {role}, it needs {needs[role]:,.6g}"
