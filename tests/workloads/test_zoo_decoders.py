"""Decoders of the zoo against transformers: the same weights give the same logits, in prefill and in a decode step."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from tests.workloads.zoo_compare import (
    TOLERANCE,
    Arrays,
    config_of,
    random_model,
    run,
    state_of,
    trained,
    written,
)
from workloads.zoo import parameter_count
from workloads.zoo.phase import Phase

torch = pytest.importorskip("torch")

LENGTH = 11
VOCABULARY = 101
_LLAMA = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": VOCABULARY, "max_position_embeddings": 64, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_ONE_GROUP = {key: value for key, value in _LLAMA.items() if key not in ("num_key_value_heads", "intermediate_size")}
_ROPE = {"rope_theta": 10000.0, "original_max_position_embeddings": 16, "factor": 4.0}
_LLAMA3 = {**_ROPE, "rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
_YARN = {**_ROPE, "rope_type": "yarn", "beta_fast": 32.0, "beta_slow": 1.0}
_LONG = {
    "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0 + index / 8 for index in range(8)],
    "long_factor": [2.0 + index for index in range(8)], "original_max_position_embeddings": 16,
}  # fmt: skip
_GEMMA3 = {**_LLAMA, "head_dim": 32, "sliding_window": 5, "query_pre_attn_scalar": 24}
_GPT_OSS = {**_LLAMA, "head_dim": 16, "num_local_experts": 6, "num_experts_per_tok": 2, "sliding_window": 5}
_MOE = {"moe_intermediate_size": 40, "num_experts": 8, "num_experts_per_tok": 3}
_GPT2 = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": VOCABULARY, "n_positions": 64, "bos_token_id": 0, "eos_token_id": 0}  # fmt: skip  # noqa: E501
_OPT = {**_ONE_GROUP, "ffn_dim": 96}
_NEOX = {**_ONE_GROUP, "intermediate_size": 96}
_MLA = {
    **_NEOX, "kv_lora_rank": 24, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 20, "q_lora_rank": 32,
    "num_key_value_heads": 4, "moe_intermediate_size": 40, "n_routed_experts": 8, "num_experts_per_tok": 3,
    "first_k_dense_replace": 1,
}  # fmt: skip
_GROUPED = {"n_group": 4, "topk_group": 2, "routed_scaling_factor": 2.5}
_DEEP_YARN = {**_YARN, "factor": 40.0, "mscale": 0.707, "mscale_all_dim": 0.707}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {**_LLAMA, "attention_bias": True, "mlp_bias": True}),
    "llama-tied-rope-by-wavelength": ("llama", {**_LLAMA, "rope_parameters": _LLAMA3, "tie_word_embeddings": True}),
    "llama-rope-linear": ("llama", {**_LLAMA, "rope_parameters": {**_ROPE, "rope_type": "linear"}}),
    "llama-rope-yarn": ("llama", {**_LLAMA, "rope_parameters": _YARN}),
    "mistral-ring": ("mistral", {**_LLAMA, "sliding_window": 5, "head_dim": 24}),
    "mixtral": ("mixtral", {**_LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen2": ("qwen2", {**_LLAMA, "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}),
    "qwen2-moe": ("qwen2_moe", {**_LLAMA, **_MOE, "shared_expert_intermediate_size": 48, "mlp_only_layers": [1]}),
    "qwen3": ("qwen3", {**_LLAMA, "head_dim": 32}),
    "qwen3-moe": ("qwen3_moe", {**_LLAMA, **_MOE, "head_dim": 32, "norm_topk_prob": True, "attention_bias": True}),
    "gemma": ("gemma", {**_LLAMA, "head_dim": 32, "num_key_value_heads": 1}),
    "gemma2": ("gemma2", {**_LLAMA, "head_dim": 32, "sliding_window": 5, "query_pre_attn_scalar": 24}),
    "phi3": ("phi3", dict(_LLAMA)),
    "phi3-rope-long": ("phi3", {**_LLAMA, "original_max_position_embeddings": 16, "rope_parameters": _LONG}),
    "gpt2": ("gpt2", dict(_GPT2)),
    "gpt2-scaled-by-layer": ("gpt2", {**_GPT2, "scale_attn_by_inverse_layer_idx": True, "n_inner": 72}),
    "opt": ("opt", dict(_OPT)),
    "opt-350m-like": ("opt", {**_OPT, "word_embed_proj_dim": 32, "do_layer_norm_before": False}),
    "gpt-neox": ("gpt_neox", dict(_NEOX)),
    "gpt-neox-in-series": ("gpt_neox", {**_NEOX, "use_parallel_residual": False, "rotary_pct": 1.0}),
    "phi": ("phi", dict(_NEOX)),
    "phi-tied": ("phi", {**_NEOX, "tie_word_embeddings": True}),
    "falcon-7b-like": ("falcon", dict(_ONE_GROUP)),
    "falcon-40b-like": ("falcon", {**_ONE_GROUP, "new_decoder_architecture": True, "num_kv_heads": 2, "bias": True}),
    "bloom": ("bloom", {"hidden_size": 60, "n_layer": 2, "n_head": 6, "vocab_size": VOCABULARY}),
    "cohere": ("cohere", {**_LLAMA, "use_qk_norm": True, "attention_bias": True, "logit_scale": 0.25}),
    "cohere-plain": ("cohere", {**_LLAMA, "tie_word_embeddings": False}),
    "gemma3": ("gemma3_text", {**_GEMMA3, "layer_types": ["sliding_attention", "full_attention"]}),
    "gemma3-capped": (
        "gemma3_text",
        {**_GEMMA3, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 2.0, "attention_bias": True},
    ),
    "gptj": ("gptj", {**_GPT2, "rotary_dim": 8}),
    "gptj-whole-heads": ("gptj", {**_GPT2, "rotary_dim": 16, "n_inner": 72, "tie_word_embeddings": True}),
    "gpt-oss": ("gpt_oss", dict(_GPT_OSS)),
    "gpt-oss-limited": (
        "gpt_oss", {**_GPT_OSS, "swiglu_limit": 0.02, "num_key_value_heads": 4, "tie_word_embeddings": True},
    ),
    "olmo": ("olmo", {**_LLAMA, "clip_qkv": 0.05}),
    "olmo-biased": ("olmo", {**_LLAMA, "attention_bias": True, "tie_word_embeddings": True}),
    "olmo2": ("olmo2", {**_LLAMA, "attention_bias": True}),
    "stablelm": ("stablelm", {**_LLAMA, "use_qkv_bias": True, "partial_rotary_factor": 0.5}),
    "stablelm-2-12b-like": ("stablelm", {**_LLAMA, "qk_layernorm": True, "use_parallel_residual": True}),
    "starcoder2": ("starcoder2", {**_LLAMA, "sliding_window": 5}),
    "starcoder2-plain": ("starcoder2", {**_LLAMA, "use_bias": False, "tie_word_embeddings": False}),
    "deepseek-v2-lite-like": ("deepseek_v2", {**_MLA, "q_lora_rank": None}),
    "deepseek-v2": ("deepseek_v2", {**_MLA, **_GROUPED, "topk_method": "group_limited_greedy", "rope_parameters": _DEEP_YARN}),  # noqa: E501
    "deepseek-v3": ("deepseek_v3", {**_MLA, **_GROUPED, "norm_topk_prob": True}),
    "deepseek-v3-not-normalised": (
        "deepseek_v3", {**_MLA, **_GROUPED, "norm_topk_prob": False, "rope_interleave": False, "rope_parameters": _DEEP_YARN},  # noqa: E501
    ),
}  # fmt: skip


def _model(name: str) -> tuple[Any, dict[str, Any], Arrays]:
    """Give a random transformers model, its configuration and its values."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind, values = CASES[name]
    model = random_model(kind, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[kind], values)
    for buffer, value in model.named_buffers():
        if buffer.endswith("e_score_correction_bias"):  # zero at first: it would not change the choice
            value += 0.3 * torch.randn(value.shape, generator=torch.Generator().manual_seed(2))
    return model, config_of(model), state_of(model)


def _tokens(length: int = LENGTH) -> Any:
    return torch.randint(3, VOCABULARY, (2, length), generator=torch.Generator().manual_seed(3))


def _logits(model: Any, ids: Any) -> NDArray[np.float32]:
    with torch.no_grad():
        return np.asarray(model(ids).logits)


def _room(config: Mapping[str, Any], present: Mapping[str, NDArray[Any]], total: int, kv_bits: int | None) -> Arrays:
    """Lay what a prefill kept into caches of `total` tokens, or into the ring of a window."""
    writer = written(config, Phase(name="decode", kv_bits=kv_bits))
    caches: Arrays = {}
    for item in writer.model().graph.input:
        if not item.name.startswith("past_"):
            continue
        dims = [dim.dim_param for dim in item.type.tensor_type.shape.dim]
        place = next(index for index, dim in enumerate(dims) if dim in ("total", "window_total"))
        size = writer.limits.get(dims[place], total)
        kept = present[item.name.replace("past_", "present_")]
        shape = (*kept.shape[:place], size, *kept.shape[place + 1 :])
        cache = np.zeros(shape, kept.dtype)
        first = max(0, kept.shape[place] - size)
        for index in range(first, kept.shape[place]):
            np.moveaxis(cache, place, 0)[index % size] = np.moveaxis(kept, place, 0)[index]
        caches[item.name] = cache
    return caches


def _decode(config: Mapping[str, Any], state: Arrays, ids: Any, kv_bits: int | None = None) -> NDArray[Any]:
    """Give the logits of the last token: a prefill of those before it, then one decode step."""
    before = ids.shape[1] - 1
    present = run(config, state, Phase(name="prefill", kv_bits=kv_bits), {"input_ids": ids[:, :before]})
    feeds = {"input_ids": ids[:, before:], "position": np.full(2, before, np.int64)}
    feeds |= _room(config, present, before + 1, kv_bits)
    return run(config, state, Phase(name="decode", kv_bits=kv_bits), feeds)["logits"][:, 0]


@pytest.mark.parametrize("name", CASES)
def test_prefill_and_decode_step_give_the_logits_of_transformers(name: str) -> None:
    model, config, state = _model(name)
    ids = _tokens()
    wanted = _logits(model, ids)
    assert np.abs(wanted).max() > 0.02  # not all zero
    ours = run(config, state, Phase(name="prefill", logits="all"), {"input_ids": ids})["logits"]
    assert np.abs(ours - wanted).max() < TOLERANCE
    assert np.abs(_decode(config, state, ids) - wanted[:, -1]).max() < TOLERANCE
    assert parameter_count(config) == trained(model)
    onnx.checker.check_model(written(config, Phase(name="decode")).model(lambda item: item.make(state)))


@pytest.mark.parametrize("name", CASES)
def test_half_precision_graphs_are_valid_and_have_one_float_format(name: str) -> None:
    from workloads.zoo.build import graph

    _, config, state = _model(name)
    for phase in ("prefill", "decode"):
        writer = graph(config, phase=phase, dtype="fp16")
        model = writer.model(lambda item: item.make(state))
        onnx.checker.check_model(model, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        assert {item.type.tensor_type.elem_type for item in inferred.graph.output} == {onnx.TensorProto.FLOAT16}
        for other in (4, 8):
            quantized = graph(config, phase=phase, dtype="fp16", kv_bits=other)
            onnx.checker.check_model(quantized.model(lambda item: item.make(state)))


@pytest.mark.parametrize("name", ["mistral-ring", "gemma2"])
def test_a_ring_is_written_round_and_round(name: str) -> None:
    model, config, state = _model(name)
    steps, start = 16, 3
    ids = _tokens(steps)
    wanted = _logits(model, ids)
    kept = run(config, state, Phase(name="prefill"), {"input_ids": ids[:, :start]})
    caches = _room(config, kept, steps, None)
    for position in range(start, steps):
        feeds = {"input_ids": ids[:, position : position + 1], "position": np.full(2, position, np.int64)}
        # a cache with room for more tokens than there are holds zeros, which a step would see: cut it
        room = {name: _cut(config, name, cache, position + 1) for name, cache in caches.items()}
        found = run(config, state, Phase(name="decode"), {**feeds, **room})
        assert np.abs(found["logits"][:, 0] - wanted[:, position]).max() < TOLERANCE
        for cache_name, cache in caches.items():
            present = found[cache_name.replace("past_", "present_")]
            cache[tuple(slice(0, size) for size in present.shape)] = present


def _cut(config: Mapping[str, Any], name: str, cache: NDArray[Any], total: int) -> NDArray[Any]:
    """Give the part of a cache that `total` tokens fill."""
    place = 3 if "key" in name else 2
    return cache.take(np.arange(min(total, cache.shape[place])), axis=place)


@pytest.mark.parametrize("name", ["llama", "mistral-ring", "gemma2", "opt", "deepseek-v2-lite-like"])
def test_an_8_bit_cache_is_the_rounded_cache(name: str) -> None:
    model, config, state = _model(name)
    ids = _tokens()
    wanted = _logits_of_rounded_cache(model, ids, step=0.05, largest=127)
    error = np.abs(_decode(config, state, ids, kv_bits=8) - wanted).max()
    assert error < TOLERANCE
    # Each stored value is off by half a step, 0.025, at most; keys, values and logits are of order one.
    effect = np.abs(wanted - _logits(model, ids)[:, -1]).max()
    assert TOLERANCE < effect < 0.1


def _logits_of_rounded_cache(model: Any, ids: Any, step: float, largest: int) -> NDArray[np.float32]:
    """Give transformers' logits of the last token where all that its cache holds is rounded."""
    from transformers import DynamicCache

    def rounded(value: Any) -> Any:
        return torch.clamp(torch.round(value / step), -largest - 1, largest) * step

    cache: Any = DynamicCache(config=model.config)
    keep = cache.update
    name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    with torch.no_grad():
        model(ids[:, :-1], use_cache=True, **{name: cache})
        for layer in cache.layers:
            layer.keys, layer.values = rounded(layer.keys), rounded(layer.values)
        cache.update = lambda keys, values, *rest, **more: keep(rounded(keys), rounded(values), *rest, **more)
        return np.asarray(model(ids[:, -1:], use_cache=True, **{name: cache}).logits[:, 0])
