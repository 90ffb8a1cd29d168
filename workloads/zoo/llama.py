"""Decoders of the Llama kind: RMSNorm before each block, rotary positions, gated feed-forward, shared key/value heads.

Llama 2 and 3, Mistral, Mixtral, Qwen2, Qwen3 (and their mixtures of experts), Phi-3, Gemma and Gemma 2 differ in a
handful of switches, which are read from their configurations.

Sources: Touvron et al. 2023, arXiv 2307.09288; Grattafiori et al. 2024, arXiv 2407.21783; Jiang et al. 2023, arXiv
2310.06825; Jiang et al. 2024, arXiv 2401.04088; Yang et al. 2024, arXiv 2407.10671; Abdin et al. 2024, arXiv
2404.14219; Gemma Team 2024, arXiv 2408.00118; parameter names: transformers 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workloads.zoo.config import Config
from workloads.zoo.decoding import Tokens, begin, logits, self_attention
from workloads.zoo.graph import GraphWriter
from workloads.zoo.layers import (
    Heads,
    activation,
    embedding,
    feed_forward,
    linear,
    rms_norm,
    rotary_tables,
    rotate,
    softcap,
)
from workloads.zoo.moe import Experts, mixture, read_experts
from workloads.zoo.phase import Phase
from workloads.zoo.rope import WIDEST_HEAD, rope_frequencies

__all__ = ["MODEL_TYPES", "Llama", "read", "write"]

MODEL_TYPES = ("llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "phi3", "gemma", "gemma2")
_GEMMA = ("gemma", "gemma2")
_QWEN = ("qwen2", "qwen2_moe", "qwen3", "qwen3_moe")
_WINDOWED = ("mistral", "mixtral", "phi3", "gemma2", *_QWEN)
_BIASED = ("llama", "qwen3", "qwen3_moe", *_GEMMA)
_QWEN_MOE = ("qwen2_moe", "qwen3_moe")


@dataclass(frozen=True, slots=True, kw_only=True)
class Llama:
    """One architecture of this kind.

    Attributes:
        kind: Hugging Face's model type.
        layers: Number of layers.
        width: Of the hidden state.
        heads: Of the attention.
        inner: Width inside the feed-forward block.
        vocabulary: Number of tokens.
        eps: Of the norms.
        act: Activation function.
        tied: The output matrix is the embedding table.
        qkv_bias: Biases on queries, keys and values.
        out_bias: A bias on the output of the attention.
        mlp_bias: Biases in the feed-forward block.
        qk_norm: RMSNorm of each head's queries and keys.
        windows: Per layer, how many tokens it sees; None: all.
        score_cap: Soft bound of the scores.
        logit_cap: Soft bound of the logits.
        scale: Of the scores.
        frequencies: Rotary inverse wavelengths.
        rope_factor: Of the rotary tables.
        experts: Mixture of experts in place of the feed-forward block.
        dense: Layers that keep a plain block all the same.
    """

    kind: str
    layers: int
    width: int
    heads: Heads
    inner: int
    vocabulary: int
    eps: float
    act: str
    tied: bool
    qkv_bias: bool
    out_bias: bool
    mlp_bias: bool
    qk_norm: bool
    windows: tuple[int | None, ...]
    score_cap: float | None
    logit_cap: float | None
    scale: float
    frequencies: tuple[float, ...]
    rope_factor: float
    experts: Experts | None
    dense: frozenset[int]

    @property
    def gemma(self) -> bool:
        """Gemma scales embeddings by the root of the width, and stores norm scales minus one."""
        return self.kind in _GEMMA


def read(values: Mapping[str, Any]) -> Llama:
    """Read a configuration (the content of a config.json)."""
    c = Config(values)
    kind = c.text("model_type")
    heads, width, layers = c.heads("num_attention_heads"), c.int("hidden_size"), c.depth("num_hidden_layers")
    head_width = _head_width(c, kind, width, heads)
    frequencies, factor = rope_frequencies(c, head_width)
    biased = kind in _BIASED and c.flag("attention_bias", False)
    return Llama(
        kind=kind,
        layers=layers,
        width=width,
        heads=Heads(heads, c.groups("num_key_value_heads", heads), head_width),
        inner=c.int("intermediate_size"),
        vocabulary=c.int("vocab_size"),
        eps=c.positive("rms_norm_eps", 1e-6),
        act=_activation(c, kind),
        tied=c.flag("tie_word_embeddings", kind in _GEMMA),
        qkv_bias=kind == "qwen2" or (kind == "qwen2_moe" and c.flag("qkv_bias", True)) or biased,
        out_bias=biased,
        mlp_bias=kind == "llama" and c.flag("mlp_bias", False),
        qk_norm=kind in ("qwen3", "qwen3_moe"),
        windows=_windows(c, kind, layers),
        score_cap=c.optional_factor("attn_logit_softcapping", 50.0 if kind == "gemma2" else None),
        logit_cap=c.optional_factor("final_logit_softcapping", 30.0 if kind == "gemma2" else None),
        scale=1 / math.sqrt(c.positive("query_pre_attn_scalar", head_width) if kind == "gemma2" else head_width),
        frequencies=frequencies,
        rope_factor=factor,
        experts=_experts(c, kind),
        dense=_dense(c, kind, layers),
    )


def _head_width(c: Config, kind: str, width: int, heads: int) -> int:
    if kind in _GEMMA or c.values.get("head_dim") is not None:
        return c.int("head_dim", 256, WIDEST_HEAD)
    return c.share("num_attention_heads", width, heads)


def _activation(c: Config, kind: str) -> str:
    """Read the activation function: where Gemma's older field says "gelu", its tanh form is meant."""
    tanh = "gelu_pytorch_tanh"
    name = c.activation("hidden_activation", c.activation("hidden_act", tanh if kind in _GEMMA else "silu"))
    return tanh if kind == "gemma" and name == "gelu" else name


def _windows(c: Config, kind: str, layers: int) -> tuple[int | None, ...]:
    """Say how far each layer sees: Mistral the same in all layers, Gemma 2 in every other, beginning with the first."""
    if kind not in _WINDOWED or (kind in _QWEN and not c.flag("use_sliding_window", False)):
        return (None,) * layers
    window = c.optional_int("sliding_window", 4096 if kind == "gemma2" else None)
    if window is None:
        return (None,) * layers
    types = c.strings("layer_types", ())
    if types and (len(types) != layers or set(types) - {"sliding_attention", "full_attention"}):
        raise c.fault("layer_types", f"is not one of sliding_attention and full_attention for each of {layers} layers")
    if types:
        return tuple(window if item == "sliding_attention" else None for item in types)
    first = c.int("max_window_layers", 28) if kind in _QWEN else 0
    if kind == "qwen2_moe":
        return tuple(None if layer % 2 or layer >= first else window for layer in range(layers))
    if kind == "gemma2":
        return tuple(None if layer % 2 else window for layer in range(layers))
    return tuple(window if layer >= first or kind == "qwen3_moe" else None for layer in range(layers))


def _experts(c: Config, kind: str) -> Experts | None:
    """Read the mixture of experts of the kinds that have one."""
    if kind == "mixtral":
        return read_experts(c, "num_local_experts", "intermediate_size", normalized=True)
    if kind not in _QWEN_MOE:
        return None
    further: dict[str, Any] = {}
    if kind == "qwen2_moe":
        inner = c.int("shared_expert_intermediate_size")
        further = {"shared": inner, "shared_name": "shared_expert", "shared_gate": True}
    normalized = c.flag("norm_topk_prob", False)
    return read_experts(c, "num_experts", "moe_intermediate_size", normalized=normalized, **further)


def _dense(c: Config, kind: str, layers: int) -> frozenset[int]:
    """Say which layers keep a plain feed-forward block."""
    if kind not in _QWEN_MOE:
        return frozenset()
    step, listed = c.int("decoder_sparse_step", 1), c.layers("mlp_only_layers")
    return frozenset(layer for layer in range(layers) if layer in listed or (layer + 1) % step)


def write(g: GraphWriter, model: Llama, phase: Phase) -> None:
    """Write one phase: inputs `input_ids` [b, l] (decode: [b, 1], `position` [b], `past_*`), output `logits`."""
    tokens = begin(g, phase, model.windows)
    tables = rotary_tables(g, tokens.positions, list(model.frequencies), model.rope_factor)
    with g.scope("model"):
        x = embedding(g, tokens.ids, "embed_tokens", model.vocabulary, model.width)
        if model.gemma:
            x = g.node("Mul", x, g.scalar(math.sqrt(model.width)))
        for layer in range(model.layers):
            with g.scope(f"layers.{layer}"):
                x = _layer(g, model, x, tables, tokens, layer)
        x = _norm(g, model, x, "norm")
    table = "model.embed_tokens.weight" if model.tied else ""
    result = logits(g, x, phase, model.vocabulary, model.width, table=table)
    g.output("logits", softcap(g, result, model.logit_cap), 3)


def _norm(g: GraphWriter, model: Llama, x: str, name: str, width: int | None = None) -> str:
    return rms_norm(g, x, name, width or model.width, model.eps, offset=1.0 if model.gemma else 0.0)


def _layer(g: GraphWriter, model: Llama, x: str, tables: tuple[str, str], tokens: Tokens, layer: int) -> str:
    """One layer: attention and feed-forward, each on a normalised copy and added back (Gemma 2: normalised again)."""
    sandwich = model.kind == "gemma2"
    mixed = _attention(g, model, _norm(g, model, x, "input_layernorm"), tables, tokens, layer)
    if sandwich:
        mixed = _norm(g, model, mixed, "post_attention_layernorm")
    x = g.node("Add", x, mixed)
    before = "pre_feedforward_layernorm" if sandwich else "post_attention_layernorm"
    fed = _feed_forward(g, model, _norm(g, model, x, before), layer)
    if sandwich:
        fed = _norm(g, model, fed, "post_feedforward_layernorm")
    return g.node("Add", x, fed)


def _attention(g: GraphWriter, model: Llama, x: str, tables: tuple[str, str], tokens: Tokens, layer: int) -> str:
    heads = model.heads
    with g.scope("self_attn"):
        q, k, v = _projections(g, model, x)
        if model.qk_norm:
            q = _head_norm(g, model, q, "q_norm", heads.count)
            k = _head_norm(g, model, k, "k_norm", heads.groups)
        rotated = 2 * len(model.frequencies)
        partial = 0 if rotated == heads.width else rotated
        q = rotate(g, q, tables, heads.count, width=partial)
        k = rotate(g, k, tables, heads.groups, width=partial)
        merged = self_attention(
            g, tokens, layer, q, k, v, heads, scale=model.scale, window=model.windows[layer], cap=model.score_cap
        )
        return linear(g, merged, "o_proj", heads.count * heads.width, model.width, bias=model.out_bias)


def _projections(g: GraphWriter, model: Llama, x: str) -> tuple[str, str, str]:
    """Give queries, keys and values, each [b, l, heads * d]; Phi-3 stores the three as one matrix."""
    heads = model.heads
    q_width, kv_width = heads.count * heads.width, heads.groups * heads.width
    if model.kind == "phi3":
        packed = linear(g, x, "qkv_proj", model.width, q_width + 2 * kv_width, bias=False)
        q, k, v = g.nodes("Split", (packed, g.constant([q_width, kv_width, kv_width])), 3, axis=-1)
        return q, k, v
    q = linear(g, x, "q_proj", model.width, q_width, bias=model.qkv_bias)
    k = linear(g, x, "k_proj", model.width, kv_width, bias=model.qkv_bias)
    v = linear(g, x, "v_proj", model.width, kv_width, bias=model.qkv_bias)
    return q, k, v


def _head_norm(g: GraphWriter, model: Llama, x: str, name: str, heads: int) -> str:
    """Normalise each head of [b, l, heads * d]."""
    cut = g.node("Reshape", x, g.constant([0, 0, heads, model.heads.width]))
    return g.node(
        "Reshape", _norm(g, model, cut, name, model.heads.width), g.constant([0, 0, heads * model.heads.width])
    )


def _feed_forward(g: GraphWriter, model: Llama, x: str, layer: int) -> str:
    with g.scope("mlp"):
        if model.experts is not None and layer not in model.dense:
            return mixture(g, x, model.width, model.experts)
        if model.kind == "phi3":
            return _packed_feed_forward(g, model, x)
        return feed_forward(
            g, x, "up_proj", "down_proj", model.width, model.inner, model.act, gate="gate_proj", bias=model.mlp_bias
        )


def _packed_feed_forward(g: GraphWriter, model: Llama, x: str) -> str:
    """Phi-3: gate and up are one stored matrix."""
    packed = linear(g, x, "gate_up_proj", model.width, 2 * model.inner, bias=False)
    gate, up = g.nodes("Split", (packed,), 2, axis=-1, num_outputs=2)
    return linear(
        g, g.node("Mul", activation(g, gate, model.act), up), "down_proj", model.inner, model.width, bias=False
    )
