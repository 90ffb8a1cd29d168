"""Numbers for people: three digits and an SI prefix."""

from __future__ import annotations

from functools import partial

from hwmodels.units import format_si

__all__ = ["gain", "si"]


def gain(before: float, after: float) -> str:
    """Write how many times less something is; what did not fit before has no number.

    Example:
        >>> gain(3.0, 2.0), gain(float("inf"), 2.0)
        ('1.50x', 'fits now')
    """
    return "fits now" if before == float("inf") > after else f"{before / after:.2f}x"


si = partial(format_si, digits=3)
"""Write a number with an SI prefix: `si(0.00123, "s")` is "1.23 ms"."""
