"""OPT: learned positions that begin at 2, LayerNorm before each block (after it in the 350M model), ReLU.

Source: Zhang et al. 2022, arXiv 2205.01068; parameter names: transformers 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workloads.zoo.config import Config
from workloads.zoo.decoding import Tokens, begin, logits, self_attention
from workloads.zoo.graph import GraphWriter
from workloads.zoo.layers import Heads, embedding, feed_forward, layer_norm, linear
from workloads.zoo.phase import Phase

__all__ = ["MODEL_TYPES", "Opt", "read", "write"]

MODEL_TYPES = ("opt",)
_OFFSET = 2  # of the position table (fairseq kept two rows for padding)
_EPS = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Opt:
    """One architecture of this kind.

    Attributes:
        layers: Number of layers.
        width: Of the hidden state.
        embedded: Width of the embedding table; it differs from `width` in the 350M model.
        heads: Of the attention.
        inner: Width inside the feed-forward block.
        vocabulary: Number of tokens.
        positions: Longest sequence.
        act: Activation function.
        before: The norms stand before the blocks.
        final_norm: A norm stands after the last layer.
        bias: Products have biases.
        tied: The output matrix is the embedding table.
    """

    layers: int
    width: int
    embedded: int
    heads: Heads
    inner: int
    vocabulary: int
    positions: int
    act: str
    before: bool
    final_norm: bool
    bias: bool
    tied: bool


def read(values: Mapping[str, Any]) -> Opt:
    """Read a configuration (the content of a config.json)."""
    c = Config(values)
    c.only("layer_norm_elementwise_affine", True)
    width, heads = c.int("hidden_size"), c.heads("num_attention_heads")
    before = c.flag("do_layer_norm_before", True)
    return Opt(
        layers=c.depth("num_hidden_layers"),
        width=width,
        embedded=c.int("word_embed_proj_dim", width),
        heads=Heads(heads, heads, c.share("num_attention_heads", width, heads)),
        inner=c.int("ffn_dim"),
        vocabulary=c.int("vocab_size"),
        positions=c.int("max_position_embeddings", 2048),
        act=c.activation("activation_function", "relu"),
        before=before,
        final_norm=before and not c.flag("_remove_final_layer_norm", False),
        bias=c.flag("enable_bias", True),
        tied=c.flag("tie_word_embeddings", True),
    )


def write(g: GraphWriter, model: Opt, phase: Phase) -> None:
    """Write one phase: inputs `input_ids` [b, l] (decode: [b, 1], `position` [b], `past_*`), output `logits`."""
    tokens = begin(g, phase, longest=model.positions)
    with g.scope("model.decoder"):
        x = embedding(g, tokens.ids, "embed_tokens", model.vocabulary, model.embedded)
        if model.embedded != model.width:
            x = linear(g, x, "project_in", model.embedded, model.width, bias=False)
        places = g.node("Add", tokens.positions, g.constant(_OFFSET))
        x = g.node("Add", x, embedding(g, places, "embed_positions", model.positions + _OFFSET, model.width))
        for layer in range(model.layers):
            with g.scope(f"layers.{layer}"):
                x = _layer(g, model, x, tokens, layer)
        if model.final_norm:
            x = layer_norm(g, x, "final_layer_norm", model.width, _EPS)
        if model.embedded != model.width:
            x = linear(g, x, "project_out", model.width, model.embedded, bias=False)
    table = "model.decoder.embed_tokens.weight" if model.tied else ""
    g.output("logits", logits(g, x, phase, model.vocabulary, model.embedded, table=table), 3)


def _layer(g: GraphWriter, model: Opt, x: str, tokens: Tokens, layer: int) -> str:
    """One layer: a norm before each block, or after each sum."""

    def normed(value: str, name: str, here: bool) -> str:
        return layer_norm(g, value, name, model.width, _EPS) if here else value

    mixed = _attention(g, model, normed(x, "self_attn_layer_norm", model.before), tokens, layer)
    x = normed(g.node("Add", x, mixed), "self_attn_layer_norm", not model.before)
    inner = normed(x, "final_layer_norm", model.before)
    fed = feed_forward(g, inner, "fc1", "fc2", model.width, model.inner, model.act, bias=model.bias)
    return normed(g.node("Add", x, fed), "final_layer_norm", not model.before)


def _attention(g: GraphWriter, model: Opt, x: str, tokens: Tokens, layer: int) -> str:
    width = model.width
    with g.scope("self_attn"):
        q, k, v = (linear(g, x, name, width, width, bias=model.bias) for name in ("q_proj", "k_proj", "v_proj"))
        mixed = self_attention(g, tokens, layer, q, k, v, model.heads)
        return linear(g, mixed, "out_proj", width, width, bias=model.bias)
