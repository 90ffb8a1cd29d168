"""A few context lengths that stand for every one of a generation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

__all__ = ["strata"]


def strata(contexts: range, kinks: Sequence[int], points: int) -> dict[int, float]:
    """Choose contexts and weights whose weighted sum of any function that is linear between kinks is exact.

    The last context is always among them, so that peaks are exact too.

    Args:
        contexts: Every context, one decode step each.
        kinks: Window lengths: a cache stops growing when it holds so many tokens, the new one included.
        points: Strata of each piece between kinks.

    Returns:
        Context to weight; the weights sum to the number of contexts.

    Example:
        >>> strata(range(10, 15), (), 1)
        {11: 2.0, 12: 2.0, 14: 1.0}
        >>> strata(range(10, 10), (), 1)
        {}
    """
    if not contexts:
        return {}
    weights: dict[int, float] = {}
    body = contexts[:-1]
    ends = sorted({min(max(kink, body.start), body.stop) for kink in kinks} | {body.start, body.stop})
    for start, stop in pairwise(ends):
        count = min(points, stop - start)
        cuts = [start + (stop - start) * index // count for index in range(count + 1)] if count else []
        for low, high in pairwise(cuts):
            _add_mean(weights, low, high)
    weights[contexts[-1]] = weights.get(contexts[-1], 0.0) + 1.0
    return dict(sorted(weights.items()))


def _add_mean(weights: dict[int, float], low: int, high: int) -> None:
    """Represent low .. high - 1 by its mean; a mean between two whole numbers by both."""
    twice = low + high - 1
    for context in {twice // 2, (twice + 1) // 2}:
        share = 1.0 if twice % 2 == 0 else 0.5
        weights[context] = weights.get(context, 0.0) + share * (high - low)
