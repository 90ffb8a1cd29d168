"""The mapper against every mapping of tiny operators, against published bests, and on what it must say."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwmodels.mapping import (
    REFERENCE,
    SILICON,
    Accelerator,
    Conventions,
    MeshAxis,
    check_certificate,
    evaluate,
    parse_mapping,
    search,
)
from hwmodels.mapping.cases import conv_operator, gemm_operator, read_architectures
from hwmodels.mapping.certificate import certificate
from hwmodels.mapping.mapper.goals import Objective
from hwmodels.mapping.mapper.memo import Memo
from hwmodels.spatial import ROLES, BufferLevel
from tests.hwmodels import brute_force
from workloads.errors import MappingError
from workloads.operator import Operator, Tensor, axis

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "reference" / "mapping"
ARCHITECTURES = read_architectures(GOLDEN / "architectures.yaml")

GEMMS = {
    "bert_qkvo": (512, 768, 768),
    "bert_ffn1": (512, 3072, 768),
    "bert_ffn2": (512, 768, 3072),
    "bert_qk": (512, 512, 64),
    "bert_av": (512, 64, 512),
}
CONVS = {
    "rn50_conv1": ((7, 7, 112, 112, 3, 64, 1), 2),
    "rn50_c2_3x3": ((3, 3, 56, 56, 64, 64, 1), 1),
    "rn50_c2_1x1_256_64": ((1, 1, 56, 56, 256, 64, 1), 1),
    "rn50_c5_3x3": ((3, 3, 7, 7, 512, 512, 1), 1),
}

ONE_OPTION = {
    "bits": replace(REFERENCE, name="bits", bit_true=True),
    "buffers": replace(REFERENCE, name="buffers", device_buffering=True),
    "bus": replace(REFERENCE, name="bus", shared_ports=True),
    "fill and drain": replace(REFERENCE, name="fill and drain", fill_drain=True),
    "bursts": replace(REFERENCE, name="bursts", bursts=True),
    "sets": replace(REFERENCE, name="sets", exact_windows=True),
    "forwarding": replace(REFERENCE, name="forwarding", exact_windows=True, forwarding=True),
}


def layer(name: str) -> Operator:
    if name in GEMMS:
        return gemm_operator(name, dict(zip("MNK", GEMMS[name], strict=True)))
    bounds, stride = CONVS[name]
    return conv_operator(name, dict(zip("RSPQCKN", bounds, strict=True)), stride)


def wired(name: str) -> Accelerator:
    """Give an architecture with the mesh rules of the reference's README."""
    rules = {
        "gemmini_ws": {
            "X": MeshAxis(name="X", size=16, distinct=("W", "O"), shared=("I",)),
            "Y": MeshAxis(name="Y", size=16, distinct=("W", "I"), shared=("O",)),
        }
    }
    return ARCHITECTURES[name].wired(rules.get(name, {}))


@pytest.mark.parametrize("rules", [REFERENCE, SILICON, *ONE_OPTION.values()], ids=lambda rules: rules.name)
def test_no_mapping_of_a_tiny_operator_is_better(rules: Conventions) -> None:
    """All bypass patterns, spatial loops, tiles and permutations; what is proven is exactly the best of them."""
    checked = proven = 0
    for seed in range(1000):
        operator, accelerator = brute_force.tiny(seed, rules)
        if brute_force.structures(operator, accelerator, rules) > 250:
            continue
        costs = brute_force.every_cost(operator, accelerator, rules)
        checked += 1
        proven += check_against(costs, operator, accelerator, rules)
        if checked == 8:
            break
    assert proven > 3 * checked


def check_against(costs: np.ndarray, operator: Operator, accelerator: Accelerator, rules: Conventions) -> int:
    """Compare searches with a list of costs; give how many of them were proven."""
    proven = 0
    products = {"edp": costs.prod(axis=1), "energy": costs[:, 0], "latency": costs[:, 1]}
    for objective, values in products.items():
        found = search(operator, accelerator, objective, conventions=rules)  # type: ignore[arg-type]
        best = values[np.isfinite(values)].min()
        assert found.value >= best * (1 - 1e-9), "not a mapping that there is"
        assert found.lower_bound <= best * (1 + 1e-9), (accelerator.name, objective)
        if found.gap == 0.0:
            assert found.value == pytest.approx(best, rel=1e-9), (accelerator.name, objective)
            proven += 1
    front = search(operator, accelerator, "pareto", conventions=rules)
    if front.gap == 0.0:
        pairs = [[point.cost.energy_j[0], point.cost.cycles[0]] for point in front.points]
        assert np.allclose(pairs, brute_force.front(costs), rtol=1e-9), accelerator.name
        proven += 1
    return proven


def test_patterns_that_keep_inputs_at_other_levels_do_not_share_what_feeds_the_macs() -> None:
    """Inputs go past the GLB to scratchpads under two unrolled windows: found by the certificate checker."""
    operator = conv_operator("c", {"R": 3, "S": 3, "P": 7, "Q": 7, "C": 4, "K": 4, "N": 1})
    device = ARCHITECTURES["eyeriss168"]
    kept = ("GLB", "IfmapSpad")
    device = replace(
        device, levels=tuple(replace(level, bypass=None if level.name in kept else ()) for level in device.levels)
    )
    found = search(operator, device, "energy")
    text = """DRAM keeps W I O
        GLB keeps nothing
        | parallel Q by 1 on X
        | | parallel S by 1 on Y
        | | | parallel C by 1 on Y
        IfmapSpad keeps I
        WeightSpad keeps W
        | | | | for K by 1
        | | | | | for R by 1
        PsumSpad keeps O
        | | | | | | for P by 1"""
    known = evaluate(operator, device, parse_mapping(text))
    assert known.energy_j[0] == pytest.approx(1.466516e-07)
    assert found.value <= known.energy_j[0]


def test_first_tiles_that_lie_in_the_padding_load_nothing() -> None:
    """The first of three steps along S uses no stored input: found by the certificate checker."""
    operator = padded({"R": 2, "S": 3, "P": 2, "Q": 1, "C": 3})
    outer = BufferLevel(
        name="L0",
        keeps=ROLES,
        capacity_words=None,
        word_bits=32,
        read_words_per_cycle=2,
        write_words_per_cycle=0.5,
        read_j=1.0,
        shared_port=True,
        mesh=(MeshAxis(name="X", size=6, shared=("I", "O")),),
    )
    inner = BufferLevel(
        name="L1",
        keeps=("W", "I"),
        capacity_words=100,
        word_bits=8,
        read_words_per_cycle=0.5,
        read_j=1.0,
        write_j=7.0,
        shared_port=True,
        buffering="shadow",
        bypass=(),
        mesh=(
            MeshAxis(name="X", size=3, shared=("W", "O")),
            MeshAxis(name="Y", size=6, shared=("I", "O"), forwards=("I",)),
        ),
    )
    device = Accelerator(name="padded", levels=(outer, inner), mac_j=0.5)
    text = """L0 keeps W I O
        | parallel C by 1 on X
        | | for S by 1
        L1 keeps W I
        | | | parallel P by 1 on X
        | | | | parallel R by 1 on Y"""
    text = text.replace(
        "| parallel C by 1 on X\n        | | for S by 1", "| for S by 1\n        | | parallel C by 1 on X"
    )
    known = evaluate(operator, device, parse_mapping(text))
    assert known.cycles[0] == 23
    assert search(operator, device, "edp").value <= known.energy_j[0] * known.cycles[0] * (1 + 1e-9)


def padded(sizes: dict[str, int]) -> Operator:
    """Give a convolution whose inputs begin with padding along Q and S."""
    windows = axis((2, "Q"), (1, "S"), offset=-1, extent=1), axis((1, "P"), (1, "R"))
    tensors = (
        Tensor(name="I", axes=(axis("C"), *windows), bits=8),
        Tensor(name="W", axes=(axis("C"), axis("R"), axis("S")), role="weight", bits=8),
        Tensor(name="O", axes=(axis("Q"), axis("P")), bits=8),
    )
    return Operator(name="padded", op_type="Conv", kind="conv", dims=sizes, inputs=tensors[:2], outputs=tensors[2:])


def test_windows_spread_at_two_levels_are_priced_by_the_cost_model() -> None:
    """Temporal loops between them take children apart that closed forms count side by side: found by the checker."""
    windows = axis((1, "Q"), (1, "S"), offset=-1, extent=2), axis((1, "P"), (1, "R"))
    tensors = (
        Tensor(name="I", axes=windows, bits=8),
        Tensor(name="W", axes=(axis("R"), axis("S")), role="weight", bits=8),
        Tensor(name="O", axes=(axis("Q"), axis("P")), bits=8),
    )
    sizes = {"R": 3, "S": 2, "P": 4, "Q": 2}
    operator = Operator(name="c", op_type="Conv", kind="conv", dims=sizes, inputs=tensors[:2], outputs=tensors[2:])
    spread = tuple(MeshAxis(name=name, size=size, shared=("W", "O")) for name, size in (("X", 3), ("Y", 6)))
    outer = BufferLevel(
        name="L0",
        keeps=ROLES,
        capacity_words=None,
        word_bits=32,
        read_words_per_cycle=2,
        read_j=5.0,
        write_j=7.0,
        mesh=spread,
    )
    inner = BufferLevel(
        name="L1",
        keeps=("W", "O"),
        capacity_words=100,
        word_bits=16,
        read_j=5.0,
        bypass=(),
        mesh=(MeshAxis(name="X", size=3, shared=("I", "O")),),
    )
    device = Accelerator(name="two", levels=(outer, inner), mac_j=0.5, static_w=1e9, conventions=REFERENCE)
    objectives: tuple[Objective, ...] = ("edp", "energy", "latency", "pareto")
    for objective in objectives:
        found = search(operator, device, objective)
        assert found.gap == 0.0
        assert check_certificate(certificate(found)).ok


def test_an_operator_that_reads_padding_alone_is_refused() -> None:
    with pytest.raises(MappingError, match="padded: all that it uses of 'I' lies in the padding"):
        search(padded({"R": 1, "S": 1, "P": 4, "Q": 1, "C": 3}), toy())


def published() -> list[dict[str, str]]:
    with (GOLDEN / "best_found.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["edp_pJ_cycles"]]


TOO_LONG = {("eyeriss168", "rn50_c2_3x3")}
"""Half a minute; in `reports/mapper.md`."""

PUBLISHED = sorted({(row["architecture"], row["layer"]) for row in published()} - TOO_LONG)


@pytest.mark.parametrize(("architecture", "name"), PUBLISHED)
def test_never_worse_than_a_published_best(architecture: str, name: str) -> None:
    """Rows counted exactly as here: not worse. Rows of models that differ a little: within 3 % of them or better."""
    rows = [row for row in published() if (row["architecture"], row["layer"]) == (architecture, name)]
    found = search(layer(name), wired(architecture), "edp")
    assert found.gap == 0.0
    cost = found.cost.energy_j[0] * 1e12 * found.cost.cycles[0]
    for row in rows:
        exact = row["model_note"] == "as README" or row["model_note"].endswith("exactly as defined in README")
        assert cost <= float(row["edp_pJ_cycles"]) * (1 + 1e-5 if exact else 1.03), row


def test_with_the_levels_and_unrolling_of_the_enumeration_its_optimum_is_found() -> None:
    """`exhaustive-numpy` keeps every tensor at every level: with no bypass the same optimum, to the last digit."""
    device = wired("gemmini_ws")
    device = replace(device, levels=tuple(replace(level, bypass=()) for level in device.levels))
    rows = {row["layer"]: row for row in published() if row["peer"].startswith("exhaustive-numpy")}
    assert sorted(rows) == ["bert_ffn1", "bert_qk", "bert_qkvo"]
    for name, row in rows.items():
        found = search(layer(name), device, "edp")
        assert found.cost.cycles[0] == int(row["cycles"])
        assert round(found.cost.energy_j[0] * 1e12, 1) == float(row["energy_pJ"])
        assert found.gap == 0.0


def test_looser_spatial_rules_promise_a_stem_that_cannot_be_built() -> None:
    stem, device = layer("rn50_conv1"), wired("gemmini_ws")
    built, promised = search(stem, device), search(stem, device, relaxed=True)
    assert "relaxed" in str(promised.space)
    assert "wired" in str(built.space)
    assert promised.value < 0.5 * built.value
    with pytest.raises(MappingError, match="cannot unroll"):
        evaluate(stem, device, promised.mapping)


def test_a_result_prints_as_a_loop_nest_that_parses_back() -> None:
    found = search(layer("bert_qk"), wired("gemmini_ws"))
    assert parse_mapping(str(found)) == found.mapping
    again = evaluate(found.operator, found.accelerator, parse_mapping(str(found)))
    assert again.energy_j[0] == found.cost.energy_j[0]


def test_the_front_ends_at_the_single_objectives_and_holds_the_best_product() -> None:
    device, operator = wired("gemmini_ws"), layer("bert_qkvo")
    device = replace(device, levels=(replace(device.levels[0], read_words_per_cycle=1.0), *device.levels[1:]))
    front = search(operator, device, "pareto")
    costs = [(point.cost.energy_j[0], point.cost.cycles[0]) for point in front.points]
    assert len(costs) > 1
    assert costs == sorted(costs, key=lambda pair: pair[1])
    assert min(energy for energy, _ in costs) == pytest.approx(search(operator, device, "energy").value, rel=1e-12)
    assert min(cycles for _, cycles in costs) == search(operator, device, "latency").value
    least = min(energy * cycles for energy, cycles in costs)
    assert least == pytest.approx(search(operator, device, "edp").value, rel=1e-12)


def test_a_proof_names_its_space() -> None:
    found = search(layer("bert_av"), wired("gemmini_ws"))
    assert str(found.space) == (
        "perfect factors, all orders, 16 bypass patterns, 25 spatial vectors (wired: what each mesh axis can carry), "
        "reference conventions"
    )
    assert found.candidates > 1000


# --- edge tiles -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(197, 64, 197), (49, 64, 7), (49, 49, 64), (511, 511, 64)])
def test_dims_that_do_not_divide_do_not_collapse_utilization(sizes: tuple[int, int, int]) -> None:
    """On 16 x 16 instances the array takes ceil(N / 16) x ceil(K / 16) steps for each row of inputs, no more."""
    operator, device = gemm_operator("edge", dict(zip("MNK", sizes, strict=True))), wired("gemmini_ws")
    perfect = search(operator, device)
    found = search(operator, device, factors="imperfect")
    most = sizes[1] * sizes[2] / (-(-sizes[1] // 16) * -(-sizes[2] // 16) * 256)
    assert found.cost.utilization[0] >= 0.97 * most
    assert 0.0 <= found.gap < 0.5
    assert found.value <= perfect.value
    assert evaluate(operator, device, found.mapping).cycles[0] == found.cost.cycles[0]


def test_edge_tiles_are_never_worse_than_perfect_factors() -> None:
    device = wired("gemmini_ws")
    for sizes in ((512, 768, 768), (96, 96, 96)):
        operator = gemm_operator("even", dict(zip("MNK", sizes, strict=True)))
        assert search(operator, device, factors="imperfect").value <= search(operator, device).value


# --- faults ---------------------------------------------------------------------------------------------------


def toy(**buffer: object) -> Accelerator:
    dram = BufferLevel(name="DRAM", keeps=ROLES, capacity_words=None, word_bits=8, read_j=1.0, write_j=1.0)
    level = BufferLevel(name="Buffer", keeps=ROLES, capacity_words=12, word_bits=8)
    return Accelerator(name="toy", levels=(dram, replace(level, **buffer)), mac_j=0.0, conventions=REFERENCE)  # type: ignore[arg-type]


def test_what_does_not_fit_names_tensor_level_and_need() -> None:
    operator = gemm_operator("g", {"M": 4, "N": 4, "K": 4})
    with pytest.raises(MappingError, match="Buffer has room for 2 words, the smallest tiles need 3: W 1, I 1, O 1"):
        search(operator, toy(capacity_words=2, bypass=()))
    assert search(operator, toy(capacity_words=2)).cost.fits[0]
    with pytest.raises(MappingError, match="Buffer has room for 0 words of O, it needs 1"):
        search(operator, toy(partitions={"O": 0}, bypass=()))
    small = replace(toy().levels[0], capacity_words=47)
    with pytest.raises(MappingError, match="DRAM has room for 47 words, the tensors need 48: W 16, I 16, O 16"):
        search(operator, replace(toy(), levels=(small, toy().levels[1])))


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ((1 << 31, 1 << 31, 1 << 31), r"counts are exact up to 2\^53"),
        ((0, 4, 4), "dim 'M' is 0; give a whole number of at least 1"),
        ((4, -1, 4), "dim 'N' is -1"),
        ((55440, 55440, 55440), "tiles of Buffer with perfect factors, at most 1,048,576 are searched"),
    ],
)
def test_sizes_that_cannot_be_counted_or_searched_are_refused(sizes: tuple[int, int, int], reason: str) -> None:
    with pytest.raises(MappingError, match=reason):
        search(gemm_operator("g", dict(zip("MNK", sizes, strict=True))), toy(capacity_words=1 << 40))


@pytest.mark.parametrize(
    ("level", "reason"),
    [
        ({"capacity_words": -5}, "capacity_words is -5; give 0 or more"),
        ({"read_words_per_cycle": 0.0}, "read_words_per_cycle is 0.0; give more than 0, or None"),
        ({"word_bits": 0}, "word_bits is 0"),
        ({"buffering": "zz"}, "buffering 'zz'; give double, serial or shadow"),
        ({"name": "DRAM"}, "level 'DRAM' is there twice"),
    ],
)
def test_accelerators_that_cannot_be_are_refused(level: dict[str, object], reason: str) -> None:
    with pytest.raises(MappingError, match=reason):
        toy(**level)


def test_unknown_wishes_are_refused() -> None:
    operator = gemm_operator("g", {"M": 4, "N": 4, "K": 4})
    with pytest.raises(MappingError, match="objective 'speed' is unknown; give edp, energy, latency or pareto"):
        search(operator, toy(), "speed")  # type: ignore[arg-type]
    with pytest.raises(MappingError, match="factors 'any' is unknown; give perfect or imperfect"):
        search(operator, toy(), factors="any")  # type: ignore[arg-type]
    with pytest.raises(MappingError, match="has one level"):
        search(operator, replace(toy(), levels=toy().levels[:1]))


def test_a_budget_that_runs_out_is_a_stated_gap() -> None:
    operator, device = layer("bert_qk"), replace(wired("gemmini_ws"), conventions=SILICON)
    found, hurried = search(operator, device), search(operator, device, budget=1)
    assert found.gap == 0.0
    assert hurried.value >= found.value
    assert hurried.lower_bound <= found.value


# --- memo -----------------------------------------------------------------------------------------------------


def test_a_search_is_done_once_in_memory_and_on_disk(tmp_path: Path) -> None:
    operator, device = layer("bert_qk"), wired("gemmini_ws")
    first = Memo(tmp_path)
    found = first.search(operator, device)
    assert first.search(replace(operator, name="another layer of the same shape"), device) is found
    assert first.hits == 1
    later = Memo(tmp_path)
    again = later.search(operator, device)
    assert later.hits == 1
    assert again.mapping == found.mapping
    assert (again.value, again.gap, again.candidates) == (found.value, found.gap, found.candidates)
    assert again.cost.energy_j[0] == found.cost.energy_j[0]


def test_another_accelerator_or_objective_is_another_search(tmp_path: Path) -> None:
    operator, device = layer("bert_qk"), wired("gemmini_ws")
    memo = Memo(tmp_path)
    memo.search(operator, device)
    memo.search(operator, device, "latency")
    memo.search(operator, replace(device, mac_j=device.mac_j * 2))
    memo.search(operator, device, conventions=SILICON)
    assert memo.hits == 0
    assert len(list(tmp_path.glob("*.json"))) == 4


def test_a_file_that_is_not_whole_or_not_true_is_searched_again(tmp_path: Path) -> None:
    operator, device = layer("bert_qk"), wired("gemmini_ws")
    found = Memo(tmp_path).search(operator, device)
    (path,) = tmp_path.glob("*.json")
    text = path.read_text()
    data = json.loads(text)
    wrong: list[dict[str, object]] = [
        {"mappings": []},
        {"mappings": [3]},
        {"value": "a"},
        {"lower_bound": 3 * found.value},
        {"lower_bound": -1.0},
        {"objective": "zz"},
        {"candidates": "many"},
        {"space": {}},
    ]
    damages = [json.dumps({**data, **part}) for part in wrong]
    damages += [text[: len(text) // 2], text.replace(str(found.value), str(found.value / 2)), "[]", "[" * 100_000]
    for damage in damages:
        path.write_text(damage)
        memo = Memo(tmp_path)
        assert memo.search(operator, device).value == found.value
        assert memo.hits == 0
        assert json.loads(path.read_text())["value"] == found.value
