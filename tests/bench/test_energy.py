"""CPU time of one thread of `hwmodels.energy`: memories, arithmetic, DRAM and accelerators, in batches and one by one.

What is measured stands in `extra_info`; only results are asserted, since the machines that run this differ.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import hwmodels
from hwmodels.energy import dram_energy, mac_energy, price
from hwmodels.energy.sram import Macro, Quality, sram
from hwmodels.energy.sram.stored import block
from hwmodels.spatial import Accelerator

POINTS = 10_000
Floats = NDArray[np.float64]

pytestmark = [pytest.mark.bench, pytest.mark.benchmark(timer=time.process_time)]

KINDS: dict[str, dict[str, Any]] = {
    "pairs of the table": {},
    "any capacity, words of the table": {},
    "any capacity and word": {},
    "28 nm": {"node_nm": 28.0},
    "4 banks": {"banks": 4},
    "1 to 8 banks": {"banks": 2 ** np.random.default_rng(8).integers(0, 4, POINTS)},
    "registers": {},
    "one read and one write port": {"ports": (0, 1, 1)},
    "derived ports": {"ports": (1, 1, 1), "device": "itrs-lop"},
    "7 nm by a law": {"node_nm": 7.0, "law": "bitcell-wire"},
}


def memories(kind: str) -> tuple[Floats, Floats]:
    """Give capacities and words [B], shape (POINTS,)."""
    generator = np.random.default_rng(5)
    if kind == "pairs of the table":
        pairs = np.array(list(block("itrs-hp", 45.0, (1, 0, 0)).points), dtype=np.float64)
        width, depth = pairs[generator.integers(len(pairs), size=POINTS)].T
        return width * depth, width
    power = 2.0 ** generator.integers(0, 8, POINTS)
    width = power if kind.endswith("words of the table") else generator.integers(1, 129, POINTS).astype(np.float64)
    words = np.floor(np.exp(generator.uniform(np.log(64), np.log(2**20), POINTS)))
    if kind == "registers":
        words = generator.integers(1, 32, POINTS).astype(np.float64)
    words = np.minimum(words, 2.0**27 // width)
    return np.asarray(words * width * KINDS[kind].get("banks", 1)), np.asarray(width, dtype=np.float64)


def assert_same(one: Macro, batch: Macro, at: int) -> None:
    for name in ("read_j", "write_j", "leakage_w", "area_mm2", "access_s", "cycle_s"):
        assert getattr(one, name) == pytest.approx(getattr(batch, name)[at], rel=1e-9)


def of_point(value: Any, at: int) -> Any:
    return int(value[at]) if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_memories(benchmark: Any, kind: str) -> None:
    """Asked: 1 us a point in a batch of 10,000."""
    size, width = memories(kind)
    found = benchmark.pedantic(sram, (size, width), KINDS[kind], rounds=5, warmup_rounds=1)
    for name in ("read_j", "write_j", "leakage_w", "area_mm2", "access_s", "cycle_s"):
        values = getattr(found, name)
        assert values.shape == (POINTS,)
        assert np.all(np.isfinite(values) & (values > 0))
    qualities = set(found.quality.tolist())
    assert (qualities == {Quality.REGISTERS}) is (kind == "registers")
    assert (qualities == {Quality.SCALED}) is (kind == "7 nm by a law")
    benchmark.extra_info["us_a_point"] = round(benchmark.stats.stats.min / POINTS * 1e6, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_memories_one_by_one(benchmark: Any, kind: str) -> None:
    """Asked: 20 us for one. 100 different ones, each looked up before; the first look-up of a kind prepares it."""
    size, width = memories(kind)
    few: dict[str, Any] = {
        name: value[:100] if isinstance(value, np.ndarray) else value for name, value in KINDS[kind].items()
    }
    some = [
        (float(size[at]), float(width[at]), {name: of_point(value, at) for name, value in few.items()})
        for at in range(100)
    ]

    def run() -> list[Macro]:
        return [sram(*point, **names) for *point, names in some]

    found = benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    batch = sram(size[:100], width[:100], **few)
    for at, one in enumerate(found):
        assert_same(one, batch, at)
    benchmark.extra_info["us_for_one"] = round(benchmark.stats.stats.min / len(some) * 1e6, 1)


def test_multiply_adds_over_nodes(benchmark: Any) -> None:
    nodes = np.linspace(7, 45, POINTS)
    found = benchmark.pedantic(mac_energy, ("int8",), {"node_nm": nodes}, rounds=5, warmup_rounds=1)
    assert np.all(np.diff(found.value) > 0)
    for at in (0, 5000, POINTS - 1):
        assert found.value[at] == pytest.approx(mac_energy("int8", node_nm=float(nodes[at])).value)
    benchmark.extra_info["us_a_point"] = round(benchmark.stats.stats.min / POINTS * 1e6, 2)


def test_dram_bits_over_row_hit_rates(benchmark: Any) -> None:
    rates = np.linspace(0, 1, POINTS)
    found = benchmark.pedantic(dram_energy, ("HBM2",), {"row_hit_rate": rates}, rounds=5, warmup_rounds=1)
    assert np.all(np.diff(found.total.value) <= 0)
    for at in (0, 5000, POINTS - 1):
        one = dram_energy("HBM2", row_hit_rate=float(rates[at]))
        assert found.total.value[at] == pytest.approx(one.total.value)
    benchmark.extra_info["us_a_point"] = round(benchmark.stats.stats.min / POINTS * 1e6, 2)


def test_an_accelerator_over_clocks(benchmark: Any) -> None:
    """Gemmini at 10,000 clocks."""
    accelerator = hwmodels.load("gemmini", kind=Accelerator)
    clocks = np.linspace(0.7, 1.0, POINTS)
    found = benchmark.pedantic(price, (accelerator,), {"clock_scale": clocks}, rounds=3, warmup_rounds=1)
    alone = price(accelerator, clock_scale=0.7)
    mac = np.broadcast_to(found.mac_j.value, (POINTS,))
    assert mac[0] == pytest.approx(alone.mac_j.value)
    assert mac[-1] == pytest.approx(price(accelerator).mac_j.value)
    benchmark.extra_info["us_a_point"] = round(benchmark.stats.stats.min / POINTS * 1e6, 2)


def test_an_accelerator(benchmark: Any) -> None:
    accelerator = hwmodels.load("gemmini", kind=Accelerator)
    found = benchmark.pedantic(price, (accelerator,), rounds=10, warmup_rounds=1)
    parts = sum(float(part.area_mm2.value) for part in found.components)
    assert parts == pytest.approx(float(found.area_mm2.value))
    benchmark.extra_info["ms_for_one"] = round(benchmark.stats.stats.min * 1e3, 2)
