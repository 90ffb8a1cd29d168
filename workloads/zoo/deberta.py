"""DeBERTa v2 and v3: attention by content and by distance, each with vectors of its own.

A score is the product of query and key, plus query and distance, plus key and distance, all over the root of their
number times the width. Distances share buckets that grow with the logarithm.

Source: He et al. 2021, arXiv 2006.03654, section 3.1, and arXiv 2111.09543 (v3); parameter names: transformers 5.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from workloads.zoo.deberta_config import Deberta, distance_buckets, read
from workloads.zoo.graph import GraphWriter
from workloads.zoo.layers import (
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

__all__ = ["MODEL_TYPES", "Deberta", "read", "write"]

MODEL_TYPES = ("deberta-v2",)


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
