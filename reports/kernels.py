"""Kernel latency: predicted beside measured on rows held out whole; writes `reports/kernels.md` and a picture.

    DSE_REFERENCE=FOLDER python reports/kernels.py [KEEP]

A quarter of an hour on one core. FOLDER/measured holds the tables that `reports/training/kernels_fit.py` fits. KEEP is
a folder for what was judged, so that a run that was stopped goes on, or only the text is written again.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hwmodels.kernels.calibration import calibrations
from hwmodels.kernels.families import FAMILIES
from hwmodels.kernels.gemm import GemmCoefficients, gemm_us
from hwmodels.kernels.machine import machine
from hwmodels.kernels.records import Array, Gemm
from hwmodels.kernels.tables import Group, groups
from reports.kernels_new_gpu import NUMBERS, Curve, curves, draw, sixteen_bit
from reports.kernels_splits import LEAST, Verdict, apart, below_floor, default_times, scatter, verdict
from reports.kernels_text import (
    ASKED,
    FLOOR_HEAD,
    FRAMEWORK_HEAD,
    HEAD,
    KINDS,
    NEW_HEAD,
    NEW_TEXT,
    NOISE_TEXT,
    POOL_HEAD,
    TEXT,
)

HERE = Path(__file__).parent


def error(predicted: Array, measured: Array) -> str:
    """Write mean / median of the absolute errors in percent."""
    off = np.abs(predicted / measured - 1) * 100
    return f"{off.mean():.1f} / {np.median(off):.1f}"


def cells(*values: str) -> str:
    """Write a row of a table."""
    return f"| {' | '.join(values)} |"


def kept(folder: Path | None, name: str, make: Callable[[], Any]) -> Any:
    """Give what was made before, or make it."""
    path = folder / f"{name}.pkl" if folder else None
    if path and path.exists():
        return pickle.loads(path.read_bytes())
    made = make()
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(made))
    return made


def name_of(group: Group) -> str:
    """Name a group's file."""
    return f"{group.key.family}-{hashlib.sha256(str(group.key).encode()).hexdigest()[:12]}"


def row_of(item: Verdict) -> str:
    """Write one group's errors."""
    key, judged, measured = item.key, item.judged, item.measured
    final = error(item.final.full, measured[item.kept]) if item.kept.any() else "none"
    inside = f"{100 * judged.inside.mean():.0f}"
    inside += f" / {100 * item.final.inside.mean():.0f}" if item.kept.any() else ""
    return cells(
        key.device, key.kernel, f"{key.a_format} {key.w_format}".strip(), f"{key.timing}, {key.framework}",
        str(len(measured)), judged.split, error(item.roofline, measured), error(default_times(item.group), measured),
        error(item.four, measured),
        error(judged.formula, measured), error(judged.full, measured), final, inside,
    )  # fmt: skip


def pooled(items: list[Verdict]) -> list[str]:
    """Write the errors of all rows of several groups together."""
    measured = np.concatenate([item.measured for item in items])
    full = np.concatenate([item.judged.full for item in items])
    ends = [item for item in items if item.kept.any()]
    end = np.concatenate([item.final.full for item in ends]), np.concatenate([i.measured[i.kept] for i in ends])
    inside = np.concatenate([item.judged.inside for item in items]).mean()
    final_inside = np.concatenate([item.final.inside for item in ends]).mean()
    worst = max(items, key=lambda item: float(np.abs(item.judged.full / item.measured - 1).mean()))
    return [
        f"{len(items)}, {len(measured)}",
        error(np.concatenate([item.roofline for item in items]), measured),
        error(np.concatenate([default_times(item.group) for item in items]), measured),
        error(np.concatenate([item.four for item in items]), measured),
        error(np.concatenate([item.judged.formula for item in items]), measured),
        error(full, measured),
        f"{100 * np.abs(full - measured).sum() / measured.sum():.1f}",
        error(*end),
        f"{worst.key.device} {worst.key.kernel}: {error(worst.judged.full, worst.measured)}",
        f"{100 * inside:.0f} / {100 * final_inside:.0f}",
    ]


def summary(found: dict[str, list[Verdict]]) -> list[str]:
    """Write what was asked beside what was reached, for each kind of kernel."""
    lines = [*POOL_HEAD]
    for name, asked in ASKED.items():
        items = [item for family in found.values() for item in family if KINDS[name](item.key)]
        lines.append(cells(name, asked, *pooled(items)))
    return lines


def new_gpu(found: dict[str, list[Curve]]) -> list[str]:
    """Write the errors on devices that are left out."""
    lines = [*NEW_HEAD]
    for items in found.values():
        for item in items:
            errors = [f"{mean:.1f} / {median:.1f}" for mean, median in zip(item.mean, item.median, strict=True)]
            lines.append(cells(item.key.device, f"{item.key.timing}, {item.key.framework}", item.key.kernel, *errors,
                               f"{item.inside[NUMBERS.index(10)]:.0f}"))  # fmt: skip
    ten = NUMBERS.index(10)
    means, medians = ([values[ten] for values in columns] for columns in
                      zip(*((item.mean, item.median) for item in found["gemm"]), strict=True))  # fmt: skip
    outcome = f"median {np.median(means):.1f} / {np.median(medians):.1f} (asked 8 / 6)"
    outcome += f", worst {max(means):.1f} / {max(medians):.1f} (asked 14 / 10)"
    lines += ["", f"16-bit products after ten kernels, over the devices: {outcome}."]
    return lines


def noise(found: dict[str, list[Verdict]]) -> list[str]:
    """Write how far neighbouring shapes and other frameworks lie apart."""
    lines = [NOISE_TEXT, "| device | formats | timing | pairs | apart |", "|---|---|---|---|---|"]
    for item in found["gemm"]:
        pairs, mean, median = scatter(item.group)
        if pairs >= 30:
            lines.append(cells(item.key.device, f"{item.key.a_format} {item.key.w_format}", item.key.timing,
                               str(pairs), f"{mean:.1f} / {median:.1f}"))  # fmt: skip
    lines += [*FRAMEWORK_HEAD]
    sixteen = [item for item in found["gemm"] if KINDS["16-bit products, new shapes"](item.key)]
    for one, two in combinations(sixteen, 2):
        off = apart(one.group, two.group) if one.key.device == two.key.device else np.empty(0)
        if len(off) >= 10:
            lines.append(cells(one.key.device, f"{one.key.timing}, {one.key.framework}",
                               f"{two.key.timing}, {two.key.framework}", str(len(off)),
                               f"{off.mean():.1f} / {np.median(off):.1f}"))  # fmt: skip
    lines += [*FLOOR_HEAD]
    for item in (item for family in found.values() for item in family):
        memory, arithmetic = below_floor(item.group)
        if memory or arithmetic:
            key = item.key
            lines.append(cells(key.device, key.kernel, f"{key.a_format} {key.w_format}".strip(), key.timing,
                               str(len(item.measured)), str(memory), str(arithmetic)))  # fmt: skip
    return lines


def speed() -> str:
    """Time the wave model, alone and with its correction, on one thread."""
    rng = np.random.default_rng(0)
    m, n, k = (np.floor(2 ** rng.uniform(low, high, 100_000)) for low, high in ((0, 15), (6, 16), (6, 16)))
    record = Gemm(batch=np.ones(len(m)), m=m, n=n, k=k, a_format="bf16", w_format="bf16")
    whole = next(item for item in calibrations("gemm") if item.surface and len(item.surface.weights) > 500)
    device = machine(whole.key.device)
    best = [np.inf, np.inf]
    for _ in range(5):
        start = time.process_time()
        gemm_us(record, device, GemmCoefficients())
        middle = time.process_time()
        whole.predict(record, device)
        best = [min(best[0], middle - start), min(best[1], time.process_time() - middle)]
    alone, both = (len(m) / value / 1e6 for value in best)
    said = f"{alone:.2f} million by the wave model alone, {both:.2f} million with correction and band"
    return f"Products per second of one thread (CPU time, best of 5): {said} (asked: 0.5 million by the wave model)."


def main(arguments: list[str]) -> None:
    """Judge everything and write the report."""
    source = Path(os.environ["DSE_REFERENCE"]) / "measured"
    folder = Path(arguments[0]) if arguments else None
    found: dict[str, list[Verdict]] = {}
    left: dict[str, list[Curve]] = {}
    for name in FAMILIES:
        table = pd.read_csv(source / f"{name}.csv", low_memory=False)
        measured = [item for item, _, _ in groups(table) if item is not None and len(item.measured) >= LEAST]
        found[name] = [kept(folder, name_of(item), partial(verdict, item)) for item in measured]
        if name in ("gemm", "attention_prefill", "attention_decode"):
            left[name] = kept(folder, f"{name}-curves", partial(curves, sixteen_bit(measured)))
    lines = [TEXT, *summary(found), "", speed(), "", NEW_TEXT, *new_gpu(left), ""]
    for name, items in found.items():
        lines += [f"## {name}", "", *HEAD, *[row_of(item) for item in items], ""]
    lines += noise(found)
    draw(left, HERE / "kernels_new_gpu.png")
    (HERE / "kernels.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
