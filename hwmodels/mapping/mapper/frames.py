"""What a search knows of one operator on one accelerator with one choice of kept tensors: a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from hwmodels.mapping.mapper.factors import Floats
from hwmodels.mapping.mapper.linear import Flow, flows_of
from hwmodels.mapping.mapper.orders import Dims, OrderClass, order_classes, window_orders
from hwmodels.mapping.mapper.spatial import SpatialChoices
from hwmodels.mapping.pricing import element_words
from hwmodels.mapping.problem import Operand, Problem, Window
from hwmodels.spatial import ROLES, Accelerator, Conventions

__all__ = ["Frame"]


@dataclass(frozen=True, eq=False)
class Frame:
    """An operator, an accelerator, what each level keeps, and how traffic is counted; dims and roles by place.

    Attributes:
        problem: The operator.
        device: Where it runs.
        rules: Counting conventions.
        all_keeps: Roles that each level of the device holds.
    """

    problem: Problem
    device: Accelerator
    rules: Conventions
    all_keeps: tuple[tuple[str, ...], ...]

    @cached_property
    def merged(self) -> tuple[tuple[int, ...], ...]:
        """Levels of the device, by level here: one that keeps nothing is part of the next outer one.

        At least one is left below the outermost.
        """
        groups: list[list[int]] = [[0]]
        last = len(self.all_keeps) - 1
        for place, roles in enumerate(self.all_keeps[1:], 1):
            if roles or place in self.problem.homes.values() or (place == last and len(groups) == 1):
                groups.append([place])
            else:
                groups[-1].append(place)
        return tuple(map(tuple, groups))

    @cached_property
    def level_names(self) -> tuple[str, ...]:
        """Levels of the device."""
        return tuple(level.name for level in self.device.levels)

    @cached_property
    def keeps(self) -> tuple[tuple[str, ...], ...]:
        """Roles that each level holds."""
        return tuple(self.all_keeps[group[0]] for group in self.merged)

    @cached_property
    def homes(self) -> dict[int, int]:
        """Levels that tensors lie whole in, by place of the tensor."""
        first = [group[0] for group in self.merged]
        return {ROLES.index(role): first.index(place) for role, place in self.problem.homes.items()}

    @cached_property
    def outlet(self) -> int:
        """Level that finished outputs are written into."""
        return self.homes.get(ROLES.index("O"), 0)

    @cached_property
    def accelerator(self) -> Accelerator:
        """The device without the levels that keep nothing."""
        levels = tuple(self.device.levels[group[0]] for group in self.merged)
        return replace(self.device, levels=levels, engines=())  # an engine's level may be one that is left out

    def reduced(self, choices: SpatialChoices) -> SpatialChoices:
        """Give spatial vectors by level of this frame."""
        factors = np.stack([choices.factors[:, list(group)].prod(axis=1) for group in self.merged], axis=1)
        passing = np.stack([choices.passing[:, list(group)].max(axis=1) for group in self.merged], axis=1)
        return replace(choices, factors=factors, passing=passing)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Dims, in the operator's order."""
        return tuple(self.problem.sizes)

    @cached_property
    def depth(self) -> int:
        """Number of levels."""
        return len(self.keeps)

    @cached_property
    def operands(self) -> tuple[Operand, ...]:
        """W, I, O."""
        return tuple(self.problem.operands[role] for role in ROLES)

    @cached_property
    def indexed(self) -> tuple[Dims, ...]:
        """Of each tensor, the dims that index it."""
        return tuple(frozenset(map(self.names.index, operand.indexed)) for operand in self.operands)

    @cached_property
    def windowed(self) -> tuple[Dims, ...]:
        """Of each tensor, the dims that share an axis with another one."""
        return tuple(
            frozenset(self.names.index(dim) for window in operand.windows for dim in window.dims)
            for operand in self.operands
        )

    @cached_property
    def flows(self) -> tuple[Flow, ...]:
        """Tensors on their way between levels."""
        return flows_of(self.keeps, [role for role, dims in zip(ROLES, self.windowed, strict=True) if dims])

    @cached_property
    def words(self) -> tuple[Floats, ...]:
        """Words that an element of W, I, O takes, by level."""
        return tuple(element_words(self.problem, level, self.rules) for level in self.accelerator.levels)

    @cached_property
    def deep_windows(self) -> list[int]:
        """Flows of tensors with windows between inner levels: what they move depends on the loops of several levels."""
        return [place for place, flow in enumerate(self.flows) if flow.side and flow.child > 1]

    def used_elements(self, role: int) -> int:
        """Count the elements of a tensor that the whole operator uses."""
        operand, sizes = self.operands[role], self.problem.sizes
        return math.prod(sizes[dim] for dim in operand.dims) * math.prod(
            used_indices(window, tuple(sizes[dim] for dim in window.dims)) for window in operand.windows
        )

    @cached_property
    def child_of(self) -> tuple[tuple[int, ...], ...]:
        """By tensor and level, the next inner level that keeps the tensor; 0: the MACs, or it is not kept here."""
        table = []
        for role in ROLES:
            kept = [level for level, roles in enumerate(self.keeps) if role in roles]
            table.append(
                tuple(
                    min((at for at in kept if at > level), default=0) * (level in kept) for level in range(self.depth)
                )
            )
        return tuple(table)

    @cached_property
    def complete(self) -> bool:
        """Say whether the order classes of `classes` and `orders` leave out none that may be better.

        They do where windows are kept at three levels: what moves into the third depends on the order of the loops of
        level 2, of which only the classes for stationary runs are looked at.
        """
        return not any(flow.side and flow.child > 2 for flow in self.flows)

    @cached_property
    def exact(self) -> bool:
        """Say whether unknowns and linear forms give costs exactly, not only bounds of them."""
        rules = self.rules
        levels = self.accelerator.levels
        serial = rules.device_buffering and any(level.buffering == "serial" for level in levels)
        bursts = rules.bursts and levels[0].burst_bits > 0
        return self.complete and not (rules.fill_drain or bursts or serial)

    def below(self, level: int) -> list[int]:
        """Give the flows whose child is inside a level: those that its loops drive."""
        return [place for place, flow in enumerate(self.flows) if flow.child > level]

    def _driven(self, level: int) -> list[int]:
        return sorted({self.flows[place].role for place in self.below(level)})

    @cached_property
    def classes(self) -> tuple[tuple[OrderClass, ...], ...]:
        """Order classes of each level's loops but for windows: any order has runs that are part of one class."""
        every = []
        for level in range(self.depth):
            roles = self._driven(level)
            found = order_classes(len(self.names), tuple(self.indexed[role] for role in roles))
            every.append(tuple(self._by_role(item, roles) for item in found))
        return tuple(every)

    def orders(self, level: int, active: Dims) -> tuple[OrderClass, ...]:
        """Give the orders of a level's loops that can differ, when only some dims have a loop.

        Args:
            level: Whose loops.
            active: Dims with a loop.
        """
        roles = self._driven(level)
        if not any(self.windowed[role] for role in roles):
            return self.classes[level]
        whole = tuple(self.indexed[role] - self.windowed[role] if self.windowed[role] else None for role in roles)
        found = window_orders(active, tuple(self.indexed[role] for role in roles), whole)
        return tuple(self._by_role(item, roles) for item in found)

    def covering(self, item: OrderClass) -> list[int]:
        """Give the classes of the outermost loops whose stationary runs hold those of an order."""
        return [
            place
            for place, other in enumerate(self.classes[0])
            if all(mine <= theirs for mine, theirs in zip(item.runs, other.runs, strict=True))
        ]

    def _by_role(self, item: OrderClass, roles: list[int]) -> OrderClass:
        """Give an order class with a run for every role: empty for those with nothing to gain."""
        runs = [item.runs[roles.index(role)] if role in roles else frozenset() for role in range(len(ROLES))]
        return OrderClass(item.order, tuple(runs))


@lru_cache(maxsize=1024)
def used_indices(window: Window, sizes: tuple[int, ...]) -> int:
    """Count the stored indices of an axis that its dims reach.

    Example:
        >>> used_indices(Window(((2, "p"), (1, "r")), offset=-1, extent=8), (4, 3))
        8
    """
    reached = np.full(1, window.offset, dtype=np.int64)
    for (coefficient, _), size in zip(window.terms, sizes, strict=True):
        reached = np.unique(np.add.outer(reached, coefficient * np.arange(size)))
    return int(len(reached) if window.extent is None else ((reached >= 0) & (reached < window.extent)).sum())
