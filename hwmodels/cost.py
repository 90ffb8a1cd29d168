"""`Cost`: what a step, a workload or a program takes; it adds and scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from workloads.operator import Num

__all__ = ["Cost", "larger"]


def larger(a: Num, b: Num) -> Num:
    """Give the larger of two numbers, element by element when one is a batch; floats stay floats.

    Example:
        >>> larger(1.0, 2.0)
        2.0
    """
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.maximum(a, b)
    return max(a, b)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cost:
    """Cost of a step, a workload or a program. Every number is one value or a batch of shape (n_points,).

    Attributes:
        latency_s: Time [s].
        energy_j: Energy, static part included [J].
        flops: Dense-equivalent FLOPs.
        dram_bytes: Traffic to and from the outermost memory [B].
        peak_bytes: Most memory that is occupied at once [B].
        weight_bytes: All weights, each once: part of the peak [B].
        latency_by: Time by what bounds it: "compute", "memory", "launch" [s].
        energy_by: Energy by component: "dram", "compute", "static" [J].
        sd_independent: Standard deviation of the latency from errors that differ from step to step [s]; 0 until
            calibrated.
        sd_shared: Standard deviation of the latency from errors that all steps share [s]; 0 until calibrated.
    """

    latency_s: Num = 0.0
    energy_j: Num = 0.0
    flops: Num = 0.0
    dram_bytes: Num = 0.0
    peak_bytes: Num = 0.0
    weight_bytes: Num = 0.0
    latency_by: Mapping[str, Num] = field(default_factory=dict)
    energy_by: Mapping[str, Num] = field(default_factory=dict)
    sd_independent: Num = 0.0
    sd_shared: Num = 0.0

    # An array times a cost must come here rather than become an array of costs.
    __array_ufunc__ = None

    def __add__(self, other: Cost) -> Cost:
        """Put two costs in series: times, energies, independent variances and shared sd add; the larger memory stays.

        Example:
            >>> both = Cost(latency_s=1.0, sd_independent=3.0, sd_shared=1.0) + Cost(sd_independent=4.0, sd_shared=1.0)
            >>> both.latency_s, both.sd_independent, both.sd_shared
            (1.0, 5.0, 2.0)
        """
        return Cost(
            latency_s=self.latency_s + other.latency_s,
            energy_j=self.energy_j + other.energy_j,
            flops=self.flops + other.flops,
            dram_bytes=self.dram_bytes + other.dram_bytes,
            peak_bytes=larger(self.peak_bytes, other.peak_bytes),
            weight_bytes=larger(self.weight_bytes, other.weight_bytes),
            latency_by=_added(self.latency_by, other.latency_by),
            energy_by=_added(self.energy_by, other.energy_by),
            sd_independent=(self.sd_independent**2 + other.sd_independent**2) ** 0.5,
            sd_shared=self.sd_shared + other.sd_shared,
        )

    def __mul__(self, times: Num) -> Cost:
        """Repeat a cost: everything scales but the memory.

        Both standard deviations scale linearly: a kernel that is mispredicted once is mispredicted every time.

        Example:
            >>> (3 * Cost(latency_s=2.0, peak_bytes=7.0)).latency_s
            6.0
        """
        return Cost(
            latency_s=self.latency_s * times,
            energy_j=self.energy_j * times,
            flops=self.flops * times,
            dram_bytes=self.dram_bytes * times,
            peak_bytes=self.peak_bytes,
            weight_bytes=self.weight_bytes,
            latency_by={name: value * times for name, value in self.latency_by.items()},
            energy_by={name: value * times for name, value in self.energy_by.items()},
            sd_independent=self.sd_independent * times,
            sd_shared=self.sd_shared * times,
        )

    __rmul__ = __mul__


def _added(a: Mapping[str, Num], b: Mapping[str, Num]) -> dict[str, Num]:
    return {name: a.get(name, 0.0) + b.get(name, 0.0) for name in (*a, *(name for name in b if name not in a))}
