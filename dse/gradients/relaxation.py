"""The cost model of `hwmodels.mapping` for tile sizes between the whole numbers: what all formulas share.

A *point* of a batch is a mapping whose choices are numbers that a gradient can move: the logarithms of its factors (how
far every dim is cut at every level and spread over every mesh axis; they sum to the logarithm of the dim), weights over
the loop orders of every level, and a weight for every tensor that a level may keep. With whole factors, one order per
level and whole weights a point is a mapping, and its costs are those of `evaluate` (`exact` rounds cycles and bursts up
as it does); in between the formulas are continuous.

Two places need more than the formulas themselves: a loop of one step is no loop, whereas one of two steps or more
ends the stationary run of a tensor that it indexes; and a tile's elements lie side by side with those of the next row
only if the row is whole. Both pass from one to the other linearly in the logarithm of a factor between 1 and 2.

Source: the formulas of `hwmodels.mapping.mapper.linear`; gradients over tile sizes after Hong et al., DOSA:
Differentiable Model-Based One-Loop Search for DNN Accelerators, MICRO 2023.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.draws import Maker
from hwmodels.mapping.mapper.orders import order_classes
from hwmodels.mapping.pricing import element_words, usable_words
from hwmodels.mapping.problem import problem_on
from hwmodels.spatial import ROLES, Accelerator, Conventions
from workloads.errors import MappingError
from workloads.operator import Operator

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HALF", "Hardware", "Point", "Relaxation", "relax"]

HALF = math.log(2.0)
"""Logarithm of the least factor that makes steps."""
ENDLESS = 1e300
"""Words of a level without a capacity: infinity times the gradient 0 is no number."""


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A batch of points.

    Attributes:
        logs: Logarithms of the factors; (n, dims, places), places as in `Relaxation.places`.
        orders: Weights of the loop orders of each level, 1 together; (n, levels, orders).
        kept: Weights of the tensors that each level keeps, 0 to 1; (n, levels, roles).
    """

    logs: Tensor
    orders: Tensor
    kept: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Hardware:
    """What a gradient may turn besides: numbers of the levels, by point or for all; (n, levels) or (levels,).

    Attributes:
        read_j: Energy of reading a word [J].
        write_j: Energy of writing a word [J].
        usable: Words that tiles may take.
        static_w: Power that flows whatever runs [W]; (n,) or ().
    """

    read_j: Tensor
    write_j: Tensor
    usable: Tensor
    static_w: Tensor


@dataclass(frozen=True, eq=False)
class Relaxation:
    """An operator on an accelerator, ready for points.

    Attributes:
        maker: Dims, places and kept tensors that there are to choose from.
    """

    maker: Maker

    @property
    def accelerator(self) -> Accelerator:
        """Where it runs."""
        return self.maker.accelerator

    @property
    def rules(self) -> Conventions:
        """What counts include."""
        return self.maker.rules

    @property
    def depth(self) -> int:
        """Number of levels."""
        return len(self.accelerator.levels)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the dims that are longer than 1."""
        return tuple(self.maker.problem.sizes[dim] for dim in self.maker.dims)

    @cached_property
    def indexed(self) -> NDArray[np.bool_]:
        """Which dims index which tensor; (roles, dims)."""
        operands = [self.maker.problem.operands[role] for role in ROLES]
        return np.array([[dim in operand.indexed for dim in self.maker.dims] for operand in operands], dtype=bool)

    @cached_property
    def elements(self) -> NDArray[np.float64]:
        """Size of each tensor; (roles,)."""
        return np.array([math.prod(np.array(self.sizes)[row]) for row in self.indexed], dtype=np.float64)

    @cached_property
    def orders(self) -> NDArray[np.int64]:
        """Loop orders of a level that can differ in cost, innermost dim first; (orders, dims)."""
        indexed = tuple(frozenset(map(int, np.flatnonzero(row))) for row in self.indexed)
        classes = order_classes(len(self.sizes), indexed)
        return np.array([item.order for item in classes], dtype=np.int64).reshape(len(classes), len(self.sizes))

    @cached_property
    def words(self) -> NDArray[np.float64]:
        """Words of an element of each tensor at each level; (levels, roles)."""
        return np.stack([element_words(self.maker.problem, level, self.rules) for level in self.accelerator.levels])

    @cached_property
    def may_keep(self) -> NDArray[np.bool_]:
        """Which tensors some choice lets each level keep; (levels, roles)."""
        return np.asarray(self.kept_choices.any(axis=0))

    @cached_property
    def must_keep(self) -> NDArray[np.bool_]:
        """Which tensors every choice lets each level keep; (levels, roles)."""
        return np.asarray(self.kept_choices.all(axis=0))

    @cached_property
    def kept_choices(self) -> NDArray[np.bool_]:
        """What each choice of kept tensors keeps; (choices, levels, roles)."""
        return np.array([[[role in roles for role in ROLES] for roles in keeps] for keeps in self.maker.keeps])

    def temporal(self, level: int) -> int:
        """Give the place of a level's temporal loops."""
        return self.maker.places.index((level, ""))

    def spatial(self, level: int) -> list[int]:
        """Give the places of the mesh axes below a level."""
        return [at for at, (owner, name) in enumerate(self.maker.places) if owner == level and name]

    def hardware(self) -> Hardware:
        """Give the accelerator's own numbers."""
        import torch

        levels = self.accelerator.levels
        usable = [min(float(usable_words(level, self.rules)), ENDLESS) for level in levels]
        columns = ([level.read_j for level in levels], [level.write_j for level in levels], usable,
                   self.accelerator.static_w)  # fmt: skip
        return Hardware(*[torch.tensor(column, dtype=torch.float64) for column in columns])

    def point(self, factors: NDArray[np.int64], orders: NDArray[np.int64], pattern: NDArray[np.int64]) -> Point:
        """Give mappings as points.

        Args:
            factors: Whole factors; (n, dims, places).
            orders: Place of each level's order in `orders`; (n, levels).
            pattern: Place of the kept tensors in `maker.keeps`; (n,).
        """
        import torch

        weights = np.eye(len(self.orders))[orders]
        return Point(
            torch.log(torch.tensor(factors, dtype=torch.float64)),
            torch.tensor(weights, dtype=torch.float64),
            torch.tensor(self.kept_choices[pattern], dtype=torch.float64),
        )


def relax(
    operator: Operator, accelerator: Accelerator, *, conventions: Conventions | None = None, relaxed: bool = False
) -> Relaxation:
    """Prepare an operator on an accelerator for gradients.

    Args:
        operator: A scalar product of two tensors without sliding windows.
        accelerator: Where it runs; every level that stops the work inside it while it loads is refused.
        conventions: What counts include; default: those of the accelerator.
        relaxed: Any dim on any mesh axis, and any level may be bypassed.

    Raises:
        MappingError: The operator cannot be mapped, or its traffic has no closed form here.

    Example:
        >>> import hwmodels
        >>> from hwmodels.mapping.cases import gemm_operator
        >>> found = relax(gemm_operator("g", {"M": 64, "N": 64, "K": 64}), hwmodels.load("gemmini"))
        >>> found.sizes, found.orders[:, 0].tolist()
        ((64, 64, 64), [0, 1, 2])
    """
    rules = accelerator.conventions if conventions is None else conventions
    problem = problem_on(operator, accelerator, rules)
    windows = [operand.name for operand in problem.operands.values() if operand.windows]
    if windows:
        raise MappingError(
            f"{problem.name}: {windows[0]!r} has a sliding window, whose traffic has no closed form; "
            "hwmodels.mapping.search maps it"
        )
    serial = [level.name for level in accelerator.levels if level.buffering == "serial" and rules.device_buffering]
    if serial:
        raise MappingError(
            f"{accelerator.name}: level {serial[0]} stops the work inside it while it loads, which gradients do not "
            "cover; hwmodels.mapping.search maps it"
        )
    return Relaxation(Maker.of(problem, accelerator, rules, relaxed))
