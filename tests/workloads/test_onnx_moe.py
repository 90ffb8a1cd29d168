"""Mixtures of experts: the work of the chosen experts, the weights of the touched ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels.fusion import plan_steps
from tests.workloads.cases import MICROSOFT, f, u8
from tests.workloads.graphs import Graph, check_against_runtime, single
from workloads import FORMATS, Operator, Tensor, Workload
from workloads.compress import PruneNeurons, cost, quantizable
from workloads.onnx import load_onnx
from workloads.onnx.moe import touched_fraction

MS: dict[str, Any] = {"domain": MICROSOFT}
WIDTH, INNER, EXPERTS = 32, 16, 8


def weight(work: Workload, name: str) -> tuple[Tensor, Operator]:
    return next((t, op) for op in work if op.kind == "matmul" for t in op.inputs if t.name == name)


@settings(max_examples=25)
@given(
    batch=st.integers(1, 2), length=st.integers(1, 9), experts=st.integers(1, 6), data=st.data(),
    activation=st.sampled_from(["relu", "gelu", "silu", "swiglu", "identity"]), flat=st.booleans(),
)  # fmt: skip
def test_every_token_runs_through_its_experts_and_touches_what_uniform_routing_expects(
    batch: int, length: int, experts: int, data: st.DataObject, activation: str, flat: bool
) -> None:
    chosen = data.draw(st.integers(1, experts))
    gated = 2 if activation == "swiglu" else 1
    tokens = batch * length
    x = f(tokens, WIDTH) if flat else f(batch, length, WIDTH)
    arrays = [x, f(tokens, experts), f(experts, gated * INNER, WIDTH), f(experts, gated * INNER),
              f(experts, WIDTH, INNER), f(experts, WIDTH)]  # fmt: skip
    more: dict[str, Any] = {"swiglu_fusion": 1} if gated == 2 else {}
    model, feeds = single(
        "MoE", arrays, [2, 3, 4, 5], k=chosen, activation_type=activation, normalize_routing_weights=1, **more, **MS
    )
    work, _ = check_against_runtime(model, feeds)
    assert work.macs() == tokens * chosen * WIDTH * INNER * (gated + 1)
    expected = 1 - (1 - chosen / experts) ** tokens
    for index in (2, 3, 4, 5):
        tensor, op = weight(work, f"const_{index - 1}")
        assert tensor.touched == pytest.approx(expected)
        assert tensor.bytes(op.dims) == pytest.approx(expected * arrays[index].nbytes)
        assert tensor.stored_bytes(op.dims) == arrays[index].nbytes
    assert work.weight_count() == sum(array.size for array in arrays[2:])


@given(experts=st.integers(1, 64), tokens=st.integers(1, 500), data=st.data())
def test_the_touched_fraction_grows_with_tokens_from_that_of_one_to_all(
    experts: int, tokens: int, data: st.DataObject
) -> None:
    chosen = data.draw(st.integers(1, experts))
    fraction = touched_fraction(tokens, chosen, experts)
    assert touched_fraction(1, chosen, experts) == pytest.approx(chosen / experts)
    assert chosen / experts - 1e-12 <= fraction <= 1
    assert fraction <= touched_fraction(tokens + 1, chosen, experts)


def test_the_touched_fraction_is_the_mean_of_a_simulation() -> None:
    rng = np.random.default_rng(0)
    tokens, chosen, experts, trials = 7, 2, 8, 4000
    counts = [
        len({e for _ in range(tokens) for e in rng.choice(experts, chosen, replace=False)}) for _ in range(trials)
    ]
    error = np.std(counts) / experts / np.sqrt(trials)
    assert abs(np.mean(counts) / experts - touched_fraction(tokens, chosen, experts)) < 4 * error


def test_a_third_matrix_gates_the_first_and_the_older_layout_counts_the_same() -> None:
    tokens, arrays = 5, [f(5, WIDTH), f(5, EXPERTS)]
    shapes = [(EXPERTS, INNER, WIDTH), (EXPERTS, WIDTH, INNER), (EXPERTS, INNER, WIDTH)]
    for order in (shapes, [(e, k, n) for e, n, k in shapes]):
        first, second, third = (f(*shape) for shape in order)
        model, _ = single(
            "MoE", [*arrays, first, None, second, None, third], [2, 4, 6], k=2, activation_type="silu", **MS
        )
        work = load_onnx(model)
        assert work.macs() == 3 * tokens * 2 * WIDTH * INNER
        assert work.weight_count() == 3 * EXPERTS * WIDTH * INNER
        (activation,) = (op for op in work if op.kind == "activation")
        assert activation.flops() == tokens * 2 * INNER * 6


@pytest.mark.parametrize(("bits", "block"), [(4, 0), (8, 0), (4, 16)])
def test_quantized_experts_are_read_narrow_where_touched_and_unpacked_in_the_kernel(bits: int, block: int) -> None:
    tokens, chosen = 6, 2

    def experts(n: int, k: int) -> list[Any]:
        scales = f(EXPERTS, n, k // block) ** 2 if block else f(EXPERTS, n) ** 2
        return [u8(EXPERTS, n, k * bits // 8), scales, None]

    first, second = experts(2 * INNER, WIDTH), experts(WIDTH, INNER)
    arrays = [f(tokens, WIDTH), f(tokens, EXPERTS), *first, *second]
    options: dict[str, Any] = {"block_size": block} if block else {}
    model, feeds = single(
        "QMoE", arrays, [2, 3, 5, 6], k=chosen, activation_type="swiglu", swiglu_fusion=1, expert_weight_bits=bits,
        normalize_routing_weights=1, **options, **MS,
    )  # fmt: skip
    work, _ = check_against_runtime(model, feeds)
    assert work.macs() == tokens * chosen * 3 * WIDTH * INNER
    assert work.weight_count() == EXPERTS * 3 * WIDTH * INNER
    assert work.weight_bytes() == pytest.approx(sum(array.nbytes for array in (*first[:2], *second[:2])))
    expected = touched_fraction(tokens, chosen, EXPERTS)
    tensor, op = weight(work, "const_1")
    assert (FORMATS[int(tensor.format)].name, tensor.bits) == (f"int{bits}", bits)
    assert tensor.bytes(op.dims) == pytest.approx(expected * (first[0].nbytes + first[1].nbytes))
    unpacking = [op for op in work if op.kind == "convert"]
    assert sum(op.flops() for op in unpacking) == pytest.approx(2 * expected * EXPERTS * 3 * WIDTH * INNER)
    steps = plan_steps(work, ())
    assert [step.kind for step in steps] == ["operator", "fused", "fused"]  # route; up and activation; down and combine
    resident = set().union(*(step.resident for step in steps))
    assert {"const_1:dequantized", "const_3:dequantized"} <= resident


def test_given_mixing_weights_replace_the_softmax() -> None:
    tokens = 6
    arrays = [f(tokens, WIDTH), f(tokens, EXPERTS), u8(EXPERTS, INNER, WIDTH // 2), f(EXPERTS, INNER), None,
              u8(EXPERTS, WIDTH, INNER // 2), f(EXPERTS, WIDTH), *[None] * 7, f(tokens, EXPERTS)]  # fmt: skip
    model, _ = single("QMoE", arrays, [2, 3, 5, 6], k=2, activation_type="relu", **MS)
    work = load_onnx(model)
    route = next(op for op in work if op.name.endswith(":route"))
    assert route.flops() == tokens * EXPERTS
    assert [tensor.name for tensor in route.inputs] == ["x1", "x14"]


def test_the_experts_of_a_layer_are_one_feed_forward_block_and_their_neurons_stay() -> None:
    graph = Graph(domains=[MICROSOFT], opset=23)
    x = graph.input("x", (1, 5, WIDTH))
    for layer in range(2):
        q, k, v = (graph.node("MatMul", x, graph.constant(f(WIDTH, WIDTH))) for _ in range(3))
        y = graph.node("Attention", q, k, v, q_num_heads=4, kv_num_heads=4)
        x = graph.node("Add", x, graph.node("MatMul", y, graph.constant(f(WIDTH, WIDTH))))
        if layer == 0:  # a dense layer first, as in DeepSeek
            y = graph.node("Swish", graph.node("MatMul", x, graph.constant(f(WIDTH, INNER))))
            y = graph.node("MatMul", y, graph.constant(f(INNER, WIDTH)))
        else:
            router = graph.node("MatMul", x, graph.constant(f(WIDTH, EXPERTS)))
            router = graph.node("Reshape", router, graph.constant([-1, EXPERTS]))
            experts = [graph.constant(f(EXPERTS, 2 * INNER, WIDTH)), "", graph.constant(f(EXPERTS, WIDTH, INNER))]
            y = graph.node("MoE", x, router, *experts, domain=MICROSOFT, k=2, activation_type="swiglu", swiglu_fusion=1)
        x = graph.node("Add", x, y)
    model = graph.model(graph.node("MatMul", x, graph.constant(f(WIDTH, 9))))
    model.opset_import[0].version = 24
    work = load_onnx(model)
    ffn = {op.block: op.op_type for op in work if ".ffn." in op.block and op.kind == "matmul"}
    assert set(ffn) == {f"layer.{layer}.ffn.{role}" for layer in range(2) for role in ("up", "down")}
    assert {op.block for op in quantizable(work)} >= {"layer.0.ffn.up", "layer.0.ffn.down", "layer.1.attn.out"}
    assert not any(op.block.startswith("layer.1.ffn") for op in quantizable(work))
    pruned = cost(work, PruneNeurons(density=0.5))
    before, after = ({op.name: op.points() for op in w if op.kind == "matmul"} for w in (work, pruned))
    changed = {name for name in before if before[name] != after[name]}
    assert {work[name].block for name in changed} == {"layer.0.ffn.up", "layer.0.ffn.down"}
