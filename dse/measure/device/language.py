"""Triton, or what stands for it where it is not installed: kernels can be imported, listed and skipped everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["HAS_TRITON", "TRITON_VERSION", "jit", "tl"]

try:
    import triton as _triton
    import triton.language as tl
except ImportError:
    _triton = None

    class _Absent:
        """Any name of the language; kernels are defined with it and never run."""

        def __getattr__(self, name: str) -> Any:
            """Take every name of the language, but Python's own."""
            if name.startswith("__"):
                raise AttributeError(name)
            return self

        def __call__(self, *args: Any, **named: Any) -> Any:
            return self

    tl = _Absent()

HAS_TRITON = _triton is not None
"""Whether kernels written in Triton can run or be compiled here."""

TRITON_VERSION = str(_triton.__version__) if _triton is not None else ""
"""As Triton says it; "": not installed."""


def jit(function: Callable[..., Any]) -> Any:
    """Make a Triton kernel of a function, or leave it a function where Triton is not installed."""
    return function if _triton is None else _triton.jit(function)
