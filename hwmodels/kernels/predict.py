"""Tables of kernels to tables of predictions, with error bands, and with a reason where there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hwmodels.kernels.calibration import Calibration
from hwmodels.kernels.calibration import calibrations as shipped
from hwmodels.kernels.finding import Found, find, plain_name, same_kernel, timing_kind
from hwmodels.kernels.fitting import refit
from hwmodels.kernels.machine import Machine, machine
from hwmodels.kernels.processor_families import PROCESSORS, family_named
from hwmodels.kernels.processor_finding import find_on_processor
from hwmodels.kernels.processors import processor
from hwmodels.kernels.ratios import Ratio, find_consistent
from hwmodels.kernels.records import Array
from hwmodels.kernels.tables import Group, Key, groups
from hwmodels.kernels.transfer import Transfer
from workloads.errors import SpecError

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["COLUMNS", "device_of", "nearest_calibration", "predict_table", "recalibrated"]

COLUMNS = ("predicted_us", "low_us", "high_us", "remark")
"""What a prediction adds to a table."""

LEAST_BAND = 0.05  # half width of a band of a handful of rows, in logarithms
FEW = 3
WELL_KNOWN = 100  # rows of a calibration that has a say on other devices
COMMITTEES = ("gemm", "attention_prefill", "attention_decode")
"""Families that several devices were measured in."""


@dataclass(frozen=True, slots=True, eq=False)
class _Own:
    """Calibrations turned by rows of the user's own."""

    found: dict[Key, Calibration | Transfer]


def predict_table(
    table: DataFrame, rows: DataFrame | None = None, calibrations: tuple[Calibration, ...] = ()
) -> DataFrame:
    """Predict the time of every kernel of a table.

    Args:
        table: With the columns of the measured tables: gemm, elementwise, attention_prefill, attention_decode or
            collective; `device` may be the path of a TOML file, or a CPU: `local`, or one of `processor_names()`.
        rows: Measurements to calibrate on, in the same columns with `latency_us`; None: what ships.
        calibrations: Of your own, as `dse calibrate` writes them; before those that ship.

    Returns:
        The table with `COLUMNS`; rows that cannot be predicted have NaN and the reason as their remark.

    Raises:
        SpecError: A device that is not known; no column `op` or `device`; rows to calibrate on that fit nothing.

    Example:
        >>> import pandas as pd
        >>> one = {"device": "a100_sxm_80gb", "op": "gemm", "batch": 1, "m": 4096, "n": 4096, "k": 4096,
        ...        "a_dtype": "bf16", "w_dtype": "bf16", "timing": "cuda_graph_or_event_loop"}
        >>> bool(500 < predict_table(pd.DataFrame([one])).predicted_us[0] < 700)
        True
    """
    for name in ("op", "device"):
        if name not in table.columns:
            raise SpecError(f"the table has no column {name!r}; its columns are: {', '.join(map(str, table.columns))}")
    own = _calibrated(rows, calibrations) if rows is not None else _Own({})
    numbers = np.full((len(table), 3), np.nan)
    remarks = np.full(len(table), "", dtype=object)
    for group, reason, places in groups(table):
        at = places.astype(int)
        if group is None:
            remarks[at] = reason
            continue
        device = device_of(group)
        try:
            found, remark = _calibration(group.key, device, own, calibrations)
            numbers[at] = np.column_stack(found.predict(group.record, device))
            remarks[at] = remark
        except SpecError as error:
            remarks[at] = str(error)
    added = {name: numbers[:, column] for column, name in enumerate(COLUMNS[:3])}
    return table.assign(**added, remark=remarks)


def device_of(group: Group) -> Any:
    """Give the machine of a group. Collectives are known by the name of their machine only."""
    if group.key.family in PROCESSORS:
        return processor(group.key.device)
    if group.key.family == "collective":
        if group.key.device not in {item.key.device for item in shipped("collective")}:
            raise SpecError(f"no collectives are known of the device {group.key.device!r}")
        return None
    return machine(group.key.device)


def _calibration(
    key: Key, device: Any, own: _Own, given: tuple[Calibration, ...]
) -> tuple[Calibration | Transfer | Ratio, str]:
    if key in own.found:
        return own.found[key], "calibrated on your rows"
    if isinstance(device, Machine):
        among = (*(item for item in given if item.key.family == key.family), *shipped(key.family))
        return find_consistent(key, device, among)
    found = nearest_calibration(key, device, given)
    return found.calibration, found.remark


def nearest_calibration(key: Key, device: Any, given: tuple[Calibration, ...] = ()) -> Found:
    """Find the calibration that serves a key on a GPU or CPU.

    Args:
        key: What is to be predicted.
        device: Its machine or processor; None: collectives.
        given: Calibrations beside those that ship; they go first.

    Raises:
        SpecError: There is none.
    """
    among = (*(item for item in given if item.key.family == key.family), *shipped(key.family))
    if key.family in PROCESSORS:
        return find_on_processor(key, among)
    return find(key, device, among)


def _calibrated(rows: DataFrame, given: tuple[Calibration, ...]) -> _Own:
    """Turn the few coefficients of the nearest calibration to the user's rows, key by key."""
    if "op" not in rows.columns or "latency_us" not in rows.columns:
        raise SpecError("rows to calibrate on need the columns op, device, latency_us and those of their family")
    own: dict[Key, Calibration | Transfer] = {}
    refused = ""
    for group, _, _ in groups(rows):
        measured = None if group is None else group.part(group.measured > 0)
        if measured is None or len(measured.measured) < FEW:
            continue
        device = device_of(measured)
        try:
            own[measured.key] = _transfer(measured, device, given) or recalibrated(measured, device, given)
        except SpecError as error:  # of formats that nothing serves: the other rows can still be used
            refused = f"; {error}"
    if not own:
        raise SpecError(
            f"nothing to calibrate on: each device, op, format, timing and framework needs {FEW} rows or more{refused}"
        )
    return _Own(own)


def _transfer(group: Group, device: Any, given: tuple[Calibration, ...]) -> Transfer | None:
    """Ask all other devices at once where none of this kind was ever calibrated; None: it was, or too few others."""
    key = group.key
    if not isinstance(device, Machine) or key.family not in COMMITTEES:
        return None
    among = [item for item in (*given, *shipped(key.family)) if same_kernel(item.key, key)]
    if any(plain_name(item.key.device) == plain_name(device.name) for item in among):
        return None
    members = tuple(
        (item.coefficients, item.surface)
        for item in among
        if item.rows >= WELL_KNOWN and timing_kind(item.key.timing) in ("kernel", "graph")
    )
    if len(members) < FEW or timing_kind(key.timing) not in ("kernel", "graph"):
        return None
    return Transfer(family=family_named(key.family), kernel=key.kernel, members=members, handful=group.record,
                    measured=group.measured)  # fmt: skip


def recalibrated(group: Group, device: Any, given: tuple[Calibration, ...] = ()) -> Calibration:
    """Turn the nearest calibration to a handful of measured kernels.

    Args:
        group: The handful.
        device: Their machine or processor; None: collectives.
        given: Calibrations beside those that ship.
    """
    start = nearest_calibration(group.key, device, given).calibration
    family, kernel = family_named(group.key.family), group.key.kernel
    values = refit(family, [(group.record, device, group.measured)], kernel, start.coefficients, start.surface)
    turned = replace(
        start, key=group.key, coefficients=values, rows=len(group.measured), source="rows given by the user"
    )
    ratio = np.log(group.measured / turned.predict(group.record, device)[0])
    return replace(turned, band=_band(ratio, start.band), split="none")


def _band(ratio: Array, start: tuple[float, float]) -> tuple[float, float]:
    """Give a band from the residuals of the handful: 1.28 deviations, no narrower than half of where it came from."""
    spread = 1.2816 * float(np.sqrt(np.mean(ratio**2))) * (1 + 2 / len(ratio))
    half = max(spread, LEAST_BAND, (start[1] - start[0]) / 4)
    return -half, half
