"""The square commutes: what `cost` says of a workload is what loading the applied model measures."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hwmodels
from tests.workloads.compress_models import NETS, Net, feeds, run, signatures
from workloads import Operator, Workload, peak_bytes
from workloads.compress import (
    KEEP_BITS,
    PerLayer,
    PruneHeads,
    PruneNeurons,
    Quantize,
    Technique,
    apply,
    cost,
    quantizable,
    sizes,
)
from workloads.errors import TechniqueError
from workloads.onnx import load_onnx
from workloads.zoo import embedded_model

NAMES = (*NETS, "vit-mnist")
WIDTHS = (2, 3, 4, 5, 6, 7, 8, KEEP_BITS)


@lru_cache(maxsize=16)
def model(name: str) -> onnx.ModelProto:
    return onnx.load(embedded_model(name)) if name == "vit-mnist" else Net(**NETS[name]).build()


def load(proto: onnx.ModelProto) -> Workload:
    return (
        load_onnx(proto, batch=3)
        if proto.graph.input[0].name in ("image", "pixel_values")
        else load_onnx(proto, batch=3, seq=5)
    )


@lru_cache(maxsize=16)
def base(name: str) -> Workload:
    return load(model(name))


@st.composite
def techniques(draw: st.DrawFn, name: str) -> list[Technique]:
    """Draw any techniques in any order that is allowed: pruning in either order, then quantization."""
    density = st.floats(0.05, 1.0)
    blocks = tuple(op.block for op in quantizable(base(name)))
    layers = sorted({block.rsplit(".", 2)[0] for block in blocks})
    chosen: list[Any] = []
    if draw(st.booleans()):
        chosen.append(PruneHeads(density=draw(density)))
    if draw(st.booleans()):
        chosen.append(PruneNeurons(density={layer: draw(density) for layer in layers}))
    if draw(st.booleans()):
        chosen.reverse()
    dynamic = draw(st.booleans()) and name != "fp16"
    granularity: Any = draw(st.sampled_from(["tensor", "channel", "group"]))
    if draw(st.integers(0, 4)):
        widths = np.array([draw(st.sampled_from(WIDTHS)) for _ in blocks])
        group_size = draw(st.sampled_from([16, 32, 64, 128]))
        bits = PerLayer(blocks, widths)
        activation_bits = 8 if dynamic else 32
        chosen.append(
            Quantize(weight_bits=bits, granularity=granularity, group_size=group_size, activation_bits=activation_bits)
        )
    return chosen


def assert_commutes(name: str, *chosen: Technique) -> onnx.ModelProto:
    said = cost(base(name), *chosen)
    applied = apply(model(name), *chosen)
    measured = load(applied)
    assert signatures(said) == signatures(measured)
    assert said.weight_bytes() == pytest.approx(measured.weight_bytes(), rel=1e-12)
    assert peak_bytes(said) == pytest.approx(peak_bytes(measured), rel=1e-12)
    assert (said.flops(), said.macs()) == (measured.flops(), measured.macs())
    return applied


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12)
@given(data=st.data())
def test_cost_of_the_loaded_model_equals_the_loaded_applied_model(name: str, data: st.DataObject) -> None:
    assert_commutes(name, *data.draw(techniques(name)))


@pytest.mark.parametrize("name", NAMES)
def test_everything_at_once_commutes_and_runs(name: str) -> None:
    weights = Quantize(weight_bits=4, granularity="group", group_size=16)
    applied = assert_commutes(name, PruneHeads(density=0.5), PruneNeurons(density=0.4), weights)
    assert np.isfinite(run(applied, feeds(model(name)), optimized=True)).all()


def test_the_cost_view_notices_a_wrong_width() -> None:
    said = cost(base("pre-norm"), Quantize(weight_bits=4))
    measured = load(apply(model("pre-norm"), Quantize(weight_bits=5)))
    assert signatures(said) != signatures(measured)


def test_a_matrix_that_two_products_read_is_stored_once_for_each() -> None:
    proto = Net().build()
    for node in proto.graph.node:
        if node.name == "l0.k":
            node.input[1] = "l0.q.weight"
    work = load(proto)
    for technique in (Quantize(weight_bits=4), PruneHeads(density=0.5), Quantize(activation_bits=8)):
        said, measured = cost(work, technique), load(apply(proto, technique))
        assert signatures(said) == signatures(measured)
        assert said.weight_bytes() == pytest.approx(measured.weight_bytes(), rel=1e-12)


def test_a_tied_embedding_stays_whole_when_the_head_is_quantized() -> None:
    name = "fused qkv Gemm and Split, tied head"
    assert_commutes(name, Quantize(weight_bits=4, blocks=("layer", "head")))


def test_pruning_everything_kept_changes_nothing_but_copies() -> None:
    proto, work = model("pre-norm"), base("pre-norm")
    whole = apply(proto, PruneHeads(density=1.0), PruneNeurons(density=1.0))
    assert signatures(load(whole)) == signatures(work)
    np.testing.assert_allclose(run(whole, feeds(proto)), run(proto, feeds(proto)), atol=1e-6)


@pytest.mark.parametrize("name", ["pre-norm", "SwiGLU, Gemm transB", "fused qkv Gemm and Split, tied head"])
@pytest.mark.parametrize("granularity", ["tensor", "channel", "group"])
@pytest.mark.parametrize("activation_bits", [8, 32])
def test_a_batch_equals_its_rows_one_by_one(name: str, granularity: Any, activation_bits: int) -> None:
    rng = np.random.default_rng(3)
    work = base(name)
    blocks = tuple(op.block for op in quantizable(work))
    points = 5
    bits = PerLayer(blocks, rng.choice((2, 5, 8, KEEP_BITS, KEEP_BITS), size=(points, len(blocks))))
    heads = rng.choice([0.25, 0.5, 1.0], size=points)
    neurons = PerLayer(("layer.0", "layer.1"), rng.uniform(0.1, 1.0, (points, 2)))

    def point(density: Any, per_layer: PerLayer, widths: PerLayer) -> Workload:
        quantize = Quantize(weight_bits=widths, granularity=granularity, activation_bits=activation_bits)
        return cost(work, PruneHeads(density=density), PruneNeurons(density=per_layer), quantize)

    batch = point(heads, neurons, bits)
    for row in range(points):
        one = point(float(heads[row]), neurons.row(row), bits.row(row))
        for measure in (Workload.flops, Workload.macs, Workload.weight_bytes, peak_bytes, moved_bytes):
            found = np.broadcast_to(np.asarray(measure(batch)), (points,))[row]
            assert found == pytest.approx(measure(one), rel=1e-12), measure.__name__
        assert formats(batch, row) == formats(one, 0)
        assert_same_on_a_device(batch, one, row)


def formats(work: Workload, row: int) -> dict[str, int]:
    """Give the stored format of every matrix in one design point."""
    products = [op for op in work if op.kind == "matmul" and op.inputs[1].role == "weight"]
    return {op.inputs[1].name: int(np.resize(op.inputs[1].format, row + 1)[row]) for op in products}


def assert_same_on_a_device(batch: Workload, one: Workload, row: int) -> None:
    """Compare on a device whose kernels add biases on the way out, so that an alternative must keep its own bias."""
    device = hwmodels.load("h100-sxm")
    several, single = hwmodels.evaluate(batch, device), hwmodels.evaluate(one, device)
    for name in ("latency_s", "dram_bytes", "peak_bytes"):
        found = np.broadcast_to(np.asarray(getattr(several, name)), (5,))[row]
        assert found == pytest.approx(getattr(single, name), rel=1e-9), name


def product(work: Workload, block: str) -> Operator:
    return next(op for op in work if op.block == block and op.kind == "matmul")


def moved_bytes(work: Workload) -> Any:
    return sum(op.count * op.dram_bytes() for op in work)


def test_equal_layers_share_their_arrays_so_that_the_cost_model_can_merge_them() -> None:
    work = base("pre-norm")
    density, bits = np.array([0.5, 1.0]), np.array([4.0, 8.0])
    small = cost(work, PruneHeads(density=density), PruneNeurons(density=density), Quantize(weight_bits=bits))
    first, second = (product(small, f"layer.{i}.ffn.down") for i in range(2))
    assert first.dims["k"] is second.dims["k"]
    for a, b in zip(first.tensors(), second.tensors(), strict=True):
        assert a.bits is b.bits
        assert a.overhead_bits is b.overhead_bits


def test_a_knob_per_layer_is_not_confused_with_another_by_recycled_memory() -> None:
    work = base("pre-norm")
    densities = PerLayer(("layer.0", "layer.1"), np.array([[0.2, 0.9], [0.4, 0.7]]))
    small = cost(work, PruneNeurons(density=densities))
    kept = [product(small, f"layer.{i}.ffn.down").dims["k"] for i in range(2)]
    np.testing.assert_array_equal(kept, [[8, 16], [36, 28]])  # of 40 neurons


@pytest.mark.parametrize("name", NAMES)
def test_packed_bytes_are_the_cost_views_and_containers_hold_them(name: str) -> None:
    quantize = Quantize(weight_bits=3, granularity="group", group_size=16)
    applied = apply(model(name), quantize)
    found = sizes(applied)
    assert found.packed_bytes == pytest.approx(cost(base(name), quantize).weight_bytes())
    assert found.packed_bytes < found.container_bytes <= found.file_bytes == len(applied.SerializeToString())
    assert found.parameters == base(name).weight_count()


def test_quantizing_a_block_twice_is_refused() -> None:
    with pytest.raises(TechniqueError, match=r"two Quantize techniques act on .*'layer'"):
        cost(base("pre-norm"), Quantize(weight_bits=4), Quantize(weight_bits=8))


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["dynamo", "legacy"])
@pytest.mark.parametrize("name", ["bert-tiny", "gpt2-tiny", "vit-tiny"])
def test_the_square_commutes_on_what_torch_exports(name: str, exporter: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from workloads.zoo.export import export_architecture

    proto = onnx.load(export_architecture(name, tmp_path / "model.onnx", exporter=exporter))
    work = load(proto)
    pruned = (PruneHeads(density=0.5), PruneNeurons(density=0.3))
    for quantize in (
        Quantize(weight_bits=3),
        Quantize(weight_bits=4, granularity="group"),
        Quantize(activation_bits=8),
    ):
        said, measured = cost(work, *pruned, quantize), load(apply(proto, *pruned, quantize))
        assert signatures(said) == signatures(measured)
        assert said.weight_bytes() == pytest.approx(measured.weight_bytes(), rel=1e-12)
        assert peak_bytes(said) == pytest.approx(peak_bytes(measured), rel=1e-12)


def test_a_bias_that_a_later_layer_reads_through_identity_is_not_cut_under_it() -> None:
    """TorchScript joins equal constants this way: one initializer, and Identity nodes with the other names."""
    proto = Net(shared_bias=True).build()
    nodes = []
    for node in proto.graph.node:
        if node.name == "l1.up.biased":
            nodes.append(onnx.helper.make_node("Identity", ["zero.40"], ["l1.up.bias"], "l1.up.alias"))
            node.input[1] = "l1.up.bias"
        nodes.append(node)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    small = apply(proto, PruneNeurons(density={"layer.0": 0.5, "layer.1": 0.25}))
    assert signatures(load(small)) == signatures(
        cost(load(proto), PruneNeurons(density={"layer.0": 0.5, "layer.1": 0.25}))
    )
    assert np.isfinite(run(small, feeds(proto))).all()
