"""Residual networks: ResNet with basic blocks or bottlenecks, version 1 (stride in the first 1x1) or 1.5 (in the 3x3).

Sources: He et al. 2016, arXiv 1512.03385; version 1.5: NVIDIA deep learning examples, "ResNet v1.5"; parameter names:
transformers 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from workloads.zoo.config import Config
from workloads.zoo.convolutions import convolution_norm
from workloads.zoo.graph import GraphWriter
from workloads.zoo.layers import activation, linear
from workloads.zoo.phase import Phase
from workloads.zoo.vit import extent

__all__ = ["MODEL_TYPES", "Resnet", "read", "write"]

MODEL_TYPES = ("resnet",)
_EPS = 1e-5  # torch's BatchNorm2d; these configurations do not say
_REDUCTION = 4  # He et al., table 1: a bottleneck is a quarter as wide as its output


@dataclass(frozen=True, slots=True, kw_only=True)
class Resnet:
    """One architecture of this kind.

    Attributes:
        channels: Of an image.
        image: Height and width of an image [pixel].
        stem: Channels after the first convolution.
        widths: Output channels of each stage.
        depths: Blocks of each stage.
        bottleneck: Blocks of 1x1, 3x3, 1x1 rather than of two 3x3.
        early_stride: A bottleneck strides in its first 1x1 (version 1), not in its 3x3 (version 1.5).
        first_stride: The first stage strides too.
        act: Activation function.
        folded: Batch norms are folded into the convolutions before them.
        head: What stands on top.
        labels: Classes.
    """

    channels: int
    image: tuple[int, int]
    stem: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    bottleneck: bool
    early_stride: bool
    first_stride: bool
    act: str
    folded: bool
    head: str
    labels: int


def read(values: Mapping[str, Any]) -> Resnet:
    """Read a configuration: that of transformers, and two fields of ours: `image_size` and `fold_batch_norm`."""
    c = Config(values)
    widths, depths = c.ints("hidden_sizes"), c.ints("depths", most=1000)
    if len(widths) != len(depths):
        raise c.fault("depths", f"does not have one entry for each of the {len(widths)} hidden_sizes")
    kind = c.choice("layer_type", ("basic", "bottleneck"), "bottleneck")
    if kind == "bottleneck" and any(width % _REDUCTION for width in widths):
        raise c.fault("hidden_sizes", f"are not multiples of {_REDUCTION}, which bottlenecks divide them by")
    return Resnet(
        channels=c.int("num_channels", 3),
        image=extent(c, "image_size", 224),
        stem=c.int("embedding_size", 64),
        widths=widths,
        depths=depths,
        bottleneck=kind == "bottleneck",
        early_stride=c.flag("downsample_in_bottleneck", False),
        first_stride=c.flag("downsample_in_first_stage", False),
        act=c.activation("hidden_act", "relu"),
        folded=c.flag("fold_batch_norm", False),
        head=c.head(("ImageClassification", "Model"), "ImageClassification"),
        labels=c.labels(),
    )


def write(g: GraphWriter, model: Resnet, phase: Phase) -> None:
    """Write one pass: `pixel_values` [b, channels, height, width] to `logits` (or hidden state and pooled features)."""
    x = g.input("pixel_values", ("batch", model.channels, *model.image))
    with nullcontext() if model.head == "Model" else g.scope("resnet"):
        x = _convolved(g, model, x, "embedder.embedder", model.channels, model.stem, 7, 2)
        x = activation(g, x, model.act)
        x = g.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        before = model.stem
        for stage, (width, depth) in enumerate(zip(model.widths, model.depths, strict=True)):
            for block in range(depth):
                stride = 2 if block == 0 and (stage or model.first_stride) else 1
                with g.scope(f"encoder.stages.{stage}.layers.{block}"):
                    x = _block(g, model, x, before, width, stride)
                before = width
    pooled = g.node("GlobalAveragePool", x)
    if model.head == "Model":
        g.output("last_hidden_state", x, 4)
        g.output("pooler_output", pooled, 4)
        return
    flat = g.node("Flatten", pooled, axis=1)
    g.output("logits", linear(g, flat, "classifier.1", before, model.labels), 2)


def _convolved(
    g: GraphWriter, model: Resnet, x: str, name: str, c_in: int, c_out: int, kernel: int, stride: int
) -> str:  # fmt: skip
    names = (f"{name}.convolution", f"{name}.normalization")
    return convolution_norm(
        g, x, names, c_in, c_out, (kernel, kernel), eps=_EPS, folded=model.folded, stride=stride, padding=kernel // 2
    )


def _block(g: GraphWriter, model: Resnet, x: str, before: int, width: int, stride: int) -> str:
    """One residual block; its input is projected where channels or size change."""
    shortcut = x
    if before != width or stride != 1:
        shortcut = _convolved(g, model, x, "shortcut", before, width, 1, stride)
    plan = [(before, width, 3, stride), (width, width, 3, 1)]
    if model.bottleneck:
        inner, early = width // _REDUCTION, model.early_stride
        plan = [
            (before, inner, 1, stride if early else 1),
            (inner, inner, 3, 1 if early else stride),
            (inner, width, 1, 1),
        ]
    for index, (c_in, c_out, kernel, step) in enumerate(plan):
        x = _convolved(g, model, x, f"layer.{index}", c_in, c_out, kernel, step)
        if index < len(plan) - 1:
            x = activation(g, x, model.act)
    return activation(g, g.node("Add", x, shortcut), model.act)
