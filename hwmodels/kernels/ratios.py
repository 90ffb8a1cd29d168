"""Narrow weights and caches on a GPU where only wide ones were measured: as much faster as where both were measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hwmodels.kernels.calibration import Calibration
from hwmodels.kernels.finding import find, plain_name
from hwmodels.kernels.machine import Machine, machine
from hwmodels.kernels.records import Array, Attention
from hwmodels.kernels.tables import Key
from workloads.errors import SpecError

__all__ = ["Ratio", "find_consistent"]


@dataclass(frozen=True, slots=True, eq=False)
class Ratio:
    """The time of a wide kernel here, times narrow over wide on a device where both were measured.

    Two formats of one model that different devices' calibrations served would differ by what the devices differ.

    Attributes:
        wide: Calibration of the wide format for the device that is predicted.
        narrow: Calibration of the narrow format.
        reference: Of the wide format on the narrow one's device.
        device: That device.
    """

    wide: Calibration
    narrow: Calibration
    reference: Calibration
    device: Machine

    def predict(self, record: Any, device: Machine | None) -> tuple[Array, Array, Array]:
        """Predict times, and the ends of their error band, each of shape (rows,) [us]."""
        dense = _dense(record)
        time, _, _ = self.wide.predict(dense, device)
        gain = self.narrow.predict(record, self.device)[0] / self.reference.predict(dense, self.device)[0]
        ends = [np.hypot(one, two) for one, two in zip(self.wide.band, self.narrow.band, strict=True)]
        return time * gain, time * gain * np.exp(-ends[0]), time * gain * np.exp(ends[1])


def find_consistent(key: Key, device: Machine, among: tuple[Calibration, ...]) -> tuple[Calibration | Ratio, str]:
    """Find what serves a key, so that its formats compare with one another on one device.

    Args:
        key: What is to be predicted.
        device: Its machine.
        among: Calibrations of the family.

    Returns:
        What predicts, and the remark on it.

    Raises:
        SpecError: None of the kernel and formats.
    """
    found = find(key, device, among)
    if key.family == "elementwise" or key.w_format in ("", key.a_format):
        return found.calibration, found.remark
    try:
        wide = find(replace(key, w_format=key.a_format), device, among)
        source = found.calibration.key.device
        other = machine(source)
        reference = find(replace(key, device=source, w_format=key.a_format), other, among)
    except SpecError:
        return found.calibration, found.remark
    same = plain_name(wide.calibration.key.device) == plain_name(source)
    if same or plain_name(reference.calibration.key.device) != plain_name(source):
        return found.calibration, found.remark
    remark = "; ".join(part for part in (wide.remark, f"{key.w_format} against {key.a_format} as on {source}") if part)
    return Ratio(wide.calibration, found.calibration, reference.calibration, other), remark


def _dense(record: Any) -> Any:
    if isinstance(record, Attention):
        return replace(record, kv_format=record.a_format)
    return replace(record, w_format=record.a_format)
