"""Gemm with alpha, beta and transposes: the cost view and the real view quantize the same products, or neither does."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.workloads.cases import MICROSOFT, f
from tests.workloads.compress_models import Net, feeds, run, signatures
from tests.workloads.graphs import Graph
from workloads.compress import PruneHeads, PruneNeurons, Quantize, apply, cost, quantizable
from workloads.errors import TechniqueError
from workloads.onnx import load_onnx

TECHNIQUES = [
    Quantize(weight_bits=8, granularity="tensor"),
    Quantize(weight_bits=4),
    Quantize(weight_bits=8, granularity="group", group_size=16),
    Quantize(weight_bits=8, activation_bits=8),
    Quantize(weight_bits=8, granularity="group", group_size=16, activation_bits=8),
]


def scaled(alpha: float, beta: float, linear: Any = "gemm") -> onnx.ModelProto:
    model = Net(linear=linear).build()
    for node in model.graph.node:
        if node.op_type == "Gemm":
            node.attribute.extend([helper.make_attribute("alpha", alpha), helper.make_attribute("beta", beta)])
    return model


def written_out(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give the same model with alpha in its matrices and beta in its vectors."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    stored = {item.name: item for item in result.graph.initializer}
    for node in result.graph.node:
        if node.op_type != "Gemm":
            continue
        factors = {item.name: item.f for item in node.attribute if item.name in ("alpha", "beta")}
        for index, key in ((1, "alpha"), (2, "beta")):
            item = stored[node.input[index]]
            item.CopyFrom(numpy_helper.from_array(np.float32(factors[key]) * numpy_helper.to_array(item), item.name))
        kept = [item for item in node.attribute if item.name not in factors]
        del node.attribute[:]
        node.attribute.extend(kept)
    return result


@pytest.mark.parametrize("technique", TECHNIQUES, ids=lambda t: f"{t.granularity}-{t.weight_bits}-{t.activation_bits}")
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 1.0), (1.0, 2.0), (1.5, -0.5), (2.0, 0.0)])
def test_the_square_commutes_with_alpha_and_beta_and_they_are_in_what_is_quantized(
    technique: Quantize, alpha: float, beta: float
) -> None:
    model = scaled(alpha, beta, "gemm_trans" if alpha > 1 else "gemm")
    work = load_onnx(model, batch=3, seq=5)
    assert len(quantizable(work)) == 12
    applied = apply(model, technique)
    measured = load_onnx(applied, batch=3, seq=5)
    said = cost(work, technique)
    assert signatures(said) == signatures(measured)
    assert said.weight_bytes() == pytest.approx(measured.weight_bytes(), rel=1e-12)
    reference = apply(written_out(model), technique)
    truth, ours = run(reference, feeds(model), optimized=True), run(applied, feeds(model), optimized=True)
    np.testing.assert_allclose(ours, truth, rtol=1e-4, atol=1e-4)


def test_a_gemm_that_reads_its_activations_transposed_or_adds_a_matrix_is_left_alone_by_both_views() -> None:
    model = Net(linear="gemm").build()
    turned = {"l0.up": {"transA": 1}}
    for node in list(model.graph.node):
        if node.name in turned:
            position = list(model.graph.node).index(node)
            swap = helper.make_node(
                "Transpose", [node.input[0]], [f"{node.name}.turned"], f"{node.name}.turn", perm=[1, 0]
            )
            model.graph.node.insert(position, swap)
            node.input[0] = swap.output[0]
            node.attribute.append(helper.make_attribute("transA", 1))
    truth = run(model, feeds(model))
    work = load_onnx(model, batch=3, seq=5)
    blocks = {op.block for op in quantizable(work)}
    assert len(blocks) == 11
    assert "layer.0.ffn.up" not in blocks
    for technique in TECHNIQUES:
        applied = apply(model, technique)
        assert signatures(cost(work, technique)) == signatures(load_onnx(applied, batch=3, seq=5))
        assert any(node.op_type == "Gemm" and node.name == "l0.up" for node in applied.graph.node)
        assert np.isfinite(run(applied, feeds(model), optimized=True)).all()
    assert np.isfinite(truth).all()


def fused_encoder() -> onnx.ModelProto:
    graph = Graph(domains=[MICROSOFT])
    x = graph.input("x", (2, 5, 32))
    y = graph.node("Attention", x, graph.constant(f(32, 96)), graph.constant(f(96)), domain=MICROSOFT, num_heads=4)
    y = graph.node("MatMul", y, graph.constant(f(32, 32)))
    weights = [graph.constant(f(32)) for _ in range(3)]
    x = graph.node("SkipLayerNormalization", y, x, *weights, domain=MICROSOFT)
    y = graph.node(
        "BiasGelu", graph.node("MatMul", x, graph.constant(f(32, 64))), graph.constant(f(64)), domain=MICROSOFT
    )
    y = graph.node("MatMul", y, graph.constant(f(64, 32)))
    return graph.model(graph.node("SkipLayerNormalization", y, x, *weights, domain=MICROSOFT))


def test_what_is_inside_a_fused_operator_is_quantized_by_neither_view_and_the_rest_by_both() -> None:
    model = fused_encoder()
    work = load_onnx(model)
    assert [op.block for op in quantizable(work)] == ["layer.0.attn.out", "layer.0.ffn.up", "layer.0.ffn.down"]
    for technique in TECHNIQUES:
        measured = load_onnx(apply(model, technique))
        said = cost(work, technique)
        assert signatures(said) == signatures(measured)
        assert len(said.digest()) == 16  # its groups name operators that are there
        assert len(said.groups) == len(measured.groups) == 1


def test_heads_inside_a_fused_operator_are_refused_by_both_views_and_neurons_around_one_are_pruned_by_both() -> None:
    model = fused_encoder()
    work = load_onnx(model)
    for view in (lambda: cost(work, PruneHeads(density=0.5)), lambda: apply(model, PruneHeads(density=0.5))):
        with pytest.raises(TechniqueError, match="inside a fused operator"):
            view()
    technique = PruneNeurons(density=0.5)
    applied = apply(model, technique)
    assert signatures(cost(work, technique)) == signatures(load_onnx(applied))
    assert np.isfinite(run(applied, {"x": f(2, 5, 32)})).all()
