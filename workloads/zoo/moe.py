"""Mixtures of experts: one operator that routes every token to a few of many feed-forward blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.zoo.graph import GraphWriter, State
from workloads.zoo.layers import linear

__all__ = ["Experts", "mixture"]


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts.

    Attributes:
        count: Number of experts.
        chosen: Experts per token.
        inner: Width inside one expert.
        act: Activation function.
        normalized: The weights of the chosen experts are made to sum to one.
    """

    count: int
    chosen: int
    inner: int
    act: str
    normalized: bool


def mixture(g: GraphWriter, x: str, width: int, experts: Experts) -> str:
    """Give [b, l, width] from [b, l, width]: com.microsoft.MoE with a gated SiLU inside.

    Source: Shazeer et al. 2017, arXiv 1701.06538; ONNX Runtime contributed operators, com.microsoft.MoE: gate and up
    are interleaved rows of the first matrix, and silu(gate) * up is its SwiGLU with alpha 1 and beta 0.
    """
    scores = linear(g, x, "gate", width, experts.count, bias=False)
    routed = g.node("Reshape", scores, g.constant([-1, experts.count]))
    up = g.path("experts.gate_up_proj")
    down = g.path("experts.down_proj")
    first = g.parameter(
        "experts.gate_up_proj", (experts.count, 2 * experts.inner, width), lambda state: _interleaved(state, up)
    )
    second = g.parameter("experts.down_proj", (experts.count, width, experts.inner), lambda state: state[down])
    return g.node(
        "MoE", x, routed, first, "", second, domain="com.microsoft", k=experts.chosen, activation_type="swiglu",
        swiglu_fusion=1, activation_alpha=1.0, activation_beta=0.0,
        normalize_routing_weights=int(experts.normalized),
    )  # fmt: skip


def _interleaved(state: State, name: str) -> NDArray[Any]:
    """Turn [e, gate rows then up rows, width] into alternating rows."""
    packed = np.asarray(state[name])
    gate, up = np.split(packed, 2, axis=1)
    return np.stack([gate, up], axis=2).reshape(packed.shape)
