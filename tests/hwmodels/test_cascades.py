"""Fused cascades against a walk through every fused mapping, and what fusing changes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from hwmodels.engines import Engine
from hwmodels.mapping.cascades import Cascade, cascade_of, search_cascade
from hwmodels.spatial import ROLES, SILICON, Accelerator, BufferLevel, MeshAxis
from tests.hwmodels.cascade_brute_force import Walk
from workloads.errors import MappingError
from workloads.operator import Operator, Tensor, axis


def tensor(name: str, dims: str, role: str = "activation", bits: float = 8) -> Tensor:
    return Tensor(name=name, axes=tuple(map(axis, dims)), role=role, bits=bits)  # type: ignore[arg-type]


def matmul(name: str, sizes: dict[str, int], a: Tensor, b: Tensor, c: Tensor) -> Operator:
    return Operator(name=name, op_type="MatMul", kind="matmul", dims=sizes, inputs=(a, b), outputs=(c,))


def function(name: str, op_type: str, kind: str, sizes: dict[str, int], *tensors: Tensor) -> Operator:
    return Operator(
        name=name, op_type=op_type, kind=kind, dims=sizes, inputs=tensors[:-1], outputs=tensors[-1:], flops_per_point=1.0
    )


def attention(h: int, m: int, n: int, k: int, d: int, mask: bool = False) -> Cascade:
    """Queries x keys, softmax (over a masked row), x values."""
    own = {"i": h, "j": m, "l": n}
    ops = [matmul("scores", {"h": h, "m": m, "n": n, "k": k}, tensor("q", "hmk"), tensor("keys", "hkn"), tensor("s", "hmn"))]
    last = tensor("s", "ijl")
    if mask:
        ops.append(function("mask", "Add", "elementwise", own, last, tensor("mask", "l"), tensor("t", "ijl")))
        last = tensor("t", "ijl")
    ops.append(function("softmax", "Softmax", "softmax", own, last, tensor("p", "ijl")))
    ops.append(matmul("context", {"h": h, "m": m, "n": d, "k": n}, tensor("p", "hmk"), tensor("v", "hkn"), tensor("o", "hmn")))
    return cascade_of(ops, name="attention", kind="attention")


def ffn(m: int, k: int, f: int, n: int, op_type: str = "Gelu", norm: bool = False) -> Cascade:
    """Product, activation, product (and LayerNorm)."""
    kind = "gelu" if op_type == "Gelu" else "norm"
    ops = [
        matmul("up", {"m": m, "n": f, "k": k}, tensor("x", "mk"), tensor("w1", "kn", "weight"), tensor("u", "mn")),
        function("act", op_type, kind, {"i": m, "j": f}, tensor("u", "ij"), tensor("a", "ij")),
        matmul("down", {"m": m, "n": n, "k": f}, tensor("a", "mk"), tensor("w2", "kn", "weight"), tensor("y", "mn")),
    ]
    if norm:
        ops.append(function("norm", "LayerNormalization", "norm", {"i": m, "j": n}, tensor("y", "ij"), tensor("z", "ij")))
    return cascade_of(ops, name="ffn", kind="ffn")


def with_norm(m: int, n: int, k: int, op_type: str = "LayerNormalization") -> Cascade:
    """A product and one function."""
    kind = {"LayerNormalization": "norm", "Gelu": "gelu"}[op_type]
    ops = [
        matmul("out", {"m": m, "n": n, "k": k}, tensor("x", "mk"), tensor("w", "kn", "weight"), tensor("y", "mn")),
        function("f", op_type, kind, {"i": m, "j": n}, tensor("y", "ij"), tensor("z", "ij")),
    ]
    return cascade_of(ops, name="with norm", kind="matmul + layernorm")


def tiny_device(seed: int) -> Accelerator:
    """Draw a device of three levels with an engine at the sums, as the walk needs it."""
    draw = random.Random(seed)
    mesh = (MeshAxis(name="X", size=2, distinct=("W", "O"), shared=("I",)),) if draw.random() < 0.6 else ()
    dram = BufferLevel(
        name="DRAM", keeps=ROLES, capacity_words=None, word_bits=8, read_j=8.0, write_j=draw.choice([6.0, 8.0]),
        read_words_per_cycle=draw.choice([0.5, 1, 2]), write_words_per_cycle=draw.choice([0.5, 1, 2]),
        shared_port=draw.random() < 0.5,
    )  # fmt: skip
    pad = BufferLevel(
        name="Pad", keeps=("W", "I"), capacity_words=draw.choice([8, 12, 20, 40, 80]), word_bits=8, read_j=1.0,
        write_j=draw.choice([1.0, 2.0]), write_words_per_cycle=draw.choice([None, 1, 4]),
        buffering=draw.choice(["double", "serial", "shadow"]), bypass=(), takes_outputs=True,
    )  # fmt: skip
    sums = BufferLevel(
        name="Sums", keeps=("O",), capacity_words=draw.choice([8, 12, 20, 40, 80]), word_bits=8, read_j=1.0, write_j=1.5,
        buffering=draw.choice(["double", "shadow"]), bypass=(), mesh=mesh,
    )  # fmt: skip
    engine = Engine(
        name="Vector", kind="vector", level="Sums", lanes=draw.choice([1, 2, 4]), clock_hz=draw.choice([0.5, 1.0, 2.0]),
        cycles={"add": 1.0, "multiply": 1.0, "gelu": draw.choice([1.0, 4.0]), "softmax": draw.choice([1.0, 3.0]),
                "layernorm": 2.0},
        passes={"softmax": draw.choice([1, 3]), "layernorm": 2}, cycle_j=0.3,
    )  # fmt: skip
    return Accelerator(
        name=f"tiny {seed}", levels=(dram, pad, sums), mac_j=0.5, clock_hz=1.0, acc_bits=8, engines=(engine,),
        static_w=draw.choice([0.0, 2.0]), conventions=replace(SILICON, fill_drain=draw.random() < 0.7),
    )  # fmt: skip


CASCADES = {
    "attention": attention(1, 2, 4, 2, 2),
    "heads": attention(2, 2, 2, 1, 1),
    "masked attention": attention(1, 2, 4, 1, 2, mask=True),
    "ffn": ffn(4, 2, 4, 2),
    "ffn and layernorm": ffn(2, 2, 4, 4, norm=True),
    "layernorm between": ffn(2, 2, 4, 2, "LayerNormalization"),
    "layernorm": with_norm(4, 4, 2),
    "activation": with_norm(4, 4, 2, "Gelu"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASCADES)
def test_the_best_is_that_of_a_walk_through_all_fused_mappings(name: str) -> None:
    cascade, checked, proven = CASCADES[name], 0, 0
    for seed in range(12):
        device = tiny_device(seed)
        common = frozenset({"h"} & set(CASCADES[name].sizes))
        best = Walk(cascade, device, device.conventions, one_by_one=common).run()
        if not best:
            with pytest.raises(MappingError):
                search_cascade(cascade, device)
            continue
        for objective, value in best.items():
            found = search_cascade(cascade, device, objective)  # type: ignore[arg-type]
            assert found.lower_bound <= value * (1 + 1e-9), (seed, objective)
            assert found.value >= value * (1 - 1e-9), (seed, objective)
            assert found.gap > 1e-9 or found.value == pytest.approx(value, rel=1e-9), (seed, objective)
            checked += 1
            proven += found.gap < 1e-9
    assert checked >= 9
    assert proven >= 0.8 * checked, (proven, checked)
