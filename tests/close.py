"""Closeness of small numbers: `pytest.approx` alone lets any two energies below 1e-12 J pass as equal."""

from __future__ import annotations

from typing import Any

import pytest

__all__ = ["close"]


def close(expected: Any, rel: float = 1e-6) -> Any:
    """Compare by relative error only, so that picojoules, fractions of a mm2 and nanoseconds are compared at all."""
    return pytest.approx(expected, rel=rel, abs=0.0)
