"""Configurations of the decoders that `rotary` writes: what each model type calls its switches, and their defaults.

Defaults: transformers 5, the configuration class of each type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from workloads.zoo.config import Config
from workloads.zoo.layers import Heads
from workloads.zoo.norms import Norm
from workloads.zoo.rope import WIDEST_HEAD, local_frequencies, rope_frequencies

__all__ = ["Rotary", "read"]

Place = Literal["before", "after", "both"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotary:
    """One architecture of this kind.

    Attributes:
        kind: Hugging Face's model type.
        layers: Number of layers.
        width: Of the hidden state.
        heads: Of the attention.
        inner: Width inside the feed-forward block.
        vocabulary: Number of tokens.
        positions: Longest sequence, where a table of positions is stored.
        norm: Kind of the norms.
        place: Where they stand: before each block, after it, or both.
        parallel: Attention and feed-forward both read the layer's one normalised input.
        qk_norm: Queries and keys are normalised: "whole", each head by one vector ("head") or by its own ("each").
        act: Activation function.
        tied: The output matrix is the embedding table.
        qkv_bias: Biases on queries, keys and values.
        out_bias: A bias on the output of the attention.
        mlp_bias: Biases in the feed-forward block.
        head_bias: A bias on the output matrix.
        embedding_scale: Of the embeddings.
        windows: Per layer, how many tokens it sees; None: all.
        clip: Bound of queries, keys and values.
        scale: Of the scores.
        logit_cap: Soft bound of the logits.
        logit_scale: Of the logits.
        frequencies: Rotary inverse wavelengths.
        rope_factor: Of the rotary tables.
        local: Rotary inverse wavelengths of layers with a window; empty: as the others.
        interleaved: Rotated pairs are neighbours, not halves.
    """

    kind: str
    layers: int
    width: int
    heads: Heads
    inner: int
    vocabulary: int
    positions: int | None = None
    norm: Norm
    place: Place = "before"
    parallel: bool = False
    qk_norm: Literal["", "whole", "head", "each"] = ""
    act: str
    tied: bool
    qkv_bias: bool
    out_bias: bool
    mlp_bias: bool = False
    head_bias: bool = False
    embedding_scale: float = 1.0
    windows: tuple[int | None, ...]
    clip: float | None = None
    scale: float
    logit_cap: float | None = None
    logit_scale: float = 1.0
    frequencies: tuple[float, ...]
    rope_factor: float
    local: tuple[float, ...] = ()
    interleaved: bool = False


def read(values: Mapping[str, Any]) -> Rotary:
    """Read a configuration (the content of a config.json)."""
    c = Config(values)
    kind = c.text("model_type")
    return _read_gptj(c) if kind == "gptj" else _READ[kind](c, _common(c, kind))


def _common(c: Config, kind: str) -> dict[str, Any]:
    """Read what all but GPT-J call the same."""
    width, heads, layers = c.int("hidden_size"), c.heads("num_attention_heads"), c.depth("num_hidden_layers")
    fixed = kind == "gemma3_text" or (kind != "stablelm" and c.values.get("head_dim") is not None)
    head_width = c.int("head_dim", 256, WIDEST_HEAD) if fixed else c.share("num_attention_heads", width, heads)
    base = {"cohere": 500_000.0, "gemma3_text": 1_000_000.0}.get(kind, 10_000.0)
    frequencies, factor = rope_frequencies(c, head_width, part=0.25 if kind == "stablelm" else 1.0, base=base)
    biased = kind in ("cohere", "gemma3_text", "olmo", "olmo2") and c.flag("attention_bias", False)
    return {
        "kind": kind, "layers": layers, "width": width, "vocabulary": c.int("vocab_size"),
        "heads": Heads(heads, c.groups("num_key_value_heads", heads), head_width), "inner": c.int("intermediate_size"),
        "act": c.activation("hidden_act", "silu") if kind != "gemma3_text" else "",
        "tied": c.flag("tie_word_embeddings", kind in ("cohere", "gemma3_text", "starcoder2")),
        "qkv_bias": biased, "out_bias": biased, "scale": head_width**-0.5, "windows": (None,) * layers,
        "frequencies": frequencies, "rope_factor": factor,
    }  # fmt: skip


def _read_cohere(c: Config, common: dict[str, Any]) -> Rotary:
    return Rotary(
        **common,
        norm=Norm("layer", c.positive("layer_norm_eps", 1e-5), bias=False),
        parallel=True,
        qk_norm="each" if c.flag("use_qk_norm", False) else "",
        logit_scale=c.factor("logit_scale", 0.0625),
        interleaved=True,
    )


def _read_gemma3(c: Config, common: dict[str, Any]) -> Rotary:
    c.only("use_bidirectional_attention", False)
    # attn_logit_softcapping is null in published configurations, and transformers 5 does not apply it
    layers, window = common["layers"], c.int("sliding_window", 4096)
    types = c.strings("layer_types", ())
    step = c.int("sliding_window_pattern", 6)
    if types and (len(types) != layers or set(types) - {"sliding_attention", "full_attention"}):
        raise c.fault("layer_types", f"is not one of sliding_attention and full_attention for each of {layers} layers")
    local = [item == "sliding_attention" for item in types] or [(layer + 1) % step != 0 for layer in range(layers)]
    further = {
        "act": c.activation("hidden_activation", c.activation("hidden_act", "gelu_pytorch_tanh")),
        "windows": tuple(window if item else None for item in local),
        "scale": 1 / math.sqrt(c.positive("query_pre_attn_scalar", 256)),
    }
    return Rotary(
        **{**common, **further},
        norm=Norm("rms", c.positive("rms_norm_eps", 1e-6), offset=1.0),
        place="both",
        qk_norm="head",
        embedding_scale=math.sqrt(common["width"]),
        logit_cap=c.optional_factor("final_logit_softcapping"),
        local=local_frequencies(c, common["heads"].width, "rope_local_base_freq", 10_000.0),
    )


def _read_olmo(c: Config, common: dict[str, Any]) -> Rotary:
    return Rotary(**common, norm=Norm("none", 1e-5), clip=c.optional_factor("clip_qkv"))


def _read_olmo2(c: Config, common: dict[str, Any]) -> Rotary:
    return Rotary(**common, norm=Norm("rms", c.positive("rms_norm_eps", 1e-5)), place="after", qk_norm="whole")


def _read_stablelm(c: Config, common: dict[str, Any]) -> Rotary:
    return Rotary(
        **{**common, "qkv_bias": c.flag("use_qkv_bias", False)},
        norm=Norm("layer", c.positive("layer_norm_eps", 1e-5)),
        parallel=c.flag("use_parallel_residual", False),
        qk_norm="each" if c.flag("qk_layernorm", False) else "",
    )


def _read_starcoder2(c: Config, common: dict[str, Any]) -> Rotary:
    biased, window = c.flag("use_bias", True), c.optional_int("sliding_window")
    further = {
        "act": c.activation("hidden_act", "gelu_pytorch_tanh"), "windows": (window,) * common["layers"],
        "qkv_bias": biased, "out_bias": biased, "mlp_bias": biased,
    }  # fmt: skip
    return Rotary(**{**common, **further}, norm=Norm("layer", c.positive("norm_epsilon", 1e-5)))


_READ = {
    "cohere": _read_cohere,
    "gemma3_text": _read_gemma3,
    "olmo": _read_olmo,
    "olmo2": _read_olmo2,
    "stablelm": _read_stablelm,
    "starcoder2": _read_starcoder2,
}


def _read_gptj(c: Config) -> Rotary:
    width, heads, layers = c.int("n_embd"), c.heads("n_head"), c.depth("n_layer")
    head_width = c.share("n_head", width, heads)
    rotated = c.int("rotary_dim", 64, head_width)
    if rotated % 2:
        raise c.fault("rotary_dim", "is odd; pairs of values rotate")
    return Rotary(
        kind="gptj",
        layers=layers,
        width=width,
        heads=Heads(heads, heads, head_width),
        inner=c.int("n_inner", 4 * width),
        vocabulary=c.int("vocab_size"),
        positions=c.int("n_positions", 2048),
        norm=Norm("layer", c.positive("layer_norm_epsilon", 1e-5)),
        parallel=True,
        act=c.activation("activation_function", "gelu_new"),
        tied=c.flag("tie_word_embeddings", False),
        qkv_bias=False,
        out_bias=False,
        mlp_bias=True,
        head_bias=True,
        windows=(None,) * layers,
        scale=head_width**-0.5,
        frequencies=tuple(10_000.0 ** (-2 * index / rotated) for index in range(rotated // 2)),
        rope_factor=1.0,
        interleaved=True,
    )
