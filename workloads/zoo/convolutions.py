"""Building blocks of convolutional parts: convolutions, batch norms, and both in one.

Shapes: b batch, c channels, then one axis (audio) or two (images).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.zoo.graph import GraphWriter, State

__all__ = ["batch_norm", "convolution", "convolution_norm"]


def convolution(
    g: GraphWriter,
    x: str,
    name: str,
    c_in: int,
    c_out: int,
    kernel: Sequence[int],
    *,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = True,
) -> str:
    """Convolve: [b, c_in, ..] to [b, c_out, ..].

    Args:
        g: The graph.
        x: Input edge.
        name: Parameter name, below the scope; ".weight" and ".bias" are added.
        c_in: Input channels.
        c_out: Output channels.
        kernel: Size of the window, one number per axis.
        stride: Of every axis, or one number per axis.
        padding: Zeros on both sides of every axis; or first all beginnings, then all ends; or "same": as many as make
            the output as long as the input divided by the stride, the odd one at the end.
        dilation: Of every axis.
        groups: Channels are cut into so many parts, which do not mix.
        bias: Add a stored vector.
    """
    inputs = [x, g.parameter(f"{name}.weight", (c_out, c_in // groups, *kernel))]
    if bias:
        inputs.append(g.parameter(f"{name}.bias", (c_out,), fill=0.0))
    return g.node("Conv", *inputs, **_window(kernel, stride, padding, dilation, groups))


def _window(
    kernel: Sequence[int], stride: int | Sequence[int], padding: int | Sequence[int] | str, dilation: int, groups: int
) -> dict[str, Any]:
    """Give the attributes of an ONNX Conv."""
    axes = len(kernel)
    found: dict[str, Any] = {"kernel_shape": list(kernel), "group": groups}
    found["strides"] = [stride] * axes if isinstance(stride, int) else list(stride)
    if dilation != 1:
        found["dilations"] = [dilation] * axes
    if isinstance(padding, str):
        return {**found, "auto_pad": "SAME_UPPER"}
    return {**found, "pads": [padding] * 2 * axes if isinstance(padding, int) else list(padding)}


def batch_norm(g: GraphWriter, x: str, name: str, channels: int, eps: float) -> str:
    """Normalise each channel with stored statistics. Source: Ioffe and Szegedy 2015, arXiv 1502.03167."""
    return g.node(
        "BatchNormalization",
        x,
        g.parameter(f"{name}.weight", (channels,), fill=1.0),
        g.parameter(f"{name}.bias", (channels,), fill=0.0),
        g.parameter(f"{name}.running_mean", (channels,), fill=0.0, statistic=True),
        g.parameter(f"{name}.running_var", (channels,), fill=1.0, statistic=True),
        epsilon=eps,
    )


def convolution_norm(
    g: GraphWriter,
    x: str,
    names: tuple[str, str],
    c_in: int,
    c_out: int,
    kernel: Sequence[int],
    *,
    eps: float,
    folded: bool = False,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] | str = 0,
    dilation: int = 1,
    groups: int = 1,
) -> str:
    """Convolve without a bias and normalise; folded, the norm is inside the stored weights and a bias.

    Args:
        g: The graph.
        x: Input edge.
        names: Of the convolution and of the norm.
        c_in: Input channels.
        c_out: Output channels.
        kernel: Size of the window.
        eps: Of the norm.
        folded: As inference engines store it.
        stride: As for `convolution`.
        padding: As for `convolution`.
        dilation: As for `convolution`.
        groups: As for `convolution`.
    """
    if not folded:
        y = convolution(
            g, x, names[0], c_in, c_out, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups,
            bias=False,
        )  # fmt: skip
        return batch_norm(g, y, names[1], c_out, eps)
    weight, norm = g.path(f"{names[0]}.weight"), g.path(names[1])

    def scaled(state: State) -> NDArray[Any]:
        return np.asarray(state[weight] * _scale(state, norm, eps).reshape(-1, *[1] * (len(kernel) + 1)))

    def shifted(state: State) -> NDArray[Any]:
        return np.asarray(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * _scale(state, norm, eps))

    inputs = (
        g.parameter(f"{names[0]}.weight", (c_out, c_in // groups, *kernel), scaled),
        g.parameter(f"{names[0]}.bias", (c_out,), shifted, fill=0.0),
    )
    return g.node("Conv", x, *inputs, **_window(kernel, stride, padding, dilation, groups))


def _scale(state: State, norm: str, eps: float) -> NDArray[Any]:
    return np.asarray(state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + eps))
