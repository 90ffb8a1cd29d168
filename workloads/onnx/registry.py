"""Which handler describes which ONNX operator: the literal table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from workloads.onnx import (
    attention_microsoft,
    attention_projected,
    attention_standard,
    elementwise,
    moe,
    movement,
    products,
    quantized,
)
from workloads.onnx.builder import Builder, Node
from workloads.onnx.refused import REFUSED
from workloads.opcounts import ACTIVATIONS, ELEMENTWISE, NORMS, REDUCTIONS

__all__ = ["DOMAINS", "HANDLERS", "RUNS", "Handler", "handler_of", "refusal"]

Handler = Callable[[Node, Builder], None]
"""Reads the node's input values from the builder, puts its output values, and emits operators."""

DOMAINS = ("", "com.microsoft", "ai.onnx.ml", "pkg.onnxscript.torch_lib")
"""Domains whose op types are looked up by their plain name."""

RUNS = frozenset({"Bernoulli", "Multinomial", "RandomNormalLike", "RandomUniformLike"})
"""Op types that run even where all their inputs are known."""

_CHANNEL_NORMS = ("BatchNormalization", "GroupNormalization", "InstanceNormalization")
_GLOBAL_POOLS = ("GlobalAveragePool", "GlobalMaxPool")

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(ELEMENTWISE, elementwise.elementwise),
    **dict.fromkeys(ACTIVATIONS, elementwise.activation),
    **dict.fromkeys(NORMS, elementwise.norm),
    **dict.fromkeys(_CHANNEL_NORMS, elementwise.batch_norm),
    **dict.fromkeys(REDUCTIONS, elementwise.reduce),
    **dict.fromkeys(_GLOBAL_POOLS, elementwise.global_pool),
    "Attention": attention_standard.attention,
    "AveragePool": products.pool,
    "Cast": elementwise.cast,
    "CastLike": elementwise.cast,
    "Concat": movement.concat,
    "Conv": products.conv,
    "DequantizeLinear": quantized.dequantize_linear,
    "Dropout": movement.identity,
    "DynamicQuantizeLinear": quantized.dynamic_quantize,
    "Expand": movement.expand,
    "DecoderMaskedMultiHeadAttention": attention_microsoft.decoder_masked_attention,
    "DecoderMaskedSelfAttention": attention_projected.decoder_masked_self_attention,
    "Flatten": movement.flatten,
    "Gather": movement.gather,
    "GatherElements": movement.gather_nd,
    "GatherND": movement.gather_nd,
    "Gemm": products.gemm,
    "GroupQueryAttention": attention_microsoft.group_query_attention,
    "Identity": movement.identity,
    "LogSoftmax": elementwise.softmax,
    "MatMul": products.matmul,
    "MatMulInteger": products.matmul_integer,
    "MatMulNBits": quantized.matmul_nbits,
    "MaxPool": products.pool,
    "MoE": moe.moe,
    "MultiHeadAttention": attention_microsoft.multi_head_attention,
    "PackedAttention": attention_projected.packed_self_attention,
    "PackedMultiHeadAttention": attention_microsoft.packed_attention,
    "Pad": movement.pad,
    "QAttention": attention_projected.quantized_attention,
    "QMoE": moe.quantized_moe,
    "QuantizeLinear": quantized.quantize_linear,
    "Range": movement.range_,
    "Reshape": movement.reshape,
    "Resize": movement.resize,
    "RotaryEmbedding": attention_standard.rotary_embedding,
    "ScatterElements": movement.scatter,
    "ScatterND": movement.scatter,
    "Slice": movement.slice_,
    "Softmax": elementwise.softmax,
    "Split": movement.split,
    "Squeeze": movement.squeeze,
    "TensorScatter": attention_standard.tensor_scatter,
    "Tile": movement.tile,
    "Transpose": movement.transpose,
    "Trilu": movement.trilu,
    "Unsqueeze": movement.unsqueeze,
    "Upsample": movement.resize,
    "ai.onnx.preview::FlexAttention": attention_standard.flex_attention,
    "com.microsoft::Attention": attention_projected.attention,
}
"""ONNX op type (of the default domain, or of com.microsoft under its own name) to handler; "domain::op type" where a
namesake computes something else."""


def handler_of(node: Node, extra: Mapping[str, Handler]) -> Handler | None:
    """Find the handler of a node: the user's before ours, an entry with a domain before the plain name."""
    qualified = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    if extra and (qualified in extra or node.op_type in extra):
        return extra[qualified] if qualified in extra else extra[node.op_type]
    if node.domain and qualified in HANDLERS:
        return HANDLERS[qualified]
    return HANDLERS.get(node.op_type) if node.domain in DOMAINS else None


def refusal(name: str) -> str:
    """Say why an op type has no handler, for a message: " because ...", or nothing if it is merely unknown."""
    reason = REFUSED.get(name)
    return f" because {reason}" if reason else ""
