"""Quantization: numbers of the quantizer, packing, what ONNX Runtime computes, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import helper, numpy_helper

from tests.workloads.compress_models import NETS, Net, dequantized_reference, feeds, run, tensors, unpacked_blocks
from workloads.compress import KEEP_BITS, PerLayer, Quantize, apply, cost, from_dict, quantizable
from workloads.compress.quantizer import container_bits, pack_blocks, quantize_matrix
from workloads.errors import TechniqueError
from workloads.onnx import load_onnx
from workloads.zoo import embedded_model

MATRICES = arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.integers(1, 6)),
    elements=st.floats(-1000, 1000, width=32, allow_subnormal=False),
)
BITS = st.integers(2, 8)
GRANULARITY = st.sampled_from(["tensor", "channel", "group"])


@given(MATRICES, BITS, GRANULARITY)
def test_the_error_is_at_most_half_a_scale(weight: Any, bits: int, granularity: Any) -> None:
    matrix = quantize_matrix(weight, bits, granularity, group_size=16)
    scales = np.repeat(matrix.scales, matrix.group_size, axis=0)[: len(weight)]
    error = np.abs(weight.astype(np.float64) - matrix.integers * scales.astype(np.float64))
    assert (error <= 0.5 * scales * (1 + 1e-5)).all()


@given(MATRICES, BITS, GRANULARITY)
def test_the_clip_by_least_squares_is_never_worse(weight: Any, bits: int, granularity: Any) -> None:
    def loss(clip: Any) -> float:
        matrix = quantize_matrix(weight, bits, granularity, 16, clip)
        scales = np.repeat(matrix.scales, matrix.group_size, axis=0)[: len(weight)].astype(np.float64)
        return float(np.sum((weight - matrix.integers * scales) ** 2))

    assert loss("mse") <= loss("max") * (1 + 1e-5) + 1e-12


def test_the_clip_by_least_squares_helps_where_there_is_an_outlier() -> None:
    weight = np.append(np.random.default_rng(0).normal(size=500), 6.0).reshape(-1, 1).astype(np.float32)
    errors = [
        np.square(weight - quantize_matrix(weight, 3, "tensor", 16, clip).dequantize()).sum() for clip in ("max", "mse")
    ]
    assert errors[1] < 0.8 * errors[0]


@given(MATRICES, st.sampled_from([2, 4, 8]), st.sampled_from([16, 32, 64]))
def test_packing_round_trips_through_an_independent_unpacker(weight: Any, bits: int, size: int) -> None:
    matrix = quantize_matrix(weight, bits, "group", size)
    k, n = weight.shape
    blobs, scales = pack_blocks(matrix, bits)
    assert blobs.shape == (n, -(-k // size), size * bits // 8)
    unpacked = unpacked_blocks(blobs, scales, {"K": k, "N": n, "bits": bits, "block_size": size})
    np.testing.assert_array_equal(unpacked, matrix.dequantize())


@given(MATRICES, BITS)
def test_integers_are_symmetric_and_two_bits_have_three_levels(weight: Any, bits: int) -> None:
    integers = quantize_matrix(weight, bits).integers
    assert np.abs(integers).max() <= 2 ** (bits - 1) - 1
    if np.abs(weight).max() > 0:
        assert np.abs(integers).max() == 2 ** (bits - 1) - 1  # the largest magnitude uses the whole range


def test_groups_of_zeros_stay_zero_and_their_scale_is_finite() -> None:
    weight = np.zeros((40, 3), dtype=np.float32)
    weight[20:, 1] = 5
    matrix = quantize_matrix(weight, 4, "group", 16, "mse")
    np.testing.assert_array_equal(matrix.dequantize()[:16], 0)
    assert (matrix.scales > 0).all()


def test_the_smallest_half_precision_weights_do_not_divide_by_zero() -> None:
    weight = np.full((4, 1), np.finfo(np.float16).smallest_subnormal)
    matrix = quantize_matrix(weight, 8)
    assert (matrix.scales > 0).all()
    assert np.isfinite(matrix.dequantize()).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused_with_their_place(value: float) -> None:
    net = Net(layers=1)
    proto = net.build()
    spoil(proto, "l0.up.weight", (3, 2), value)
    with pytest.raises(TechniqueError, match=r"layer\.0\.ffn\.up.*'l0\.up\.weight'.*NaN or infinite.*\[3, 2\]"):
        apply(proto, Quantize())


def spoil(proto: onnx.ModelProto, name: str, place: tuple[int, int], value: float) -> None:
    stored = next(item for item in proto.graph.initializer if item.name == name)
    array = numpy_helper.to_array(stored).copy()
    array[place] = value
    stored.CopyFrom(numpy_helper.from_array(array, name))


def test_containers_are_the_narrowest_that_hold_a_width() -> None:
    assert [container_bits(bits) for bits in range(2, 9)] == [2, 4, 4, 8, 8, 8, 8]
    assert [container_bits(bits, (4, 8)) for bits in (2, 4, 5)] == [4, 4, 8]


WEIGHT_ONLY = [Quantize(weight_bits=bits, granularity="group", group_size=16) for bits in (2, 3, 4, 8)] + [
    Quantize(weight_bits=bits, granularity=g) for bits in (2, 4, 5, 8) for g in ("tensor", "channel")
]


def label(technique: Quantize) -> str:
    return f"{technique.granularity}{technique.weight_bits}"


@pytest.mark.parametrize("technique", WEIGHT_ONLY, ids=label)
@pytest.mark.parametrize("name", list(NETS))
def test_onnx_runtime_computes_with_the_dequantized_weights(name: str, technique: Quantize) -> None:
    proto = Net(**NETS[name]).build()
    applied = apply(proto, technique)
    inputs = feeds(proto)
    wanted = run(dequantized_reference(proto, applied), inputs)
    tolerance = 2e-2 if name == "fp16" else 2e-5
    np.testing.assert_allclose(run(applied, inputs), wanted, atol=tolerance * np.abs(wanted).max())
    assert np.abs(wanted - run(proto, inputs)).max() > 1e-3  # the reference is not the float model


@pytest.mark.parametrize("technique", WEIGHT_ONLY, ids=label)
def test_the_optimized_session_stays_close(technique: Quantize) -> None:
    """ONNX Runtime turns DequantizeLinear and MatMul into MatMulNBits with int8 activations per block by default."""
    proto = Net().build()
    applied = apply(proto, technique)
    wanted = run(applied, feeds(proto))
    found = run(applied, feeds(proto), optimized=True)
    np.testing.assert_allclose(found, wanted, atol=0.02 * np.abs(wanted).max())


def int8_kernels_saturate() -> bool:
    """Say whether ONNX Runtime's uint8 x int8 product wraps two products into 16 bits: x86 without VNNI does."""
    x = helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, [1, 8])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.INT32, [1, 8])
    weight = numpy_helper.from_array(np.full((8, 8), 127, np.int8), "w")
    graph = helper.make_graph([helper.make_node("MatMulInteger", ["x", "w"], ["y"])], "probe", [x], [y], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    found = run(model, {"x": np.full((1, 8), 255, np.uint8)})
    return int(found.flat[0]) != 8 * 255 * 127


@pytest.mark.parametrize("weight_bits", [7, 8])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("linear", ["matmul", "gemm", "gemm_trans", "transposed"])
def test_dynamic_int8_equals_activations_that_are_rounded_to_uint8(
    granularity: Any, linear: Any, weight_bits: int
) -> None:
    if weight_bits == 8 and int8_kernels_saturate():
        pytest.skip("this CPU's uint8 x int8 kernel saturates (no VNNI): 8-bit weights do not give the exact product")
    proto = Net(layers=1, linear=linear).build()
    applied = apply(proto, Quantize(weight_bits=weight_bits, activation_bits=8, granularity=granularity))
    inputs = feeds(proto)
    wanted = run(with_rounded_activations(dequantized_reference(proto, applied)), inputs)
    found = run(applied, inputs)
    # the same numbers up to float rounding, which now and then moves an activation by one of 255 steps
    np.testing.assert_allclose(found, wanted, atol=5e-3 * np.abs(wanted).max())
    assert np.abs(found - run(proto, inputs)).max() < 0.1 * np.abs(wanted).max()


def with_rounded_activations(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Round what every weighted product reads to uint8 and back, in floats."""
    nodes = []
    for node in proto.graph.node:
        if node.input[1:2] and node.input[1].endswith(":reference"):
            names = [f"{node.name}:{part}" for part in ("integers", "scale", "zero", "rounded")]
            nodes.append(helper.make_node("DynamicQuantizeLinear", [node.input[0]], names[:3]))
            nodes.append(helper.make_node("DequantizeLinear", names[:3], names[3:]))
            node.input[0] = names[3]
        nodes.append(node)
    rebuilt = onnx.ModelProto()
    rebuilt.CopyFrom(proto)
    del rebuilt.graph.node[:]
    rebuilt.graph.node.extend(nodes)
    return rebuilt


def test_dynamic_int8_runs_as_the_fused_kernels_of_onnx_runtime(tmp_path: Any) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    applied = apply(onnx.load(embedded_model()), Quantize(activation_bits=8))
    onnxruntime.InferenceSession(applied.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    fused = kinds.count("DynamicQuantizeMatMul") + kinds.count("MatMulIntegerToFloat")
    assert fused == len(quantizable(load_onnx(embedded_model(), batch=1)))
    assert "MatMulInteger" not in kinds


def test_int8_activations_inside_the_kernel_stay_close_to_weight_only() -> None:
    proto = Net().build()
    inputs = feeds(proto)
    plain, inside = (
        run(apply(proto, Quantize(weight_bits=4, granularity="group", activation_bits=bits)), inputs)
        for bits in (32, 8)
    )
    assert 0 < np.abs(plain - inside).max() < 0.03 * np.abs(plain).max()


def test_products_of_one_input_share_its_quantization() -> None:
    applied = apply(Net(layers=1).build(), Quantize(activation_bits=8))
    kinds = [node.op_type for node in applied.graph.node]
    assert (kinds.count("DynamicQuantizeLinear"), kinds.count("MatMulInteger")) == (4, 6)  # q, k, v share one


def test_widths_per_block_take_the_most_specific_name() -> None:
    proto = Net().build()
    applied = apply(proto, Quantize(weight_bits={"layer": KEEP_BITS, "layer.1.ffn": 4, "layer.1.ffn.down": 8}))
    stored = tensors(applied)
    assert stored["l0.up.weight"].dtype == np.float32
    assert "l1.up.weight:int4" in stored
    assert "l1.down.weight:int8" in stored


def test_true_widths_are_written_beside_wider_containers() -> None:
    applied = apply(Net(layers=1).build(), Quantize(weight_bits=5, granularity="group"))
    stored = next(item for item in applied.graph.initializer if item.name == "l0.up.weight:int5")
    assert [(entry.key, entry.value) for entry in stored.metadata_props] == [("dse.bits", "5")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"granularity": "row"}, "granularity is tensor, channel or group, not 'row'"),
        ({"granularity": "group", "group_size": 24}, "power of two of at least 16, not 24"),
        ({"granularity": "group", "group_size": 8}, "power of two of at least 16, not 8"),
        ({"activation_bits": 4}, "activation_bits is 8"),
        ({"clip": "best"}, "clip is max or mse, not 'best'"),
    ],
)
def test_impossible_parameters_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TechniqueError, match=message):
        Quantize(**arguments)


@pytest.mark.parametrize("bits", [1, 9, 15, 4.5, -3, np.nan, 0])
def test_impossible_widths_are_refused_with_the_block_in_both_views_and_in_batches(bits: float) -> None:
    proto = Net(layers=1).build()
    work = load_onnx(proto, batch=1, seq=4)
    column = PerLayer(("layer.0.attn", "layer.0.ffn"), np.array([[8, 8], [8, bits]]))
    with pytest.raises(TechniqueError, match=r"weight_bits of layer\.0\.attn\.q: .* is not a whole number from 2 to 8"):
        cost(work, Quantize(weight_bits=bits))
    with pytest.raises(TechniqueError, match=r"weight_bits of layer\.0\.attn\.q"):
        apply(proto, Quantize(weight_bits=bits))
    with pytest.raises(TechniqueError, match=r"weight_bits of layer\.0\.ffn: .* is not a whole number"):
        cost(work, Quantize(weight_bits=column))


def test_unknown_and_missing_blocks_are_refused_by_name() -> None:
    proto = Net(layers=1).build()
    work = load_onnx(proto, batch=1, seq=4)
    for view in (lambda t: cost(work, t), lambda t: apply(proto, t)):
        with pytest.raises(
            TechniqueError, match=r"weight_bits: the model has no block 'layer\.7' here; nearest: layer\.0"
        ):
            view(Quantize(weight_bits={"layer.0": 8, "layer.7": 4}))
        with pytest.raises(TechniqueError, match=r"nothing given for block 'layer\.0\.attn\.q'"):
            view(Quantize(weight_bits={"layer.0.ffn": 8}))


def test_a_real_model_takes_no_batch() -> None:
    with pytest.raises(TechniqueError, match="weight_bits is a batch"):
        apply(Net(layers=1).build(), Quantize(weight_bits=np.array([4, 8])))


def test_dynamic_int8_of_half_precision_is_refused_in_both_views() -> None:
    proto = Net(layers=1, half=True).build()
    for view in (lambda t: cost(load_onnx(proto, batch=1, seq=4), t), lambda t: apply(proto, t)):
        with pytest.raises(TechniqueError, match=r"layer\.0\.attn\.q: dynamic W8A8 needs fp32 activations"):
            view(Quantize(activation_bits=8))


def test_external_data_that_was_not_loaded_is_refused(tmp_path: Any) -> None:
    path = tmp_path / "net.onnx"
    proto = Net(layers=1).build()
    onnx.save_model(proto, path, save_as_external_data=True, size_threshold=256, location="weights.bin")
    with pytest.raises(
        TechniqueError, match=r"external file that was not loaded; load the model with onnx\.load\(path\)"
    ):
        apply(onnx.load(path, load_external_data=False), Quantize())
    apply(onnx.load(path), Quantize())


def test_the_given_model_is_left_as_it_was() -> None:
    proto = Net(layers=1).build()
    before = proto.SerializeToString()
    apply(proto, Quantize(weight_bits=4))
    assert proto.SerializeToString() == before


@pytest.mark.parametrize(
    "bits", [4, {"layer.0": 4, "layer.1": 16}, PerLayer(("layer.0", "layer.1"), np.array([4, 8])), np.array([4, 8]),
             PerLayer(("layer.0", "layer.1"), np.array([[4, 8], [2, 16]]))],
)  # fmt: skip
def test_a_technique_survives_json(bits: Any) -> None:
    work = load_onnx(Net().build(), batch=1, seq=4)
    technique = Quantize(weight_bits=bits, granularity="group", group_size=64, clip="mse", activation_bits=8)
    text = json.dumps(technique.to_dict())
    again = from_dict(json.loads(text))
    assert json.dumps(again.to_dict()) == text
    np.testing.assert_array_equal(cost(work, again).weight_bytes(), cost(work, technique).weight_bytes())


def test_unknown_stored_techniques_and_parameters_are_refused() -> None:
    with pytest.raises(TechniqueError, match="unknown technique 'Quantise'; nearest: Quantize"):
        from_dict({"technique": "Quantise"})
    with pytest.raises(TechniqueError, match="Quantize: cannot be read"):
        from_dict({"technique": "Quantize", "width": 4})
