"""Kernel latency: predicted beside measured on rows held out whole; writes `reports/kernels.md`.

    DSE_REFERENCE=FOLDER python reports/kernels.py

A few minutes on one core. FOLDER/measured holds the tables that `reports/training/kernels_fit.py` fits.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from hwmodels.kernels.families import FAMILIES
from hwmodels.kernels.fitting import Rows, choose_rows, fit_rows, refit
from hwmodels.kernels.holdout import folds, judge
from hwmodels.kernels.machine import Machine, machine
from hwmodels.kernels.records import Array, Places
from hwmodels.kernels.tables import Group, groups

LEAST = 40
TEN = 10
CANDIDATES = 800
SAMPLE = 600
HEAD = (
    "| device | kernel | formats | timing, framework | rows | held out | roofline | four parameters | formula "
    "| with correction | in 80 % band |"
)
TEXT = """# Kernel latency, predicted and measured

Mean / median absolute error in percent on rows that the fit did not see: whole models, (n, k) pairs, head geometries,
row lengths or message sizes are held out, never random rows. Roofline: data sheet only. Four parameters: constant, two
efficiencies, a corner, fitted on the same folds. Written by `reports/kernels.py`; the tables are public measurements
that do not ship. The band of a fold's rows is that of the other folds' held-out rows.

What to know when reading it: the grid of the corrections and their shrinkage, the packing of prefill, the scaling of
L2 and the choice of the ten kernels were chosen once, for all devices of a family, with the errors of these same splits
in view: no rows were kept for a final test. The fits of the other folds have seen a fold's rows, so the
coverage is slightly flattered. Groups of fewer than 40 rows are left out. The tables hold one device of each family in
16 bit, so an unseen GPU of a known family is not verifiable; the last table leaves out a whole device and predicts it
from other families. Layer and whole-model totals are not judged yet.
"""


def error(predicted: Array, measured: Array) -> str:
    """Write mean / median of the absolute errors."""
    off = np.abs(predicted / measured - 1) * 100
    return f"{off.mean():.1f} / {np.median(off):.1f}"


def device_of(group: Group) -> Machine | None:
    """Give the machine of a group; collectives have none."""
    return None if group.key.family == "collective" else machine(group.key.device)


def four_parameters(group: Group, device: Machine, fold: Places) -> Array:
    """Predict held-out products by t0 + (tc^p + tm^p)^(1/p), fitted on the other folds."""
    from scipy.optimize import least_squares

    compute = group.record.flops() / device.peak(group.key.a_format, group.key.w_format) * 1e6
    move = group.record.least_bytes() / device.dram_bytes_per_s * 1e6

    def time(x: Array, rows: Array) -> Array:
        t0, ec, eb, p = np.exp(x)
        return np.asarray(t0 + ((compute[rows] / ec) ** p + (move[rows] / eb) ** p) ** (1 / p))

    def misfit(x: Array, rows: Array) -> Array:
        return np.asarray(np.log(time(x, rows) / group.measured[rows]))

    out = np.empty(len(fold))
    for number in np.unique(fold):
        seen = fold != number
        start = np.log([np.min(group.measured[seen]), 0.75, 0.85, 2.0])
        bounds = (start - 2, start + 2)
        best = least_squares(misfit, start, args=(seen,), loss="soft_l1", f_scale=0.1, bounds=bounds)
        out[~seen] = time(best.x, ~seen)
    return out


def coverage(full: Array, measured: Array, fold: Places) -> float:
    """Give the share of rows inside the 80 % band of the other folds."""
    ratio, inside = np.log(measured / full), np.zeros(len(full), dtype=bool)
    for number in np.unique(fold):
        low, high = np.quantile(ratio[fold != number], (0.1, 0.9))
        inside[fold == number] = (ratio[fold == number] >= low) & (ratio[fold == number] <= high)
    return float(100 * inside.mean())


def row_of(group: Group) -> str:
    """Judge one group: a row of the first table."""
    key, device = group.key, device_of(group)
    judged, (fold, _) = judge(group, device), folds(group)
    roof = error(FAMILIES[key.family].roofline_us(group.record, device, key.kernel), group.measured)
    four = error(four_parameters(group, device, fold), group.measured) if key.family == "gemm" and device else ""
    cells = [
        key.device,
        key.kernel,
        f"{key.a_format} {key.w_format}".strip(),
        f"{key.timing}, {key.framework}",
        str(len(fold)),
    ]
    cells += [judged.split, roof, four, error(judged.formula, group.measured), error(judged.full, group.measured)]
    return f"| {' | '.join(cells)} | {coverage(judged.full, group.measured, fold):.0f} % |"


def sixteen_bit(table: pd.DataFrame) -> list[Group]:
    """Give the 16-bit groups timed in a loop or by a profiler: what a GPU can be left out of."""
    found = [group for group, _, _ in groups(table) if group is not None and len(group.measured) > 100]
    wanted = ("cuda_graph_or_event_loop", "profiler_kernel_time")
    return [item for item in found if {item.key.a_format, item.key.w_format} <= {"bf16"} and item.key.timing in wanted]


def unseen_row(group: Group, others: list[Group]) -> str:
    """Judge a device that the fit did not see, and after ten kernels on it."""
    family, kernel, device = FAMILIES[group.key.family], group.key.kernel, machine(group.key.device)
    rng = np.random.default_rng(0)
    rows: Rows = []
    for other in others:
        part = other.part(rng.permutation(len(other.measured))[:SAMPLE])
        rows.append((part.record, machine(other.key.device), part.measured))
    values, surface = fit_rows(family, rows, kernel)
    factor = surface.factor(group.record.features()) if surface else np.ones(len(group.measured))
    before = family.time_us(group.record, device, values, kernel) * factor
    some = rng.permutation(len(group.measured))[:CANDIDATES]
    chosen = some[choose_rows(family, group.part(some).record, device, kernel, values, TEN)]
    ten = group.part(chosen)
    turned = refit(family, [(ten.record, device, ten.measured)], kernel, values, surface)
    after = family.time_us(group.record, device, turned, kernel) * factor
    rest = np.ones(len(before), dtype=bool)
    rest[chosen] = False
    key = group.key
    ends = error(before, group.measured), error(after[rest], group.measured[rest])
    return f"| {key.device} | {key.timing}, {key.framework} | {kernel} | {ends[0]} | {ends[1]} |"


def main() -> None:
    """Judge everything and write the report."""
    folder = Path(os.environ["DSE_REFERENCE"]) / "measured"
    lines = [TEXT]
    for name in FAMILIES:
        lines += [f"## {name}", "", HEAD, "|---|---|---|---|---|---|---|---|---|---|---|"]
        found = [group for group, _, _ in groups(pd.read_csv(folder / f"{name}.csv")) if group is not None]
        lines += [row_of(group) for group in found if len(group.measured) >= LEAST]
        lines += [""]
    lines += ["## A GPU without measurements, and after ten kernels", ""]
    lines += ["Each device is left out of the fit; all its rows, then all but ten chosen by the formula alone.", ""]
    lines += ["| device | timing, framework | kernel | none measured | ten measured |", "|---|---|---|---|---|"]
    for name in ("gemm", "attention_prefill", "attention_decode"):
        found = sixteen_bit(pd.read_csv(folder / f"{name}.csv"))
        lines += [unseen_row(item, [other for other in found if other.key.device != item.key.device]) for item in found]
    (Path(__file__).parent / "kernels.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
