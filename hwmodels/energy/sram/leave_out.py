"""How far the model is off where its table has a hole: points left out, and predicted from the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.between import Between
from hwmodels.energy.sram.cells import HEIGHT, WIDTH, collect_cells
from hwmodels.energy.sram.choosing import choose
from hwmodels.energy.sram.stored import OBJECTIVES, QUANTITIES, Block, block

__all__ = ["COMPARED", "Missed", "folds", "missed", "square_root_law"]

Floats = NDArray[np.float64]
Pair = tuple[int, int]
"""Width [B] and depth."""

COMPARED = (*QUANTITIES[:5], "area_mm2")
"""What is compared: energies, leakage, times, area."""


class Missed(NamedTuple):
    """Points that were left out: (width, depth) of each, and predicted and true values, (n_points, COMPARED)."""

    pairs: list[Pair]
    predicted: Floats
    true: Floats

    @property
    def errors(self) -> Floats:
        """Relative errors, without sign, shape (n_points, COMPARED)."""
        return np.abs(self.predicted / self.true - 1)


def folds(count: int, *, seed: int = 0) -> list[frozenset[Pair]]:
    """Split the pairs of capacity and word of the whole table at random, the same for all nodes and device types.

    Args:
        count: Parts.
        seed: Of the split.
    """
    pairs = sorted(block("itrs-hp", 45.0, (1, 0, 0)).points)
    order = np.random.default_rng(seed).permutation(len(pairs))
    return [frozenset(pairs[place] for place in order[part::count]) for part in range(count)]


def missed(device: str, node_nm: float, pairs: frozenset[Pair], *, ports: tuple[int, int, int] = (1, 0, 0)) -> Missed:
    """Leave pairs of word and depth out of the table of a device type and node, and predict them from what is left.

    A width of which two depths are left is interpolated along the depth, any other between the widths beside it.

    Args:
        device: CACTI's device type.
        node_nm: A node of the table [nm].
        pairs: Width and depth of each; those that the table does not have are passed over.
        ports: A port set of the table.

    Example:
        >>> found = missed("itrs-hp", 45.0, frozenset({(8, 4096)}))
        >>> bool(found.errors.max() < 0.03)
        True
    """
    whole = block(device, node_nm, ports)
    wanted = sorted(pairs & set(whole.points))
    rest = whole.without(frozenset(wanted))
    whole_widths = [width for width in rest.widths if len(rest.depths[width]) > 1]
    predicted = np.empty((len(wanted), len(COMPARED)))
    for width in sorted({width for width, _ in wanted}):
        mine = [place for place, (other, _) in enumerate(wanted) if other == width]
        depths = np.array([float(wanted[place][1]) for place in mine])
        predicted[mine] = _predict(rest, whole_widths, width, depths)
    true = np.array([_best(whole, pair) for pair in wanted]).reshape(len(wanted), len(COMPARED))
    return Missed(wanted, predicted, true)


def _predict(rest: Block, widths: Sequence[int], width: int, depth: Floats) -> Floats:
    slot: tuple[int, ...] = (width,)
    between = Between(1, 0.0, 0.0, 0.0, 0.0)
    if width not in widths:
        low = max([other for other in widths if other < width], default=widths[0])
        high = next(other for other in widths if other > low)
        between = Between(2, math.log(width / low) / math.log(high / low), (width - low) / (high - low), 0.0, 0.0)
        slot = (low, high)
    cells = collect_cells([rest], [slot], OBJECTIVES["ed2"])
    return _compared(choose(cells, np.zeros(len(depth), dtype=np.intp), depth, between, OBJECTIVES["ed2"]).values)


def _best(whole: Block, pair: Pair) -> Floats:
    """Give what CACTI chose: the least energy x delay^2 of all organisations of a point."""
    values = np.array([row for _, row in whole.points[pair].values()])
    best = int(np.argmin(values[:, 0] * values[:, 3] ** 2))
    return np.asarray(_compared(values[best : best + 1])[0])


def _compared(values: Floats) -> Floats:
    return np.concatenate([values[:, :5], (values[:, HEIGHT] * values[:, WIDTH])[:, None]], axis=1)


def square_root_law(device: str, node_nm: float, pairs: frozenset[Pair]) -> Missed:
    """Predict left-out points by the law that everything grows with the root of the capacity.

    One constant per width, fitted to what is left (median ratio): the simplest model in use.

    Args:
        device: CACTI's device type.
        node_nm: A node of the table [nm].
        pairs: Width and depth of each.
    """
    whole = block(device, node_nm, (1, 0, 0))
    wanted = sorted(pairs & set(whole.points))
    true = {pair: _best(whole, pair) for pair in whole.points}
    predicted = []
    for width, depth in wanted:
        kept = [pair for pair in whole.points if pair not in pairs and pair[0] == width]
        ratios = np.array([true[pair] / math.sqrt(pair[0] * pair[1]) for pair in kept])
        predicted.append(np.median(ratios, axis=0) * math.sqrt(width * depth))
    return Missed(wanted, np.array(predicted), np.array([true[pair] for pair in wanted]))
