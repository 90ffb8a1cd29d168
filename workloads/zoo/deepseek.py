"""DeepSeek-V2 and V3: multi-head latent attention (MLA), mixtures of experts with shared experts.

A token's keys and values are products of one latent vector, and only that vector and one rotated key for all heads are
kept. A prefill multiplies them out. A decode step does not (the absorbed form): the matrix that makes keys goes into
the query instead, and the one that makes values into the result, so that a step reads the latents as they are.

Sources: DeepSeek-AI 2024, arXiv 2405.04434, section 2.1 and appendix C; arXiv 2412.19437, section 2.1; parameter names:
transformers 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.zoo.config import Config
from workloads.zoo.decoding import Tokens, begin, logits
from workloads.zoo.graph import GraphWriter, State, stored
from workloads.zoo.layers import (
    Heads,
    attend,
    embedding,
    feed_forward,
    linear,
    merge_heads,
    rms_norm,
    rotary_tables,
    rotate,
)
from workloads.zoo.moe import Experts, experts_field, mixture, read_experts
from workloads.zoo.phase import Phase
from workloads.zoo.rope import WIDEST_HEAD, rope_frequencies, yarn_scale

__all__ = ["MODEL_TYPES", "DeepSeek", "read", "write"]

MODEL_TYPES = ("deepseek_v2", "deepseek_v3")
_LATENT_EPS = 1e-6  # of the norms inside the attention, whatever rms_norm_eps is (transformers 5, DeepseekV2Attention)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepSeek:
    """One architecture of this kind.

    Attributes:
        layers: Number of layers.
        width: Of the hidden state.
        heads: Number of heads.
        plain: Width of a head's part without position.
        rotary: Width of its rotated part.
        value: Width of a value.
        latent: Width of the latent vector of keys and values.
        query_latent: Width of the queries' latent vector; None: queries are made directly.
        inner: Width inside the dense feed-forward blocks.
        dense: How many layers have one, from the first.
        experts: Mixture of experts of the rest.
        vocabulary: Number of tokens.
        eps: Of the norms.
        act: Activation function of the dense blocks.
        bias: Biases in the attention.
        mlp_bias: Biases in the dense blocks.
        tied: The output matrix is the embedding table.
        scale: Of the scores.
        interleaved: Pairs of rotated values are neighbours.
        frequencies: Rotary inverse wavelengths.
        rope_factor: Of the rotary tables.
    """

    layers: int
    width: int
    heads: int
    plain: int
    rotary: int
    value: int
    latent: int
    query_latent: int | None
    inner: int
    dense: int
    experts: Experts
    vocabulary: int
    eps: float
    act: str
    bias: bool
    mlp_bias: bool
    tied: bool
    scale: float
    interleaved: bool
    frequencies: tuple[float, ...]
    rope_factor: float


def read(values: Mapping[str, Any]) -> DeepSeek:
    """Read a configuration (the content of a config.json)."""
    c = Config(values)
    third = c.text("model_type") == "deepseek_v3"
    plain, rotary = c.int("qk_nope_head_dim", 128, WIDEST_HEAD), c.int("qk_rope_head_dim", 64, WIDEST_HEAD)
    frequencies, factor = rope_frequencies(c, rotary)
    layers = c.depth("num_hidden_layers")
    return DeepSeek(
        layers=layers,
        width=c.int("hidden_size"),
        heads=c.heads("num_attention_heads"),
        plain=plain,
        rotary=rotary,
        value=c.int("v_head_dim", 128, WIDEST_HEAD),
        latent=c.int("kv_lora_rank", 512),
        query_latent=c.optional_int("q_lora_rank", 1536),
        inner=c.int("intermediate_size"),
        dense=min(c.whole("first_k_dense_replace", 3 if third else 0), layers),
        experts=_experts_v3(c) if third else _experts_v2(c),
        vocabulary=c.int("vocab_size"),
        eps=c.positive("rms_norm_eps", 1e-6),
        act=c.activation("hidden_act", "silu"),
        bias=c.flag("attention_bias", False),
        mlp_bias=c.flag("mlp_bias", False) and not third,
        tied=c.flag("tie_word_embeddings", False),
        scale=(plain + rotary) ** -0.5 * _scale_correction(c) ** 2,
        interleaved=c.flag("rope_interleave", True) if third else True,
        frequencies=frequencies,
        rope_factor=factor,
    )


def _scale_correction(c: Config) -> float:
    """Give what long-context scaling multiplies queries and keys by, each."""
    table = c.nested("rope_scaling", "rope_parameters")
    weight = table.optional_factor("mscale_all_dim")
    if not weight or table.text("rope_type", table.text("type", "default")) == "default":
        return 1.0
    return yarn_scale(table.positive("factor"), weight)


def _experts_v2(c: Config) -> Experts:
    grouped = c.choice("topk_method", ("greedy", "group_limited_greedy"), "greedy") == "group_limited_greedy"
    inner = c.int("moe_intermediate_size")
    groups = _groups(c, best=1) if grouped else {}
    return read_experts(
        c, "n_routed_experts", "moe_intermediate_size", normalized=False,
        factor=c.factor("routed_scaling_factor", 1.0), shared=inner * c.whole("n_shared_experts", 2), **groups,
    )  # fmt: skip


def _experts_v3(c: Config) -> Experts:
    inner = c.int("moe_intermediate_size")
    return read_experts(
        c, "n_routed_experts", "moe_intermediate_size", normalized=c.flag("norm_topk_prob", True), sigmoid=True,
        correction=True, factor=c.factor("routed_scaling_factor", 2.5),
        shared=inner * c.whole("n_shared_experts", 1), **_groups(c, best=2),
    )  # fmt: skip


def _groups(c: Config, best: int) -> dict[str, int]:
    """Read into how many groups the experts fall, and how many of them a token may visit."""
    count, groups = c.int(experts_field(c, "n_routed_experts")), c.int("n_group", 8)
    size = c.share("n_group", count, groups)
    chosen = c.int("topk_group", 4, groups)
    if chosen * size < c.int("num_experts_per_tok"):
        raise c.fault("topk_group", f"leaves {chosen * size} experts to choose from")
    return {"groups": groups, "chosen_groups": chosen, "group_best": min(best, size)}


def write(g: GraphWriter, model: DeepSeek, phase: Phase) -> None:
    """Write one phase: inputs `input_ids` [b, l] (decode: [b, 1], `position` [b], `past_*`), output `logits`."""
    tokens = begin(g, phase)
    tables = rotary_tables(g, tokens.positions, list(model.frequencies), model.rope_factor)
    with g.scope("model"):
        x = embedding(g, tokens.ids, "embed_tokens", model.vocabulary, model.width)
        for layer in range(model.layers):
            with g.scope(f"layers.{layer}"):
                normed = rms_norm(g, x, "input_layernorm", model.width, model.eps)
                with g.scope("self_attn"):
                    x = g.node("Add", x, _attention(g, model, normed, tables, tokens, layer))
                normed = rms_norm(g, x, "post_attention_layernorm", model.width, model.eps)
                with g.scope("mlp"):
                    x = g.node("Add", x, _feed_forward(g, model, normed, layer))
        x = rms_norm(g, x, "norm", model.width, model.eps)
    table = "model.embed_tokens.weight" if model.tied else ""
    g.output("logits", logits(g, x, phase, model.vocabulary, model.width, table=table), 3)


def _feed_forward(g: GraphWriter, model: DeepSeek, x: str, layer: int) -> str:
    if layer >= model.dense:
        return mixture(g, x, model.width, model.experts)
    return feed_forward(
        g, x, "up_proj", "down_proj", model.width, model.inner, model.act, gate="gate_proj", bias=model.mlp_bias
    )


def _attention(g: GraphWriter, model: DeepSeek, x: str, tables: tuple[str, str], tokens: Tokens, layer: int) -> str:
    plain, rotary = _queries(g, model, x, tables)
    packed = linear(g, x, "kv_a_proj_with_mqa", model.width, model.latent + model.rotary, bias=model.bias)
    latent, key = g.nodes("Split", (packed, g.constant([model.latent, model.rotary])), 2, axis=-1)
    latent = rms_norm(g, latent, "kv_a_layernorm", model.latent, _LATENT_EPS)
    key = rotate(g, key, tables, 1, interleaved=model.interleaved)
    latent = tokens.cache.latent(layer, latent, model.latent)
    key = tokens.cache.keys(layer, key, 1, model.rotary)
    compute = _absorbed if tokens.cache.phase.decoding else _multiplied_out
    mixed = compute(g, model, (plain, rotary), latent, key, tokens.mask())
    return linear(g, mixed, "o_proj", model.heads * model.value, model.width, bias=model.bias)


def _queries(g: GraphWriter, model: DeepSeek, x: str, tables: tuple[str, str]) -> tuple[str, str]:
    """Give the queries' parts without position [b, l, h, d] and with it [b, l, h, r], scaled."""
    n_in, name = model.width, "q_proj"
    if model.query_latent is not None:
        x = linear(g, x, "q_a_proj", model.width, model.query_latent, bias=model.bias)
        x = rms_norm(g, x, "q_a_layernorm", model.query_latent, _LATENT_EPS)
        n_in, name = model.query_latent, "q_b_proj"
    width = model.plain + model.rotary
    q = linear(g, x, name, n_in, model.heads * width, bias=False)
    q = g.node("Mul", q, g.scalar(model.scale))
    by_head = g.node("Reshape", q, g.constant([0, 0, model.heads, width]))
    plain, rotary = g.nodes("Split", (by_head, g.constant([model.plain, model.rotary])), 2, axis=-1)
    flat = g.node("Reshape", rotary, g.constant([0, 0, model.heads * model.rotary]))
    rotated = rotate(g, flat, tables, model.heads, interleaved=model.interleaved)
    return plain, g.node("Reshape", rotated, g.constant([0, 0, model.heads, model.rotary]))


def _expansions(g: GraphWriter, model: DeepSeek) -> tuple[str, str]:
    """Declare what makes keys [h, d, latent] and values [h, latent, d] of a latent: both parts of one stored matrix."""
    source = g.path("kv_b_proj.weight")

    def part(state: State) -> tuple[NDArray[Any], NDArray[Any]]:
        both = stored(source)(state).reshape(model.heads, model.plain + model.value, model.latent)
        return both[:, : model.plain], np.swapaxes(both[:, model.plain :], 1, 2)

    keys = g.parameter("kv_b_proj.keys", (model.heads, model.plain, model.latent), lambda state: part(state)[0])
    values = g.parameter("kv_b_proj.values", (model.heads, model.latent, model.value), lambda state: part(state)[1])
    return keys, values


def _multiplied_out(g: GraphWriter, model: DeepSeek, queries: tuple[str, str], latent: str, key: str, mask: str) -> str:
    """Make keys and values of every head, and attend: latent [b, 1, l, w], key [b, 1, r, l] to [b, l, h * v]."""
    to_keys, to_values = _expansions(g, model)
    heads = Heads(model.heads, model.heads, model.plain + model.rotary, model.value)
    own = g.node("MatMul", to_keys, g.node("Transpose", latent, perm=[0, 1, 3, 2]))
    common = g.node("Expand", key, g.constant([1, model.heads, 1, 1]))
    keys = g.node("Concat", own, common, axis=2)
    values = g.node("MatMul", latent, to_values)
    q = g.node("Transpose", g.node("Concat", *queries, axis=-1), perm=[0, 2, 1, 3])
    return merge_heads(g, attend(g, q, keys, values, heads, mask=mask), heads)


def _absorbed(g: GraphWriter, model: DeepSeek, queries: tuple[str, str], latent: str, key: str, mask: str) -> str:
    """Attend to latents as they are: latent [b, 1, t, w], key [b, 1, r, t] to [b, 1, h * v]."""
    to_keys, to_values = _expansions(g, model)
    plain, rotary = queries
    single = g.node("Reshape", plain, g.constant([0, model.heads, 1, model.plain]))
    seeking = g.node("Reshape", g.node("MatMul", single, to_keys), g.constant([0, 1, model.heads, model.latent]))
    by_content = g.node("FusedMatMul", seeking, latent, domain="com.microsoft", transB=1)
    scores = g.node("Add", by_content, g.node("MatMul", rotary, key))
    found = g.node("MatMul", g.node("Softmax", scores, axis=-1), latent)
    by_head = g.node("Reshape", found, g.constant([0, model.heads, 1, model.latent]))
    return g.node("Reshape", g.node("MatMul", by_head, to_values), g.constant([0, 1, model.heads * model.value]))
