"""Attention sinks: a learned score in every softmax that stands for no key."""

from __future__ import annotations

from workloads.zoo.graph import GraphWriter

__all__ = ["softmax_with_sink"]


def softmax_with_sink(g: GraphWriter, scores: str, sink: str) -> str:
    """Give the softmax over the scores and a sink, less the sink's share.

    Source: OpenAI 2025, gpt-oss model card, arXiv 2508.10925, section 2.1 (a learned bias in the denominator).
    """
    shape = g.node("Concat", g.node("Shape", scores, end=-1), g.constant([1]), axis=0)
    whole = g.node("Concat", scores, g.node("Expand", sink, shape), axis=-1)
    shares = g.node("Softmax", whole, axis=-1)
    return g.node("Slice", shares, g.constant([0]), g.constant([-1]), g.constant([-1]))
