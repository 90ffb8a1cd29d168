"""What every decoder has: tokens with their positions, masks and cache; attention to a cache; logits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from workloads.zoo.graph import TOTAL, GraphWriter
from workloads.zoo.layers import Heads, attend, causal_mask, linear, merge_heads, split_heads
from workloads.zoo.phase import Cache, Phase

__all__ = ["Tokens", "begin", "counted", "logits", "packed_projections", "self_attention"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one phase.

    Attributes:
        ids: [b, l] (int64); a decode step has l = 1.
        positions: [b, l] (int64).
        cache: Where keys and values are kept.
        masks: By window, what is added to the scores; a decode step masks nothing.
    """

    ids: str
    positions: str
    cache: Cache
    masks: Mapping[int | None, str]

    def mask(self, window: int | None = None) -> str:
        """Give the mask of a layer that sees so many tokens; None: all before."""
        return self.masks.get(window, "")


def begin(
    g: GraphWriter, phase: Phase, windows: Collection[int | None] = (None,), longest: int | None = None
) -> Tokens:
    """Declare the inputs: `input_ids` [b, l]; a decode step also takes the `position` [b] of its tokens.

    Args:
        g: The graph.
        phase: The phase.
        windows: How far layers see, each once or more often.
        longest: Number of positions that are stored; None: there is no table of them.
    """
    if longest is not None:
        g.longest[TOTAL if phase.decoding else "seq"] = longest
    ids = g.input("input_ids", ("batch", 1 if phase.decoding else "seq"), "int64")
    if phase.decoding:
        at = g.input("position", ("batch",), "int64")
        return Tokens(ids, g.node("Unsqueeze", at, g.constant([1])), Cache(g, phase, at), {})
    masks = {window: causal_mask(g, ids, window=window) for window in dict.fromkeys(windows)}
    return Tokens(ids, counted(g, ids), Cache(g, phase), masks)


def counted(g: GraphWriter, ids: str) -> str:
    """Give 0 .. l - 1 for every sequence, [b, l]."""
    shape = g.node("Shape", ids)
    length = g.node("Squeeze", g.node("Shape", ids, start=1, end=2))
    return g.node("Expand", g.node("Range", g.constant(0), length, g.constant(1)), shape)


def packed_projections(
    g: GraphWriter, x: str, name: str, width: int, heads: Heads, *, bias: bool
) -> tuple[str, str, str]:
    """Give queries [b, l, h * d], keys and values [b, l, kv * d] of one product.

    Its result lists, for each head of keys and values, the query heads that share it, its key and its value.

    Args:
        g: The graph.
        x: [b, l, width].
        name: Of the stored matrix.
        width: Of the hidden state.
        heads: The heads.
        bias: Add a stored vector.
    """
    per_group = (heads.shared * heads.width, heads.width, heads.width)
    packed = linear(g, x, name, width, heads.groups * sum(per_group), bias=bias)
    by_group = g.node("Reshape", packed, g.constant([0, 0, heads.groups, sum(per_group)]))
    parts = g.nodes("Split", (by_group, g.constant(per_group)), 3, axis=-1)
    q, k, v = (
        g.node("Reshape", part, g.constant([0, 0, heads.groups * size]))
        for part, size in zip(parts, per_group, strict=True)
    )
    return q, k, v


def self_attention(
    g: GraphWriter,
    tokens: Tokens,
    layer: int,
    q: str,
    k: str,
    v: str,
    heads: Heads,
    *,
    scale: float | None = None,
    window: int | None = None,
    cap: float | None = None,
    bias: str = "",
    sinks: str = "",
) -> str:
    """Keep the new keys and values, and attend to all that are kept: [b, l, h * d].

    Args:
        g: The graph.
        tokens: From `begin`.
        layer: Its number.
        q: Queries [b, l, h * d].
        k: Keys [b, l, kv * d].
        v: Values [b, l, kv * d].
        heads: The heads.
        scale: Factor of the scores; None: 1 / sqrt(d).
        window: Tokens that a token sees; None: all before it.
        cap: Soft bound of the scores.
        bias: Added to the scores beside the mask (it broadcasts): positions that are told by distance.
        sinks: Per head, a score for no value: [h].
    """
    keys = tokens.cache.keys(layer, k, heads.groups, heads.width, window)
    values = tokens.cache.values(layer, v, heads.groups, heads.width, window)
    mask = tokens.mask(window)
    if bias:
        mask = g.node("Add", mask, bias) if mask else bias
    factor = heads.width**-0.5 if scale is None else scale
    if tokens.cache.phase.decoding:
        return _attend_once(g, q, keys, values, heads, factor, mask, cap, sinks)
    if sinks:
        by_head = [heads.count, 1, 1] if heads.shared == 1 else [heads.groups, heads.shared, 1, 1]
        sinks = g.node("Reshape", sinks, g.constant(by_head))
    mixed = attend(g, split_heads(g, q, heads), keys, values, heads, scale=factor, mask=mask, cap=cap, sink=sinks)
    return merge_heads(g, mixed, heads)


def _attend_once(
    g: GraphWriter, q: str, keys: str, values: str, heads: Heads, scale: float, mask: str, cap: float | None, sinks: str
) -> str:
    """Attend with one token: the queries that share a key are the rows of one product, and nothing is transposed."""
    rows = g.node("Reshape", q, g.constant([0, heads.groups, heads.shared, heads.width]))
    alike = Heads(heads.groups, heads.groups, heads.width, heads.out)
    if sinks:
        sinks = g.node("Reshape", sinks, g.constant([heads.groups, heads.shared, 1]))
    mixed = attend(g, rows, keys, values, alike, scale=scale, mask=mask, cap=cap, sink=sinks)
    return g.node("Reshape", mixed, g.constant([0, 1, heads.count * heads.out]))


def logits(
    g: GraphWriter,
    x: str,
    phase: Phase,
    vocabulary: int,
    width: int,
    *,
    table: str = "",
    name: str = "lm_head",
    bias: bool = False,
) -> str:
    """Give the logits of one token per sequence, or of all: [b, l, vocabulary].

    Args:
        g: The graph.
        x: The hidden state, [b, l, width].
        phase: The phase.
        vocabulary: Number of tokens.
        width: Of the hidden state.
        table: Whole name of the embedding table, where it is the output matrix too.
        name: Of the output matrix, where it is one of its own.
        bias: Add a stored vector, whichever matrix it is.
    """
    if phase.logits == "last" and not phase.decoding:
        x = g.node("Gather", x, g.constant([-1]), axis=1)
    if not table:
        return linear(g, x, name, width, vocabulary, bias=bias)
    matrix = g.parameter(table, (vocabulary, width), absolute=True)
    scores = g.node("MatMul", x, g.node("Transpose", matrix, perm=[1, 0]))
    return g.node("Add", scores, g.parameter(f"{name}.bias", (vocabulary,), fill=0.0)) if bias else scores
