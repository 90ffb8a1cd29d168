"""What a kernel moves: from the memory, and from the last-level cache what lies there."""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hwmodels.kernels.machine import Machine

__all__ = ["Moving", "transfer_us"]

F = TypeVar("F", np.float32, np.float64)


class Moving(Protocol):
    """Coefficients of moving data: shares of the data-sheet bandwidth and of the last-level cache."""

    @property
    def memory(self) -> float:
        """Share of the data-sheet bandwidth of the memory that is reached."""
        ...

    @property
    def resident(self) -> float:
        """Share of the last-level cache within which repeats find their operands."""
        ...

    @property
    def resident_rate(self) -> float:
        """Bandwidth of those, in data-sheet bandwidths of the memory."""
        ...


def transfer_us(least: NDArray[F], hot: NDArray[F] | None, machine: Machine, c: Moving) -> NDArray[F]:
    """Give the time to move the least bytes of kernels, shape (rows,) [us].

    Args:
        least: Bytes that each kernel reads and writes [B].
        hot: Those of them that lie in the last-level cache [B]; None: a loop of repeats finds what fits there.
        machine: The device.
        c: Coefficients.
    """
    scale = least.dtype.type
    full = least * scale(1e6 / (c.memory * machine.dram_bytes_per_s))
    saved = scale(1 - c.memory / c.resident_rate)
    if hot is not None:
        return np.asarray(full - np.minimum(hot, least) * scale(1e6 / (c.memory * machine.dram_bytes_per_s)) * saved)
    if c.resident <= 0:
        return full
    hit = 1 / (1 + (least * scale(1 / (c.resident * machine.l2_bytes))) ** 4)
    return np.asarray(full * (1 - hit * saved))
