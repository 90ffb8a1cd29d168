"""Vision transformers: ViT, and DeiT with its second token.

An image is cut into patches; a class token stands before them (in DeiT a distillation token after that one).

Sources: Dosovitskiy et al. 2021, arXiv 2010.11929; Touvron et al. 2021, arXiv 2012.12877; parameter names:
transformers 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from workloads.zoo.config import Config
from workloads.zoo.convolutions import convolution
from workloads.zoo.graph import GraphWriter
from workloads.zoo.layers import (
    Heads,
    activation,
    attend,
    feed_forward,
    layer_norm,
    linear,
    merge_heads,
    split_heads,
    split_keys,
)
from workloads.zoo.phase import Phase

__all__ = ["MODEL_TYPES", "Vit", "extent", "read", "write"]

MODEL_TYPES = ("vit", "deit")
_LARGEST_IMAGE = 65_536
_TEACHER = "ImageClassificationWithTeacher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vit:
    """One architecture of this kind.

    Attributes:
        kind: Hugging Face's model type.
        layers: Number of layers.
        width: Of the hidden state.
        heads: Of the attention.
        inner: Width inside the feed-forward block.
        image: Height and width of an image [pixel].
        patch: Height and width of a patch [pixel].
        channels: Of an image.
        eps: Of the norms.
        act: Activation function.
        qkv_bias: Biases on queries, keys and values.
        head: What stands on top.
        labels: Classes.
        pooled: Width of the pooled token, where nothing stands on top.
        pooler_act: Activation function of the pooled token.
    """

    kind: str
    layers: int
    width: int
    heads: Heads
    inner: int
    image: tuple[int, int]
    patch: tuple[int, int]
    channels: int
    eps: float
    act: str
    qkv_bias: bool
    head: str
    labels: int
    pooled: int
    pooler_act: str

    @property
    def patches(self) -> int:
        """Number of patches."""
        return (self.image[0] // self.patch[0]) * (self.image[1] // self.patch[1])


def extent(c: Config, name: str, default: int) -> tuple[int, int]:
    """Read a height and a width: one number for both, or two [pixel]."""
    if not isinstance(c.values.get(name), (list, tuple)):
        side = c.int(name, default, most=_LARGEST_IMAGE)
        return side, side
    sides = c.ints(name, most=_LARGEST_IMAGE)
    if len(sides) != 2:
        raise c.fault(name, "is not one number, nor a height and a width")
    return sides[0], sides[1]


def read(values: Mapping[str, Any]) -> Vit:
    """Read a configuration (the content of a config.json)."""
    c = Config(values)
    kind, width, heads = c.text("model_type"), c.int("hidden_size"), c.heads("num_attention_heads")
    image, patch = extent(c, "image_size", 224), extent(c, "patch_size", 16)
    if patch[0] > image[0] or patch[1] > image[1]:
        raise c.fault("patch_size", f"is larger than an image of {image[0]} x {image[1]}")
    known = ("ImageClassification", "Model") if kind == "vit" else ("ImageClassification", "Model", _TEACHER)
    return Vit(
        kind=kind,
        layers=c.depth("num_hidden_layers"),
        width=width,
        heads=Heads(heads, heads, c.share("num_attention_heads", width, heads)),
        inner=c.int("intermediate_size"),
        image=image,
        patch=patch,
        channels=c.int("num_channels", 3),
        eps=c.positive("layer_norm_eps", 1e-12),
        act=c.activation("hidden_act", "gelu"),
        qkv_bias=c.flag("qkv_bias", True),
        head=c.head(known, "ImageClassification" if kind == "vit" else _TEACHER),
        labels=c.labels(),
        pooled=c.int("pooler_output_size", width),
        pooler_act=c.activation("pooler_act", "tanh"),
    )


def write(g: GraphWriter, model: Vit, phase: Phase) -> None:
    """Write one pass: `pixel_values` [b, channels, height, width] to `logits` (or hidden state and pooled features)."""
    pixels = g.input("pixel_values", ("batch", model.channels, *model.image))
    with nullcontext() if model.head == "Model" else g.scope(model.kind):
        x = _embedded(g, model, pixels)
        for layer in range(model.layers):
            with g.scope(f"layers.{layer}"):
                x = _layer(g, model, x)
        x = layer_norm(g, x, "layernorm", model.width, model.eps)
        if model.head == "Model":
            g.output("last_hidden_state", x, 3)
            pooled = linear(g, _token(g, x, 0), "pooler.dense", model.width, model.pooled)
            g.output("pooler_output", activation(g, pooled, model.pooler_act), 2)
            return
    g.output("logits", _classified(g, model, x), 2)


def _token(g: GraphWriter, x: str, index: int) -> str:
    """Give one token of each image, [b, width]."""
    return g.node("Gather", x, g.constant(index), axis=1)


def _classified(g: GraphWriter, model: Vit, x: str) -> str:
    """Score the classes; with a teacher, by the mean of both tokens' scores."""
    if model.head != _TEACHER:
        return linear(g, _token(g, x, 0), "classifier", model.width, model.labels)
    of_class = linear(g, _token(g, x, 0), "cls_classifier", model.width, model.labels)
    of_teacher = linear(g, _token(g, x, 1), "distillation_classifier", model.width, model.labels)
    return g.node("Mul", g.node("Add", of_class, of_teacher), g.scalar(0.5))


def _embedded(g: GraphWriter, model: Vit, pixels: str) -> str:
    """Cut into patches, put the extra tokens before them, add the positions: [b, tokens, width]."""
    tokens = ["cls_token"] if model.kind == "vit" else ["cls_token", "distillation_token"]
    with g.scope("embeddings"):
        name = "patch_embeddings.projection"
        x = convolution(g, pixels, name, model.channels, model.width, model.patch, stride=model.patch)
        x = g.node("Reshape", x, g.constant([0, model.width, model.patches]))
        x = g.node("Transpose", x, perm=[0, 2, 1])
        shape = g.node("Concat", g.node("Shape", pixels, start=0, end=1), g.constant([1, model.width]), axis=0)
        extra = [g.node("Expand", g.parameter(token, (1, 1, model.width)), shape) for token in tokens]
        x = g.node("Concat", *extra, x, axis=1)
        rows = model.patches + len(tokens)
        return g.node("Add", x, g.parameter("position_embeddings", (1, rows, model.width)))


def _layer(g: GraphWriter, model: Vit, x: str) -> str:
    """One layer: attention and feed-forward, each on a normalised copy and added back."""
    heads, width = model.heads, model.width
    normed = layer_norm(g, x, "layernorm_before", width, model.eps)
    with g.scope("attention"):
        q, k, v = (linear(g, normed, f"{name}_proj", width, width, bias=model.qkv_bias) for name in "qkv")
        keys = split_keys(g, k, heads.groups, heads.width)
        values = split_keys(g, v, heads.groups, heads.width, values=True)
        mixed = attend(g, split_heads(g, q, heads), keys, values, heads, scale=1 / math.sqrt(heads.width))
        x = g.node("Add", x, linear(g, merge_heads(g, mixed, heads), "o_proj", width, width))
    normed = layer_norm(g, x, "layernorm_after", width, model.eps)
    return g.node("Add", x, feed_forward(g, normed, "mlp.fc1", "mlp.fc2", width, model.inner, model.act))
