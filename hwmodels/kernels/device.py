"""A GPU whose times are those of calibrated kernels: what `hwmodels.evaluate` takes in place of a roofline."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from hwmodels.cost import Cost
from hwmodels.kernels.whole import Timing, WholeTime, predict_program, predict_workload
from hwmodels.roofline import RooflineDevice
from workloads.errors import SpecError
from workloads.operator import Num
from workloads.workload import Program, Workload

__all__ = ["KernelDevice", "calibrated"]


@dataclass(frozen=True, kw_only=True, eq=False)
class KernelDevice:
    """A GPU, or several that share each layer, with times from calibrated kernels. `calibrated` makes one.

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
        options = {
            "timing": self.timing, "style": self.style or None, "framework": self.framework, "gpus": self.gpus,
            "reuse": self.reuse,
        }  # fmt: skip
        if isinstance(work, Program):
            return predict_program(work, self.base, **options)
        return predict_workload(work, self.base, **options)  # type: ignore[arg-type]

    def cost(self, work: Workload | Program) -> Cost:
        """Cost a workload; clocks and bandwidths may be batches, each pair of them is predicted once.

        Energies are those of the data sheet: dynamic energy of the operators, less what stays in the last-level cache,
        and static power of all GPUs over the predicted time.
        """
        from hwmodels.costing import evaluate

        sheet = evaluate(work, self.base)
        pairs = np.stack(np.broadcast_arrays(np.atleast_1d(self.base.clock_scale), self.base.bandwidth_scale), axis=-1)
        if len(pairs) == 1 and np.ndim(self.base.clock_scale) == 0 and np.ndim(self.base.bandwidth_scale) == 0:
            return self._cost(self.predict(work), sheet)
        unique, place = np.unique(pairs, axis=0, return_inverse=True)
        found = [_Sums.of(self._at(*pair).predict(work)) for pair in unique.tolist()]
        return self._priced(_Sums.chosen(found, place.reshape(-1)), sheet)

    def _at(self, clock: float, bandwidth: float) -> KernelDevice:
        return replace(self, base=replace(self.base, clock_scale=clock, bandwidth_scale=bandwidth))

    def _cost(self, whole: WholeTime, sheet: Cost) -> Cost:
        return self._priced(_Sums.of(whole), sheet)

    def _priced(self, sums: _Sums, sheet: Cost) -> Cost:
        """Put predicted times and what the data sheet says of energy into one cost."""
        latency_s = sums.time_us * 1e-6
        moved = np.maximum(sheet.dram_bytes - sums.hot_bytes, 0.0)
        kept = np.where(np.asarray(sheet.dram_bytes) > 0, moved / np.maximum(sheet.dram_bytes, 1e-30), 1.0)
        energy_by = {
            "dram": sheet.energy_by.get("dram", 0.0) * _plain(kept),
            "compute": sheet.energy_by.get("compute", 0.0),
            "static": self.gpus * self.base.static_power_w() * latency_s,
        }
        total: Num = energy_by["dram"] + energy_by["compute"] + energy_by["static"]
        return replace(
            sheet,
            latency_s=latency_s,
            energy_j=total,
            dram_bytes=_plain(moved),
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
    by: dict[str, Num]

    @staticmethod
    def of(whole: WholeTime) -> _Sums:
        by: defaultdict[str, Num] = defaultdict(float)
        hot: Num = 0.0
        for row in whole.kernels:
            by[row.kernel.family] = by[row.kernel.family] + row.kernel.count * row.time_us
            hot = hot + row.kernel.count * row.hot_bytes
        waiting = whole.time_us - sum(by.values(), start=0.0)
        by["host"] = waiting if np.any(np.asarray(waiting) > 1e-9 * np.asarray(whole.time_us)) else 0.0 * whole.time_us
        return _Sums(whole.time_us, whole.sd_independent_us, whole.sd_shared_us, hot, dict(by))

    @staticmethod
    def chosen(found: list[_Sums], place: np.ndarray[tuple[int], np.dtype[np.intp]]) -> _Sums:
        """Take, for every design point, the sums of its clock and bandwidth."""

        def pick(values: list[Num]) -> Num:
            rows = np.array([np.broadcast_to(value, place.shape) for value in values])
            return np.asarray(rows[place, np.arange(len(place))])

        by = {name: pick([one.by[name] for one in found]) for name in found[0].by}
        return _Sums(*[pick([getattr(one, name) for one in found]) for name in
                       ("time_us", "independent_us", "shared_us", "hot_bytes")], by)  # fmt: skip


def _plain(value: Num) -> Num:
    return value if np.ndim(value) else float(value)


def calibrated(
    device: RooflineDevice | str,
    *,
    timing: Timing = "graph",
    style: str = "",
    framework: str = "",
    gpus: int = 1,
    reuse: bool = True,
) -> KernelDevice:
    """Give a GPU whose times are those of calibrated kernels, for `hwmodels.evaluate`.

    Args:
        device: A GPU, its name, or the path of its file.
        timing: kernel: back to back without gaps; graph: launched by a graph or a full queue; eager: by a framework,
            operator by operator.
        style: How operators become kernels: library, compiled or eager; "": eager for eager timing, else library.
        framework: Whose calibrations are preferred: "vllm 0.24.0"; "": any.
        gpus: Tensor parallelism over so many.
        reuse: Tensors touched shortly before are not charged to the memory.

    Raises:
        SpecError: No GPU, or one that does not say how many multiprocessors it has; an unknown timing or style.

    Example:
        >>> calibrated("h100-sxm", gpus=4).name
        '4 x h100-sxm'
    """
    from hwmodels.kernels.lowering import style_of
    from hwmodels.kernels.machine import machine
    from hwmodels.specs import load

    base = device if isinstance(device, RooflineDevice) else load(device, kind=RooflineDevice)
    machine(base)
    if timing not in ("kernel", "graph", "eager"):
        raise SpecError(f"unknown timing {timing!r}; one of: kernel, graph, eager")
    if gpus < 1:
        raise SpecError(f"{gpus} GPUs: give 1 or more")
    if style:
        style_of(style)
    return KernelDevice(base=base, timing=timing, style=style, framework=framework, gpus=gpus, reuse=reuse)
