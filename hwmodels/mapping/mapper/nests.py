"""What a search knows of one operator on one accelerator: a frame for all spatial vectors, a nest for one of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.mapper.factors import Codes, Floats, Ints, divisors, grid, unary_codes
from hwmodels.mapping.mapper.linear import Flow, Forms, flows_of
from hwmodels.mapping.mapper.orders import OrderClass, order_classes, window_orders
from hwmodels.mapping.mapper.spatial import SpatialChoices, Unrolled
from hwmodels.mapping.pricing import element_words, usable_words
from hwmodels.mapping.problem import Operand, Problem, Window
from hwmodels.mapping.windows import piece_words
from hwmodels.spatial import ROLES, Accelerator, Conventions

__all__ = ["Dims", "Frame", "Nest", "Tiles", "subset_product"]

Bools = NDArray[np.bool_]
Dims = frozenset[int]


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
            if roles or (place == last and len(groups) == 1):
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
    def accelerator(self) -> Accelerator:
        """The device without the levels that keep nothing."""
        return replace(self.device, levels=tuple(self.device.levels[group[0]] for group in self.merged))

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

    def _by_role(self, item: OrderClass, roles: list[int]) -> OrderClass:
        """Give an order class with a run for every role: empty for those with nothing to gain."""
        runs = [item.runs[roles.index(role)] if role in roles else frozenset() for role in range(len(ROLES))]
        return OrderClass(item.order, tuple(runs))


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tiles of one level, without the spatial part: one array per dim, and the code of `unary_codes`.

    Attributes:
        values: Of each dim, shape (n,).
        code: Shape (n,).
        index: Of each dim, the place among the divisors of its bound; (n,).
    """

    values: tuple[Floats, ...]
    code: Codes
    index: tuple[Ints, ...]

    def __len__(self) -> int:
        return len(self.code)

    def take(self, rows: Ints | Bools) -> Tiles:
        """Give some of them."""
        return Tiles(
            tuple(value[rows] for value in self.values), self.code[rows], tuple(place[rows] for place in self.index)
        )


def subset_product(values: Sequence[Floats], dims: Iterable[int]) -> Floats | float:
    """Multiply the values of some dims; 1.0 for none."""
    total: Floats | float = 1.0
    for dim in dims:
        total = values[dim] * total
    return total


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


@dataclass(frozen=True, eq=False)
class Nest:
    """One spatial vector of a frame.

    Attributes:
        frame: What it belongs to.
        choice: Its place among the spatial vectors.
        bounds: What is left of each dim for temporal loops.
        spans: Spatial factors at and inside each level; (levels + 1, dims).
        forms: Costs of all spatial vectors.
        fill: Cycles in which the array fills and drains.
        passing: As `SpatialChoices.passing`, its row; (1, levels, roles).
        loops: Spatial loops, by level of the device.
    """

    frame: Frame
    choice: int
    bounds: tuple[int, ...]
    spans: Ints
    forms: Forms
    fill: int
    passing: Ints
    loops: tuple[Unrolled, ...]

    def tiles(self, level: int) -> Tiles:
        """Enumerate the tiles that a level's buffers can hold; of the innermost level, only with loops that it is for.

        Loops of the innermost level that index nothing it keeps may as well run above it: they are left out.
        """
        frame = self.frame
        kept = [ROLES.index(role) for role in frame.keeps[level]]
        useful = frozenset().union(*(frame.indexed[role] for role in kept))
        free = [level < frame.depth - 1 or dim in useful for dim in range(len(self.bounds))]
        columns = [
            np.array(divisors(bound), dtype=np.float64) if here else np.ones(1)
            for bound, here in zip(self.bounds, free, strict=True)
        ]
        codes = [code[: len(column)] for code, column in zip(unary_codes(self.bounds), columns, strict=True)]
        values = grid(columns)
        code = np.bitwise_or.reduce(grid(codes), axis=0)
        index = tuple(grid([np.arange(len(column)) for column in columns]))
        tiles = Tiles(tuple(values), code, index)  # type: ignore[arg-type]
        return tiles.take(np.flatnonzero(self.fits(level, tiles.values)))

    def footprint(self, role: int, level: int, values: Sequence[Floats]) -> Floats | float:
        """Count the elements of a tensor that one copy of a level holds."""
        frame = self.frame
        operand, names, span = frame.operands[role], frame.names, self.spans[level]
        dims = [names.index(dim) for dim in operand.dims]
        words = subset_product(values, dims) * float(np.prod(span[dims]))
        for window in operand.windows:
            sizes = [(values[names.index(dim)] * span[names.index(dim)]).astype(np.int64) for dim in window.dims]
            words = words * piece_words(window, sizes, frame.rules.exact_windows)  # type: ignore[assignment]
        return words

    def least_footprint(self, role: int, level: int, values: Sequence[Floats]) -> Floats | float:
        """Count the elements of a tensor that the work on a tile of a level uses, gaps in its windows left out."""
        operand, names, span = self.frame.operands[role], self.frame.names, self.spans[level]
        dims = [names.index(dim) for dim in operand.dims]
        words = subset_product(values, dims) * float(np.prod(span[dims]))
        for window in operand.windows:
            sizes = [(values[names.index(dim)] * span[names.index(dim)]).astype(np.int64) for dim in window.dims]
            words = words * piece_words(window, sizes, True)  # type: ignore[assignment]
        return words

    def demand(self, level: int, values: Sequence[Floats]) -> list[tuple[int, Floats | float]]:
        """Give the words that each tensor takes in a level: (role, words)."""
        roles = [ROLES.index(role) for role in self.frame.keeps[level]]
        return [(role, self.footprint(role, level, values) * self.frame.words[level][role]) for role in roles]

    def room(self, role: int, level: int, values: Sequence[Floats]) -> Bools:
        """Say for which tiles a level has room for one tensor, were it alone there."""
        buffer, rules = self.frame.accelerator.levels[level], self.frame.rules
        most = min(usable_words(buffer, rules), usable_words(buffer, rules, ROLES[role]))
        words = self.footprint(role, level, values) * self.frame.words[level][role]
        return np.broadcast_to(np.asarray(words <= most), len(values[0]))

    def fits(self, level: int, values: Sequence[Floats]) -> Bools:
        """Say which tiles a level's buffers can hold."""
        buffer, rules = self.frame.accelerator.levels[level], self.frame.rules
        total: Floats | float = 0.0
        good = np.ones(len(values[0]), dtype=bool)
        for role, words in self.demand(level, values):
            total = words + total
            if ROLES[role] in buffer.partitions:
                good &= words <= usable_words(buffer, rules, ROLES[role])
        return good & (total <= usable_words(buffer, rules))
