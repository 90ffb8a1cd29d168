"""Encoder-decoder models of the BART kind: BART, mBART, and Whisper, whose encoder listens through two convolutions.

Sources: Lewis et al. 2020, arXiv 1910.13461; Liu et al. 2020, arXiv 2001.08210 (mBART: norms before each block);
Radford et al. 2022, arXiv 2212.04356 (Whisper); parameter names: transformers 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workloads.zoo.config import Config
from workloads.zoo.convolutions import convolution
from workloads.zoo.decoding import begin, logits
from workloads.zoo.graph import GraphWriter
from workloads.zoo.layers import (
    Heads,
    attend,
    embedding,
    feed_forward,
    layer_norm,
    linear,
    merge_heads,
    padding_mask,
    split_heads,
    split_keys,
)
from workloads.zoo.phase import Cache, Phase

__all__ = ["MODEL_TYPES", "Bart", "Side", "read", "write"]

MODEL_TYPES = ("bart", "mbart", "whisper")
_EPS = 1e-5  # torch's LayerNorm; these configurations do not say
_OFFSET = 2  # BART's position tables begin two rows late (Lewis et al.: fairseq's padding)


@dataclass(frozen=True, slots=True)
class Side:
    """The encoder or the decoder.

    Attributes:
        layers: Number of layers.
        heads: Of its attentions.
        inner: Width inside the feed-forward block.
        positions: Number of positions.
    """

    layers: int
    heads: Heads
    inner: int
    positions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bart:
    """One architecture of this kind.

    Attributes:
        kind: Hugging Face's model type.
        encoder: The encoder.
        decoder: The decoder.
        width: Of the hidden state.
        vocabulary: Number of tokens.
        scale: Factor of the embeddings.
        act: Activation function.
        mels: Whisper: bands of the spectrogram; 0: the encoder reads tokens.
        tied: The output matrix is the embedding table.
    """

    kind: str
    encoder: Side
    decoder: Side
    width: int
    vocabulary: int
    scale: float
    act: str
    mels: int
    tied: bool

    @property
    def pre_norm(self) -> bool:
        """A norm stands before each block, not after it."""
        return self.kind != "bart"

    @property
    def table(self) -> str:
        """Whole name of the embedding table."""
        return "model.decoder.embed_tokens.weight" if self.mels else "model.shared.weight"

    @property
    def offset(self) -> int:
        """Unused rows at the beginning of a position table."""
        return 0 if self.mels else _OFFSET

    @property
    def source(self) -> int | str:
        """Length of the encoder's output: Whisper always hears 30 seconds."""
        return self.encoder.positions if self.mels else "source"


def read(values: Mapping[str, Any]) -> Bart:
    """Read a configuration (the content of a config.json)."""
    c = Config(values)
    c.head(("ConditionalGeneration", "Model"), "ConditionalGeneration")
    kind, width = c.text("model_type"), c.int("d_model")
    whisper = kind == "whisper"
    scaled = c.flag("scale_embedding", kind == "mbart")
    return Bart(
        kind=kind,
        encoder=_side(c, "encoder", width, "max_source_positions" if whisper else "max_position_embeddings"),
        decoder=_side(c, "decoder", width, "max_target_positions" if whisper else "max_position_embeddings"),
        width=width,
        vocabulary=c.int("vocab_size"),
        scale=math.sqrt(width) if scaled else 1.0,
        act=c.activation("activation_function", "gelu"),
        mels=c.int("num_mel_bins", 80) if whisper else 0,
        tied=c.flag("tie_word_embeddings", True),
    )


def _side(c: Config, name: str, width: int, positions: str) -> Side:
    count = f"{name}_attention_heads"
    heads = c.heads(count)
    return Side(
        layers=c.depth(f"{name}_layers"),
        heads=Heads(heads, heads, c.share(count, width, heads)),
        inner=c.int(f"{name}_ffn_dim"),
        positions=c.int(positions),
    )


def write(g: GraphWriter, model: Bart, phase: Phase) -> None:
    """Write one phase.

    "encode": `input_ids`, `attention_mask` [b, l] (Whisper: `input_features` [b, mels, frames]) to `last_hidden_state`.
    "prefill": target tokens `input_ids` [b, l], `encoder_output` [b, source, width] and, where that is text, its
    `encoder_attention_mask` [b, source] to `logits` and both caches. "decode": one token, its `position`, the caches.
    """
    if phase.name == "encode":
        with g.scope("model.encoder"):
            g.output("last_hidden_state", _heard(g, model) if model.mels else _encoded(g, model), 3)
        return
    tokens = begin(g, phase, longest=model.decoder.positions)
    source = "" if phase.decoding else g.input("encoder_output", ("batch", model.source, model.width))
    hidden = "" if model.mels else padding_mask(g, g.input("encoder_attention_mask", ("batch", "source"), "int64"))
    with g.scope("model.decoder"):
        x = _embedded(g, model, tokens.ids, model.decoder, tokens.positions if phase.decoding else "")
        for layer in range(model.decoder.layers):
            with g.scope(f"layers.{layer}"):
                x = _self_attention(g, model, model.decoder, x, tokens.mask(), tokens.cache, layer)
                x = _cross_attention(g, model, x, source, hidden, tokens.cache, layer)
                x = _feed_forward(g, model, model.decoder, x)
        if model.pre_norm:
            x = layer_norm(g, x, "layer_norm", model.width, _EPS)
    table, name = (model.table if model.tied else ""), "proj_out" if model.mels else "lm_head"
    g.output("logits", logits(g, x, phase, model.vocabulary, model.width, table=table, name=name), 3)


def _encoded(g: GraphWriter, model: Bart) -> str:
    """Encode tokens."""
    ids = g.input("input_ids", ("batch", "seq"), "int64")
    mask = padding_mask(g, g.input("attention_mask", ("batch", "seq"), "int64"))
    g.longest["seq"] = model.encoder.positions
    return _layers(g, model, _embedded(g, model, ids, model.encoder, ""), mask)


def _heard(g: GraphWriter, model: Bart) -> str:
    """Encode a spectrogram of fixed length; the second convolution halves the frames."""
    x = g.input("input_features", ("batch", model.mels, 2 * model.encoder.positions))
    x = g.node("Gelu", convolution(g, x, "conv1", model.mels, model.width, (3,), padding=1))
    x = g.node("Gelu", convolution(g, x, "conv2", model.width, model.width, (3,), stride=2, padding=1))
    x = g.node("Transpose", x, perm=[0, 2, 1])
    x = g.node("Add", x, g.parameter("embed_positions.weight", (model.encoder.positions, model.width)))
    return _layers(g, model, x, "")


def _layers(g: GraphWriter, model: Bart, x: str, mask: str) -> str:
    for layer in range(model.encoder.layers):
        with g.scope(f"layers.{layer}"):
            x = _feed_forward(g, model, model.encoder, _self_attention(g, model, model.encoder, x, mask, None, layer))
    return layer_norm(g, x, "layer_norm", model.width, _EPS) if model.pre_norm else x


def _embedded(g: GraphWriter, model: Bart, ids: str, side: Side, positions: str) -> str:
    """Add the embeddings of tokens and positions ([b, l]; empty: 0 .. l - 1)."""
    x = g.node("Gather", g.parameter(model.table, (model.vocabulary, model.width), absolute=True), ids)
    if model.scale != 1.0:
        x = g.node("Mul", x, g.scalar(model.scale))
    rows, first = side.positions + model.offset, g.constant(model.offset)
    if positions:
        late = g.node("Add", positions, first) if model.offset else positions
        x = g.node("Add", x, embedding(g, late, "embed_positions", rows, model.width))
    else:
        start = g.constant([model.offset])
        end = g.node("Shape", ids, start=1, end=2)
        end = g.node("Add", end, start) if model.offset else end
        table = g.parameter("embed_positions.weight", (rows, model.width))
        x = g.node("Add", x, g.node("Slice", table, start, end, g.constant([0])))
    return x if model.mels else layer_norm(g, x, "layernorm_embedding", model.width, _EPS)


def _self_attention(g: GraphWriter, model: Bart, side: Side, x: str, mask: str, cache: Cache | None, layer: int) -> str:
    heads, width = side.heads, model.width
    normed = layer_norm(g, x, "self_attn_layer_norm", width, _EPS) if model.pre_norm else x
    with g.scope("self_attn"):
        q = linear(g, normed, "q_proj", width, width)
        k = linear(g, normed, "k_proj", width, width, bias=not model.mels)
        v = linear(g, normed, "v_proj", width, width)
        if cache is None:
            keys = split_keys(g, k, heads.groups, heads.width)
            values = split_keys(g, v, heads.groups, heads.width, values=True)
        else:
            keys = cache.keys(layer, k, heads.groups, heads.width)
            values = cache.values(layer, v, heads.groups, heads.width)
        mixed = _mixed(g, model, q, keys, values, heads, mask)
    return _added(g, model, x, mixed, "self_attn_layer_norm")


def _cross_attention(g: GraphWriter, model: Bart, x: str, source: str, mask: str, cache: Cache, layer: int) -> str:
    heads, width = model.decoder.heads, model.width
    normed = layer_norm(g, x, "encoder_attn_layer_norm", width, _EPS) if model.pre_norm else x
    with g.scope("encoder_attn"):
        q = linear(g, normed, "q_proj", width, width)
        keys = values = ""
        if source:
            k = linear(g, source, "k_proj", width, width, bias=not model.mels)
            keys = split_keys(g, k, heads.groups, heads.width)
            values = split_keys(g, linear(g, source, "v_proj", width, width), heads.groups, heads.width, values=True)
        keys = cache.cross_keys(layer, keys, heads.groups, heads.width, model.source)
        values = cache.cross_values(layer, values, heads.groups, heads.width, model.source)
        mixed = _mixed(g, model, q, keys, values, heads, mask)
    return _added(g, model, x, mixed, "encoder_attn_layer_norm")


def _mixed(g: GraphWriter, model: Bart, q: str, keys: str, values: str, heads: Heads, mask: str) -> str:
    mixed = attend(g, split_heads(g, q, heads), keys, values, heads, scale=1 / math.sqrt(heads.width), mask=mask)
    return linear(g, merge_heads(g, mixed, heads), "out_proj", model.width, model.width)


def _feed_forward(g: GraphWriter, model: Bart, side: Side, x: str) -> str:
    normed = layer_norm(g, x, "final_layer_norm", model.width, _EPS) if model.pre_norm else x
    fed = feed_forward(g, normed, "fc1", "fc2", model.width, side.inner, model.act)
    return _added(g, model, x, fed, "final_layer_norm")


def _added(g: GraphWriter, model: Bart, x: str, result: str, norm: str) -> str:
    """Add what a block gives to its input; BART normalises after that."""
    total = g.node("Add", x, result)
    return total if model.pre_norm else layer_norm(g, total, norm, model.width, _EPS)
