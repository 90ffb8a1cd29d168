"""Knobs of accelerators: what turns with what, what turns back, what is refused, and that all of it has a price."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hwmodels
from hwmodels import Accelerator, resized
from hwmodels.energy import price, priced
from hwmodels.mapping import search
from hwmodels.mapping.cases import gemm_operator
from hwmodels.resizing import DATAFLOWS
from hwmodels.spatial import Organisation
from workloads.errors import DseError

GEMMINI = hwmodels.load("gemmini")
TPU = hwmodels.load("tpu-v1")
EYERISS = hwmodels.load("eyeriss")
GEMM = gemm_operator("g", {"M": 256, "N": 256, "K": 256})


def figures(device: Accelerator) -> Accelerator:
    """Give it without what says that it was turned."""
    return replace(device, name="", sources={})


def area(device: Accelerator) -> float:
    return float(price(device).area_mm2.value)


def test_nothing_turned_is_the_accelerator_itself() -> None:
    assert resized(GEMMINI) is GEMMINI


def test_a_larger_array_gets_rows_and_ports_as_wide() -> None:
    """Gemmini's generator: rows of the scratchpad and the accumulator are as wide as the array."""
    large = resized(GEMMINI, rows=32, columns=32)
    dram, scratchpad, accumulator, register = large.levels
    assert large.name == "gemmini[X=32, Y=32]"
    assert large.mac_instances == 1024
    assert (scratchpad.read_words_per_cycle, scratchpad.write_words_per_cycle) == (128, 16)  # the DMA writes as before
    assert (accumulator.read_words_per_cycle, accumulator.write_words_per_cycle) == (32, 32)
    assert large.organisations["Scratchpad"] == Organisation(row_bytes=32, banks=4, ports=(1, 0, 0))
    assert large.organisations["Accumulator"].row_bytes == 128
    assert (dram, register) == (GEMMINI.levels[0], GEMMINI.levels[3])
    assert large.engines == GEMMINI.engines
    narrow = resized(GEMMINI, rows=32, columns=32, scale_ports=False)
    assert narrow.levels[1].read_words_per_cycle == 64
    assert narrow.organisations == GEMMINI.organisations


def test_ports_grow_with_the_axis_that_they_feed() -> None:
    """Rows take inputs, columns take weights and give sums; more rows do not widen an accumulator."""
    tall, wide = resized(GEMMINI, rows=64), resized(GEMMINI, columns=64)
    assert [tall.levels[place].read_words_per_cycle for place in (1, 2)] == [256, 16]
    assert [wide.levels[place].read_words_per_cycle for place in (1, 2)] == [256, 64]
    tall, wide = resized(TPU, rows=512), resized(TPU, columns=512)
    buffers = slice(1, 4)  # Unified Buffer, weight FIFO, accumulators
    assert [level.read_words_per_cycle for level in TPU.levels[buffers]] == [256, 256, 256]
    assert [level.read_words_per_cycle for level in tall.levels[buffers]] == [512, 256, 256]
    assert [level.read_words_per_cycle for level in wide.levels[buffers]] == [256, 512, 512]


def test_words_that_are_multicast_on_buses_need_no_wider_port() -> None:
    """Eyeriss: a column more adds sums that leave the array, not inputs."""
    wide, tall = resized(EYERISS, columns=28), resized(EYERISS, rows=24)
    assert wide.levels[1].read_words_per_cycle == 2 * EYERISS.levels[1].read_words_per_cycle  # type: ignore[operator]
    assert tall.levels[1].read_words_per_cycle == EYERISS.levels[1].read_words_per_cycle
    edge = resized(hwmodels.load("edge-npu"), columns=16)
    assert edge.levels[1].read_words_per_cycle == 16  # a bus keeps its width


def test_an_array_feeds_itself_at_every_size() -> None:
    """Twice the columns, half the steps; ports of the old width starve an array of 128 rows."""
    base, wide = (search(GEMM, device, "latency").cost for device in (GEMMINI, resized(GEMMINI, columns=32)))
    assert float(base.compute_cycles[0]) == 2 * float(wide.compute_cycles[0])
    fed, starved = (
        search(GEMM, resized(GEMMINI, rows=128, bandwidth={"DRAM": "1 TB/s"}, scale_ports=scale), "latency").cost
        for scale in (True, False)
    )
    assert starved.bounds[int(starved.bound[0])] == "Scratchpad read"
    assert float(starved.cycles[0]) > 1.5 * float(fed.cycles[0])


def test_capacities_bandwidths_and_clock() -> None:
    sizes: dict[str, float | str] = {"Scratchpad": "512 KiB", "Accumulator": 131072}
    rates: dict[str, float | str] = {"Scratchpad": 128e9, "DRAM": "32 GB/s"}
    turned = resized(GEMMINI, capacity=sizes, bandwidth=rates)
    dram, scratchpad, accumulator, _ = turned.levels
    assert turned.name == "gemmini[Scratchpad=512 KiB, Accumulator=128 KiB, Scratchpad=128 GB/s, DRAM=32 GB/s]"
    assert (scratchpad.capacity_words, accumulator.capacity_words) == (524288, 32768)
    assert (scratchpad.read_words_per_cycle, scratchpad.write_words_per_cycle) == (128, 32)  # as before, 4 to 1
    assert (dram.read_words_per_cycle, dram.write_words_per_cycle) == (32, 32)
    fast = resized(GEMMINI, clock_hz=2e9)
    assert (fast.clock_hz, fast.levels[0].read_words_per_cycle, fast.levels[1].read_words_per_cycle) == (2e9, 8, 64)
    assert fast.engines[0].clock_hz == 1e9
    units = resized(hwmodels.load("gemmini-ibert", kind=Accelerator), clock_hz=500e6).engines
    assert [unit.clock_hz for unit in units] == [500e6, 1e9]


def test_parts_of_a_buffer_grow_with_it() -> None:
    levels = (GEMMINI.levels[0], replace(GEMMINI.levels[1], partitions={"W": 65536}), *GEMMINI.levels[2:])
    turned = resized(replace(GEMMINI, levels=levels), capacity={"Scratchpad": "128 KiB"})
    assert turned.levels[1].partitions == {"W": 32768}


def test_the_dataflow_of_a_systolic_array_turns_into_that_of_the_shipped_one() -> None:
    turned, shipped = resized(GEMMINI, dataflow="output-stationary"), hwmodels.load("gemmini-os", kind=Accelerator)
    assert turned.levels[:3] == shipped.levels[:3]
    assert turned.levels[3].mesh == shipped.levels[3].mesh
    assert replace(turned.levels[3], read_j=0, write_j=0) == replace(shipped.levels[3], read_j=0, write_j=0)
    assert turned.levels[3].read_j == pytest.approx(shipped.levels[3].read_j)
    assert "level.OReg" in turned.sources
    assert turned.sources["resized"].origin == "assumption"


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_every_dataflow_maps_and_keeps_its_role_in_the_pes(dataflow: str) -> None:
    device = resized(GEMMINI, dataflow=dataflow)
    role = DATAFLOWS[dataflow][0]
    assert device.levels[-1].keeps == (role,)
    found = search(GEMM, device, budget=300)
    assert float(found.cost.utilization[0]) > 0.8
    steps = {level.level: level.temporal for level in found.points[0].mapping.levels}
    assert steps["Accumulator"] or steps[device.levels[-1].name]
    assert area(device) > 0.5


sizes = st.sampled_from([4, 8, 16, 24, 32, 64])


@settings(max_examples=30, deadline=None)
@given(rows=sizes, columns=sizes, kib=st.sampled_from([64, 128, 512, 1024]), clock=st.sampled_from([5e8, 2e9]),
       dataflow=st.sampled_from(sorted(DATAFLOWS)))  # fmt: skip
def test_what_is_turned_turns_back(rows: int, columns: int, kib: int, clock: float, dataflow: str) -> None:
    there = resized(GEMMINI, rows=rows, columns=columns, capacity={"Scratchpad": f"{kib} KiB"}, clock_hz=clock)
    back = resized(there, rows=16, columns=16, capacity={"Scratchpad": "256 KiB"}, clock_hz=1e9)
    assert figures(back) == figures(GEMMINI)
    turned = resized(resized(GEMMINI, dataflow=dataflow), dataflow="weight-stationary")
    assert figures(turned) == replace(
        figures(GEMMINI), levels=(*GEMMINI.levels[:3], replace(GEMMINI.levels[3], read_j=turned.levels[3].read_j,
                                                               write_j=turned.levels[3].write_j)),
    )  # fmt: skip
    assert turned.levels[3].read_j == pytest.approx(GEMMINI.levels[3].read_j)


def test_area_grows_with_every_knob() -> None:
    for knobs in (
        [{"rows": size, "columns": size} for size in (8, 16, 24, 32, 64)],
        [{"columns": size} for size in (8, 16, 32)],
        [{"capacity": {"Scratchpad": f"{kib} KiB"}} for kib in (64, 128, 256, 512, 1024)],
        [{"capacity": {"Accumulator": f"{kib} KiB"}} for kib in (32, 64, 128, 256)],
    ):
        made: list[dict[str, Any]] = list(knobs)
        areas = [area(resized(GEMMINI, **knob)) for knob in made]
        assert areas == sorted(areas)
        assert len(set(areas)) == len(areas)


def test_prices_go_into_what_was_turned() -> None:
    large = resized(GEMMINI, rows=32, columns=32, capacity={"Scratchpad": "1 MiB"})
    small = priced(resized(GEMMINI, capacity={"Scratchpad": "64 KiB"}))
    assert priced(large).levels[1].read_j > small.levels[1].read_j
    assert priced(large).static_w > small.static_w
    assert "hwmodels.energy" in priced(large).sources["level.Scratchpad.energy"].note
    tpu = resized(TPU, rows=128, columns=128)
    assert tpu.organisations["Accumulators"] == Organisation(row_bytes=4, banks=128, ports=(0, 1, 1))
    assert area(tpu) < area(TPU)


@pytest.mark.parametrize(
    ("device", "knobs", "message"),
    [
        (GEMMINI, {"capacity": {"Scratchpd": 1024}}, "gemmini: unknown level 'Scratchpd'; nearest: Scratchpad"),
        (GEMMINI, {"bandwidth": {"L2": 1e9}}, "gemmini: unknown level 'L2'"),
        (GEMMINI, {"capacity": {"DRAM": "1 GiB"}}, "DRAM has no bound, so no capacity to turn"),
        (GEMMINI, {"capacity": {"Accumulator": 1023}}, "1023 B are 255.75 words of 32 bit; give a whole number"),
        (GEMMINI, {"capacity": {"Scratchpad": 0}}, "capacity of Scratchpad is 0; give a number of B above 0"),
        (GEMMINI, {"capacity": {"Scratchpad": "1 GB/s"}}, "found '1 GB/s', which is not in B"),
        (GEMMINI, {"bandwidth": {"WReg": 1e9}}, "WReg states no read bandwidth, so there is none to turn"),
        (GEMMINI, {"bandwidth": {"DRAM": float("nan")}}, "bandwidth of DRAM is nan; give a number of B/s above 0"),
        (GEMMINI, {"rows": 0}, "axis Y of 0 instances; give a whole number of at least 1"),
        (GEMMINI, {"columns": 2.5}, "axis X of 2.5 instances"),
        (GEMMINI, {"mesh": {"Z": 4}}, "gemmini: no mesh axis 'Z'"),
        (GEMMINI, {"mesh": {"Y": 4}, "rows": 8}, "rows is the axis 'Y' of mesh; give one of them"),
        (GEMMINI, {"clock_hz": -1.0}, "clock_hz is -1.0; give a number of Hz above 0"),
        (GEMMINI, {"clock_hz": True}, "clock_hz is True; give a number of Hz above 0"),
        (GEMMINI, {"dataflow": "row-stationary"}, "dataflow 'row-stationary' is unknown; nearest: "),
        (EYERISS, {"dataflow": "weight-stationary"}, "eyeriss: its dataflow cannot be turned: that takes PEs that"),
        (hwmodels.load("edge-npu"), {"dataflow": "output-stationary"}, "edge-npu: its dataflow cannot be turned"),
        (replace(GEMMINI, acc_bits=None), {"dataflow": "output-stationary"}, "states no width of its sums"),
    ],
)
def test_what_cannot_be_turned_says_why(device: Accelerator, knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(DseError) as caught:
        resized(device, **knobs)
    assert message in str(caught.value)
