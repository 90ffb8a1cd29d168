"""One set of formulas: breakdown agrees with evaluate, and a batch equals its rows one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hwmodels
from tests.hwmodels.bert import bert
from workloads import Program, Workload, format_code, peak_bytes
from workloads.errors import MappingError, SpecError

COLUMNS = ("latency_s", "energy_j", "flops", "dram_bytes", "peak_bytes")
LAYERS = 2


def grouped(workload: Workload, size: int) -> Workload:
    names = [op.name for op in workload.operators]
    return workload if size < 2 else replace(workload, groups=tuple(zip(*[iter(names)] * size, strict=False)))


@given(
    st.sampled_from(hwmodels.names()),
    st.integers(1, 300),
    st.lists(st.sampled_from([2, 3, 4, 8, 16]), min_size=6 * LAYERS, max_size=6 * LAYERS),
    st.integers(1, 5),
    st.floats(0.3, 2.0),
    st.sets(st.sampled_from(["dequantize", "epilogue"])),
)
@settings(max_examples=60)
def test_breakdown_adds_up_to_evaluate(
    name: str, tokens: int, bits: list[int], group: int, clock: float, fuses: set[str]
) -> None:
    device = replace(hwmodels.load(name), fuses=tuple(sorted(fuses))).at(clock_scale=clock)
    workload = grouped(bert(tokens, bits=bits, layers=LAYERS), group)
    cost = hwmodels.evaluate(workload, device)
    rows = hwmodels.breakdown_records(workload, device)
    assert [row.name for row in rows] == [op.name for op in workload.operators]
    for column in ("latency_s", "energy_j", "flops", "dram_bytes"):
        assert sum(getattr(row, column) for row in rows) == pytest.approx(getattr(cost, column), rel=1e-9)
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    for row in rows:
        assert tuple(row.energy_by) == device.energy_components
        assert sum(row.energy_by.values()) == pytest.approx(row.energy_j)
    by_level = {part: sum(row.energy_by[part] for row in rows) for part in device.energy_components}
    for part in ("compute", "static"):
        assert by_level.pop(part) == pytest.approx(cost.energy_by[part])
    assert sum(by_level.values()) == pytest.approx(cost.energy_by["dram"])
    assert sum(cost.latency_by.values()) == pytest.approx(cost.latency_s)
    assert sum(cost.energy_by.values()) == pytest.approx(cost.energy_j)


def test_a_spatial_accelerator_without_engines_says_what_it_lacks() -> None:
    array = replace(hwmodels.load("gemmini", kind=hwmodels.Accelerator), engines=())
    calls: tuple[Any, ...] = (hwmodels.evaluate, hwmodels.breakdown, hwmodels.breakdown_records)
    work = bert(8, layers=1)
    for workload in (work, Program(name="p", parts=((1.0, work),))):
        for call in calls:
            with pytest.raises(MappingError, match=r"no engine of gemmini takes it.*it has no other engine"):
                call(workload, array)


@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.integers(1, 4), st.booleans())
@settings(max_examples=40)
def test_a_batch_equals_its_rows_one_by_one(points: int, seed: int, group: int, layered: bool) -> None:
    rng = np.random.default_rng(seed)
    widths = [rng.choice([3.0, 4.0, 8.0, 16.0], points) for _ in range(6 * LAYERS)]
    codes = [rng.choice([format_code(f) for f in ("fp16", "int8", "int4", "fp8_e4m3")], points) for _ in widths]
    heads = rng.integers(1, 13, points).astype(float)
    knobs = {"clock_scale": rng.uniform(0.3, 1.5, points), "bandwidth_scale": rng.uniform(0.3, 2.0, points)}
    device = hwmodels.load(str(rng.choice(hwmodels.names())))

    def at(row: Any) -> hwmodels.Cost:
        workload = bert(64, bits=[w[row] for w in widths], heads=heads[row], layers=LAYERS,
                        codes=[c[row] for c in codes] if layered else None)  # fmt: skip
        scaled = device.at(**{name: value[row] for name, value in knobs.items()})
        return hwmodels.evaluate(grouped(workload, group), scaled, enforce_capacity=True)

    whole = at(slice(None))
    for row in range(points):
        one = at(row)
        for column in COLUMNS:
            batch = np.broadcast_to(getattr(whole, column), points)
            assert batch[row] == pytest.approx(getattr(one, column), rel=1e-9), column
        for parts, own in ((whole.latency_by, one.latency_by), (whole.energy_by, one.energy_by)):
            assert set(parts) == set(own)
            for name in own:
                value = np.broadcast_to(parts[name], points)[row]
                assert value == pytest.approx(own[name], rel=1e-6, abs=1e-12), name


def test_arrays_of_a_caller_are_never_changed() -> None:
    bits = [np.array([4.0, 8.0]) for _ in range(72)]
    heads = np.array([6.0, 12.0])
    scale = np.array([0.5, 1.0])
    copies = [array.copy() for array in (*bits, heads, scale)]
    device = hwmodels.load("h100-sxm").at(clock_scale=scale, bandwidth_scale=scale)
    first = hwmodels.evaluate(bert(bits=bits, heads=heads), device)
    again = hwmodels.evaluate(bert(bits=bits, heads=heads), device)
    for array, copy in zip((*bits, heads, scale), copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    np.testing.assert_array_equal(first.latency_s, again.latency_s)


def test_equal_layers_cost_the_same_whether_or_not_they_are_merged() -> None:
    device = hwmodels.load("a100-sxm-80gb")
    shared = np.array([4.0, 8.0, 16.0])
    merged = hwmodels.evaluate(bert(bits=[shared] * 72), device)
    apart = hwmodels.evaluate(bert(bits=[shared.copy() for _ in range(72)]), device)
    for column in COLUMNS:
        assert getattr(merged, column) == pytest.approx(getattr(apart, column), rel=1e-12)


def test_the_peak_is_the_one_that_liveness_gives() -> None:
    workload = bert(layers=2)
    device = replace(hwmodels.load("a100-sxm-80gb"), fuses=())
    assert hwmodels.evaluate(workload, device).peak_bytes == peak_bytes(workload)


def test_a_breakdown_of_a_batch_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match=r"one design point, and this is a batch; take one row"):
        hwmodels.breakdown_records(bert(bits=[np.array([4.0, 8.0])] * 72), hwmodels.load("t4"))
    with pytest.raises(SpecError, match="one design point"):
        hwmodels.breakdown_records(bert(), hwmodels.load("t4").at(clock_scale=np.array([1.0, 2.0])))


def test_bounds_are_named() -> None:
    device = hwmodels.load("t4")
    big = hwmodels.breakdown(bert(512, batch=64, layers=1), device).set_index("name")
    assert big.bound["layer.0.up.matmul"] == "compute"
    assert big.bound["layer.0.softmax"] == "memory"
    small = hwmodels.breakdown(bert(1, layers=1), device).set_index("name")
    assert small.bound["layer.0.softmax"] == "launch"
    assert big.intensity["layer.0.merge"] == 0
