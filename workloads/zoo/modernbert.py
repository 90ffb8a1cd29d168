"""ModernBERT: a text encoder with rotary positions, gated feed-forward blocks, and windows in two of three layers.

Source: Warner et al. 2024, arXiv 2412.13663; parameter names: transformers 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from workloads.zoo.config import Config
from workloads.zoo.decoding import counted
from workloads.zoo.graph import GraphWriter
from workloads.zoo.layers import (
    HIDDEN_MASK,
    Heads,
    activation,
    attend,
    embedding,
    linear,
    merge_heads,
    padding_mask,
    rotary_tables,
    rotate,
    split_heads,
    split_keys,
)
from workloads.zoo.norms import Norm, normalized
from workloads.zoo.phase import Phase
from workloads.zoo.rope import local_frequencies, rope_frequencies

__all__ = ["MODEL_TYPES", "ModernBert", "read", "write"]

MODEL_TYPES = ("modernbert",)
_HEADS = ("Model", "MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModernBert:
    """One architecture of this kind.

    Attributes:
        width: Of the hidden state.
        heads: Of the attention.
        inner: Width inside the feed-forward block.
        vocabulary: Number of tokens.
        norm: Of all blocks.
        act: Activation function.
        biases: Whether there are biases in the attention, the feed-forward block, the head, the output matrix.
        local: Per layer, whether it sees a window only.
        reach: How far a window reaches to each side.
        frequencies: Rotary inverse wavelengths of layers that see everything.
        rope_factor: Of their tables.
        near: Rotary inverse wavelengths of layers with a window.
        head: What stands on top.
        head_act: Activation function of the head.
        labels: Classes of a classifier on top.
        pooled: Its input is the mean over the tokens, and not the first one.
        tied: The output matrix of a language model on top is the embedding table.
    """

    width: int
    heads: Heads
    inner: int
    vocabulary: int
    norm: Norm
    act: str
    biases: tuple[bool, bool, bool, bool]
    local: tuple[bool, ...]
    reach: int
    frequencies: tuple[float, ...]
    rope_factor: float
    near: tuple[float, ...]
    head: str
    head_act: str
    labels: int
    pooled: bool
    tied: bool


def read(values: Mapping[str, Any]) -> ModernBert:
    """Read a configuration (the content of a config.json)."""
    c = Config(values)
    width, heads = c.int("hidden_size"), c.heads("num_attention_heads")
    head_width = c.share("num_attention_heads", width, heads)
    frequencies, factor = rope_frequencies(c, head_width, base=c.positive("global_rope_theta", 160_000.0))
    return ModernBert(
        width=width,
        heads=Heads(heads, heads, head_width),
        inner=c.int("intermediate_size"),
        vocabulary=c.int("vocab_size"),
        norm=Norm("layer", c.positive("norm_eps", 1e-5), bias=c.flag("norm_bias", False)),
        act=c.activation("hidden_activation", "gelu"),
        biases=(
            c.flag("attention_bias", False),
            c.flag("mlp_bias", False),
            c.flag("classifier_bias", False),
            c.flag("decoder_bias", True),
        ),
        local=_local(c),
        reach=c.int("local_attention", 128) // 2,
        frequencies=frequencies,
        rope_factor=factor,
        near=local_frequencies(c, head_width, "local_rope_theta", 10_000.0),
        head=c.head(_HEADS, "Model"),
        head_act=c.activation("classifier_activation", "gelu"),
        labels=c.labels(),
        pooled=c.choice("classifier_pooling", ("cls", "mean"), "cls") == "mean",
        tied=c.flag("tie_word_embeddings", True),
    )


def _local(c: Config) -> tuple[bool, ...]:
    layers, step = c.depth("num_hidden_layers"), c.int("global_attn_every_n_layers", 3)
    types = c.strings("layer_types", ())
    if not types:
        return tuple(layer % step != 0 for layer in range(layers))
    if len(types) != layers or set(types) - {"sliding_attention", "full_attention"}:
        raise c.fault("layer_types", f"is not one of sliding_attention and full_attention for each of {layers} layers")
    return tuple(item == "sliding_attention" for item in types)


def write(g: GraphWriter, model: ModernBert, phase: Phase) -> None:
    """Write one pass: inputs `input_ids` and `attention_mask`, each [b, l]; outputs of the head."""
    ids = g.input("input_ids", ("batch", "seq"), "int64")
    seen = g.input("attention_mask", ("batch", "seq"), "int64")
    mask, positions = padding_mask(g, seen), counted(g, ids)
    everywhere = (rotary_tables(g, positions, list(model.frequencies), model.rope_factor), mask)
    inside = everywhere
    if any(model.local):
        inside = (rotary_tables(g, positions, list(model.near)), g.node("Add", mask, _window(g, ids, model.reach)))
    with nullcontext() if model.head == "Model" else g.scope("model"):
        with g.scope("embeddings"):
            x = embedding(g, ids, "tok_embeddings", model.vocabulary, model.width)
            x = normalized(g, x, "norm", model.width, model.norm)
        for layer, local in enumerate(model.local):
            with g.scope(f"layers.{layer}"):
                x = _layer(g, model, x, inside if local else everywhere, first=layer == 0)
        x = normalized(g, x, "final_norm", model.width, model.norm)
    _head(g, model, x, seen)


def _window(g: GraphWriter, ids: str, reach: int) -> str:
    """Give [l, l]: zero up to a distance to both sides, `HIDDEN_MASK` beyond."""
    length = g.node("Squeeze", g.node("Shape", ids, start=1, end=2))
    index = g.node("Range", g.constant(0), length, g.constant(1))
    distance = g.node("Abs", g.node("Sub", index, g.node("Unsqueeze", index, g.constant([-1]))))
    return g.node("Where", g.node("LessOrEqual", distance, g.constant(reach)), g.scalar(0.0), g.scalar(HIDDEN_MASK))


def _layer(g: GraphWriter, model: ModernBert, x: str, seen: tuple[tuple[str, str], str], *, first: bool) -> str:
    """One layer: the first one's attention reads the normalised embeddings as they are."""
    normed = x if first else normalized(g, x, "attn_norm", model.width, model.norm)
    with g.scope("attn"):
        x = g.node("Add", x, _attention(g, model, normed, *seen))
    normed = normalized(g, x, "mlp_norm", model.width, model.norm)
    with g.scope("mlp"):
        both = linear(g, normed, "Wi", model.width, 2 * model.inner, bias=model.biases[1])
        opened, gate = g.nodes("Split", (both,), 2, axis=-1, num_outputs=2)
        fed = g.node("Mul", activation(g, opened, model.act), gate)
        return g.node("Add", x, linear(g, fed, "Wo", model.inner, model.width, bias=model.biases[1]))


def _attention(g: GraphWriter, model: ModernBert, x: str, tables: tuple[str, str], mask: str) -> str:
    heads, width = model.heads, model.width
    packed = linear(g, x, "Wqkv", width, 3 * width, bias=model.biases[0])
    q, k, v = g.nodes("Split", (packed,), 3, axis=-1, num_outputs=3)
    q = split_heads(g, rotate(g, q, tables, heads.count), heads)
    k = split_keys(g, rotate(g, k, tables, heads.count), heads.count, heads.width)
    v = split_keys(g, v, heads.count, heads.width, values=True)
    mixed = merge_heads(g, attend(g, q, k, v, heads, scale=heads.width**-0.5, mask=mask), heads)
    return linear(g, mixed, "Wo", width, width, bias=model.biases[0])


def _head(g: GraphWriter, model: ModernBert, x: str, seen: str) -> None:
    """Write what stands on top, and the outputs of the graph."""
    if model.head == "Model":
        g.output("last_hidden_state", x, 3)
        return
    if model.head == "SequenceClassification":
        x = _mean(g, x, seen) if model.pooled else g.node("Gather", x, g.constant(0), axis=1)
    with g.scope("head"):
        x = activation(g, linear(g, x, "dense", model.width, model.width, bias=model.biases[2]), model.head_act)
        x = normalized(g, x, "norm", model.width, model.norm)
    if model.head != "MaskedLM":
        classes = 2 if model.head == "QuestionAnswering" else model.labels
        scores = linear(g, x, "classifier", model.width, classes)
        g.output("logits", scores, 2 if model.head == "SequenceClassification" else 3)
        return
    if model.tied:
        name = "model.embeddings.tok_embeddings.weight"
        table = g.parameter(name, (model.vocabulary, model.width), absolute=True)
        scores = g.node("MatMul", x, g.node("Transpose", table, perm=[1, 0]))
    else:
        scores = linear(g, x, "decoder", model.width, model.vocabulary, bias=False)
    if model.biases[3]:
        scores = g.node("Add", scores, g.parameter("decoder.bias", (model.vocabulary,), fill=0.0))
    g.output("logits", scores, 3)


def _mean(g: GraphWriter, x: str, seen: str) -> str:
    """Give the mean over the tokens that are no padding, [b, width]."""
    real = g.node("Unsqueeze", g.node("Cast", seen, to=g.float_type), g.constant([-1]))
    total = g.node("ReduceSum", g.node("Mul", x, real), g.constant([1]), keepdims=0)
    return g.node("Div", total, g.node("ReduceSum", real, g.constant([1]), keepdims=0))
