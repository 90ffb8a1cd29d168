"""GPT-NeoX, Pythia and Phi-2: attention and feed-forward side by side, a part of each head rotated.

Sources: Black et al. 2022, arXiv 2204.06745; Biderman et al. 2023, arXiv 2304.01373 (Pythia); Li et al. 2023, arXiv
2309.05463 (Phi-1.5, the architecture of Phi-2); parameter names: transformers 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workloads.zoo.config import Config
from workloads.zoo.decoding import Tokens, begin, logits, packed_projections, self_attention
from workloads.zoo.graph import GraphWriter
from workloads.zoo.layers import Heads, embedding, feed_forward, layer_norm, linear, rotary_tables, rotate
from workloads.zoo.phase import Phase
from workloads.zoo.rope import rope_frequencies

__all__ = ["MODEL_TYPES", "NeoX", "read", "write"]

MODEL_TYPES = ("gpt_neox", "phi")


@dataclass(frozen=True, slots=True, kw_only=True)
class NeoX:
    """One architecture of this kind.

    Attributes:
        phi: Phi-2 rather than GPT-NeoX: other names, three matrices for queries, keys and values, one norm per layer.
        layers: Number of layers.
        width: Of the hidden state.
        heads: Of the attention.
        inner: Width inside the feed-forward block.
        vocabulary: Number of tokens.
        eps: Of the norms.
        act: Activation function.
        bias: Biases in the attention.
        parallel: Attention and feed-forward both read the layer's input.
        tied: The output matrix is the embedding table.
        frequencies: Rotary inverse wavelengths.
        rope_factor: Of the rotary tables.
    """

    phi: bool
    layers: int
    width: int
    heads: Heads
    inner: int
    vocabulary: int
    eps: float
    act: str
    bias: bool
    parallel: bool
    tied: bool
    frequencies: tuple[float, ...]
    rope_factor: float


def read(values: Mapping[str, Any]) -> NeoX:
    """Read a configuration (the content of a config.json)."""
    c = Config(values)
    phi = c.text("model_type") == "phi"
    c.only("qk_layernorm", False)
    width, heads = c.int("hidden_size"), c.heads("num_attention_heads")
    head_width = c.share("num_attention_heads", width, heads)
    frequencies, factor = rope_frequencies(c, head_width, part=0.5 if phi else 0.25)
    return NeoX(
        phi=phi,
        layers=c.depth("num_hidden_layers"),
        width=width,
        heads=Heads(heads, c.groups("num_key_value_heads", heads) if phi else heads, head_width),
        inner=c.int("intermediate_size"),
        vocabulary=c.int("vocab_size"),
        eps=c.positive("layer_norm_eps", 1e-5),
        act=c.activation("hidden_act", "gelu_new" if phi else "gelu"),
        bias=c.flag("attention_bias", True) or phi,
        parallel=c.flag("use_parallel_residual", True) or phi,
        tied=c.flag("tie_word_embeddings", False),
        frequencies=frequencies,
        rope_factor=factor,
    )


def write(g: GraphWriter, model: NeoX, phase: Phase) -> None:
    """Write one phase: inputs `input_ids` [b, l] (decode: [b, 1], `position` [b], `past_*`), output `logits`."""
    tokens = begin(g, phase)
    tables = rotary_tables(g, tokens.positions, list(model.frequencies), model.rope_factor)
    base, words, last = ("model", "embed_tokens", "final_layernorm") if model.phi else _NEOX_NAMES
    with g.scope(base):
        x = embedding(g, tokens.ids, words, model.vocabulary, model.width)
        for layer in range(model.layers):
            with g.scope(f"layers.{layer}"):
                x = (_phi_layer if model.phi else _layer)(g, model, x, tables, tokens, layer)
        x = layer_norm(g, x, last, model.width, model.eps)
    table = f"{base}.{words}.weight" if model.tied else ""
    g.output("logits", logits(g, x, phase, model.vocabulary, model.width, table=table, bias=model.phi), 3)


_NEOX_NAMES = ("gpt_neox", "embed_in", "final_layer_norm")


def _layer(g: GraphWriter, model: NeoX, x: str, tables: tuple[str, str], tokens: Tokens, layer: int) -> str:
    normed = layer_norm(g, x, "input_layernorm", model.width, model.eps)
    with g.scope("attention"):
        qkv = packed_projections(g, normed, "query_key_value", model.width, model.heads, bias=model.bias)
        mixed = _attention(g, model, qkv, tables, tokens, layer)
    after = x if model.parallel else g.node("Add", x, mixed)
    inner = layer_norm(g, after, "post_attention_layernorm", model.width, model.eps)
    with g.scope("mlp"):
        fed = feed_forward(g, inner, "dense_h_to_4h", "dense_4h_to_h", model.width, model.inner, model.act)
    return g.node("Add", after, g.node("Add", fed, mixed) if model.parallel else fed)


def _phi_layer(g: GraphWriter, model: NeoX, x: str, tables: tuple[str, str], tokens: Tokens, layer: int) -> str:
    """Both blocks read the same normalised input."""
    normed = layer_norm(g, x, "input_layernorm", model.width, model.eps)
    heads = model.heads
    with g.scope("self_attn"):
        q = linear(g, normed, "q_proj", model.width, heads.count * heads.width)
        k = linear(g, normed, "k_proj", model.width, heads.groups * heads.width)
        v = linear(g, normed, "v_proj", model.width, heads.groups * heads.width)
        mixed = _attention(g, model, (q, k, v), tables, tokens, layer)
    with g.scope("mlp"):
        fed = feed_forward(g, normed, "fc1", "fc2", model.width, model.inner, model.act)
    return g.node("Add", x, g.node("Add", mixed, fed))


def _attention(
    g: GraphWriter, model: NeoX, qkv: tuple[str, str, str], tables: tuple[str, str], tokens: Tokens, layer: int
) -> str:
    """Rotate, attend and mix the heads."""
    heads, rotated = model.heads, 2 * len(model.frequencies)
    partial = 0 if rotated == heads.width else rotated
    q = rotate(g, qkv[0], tables, heads.count, width=partial)
    k = rotate(g, qkv[1], tables, heads.groups, width=partial)
    mixed = self_attention(g, tokens, layer, q, k, qkv[2], heads)
    return linear(g, mixed, "dense", heads.count * heads.width, model.width, bias=model.bias)
