"""`run`: the budget is spent to the point, and what a search does wrong is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.running import run
from dse.search import additive_starts, exhaustive, nsga2, random_search
from dse.search.protocol import Search
from dse.space import Space, per_layer, uniform
from workloads.errors import SpaceError

SPACE = Space(kind=["a", "b"], x=list(range(50)), y=uniform(0, 1))


def model(point: Any) -> dict[str, Any]:
    far = 10.0 if point.kind == "a" else 0.0
    return {"first": (point.x - 10) ** 2 + far + point.y, "second": (point.x - 30) ** 2 + far + (1 - point.y)}


def proposing(*batches: Any) -> Search:
    def proposals() -> Any:
        yield from map(np.array, batches)

    return Search("own", SPACE, proposals())


@pytest.mark.parametrize("make", [nsga2, random_search])
@given(budget=st.integers(1, 700))
def test_the_budget_is_spent_exactly(make: Any, budget: int) -> None:
    calls: list[int] = []

    def counting(point: Any) -> dict[str, Any]:
        calls.append(len(point))
        return model(point)

    search = make(SPACE, rng=np.random.default_rng(0))
    found = run(search, counting, budget=budget, minimize=["first", "second"], check_rows=0, chunk=10**6)
    assert len(found) == budget == len(found.columns["first"])
    assert budget <= sum(calls) <= budget + 4  # a batch has at least two rows, and each of two kinds may have one


def test_the_search_ends_before_its_budget_where_no_point_is_left() -> None:
    small = Space(kind=["a", "b"], x=[1, 2, 3])

    def costs(point: Any) -> dict[str, Any]:
        return {"cost": point.x}

    for search in (nsga2(small, rng=np.random.default_rng(0)), exhaustive(small)):
        found = run(search, costs, budget=1000, minimize=["cost"])
        assert len(found) == len(np.unique(found.genes, axis=0)) == 6


def test_nsga2_proposes_no_point_twice() -> None:
    space = Space(x=list(range(40)), y=list(range(40)))
    search = nsga2(space, rng=np.random.default_rng(0), population=32)
    found = run(search, lambda p: {"a": p.x, "b": p.y}, budget=1200, minimize=["a", "b"])
    assert len(np.unique(found.genes, axis=0)) == len(found) == 1200


def test_nsga2_costs_its_starts_first() -> None:
    starts = np.array([[1, 7, 0.25]])
    search = nsga2(SPACE, rng=np.random.default_rng(0), starts=starts)
    assert (run(search, model, budget=1, minimize=["first"]).genes == starts).all()


def test_points_without_objectives_rank_behind_points_that_violate_a_constraint() -> None:
    space = Space(x=list(range(1000)))

    def walled(point: Any) -> dict[str, Any]:
        return {"cost": np.where(np.asarray(point.x) > 400, np.inf, 1000.0 - point.x), "size": point.x}

    search = nsga2(space, rng=np.random.default_rng(0), population=16)
    found = run(search, walled, budget=320, minimize=["cost"], constraints={"size": (None, 5.0)})
    assert found.best("cost", {"size": (None, 5.0)}).points.x.tolist() == [5.0]


def test_bad_starts_populations_and_budgets_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(SpaceError, match="start point"):
        nsga2(SPACE, rng=rng, starts=np.array([[2, 0, 0.0]]))
    with pytest.raises(SpaceError, match="population of 2"):
        nsga2(SPACE, rng=rng, population=2)
    with pytest.raises(SpaceError, match="budget of 0"):
        run(random_search(SPACE, rng=rng), model, budget=0, minimize=["first"])


def test_a_search_that_leaves_its_space_repeats_itself_or_says_nothing_is_refused() -> None:
    for batch, message in (([[0, 50, 0.5]], "1 points outside"), (np.empty((0, 3)), "empty batch")):
        with pytest.raises(SpaceError, match=message):
            run(proposing(batch), model, budget=5, minimize=["first"])
    with pytest.raises(SpaceError, match="proposed no points"):
        run(proposing(), model, budget=5, minimize=["first"])
    with pytest.raises(SpaceError, match="'third'"):
        run(proposing([[0, 1, 0.5]]), model, budget=5, minimize=["third"])


def test_a_search_may_write_into_its_own_array_afterwards() -> None:
    def reusing() -> Any:
        genes = np.zeros((2, 3))
        for x in (1, 2):
            genes[:, 1] = x
            yield genes

    found = run(Search("reusing", SPACE, reusing()), model, budget=9, minimize=["first"])
    assert found.points.x.tolist() == [1, 1, 2, 2]


def test_a_search_is_told_objectives_and_how_far_outside_the_bounds_its_points_are() -> None:
    told: list[Any] = []

    def listening() -> Any:
        told.append((yield np.array([[1, 10, 0.0], [1, 30, 0.0]])))

    limits = {"first": (None, 100.0)}
    run(Search("own", SPACE, listening()), model, budget=9, minimize=["second", "first"], constraints=limits)
    objectives, outside = told[0]
    assert objectives.tolist() == [[401.0, 0.0], [1.0, 400.0]]
    assert outside.tolist() == [0.0, 3.0]


def test_additive_starts_are_the_convex_hull_of_an_additive_problem() -> None:
    space = Space(bits=per_layer(["a", "b", "c"], [2, 4, 8]))
    size, loss = np.array([1.0, 5.0, 2.0]), np.array([3.0, 1.0, 8.0])

    def columns(genes: Any) -> dict[str, Any]:
        bits = np.array([2, 4, 8])[np.asarray(genes, int)]
        return {"size": bits @ size, "loss": (2.0**-bits) @ loss}

    starts = additive_starts(space, columns, ("size", "loss"), rng=np.random.default_rng(0))
    every = np.concatenate(list(space.enumerate()))
    costs = np.stack(list(columns(every).values()), axis=1)
    for weight in (0.001, 0.1, 1.0, 5.0, 30.0):
        best = every[np.argmin(costs @ [weight, 100.0])]
        assert (starts == best).all(axis=1).any()


def test_additive_starts_pass_points_by_that_have_no_objectives_and_refuse_ranges() -> None:
    space = Space(x=[0, 1, 2])

    def columns(genes: Any) -> dict[str, Any]:
        return {"cost": np.where(genes[:, 0] == 0, np.inf, genes[:, 0])}

    starts = additive_starts(space, columns, ("cost",), rng=np.random.default_rng(0))
    assert starts.ravel().tolist() == [1, 2]
    with pytest.raises(SpaceError, match="discrete"):
        additive_starts(SPACE, columns, ("cost",), rng=np.random.default_rng(0))
