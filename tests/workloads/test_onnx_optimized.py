"""Whole graphs as ONNX Runtime's optimizers rewrite them: the same products, parameters and blocks as before."""

from __future__ import annotations

import logging
import math
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from tests.workloads.cases import MICROSOFT
from workloads import Workload, WorkloadError
from workloads.onnx import load_onnx
from workloads.structure import find_attention, find_ffn
from workloads.zoo import embedded_model

FIXTURES = Path(__file__).parent.parent / "fixtures"


def with_weights(name: str) -> onnx.ModelProto:
    """Read a fixture and fill its missing weights: the optimizer folds and joins them."""
    model = onnx.load(str(FIXTURES / f"{name}.onnx"), load_external_data=False)
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            values = rng.standard_normal(tuple(tensor.dims)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def optimized(model: onnx.ModelProto, heads: int, width: int) -> onnx.ModelProto:
    """Fuse a transformer with the optimizer that ONNX Runtime ships."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnxruntime.transformers import optimizer

        logging.disable(logging.CRITICAL)
        try:
            fused: Any = optimizer.optimize_model(model, "bert", num_heads=heads, hidden_size=width, opt_level=0)
        finally:
            logging.disable(logging.NOTSET)
    result: onnx.ModelProto = fused.model
    return result


def parameters(work: Workload) -> int:
    """Count stored values, but for the scalars of decomposed chains."""
    shapes = [tensor.shape(op.dims) for tensor, op in work.weights().values()]
    return sum(math.prod(map(int, shape)) for shape in shapes if shape)


@pytest.mark.parametrize(
    ("name", "layers", "heads", "width"), [("bert_tiny_legacy_dynamic", 2, 2, 128), ("minilm_l3", 3, 12, 384)]
)
def test_a_fused_encoder_has_the_products_parameters_and_blocks_of_the_graph_as_exported(
    name: str, layers: int, heads: int, width: int
) -> None:
    model = with_weights(name)
    before = load_onnx(model, batch=2, seq=16)
    fused = optimized(model, heads, width)
    kinds = Counter(node.op_type for node in fused.graph.node if node.domain == MICROSOFT)
    assert kinds == {"Attention": layers, "SkipLayerNormalization": 2 * layers, "BiasGelu": layers,
                     "EmbedLayerNormalization": 1}  # fmt: skip
    after = load_onnx(fused, batch=2, seq=16)
    assert after.macs() == before.macs()
    assert parameters(after) == parameters(before)
    assert len(after) < len(before) / 2
    assert [found.heads for found in find_attention(after)] == [heads] * layers
    assert len(find_ffn(after)) == layers
    products = {op.block for op in before if op.kind == "matmul"} - {op.block for op in after if op.kind == "matmul"}
    assert products <= {f"layer.{layer}.attn.{role}" for layer in range(layers) for role in "qkv"}  # they are one now
    added = 2 * 16 * 3 * width * layers  # biases of the projections are inside the fused operator, like Gemm's
    assert 0 <= float(before.flops() - after.flops()) - added < 0.001 * float(before.flops())


@pytest.mark.parametrize("level", ["ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED"])
def test_a_session_that_saves_its_optimized_graph_saves_the_same_work(level: str, tmp_path: Path) -> None:
    before = load_onnx(embedded_model("vit-mnist"), batch=2)
    after = load_onnx(saved(level, tmp_path), batch=2)
    assert after.macs() == before.macs()
    assert parameters(after) == parameters(before)
    assert abs(float(after.flops() - before.flops())) < 0.001 * float(before.flops())  # a scale moves into FusedMatMul
    assert {op.block for op in after if op.kind == "matmul"} == {op.block for op in before if op.kind == "matmul"}


def test_layouts_of_one_processor_are_refused_with_the_way_out(tmp_path: Path) -> None:
    path = saved("ORT_ENABLE_ALL", tmp_path)
    if not any(node.domain == "com.microsoft.nchwc" for node in onnx.load(str(path)).graph.node):
        pytest.skip("ONNX Runtime has no such layout for this processor")
    with pytest.raises(WorkloadError, match="ORT_ENABLE_EXTENDED"):
        load_onnx(path, batch=2)


def saved(level: str, folder: Path) -> Path:
    """Let a session of ONNX Runtime save the embedded model as it optimized it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(embedded_model("vit-mnist")), options, providers=["CPUExecutionProvider"])
    return folder / "optimized.onnx"
