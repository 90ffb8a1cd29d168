"""How many places an axis reaches: the values of a sum of progressions, counted without listing the longest one."""

from __future__ import annotations

from functools import lru_cache

from workloads.errors import WorkloadError

__all__ = ["distinct_positions"]

MAX_SHIFTS = 1 << 16
"""Shifted copies of an axis' longest term that are looked at one by one: thirty milliseconds."""


@lru_cache(maxsize=65536)
def distinct_positions(coefficients: tuple[int, ...], sizes: tuple[int, ...], offset: int, extent: int) -> int:
    """Count distinct values of offset + sum(c x i), clipped to [0, extent) unless extent < 0.

    The longest term is a progression of any length; the others, a kernel's few positions, shift it.

    Raises:
        WorkloadError: Those others have more than `MAX_SHIFTS` values.

    Example:
        >>> distinct_positions((2, 1), (2**40, 3), -1, 2**41) == 2**41
        True
    """
    if min(sizes) < 1:
        return 0
    terms = sorted((size, coefficient) for size, coefficient in zip(sizes, coefficients, strict=True) if coefficient)
    length, step = terms.pop() if terms else (1, 1)
    starts = _sums(terms, offset)
    if step < 0:  # the same values from the other end
        starts, step = {start + step * (length - 1) for start in starts}, -step
    runs = []
    for start in starts:  # in units of the step: a run of whole numbers within the class of one remainder
        first, remainder = divmod(start, step)
        last = first + length - 1
        if extent >= 0:
            first, last = max(first, 0), min(last, (extent - 1 - remainder) // step)
        runs.append((remainder, first, last))
    count, current, reached = 0, -1, 0
    for remainder, first, last in sorted(runs):
        if remainder != current:
            current, reached = remainder, first
        first = max(first, reached)
        if last >= first:
            count, reached = count + last - first + 1, last + 1
    return count


def _sums(terms: list[tuple[int, int]], offset: int) -> set[int]:
    """Enumerate the distinct values of offset + sum(coefficient x i)."""
    values = {offset}
    for size, coefficient in terms:
        if len(values) * size > MAX_SHIFTS:
            raise WorkloadError(
                f"an axis of {' and '.join(f'{size:,}' for size, _ in terms)} positions beside its longest term is "
                f"more than can be enumerated ({MAX_SHIFTS:,}); no real window is so wide"
            )
        values = {value + coefficient * index for value in values for index in range(size)}
    return values
