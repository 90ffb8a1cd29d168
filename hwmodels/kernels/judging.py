"""Calibrations from a table of measurements, each judged on groups of rows that its fit did not see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hwmodels.kernels.calibration import Calibration
from hwmodels.kernels.choosing import band_of
from hwmodels.kernels.families import Family
from hwmodels.kernels.fitting import fit_rows, refit
from hwmodels.kernels.predict import FEW, device_of, nearest_calibration, recalibrated
from hwmodels.kernels.processor_families import family_named
from hwmodels.kernels.records import Array, Places
from hwmodels.kernels.surface import Surface
from hwmodels.kernels.tables import Group, Key, groups
from workloads.errors import SpecError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Judgement", "calibrate_table"]

LEAST = 15
"""Rows from which all coefficients are fitted, and not only the few of a new device."""

FOLDS = 4
NARROWEST = 0.03  # half width of a band in logarithms: what repeated measurements differ by
TOGETHER = {
    "gemm": ("n", "k"),
    "attention": ("heads", "kv_heads", "head_dim"),
    "attention_prefill": ("heads", "kv_heads", "head_dim"),
    "attention_decode": ("heads", "kv_heads", "head_dim"),
    "elementwise": ("rows", "cols"),
    "collective": ("bytes",),
}
"""Columns whose combinations are held out together where nothing else is asked for, by family."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judgement:
    """A calibration and what it is worth.

    Attributes:
        key: Of its rows.
        rows: How many.
        split: What was held out; "none": too few groups, errors are of the rows that were fitted.
        measured: Their times [us].
        ceilings: Of the roofline of the device's ceilings [us]; NaN: none.
        before: Of the nearest calibration that there was before [us]; NaN: none.
        after: Of fits that did not see the row [us].
        inside: Share of rows within the 80 % band of the other folds; NaN: not judged.
        calibration: Fitted on all rows; None: too few.
        remark: Why not, or what stood in before.
    """

    key: Key
    rows: int
    split: str
    measured: Array
    ceilings: Array
    before: Array
    after: Array
    inside: float
    calibration: Calibration | None
    remark: str = ""


def calibrate_table(
    table: DataFrame,
    hold: tuple[str, ...] = (),
    given: tuple[Calibration, ...] = (),
    *,
    date: str,
    source: str = "",
    alone: bool = False,
) -> tuple[Judgement, ...]:
    """Fit a calibration for each device, operation, formats, timing and framework of a table, and judge it.

    Args:
        table: Measured rows, in the columns of the measured tables, with `latency_us`.
        hold: Columns whose combinations are held out together: ("model",), ("n", "k"); (): those of the family.
        given: Calibrations beside those that ship, to start from.
        date: Of the fit: "2026-11-25".
        source: Whose measurements; "": the table's own column `source`.
        alone: Fit from the formulas' defaults alone: calibrations that ship may have seen rows that are held out.

    Returns:
        One per key, in the order of the table. Rows without a time, or of no known operation, are left out.

    Raises:
        SpecError: Columns are missing, a device is not known, or no key has `FEW` rows.
    """
    for name in ("op", "device", "latency_us", *hold):
        if name not in table.columns:
            there = ", ".join(map(str, table.columns))
            raise SpecError(f"rows to calibrate on need the column {name!r}; there are: {there}")
    found = []
    for group, _, _ in groups(table):
        kept = None if group is None else group.part(group.measured > 0)
        if kept is not None and len(kept.measured):
            found.append(_judged(kept, hold, given, date, source, alone))
    if not any(item.calibration for item in found):
        raise SpecError(f"nothing to calibrate on: no device, op, formats, timing and framework has {FEW} rows or more")
    return tuple(found)


def _judged(
    group: Group, hold: tuple[str, ...], given: tuple[Calibration, ...], date: str, source: str, alone: bool
) -> Judgement:
    device, measured = device_of(group), group.measured
    try:
        nearest = nearest_calibration(group.key, device, given)
        before, remark = nearest.calibration.predict(group.record, device)[0], nearest.remark
        start = None if alone else nearest.calibration
    except SpecError:
        before, remark, start = np.full(len(measured), np.nan), "none before", None
    shared: dict[str, Any] = {"key": group.key, "rows": len(measured), "measured": measured, "before": before}
    shared["ceilings"] = _ceilings(group, device)
    if len(measured) < FEW:
        nothing = np.full(len(measured), np.nan)
        return Judgement(**shared, after=nothing, split="none", inside=float("nan"),
                         calibration=None, remark=f"fewer than {FEW} rows")  # fmt: skip
    fold, split, units = _folds(group, hold)
    after = np.empty(len(measured))
    for number in np.unique(fold):
        seen, held = (fold != number, fold == number) if split != "none" else (fold == number, fold == number)
        after[held] = _fitted(group.part(seen), device, start, date).predict(group.part(held).record, device)[0]
    ratio = np.log(measured / after)
    made = _fitted(group, device, start, date)
    off = np.abs(after / measured - 1)
    judge = _Bands(fold, units, _repeats(group))
    made = replace(made, band=judge.band(ratio), split=split, mean=_short(off.mean()), median=_short(np.median(off)),
                   source=source or _sources(group))  # fmt: skip
    inside = judge.coverage(ratio) if split != "none" else float("nan")
    return Judgement(**shared, after=after, split=split, inside=inside, calibration=made, remark=remark)


def _fitted(group: Group, device: Any, start: Calibration | None, date: str) -> Calibration:
    """Fit all coefficients to many rows, the few of a new device to a handful."""
    family, kernel = family_named(group.key.family), group.key.kernel
    rows = [(group.record, device, group.measured)]
    if len(group.measured) >= LEAST:
        starts = [family.coefficients(), *([start.coefficients] if start else [])]
        fits = [fit_rows(family, rows, kernel, one) for one in starts]
        values, surface = min(fits, key=lambda fit: _misfit(family, rows[0], kernel, *fit))
    elif start is not None:
        return replace(recalibrated(group, device, (start,)), date=date)
    else:
        values, surface = refit(family, rows, kernel, family.coefficients()), None
    return Calibration(
        key=group.key, coefficients=values, surface=surface, band=(-NARROWEST, NARROWEST), rows=len(group.measured),
        split="none", mean=0.0, median=0.0, date=date, source="",
    )  # fmt: skip


def _misfit(family: Family, row: tuple[Any, Any, Array], kernel: str, values: Any, surface: Surface | None) -> float:
    """Give the mean error of a fit on the rows that it was made for, in logarithms."""
    record, device, measured = row
    time = family.time_us(record, device, values, kernel)
    if surface is not None:
        time = time * surface.factor(record.features())
    return float(np.abs(np.log(measured / time)).mean())


def _ceilings(group: Group, device: Any) -> Array:
    try:
        return family_named(group.key.family).roofline_us(group.record, device, group.key.kernel)
    except SpecError:
        return np.full(len(group.measured), np.nan)


def _folds(group: Group, hold: tuple[str, ...]) -> tuple[Places, str, int]:
    """Say which fold each row is held out in, by what, and of how many; combinations of the columns go together."""
    columns = hold or TOGETHER[group.key.family.removeprefix("cpu_")]
    number = group.table.groupby(list(columns), dropna=False).ngroup().to_numpy(dtype=np.int64)
    count = int(number.max()) + 1
    if count < 2 or len(number) < FEW + 1:
        return np.zeros(len(number), dtype=np.int64), "none", count
    order = np.random.default_rng(1).permutation(count)
    return np.asarray(order[number] % min(FOLDS, count), dtype=np.int64), " x ".join(columns), count


@dataclass(frozen=True, slots=True, eq=False)
class _Bands:
    """How rows were held out, and what repeats of one row differ by: half a band is no narrower [logarithm]."""

    fold: Places
    units: int
    repeats: float

    def band(self, ratio: Array, fold: Places | None = None) -> tuple[float, float]:
        """Give the ends of an 80 % band, in logarithms; of a handful 1.28 deviations."""
        if len(ratio) < LEAST:
            half = 1.2816 * float(np.sqrt(np.mean(ratio**2))) * (1 + 2 / len(ratio))
            low, high = -half, half
        else:
            low, high = band_of(ratio, self.fold if fold is None else fold, self.units)
        return round(min(low, -self.repeats), 4), round(max(high, self.repeats), 4)

    def coverage(self, ratio: Array) -> float:
        """Give the share of rows within the band of the other folds."""
        inside = np.zeros(len(ratio), dtype=bool)
        for number in np.unique(self.fold):
            others = self.fold != number
            low, high = self.band(ratio[others], self.fold[others])
            inside[~others] = (ratio[~others] >= low) & (ratio[~others] <= high)
        return float(inside.mean())


def _repeats(group: Group) -> float:
    """Give half of what the quartiles of a row's own runs lie apart, where the table has them: in the middle row."""
    if not {"lower_us", "upper_us"} <= set(group.table.columns):
        return NARROWEST
    apart = np.log(group.table["upper_us"].to_numpy(float) / group.table["lower_us"].to_numpy(float)) / 2
    known = apart[np.isfinite(apart)]
    return max(NARROWEST, float(np.median(known))) if len(known) else NARROWEST


def _sources(group: Group) -> str:
    if "source" not in group.table:
        return "rows given by the user"
    return "; ".join(sorted({str(name) for name in group.table["source"].dropna()})) or "rows given by the user"


def _short(value: Any) -> float:
    return round(float(value), 4)
