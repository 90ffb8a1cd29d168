"""From points to mappings: the nearest factorisations, of those the ones that fit, and orders chosen by their cost."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dse.gradients.costing import costs
from dse.gradients.relaxation import Hardware, Point, Relaxation
from hwmodels.mapping.draws import Lot, factorisations
from hwmodels.mapping.records import Mapping

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Rounded", "round_points"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Rounded:
    """Mappings, each the best of those near one point.

    Attributes:
        factors: Whole factors; (n, dims, places).
        orders: Place of each level's order; (n, levels).
        pattern: Place of the kept tensors; (n,).
        owner: Which point each came from; (n,).
        energy_j: Exact costs [J]; (n,).
        cycles: Likewise; (n,).
    """

    factors: Ints
    orders: Ints
    pattern: Ints
    owner: Ints
    energy_j: Floats
    cycles: Floats

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def edp(self) -> Floats:
        """Energy x cycles [J x cycles]; (n,)."""
        return self.energy_j * self.cycles

    def take(self, rows: Ints) -> Rounded:
        """Give some of them."""
        return Rounded(*[getattr(self, name)[rows] for name in self.__slots__])

    def mapping(self, relaxation: Relaxation, row: int) -> Mapping:
        """Give one of them as a mapping, all loops written out."""
        orders = relaxation.orders[self.orders[row : row + 1]][:, :, ::-1]
        one = np.zeros(1, dtype=np.int64)
        lot = Lot(one, self.pattern[row : row + 1], self.factors[row : row + 1], orders)
        batch, _ = next(relaxation.maker.batches([lot]))
        return batch.mapping(0)


def round_points(
    relaxation: Relaxation, point: Point, hardware: Hardware | None = None, nearest: int = 3, reorder: int = 64
) -> Rounded:
    """Round every point to the best mapping near it that fits; points with none are left out.

    Of each dim the nearest whole factorisations are tried, in all combinations with those of the other dims, under the
    order with the most weight at each level. The best of all are tried under all orders.

    Args:
        relaxation: Operator and accelerator.
        point: The points.
        hardware: As in `costs`, by point.
        nearest: Factorisations of each dim.
        reorder: How many of the best mappings are tried under all orders.
    """
    logs = point.logs.detach().numpy()
    n = len(logs)
    near = [_nearest(relaxation, logs[:, place], place, nearest) for place in range(logs.shape[1])]
    combined = list(itertools.product(*[range(options.shape[1]) for options in near]))
    factors = np.stack([np.stack([options[:, at] for options, at in zip(near, choice, strict=True)], axis=1)
                        for choice in combined], axis=1)  # fmt: skip
    owner = np.repeat(np.arange(n), len(combined))
    factors = factors.reshape(len(owner), *logs.shape[1:])
    orders = point.orders.detach().numpy().argmax(axis=2)[owner]
    pattern = _patterns(relaxation, point.kept.detach().numpy())[owner]
    found = _priced(relaxation, factors, orders, pattern, owner, hardware)
    if not len(found):
        return found
    first = np.lexsort((found.edp, found.owner))
    best = found.take(first[np.unique(found.owner[first], return_index=True)[1]])
    return _reordered(relaxation, best, hardware, reorder)


def _priced(
    relaxation: Relaxation, factors: Ints, orders: Ints, pattern: Ints, owner: Ints, hardware: Hardware | None
) -> Rounded:
    """Price mappings; give those that fit."""
    found = costs(relaxation, relaxation.point(factors, orders, pattern), _rows(hardware, owner), exact=True)
    fits = np.flatnonzero(found.excess.numpy() == 0.0)
    energy, cycles = found.energy_j.numpy(), found.cycles.numpy()
    return Rounded(factors, orders, pattern, owner, energy, cycles).take(fits)


def _rows(hardware: Hardware | None, owner: Ints) -> Hardware | None:
    """Give the numbers of the points that mappings came from."""
    if hardware is None:
        return None

    def rows(value: Tensor, own: int) -> Tensor:
        return value.detach()[owner] if value.dim() > own else value.detach()

    return Hardware(rows(hardware.read_j, 1), rows(hardware.write_j, 1), rows(hardware.usable, 1),
                    rows(hardware.static_w, 0))  # fmt: skip


def _reordered(relaxation: Relaxation, found: Rounded, hardware: Hardware | None, most: int) -> Rounded:
    """Try the best mappings under all orders of all levels but the innermost, whose loops move nothing."""
    rows = np.argsort(found.edp, kind="stable")[:most]
    free = range(len(relaxation.orders))
    orders = np.array(list(itertools.product(*[free] * (relaxation.depth - 1), (0,))), dtype=np.int64)
    every = np.repeat(rows, len(orders))
    tried = _priced(relaxation, found.factors[every], np.tile(orders, (len(rows), 1)), found.pattern[every],
                    found.owner[every], hardware)  # fmt: skip
    first = np.lexsort((tried.edp, tried.owner))
    best = tried.take(first[np.unique(tried.owner[first], return_index=True)[1]])
    others = found.take(np.setdiff1d(np.arange(len(found)), rows))
    parts = [np.concatenate([getattr(best, name), getattr(others, name)]) for name in Rounded.__slots__]
    return Rounded(*parts)


def _nearest(relaxation: Relaxation, logs: Floats, dim: int, count: int) -> Ints:
    """Give the factorisations of a dim whose logarithms are nearest; (n, count, places)."""
    free = relaxation.maker.free[dim]
    table = factorisations(relaxation.sizes[dim], int(free.sum()))
    known = np.log(table)
    here = logs[:, free]
    distance = (known**2).sum(axis=1) - 2.0 * here @ known.T
    count = min(count, len(table))
    rows = np.argpartition(distance, count - 1, axis=1)[:, :count]
    factors = np.ones((len(logs), count, len(free)), dtype=np.int64)
    factors[:, :, free] = table[rows]
    return factors


def _patterns(relaxation: Relaxation, kept: Floats) -> Ints:
    """Give the choice of kept tensors that is nearest to the weights."""
    return np.asarray(((relaxation.kept_choices[None] - kept[:, None]) ** 2).sum(axis=(2, 3)).argmin(axis=1))
