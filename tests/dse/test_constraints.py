"""Constraints: texts become bounds, and nobody who meets them is told why."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.constraints import check_feasible, parse_constraints, satisfied, total_violation, violations
from workloads.errors import SpaceError

COLUMNS = {"latency_s": np.array([1e-3, 2e-3, 4e-3]), "size_bytes": np.array([300.0, 200.0, 100.0])}
bounds = st.none() | st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["latency_s<=1e-3"], {"latency_s": (None, 1e-3)}),
        (["latency_s < 0.001 "], {"latency_s": (None, 1e-3)}),
        (["a>=1", "a<=2"], {"a": (1.0, 2.0)}),
        (["a<=2", "b>-1.5e1"], {"a": (None, 2.0), "b": (-15.0, None)}),
        (["latency_s <= 2 ms", "size_bytes <= 3 MiB"], {"latency_s": (None, 2e-3), "size_bytes": (None, 3 * 2.0**20)}),
    ],
)
def test_a_constraint_is_a_column_a_comparison_and_a_quantity(
    texts: list[str], expected: dict[str, tuple[float | None, float | None]]
) -> None:
    found = parse_constraints(texts)
    assert found.keys() == expected.keys()
    for name, pair in expected.items():
        assert found[name] == pytest.approx(pair)


@pytest.mark.parametrize(
    "text", ["", "latency_s", "latency_s=1", "latency_s<=fast", "<=1", "a<=1e", "a<=nan", "latency_s <= 2 MB", "a b<=1"]
)
def test_a_text_that_is_no_constraint_is_shown_with_an_example(text: str) -> None:
    with pytest.raises(SpaceError, match=r"latency_s ?<= ?"):
        parse_constraints([text])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8), bounds, bounds)
def test_a_point_is_satisfied_exactly_inside_its_bounds(
    values: list[float], low: float | None, high: float | None
) -> None:
    inside = [(low is None or v >= low) and (high is None or v <= high) for v in values]
    assert satisfied({"a": np.array(values)}, {"a": (low, high)}).tolist() == inside


def test_violations_are_fractions_of_the_bound_and_nan_is_infinitely_far_outside() -> None:
    columns = {"a": np.array([1.0, 3.0, math.nan, math.inf])}
    assert violations(columns, {"a": (None, 2.0)})["a"].tolist() == [0.0, 0.5, math.inf, math.inf]
    assert violations(columns, {"a": (2.0, None)})["a"].tolist() == [0.5, 0.0, math.inf, 0.0]
    assert total_violation(columns, {"a": (None, 2.0)})[3] < math.inf  # a search can still add and sort


def test_a_bound_of_zero_still_says_who_is_closer() -> None:
    assert violations({"a": [1.0, 2.0]}, {"a": (None, 0.0)})["a"].tolist() == [1.0, 2.0]


def test_an_infinite_bound_is_no_bound() -> None:
    assert satisfied({"a": [1.0, math.inf]}, {"a": (-math.inf, math.inf)}).all()


def test_no_constraints_are_met_by_everyone() -> None:
    assert check_feasible(COLUMNS, {}).all()


def test_an_unknown_column_is_named_with_the_nearest() -> None:
    with pytest.raises(SpaceError, match=r"'latency'.*nearest: latency_s"):
        satisfied(COLUMNS, {"latency": (None, 1.0)})


def test_an_impossible_constraint_is_blamed_alone_and_the_closest_point_is_shown() -> None:
    limits = {"latency_s": (None, 1e-4), "size_bytes": (None, 1000.0)}
    with pytest.raises(SpaceError) as caught:
        check_feasible(COLUMNS, limits, "h100")
    message = str(caught.value)
    assert "no point meets latency_s <= 0.0001 (h100)" in message
    assert "closest has latency_s = 0.001, size_bytes = 300" in message
    assert "size_bytes <=" not in message


def test_constraints_that_only_contradict_each_other_are_blamed_together() -> None:
    limits = {"latency_s": (None, 1.5e-3), "size_bytes": (None, 150.0)}
    with pytest.raises(SpaceError, match=r"latency_s <= 0\.0015 and size_bytes <= 150 together") as caught:
        check_feasible(COLUMNS, limits)
    # outside by 0 + 1, by 1/3 + 1/3, by 5/3 + 0: the middle one is closest
    assert "closest has latency_s = 0.002, size_bytes = 200" in str(caught.value)


def test_no_points_at_all_are_said_so() -> None:
    with pytest.raises(SpaceError, match="no points"):
        check_feasible({"a": np.array([])}, {"a": (None, 1.0)})
