"""Sums of many numbers, most of them scalars, the rest batches: scalars stay floats, batches add in place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workloads.operator import Num

__all__ = ["Sum", "where_larger"]


class Sum:
    """A running sum. It changes by design: one owned buffer instead of one new array per term.

    Example:
        >>> import numpy as np
        >>> total = Sum()
        >>> for term in (1.0, np.array([1.0, 2.0]), 3.0):
        ...     total.add(term, 2)
        >>> total.value
        array([10., 12.])
    """

    __slots__ = ("_batch", "_scalar")

    def __init__(self) -> None:
        self._scalar = 0.0
        self._batch: NDArray[np.float64] | None = None

    def add(self, term: Num, times: Num = 1) -> None:
        """Add a term that many times."""
        amount = term if isinstance(times, int) and times == 1 else term * times
        if not isinstance(amount, np.ndarray):
            self._scalar += amount
        elif self._batch is None:
            self._batch = np.array(amount, dtype=np.float64)
        else:
            self._batch += amount

    @property
    def value(self) -> Num:
        """The sum so far."""
        return self._scalar if self._batch is None else self._batch + self._scalar


def where_larger(a: Num, b: Num) -> Num:
    """Give `a` where it is larger than `b`, else zero.

    Example:
        >>> where_larger(2.0, 1.0), where_larger(1.0, 1.0)
        (2.0, 0.0)
    """
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.where(np.greater(a, b), a, 0.0)
    return a if a > b else 0.0
