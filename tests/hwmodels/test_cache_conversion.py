"""A device that dequantizes on the way in reads a quantized KV cache as it is stored, and nothing more."""

from __future__ import annotations

from dataclasses import replace

import pytest

import hwmodels
from hwmodels.fusion import is_cache_conversion, plan_steps
from workloads import Workload
from workloads.zoo import architecture

CONTEXT = 4095
CACHE_VALUES = 2 * 16 * 8 * 64 * (CONTEXT + 1)  # Llama 3.2 1B: keys and values, 16 layers, 8 heads of 64


def step(kv_bits: int | None) -> Workload:
    return architecture("llama-3.2-1b", phase="decode", context=CONTEXT, kv_bits=kv_bits)


def dram_bytes(kv_bits: int | None, fuses: tuple[str, ...]) -> float:
    device = replace(hwmodels.load("h100-sxm"), fuses=fuses)
    return float(hwmodels.evaluate(step(kv_bits), device).dram_bytes)


@pytest.mark.parametrize("kv_bits", [8, 4])
def test_fused_the_cache_costs_its_stored_bits(kv_bits: int) -> None:
    saved = dram_bytes(None, ("dequantize",)) - dram_bytes(kv_bits, ("dequantize",))
    assert saved == pytest.approx(CACHE_VALUES * (16 - kv_bits) / 8, rel=0.01)  # the new token is quantized apart


@pytest.mark.parametrize("kv_bits", [8, 4])
def test_not_fused_it_costs_a_float_copy_that_is_written_and_read(kv_bits: int) -> None:
    more = dram_bytes(kv_bits, ()) - dram_bytes(kv_bits, ("dequantize",))
    assert more == pytest.approx(CACHE_VALUES * 2 * 2, rel=0.01)


def test_a_cache_that_two_products_read_stays_a_kernel_of_its_own() -> None:
    """Latent attention reads its cache for scores and for values: one kernel cannot keep the float copy for both."""
    work = architecture("deepseek-v2-lite", phase="decode", context=99, kv_bits=8)
    alone = [part for part in plan_steps(work, ("dequantize",)) if len(part.operators) == 1]
    assert sum(is_cache_conversion(part.operators[0]) for part in alone) == 27
