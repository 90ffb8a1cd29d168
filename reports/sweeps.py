"""Writes `reports/sweeps.md`: hardware sweeps from fronts, held against fresh searches.

    python -m reports.sweeps PICTURES

PICTURES is a folder for the figure; the report names its file. Times are CPU seconds of one thread.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import hwmodels
from dse import non_dominated, plots
from dse.files import atomic_write
from hwmodels import energy
from hwmodels.mapping import search
from hwmodels.mapping.fronts import Front, FrontMemo, NetworkFronts, network_fronts
from hwmodels.spatial import Accelerator
from reports.mapper import loop_ms, table
from workloads import zoo
from workloads.workload import Workload

HERE = Path(__file__).resolve().parent
POINTS = 10_000
FRESH = 50
"""Points of each sweep that are searched anew."""

DRAM = "LPDDR4"
ARRAYS = ((8, 8), (8, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64))

HEAD = """# Hardware sweeps

Written by `python -m reports.sweeps PICTURES`. CPU seconds of one thread on a shared two-core machine on which a loop
of a million `s += i * i` took {loop:.0f} ms. Networks: BERT-Base's matrix products (what the array does not run is in
none of the columns); machine: `gemmini`, silicon conventions, energies, area, leakage and ports by `hwmodels.energy`,
LPDDR4; each operator mapped for the least energy-delay product on each of the machines.
"""


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    """Give a result and its CPU time [s]."""
    start = time.process_time()
    return run(), time.process_time() - start


def knobs_of_sweep() -> dict[str, Any]:
    """Draw buffers and bandwidths up to a factor of 4, and the energy of DRAM."""
    rng = np.random.default_rng(0)
    spreads = {
        "capacity_scale.Scratchpad": 2.0,
        "capacity_scale.Accumulator": 2.0,
        "bandwidth_scale.DRAM": 2.0,
        "bandwidth_scale.Scratchpad": 1.0,
        "energy_scale.DRAM": 1.0,
    }
    return {name: 2.0 ** rng.uniform(-spread, spread, POINTS) for name, spread in spreads.items()}


def alone(device: Accelerator, knobs: Mapping[str, Any], row: int) -> Accelerator:
    """Give one point of a sweep as an accelerator, by the energy models."""
    scales = {
        kind: {name.split(".")[1]: float(value[row]) for name, value in knobs.items() if name.startswith(f"{kind}_")}
        for kind in ("capacity", "bandwidth", "energy")
    }
    bill = energy.price(device, capacity=scales["capacity"], bandwidth=scales["bandwidth"], dram=DRAM)
    found = energy.priced(device, bill)
    factors = [scales["energy"].get(level.name, 1.0) for level in found.levels]
    levels = tuple(
        replace(level, read_j=level.read_j * factor, write_j=level.write_j * factor)
        for level, factor in zip(found.levels, factors, strict=True)
    )
    return replace(found, levels=levels)


def compared(fronts: NetworkFronts, knobs: Mapping[str, Any], columns: Mapping[str, Any]) -> tuple[float, float]:
    """Give the largest relative difference from fresh searches, and the CPU time of one of them [s]."""
    worst = 0.0
    start = time.process_time()
    for row in np.random.default_rng(1).choice(POINTS, FRESH, replace=False):
        one = alone(fronts.accelerator, knobs, int(row))
        costs = [(product.executions, search(product.operator, one).cost) for product in fronts.products]
        joules = sum(times * float(cost.energy_j[0]) for times, cost in costs)
        seconds = sum(times * float(cost.latency_s[0]) for times, cost in costs)
        worst = max(worst, abs(columns["energy_j"][row] / joules - 1), abs(columns["latency_s"][row] / seconds - 1))
    return worst, (time.process_time() - start) / FRESH


def sweep_section() -> str:
    """Sweep buffers, bandwidths and energies of one array."""
    rows, sizes = [], []
    knobs = knobs_of_sweep()
    for seq in (128, 512):
        work, device = zoo.architecture("bert-base", seq=seq), hwmodels.load("gemmini", kind=Accelerator)
        with tempfile.TemporaryDirectory() as folder:
            fronts = network_fronts(work, device, FrontMemo(Path(folder)))
            columns, first = timed(partial(fronts.sweep, knobs, dram=DRAM))
            _, again = timed(partial(fronts.sweep, knobs, dram=DRAM))
            other = network_fronts(work, device, FrontMemo(Path(folder)))
            reread, disk = timed(partial(other.sweep, knobs, dram=DRAM))
            stored = sum(path.stat().st_size for path in Path(folder).iterdir())
        assert all(np.array_equal(columns[name], reread[name]) for name in columns)
        worst, fresh = compared(fronts, knobs, columns)
        rows.append([f"{seq}", f"{first:.1f} ({POINTS / first:,.0f})", f"{again:.1f} ({POINTS / again:,.0f})",
                     f"{disk:.1f} ({POINTS / disk:,.0f})", f"{1 / fresh:.1f}", f"{worst:.1e}",
                     f"{stored / 1e6:.1f}"])  # fmt: skip
        sizes += _sizes(fronts, seq)
    head = ["tokens", "first, solving [s] (points/s)", "again [s] (points/s)", "from disk [s] (points/s)",
            "fresh searches [points/s]", f"largest difference of {FRESH}", "on disk [MB]"]  # fmt: skip
    text = (
        f"{POINTS:,} machines of one 16 x 16 array: scratchpad, accumulator and DRAM bandwidth times 1/4 to 4, "
        "bandwidth of the scratchpad and energy of DRAM times 1/2 to 2, at random. Times include the prices. Energy "
        f"and latency of {FRESH} of them were found anew by `search` on `priced` accelerators."
    )
    size_head = ["product", "spatial vectors", "solved whole", "front", "behind it"]
    note = (
        "A spatial vector is solved when bounds leave a machine hope for something better there; where that is so for "
        "few machines, only the tiles in question are looked at. *Front*: rows that no other row covers in room per "
        "level, words per port, first and last tiles, and energy at the corners of the sweep's energies. *Behind it*: "
        "rows that a row of the front covers but for what overlaps at the ends; they make results exact to the cycle."
    )
    return f"## Buffers, bandwidths, energies\n\n{text}\n\n{table(head, rows)}\n\n{note}\n\n{table(size_head, sizes)}\n"


def _sizes(fronts: NetworkFronts, seq: int) -> list[list[str]]:
    rows = []
    for product in fronts.products:
        found = fronts.front(product, fronts.accelerator, 4.0)
        assert isinstance(found, Front)
        dims = " ".join(f"{dim}={size}" for dim, size in product.operator.dims.items() if size > 1)
        rows.append([f"{seq}: {dims}", f"{len(found.vectors)}", f"{len(found.opened)}", f"{found.entries:,}",
                     f"{found.alternates:,}"])  # fmt: skip
    return rows


def searched(work: Workload, device: Accelerator) -> dict[str, float]:
    """Give the columns of a sweep for a machine as it is, by fresh searches."""
    products = network_fronts(work, device).products
    priced = alone(device, {}, 0)
    costs = [(product.executions, search(product.operator, priced).cost) for product in products]
    cycles = sum(times * float(cost.cycles[0]) for times, cost in costs)
    macs = sum(times * cost.macs for times, cost in costs)
    return {
        "latency_s": sum(times * float(cost.latency_s[0]) for times, cost in costs),
        "energy_j": sum(times * float(cost.energy_j[0]) for times, cost in costs),
        "area_mm2": float(energy.price(device, dram=DRAM).area_mm2.value),
        "utilization": macs / (cycles * device.mac_instances * device.macs_per_cycle),
    }


def picture_section(folder: Path) -> str:
    """Sweep arrays and buffers, and draw the front with known machines on it."""
    rng = np.random.default_rng(2)
    sizes = np.array(ARRAYS)[rng.integers(len(ARRAYS), size=POINTS)]
    knobs: dict[str, Any] = {"array_rows": sizes[:, 0], "array_columns": sizes[:, 1]}
    for name in ("capacity_scale.Scratchpad", "capacity_scale.Accumulator", "bandwidth_scale.DRAM"):
        knobs[name] = 2.0 ** rng.uniform(-2.0, 2.0, POINTS)
    work = zoo.architecture("bert-base", seq=128)
    fronts = network_fronts(work, hwmodels.load("gemmini", kind=Accelerator))
    columns, seconds = timed(partial(fronts.sweep, knobs, dram=DRAM))
    known = {"Gemmini": "gemmini", "survey's machine": "survey-machine"}
    marks = {label: searched(work, hwmodels.load(name, kind=Accelerator)) for label, name in known.items()}
    costs = np.stack([columns[name] for name in ("latency_s", "energy_j", "area_mm2")], axis=1)
    fits = np.isfinite(costs).all(axis=1)
    front = non_dominated(costs[fits])
    path = plots.hardware_front(
        columns, folder / "hardware_front.png", marks=marks,
        title=f"BERT-Base, 128 tokens: {POINTS:,} arrays and buffers, predicted",
    )  # fmt: skip
    rows = []
    for name, one in marks.items():
        mine = np.array([one["latency_s"], one["energy_j"], one["area_mm2"]])
        better = int((costs[fits] < mine).all(axis=1).sum())
        rows.append([name, f"{one['latency_s'] * 1e3:.2f}", f"{one['energy_j'] * 1e3:.2f}", f"{one['area_mm2']:.2f}",
                     f"{one['utilization']:.1%}", f"{better:,}"])  # fmt: skip
    head = ["machine", "latency [ms]", "energy [mJ]", "area [mm2]", "utilization", "points that beat it in all three"]
    arrays = ", ".join(f"{rows_} x {columns_}" for rows_, columns_ in ARRAYS)
    text = (
        f"{POINTS:,} machines at random: arrays of {arrays}; scratchpad, accumulator and DRAM bandwidth "
        f"times 1/4 to 4. {seconds:.0f} s, {POINTS / seconds:,.0f} points/s, solving the "
        f"fronts of {len(ARRAYS)} arrays included; {int(fits.sum()):,} fit, {int(front.sum())} are on the front of "
        f"latency, energy and area (`{path.name}`). DRAM, energies and areas of the known machines are modelled alike."
    )
    return f"## Arrays and buffers\n\n{text}\n\n{table(head, rows)}\n"


def main() -> None:
    """Write the report."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/sweeps")
    folder.mkdir(parents=True, exist_ok=True)
    sections = [HEAD.format(loop=loop_ms())]
    for section in (sweep_section, partial(picture_section, folder)):
        sections.append(section())
        with atomic_write(HERE / "sweeps.md") as part:  # what took minutes is not lost if the next section fails
            part.write_text("\n".join(sections), encoding="utf-8")


if __name__ == "__main__":
    main()
