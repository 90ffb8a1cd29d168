"""Configurations in the form of older checkpoints say the same as in the form that transformers 5 writes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from workloads import WorkloadError
from workloads.zoo.families import family_of

transformers = pytest.importorskip("transformers")

SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 7, "num_attention_heads": 4, "vocab_size": 101,
    "num_key_value_heads": 2,
}  # fmt: skip
ENCODER = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
OLDER: dict[str, dict[str, Any]] = {
    "gemma3_text": {
        **SIZES, "head_dim": 32, "sliding_window": 512, "sliding_window_pattern": 6, "rope_theta": 1_000_000.0,
        "rope_local_base_freq": 9_000.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "query_pre_attn_scalar": 32, "max_position_embeddings": 256,
    },
    "cohere": {**SIZES, "rope_theta": 8_000_000.0, "logit_scale": 0.0625, "use_qk_norm": False},
    "gpt_oss": {
        **SIZES, "head_dim": 16, "rope_theta": 140_000, "num_local_experts": 4, "num_experts_per_tok": 2,
        "rope_scaling": {
            "rope_type": "yarn", "factor": 16.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
            "original_max_position_embeddings": 4096,
        },
    },
    "modernbert": {
        **ENCODER, "global_rope_theta": 150_000.0, "local_rope_theta": 9_000.0, "global_attn_every_n_layers": 4,
        "local_attention": 64,
    },
    "olmo": {**SIZES, "rope_theta": 20_000.0, "clip_qkv": 8.0},
    "olmo2": {**SIZES, "rope_theta": 500_000, "rms_norm_eps": 1e-6},
    "stablelm": {**SIZES, "rope_theta": 20_000, "partial_rotary_factor": 0.5, "use_qkv_bias": True},
    "starcoder2": {**SIZES, "rope_theta": 999_999.4, "sliding_window": 4096, "norm_epsilon": 1e-5},
}  # fmt: skip
DEFAULTS = (
    "cohere",
    "gemma3_text",
    "gpt_oss",
    "gptj",
    "modernbert",
    "mpnet",
    "olmo",
    "olmo2",
    "stablelm",
    "starcoder2",
)


def newer(kind: str, values: dict[str, Any]) -> dict[str, Any]:
    config = transformers.AutoConfig.for_model(kind, **values)
    written: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return written


@pytest.mark.parametrize("kind", OLDER)
def test_older_fields_mean_what_transformers_makes_of_them(kind: str) -> None:
    old = {"model_type": kind, **OLDER[kind]}
    read = family_of(old).read
    assert read(old) == read(newer(kind, OLDER[kind]))


@pytest.mark.parametrize("kind", DEFAULTS)
def test_fields_that_are_left_out_have_the_defaults_of_transformers(kind: str) -> None:
    whole = newer(kind, {})
    sizes = {
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
        "vocab_size", "n_embd", "n_layer", "n_head", "max_position_embeddings", "num_local_experts", "head_dim",
    }  # fmt: skip
    brief = {"model_type": kind, **{name: value for name, value in whole.items() if name in sizes}}
    read = family_of(brief).read
    assert read(brief) == read(whole)


def test_scaled_distances_inside_a_window_are_refused() -> None:
    table = {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_type": "linear", "factor": 2.0}}
    config = {"model_type": "gemma3_text", **SIZES, "head_dim": 32, "rope_parameters": table}
    with pytest.raises(WorkloadError, match="rope_type = 'linear' of layers with a window is not supported"):
        family_of(config).read(config)
