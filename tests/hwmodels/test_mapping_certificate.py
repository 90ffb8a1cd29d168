"""Certificates of proven optima: they verify without the mapper, and what was tampered with does not.

The checker is right if its bounds are: no bound may exceed what the cost model gives for any mapping of the class. That
is tested against every mapping of random small classes, on random accelerators.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hwmodels
from hwmodels.mapping import (
    REFERENCE,
    ROLES,
    SILICON,
    Accelerator,
    BufferLevel,
    Conventions,
    MeshAxis,
    evaluate,
    search,
)
from hwmodels.mapping.cases import conv_operator, gemm_operator, read_architectures
from hwmodels.mapping.certificate import certificate, write_certificate
from hwmodels.mapping.checker import check_certificate
from hwmodels.mapping.checking.classes import bypass_patterns, inwards, spreads
from hwmodels.mapping.checking.orders import every_order, order_count
from hwmodels.mapping.checking.prices import fitting, least_costs
from hwmodels.mapping.checking.settings import Classes, Setting, setting_of
from hwmodels.mapping.problem import problem_on
from tests.hwmodels.brute_force import every_cost
from workloads.errors import MappingError
from workloads.operator import Operator, Tensor, axis

ROOT = Path(__file__).resolve().parents[2]
ARCHITECTURES = ROOT / "tests" / "golden" / "reference" / "mapping" / "architectures.yaml"

BERT = ((512, 768, 768), (512, 3072, 768), (512, 768, 3072), (512, 512, 64), (512, 64, 512))
"""M, N, K of BERT-Base at 512 tokens: QKV and output projections, FFN1, FFN2, scores, context of one head."""

Entry = dict[str, Any]


def gemmini_ws() -> Accelerator:
    """Give the reference's Gemmini with what its README says that its mesh can wire."""
    rules = {
        "X": MeshAxis(name="X", size=16, distinct=("W", "O"), shared=("I",)),
        "Y": MeshAxis(name="Y", size=16, distinct=("W", "I"), shared=("O",)),
    }
    return read_architectures(ARCHITECTURES)["gemmini_ws"].wired(rules)


def gemm(m: int, n: int, k: int) -> Operator:
    return gemm_operator("gemm", {"M": m, "N": n, "K": k})


def require_verified(written: Entry | Path) -> None:
    report = check_certificate(written)
    assert report.ok, str(report)
    assert report.lines[-1].startswith("VERIFIED")


@pytest.mark.parametrize("sizes", BERT)
def test_the_optima_of_the_bert_gemms_verify(sizes: tuple[int, int, int], tmp_path: Path) -> None:
    found = search(gemm(*sizes), gemmini_ws())
    assert found.gap == 0.0
    write_certificate(found, tmp_path / "gemm.json")
    require_verified(tmp_path / "gemm.json")
    assert [path.name for path in tmp_path.iterdir()] == ["gemm.json"]


@pytest.mark.parametrize("objective", ["energy", "latency", "pareto"])
def test_optima_of_other_objectives_verify(objective: Any) -> None:
    require_verified(certificate(search(gemm(512, 768, 768), gemmini_ws(), objective)))


@pytest.mark.parametrize("sizes", BERT)
def test_optima_on_a_device_that_counts_what_silicon_does_verify(sizes: tuple[int, int, int]) -> None:
    require_verified(certificate(search(gemm(*sizes), hwmodels.load("gemmini"))))


@pytest.mark.parametrize(
    ("sizes", "stride"),
    [
        ({"R": 3, "S": 3, "P": 8, "Q": 8, "C": 32, "K": 32, "N": 1}, 2),
        ({"R": 3, "S": 3, "P": 14, "Q": 14, "C": 256, "K": 256, "N": 1}, 1),
        ({"R": 7, "S": 7, "P": 112, "Q": 112, "C": 3, "K": 64, "N": 1}, 2),
    ],
)
def test_optima_of_convolutions_verify(sizes: dict[str, int], stride: int) -> None:
    require_verified(certificate(search(conv_operator("conv", sizes, stride), gemmini_ws())))


def test_the_optimum_of_a_strided_convolution_on_a_device_verifies() -> None:
    operator = conv_operator("conv", {"R": 3, "S": 3, "P": 8, "Q": 8, "C": 32, "K": 32, "N": 1}, 2)
    require_verified(certificate(search(operator, hwmodels.load("gemmini"))))


@pytest.mark.parametrize("device", ["gemmini_ws", "gemmini"])
def test_optima_of_a_padded_convolution_verify(device: str) -> None:
    accelerator = gemmini_ws() if device == "gemmini_ws" else hwmodels.load("gemmini")
    windows = (axis("Q", "S", offset=-1, extent=14), axis("P", "R", offset=-1, extent=14))
    inputs = (
        Tensor(name="I", axes=(axis("C"), *windows), bits=8),
        Tensor(name="W", axes=(axis("K"), axis("C"), axis("R"), axis("S")), role="weight", bits=8),
    )
    outputs = (Tensor(name="O", axes=(axis("K"), axis("Q"), axis("P")), bits=8),)
    sizes = {"K": 256, "C": 256, "Q": 14, "P": 14, "R": 3, "S": 3}
    operator = Operator(name="conv", op_type="Conv", kind="conv", dims=sizes, inputs=inputs, outputs=outputs)
    require_verified(certificate(search(operator, accelerator)))


@pytest.mark.parametrize("objective", ["edp", "energy"])
def test_optima_of_windows_that_are_spread_over_a_mesh_verify(objective: Any) -> None:
    operator = conv_operator("conv", {"R": 3, "S": 1, "P": 7, "Q": 7, "C": 1, "K": 4, "N": 1})
    require_verified(certificate(search(operator, read_architectures(ARCHITECTURES)["eyeriss168"], objective)))


def test_the_front_of_a_device_verifies_point_by_point() -> None:
    found = search(gemm(128, 192, 64), hwmodels.load("gemmini"), "pareto")
    assert len(found.points) > 1
    written = certificate(found)
    require_verified(written)
    report = check_certificate({**written, "points": written["points"][:-1]})
    assert report.better is not None, "the front lacks its last point"


# --- what does not hold


def toy(**changes: Any) -> Accelerator:
    """Give a device with three levels and a mesh, small enough for every mapping of tiny operators."""
    dram = BufferLevel(
        name="DRAM", keeps=ROLES, capacity_words=None, word_bits=8, read_words_per_cycle=1.0, write_words_per_cycle=1.0,
        read_j=100.0, write_j=110.0,
    )  # fmt: skip
    buffer = BufferLevel(name="Buffer", keeps=ROLES, capacity_words=10, word_bits=8, read_j=6.0, write_j=7.0)
    spad = BufferLevel(
        name="Spad", keeps=("W", "O"), capacity_words=4, word_bits=8, read_j=1.0, write_j=1.5,
        mesh=(MeshAxis(name="X", size=2),),
    )  # fmt: skip
    return replace(Accelerator(name="toy", levels=(dram, buffer, spad), mac_j=1.0, conventions=REFERENCE), **changes)


@pytest.fixture(scope="module")
def written() -> Entry:
    entry: Entry = certificate(search(gemm(4, 6, 4), toy()))
    require_verified(entry)
    return entry


def tampered(written: Entry) -> Entry:
    copy: Entry = json.loads(json.dumps(written))
    return copy


def test_what_verifies_is_the_best_of_brute_force() -> None:
    dram, buffer, _ = toy().levels
    mesh = (MeshAxis(name="X", size=2, dims=("N",)),)
    operator, accelerator = gemm(2, 4, 2), toy(levels=(dram, replace(buffer, capacity_words=6, mesh=mesh)))
    energy, cycles = every_cost(operator, accelerator, REFERENCE).T
    objectives: tuple[Any, ...] = ("edp", "energy", "latency")
    for objective, values in zip(objectives, (energy * cycles, energy, cycles), strict=True):
        written = certificate(search(operator, accelerator, objective))
        require_verified(written)
        assert written["value"] == pytest.approx(np.min(values), rel=1e-12)


def test_a_worse_mapping_claimed_to_be_best_is_refuted_with_a_better_one(written: Entry) -> None:
    worse = worse_with_gap(written["value"] * 0.9)
    worse["lower_bound"] = worse["value"]
    report = check_certificate(worse)
    assert report.better is not None
    cost = evaluate(gemm(4, 6, 4), toy(), report.better)
    assert written["value"] * (1 - 1e-9) <= cost.edp_j_cycles[0] < worse["value"]


def test_a_wrong_value_is_refuted(written: Entry) -> None:
    entry = tampered(written)
    entry["value"] = entry["lower_bound"] = entry["value"] * 0.99
    assert "value of a claimed mapping" in check_certificate(entry).fault


@pytest.mark.parametrize("field", ["energy_j", "cycles"])
def test_wrong_costs_of_a_point_are_refuted(written: Entry, field: str) -> None:
    entry = tampered(written)
    entry["points"][0][field] *= 1.001
    assert "of a claimed mapping is" in check_certificate(entry).fault


def test_a_changed_energy_of_the_accelerator_is_refuted(written: Entry) -> None:
    entry = tampered(written)
    entry["accelerator"]["levels"][1]["read_j"] = 5.9
    assert not check_certificate(entry).ok


def test_a_larger_buffer_that_allows_better_mappings_is_refuted_by_one(written: Entry) -> None:
    entry = tampered(written)
    entry["accelerator"]["levels"][1]["capacity_words"] = 56
    report = check_certificate(entry)
    assert report.better is not None
    roomy = toy(levels=tuple(replace(level, capacity_words=56) if level.name == "Buffer" else level
                             for level in toy().levels))  # fmt: skip
    cost = evaluate(gemm(4, 6, 4), roomy, report.better)
    assert cost.edp_j_cycles[0] < written["value"]


def test_a_lower_bound_above_the_value_is_refuted(written: Entry) -> None:
    entry = tampered(written)
    entry["lower_bound"] *= 1.01
    assert "above the value" in check_certificate(entry).fault


def test_a_lower_bound_that_is_raised_below_the_value_is_refuted_by_a_mapping(written: Entry) -> None:
    best = written["value"]
    entry = worse_with_gap(best * 0.9)
    require_verified(entry)
    entry["lower_bound"] = best * 1.01
    report = check_certificate(entry)
    assert report.better is not None
    assert evaluate(gemm(4, 6, 4), toy(), report.better).edp_j_cycles[0] < entry["lower_bound"]


def worse_with_gap(bound: float) -> Entry:
    """Give a certificate of a mapping that is not the best, with a bound that says so."""
    found = search(gemm(4, 6, 4), toy(levels=tuple(replace(level, mesh=()) for level in toy().levels)))
    cost = evaluate(gemm(4, 6, 4), toy(), found.mapping)
    value = float(cost.edp_j_cycles[0])
    assert value > bound * 1.2
    return certificate(replace(found, accelerator=toy(), value=value, lower_bound=bound))


def test_an_inner_tile_that_does_not_fit_is_refuted(written: Entry) -> None:
    entry = tampered(written)
    entry["points"][0]["mapping"] = [
        "DRAM keeps W I O",
        "Buffer keeps nothing",
        "| for M by 1",
        "Spad keeps W O",
        "| | for N by 1",
        "| | | for K by 1",
    ]
    report = check_certificate(entry)
    assert "level Spad has room for 4 words" in report.fault


def test_a_mapping_that_the_mesh_cannot_wire_is_refuted(written: Entry) -> None:
    entry = tampered(written)
    entry["accelerator"]["levels"][2]["mesh"][0]["dims"] = []
    assert "cannot unroll" in check_certificate(entry).fault


def test_a_check_that_would_take_too_long_says_that_it_is_not_verified(written: Entry) -> None:
    entry = worse_with_gap(written["value"] * 1.0001)
    report = check_certificate(entry, most_mappings=0)
    assert not report.ok
    assert "not verified" in report.fault


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "has the format 'other'"),
        ({"points": []}, "no mapping"),
        ({"objective": "speed"}, "objective 'speed' is unknown"),
        ({"value": "much"}, "cannot be read"),
        ({"operator": {}}, "field 'dims' is missing"),
    ],
)
def test_a_file_that_is_no_certificate_says_what_is_wrong(written: Entry, change: Entry, message: str) -> None:
    with pytest.raises(MappingError, match=message):
        check_certificate({**written, **change})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"cannot read certificate .*none\.json"):
        check_certificate(tmp_path / "none.json")
    with pytest.raises(MappingError, match="cannot write the certificate"):
        write_certificate(search(gemm(2, 2, 2), toy()), tmp_path / "nowhere" / "some.json")


# --- why the checker can be believed


def test_the_checker_uses_nothing_of_the_mapper() -> None:
    folder = ROOT / "hwmodels" / "mapping"
    files = [folder / "checker.py", *sorted((folder / "checking").glob("*.py"))]
    assert len(files) > 4
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert "mapper" not in str(node.module), f"{path.name} imports {node.module}"


RULES = (
    REFERENCE,
    SILICON,
    replace(REFERENCE, exact_windows=True),
    replace(SILICON, exact_windows=False),
    replace(REFERENCE, exact_windows=True, forwarding=True),
    replace(REFERENCE, fill_drain=True),
)


def random_convolution(rng: np.random.Generator) -> Operator:
    """Give a small convolution: strides, dilation, padding that clips."""
    choices = {
        "R": (1, 2, 3, 4),
        "S": (1, 1, 2, 3),
        "P": (1, 2, 3, 4, 6),
        "Q": (1, 2, 4),
        "C": (1, 1, 2, 3),
        "K": (1, 2),
    }
    sizes = {dim: int(rng.choice(some)) for dim, some in choices.items()}
    stride_p, stride_q, dilation, padding = (int(rng.integers(low, low + 3)) for low in (1, 1, 1, 0))
    length = stride_q * (sizes["Q"] - 1) + dilation * (sizes["S"] - 1) + 1 - 2 * padding
    clipped = axis((stride_q, "Q"), (dilation, "S"), offset=-padding, extent=max(length, 1) if padding else None)
    inputs = (
        Tensor(name="I", axes=(axis("C"), clipped, axis((stride_p, "P"), "R")), bits=8),
        Tensor(name="W", axes=(axis("C"), axis("K"), axis("R"), axis("S")), role="weight", bits=8),
    )
    outputs = (Tensor(name="O", axes=(axis("K"), axis("Q"), axis("P")), bits=8),)
    return Operator(name="conv", op_type="Conv", kind="conv", dims=sizes, inputs=inputs, outputs=outputs)


def random_operator(rng: np.random.Generator) -> Operator:
    if rng.random() < 0.25:
        return gemm(*(int(rng.choice((1, 2, 3, 4, 6))) for _ in range(3)))
    while True:
        operator = random_convolution(rng)
        if operator.points() <= 150:
            return operator


def random_accelerator(rng: np.random.Generator) -> Accelerator:
    """Give two to four levels of any kind, somewhere a mesh of one or two axes."""

    def pick(*some: Any) -> Any:
        return some[rng.integers(len(some))]

    levels: list[BufferLevel] = []
    depth = int(rng.integers(2, 5))
    for place in range(depth):
        spread = rng.random() < 0.4 or (place == depth - 1 and not any(level.mesh for level in levels))
        mesh = tuple(
            MeshAxis(
                name=name, size=pick(2, 3, 4, 6), forwards=pick((), ("I",)), shared=pick(ROLES, ("W", "O"), ("I", "O"))
            )
            for name in "XY"[: int(rng.integers(1, 3))]
        )
        levels.append(
            BufferLevel(
                name=f"L{place}",
                keeps=ROLES if place == 0 else tuple(role for role in ROLES if rng.random() < 0.6),
                capacity_words=None if place == 0 else pick(4, 8, 16, 40, 100),
                word_bits=pick(8, 16, 32),
                read_words_per_cycle=pick(None, 0.5, 2.0, 8.0),
                write_words_per_cycle=pick(None, 0.5, 2.0, 8.0),
                read_j=pick(0.0, 1.0, 5.0, 100.0),
                write_j=pick(0.0, 1.0, 7.0, 100.0),
                mesh=mesh if spread else (),
                buffering=pick("double", "serial", "shadow"),
                shared_port=pick(True, False),
                burst_bits=pick(0, 32, 64) if place == 0 else 0,
            )
        )
    return Accelerator(name="random", levels=tuple(levels), mac_j=0.5, static_w=pick(0.0, 1e9))


def joined(parts: Iterator[Classes]) -> Classes:
    every = list(parts)
    return Classes(*(np.concatenate([getattr(part, name) for part in every]) for name in ("vector", "tiles", "inner")))


def random_chain(setting: Setting, rng: np.random.Generator) -> list[Classes]:
    """Give one class, decided level by level, with all the wider classes that it lies in."""
    start = np.array([rng.integers(len(setting.factors))])
    chain = [Classes(start, np.array([[setting.sizes]], dtype=np.int64), np.zeros((1, 0), dtype=np.int64))]
    for _ in range(1, setting.depth):
        parts = joined(inwards(setting, chain[-1]))
        parts = parts.take(fitting(setting, parts))
        if not len(parts):
            return []
        chain.append(parts.take(np.array([rng.integers(len(parts))])))
    return chain


def random_case(rng: np.random.Generator) -> tuple[int, int]:
    """Hold the bounds of one random class, at every stage, to all its mappings; give how many, and how many tight."""
    operator, accelerator, rules = random_operator(rng), random_accelerator(rng), RULES[rng.integers(len(RULES))]
    problem = problem_on(operator, accelerator, rules)
    vectors = spreads(problem, accelerator, relaxed=False)
    patterns = bypass_patterns(accelerator, relaxed=False)
    factors = np.array([vector.factors for vector in vectors], dtype=np.int64)
    fill = np.array([vector.fill for vector in vectors], dtype=np.int64)
    setting = setting_of(problem, accelerator, rules, patterns[rng.integers(len(patterns))], factors, fill)
    chain = random_chain(setting, rng)
    if not chain or order_count(setting, vectors, chain[-1]) > 500:
        return 0, 0
    costs = [evaluate(problem, accelerator, batch, rules) for batch in every_order(setting, vectors, chain[-1])]
    energy = min(float(cost.energy_j.min()) for cost in costs)
    cycles = min(float(cost.cycles.min()) for cost in costs)
    for classes in chain:
        least = least_costs(setting, classes)
        told = f"{rules}\n{operator}\n{accelerator}\n{classes}\n{setting.keeps}"
        assert least[0][0] <= energy * (1 + 1e-9), told
        assert least[1][0] <= cycles, told
    return sum(map(len, costs)), int(least[0][0] > energy * (1 - 1e-9))


@pytest.mark.parametrize("seed", range(3))
def test_no_bound_of_a_class_exceeds_any_of_its_mappings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mappings, tight = zip(*[random_case(rng) for _ in range(50)], strict=True)
    cases = sum(count > 0 for count in mappings)
    assert cases > 15
    assert sum(tight) > cases / 2, "bounds that are never met prove little"


def test_gemms_are_bounded_exactly_once_all_tiles_are_known(written: Entry) -> None:
    report = check_certificate(written)
    assert any("0 mappings priced" in line for line in report.lines), str(report)


def all_mappings(operator: Operator, accelerator: Accelerator, rules: Conventions) -> Iterator[tuple[float, float]]:
    """Price what the checker lists, without discarding anything."""
    problem = problem_on(operator, accelerator, rules)
    vectors = spreads(problem, accelerator, relaxed=False)
    factors = np.array([vector.factors for vector in vectors], dtype=np.int64)
    fill = np.zeros(len(vectors), dtype=np.int64)
    for keeps in bypass_patterns(accelerator, relaxed=False):
        setting = setting_of(problem, accelerator, rules, keeps, factors, fill)
        n = len(vectors)
        sizes = np.broadcast_to(np.array(setting.sizes, dtype=np.int64), (n, 1, len(setting.sizes)))
        classes = Classes(np.arange(n), sizes, np.zeros((n, 0), dtype=np.int64))
        for _ in range(1, setting.depth):
            classes = joined(inwards(setting, classes))
        for batch in every_order(setting, vectors, classes):
            cost = evaluate(problem, accelerator, batch, rules)
            yield from zip(cost.energy_j.tolist(), cost.cycles.tolist(), strict=True)


def test_what_the_checker_lists_costs_what_brute_force_lists() -> None:
    operator, rules = conv_operator("conv", {"R": 2, "S": 1, "P": 2, "Q": 1, "C": 1, "K": 1, "N": 1}, 1), SILICON
    mesh = (MeshAxis(name="X", size=2, forwards=("I",)), MeshAxis(name="Y", size=2))
    accelerator = toy(levels=(toy().levels[0], replace(toy().levels[1], mesh=mesh)))

    def rounded(costs: Iterator[tuple[float, float]]) -> set[tuple[float, float]]:
        return {(round(energy, 6), cycles) for energy, cycles in costs if np.isfinite(energy)}

    every = every_cost(operator, accelerator, rules)
    assert rounded(all_mappings(operator, accelerator, rules)) == rounded(map(tuple, every.tolist()))
