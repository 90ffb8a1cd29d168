"""The kernels, by the library that they are written in; one idea a module."""

from __future__ import annotations

from ..kernel import Kernel
from ..language import HAS_TRITON
from .decode import DECODE
from .dense import DENSE
from .integer import INTEGER
from .library import LIBRARY
from .narrow import NARROW
from .outliers import OUTLIERS
from .pointwise import POINTWISE
from .prefill import PREFILL
from .rowwise import ROWWISE
from .two_of_four import TWO_OF_FOUR

__all__ = ["KERNELS", "WRITTEN", "available"]

WRITTEN: tuple[Kernel, ...] = (
    *DENSE, *NARROW, *OUTLIERS, *TWO_OF_FOUR, *PREFILL, *DECODE, *ROWWISE, *POINTWISE, *INTEGER
)  # fmt: skip
"""Kernels written here, in Triton."""

KERNELS: tuple[Kernel, ...] = (*LIBRARY, *WRITTEN)
"""All kernels, those of libraries first."""


def available() -> tuple[Kernel, ...]:
    """List the kernels that can run here: without Triton those of libraries alone."""
    return KERNELS if HAS_TRITON else LIBRARY
