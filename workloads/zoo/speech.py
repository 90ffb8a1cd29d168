"""Building blocks of speech encoders: subsampling of a spectrogram, attention by relative position, depthwise modules.

Shapes: b clips, f frames of 10 ms, l steps after subsampling, m mel bands, d hidden width, h heads. Clips of a batch
are equally long; nothing is masked. Parameters are named as NVIDIA NeMo names them (recalled, from no checkpoint).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.zoo.convolutions import batch_norm, convolution
from workloads.zoo.graph import GraphWriter, State
from workloads.zoo.layers import Heads, attend, linear, merge_heads, split_keys

__all__ = [
    "pointwise",
    "relative_attention",
    "relative_positions",
    "separable",
    "subsampled",
]

_WAVELENGTH = 10_000.0  # Vaswani et al. 2017, arXiv 1706.03762, section 3.5


def _half(length: int) -> int:
    """Give the length after a stride of two with a window of three and one zero on both sides."""
    return (length + 1) // 2


def subsampled(g: GraphWriter, spectrogram: str, mels: int, width: int, *, depthwise: bool) -> str:
    """Quarter the frames: [b, f, m] to [b, l, d], by two 3x3 convolutions of stride two and a product.

    Args:
        g: The graph.
        spectrogram: Log-mel features.
        mels: Mel bands.
        width: Of the hidden state.
        depthwise: The second convolution is depthwise, and a pointwise one follows.
    """
    with g.scope("pre_encode"):
        x = g.node("Unsqueeze", spectrogram, g.constant([1]))
        x = g.node("Relu", convolution(g, x, "conv.0", 1, width, (3, 3), stride=2, padding=1))
        if depthwise:
            x = convolution(g, x, "conv.2", width, width, (3, 3), stride=2, padding=1, groups=width)
            x = g.node("Relu", convolution(g, x, "conv.3", width, width, (1, 1)))
        else:
            x = g.node("Relu", convolution(g, x, "conv.2", width, width, (3, 3), stride=2, padding=1))
        x = g.node("Transpose", x, perm=[0, 2, 1, 3])
        bands = _half(_half(mels))
        return linear(g, g.node("Reshape", x, g.constant([0, 0, width * bands])), "out", width * bands, width)


def relative_positions(g: GraphWriter, x: str, width: int) -> str:
    """Give the encodings of the distances l - 1, .., 1 - l of x [b, l, d]: [2 l - 1, d].

    Source: Dai et al. 2019, arXiv 1901.02860, section 3.3; sines and cosines alternate as in Vaswani et al. 2017.
    """
    length = g.node("Squeeze", g.node("Shape", x, start=1, end=2))
    first = g.node("Sub", length, g.constant(1))
    distance = g.node("Range", first, g.node("Neg", length), g.constant(-1))
    distance = g.node("Unsqueeze", g.node("Cast", distance, to=1), g.constant([1]))  # FLOAT: half formats round it
    frequencies = [_WAVELENGTH ** (-index / width) for index in range(0, width, 2)]
    angle = g.node("Mul", distance, g.constant(frequencies, "fp32"))
    pair = [g.node("Unsqueeze", g.node(function, angle), g.constant([2])) for function in ("Sin", "Cos")]
    table = g.node("Reshape", g.node("Concat", *pair, axis=2), g.constant([0, width]))
    return table if g.dtype == "fp32" else g.node("Cast", table, to=g.float_type)


def relative_attention(g: GraphWriter, x: str, positions: str, width: int, heads: Heads) -> str:
    """Attend by content and by relative position: [b, l, d] to [b, l, d].

    A score is ((q + u) k + (q + v) p) / sqrt(width of a head); p is a product of the encoding of the distance.

    Source: Dai et al. 2019, arXiv 1901.02860, section 3.3.
    """
    q, k, v = (linear(g, x, f"linear_{name}", width, width) for name in "qkv")
    cut = g.node("Reshape", q, g.constant([0, 0, heads.count, heads.width]))
    asked = []
    for name in ("pos_bias_u", "pos_bias_v"):
        biased = g.node("Add", cut, g.parameter(name, (heads.count, heads.width)))
        asked.append(g.node("Transpose", biased, perm=[0, 2, 1, 3]))
    scale = 1 / math.sqrt(heads.width)
    p = linear(g, positions, "linear_pos", width, width, bias=False)
    p = g.node("Reshape", p, g.constant([0, heads.count, heads.width]))
    p = g.node("Transpose", p, perm=[1, 2, 0])
    placed = g.node("MatMul", g.node("Mul", asked[1], g.scalar(scale)), p)
    keys = split_keys(g, k, heads.groups, heads.width)
    values = split_keys(g, v, heads.groups, heads.width, values=True)
    mixed = attend(g, asked[0], keys, values, heads, scale=scale, mask=_shifted(g, placed))
    return linear(g, merge_heads(g, mixed, heads), "linear_out", width, width)


def _shifted(g: GraphWriter, x: str) -> str:
    """Turn [b, h, l, distance] into [b, h, l, key]: one zero before each row, read with rows one shorter.

    Source: Dai et al. 2019, arXiv 1901.02860, appendix B.
    """
    steps = g.node("Shape", x, start=2, end=3)
    padded = g.node("Pad", x, g.constant([0, 0, 0, 1, 0, 0, 0, 0]))
    flat = g.node("Reshape", padded, g.constant([0, 0, -1]))
    rest = g.node("Slice", flat, steps, g.constant([np.iinfo(np.int64).max]), g.constant([2]))
    shape = g.node("Concat", g.constant([0, 0]), steps, g.constant([-1]), axis=0)
    wide = g.node("Reshape", rest, shape)
    return g.node("Slice", wide, g.constant([0]), steps, g.constant([3]))


def pointwise(g: GraphWriter, x: str, name: str, n_in: int, n_out: int) -> str:
    """Multiply every step by a matrix that the checkpoint keeps as a convolution of one step, [out, in, 1]."""
    full = g.path(f"{name}.weight")

    def product(state: State) -> NDArray[Any]:
        return np.asarray(state[full])[:, :, 0].T

    y = g.node("MatMul", x, g.parameter(f"{name}.weight", (n_in, n_out), product))
    return g.node("Add", y, g.parameter(f"{name}.bias", (n_out,), fill=0.0))


def separable(
    g: GraphWriter, x: str, name: str, width: int, kernel: int, eps: float, *, stride: int = 1, norm: bool = True
) -> str:
    """Convolve each channel of [b, l, c] by itself, and normalise it and apply Swish if `norm`."""
    y = g.node("Transpose", x, perm=[0, 2, 1])
    before = (kernel - 1) // 2
    padding = (before, kernel - 1 - before)
    y = convolution(g, y, name, width, width, (kernel,), stride=stride, padding=padding, groups=width)
    if norm:
        y = g.node("Swish", batch_norm(g, y, "batch_norm", width, eps))
    return g.node("Transpose", y, perm=[0, 2, 1])
