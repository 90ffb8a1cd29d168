"""Fronts, ranks, crowding and hypervolume: against brute force, known optima and pymoo."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from dse.pareto import crowding_distance, front_ranks, hypervolume, non_dominated

Floats = NDArray[np.float64]


def cost_tables(most: int = 40) -> st.SearchStrategy[Floats]:
    """Few distinct values, so that ties, equal points and dominated points are all frequent."""
    shapes = st.tuples(st.integers(1, most), st.integers(1, 5))
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=st.integers(0, 5).map(float)))


def beaten(costs: Floats) -> NDArray[np.bool_]:
    """The definition, pair by pair."""
    return np.array([any((other <= row).all() and (other < row).any() for other in costs) for row in costs])


def volume_of_cells(costs: Floats, reference: int) -> int:
    """Count the unit cells of a grid of whole numbers that some point dominates."""
    corners = np.stack(np.meshgrid(*[np.arange(reference)] * costs.shape[1], indexing="ij"), axis=-1)
    return int((corners[..., None, :] >= costs).all(axis=-1).any(axis=-1).sum())


@given(cost_tables())
def test_the_front_is_what_no_other_point_beats(costs: Floats) -> None:
    assert (non_dominated(costs) == ~beaten(costs)).all()


@given(cost_tables())
def test_the_order_of_the_points_does_not_matter(costs: Floats) -> None:
    order = np.random.default_rng(len(costs)).permutation(len(costs))
    assert (non_dominated(costs[order]) == non_dominated(costs)[order]).all()


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_the_front_of_many_points_is_the_front_of_its_parts_together(objectives: int) -> None:
    costs = np.round(np.random.default_rng(objectives).random((20_000, objectives)), 3)
    parts = np.array_split(np.arange(len(costs)), 40)
    survivors = np.concatenate([part[non_dominated(costs[part])] for part in parts])
    expected = np.zeros(len(costs), dtype=bool)
    expected[survivors[~beaten(costs[survivors])]] = True
    assert (non_dominated(costs) == expected).all()


def test_points_with_nan_or_infinite_values_are_never_on_the_front() -> None:
    costs = [[math.nan, 0.0], [math.inf, 0.0], [-math.inf, 0.0], [1.0, 1.0]]
    assert non_dominated(costs).tolist() == [False, False, False, True]


@given(cost_tables())
def test_every_rank_is_the_front_of_what_the_lower_ranks_leave(costs: Floats) -> None:
    ranks = front_ranks(costs)
    assert set(ranks) == set(range(ranks.max() + 1))
    for rank in range(ranks.max() + 1):
        rest = np.flatnonzero(ranks >= rank)
        assert (~beaten(costs[rest]) == (ranks[rest] == rank)).all()


def test_many_points_are_ranked_as_few_are() -> None:
    costs = np.round(np.random.default_rng(0).random((1500, 3)), 2)
    ranks = front_ranks(costs)
    for rank in (0, 1, 2, int(ranks.max())):
        rest = np.flatnonzero(ranks >= rank)
        assert (non_dominated(costs[rest]) == (ranks[rest] == rank)).all()


def test_crowding_is_the_perimeter_to_the_neighbours_and_infinite_at_the_ends() -> None:
    distance = crowding_distance([[0.0, 4.0], [1.0, 2.0], [4.0, 0.0]])
    assert distance.tolist() == [math.inf, 2.0, math.inf]


@given(cost_tables(most=12))
def test_the_hypervolume_is_the_number_of_dominated_cells(costs: Floats) -> None:
    assert hypervolume(costs, np.full(costs.shape[1], 6)) == volume_of_cells(costs, 6)


@given(cost_tables(most=12))
def test_a_further_point_never_takes_hypervolume_away(costs: Floats) -> None:
    reference = np.full(costs.shape[1], 5.5)
    assert hypervolume(costs, reference) >= hypervolume(costs[:-1].reshape(-1, costs.shape[1]), reference)


@pytest.mark.parametrize("objectives", [2, 3, 4, 5])
def test_the_hypervolume_equals_pymoos(objectives: int) -> None:
    from pymoo.indicators.hv import HV

    costs = np.random.default_rng(objectives).random((40, objectives))
    reference = np.full(objectives, 0.9)
    assert hypervolume(costs, reference) == pytest.approx(float(HV(reference)(costs)), rel=1e-9)


def test_the_hypervolume_of_zdt1_tends_to_its_integral() -> None:
    # Zitzler, Deb, Thiele, Comparison of multiobjective evolutionary algorithms, Evol. Comp. 8(2), 2000: the front is
    # f2 = 1 - sqrt(f1) on [0, 1]; the area below (1, 1) is the integral of sqrt(f1), 2/3.
    first = np.linspace(0, 1, 20_001)
    assert hypervolume(np.stack([first, 1 - np.sqrt(first)], axis=1), [1, 1]) == pytest.approx(2 / 3, abs=1e-4)


def test_the_hypervolume_of_dtlz2_tends_to_a_cube_less_an_eighth_of_a_ball() -> None:
    # Deb, Thiele, Laumanns, Zitzler, Scalable multi-objective optimization test problems, CEC 2002: the front is the
    # unit sphere in the positive octant; with the reference (1.1, 1.1, 1.1) the volume is 1.1^3 - pi/6.
    u, v = np.meshgrid(np.linspace(0, math.pi / 2, 120), np.linspace(0, math.pi / 2, 120))
    front = np.stack([np.cos(u) * np.cos(v), np.cos(u) * np.sin(v), np.sin(u)], axis=-1).reshape(-1, 3)
    exact = 1.1**3 - math.pi / 6
    assert exact * 0.98 < hypervolume(front, [1.1, 1.1, 1.1]) < exact
