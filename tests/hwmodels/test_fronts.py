"""Fronts: what they answer is what a fresh search finds, and no mapping beats it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hwmodels
from hwmodels import energy
from hwmodels.mapping import REFERENCE, SILICON, evaluate, narrowed, random_mappings, search
from hwmodels.mapping.cases import conv_operator, gemm_operator
from hwmodels.mapping.fronts import Devices, FrontMemo, Searched, front, network_fronts
from hwmodels.spatial import ROLES, Accelerator, BufferLevel, Conventions, MeshAxis
from workloads import zoo
from workloads.errors import MappingError, SpecError
from workloads.operator import Operator

OBJECTIVES = ("edp", "energy", "latency")


def gemm(m: int, n: int, k: int) -> Operator:
    return narrowed(gemm_operator("g", {"M": m, "N": n, "K": k}), 8)


def toy(rules: Conventions, serial: bool = False, bypass: bool = False, split: bool = False) -> Accelerator:
    """Three levels, a 4 x 2 array, bursts and a bus: small enough to search hundreds of times."""
    dram = BufferLevel(
        name="DRAM",
        keeps=ROLES,
        capacity_words=None,
        word_bits=8,
        read_words_per_cycle=2.0,
        write_words_per_cycle=2.0,
        read_j=64e-12,
        write_j=64e-12,
        shared_port=True,
        burst_bits=64,
    )
    buffer = BufferLevel(
        name="Buffer",
        keeps=ROLES,
        capacity_words=512,
        word_bits=8,
        read_words_per_cycle=4.0,
        write_words_per_cycle=3.0,
        read_j=2e-12,
        write_j=2.5e-12,
        bypass=None if bypass else (),
        partitions={"W": 200} if split else {},
        buffering="serial" if serial else "double",
        mesh=(
            MeshAxis(name="X", size=4, distinct=("W", "O"), shared=("I",)),
            MeshAxis(name="Y", size=2, distinct=("W", "I"), shared=("O",)),
        ),
    )
    register = BufferLevel(name="Register", keeps=("W",), capacity_words=4, word_bits=8, read_j=1e-14, write_j=2e-14,
                           buffering="shadow", bypass=())  # fmt: skip
    return Accelerator(name="toy", levels=(dram, buffer, register), mac_j=0.3e-12, acc_bits=32, static_w=1e-4,
                       conventions=rules)  # fmt: skip


def turned(accelerator: Accelerator, rng: np.random.Generator, spread: float = 2.0) -> Accelerator:
    """Turn every number of an accelerator by its own random factor; capacities at most to twice."""

    def factor() -> float:
        return float(2.0 ** rng.uniform(-spread, spread))

    levels = []
    for level in accelerator.levels:
        size, whole = min(factor(), 2.0), level.capacity_words
        read, write = level.read_words_per_cycle, level.write_words_per_cycle
        levels.append(
            replace(
                level,
                read_words_per_cycle=None if read is None else read * factor(),
                write_words_per_cycle=None if write is None else write * factor(),
                read_j=level.read_j * factor(),
                write_j=level.write_j * factor(),
                capacity_words=None if whole is None else max(int(whole * size), 1),
                partitions={role: max(int(words * size), 1) for role, words in level.partitions.items()},
            )
        )
    return replace(accelerator, levels=tuple(levels), mac_j=accelerator.mac_j * factor(),
                   static_w=accelerator.static_w * factor(), clock_hz=accelerator.clock_hz * factor())  # fmt: skip


def value(objective: str, energy_j: Any, cycles: Any) -> Any:
    return {"edp": energy_j * cycles, "energy": energy_j, "latency": cycles}[objective]


def assert_as_searched(operator: Operator, devices: list[Accelerator], objective: str, capacity: float = 2.0) -> None:
    solved = front(operator, devices[0], capacity=capacity * 8.0)
    found = solved.answer(devices, objective)  # type: ignore[arg-type]
    for place, device in enumerate(devices):
        try:
            fresh = search(operator, device, objective)  # type: ignore[arg-type]
        except MappingError:
            assert not np.isfinite(found.energy_j[place])
            continue
        mine = value(objective, found.energy_j[place], found.cycles[place])
        assert mine == pytest.approx(fresh.value, rel=1e-12)
        cost = evaluate(operator, device, solved.mapping(found, place))
        assert float(cost.cycles[0]) == found.cycles[place]
        assert float(cost.energy_j[0]) == pytest.approx(found.energy_j[place], rel=1e-12)
        if objective != "edp":
            assert found.energy_j[place] == pytest.approx(fresh.cost.energy_j[0], rel=1e-9)
            assert found.cycles[place] == fresh.cost.cycles[0]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("rules", [SILICON, REFERENCE], ids=lambda rules: rules.name)
@pytest.mark.parametrize("kind", [{}, {"serial": True}, {"bypass": True}, {"split": True}], ids=str)
def test_answers_are_those_of_fresh_searches(objective: str, rules: Conventions, kind: dict[str, bool]) -> None:
    rng = np.random.default_rng(len(objective) + 7 * len(kind))
    for sizes in ((8, 12, 16), (1, 24, 6)):
        device = toy(rules, **kind)
        assert_as_searched(gemm(*sizes), [device, *(turned(device, rng) for _ in range(4))], objective)


@pytest.mark.parametrize("name", ["gemmini", "eyeriss", "tpu-v1"])
def test_real_machines_answer_as_fresh_searches(name: str) -> None:
    device = hwmodels.load(name, kind=Accelerator)
    rng = np.random.default_rng(3)
    assert_as_searched(gemm(8, 12, 4), [device, *(turned(device, rng, 1.0) for _ in range(3))], "edp")


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_product_of_bert_base_answers_as_fresh_searches(objective: str) -> None:
    device = hwmodels.load("gemmini", kind=Accelerator)
    rng = np.random.default_rng(11)
    assert_as_searched(gemm(128, 768, 768), [device, *(turned(device, rng, 1.0) for _ in range(20))], objective, 0.25)


@settings(deadline=None, max_examples=12)
@given(
    sizes=st.tuples(*[st.sampled_from([1, 2, 3, 4, 6, 8, 12])] * 3),
    seed=st.integers(0, 10**6),
    serial=st.booleans(),
    silicon=st.booleans(),
    bypass=st.booleans(),
    objective=st.sampled_from(OBJECTIVES),
)
def test_no_random_mapping_beats_an_answer(
    sizes: tuple[int, int, int], seed: int, serial: bool, silicon: bool, bypass: bool, objective: str
) -> None:
    rng = np.random.default_rng(seed)
    device = turned(toy(SILICON if silicon else REFERENCE, serial, bypass), rng)
    operator = gemm(*sizes)
    found = front(operator, device).answer([device], objective)  # type: ignore[arg-type]
    best = value(objective, found.energy_j[0], found.cycles[0])
    try:
        sample = random_mappings(operator, device, 100, seed=seed)
    except MappingError:  # next to none fits
        return
    for batch in sample.batches:
        cost = evaluate(operator, device, batch)
        assert (value(objective, cost.energy_j, cost.cycles) >= best * (1 - 1e-12)).all()


def test_devices_beyond_what_was_solved_are_solved_anew() -> None:
    device = toy(SILICON)
    operator = gemm(8, 12, 16)
    solved = front(operator, device)
    first = solved.answer([device])
    rng = np.random.default_rng(5)
    for _ in range(4):
        other = turned(device, rng, 4.0)
        found = solved.answer([other])
        assert found.energy_j[0] * found.cycles[0] == pytest.approx(search(operator, other).value, rel=1e-12)
    assert evaluate(operator, device, solved.mapping(first, 0)).cycles[0] == first.cycles[0]


def test_a_front_refuses_what_it_was_not_solved_for() -> None:
    device = toy(SILICON)
    solved = front(gemm(8, 12, 16), device)
    larger = replace(device.levels[1], capacity_words=512 * 5)
    with pytest.raises(MappingError, match="Buffer with 2,560 words; the front is solved for up to 2,048"):
        solved.answer([replace(device, levels=(device.levels[0], larger, device.levels[2]))])
    wired = replace(device.levels[1], mesh=())
    with pytest.raises(MappingError, match="level Buffer of toy has another mesh than that of toy"):
        solved.answer([replace(device, levels=(device.levels[0], wired, device.levels[2]))])
    with pytest.raises(MappingError, match="a front answers edp, energy or latency"):
        solved.answer([device], "pareto")


def test_what_does_not_fit_is_infinite_and_has_no_mapping() -> None:
    device = toy(SILICON)
    tiny = replace(device, levels=(device.levels[0], replace(device.levels[1], capacity_words=2), device.levels[2]))
    solved = front(gemm(8, 12, 16), device)
    found = solved.answer([tiny, device])
    assert np.isinf(found.energy_j[0])
    assert np.isfinite(found.energy_j[1])
    with pytest.raises(MappingError, match="no mapping fits device 0"):
        solved.mapping(found, 0)


def test_convolutions_are_searched_for_each_device() -> None:
    operator = narrowed(conv_operator("c", dict(zip("RSPQCKN", (3, 3, 4, 4, 2, 4, 1), strict=True)), 1), 8)
    device = toy(SILICON)
    solved = front(operator, device)
    assert isinstance(solved, Searched)
    found = solved.answer([device])
    assert found.energy_j[0] * found.cycles[0] == pytest.approx(search(operator, device).value, rel=1e-12)


KNOBS = {
    "capacity_scale.Scratchpad": np.array([0.25, 1.0, 2.0, 0.5]),
    "capacity_scale.Accumulator": np.array([1.0, 0.5, 2.0, 2.0]),
    "bandwidth_scale.DRAM": np.array([0.5, 1.0, 2.0, 4.0]),
    "bandwidth_scale.Scratchpad": np.array([1.0, 2.0, 0.5, 1.0]),
    "clock_scale": np.array([1.0, 0.75, 1.0, 0.5]),
}


def priced_alone(device: Accelerator, row: int) -> tuple[Accelerator, float]:
    scales = {kind: {name.split(".")[1]: float(factor[row]) for name, factor in KNOBS.items() if name.startswith(kind)}
              for kind in ("capacity", "bandwidth")}  # fmt: skip
    bill = energy.price(device, **scales, clock_scale=float(KNOBS["clock_scale"][row]), dram="LPDDR4")  # type: ignore[arg-type]
    return energy.priced(device, bill), float(bill.area_mm2.value)


def test_a_sweep_of_a_network_is_that_of_fresh_searches_on_priced_accelerators() -> None:
    device = hwmodels.load("gemmini", kind=Accelerator)
    fronts = network_fronts(zoo.architecture("bert-tiny", seq=32), device)
    columns = fronts.sweep(KNOBS, dram="LPDDR4")
    for row in range(4):
        one, area = priced_alone(device, row)
        found = [(product.executions, search(product.operator, one).cost) for product in fronts.products]
        cycles = sum(times * float(cost.cycles[0]) for times, cost in found)
        joules = sum(times * float(cost.energy_j[0]) for times, cost in found)
        assert columns["latency_s"][row] == pytest.approx(cycles / one.clock_hz, rel=1e-12)
        assert columns["energy_j"][row] == pytest.approx(joules, rel=1e-12)
        assert columns["area_mm2"][row] == pytest.approx(area, rel=1e-12)
    assert {item.op_type for item in fronts.unmapped} >= {"Softmax"}


def test_a_sweep_of_array_sizes_is_that_of_each_size() -> None:
    device = hwmodels.load("gemmini", kind=Accelerator)
    fronts = network_fronts(zoo.architecture("bert-tiny", seq=32), device)
    both = fronts.sweep({"array_rows": [8, 16], "array_columns": [8, 32], "capacity_scale.Scratchpad": [1.0, 0.5]})
    for row, (rows, columns, scale) in enumerate(((8, 8, 1.0), (16, 32, 0.5))):
        alone = network_fronts(
            zoo.architecture("bert-tiny", seq=32), hwmodels.resized(device, rows=rows, columns=columns)
        )
        one = alone.sweep({"capacity_scale.Scratchpad": scale})
        assert {name: values[row] for name, values in both.items()} == {name: values[0] for name, values in one.items()}


def test_energy_of_a_level_is_a_users_own_number() -> None:
    device = hwmodels.load("gemmini", kind=Accelerator)
    fronts = network_fronts(zoo.architecture("bert-tiny", seq=32), device)
    columns = fronts.sweep({"energy_scale.DRAM": np.array([0.5, 1.0, 2.0])}, "energy")
    assert (np.diff(columns["energy_j"]) > 0).all()
    assert (columns["area_mm2"] == columns["area_mm2"][0]).all()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"bandwidth_scale.DRAM": 2.0}, "bandwidth of DRAM has no price without its technology; give dram"),
        ({"capacity_scale.DRAM": 2.0}, "capacity of DRAM has no price: it has no bound"),
        ({"bandwidth_scale.WReg": 2.0}, "bandwidth of WReg has no price: the device states none"),
        ({"capacity_scale.Scratchpd": 2.0}, "there is no knob 'capacity_scale.Scratchpd'.*capacity_scale.Scratchpad"),
        ({"clock_scale": [1.0, 0.9], "array_rows": [8, 16, 32]}, "knobs of different lengths: 2, 3"),
        ({"array_rows": 8.5}, "knob 'array_rows' takes whole numbers"),
        ({"energy_scale.DRAM": -1.0}, "takes numbers above zero"),
    ],
)
def test_knobs_without_a_price_are_refused(knobs: dict[str, object], message: str) -> None:
    fronts = network_fronts(zoo.architecture("bert-tiny", seq=32), hwmodels.load("gemmini", kind=Accelerator))
    with pytest.raises(SpecError, match=message):
        fronts.sweep(knobs)  # type: ignore[arg-type]


def test_fronts_are_kept_on_disk_and_broken_files_are_solved_again(tmp_path: Path) -> None:
    device, work = hwmodels.load("gemmini", kind=Accelerator), zoo.architecture("bert-tiny", seq=32)
    knobs = {name: np.tile(values, 10) for name, values in KNOBS.items()}
    first = network_fronts(work, device, FrontMemo(tmp_path)).sweep(knobs, dram="LPDDR4")
    files = sorted(tmp_path.glob("front-*.npz"))
    assert files
    memo = FrontMemo(tmp_path)
    again = network_fronts(work, device, memo).sweep(knobs, dram="LPDDR4")
    assert memo.hits == len(files)
    for number, path in enumerate(files):
        whole = path.read_bytes()
        path.write_bytes((whole[: len(whole) // 2], b"", whole[:-40] + bytes(40), b"{}")[number % 4])
    broken = FrontMemo(tmp_path)
    once_more = network_fronts(work, device, broken).sweep(knobs, dram="LPDDR4")
    assert broken.hits == 0
    for other in (again, once_more):
        assert all(np.array_equal(first[name], other[name]) for name in first)


def test_devices_of_a_batch_are_the_accelerators_they_came_from() -> None:
    device = toy(SILICON, split=True)
    rng = np.random.default_rng(2)
    several = [device, *(turned(device, rng) for _ in range(3))]
    batch = Devices.of(several, SILICON)
    for (row, one), name in itertools.product(enumerate(several), ("read_j", "write_j", "capacity_words")):
        back = batch.accelerator(device, row)
        assert [getattr(level, name) for level in back.levels] == [getattr(level, name) for level in one.levels]
