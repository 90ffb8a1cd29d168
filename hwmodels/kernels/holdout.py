"""Rows held out whole: models, (n, k) pairs, head geometries, message sizes; never random rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwmodels.kernels.families import FAMILIES
from hwmodels.kernels.fitting import fit_rows
from hwmodels.kernels.machine import Machine
from hwmodels.kernels.records import Array, Places
from hwmodels.kernels.tables import Group

__all__ = ["Judged", "folds", "judge"]

FOLDS = 4
TOGETHER = {
    "gemm": ("n", "k"),
    "attention_prefill": ("heads", "kv_heads", "head_dim"),
    "attention_decode": ("heads", "kv_heads", "head_dim"),
    "elementwise": ("cols",),
    "collective": ("bytes",),
}
"""Columns whose combinations are held out together."""

LENGTHS = {"gemm": "m", "elementwise": "rows"}


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Predictions of held-out rows, by fits that did not see them [us].

    Attributes:
        split: What was held out.
        formula: Without the correction.
        full: With it.
    """

    split: str
    formula: Array
    full: Array


def folds(group: Group) -> tuple[Places, str]:
    """Say which fold each row is held out in, and what is held out: whole models where there are three or more."""
    table = group.table
    if "model" in table and table["model"].nunique() > 2:
        return table.groupby("model").ngroup().to_numpy().astype(np.int64), "models"
    columns = list(TOGETHER[group.key.family])
    number, name = table.groupby(columns).ngroup().to_numpy(dtype=np.int64), " x ".join(columns)
    if number.max() < FOLDS - 1:
        column = LENGTHS.get(group.key.family, "kv_len")
        number, name = table.groupby(column).ngroup().to_numpy(dtype=np.int64), f"{column} (one geometry only)"
    order = np.random.default_rng(1).permutation(number.max() + 1)
    return np.asarray(order[number] % FOLDS, dtype=np.int64), name


def judge(group: Group, machine: Machine | None) -> Judged:
    """Predict every row of a group from a fit to the other folds.

    Args:
        group: Measured rows.
        machine: Their device; None: collectives.
    """
    family, kernel = FAMILIES[group.key.family], group.key.kernel
    fold, split = folds(group)
    formula, full = np.empty(len(fold)), np.empty(len(fold))
    for number in np.unique(fold):
        seen, held = group.part(fold != number), group.part(fold == number)
        values, surface = fit_rows(family, [(seen.record, machine, seen.measured)], kernel)
        plain = family.time_us(held.record, machine, values, kernel)
        formula[fold == number] = plain
        full[fold == number] = plain * (surface.factor(held.record.features()) if surface else 1.0)
    return Judged(split, formula, full)
