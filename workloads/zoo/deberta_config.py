"""Configurations of DeBERTa v2 and v3, and the buckets of distances that follow from them.

Source: He et al. 2021, arXiv 2006.03654 and arXiv 2111.09543 (v3); defaults: transformers 5, DebertaV2Config.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from workloads.zoo.config import Config
from workloads.zoo.layers import Heads

__all__ = ["Deberta", "distance_buckets", "read"]

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
