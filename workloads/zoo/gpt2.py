"""GPT-2: LayerNorm before each block, learned positions, one stored matrix for queries, keys and values.

Source: Radford et al. 2019, Language models are unsupervised multitask learners, section 2.3; parameter names:
transformers 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workloads.zoo.config import Config
from workloads.zoo.decoding import Tokens, begin, logits, self_attention
from workloads.zoo.graph import GraphWriter
from workloads.zoo.layers import Heads, embedding, feed_forward, layer_norm, linear
from workloads.zoo.phase import Phase

__all__ = ["MODEL_TYPES", "Gpt2", "read", "write"]

MODEL_TYPES = ("gpt2",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpt2:
    """One architecture of this kind.

    Attributes:
        layers: Number of layers.
        width: Of the hidden state.
        heads: Of the attention.
        inner: Width inside the feed-forward block.
        vocabulary: Number of tokens.
        positions: Longest sequence.
        eps: Of the norms.
        act: Activation function.
        tied: The output matrix is the embedding table.
        scales: Of the scores, by layer.
    """

    layers: int
    width: int
    heads: Heads
    inner: int
    vocabulary: int
    positions: int
    eps: float
    act: str
    tied: bool
    scales: tuple[float, ...]


def read(values: Mapping[str, Any]) -> Gpt2:
    """Read a configuration (the content of a config.json)."""
    c = Config(values)
    width, heads, layers = c.int("n_embd"), c.heads("n_head"), c.depth("n_layer")
    head_width = c.share("n_head", width, heads)
    scale = head_width**-0.5 if c.flag("scale_attn_weights", True) else 1.0
    by_layer = c.flag("scale_attn_by_inverse_layer_idx", False)
    return Gpt2(
        layers=layers,
        width=width,
        heads=Heads(heads, heads, head_width),
        inner=c.int("n_inner", 4 * width),
        vocabulary=c.int("vocab_size"),
        positions=c.int("n_positions", 1024),
        eps=c.positive("layer_norm_epsilon", 1e-5),
        act=c.activation("activation_function", "gelu_new"),
        tied=c.flag("tie_word_embeddings", True),
        scales=tuple(scale / (layer + 1) if by_layer else scale for layer in range(layers)),
    )


def write(g: GraphWriter, model: Gpt2, phase: Phase) -> None:
    """Write one phase: inputs `input_ids` [b, l] (decode: [b, 1], `position` [b], `past_*`), output `logits`."""
    tokens = begin(g, phase, longest=model.positions)
    with g.scope("transformer"):
        words = embedding(g, tokens.ids, "wte", model.vocabulary, model.width)
        x = g.node("Add", words, embedding(g, tokens.positions, "wpe", model.positions, model.width))
        for layer in range(model.layers):
            with g.scope(f"h.{layer}"):
                x = _layer(g, model, x, tokens, layer)
        x = layer_norm(g, x, "ln_f", model.width, model.eps)
    table = "transformer.wte.weight" if model.tied else ""
    g.output("logits", logits(g, x, phase, model.vocabulary, model.width, table=table), 3)


def _layer(g: GraphWriter, model: Gpt2, x: str, tokens: Tokens, layer: int) -> str:
    x = g.node("Add", x, _attention(g, model, layer_norm(g, x, "ln_1", model.width, model.eps), tokens, layer))
    normed = layer_norm(g, x, "ln_2", model.width, model.eps)
    with g.scope("mlp"):
        fed = feed_forward(g, normed, "c_fc", "c_proj", model.width, model.inner, model.act, layout="io")
    return g.node("Add", x, fed)


def _attention(g: GraphWriter, model: Gpt2, x: str, tokens: Tokens, layer: int) -> str:
    width = model.width
    with g.scope("attn"):
        packed = linear(g, x, "c_attn", width, 3 * width, layout="io")
        q, k, v = g.nodes("Split", (packed,), 3, axis=-1, num_outputs=3)
        mixed = self_attention(g, tokens, layer, q, k, v, model.heads, scale=model.scales[layer])
        return linear(g, mixed, "c_proj", width, width, layout="io")
