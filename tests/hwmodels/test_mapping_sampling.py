"""Random mappings: valid, uniform over all choices, the same for the same seed; and what a study says of them."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import hwmodels
from hwmodels.mapping import (
    REFERENCE,
    SILICON,
    Accelerator,
    BufferLevel,
    Mapping,
    MeshAxis,
    evaluate,
    from_factors,
    problem_on,
)
from hwmodels.mapping.cases import conv_operator, gemm_operator
from hwmodels.mapping.mapper.results import trimmed
from hwmodels.mapping.mapspace_study import mapspace
from hwmodels.mapping.sampling import Sample, random_mappings
from hwmodels.spatial import ROLES
from workloads import MappingError

TOY = Accelerator(
    name="toy",
    levels=(
        BufferLevel(name="DRAM", keeps=ROLES, capacity_words=None, word_bits=8, read_j=1e-10, write_j=1e-10,
                    mesh=(MeshAxis(name="X", size=2, distinct=("W", "O"), shared=("I",)),)),
        BufferLevel(name="Buffer", keeps=ROLES, capacity_words=9, word_bits=8, read_j=1e-12, write_j=1e-12,
                    bypass=("I",)),
    ),
    mac_j=1e-12,
    conventions=REFERENCE,
)  # fmt: skip
CONV = conv_operator("conv", dict(zip("RSPQCKN", (3, 3, 6, 4, 4, 8, 1), strict=True)), stride=2)


@pytest.fixture(scope="module")
def gemmini() -> Accelerator:
    device = hwmodels.load("gemmini")
    assert isinstance(device, Accelerator)
    return device


def every_choice() -> Counter[Mapping]:
    """Write out all valid choices of a 4 x 2 x 2 product on the toy, by the mapping that they come to."""
    sizes = {"M": 4, "N": 2, "K": 2}
    problem = problem_on(gemm_operator("g", sizes), TOY, REFERENCE)

    def splits(size: int, parts: int) -> list[tuple[int, ...]]:
        return [part for part in itertools.product((1, 2, 4), repeat=parts) if np.prod(part) == size]

    mappings = []
    orders = list(itertools.permutations("MNK"))
    for m, n, k in itertools.product(splits(4, 2), splits(2, 3), splits(2, 2)):
        outer, inner = {"M": m[0], "N": n[0], "K": k[0]}, {"M": m[1], "N": n[2], "K": k[1]}
        for first, second, kept in itertools.product(orders, orders, (("W", "I", "O"), ("W", "O"))):
            nest = [
                ("DRAM", ROLES, [(d, outer[d]) for d in first], {"X": [("N", n[1])]}),
                ("Buffer", kept, [(d, inner[d]) for d in second], {}),
            ]
            mappings.append(from_factors(nest, sizes))
    fits = evaluate(problem, TOY, mappings).fits
    return Counter(trimmed(mapping, problem) for mapping, good in zip(mappings, fits, strict=True) if good)


def test_every_valid_choice_is_drawn_as_often_as_any_other() -> None:
    every, n = every_choice(), 20_000
    sample = random_mappings(gemm_operator("g", {"M": 4, "N": 2, "K": 2}), TOY, n, seed=3)
    drawn: Counter[Mapping] = Counter()
    for batch in sample.batches:
        _, first, counts = np.unique(batch.steps, axis=0, return_index=True, return_counts=True)
        for row, count in zip(first, counts, strict=True):
            drawn[trimmed(batch.mapping(int(row)), sample.problem)] += int(count)
    assert set(drawn) == set(every)
    expected = {mapping: n * count / every.total() for mapping, count in every.items()}
    chi2 = sum((drawn[mapping] - mean) ** 2 / mean for mapping, mean in expected.items())
    degrees = len(expected) - 1
    assert abs(chi2 - degrees) < 5 * np.sqrt(2 * degrees)


def steps(sample: Sample) -> list[Mapping]:
    return [sample.mapping(place) for place in range(len(sample))]


def test_same_seed_same_mappings_and_a_larger_sample_begins_with_the_smaller(gemmini: Accelerator) -> None:
    gemm = gemm_operator("g", {"M": 64, "N": 96, "K": 48})
    first, again, other = (random_mappings(gemm, gemmini, 40, seed=seed) for seed in (1, 1, 2))
    assert steps(first) == steps(again) != steps(other)
    assert steps(random_mappings(gemm, gemmini, 1500, seed=1))[:40] == steps(first)
    assert steps(random_mappings(gemm, gemmini, 40, seed=np.random.default_rng(1))) == steps(first)


@pytest.mark.parametrize("rules", [REFERENCE, SILICON], ids=lambda rules: rules.name)
def test_a_batch_of_a_few_structures_costs_what_its_mappings_cost_one_by_one(gemmini, rules) -> None:  # type: ignore[no-untyped-def]
    sample = random_mappings(CONV, gemmini, 100, seed=0, conventions=rules)
    assert len(sample.batches) < 50
    for batch, places in list(zip(sample.batches, sample.places, strict=True))[::4]:
        together = evaluate(CONV, gemmini, batch, rules)
        assert together.fits.all()
        for row in (0, len(batch) - 1):
            alone = evaluate(CONV, gemmini, sample.mapping(int(places[row])), rules)
            assert alone.energy_j[0] == pytest.approx(together.energy_j[row], rel=1e-12)
            assert alone.cycles[0] == together.cycles[row]
            assert (alone.reads[0] == together.reads[row]).all()


def test_all_orders_of_seven_dims_occur_each_mapping_for_itself(gemmini: Accelerator) -> None:
    sample = random_mappings(CONV, gemmini, 2000, seed=0)
    outermost = [tuple(loop.dim for loop in mapping.levels[0].temporal) for mapping in steps(sample)[:600]]
    assert len({order for order in outermost if len(order) >= 3}) > 100
    pairs = Counter(order.index("C") < order.index("K") for order in outermost if {"C", "K"} <= set(order))
    assert abs(pairs[True] - pairs[False]) < 5 * np.sqrt(pairs.total())


def test_what_is_drawn_obeys_wires_and_bypass_and_relaxed_lifts_them(gemmini: Accelerator) -> None:
    gemm = gemm_operator("g", {"M": 64, "N": 64, "K": 64})
    for relaxed in (False, True):
        mappings = steps(random_mappings(gemm, gemmini, 200, seed=0, relaxed=relaxed))
        unrolled = {(loop.axis, loop.dim) for mapping in mappings for loop in mapping.levels[2].spatial}
        kept = {level.keeps for mapping in mappings for level in mapping.levels[1:2]}
        assert (unrolled == {("X", "N"), ("Y", "K")}) is not relaxed
        assert (kept == {("W", "I")}) is not relaxed


def test_where_next_to_nothing_fits_the_message_says_what_stood_in_the_way() -> None:
    full = replace(TOY, levels=(TOY.levels[0], replace(TOY.levels[1], capacity_words=1)))
    with pytest.raises(MappingError, match=r"toy: 0 of .* random mappings are valid, .* tiles do not fit"):
        random_mappings(gemm_operator("g", {"M": 4, "N": 2, "K": 2}), full, 1, seed=0)
    with pytest.raises(MappingError, match="ask for at least 1"):
        random_mappings(gemm_operator("g", {"M": 4, "N": 2, "K": 2}), TOY, 0, seed=0)
    with pytest.raises(MappingError, match="no random mapping 7"):
        random_mappings(gemm_operator("g", {"M": 4, "N": 2, "K": 2}), TOY, 5, seed=0).mapping(7)


def test_a_sample_of_a_tiny_mapspace_finds_the_optimum_that_the_search_proves() -> None:
    found = mapspace(gemm_operator("g", {"M": 4, "N": 2, "K": 2}), TOY, 2000)
    assert found.optimum.gap == 0.0
    assert found.base("sampled") == pytest.approx(found.optimum.value, rel=1e-12)
    assert found.best_after(2000) == pytest.approx(1.0, rel=1e-12)
    cost = evaluate(found.operator, TOY, found.best)
    assert float(cost.edp_j_cycles[0]) == found.base()


def test_figures_of_a_study_are_those_of_its_values(gemmini: Accelerator) -> None:
    gemm = gemm_operator("proj", {"M": 512, "N": 768, "K": 768})
    found = mapspace(gemm, gemmini, 2000, conventions=REFERENCE)
    edp = np.sort(found.energy_j * found.cycles)
    assert len(found) == 2000
    assert found.optimum.value <= edp[0]  # proven
    assert found.percentile(10) == pytest.approx(np.percentile(edp, 10) / edp[0])
    assert found.share_below(3.0, "optimum") == (edp < 3.0 * found.optimum.value).mean()
    assert found.decades == pytest.approx(np.log10(edp[-1] / edp[0]))
    assert found.best_after(10) >= found.best_after(2000) > 1.0
    with pytest.raises(MappingError, match="give sampled or optimum"):
        found.base("best")  # type: ignore[arg-type]
