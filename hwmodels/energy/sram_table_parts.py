"""A batch with bad points in it: the good ones are evaluated together, the bad ones are told one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from workloads.errors import SpecError

__all__ = ["good_parts"]

Found = TypeVar("Found")


def good_parts(
    evaluate: Callable[[slice], Found], count: int, refuse: Callable[[int, str], object]
) -> Iterator[tuple[slice, Found]]:
    """Evaluate a batch in the largest parts that no bad point spoils: halves, halves of halves, and so on.

    Args:
        evaluate: Gives what is found for some points, or raises `SpecError` if one of them is bad.
        count: Points.
        refuse: Is told each bad point and what was said about it alone.

    Yields:
        Parts without bad points, in order, with what was found for them.

    Example:
        >>> def roots(which):
        ...     points = [4, -1, 9, 16][which]
        ...     if min(points) < 0:
        ...         raise SpecError(f"{min(points)} is negative")
        ...     return [point**0.5 for point in points]
        >>> [found for _, found in good_parts(roots, 4, lambda at, why: print(at, why))]
        1 -1 is negative
        [[2.0], [3.0, 4.0]]
    """
    waiting = [(0, count)] if count else []
    while waiting:
        first, last = waiting.pop()
        which = slice(first, last)
        try:
            found = evaluate(which)
        except SpecError as error:
            if last - first == 1:
                refuse(first, str(error))
            else:
                middle = (first + last) // 2
                waiting += [(middle, last), (first, middle)]
            continue
        yield which, found
