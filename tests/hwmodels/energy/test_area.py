"""Areas of what is no memory: interfaces, logic that leaks, MAC units, vector units, wires; and their sources."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hwmodels
from hwmodels.cited import cited_rows
from hwmodels.energy import explain
from hwmodels.energy.area import dram_phy, dram_phys, logic_leakage
from hwmodels.energy.clocks import clocking
from hwmodels.energy.combining import exact, product, total
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.network import array_network
from hwmodels.energy.processing import Arithmetic, mac_units, passing_bits, pipeline_registers
from hwmodels.energy.vector import FUNCTIONS, VectorUnit, vector_component
from tests.close import close
from workloads.errors import SpecError

NOMINAL = clocking(45)
INT8 = Arithmetic(operand="int8", accumulator="int32")


def one(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, unit="J", low=low, high=high, origin="anchor", formula="one", source="A")


def test_bands_of_products_and_sums_are_those_of_one_cause() -> None:
    both = product(one(2, 1, 3), one(5, 4, 6), 10.0, formula="both")
    assert (both.value, both.low, both.high) == (100, 40, 180)
    added = total({"a": one(2, 1, 3), "b": one(5, 4, 6)}, "J", "added")
    assert (added.value, added.low, added.high, list(added.parts)) == (7, 5, 9, ["a", "b"])


@pytest.mark.parametrize("technology", sorted(dram_phys()))
def test_more_dram_bandwidth_never_takes_less_area(technology: str) -> None:
    unit = dram_phys()[technology].bytes_per_s
    rates = unit * np.array([0.5, 1.0, 1.01, 2.0, 7.5])
    batch = dram_phy(technology, rates, node_nm=16)
    areas = np.asarray(batch.area_mm2.value)
    assert np.all(np.diff(areas) >= 0)
    assert areas[1] == areas[0]
    assert areas[2] == close(2 * areas[1])
    assert areas[4] == close(8 * areas[1])
    for row, rate in enumerate(rates):
        assert dram_phy(technology, float(rate), node_nm=16).area_mm2.value == close(areas[row])


def test_a_published_interface_at_its_node_is_the_sum_of_its_parts() -> None:
    # LLMCompass: PHY 10.45 mm2, controller 552.743 M transistors at 91.2 M/mm2
    part = dram_phy("HBM2E", 460.8e9, node_nm=7)
    assert part.area_mm2.value == close(10.45 + 552.743 / 91.2)
    assert part.area_mm2.parts["PHY"].origin == "anchor"
    borrowed = dram_phy("LPDDR4", 17e9, node_nm=7).area_mm2.parts["PHY"]
    assert borrowed.origin == "assumption"
    assert borrowed.high == 2 * borrowed.value


def test_an_interface_without_a_price_and_no_bandwidth_are_refused() -> None:
    with pytest.raises(SpecError, match="no price for a DRAM interface 'HBM9'; nearest: HBM"):
        dram_phy("HBM9", 1e9, node_nm=7)
    with pytest.raises(SpecError, match="bytes_per_s = -1; it must be finite and above zero"):
        dram_phy("DDR4", np.array([1e9, -1.0]), node_nm=7)
    with pytest.raises(SpecError, match="node 1 nm"):
        dram_phy("DDR4", 1e9, node_nm=1)


def test_leakage_of_logic_lies_between_the_published_units() -> None:
    square = exact(2.0, "mm2", "given", "the caller")
    leaks = logic_leakage(square, node_nm=40)
    assert leaks.value == close(2 * 8.0e-3)
    assert leaks.low == close(2 * 1.236e-3)
    assert leaks.high == close(2 * 11.35e-3)
    halved = logic_leakage(square, node_nm=40, low_power=exact(0.5, "", "half", "the caller"))
    assert halved.value == close(leaks.value / 2)
    assert np.shape(logic_leakage(square, node_nm=np.array([40.0, 7.0])).value) == (2,)


def test_macs_cost_what_their_arithmetic_costs_times_their_count() -> None:
    small, large = (mac_units(count, INT8, node_nm=45, clocked=NOMINAL) for count in (1, 256))
    assert large.area_mm2.value == close(256 * small.area_mm2.value)
    assert large.static_w.value == close(256 * small.static_w.value)
    assert large.energy_j["mac"].value == small.energy_j["mac"].value == close(0.3e-12)  # Horowitz, ISSCC 2014
    wide = mac_units(1, Arithmetic(operand="fp32", accumulator="fp32"), node_nm=45, clocked=NOMINAL)
    assert wide.area_mm2.value > 10 * small.area_mm2.value


def test_registers_pass_what_no_level_inside_the_array_keeps() -> None:
    assert passing_bits(hwmodels.load("gemmini")) == {"I": 8, "O": 32}
    assert passing_bits(hwmodels.load("tpu-v1")) == {"I": 8, "O": 32}
    assert passing_bits(hwmodels.load("eyeriss")) == {}
    gemmini = hwmodels.load("gemmini")
    assert passing_bits(replace(gemmini, levels=tuple(replace(level, mesh=()) for level in gemmini.levels))) == {}
    narrow, wide = (pipeline_registers(4, bits, node_nm=45, clocked=NOMINAL, device="itrs-hp", temperature_k=350.0)
                    for bits in (8, 40))  # fmt: skip
    assert narrow.area_mm2.value < wide.area_mm2.value
    assert narrow.energy_j["mac"].value < wide.energy_j["mac"].value


def test_a_vector_unit_shares_its_units_between_functions() -> None:
    both = VectorUnit(lanes=16, functions=("gelu", "exp"))
    assert (both.units.multiplies, both.units.adds, both.units.divides) == (3, 4, 0)
    alone, shared = (vector_component(unit, node_nm=45, clocked=NOMINAL)
                     for unit in (VectorUnit(lanes=16, functions=("gelu",)), both))  # fmt: skip
    assert alone.area_mm2.value < shared.area_mm2.value
    assert alone.energy_j["gelu"].value == close(shared.energy_j["gelu"].value)


FORMATS = st.sampled_from(["int8", "int32", "fp16", "fp32"])


@given(st.integers(1, 64), FORMATS, st.sets(st.sampled_from(sorted(FUNCTIONS)), min_size=1))
def test_more_lanes_and_more_functions_never_take_less_area(lanes: int, format: str, functions: set[str]) -> None:
    names = tuple(sorted(functions))
    first = vector_component(VectorUnit(lanes=lanes, format=format, functions=names), node_nm=45, clocked=NOMINAL)
    wider = vector_component(VectorUnit(lanes=lanes + 1, format=format, functions=names), node_nm=45, clocked=NOMINAL)
    every = vector_component(
        VectorUnit(lanes=lanes, format=format, functions=tuple(FUNCTIONS)), node_nm=45, clocked=NOMINAL
    )
    assert first.area_mm2.value < wider.area_mm2.value
    assert first.area_mm2.value <= every.area_mm2.value * (1 + 1e-12)


def test_vector_units_that_cannot_be_are_refused() -> None:
    with pytest.raises(SpecError, match="0 lanes"):
        VectorUnit(lanes=0)
    with pytest.raises(SpecError, match="no function 'gelo'; nearest: gelu"):
        VectorUnit(lanes=1, functions=("gelo",))
    with pytest.raises(SpecError, match="no functions"):
        VectorUnit(lanes=1, functions=())


def test_wires_reach_from_the_buffer_to_the_level_that_keeps_the_role() -> None:
    gemmini, eyeriss = hwmodels.load("gemmini"), hwmodels.load("eyeriss")
    square = [1.0] * 6
    systolic = array_network(gemmini, square[:5], node_nm=45, clocked=NOMINAL)
    assert list(systolic.delivery) == ["Scratchpad"]  # weights to WReg; inputs and sums pass from PE to PE
    assert systolic.hops is not None
    buses = array_network(eyeriss, square, node_nm=45, clocked=NOMINAL)
    assert list(buses.delivery) == ["DRAM", "GLB"]  # weights come past the GLB
    assert buses.hops is None
    # GLB: 14 + 12 PEs of 1 mm for both of its roles, 16 bit, a quarter of a full transition a bit
    per_bit = buses.delivery["GLB"].value / (16 * 26)
    assert per_bit == close(249.489e-15 / 4, rel=1e-3)
    assert buses.delivery["DRAM"].value == close(buses.delivery["GLB"].value / 3)  # one of three roles
    larger = array_network(eyeriss, [4.0] * 6, node_nm=45, clocked=NOMINAL)
    assert larger.delivery["GLB"].value == close(2 * buses.delivery["GLB"].value)
    assert buses.component is not None
    assert buses.component.area_mm2.value == 0 < buses.component.area_mm2.high


def test_every_row_of_the_area_tables_is_cited_and_explained() -> None:
    for table in ("area_components", "memory_interfaces", "published_totals", "gpu_energy"):
        for row in cited_rows(table):
            assert row["source"]
            assert row["origin"] in ("read", "derived", "recalled")
    text = explain(dram_phy("HBM3", 819.2e9, node_nm=5))
    assert "LLMCompass" in text
    assert "JESD238" in text
