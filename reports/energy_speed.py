"""The speed section of `reports.energy`: CPU time of one thread, best of several."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import hwmodels
from dse.report.tables import markdown_table
from hwmodels.energy import dram_energy, mac_energy, price
from hwmodels.energy.sram import sram
from hwmodels.energy.sram.stored import block
from hwmodels.spatial import Accelerator

POINTS = 10_000
ONES = 300
ROUNDS = 7
ENOUGH_S = 1.0
"""CPU time after which no further round begins."""


def best_of(run: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Give the least CPU time of some rounds, after one that is not counted; of fewer where they take long [s]."""
    run()
    times: list[float] = []
    while len(times) < rounds and sum(times) < ENOUGH_S:
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def loop_ms() -> float:
    """Time a million steps of a loop: a yardstick for the machine [ms]."""

    def loop() -> None:
        total = 0
        for step in range(1_000_000):
            total += step * step

    return best_of(loop, 3) * 1e3


def machine() -> str:
    """Name the processor and the versions."""
    names = [line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    return f"{(names or [platform.machine()])[0]}, Python {platform.python_version()}, NumPy {np.__version__}"


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def batches() -> dict[str, tuple[tuple[Any, Any], dict[str, Any]]]:
    """Give batches of memories: sizes and words, and the names beside them."""
    generator = np.random.default_rng(5)
    pairs = np.array(list(block("itrs-hp", 45.0, (1, 0, 0)).points), dtype=np.float64)
    width, depth = pairs[generator.integers(len(pairs), size=POINTS)].T
    power = 2.0 ** generator.integers(0, 8, POINTS)
    words = np.floor(np.exp(generator.uniform(np.log(64), np.log(2**20), POINTS)))
    any_width = generator.integers(1, 129, POINTS).astype(np.float64)
    fitting = np.minimum(words, 2.0**27 // any_width)
    banks = 2.0 ** generator.integers(1, 5, POINTS)
    return {
        "pairs of the table": ((width * depth, width), {}),
        "any capacity, words of the table": ((np.minimum(words, 2.0**27 // power) * power, power), {}),
        "any capacity, any word": ((fitting * any_width, any_width), {}),
        "any capacity and word, 28 nm": ((fitting * any_width, any_width), {"node_nm": 28.0}),
        "any capacity and word, 4 banks": ((fitting * any_width * 4, any_width), {"banks": 4}),
        "any capacity and word, 2 to 16 banks": ((fitting * any_width * banks, any_width), {"banks": banks}),
        "fewer than 32 words": ((generator.integers(1, 32, POINTS) * any_width, any_width), {}),
        "any capacity and word, one read and one write port": ((fitting * any_width, any_width), {"ports": (0, 1, 1)}),
        "any capacity and word, ports that are derived from others (1, 1, 1), itrs-lop":
            ((fitting * any_width, any_width), {"ports": (1, 1, 1), "device": "itrs-lop"}),
        "any capacity and word, 7 nm by bitcell-wire":
            ((fitting * any_width, any_width), {"node_nm": 7.0, "law": "bitcell-wire"}),
    }  # fmt: skip


def sram_rows() -> list[list[str]]:
    """Time memories in a batch and one by one [us]."""
    found = []
    for name, ((size, width), others) in batches().items():
        together = best_of(lambda: sram(size, width, **others)) / POINTS  # noqa: B023
        some: list[dict[str, Any]] = [
            {"size_bytes": float(size[at]), "width_bytes": float(width[at]),
             **{key: int(value[at]) if isinstance(value, np.ndarray) else value for key, value in others.items()}}
            for at in range(ONES)
        ]  # fmt: skip
        alone = best_of(lambda: [sram(**point) for point in some]) / len(some)  # noqa: B023
        found.append([f"`sram`, {name}", f"{together * 1e6:.2f}", f"{alone * 1e6:.1f}"])
    return found


def other_rows() -> list[list[str]]:
    """Time the other prices in a batch and one by one [us]."""
    nodes = np.random.default_rng(6).uniform(7, 45, POINTS)
    rates = np.linspace(0, 1, POINTS)
    accelerator = hwmodels.load("gemmini", kind=Accelerator)
    clocks = np.linspace(0.7, 1.0, POINTS)
    cases: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        '`mac_energy("int8")`, node': (
            lambda: mac_energy("int8", node_nm=nodes), lambda: mac_energy("int8", node_nm=28)),
        '`dram_energy("HBM2")`, row-hit rate': (
            lambda: dram_energy("HBM2", row_hit_rate=rates), lambda: dram_energy("HBM2", row_hit_rate=0.5)),
        "`price(gemmini)`, clock": (
            lambda: price(accelerator, clock_scale=clocks), lambda: price(accelerator)),
    }  # fmt: skip
    return [
        [name, f"{best_of(batch, 3) / POINTS * 1e6:.2f}", f"{best_of(one, 20) * 1e6:.1f}"]
        for name, (batch, one) in cases.items()
    ]


FIRST = """
import time
import hwmodels.energy.sram as module
start = time.process_time()
module.sram({arguments})
print(time.process_time() - start)
"""


def first_rows() -> list[list[str]]:
    """Time the first look-up of a process, which reads the table and prepares what it needs [s]."""
    cases = {
        "a pair of the table": "262144, 8",
        "any capacity and word": "100_000, 24",
        "any capacity and word, 28 nm": "100_000, 24, node_nm=28.0",
    }
    found = []
    for name, arguments in cases.items():
        code = [sys.executable, "-c", FIRST.format(arguments=arguments)]
        times = [float(subprocess.run(code, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
        found.append([name, f"{min(times):.2f}"])
    return found


def section() -> str:
    """Write the section."""
    beside = [["one run of CACTI 7 (reference notes)", "-", "20,000 to 830,000"]]
    table = markdown_table(["look-up", f"in a batch of {POINTS:,} [us a point]", "one [us]"],
                           [["asked, `sram`", "1", "20"], *sram_rows(), *other_rows(), *beside])  # fmt: skip
    first = markdown_table(["first `sram` of a process", "[s]"], first_rows())
    note = NOTE.format(rounds=ROUNDS, ones=ONES, loop=loop_ms(), machine=machine())
    return "\n\n".join(("## Speed", note, table, first)) + "\n"


NOTE = """CPU time of one thread (OMP_NUM_THREADS=1), the least of up to {rounds} rounds after one that is not counted,
on a shared two-core machine ({machine}) on which a loop of a million
`s += i * i` took {loop:.0f} ms. *One*: the mean over {ones} different memories, each looked up before. These times are
the only figures of this report that differ between runs."""
