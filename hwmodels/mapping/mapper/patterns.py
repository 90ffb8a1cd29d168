"""What each level keeps, with all spatial vectors and the bounds of their compulsory traffic."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hwmodels.mapping.mapper.factors import Floats
from hwmodels.mapping.mapper.frames import Frame
from hwmodels.mapping.mapper.linear import Forms, cost_forms
from hwmodels.mapping.mapper.nests import Nest
from hwmodels.mapping.mapper.spatial import SpatialChoices
from hwmodels.mapping.problem import Problem
from hwmodels.spatial import Accelerator, Conventions

__all__ = ["Pattern", "bypass_patterns", "patterns"]


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

    @classmethod
    def of(cls, frame: Frame, choices: SpatialChoices, fed: dict[tuple[int, int], Floats]) -> Pattern:
        """Bound all spatial vectors.

        Args:
            frame: What is kept.
            choices: Spatial vectors, by level of the frame.
            fed: As in `cost_forms`.
        """
        places = [group[0] for group in frame.merged]
        forms = cost_forms(
            frame.problem, frame.accelerator, frame.rules, frame.keeps, choices, places, fed, frame.homes
        )
        return cls(frame, choices, forms, *_compulsory(frame, choices, forms))

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


def patterns(
    problem: Problem, accelerator: Accelerator, rules: Conventions, choices: SpatialChoices, relaxed: bool
) -> Iterator[Pattern]:
    """Give all bypass patterns with the bounds of their spatial vectors.

    Args:
        problem: The operator.
        accelerator: Where it runs.
        rules: What counts include.
        choices: Spatial vectors, by level of the device.
        relaxed: Any level may be bypassed.
    """
    fed: dict[tuple[int, int], Floats] = {}
    for keeps in bypass_patterns(accelerator, relaxed):
        if any(role in accelerator.levels[at].keeps and role not in keeps[at] for role, at in problem.homes.items()):
            continue
        frame = Frame(problem, accelerator, rules, keeps)
        yield Pattern.of(frame, frame.reduced(choices), fed)


def bypass_patterns(accelerator: Accelerator, relaxed: bool) -> Iterator[tuple[tuple[str, ...], ...]]:
    """Give all choices of the tensors that each level keeps; the outermost keeps all.

    Example:
        >>> from hwmodels.spatial import ROLES, BufferLevel
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
