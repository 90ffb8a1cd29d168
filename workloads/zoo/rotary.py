"""Decoders with rotary positions that differ from Llama in their norms: where they stand, what they normalise.

GPT-J and Cohere run attention beside the feed-forward block; StableLM may; OLMo's norms store nothing and OLMo 2's come
after each block; Gemma 3 has them before and after, and two rotary tables; StarCoder 2 has plain feed-forward blocks.

Sources: Wang and Komatsuzaki 2021 (GPT-J-6B); Bellagente et al. 2024, arXiv 2402.17834 (StableLM 2); Groeneveld et al.
2024, arXiv 2402.00838 (OLMo); OLMo Team 2024, arXiv 2501.00656 (OLMo 2); Cohere 2024 (Command R); Lozhkov et al. 2024,
arXiv 2402.19173 (StarCoder 2); Gemma Team 2025, arXiv 2503.19786 (Gemma 3); parameter names: transformers 5.
"""

from __future__ import annotations

from dataclasses import dataclass

from workloads.zoo.decoding import Tokens, begin, logits, self_attention
from workloads.zoo.graph import GraphWriter
from workloads.zoo.layers import embedding, feed_forward, linear, rotary_tables, rotate, softcap
from workloads.zoo.norms import normalized, per_head
from workloads.zoo.phase import Phase
from workloads.zoo.rotary_config import Rotary, read

__all__ = ["MODEL_TYPES", "Rotary", "read", "write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """What a checkpoint calls the parts; of a model where they differ from Llama's.

    Attributes:
        body: Everything below the output matrix.
        words: The embedding table.
        layers: The layers.
        last: The norm after them.
        attention: The attention.
        out: Product that mixes the heads.
        before: Norms before attention and feed-forward block (one where they are parallel).
        after: Norms after them.
        query_norm: Norm of the queries; that of the keys has "k" for "q".
        up: First product of the feed-forward block.
        down: Second product.
        gate: Gate of the feed-forward block; empty: there is none.
    """

    body: str = "model"
    words: str = "embed_tokens"
    layers: str = "layers"
    last: str = "norm"
    attention: str = "self_attn"
    out: str = "o_proj"
    before: tuple[str, str] = ("input_layernorm", "post_attention_layernorm")
    after: tuple[str, str] = ("post_attention_layernorm", "post_feedforward_layernorm")
    query_norm: str = "q_norm"
    up: str = "up_proj"
    down: str = "down_proj"
    gate: str = "gate_proj"


_NAMES = {
    "cohere": _Names(),
    "gemma3_text": _Names(before=("input_layernorm", "pre_feedforward_layernorm")),
    "gptj": _Names(
        body="transformer", words="wte", layers="h", last="ln_f", attention="attn", out="out_proj", before=("ln_1", ""),
        up="fc_in", down="fc_out", gate="",
    ),
    "olmo": _Names(),
    "olmo2": _Names(),
    "stablelm": _Names(query_norm="q_layernorm"),
    "starcoder2": _Names(up="c_fc", down="c_proj", gate=""),
}  # fmt: skip
MODEL_TYPES = tuple(_NAMES)


def write(g: GraphWriter, model: Rotary, phase: Phase) -> None:
    """Write one phase: inputs `input_ids` [b, l] (decode: [b, 1], `position` [b], `past_*`), output `logits`."""
    names = _NAMES[model.kind]
    tokens = begin(g, phase, model.windows, longest=model.positions)
    whole = rotary_tables(g, tokens.positions, list(model.frequencies), model.rope_factor)
    tables: dict[int | None, tuple[str, str]] = {None: whole}
    for window in model.windows:  # of one length, if any
        if window is not None and window not in tables:
            tables[window] = rotary_tables(g, tokens.positions, list(model.local)) if model.local else whole
    with g.scope(names.body):
        x = embedding(g, tokens.ids, names.words, model.vocabulary, model.width)
        if model.embedding_scale != 1.0:
            x = g.node("Mul", x, g.scalar(model.embedding_scale))
        for layer in range(model.layers):
            with g.scope(f"{names.layers}.{layer}"):
                x = _layer(g, model, x, tables[model.windows[layer]], tokens, layer)
        x = normalized(g, x, names.last, model.width, model.norm)
    table = f"{names.body}.{names.words}.weight" if model.tied else ""
    result = logits(g, x, phase, model.vocabulary, model.width, table=table, bias=model.head_bias)
    if model.logit_scale != 1.0:
        result = g.node("Mul", result, g.scalar(model.logit_scale))
    g.output("logits", softcap(g, result, model.logit_cap), 3)


def _layer(g: GraphWriter, model: Rotary, x: str, tables: tuple[str, str], tokens: Tokens, layer: int) -> str:
    names = _NAMES[model.kind]

    def before(x: str, block: int) -> str:
        return x if model.place == "after" else normalized(g, x, names.before[block], model.width, model.norm)

    def after(x: str, block: int) -> str:
        return x if model.place == "before" else normalized(g, x, names.after[block], model.width, model.norm)

    normed = before(x, 0)
    mixed = _attention(g, model, normed, tables, tokens, layer)
    if model.parallel:
        return g.node("Add", x, g.node("Add", mixed, _feed_forward(g, model, normed)))
    x = g.node("Add", x, after(mixed, 0))
    return g.node("Add", x, after(_feed_forward(g, model, before(x, 1)), 1))


def _feed_forward(g: GraphWriter, model: Rotary, x: str) -> str:
    names = _NAMES[model.kind]
    with g.scope("mlp"):
        return feed_forward(
            g, x, names.up, names.down, model.width, model.inner, model.act, gate=names.gate, bias=model.mlp_bias
        )


def _attention(g: GraphWriter, model: Rotary, x: str, tables: tuple[str, str], tokens: Tokens, layer: int) -> str:
    heads, names = model.heads, _NAMES[model.kind]
    with g.scope(names.attention):
        q, k, v = (
            _clipped(g, linear(g, x, f"{part}_proj", model.width, count * heads.width, bias=model.qkv_bias), model.clip)
            for part, count in (("q", heads.count), ("k", heads.groups), ("v", heads.groups))
        )
        q = _query_norm(g, model, q, names.query_norm, heads.count)
        k = _query_norm(g, model, k, f"k{names.query_norm[1:]}", heads.groups)
        rotated = 2 * len(model.frequencies)
        partial = 0 if rotated == heads.width else rotated
        q = rotate(g, q, tables, heads.count, width=partial, interleaved=model.interleaved)
        k = rotate(g, k, tables, heads.groups, width=partial, interleaved=model.interleaved)
        merged = self_attention(g, tokens, layer, q, k, v, heads, scale=model.scale, window=model.windows[layer])
        return linear(g, merged, names.out, heads.count * heads.width, model.width, bias=model.out_bias)


def _clipped(g: GraphWriter, x: str, bound: float | None) -> str:
    return x if bound is None else g.node("Clip", x, g.scalar(-bound), g.scalar(bound))


def _query_norm(g: GraphWriter, model: Rotary, x: str, name: str, heads: int) -> str:
    """Normalise queries or keys [b, l, heads * d], as a whole or head by head."""
    width = model.heads.width
    if not model.qk_norm:
        return x
    if model.qk_norm == "whole":
        return normalized(g, x, name, heads * width, model.norm)
    cut = g.node("Reshape", x, g.constant([0, 0, heads, width]))
    if model.qk_norm == "head":
        cut = normalized(g, cut, name, width, model.norm)
    else:
        cut = per_head(g, cut, name, heads, width, model.norm.eps, listed=model.kind == "stablelm")
    return g.node("Reshape", cut, g.constant([0, 0, heads * width]))
