"""Products that tests of kernels measure by formula."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwmodels.kernels.machine import machine
from hwmodels.kernels.records import Gemm

A100 = machine("a100_sxm_80gb")


def products(m: Any, n: Any, k: Any, a_format: str = "bf16", w_format: str = "bf16") -> Gemm:
    shape = np.broadcast_arrays(np.asarray(m, float), np.asarray(n, float), np.asarray(k, float))
    m, n, k = (np.atleast_1d(value).copy() for value in shape)
    return Gemm(batch=np.ones(len(m)), m=m, n=n, k=k, a_format=a_format, w_format=w_format)


def some_products(number: int = 300, seed: int = 0) -> Gemm:
    rng = np.random.default_rng(seed)
    m, n, k = (np.floor(2 ** rng.uniform(low, 14, number)) for low in (0, 6, 6))
    return products(m, n, k)
