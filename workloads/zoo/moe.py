"""Mixtures of experts: one operator that routes every token to a few of many feed-forward blocks.

com.microsoft.MoE turns router logits into weights by itself: softmax over all experts, the k largest, made to sum to
one or not. Routers that choose otherwise are written out before it, and it is given the logarithms of the weights of
the chosen experts, so that its own choice and weights are the same numbers again.

Sources: Shazeer et al. 2017, arXiv 1701.06538; DeepSeek-AI 2024, arXiv 2405.04434, section 2.1.2 and 2.2 (groups) and
arXiv 2412.19437, section 2.1.2 (sigmoid scores, correction bias); ONNX Runtime contributed operators (MoE).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.zoo.config import Config
from workloads.zoo.graph import GraphWriter, State, stored
from workloads.zoo.layers import HIDDEN_MASK, feed_forward, linear

__all__ = ["Experts", "experts_field", "mixture", "read_experts"]


_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """A mixture of experts.

    Attributes:
        count: Number of experts.
        chosen: Experts per token.
        inner: Width inside one expert.
        normalized: The weights of the chosen experts are made to sum to one.
        factor: Of the weights.
        sigmoid: Scores are sigmoids, and not a softmax over the experts.
        groups: Groups of experts.
        chosen_groups: Groups from which a token's experts are taken.
        group_best: How many of its best scores a group is judged by.
        correction: A stored bias is added to the scores for the choice alone.
        shared: Width inside the expert that every token visits; 0: there is none.
        shared_name: The checkpoint's name of that one.
        shared_gate: It has a sigmoid gate of its own.
    """

    count: int
    chosen: int
    inner: int
    normalized: bool
    factor: float = 1.0
    sigmoid: bool = False
    groups: int = 1
    chosen_groups: int = 1
    group_best: int = 1
    correction: bool = False
    shared: int = 0
    shared_name: str = "shared_experts"
    shared_gate: bool = False

    @property
    def plain(self) -> bool:
        """Whether the operator's own routing is the model's."""
        return not (self.sigmoid or self.correction or self.chosen_groups < self.groups)


def read_experts(c: Config, count: str, inner: str, **further: Any) -> Experts:
    """Read what all mixtures share: how many experts there are and are chosen, their width; silu inside.

    Args:
        c: A configuration.
        count: Field of the number of experts; transformers 5 may write one of its other names.
        inner: Field of the width inside one.
        **further: Other attributes of `Experts`.
    """
    c.choice("hidden_act", ("silu", "swish"), "silu")  # what the operator computes
    experts = c.int(experts_field(c, count))
    return Experts(count=experts, chosen=c.int("num_experts_per_tok", most=experts), inner=c.int(inner), **further)


def experts_field(c: Config, name: str) -> str:
    """Give the name under which a configuration has the number of experts: its own, or another that is in use."""
    return next((known for known in (name, *_COUNTS) if c.values.get(known) is not None), name)


def mixture(g: GraphWriter, x: str, width: int, experts: Experts) -> str:
    """Give [b, l, width] from [b, l, width]: the chosen experts, and the shared one beside them."""
    scores = linear(g, x, "gate", width, experts.count, bias=False)
    rows = g.node("Reshape", scores, g.constant([-1, experts.count]))
    if experts.plain:
        mixed = _operator(g, x, rows, width, experts, normalized=experts.normalized)
    else:
        logits, total = _chosen(g, rows, experts)
        mixed = _operator(g, x, logits, width, experts, normalized=True)
        if not experts.normalized:
            per_token = g.node("Reshape", total, g.node("Concat", g.node("Shape", x, end=2), g.constant([1]), axis=0))
            mixed = g.node("Mul", mixed, per_token)
    if experts.factor != 1.0:
        mixed = g.node("Mul", mixed, g.scalar(experts.factor))
    return g.node("Add", mixed, _shared(g, x, width, experts)) if experts.shared else mixed


def _operator(g: GraphWriter, x: str, rows: str, width: int, experts: Experts, *, normalized: bool) -> str:
    """Write the operator: gate and up are interleaved rows of the first matrix; SwiGLU is silu(gate) * up."""
    up, down = g.path("experts.gate_up_proj"), "experts.down_proj"
    shape = (experts.count, 2 * experts.inner, width)
    first = g.parameter("experts.gate_up_proj", shape, lambda state: _interleaved(state, up))
    second = g.parameter(down, (experts.count, width, experts.inner))
    return g.node(
        "MoE", x, rows, first, "", second, domain="com.microsoft", k=experts.chosen, activation_type="swiglu",
        swiglu_fusion=1, activation_alpha=1.0, activation_beta=0.0, normalize_routing_weights=int(normalized),
    )  # fmt: skip


def _chosen(g: GraphWriter, rows: str, experts: Experts) -> tuple[str, str]:
    """Choose experts from their logits [n, e].

    Returns:
        Logarithms of the chosen experts' scores, with the rest hidden [n, e]; the sum of the chosen scores [n, 1].
    """
    scores = g.node("Sigmoid", rows) if experts.sigmoid else g.node("Softmax", rows, axis=-1)
    judged = scores
    if experts.correction:
        name = g.path("gate.e_score_correction_bias")
        bias = g.parameter("gate.e_score_correction_bias", (experts.count,), stored(name), fill=0.0, statistic=True)
        judged = g.node("Add", scores, bias)
    hidden = g.scalar(HIDDEN_MASK)
    if experts.chosen_groups < experts.groups:
        judged = _best_groups(g, judged, experts, hidden)
    taken = g.node("GreaterOrEqual", judged, _least(g, judged, experts.chosen))
    total = g.node("ReduceSum", g.node("Where", taken, scores, g.scalar(0.0)), g.constant([-1]), keepdims=1)
    return g.node("Where", taken, g.node("Log", scores), hidden), total


def _best_groups(g: GraphWriter, judged: str, experts: Experts, hidden: str) -> str:
    """Hide the experts of all but the best groups; a group is as good as the sum of its best scores."""
    size = experts.count // experts.groups
    grouped = g.node("Reshape", judged, g.constant([-1, experts.groups, size]))
    best, _ = g.nodes("TopK", (grouped, g.constant([experts.group_best])), 2, axis=-1)
    merit = g.node("ReduceSum", best, g.constant([-1]), keepdims=0)
    kept = g.node("GreaterOrEqual", merit, _least(g, merit, experts.chosen_groups))
    left = g.node("Where", g.node("Unsqueeze", kept, g.constant([-1])), grouped, hidden)
    return g.node("Reshape", left, g.constant([-1, experts.count]))


def _least(g: GraphWriter, values: str, count: int) -> str:
    """Give the least of the `count` largest values of each row, [n, 1]."""
    largest, _ = g.nodes("TopK", (values, g.constant([count])), 2, axis=-1)
    return g.node("ReduceMin", largest, g.constant([-1]), keepdims=1)


def _shared(g: GraphWriter, x: str, width: int, experts: Experts) -> str:
    """Write the expert that every token visits."""
    with g.scope(experts.shared_name):
        always = feed_forward(g, x, "up_proj", "down_proj", width, experts.shared, "silu", gate="gate_proj", bias=False)
    if not experts.shared_gate:
        return always
    opened = g.node("Sigmoid", linear(g, x, f"{experts.shared_name}_gate", width, 1, bias=False))
    return g.node("Mul", opened, always)


def _interleaved(state: State, name: str) -> NDArray[Any]:
    """Turn [e, gate rows then up rows, width] into alternating rows."""
    packed = stored(name)(state)
    gate, up = np.split(packed, 2, axis=1)
    return np.stack([gate, up], axis=2).reshape(packed.shape)
