"""Workloads as graphs: what the digest sees, the networkx view, weights once, programs as expectations."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from tests.workloads.graphs import Graph
from workloads import Operator, Program, Tensor, Workload, WorkloadError
from workloads.onnx import load_onnx

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture(scope="module")
def bert() -> Workload:
    return load_onnx(FIXTURES / "bert_tiny_legacy_dynamic.onnx", missing_weights="allow", batch=2, seq=16)


def renamed(work: Workload, seed: int = 0) -> Workload:
    """Give every operator and tensor a random name."""
    rng = random.Random(seed)
    fresh: dict[str, str] = {}

    def new(name: str) -> str:
        return fresh.setdefault(name, f"{rng.getrandbits(64):x}")

    def tensors(items: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(replace(item, name=new(item.name)) for item in items)

    return replace(
        work,
        name="renamed",
        operators=tuple(
            replace(op, name=new(op.name + "/op"), inputs=tensors(op.inputs), outputs=tensors(op.outputs))
            for op in work
        ),
        inputs=tuple(map(new, work.inputs)),
        outputs=tuple(map(new, work.outputs)),
        groups=tuple(tuple(new(name + "/op") for name in group) for group in work.groups),
    )


def with_operator(work: Workload, position: int, **change: Any) -> Workload:
    operators = list(work.operators)
    operators[position] = replace(operators[position], **change)
    return replace(work, operators=tuple(operators))


def test_the_digest_does_not_depend_on_names(bert: Workload) -> None:
    grouped = replace(bert, groups=((bert.operators[3].name, bert.operators[4].name),))
    assert renamed(bert).digest() == bert.digest()
    assert renamed(grouped).digest() == grouped.digest() != bert.digest()


@pytest.mark.parametrize("position", [10, 25, -1])  # an outside input may be any name
def test_the_digest_sees_every_dim_width_and_edge(bert: Workload, position: int) -> None:
    op = bert.operators[position]
    first = op.inputs[0]
    dim = next(iter(op.dims))
    changed = {
        "dim": with_operator(bert, position, dims={**op.dims, dim: op.dims[dim] + 1}),
        "bits": with_operator(bert, position, inputs=(replace(first, bits=first.bits / 2), *op.inputs[1:])),
        "edge": with_operator(bert, position, inputs=(replace(first, name="from elsewhere"), *op.inputs[1:])),
        "operator": replace(bert, operators=bert.operators[:position] + bert.operators[position:][1:]),
    }
    assert len({bert.digest(), *(work.digest() for work in changed.values())}) == 1 + len(changed)


def test_the_digest_sees_the_sizes_of_the_symbolic_dims(bert: Workload) -> None:
    path = FIXTURES / "bert_tiny_legacy_dynamic.onnx"
    again = load_onnx(path, missing_weights="allow", batch=2, seq=16)
    longer = load_onnx(path, missing_weights="allow", batch=2, seq=17)
    assert again.digest() == bert.digest() != longer.digest()


def test_the_networkx_view_is_an_acyclic_graph_with_one_edge_per_tensor_and_reader(bert: Workload) -> None:
    graph = bert.to_networkx()
    assert nx.is_directed_acyclic_graph(graph)
    assert list(graph.nodes) == [op.name for op in bert]
    writers = {tensor.name: op.name for op in bert for tensor in op.outputs}
    expected = {
        (writers[tensor.name], op.name, tensor.name) for op in bert for tensor in op.inputs if tensor.name in writers
    }
    assert {(a, b, data["tensor"]) for a, b, data in graph.edges(data=True)} == expected
    assert graph.number_of_edges() == len(expected)
    assert all(data["operator"] is bert[name] for name, data in graph.nodes(data=True))


def test_two_tensors_between_the_same_operators_are_two_edges() -> None:
    graph = Graph()
    parts = graph.node("Split", graph.input("x", (2, 6)), outputs=2, axis=1)
    work = load_onnx(graph.model(graph.node("Mul", *parts)))
    assert work.to_networkx().number_of_edges() == 2


def test_operators_stand_in_an_order_in_which_everything_is_written_before_it_is_read(bert: Workload) -> None:
    written = set(bert.inputs)
    later = {tensor.name for op in bert for tensor in op.outputs}
    for op in bert:
        assert not [t.name for t in op.inputs if t.role != "weight" and t.name in later and t.name not in written]
        written |= {tensor.name for tensor in op.outputs}
    assert set(bert.outputs) <= written


def test_a_shared_weight_is_counted_once() -> None:
    graph = Graph()
    weight = graph.constant([[1.0] * 4] * 4, "float32")
    hidden = graph.node("MatMul", graph.input("x", (3, 4)), weight)
    work = load_onnx(graph.model(graph.node("MatMul", hidden, weight)))
    assert (work.weight_count(), work.weight_bytes()) == (16, 64)
    assert list(work.weights()) == [weight]


def test_an_operator_is_found_by_name_and_a_missing_one_is_named(bert: Workload) -> None:
    assert bert[bert.operators[5].name] is bert.operators[5]
    with pytest.raises(WorkloadError, match="has no operator 'nothing'"):
        bert["nothing"]


def test_counts_multiply_flops_and_macs(bert: Workload) -> None:
    twice = replace(bert, operators=tuple(replace(op, count=2) for op in bert))
    assert twice.flops() == 2 * bert.flops()
    assert twice.macs() == 2 * bert.macs()


def test_a_program_is_the_weighted_sum_of_its_parts(bert: Workload) -> None:
    empty = Workload(name="empty", operators=())
    assert Program(name="p", parts=((3.0, bert), (0.5, bert), (7.0, empty))).flops() == 3.5 * bert.flops()


def test_operators_cannot_be_changed_in_place(bert: Workload) -> None:
    op: Operator = bert.operators[0]
    with pytest.raises(AttributeError):
        op.kind = "conv"  # type: ignore[misc]
