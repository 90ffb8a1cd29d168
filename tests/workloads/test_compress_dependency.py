"""What a pruned dim reaches: labels of every index, and refusals where units cannot be cut out."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.workloads.compress_models import HEAD_DIM, HEADS, NETS, NEURONS, Net
from workloads import Workload
from workloads.compress import PruneHeads, cost
from workloads.compress.dependency import Group, private_names, trace_group
from workloads.errors import TechniqueError
from workloads.onnx import load_onnx

HEAD_LABELS = np.repeat(np.arange(HEADS), HEAD_DIM)


def heads_of(work: Workload, layer: int = 0) -> Group:
    scores = next(op for op in work if op.block == f"layer.{layer}.attn.scores" and op.kind == "matmul")
    return trace_group(work, scores.name, "b1")


def load(**options: Any) -> Workload:
    return load_onnx(Net(**options).build(), batch=2, seq=5)


def slices(group: Group) -> dict[tuple[str, int], list[int]]:
    return {(weight, position): labels.tolist() for (_, weight, position), labels in group.reads.items()}


def test_heads_reach_columns_of_query_key_and_value_and_rows_of_the_output() -> None:
    labels = HEAD_LABELS.tolist()
    wanted = {(f"l0.{role}.weight", 1): labels for role in "qkv"} | {("l0.out.weight", 0): labels}
    wanted |= {(f"l0.{role}.bias", 0): labels for role in "qkv"}
    assert slices(heads_of(load())) == wanted


def test_heads_of_a_fused_matrix_are_labelled_three_times_over() -> None:
    group = heads_of(load(linear="gemm", fused=True))
    assert slices(group)["l0.qkv.weight", 1] == np.tile(HEAD_LABELS, 3).tolist()
    assert group.units == HEADS


def test_neurons_reach_up_gate_and_down() -> None:
    work = load(linear="gemm_trans", gated=True)
    group = trace_group(work, "l0.up", "n")
    plain = list(range(NEURONS))
    found = slices(group)
    assert {key: found[key] for key in found if key[0].endswith("weight")} == {
        ("l0.up.weight", 0): plain, ("l0.gate.weight", 0): plain, ("l0.down.weight", 1): plain,
    }  # fmt: skip


@pytest.mark.parametrize("name", list(NETS))
def test_layers_do_not_reach_each_other(name: str) -> None:
    work = load(**NETS[name])
    first, second = heads_of(work, 0), heads_of(work, 1)
    assert not {operator for operator, _ in first.dims} & {operator for operator, _ in second.dims}


def test_a_shared_weight_gets_a_name_for_every_way_of_slicing_it() -> None:
    work = load(shared_bias=True)
    groups = {f"layer.{i}.attn": heads_of(work, i) for i in range(2)}
    names = private_names(work, groups)
    assert {weight for _, weight in names} == {"zero.24"}
    assert len(set(names.values())) == 2  # one for each layer: their heads differ
    assert sum(name == names["l0.q.biased", "zero.24"] for name in names.values()) == 3


def test_a_dim_that_reaches_the_models_output_is_refused() -> None:
    work = load(layers=1)
    with pytest.raises(TechniqueError, match=r"its n reaches axis 2 of 'l0\.sum2', an input or output of the model"):
        trace_group(work, "l0.down", "n")


def test_heads_that_are_flattened_into_the_batch_are_refused() -> None:
    work = load_onnx(_flattened_attention(), batch=2, seq=5)
    with pytest.raises(TechniqueError, match=r"the batch is flattened into them"):
        cost(work, PruneHeads(density=0.5))


def _flattened_attention() -> onnx.ModelProto:
    """Attention as torch.bmm writes it: [batch x heads, queries, keys]."""
    net = Net(layers=1)
    net.rng, net.float = np.random.default_rng(0), np.float32
    x = net.node("Relu", ["x"], "x0")
    rows = net.store("rows", np.array([-1, 5, HEAD_DIM]))
    q, k, v = (net.node("Reshape", [net.matrix(x, f"l0.{r}", 24, 24), rows], f"{r}3") for r in "qkv")
    scores = net.node("MatMul", [q, net.node("Transpose", [k], "kt", perm=[0, 2, 1])], "scores")
    context = net.node("MatMul", [net.node("Softmax", [scores], "probabilities"), v], "context")
    flat = net.node("Reshape", [context, net.store("flat", np.array([-1, 5, 24]))], "flat3")
    out = net.matrix(flat, "l0.out", 24, 24)
    stored = [onnx.numpy_helper.from_array(array, name) for name, array in net.stored.items()]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 5, 24])
    result = helper.make_tensor_value_info(out, TensorProto.FLOAT, ["batch", 5, 24])
    graph = helper.make_graph(net.nodes, "flattened", [given], [result], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def test_units_that_a_slice_cuts_across_are_refused() -> None:
    net = Net(layers=1)
    net.rng, net.float = np.random.default_rng(0), np.float32
    x = net.node("Relu", ["x"], "x0")
    up = net.matrix(x, "up", 24, NEURONS)
    half = net.node("Slice", [up, *(net.store(n, np.array([v])) for n, v in (("s", 0), ("e", 20), ("a", 2)))], "half")
    down = net.matrix(half, "down", 20, 24)
    stored = [onnx.numpy_helper.from_array(array, name) for name, array in net.stored.items()]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 5, 24])
    result = helper.make_tensor_value_info(down, TensorProto.FLOAT, [2, 5, 24])
    model = helper.make_model(
        helper.make_graph(net.nodes, "sliced", [given], [result], stored),
        opset_imports=[helper.make_opsetid("", 18)],
    )
    with pytest.raises(TechniqueError, match=r"half \(Slice\): axis 2 of 'up\.biased'"):
        trace_group(load_onnx(model), "up", "n")
