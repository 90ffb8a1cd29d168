"""Norms by kind: LayerNorm with and without a bias, without any parameter, RMSNorm; and a norm with a vector a head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workloads.zoo.graph import GraphWriter, State, stored
from workloads.zoo.layers import layer_norm, rms_norm

__all__ = ["Norm", "normalized", "per_head"]


@dataclass(frozen=True, slots=True)
class Norm:
    """A kind of norm.

    Attributes:
        kind: "layer" (LayerNorm), "none" (LayerNorm that stores nothing) or "rms" (RMSNorm).
        eps: Added to the variance.
        bias: LayerNorm adds a stored vector.
        offset: RMSNorm stores its scale less this.
    """

    kind: Literal["layer", "none", "rms"]
    eps: float
    bias: bool = True
    offset: float = 0.0


def normalized(g: GraphWriter, x: str, name: str, width: int, norm: Norm) -> str:
    """Normalise the last axis, of a width; a norm that stores nothing needs no name."""
    if norm.kind == "rms":
        return rms_norm(g, x, name, width, norm.eps, offset=norm.offset)
    if norm.kind == "layer":
        return layer_norm(g, x, name, width, norm.eps, bias=norm.bias)
    return g.node("LayerNormalization", x, _ones(g, width), epsilon=norm.eps)


def per_head(g: GraphWriter, x: str, name: str, heads: int, width: int, eps: float, *, listed: bool) -> str:
    """Normalise each head of [b, l, heads, d] by LayerNorm with a scale of its own.

    Args:
        g: The graph.
        x: The input.
        name: Parameter name, below the scope.
        heads: Number of heads.
        width: d.
        eps: Added to the variance.
        listed: The checkpoint keeps a vector for each head ("name.norms.0.weight"), not one matrix [heads, d].
    """
    plain = g.node("LayerNormalization", x, _ones(g, width), epsilon=eps)
    first = f"{name}.norms.0.weight" if listed else f"{name}.weight"
    paths = [g.path(f"{name}.norms.{head}.weight") for head in range(heads)] if listed else []

    def stacked(state: State) -> NDArray[Any]:
        return np.stack([stored(path)(state) for path in paths])

    scale = g.parameter(first, (heads, width), stacked if listed else None, fill=1.0)
    return g.node("Mul", plain, scale)


def _ones(g: GraphWriter, width: int) -> str:
    """Give a vector of ones that no file stores."""
    from onnx import helper

    value = helper.make_tensor("one", g.float_type, [1], [1.0])
    return g.node("ConstantOfShape", g.constant([width]), value=value)
