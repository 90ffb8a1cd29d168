"""Fits the calibrations of `hwmodels/calibration` on public measurements; coefficients ship, measurements do not.

    DSE_REFERENCE=FOLDER python reports/training/kernels_fit.py [FAMILY ...]

FOLDER/measured holds the tables gemm.csv, elementwise.csv, attention_prefill.csv, attention_decode.csv, collective.csv.
Errors and bands are of rows held out from fits of the chosen form; the coefficients are then fitted on all of them.
`reports/kernels.py` holds rows out from the choice as well.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from hwmodels.kernels.calibration import Calibration, write_calibrations
from hwmodels.kernels.families import FAMILIES
from hwmodels.kernels.holdout import learn
from hwmodels.kernels.machine import Machine, machine
from hwmodels.kernels.tables import Group, groups

SOURCES = {
    "vidur": "microsoft/vidur data/profiling (MIT)",
    "llmcompass": "PrincetonUniversity/LLMCompass artifact data, ISCA 2024 (BSD-3-Clause)",
    "neusight": "sitar-lab/NeuSight data, ASPLOS 2025 (MIT)",
    "llmservingsim": "casys-kaist/LLMServingSim profiler tables (MIT)",
    "aiconfigurator": "ai-dynamo/aiconfigurator 0.12.0 system data (Apache-2.0)",
}
LEAST = 15  # rows
OUT = Path(__file__).resolve().parents[2] / "hwmodels" / "calibration"


def device_of(group: Group) -> Machine | None:
    """Give the machine of a group; collectives have none."""
    return None if group.key.family == "collective" else machine(group.key.device)


def fitted(group: Group) -> Calibration:
    """Choose a form for a group and fit it; its errors and band are those of rows held out within the group."""
    learned = learn(group, device_of(group))
    off = np.abs(np.exp(-learned.ratio) - 1)
    return Calibration(
        key=group.key,
        coefficients=learned.values,
        surface=learned.surface,
        band=(round(learned.band[0], 4), round(learned.band[1], 4)),
        rows=len(off),
        split=learned.split,
        mean=round(float(off.mean()), 4),
        median=round(float(np.median(off)), 4),
        date=datetime.now(UTC).date().isoformat(),
        source="; ".join(SOURCES[name] for name in sorted(set(group.table["source"]))),
    )


def main(names: list[str]) -> None:
    """Fit and write every family, or those that are named."""
    folder = Path(os.environ["DSE_REFERENCE"]) / "measured"
    OUT.mkdir(exist_ok=True)
    for name in names or list(FAMILIES):
        found = [group for group, _, _ in groups(pd.read_csv(folder / f"{name}.csv")) if group is not None]
        items = tuple(fitted(group) for group in found if len(group.measured) >= LEAST)
        (OUT / f"{name}.toml").write_text(write_calibrations(items), encoding="utf-8")
        for item in items:
            print(
                f"{item.key} rows {item.rows} {100 * item.mean:.1f} / {100 * item.median:.1f} {item.band}", flush=True
            )


if __name__ == "__main__":
    main(sys.argv[1:])
