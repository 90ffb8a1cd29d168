"""Scaling between nodes and supplies: published factors, monotone physics, and the reach of each law."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwmodels.energy.technology import (
    LAWS,
    clock_at_voltage,
    clock_range,
    node_range,
    nominal_supply,
    relative_delay,
    relative_energy,
    scaling,
    supply_range,
    voltage_at_clock,
)
from hwmodels.energy.technology.alpha_power import fit_error
from hwmodels.energy.technology.curves import polynomial
from tests.close import close
from workloads.errors import SpecError

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "reference" / "energy"
EVERY_LAW = [(quantity, law) for quantity, laws in LAWS.items() for law in laws]
# CACTI's leakage peaks at 65 nm: thin oxides leaked until high-k came. Every other law falls with the node.
FALLING = [pair for pair in EVERY_LAW if pair != ("logic leakage", "cacti")]
NODES = st.floats(3.0, 180.0)


def rows(name: str) -> list[dict[str, str]]:
    with (GOLDEN / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", rows("technology_factors.csv"), ids=lambda row: row["node_nm"])
def test_factors_from_45_nm_are_the_published_ones(row: dict[str, str]) -> None:
    node = float(row["node_nm"])
    assert scaling("logic area", 45, node).value == close(float(row["area_vs_45nm"]), rel=2e-3)
    assert nominal_supply(node) == close(float(row["vdd_v"]))
    if row["energy_vs_45nm_0p9v"]:  # the reference compares with 45 nm at 0.9 V, `scaling` with its nominal 1.0 V
        energy = scaling("logic energy", 45, node).value / relative_energy(45, 0.9).value
        assert energy == close(float(row["energy_vs_45nm_0p9v"]), rel=1e-3)
        delay = scaling("logic delay", 45, node).value
        at_45 = next(other for other in rows("technology_factors.csv") if other["node_nm"] == "45")
        assert delay == close(float(row["delay_vs_45nm_0p9v"]) / float(at_45["delay_vs_45nm_0p9v"]), rel=1e-3)


def test_the_general_law_gives_ten_point_seven_times_from_45_to_7_nm_and_the_published_operations_less() -> None:
    general = scaling("logic energy", 45, 7, law="stillmaker-hp").value / relative_energy(45, 0.9).value
    assert 1 / general == pytest.approx(10.7, abs=0.05)
    assert 2.1 < 1 / scaling("logic energy", 45, 7, law="horowitz-jouppi").value < 4.3


def test_area_factors_between_all_nodes_agree_with_the_published_matrix() -> None:
    # The matrix is printed with two digits, and each of its rows was rounded by itself: 45 to 14 nm says 0.17, and
    # 45 to 180 times 180 to 14 nm 0.177.
    for row in rows("logic_area_matrix.csv"):
        ours = scaling("logic area", float(row["from_nm"]), float(row["to_nm"])).value
        assert ours == close(float(row["area_factor"]), rel=0.11), (row["from_nm"], row["to_nm"])


@pytest.mark.parametrize(("quantity", "law"), FALLING)
def test_every_law_falls_or_stays_with_the_node(quantity: str, law: str) -> None:
    largest, smallest = node_range(quantity, law)
    nodes = np.geomspace(largest, smallest, 400)
    factors = np.asarray(scaling(quantity, largest, np.clip(nodes, smallest, largest), law=law).value)
    assert np.all(np.diff(factors) <= 1e-12)
    assert factors[0] == 1.0
    assert factors[-1] < 0.9


@pytest.mark.parametrize("quantity", LAWS)
def test_130_nm_costs_more_than_90_nm(quantity: str) -> None:
    assert scaling(quantity, 90, 130).value > 1.05


def test_kinds_of_circuit_scale_apart() -> None:
    factors = [float(scaling(quantity, 45, 12).value) for quantity in LAWS if quantity.endswith("energy")]
    assert np.ptp(factors) > 0.3
    # Below 7 nm the bit cell hardly shrinks: N7 0.027, N5 and N3E 0.021 um2; logic is 2.2 times denser.
    assert scaling("sram area", 7, 3).value == close(0.021 / 0.027)
    assert scaling("logic area", 7, 3).value == close(91.2 / 197)


@pytest.mark.parametrize(("quantity", "law"), EVERY_LAW)
@given(data=st.data())
def test_factors_chain_and_a_batch_equals_its_rows(quantity: str, law: str, data: st.DataObject) -> None:
    largest, smallest = node_range(quantity, law)
    start, middle, end = (data.draw(st.floats(smallest, largest)) for _ in range(3))
    direct = scaling(quantity, start, end, law=law)
    assert direct.low <= direct.value <= direct.high
    steps = scaling(quantity, start, middle, law=law).value * scaling(quantity, middle, end, law=law).value
    assert direct.value == close(steps, rel=1e-9)
    batch = scaling(quantity, np.array([start, middle]), np.array([end, end]), law=law)
    for field in ("value", "low", "high"):
        assert np.asarray(getattr(batch, field))[0] == close(getattr(direct, field), rel=1e-12)
    same = scaling(quantity, start, start, law=law)
    assert (same.value, same.low, same.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("quantity", "law"), EVERY_LAW)
def test_factors_have_no_jump_between_nodes(quantity: str, law: str) -> None:
    largest, smallest = node_range(quantity, law)
    nodes = np.clip(np.geomspace(largest, smallest, 3000), smallest, largest)
    logs = np.log(np.asarray(scaling(quantity, largest, nodes, law=law).value))
    assert np.abs(np.diff(logs)).max() < 0.02


def test_the_band_holds_the_other_laws_that_cover_the_step() -> None:
    band = scaling("logic energy", 45, 7)
    assert band.low == close(scaling("logic energy", 45, 7, law="stillmaker-lp").value)
    assert band.high == close(scaling("logic energy", 45, 7, law="horowitz-jouppi").value)
    beyond = scaling("logic energy", 7, 3)  # nothing independent there: wider with the distance, never zero
    assert beyond.low < 0.8 * beyond.value < 1.2 * beyond.value < beyond.high


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scaling("logic energy", 45, 2), "node 2 nm: technology nodes reach from 180 to 3 nm"),
        (lambda: scaling("logic energy", 250, 45), "node 250 nm"),
        (lambda: scaling("logic energy", 45, float("nan")), "node nan nm"),
        (lambda: scaling("sram area", np.array([45.0, -7.0]), 7), "node -7 nm"),
        (lambda: scaling("logic enrgy", 45, 7), "no scaling laws for 'logic enrgy'; nearest: logic energy"),
        (lambda: scaling("logic energy", 45, 7, law="stilmaker-hp"), "nearest: stillmaker-hp"),
        (
            lambda: scaling("logic energy", 65, 7, law="stillmaker-lp"),
            "covers 45 to 7 nm, not 65 nm; use stillmaker-hp",
        ),
        (lambda: scaling("dram energy", 20, 7), "covers 180 to 12 nm, not 7 nm; no law of this quantity reaches it"),
        (lambda: node_range("nothing"), "no scaling law"),
        (lambda: nominal_supply(1), "node 1 nm"),
        (lambda: relative_energy(45, 0.3), r"supply 0.3 V at 45 nm: the laws cover 0.65 to 1.2 V"),
        (lambda: relative_delay(7, np.array([0.8, 1.5])), "supply 1.5 V at 7 nm"),
        (lambda: voltage_at_clock(7, 0.0), "clock ratio 0: it is above zero"),
        (lambda: voltage_at_clock(7, float("nan")), "above zero"),
        (lambda: voltage_at_clock(16, 1.5), "clock 1.5 x nominal at 16 nm: the highest supply"),
    ],
)
def test_bad_input_says_what_is_wrong(call: object, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        call()  # type: ignore[operator]


@given(NODES, st.lists(st.floats(0.65, 1.2), min_size=2, max_size=2, unique=True))
def test_energy_rises_and_delay_falls_with_the_supply(node: float, shares: list[float]) -> None:
    low, high = sorted(share * float(nominal_supply(node)) for share in shares)
    assert relative_energy(node, low).value <= relative_energy(node, high).value
    assert relative_delay(node, low).value >= relative_delay(node, high).value
    assert clock_at_voltage(node, low).value == close(1 / relative_delay(node, low).value)


@given(NODES, st.floats(0.0, 1.0))
def test_supply_and_clock_are_inverse(node: float, share: float) -> None:
    low, high = clock_range(node)
    clock = low + share * (high - low)
    supply = voltage_at_clock(node, clock)
    assert supply_range(node)[0] <= supply * (1 + 1e-9)
    assert supply <= supply_range(node)[1] * (1 + 1e-9)
    assert clock_at_voltage(node, min(supply, supply_range(node)[1])).value == close(clock, rel=1e-9)
    assert voltage_at_clock(node, low / 3) == close(supply_range(node)[0])  # the floor


def test_supplies_of_a_batch_equal_its_rows() -> None:
    nodes, clocks = np.array([180.0, 45.0, 28.0, 7.0, 3.0]), np.array([0.9, 1.1, 0.3, 1.0, 0.7])
    batch = np.asarray(voltage_at_clock(nodes, clocks))
    for node, clock, supply in zip(nodes, clocks, batch, strict=True):
        assert voltage_at_clock(float(node), float(clock)) == close(float(supply), rel=1e-12)
    energies = np.asarray(relative_energy(nodes, batch).value)
    for node, supply, energy in zip(nodes, batch, energies, strict=True):
        assert relative_energy(float(node), float(supply)).value == close(float(energy), rel=1e-12)


def test_energy_over_the_supply_is_the_published_polynomial() -> None:
    for node, at in polynomial("energy", "HP").items():
        nominal = float(nominal_supply(node))
        for share in (0.7, 0.9, 1.1):
            expected = np.polyval(at, share * nominal) / np.polyval(at, nominal)
            assert relative_energy(node, share * nominal).value == close(float(expected), rel=1e-9)


def test_delay_over_the_supply_is_near_the_published_polynomial_where_that_falls() -> None:
    assert fit_error() < 0.06
    for node in (180.0, 130.0, 90.0, 65.0, 14.0, 10.0, 7.0):
        at, nominal = polynomial("delay", "HP")[node], float(nominal_supply(node))
        for share in (0.7, 0.8, 0.9, 1.0):
            ours = relative_delay(node, share * nominal)
            published = float(np.polyval(at, share * nominal) / np.polyval(at, nominal))
            assert ours.value == close(published, rel=0.1)


@pytest.mark.parametrize(("node", "low_v", "high_v"), [(45.0, 0.96, 1.12), (32.0, 0.86, 1.04)])
def test_the_published_delay_of_two_nodes_rises_with_the_supply_and_ours_does_not(
    node: float, low_v: float, high_v: float
) -> None:
    at = polynomial("delay", "HP")[node]
    assert np.polyval(at, high_v) > np.polyval(at, low_v)  # the defect that keeps us from using them
    assert relative_delay(node, high_v).value < relative_delay(node, low_v).value
