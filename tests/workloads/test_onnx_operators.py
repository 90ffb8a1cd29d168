"""Operators one by one: shapes as ONNX Runtime produces them, work as counted by hand; no op type is forgotten."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import defs

from tests.workloads.cases import MICROSOFT, Case, case, f, i, i32, u8
from tests.workloads.graphs import Graph, check_against_runtime, run, shapes_of, single
from workloads import FORMATS, Workload, WorkloadError
from workloads.onnx import HANDLERS, load_onnx, worst_case
from workloads.onnx.constants import SOURCES
from workloads.onnx.loader import SPECIAL
from workloads.onnx.refused import REFUSED, REFUSED_DOMAINS
from workloads.opcounts import ACTIVATIONS

# ---------------------------------------------------------------------------------------------------------------------
# Nothing is forgotten


def test_every_operator_of_the_standard_has_a_handler_or_a_reason() -> None:
    names = {schema.name for schema in defs.get_all_schemas() if not schema.domain}
    assert len(names) > 180
    described = set(HANDLERS) | set(SOURCES) | set(SPECIAL)
    assert names - described == set(REFUSED) & names
    assert not described & set(REFUSED)


def test_every_operator_of_onnx_runtime_has_a_handler_or_a_reason() -> None:
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    schemas = {(schema.domain, schema.name) for schema in runtime.get_all_operator_schema()}
    theirs = {name for domain, name in schemas if domain == MICROSOFT}
    assert len(theirs) > 100
    described = {name for name in theirs if name in HANDLERS or f"{MICROSOFT}::{name}" in HANDLERS}
    refused = {name.removeprefix(f"{MICROSOFT}::") for name in REFUSED if name.startswith(MICROSOFT)}
    assert theirs - described <= refused
    # `Unique` of the standard is refused under its plain name
    others = {domain for domain, _ in schemas} - {"", "ai.onnx", MICROSOFT, "ai.onnx.preview"}
    assert others <= set(REFUSED_DOMAINS) | {"com.microsoft.experimental"}


@pytest.mark.parametrize("name", ["NonZero", "com.microsoft::PagedAttention", "ai.onnx.ml::TreeEnsembleRegressor"])
def test_a_refusal_says_why(name: str) -> None:
    domain, _, op_type = name.rpartition("::")
    graph = Graph(domains=[domain] if domain else [])
    model = graph.model(graph.node(op_type, graph.input("x", (2, 3)), domain=domain))
    reason = REFUSED.get(name) or REFUSED_DOMAINS[domain]
    with pytest.raises(WorkloadError) as caught:
        load_onnx(model)
    assert f"{name} (1: " in str(caught.value)
    assert f"because {reason}" in str(caught.value)


def test_a_handler_of_the_users_goes_before_ours_with_and_without_a_domain() -> None:
    seen = []

    def mine(node: Any, builder: Any) -> None:
        seen.append(node.op_type)
        HANDLERS["Identity"](node, builder)

    graph = Graph(domains=[MICROSOFT])
    model = graph.model(graph.node("Attention", graph.input("x", (2, 3, 4)), domain=MICROSOFT))
    for name in ("Attention", f"{MICROSOFT}::Attention"):
        load_onnx(model, extra_ops={name: mine})
    assert seen == ["Attention", "Attention"]


# ---------------------------------------------------------------------------------------------------------------------
# Shapes and work

B, C, H, W = 2, 6, 5, 7
RELU, GELU, FAST, SWISH, SIGMOID = (ACTIVATIONS[n] for n in ("Relu", "Gelu", "FastGelu", "Swish", "Sigmoid"))
MS: dict[str, Any] = {"domain": MICROSOFT}
s8 = np.int8(3)
scale = np.float32(0.1)
zero = np.uint8(3)


def i8(*shape: int) -> Any:
    return u8(*shape).astype(np.int8)


ELEMENTWISE = [
    *(case(op, [f(2, 3)], flops=6) for op in ("Atan", "Cosh", "Sin", "Sinh", "Tan", "Asinh")),
    *(case(op, [np.tanh(f(2, 3))], flops=6) for op in ("Acos", "Asin", "Atanh")),
    case("Acosh", [1 + f(2, 3) ** 2], flops=6),
    case("BitShift", [u8(2, 3), u8(3)], direction="LEFT", flops=0),
    case("BitwiseXor", [i(1, 2), i(3)], opset=18, flops=0),
    case("BitwiseNot", [i(1, 2)], opset=18, flops=0),
    case("BitwiseOr", [i(1, 2), i(3)], opset=18, flops=0),
    *(case(op, [f(2, 3)], flops=12, axes=[1]) for op in ("ReduceL1", "ReduceSumSquare")),
    case("ScaledSiLU", [f(2, 3)], **MS, flops=6 * (SWISH + 1), runs=False, shapes=[(2, 3)]),
    case("BitmaskDropout", [f(2, 3)], **MS, flops=0, runs=False, shapes=[(2, 3)]),
    case("BitmaskBiasDropout", [f(2, 3), f(3), f(2, 3)], [1], **MS, flops=12, runs=False, shapes=[(2, 3)]),
    case("ComplexMulConj", [f(3, 2), f(1, 2)], **MS, flops=18, runs=False, shapes=[(3, 2)]),
    *(case(op, [f(2, 3)], flops=6 * ACTIVATIONS[op]) for op in ("Celu", "Shrink", "Softsign", "ThresholdedRelu")),
    case("Swish", [f(2, 3)], opset=24, flops=6 * SWISH),
    case("Hardmax", [f(2, 3)], flops=6),
    case("MeanVarianceNormalization", [f(B, C, H, W)], flops=5 * B * C * H * W),
    case("ReduceLogSum", [np.abs(f(2, 3))], flops=6, axes=[1]),
    case("GlobalLpPool", [f(B, C, H, W)], flops=2 * B * C * H * W),
    case("BitCast", [f(2, 3)], opset=26, to=6, flops=0, runs=False, shapes=[(2, 3)]),
    case("CumProd", [f(2, 3), i32(1)[0]], [1], opset=26, flops=6, runs=False, shapes=[(2, 3)]),
    case("BiasGelu", [f(2, 3), f(3)], [1], **MS, flops=6 * (GELU + 1)),
    case("FastGelu", [f(2, 3), f(3)], [1], **MS, flops=6 * (FAST + 1)),
    case("BiasSplitGelu", [f(1, 2, 8), f(8)], [1], **MS, flops=8 * (GELU + 3), runs=False, shapes=[(1, 2, 4)]),
    case("BiasAdd", [f(1, 2, 8), f(8), f(1, 2, 8)], [1], **MS, flops=2 * 16, runs=False, shapes=[(1, 2, 8)]),
    case("BiasSoftmax", [f(2, 3), f(1, 3)], **MS, axis=1, is_inner_broadcast=0, flops=36, runs=False, shapes=[(2, 3)]),
    case("BiasDropout", [f(2, 3), f(3), f(2, 3)], [1], **MS, flops=12, runs=False, shapes=[(2, 3)]),
    case("SwiGLU", [f(2, 8)], **MS, flops=8 * (SWISH + 1), runs=False, shapes=[(2, 4)]),
    case("SwiGLU", [f(2, 4), f(2, 4)], **MS, flops=8 * (SWISH + 1), runs=False, shapes=[(2, 4)]),
    case("QuickGelu", [f(2, 3)], **MS, flops=36),
    case("ComplexMul", [f(3, 2), f(3, 2)], **MS, flops=18, runs=False, shapes=[(3, 2)]),
    case("IsAllFinite", [f(2, 3)], **MS, flops=0, runs=False, shapes=[()]),
    case("GatedAdd", [f(2, 3), f(2, 3), f(2, 1)], **MS, flops=12, runs=False, shapes=[(2, 3)]),
    case("GatedAdd", [f(2, 3), f(2, 3), f(2, 5), f(5, 1)], [3], **MS, macs=10, flops=20 + 6 * (2 + SIGMOID / 3),
         runs=False, shapes=[(2, 3)]),
    case("GatedRMSNorm", [f(2, 8), f(4), f(2, 8)], [1], **MS, flops=16 * (4 + SWISH + 1), runs=False, shapes=[(2, 8)]),
    case("BranchwiseRMSNorm", [f(2, 3, 4), f(4)], [1], **MS, flops=4 * 24, runs=False, shapes=[(2, 3, 4)]),
    case("LinearAttentionGate", [f(1, 2, 4), f(4), f(4), f(1, 2, 4)], [1, 2], **MS, outputs=2,
         flops=8 * (5 + SIGMOID), runs=False, shapes=[(1, 2, 4), (1, 2, 4)]),
    case("NGramRepeatBlock", [np.ones((2, 5), np.int64), f(2, 9)], **MS, ngram_size=2, flops=0),
    case("SkipLayerNormalization", [f(2, 3, 4), f(3, 4), f(4), f(4), f(4)], [2, 3, 4], **MS, flops=24 * 9),
    case("SkipLayerNormalization", [f(2, 3, 4), f(2, 3, 4), f(4), f(4)], [2, 3], **MS, flops=24 * 8,
         outputs=["y", "", "", "sum"]),
    case("SkipSimplifiedLayerNormalization", [f(2, 3, 4), f(2, 3, 4), f(4), f(4)], [2, 3], **MS, flops=24 * 6,
         outputs=["y", "", "", "sum"]),
    case("GroupNorm", [f(1, 4, 4, 8), f(8), f(8)], [1, 2], **MS, groups=2, activation=1, flops=128 * (7 + SWISH),
         runs=False, shapes=[(1, 4, 4, 8)]),
    case("SkipGroupNorm", [f(1, 4, 4, 8), f(8), f(8), f(1, 8), f(8)], [1, 2, 4], **MS, groups=2, activation=0,
         outputs=2, flops=128 * 9, runs=False, shapes=[(1, 4, 4, 8), (1, 4, 4, 8)]),
    case("Bernoulli", [np.abs(np.tanh(f(2, 3)))], opset=15, flops=12),
    case("RandomNormal", [], shape=[2, 3], flops=6),
    case("RandomUniform", [], shape=[2, 3], flops=6),
    *(case(op, [f(2, 3)], flops=6) for op in ("RandomNormalLike", "RandomUniformLike")),
    case("RandomUniformLike", [f(2, 3)], [0], flops=6),
    case("Multinomial", [f(2, 3)], sample_size=5, flops=12),
]  # fmt: skip
PLACES = i(0, 3, 9, 11).reshape(1, 1, 2, 2)
CONVOLUTIONS = [
    case("ConvInteger", [u8(1, C, 5, 5), u8(4, C, 3, 3), zero], [1, 2], macs=4 * 9 * C * 9),
    case("ConvTranspose", [f(1, C, 4, 4), f(C, 3, 3, 3), f(3)], [1, 2], macs=C * 16 * 3 * 9),
    case("ConvTranspose", [f(B, 4, 3, 5), f(4, 3, 3, 2)], [1], group=2, strides=[2, 3], pads=[1, 0, 0, 1],
         output_padding=[1, 0], macs=B * 4 * 15 * 3 * 6),
    case("ConvTranspose", [f(1, 2, 4), f(2, 3, 2)], [1], strides=[4], macs=2 * 4 * 3 * 2),
    case("ConvTranspose", [f(1, 2, 4), f(2, 3, 3)], [1], dilations=[2], macs=2 * 4 * 3 * 3),
    *(case("ConvTranspose", [f(1, 2, 4), f(2, 3, 3)], [1], strides=[2], auto_pad=mode, macs=2 * 4 * 3 * 3)
      for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")),
    case("ConvTranspose", [f(1, 2, 4), f(2, 3, 3)], [1], strides=[2], output_shape=[8], macs=2 * 4 * 3 * 3),
    case("ConvTransposeWithDynamicPads", [f(1, 2, 4, 4), f(2, 3, 3, 3), i(0, 1, 0, 1)], [1, 2], **MS,
         macs=2 * 16 * 3 * 9),
    case("DeformConv", [f(1, 4, 5, 5), f(2, 4, 3, 3), f(1, 18, 3, 3)], [1], opset=22, macs=2 * 9 * 4 * 9,
         flops=2 * 2 * 9 * 4 * 9 + 8 * 4 * 9 * 9),
    case("FusedConv", [f(1, C, 5, 5), f(4, C, 3, 3), f(4)], [1, 2], **MS, activation="Relu", macs=4 * 9 * C * 9,
         flops=2 * 4 * 9 * C * 9 + 36 * RELU),
    case("FusedConv", [f(1, C, 5, 5), f(4, C, 3, 3), f(4), f(1, 4, 3, 3)], [1, 2], **MS, activation="Relu",
         macs=4 * 9 * C * 9, flops=2 * 4 * 9 * C * 9 + 36 * (RELU + 1)),
    case("FusedConv", [f(1, C, 5, 5), f(4, C, 3, 3)], [1], **MS, macs=4 * 9 * C * 9, runs=False, shapes=[(1, 4, 3, 3)]),
    case("NhwcConv", [f(1, 5, 5, C), f(4, C, 3, 3)], [1], **MS, macs=4 * 9 * C * 9, runs=False, shapes=[(1, 3, 3, 4)]),
    case("NhwcFusedConv", [f(1, 5, 5, C), f(4, C, 3, 3)], [1], **MS, activation="Relu", macs=4 * 9 * C * 9,
         runs=False, shapes=[(1, 3, 3, 4)]),
    case("NhwcMaxPool", [i8(1, 5, 5, C)], **MS, kernel_shape=[3, 3], flops=9 * C * 9),
    case("QLinearConv", [u8(1, C, 5, 5), scale, zero, u8(4, C, 3, 3), f(4) ** 2, u8(4), scale, zero,
                         np.ones(4, np.int32)], [1, 2, 3, 4, 5, 6, 7, 8], macs=4 * 9 * C * 9,
         flops=2 * 4 * 9 * C * 9 + 3 * 36, runs=False, shapes=[(1, 4, 3, 3)]),
    case("QLinearConv", [u8(1, C, 5, 5), scale, zero, i8(4, C, 3, 3), f(4) ** 2, np.zeros(4, np.int8), scale, zero,
                         np.ones(4, np.int32)], [1, 2, 3, 4, 5, 6, 7, 8], macs=4 * 9 * C * 9,
         flops=2 * 4 * 9 * C * 9 + 3 * 36),
    case("LpPool", [f(1, C, 5, 5)], kernel_shape=[3, 3], opset=18, flops=2 * 9 * C * 9),
    case("MaxPool", [f(1, C, 5, 5)], kernel_shape=[2, 2], outputs=2, flops=4 * C * 16),
    case("MaxUnpool", [f(1, 1, 2, 2), PLACES], kernel_shape=[2, 2], strides=[2, 2], flops=0),
    case("MaxUnpool", [f(1, 1, 2, 2), PLACES, i(1, 1, 5, 5)], [2], kernel_shape=[2, 2], strides=[2, 2], flops=0),
    case("Col2Im", [f(1, 12, 4), i(3, 3), i(2, 2)], [1, 2], opset=18, flops=48),
]  # fmt: skip
PRODUCTS = [
    case("FusedMatMul", [f(5, 3, 2), f(4, 3)], **MS, transA=1, transB=1, alpha=0.5, macs=5 * 2 * 4 * 3, flops=240),
    case("FusedMatMul", [f(2, 5, 3), f(5, 3, 4)], **MS, transBatchA=1, macs=5 * 2 * 4 * 3),
    case("FusedMatMul", [f(2, 5, 3), f(2, 5, 7)], **MS, transBatchA=1, transA=1, transBatchB=1, macs=5 * 3 * 7 * 2),
    case("TransposeMatMul", [f(3, 2), f(3, 4)], **MS, transA=1, macs=24),
    case("FusedMatMulActivation", [f(2, 3), f(3, 4)], **MS, activation="Relu", macs=24, flops=48 + 8, runs=False,
         shapes=[(2, 4)]),
    case("FusedGemm", [f(3, 2), f(4, 3), f(4)], [1, 2], **MS, transA=1, transB=1, activation="Relu", alpha=2.0,
         macs=24, flops=48 + 8),
    case("FusedGemm", [f(2, 3), f(3, 4)], [1], **MS, macs=24, flops=48, runs=False, shapes=[(2, 4)]),
    case("GemmFastGelu", [f(2, 3), f(3, 4), f(4)], [1, 2], **MS, macs=24, flops=48 + 8 * FAST, runs=False,
         shapes=[(2, 4)]),
    case("GemmFloat8", [f(2, 3), f(4, 3)], [1], **MS, transB=1, macs=24, runs=False, shapes=[(2, 4)]),
    case("MatMulInteger16", [i(1, 2, 3).astype(np.int16)[None], np.ones((3, 4), np.int16)], **MS, macs=12),
    case("RouterGateUpProj", [f(2, 3), f(3, 4 + 2 * 5)], [1], **MS, router_size=4, outputs=2, macs=2 * 3 * 14,
         flops=2 * 84 + 10 * (SWISH + 1), runs=False, shapes=[(2, 4), (2, 5)]),
    case("CDist", [f(4, 3), f(5, 3)], **MS, metric="sqeuclidean", flops=3 * 60),
    case("Det", [f(2, 3, 3)], flops=2 * 2 / 3 * 27),
    case("Inverse", [f(2, 3, 3)], **MS, flops=2 * 2 * 27),
    case("QLinearMatMul", [u8(5, 2, 3), scale, zero, u8(3, 4), scale, zero, scale, zero], [1, 2, 3, 4, 5, 6, 7],
         macs=120, flops=240 + 3 * 40),
    case("QGemm", [u8(2, 3), scale, zero, u8(4, 3), f(4) ** 2, u8(4), np.ones(4, np.int32), scale, zero],
         [1, 2, 3, 4, 5, 6, 7, 8], **MS, transB=1, macs=24, flops=48 + 3 * 8),
    case("QGemm", [u8(2, 3), scale, zero, u8(3, 4), scale, zero], [1, 2, 3, 4, 5], **MS, macs=24, flops=48 + 8),
    case("MatMulIntegerToFloat", [u8(5, 2, 3), u8(3, 4), scale, f(4) ** 2, zero, u8(4), f(4)], [1, 2, 3, 4, 5, 6],
         **MS, macs=120, flops=240 + 3 * 40),
    case("DynamicQuantizeMatMul", [f(5, 2, 3), u8(3, 4), f(4) ** 2, u8(4), f(4)], [1, 2, 3, 4], **MS, macs=120,
         flops=240 + 5 * 30 + 3 * 40),
    case("MatMulBnb4", [f(2, 3, 32), u8(32 * 4 // 2), f(32 * 4 // 16) ** 2], [1, 2], **MS, K=32, N=4, block_size=16,
         quant_type=1, macs=6 * 32 * 4, flops=2 * 6 * 32 * 4 + 2 * 128),
    case("MatMulBlockQuantizedFp8Weight", [f(2, 32), u8(4, 32), f(4, 1) ** 2], [1, 2], **MS, block_size=32,
         macs=2 * 32 * 4, flops=2 * 256 + 2 * 128, runs=False, shapes=[(2, 4)]),
    case("MatMulBlockQuantizedFp4Weight", [f(2, 32), u8(4, 16), u8(4, 2), scale], [1, 2, 3], **MS, macs=2 * 32 * 4,
         flops=2 * 256 + 2 * 128, runs=False, shapes=[(2, 4)]),
    case("MatMulNBits", [f(2, 64), u8(4, 2, 16), f(4, 2), None, None, f(4)], [1, 2, 5], **MS, K=64, N=4, bits=4,
         block_size=32, accuracy_level=4, macs=512, flops=1024),
    case("MatMulNBitsMlp", [f(2, 64), f(2, 64), f(64), *[u8(4, 2, 16), f(4, 2), None] * 2], [2, 3, 4, 6, 7], **MS,
         K=64, N=4, bits=4, block_size=32, activation="silu", outputs=2, macs=2 * 512,
         flops=2 * 1024 + 2 * 2 * 256 + 5 * 128 + 8 * (SWISH + 1), runs=False, shapes=[(2, 4), (2, 64)]),
    case("MatMulNBitsQkv", [f(2, 64), None, f(64), u8(8, 2, 16), f(8, 2), None, *[u8(4, 2, 16), f(4, 2), None] * 2],
         [2, 3, 4, 6, 7, 9, 10], **MS, K=64, Nq=8, Nkv=4, bits=4, block_size=32, outputs=3, macs=2 * 64 * 16,
         flops=2 * 2 * 64 * 16 + 2 * 64 * 16 + 4 * 128, runs=False, shapes=[(2, 8), (2, 4), (2, 4)]),
]  # fmt: skip
QUANTIZED = [
    case("QLinearAdd", [u8(2, 3), scale, zero, u8(3), scale, zero, scale, zero], [1, 2, 4, 5, 6, 7], **MS, flops=48),
    case("QLinearMul", [u8(2, 3), scale, zero, u8(2, 1), scale, zero, scale, zero], [1, 2, 4, 5, 6, 7], **MS, flops=36),
    case("QLinearSigmoid", [u8(2, 3), scale, zero, scale, zero], [1, 2, 3, 4], **MS, flops=6 * (5 + SIGMOID)),
    case("QLinearLeakyRelu", [u8(2, 3), scale, zero, scale, zero], [1, 2, 3, 4], **MS, flops=6 * 7),
    case("QLinearSoftmax", [u8(2, 3), scale, zero, scale, zero], [1, 2, 3, 4], **MS, opset_=13, axis=1, flops=60),
    case("QLinearConcat", [scale, zero, u8(2, 3), scale, zero, u8(2, 4), scale, zero], [0, 1, 3, 4, 6, 7], **MS, axis=1,
         flops=5 * 14),
    case("QLinearAveragePool", [u8(1, C, 5, 5), scale, zero, scale, zero], [1, 2, 3, 4], **MS, kernel_shape=[2, 2],
         flops=4 * C * 16 + 3 * C * 16),
    case("QLinearAveragePool", [u8(1, 5, 5, C), scale, zero, scale, zero], [1, 2, 3, 4], **MS, kernel_shape=[2, 2],
         channels_last=1, flops=7 * C * 16),
    case("QLinearGlobalAveragePool", [u8(1, C, 5, 5), scale, zero, scale, zero], [1, 2, 3, 4], **MS,
         flops=25 * C + 3 * C),
    case("QLinearReduceMean", [u8(2, 3, 4), scale, zero, scale, zero], [1, 2, 3, 4], **MS, axes=[-1], keepdims=0,
         flops=24 + 3 * 6, runs=False, shapes=[(2, 3)]),
    case("QLinearWhere", [f(2, 3) > 0, u8(2, 3), scale, zero, u8(1, 3), scale, zero, scale, zero],
         [2, 3, 5, 6, 7, 8], **MS, flops=30),
    case("MulInteger", [u8(2, 3), zero, u8(3), zero], [1, 3], **MS, flops=18, runs=False, shapes=[(2, 3)]),
    case("ReduceSumInteger", [i8(2, 3)], **MS, axes=[1], keepdims=1, flops=6, runs=False, shapes=[(2, 1)]),
    case("QuantizeLinear", [f(2, 3), scale, zero], [1, 2], **MS, flops=18),
    case("DequantizeLinear", [u8(2, 3), scale, zero], [1, 2], **MS, flops=12),
    case("GatherBlockQuantized", [u8(10, 16), i(1, 2, 9), f(10, 2), None], [0, 2], **MS, bits=4, block_size=16,
         gather_axis=0, quantize_axis=1, flops=2 * 3 * 32),
]  # fmt: skip
SELECTION = [
    case("TopK", [f(2, 7), i(3)], [1], outputs=2, flops=14),
    case("TopK", [f(2, 7, 3), i(2)], [1], axis=1, outputs=2, flops=42),
    case("OneHot", [i(0, 2, 1), i(4)[0], f(2)], [1, 2], flops=0),
    case("OneHot", [i(0, 2, 1)[None], i(4), f(2)], [1, 2], axis=1, flops=0),
    case("ReverseSequence", [f(4, 3, 2), i(1, 2, 4)], flops=0),
    case("DepthToSpace", [f(1, 12, 2, 3)], blocksize=2, flops=0),
    case("SpaceToDepth", [f(1, 3, 4, 6)], blocksize=2, flops=0),
    case("CenterCropPad", [f(5, 8, 3), i(7, 4)], [1], axes=[0, 1], opset=18, flops=0),
    case("UnfoldTensor", [f(2, 9)], **MS, dim=1, size=3, step=2, flops=0),
    case("ExpandDims", [f(2, 3), i32(1)[0]], [1], **MS, flops=0),
    case("Trilu", [f(3, 4)], **MS, flops=0),
    case("Scatter", [f(4, 3), np.array([[0, 1]]), f(1, 2)], axis=0, opset=10, flops=0),
    case("TorchEmbedding", [f(9, 4), i(1, 2)], [0], **MS, flops=0, runs=False, shapes=[(2, 4)]),
    case("NonMaxSuppression", [np.abs(f(1, 6, 4)), f(1, 2, 6), i(3)[0], scale], [2, 3], flops=2 * 3 * 6 * 13,
         runs=False, shapes=[(6, 3)]),
    case("EyeLike", [f(3, 4)], flops=0, runs=False, shapes=[]),
    case("GridSample", [f(1, 2, 5, 5), np.tanh(f(1, 3, 4, 2))], opset=20, flops=2 * 12 * 2 * 4),
    case("GridSample", [f(1, 2, 5, 5), np.tanh(f(1, 3, 4, 2))], opset=20, mode="cubic", flops=2 * 12 * 2 * 16),
    case("GridSample", [f(1, 2, 5, 5), np.tanh(f(1, 3, 4, 2))], opset=20, mode="nearest", flops=0),
    case("GridSample", [f(1, 2, 3, 4, 5), np.tanh(f(1, 2, 3, 4, 3))], opset=20, flops=2 * 24 * 2 * 8),
    case("AffineGrid", [f(2, 2, 3), i(2, 3, 4, 5)], [1], opset=20, macs=2 * 20 * 2 * 3),
    case("AffineGrid", [f(2, 3, 4), i(2, 3, 4, 5, 6)], [1], opset=20, macs=2 * 120 * 3 * 4),
    case("RoiAlign", [f(1, 2, 8, 8), np.array([[0, 0, 4, 4]], np.float32), i(0)], output_height=3, output_width=2,
         sampling_ratio=2, flops=2 * 6 * 4 * 9),
    case("MaxRoiPool", [f(1, 2, 8, 8), np.array([[0, 0, 0, 4, 4]], np.float32)], pooled_shape=[2, 2], flops=2 * 64),
    case("CropAndResize", [f(1, 2, 8, 8), np.array([[0, 0, 1, 1]], np.float32), i32(0), i32(3, 4)], [3], **MS,
         flops=2 * 12 * 8),
    case("DFT", [f(2, 8, 1), None, i(1)[0]], [2], opset=20, flops=2 * 8 * 2.5 * 3),
    case("DFT", [f(2, 8, 2)], opset=17, axis=1, flops=2 * 8 * 5 * 3),
    case("DFT", [f(2, 8, 1)], opset=17, axis=1, onesided=1, flops=2 * 8 * 2.5 * 3),
    case("DFT", [f(2, 8, 1), i(16)[0]], [1], opset=17, axis=1, flops=2 * 16 * 2.5 * 4),
    case("STFT", [f(2, 64, 1), i(8)[0], f(16)], [1, 2], opset=17, flops=2 * 7 * 16 * (2.5 * 4 + 1)),
    case("STFT", [f(2, 64, 1), i(8)[0], None, i(16)[0]], [1, 3], opset=17, onesided=0, flops=2 * 7 * 16 * 2.5 * 4),
    case("Rfft", [f(2, 8)], **MS, onesided=1, normalized=0, signal_ndim=1, flops=2 * 8 * 2.5 * 3, runs=False,
         shapes=[(2, 5, 2)]),
    case("Irfft", [f(2, 5, 2)], **MS, onesided=1, normalized=0, signal_ndim=1, flops=2 * 8 * 2.5 * 3, runs=False,
         shapes=[(2, 8)]),
    case("SoftmaxCrossEntropyLoss", [f(4, 3), i(0, 1, 2, 0)], opset=13, reduction="none", outputs=2, flops=60),
    case("SoftmaxCrossEntropyLoss", [f(4, 3), i(0, 1, 2, 0)], opset=13, flops=60),
    case("NegativeLogLikelihoodLoss", [f(4, 3), i(0, 1, 2, 0), f(3)], [2], opset=13, flops=8),
]  # fmt: skip
T, IN, HID = 4, 3, 5


def gates(gate: int, directions: int, width: int) -> Any:
    return f(directions, gate * HID, width)


RECURRENT = [
    case("LSTM", [f(T, B, IN), gates(4, d, IN), gates(4, d, HID), f(d, 8 * HID)], [1, 2, 3], hidden_size=HID, outputs=3,
         direction="bidirectional" if d == 2 else "forward", macs=d * T * B * 4 * HID * (IN + HID),
         flops=d * T * B * HID * (8 * (IN + HID) + 22))
    for d in (1, 2)
] + [
    case("LSTM", [f(T, B, IN), gates(4, 1, IN), gates(4, 1, HID), None, i32(4, 3), f(1, B, HID), f(1, B, HID),
                  f(1, 3 * HID)], [1, 2, 7], hidden_size=HID, outputs=["y0"], macs=T * B * 4 * HID * (IN + HID)),
    case("GRU", [f(T, B, IN), gates(3, 1, IN), gates(3, 1, HID)], [1, 2], hidden_size=HID, outputs=2,
         macs=T * B * 3 * HID * (IN + HID), flops=T * B * HID * (6 * (IN + HID) + 17)),
    case("RNN", [f(T, B, IN), gates(1, 1, IN), gates(1, 1, HID), f(1, 2 * HID)], [1, 2, 3], hidden_size=HID, outputs=2,
         macs=T * B * HID * (IN + HID), flops=T * B * HID * (2 * (IN + HID) + 2)),
    case("LSTM", [f(B, T, IN), gates(4, 1, IN), gates(4, 1, HID)], [1, 2], hidden_size=HID, outputs=3, layout=1,
         macs=T * B * 4 * HID * (IN + HID), runs=False, shapes=[(B, T, 1, HID), (B, 1, HID), (B, 1, HID)]),
    case("DynamicQuantizeLSTM", [f(T, B, IN), u8(1, IN, 4 * HID), u8(1, HID, 4 * HID), f(1, 8 * HID), None, None, None,
                                 None, f(1) ** 2, u8(1), f(1) ** 2, u8(1)], [1, 2, 3, 8, 9, 10, 11], **MS,
         hidden_size=HID, outputs=3, macs=T * B * 4 * HID * (IN + HID)),
]  # fmt: skip
EMBEDDING = [
    case("EmbedLayerNormalization", [np.ones((B, 5), np.int32), np.zeros((B, 5), np.int32), f(9, 8), f(6, 8), f(2, 8),
                                     f(8), f(8)], [2, 3, 4, 5, 6], **MS, outputs=2, flops=B * 5 * 8 * 9),
    case("EmbedLayerNormalization", [np.ones((B, 5), np.int32), None, f(9, 8), f(6, 8), None, f(8), f(8),
                                     np.ones((B, 5), np.int32), np.ones((B, 5), np.int32)], [2, 3, 5, 6], **MS,
         outputs=3, mask_index_type=1, flops=B * 5 * 8 * 8),
    case("QEmbedLayerNormalization", [np.ones((B, 5), np.int32), np.zeros((B, 5), np.int32), u8(9, 8), u8(6, 8),
                                      u8(2, 8), u8(8), u8(8), None, *[scale] * 5, *[zero] * 5],
         [2, 3, 4, 5, 6, *range(8, 18)], **MS, outputs=2, flops=B * 5 * 8 * (9 + 3 * 2)),
    case("GatedRelativePositionBias", [f(B, 6, 4 * 8), f(32), f(1, 4, 6, 6), f(8, 2), f(2), f(1, 4, 1, 1)],
         [1, 3, 4, 5], **MS, num_heads=4, macs=B * 4 * 6 * 2 * 8, runs=False, shapes=[(B, 4, 6, 6)]),
    case("RemovePadding", [f(B, 5, 8), i32(5, 5)], **MS, outputs=4, flops=0, runs=False,
         shapes=[(10, 8), (B, 5), (B + 1,), (1,)]),
    case("RestorePadding", [f(10, 8), np.zeros((B, 5), np.int32)], **MS, flops=0, runs=False, shapes=[(B, 5, 8)]),
]  # fmt: skip
EQUATIONS: list[tuple[str, list[tuple[int, ...]], int]] = [
    ("ij,jk->ik", [(2, 3), (3, 4)], 24),
    ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
    ("bhqd,bhkd->bhqk", [(2, 3, 4, 5), (2, 3, 6, 5)], 2 * 3 * 4 * 5 * 6),
    ("bqhd,bkhd->bhqk", [(2, 4, 3, 5), (2, 6, 3, 5)], 2 * 3 * 4 * 5 * 6),
    ("bsd,de->bse", [(2, 3, 4), (4, 5)], 2 * 3 * 4 * 5),
    ("...ij,...jk->...ik", [(2, 1, 3, 4), (2, 7, 4, 5)], 2 * 7 * 3 * 4 * 5),
    ("ij,jk", [(2, 3), (3, 4)], 24),
    ("ij,ij->", [(2, 3), (2, 3)], 6),
    ("ijk,jkl,lm->im", [(2, 3, 4), (3, 4, 5), (5, 6)], 2 * 12 * 5 + 2 * 5 * 6),
    ("i,j->ij", [(2,), (3,)], 0),
    ("ij,j->ij", [(2, 3), (3,)], 0),
    ("ij->ji", [(2, 3)], 0),
    ("ij->i", [(2, 3)], 0),
    ("ii->i", [(3, 3)], 0),
    ("ii", [(3, 3)], 0),
    ("...ij->...", [(2, 3, 4)], 0),
    ("bn,anm,bm->ba", [(2, 3), (4, 3, 5), (2, 5)], 2 * 4 * 3 * 5 + 2 * 4 * 5),
    ("ij,kj->ik", [(2, 3), (4, 3)], 24),
    ("ij,k->i", [(2, 3), (4,)], 0),
]
EINSUM = [case("Einsum", [f(*s) for s in shapes], equation=equation, macs=macs) for equation, shapes, macs in EQUATIONS]
ALL = [*ELEMENTWISE, *CONVOLUTIONS, *PRODUCTS, *QUANTIZED, *SELECTION, *RECURRENT, *EMBEDDING, *EINSUM]


def loaded(item: Case) -> Workload:
    """Load a case and check shapes and types: against the runtime where it executes the node, else as given."""
    model, feeds = single(item.op_type, item.arrays, item.constant, **item.options)
    for attribute in model.graph.node[0].attribute:
        attribute.name = attribute.name.rstrip("_")  # QLinearSoftmax has an attribute `opset`, which is our option too
    if item.runs:
        work, _ = check_against_runtime(model, feeds)
    else:
        work = load_onnx(model, structure=False)
        found = shapes_of(work)
        names = [name for name in model.graph.node[0].output if name in found]
        assert [found[name] for name in names] == list(item.shapes)
    return work


@pytest.mark.parametrize("item", ALL, ids=str)
def test_an_operator_has_the_shapes_of_the_runtime_and_the_work_of_its_formula(item: Case) -> None:
    work = loaded(item)
    assert work.macs() == item.macs
    if item.flops is not None:
        assert work.flops() == pytest.approx(item.flops, rel=1e-12)
    for op in work:
        assert op.nodes == () or len(op.nodes) == 1
        for tensor in op.tensors():
            assert tensor.values(op.dims) * tensor.touched >= 0
    names = [op.name for op in work]
    assert len(set(names)) == len(names)
    assert all(name in names for group in work.groups for name in group)
    if sum(op.kind != "view" for op in work) > 1 and item.op_type not in ("MatMulNBits", "Einsum"):
        assert work.groups  # one node is one kernel, or a few


# ---------------------------------------------------------------------------------------------------------------------
# Random sizes

sizes = st.integers(1, 5)


def numpy_positions(extent: int, out: int, stride: int, dilation: int, kernel: int, pad: int) -> set[int]:
    """Give the output positions that a transposed window of one axis reaches."""
    reached = {p * stride + r * dilation - pad for p in range(extent) for r in range(kernel)}
    return {q for q in reached if 0 <= q < out}


@settings(max_examples=60)
@given(
    extent=st.integers(1, 6), kernel=st.integers(1, 4), stride=st.integers(1, 4), dilation=st.integers(1, 2),
    groups=st.integers(1, 2), channels=st.integers(1, 2), filters=st.integers(1, 2), data=st.data(),
)  # fmt: skip
def test_a_transposed_convolution_has_the_runtimes_shape_and_writes_what_its_windows_reach(
    extent: int, kernel: int, stride: int, dilation: int, groups: int, channels: int, filters: int, data: st.DataObject
) -> None:
    whole = stride * (extent - 1) + dilation * (kernel - 1) + 1
    pad = data.draw(st.integers(0, max(0, min(2, (whole - 1) // 2))))
    extra = data.draw(st.integers(0, stride - 1))
    x, w = f(1, groups * channels, extent), f(groups * channels, filters, kernel)
    model, feeds = single(
        "ConvTranspose", [x, w], [1], group=groups, strides=[stride], dilations=[dilation], pads=[pad, pad],
        output_padding=[extra],
    )  # fmt: skip
    work, truth = check_against_runtime(model, feeds)
    (op,) = work
    assert work.macs() == groups * channels * extent * filters * kernel
    out = truth["y0"].shape[2]
    spatial = op.outputs[0].axes[2]
    reached = numpy_positions(extent, out, stride, dilation, kernel, pad)
    assert bool(spatial.terms) == (len(reached) == out)  # where windows leave gaps the output is written whole


@settings(max_examples=80)
@given(data=st.data(), operands=st.integers(1, 3))
def test_any_equation_has_numpys_shape_and_the_products_of_its_letters(data: st.DataObject, operands: int) -> None:
    extents = dict(zip("abcde", data.draw(st.lists(sizes, min_size=5, max_size=5)), strict=True))
    operand = st.lists(st.sampled_from("abcde"), min_size=1, max_size=3, unique=True)
    letters = data.draw(st.lists(operand, min_size=operands, max_size=operands))
    known = sorted({letter for own in letters for letter in own})
    result = data.draw(st.lists(st.sampled_from(known), max_size=3, unique=True))
    equation = ",".join("".join(own) for own in letters) + "->" + "".join(result)
    arrays = [f(*(extents[letter] for letter in own)) for own in letters]
    model, feeds = single("Einsum", arrays, equation=equation)
    work, truth = check_against_runtime(model, feeds)
    assert truth["y0"].shape == np.einsum(equation, *arrays).shape
    if operands == 2:
        both, shared = set(letters[0]) & set(letters[1]), set(result)
        contracted = both - shared
        needed = both | (set(letters[0] + letters[1]) & shared)
        assert work.macs() == (math.prod(extents[letter] for letter in needed) if contracted else 0)


@settings(max_examples=40)
@given(shape=st.lists(sizes, min_size=1, max_size=3), data=st.data())
def test_top_k_takes_any_axis_and_any_k(shape: list[int], data: st.DataObject) -> None:
    position = data.draw(st.integers(-len(shape), len(shape) - 1))
    count = data.draw(st.integers(1, shape[position]))
    model, feeds = single("TopK", [f(*shape), i(count)], [1], axis=position, outputs=2)
    work, _ = check_against_runtime(model, feeds)
    assert work.flops() == math.prod(shape)


@pytest.mark.parametrize(("op_type", "groups"), [("Conv", 1), ("Conv", 6), ("AveragePool", 1)])
def test_a_stride_beyond_the_window_reads_the_strided_positions_only(op_type: str, groups: int) -> None:
    x = f(2, 6, 7, 8)
    arrays = [x] if op_type == "AveragePool" else [x, f(6, 6 // groups, 1, 1)]
    more: dict[str, Any] = {"kernel_shape": [1, 1]} if op_type == "AveragePool" else {"group": groups}
    model, feeds = single(op_type, arrays, [1], strides=[2, 3], **more)
    work, _ = check_against_runtime(model, feeds)
    (op,) = work
    assert op.inputs[0].values(op.dims) == x[:, :, ::2, ::3].size == 2 * 6 * 4 * 3
    assert op.inputs[0].stored_bytes(op.dims) == x.nbytes


# ---------------------------------------------------------------------------------------------------------------------
# Sizes that stand in data


def test_the_worst_case_of_a_selection_bounds_what_the_runtime_selects() -> None:
    cases: tuple[tuple[str, list[Any], dict[str, Any]], ...] = (
        ("NonZero", [f(2, 3) > 0], {}),
        ("Compress", [f(4, 3), np.array([True, False, True])], {"axis": 0}),
        ("Compress", [f(4, 3), np.array([True, False, True])], {}),
        ("Unique", [i(1, 2, 1)], {"outputs": 4}),
        ("Unique", [i(1, 2, 1, 2).reshape(2, 2)], {"axis": 0}),
    )
    for op_type, arrays, options in cases:
        model, feeds = single(op_type, arrays, **options)
        with pytest.raises(WorkloadError, match="worst_case"):
            load_onnx(model)
        bound = shapes_of(load_onnx(model, extra_ops={op_type: worst_case}, structure=False))["y0"]
        assert all(real <= most for real, most in zip(run(model, feeds)["y0"].shape, bound, strict=True))
    graph = Graph()
    model = graph.model(graph.node("Foo", graph.input("x", (2,))))
    with pytest.raises(WorkloadError, match="worst_case describes"):
        load_onnx(model, extra_ops={"Foo": worst_case})


def test_boxes_are_bounded_by_what_the_node_allows() -> None:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.random((1, 20, 2, 2)), axis=2).reshape(1, 20, 4).astype(np.float32)
    scores = rng.random((1, 3, 20)).astype(np.float32)
    model, feeds = single("NonMaxSuppression", [corners, scores, i(5)[0], np.float32(0.5)], [2, 3])
    assert run(model, feeds)["y0"].shape[0] <= shapes_of(load_onnx(model))["y0"][0] == 15
    model, _ = single("NonMaxSuppression", [corners, scores, i(5)[0]])
    with pytest.raises(WorkloadError, match="number of boxes per class"):
        load_onnx(model)


def test_an_identity_matrix_of_the_size_of_an_input_is_no_parameter() -> None:
    graph = Graph()
    x = graph.input("x", ("batch", 4))
    model = graph.model(graph.node("Add", x, graph.node("EyeLike", x)))
    work, _ = check_against_runtime(model, {"x": f(3, 4)}, batch=3)
    assert work.weight_count() == 0
    assert [op.op_type for op in work] == ["Add"]
    assert len(work.folded) == 1


@pytest.mark.parametrize("function", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_windows_and_filter_banks_are_made_before_run_time_and_are_no_parameters(function: str) -> None:
    """The features of speech models: frames, window, spectrum, bands."""
    graph = Graph()
    bank = graph.node(
        "MelWeightMatrix",
        *(graph.constant(v) for v in (i(8)[0], i(16)[0], i(16000)[0], np.float32(0), np.float32(8000))),
    )
    window = graph.node(function, graph.constant(i(16)[0]))
    spectrum = graph.node("STFT", graph.input("x", (1, 64, 1)), graph.constant(i(8)[0]), window)
    power = graph.node("ReduceSumSquare", spectrum, axes=[3], keepdims=0)
    work, truth = check_against_runtime(graph.model(graph.node("MatMul", power, bank)), {"x": f(1, 64, 1)})
    assert truth[bank].shape == (9, 8)
    assert work.macs() == 7 * 9 * 8
    assert work.weight_count() == 0
    assert len(work.folded) == 2


def test_a_relative_position_bias_is_looked_up_where_the_lengths_follow_from_the_sizes() -> None:
    graph = Graph(domains=[MICROSOFT])
    x = graph.input("x", (1, 4, "seq", "seq"))
    length = graph.node("Gather", graph.node("Shape", x), graph.constant([2], np.int64), axis=0)
    table = graph.constant(f(32, 4))
    bias = graph.node("RelativePositionBias", table, length, length, domain=MICROSOFT, max_distance=9)
    work = load_onnx(graph.model(graph.node("Add", x, bias)), seq=7)
    assert work.weight_count() == 32 * 4
    assert shapes_of(work)[bias] == (1, 4, 7, 7)


@pytest.mark.parametrize("element", ["int4", "uint4"])
@pytest.mark.parametrize(("axis", "block"), [(0, 16), (1, 4), (0, 0)])
def test_blocked_four_bit_weights_are_stored_at_four_bits_and_a_scale_per_block(
    element: str, axis: int, block: int
) -> None:
    dtype = np.dtype(getattr(ml_dtypes, element))
    k, n = 32, 8
    weight = u8(k, n).astype(np.int8).clip(0, 7).astype(dtype)
    scales = f(*((k // block, n) if axis == 0 else (k, n // block))) ** 2 if block else f(k) ** 2
    zeros = np.zeros(scales.shape, dtype)
    graph = Graph(opset=21)
    stored = [graph.constant(array) for array in (weight, scales, zeros)]
    more: dict[str, Any] = {"block_size": block} if block else {}
    floats = graph.node("DequantizeLinear", *stored, axis=axis, **more)
    model = graph.model(graph.node("MatMul", graph.input("x", (3, k)), floats))
    work, _ = check_against_runtime(model, {"x": f(3, k)})
    assert work.macs() == 3 * k * n
    assert work.weight_bytes() == k * n / 2 + scales.nbytes + scales.size / 2
    (tensor, _) = next(iter(work.weights().values()))
    assert (tensor.bits, FORMATS[int(tensor.format)].name) == (4, element)
    quantized = Graph(opset=21)
    scale, zero = quantized.constant(scales), quantized.constant(zeros)
    result = quantized.node("QuantizeLinear", quantized.input("x", (k, n)), scale, zero, axis=axis, **more)
    found = load_onnx(quantized.model(quantized.node("DequantizeLinear", result, scale, zero, axis=axis, **more)))
    assert [op.flops() for op in found] == [3 * k * n, 2 * k * n]
    assert found.operators[0].outputs[0].bytes(found.operators[0].dims) == k * n / 2
