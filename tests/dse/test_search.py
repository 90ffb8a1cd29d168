"""Searches: the conformance kit, and per-layer allocation against the exact front of dynamic programming."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dse.batches import evaluate_points
from dse.pareto import hypervolume, non_dominated
from dse.results import Result
from dse.running import run
from dse.search.additive import additive_starts
from dse.search.genetic import nsga2
from dse.search.protocol import Search
from dse.search.refine import local_refine
from dse.search.simple import exhaustive, random_search
from dse.space import Space, per_layer, uniform
from dse.testing import allocation_columns, allocation_space, check_search
from workloads.errors import SpaceError

Floats = NDArray[np.float64]


WIDTHS = (2, 3, 4, 5, 6, 7, 8)
MINIMIZE = ("size_bytes", "loss")


class Allocation:
    """Weight widths per layer: sizes are whole numbers, so the exact front is a knapsack's."""

    def __init__(self, layers: int) -> None:
        rng = np.random.default_rng(layers)
        self.sizes = rng.integers(1, 20, layers)
        self.sensitivities = rng.lognormal(0, 1.5, layers)
        self.blocks = [f"layer.{index}" for index in range(layers)]
        self.space = Space(weight_bits=per_layer(self.blocks, WIDTHS))

    def __call__(self, point: Any) -> dict[str, Any]:
        size: Any = 0.0
        loss: Any = 0.0
        for block, weight, sensitivity in zip(self.blocks, self.sizes, self.sensitivities, strict=True):
            size = size + point.weight_bits.at(block) * weight
            loss = loss + sensitivity * 4.0 ** -point.weight_bits.at(block)
        return {"size_bytes": size, "loss": loss}

    def exact_front(self) -> Floats:
        """Give the front by dynamic programming over the total size, shape (n, 2)."""
        most = int(WIDTHS[-1] * self.sizes.sum())
        least = np.full(most + 1, np.inf)
        least[0] = 0.0
        for size, sensitivity in zip(self.sizes, self.sensitivities, strict=True):
            wider = np.full(most + 1, np.inf)
            for width in WIDTHS:
                shift = int(width * size)
                wider[shift:] = np.minimum(wider[shift:], least[: most + 1 - shift] + sensitivity * 4.0**-width)
            least = wider
        every = np.stack([np.arange(most + 1, dtype=float), least], axis=1)
        return every[non_dominated(every)]

    def quality(self, result: Result) -> float:
        """Give the hypervolume as a fraction of the exact one, the loss on a logarithmic scale."""
        exact = self.exact_front()
        exact[:, 1] = np.log10(exact[:, 1])
        low, span = exact.min(axis=0), np.ptp(exact, axis=0)
        found = np.stack([result.columns["size_bytes"], np.log10(result.columns["loss"])], axis=1)
        return hypervolume((found - low) / span, [1.05, 1.05]) / hypervolume((exact - low) / span, [1.05, 1.05])


def starts(problem: Allocation, rng: np.random.Generator) -> Floats:
    return additive_starts(problem.space, partial(evaluate_points, problem.space, problem), MINIMIZE, rng=rng)


def corners_then_neighbours(space: Space, rng: np.random.Generator) -> Search:
    return local_refine(space, [np.zeros(space.genes), space.cardinalities - 1.0], rng=rng)


@pytest.mark.parametrize("make", [lambda space, rng: nsga2(space, rng=rng), corners_then_neighbours])
def test_our_searches_pass_the_conformance_kit(make: Callable[[Space, np.random.Generator], Search]) -> None:
    check_search(make)


def test_the_conformance_kit_refuses_a_search_that_leaves_the_space() -> None:
    def make(space: Space, rng: np.random.Generator) -> Search:
        def outside() -> Any:
            yield space.sample(rng, 10) + 0.5

        return Search("astray", space, outside())

    with pytest.raises(SpaceError, match="outside its space"):
        check_search(make)


def test_the_conformance_kit_refuses_a_search_that_ignores_its_seed() -> None:
    def make(space: Space, rng: np.random.Generator) -> Search:
        return nsga2(space, rng=np.random.default_rng())

    with pytest.raises(AssertionError, match="same seed"):
        check_search(make)


def test_the_conformance_kit_refuses_random_search_on_fewer_points() -> None:
    def make(space: Space, rng: np.random.Generator) -> Search:
        def few() -> Any:
            yield space.sample(rng, 10)

        return Search("lazy", space, few())

    with pytest.raises(AssertionError, match="random search is as good"):
        check_search(make)


def test_nsga2_reaches_99_percent_of_the_exact_hypervolume_of_twelve_layers() -> None:
    problem = Allocation(12)
    found = run(nsga2(problem.space, rng=np.random.default_rng(0)), problem, budget=20_000, minimize=MINIMIZE)
    assert problem.quality(found) >= 0.99


@pytest.mark.parametrize("layers", [12, 72])
def test_nsga2_from_additive_starts_needs_5000_points_for_99_percent(layers: int) -> None:
    problem, rng = Allocation(layers), np.random.default_rng(0)
    search = nsga2(problem.space, rng=rng, starts=starts(problem, rng))
    assert problem.quality(run(search, problem, budget=5000, minimize=MINIMIZE)) >= 0.99


def test_local_refinement_closes_what_nsga2_leaves_open() -> None:
    problem, rng = Allocation(12), np.random.default_rng(0)
    rough = run(nsga2(problem.space, rng=rng), problem, budget=2000, minimize=MINIMIZE)
    refined = run(local_refine(problem.space, rough.pareto().genes, rng=rng), problem, budget=20_000, minimize=MINIMIZE)
    assert problem.quality(refined) > max(0.999, problem.quality(rough))


def test_local_refinement_ends_where_no_neighbour_of_the_front_is_on_it() -> None:
    space = allocation_space()
    search = corners_then_neighbours(space, np.random.default_rng(0))
    found = run(search, allocation_columns, budget=10**6, minimize=MINIMIZE)
    assert len(found) < 7**8 / 10
    front = found.pareto()
    moves = np.concatenate([np.eye(space.genes), -np.eye(space.genes)])
    moved = np.unique((front.genes[:, None] + moves).reshape(-1, space.genes), axis=0)
    inside = moved[((moved >= 0) & (moved <= 6)).all(axis=1)]
    everyone = np.concatenate([front.genes, inside])
    columns = evaluate_points(space, allocation_columns, everyone)
    costs = np.stack([columns[name] for name in MINIMIZE], axis=1)
    assert non_dominated(costs)[: len(front)].all()


def test_exhaustive_search_and_random_search_stay_in_the_space_and_exhaustive_sees_every_point_once() -> None:
    space = Space(device=["a", "b"], bits=[2, 4, 8], widths=per_layer(["layer.0", "layer.1"], [1, 2]))

    def model(point: Any) -> dict[str, Any]:
        return {"cost": point.bits + point.widths.at("layer.1") + len(point.device)}

    found = run(exhaustive(space, chunk=5), model, budget=10**6, minimize=["cost"])
    assert len(np.unique(found.genes, axis=0)) == len(found) == space.size()
    chance = run(random_search(space, rng=np.random.default_rng(0)), model, budget=100, minimize=["cost"])
    assert sorted(chance.genes.tolist()) == sorted(found.genes.tolist())  # a space below the budget: every point, once


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 70), st.integers(0, 99))
def test_random_search_draws_no_point_twice_and_ends_with_the_space(counts: list[int], chunk: int, seed: int) -> None:
    space = Space(**{f"x{number}": list(range(count)) for number, count in enumerate(counts)})
    proposals = list(random_search(space, rng=np.random.default_rng(seed), chunk=chunk).proposals)
    assert all(0 < len(genes) <= chunk for genes in proposals)
    drawn = np.concatenate(proposals)
    assert len(np.unique(drawn, axis=0)) == len(drawn) == space.size()


def test_random_search_is_even_over_a_large_space_and_repeats_nothing() -> None:
    space = Space(bits=per_layer([f"layer.{index}" for index in range(8)], [2, 3, 4, 6, 8, 12, 16]))
    search = random_search(space, rng=np.random.default_rng(0))
    drawn = np.concatenate([next(search.proposals) for _ in range(12)])
    assert len(drawn) > 97_000
    assert len(np.unique(drawn, axis=0)) == len(drawn)
    # each of seven values in a seventh of the rows of each gene, within five standard errors
    shares = np.stack([(drawn == value).mean(axis=0) for value in range(7)])
    assert np.abs(shares - 1 / 7).max() < 5 * np.sqrt(6 / 49 / len(drawn))


def test_random_search_takes_a_space_of_more_points_than_numbers() -> None:
    space = Space(bits=per_layer([f"layer.{index}" for index in range(76)], [2, 3, 4, 6, 8, 16]))
    genes = next(random_search(space, rng=np.random.default_rng(0), chunk=500).proposals)
    assert space.contains(genes).all()
    assert len(np.unique(genes, axis=0)) == 500


def test_constraints_lead_the_search_to_the_points_that_meet_them() -> None:
    problem = Allocation(24)
    limit = {"size_bytes": (None, 3.0 * float(problem.sizes.sum()))}  # three bits on average, where chance gives five
    search = nsga2(problem.space, rng=np.random.default_rng(0))
    found = run(search, problem, budget=5000, minimize=MINIMIZE, constraints=limit)
    chance = random_search(problem.space, rng=np.random.default_rng(0))
    drawn = run(chance, problem, budget=5000, minimize=MINIMIZE).columns["size_bytes"]
    assert len(found.where(limit)) > 2500 > 100 * (drawn <= 3.0 * problem.sizes.sum()).sum()


def test_mixed_genes_come_close_to_a_known_optimum() -> None:
    space = Space(kind=["a", "b"], steps=[0, 1, 2, 3], x=uniform(-1, 1))

    def model(point: Any) -> dict[str, Any]:
        return {"cost": (point.x - 0.3) ** 2 + (point.steps - 2) ** 2 + (0.0 if point.kind == "b" else 1.0)}

    best = run(nsga2(space, rng=np.random.default_rng(1)), model, budget=4000, minimize=["cost"]).best("cost").points
    assert best.row(0).kind == "b"
    assert best.row(0).steps == 2
    assert best.row(0).x == pytest.approx(0.3, abs=0.02)
