"""The clock knob: a faster clock is never cheaper, a slower one saves down to the floor of the supply."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.cited import cited_rows
from hwmodels.energy import explain
from hwmodels.energy.clocks import clocking
from hwmodels.energy.technology import clock_at_voltage, clock_range, nominal_supply, relative_energy
from tests.close import close
from workloads.errors import SpecError

NODES = st.sampled_from([130.0, 65.0, 45.0, 28.0, 16.0, 7.0, 5.0])


def published(item: str) -> float:
    return next(float(row["value"]) for row in cited_rows("published_totals") if row["item"] == item)


@given(NODES, st.floats(0.1, 1.0), st.floats(0.1, 1.0))
def test_a_higher_clock_never_takes_less_energy_or_leakage(node: float, first: float, second: float) -> None:
    top = float(clock_range(node)[1])
    slow, fast = (clocking(node, share * top) for share in sorted((first, second)))
    assert slow.energy.value <= fast.energy.value * (1 + 1e-9)
    assert slow.leakage.value <= fast.leakage.value * (1 + 1e-9)
    assert slow.supply_v <= fast.supply_v * (1 + 1e-9)
    assert slow.delay.value >= fast.delay.value * (1 - 1e-9)


def test_the_nominal_clock_changes_nothing() -> None:
    nominal = clocking(45)
    assert nominal.supply_v == close(nominal_supply(45))
    for factor in nominal.estimates().values():
        assert factor.value == close(1.0)


def test_below_the_floor_of_the_supply_only_time_is_lost() -> None:
    floor = float(clock_range(45)[0])
    at, below = clocking(45, floor), clocking(45, floor / 4)
    assert below.energy.value == close(at.energy.value)
    assert below.supply_v == close(at.supply_v)


@given(st.lists(st.floats(0.2, 1.1), min_size=1, max_size=5))
def test_a_batch_equals_its_rows(scales: list[float]) -> None:
    batch = clocking(65, np.array(scales))
    for row, scale in enumerate(scales):
        one = clocking(65, scale)
        assert np.asarray(batch.supply_v)[row] == close(one.supply_v)
        for name, factor in batch.estimates().items():
            assert np.asarray(factor.value)[row] == close(one.estimates()[name].value)


def test_eyeriss_on_the_curve_of_its_node() -> None:
    """Published: 45 instead of 34.7 frames/s at 1.17 V, 122.8 instead of 83.1 GMAC/s/W at 0.82 V (a 1 V chip).

    At the same share of the nominal supply the curve is 7 % slow and 7 % too thrifty (leakage does not fall so fast).
    """
    nominal = float(nominal_supply(65))
    rate = clock_at_voltage(65, 1.17 * nominal).value
    saving = 1 / relative_energy(65, 0.82 * nominal).value
    assert rate / published("rate at 1.17 V over rate at 1 V") == pytest.approx(0.93, abs=0.02)
    assert saving / published("efficiency at 0.82 V over efficiency at 1 V") == pytest.approx(1.07, abs=0.02)


def test_a_clock_out_of_reach_is_refused() -> None:
    with pytest.raises(SpecError, match="clock 2 x nominal at 65 nm: the highest supply"):
        clocking(65, 2.0)
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(SpecError, match="a clock is above zero"):
            clocking(65, bad)
    with pytest.raises(SpecError, match="node 1 nm"):
        clocking(1.0)


def test_every_factor_says_where_it_comes_from() -> None:
    text = explain(clocking(28, 0.8))
    for name in ("energy", "delay", "leakage"):
        assert f"{name}: " in text
    assert "Stillmaker" in text
    assert "Mudge" in text
