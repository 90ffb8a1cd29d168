"""Measured kernels judged on rows held out whole, for `reports.kernels`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.kernels.collectives import SHARES
from hwmodels.kernels.families import BUS, FAMILIES
from hwmodels.kernels.holdout import Judged, judge, judge_final
from hwmodels.kernels.machine import Machine, machine
from hwmodels.kernels.records import Array, Attention, Collective, Elementwise, Gemm, Places
from hwmodels.kernels.tables import Group, Key

LEAST = 40
FLOOR = 0.97  # of the data sheet's time: what rounding and a clock above the sheet's may explain


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """A group and all that was predicted of its rows [us].

    Attributes:
        group: Measured rows.
        roofline: Data sheet only.
        four: Constant, two efficiencies and a corner, fitted on the same folds.
        judged: The formula, and with its correction, on held-out folds.
        kept: Mask of the rows kept for the end.
        final: Predictions of those.
    """

    group: Group
    roofline: Array
    four: Array
    judged: Judged
    kept: NDArray[np.bool_]
    final: Judged

    @property
    def key(self) -> Key:
        """What the rows share."""
        return self.group.key

    @property
    def measured(self) -> Array:
        """Their times [us]."""
        return self.group.measured


def device_of(group: Group) -> Machine | None:
    """Give the machine of a group; collectives have none."""
    return None if group.key.family == "collective" else machine(group.key.device)


def verdict(group: Group) -> Verdict:
    """Judge one group."""
    device, family = device_of(group), FAMILIES[group.key.family]
    judged = judge(group, device)
    kept, final = judge_final(group, device)
    roofline = family.roofline_us(group.record, device, group.key.kernel)
    return Verdict(group, roofline, four_parameters(group, device, judged.fold), judged, kept, final)


def sheet_times(group: Group, device: Machine | None) -> tuple[Array, Array]:
    """Give the data sheet's times of the arithmetic and of the traffic, each of shape (rows,) [us]."""
    record = group.record
    if isinstance(record, Collective):
        share = SHARES[group.key.kernel] * (record.devices - 1) / record.devices
        return np.zeros(len(record.size)), share * record.size / (BUS * 1e3)
    assert device is not None
    if isinstance(record, Elementwise):
        return np.zeros(len(record.least)), record.least / device.dram_bytes_per_s * 1e6
    assert isinstance(record, Gemm | Attention)
    second = record.w_format if isinstance(record, Gemm) else record.a_format
    moved = record.least_bytes() if isinstance(record, Gemm) else record.kv_bytes() + record.query_bytes()
    return record.flops() / device.peak(record.a_format, second) * 1e6, moved / device.dram_bytes_per_s * 1e6


def four_parameters(group: Group, device: Machine | None, fold: Places) -> Array:
    """Predict held-out rows by t0 + (tc^p + tm^p)^(1/p), fitted on the other folds."""
    from scipy.optimize import least_squares

    compute, move = sheet_times(group, device)

    def time(x: Array, rows: NDArray[np.bool_]) -> Array:
        t0, ec, eb, p = np.exp(x)
        return np.asarray(t0 + ((compute[rows] / ec) ** p + (move[rows] / eb) ** p) ** (1 / p))

    def misfit(x: Array, rows: NDArray[np.bool_]) -> Array:
        return np.asarray(np.log(time(x, rows) / group.measured[rows]))

    out = np.empty(len(fold))
    for number in np.unique(fold):
        seen = fold != number
        start = np.log([np.min(group.measured[seen]), 0.75, 0.85, 2.0])
        best = least_squares(misfit, start, args=(seen,), loss="soft_l1", f_scale=0.1, bounds=(start - 2, start + 2))
        out[~seen] = time(best.x, ~seen)
    return out


def below_floor(group: Group) -> tuple[int, int]:
    """Count rows faster than the data sheet's memory allows, and faster than its arithmetic allows."""
    compute, move = sheet_times(group, device_of(group))
    return int((group.measured < FLOOR * move).sum()), int((group.measured < FLOOR * compute).sum())


def scatter(group: Group) -> tuple[int, float, float]:
    """Say how far neighbours lie apart: products of one (n, k) whose m differ by 1 % or less.

    Returns:
        Pairs, and mean and median of the difference in percent: what no smooth model can meet.
    """
    record = group.record
    order = np.lexsort((record.m, record.k, record.n, record.batch))
    one, two = order[:-1], order[1:]
    same = np.all([getattr(record, name)[one] == getattr(record, name)[two] for name in ("n", "k", "batch")], axis=0)
    near = same & (record.m[two] <= 1.01 * record.m[one])
    apart = 100 * np.abs(group.measured[two[near]] / group.measured[one[near]] - 1)
    return len(apart), float(apart.mean()) if len(apart) else np.nan, float(np.median(apart)) if len(apart) else np.nan


def apart(one: Group, two: Group) -> Array:
    """Say how far two groups lie apart on the products that both measured, in percent, shape (pairs,)."""
    names = ["batch", "m", "n", "k"]
    both = [
        item.table.assign(**{name: getattr(item.record, name) for name in names}, us=item.measured)
        .groupby(names)["us"]
        .median()
        for item in (one, two)
    ]
    shared = both[0].index.intersection(both[1].index)
    return np.asarray(100 * np.abs(both[1][shared] / both[0][shared] - 1), dtype=np.float64)


def default_times(group: Group) -> Array:
    """Predict a group by the formula with the coefficients that no measurement turned [us]."""
    family = FAMILIES[group.key.family]
    return family.time_us(group.record, device_of(group), family.coefficients(), group.key.kernel)
