"""Kernels over a tensor: a constant, or the passes over the memory, with a rounded corner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwmodels.kernels.machine import Machine
from hwmodels.kernels.records import Array, Elementwise
from hwmodels.kernels.traffic import transfer_us

__all__ = ["ElementwiseCoefficients", "elementwise_roofline_us", "elementwise_us"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementwiseCoefficients:
    """Of one function on one device under one timing.

    Attributes:
        t0_us: The smallest kernel [us].
        memory: Share of the data-sheet bandwidth, by least bytes: passes beyond the first lower it.
        corner: Exponent of the corner between both.
        row_us: Of a row, on one multiprocessor: what a reduction waits for [us].
        resident: Share of L2 within which repeats find their operands.
        resident_rate: Bandwidth of those, in data-sheet bandwidths.
    """

    t0_us: float = 3.0
    memory: float = 0.7
    corner: float = 2.0
    row_us: float = 0.01
    resident: float = 0.2
    resident_rate: float = 1.5


def elementwise_us(record: Elementwise, machine: Machine, coefficients: ElementwiseCoefficients) -> Array:
    """Predict the time of kernels over tensors, shape (rows,) [us]."""
    c = coefficients
    move = transfer_us(record.least, record.hot, machine, c) + c.row_us * record.rows / machine.sms
    return np.asarray((c.t0_us**c.corner + move**c.corner) ** (1 / c.corner))


def elementwise_roofline_us(record: Elementwise, machine: Machine) -> Array:
    """Give the least traffic at the data sheet's bandwidth [us]."""
    return record.least / machine.dram_bytes_per_s * 1e6
