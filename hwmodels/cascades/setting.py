"""What the search for a fused mapping knows of a cascade on an accelerator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from hwmodels.cascades.chain import Cascade
from hwmodels.cascades.functions import OnlineForm, engine_for, online_form, parameters_of
from hwmodels.engines import Engine, function_of
from hwmodels.mapping.problem import Problem, problem_on
from hwmodels.spatial import ROLES, Accelerator, Conventions, Role
from workloads.errors import MappingError
from workloads.operator import Operator, Tensor

__all__ = ["Setting", "setting_of"]

WHOLE, PASSING = "whole", "passing"
"""How functions take sums: a whole tile of them lies at the engine's level, or they pass through as they leave it."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A cascade on an accelerator.

    Attributes:
        cascade: What is computed.
        accelerator: Where.
        rules: What counts include.
        problems: The products as the mapper sees them, whole.
        engines: Of each link's functions; None: it has none.
    """

    cascade: Cascade
    accelerator: Accelerator
    rules: Conventions
    problems: tuple[Problem, ...]
    engines: tuple[Engine | None, ...]

    @property
    def pairs(self) -> bool:
        """A second product follows."""
        return len(self.problems) == 2

    @cached_property
    def shared(self) -> tuple[str, ...]:
        """Dims that the loops around all stages may walk: those of what the first product makes."""
        indexed = self.problems[0].operands["O"].indexed
        return tuple(dim for dim, size in self.problems[0].sizes.items() if size > 1 and dim in indexed)

    @cached_property
    def flow(self) -> Role:
        """Role that the results of the first link have in the second product; "": there is none."""
        if not self.pairs:
            return ""
        name = self.cascade.links[0].result.name
        return next(role for role in ROLES[:2] if self.problems[1].operands[role].name == name)

    @cached_property
    def common(self) -> frozenset[str]:
        """Shared dims that index every operand of every product: nothing is shared between two of their indices."""
        return frozenset(
            dim for dim in self.shared if all(problem.indexes(dim) == frozenset(ROLES) for problem in self.problems)
        )

    @cached_property
    def one_by_one(self) -> frozenset[str]:
        """Common dims that no mesh axis can unroll: they are walked one index at a time."""
        axes = [axis for level in self.accelerator.levels for axis in level.mesh]
        return frozenset(dim for dim in self.common if not any(axis.allows(dim, ROLES) for axis in axes))

    @cached_property
    def added(self) -> frozenset[str]:
        """Shared dims that the second product sums over."""
        if not self.pairs:
            return frozenset()
        return frozenset(self.shared) - self.problems[1].operands["O"].indexed

    @cached_property
    def form(self) -> OnlineForm | None:
        """How the first link's rows can be taken in pieces; None: not at all."""
        link = self.cascade.links[0]
        whole = link.kept or not self.pairs or not link.whole_rows <= self.added
        return None if whole else online_form(link)

    @cached_property
    def parameters(self) -> tuple[tuple[int, Tensor, frozenset[str]], ...]:
        """Further operands of functions: link, tensor, shared dims that index it."""
        return tuple(
            (at, tensor, frozenset(dim for item in tensor.axes for _, dim in item.terms) & frozenset(self.shared))
            for at, link in enumerate(self.cascade.links)
            for tensor in parameters_of(link)
        )

    def homes_of(self, role: Role) -> tuple[int, ...]:
        """Give the places of the levels that a tensor can lie whole in, as one that it keeps."""
        device = self.accelerator
        return tuple(
            place
            for place, level in enumerate(device.levels)
            if place and device.instances(place) == 1 and role in level.keeps
        )

    @cached_property
    def handovers(self) -> tuple[int, ...]:
        """Places of the levels in which the second product finds what the first link made."""
        levels = self.accelerator.levels
        return tuple(
            place for place in self.homes_of(self.flow) if levels[place].takes_outputs or "O" in levels[place].keeps
        )

    def may_pass(self, at: int) -> bool:
        """Say whether the functions of a link can take sums as they leave, element by element, each once."""
        link, engine = self.cascade.links[at], self.engines[at]
        if engine is None:
            return True
        once = all(engine.passes.get(function_of(op), 1) == 1 for op in link.functions)
        level = self.accelerator.levels[self.accelerator.level_index(engine.level)]
        return once and not link.whole_rows and "O" in level.keeps

    def as_wide(self, place: int) -> bool:
        """Say whether results that the first product writes into a level are as wide there as the second reads."""
        keeps = "O" in self.accelerator.levels[place].keeps and self.rules.bit_true
        return not keeps or self.problems[0].acc_bits == self.problems[1].operands[self.flow].bits

    def place(self, at: int) -> int:
        """Give the place of the level that a link's engine works on."""
        engine = self.engines[at]
        assert engine is not None
        return self.accelerator.level_index(engine.level)

    def tile_sizes(self, at: int, tile: Mapping[str, int]) -> dict[str, int]:
        """Give the dims of a product's tile."""
        return {dim: tile.get(dim, size) for dim, size in self.problems[at].sizes.items()}

    def stage(self, at: int, tile: Mapping[str, int], source: str) -> Operator:
        """Give the product of a tile; with functions in passing, what leaves it is their result."""
        link = self.cascade.links[at]
        bits = link.result.bits if source == PASSING else link.sums.bits
        outputs = (replace(link.sums, bits=bits),)
        return replace(link.product, dims=self.tile_sizes(at, tile), outputs=outputs)


def setting_of(cascade: Cascade, accelerator: Accelerator, rules: Conventions) -> Setting:
    """Check that a cascade can be fused on an accelerator.

    Raises:
        MappingError: A product that cannot be mapped, or has sliding windows; functions on a host, or on none; nothing
            to fuse; nowhere to hand a tile on.
    """
    problems = []
    for link in cascade.links:
        problem = problem_on(link.product, accelerator, rules)
        windows = [operand for operand in problem.operands.values() if operand.windows]
        if windows:
            raise MappingError(
                f"{problem.name}: {windows[0].name!r} has sliding windows, neighbouring tiles overlap; it is not fused"
            )
        problems.append(problem)
    engines = tuple(engine_for(link, accelerator) if link.functions else None for link in cascade.links)
    if len(problems) == 1 and engines[0] is None:
        raise MappingError(f"{cascade.name}: one product without functions; there is nothing to fuse")
    setting = Setting(cascade, accelerator, rules, tuple(problems), engines)
    if setting.pairs and not setting.handovers:
        raise MappingError(
            f"{cascade.name}: no buffer of {accelerator.name} keeps {setting.flow} of {problems[1].name} and "
            f"takes what {problems[0].name} makes (takes_outputs); its results have to go through "
            f"{accelerator.levels[0].name}"
        )
    return setting
