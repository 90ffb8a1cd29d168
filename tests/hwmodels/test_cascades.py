"""Fused cascades against a walk through every fused mapping, and what fusing changes."""

from __future__ import annotations

import csv
import random
from dataclasses import replace
from pathlib import Path

import pytest

import hwmodels
from dse.plots.fusion import fusion_changes
from hwmodels.cascades import Cascade, cascade_of, find_cascades, search_cascade
from hwmodels.cascades.stages import _again
from hwmodels.engines import Engine
from hwmodels.mapping import from_factors, problem_on
from hwmodels.mapping.counting import count_moves
from hwmodels.resizing import resized
from hwmodels.spatial import REFERENCE, ROLES, SILICON, Accelerator, BufferLevel, MeshAxis
from tests.hwmodels.cascade_brute_force import Walk
from workloads.errors import MappingError, SpaceError
from workloads.operator import Operator, Tensor, axis
from workloads.zoo import architecture


def tensor(name: str, dims: str, role: str = "activation", bits: float = 8) -> Tensor:
    return Tensor(name=name, axes=tuple(map(axis, dims)), role=role, bits=bits)  # type: ignore[arg-type]


def matmul(name: str, sizes: dict[str, int], a: Tensor, b: Tensor, c: Tensor) -> Operator:
    return Operator(name=name, op_type="MatMul", kind="matmul", dims=sizes, inputs=(a, b), outputs=(c,))


def function(name: str, op_type: str, kind: str, sizes: dict[str, int], *tensors: Tensor) -> Operator:
    return Operator(
        name=name,
        op_type=op_type,
        kind=kind,
        dims=sizes,
        inputs=tensors[:-1],
        outputs=tensors[-1:],
        flops_per_point=1.0,
    )


def attention(h: int, m: int, n: int, k: int, d: int, mask: bool = False) -> Cascade:
    """Queries x keys, softmax (over a masked row), x values."""
    own = {"i": h, "j": m, "l": n}
    ops = [
        matmul(
            "scores", {"h": h, "m": m, "n": n, "k": k}, tensor("q", "hmk"), tensor("keys", "hkn"), tensor("s", "hmn")
        )
    ]
    last = tensor("s", "ijl")
    if mask:
        ops.append(function("mask", "Add", "elementwise", own, last, tensor("mask", "l"), tensor("t", "ijl")))
        last = tensor("t", "ijl")
    ops.append(function("softmax", "Softmax", "softmax", own, last, tensor("p", "ijl")))
    ops.append(
        matmul("context", {"h": h, "m": m, "n": d, "k": n}, tensor("p", "hmk"), tensor("v", "hkn"), tensor("o", "hmn"))
    )
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
        ops.append(
            function("norm", "LayerNormalization", "norm", {"i": m, "j": n}, tensor("y", "ij"), tensor("z", "ij"))
        )
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
        name="Sums", keeps=("O",), capacity_words=draw.choice([8, 12, 20, 40, 80]), word_bits=8, read_j=1.0,
        write_j=1.5, buffering=draw.choice(["double", "shadow"]), bypass=(), mesh=mesh,
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
    "attention": attention(1, 2, 4, 2, 1),
    "heads": attention(2, 2, 2, 1, 1),
    "masked attention": attention(1, 2, 4, 1, 2, mask=True),
    "ffn": ffn(2, 2, 4, 2),
    "ffn and layernorm": ffn(2, 1, 4, 2, norm=True),
    "layernorm between": ffn(2, 1, 4, 2, "LayerNormalization"),
    "layernorm": with_norm(4, 2, 2),
    "activation": with_norm(2, 4, 2, "Gelu"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASCADES)
def test_the_best_is_that_of_a_walk_through_all_fused_mappings(name: str) -> None:
    cascade, checked, proven = CASCADES[name], 0, 0
    for seed in range(3):
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
    assert checked >= 6
    assert proven >= 0.8 * checked, (proven, checked)


def units(accumulator: str = "256 KiB") -> Accelerator:
    """Give Gemmini with integer units and a scratchpad of 256 KiB."""
    return resized(hwmodels.load("gemmini-ibert"), capacity={"Scratchpad": "256 KiB", "Accumulator": accumulator})


def test_fusing_what_fits_spares_exactly_the_way_of_the_sums_out_and_back() -> None:
    found = search_cascade(with_norm(64, 64, 64), units(), "energy")
    assert found.unfused.outer_bytes == (64 * 64) * 5  # x, w, sums out and in, result
    assert found.outer_bytes == (64 * 64) * 3
    found = search_cascade(attention(2, 16, 64, 64, 64), units(), "energy")
    assert found.outer_bytes == 2 * 64 * (16 + 64 + 64 + 16)  # q, keys, v, result
    assert found.gap == 0.0


def test_rows_of_the_last_functions_stay_whole() -> None:
    found = search_cascade(with_norm(256, 96, 32), units("64 KiB"), "latency")
    assert dict(found.choice.tile)["n"] == 96
    assert not found.choice.online


def test_long_rows_are_taken_in_pieces_with_the_flops_of_the_online_form() -> None:
    device = units("64 KiB")
    cascade = attention(1, 16, 1 << 15, 16, 16)
    found = search_cascade(cascade, device, "energy")
    assert found.choice.online
    pieces = (1 << 15) // dict(found.choice.tile)["n"]
    assert pieces > 1
    assert found.extra_flops == pieces * 16 * (5 + 16)  # rows x (statistics + outputs of a row)
    whole = search_cascade(attention(1, 16, 64, 16, 16), device, "energy")
    assert whole.extra_flops == 0.0


def test_a_row_that_does_not_fit_names_operator_level_demand_and_bound() -> None:
    with pytest.raises(MappingError, match=r"LayerNormalization.*131,072 sums.*131,072 words of Accumulator.*65,536"):
        search_cascade(with_norm(4, 1 << 17, 4), units(), "edp")


def test_functions_on_a_host_are_not_fused() -> None:
    with pytest.raises(MappingError, match=r"f \(LayerNormalization\).*Host.*no vector unit"):
        search_cascade(with_norm(16, 16, 16), hwmodels.load("gemmini"))


def test_a_tensor_that_others_read_too_goes_out_besides() -> None:
    cascade = ffn(16, 64, 64, 64)
    kept = replace(cascade, links=(replace(cascade.links[0], kept=True), cascade.links[1]))
    bytes_ = [search_cascade(one, units(), "energy").outer_bytes for one in (cascade, kept)]
    assert bytes_[1] - bytes_[0] == 16 * 64
    masked = attention(1, 16, 1 << 15, 16, 16)  # there is no online form of what is needed as it is
    masked = replace(masked, links=(replace(masked.links[0], kept=True), masked.links[1]))
    with pytest.raises(MappingError, match="needs rows"):
        search_cascade(masked, units("64 KiB"))


def test_what_is_no_cascade_is_refused() -> None:
    ops = ffn(4, 4, 4, 4).operators
    with pytest.raises(MappingError, match="starts with a product"):
        cascade_of(ops[1:])
    with pytest.raises(MappingError, match="does not read 'u'"):
        cascade_of((ops[0], ops[2]))
    with pytest.raises(MappingError, match="nothing to fuse"):
        search_cascade(cascade_of(ops[:1]), units())
    with pytest.raises(MappingError, match="objective"):
        search_cascade(with_norm(4, 4, 4), units(), "pareto")
    third = matmul(
        "third", {"m": 4, "n": 4, "k": 4}, tensor("y", "mk"), tensor("w3", "kn", "weight"), tensor("t", "mn")
    )
    with pytest.raises(MappingError, match="at most two products"):
        cascade_of((*ops, third))


@pytest.mark.parametrize("inner", [1, 2, 4])
def test_adding_again_is_what_a_longer_sum_moves_more(inner: int) -> None:
    """Two pieces of a sum, as one product with a loop over them, move what the first and an added one do."""
    device = hwmodels.load("survey-machine")
    rules = replace(device.conventions, fill_drain=False, bursts=False)
    keeps = [("W", "I", "O"), ("W", "I", "O"), ("W", "I"), ("O",), ("W",)]
    names = [level.name for level in device.levels]

    def counts(pieces: int) -> object:
        op = with_norm(8, 8, 8 * pieces).links[0].product
        problem = problem_on(op, device, rules, {"O": "L2"})
        loops = [[("k", pieces)], [("n", 8 // inner), ("m", 8)], [], [("n", inner), ("k", 8)], []]
        mapping = from_factors(
            [(name, kept, own, {}) for name, kept, own in zip(names, keeps, loops, strict=True)], op.dims
        )
        batch = mapping.batch()
        return count_moves(problem, device, rules, batch.structure, batch.steps)

    one, both = counts(1), counts(2)
    again = _again(one, 1)  # type: ignore[arg-type]
    for name in ("reads", "fills", "updates"):
        total = getattr(one, name) + getattr(again, name)
        assert (getattr(both, name)[:, 1:, 2] == total[:, 1:, 2]).all(), name


def test_cascades_of_an_encoder_layer_are_found_by_what_reads_what() -> None:
    config = {
        "model_type": "bert", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2,
        "intermediate_size": 128, "max_position_embeddings": 64, "vocab_size": 99, "type_vocab_size": 2,
    }  # fmt: skip
    found = find_cascades(architecture(config, batch=1, seq=32), units())
    kinds = [one.kind for one in found]
    assert kinds.count("attention") == kinds.count("ffn") == kinds.count("matmul + gelu") == 1
    assert kinds.count("matmul + layernorm") == 2
    assert {one.executions for one in found if one.kind == "attention"} == {3.0}
    attended = next(one for one in found if one.kind == "attention")
    assert [op.op_type for op in attended.operators] == ["MatMul", "Add", "Softmax", "MatMul"]
    assert not attended.links[0].kept
    assert all(one.links[0].kept for one in found if one.kind == "matmul + layernorm + matmul")
    wide = find_cascades(architecture(config, batch=1, seq=32), units(), wide_sums=True)
    assert {link.sums.bits for one in wide for link in one.links if link.functions} == {32.0}


def test_the_attention_of_bert_is_fused_with_proof() -> None:
    cascade = attention(12, 512, 512, 64, 64)
    found = search_cascade(cascade, units(), "edp")
    assert found.gap == 0.0
    assert found.changes()["edp"] < -0.4
    assert sum(found.cost.energy_by.values()) == pytest.approx(found.energy_j)
    assert max(found.busy_s.values()) <= found.latency_s
    text = str(found)
    assert "Softmax on whole tiles" in text
    assert f"{found.iterations} iterations" in text


def test_a_picture_of_changes_is_drawn(tmp_path: Path) -> None:
    panels = {"EDP": {"one": {"attention": -0.5, "ffn": 0.1}, "two": {"ffn": 0.2}}}
    assert fusion_changes(tmp_path / "fusion.png", panels).stat().st_size > 1000
    with pytest.raises(SpaceError):
        fusion_changes(tmp_path / "none.png", {})


def accelforge_cases() -> list[dict[str, str]]:
    path = Path(__file__).parents[1] / "golden" / "reference" / "fusion" / "accelforge.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("case", accelforge_cases(), ids=lambda case: case["case"])
def test_two_products_cost_what_another_tool_finds(case: dict[str, str]) -> None:
    m, n, k, d, words = (int(case[name]) for name in ("m", "n", "k", "d", "buffer_words"))
    dram = BufferLevel(name="DRAM", keeps=ROLES, capacity_words=None, word_bits=8, read_j=100.0, write_j=100.0)
    buffer = BufferLevel(
        name="Buffer", keeps=ROLES, capacity_words=words, word_bits=8, read_j=1.0, write_j=1.0, bypass=()
    )
    device = Accelerator(name="two levels", levels=(dram, buffer), mac_j=1.0, clock_hz=1.0, conventions=REFERENCE)
    ops = [
        matmul("scores", {"m": m, "n": n, "k": k}, tensor("q", "mk"), tensor("kt", "kn"), tensor("s", "mn")),
        matmul("context", {"m": m, "n": d, "k": n}, tensor("s", "mk"), tensor("v", "kn"), tensor("o", "mn")),
    ]
    found = search_cascade(cascade_of(ops), device, "energy")
    theirs = sum(float(case[name]) for name in ("main_memory", "buffer", "mac"))
    drained = m * d if case["fused"] == "yes" else m * d + m * n  # what they read of outputs that leave
    assert found.gap == 0.0
    assert (found.energy_j < found.unfused.energy_j) == (case["fused"] == "yes")
    assert min(found.energy_j, found.unfused.energy_j) == theirs - drained
