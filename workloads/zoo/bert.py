"""Text encoders of the BERT kind: BERT, RoBERTa, DistilBERT, ALBERT, ELECTRA, MPNet.

They share one post-norm layer and differ in names, embeddings and heads; ALBERT runs one stored layer many times,
and MPNet adds a bias by distance to the scores.

Sources: Devlin et al. 2019, arXiv 1810.04805; Liu et al. 2019, arXiv 1907.11692; Sanh et al. 2019, arXiv 1910.01108;
Lan et al. 2020, arXiv 1909.11942; Clark et al. 2020, arXiv 2003.10555; Song et al. 2020, arXiv 2004.09297 (MPNet);
parameter names: transformers 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from workloads.zoo import bert_heads
from workloads.zoo.config import Config
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
from workloads.zoo.phase import Phase
from workloads.zoo.t5 import buckets

__all__ = ["MODEL_TYPES", "Bert", "read", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """What a checkpoint calls the parts of one layer.

    Attributes:
        body: The encoder, where a head stands beside it.
        query: Product that makes the queries.
        key: Product that makes the keys.
        value: Product that makes the values.
        out: Product that mixes the heads.
        attention_norm: Norm after the attention.
        up: First product of the feed-forward block.
        down: Second product of the feed-forward block.
        output_norm: Norm after the feed-forward block.
        widen: Product from the embeddings to the hidden width, where they differ.
        pooler: Product on the first token; empty where there is none.
    """

    body: str
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    out: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    up: str = "intermediate.dense"
    down: str = "output.dense"
    output_norm: str = "output.LayerNorm"
    widen: str = ""
    pooler: str = ""


_ROBERTA = _Names(body="roberta", pooler="pooler.dense")
_NAMES = {
    "bert": _Names(body="bert", pooler="pooler.dense"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": _Names(body="electra", widen="embeddings_project"),
    "distilbert": _Names(
        body="distilbert", query="attention.q_lin", key="attention.k_lin", value="attention.v_lin",
        out="attention.out_lin", attention_norm="sa_layer_norm", up="ffn.lin1", down="ffn.lin2",
        output_norm="output_layer_norm",
    ),
    "albert": _Names(
        body="albert", query="attention.query", key="attention.key", value="attention.value", out="attention.dense",
        attention_norm="attention.LayerNorm", up="ffn", down="ffn_output", output_norm="full_layer_layer_norm",
        widen="encoder.embedding_hidden_mapping_in", pooler="pooler",
    ),
    "mpnet": _Names(
        body="mpnet", query="attention.attn.q", key="attention.attn.k", value="attention.attn.v",
        out="attention.attn.o", attention_norm="attention.LayerNorm", pooler="pooler.dense",
    ),
}  # fmt: skip
MODEL_TYPES = tuple(_NAMES)
_COUNTING = ("roberta", "xlm-roberta", "camembert")
"""Kinds whose positions count the tokens that are not padding, from the padding token's number on; so does MPNet, whose
padding is always token 1."""
_BUCKETS, _FARTHEST = 32, 128  # of MPNet's distances (transformers 5, MPNetEncoder: fixed there)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bert:
    """One architecture of this kind.

    Attributes:
        kind: Hugging Face's model type.
        layers: The stored layer that each executed one reads, by its scope in the checkpoint.
        width: Of the hidden state.
        embedded: Width of the embeddings.
        heads: Of the attention.
        inner: Width inside the feed-forward block.
        vocabulary: Number of tokens.
        positions: Number of positions.
        types: Number of token types; 0: there are none.
        padding: Number of the padding token, where positions are counted from it.
        eps: Of the norms.
        act: Activation function.
        head: What stands on top.
        labels: Classes of a classifier on top.
        tied: The output matrix of a language model on top is the embedding table.
    """

    kind: str
    layers: tuple[str, ...]
    width: int
    embedded: int
    heads: Heads
    inner: int
    vocabulary: int
    positions: int
    types: int
    padding: int | None
    eps: float
    act: str
    head: str
    labels: int
    tied: bool


def read(values: Mapping[str, Any]) -> Bert:
    """Read a configuration (the content of a config.json)."""
    c = Config(values)
    kind = c.text("model_type")
    brief = kind == "distilbert"  # it has names of its own
    width = c.int("dim" if brief else "hidden_size")
    count = "n_heads" if brief else "num_attention_heads"
    heads = c.heads(count)
    wide = _NAMES[kind].widen != ""
    padding = c.whole("pad_token_id", 1) if kind in _COUNTING else 1 if kind == "mpnet" else None
    positions = c.int("max_position_embeddings", 512)
    if padding is not None and positions < padding + 2:
        raise c.fault("max_position_embeddings", f"leaves no position: the first {padding + 1} are never used")
    if kind == "mpnet" and c.int("relative_attention_num_buckets", _BUCKETS) != _BUCKETS:
        raise c.fault("relative_attention_num_buckets", f"is not {_BUCKETS}, the only number that the model works with")
    return Bert(
        kind=kind,
        layers=_layers(c, kind),
        width=width,
        embedded=c.int("embedding_size", 128) if wide else width,
        heads=Heads(heads, heads, c.share(count, width, heads)),
        inner=c.int("hidden_dim" if brief else "intermediate_size"),
        vocabulary=c.int("vocab_size"),
        positions=positions,
        types=0 if brief or kind == "mpnet" else c.int("type_vocab_size", 2),
        padding=padding,
        eps=1e-12 if brief else c.positive("layer_norm_eps", 1e-12),
        act=c.activation("activation" if brief else "hidden_act", "gelu_new" if kind == "albert" else "gelu"),
        head=c.head(bert_heads.HEADS, "Model"),
        labels=c.labels(),
        tied=c.flag("tie_word_embeddings", True),
    )


def _layers(c: Config, kind: str) -> tuple[str, ...]:
    """Name the stored layer of each executed one. ALBERT's groups follow each other, each with its inner layers."""
    depth = c.depth("n_layers" if kind == "distilbert" else "num_hidden_layers")
    if kind == "distilbert":
        return tuple(f"transformer.layer.{layer}" for layer in range(depth))
    if kind != "albert":
        return tuple(f"encoder.layer.{layer}" for layer in range(depth))
    groups, inner = c.int("num_hidden_groups", 1, depth), c.depth("inner_group_num", 1)
    return tuple(
        f"encoder.albert_layer_groups.{layer * groups // depth}.albert_layers.{index}"
        for layer in range(depth)
        for index in range(inner)
    )


def write(g: GraphWriter, model: Bert, phase: Phase) -> None:
    """Write one pass: inputs `input_ids`, `attention_mask` (and `token_type_ids`), each [b, l]; outputs of the head."""
    names = _NAMES[model.kind]
    ids = g.input("input_ids", ("batch", "seq"), "int64")
    mask = padding_mask(g, g.input("attention_mask", ("batch", "seq"), "int64"))
    types = g.input("token_type_ids", ("batch", "seq"), "int64") if model.types > 1 else ""
    pooled = ""
    with nullcontext() if model.head == "Model" else g.scope(names.body):
        x = _embedded(g, model, ids, types)
        if model.kind == "mpnet":
            mask = g.node("Add", mask, _by_distance(g, model, ids))
        for layer in model.layers:
            with g.scope(layer):
                x = _layer(g, model, names, x, mask)
        if names.pooler and bert_heads.pools(model.kind, model.head):
            first = g.node("Gather", x, g.constant(0), axis=1)
            pooled = g.node("Tanh", linear(g, first, names.pooler, model.width, model.width))
    table = f"{'' if model.head == 'Model' else names.body + '.'}embeddings.word_embeddings.weight"
    top = bert_heads.Top(
        model.kind, model.width, model.embedded, model.vocabulary, model.labels, model.act, model.eps,
        table if model.tied else "",
    )  # fmt: skip
    bert_heads.write(g, model.head, top, x, pooled)


def _embedded(g: GraphWriter, model: Bert, ids: str, types: str) -> str:
    """Add the embeddings of words, positions and types; normalise; widen."""
    names = _NAMES[model.kind]
    with g.scope("embeddings"):
        x = embedding(g, ids, "word_embeddings", model.vocabulary, model.embedded)
        if types:
            x = g.node("Add", x, embedding(g, types, "token_type_embeddings", model.types, model.embedded))
        elif model.types:  # one type: its one row, for every token
            x = g.node("Add", x, g.parameter("token_type_embeddings.weight", (model.types, model.embedded)))
        x = g.node("Add", x, _positions(g, model, ids))
        x = layer_norm(g, x, "LayerNorm", model.embedded, model.eps)
    if names.widen and (model.embedded != model.width or model.kind == "albert"):
        x = linear(g, x, names.widen, model.embedded, model.width)
    return x


def _positions(g: GraphWriter, model: Bert, ids: str) -> str:
    """Give the embeddings of the positions: the first l rows [l, w], or [b, l, w] where padding does not count."""
    if model.padding is None:
        g.longest["seq"] = model.positions
        table = g.parameter("position_embeddings.weight", (model.positions, model.embedded))
        return g.node("Slice", table, g.constant([0]), g.node("Shape", ids, start=1, end=2), g.constant([0]))
    g.longest["seq"] = model.positions - model.padding - 1
    padding = g.constant(model.padding)
    real = g.node("Cast", g.node("Not", g.node("Equal", ids, padding)), to=7)  # INT64
    counted = g.node("Mul", g.node("CumSum", real, g.constant(1)), real)
    return embedding(g, g.node("Add", counted, padding), "position_embeddings", model.positions, model.embedded)


def _by_distance(g: GraphWriter, model: Bert, ids: str) -> str:
    """Give a stored bias per head and bucket of distances, [h, l, l]."""
    length = g.node("Squeeze", g.node("Shape", ids, start=1, end=2))
    index = g.node("Range", g.constant(0), length, g.constant(1))
    distance = g.node("Sub", index, g.node("Unsqueeze", index, g.constant([-1])))
    near = g.node("Clip", distance, g.constant(-_FARTHEST), g.constant(_FARTHEST))
    table = g.constant(buckets(_BUCKETS, _FARTHEST, both_sides=True))
    bucket = g.node("Gather", table, g.node("Add", near, g.constant(_FARTHEST)))
    bias = embedding(g, bucket, "encoder.relative_attention_bias", _BUCKETS, model.heads.count)
    return g.node("Transpose", bias, perm=[2, 0, 1])


def _layer(g: GraphWriter, model: Bert, names: _Names, x: str, mask: str) -> str:
    """One layer: attention and feed-forward, each added to its input and then normalised."""
    heads, width = model.heads, model.width
    q = split_heads(g, linear(g, x, names.query, width, width), heads)
    k = split_keys(g, linear(g, x, names.key, width, width), heads.groups, heads.width)
    v = split_keys(g, linear(g, x, names.value, width, width), heads.groups, heads.width, values=True)
    mixed = merge_heads(g, attend(g, q, k, v, heads, scale=1 / math.sqrt(heads.width), mask=mask), heads)
    x = g.node("Add", linear(g, mixed, names.out, width, width), x)
    x = layer_norm(g, x, names.attention_norm, width, model.eps)
    fed = feed_forward(g, x, names.up, names.down, width, model.inner, model.act)
    return layer_norm(g, g.node("Add", fed, x), names.output_norm, width, model.eps)
