"""MobileNetV2: inverted residuals, a depthwise convolution between two thin ends.

Source: Sandler et al. 2018, arXiv 1801.04381; rounding of channels, padding and parameter names: transformers 5.
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

__all__ = ["MODEL_TYPES", "MobileNet", "read", "write"]

MODEL_TYPES = ("mobilenet_v2",)
_STEM, _LAST = 32, 1280
_CHANNELS = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)
_STRIDES = (2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)
# Sandler et al. 2018, table 2: output channels of each block, and strides of those after the first.


@dataclass(frozen=True, slots=True)
class Residual:
    """One inverted residual.

    Attributes:
        c_in: Input channels.
        inner: Channels between.
        c_out: Output channels.
        stride: Of the depthwise convolution.
        dilation: Of the depthwise convolution.
    """

    c_in: int
    inner: int
    c_out: int
    stride: int
    dilation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MobileNet:
    """One architecture of this kind.

    Attributes:
        channels: Of an image.
        image: Height and width of an image [pixel].
        stem: Channels of the first convolution.
        first: Output channels of the first block.
        first_expands: The first convolution is the first block's expansion.
        blocks: The others.
        last: Channels of the last convolution.
        same: Padding that keeps sizes as TensorFlow does; else one pixel on every side.
        eps: Of the batch norms.
        act: Activation function.
        folded: Batch norms are folded into the convolutions before them.
        head: What stands on top.
        labels: Classes.
    """

    channels: int
    image: tuple[int, int]
    stem: int
    first: int
    first_expands: bool
    blocks: tuple[Residual, ...]
    last: int
    same: bool
    eps: float
    act: str
    folded: bool
    head: str
    labels: int


def read(values: Mapping[str, Any]) -> MobileNet:
    """Read a configuration: that of transformers, and a field of ours: `fold_batch_norm`."""
    c = Config(values)
    scale = c.positive("depth_multiplier", 1.0)
    if scale > 1000:
        raise c.fault("depth_multiplier", "is out of range; it is 1 for the published network")
    divisor, least = c.int("depth_divisible_by", 8), c.int("min_depth", 8)

    def wide(channels: float) -> int:
        return _divisible(round(channels * scale), divisor, least)

    thin = c.flag("finegrained_output", True) and scale < 1
    return MobileNet(
        channels=c.int("num_channels", 3),
        image=extent(c, "image_size", 224),
        stem=wide(_STEM),
        first=wide(_CHANNELS[0]),
        first_expands=c.flag("first_layer_is_expansion", True),
        blocks=_blocks(c, tuple(map(wide, _CHANNELS)), divisor, least),
        last=_LAST if thin else wide(_LAST),
        same=c.flag("tf_padding", True),
        eps=c.positive("layer_norm_eps", 1e-3),
        act=c.activation("hidden_act", "relu6"),
        folded=c.flag("fold_batch_norm", False),
        head=c.head(("ImageClassification", "Model"), "ImageClassification"),
        labels=c.labels(),
    )


def _divisible(channels: float, divisor: int, least: int) -> int:
    """Round to a multiple, but not down by more than a tenth."""
    rounded = max(least, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def _blocks(c: Config, channels: tuple[int, ...], divisor: int, least: int) -> tuple[Residual, ...]:
    """Plan the blocks: once the image is as small as wanted, later strides become dilations."""
    expand, wanted = c.positive("expand_ratio", 6.0), c.int("output_stride", 32)
    if expand > 1000:
        raise c.fault("expand_ratio", "is out of range; it is 6 for the published network")
    reached, dilation, found = 2, 1, []
    for c_in, c_out, stride in zip(channels, channels[1:], _STRIDES, strict=False):
        inner = _divisible(round(c_in * expand), divisor, least)
        if reached == wanted:
            found.append(Residual(c_in, inner, c_out, 1, dilation))
            dilation *= stride
        else:
            found.append(Residual(c_in, inner, c_out, stride, 1))
            reached *= stride
    return tuple(found)


def write(g: GraphWriter, model: MobileNet, phase: Phase) -> None:
    """Write one pass: `pixel_values` [b, channels, height, width] to `logits` (or hidden state and pooled features)."""
    x = g.input("pixel_values", ("batch", model.channels, *model.image))
    with nullcontext() if model.head == "Model" else g.scope("mobilenet_v2"):
        x = _stem(g, model, x)
        for index, block in enumerate(model.blocks):
            with g.scope(f"layer.{index}"):
                x = _residual(g, model, x, block)
        x = _convolved(g, model, x, "conv_1x1", model.blocks[-1].c_out, model.last, 1)
    pooled = g.node("Flatten", g.node("GlobalAveragePool", x), axis=1)
    if model.head == "Model":
        g.output("last_hidden_state", x, 4)
        g.output("pooler_output", pooled, 2)
    else:
        g.output("logits", linear(g, pooled, "classifier", model.last, model.labels), 2)


def _stem(g: GraphWriter, model: MobileNet, x: str) -> str:
    with g.scope("conv_stem"):
        x = _convolved(g, model, x, "first_conv", model.channels, model.stem, 3, stride=2)
        if not model.first_expands:
            x = _convolved(g, model, x, "expand_1x1", model.stem, model.stem, 1)
        x = _convolved(g, model, x, "conv_3x3", model.stem, model.stem, 3, groups=model.stem)
        return _convolved(g, model, x, "reduce_1x1", model.stem, model.first, 1, act=False)


def _residual(g: GraphWriter, model: MobileNet, x: str, block: Residual) -> str:
    y = _convolved(g, model, x, "expand_1x1", block.c_in, block.inner, 1)
    y = _convolved(
        g, model, y, "conv_3x3", block.inner, block.inner, 3, stride=block.stride, dilation=block.dilation,
        groups=block.inner,
    )  # fmt: skip
    y = _convolved(g, model, y, "reduce_1x1", block.inner, block.c_out, 1, act=False)
    return g.node("Add", x, y) if block.stride == 1 and block.c_in == block.c_out else y


def _convolved(
    g: GraphWriter, model: MobileNet, x: str, name: str, c_in: int, c_out: int, kernel: int, *, stride: int = 1,
    dilation: int = 1, groups: int = 1, act: bool = True,
) -> str:  # fmt: skip
    y = convolution_norm(
        g, x, (f"{name}.convolution", f"{name}.normalization"), c_in, c_out, (kernel, kernel), eps=model.eps,
        folded=model.folded, stride=stride, padding="same" if model.same and stride > 1 else kernel // 2 * dilation,
        dilation=dilation, groups=groups,
    )  # fmt: skip
    return activation(g, y, model.act) if act else y
