"""Calibrations from a table of measurements, each judged on groups of rows that its fit did not see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hwmodels.kernels.calibration import Calibration
from hwmodels.kernels.fitting import fit_rows, refit
from hwmodels.kernels.predict import FEW, device_of, nearest_calibration, recalibrated
from hwmodels.kernels.processor_families import family_named
from hwmodels.kernels.records import Array, Places
from hwmodels.kernels.tables import Group, Key, groups
from workloads.errors import SpecError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Judgement", "calibrate_table"]

LEAST = 15
"""Rows from which all coefficients are fitted, and not only the few of a new device."""

FOLDS = 4
BAND = (0.1, 0.9)
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
) -> tuple[Judgement, ...]:
    """Fit a calibration for each device, operation, formats, timing and framework of a table, and judge it.

    Args:
        table: Measured rows, in the columns of the measured tables, with `latency_us`.
        hold: Columns whose combinations are held out together: ("model",), ("n", "k"); (): those of the family.
        given: Calibrations beside those that ship, to start from.
        date: Of the fit: "2026-11-25".
        source: Whose measurements; "": the table's own column `source`.

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
            found.append(_judged(kept, hold, given, date, source))
    if not any(item.calibration for item in found):
        raise SpecError(f"nothing to calibrate on: no device, op, formats, timing and framework has {FEW} rows or more")
    return tuple(found)


def _judged(group: Group, hold: tuple[str, ...], given: tuple[Calibration, ...], date: str, source: str) -> Judgement:
    device, measured = device_of(group), group.measured
    try:
        nearest = nearest_calibration(group.key, device, given)
        before, remark = nearest.calibration.predict(group.record, device)[0], nearest.remark
        start = nearest.calibration
    except SpecError:
        before, remark, start = np.full(len(measured), np.nan), "none before", None
    shared: dict[str, Any] = {"key": group.key, "rows": len(measured), "measured": measured, "before": before}
    shared["ceilings"] = _ceilings(group, device)
    if len(measured) < FEW:
        nothing = np.full(len(measured), np.nan)
        return Judgement(**shared, after=nothing, split="none", inside=float("nan"),
                         calibration=None, remark=f"fewer than {FEW} rows")  # fmt: skip
    fold, split = _folds(group, hold)
    after = np.empty(len(measured))
    for number in np.unique(fold):
        seen, held = (fold != number, fold == number) if split != "none" else (fold == number, fold == number)
        after[held] = _fitted(group.part(seen), device, start, date).predict(group.part(held).record, device)[0]
    ratio = np.log(measured / after)
    made = _fitted(group, device, start, date)
    off = np.abs(after / measured - 1)
    made = replace(made, band=_band(ratio), split=split, mean=_short(off.mean()), median=_short(np.median(off)),
                   source=source or _sources(group))  # fmt: skip
    inside = _coverage(ratio, fold) if split != "none" else float("nan")
    return Judgement(**shared, after=after, split=split, inside=inside, calibration=made, remark=remark)


def _fitted(group: Group, device: Any, start: Calibration | None, date: str) -> Calibration:
    """Fit all coefficients to many rows, the few of a new device to a handful."""
    family, kernel = family_named(group.key.family), group.key.kernel
    rows = [(group.record, device, group.measured)]
    if len(group.measured) >= LEAST:
        values, surface = fit_rows(family, rows, kernel, start.coefficients if start else None)
    elif start is not None:
        return replace(recalibrated(group, device, (start,)), date=date)
    else:
        values, surface = refit(family, rows, kernel, family.coefficients()), None
    return Calibration(
        key=group.key, coefficients=values, surface=surface, band=(-NARROWEST, NARROWEST), rows=len(group.measured),
        split="none", mean=0.0, median=0.0, date=date, source="",
    )  # fmt: skip


def _ceilings(group: Group, device: Any) -> Array:
    try:
        return family_named(group.key.family).roofline_us(group.record, device, group.key.kernel)
    except SpecError:
        return np.full(len(group.measured), np.nan)


def _folds(group: Group, hold: tuple[str, ...]) -> tuple[Places, str]:
    """Say which fold each row is held out in; whole combinations of the columns go together."""
    columns = hold or TOGETHER[group.key.family.removeprefix("cpu_")]
    number = group.table.groupby(list(columns), dropna=False).ngroup().to_numpy(dtype=np.int64)
    count = int(number.max()) + 1
    if count < 2 or len(number) < FEW + 1:
        return np.zeros(len(number), dtype=np.int64), "none"
    order = np.random.default_rng(1).permutation(count)
    return np.asarray(order[number] % min(FOLDS, count), dtype=np.int64), " x ".join(columns)


def _band(ratio: Array) -> tuple[float, float]:
    """Give the ends between which 80 % of held-out rows lie, in logarithms; of a handful 1.28 deviations."""
    if len(ratio) < LEAST:
        half = max(1.2816 * float(np.sqrt(np.mean(ratio**2))) * (1 + 2 / len(ratio)), NARROWEST)
        return round(-half, 4), round(half, 4)
    low, high = np.quantile(ratio, BAND)
    return round(min(float(low), -NARROWEST), 4), round(max(float(high), NARROWEST), 4)


def _coverage(ratio: Array, fold: NDArray[Any]) -> float:
    inside = np.zeros(len(ratio), dtype=bool)
    for number in np.unique(fold):
        others = ratio[fold != number]
        low, high = _band(others)
        held = fold == number
        inside[held] = (ratio[held] >= low) & (ratio[held] <= high)
    return float(inside.mean())


def _sources(group: Group) -> str:
    if "source" not in group.table:
        return "rows given by the user"
    return "; ".join(sorted({str(name) for name in group.table["source"].dropna()})) or "rows given by the user"


def _short(value: Any) -> float:
    return round(float(value), 4)
