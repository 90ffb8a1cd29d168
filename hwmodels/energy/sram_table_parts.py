"""A batch with bad points in it: which they are, and what is wrong with each."""

from __future__ import annotations

from collections.abc import Callable

from workloads.errors import SpecError

__all__ = ["bad_points"]

SINGLY = 8
"""Points from which on a bad part is not halved any more: with many bad points, smaller parts are bad, too."""


def bad_points(check: Callable[[slice], object], count: int) -> dict[int, str]:
    """Find the bad points of a batch by halving the parts that are refused.

    Args:
        check: Raises `SpecError` if one of some points is bad.
        count: Points.

    Returns:
        The place of every bad point to what was said about it alone.

    Example:
        >>> def check(which):
        ...     if min([4, -1, 9, 16][which]) < 0:
        ...         raise SpecError("a negative number")
        >>> bad_points(check, 4)
        {1: 'a negative number'}
    """
    found: dict[int, str] = {}
    waiting = [(0, count)] if count else []
    while waiting:
        first, last = waiting.pop()
        try:
            check(slice(first, last))
        except SpecError as error:
            if last - first == 1:
                found[first] = str(error)
            else:
                step = (last - first + 1) // 2 if last - first > SINGLY else 1
                waiting += [(start, min(start + step, last)) for start in range(first, last, step)]
    return found
