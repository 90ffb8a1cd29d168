"""Rows held out whole: models, (n, k) pairs, head geometries, message sizes; never random rows.

Two splits. Folds: every row is predicted once, by a fit and a choice of form that did not see its fold. The final rows:
whole units picked by a fixed hash before any form was tuned, predicted once, by a fit to all others.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodels.kernels.choosing import Form, band_of, choose_form
from hwmodels.kernels.families import FAMILIES
from hwmodels.kernels.fitting import correction
from hwmodels.kernels.machine import Machine
from hwmodels.kernels.records import Array, Places
from hwmodels.kernels.surface import Surface
from hwmodels.kernels.tables import Group

__all__ = ["TOGETHER", "Judged", "Learned", "final_rows", "folds", "judge", "judge_final", "learn", "units"]

FOLDS = 4
INNER = 3
FINAL = 0.2
"""Share of units kept for the end."""

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
class Learned:
    """What a fit made of rows.

    Attributes:
        values: Coefficients.
        surface: Correction.
        form: That it chose.
        band: Of the rows that were held out within them, in logarithms.
        ratio: Logarithms of measured over predicted of those, shape (rows,).
        split: What was held out.
    """

    values: Any
    surface: Surface | None
    form: Form
    band: tuple[float, float]
    ratio: Array
    split: str


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Predictions of held-out rows, by fits that did not see them [us].

    Attributes:
        split: What was held out.
        fold: Which fold each row was held out in.
        formula: Without the correction.
        full: With it.
        inside: Whether each row lies in the band that its fit gave.
        forms: Chosen forms by fold.
    """

    split: str
    fold: Places
    formula: Array
    full: Array
    inside: NDArray[np.bool_]
    forms: tuple[str, ...]


def _columns(group: Group) -> list[str]:
    """Name the columns whose combinations are held out together: models where there are three or more."""
    table = group.table
    if "model" in table and table["model"].nunique() > 2:
        return ["model"]
    columns = list(TOGETHER[group.key.family])
    if table.groupby(columns).ngroups >= FOLDS:
        return columns
    return [LENGTHS.get(group.key.family, "kv_len")]


def units(group: Group) -> tuple[NDArray[np.object_], str]:
    """Give the name of what each row is held out with, and what that is."""
    columns = _columns(group)
    names = group.table[columns].astype(str).agg(" ".join, axis=1).to_numpy(dtype=object)
    said = {"model": "models", "m": "m (few n x k)", "rows": "rows (few cols)", "kv_len": "kv_len (one geometry only)"}
    return names, said.get(columns[0], " x ".join(columns)) if len(columns) == 1 else " x ".join(columns)


def folds(group: Group, count: int = FOLDS) -> tuple[Places, str]:
    """Say which fold each row is held out in, and what is held out: whole models where there are three or more."""
    names, said = units(group)
    number = np.unique(names, return_inverse=True)[1].astype(np.int64)
    if said == "models":
        return number, said
    order = np.random.default_rng(1).permutation(number.max() + 1)
    return np.asarray(order[number] % count, dtype=np.int64), said


def final_rows(group: Group) -> NDArray[np.bool_]:
    """Say which rows are kept for the end: those of a fifth of the units, by a hash of their names."""
    names, _ = units(group)
    share = {
        name: int.from_bytes(hashlib.sha256(f"final {name}".encode()).digest()[:4], "big") / 2**32
        for name in set(names)
    }
    return np.array([share[name] < FINAL for name in names])


def learn(group: Group, machine: Machine | None) -> Learned:
    """Choose a form and fit it, and take the band from folds within the group.

    Args:
        group: Measured rows.
        machine: Their device; None: collectives.
    """
    family, kernel = FAMILIES[group.key.family], group.key.kernel
    fold, split = folds(group, INNER)
    form, ratio, values = choose_form(family, group.record, machine, group.measured, kernel, fold)
    rows = [(group.record, machine, group.measured)]
    surface = correction(family, rows, kernel, values, form.lengths) if form.lengths else None
    return Learned(values, surface, form, band_of(ratio, fold, len(set(units(group)[0]))), ratio, split)


def judge(group: Group, machine: Machine | None) -> Judged:
    """Predict every row of a group from a fit to the other folds.

    Args:
        group: Measured rows.
        machine: Their device; None: collectives.
    """
    fold, split = folds(group)
    formula, full, inside = np.empty(len(fold)), np.empty(len(fold)), np.zeros(len(fold), dtype=bool)
    forms = []
    for number in np.unique(fold):
        held = fold == number
        learned = learn(group.part(~held), machine)
        formula[held], full[held], inside[held] = _predicted(group.part(held), machine, learned)
        forms.append(learned.form.text())
    return Judged(split, fold, formula, full, inside, tuple(forms))


def judge_final(group: Group, machine: Machine | None) -> tuple[NDArray[np.bool_], Judged]:
    """Predict the rows kept for the end from a fit to all others: their mask, and their predictions."""
    kept = final_rows(group)
    learned = learn(group.part(~kept), machine)
    formula, full, inside = _predicted(group.part(kept), machine, learned)
    return kept, Judged("final", np.zeros(len(full), np.int64), formula, full, inside, (learned.form.text(),))


def _predicted(held: Group, machine: Machine | None, learned: Learned) -> tuple[Array, Array, NDArray[np.bool_]]:
    plain = FAMILIES[held.key.family].time_us(held.record, machine, learned.values, held.key.kernel)
    full = plain * (learned.surface.factor(held.record.features()) if learned.surface else 1.0)
    ratio = np.log(held.measured / full)
    return plain, full, (ratio >= learned.band[0]) & (ratio <= learned.band[1])
