"""A GPU whose times are those of calibrated kernels: what `hwmodels.evaluate` takes in place of a roofline."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from hwmodels.cost import Cost
from hwmodels.roofline import RooflineDevice
from workloads.operator import Num
from workloads.workload import Program, Workload

if TYPE_CHECKING:
    from hwmodels.kernels.whole import WholeTime

__all__ = ["KernelDevice", "Timing"]

Timing = Literal["kernel", "graph", "eager"]
"""How kernels are launched: back to back without gaps; by a graph or a full queue; by a framework, one by one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelDevice:
    """A GPU, or several that share each layer, with times from calibrated kernels. `hwmodels.calibrated` makes one.

    Attributes:
        base: Its data sheet: energies, capacity, and the roofline that reports show beside.
        timing: How kernels are launched: kernel, graph or eager.
        style: Key of `clusters.STYLES`; "": that of the timing.
        framework: Whose calibrations are preferred; "": any.
        gpus: Tensor parallelism over so many.
        reuse: Tensors touched shortly before are not charged to the memory.
    """

    base: RooflineDevice
    timing: Timing = "graph"
    style: str = ""
    framework: str = ""
    gpus: int = 1
    reuse: bool = True

    @property
    def name(self) -> str:
        """Name of the device."""
        return self.base.name if self.gpus == 1 else f"{self.gpus} x {self.base.name}"

    @property
    def capacity_bytes(self) -> float:
        """Capacity of the memories of all GPUs [B]."""
        return self.gpus * self.base.capacity_bytes

    def at(self, clock_scale: Num = 1.0, bandwidth_scale: Num = 1.0) -> KernelDevice:
        """Turn the knobs of the device; factors multiply those already turned. See `RooflineDevice.at`."""
        return replace(self, base=self.base.at(clock_scale=clock_scale, bandwidth_scale=bandwidth_scale))

    def predict(self, work: Workload | Program) -> WholeTime:
        """Predict every kernel of a workload, at one clock and one bandwidth.

        Raises:
            SpecError: A clock or bandwidth that is a batch; see `predict_workload`.
        """
        from hwmodels.kernels.whole import predict_program, predict_workload  # formulas and fits: where they are used

        predict = partial(predict_program, work) if isinstance(work, Program) else partial(predict_workload, work)
        return predict(self.base, timing=self.timing, style=self.style or None, framework=self.framework,
                       gpus=self.gpus, reuse=self.reuse)  # fmt: skip

    def cost_of(self, work: Workload | Program) -> Cost:
        """Cost a workload; clocks and bandwidths may be batches, each pair of them is predicted once.

        Arithmetic energy is that of the operators on the data sheet; every byte that a kernel moves pays all levels, or
        those inside the memory where it stays in the last-level cache; static power of all GPUs flows over the
        predicted time.
        """
        from hwmodels.costing import evaluate

        if isinstance(work, Program):
            parts = tuple((weight, self._fused(part)) for weight, part in work)
            sheet = evaluate(replace(work, parts=parts), self.base)
        else:
            sheet = evaluate(self._fused(work), self.base)
        pairs = np.stack(np.broadcast_arrays(np.atleast_1d(self.base.clock_scale), self.base.bandwidth_scale), axis=-1)
        if len(pairs) == 1 and np.ndim(self.base.clock_scale) == 0 and np.ndim(self.base.bandwidth_scale) == 0:
            return self._priced(_Sums.of(self.predict(work)), sheet)
        unique, place = np.unique(pairs, axis=0, return_inverse=True)
        found = [_Sums.of(self._at(*pair).predict(work)) for pair in unique.tolist()]
        return self._priced(_Sums.chosen(found, place.reshape(-1)), sheet)

    def _fused(self, work: Workload) -> Workload:
        """Give the workload with what the style fuses as groups: what stays inside of a kernel needs no memory."""
        from hwmodels.kernels.clusters import fused_groups
        from hwmodels.kernels.lowering import style_of

        style = style_of(self.style or ("eager" if self.timing == "eager" else "library"))
        return replace(work, groups=(*work.groups, *fused_groups(work, style)))

    def _at(self, clock: float, bandwidth: float) -> KernelDevice:
        return replace(self, base=replace(self.base, clock_scale=clock, bandwidth_scale=bandwidth))

    def _priced(self, sums: _Sums, sheet: Cost) -> Cost:
        """Put predicted times and what the data sheet says of energy into one cost."""
        latency_s = sums.time_us * 1e-6
        moved = self.gpus * sums.moved_bytes
        inner = 8 * sum(level.j_per_bit for level in self.base.memory[:-1])
        energy_by = {
            "dram": moved * (8 * self.base.dram_j_per_bit) + self.gpus * sums.hot_bytes * inner,
            "compute": sheet.energy_by.get("compute", 0.0),
            "static": self.gpus * self.base.static_power_w() * latency_s,
        }
        total: Num = energy_by["dram"] + energy_by["compute"] + energy_by["static"]
        return replace(
            sheet,
            latency_s=latency_s,
            energy_j=total,
            dram_bytes=moved,
            latency_by={name: value * 1e-6 for name, value in sums.by.items()},
            energy_by=energy_by,
            sd_independent=sums.independent_us * 1e-6,
            sd_shared=sums.shared_us * 1e-6,
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """What is kept of a prediction: sums over its kernels."""

    time_us: Num
    independent_us: Num
    shared_us: Num
    hot_bytes: Num
    moved_bytes: Num
    by: dict[str, Num]

    @staticmethod
    def of(whole: WholeTime) -> _Sums:
        by: defaultdict[str, Num] = defaultdict(float)
        hot: Num = 0.0
        moved: Num = 0.0
        for row in whole.kernels:
            touched = sum((*row.kernel.reads.values(), *row.kernel.writes.values()), start=0.0)
            moved = moved + row.kernel.count * np.maximum(touched - row.hot_bytes, 0.0)
            by[row.kernel.family] = by[row.kernel.family] + row.kernel.count * row.time_us
            hot = hot + row.kernel.count * row.hot_bytes
        waiting = whole.time_us - sum(by.values(), start=0.0)
        by["host"] = waiting if np.any(np.asarray(waiting) > 1e-9 * np.asarray(whole.time_us)) else 0.0 * whole.time_us
        return _Sums(whole.time_us, whole.sd_independent_us, whole.sd_shared_us, hot, moved, dict(by))

    @staticmethod
    def chosen(found: list[_Sums], place: np.ndarray[tuple[int], np.dtype[np.intp]]) -> _Sums:
        """Take, for every design point, the sums of its clock and bandwidth."""

        def pick(values: list[Num]) -> Num:
            rows = np.array([np.broadcast_to(value, place.shape) for value in values])
            return np.asarray(rows[place, np.arange(len(place))])

        return _Sums(
            time_us=pick([one.time_us for one in found]),
            independent_us=pick([one.independent_us for one in found]),
            shared_us=pick([one.shared_us for one in found]),
            hot_bytes=pick([one.hot_bytes for one in found]),
            moved_bytes=pick([one.moved_bytes for one in found]),
            by={name: pick([one.by[name] for one in found]) for name in found[0].by},
        )
