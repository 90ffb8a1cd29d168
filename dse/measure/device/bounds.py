"""Error bounds from number formats: what a right kernel may be off by, element by element.

A sum of products s_1, ..., s_k that is added up one by one is off by at most sum_j u |s_1 + ... + s_j| to first order.
Products of random operands have random signs, so a partial sum stays below `SIGMAS` times the root of the sum of their
squares; k of them give the bound `SIGMAS * k * u * ||p||_2`. It holds for truncation, which errs to one side, too, and
a result that is simply wrong fails it: results are about `||p||_2` large themselves.

Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 4.2 (running error of a sum);
Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis, SISC 2019 (partial sums of random signs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .formats import ACCUMULATE, ROUNDOFF, STEP

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TINY", "product_bound", "product_statement", "rounded"]

SIGMAS = 5.0
"""Largest of 1e7 normal deviates is below 5.4 standard deviations; partial sums that large stay so only briefly."""

TINY = {"fp16": 2.0**-24, "bf16": 2.0**-133, "fp32": 2.0**-149, "tf32": 2.0**-149, "fp64": 0.0}
"""Spacing of subnormal numbers: half of it is lost where a result underflows."""


def product_bound(a: Tensor, b: Tensor, expected: Tensor, inner: str, out: str, splits_rounded: bool = False) -> Tensor:
    """Bound the error of a matrix product.

    Args:
        a: Float64, shape (..., m, k), as stored.
        b: Float64, shape (..., k, n).
        expected: a @ b.
        inner: Format of the products.
        out: Format of the result.
        splits_rounded: A library may round sums of splits to `out`, and add those (cuBLAS with 16 bits, by default).
    """
    k = a.shape[-1]
    norm = ((a * a) @ (b * b)).sqrt()
    steps = -(-k // STEP.get(inner, 1))
    inputs = 2 * ROUNDOFF["tf32"] * SIGMAS if inner == "tf32" else 0.0
    added = SIGMAS * steps * ACCUMULATE[inner] + 2 * ACCUMULATE["fp32"]  # and the scale that follows, if there is one
    parts = SIGMAS * ROUNDOFF[out] if splits_rounded else 0.0
    return norm * (added + inputs + parts) + rounded(expected, out)


def product_statement(inner: str, out: str, splits_rounded: bool = False) -> str:
    """Say the bound of `product_bound` in words."""
    parts = f" + {SIGMAS:g} * {ROUNDOFF[out]:.3g} ||p||" if splits_rounded else ""
    inputs = f" + {2 * SIGMAS:g} * 2^-10 ||p||" if inner == "tf32" else ""
    steps = f"ceil(k/{STEP[inner]})" if inner in STEP else "k"
    return f"{SIGMAS:g} {steps} * {ACCUMULATE[inner]:.3g} ||p||{inputs}{parts} + {ROUNDOFF[out]:.3g} |y|"


def rounded(expected: Tensor, out: str) -> Tensor:
    """Bound what rounding a result to its format adds: its unit roundoff, and half a subnormal spacing."""
    return expected.abs() * (ROUNDOFF[out] * 1.01) + TINY[out]
