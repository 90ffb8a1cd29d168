"""Numbers for people: three digits and an SI prefix."""

from __future__ import annotations

from functools import partial

from hwmodels.units import format_si

__all__ = ["si"]

si = partial(format_si, digits=3)
"""Write a number with an SI prefix: `si(0.00123, "s")` is "1.23 ms"."""
