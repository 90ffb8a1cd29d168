"""Generations are exact sums over contexts, and KV caches hold what their kind of attention keeps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hwmodels
from workloads import Workload, WorkloadError
from workloads.zoo import architecture, generation
from workloads.zoo.contexts import strata

WINDOWED = {
    "model_type": "mistral",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 101,
    "sliding_window": 20,
}


@given(
    start=st.integers(0, 50),
    length=st.integers(1, 60),
    kinks=st.lists(st.integers(1, 120), max_size=3),
    points=st.integers(1, 5),
    slopes=st.lists(st.integers(-9, 9), min_size=4, max_size=4),
)
def test_strata_sum_functions_that_bend_at_the_kinks_exactly(
    start: int, length: int, kinks: list[int], points: int, slopes: list[int]
) -> None:
    def cost(context: int) -> float:
        bends = zip(slopes[1:], kinks, strict=False)
        return slopes[0] * context + sum(slope * min(context + 1, kink) for slope, kink in bends)

    contexts = range(start, start + length)
    weights = strata(contexts, kinks, points)
    assert sum(weights.values()) == length
    assert contexts[-1] in weights
    assert sum(weight * cost(context) for context, weight in weights.items()) == pytest.approx(
        sum(map(cost, contexts)), abs=1e-6
    )


@pytest.mark.parametrize(
    ("source", "prompt", "tokens"), [("gpt2", 16, 40), (WINDOWED, 5, 40)], ids=["all tokens", "sliding window"]
)
def test_a_few_contexts_stand_for_all(source: Any, prompt: int, tokens: int) -> None:
    short = generation(source, prompt=prompt, tokens=tokens)
    full = generation(source, prompt=prompt, tokens=tokens, exact=True)
    assert len(full.parts) == tokens
    assert len(short.parts) < len(full.parts)
    assert short.flops() == pytest.approx(full.flops(), rel=1e-12)
    assert short.dram_bytes() == pytest.approx(full.dram_bytes(), rel=1e-12)
    device = hwmodels.load("h100-sxm")
    assert hwmodels.evaluate(short, device).latency_s == pytest.approx(
        hwmodels.evaluate(full, device).latency_s, rel=0.01
    )


def cache_bytes(work: Workload) -> float:
    """Add up the caches that a decode step is given."""
    caches = {
        tensor.name: float(tensor.stored_bytes(op.dims))
        for op in work.operators
        for tensor in op.inputs
        if tensor.name.startswith("past_")
    }
    return sum(caches.values())


# By hand, in fp16: layers x (keys + values) x heads of keys and values x width x 2 B, or what latent attention keeps.
CACHES = [
    pytest.param("llama-2-7b", 2 * 32 * 32 * 128 * 2, id="MHA"),
    pytest.param("llama-3-8b", 2 * 32 * 8 * 128 * 2, id="GQA"),
    pytest.param("gemma-2b", 2 * 18 * 1 * 256 * 2, id="MQA"),
    pytest.param("deepseek-v2", 60 * (512 + 64) * 2, id="MLA"),
]


@pytest.mark.parametrize(("name", "bytes_per_token"), CACHES)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_cache_of_a_token_has_the_bytes_of_its_attention(name: str, bytes_per_token: int, batch: int) -> None:
    work = architecture(name, phase="decode", context=499, batch=batch)
    assert cache_bytes(work) == batch * 500 * bytes_per_token


@pytest.mark.parametrize("context", [100, 4095, 4096, 9000])
def test_a_sliding_window_keeps_no_more_than_its_window(context: int) -> None:
    per_token = 2 * 32 * 8 * 128 * 2
    assert cache_bytes(architecture("mistral-7b-v0.1", phase="decode", context=context)) == per_token * min(
        context + 1, 4096
    )


@pytest.mark.parametrize(("kv_bits", "share"), [(8, 0.5), (4, 0.25)])
def test_a_quantized_cache_is_as_narrow_as_asked(kv_bits: int, share: float) -> None:
    plain = architecture("llama-3.2-1b", phase="decode", context=999)
    narrow = architecture("llama-3.2-1b", phase="decode", context=999, kv_bits=kv_bits)
    assert cache_bytes(narrow) == share * cache_bytes(plain)
    assert narrow.macs() == plain.macs()


@settings(max_examples=20, deadline=None)
@given(prompt=st.integers(1, 30), tokens=st.integers(1, 30))
def test_weights_of_a_generation_count_its_tokens(prompt: int, tokens: int) -> None:
    assert sum(weight for weight, _ in generation(WINDOWED, prompt=prompt, tokens=tokens, points=1)) == tokens


def test_a_generation_without_tokens_is_refused() -> None:
    with pytest.raises(WorkloadError, match="at least one token"):
        generation("gpt2", prompt=4, tokens=0)
