"""I-BERT's integer functions: against Python's integers, and against the functions that they stand for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.measure.device import integers
from dse.measure.device.signatures import KernelError

SCALE = 2.0**-10


def test_the_exponential_is_as_near_as_the_paper_says() -> None:
    # Kim et al. 2021, section 3.5: largest error 1.9e-3 for the code's digits; those printed in the paper give 2.1e-3
    # (worked out apart from this code). Rounding p, b and c to integers of scale s adds up to (2 b + 1) s.
    scale = 2.0**-14
    constants = integers.exp_constants(scale)
    x = np.arange(-12 * 2**14, 1)
    found = integers.i_exp(x, constants) * constants.scale
    assert np.abs(found - np.exp(x * scale)).max() < 2.1e-3 + 3.8 * scale
    assert np.abs(found - np.exp(x * scale)).max() > 1e-3  # the polynomial's own error is there


def test_gelu_is_as_near_as_the_paper_says() -> None:
    # Kim et al. 2021, table 1: largest error of i-GELU on [-4, 4] is 0.018.
    x = np.arange(-4 * 2**10, 4 * 2**10 + 1)
    found = integers.i_gelu(x, SCALE) * integers.gelu_constants(SCALE).scale
    real = x * SCALE
    gelu = real * 0.5 * np.array([math.erfc(-value / math.sqrt(2)) for value in real])
    assert 0.017 < np.abs(found - gelu).max() < 0.0182 + 4 * SCALE


def test_softmax_is_within_one_step_and_the_exponentials_error_of_the_real_one() -> None:
    q = np.random.default_rng(0).normal(0, 3 / SCALE, (64, 200)).round().astype(np.int64)
    found = integers.i_softmax(q, SCALE, bits=8) / 2**8
    real = np.exp((q - q.max(-1, keepdims=True)) * SCALE)
    real /= real.sum(-1, keepdims=True)
    # exp is off by less than 1.8 % of itself: 2.1e-3 and the rounding of its integers, over 1/2 at least.
    assert np.abs(found - real).max() < 2.0**-8 + 0.018
    assert (found.sum(-1) <= 1 + 1e-12).all()  # every step rounds down


def test_softmax_of_bits_that_hold_more_is_nearer() -> None:
    q = np.random.default_rng(1).normal(0, 3 / SCALE, (16, 50)).round().astype(np.int64)
    real = np.exp((q - q.max(-1, keepdims=True)) * SCALE)
    real /= real.sum(-1, keepdims=True)
    coarse, fine = (np.abs(integers.i_softmax(q, SCALE, bits) / 2**bits - real).mean() for bits in (8, 16))
    assert fine < coarse


def test_a_row_of_one_saturates() -> None:
    assert integers.i_softmax(np.array([[5]]), SCALE, 8).tolist() == [[255]]


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=20))
def test_the_square_root_is_the_integer_one(values: list[int]) -> None:
    assert integers.i_sqrt(np.array(values)).tolist() == [math.isqrt(value) for value in values]


@pytest.mark.parametrize("value", [2**62 - 1, (2**31 - 1) ** 2, (2**31 - 1) ** 2 - 1, 0, 1, 2, 3])
def test_the_square_root_holds_at_the_edges(value: int) -> None:
    assert integers.i_sqrt(np.array([value]))[0] == math.isqrt(value)


def test_layernorm_is_the_real_one_to_the_rounding_of_its_mean_and_root() -> None:
    rng = np.random.default_rng(2)
    q = rng.normal(0, 1000, (32, 300)).round().astype(np.int64)
    weight, bias = rng.integers(-127, 128, 300), rng.integers(-(2**30), 2**30, 300)
    units = math.sqrt(300) / 2**30
    found = integers.i_layernorm(q, weight, bias) * units
    centered = q - q.mean(-1, keepdims=True)
    real = centered / np.sqrt((centered**2).mean(-1, keepdims=True)) * weight + bias * units
    # The mean is off by half of a thousandth of a standard deviation, the root by one of sqrt(300) * 1000.
    assert np.abs(found - real).max() < 127 * (0.5 / 1000 + 4 / (math.sqrt(300) * 1000)) * 1.1


def test_a_constant_row_normalises_to_its_bias() -> None:
    found = integers.i_layernorm(np.full((1, 8), 7), np.full(8, 3), np.arange(8))
    assert found.tolist() == [list(range(8))]


def test_scales_that_overflow_are_refused() -> None:
    with pytest.raises(KernelError, match="i-exp with a scale"):
        integers.exp_constants(1e-6)
    with pytest.raises(KernelError, match="i-exp with a scale"):
        integers.exp_constants(1.0)
    with pytest.raises(KernelError, match="i-GELU with a scale"):
        integers.gelu_constants(1e-6)
