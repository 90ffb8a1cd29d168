"""Chains and blocks by topology: graphs by hand, and real exports whose names are replaced by random ones."""

from __future__ import annotations

import csv
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.workloads.graphs import Graph
from workloads import Operator, Workload
from workloads.onnx import load_onnx
from workloads.structure import annotate, find_attention, find_ffn

FIXTURES = Path(__file__).parent.parent / "fixtures"
ROWS = 4  # of the activations that the graphs by hand work on
WIDTH = 8


def scalar(graph: Graph, value: float) -> str:
    return graph.constant(value, np.float32)


def vector(graph: Graph, size: int = WIDTH) -> str:
    return graph.constant(np.ones(size), np.float32)


def layer_norm(graph: Graph, x: str, affine: int = 2, square: str = "Pow", mean_axes: tuple[int, ...] = (-1,)) -> str:
    """Write out Ba et al. 2016 as torch exports it before opset 17."""
    mean = graph.node("ReduceMean", x, axes=list(mean_axes))
    centred = graph.node("Sub", x, mean)
    squared = graph.node("Pow", centred, scalar(graph, 2)) if square == "Pow" else graph.node("Mul", centred, centred)
    variance = graph.node("ReduceMean", squared, axes=list(mean_axes))
    deviation = graph.node("Sqrt", graph.node("Add", variance, scalar(graph, 1e-5)))
    y = graph.node("Div", centred, deviation)
    y = graph.node("Mul", y, vector(graph)) if affine else y
    return str(graph.node("Add", y, vector(graph)) if affine == 2 else y)


def rms_norm(graph: Graph, x: str, inverse: str = "Reciprocal", scale: bool = True) -> str:
    squared = graph.node("Pow", x, scalar(graph, 2))
    root = graph.node("Sqrt", graph.node("Add", graph.node("ReduceMean", squared, axes=[-1]), scalar(graph, 1e-6)))
    y = graph.node("Div", x, root) if inverse == "Div" else graph.node("Mul", x, graph.node("Reciprocal", root))
    return str(graph.node("Mul", vector(graph), y) if scale else y)


def gelu_erf(graph: Graph, x: str, order: int = 0) -> str:
    erf = graph.node("Erf", graph.node("Div", x, scalar(graph, 2**0.5)))
    one = graph.node("Add", erf, scalar(graph, 1)) if order else graph.node("Add", scalar(graph, 1), erf)
    if order == 2:  # x/2 first, then the product
        return str(graph.node("Mul", graph.node("Mul", scalar(graph, 0.5), x), one))
    return str(graph.node("Mul", graph.node("Mul", x, one), scalar(graph, 0.5)))


def gelu_tanh(graph: Graph, x: str, cube: str = "Pow") -> str:
    half = graph.node("Mul", scalar(graph, 0.5), x)
    cubed = graph.node("Pow", x, scalar(graph, 3)) if cube == "Pow" else graph.node("Mul", graph.node("Mul", x, x), x)
    inner = graph.node("Add", x, graph.node("Mul", cubed, scalar(graph, 0.044715)))
    tanh = graph.node("Tanh", graph.node("Mul", inner, scalar(graph, 0.7978845)))
    return str(graph.node("Mul", half, graph.node("Add", tanh, scalar(graph, 1))))


def silu(graph: Graph, x: str) -> str:
    return str(graph.node("Mul", x, graph.node("Sigmoid", x)))


def quick_gelu(graph: Graph, x: str) -> str:
    return str(graph.node("Mul", x, graph.node("Sigmoid", graph.node("Mul", x, scalar(graph, 1.702)))))


def softmax(graph: Graph, x: str) -> str:
    shifted = graph.node("Exp", graph.node("Sub", x, graph.node("ReduceMax", x, axes=[-1])))
    return str(graph.node("Div", shifted, graph.node("ReduceSum", shifted, graph.constant([-1], np.int64))))


# The chain, what it is, and its FLOPs per value counted by hand from the formula: one per elementary operation.
CHAINS: dict[str, tuple[Any, str, str, float]] = {
    "LayerNorm": (layer_norm, "LayerNormalization", "norm", 7),
    "LayerNorm, square as product": (lambda g, x: layer_norm(g, x, square="Mul"), "LayerNormalization", "norm", 7),
    "LayerNorm without shift": (lambda g, x: layer_norm(g, x, affine=1), "LayerNormalization", "norm", 6),
    "LayerNorm without scale": (lambda g, x: layer_norm(g, x, affine=0), "LayerNormalization", "norm", 5),
    "RMSNorm, reciprocal": (rms_norm, "RMSNormalization", "norm", 4),
    "RMSNorm, division": (lambda g, x: rms_norm(g, x, "Div"), "RMSNormalization", "norm", 4),
    "RMSNorm without scale": (lambda g, x: rms_norm(g, x, scale=False), "RMSNormalization", "norm", 3),
    "GELU": (gelu_erf, "Gelu", "gelu", 5),
    "GELU, other operand first": (lambda g, x: gelu_erf(g, x, 1), "Gelu", "gelu", 5),
    "GELU, half first": (lambda g, x: gelu_erf(g, x, 2), "Gelu", "gelu", 5),
    "GELU tanh": (gelu_tanh, "FastGelu", "gelu", 8),
    "GELU tanh, cube as product": (lambda g, x: gelu_tanh(g, x, "Mul"), "FastGelu", "gelu", 9),
    "SiLU": (silu, "Swish", "activation", 5),
    "quick GELU": (quick_gelu, "QuickGelu", "gelu", 6),
    "softmax": (softmax, "Softmax", "softmax", 5),
}


def load(graph: Graph, *outputs: str, structure: bool = True) -> Workload:
    return load_onnx(graph.model(*outputs), structure=structure)


@pytest.mark.parametrize("name", CHAINS)
def test_a_decomposed_chain_becomes_one_operator_that_lists_its_nodes(name: str) -> None:
    chain, op_type, kind, flops = CHAINS[name]
    graph = Graph()
    y = chain(graph, graph.input("x", (ROWS, WIDTH)))
    nodes = {node.name for node in graph.nodes}
    (op,) = load(graph, y)
    assert (op.op_type, op.kind) == (op_type, kind)
    assert set(op.nodes) == nodes
    assert len(op.nodes) == len(nodes)
    assert op.flops() == flops * ROWS * WIDTH
    assert [tensor.name for tensor in op.outputs] == [y]
    weights = [tensor for tensor in op.inputs if tensor.role == "weight"]
    values = 2 * ROWS * WIDTH + len(weights) * WIDTH
    assert op.dram_bytes() == 4 * values  # read x once, write y once, and the vectors
    assert all(tensor.values(op.dims) == WIDTH for tensor in weights)


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_and_its_fused_operator_count_the_same_flops_up_to_one_value_per_row(name: str) -> None:
    chain = CHAINS[name][0]
    graph = Graph()
    y = chain(graph, graph.input("x", (ROWS, WIDTH)))
    parts, whole = load(graph, y, structure=False), load(graph, y)
    per_row = parts.flops() - whole.flops()  # epsilon, root, reciprocal: once a row, left out
    assert per_row in (0, 2 * ROWS, 3 * ROWS)
    assert (per_row > 0) == (CHAINS[name][2] == "norm")


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_whose_inside_is_read_outside_does_not_collapse(name: str) -> None:
    chain = CHAINS[name][0]
    graph = Graph()
    y = chain(graph, graph.input("x", (ROWS, WIDTH)))
    whole = {node.name for node in graph.nodes}
    inside = [node.output[0] for node in graph.nodes if node.output[0] != y]
    for tensor in inside:
        for output in ("graph output", "reader"):
            other = Graph()
            other.nodes, other.inputs, other.constants = list(graph.nodes), graph.inputs, graph.constants
            other.count = graph.count
            extra = tensor if output == "graph output" else other.node("Ceil", tensor)
            work = load(other, y, extra)
            assert all(set(op.nodes) != whole for op in work), tensor
            assert tensor in {item.name for op in work for item in op.outputs}, tensor


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_found_between_other_operators_and_whatever_the_names(name: str) -> None:
    chain, op_type, _, _ = CHAINS[name]
    graph = Graph()
    x = graph.node("Add", graph.input("x", (ROWS, WIDTH)), graph.input("r", (ROWS, WIDTH)))
    y = chain(graph, x)
    final = graph.node("Add", y, x)
    work = load_onnx(renamed(graph.model(final), 3))
    assert [op.op_type for op in work] == ["Add", op_type, "Add"]
    assert len(work.operators[2].nodes) == 1


@pytest.mark.parametrize("affine", [0, 1, 2])
def test_a_residual_addition_after_a_norm_is_not_swallowed(affine: int) -> None:
    graph = Graph()
    x = graph.input("x", (ROWS, WIDTH))
    work = load(graph, graph.node("Add", layer_norm(graph, x, affine=affine), x))
    assert [op.op_type for op in work] == ["LayerNormalization", "Add"]
    assert len(work.operators[0].nodes) == 7 + affine


def test_a_residual_from_elsewhere_is_not_taken_for_the_shift() -> None:
    graph = Graph()
    x, r = graph.input("x", (ROWS, WIDTH)), graph.input("r", (ROWS, WIDTH))
    work = load(graph, graph.node("Add", layer_norm(graph, x, affine=1), r))
    assert [op.op_type for op in work] == ["LayerNormalization", "Add"]


def test_a_sigmoid_that_gates_another_tensor_is_no_silu() -> None:
    graph = Graph()
    gate = graph.node("Sigmoid", graph.input("x", (ROWS, WIDTH)))
    by_input = load(graph, graph.node("Mul", gate, graph.input("z", (ROWS, WIDTH))))
    assert [op.op_type for op in by_input] == ["Sigmoid", "Mul"]
    graph = Graph()
    gate = graph.node("Sigmoid", graph.input("x", (ROWS, WIDTH)))
    by_weight = load(graph, graph.node("Mul", gate, vector(graph)))
    assert [op.op_type for op in by_weight] == ["Sigmoid", "Mul"]


def test_two_norms_of_one_tensor_are_two_operators() -> None:
    graph = Graph()
    x = graph.input("x", (ROWS, WIDTH))
    work = load(graph, graph.node("Max", layer_norm(graph, x), layer_norm(graph, x)))
    assert Counter(op.op_type for op in work) == {"LayerNormalization": 2, "Max": 1}


# ---------------------------------------------------------------------------------------------------------------------
# Blocks of transformers written by hand


def linear(graph: Graph, x: str, columns: int, rows: int = WIDTH, bias: bool = True) -> str:
    y = graph.node("MatMul", x, graph.constant(np.ones((rows, columns)), np.float32))
    return str(graph.node("Add", y, vector(graph, columns)) if bias else y)


def heads(graph: Graph, x: str, order: tuple[int, ...]) -> str:
    return str(graph.node("Transpose", graph.node("Reshape", x, graph.constant([0, 0, 2, -1], np.int64)), perm=order))


def attention(graph: Graph, x: str, fused: bool, decomposed: bool) -> str:
    if fused:
        q, k, v = graph.node("Split", linear(graph, x, 3 * WIDTH), axis=2, outputs=3)
    else:
        q, k, v = (linear(graph, x, WIDTH) for _ in range(3))
    q, k, v = heads(graph, q, (0, 2, 1, 3)), heads(graph, k, (0, 2, 3, 1)), heads(graph, v, (0, 2, 1, 3))
    scores = graph.node("Mul", graph.node("MatMul", q, k), scalar(graph, 0.5))
    probabilities = softmax(graph, scores) if decomposed else graph.node("Softmax", scores, axis=-1)
    context = graph.node("Transpose", graph.node("MatMul", probabilities, v), perm=[0, 2, 1, 3])
    return linear(graph, str(graph.node("Reshape", context, graph.constant([0, 0, -1], np.int64))), WIDTH)


def swiglu(graph: Graph, x: str, gate_first: bool) -> str:
    if gate_first:
        gate, up = linear(graph, x, 24, bias=False), linear(graph, x, 24, bias=False)
    else:
        up, gate = linear(graph, x, 24, bias=False), linear(graph, x, 24, bias=False)
    return linear(graph, str(graph.node("Mul", silu(graph, gate), up)), WIDTH, 24, bias=False)


def feed_forward(graph: Graph, x: str, activation: str) -> str:
    if activation.startswith("swiglu"):
        return swiglu(graph, x, activation == "swiglu gate first")
    up = linear(graph, x, 32)
    if activation == "relu":
        return linear(graph, str(graph.node("Relu", up)), WIDTH, 32)
    return linear(graph, gelu_erf(graph, up) if activation == "gelu" else gelu_tanh(graph, up), WIDTH, 32)


def encoder(
    layers: int, *, pre: bool = False, fused: bool = False, decomposed: bool = False, activation: str = "gelu",
    norm: Any = layer_norm,
) -> onnx.ModelProto:  # fmt: skip
    graph = Graph()
    ids = graph.input("ids", ("batch", "seq"), onnx.TensorProto.INT64)
    x = graph.node("Gather", graph.constant(np.ones((50, WIDTH)), np.float32), ids)
    for _ in range(layers):
        if pre:
            x = graph.node("Add", x, attention(graph, norm(graph, x), fused, decomposed))
            x = graph.node("Add", x, feed_forward(graph, norm(graph, x), activation))
        else:
            x = norm(graph, graph.node("Add", attention(graph, x, fused, decomposed), x))
            x = norm(graph, graph.node("Add", feed_forward(graph, x, activation), x))
    return graph.model(linear(graph, x, 50, bias=False))


def products(work: Workload) -> Counter[str]:
    """Count the blocks of products, softmaxes and activations (Clip is the division guard of a pooling)."""
    kinds = ("matmul", "conv", "softmax", "gelu", "activation")
    return Counter(op.block for op in work if op.kind in kinds and op.op_type != "Clip")


def expected_blocks(layers: int, fused: bool, gated: bool = False, **outside: int) -> Counter[str]:
    roles = ["attn.qkv"] if fused else ["attn.q", "attn.k", "attn.v"]
    roles += ["attn.scores", "attn.softmax", "attn.context", "attn.out", "ffn.up", "ffn.activation", "ffn.down"]
    roles += ["ffn.gate"] if gated else []
    return Counter({f"layer.{layer}.{role}": 1 for layer in range(layers) for role in roles} | outside)


@pytest.mark.parametrize("activation", ["gelu", "tanh", "relu"])
@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("pre", [False, True])
def test_an_encoder_by_hand_has_each_role_once_per_layer(
    pre: bool, fused: bool, decomposed: bool, activation: str
) -> None:
    model = encoder(3, pre=pre, fused=fused, decomposed=decomposed, activation=activation)
    work = load_onnx(model, batch=2, seq=5)
    assert products(work) == expected_blocks(3, fused, head=1)
    for layer in range(3):
        size = {op.block: dict(op.dims) for op in work if op.kind == "matmul"}
        assert size[f"layer.{layer}.ffn.up"]["n"] == 32
        assert size[f"layer.{layer}.ffn.down"]["k"] == 32
        assert size[f"layer.{layer}.attn.scores"]["k"] == size[f"layer.{layer}.attn.context"]["n"] == WIDTH // 2
    assert [found.heads for found in find_attention(work)] == [2, 2, 2]


@pytest.mark.parametrize("activation", ["swiglu", "swiglu gate first"])
@pytest.mark.parametrize("norm", [layer_norm, rms_norm])
def test_a_gated_block_has_an_up_a_gate_and_a_down(activation: str, norm: Any) -> None:
    work = load_onnx(encoder(2, pre=True, activation=activation, norm=norm), batch=1, seq=4)
    assert products(work) == expected_blocks(2, False, gated=True, head=1)
    for found in find_ffn(work):
        assert len(found.up) == 2
        assert work[found.activation].op_type == "Swish"


def test_the_norms_of_a_layer_belong_to_it_and_those_before_the_first_to_the_embedding() -> None:
    blocks = Counter(op.block for op in load_onnx(encoder(2), batch=1, seq=4) if op.kind == "norm")
    assert blocks == {f"layer.{layer}.{part}.norm": 1 for layer in range(2) for part in ("attn", "ffn")}


def test_every_operator_has_a_block() -> None:
    for pre in (False, True):
        assert all(op.block for op in load_onnx(encoder(2, pre=pre), batch=1, seq=4))


# ---------------------------------------------------------------------------------------------------------------------
# Real exports


def rows() -> list[dict[str, str]]:
    with (FIXTURES / "expected_macs.csv").open(encoding="utf-8", newline="") as file:
        found = {row["model"]: row for row in csv.DictReader(file)}
    return list(found.values())


# Of the architecture: number of layers, whether one product makes q, k and v, and what stands outside the layers.
ARCHITECTURES: dict[str, tuple[int, bool, dict[str, Any]]] = {
    "minilm_l6_dynamo": (6, False, {}),
    "minilm_l3": (3, False, {}),
    "minilm_l6_int8": (6, False, {}),
    "bert_base_dynamo": (12, False, {}),
    "bert_base_legacy_static": (12, False, {}),
    "gpt2_dynamo": (12, True, {"head": 1}),
    "gpt2_legacy": (12, True, {"head": 1}),
    "distilgpt2_kv_dynamo": (6, True, {"head": 1}),
    "vit_b16_dynamo": (12, False, {"embed.patch": 1, "head": 1}),
    "vit_b16_legacy": (12, False, {"embed.patch": 1, "head": 1}),
    "bert_tiny_legacy_dynamic": (2, False, {}),
    "gpt2_tiny_legacy_dynamic": (2, True, {"head": 1}),
}


def sizes_of(row: dict[str, str]) -> dict[str, Any]:
    return {name: int(size) for name, size in (item.split("=") for item in row["bindings"].split(";") if item)}


def renamed(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """Give every node and every inner tensor a random name, as an obfuscator would."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    rng, fresh = random.Random(seed), {"": ""}
    kept = {item.name for item in (*model.graph.input, *model.graph.output)}

    def new(name: str) -> str:
        return name if name in kept else fresh.setdefault(name, f"{rng.getrandbits(48):x}")

    for tensor in model.graph.initializer:
        tensor.name = new(tensor.name)
    for node in model.graph.node:
        node.name = f"{rng.getrandbits(48):x}"
        node.input[:] = [new(name) for name in node.input]
        node.output[:] = [new(name) for name in node.output]
    return model


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["model"])
def test_a_real_export_has_its_layers_and_each_role_once_per_layer(row: dict[str, str]) -> None:
    layers, fused, outside = ARCHITECTURES[row["model"]]
    work = load_onnx(FIXTURES / f"{row['model']}.onnx", missing_weights="allow", **sizes_of(row))
    assert products(work) == expected_blocks(layers, fused, **outside)
    assert Counter(op.kind for op in work)["norm"] in (
        2 * layers,
        2 * layers + 1,
    )  # one after the embedding, or at the end


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["model"])
def test_random_names_change_nothing(row: dict[str, str]) -> None:
    model = onnx.load(str(FIXTURES / f"{row['model']}.onnx"), load_external_data=False)
    options: dict[str, Any] = {"missing_weights": "allow", **sizes_of(row)}
    before, after = load_onnx(model, **options), load_onnx(renamed(model, 7), **options)
    assert [op.block for op in before] == [op.block for op in after]
    assert before.digest() == after.digest()


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["model"])
def test_collapsing_keeps_macs_and_edges_and_flops_up_to_the_scalars_of_the_norms(row: dict[str, str]) -> None:
    path = FIXTURES / f"{row['model']}.onnx"
    options: dict[str, Any] = {"missing_weights": "allow", **sizes_of(row)}
    plain, work = load_onnx(path, structure=False, **options), load_onnx(path, **options)
    assert work.macs() == plain.macs()
    assert 0 <= plain.flops() - work.flops() <= 1e-4 * plain.flops()
    assert work.weight_count() == plain.weight_count() or work.weight_count() < plain.weight_count()
    written = set(work.inputs)
    everything = {tensor.name for op in work for tensor in op.outputs}
    for op in work:
        assert not [t.name for t in op.inputs if t.name in everything and t.name not in written]
        written |= {tensor.name for tensor in op.outputs}
    assert annotate(work).digest() == work.digest()


def shuffled(work: Workload, seed: int) -> Workload:
    """Give another order in which everything is still written before it is read."""
    rng = random.Random(seed)
    writers = {tensor.name: op.name for op in work for tensor in op.outputs}
    waiting = {op.name: {writers[t.name] for t in op.inputs if t.name in writers} for op in work}
    order: list[Operator] = []
    while waiting:
        ready = [name for name, needs in waiting.items() if not needs]
        name = rng.choice(ready)
        del waiting[name]
        for needs in waiting.values():
            needs.discard(name)
        order.append(work[name])
    return replace(work, operators=tuple(order))


@pytest.mark.parametrize("seed", range(3))
def test_another_topological_order_gives_the_same_blocks(seed: int) -> None:
    for model in (encoder(2), encoder(2, pre=True, fused=True, activation="swiglu")):
        plain = load_onnx(model, batch=1, seq=4, structure=False)
        expected = {op.outputs[0].name: op.block for op in annotate(plain) if op.kind == "matmul"}
        found = {op.outputs[0].name: op.block for op in annotate(shuffled(plain, seed)) if op.kind == "matmul"}
        assert found == expected
