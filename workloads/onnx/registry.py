"""Which handler describes which ONNX operator: the literal table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from workloads.onnx import (
    attention_microsoft,
    attention_projected,
    attention_standard,
    blockwise,
    convolution,
    elementwise,
    moe,
    movement,
    pooling,
    products,
    qlinear,
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
_GLOBAL_POOLS = ("GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool")

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(ELEMENTWISE, elementwise.elementwise),
    **dict.fromkeys(ACTIVATIONS, elementwise.activation),
    **dict.fromkeys(NORMS, elementwise.norm),
    **dict.fromkeys(_CHANNEL_NORMS, elementwise.batch_norm),
    **dict.fromkeys(REDUCTIONS, elementwise.reduce),
    **dict.fromkeys(_GLOBAL_POOLS, elementwise.global_pool),
    "Attention": attention_standard.attention,
    "AveragePool": pooling.pool,
    "Cast": elementwise.cast,
    "CastLike": elementwise.cast,
    "Concat": movement.concat,
    "Col2Im": pooling.col2im,
    "Conv": convolution.conv,
    "ConvInteger": convolution.conv_integer,
    "ConvTranspose": convolution.conv_transpose,
    "ConvTransposeWithDynamicPads": convolution.conv_transpose,
    "DeformConv": convolution.deform_conv,
    "DequantizeLinear": quantized.dequantize_linear,
    "Dropout": movement.identity,
    "DynamicQuantizeLinear": quantized.dynamic_quantize,
    "DynamicQuantizeMatMul": qlinear.dynamic_quantize_matmul,
    "Expand": movement.expand,
    "DecoderMaskedMultiHeadAttention": attention_microsoft.decoder_masked_attention,
    "DecoderMaskedSelfAttention": attention_projected.decoder_masked_self_attention,
    "Flatten": movement.flatten,
    "FusedConv": convolution.fused_conv,
    "FusedGemm": products.fused_gemm,
    "FusedMatMul": products.fused_matmul,
    "FusedMatMulActivation": products.fused_matmul,
    "Gather": movement.gather,
    "GatherBlockQuantized": blockwise.gather_block_quantized,
    "GatherElements": movement.gather_nd,
    "GatherND": movement.gather_nd,
    "Gemm": products.gemm,
    "GemmFastGelu": products.gemm_fast_gelu,
    "GroupNorm": elementwise.group_norm,
    "GroupQueryAttention": attention_microsoft.group_query_attention,
    "Hardmax": elementwise.hardmax,
    "Identity": movement.identity,
    "LogSoftmax": elementwise.softmax,
    "MatMul": products.matmul,
    "LpPool": pooling.pool,
    "MatMulInteger": products.matmul_integer,
    "MatMulInteger16": products.matmul_integer,
    "MatMulIntegerToFloat": qlinear.matmul_integer_to_float,
    "MatMulBlockQuantizedFp4Weight": blockwise.matmul_blocks,
    "MatMulBlockQuantizedFp8Weight": blockwise.matmul_blocks,
    "MatMulBnb4": blockwise.matmul_bnb4,
    "MatMulNBits": blockwise.matmul_nbits,
    "MatMulNBitsMlp": blockwise.matmul_nbits_mlp,
    "MatMulNBitsQkv": blockwise.matmul_nbits_qkv,
    "MaxPool": pooling.pool,
    "MaxUnpool": pooling.max_unpool,
    "MoE": moe.moe,
    "MulInteger": qlinear.mul_integer,
    "MultiHeadAttention": attention_microsoft.multi_head_attention,
    "NhwcConv": convolution.nhwc_conv,
    "NhwcFusedConv": convolution.nhwc_fused_conv,
    "NhwcMaxPool": pooling.pool,
    "PackedAttention": attention_projected.packed_self_attention,
    "PackedMultiHeadAttention": attention_microsoft.packed_attention,
    "Pad": movement.pad,
    "QAttention": attention_projected.quantized_attention,
    "QGemm": qlinear.qgemm,
    "QLinearAdd": qlinear.qlinear_binary,
    "QLinearAveragePool": qlinear.qlinear_average_pool,
    "QLinearConcat": qlinear.qlinear_concat,
    "QLinearConv": convolution.qlinear_conv,
    "QLinearGlobalAveragePool": qlinear.qlinear_global_average_pool,
    "QLinearLeakyRelu": qlinear.qlinear_unary,
    "QLinearMatMul": qlinear.qlinear_matmul,
    "QLinearMul": qlinear.qlinear_binary,
    "QLinearReduceMean": qlinear.qlinear_reduce_mean,
    "QLinearSigmoid": qlinear.qlinear_unary,
    "QLinearSoftmax": qlinear.qlinear_softmax,
    "QLinearWhere": qlinear.qlinear_where,
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
    "SkipGroupNorm": elementwise.group_norm,
    "TensorScatter": attention_standard.tensor_scatter,
    "Tile": movement.tile,
    "TransposeMatMul": products.fused_matmul,
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
