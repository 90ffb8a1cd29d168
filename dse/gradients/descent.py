"""Gradient search over mappings: many random starts go down together, and are rounded to mappings on the way.

`descend(operator, accelerator)` minimises energy x cycles of a batch of points by Adam (Kingma and Ba, ICLR 2015). What
does not fit is paid for by the logarithm of demand over room, at a price per octave above what an octave of buffer ever
saves, so that the least point fits. The maximum over ports is blurred at first, and weights of orders and kept tensors
are soft; both harden as the descent goes on. After each round every point is rounded (`rounding`), and the best mapping
of all rounds is priced by the cost model itself.

Source: Hong et al., DOSA: Differentiable Model-Based One-Loop Search for DNN Accelerators, MICRO 2023 (gradient descent
over tile sizes, loop orders and buffers, rounded to divisors every few hundred steps).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dse.gradients.costing import costs
from dse.gradients.relaxation import Point, Relaxation, relax
from dse.gradients.rounding import Rounded, round_points
from hwmodels.mapping.mapper.results import trimmed
from hwmodels.mapping.records import Mapping
from hwmodels.mapping.traffic import Traffic, evaluate
from hwmodels.spatial import Accelerator, Conventions
from workloads.errors import MappingError
from workloads.operator import Operator

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Descended", "Variables", "descend"]

PENALTY = 8.0
"""Price of demand over room: log(energy x cycles) per log(words). Twice the buffer saves at most half of the energy and
of the cycles: 2 per octave."""
BLUR = (0.5, 0.02)
SOFTNESS = (1.0, 0.15)
"""From the first step to the last, in geometric progression: p-norm of ports, temperature of weights."""


@dataclass(frozen=True, slots=True, eq=False)
class Variables:
    """What Adam moves; points follow from them.

    Attributes:
        shares: Softmax over places: how a dim's logarithm is shared out; (n, dims, places).
        orders: Softmax over orders; (n, levels, orders).
        kept: Sigmoid, where a level may keep a tensor or not; (n, levels, roles).
    """

    shares: Tensor
    orders: Tensor
    kept: Tensor

    @classmethod
    def random(cls, relaxation: Relaxation, n: int, rng: np.random.Generator) -> Variables:
        """Start at random."""
        import torch

        maker, depth = relaxation.maker, relaxation.depth
        shapes = ((n, len(maker.dims), len(maker.places)), (n, depth, len(relaxation.orders)),
                  (n, depth, relaxation.may_keep.shape[1]))  # fmt: skip
        return cls(*[torch.tensor(rng.normal(size=shape), requires_grad=True) for shape in shapes])

    def point(self, relaxation: Relaxation, softness: float) -> Point:
        """Give the points."""
        import torch

        free, may, must = (
            torch.tensor(part) for part in (relaxation.maker.free, relaxation.may_keep, relaxation.must_keep)
        )
        logs = torch.log(torch.tensor(relaxation.sizes, dtype=torch.float64))[:, None]
        shares = torch.softmax(torch.where(free, self.shares, -torch.inf), dim=2)
        kept = torch.where(must, 1.0, torch.where(may, torch.sigmoid(self.kept / softness), 0.0))
        return Point(shares * logs, torch.softmax(self.orders / softness, dim=2), kept)

    def tensors(self) -> list[Tensor]:
        """List what Adam moves."""
        return [self.shares, self.orders, self.kept]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Descended:
    """What a descent found.

    Attributes:
        mapping: The best.
        cost: What the cost model says of it.
        relaxed: Least energy x cycles of a point that fits, before rounding [J x cycles].
        trace: After each round: CPU time so far [s], and energy x cycles of the best mapping so far [J x cycles].
        starts: Points.
        steps: Of Adam, each of all points.
    """

    mapping: Mapping
    cost: Traffic
    relaxed: float
    trace: tuple[tuple[float, float], ...]
    starts: int
    steps: int

    @property
    def value(self) -> float:
        """Energy x cycles of the mapping [J x cycles]."""
        return float(self.cost.edp_j_cycles[0])

    @property
    def cpu_s(self) -> float:
        """CPU time of the whole descent [s]."""
        return self.trace[-1][0]


def descend(
    operator: Operator,
    accelerator: Accelerator,
    *,
    seed: int | np.random.Generator,
    conventions: Conventions | None = None,
    relaxed: bool = False,
    starts: int = 128,
    steps: int = 240,
    rounds: int = 4,
    rate: float = 0.1,
) -> Descended:
    """Search for the mapping with the least energy x cycles by gradients; nothing is proven.

    Args:
        operator: A scalar product of two tensors without sliding windows.
        accelerator: Where it runs.
        seed: Of the starts.
        conventions: What counts include; default: those of the accelerator.
        relaxed: As in `evaluate`.
        starts: Points that go down together.
        steps: Of Adam.
        rounds: How often points are rounded on the way.
        rate: Learning rate.

    Raises:
        MappingError: See `relax`; or no point came near a mapping that fits.

    Example:
        >>> import hwmodels
        >>> from hwmodels.mapping.cases import gemm_operator
        >>> gemm = gemm_operator("g", {"M": 64, "N": 64, "K": 64})
        >>> found = descend(gemm, hwmodels.load("gemmini"), seed=0, starts=16, steps=40, rounds=1)
        >>> bool(found.cost.fits[0]), found.starts
        (True, 16)
    """
    import torch

    begin = time.process_time()
    relaxation = relax(operator, accelerator, conventions=conventions, relaxed=relaxed)
    variables = Variables.random(relaxation, starts, np.random.default_rng(seed))
    adam = torch.optim.Adam(variables.tensors(), lr=rate)
    best: list[Rounded] = []
    trace: list[tuple[float, float]] = []
    least = np.inf
    for step in range(steps):
        point = variables.point(relaxation, between(SOFTNESS, step, steps))
        found = costs(relaxation, point, blur=between(BLUR, step, steps))
        adam.zero_grad()
        (found.log_edp + PENALTY * found.excess).sum().backward()  # type: ignore[no-untyped-call]
        adam.step()
        if (step + 1) % max(steps // rounds, 1) == 0 or step + 1 == steps:
            with torch.no_grad():
                fits = found.excess <= 1e-3
                least = min(least, float(torch.where(fits, found.log_edp, torch.inf).min().exp()))
                rounded = round_points(relaxation, variables.point(relaxation, SOFTNESS[1]))
            if len(rounded):
                best.append(rounded.take(np.array([rounded.edp.argmin()])))
            trace.append((time.process_time() - begin, min((float(one.edp[0]) for one in best), default=np.inf)))
    mapping = _best_mapping(relaxation, best)
    cost = evaluate(operator, accelerator, mapping, relaxation.rules, relaxed)
    return Descended(mapping=mapping, cost=cost, relaxed=least, trace=tuple(trace), starts=starts, steps=steps)


def between(ends: tuple[float, float], step: int, steps: int) -> float:
    """Give what a quantity has become after some steps of a geometric progression."""
    first, last = ends
    return float(first * (last / first) ** (step / max(steps - 1, 1)))


def _best_mapping(relaxation: Relaxation, best: Sequence[Rounded]) -> Mapping:
    if not best:
        raise MappingError(
            f"{relaxation.maker.problem.name} on {relaxation.accelerator.name}: no point came near a mapping that "
            "fits; take more starts or steps, or hwmodels.mapping.search, which says why nothing fits"
        )
    winner = min(best, key=lambda one: float(one.edp[0]))
    return trimmed(winner.mapping(relaxation, 0), relaxation.maker.problem)
