"""What larger and smaller buffers cost, as a table that a gradient can follow.

Each turned level is priced by `hwmodels.energy` on a grid of capacities, the others as they are. Between the grid's
capacities energies are straight lines over the logarithm of the capacity in the logarithm, area and leakage likewise.
What several turned levels do is put together from what each does alone: energies multiply, areas and leakage add up.
That is exact for one turned level at a capacity of the grid; the price of a design that is reported is always made
anew.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dse.gradients.relaxation import Hardware, Relaxation
from hwmodels.energy.applying import priced
from hwmodels.energy.pricing import price
from hwmodels.spatial import Accelerator
from workloads.errors import SpaceError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BufferPrices", "buffer_prices", "with_buffers"]

Floats = NDArray[np.float64]
Factors = tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class BufferPrices:
    """Prices of the buffers of an accelerator over their capacity.

    Attributes:
        accelerator: With the modelled energies, buffers as they are.
        unpriced: The same as its file says.
        levels: Names of the levels that are turned.
        factors: On the capacity, ascending, each the same ratio above the one before it; (grid,).
        read: Logarithm of the energy of reading a word over that of the accelerator; (turned, grid, levels).
        write: As `read`, of writing.
        area_mm2: Of the whole accelerator [mm2]; (turned, grid).
        static_w: Likewise [W].
        base_mm2: Area as it is [mm2].
    """

    accelerator: Accelerator
    unpriced: Accelerator
    levels: tuple[str, ...]
    factors: Floats
    read: Floats
    write: Floats
    area_mm2: Floats
    static_w: Floats
    base_mm2: float

    def hardware(self, relaxation: Relaxation, places: Tensor) -> tuple[Hardware, Tensor]:
        """Give the numbers of the levels, and the area [mm2].

        Args:
            relaxation: An operator on the accelerator.
            places: Place of each turned level's capacity on the grid, also between two of it; (n, turned).
        """
        import torch

        own = relaxation.hardware()
        reads, writes = own.read_j.log(), own.write_j.log()
        area = torch.full((len(places),), self.base_mm2, dtype=torch.float64)
        static, usable = own.static_w, own.usable
        for turned, name in enumerate(self.levels):
            here = places[:, turned]
            reads = reads + _between(self.read[turned], here)
            writes = writes + _between(self.write[turned], here)
            area = area + _between(self.area_mm2[turned], here).exp() - self.base_mm2
            static = static + _between(self.static_w[turned], here).exp() - own.static_w
            scale = _between(np.log(self.factors), here).exp()
            only = torch.arange(relaxation.depth) == self.accelerator.level_index(name)
            usable = torch.where(only, usable * scale[:, None], usable)
        return Hardware(reads.exp(), writes.exp(), usable, static), area

    def area(self, places: Sequence[int]) -> float:
        """Give the area at capacities of the grid, put together from single levels [mm2]."""
        extra = [math.exp(self.area_mm2[turned, at]) - self.base_mm2 for turned, at in enumerate(places)]
        return self.base_mm2 + sum(extra)

    def at(self, places: Sequence[int]) -> dict[str, float]:
        """Give the factors at places of the grid, by level."""
        return {name: float(self.factors[at]) for name, at in zip(self.levels, places, strict=True)}

    def grid(self, most_mm2: float) -> Iterator[tuple[int, ...]]:
        """List the places of all designs within an area [mm2]."""
        for places in itertools.product(range(len(self.factors)), repeat=len(self.levels)):
            if self.area(places) <= most_mm2:
                yield places


def _between(table: Floats, places: Tensor) -> Tensor:
    """Give what a table over the grid, (grid, ...), is between its rows."""
    import torch

    rows = torch.tensor(table)
    low = places.detach().floor().clamp(0, len(rows) - 2).long()
    part = places - low
    part = part.reshape(-1, *[1] * (rows.dim() - 1))
    return rows[low] * (1.0 - part) + rows[low + 1] * part


def with_buffers(accelerator: Accelerator, factors: Mapping[str, float]) -> tuple[Accelerator, float]:
    """Give an accelerator with other buffers and the modelled energies, and its area [mm2].

    Args:
        accelerator: As its file says.
        factors: On the capacity, by level.
    """
    bill = price(accelerator, capacity=dict(factors))
    return priced(accelerator, bill), float(bill.area_mm2.value)


def buffer_prices(accelerator: Accelerator, levels: Sequence[str], factors: Sequence[float]) -> BufferPrices:
    """Price the buffers of an accelerator on a grid of capacities.

    Args:
        accelerator: As its file says.
        levels: Names of the levels to turn.
        factors: On their capacity, ascending, at least two, in equal ratios.

    Raises:
        SpaceError: No level, or the factors are no such grid.
        SpecError: A level without a price, or a capacity that no memory has.

    Example:
        >>> import hwmodels
        >>> table = buffer_prices(hwmodels.load("gemmini"), ["Scratchpad"], [0.5, 1.0, 2.0])
        >>> table.area((0,)) < table.base_mm2 < table.area((2,))
        True
    """
    grid = np.array(factors, dtype=np.float64)
    steps = np.diff(np.log(grid)) if (grid > 0).all() else np.zeros(0)
    if len(grid) < 2 or not levels or not (steps > 0).all() or not np.allclose(steps, steps[0]):
        raise SpaceError("give at least one level, and at least two factors that ascend in equal ratios: 0.5, 1, 2")
    base, base_mm2 = with_buffers(accelerator, {})
    reads, writes, areas, statics = [], [], [], []
    for name in levels:
        bills = [price(accelerator, capacity={name: float(factor)}) for factor in grid]
        devices = [priced(accelerator, bill) for bill in bills]
        reads.append([[level.read_j for level in device.levels] for device in devices])
        writes.append([[level.write_j for level in device.levels] for device in devices])
        areas.append([float(bill.area_mm2.value) for bill in bills])
        statics.append([device.static_w for device in devices])
    return BufferPrices(
        accelerator=base,
        unpriced=accelerator,
        levels=tuple(levels),
        factors=grid,
        read=np.log(np.array(reads) / np.array([level.read_j for level in base.levels])),
        write=np.log(np.array(writes) / np.array([level.write_j for level in base.levels])),
        area_mm2=np.log(np.array(areas)),
        static_w=np.log(np.array(statics)),
        base_mm2=base_mm2,
    )
