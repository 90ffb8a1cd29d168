"""I-BERT's integer-only functions in NumPy, int64, every step as in the paper: what the kernels must equal bit for bit.

A real number is an integer times a scale. Everything that depends on scales alone is computed once, in floats, before
(`exp_constants`, `gelu_constants`); on the data there are only integer additions, products, shifts and divisions.

Choices where the paper leaves one open, or where integers force one:

- Softmax divides by one integer per row: `q * floor(2^62 / sum) >> (62 - bits)`. The published code has 2^32 in place
  of 2^62 after rounding the exponentials to 16 bits; with 64-bit integers that rounding is not needed.
- A probability of one is 2^bits, which `bits` unsigned bits do not hold; it saturates at 2^bits - 1.
- LayerNorm's mean is rounded to the nearest integer, halves up, as in the code but for its halves to even.
- Sums of squares are 64-bit here, so they need no shift before.

Source: Kim et al., I-BERT: Integer-only BERT Quantization, ICML 2021, Algorithms 1 (I-POLY), 2 (I-GELU), 3 (I-EXP and
I-SOFTMAX) and 4 (I-SQRT).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .signatures import KernelError

__all__ = [
    "ExpConstants",
    "GeluConstants",
    "exp_constants",
    "gelu_constants",
    "i_gelu",
    "i_layernorm",
    "i_softmax",
    "i_sqrt",
]

Ints = NDArray[np.int64]

EXP = (0.3585, 1.353, 0.344)
"""exp(p) for p in (-ln 2, 0] is about a (p + b)^2 + c. Source: I-BERT, equation 13."""

ERF = (-0.2888, -1.769, 1.0)
"""erf(x) for x >= 0 is about a (min(x, -b) + b)^2 + c. Source: I-BERT, equation 8."""

SHIFTS = 30
"""exp is zero below 2^-30. Source: the published code's `n`."""

RECIPROCAL_BITS = 62
NORM_BITS = 30
"""LayerNorm's results have a scale of sqrt(cols) / 2^30. Source: the published code."""


@dataclass(frozen=True, slots=True)
class ExpConstants:
    """Integers of i-exp: ln 2, b and c in units of the input, and the scale of the result."""

    ln2: int
    b: int
    c: int
    scale: float


@dataclass(frozen=True, slots=True)
class GeluConstants:
    """Integers of i-GELU: b, c, one, and the scale of the result."""

    b: int
    c: int
    one: int
    scale: float


def exp_constants(scale: float) -> ExpConstants:
    """Compute the integers of i-exp for an input scale.

    Raises:
        KernelError: The scale is so fine that a result does not fit into 32 bits, or so coarse that ln 2 is no integer.
    """
    a, b, c = EXP
    found = ExpConstants(
        math.floor(math.log(2) / scale), math.floor(b / scale), math.floor(c / (a * scale**2)), a * scale**2
    )
    if found.b**2 + found.c >= 2**31 or found.ln2 < 1:
        raise KernelError(f"i-exp with a scale of {scale}: use one between 4e-5 and 0.69, so that 32 bits hold it")
    return found


def gelu_constants(scale: float) -> GeluConstants:
    """Compute the integers of i-GELU for an input scale.

    Raises:
        KernelError: The scale is so fine that the error function does not fit into 31 bits.
    """
    a, b, c = ERF
    inner = scale / math.sqrt(2)
    erf_scale = a * inner**2
    found = GeluConstants(
        math.floor(b / inner), math.floor(c / erf_scale), math.floor(1 / erf_scale), erf_scale * scale / 2
    )
    if found.b**2 + 2 * abs(found.c) >= 2**31:
        raise KernelError(
            f"i-GELU with a scale of {scale}: use one above 1e-4, so that 31 bits hold its error function"
        )
    return found


def i_exp(q: Ints, constants: ExpConstants) -> Ints:
    """Take exp of integers not above zero."""
    q = np.maximum(q, -SHIFTS * constants.ln2)
    z = -q // constants.ln2
    p = q + z * constants.ln2
    found: Ints = ((p + constants.b) ** 2 + constants.c) >> z
    return found


def i_softmax(q: Ints, scale: float, bits: int = 8) -> Ints:
    """Take the softmax of each row, shape (rows, cols), of scale `scale`; the result has a scale of 2^-bits."""
    values = i_exp(q - q.max(axis=-1, keepdims=True), exp_constants(scale))
    factor = 2**RECIPROCAL_BITS // values.sum(axis=-1, keepdims=True)
    found: Ints = np.minimum(values * factor >> (RECIPROCAL_BITS - bits), 2**bits - 1)
    return found


def i_gelu(q: Ints, scale: float) -> Ints:
    """Take GELU of integers of scale `scale`; the result's scale is that of `gelu_constants`."""
    k = gelu_constants(scale)
    erf: Ints = np.sign(q) * ((np.minimum(np.abs(q), -k.b) + k.b) ** 2 + k.c)
    return q * (erf + k.one)


def i_sqrt(n: Ints) -> Ints:
    """Take the integer square root of integers not below zero by Newton's method.

    Example:
        >>> i_sqrt(np.array([0, 1, 15, 16, 2**40 - 1]))
        array([      0,       1,       3,       4, 1048575])
    """
    bits = np.array([int(value).bit_length() for value in np.ravel(n)]).reshape(np.shape(n))
    x: Ints = np.int64(1) << -(-bits // 2)
    while True:
        y = (x + n // np.maximum(x, 1)) >> 1  # of 0 the root is 0, and then there is nothing to divide by
        if not (y < x).any():
            return x
        x = np.minimum(x, y)


def i_layernorm(q: Ints, weight: Ints, bias: Ints) -> Ints:
    """Normalise each row, shape (rows, cols); `weight` and `bias` are integers, shape (cols,).

    The scale of q cancels. With z the normalised row in units of sqrt(cols) / 2^30, the result is
    `z * weight + bias` for a bias in those units times the scale of the weight.
    """
    cols = q.shape[-1]
    mean = (2 * q.sum(axis=-1, keepdims=True) + cols) // (2 * cols)
    centered = q - mean
    std = np.maximum(i_sqrt((centered**2).sum(axis=-1, keepdims=True)), 1)
    found: Ints = (centered * (2 ** (NORM_BITS + 1) // std) >> 1) * weight + bias
    return found
