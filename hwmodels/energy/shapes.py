"""One value or a batch of them: how it is given back, and how it is written into a formula."""

from __future__ import annotations

import numpy as np

from workloads.operator import Num

__all__ = ["plain", "span"]


def plain(value: Num) -> Num:
    """Give one value as a Python number, a batch as it is.

    Example:
        >>> plain(np.array(2.0)), plain(np.array([2.0]))
        (2.0, array([2.]))
    """
    return float(value) if np.ndim(value) == 0 else value


def span(values: Num, *, falling: bool = False) -> str:
    """Write one value, or the ends of a batch.

    Args:
        values: One, or shape (n_points,).
        falling: The largest first, as nodes are told.

    Example:
        >>> span(45), span(np.array([7, 45]), falling=True)
        ('45', '45..7')
    """
    ends = np.min(values), np.max(values)
    if ends[0] == ends[1]:
        return f"{ends[0]:g}"
    return "..".join(f"{end:g}" for end in (ends[::-1] if falling else ends))
