"""Bills of accelerators: totals are sums, knobs are paid for, what has no price is refused by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hwmodels
from hwmodels.energy import explain
from hwmodels.energy.applying import priced
from hwmodels.energy.bill import Bill
from hwmodels.energy.pricing import price
from hwmodels.energy.processing import Arithmetic
from hwmodels.energy.sram import sram
from hwmodels.energy.vector import VectorUnit
from hwmodels.mapping import evaluate
from hwmodels.mapping.cases import gemm_operator
from hwmodels.mapping.records import from_factors
from hwmodels.spatial import Organisation
from tests.close import close
from workloads.errors import SpecError

DEVICES = hwmodels.accelerators()
GEMMINI = hwmodels.load("gemmini")
EYERISS = hwmodels.load("eyeriss")


def load(name: str) -> hwmodels.Accelerator:
    return hwmodels.load(name, kind=hwmodels.Accelerator)


def numbers(bill: Bill) -> dict[str, np.ndarray]:
    return {name: np.asarray(estimate.value) for name, estimate in bill.estimates().items()}


@pytest.mark.parametrize("name", DEVICES)
def test_totals_are_the_sums_of_the_components(name: str) -> None:
    bill = price(load(name))
    assert bill.area_mm2.value == close(sum(part.area_mm2.value for part in bill.components))
    assert bill.static_w.value == close(sum(part.static_w.value for part in bill.components))
    names = [part.name for part in bill.components]
    assert len(set(names)) == len(names)
    assert bill.area_share(*names) == close(1.0)
    for estimate in bill.estimates().values():
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.source
    assert "clock network" in bill.not_counted
    rows = bill.rows()
    assert [row["component"] for row in rows] == names
    assert sum(row["area_share"] for row in rows) == close(1.0)


@pytest.mark.parametrize("name", DEVICES)
def test_a_bill_is_explained_down_to_its_sources(name: str) -> None:
    text = explain(price(load(name)))
    for part in ("area: ", "leakage: ", "mac: ", "CACTI", "Stillmaker"):
        assert part in text


def test_a_buffer_costs_what_the_memory_model_says_times_its_instances() -> None:
    bill = price(EYERISS, device="itrs-hp")
    spad = bill.component("WeightSpad")
    macro = sram(448.0, 2.0, node_nm=65, device="itrs-hp")  # a single port, says the file
    assert spad.count == 168
    assert spad.area_mm2.value == close(168 * float(macro.area_mm2))
    assert spad.static_w.value == close(168 * float(macro.leakage_w))
    assert spad.energy_j["read"].value == close(float(macro.read_j))
    buffer = bill.buffers["GLB"]
    assert buffer.words_per_row == 4  # 8 B: the slower direction moves four words of 16 bit a cycle
    assert bill.component("GLB").energy_j["read"].value == close(float(buffer.macro.read_j) / 4)


def test_a_buffer_is_built_as_its_file_says() -> None:
    gemmini, eyeriss = price(GEMMINI), price(EYERISS)
    scratchpad, accumulator, glb = gemmini.buffers["Scratchpad"], gemmini.buffers["Accumulator"], eyeriss.buffers["GLB"]
    assert (scratchpad.row_bytes, scratchpad.banks, scratchpad.memories, scratchpad.ports) == (16, 4, 4, (1, 0, 0))
    assert (accumulator.row_bytes, accumulator.banks, accumulator.ports) == (64, 2, (0, 1, 1))
    assert (glb.row_bytes, glb.memories, glb.ports) == (8, 25, (1, 0, 0))
    bank = sram(4096.0, 8.0, node_nm=65, device="itrs-lstp")
    assert eyeriss.component("GLB").area_mm2.value == close(25 * float(bank.area_mm2))


def test_ports_banks_and_rows_follow_the_bandwidth_where_nothing_is_stated() -> None:
    free = {"Scratchpad": Organisation(), "Accumulator": Organisation()}
    bill = price(GEMMINI, organisations=free)
    scratchpad, accumulator = bill.buffers["Scratchpad"], bill.buffers["Accumulator"]
    assert (scratchpad.row_bytes, scratchpad.ports, scratchpad.memories) == (16, (0, 1, 1), 1)
    assert scratchpad.banks >= 4  # 64 B a cycle of rows of 16 B
    assert (accumulator.row_bytes, accumulator.ports) == (64, (0, 1, 1))


@pytest.mark.parametrize(("name", "level"), [("gemmini", "Scratchpad"), ("gemmini", "Accumulator"), ("eyeriss", "GLB")])
def test_more_capacity_never_takes_less_area_or_leakage(name: str, level: str) -> None:
    scales = np.array([0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0])
    bill = price(load(name), capacity={level: scales})
    for estimate in (bill.area_mm2, bill.static_w):
        values = np.asarray(estimate.value)
        assert np.all(np.diff(values) >= -1e-9 * values[1:])


@pytest.mark.parametrize("level", ["Scratchpad", "Accumulator"])
def test_more_bandwidth_never_takes_less_area(level: str) -> None:
    areas = [price(GEMMINI, bandwidth={level: scale}).area_mm2.value for scale in (1.0, 2.0, 4.0)]
    assert areas == sorted(areas)


def test_more_ports_cost_more() -> None:
    one, two, three = (
        price(GEMMINI, organisations={"Accumulator": Organisation(row_bytes=64, banks=1, ports=ports)})
        for ports in ((1, 0, 0), (0, 1, 1), (1, 1, 1))
    )
    areas = [bill.component("Accumulator").area_mm2.value for bill in (one, two, three)]
    assert areas == sorted(areas)


@given(st.sampled_from(DEVICES), st.floats(0.2, 1.0), st.floats(0.2, 1.0))
@settings(max_examples=15, deadline=None)
def test_a_higher_clock_never_takes_less_energy_or_leakage(name: str, first: float, second: float) -> None:
    slow, fast = (price(load(name), clock_scale=scale) for scale in sorted((first, second)))
    assert slow.mac_j.value <= fast.mac_j.value * (1 + 1e-9)
    assert slow.static_w.value <= fast.static_w.value * (1 + 1e-9)
    for level in slow.buffers:
        if np.all(slow.buffers[level].banks == fast.buffers[level].banks):
            assert slow.access_j(level, "read").value <= fast.access_j(level, "read").value * (1 + 1e-9)


@pytest.mark.parametrize("stated", [True, False])
def test_a_batch_of_knobs_equals_its_rows(stated: bool) -> None:
    clock, size, bus = np.array([0.5, 0.9, 1.0]), np.array([1.0, 2.0, 1.5]), np.array([1.0, 2.0, 3.0])
    built = None if stated else {"Scratchpad": Organisation(), "Accumulator": Organisation()}
    batch = price(
        GEMMINI,
        clock_scale=clock,
        capacity={"Scratchpad": size},
        bandwidth={"DRAM": bus, "Scratchpad": bus},
        dram="LPDDR4",
        organisations=built,
    )
    for row in range(3):
        one = price(
            GEMMINI,
            clock_scale=float(clock[row]),
            capacity={"Scratchpad": float(size[row])},
            bandwidth={"DRAM": float(bus[row]), "Scratchpad": float(bus[row])},
            dram="LPDDR4",
            organisations=built,
        )
        for name, value in numbers(one).items():
            assert np.broadcast_to(numbers(batch)[name], (3,))[row] == close(float(value), rel=1e-9), name


def test_a_smaller_node_takes_less() -> None:
    old, new = price(GEMMINI, node_nm=65), price(GEMMINI, node_nm=22)
    assert new.area_mm2.value < old.area_mm2.value
    assert new.mac_j.value < old.mac_j.value


def test_the_priced_accelerator_has_the_energies_and_knobs_of_its_bill() -> None:
    bill = price(GEMMINI, clock_scale=0.5, capacity={"Scratchpad": 2}, bandwidth={"Scratchpad": 2, "DRAM": 2},
                 dram="LPDDR4")  # fmt: skip
    device = priced(GEMMINI, bill)
    dram, scratchpad, accumulator, register = device.levels
    assert device.mac_j == close(float(bill.mac_j.value))
    assert device.static_w == close(float(bill.static_w.value))
    assert device.clock_hz == 0.5e9
    assert scratchpad.read_j == close(float(bill.access_j("Scratchpad", "read").value))
    assert register.write_j == close(float(bill.access_j("WReg", "write").value))
    assert scratchpad.capacity_words == 2 * 262144
    assert scratchpad.read_words_per_cycle == 128
    assert accumulator.read_words_per_cycle == 16
    assert dram.read_words_per_cycle == 16 * 2 / 0.5  # bytes a second stay, twice of them
    assert dram.read_j == close(8e-12 * 8)
    assert {"array", "power", "level.Scratchpad.energy"} <= device.sources.keys()
    assert "CACTI" in device.sources["level.Scratchpad.energy"].source
    assert device.sources["level.DRAM.energy"] != GEMMINI.sources["level.DRAM.energy"]
    assert priced(GEMMINI).sources["level.DRAM.energy"] == GEMMINI.sources["level.DRAM.energy"]
    assert device.sources["level.Scratchpad"] == GEMMINI.sources["level.Scratchpad"]


def test_a_knob_moves_what_a_mapping_costs() -> None:
    product = gemm_operator("p", {"M": 64, "N": 64, "K": 64})
    nest = from_factors(
        [("DRAM", ("W", "I", "O"), [("N", 4), ("K", 4)], {}), ("Scratchpad", ("W", "I"), [("M", 64)], {}),
         ("Accumulator", ("O",), [], {"X": [("N", 16)], "Y": [("K", 16)]}), ("WReg", ("W",), [], {})],
        {"M": 64, "N": 64, "K": 64},
    )  # fmt: skip
    costs = {scale: evaluate(product, priced(GEMMINI, price(GEMMINI, clock_scale=scale)), nest) for scale in (0.6, 1.0)}
    dynamic = {scale: (cost.energy_j - cost.other_j).item() for scale, cost in costs.items()}
    assert dynamic[0.6] < dynamic[1.0]
    assert costs[0.6].latency_s.item() > costs[1.0].latency_s.item()


def test_what_has_no_price_is_refused_by_name() -> None:
    cases = [
        ({"bandwidth": {"DRAM": 2.0}}, "gemmini: the bandwidth of DRAM has no price without its technology; give dram"),
        ({"bandwidth": {"WReg": 2.0}}, "the bandwidth of WReg has no price: the device states none"),
        ({"capacity": {"DRAM": 2.0}}, "the capacity of DRAM has no price: it has no bound"),
        ({"capacity": {"Scratchpat": 2.0}}, "capacity of an unknown level 'Scratchpat'; nearest: Scratchpad"),
        ({"organisations": {"Scratchpat": Organisation()}}, "organisations of an unknown level 'Scratchpat'"),
        ({"capacity": {"Scratchpad": 0.0}}, "capacity of Scratchpad times 0; give more than zero"),
        ({"clock_scale": 2.0}, "clock 2 x nominal at 45 nm"),
        ({"clock_scale": -1.0}, "a clock is above zero"),
        ({"dram": "HBM9"}, "no price for a DRAM interface 'HBM9'"),
        ({"node_nm": 1.0}, "node 1 nm"),
        (
            {"capacity": {"Accumulator": 1e-4}},
            "level Accumulator: a capacity of 6.5536 B is below a row of each bank, 128 B",
        ),
    ]
    for knobs, message in cases:
        with pytest.raises(SpecError, match=message):
            price(GEMMINI, **knobs)  # type: ignore[arg-type]


def test_a_clock_that_no_bank_can_follow_is_refused_and_names_the_level() -> None:
    fast = replace(GEMMINI, clock_hz=200e9)
    with pytest.raises(
        SpecError, match=r"level \w+: .* rows a cycle at 200000 MHz are more than .* give a slower clock"
    ):
        price(fast)


def test_a_faster_clock_or_bus_takes_more_banks() -> None:
    one = {"Scratchpad": Organisation(row_bytes=16, banks=1, ports=(1, 0, 0))}
    assert price(GEMMINI, organisations=one).buffers["Scratchpad"].banks >= 4
    twice = price(GEMMINI, bandwidth={"Scratchpad": np.array([1.0, 2.0])})
    assert list(np.asarray(twice.buffers["Scratchpad"].banks)) == [4, 8]
    areas = np.asarray(twice.component("Scratchpad").area_mm2.value)
    assert areas[0] < areas[1]


def test_a_device_without_node_or_width_asks_for_them() -> None:
    with pytest.raises(SpecError, match="its process 'unknown' names no technology node; give node_nm"):
        price(replace(GEMMINI, process="unknown"))
    assert price(replace(GEMMINI, process="unknown"), node_nm=45).area_mm2.value == price(GEMMINI).area_mm2.value
    floating = replace(GEMMINI, operand_bits=None, acc_bits=None)
    with pytest.raises(SpecError, match="states no width of its operands; give arithmetic"):
        price(floating)
    bill = price(floating, arithmetic=Arithmetic(operand="fp16", accumulator="fp32"))
    assert bill.component("MACs").area_mm2.value > price(GEMMINI).component("MACs").area_mm2.value


def test_a_low_power_process_leaks_less() -> None:
    low, high = price(EYERISS, device="itrs-lstp"), price(EYERISS, device="itrs-hp")
    assert low.static_w.value < high.static_w.value / 10
    assert price(replace(EYERISS, process="65 nm LP")).device == "itrs-lstp"


def test_vector_units_and_interfaces_are_lines_of_their_own() -> None:
    plain = price(GEMMINI)
    unit = VectorUnit(name="normaliser", lanes=16, functions=("softmax", "layernorm"))
    more = price(GEMMINI, vector_units=[unit], dram="LPDDR4")
    assert more.component("normaliser").count == 16
    added = more.component("normaliser").area_mm2.value + more.component("LPDDR4 interface").area_mm2.value
    assert more.area_mm2.value == close(plain.area_mm2.value + added)
    assert "DRAM interface" in plain.not_counted
    assert "DRAM interface" not in more.not_counted
    with pytest.raises(SpecError, match="the bill has no component 'normalizer'; nearest: normaliser"):
        more.component("normalizer")


def test_a_bill_of_a_batch_or_of_another_device_prices_no_accelerator() -> None:
    with pytest.raises(SpecError, match="the bill is of a batch of design points"):
        priced(GEMMINI, price(GEMMINI, clock_scale=np.array([0.5, 1.0])))
    with pytest.raises(SpecError, match="the bill is of eyeriss, not of gemmini"):
        priced(GEMMINI, price(EYERISS))


def test_a_law_carries_a_price_beyond_the_nodes_of_the_memories_and_moves_nothing_at_them() -> None:
    with pytest.raises(SpecError, match=r"node_nm is 14; .*law='bitcell-wire'"):
        price(EYERISS, node_nm=14)
    small = price(EYERISS, node_nm=14, law="bitcell-wire")
    large = price(EYERISS, node_nm=22, law="bitcell-wire")
    assert small.area_mm2.value < large.area_mm2.value
    assert small.access_j("GLB", "read").value < large.access_j("GLB", "read").value
    own, named = price(EYERISS, node_nm=22), large
    for name, one in own.estimates().items():
        assert named.estimates()[name].value == one.value
    assert price(EYERISS, node_nm=14, law="horowitz-jouppi").access_j("GLB", "read").value != close(
        small.access_j("GLB", "read").value, rel=1e-6
    )


def test_priced_makes_its_own_bill_by_a_law_and_refuses_one_beside_a_bill() -> None:
    future = replace(GEMMINI, process="7 nm")
    with pytest.raises(SpecError, match="name the law"):
        priced(future)
    assert priced(future, law="bitcell-wire").mac_j < priced(GEMMINI).mac_j
    with pytest.raises(SpecError, match="is made already: give law='bitcell-wire'"):
        priced(GEMMINI, price(GEMMINI), law="bitcell-wire")
