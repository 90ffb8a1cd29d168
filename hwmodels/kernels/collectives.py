"""Collectives: a latency, one more per device, and the bytes that every device sends over its bus bandwidth.

Source: Hockney, The communication challenge for MPP, Parallel Computing 20, 1994 (alpha-beta); shares of the message
as in NVIDIA's nccl-tests, doc/PERFORMANCE.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwmodels.kernels.records import Array, Collective

__all__ = ["SHARES", "CollectiveCoefficients", "collective_us"]

SHARES = {"all_reduce": 2.0, "all_gather": 1.0, "reduce_scatter": 1.0, "alltoall": 1.0, "send_recv": 1.0}
"""How often (n - 1) / n of a message crosses a device's links."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveCoefficients:
    """Of one operation on one kind of machine.

    Attributes:
        t0_us: Of the smallest message between two devices [us].
        hop_us: More per device beyond the second [us].
        bus_gb_per_s: Of the links [GB/s].
        corner: Exponent of the corner between latency and bandwidth.
        crossing: How much slower the links between nodes are.
    """

    t0_us: float = 8.0
    hop_us: float = 1.7
    bus_gb_per_s: float = 200.0
    corner: float = 1.2
    crossing: float = 1.0


def collective_us(record: Collective, share: float, coefficients: CollectiveCoefficients) -> Array:
    """Predict the time of collectives, shape (rows,) [us].

    Args:
        record: The messages.
        share: Of `SHARES`.
        coefficients: Of this operation and machine.
    """
    c = coefficients
    latency = c.t0_us + c.hop_us * np.maximum(record.devices - 2, 0)
    speed = c.bus_gb_per_s * 1e3 / np.where(record.nodes > 1, c.crossing, 1.0)
    move = share * (record.devices - 1) / record.devices * record.size / speed
    return np.asarray((latency**c.corner + move**c.corner) ** (1 / c.corner))
