"""What a kernel finds in the last-level cache: tensors that were touched not long before, or will be soon."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from hwmodels.kernels.lowering import Kernel
from workloads.operator import Num

__all__ = ["REACH", "hot_bytes"]

REACH = 0.5
"""Share of the last-level cache that holds what was touched last.

Assumption: an A100 or H100 keeps a copy of shared data in both halves of its L2 (NVIDIA A100 white paper, 2020).
"""

LINE = 128  # bytes of a line of an L2; NVIDIA A100 white paper, 2020

SHARPNESS = 4  # of the edge: half of a tensor is hot where as much was touched since as the cache holds


def hot_bytes(kernels: Sequence[Kernel], capacity_bytes: float, repeated: bool = False) -> list[Num]:
    """Give, per kernel, the bytes that do not move to or from the memory [B].

    A tensor that is read is hot if little else was touched since it was written or read; what is written stays on chip
    if it is read again as soon. The distance is the bytes that all kernels between touch, both ends included.

    Args:
        kernels: In the order in which they run.
        capacity_bytes: Of the last-level cache [B].
        repeated: The same kernels ran just before: weights may be hot from the start, as in a benchmark's loop.

    Example:
        >>> from dataclasses import replace
        >>> make = Kernel(name="a", operators=("a",), block="", family="elementwise", op="add", sizes={},
        ...               a_format="fp16", w_format="", reads={"x": 1e3}, writes={"y": 1e3})
        >>> use = replace(make, name="b", reads={"y": 1e3}, writes={"z": 1e3})
        >>> hot_bytes([make, use], 1e6)
        [1024, 1024]
    """
    touched: list[Num] = []
    total: Num = 0.0
    events: defaultdict[str, list[int]] = defaultdict(list)
    for place, kernel in enumerate(kernels):
        for sizes in (kernel.reads, kernel.writes):
            for name, size in sizes.items():
                total = total + size
                if not events[name] or events[name][-1] != place:
                    events[name].append(place)
        touched.append(total)
    reach = REACH * capacity_bytes
    hot: list[Num] = [0.0] * len(kernels)
    for name, places in events.items():
        for number, place in enumerate(places):
            kernel = kernels[place]
            if name in kernel.reads:
                before = places[number - 1] if number else None
                distance = _distance(before, place, touched, total if repeated and name in kernel.weights else None)
                hot[place] = hot[place] + kernel.reads[name] * _share(distance, reach)
            elif number + 1 < len(places) and name in kernels[places[number + 1]].reads:
                distance = _distance(place, places[number + 1], touched, None)
                hot[place] = hot[place] + kernel.writes[name] * _share(distance, reach)
    return [_lines(value) for value in hot]


def _lines(value: Num) -> Num:
    """Round to whole cache lines, so that a batch and its rows, a rounding error apart, are equal."""
    return np.round(value / LINE) * LINE if np.ndim(value) else round(float(value) / LINE) * LINE


def _distance(before: int | None, place: int, touched: Sequence[Num], around: Num | None) -> Num:
    """Give the bytes touched since a tensor's last use; `around`: of a whole run, where the last use was in it."""
    if before is not None:
        return touched[place] - (touched[before - 1] if before else 0.0)
    return np.inf if around is None else around


def _share(distance: Num, reach: float) -> Num:
    return 1 / (1 + (distance / reach) ** SHARPNESS)
