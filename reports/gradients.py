"""Writes `reports/gradients.md`: gradient search beside the exact search, over tiles and over tiles and buffers.

    python -m reports.gradients [--figures FOLDER]

Times are CPU seconds of one thread on the machine that ran this, imports of torch left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import hwmodels
from dse.files import atomic_write
from dse.gradients import buffer_prices, descend, descend_buffers, with_buffers
from dse.plots.mapspaces import gap_over_time
from hwmodels.mapping import REFERENCE, SILICON, Accelerator, search
from hwmodels.mapping.cases import gemm_operator
from reports.mapper import GEMMS, devices, layer

HERE = Path(__file__).resolve().parent
LLM = {"llama-3-8b q, 512 tokens": (512, 4096, 4096), "llama-3-8b gate, 512 tokens": (512, 14336, 4096)}
STEPS = 120


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table: the first column to the left, numbers to the right."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def tiles_section(figures: Path | None) -> str:
    """Hold the tiles that descents find against the proven optima."""
    known, gemmini = devices(), hwmodels.load("gemmini")
    assert isinstance(gemmini, Accelerator)
    gemms = {name: layer(name) for name in GEMMS}
    large = {name: gemm_operator(name, dict(zip("MNK", sizes, strict=True))) for name, sizes in LLM.items()}
    few = {name: gemms[name] for name in ("bert_qkvo", "bert_qk")}
    plans = [(known["gemmini_ws"], REFERENCE, gemms), (known["textbook2"], REFERENCE, few),
             (known["eyeriss168"], REFERENCE, few), (gemmini, SILICON, few | large)]  # fmt: skip
    rows, traces, exact = [], {}, {}
    for device, rules, operators in plans:
        for name, operator in operators.items():
            start = time.process_time()
            best = search(operator, device, conventions=rules)
            seconds = time.process_time() - start
            found = descend(operator, device, seed=0, conventions=rules, steps=STEPS)
            label = f"{device.name}, {rules.name}, {name}"
            rows.append([label, f"{best.gap:.0%}", f"{seconds:.2f}", f"{found.value / best.value - 1:.2%}",
                         f"{found.cpu_s:.1f}"])  # fmt: skip
            print(rows[-1], flush=True)
            if name in ("bert_qkvo", "bert_qk"):
                traces[label] = [(at, value / best.value - 1) for at, value in found.trace if np.isfinite(value)]
                exact[label] = seconds
    if figures:
        gap_over_time(figures / "gradient_gap.png", traces, exact, "Tiles by gradients: gap to the proven optimum")
    note = (
        f"EDP over all perfect-factor mappings. The descent: {STEPS} steps of Adam on all starts together, rounded "
        "four times on the way; one seed, nothing tuned to a row. *Gap* is to the exact search's proven optimum."
    )
    header = ["accelerator, conventions, operator", "exact: gap", "its CPU s", "gradient: gap", "its CPU s"]
    return f"## Tiles\n\n{note}\n\n{table(header, rows)}\n"


def two_knobs_section() -> str:
    """Turn two buffers of gemmini: every design of the grid, searched exactly, beside one descent."""
    device = hwmodels.load("gemmini")
    assert isinstance(device, Accelerator)
    prices = buffer_prices(device, ["Scratchpad", "Accumulator"], 2.0 ** np.arange(-3, 3.01, 0.5))
    rows = []
    for rules, name in ((REFERENCE, "bert_qkvo"), (SILICON, "bert_ffn1")):
        start = time.process_time()
        designs = [
            search(layer(name), with_buffers(device, prices.at(at))[0], conventions=rules).value
            for at in prices.grid(2.0)
        ]
        seconds, best = time.process_time() - start, min(designs)
        found = descend_buffers([(layer(name), 1)], prices, most_mm2=2.0, seed=0, conventions=rules, steps=STEPS)
        again = search(layer(name), found.accelerator, conventions=rules).value
        rows.append([f"{rules.name}, {name}", f"{len(designs)}", f"{seconds:.1f}", f"{found.value / best - 1:.2%}",
                     f"{again / best - 1:.2%}", f"{found.cpu_s:.1f}"])  # fmt: skip
        print(rows[-1], flush=True)
    header = ["conventions, operator", "designs", "exhaustive CPU s", "gradient: gap", "its buffers, exact tiles",
              "gradient CPU s"]  # fmt: skip
    note = (
        "Scratchpad and accumulator of `gemmini` at 1/8 to 8 times their size, in steps of half an octave, within "
        "2 mm2 (the machine as it is: 1.47 mm2). Every design is priced by `hwmodels.energy`; *gap* is to the best of "
        "the grid."
    )
    return f"## Two buffers and tiles\n\n{note}\n\n{table(header, rows)}\n"


def four_knobs_section() -> str:
    """Turn four buffers of eyeriss: too many designs to search all, so random ones for as long as the descent took."""
    device = hwmodels.load("eyeriss")
    assert isinstance(device, Accelerator)
    levels = [level.name for level in device.levels[1:]]
    prices = buffer_prices(device, levels, 2.0 ** np.arange(-3, 3.01, 0.5))
    operator, rng, rows = layer("bert_qk"), np.random.default_rng(0), []
    for seed in (0, 1):
        found = descend_buffers([(operator, 1)], prices, most_mm2=1.5, seed=seed, conventions=REFERENCE, steps=STEPS)
        again = search(operator, found.accelerator, conventions=REFERENCE).value
        start, best, tried = time.process_time(), np.inf, 0
        while time.process_time() - start < found.cpu_s:
            places = tuple(map(int, rng.integers(len(prices.factors), size=len(levels))))
            if prices.area(places) <= 1.5:
                other, _ = with_buffers(device, prices.at(places))
                best, tried = min(best, search(operator, other, conventions=REFERENCE).value), tried + 1
        rows.append([f"seed {seed}", f"{found.cpu_s:.1f}", f"{found.value * 1e6:.4g}", f"{again * 1e6:.4g}", f"{tried}",
                     f"{best * 1e6:.4g}"])  # fmt: skip
        print(rows[-1], flush=True)
    header = [
        "",
        "gradient CPU s",
        "its EDP",
        "its buffers, exact tiles",
        "random designs in that time",
        "best EDP of them",
    ]
    note = (
        f"{', '.join(levels)} of `eyeriss` at 1/8 to 8 times their size: {len(prices.factors) ** len(levels):,} "
        "designs, within 1.5 mm2; reference conventions, bert_qk. Random designs of the grid are each searched "
        "exactly, for as long as the descent took. EDP in uJ x cycles."
    )
    return f"## Four buffers and tiles\n\n{note}\n\n{table(header, rows)}\n"


HEAD = """# Gradient search

Written by `python -m reports.gradients`. `dse.gradients` writes the traffic formulas of the mapper in torch, for
factors between the whole numbers; at whole factors its costs are those of `hwmodels.mapping.evaluate` (tests hold that
to 1e-9 under both conventions). `descend` searches tiles, `descend_buffers` tiles and buffers together.
"""

VERDICT = """## When it pays

- For the tiles of one operator it does not: the exact search is many times faster and proves what it finds.
- With two buffers it does not either: a grid that is searched exactly takes less time than one descent.
- With four knobs a grid of all designs is out of reach, but random designs that are searched exactly are not: the first
  table holds the descent against as many as fit into its time. Where they are better, it does not pay there either,
  because the exact search of one operator takes a fraction of a second.
- It stays a local search: a gap is known only where the exact search can be asked, and windows (convolutions) and
  levels with serial loads are refused.
"""


def main() -> None:
    """Write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figures", type=Path, help="folder for the pictures")
    options = parser.parse_args()
    if options.figures:
        options.figures.mkdir(parents=True, exist_ok=True)
    parts = [HEAD, four_knobs_section(), two_knobs_section(), tiles_section(options.figures), VERDICT]
    with atomic_write(HERE / "gradients.md") as part:
        part.write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    main()
