"""Squeezeformer: a Conformer with simpler blocks, and half the steps between two of them (a temporal U-Net).

A block is attention, feed-forward, convolution, feed-forward; each scales and shifts its input by stored vectors, and
its sum with the input is normalised afterwards. A model type of our own, since transformers has none.

Source: Kim et al. 2022, arXiv 2206.00888; kernel of the time reduction: 3 in its text, 5 in its code, the default here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from workloads.zoo.config import Config
from workloads.zoo.graph import GraphWriter
from workloads.zoo.layers import Heads, feed_forward, layer_norm, linear
from workloads.zoo.phase import Phase
from workloads.zoo.speech import pointwise, relative_attention, relative_positions, separable, subsampled

__all__ = ["MODEL_TYPES", "Squeezeformer", "read", "write"]

MODEL_TYPES = ("squeezeformer",)
_WIDER = 2  # the convolution module works at twice the width


@dataclass(frozen=True, slots=True, kw_only=True)
class Squeezeformer:
    """One architecture of this kind.

    Attributes:
        layers: Number of blocks.
        width: Of the hidden state.
        heads: Of the attention.
        inner: Width inside a feed-forward block.
        kernel: Steps that the depthwise convolution sees.
        reduced: Block before which steps are halved.
        recovered: Block before which there are as many again.
        reduce_kernel: Steps that the halving convolution sees.
        mels: Mel bands of the input.
        vocabulary: Tokens, the blank included.
        eps: Of the norms.
    """

    layers: int
    width: int
    heads: Heads
    inner: int
    kernel: int
    reduced: int
    recovered: int
    reduce_kernel: int
    mels: int
    vocabulary: int
    eps: float


def read(values: Mapping[str, Any]) -> Squeezeformer:
    """Read a configuration; its fields are named as those of transformers where it has them."""
    c = Config(values)
    layers, width, heads = c.depth("num_hidden_layers"), c.int("hidden_size"), c.heads("num_attention_heads")
    if width % 2:
        raise c.fault("hidden_size", "is odd; half of a position's encoding are sines")
    reduced, recovered = c.int("time_reduce_layer", most=layers), c.int("time_recover_layer", most=layers)
    if not reduced < recovered < layers:
        raise c.fault("time_recover_layer", f"is not between time_reduce_layer = {reduced} and the {layers} layers")
    kernel = c.int("time_reduce_kernel_size", 5, most=999)
    if kernel % 2 == 0:
        raise c.fault("time_reduce_kernel_size", "is even, so that halving would not round up")
    return Squeezeformer(
        layers=layers,
        width=width,
        heads=Heads(heads, heads, c.share("num_attention_heads", width, heads)),
        inner=c.int("intermediate_size", 4 * width),
        kernel=c.int("conv_kernel_size", 31, most=10_000),
        reduced=reduced,
        recovered=recovered,
        reduce_kernel=kernel,
        mels=c.int("num_mel_bins", 80, most=100_000),
        vocabulary=c.int("vocab_size"),
        eps=c.positive("layer_norm_eps", 1e-5),
    )


def write(g: GraphWriter, model: Squeezeformer, phase: Phase) -> None:
    """Write one pass: `input_features` [b, f, mels] to CTC `logits` [b, l, vocabulary]."""
    x = g.input("input_features", ("batch", "seq", model.mels))
    with g.scope("encoder"):
        x = subsampled(g, x, model.mels, model.width, depthwise=True)
        x = g.node("Mul", x, g.scalar(math.sqrt(model.width)))
        positions, saved, saved_positions = relative_positions(g, x, model.width), "", ""
        for layer in range(model.layers):
            if layer == model.reduced:
                saved, saved_positions = x, positions
                x = _reduced(g, model, x)
                positions = relative_positions(g, x, model.width)
            if layer == model.recovered:
                x, positions = _recovered(g, model, x, saved), saved_positions
            with g.scope(f"layers.{layer}"):
                x = _block(g, model, x, positions)
    g.output("logits", pointwise(g, x, "decoder.decoder_layers.0", model.width, model.vocabulary), 3)


def _reduced(g: GraphWriter, model: Squeezeformer, x: str) -> str:
    """Halve the steps (rounding up): a depthwise convolution of stride two, and a product."""
    with g.scope("time_reduce_layer"):
        x = separable(g, x, "dw_conv", model.width, model.reduce_kernel, model.eps, stride=2, norm=False)
        return pointwise(g, x, "pw_conv", model.width, model.width)


def _recovered(g: GraphWriter, model: Squeezeformer, x: str, saved: str) -> str:
    """Repeat every step, cut to the old length, multiply, and add what was saved."""
    twice = g.node("Concat", g.node("Unsqueeze", x, g.constant([2])), g.node("Unsqueeze", x, g.constant([2])), axis=2)
    long = g.node("Reshape", twice, g.constant([0, -1, model.width]))
    long = g.node("Slice", long, g.constant([0]), g.node("Shape", saved, start=1, end=2), g.constant([1]))
    return g.node("Add", saved, linear(g, long, "time_recovery_layer", model.width, model.width))


def _block(g: GraphWriter, model: Squeezeformer, x: str, positions: str) -> str:
    def attended(y: str) -> str:
        with g.scope("self_attn"):
            return relative_attention(g, y, positions, model.width, model.heads)

    def fed(name: str) -> Callable[[str], str]:
        up, down = f"{name}.linear1", f"{name}.linear2"
        return lambda y: feed_forward(g, y, up, down, model.width, model.inner, "silu")

    x = _module(g, model, x, "self_att", attended)
    x = _module(g, model, x, "feed_forward1", fed("feed_forward1"))
    x = _module(g, model, x, "conv", lambda y: _convolved(g, model, y))
    return _module(g, model, x, "feed_forward2", fed("feed_forward2"))


def _module(g: GraphWriter, model: Squeezeformer, x: str, name: str, inside: Callable[[str], str]) -> str:
    """Scale and shift, compute, add, normalise."""
    scope = "self_attn_scale" if name == "self_att" else f"{name}_scale"
    y = g.node("Mul", x, g.parameter(f"{scope}.scale", (model.width,), fill=1.0))
    y = g.node("Add", y, g.parameter(f"{scope}.bias", (model.width,), fill=0.0))
    return layer_norm(g, g.node("Add", x, inside(y)), f"norm_{name}", model.width, model.eps)


def _convolved(g: GraphWriter, model: Squeezeformer, x: str) -> str:
    """Widen, Swish, convolve each channel, normalise, Swish, mix."""
    wide = _WIDER * model.width
    with g.scope("conv"):
        x = g.node("Swish", pointwise(g, x, "pointwise_conv1", model.width, wide))
        x = separable(g, x, "depthwise_conv", wide, model.kernel, model.eps)
        return pointwise(g, x, "pointwise_conv2", wide, model.width)
