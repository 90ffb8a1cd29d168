"""gpt-oss: a mixture of experts in every layer, every other layer with a window, a sink in every head's softmax.

The experts are gated by clamp(gate) sigmoid(1.702 gate) (clamp(up) + 1), and all products have biases.

Source: OpenAI 2025, gpt-oss-120b and gpt-oss-20b model card, arXiv 2508.10925; parameter names: transformers 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from workloads.zoo.config import Config
from workloads.zoo.decoding import Tokens, begin, logits, self_attention
from workloads.zoo.graph import GraphWriter, stored
from workloads.zoo.layers import Heads, embedding, linear, rms_norm, rotary_tables, rotate
from workloads.zoo.moe import experts_field
from workloads.zoo.phase import Phase
from workloads.zoo.rope import WIDEST_HEAD, rope_frequencies

__all__ = ["MODEL_TYPES", "GptOss", "read", "write"]

MODEL_TYPES = ("gpt_oss",)

_YARN = {
    "rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False,
    "original_max_position_embeddings": 4096,
}  # fmt: skip
"""The scaling of a configuration that names none (transformers 5, GptOssConfig)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GptOss:
    """One architecture of this kind.

    Attributes:
        layers: Number of layers.
        width: Of the hidden state.
        heads: Of the attention.
        vocabulary: Number of tokens.
        eps: Of the norms.
        tied: The output matrix is the embedding table.
        bias: Biases in the attention.
        windows: Per layer, how many tokens it sees; None: all.
        frequencies: Rotary inverse wavelengths.
        rope_factor: Of the rotary tables.
        experts: Number of experts.
        chosen: Experts per token.
        inner: Width inside one expert.
        alpha: Of the gate's sigmoid.
        limit: Bound of gate and up.
    """

    layers: int
    width: int
    heads: Heads
    vocabulary: int
    eps: float
    tied: bool
    bias: bool
    windows: tuple[int | None, ...]
    frequencies: tuple[float, ...]
    rope_factor: float
    experts: int
    chosen: int
    inner: int
    alpha: float
    limit: float


def read(values: Mapping[str, Any]) -> GptOss:
    """Read a configuration (the content of a config.json)."""
    if values.get("rope_parameters") is None and values.get("rope_scaling") is None:
        values = {**values, "rope_scaling": _YARN}
    c = Config(values)
    heads, layers = c.heads("num_attention_heads"), c.depth("num_hidden_layers")
    head_width = c.int("head_dim", 64, WIDEST_HEAD)
    frequencies, factor = rope_frequencies(c, head_width, base=150_000.0)
    experts = c.int(experts_field(c, "num_local_experts"))
    return GptOss(
        layers=layers,
        width=c.int("hidden_size"),
        heads=Heads(heads, c.groups("num_key_value_heads", heads), head_width),
        vocabulary=c.int("vocab_size"),
        eps=c.positive("rms_norm_eps", 1e-5),
        tied=c.flag("tie_word_embeddings", False),
        bias=c.flag("attention_bias", True),
        windows=_windows(c, layers),
        frequencies=frequencies,
        rope_factor=factor,
        experts=experts,
        chosen=c.int("num_experts_per_tok", 4, experts),
        inner=c.int("intermediate_size"),
        alpha=c.factor("swiglu_alpha", 1.702),
        limit=c.factor("swiglu_limit", 7.0),
    )


def _windows(c: Config, layers: int) -> tuple[int | None, ...]:
    window = c.optional_int("sliding_window", 128)
    types = c.strings("layer_types", ()) or tuple(
        "full_attention" if layer % 2 else "sliding_attention" for layer in range(layers)
    )
    if len(types) != layers or set(types) - {"sliding_attention", "full_attention"}:
        raise c.fault("layer_types", f"is not one of sliding_attention and full_attention for each of {layers} layers")
    return tuple(window if item == "sliding_attention" else None for item in types)


def write(g: GraphWriter, model: GptOss, phase: Phase) -> None:
    """Write one phase: inputs `input_ids` [b, l] (decode: [b, 1], `position` [b], `past_*`), output `logits`."""
    tokens = begin(g, phase, model.windows)
    tables = rotary_tables(g, tokens.positions, list(model.frequencies), model.rope_factor)
    with g.scope("model"):
        x = embedding(g, tokens.ids, "embed_tokens", model.vocabulary, model.width)
        for layer in range(model.layers):
            with g.scope(f"layers.{layer}"):
                normed = rms_norm(g, x, "input_layernorm", model.width, model.eps)
                x = g.node("Add", x, _attention(g, model, normed, tables, tokens, layer))
                normed = rms_norm(g, x, "post_attention_layernorm", model.width, model.eps)
                x = g.node("Add", x, _mixture(g, model, normed))
        x = rms_norm(g, x, "norm", model.width, model.eps)
    table = "model.embed_tokens.weight" if model.tied else ""
    g.output("logits", logits(g, x, phase, model.vocabulary, model.width, table=table), 3)


def _attention(g: GraphWriter, model: GptOss, x: str, tables: tuple[str, str], tokens: Tokens, layer: int) -> str:
    heads = model.heads
    with g.scope("self_attn"):
        q, k, v = (
            linear(g, x, f"{part}_proj", model.width, count * heads.width, bias=model.bias)
            for part, count in (("q", heads.count), ("k", heads.groups), ("v", heads.groups))
        )
        q, k = rotate(g, q, tables, heads.count), rotate(g, k, tables, heads.groups)
        sinks = g.parameter("sinks", (heads.count,), fill=0.0)
        merged = self_attention(g, tokens, layer, q, k, v, heads, window=model.windows[layer], sinks=sinks)
        return linear(g, merged, "o_proj", heads.count * heads.width, model.width, bias=model.bias)


def _mixture(g: GraphWriter, model: GptOss, x: str) -> str:
    """Write the operator: the checkpoint keeps [e, in, out], gate and up in turn; the operator takes [e, out, in]."""
    count, width, inner = model.experts, model.width, model.inner
    with g.scope("mlp"):
        scores = linear(g, x, "router", width, count)
        rows = g.node("Reshape", scores, g.constant([-1, count]))
        with g.scope("experts"):
            first, second = (
                g.parameter(name, shape, _swapped(g.path(name)))
                for name, shape in (
                    ("gate_up_proj", (count, 2 * inner, width)),
                    ("down_proj", (count, width, inner)),
                )
            )
            first_bias = g.parameter("gate_up_proj_bias", (count, 2 * inner), fill=0.0)
            second_bias = g.parameter("down_proj_bias", (count, width), fill=0.0)
        return g.node(
            "MoE", x, rows, first, first_bias, second, second_bias, domain="com.microsoft", k=model.chosen,
            activation_type="swiglu", swiglu_fusion=1, activation_alpha=model.alpha, activation_beta=1.0,
            swiglu_limit=model.limit, normalize_routing_weights=1,
        )  # fmt: skip


def _swapped(name: str) -> Any:
    return lambda state: np.swapaxes(stored(name)(state), 1, 2)
