"""CPU time of `hwmodels.mapping.search`, one thread: GEMMs of BERT-Base, convolutions and all layers of ResNet-50."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hwmodels.mapping import Accelerator, MeshAxis, search
from hwmodels.mapping.cases import conv_operator, gemm_operator, read_architectures
from hwmodels.mapping.mapper.branch import solve
from hwmodels.mapping.mapper.factors import Floats
from hwmodels.mapping.mapper.goals import Found, Goal
from hwmodels.mapping.mapper.halos import groups_by_loops
from hwmodels.mapping.mapper.labels import inner_labels, pairs_of
from hwmodels.mapping.mapper.leaves import Race
from hwmodels.mapping.mapper.memo import Memo
from hwmodels.mapping.mapper.nests import Nest
from hwmodels.mapping.mapper.patterns import patterns
from hwmodels.mapping.mapper.spatial import spatial_choices
from hwmodels.mapping.network import map_network
from hwmodels.mapping.problem import problem_on
from workloads import zoo
from workloads.operator import Operator

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "reference" / "mapping"
GEMMS = [(512, 768, 768), (512, 3072, 768), (512, 768, 3072), (512, 512, 64), (512, 64, 512)]
CONVS = {
    "stem": ((7, 7, 112, 112, 3, 64, 1), 2),
    "3x3 at 56": ((3, 3, 56, 56, 64, 64, 1), 1),
    "3x3 at 14": ((3, 3, 14, 14, 256, 256, 1), 1),
    "1x1 at 56": ((1, 1, 56, 56, 256, 64, 1), 1),
}

pytestmark = [pytest.mark.bench, pytest.mark.benchmark(timer=time.process_time)]


@pytest.fixture(scope="module")
def device() -> Accelerator:
    """gemmini_ws with the mesh that can be built; any bypass."""
    rules = {
        "X": MeshAxis(name="X", size=16, distinct=("W", "O"), shared=("I",)),
        "Y": MeshAxis(name="Y", size=16, distinct=("W", "I"), shared=("O",)),
    }
    return read_architectures(GOLDEN / "architectures.yaml")["gemmini_ws"].wired(rules)


def gemm(sizes: tuple[int, int, int]) -> Operator:
    return gemm_operator("gemm", dict(zip("MNK", sizes, strict=True)))


def conv(name: str) -> Operator:
    bounds, stride = CONVS[name]
    return conv_operator(name, dict(zip("RSPQCKN", bounds, strict=True)), stride)


@pytest.mark.parametrize("sizes", GEMMS, ids=str)
def test_a_gemm_of_bert(benchmark: Any, device: Accelerator, sizes: tuple[int, int, int]) -> None:
    """Asked: 0.2 CPU s."""
    assert benchmark(search, gemm(sizes), device).gap == 0.0
    assert benchmark.stats.stats.min < 0.2


def test_the_five_gemms_of_a_bert_layer(benchmark: Any, device: Accelerator) -> None:
    """Asked: 0.3 CPU s together, with free spatial choice."""
    assert all(found.gap == 0.0 for found in benchmark(lambda: [search(gemm(sizes), device) for sizes in GEMMS]))
    assert benchmark.stats.stats.min < 0.3


@pytest.mark.parametrize("name", CONVS)
def test_a_convolution(benchmark: Any, device: Accelerator, name: str) -> None:
    """Asked: 5 CPU s."""
    assert benchmark.pedantic(search, (conv(name), device), rounds=3).gap == 0.0
    assert benchmark.stats.stats.min < 5.0


def test_all_layers_of_resnet_50(benchmark: Any) -> None:
    """Asked: 60 CPU s and 500 MB; here on the device `gemmini`, as silicon counts."""
    import hwmodels

    device = hwmodels.load("gemmini")
    assert isinstance(device, Accelerator)
    work = zoo.architecture("resnet-50")
    found = benchmark.pedantic(map_network, (work, device, lambda op: search(op, device)), rounds=1)
    assert max(item.finding.gap for item in found.operators) == 0.0
    assert benchmark.stats.stats.min < 60.0
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    benchmark.extra_info["peak_mb"] = round(memory_mb)
    assert memory_mb < 500


def test_a_repeat_is_free(benchmark: Any, device: Accelerator, tmp_path: Path) -> None:
    """From disk a mapping is parsed and priced once; from memory it is there."""
    operator = gemm(GEMMS[0])
    Memo(tmp_path).search(operator, device)

    def again() -> int:
        memo = Memo(tmp_path)
        memo.search(operator, device)
        return memo.hits

    assert benchmark(again) == 1
    assert benchmark.stats.stats.min < 0.02


@pytest.mark.parametrize("name", ["gemm 512 x 3072 x 768", "3x3 at 56"])
def test_mappings_per_second(benchmark: Any, device: Accelerator, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked: 2e7 mappings/s decided, of the spatial vectors that were opened alone; all others come for one bound each.

    A mapping is a chain of tiles that fit with one class of orders for each level, as a plain enumeration counts them.
    """
    from hwmodels.mapping.mapper import search as module

    opened: list[Nest] = []

    def recorded(nest: Nest, race: Race) -> Iterator[float]:
        opened.append(nest)
        return solve(nest, race)

    operator = gemm(GEMMS[1]) if name.startswith("gemm") else conv(name)
    with monkeypatch.context() as patch:
        patch.setattr(module, "solve", recorded)
        found = search(operator, device)
    assert len(opened) == found.opened
    decided = sum(mappings(nest) for nest in opened)
    benchmark(search, operator, device)
    benchmark.extra_info["mappings"] = decided
    benchmark.extra_info["mappings_per_second"] = f"{decided / benchmark.stats.stats.min:.2e}"
    assert decided / benchmark.stats.stats.min > 2e7


@pytest.mark.parametrize("sizes", GEMMS[:3], ids=str)
def test_costs_per_second(benchmark: Any, device: Accelerator, sizes: tuple[int, int, int]) -> None:
    """Every tile chain of one spatial vector with every class of orders priced one by one, nothing discarded."""
    problem = problem_on(gemm(sizes), device, device.conventions)
    choices = spatial_choices(problem, device, device.conventions)
    (pattern,) = (item for item in patterns(problem, device, device.conventions, choices, False)
                  if item.frame.all_keeps == tuple(level.keeps for level in device.levels))  # fmt: skip
    nest = pattern.nest(int(np.argmin(pattern.energy * pattern.cycles)))

    def run() -> Race:
        race = Race(_Everything(Goal("edp")), budget=10**9)
        for _ in solve(nest, race):
            pass
        return race

    race = benchmark(run)
    fixed = replace(device, levels=tuple(replace(level, bypass=()) for level in device.levels))
    best = float(race.found.energy[0] * race.found.cycles[0])
    assert best >= search(gemm(sizes), fixed).value * (1 - 1e-9)
    assert race.tally.joined > 100_000
    benchmark.extra_info["priced_per_second"] = f"{race.tally.joined / benchmark.stats.stats.min:.2e}"


class _Everything(Found):
    """Discards nothing, so that every mapping is priced."""

    def useful(self, energy: Floats, cycles: Floats) -> NDArray[np.bool_]:
        return np.asarray(np.isfinite(energy) & np.isfinite(cycles))

    def offer(self, energy: Floats, cycles: Floats, name: Any) -> None:
        value = energy * cycles
        row = int(value.argmin())
        if not self.what or value[row] < self.energy[0] * self.cycles[0]:
            self.energy, self.cycles, self.what = energy[row : row + 1], cycles[row : row + 1], [name(row)]


def mappings(nest: Nest) -> int:
    """Count the chains of tiles of a three-level frame (the register's tile is one word) times the classes of orders.

    Of the outermost loops above a tensor with windows all orders count that may differ.
    """
    labels = inner_labels(nest, 2)
    assert labels is not None
    _, first = np.unique(labels.owner, return_index=True)
    once = replace(labels, owner=labels.owner[first])
    tiles = nest.tiles(1)
    trips = tuple(bound / value for bound, value in zip(nest.bounds, tiles.values, strict=True))
    orders = np.zeros(len(tiles), dtype=np.int64)
    for active, rows in groups_by_loops(nest, 0, trips):
        orders[rows] = len(nest.frame.orders(0, active))
    chains = sum(int(orders[part.upper].sum()) for part in pairs_of(tiles, once))
    return chains * int(np.prod([len(classes) for classes in nest.frame.classes[1:]]))
