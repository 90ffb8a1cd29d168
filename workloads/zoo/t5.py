"""T5: an encoder and a decoder with RMSNorm before each block, relative position biases and unscaled scores.

Version 1.0 has ReLU and one table for embeddings and output; version 1.1 and mT5 have a gated GELU and an output matrix
of their own.

Sources: Raffel et al. 2020, arXiv 1910.10683; Shazeer 2020, arXiv 2002.05202 (the gated block of 1.1); Xue et al. 2021,
arXiv 2010.11934 (mT5); parameter names: transformers 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from workloads.zoo.config import Config
from workloads.zoo.decoding import begin, logits
from workloads.zoo.graph import GraphWriter
from workloads.zoo.layers import (
    Heads,
    attend,
    embedding,
    feed_forward,
    linear,
    merge_heads,
    padding_mask,
    rms_norm,
    split_heads,
    split_keys,
)
from workloads.zoo.phase import Cache, Phase

__all__ = ["MODEL_TYPES", "T5", "buckets", "read", "write"]

MODEL_TYPES = ("t5", "mt5")


@dataclass(frozen=True, slots=True, kw_only=True)
class T5:
    """One architecture of this kind.

    Attributes:
        encoder_layers: Layers of the encoder.
        decoder_layers: Layers of the decoder.
        width: Of the hidden state.
        heads: Of every attention.
        inner: Width inside the feed-forward block.
        vocabulary: Number of tokens.
        buckets: Groups of distances, each with its bias.
        distance: From here on all distances are one group.
        eps: Of the norms.
        act: Activation function.
        gated: The feed-forward block is gated.
        tied: The output matrix is the embedding table, and the hidden state is scaled before it.
    """

    encoder_layers: int
    decoder_layers: int
    width: int
    heads: Heads
    inner: int
    vocabulary: int
    buckets: int
    distance: int
    eps: float
    act: str
    gated: bool
    tied: bool


def read(values: Mapping[str, Any]) -> T5:
    """Read a configuration (the content of a config.json)."""
    c = Config(values)
    c.head(("ConditionalGeneration", "Model", "T5WithLMHeadModel"), "ConditionalGeneration")
    kind = c.text("model_type")
    act = c.choice(
        "feed_forward_proj", ("relu", "gelu", "gated-gelu", "gated-silu"), "gated-gelu" if kind == "mt5" else "relu"
    )
    heads, layers = c.heads("num_heads"), c.depth("num_layers")
    groups = c.int("relative_attention_num_buckets", 32, most=4096)
    if groups % 4:
        raise c.fault("relative_attention_num_buckets", "is not a multiple of 4")
    distance = c.int("relative_attention_max_distance", 128, most=1_000_000)
    if distance <= groups // 2:
        raise c.fault("relative_attention_max_distance", f"leaves no room for {groups} buckets")
    return T5(
        encoder_layers=layers,
        decoder_layers=c.depth("num_decoder_layers", layers),
        width=c.int("d_model"),
        heads=Heads(heads, heads, c.int("d_kv", 64)),
        inner=c.int("d_ff"),
        vocabulary=c.int("vocab_size"),
        buckets=groups,
        distance=distance,
        eps=c.positive("layer_norm_epsilon", 1e-6),
        act="gelu_new" if act == "gated-gelu" else act.removeprefix("gated-"),
        gated=act.startswith("gated-"),
        tied=c.flag("tie_word_embeddings", kind == "t5"),
    )


def buckets(count: int, distance: int, *, both_sides: bool) -> list[int]:
    """Give the bucket of every relative position -distance .. distance (key minus query).

    Half of the buckets hold one distance each, the others grow with the logarithm; where a query looks to both sides,
    either side has half of them.

    Example:
        >>> buckets(8, 8, both_sides=False)
        [7, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]

    Source: Raffel et al. 2020, section 2.1; rounded in fp32 as in its code (mesh transformer).
    """
    side = count // 2 if both_sides else count
    exact = side // 2
    found = []
    for relative in range(-distance, distance + 1):
        away = abs(relative) if both_sides else max(-relative, 0)
        bucket = away
        if away >= exact:
            grown = np.log(np.float32(away) / np.float32(exact)) / np.float32(math.log(distance / exact))
            bucket = min(exact + int(grown * np.float32(side - exact)), side - 1)
        found.append(bucket + (side if both_sides and relative > 0 else 0))
    return found


def write(g: GraphWriter, model: T5, phase: Phase) -> None:
    """Write one phase.

    "encode": `input_ids`, `attention_mask` [b, l] to `last_hidden_state`. "prefill": target tokens `input_ids` [b, l],
    `encoder_output` [b, source, width] and `encoder_attention_mask` [b, source] to `logits` and both caches. "decode":
    one token and its `position`, the mask, and both caches.
    """
    if phase.name == "encode":
        _encoder(g, model)
        return
    tokens = begin(g, phase)
    output = "" if phase.decoding else g.input("encoder_output", ("batch", "source", model.width))
    hidden = padding_mask(g, g.input("encoder_attention_mask", ("batch", "source"), "int64"))
    x = _embedded(g, model, tokens.ids)
    at = tokens.positions if phase.decoding else ""
    stack = _Stack("decoder", at, tokens.mask(), tokens.cache, output, hidden)
    x = _stack(g, model, x, stack, model.decoder_layers)
    if model.tied:
        x = g.node("Mul", x, g.scalar(model.width**-0.5))
    table = _TABLE if model.tied else ""
    g.output("logits", logits(g, x, phase, model.vocabulary, model.width, table=table), 3)


_TABLE = "shared.weight"


@dataclass(frozen=True, slots=True)
class _Stack:
    """One of the two stacks of layers.

    Attributes:
        name: "encoder" or "decoder".
        positions: Of the queries, [b, 1]; empty: 0 .. l - 1.
        mask: Added to the scores of the self-attention.
        cache: Where the decoder keeps keys and values; None: the encoder.
        source: The encoder's output [b, source, width]; empty in a decode step, which reads the cache.
        hidden: Added to the scores of the cross-attention.
    """

    name: str
    positions: str = ""
    mask: str = ""
    cache: Cache | None = None
    source: str = ""
    hidden: str = ""


def _embedded(g: GraphWriter, model: T5, ids: str) -> str:
    return g.node("Gather", g.parameter(_TABLE, (model.vocabulary, model.width), absolute=True), ids)


def _encoder(g: GraphWriter, model: T5) -> None:
    ids = g.input("input_ids", ("batch", "seq"), "int64")
    mask = padding_mask(g, g.input("attention_mask", ("batch", "seq"), "int64"))
    x = _stack(g, model, _embedded(g, model, ids), _Stack("encoder", mask=mask), model.encoder_layers)
    g.output("last_hidden_state", x, 3)


def _stack(g: GraphWriter, model: T5, x: str, stack: _Stack, layers: int) -> str:
    """Run the layers of one stack; the first makes the position biases that all share."""
    bias = ""
    with g.scope(stack.name):
        for layer in range(layers):
            with g.scope(f"block.{layer}.layer"):
                x, bias = _self_attention(g, model, x, stack, layer, bias)
                if stack.cache is not None:
                    x = _cross_attention(g, model, x, stack, stack.cache, layer)
                with g.scope("1" if stack.cache is None else "2"):
                    x = _feed_forward(g, model, x)
        return rms_norm(g, x, "final_layer_norm", model.width, model.eps)


def _self_attention(g: GraphWriter, model: T5, x: str, stack: _Stack, layer: int, bias: str) -> tuple[str, str]:
    heads, inner = model.heads, model.heads.count * model.heads.width
    with g.scope("0"):
        normed = rms_norm(g, x, "layer_norm", model.width, model.eps)
        with g.scope("SelfAttention"):
            q, k, v = (linear(g, normed, name, model.width, inner, bias=False) for name in "qkv")
            if stack.cache is None:
                keys = split_keys(g, k, heads.groups, heads.width)
                values = split_keys(g, v, heads.groups, heads.width, values=True)
            else:
                keys = stack.cache.keys(layer, k, heads.groups, heads.width)
                values = stack.cache.values(layer, v, heads.groups, heads.width)
            bias = bias or _bias(g, model, stack, keys)
            mixed = merge_heads(g, attend(g, split_heads(g, q, heads), keys, values, heads, mask=bias), heads)
            return g.node("Add", x, linear(g, mixed, "o", inner, model.width, bias=False)), bias


def _bias(g: GraphWriter, model: T5, stack: _Stack, keys: str) -> str:
    """Give what is added to the scores: a bias per head and distance, and the mask; [h, l, t] or [b, h, l, t].

    Distances are clipped to where the last bucket begins; a table then gives the bucket, and the checkpoint its bias.
    """
    key_at = _counted(g, keys, 3)
    query_at = stack.positions or key_at  # without a cache as many as keys
    distance = g.node("Sub", key_at, g.node("Unsqueeze", query_at, g.constant([-1])))
    near = g.node("Clip", distance, g.constant(-model.distance), g.constant(model.distance))
    table = buckets(model.buckets, model.distance, both_sides=stack.cache is None)
    bucket = g.node("Gather", g.constant(table), g.node("Add", near, g.constant(model.distance)))
    bias = embedding(g, bucket, "relative_attention_bias", model.buckets, model.heads.count)
    bias = g.node("Transpose", bias, perm=[0, 3, 1, 2] if stack.positions else [2, 0, 1])
    return g.node("Add", bias, stack.mask) if stack.mask else bias


def _counted(g: GraphWriter, x: str, axis: int) -> str:
    """Give 0 .. n - 1 for an axis of n."""
    length = g.node("Squeeze", g.node("Shape", x, start=axis, end=axis + 1))
    return g.node("Range", g.constant(0), length, g.constant(1))


def _cross_attention(g: GraphWriter, model: T5, x: str, stack: _Stack, cache: Cache, layer: int) -> str:
    heads, inner = model.heads, model.heads.count * model.heads.width
    with g.scope("1"):
        normed = rms_norm(g, x, "layer_norm", model.width, model.eps)
        with g.scope("EncDecAttention"):
            q = linear(g, normed, "q", model.width, inner, bias=False)
            keys = values = ""
            if stack.source:
                k, v = (linear(g, stack.source, name, model.width, inner, bias=False) for name in "kv")
                keys = split_keys(g, k, heads.groups, heads.width)
                values = split_keys(g, v, heads.groups, heads.width, values=True)
            keys = cache.cross_keys(layer, keys, heads.groups, heads.width, "source")
            values = cache.cross_values(layer, values, heads.groups, heads.width, "source")
            mixed = merge_heads(g, attend(g, split_heads(g, q, heads), keys, values, heads, mask=stack.hidden), heads)
            return g.node("Add", x, linear(g, mixed, "o", inner, model.width, bias=False))


def _feed_forward(g: GraphWriter, model: T5, x: str) -> str:
    normed = rms_norm(g, x, "layer_norm", model.width, model.eps)
    up, gate = ("wi_1", "wi_0") if model.gated else ("wi", "")
    with g.scope("DenseReluDense"):
        return g.node(
            "Add", x, feed_forward(g, normed, up, "wo", model.width, model.inner, model.act, gate=gate, bias=False)
        )
