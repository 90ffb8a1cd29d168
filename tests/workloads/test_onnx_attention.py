"""Fused attention: shapes as ONNX Runtime produces them; products, caches and groups by hand formulas."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hwmodels
from hwmodels.fusion import plan_steps
from hwmodels.step import charged_tensors
from tests.workloads.cases import MICROSOFT, Case, case, f, i32, u8
from tests.workloads.graphs import Graph, check_against_runtime, shapes_of, single
from workloads import Workload, WorkloadError, peak_bytes
from workloads.onnx import load_onnx
from workloads.structure import find_attention, find_ffn

B, S, HEADS, SHARED, D, PAST = 2, 5, 4, 2, 16, 3
WIDTH = HEADS * D
MS: dict[str, Any] = {"domain": MICROSOFT}


def products(batch: int, heads: int, queries: int, keys: int, size: int, value_size: int = 0) -> int:
    """Count the multiply-adds of scores and context."""
    return batch * heads * queries * keys * (size + (value_size or size))


def mha(*arrays: Any, **options: Any) -> Case:
    return case("MultiHeadAttention", arrays, (), num_heads=HEADS, **MS, **options)


def gqa(past: int | None, packed: bool, total: int, batch: int = 1, queries: int = S, **options: Any) -> Case:
    """Write a GroupQueryAttention with a cache of some room, of which `total` positions are filled afterwards."""
    query = f(batch, queries, (HEADS + 2 * SHARED) * D) if packed else f(batch, queries, WIDTH)
    key = None if packed else f(batch, queries, SHARED * D)
    cache = [None, None] if past is None else [f(batch, SHARED, past, D), f(batch, SHARED, past, D)]
    arrays = [query, key, key, *cache, np.full(batch, total - 1, np.int32), np.array(total, np.int32)]
    if options.get("do_rotary"):
        arrays += [f(32, D // 2), f(32, D // 2)]
    more: dict[str, Any] = {} if past is None else {"outputs": 3}
    keys = min(total, queries + options["local_window_size"] - 1) if "local_window_size" in options else total
    return case("GroupQueryAttention", arrays, (6, 7, 8), num_heads=HEADS, kv_num_heads=SHARED, **MS, **more, **options,
                macs=products(batch, HEADS, queries, keys, D))  # fmt: skip


def standard(*arrays: Any, **options: Any) -> list[Case]:
    return [case("Attention", arrays, (), opset=opset, **options) for opset in (23, 24)]


def q4(heads: int = HEADS, length: int = S, size: int = D) -> Any:
    return f(B, heads, length, size)


QKV = [f(B, S, WIDTH), f(B, 7, WIDTH), f(B, 7, WIDTH)]
PACKED = [f(B, S, 12), f(12, 3 * WIDTH), f(3 * WIDTH)]
QUANTIZED = [
    u8(B, S, 12),
    u8(12, 3 * WIDTH),
    f(3 * WIDTH),
    np.float32(0.1),
    np.float32(0.1),
    None,
    np.uint8(3),
    np.uint8(3),
]
OFFSETS = [np.zeros((2, 5), np.int32), i32(0, 5, 10)]
CASES = [
    mha(*QKV, macs=products(B, HEADS, S, 7, D), flops=2 * products(B, HEADS, S, 7, D) + 6 * B * HEADS * S * 7),
    mha(f(B, S, WIDTH), q4(length=7), q4(length=7), macs=products(B, HEADS, S, 7, D)),
    mha(f(B, S, WIDTH), f(B, S, WIDTH), f(B, S, WIDTH), f(3 * WIDTH), None, f(1, HEADS, S, S + PAST), q4(length=PAST),
        q4(length=PAST), outputs=3, macs=products(B, HEADS, S, S + PAST, D),
        flops=2 * products(B, HEADS, S, S + PAST, D) + 7 * B * HEADS * S * (S + PAST) + 3 * B * S * WIDTH),
    mha(f(B, S, WIDTH), f(B, S, WIDTH), f(B, S, WIDTH), None, np.ones((B, S), np.int32), outputs=3,
        macs=products(B, HEADS, S, S, D)),
    mha(f(B, S, HEADS, 3, D), macs=products(B, HEADS, S, S, D), runs=False, shapes=[(B, S, WIDTH)]),
    mha(f(B, S, WIDTH), f(B, 7, HEADS, 2, D), macs=products(B, HEADS, S, 7, D), runs=False, shapes=[(B, S, WIDTH)]),
    *(gqa(past, packed, total, **more) for packed in (False, True)
      for past, total in ((None, S), (PAST, S + PAST), (16, 9))
      for more in ({}, {"do_rotary": 1}, {"local_window_size": 2}, {"softcap": 2.0})),
    *(gqa(past, packed, PAST + 1, batch=2, queries=1) for packed in (False, True) for past in (PAST, 16)),
    case("Attention", PACKED, (1, 2), num_heads=HEADS, **MS, macs=B * S * 12 * 3 * WIDTH + products(B, HEADS, S, S, D)),
    case("Attention", [f(B, S, 12), f(12, 2 * WIDTH + 4 * HEADS), f(2 * WIDTH + 4 * HEADS)], (1, 2), num_heads=HEADS,
         qkv_hidden_sizes=[WIDTH, WIDTH, 4 * HEADS], **MS,
         macs=B * S * 12 * (2 * WIDTH + 4 * HEADS) + products(B, HEADS, S, S, D, 4)),
    case("Attention", [*PACKED, np.ones((B, S + PAST), np.int32), f(2, B, HEADS, PAST, D)], (1, 2), num_heads=HEADS,
         outputs=2, unidirectional=1, **MS, macs=B * S * 12 * 3 * WIDTH + products(B, HEADS, S, S + PAST, D)),
    case("Attention", PACKED, (1, 2), num_heads=HEADS, outputs=2, **MS,
         macs=B * S * 12 * 3 * WIDTH + products(B, HEADS, S, S, D)),
    case("QAttention", QUANTIZED, (1, 2, 3, 4, 6, 7), num_heads=HEADS, **MS,
         macs=B * S * 12 * 3 * WIDTH + products(B, HEADS, S, S, D)),
    case("QAttention", [*QUANTIZED, f(2, B, HEADS, PAST, D)], (1, 2, 3, 4, 6, 7), num_heads=HEADS, outputs=2, **MS,
         macs=B * S * 12 * 3 * WIDTH + products(B, HEADS, S, S + PAST, D)),
    case("DecoderMaskedMultiHeadAttention",
         [f(B, 1, WIDTH)] * 3 + [None, None, q4(length=16), q4(length=16), i32(PAST)], (7,), num_heads=HEADS, outputs=3,
         past_present_share_buffer=1, **MS,
         macs=products(B, HEADS, 1, PAST + 1, D)),
    case("DecoderMaskedSelfAttention", [f(B, 1, 12), f(12, 3 * WIDTH), f(3 * WIDTH), None, f(2, B, HEADS, 16, D), None,
                                        i32(PAST)], (1, 2, 6), num_heads=HEADS, outputs=2, past_present_share_buffer=1,
         **MS, macs=B * 12 * 3 * WIDTH + products(B, HEADS, 1, PAST + 1, D), runs=False,
         shapes=[(2, B, HEADS, 16, D), (B, 1, WIDTH)]),
    case("PackedMultiHeadAttention", [f(10, WIDTH)] * 3 + [None, *OFFSETS], (),
         num_heads=HEADS, **MS, macs=products(2, HEADS, 5, 5, D), runs=False, shapes=[(10, WIDTH)]),
    case("PackedMultiHeadAttention", [f(10, HEADS, 3, D), None, None, None, *OFFSETS], (),
         num_heads=HEADS, **MS, macs=products(2, HEADS, 5, 5, D), runs=False, shapes=[(10, WIDTH)]),
    case("PackedAttention", [f(10, 12), f(12, 3 * WIDTH), f(3 * WIDTH), *OFFSETS], (1, 2),
         num_heads=HEADS, **MS, macs=10 * 12 * 3 * WIDTH + products(2, HEADS, 5, 5, D), runs=False,
         shapes=[(10, WIDTH)]),
    *standard(q4(), q4(SHARED, 7), q4(SHARED, 7, D + 2), macs=products(B, HEADS, S, 7, D, D + 2)),
    *standard(f(B, S, WIDTH), f(B, 7, SHARED * D), f(B, 7, SHARED * D), q_num_heads=HEADS, kv_num_heads=SHARED,
              is_causal=1, macs=products(B, HEADS, S, 7, D)),
    *(item for mode in range(4) for item in standard(
        q4(), q4(SHARED), q4(SHARED), f(S, S + PAST), q4(SHARED, PAST), q4(SHARED, PAST), outputs=4, softcap=3.0,
        qk_matmul_output_mode=mode, macs=products(B, HEADS, S, S + PAST, D),
        flops=2 * products(B, HEADS, S, S + PAST, D) + (1 + 1 + 3 + 5) * B * HEADS * S * (S + PAST))),
    *standard(q4(), q4(SHARED), q4(SHARED), f(B, 1, S, S) > 0, macs=products(B, HEADS, S, S, D),
              flops=2 * products(B, HEADS, S, S, D) + 6 * B * HEADS * S * S),
    *standard(q4(), q4(SHARED), q4(SHARED), outputs=3, macs=products(B, HEADS, S, S, D)),
    case("FlexAttention", [q4(), q4(SHARED, 7), q4(SHARED, 7)], (), domain="ai.onnx.preview",
         macs=products(B, HEADS, S, 7, D), runs=False, shapes=[(B, HEADS, S, D)]),
    case("RotaryEmbedding", [f(B, S, WIDTH), np.zeros((B, S), np.int64), f(32, D // 2), f(32, D // 2)], (2, 3), **MS,
         flops=3 * B * S * WIDTH),
    case("RotaryEmbedding", [q4(), np.zeros(1, np.int64), f(32, D // 2), f(32, D // 2)], (2, 3), **MS,
         flops=3 * B * S * WIDTH),
    case("RotaryEmbedding", [f(B, S, WIDTH), np.zeros((B, S), np.int64), f(32, 2), f(32, 2)], (2, 3), **MS,
         num_heads=HEADS, rotary_embedding_dim=4, flops=3 * B * S * HEADS * 4),
    case("RotaryEmbedding", [f(B, S, WIDTH), f(B, S, D // 2), f(B, S, D // 2)], (), opset=23, num_heads=HEADS,
         flops=3 * B * S * WIDTH),
    case("RotaryEmbedding", [q4(), f(32, D // 2), f(32, D // 2), np.zeros((B, S), np.int64)], (), opset=23,
         flops=3 * B * S * WIDTH),
    case("MRotaryEmbedding", [f(B, S, WIDTH), np.zeros((3, B, S), np.int64), f(32, D // 2), f(32, D // 2)], (2, 3),
         **MS, mrope_section=[2, 3, 3], flops=3 * B * S * WIDTH, runs=False, shapes=[(B, S, WIDTH)]),
    case("GemmaRotaryEmbedding", [f(B, S, D), q4(), q4(), q4(), q4()], (), **MS, outputs=2,
         flops=2 * B * S * D + 2 * 3 * B * S * WIDTH, runs=False, shapes=[(B, HEADS, S, D)] * 2),
    case("TensorScatter", [f(B, SHARED, 16, D), f(B, SHARED, 3, D), np.array([0, 2])], (), opset=24, flops=0),
    case("TensorScatter", [f(B, 16, SHARED, D), f(B, 3, SHARED, D)], (), opset=24, axis=1, mode="circular", flops=0),
    *(case("LinearAttention", [f(B, S, WIDTH), f(B, S, SHARED * D), f(B, S, SHARED * 8), f(B, SHARED, D, 8),
                               f(B, S, SHARED) if "gated" in rule else None,
                               f(B, S, SHARED) if "delta" in rule else None], (), q_num_heads=HEADS,
           kv_num_heads=SHARED, update_rule=rule, outputs=2, **MS,
           macs=B * S * D * 8 * (HEADS + SHARED * (2 if "delta" in rule else 1)))
      for rule in ("linear", "gated", "delta", "gated_delta")),
    *(case("CausalConvWithState", [f(B, 6, S), f(6, 1, 4), f(6), f(B, 6, 3)], (1, 2), activation=function, outputs=2,
           **MS, macs=B * 6 * S * 4) for function in ("none", "silu")),
]  # fmt: skip


@pytest.mark.parametrize("item", CASES, ids=str)
def test_an_attention_has_the_shapes_of_the_runtime_and_the_work_of_its_formula(item: Case) -> None:
    model, feeds = single(item.op_type, item.arrays, item.constant, **item.options)
    if item.runs:
        work, _ = check_against_runtime(model, feeds)
    else:
        work = load_onnx(model, structure=False)
        found = shapes_of(work)
        assert [shape for name, shape in found.items() if name.startswith("y")] == list(item.shapes)
    assert work.macs() == item.macs
    if item.flops is not None:
        assert work.flops() == item.flops
    assert {node for op in work for node in op.nodes} == {model.graph.node[0].name}
    names = [op.name for op in work]
    assert len(set(names)) == len(names)


# ---------------------------------------------------------------------------------------------------------------------
# One kernel, and what it moves


def moved_bytes(work: Workload) -> dict[str, float]:
    """Give what one run moves to and from memory, by tensor, with every group as one kernel [B]."""
    moved: dict[str, float] = {}
    for step in plan_steps(work, ()):
        for op, tensors in zip(step.operators, charged_tensors(step), strict=True):
            for tensor in tensors:
                moved[tensor.name] = moved.get(tensor.name, 0.0) + float(tensor.bytes(op.dims))
    return moved


def test_a_fused_attention_moves_operands_and_result_only() -> None:
    model, _ = single("MultiHeadAttention", QKV, num_heads=HEADS, **MS)
    work = load_onnx(model)
    assert len(work.groups) == 1
    assert [op.name.rpartition(":")[2] for op in work] == ["scores", "mask", "softmax", "context"]
    (step,) = plan_steps(work, ())
    assert {name.rpartition(":")[2] for name in step.resident} == {"raw", "masked", "softmax"}
    assert moved_bytes(work) == {"x0": 4 * B * S * WIDTH, "x1": 4 * B * 7 * WIDTH, "x2": 4 * B * 7 * WIDTH,
                                 "y0": 4 * B * S * WIDTH}  # fmt: skip


def test_a_packed_operand_is_moved_once_and_whole() -> None:
    for array in (f(1, S, (HEADS + 2 * SHARED) * D),):
        arrays = [array, None, None, None, None, i32(S - 1), np.array(S, np.int32)]
        model, _ = single("GroupQueryAttention", arrays, [6], num_heads=HEADS, kv_num_heads=SHARED, **MS)
        moved = moved_bytes(load_onnx(model))
        assert sum(moved.values()) == array.nbytes + 4 * S * WIDTH + 4  # and the lengths
    packed = f(B, S, HEADS, 3, D)
    model, _ = single("MultiHeadAttention", [packed], num_heads=HEADS, **MS)
    assert sum(moved_bytes(load_onnx(model)).values()) == packed.nbytes + 4 * B * S * WIDTH


@settings(max_examples=30)
@given(
    batch=st.integers(1, 3), shared=st.integers(1, 4), group=st.integers(1, 4), past=st.integers(1, 50),
    grows=st.booleans(),
)  # fmt: skip
def test_a_cache_is_read_once_for_its_whole_group_of_queries(
    batch: int, shared: int, group: int, past: int, grows: bool
) -> None:
    """One token: the keys and values of the past are read once, whatever the group; what is written is the present."""
    room = past + 7 if grows else past
    total = past + 1
    query, key = f(batch, 1, group * shared * D), f(batch, 1, shared * D)
    cache = f(batch, shared, room, D)
    arrays = [query, key, key, cache, cache, np.full(batch, past, np.int32), np.array(total, np.int32)]
    model, feeds = single(
        "GroupQueryAttention", arrays, [6], num_heads=group * shared, kv_num_heads=shared, outputs=3, **MS
    )
    work, _ = check_against_runtime(model, feeds)
    moved = moved_bytes(work)
    token = 4 * batch * shared * D
    node = model.graph.node[0].name
    if grows:  # in place: the new position is written, the filled ones are read
        assert moved[f"{node}:key:appended"] == moved[f"{node}:value:appended"] == token
        assert moved["y1"] == moved["y2"] == total * token
        assert "x3" not in moved
        assert peak_bytes(work) < 2 * cache.nbytes * 1.5 + 10 * token + 4 * query.nbytes + 4 * total * query.size
    else:  # copied: the past is read, the present is written
        assert moved["x3"] == moved["x4"] == past * token
        assert moved["y1"] == moved["y2"] == total * token
    assert work.macs() == products(batch, group * shared, 1, total, D)


@settings(max_examples=40)
@given(
    batch=st.integers(1, 3), shared=st.integers(1, 3), group=st.integers(1, 3), queries=st.integers(1, 6),
    keys=st.integers(1, 6), size=st.integers(1, 8), value_size=st.integers(1, 8), past=st.integers(0, 5),
    flat=st.booleans(), causal=st.integers(0, 1),
)  # fmt: skip
def test_an_attention_of_any_size_has_the_shapes_of_the_runtime(
    batch: int, shared: int, group: int, queries: int, keys: int, size: int, value_size: int, past: int, flat: bool,
    causal: int,
) -> None:  # fmt: skip
    heads = shared * group
    arrays: list[Any]
    if flat:
        arrays = [f(batch, queries, heads * size), f(batch, keys, shared * size), f(batch, keys, shared * value_size)]
        more: dict[str, Any] = {"q_num_heads": heads, "kv_num_heads": shared}
    else:
        arrays = [f(batch, heads, queries, size), f(batch, shared, keys, size), f(batch, shared, keys, value_size)]
        more = {}
    if past:
        arrays += [None, f(batch, shared, past, size), f(batch, shared, past, value_size)]
        more["outputs"] = 3
    model, feeds = single("Attention", arrays, opset=23, is_causal=causal, **more)
    work, _ = check_against_runtime(model, feeds)
    assert work.macs() == products(batch, heads, queries, keys + past, size, value_size)
    moved = moved_bytes(work)
    assert sum(moved.values()) == sum(array.nbytes for array in feeds.values()) + sum(
        4 * math.prod(shape) for name, shape in shapes_of(work).items() if name.startswith("y")
    )


def test_a_local_window_limits_the_keys_that_a_token_reads() -> None:
    past, window = 1000, 128
    for length, keys in ((1, window), (5, window + 4)):
        query, key, cache = f(1, length, WIDTH), f(1, length, SHARED * D), f(1, SHARED, past + length, D)
        arrays = [query, key, key, cache, cache, i32(past + length - 1), np.array(past + length, np.int32)]
        model, _ = single("GroupQueryAttention", arrays, [6], num_heads=HEADS, kv_num_heads=SHARED, outputs=3,
                          local_window_size=window, **MS)  # fmt: skip
        work = load_onnx(model)
        assert work.macs() == products(1, HEADS, length, keys, D)
        assert moved_bytes(work)["y1"] == 4 * SHARED * keys * D


@pytest.mark.parametrize(("bits", "stored"), [(8, np.int8), (4, np.uint8)])
def test_an_integer_cache_is_read_narrow_and_unpacked_inside(bits: int, stored: Any) -> None:
    past, width = 31, D * bits // 8
    cache = np.zeros((1, SHARED, past, width), stored)
    key = f(1, 1, SHARED * D)
    scales = [np.ones(1, np.float32)] * 2
    arrays = [f(1, 1, WIDTH), key, key, cache, cache, i32(past), np.array(past + 1, np.int32), *[None] * 5, *scales]
    model, _ = single("GroupQueryAttention", arrays, [6, 12, 13], num_heads=HEADS, kv_num_heads=SHARED, outputs=3,
                      kv_cache_bit_width=bits, k_quant_type="PER_TENSOR", v_quant_type="PER_TENSOR", **MS)  # fmt: skip
    work = load_onnx(model)
    moved = moved_bytes(work)
    assert moved["x3"] == cache.nbytes == SHARED * past * D * bits / 8
    assert moved["y1"] == SHARED * (past + 1) * D * bits / 8
    assert not any("dequantized" in name for name in moved)
    (unpacking,) = {op.flops() for op in work if op.name.endswith(":dequantize")}
    assert unpacking == 2 * SHARED * (past + 1) * D
    assert work.macs() == products(1, HEADS, 1, past + 1, D)


def test_norms_of_heads_and_sinks_are_counted() -> None:
    key = f(1, S, SHARED * D)
    arrays: list[Any] = [f(1, S, WIDTH), key, key, None, None, i32(S - 1), np.array(S, np.int32), *[None] * 4, f(HEADS),
                         None, None, f(D), f(D)]  # fmt: skip
    model, _ = single("GroupQueryAttention", arrays, [6, 11, 14, 15], num_heads=HEADS, kv_num_heads=SHARED, **MS)
    work = load_onnx(model)
    assert sum(op.flops() for op in work if op.kind == "norm") == 4 * S * (HEADS + SHARED) * D
    assert work.weight_count() == HEADS + 2 * D


def test_a_growing_cache_shares_the_memory_of_its_past() -> None:
    past = f(1, SHARED, 1000, D)
    model, feeds = single("TensorScatter", [past, f(1, SHARED, 1, D), np.array([7])], opset=24)
    work, _ = check_against_runtime(model, feeds)
    assert peak_bytes(work) < past.nbytes + 3 * 4 * SHARED * D + 100
    assert sum(moved_bytes(work).values()) == 2 * 4 * SHARED * D + 8


# ---------------------------------------------------------------------------------------------------------------------
# Structure


def decoder(fused: bool, layers: int = 2) -> Workload:
    """A decoder of fused operators as ONNX Runtime's optimizer leaves it, or of parts."""
    graph = Graph(domains=[MICROSOFT], opset=24)
    width, inner = WIDTH, 4 * WIDTH
    x = graph.input("x", (1, S, width))
    scale = graph.constant(f(width))
    for _ in range(layers):
        y = graph.node("SimplifiedLayerNormalization", x, scale) if fused else graph.node("RMSNormalization", x, scale)
        q, k, v = (graph.node("MatMul", y, graph.constant(f(width, n))) for n in (width, SHARED * D, SHARED * D))
        if fused:
            lengths, total = graph.constant(i32(S - 1)), graph.constant(np.array(S, np.int32))
            y = graph.node("GroupQueryAttention", q, k, v, "", "", lengths, total, domain=MICROSOFT, num_heads=HEADS,
                           kv_num_heads=SHARED)  # fmt: skip
        else:
            y = graph.node("Attention", q, k, v, q_num_heads=HEADS, kv_num_heads=SHARED, is_causal=1)
        y = graph.node("MatMul", y, graph.constant(f(width, width)))
        x = graph.node("Add", x, y)
        y = graph.node("RMSNormalization", x, scale)
        gate, up = (graph.node("MatMul", y, graph.constant(f(width, inner))) for _ in range(2))
        both = graph.node("SwiGLU", gate, up, domain=MICROSOFT) if fused else graph.node(
            "Mul", graph.node("Swish", gate), up
        )  # fmt: skip
        x = graph.node("Add", x, graph.node("MatMul", both, graph.constant(f(inner, width))))
    return load_onnx(graph.model(graph.node("MatMul", x, graph.constant(f(width, 50)))))


@pytest.mark.parametrize("fused", [False, True])
def test_attention_and_feed_forward_blocks_are_found_in_fused_decoders(fused: bool) -> None:
    work = decoder(fused)
    assert [found.heads for found in find_attention(work)] == [HEADS, HEADS]
    assert [len(found.up) for found in find_ffn(work)] == [2, 2]
    blocks = {op.block for op in work if op.kind == "matmul"}
    roles = ("attn.q", "attn.k", "attn.v", "attn.scores", "attn.context", "attn.out", "ffn.up", "ffn.gate", "ffn.down")
    assert blocks == {f"layer.{n}.{role}" for n in range(2) for role in roles} | {"head"}
    assert len(work.groups) == 2


def test_a_fused_decoder_costs_less_than_its_parts_one_by_one_and_every_group_is_a_step() -> None:
    work = decoder(fused=True)
    steps = plan_steps(work, ())
    assert sum(step.kind == "fused" for step in steps) == 2
    from dataclasses import replace

    device = hwmodels.load("h100-sxm")
    apart = replace(work, groups=())
    assert hwmodels.evaluate(work, device).dram_bytes < hwmodels.evaluate(apart, device).dram_bytes
    assert work.flops() == apart.flops()
    assert work.digest() != apart.digest()


def bert(heads: int = HEADS) -> Workload:
    """An encoder layer as ONNX Runtime's transformer optimizer writes it."""
    graph = Graph(domains=[MICROSOFT])
    ids = graph.input("ids", (B, S), 6)
    tables = [graph.constant(f(n, WIDTH)) for n in (50, 20, 2)]
    weights = [graph.constant(f(WIDTH)) for _ in range(2)]
    x = graph.node("EmbedLayerNormalization", ids, "", *tables[:2], "", *weights, domain=MICROSOFT, outputs=["x", ""])[
        0
    ]
    for _ in range(2):
        y = graph.node("Attention", x, graph.constant(f(WIDTH, 3 * WIDTH)), graph.constant(f(3 * WIDTH)),
                       domain=MICROSOFT, num_heads=heads)  # fmt: skip
        y = graph.node("MatMul", y, graph.constant(f(WIDTH, WIDTH)))
        x = graph.node("SkipLayerNormalization", y, x, *weights, graph.constant(f(WIDTH)), domain=MICROSOFT)
        y = graph.node("MatMul", x, graph.constant(f(WIDTH, 4 * WIDTH)))
        y = graph.node("BiasGelu", y, graph.constant(f(4 * WIDTH)), domain=MICROSOFT)
        y = graph.node("MatMul", y, graph.constant(f(4 * WIDTH, WIDTH)))
        x = graph.node("SkipLayerNormalization", y, x, *weights, graph.constant(f(WIDTH)), domain=MICROSOFT)
    model = graph.model(x)
    check_against_runtime(model, {"ids": np.ones((B, S), np.int32)})
    return load_onnx(model)


def test_blocks_are_found_in_an_optimized_encoder() -> None:
    work = bert()
    assert [(found.query == found.key == found.value, found.heads) for found in find_attention(work)] == [
        (True, HEADS)
    ] * 2
    roles = ("attn.qkv", "attn.scores", "attn.context", "attn.out", "ffn.up", "ffn.down")
    blocks = {op.block for op in work if op.kind == "matmul"}
    assert blocks == {f"layer.{n}.{role}" for n in range(2) for role in roles}
    per_layer = B * S * 12 * WIDTH**2 + products(B, HEADS, S, S, D)
    assert work.macs() == 2 * per_layer


# ---------------------------------------------------------------------------------------------------------------------
# Errors


@pytest.mark.parametrize(
    "item",
    [
        mha(f(B, S, WIDTH), f(B, 7, WIDTH), f(B, 8, WIDTH)),
        mha(f(B, S, WIDTH), f(B, 7, WIDTH + 1), f(B, 7, WIDTH)),
        mha(f(B, S, HEADS + 1, 3, D)),
        case("Attention", [q4(), q4(3), q4(3)], (), opset=23),
        case("Attention", [f(S, WIDTH)] * 3, (), opset=23, q_num_heads=HEADS, kv_num_heads=HEADS),
        case("Attention", [f(B, S, 12), f(13, 3 * WIDTH), f(3 * WIDTH)], (1, 2), num_heads=HEADS, **MS),
        case("GroupQueryAttention", [f(1, S, 30), None, None, None, None, i32(S - 1), np.array(S, np.int32)], (6,),
             num_heads=HEADS, kv_num_heads=SHARED, **MS),
        case("LinearAttention", [f(1, S, 6), f(1, S, 4), f(1, S, 4)], (), q_num_heads=3, kv_num_heads=2, outputs=2,
             **MS),
        case("MoE", [f(4, 8), f(4, 3), f(3, 6, 8), None, f(3, 8, 6)], (2, 4), k=4, **MS),
        case("MoE", [f(4, 8), f(4, 3), f(3, 6, 9), None, f(3, 8, 6)], (2, 4), k=1, **MS),
        case("MoE", [f(4, 8), f(4, 3), f(3, 6, 8), None, f(3, 8, 6)], (2, 4), k=1, activation_type="sine", **MS),
    ],
    ids=str,
)  # fmt: skip
def test_operands_that_do_not_fit_are_refused_by_name(item: Case) -> None:
    model, _ = single(item.op_type, item.arrays, item.constant, **item.options)
    with pytest.raises(WorkloadError, match=model.graph.node[0].name):
        load_onnx(model)
