"""Gradient search over tiles and buffers together, under an area budget.

`descend_buffers(operators, table, most_mm2=...)` moves the capacities of the turned levels beside the mappings of all
operators, which share them. What is minimised is the energy of all operators times their cycles. In the end the
capacities of the best points are rounded to the grid of `table` within the budget, the mappings are rounded for them,
and the design is priced anew by `hwmodels.energy` and the cost model.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dse.gradients.costing import Costs, costs
from dse.gradients.descent import BLUR, PENALTY, SOFTNESS, Variables, between
from dse.gradients.prices import BufferPrices, with_buffers
from dse.gradients.relaxation import Point, Relaxation, relax
from dse.gradients.rounding import round_points
from hwmodels.mapping.mapper.results import trimmed
from hwmodels.mapping.records import Mapping
from hwmodels.mapping.traffic import Traffic, evaluate
from hwmodels.spatial import Accelerator, Conventions
from workloads.errors import MappingError
from workloads.operator import Operator

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BufferDesign", "descend_buffers"]

Work = Sequence[tuple[Operator, int]]
"""Operators, and how often each runs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BufferDesign:
    """Buffers and mappings that a descent found.

    Attributes:
        places: Of the turned levels' capacities on the grid of their prices.
        factors: On the capacity, by level.
        accelerator: With these buffers, priced.
        area_mm2: Of it [mm2].
        mappings: Of each operator.
        costs: Likewise, by the cost model.
        value: Energy of all runs x cycles of all runs [J x cycles].
        cpu_s: CPU time of the descent [s].
    """

    places: tuple[int, ...]
    factors: dict[str, float]
    accelerator: Accelerator
    area_mm2: float
    mappings: tuple[Mapping, ...]
    costs: tuple[Traffic, ...]
    value: float
    cpu_s: float


def descend_buffers(
    work: Work,
    table: BufferPrices,
    *,
    most_mm2: float,
    seed: int | np.random.Generator,
    conventions: Conventions | None = None,
    starts: int = 64,
    steps: int = 240,
    rate: float = 0.1,
    finalists: int = 8,
) -> BufferDesign:
    """Search for buffers and mappings with the least energy x cycles by gradients; nothing is proven.

    Args:
        work: Products of two tensors without sliding windows, and how often each runs.
        table: Prices of the buffers that are turned.
        most_mm2: Largest area of the accelerator [mm2].
        seed: Of the starts.
        conventions: What counts include; default: those of the accelerator.
        starts: Points that go down together.
        steps: Of Adam.
        rate: Learning rate.
        finalists: Points whose neighbours on the grid are priced.

    Raises:
        MappingError: See `relax`; or no point came near a design that fits.
    """
    import torch

    begin = time.process_time()
    rng = np.random.default_rng(seed)
    relaxations = [relax(operator, table.accelerator, conventions=conventions) for operator, _ in work]
    variables = [Variables.random(relaxation, starts, rng) for relaxation in relaxations]
    sizes = torch.tensor(rng.normal(size=(starts, len(table.levels))), requires_grad=True)
    adam = torch.optim.Adam([sizes, *(one for some in variables for one in some.tensors())], lr=rate)
    for step in range(steps):
        places = torch.sigmoid(sizes) * (len(table.factors) - 1)
        points = [
            some.point(one, between(SOFTNESS, step, steps)) for some, one in zip(variables, relaxations, strict=True)
        ]
        loss = _loss(work, relaxations, points, table, places, most_mm2, between(BLUR, step, steps))
        adam.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        adam.step()
    with torch.no_grad():
        order = _loss(work, relaxations, points, table, places, most_mm2, 0.0).argsort()[:finalists]
        tried = [_design(work, relaxations, points, table, near, int(row))
                 for row in order for near in _near(table, places[row].numpy(), most_mm2)]  # fmt: skip
    found = min((one for one in tried if one is not None), key=lambda one: one[0], default=None)
    if found is None:
        raise MappingError(
            f"{table.accelerator.name}: no point came near a design within {most_mm2:g} mm2 whose tiles fit; allow "
            "more area, more starts or more steps"
        )
    return _priced(work, relaxations, table, found[1], found[2], begin)


def _loss(
    work: Work,
    relaxations: Sequence[Relaxation],
    points: Sequence[Point],
    table: BufferPrices,
    places: Tensor,
    most_mm2: float,
    blur: float,
) -> Tensor:
    """Give log(energy x cycles) of all runs, and what is paid for what does not fit; (n,)."""
    import torch

    hardware, area = table.hardware(relaxations[0], places)
    found: list[Costs] = [
        costs(one, point, hardware, blur=blur) for one, point in zip(relaxations, points, strict=True)
    ]
    runs = [count for _, count in work]
    energy = torch.stack([count * one.energy_j for count, one in zip(runs, found, strict=True)]).sum(dim=0)
    cycles = torch.stack([count * one.cycles for count, one in zip(runs, found, strict=True)]).sum(dim=0)
    excess = torch.stack([one.excess for one in found]).sum(dim=0) + torch.relu(torch.log(area / most_mm2))
    return energy.log() + cycles.log() + PENALTY * excess


def _near(table: BufferPrices, places: np.ndarray, most_mm2: float) -> Iterator[tuple[int, ...]]:
    """Give the grid's capacities around those of a point, as far as the area reaches."""
    ends = [sorted({int(np.floor(place)), int(np.ceil(place))}) for place in places]
    for choice in itertools.product(*ends):
        if table.area(choice) <= most_mm2:
            yield choice


_Found = tuple[float, tuple[int, ...], tuple[Mapping, ...]]
"""Energy x cycles by the table, capacities, mappings."""


def _design(
    work: Work,
    relaxations: Sequence[Relaxation],
    points: Sequence[Point],
    table: BufferPrices,
    places: tuple[int, ...],
    row: int,
) -> _Found | None:
    """Round one point for given capacities."""
    import torch

    hardware, _ = table.hardware(relaxations[0], torch.tensor([places], dtype=torch.float64))
    energy = cycles = 0.0
    mappings = []
    for (_, count), relaxation, point in zip(work, relaxations, points, strict=True):
        one = Point(point.logs[row : row + 1], point.orders[row : row + 1], point.kept[row : row + 1])
        rounded = round_points(relaxation, one, hardware, nearest=5)
        if not len(rounded):
            return None
        energy, cycles = energy + count * float(rounded.energy_j[0]), cycles + count * float(rounded.cycles[0])
        mappings.append(trimmed(rounded.mapping(relaxation, 0), relaxation.maker.problem))
    return energy * cycles, places, tuple(mappings)


def _priced(
    work: Work,
    relaxations: Sequence[Relaxation],
    table: BufferPrices,
    places: tuple[int, ...],
    mappings: tuple[Mapping, ...],
    begin: float,
) -> BufferDesign:
    """Price a design by the models themselves."""
    device, area = with_buffers(table.unpriced, table.at(places))
    found = tuple(
        evaluate(operator, device, mapping, relaxation.rules)
        for (operator, _), mapping, relaxation in zip(work, mappings, relaxations, strict=True)
    )
    for cost in found:
        cost.require_fit()
    energy = sum(count * float(cost.energy_j[0]) for (_, count), cost in zip(work, found, strict=True))
    cycles = sum(count * float(cost.cycles[0]) for (_, count), cost in zip(work, found, strict=True))
    return BufferDesign(
        places=places,
        factors=table.at(places),
        accelerator=device,
        area_mm2=area,
        mappings=mappings,
        costs=found,
        value=energy * cycles,
        cpu_s=time.process_time() - begin,
    )
