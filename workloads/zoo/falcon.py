"""Falcon and BLOOM: queries, keys and values of a group of heads side by side in one stored matrix.

Falcon rotates queries and keys and runs attention beside the feed-forward block; BLOOM tells positions by a slope on
the scores of each head (ALiBi) and runs one after the other.

Sources: Almazrouei et al. 2023, arXiv 2311.16867; BigScience 2022, arXiv 2211.05100; Press et al. 2021, arXiv
2108.12409 (ALiBi); parameter names: transformers 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workloads.zoo.config import Config
from workloads.zoo.decoding import Tokens, begin, logits, packed_projections, self_attention
from workloads.zoo.graph import GraphWriter
from workloads.zoo.layers import Heads, embedding, feed_forward, layer_norm, linear, rotary_tables, rotate
from workloads.zoo.phase import Phase
from workloads.zoo.rope import rope_frequencies

__all__ = ["MODEL_TYPES", "Falcon", "alibi_slopes", "read", "write"]

MODEL_TYPES = ("falcon", "bloom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Falcon:
    """One architecture of this kind.

    Attributes:
        bloom: BLOOM rather than Falcon.
        layers: Number of layers.
        width: Of the hidden state.
        heads: Of the attention.
        inner: Width inside the feed-forward block.
        vocabulary: Number of tokens.
        eps: Of the norms.
        act: Activation function.
        bias: Products have biases.
        parallel: Attention and feed-forward both read the layer's input.
        norms: Norms before them, where they are parallel.
        tied: The output matrix is the embedding table.
        frequencies: Rotary inverse wavelengths; empty: slopes tell positions.
        rope_factor: Of the rotary tables.
    """

    bloom: bool
    layers: int
    width: int
    heads: Heads
    inner: int
    vocabulary: int
    eps: float
    act: str
    bias: bool
    parallel: bool
    norms: int
    tied: bool
    frequencies: tuple[float, ...] = ()
    rope_factor: float = 1.0


def read(values: Mapping[str, Any]) -> Falcon:
    """Read a configuration (the content of a config.json)."""
    c = Config(values)
    return _read_bloom(c) if c.text("model_type") == "bloom" else _read_falcon(c)


def _read_bloom(c: Config) -> Falcon:
    c.only("apply_residual_connection_post_layernorm", False)
    width = c.int("hidden_size" if c.values.get("n_embed") is None else "n_embed")
    name = "n_head" if c.values.get("n_head") is not None else "num_attention_heads"
    heads = c.heads(name)
    return Falcon(
        bloom=True,
        layers=c.depth("n_layer" if c.values.get("n_layer") is not None else "num_hidden_layers"),
        width=width,
        heads=Heads(heads, heads, c.share(name, width, heads)),
        inner=4 * width,
        vocabulary=c.int("vocab_size"),
        eps=c.positive("layer_norm_epsilon", 1e-5),
        act="gelu_new",
        bias=True,
        parallel=False,
        norms=1,
        tied=c.flag("tie_word_embeddings", True),
    )


def _read_falcon(c: Config) -> Falcon:
    c.only("alibi", False)
    width, heads = c.int("hidden_size"), c.heads("num_attention_heads")
    grouped = c.flag("new_decoder_architecture", False)
    head_width = c.share("num_attention_heads", width, heads)
    groups = 1 if c.flag("multi_query", True) and not grouped else c.groups("num_kv_heads", heads)
    frequencies, factor = rope_frequencies(c, head_width)
    return Falcon(
        bloom=False,
        layers=c.depth("num_hidden_layers"),
        width=width,
        heads=Heads(heads, groups, head_width),
        inner=c.int("ffn_hidden_size", 4 * width),
        vocabulary=c.int("vocab_size"),
        eps=c.positive("layer_norm_epsilon", 1e-5),
        act=c.activation("activation", "gelu"),
        bias=c.flag("bias", False),
        parallel=grouped or c.flag("parallel_attn", True),
        norms=c.int("num_ln_in_parallel_attn", 2, 2) if grouped else 1,
        tied=c.flag("tie_word_embeddings", True),
        frequencies=frequencies,
        rope_factor=factor,
    )


def write(g: GraphWriter, model: Falcon, phase: Phase) -> None:
    """Write one phase: inputs `input_ids` [b, l] (decode: [b, 1], `position` [b], `past_*`), output `logits`."""
    tokens = begin(g, phase)
    tables = ("", "")
    if model.frequencies:
        tables = rotary_tables(g, tokens.positions, list(model.frequencies), model.rope_factor)
    with g.scope("transformer"):
        x = embedding(g, tokens.ids, "word_embeddings", model.vocabulary, model.width)
        if model.bloom:
            x = _norm(g, model, x, "word_embeddings_layernorm")
        bias = _alibi(g, model, tokens) if model.bloom else ""
        for layer in range(model.layers):
            with g.scope(f"h.{layer}"):
                x = _layer(g, model, x, tables, tokens, layer, bias)
        x = _norm(g, model, x, "ln_f")
    table = "transformer.word_embeddings.weight" if model.tied else ""
    g.output("logits", logits(g, x, phase, model.vocabulary, model.width, table=table), 3)


def _norm(g: GraphWriter, model: Falcon, x: str, name: str) -> str:
    return layer_norm(g, x, name, model.width, model.eps)


def _layer(
    g: GraphWriter, model: Falcon, x: str, tables: tuple[str, str], tokens: Tokens, layer: int, bias: str
) -> str:
    two = model.parallel and model.norms == 2
    first = _norm(g, model, x, "ln_attn" if two else "input_layernorm")
    second = _norm(g, model, x, "ln_mlp") if two else first
    mixed = _attention(g, model, first, tables, tokens, layer, bias)
    if model.parallel:
        return g.node("Add", x, g.node("Add", _feed_forward(g, model, second), mixed))
    x = g.node("Add", x, mixed)
    return g.node("Add", x, _feed_forward(g, model, _norm(g, model, x, "post_attention_layernorm")))


def _feed_forward(g: GraphWriter, model: Falcon, x: str) -> str:
    with g.scope("mlp"):
        return feed_forward(
            g, x, "dense_h_to_4h", "dense_4h_to_h", model.width, model.inner, model.act, bias=model.bias
        )


def _attention(
    g: GraphWriter, model: Falcon, x: str, tables: tuple[str, str], tokens: Tokens, layer: int, bias: str
) -> str:
    heads = model.heads
    with g.scope("self_attention"):
        q, k, v = packed_projections(g, x, "query_key_value", model.width, heads, bias=model.bias)
        if model.frequencies:
            q, k = rotate(g, q, tables, heads.count), rotate(g, k, tables, heads.groups)
        mixed = self_attention(g, tokens, layer, q, k, v, heads, bias=bias)
        return linear(g, mixed, "dense", model.width, model.width, bias=model.bias)


def _alibi(g: GraphWriter, model: Falcon, tokens: Tokens) -> str:
    """Give [h, 1, t]: the slope of each head times the position; a softmax drops what all keys have in common."""
    length = g.node("Shape", tokens.ids, start=1, end=2)
    if tokens.cache.phase.decoding:  # keys lie at 0 .. position
        length = g.node("Shape", "past_key_0", start=3, end=4)
    places = g.node("Range", g.constant(0), g.node("Squeeze", length), g.constant(1))
    slopes = g.constant([[[slope]] for slope in alibi_slopes(model.heads.count)], g.dtype)
    return g.node("Mul", slopes, g.node("Cast", places, to=g.float_type))


def alibi_slopes(heads: int) -> list[float]:
    """Give the slope of each head: powers of 2^(-8/n) for a power of two n, and every other one of 2 n for the rest.

    Example:
        >>> alibi_slopes(3)
        [0.0625, 0.00390625, 0.25]

    Source: Press et al. 2021, arXiv 2108.12409, section 3 and the authors' code (get_slopes).
    """
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (index + 1) / power) for index in range(power)]
    return slopes + [2 ** (-8 * (2 * index + 1) / (2 * power)) for index in range(heads - power)]
