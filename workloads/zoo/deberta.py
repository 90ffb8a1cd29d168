"""DeBERTa v2 and v3: attention by content and by distance, each with vectors of its own.

A score is the product of query and key, plus query and distance, plus key and distance, all over the root of their
number times the width. Distances share buckets that grow with the logarithm.

Source: He et al. 2021, arXiv 2006.03654, section 3.1, and arXiv 2111.09543 (v3); parameter names: transformers 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from workloads.zoo.config import Config
from workloads.zoo.graph import GraphWriter
from workloads.zoo.layers import (
    Heads,
    activation,
    embedding,
    feed_forward,
    layer_norm,
    linear,
    merge_heads,
    padding_mask,
    split_heads,
    split_keys,
)
from workloads.zoo.phase import Phase

__all__ = ["MODEL_TYPES", "Deberta", "distance_buckets", "read", "write"]

MODEL_TYPES = ("deberta-v2",)
_HEADS = ("Model", "MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering")
_FARTHEST = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Deberta:
    """One architecture of this kind.

    Attributes:
        layers: Number of layers.
        width: Of the hidden state.
        embedded: Width of the embeddings.
        heads: Of the attention.
        inner: Width inside the feed-forward block.
        vocabulary: Number of tokens.
        positions: Rows of the table of positions that is added to the embeddings; 0: there is none.
        types: Number of token types; 0: there are none.
        eps: Of the norms.
        act: Activation function.
        span: Buckets of distances to either side; 0: attention is by content alone.
        buckets: Whether they grow with the logarithm.
        farthest: Distance at which the last bucket begins.
        terms: Of "c2p" (query and distance) and "p2c" (key and distance), those that are in the scores.
        shared: Distances go through the products of queries and keys, and have none of their own.
        normed: The vectors of the distances are normalised.
        kernel: Width of the convolution beside the first layer; 0: there is none.
        kernel_act: Its activation function.
        head: What stands on top.
        pooler_act: Activation function of the pooler.
        labels: Classes of a classifier on top.
        legacy: Names and width of the language model's head are the older ones.
        tied: The output matrix of a language model on top is the embedding table.
    """

    layers: int
    width: int
    embedded: int
    heads: Heads
    inner: int
    vocabulary: int
    positions: int
    types: int
    eps: float
    act: str
    span: int
    buckets: bool
    farthest: int
    terms: frozenset[str]
    shared: bool
    normed: bool
    kernel: int
    kernel_act: str
    head: str
    pooler_act: str
    labels: int
    legacy: bool
    tied: bool

    @property
    def scale(self) -> float:
        """Factor of every part of a score."""
        return 1 / math.sqrt(self.heads.width * (1 + len(self.terms)))


def read(values: Mapping[str, Any]) -> Deberta:
    """Read a configuration (the content of a config.json)."""
    c = Config(values)
    width, heads = c.int("hidden_size"), c.heads("num_attention_heads")
    head_width = c.share("num_attention_heads", width, heads)
    longest = c.int("max_position_embeddings", 512, _FARTHEST)
    near = c.values.get("max_relative_positions") in (None, -1, 0)
    farthest = longest if near else c.int("max_relative_positions", most=_FARTHEST)
    grouped = c.values.get("position_buckets") not in (None, -1, 0)
    buckets = c.int("position_buckets", most=_FARTHEST) if grouped else 0
    if grouped and not 2 <= buckets // 2 < farthest - 1:
        raise c.fault(
            "position_buckets", f"does not fit distances up to {farthest}; it is at least 4, and less than that"
        )
    relative = c.flag("relative_attention", False)
    if c.values.get("attention_head_size") not in (None, head_width):
        raise c.fault("attention_head_size", f"is not {head_width}, the width divided by the heads")
    if c.values.get("pooler_hidden_size") not in (None, width):
        raise c.fault("pooler_hidden_size", f"is not {width}, the width of the hidden state")
    if c.int("conv_groups", 1) != 1:
        raise c.fault("conv_groups", "is not supported; export the model and use load_onnx")
    return Deberta(
        layers=c.depth("num_hidden_layers"),
        width=width,
        embedded=c.int("embedding_size", width),
        heads=Heads(heads, heads, head_width),
        inner=c.int("intermediate_size"),
        vocabulary=c.int("vocab_size"),
        positions=longest if c.flag("position_biased_input", True) else 0,
        types=c.whole("type_vocab_size", 0),
        eps=c.positive("layer_norm_eps", 1e-7),
        act=c.activation("hidden_act", "gelu"),
        span=(buckets or farthest) if relative else 0,
        buckets=bool(buckets),
        farthest=farthest,
        terms=_terms(c),
        shared=c.flag("share_att_key", False),
        normed="layer_norm" in [part.strip() for part in c.text("norm_rel_ebd", "none").lower().split("|")],
        kernel=c.whole("conv_kernel_size", 0),
        kernel_act=c.activation("conv_act", "tanh"),
        head=c.head(_HEADS, "Model"),
        pooler_act=c.activation("pooler_hidden_act", "gelu"),
        labels=c.labels(),
        legacy=c.flag("legacy", True),
        tied=c.flag("tie_word_embeddings", True),
    )


def _terms(c: Config) -> frozenset[str]:
    """Read which products with distances there are: a list, or a text with bars between."""
    given = c.values.get("pos_att_type")
    names = (
        [part.strip() for part in given.lower().split("|")] if isinstance(given, str) else c.strings("pos_att_type", ())
    )
    found = frozenset(filter(None, names))
    if found - {"c2p", "p2c"}:
        raise c.fault("pos_att_type", "asks for other products than c2p and p2c")
    return found


def distance_buckets(span: int, farthest: int, *, grouped: bool) -> list[int]:
    """Give the bucket of every distance -farthest .. farthest (query minus key): -span .. span.

    Half of the buckets hold one distance each, the others grow with the logarithm.

    Example:
        >>> distance_buckets(4, 8, grouped=True)
        [-4, -3, -3, -3, -3, -3, -2, -1, 0, 1, 2, 3, 3, 3, 3, 3, 4]

    Source: He et al. 2021, arXiv 2111.09543, and the authors' code (make_log_bucket_position).
    """
    found = []
    middle = span // 2
    for distance in range(-farthest, farthest + 1):
        away = abs(distance)
        if grouped and away > middle:
            grown = np.log(np.float32(away) / np.float32(middle)) / np.log(np.float32((farthest - 1) / middle))
            away = int(np.ceil(grown * np.float32(middle - 1))) + middle
        found.append(min(away, span) * (1 if distance >= 0 else -1))
    return found


def write(g: GraphWriter, model: Deberta, phase: Phase) -> None:
    """Write one pass: inputs `input_ids`, `attention_mask` (and `token_type_ids`), each [b, l]; outputs of the head."""
    ids = g.input("input_ids", ("batch", "seq"), "int64")
    seen = g.input("attention_mask", ("batch", "seq"), "int64")
    types = g.input("token_type_ids", ("batch", "seq"), "int64") if model.types > 1 else ""
    hidden = padding_mask(g, seen)
    real = g.node("Unsqueeze", g.node("Cast", seen, to=g.float_type), g.constant([-1]))
    with nullcontext() if model.head == "Model" else g.scope("deberta"):
        embedded = g.node("Mul", _embedded(g, model, ids, types), real)
        far = _Distances.write(g, model, ids) if model.span else None
        x = embedded
        for layer in range(model.layers):
            with g.scope(f"encoder.layer.{layer}"):
                x = _layer(g, model, x, hidden, far)
            if layer == 0 and model.kernel:
                x = _convolved(g, model, embedded, x, real)
    _head(g, model, x)


def _embedded(g: GraphWriter, model: Deberta, ids: str, types: str) -> str:
    with g.scope("embeddings"):
        x = embedding(g, ids, "word_embeddings", model.vocabulary, model.embedded)
        if model.positions:
            g.longest["seq"] = model.positions
            table = g.parameter("position_embeddings.weight", (model.positions, model.embedded))
            length = g.node("Shape", ids, start=1, end=2)
            x = g.node("Add", x, g.node("Slice", table, g.constant([0]), length, g.constant([0])))
        if types:
            x = g.node("Add", x, embedding(g, types, "token_type_embeddings", model.types, model.embedded))
        elif model.types:
            x = g.node("Add", x, g.parameter("token_type_embeddings.weight", (model.types, model.embedded)))
        if model.embedded != model.width:
            x = linear(g, x, "embed_proj", model.embedded, model.width, bias=False)
        return layer_norm(g, x, "LayerNorm", model.width, model.eps)


@dataclass(frozen=True, slots=True)
class _Distances:
    """What all layers share.

    Attributes:
        vectors: Of the buckets, [1, 2 span, width].
        by_query: Row of the vectors for each query and key, [l, l]: query minus key.
        by_key: The same for each key and query, with the opposite sign.
    """

    vectors: str
    by_query: str
    by_key: str

    @staticmethod
    def write(g: GraphWriter, model: Deberta, ids: str) -> _Distances:
        """Write the vectors of the distances, and the tables that say which pair of tokens has which."""
        span, far = model.span, model.farthest
        vectors = g.parameter("encoder.rel_embeddings.weight", (2 * span, model.width))
        if model.normed:
            vectors = layer_norm(g, vectors, "encoder.LayerNorm", model.width, model.eps)
        vectors = g.node("Unsqueeze", vectors, g.constant([0]))
        length = g.node("Squeeze", g.node("Shape", ids, start=1, end=2))
        index = g.node("Range", g.constant(0), length, g.constant(1))
        distance = g.node("Sub", g.node("Unsqueeze", index, g.constant([-1])), index)
        near = g.node("Add", g.node("Clip", distance, g.constant(-far), g.constant(far)), g.constant(far))
        buckets = np.array(distance_buckets(span, far, grouped=model.buckets))
        tables = [np.clip(sign * buckets + span, 0, 2 * span - 1).tolist() for sign in (1, -1)]
        by_query, by_key = (g.node("Gather", g.constant(table), near) for table in tables)
        return _Distances(vectors, by_query, by_key)


def _layer(g: GraphWriter, model: Deberta, x: str, hidden: str, far: _Distances | None) -> str:
    """One layer: attention and feed-forward, each added to its input and then normalised."""
    width = model.width
    with g.scope("attention"):
        mixed = _attention(g, model, x, hidden, far)
        x = layer_norm(
            g, g.node("Add", linear(g, mixed, "output.dense", width, width), x), "output.LayerNorm", width, model.eps
        )
    fed = feed_forward(g, x, "intermediate.dense", "output.dense", width, model.inner, model.act)
    return layer_norm(g, g.node("Add", fed, x), "output.LayerNorm", width, model.eps)


def _attention(g: GraphWriter, model: Deberta, x: str, hidden: str, far: _Distances | None) -> str:
    heads, width = model.heads, model.width
    with g.scope("self"):
        q = split_heads(g, linear(g, x, "query_proj", width, width), heads)
        k = linear(g, x, "key_proj", width, width)
        v = split_keys(g, linear(g, x, "value_proj", width, width), heads.count, heads.width, values=True)
        q = g.node("Mul", q, g.scalar(model.scale))
        scores = g.node("MatMul", q, split_keys(g, k, heads.count, heads.width))
        if far is not None and "c2p" in model.terms:
            name = "key_proj" if model.shared else "pos_key_proj"
            scores = g.node("Add", scores, _by_distance(g, model, q, name, far.vectors, far.by_query))
        if far is not None and "p2c" in model.terms:
            name = "query_proj" if model.shared else "pos_query_proj"
            keys = g.node("Mul", split_heads(g, k, heads), g.scalar(model.scale))
            by_key = _by_distance(g, model, keys, name, far.vectors, far.by_key)
            scores = g.node("Add", scores, g.node("Transpose", by_key, perm=[0, 1, 3, 2]))
        shares = g.node("Softmax", g.node("Add", scores, hidden), axis=-1)
        return merge_heads(g, g.node("MatMul", shares, v), heads)


def _by_distance(g: GraphWriter, model: Deberta, x: str, name: str, vectors: str, rows: str) -> str:
    """Give the product of each token with the vector of its distance to each other one, [b, h, l, l]."""
    heads = model.heads
    far = split_keys(g, linear(g, vectors, name, model.width, model.width), heads.count, heads.width)
    products = g.node("MatMul", x, far)  # [b, h, l, 2 span]
    shape = g.node("Concat", g.node("Shape", products, end=3), g.node("Shape", rows, start=1, end=2), axis=0)
    return g.node("GatherElements", products, g.node("Expand", rows, shape), axis=3)


def _convolved(g: GraphWriter, model: Deberta, embedded: str, x: str, real: str) -> str:
    """Add a convolution of the embeddings to the first layer's result; what is padding stays zero."""
    size, width = model.kernel, model.width
    with g.scope("encoder.conv"):
        weight = g.parameter("conv.weight", (width, width, size))
        bias = g.parameter("conv.bias", (width,), fill=0.0)
        turned = g.node("Transpose", embedded, perm=[0, 2, 1])
        found = g.node("Conv", turned, weight, bias, pads=[(size - 1) // 2] * 2)
        found = activation(g, g.node("Mul", g.node("Transpose", found, perm=[0, 2, 1]), real), model.kernel_act)
        return g.node("Mul", layer_norm(g, g.node("Add", x, found), "LayerNorm", width, model.eps), real)


def _head(g: GraphWriter, model: Deberta, x: str) -> None:
    """Write what stands on top, and the outputs of the graph."""
    width = model.width
    if model.head == "Model":
        g.output("last_hidden_state", x, 3)
    elif model.head == "MaskedLM":
        g.output("logits", _language(g, model, x), 3)
    elif model.head == "SequenceClassification":
        first = g.node("Gather", x, g.constant(0), axis=1)
        pooled = activation(g, linear(g, first, "pooler.dense", width, width), model.pooler_act)
        g.output("logits", linear(g, pooled, "classifier", width, model.labels), 2)
    else:
        name, classes = ("classifier", model.labels) if model.head == "TokenClassification" else ("qa_outputs", 2)
        g.output("logits", linear(g, x, name, width, classes), 3)


def _language(g: GraphWriter, model: Deberta, x: str) -> str:
    """Score every token of the vocabulary at every position."""
    body = "cls.predictions" if model.legacy else "lm_predictions.lm_head"
    inside = f"{body}.transform" if model.legacy else body
    wide = model.embedded if model.legacy else model.width
    x = activation(g, linear(g, x, f"{inside}.dense", model.width, wide), model.act)
    x = layer_norm(g, x, f"{inside}.LayerNorm", wide, model.eps)
    if model.tied or not model.legacy:
        name = "deberta.embeddings.word_embeddings.weight"
        table = g.parameter(name, (model.vocabulary, model.embedded), absolute=True)
        scores = g.node("MatMul", x, g.node("Transpose", table, perm=[1, 0]))
    else:
        scores = linear(g, x, f"{body}.decoder", wide, model.vocabulary, bias=False)
    return g.node("Add", scores, g.parameter(f"{body}.bias", (model.vocabulary,), fill=0.0))
