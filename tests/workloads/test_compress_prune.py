"""Structured pruning: the smaller model computes what the masked model computes, and refusals name their cause."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from tests.workloads.compress_models import HEAD_DIM, HEADS, NETS, NEURONS, Net, feeds, run, tensors
from workloads.compress import PerLayer, PrunedUnits, PruneHeads, PruneNeurons, Quantize, apply, cost, from_dict
from workloads.compress.prune import kept_units
from workloads.errors import TechniqueError
from workloads.onnx import load_onnx
from workloads.zoo import embedded_model


def masked(proto: onnx.ModelProto, layer: int, heads: Any, neurons: Any) -> onnx.ModelProto:
    """Zero what removed heads and neurons add to the stream: the rows of the output and down matrices."""
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    trans = {n.name for n in proto.graph.node if any(a.name == "transB" and a.i for a in n.attribute)}
    behind = {node.input[0] for node in proto.graph.node if node.op_type == "Transpose"}
    for stored in result.graph.initializer:
        for role, kept in (("out", np.repeat(np.isin(range(HEADS), heads), HEAD_DIM)),
                           ("down", np.isin(range(NEURONS), neurons))):  # fmt: skip
            if stored.name == f"l{layer}.{role}.weight":
                array = numpy_helper.to_array(stored)
                flipped = f"l{layer}.{role}" in trans or stored.name in behind
                stored.CopyFrom(numpy_helper.from_array(array * (kept if flipped else kept[:, None]), stored.name))
    return result


@pytest.mark.parametrize("name", list(NETS))
def test_the_smaller_model_equals_the_masked_model(name: str) -> None:
    proto = Net(**NETS[name]).build()
    heads, neurons = (1, 3), tuple(range(0, NEURONS, 3))
    wanted = masked(masked(proto, 0, heads, range(NEURONS)), 1, (2,), neurons)
    small = apply(
        proto,
        PrunedUnits(technique="PruneHeads", kept={"layer.0.attn": heads, "layer.1.attn": (2,)}),
        PrunedUnits(technique="PruneNeurons", kept={"layer.1.ffn": neurons}),
    )
    tolerance = 2e-2 if name == "fp16" else 1e-4
    inputs = feeds(proto)
    for optimized in (False, True):
        np.testing.assert_allclose(run(small, inputs, optimized=optimized), run(wanted, inputs), atol=tolerance)
    assert np.abs(run(proto, inputs) - run(wanted, inputs)).max() > 0.05  # masking is not invisible


def test_the_smaller_model_takes_any_batch_and_length() -> None:
    proto = Net(linear="gemm", fused=True).build()
    small = apply(proto, PruneHeads(density=0.5))
    for batch, seq in ((1, 1), (4, 7)):
        assert run(small, feeds(proto, batch, seq)).shape[:2] == (batch, seq)


def test_the_units_with_the_smallest_weights_go() -> None:
    proto = Net(layers=1).build()
    for stored in proto.graph.initializer:
        if stored.name in ("l0.up.weight", "l0.q.weight"):
            array = numpy_helper.to_array(stored).copy()
            array[:, : array.shape[1] // 2] *= 100  # the first half of the neurons, and of the heads
            stored.CopyFrom(numpy_helper.from_array(array, stored.name))
    assert PruneNeurons(density=0.5).fit(proto).kept["layer.0.ffn"] == tuple(range(NEURONS // 2))
    assert PruneHeads(density=0.5).fit(proto).kept["layer.0.attn"] == (0, 1)


def test_what_is_left_of_a_parameter_keeps_its_name() -> None:
    stored = tensors(apply(Net(layers=1).build(), PruneHeads(density=0.5), PruneNeurons(density=0.5)))
    assert stored["l0.q.weight"].shape == (24, 12)
    assert stored["l0.out.weight"].shape == (12, 24)
    assert stored["l0.down.weight"].shape == (20, 24)


def test_a_zero_bias_that_a_norm_shares_is_not_cut_for_the_norm() -> None:
    stored = tensors(apply(Net(layers=1, shared_bias=True).build(), PruneHeads(density=0.5)))
    sizes = sorted(array.size for name, array in stored.items() if name.startswith("zero.24"))
    assert sizes == [12, 24]  # one for queries, keys and values, one for the norm and the output


@given(st.floats(0.001, 1.0), st.integers(1, 64))
def test_at_least_one_unit_stays_and_at_most_all(density: float, units: int) -> None:
    kept = kept_units(density, units)
    assert isinstance(kept, int)
    assert 1 <= kept <= units
    assert abs(kept - density * units) <= max(0.5, 1 - density * units)
    np.testing.assert_array_equal(kept_units(np.array([density, 1.0]), units), [kept, units])


@pytest.mark.parametrize("density", [0.0, -0.5, 1.01, np.nan])
def test_impossible_densities_are_refused_with_the_block(density: float) -> None:
    proto = Net(layers=1).build()
    work = load_onnx(proto, batch=1, seq=4)
    with pytest.raises(TechniqueError, match=r"density of layer\.0\.attn is above 0 and at most 1, not"):
        cost(work, PruneHeads(density=density))
    with pytest.raises(TechniqueError, match=r"density of layer\.0\.ffn is above 0"):
        apply(proto, PruneNeurons(density=density))
    with pytest.raises(TechniqueError, match=r"density of layer\.0\.ffn is above 0"):
        cost(work, PruneNeurons(density=np.array([0.5, density])))


def test_unknown_blocks_are_refused_by_name() -> None:
    proto = Net(layers=1).build()
    work = load_onnx(proto, batch=1, seq=4)
    with pytest.raises(TechniqueError, match=r"PruneHeads\.density: the model has no block 'layer\.3' here"):
        cost(work, PruneHeads(density={"layer.0": 0.5, "layer.3": 0.5}))
    with pytest.raises(TechniqueError, match=r"nothing given for block 'layer\.0\.attn'"):
        cost(work, PruneHeads(density={}))
    for view in (lambda t: cost(work, t), lambda t: apply(proto, t)):
        with pytest.raises(TechniqueError, match=r"no block 'layer\.9\.ffn' to prune; it has layer\.0\.ffn"):
            view(PrunedUnits(technique="PruneNeurons", kept={"layer.9.ffn": (1,)}))
        with pytest.raises(TechniqueError, match="distinct indices from 0 to 3, at least one"):
            view(PrunedUnits(technique="PruneHeads", kept={"layer.0.attn": (1, 4)}))


def test_a_model_without_attention_is_refused() -> None:
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Relu", ["x"], ["y"])],
            "activation",
            [onnx.helper.make_tensor_value_info("x", 1, [2, 3])],
            [onnx.helper.make_tensor_value_info("y", 1, [2, 3])],
        )
    )
    for technique, what in ((PruneHeads(density=0.5), "attention"), (PruneNeurons(density=0.5), "feed-forward")):
        with pytest.raises(TechniqueError, match=f"no {what} block was found in 'activation'"):
            cost(load_onnx(proto), technique)
        with pytest.raises(TechniqueError, match=f"no {what} block was found"):
            apply(proto, technique)


def test_pruning_after_quantization_is_refused() -> None:
    work = load_onnx(embedded_model(), batch=1)
    with pytest.raises(TechniqueError, match="PruneHeads comes after Quantize; prune first, then quantize"):
        cost(work, Quantize(), PruneHeads(density=0.5))
    with pytest.raises(TechniqueError, match="PruneNeurons comes after Quantize"):
        apply(onnx.load(embedded_model()), Quantize(), PruneNeurons(density=0.5))


def test_a_real_model_takes_no_batch() -> None:
    with pytest.raises(TechniqueError, match=r"PruneHeads\.density is a batch"):
        apply(Net(layers=1).build(), PruneHeads(density=np.array([0.5, 1.0])))


def test_fitted_units_survive_json_and_apply_alike() -> None:
    proto = Net().build()
    fitted = PruneNeurons(density=0.3).fit(proto)
    again = from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert isinstance(again, PrunedUnits)
    assert again.kept == fitted.kept
    assert apply(proto, again).SerializeToString() == apply(proto, fitted).SerializeToString()


@pytest.mark.parametrize("density", [0.5, {"layer": 0.5}, PerLayer(("layer.0", "layer.1"), np.array([0.5, 1.0]))])
def test_a_pruning_technique_survives_json(density: Any) -> None:
    for technique in (PruneHeads(density=density), PruneNeurons(density=density)):
        again = from_dict(json.loads(json.dumps(technique.to_dict())))
        assert type(again) is type(technique)
        assert again.to_dict() == technique.to_dict()
