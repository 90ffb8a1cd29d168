"""Every whole word width as a slot of its own: what large batches are looked up in.

Between widths and nodes of the table every candidate is interpolated at both ends of its interval. For a batch that is
done once for each of the 128 widths rather than for each point; the numbers are the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwmodels.energy.sram.between import Between, mix
from hwmodels.energy.sram.cells import ENDLESS, PADDING, Cells, is_beaten
from hwmodels.energy.sram.stored import QUANTITIES, Objective

__all__ = ["whole_words"]

Floats = NDArray[np.float64]


def whole_words(
    at_widths: Cells, in_between: Cells, widest: int, shares: tuple[float, float], objective: Objective | None
) -> Cells:
    """Interpolate the candidates at every width from 1 to `widest`.

    Args:
        at_widths: Candidates at the widths of the table, powers of two.
        in_between: Candidates between neighbouring ones.
        widest: Widest word [B].
        shares: Where the node lies between those of the sides, in logs and linear.
        objective: In which candidates that others beat are dropped; None: in all that wires between banks move.
    """
    parts = [_slot(at_widths, in_between, width, shares, objective) for width in range(1, widest + 1)]
    size = max(part.step.shape[1] for part in parts)
    return Cells(
        edges=tuple(part.edges[0] for part in parts),
        low=np.concatenate([part.low for part in parts]),
        high=np.concatenate([part.high for part in parts]),
        first=np.cumsum([0, *[len(part.low) for part in parts]]),
        count=np.concatenate([part.count for part in parts]),
        step=np.concatenate([_padded(part.step, size, ENDLESS) for part in parts]),
        start=np.concatenate([_padded(part.start[0], size, PADDING) for part in parts])[None],
        slope=np.concatenate([_padded(part.slope[0], size, 0.0) for part in parts])[None],
        organisation=np.concatenate([_padded(part.organisation, size, -1) for part in parts]),
    )


def _slot(
    at_widths: Cells, in_between: Cells, width: int, shares: tuple[float, float], objective: Objective | None
) -> Cells:
    """Give the candidates of one width, the beaten ones dropped."""
    slot = width.bit_length() - 1
    low = 1 << slot
    pairs = low != width
    source = in_between if pairs else at_widths
    mine = slice(int(source.first[slot]), int(source.first[slot + 1]))
    start, slope = source.start[:, mine], source.slope[:, mine]
    places = (float(np.log2(width / low)), width / low - 1) if pairs else (0.0, 0.0)
    flat = (len(start), -1, len(QUANTITIES))
    mixed = mix(start.reshape(flat), slope.reshape(flat), Between(1 + pairs, *places, *shares))
    first, rise = (part.reshape(start.shape[1:]) for part in mixed)
    step, organisation = source.step[mine], source.organisation[mine]
    dropped = is_beaten(np.stack([first, first + rise], axis=2), step, objective)
    dropped[[0, -1]] = False  # what lies beyond the table is continued from its ends
    dropped |= organisation < 0
    order = np.argsort(dropped, axis=1, kind="stable")
    count = (~dropped).sum(axis=1)
    order = order[:, : count.max()]
    kept = np.take_along_axis(organisation, order, axis=1)
    kept[np.arange(order.shape[1])[None] >= count[:, None]] = -1
    gone = kept < 0
    step = np.where(gone, ENDLESS, np.take_along_axis(step, order, axis=1))
    first = np.where(gone[..., None], PADDING, np.take_along_axis(first, order[..., None], axis=1))
    rise = np.where(gone[..., None], 0.0, np.take_along_axis(rise, order[..., None], axis=1))
    bounds = np.array([0, len(count)])
    edges = (source.edges[slot],)
    return Cells(edges, source.low[mine], source.high[mine], bounds, count, step, first[None], rise[None], kept)


def _padded(array: NDArray[np.generic], size: int, value: float) -> NDArray[np.generic]:
    """Widen the second axis."""
    missing = [(0, 0), (0, size - array.shape[1]), *[(0, 0)] * (array.ndim - 2)]
    return np.pad(array, missing, constant_values=value)
