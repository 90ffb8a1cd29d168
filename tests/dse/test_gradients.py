"""Gradients over mappings: equal to the cost model at whole factors, right in between, and near the proven optimum."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hwmodels
from hwmodels.mapping import REFERENCE, SILICON, Accelerator, Conventions, evaluate, search
from hwmodels.mapping.cases import conv_operator, gemm_operator
from hwmodels.mapping.draws import Lot
from workloads import MappingError, SpaceError
from workloads.operator import Operator, Tensor, axis

torch: Any = pytest.importorskip("torch")
gradients: Any = pytest.importorskip("dse.gradients")

GEMM = gemm_operator("g", {"M": 96, "N": 768, "K": 64})
BATCHED = Operator(
    name="b", op_type="MatMul", kind="matmul", dims={"b": 12, "m": 64, "n": 96, "k": 64},
    inputs=(Tensor(name="I", axes=tuple(map(axis, "bmk")), bits=8),
            Tensor(name="W", axes=tuple(map(axis, "bkn")), bits=8)),
    outputs=(Tensor(name="O", axes=tuple(map(axis, "bmn")), bits=8),),
)  # fmt: skip


@pytest.fixture(scope="module")
def gemmini() -> Accelerator:
    device = hwmodels.load("gemmini")
    assert isinstance(device, Accelerator)
    return device


@pytest.mark.parametrize("operator", [GEMM, BATCHED], ids=lambda one: one.name)
@pytest.mark.parametrize("rules", [REFERENCE, SILICON], ids=lambda one: one.name)
@pytest.mark.parametrize("relaxed", [False, True])
def test_at_whole_factors_costs_are_those_of_the_cost_model(
    gemmini: Accelerator, operator: Operator, rules: Conventions, relaxed: bool
) -> None:
    found = gradients.relax(operator, gemmini, conventions=rules, relaxed=relaxed)
    rng = np.random.default_rng(0)
    lot = found.maker.draw(rng)[0].first(40 if relaxed else 150)
    places = rng.integers(len(found.orders), size=(len(lot.draws), found.depth))
    lot = Lot(lot.draws, lot.pattern, lot.factors, found.orders[places][:, :, ::-1])
    ours = gradients.costs(found, found.point(lot.factors, places, lot.pattern), exact=True)
    assert len(lot.draws) >= 40
    assert (ours.excess == 0.0).all()
    for batch, rows in found.maker.batches([lot]):
        theirs = evaluate(operator, gemmini, batch, rules, relaxed)
        np.testing.assert_allclose(ours.energy_j[rows], theirs.energy_j, rtol=1e-9)
        np.testing.assert_array_equal(ours.cycles[rows], theirs.cycles)


@pytest.mark.parametrize("rules", [REFERENCE, SILICON], ids=lambda one: one.name)
def test_gradients_are_finite_differences(gemmini: Accelerator, rules: Conventions) -> None:
    from dse.gradients.descent import Variables

    found = gradients.relax(GEMM, gemmini, conventions=rules)
    variables = Variables.random(found, 3, np.random.default_rng(1))

    def loss() -> Any:
        cost = gradients.costs(found, variables.point(found, 0.7), blur=0.3)
        return (cost.log_edp + cost.excess).sum()

    loss().backward()
    step = 1e-6
    for tensor in (variables.shares, variables.orders):
        flat = tensor.detach().reshape(-1)
        for at in range(0, len(flat), 5):
            ends = []
            for sign in (1.0, -1.0):
                flat[at] += sign * step
                ends.append(float(loss().detach()))
                flat[at] -= sign * step
            slope = (ends[0] - ends[1]) / (2.0 * step)
            assert tensor.grad is not None
            assert float(tensor.grad.reshape(-1)[at]) == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_what_does_not_fit_has_excess(gemmini: Accelerator) -> None:
    found = gradients.relax(GEMM, gemmini, conventions=REFERENCE)
    factors = np.ones((1, 3, len(found.maker.places)), dtype=np.int64)
    factors[0, :, found.temporal(3)] = found.sizes  # all loops inside the weight registers
    point = found.point(factors, np.zeros((1, 4), dtype=np.int64), np.zeros(1, dtype=np.int64))
    assert float(gradients.costs(found, point).excess) > np.log(768 * 64) - 1e-6


def test_a_descent_comes_near_the_proven_optimum_and_repeats(gemmini: Accelerator) -> None:
    best = search(GEMM, gemmini)
    first, again = (gradients.descend(GEMM, gemmini, seed=0, starts=64, steps=40, rounds=1) for _ in range(2))
    assert best.gap == 0.0
    assert first.mapping == again.mapping
    assert best.value * (1.0 - 1e-9) <= first.value <= 1.1 * best.value
    assert first.cost.fits[0]


def test_buffers_and_tiles_together_stay_within_the_area(gemmini: Accelerator) -> None:
    prices = gradients.buffer_prices(gemmini, ["Scratchpad", "Accumulator"], 2.0 ** np.arange(-3, 2))
    found = gradients.descend_buffers([(GEMM, 2)], prices, most_mm2=1.3, seed=0, starts=32, steps=40)
    designs = [
        search(GEMM, gradients.with_buffers(gemmini, prices.at(places))[0]).value * 4 for places in prices.grid(1.3)
    ]
    assert found.area_mm2 <= 1.3
    assert min(designs) * (1.0 - 1e-9) <= found.value <= 1.3 * min(designs)
    device, area = gradients.with_buffers(gemmini, found.factors)
    assert (device.levels, area) == (found.accelerator.levels, found.area_mm2)


def test_what_gradients_do_not_cover_is_refused(gemmini: Accelerator) -> None:
    conv = conv_operator("c", dict(zip("RSPQCKN", (3, 3, 4, 4, 4, 4, 1), strict=True)))
    with pytest.raises(MappingError, match="sliding window"):
        gradients.relax(conv, gemmini)
    with pytest.raises(MappingError, match="WeightSpad stops the work"):
        gradients.relax(GEMM, hwmodels.load("eyeriss"), conventions=SILICON)
    with pytest.raises(SpaceError, match="equal ratios"):
        gradients.buffer_prices(gemmini, ["Scratchpad"], [1.0, 2.0, 3.0])


def test_pictures_are_written_and_refuse_nothing_to_draw(tmp_path: Path) -> None:
    from dse.plots.mapspaces import gap_over_time, random_mappings_edp

    assert random_mappings_edp(tmp_path / "a.png", {"x": np.geomspace(1, 100, 50)}, {"x": 3.0}).stat().st_size > 0
    assert gap_over_time(tmp_path / "b.png", {"x": [(1.0, 0.1), (2.0, 0.0)]}, {"x": 0.1}).stat().st_size > 0
    with pytest.raises(SpaceError, match="nothing to draw"):
        random_mappings_edp(tmp_path / "c.png", {})
    with pytest.raises(SpaceError, match="nothing to draw"):
        gap_over_time(tmp_path / "d.png", {})
