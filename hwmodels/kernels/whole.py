"""Whole workloads on GPUs: every kernel's time, uncalibrated, calibrated and with its error band, and their sum."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodels.kernels.calibration import Calibration, calibrations
from hwmodels.kernels.clusters import Style
from hwmodels.kernels.device import Timing
from hwmodels.kernels.families import FAMILIES
from hwmodels.kernels.finding import linked, uncalibrated
from hwmodels.kernels.lowering import Kernel, lower_kernels
from hwmodels.kernels.machine import Machine, machine
from hwmodels.kernels.parallel import split_kernels
from hwmodels.kernels.ratios import Ratio, find_consistent
from hwmodels.kernels.records import Array
from hwmodels.kernels.reuse import hot_bytes
from hwmodels.kernels.tables import Key
from hwmodels.roofline import RooflineDevice
from workloads.errors import SpecError
from workloads.formats import format_code
from workloads.operator import Num
from workloads.workload import Program, Workload

__all__ = ["KernelTime", "WholeTime", "predict_program", "predict_workload"]

DISPATCH_US = 8.0
"""What the host takes to launch one kernel of an eager framework, while the one before runs [us].
Assumption: 5 to 10 us of Python and dispatcher per operator of PyTorch."""

SHARED = 0.5
"""Share of the variance of the errors of kernels that one calibration serves that they have in common.
Assumption: half; errors of rows that share a weight matrix are alike, those of other matrices less."""

TO_SD = 1 / (2 * 1.2816)
"""From the width of an 80 % band to a standard deviation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KernelTime:
    """The time of one kernel; every number one value or a batch of shape (n_points,).

    Attributes:
        kernel: Which.
        roofline_us: Of the data sheet alone: uncalibrated [us].
        time_us: Calibrated [us].
        low_us: Lower end of the 80 % band [us].
        high_us: Upper end [us].
        hot_bytes: What of its least traffic stays in the last-level cache [B].
        remark: What the calibration that serves it is not; "": the very one.
    """

    kernel: Kernel
    roofline_us: Num
    time_us: Num
    low_us: Num
    high_us: Num
    hot_bytes: Num
    remark: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WholeTime:
    """The time of a workload; every number one value or a batch of shape (n_points,).

    Attributes:
        kernels: In order.
        roofline_us: Sum of the data sheet's times: uncalibrated [us].
        time_us: Calibrated; where the host is slower than the kernels, the host's [us].
        low_us: Lower end of the 80 % band of the sum [us].
        high_us: Upper end [us].
        sd_independent_us: Standard deviation from errors that differ from kernel to kernel [us].
        sd_shared_us: From errors that kernels of one calibration share [us].
    """

    kernels: tuple[KernelTime, ...]
    roofline_us: Num
    time_us: Num
    low_us: Num
    high_us: Num
    sd_independent_us: Num
    sd_shared_us: Num


def predict_workload(
    work: Workload,
    device: RooflineDevice | str,
    *,
    timing: Timing = "graph",
    style: str | Style | None = None,
    framework: str = "",
    gpus: int = 1,
    reuse: bool = True,
    repeated: bool = False,
    among: Callable[[str], tuple[Calibration, ...]] = calibrations,
) -> WholeTime:
    """Predict the time of a workload on a GPU, kernel by kernel.

    Args:
        work: One phase of one model; its numbers may be batches of design points.
        device: A GPU, or its name.
        timing: kernel: back to back without gaps; graph: launched by a graph or a full queue; eager: by a framework
            operator by operator, at the pace of the host where that is slower.
        style: How operators become kernels (`clusters.STYLES`); None: "eager" for eager timing, else "library".
        framework: Whose calibrations are preferred: "vllm 0.24.0"; "": any.
        gpus: Tensor parallelism over so many.
        reuse: Tensors touched shortly before are not charged to the memory.
        repeated: The same workload ran just before, as in a benchmark's loop: small weights are in the cache.
        among: Gives the calibrations of a family.

    Raises:
        SpecError: A device that is no GPU or does not say how many multiprocessors it has; unknown style; no GPUs.
    """
    if timing not in ("kernel", "graph", "eager"):
        raise SpecError(f"unknown timing {timing!r}; one of: kernel, graph, eager")
    gpu = _loaded(device)
    chip = machine(gpu)
    chosen = style if style is not None else "eager" if timing == "eager" else "library"
    kernels = split_kernels(lower_kernels(work, chosen), gpus)
    hot = hot_bytes(kernels, chip.l2_bytes, repeated) if reuse else [0.0] * len(kernels)
    rows = _times(kernels, hot, gpu, chip, "kernel" if timing == "eager" else timing, framework, among)
    return _total(rows, DISPATCH_US if timing == "eager" else 0.0)


def predict_program(program: Program, device: RooflineDevice | str, **options: Any) -> WholeTime:
    """Predict a program: the weighted sum of its parts; its kernels carry their weights as counts.

    Args:
        program: Parts with weights: decoding over a few contexts.
        device: A GPU, or its name.
        **options: Of `predict_workload`.
    """
    rows: list[KernelTime] = []
    time: Num = 0.0
    for weight, part in program:
        found = predict_workload(part, device, **options)
        time = time + weight * found.time_us
        rows += [replace(row, kernel=replace(row.kernel, count=row.kernel.count * weight)) for row in found.kernels]
    total = _total(rows, 0.0)
    return _stretched(total, time)


def _loaded(device: RooflineDevice | str) -> RooflineDevice:
    if isinstance(device, RooflineDevice):
        return device
    from hwmodels.specs import load

    return load(device, kind=RooflineDevice)


def _times(
    kernels: Sequence[Kernel], hot: Sequence[Num], gpu: RooflineDevice, chip: Machine, timing: str, framework: str,
    among: Callable[[str], tuple[Calibration, ...]],
) -> list[KernelTime]:  # fmt: skip
    """Predict kernels, all of one family, kernel and pair of formats at once."""
    groups: defaultdict[Key, list[_Part]] = defaultdict(list)
    for place, kernel in enumerate(kernels):
        for first, second, points in _formats(kernel, gpu):
            key = Key(kernel.family, chip.name, kernel.op, first, second, timing, framework)
            groups[key].append(_Part(place, kernel, hot[place], points))
    answers: defaultdict[int, list[tuple[_Part, list[Num], str]]] = defaultdict(list)
    for key, parts in groups.items():
        serving, remark = _served(key, gpu, chip, among)
        columns, sizes = _columns(parts)
        record = _with_hot(FAMILIES[key.family].record(columns, key.a_format, key.w_format), columns["hot"])
        device = None if key.family == "collective" else chip
        roofline = FAMILIES[key.family].roofline_us(record, device, key.kernel)
        values = [roofline, *serving.predict(record, device), columns["hot"]]
        for part, row in zip(parts, zip(*[_split(value, sizes) for value in values], strict=True), strict=True):
            answers[part.place].append((part, list(row), remark))
    return [_joined(answers[place]) for place in range(len(kernels))]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A kernel, or its design points that share a pair of formats (None: all of them)."""

    place: int
    kernel: Kernel
    hot: Num
    points: NDArray[np.intp] | None


def _joined(parts: Sequence[tuple[_Part, list[Num], str]]) -> KernelTime:
    """Put the design points of a kernel together again."""
    kernel = parts[0][0].kernel
    remark = "; ".join(dict.fromkeys(said for _, _, said in parts if said))
    values = parts[0][1]
    if parts[0][0].points is not None:
        table = np.empty((len(values), len(kernel.w_format)))
        for part, row, _ in parts:
            table[:, part.points] = np.array(row)
        values = list(table)
    roofline, time, low, high, hot = values
    return KernelTime(kernel=kernel, roofline_us=roofline, time_us=time, low_us=low, high_us=high, hot_bytes=hot,
                      remark=remark)  # fmt: skip


def _formats(kernel: Kernel, gpu: RooflineDevice) -> list[tuple[str, str, NDArray[np.intp] | None]]:
    """Give the formats that a kernel runs in, and which of its design points run in them."""
    if isinstance(kernel.w_format, str):
        return [(*_runs_in(kernel.a_format, kernel.w_format, kernel.family, gpu), None)]
    names, place = np.unique(kernel.w_format, return_inverse=True)
    return [
        (*_runs_in(kernel.a_format, str(name), kernel.family, gpu), np.flatnonzero(place == number))
        for number, name in enumerate(names)
    ]


def _runs_in(own: str, stored: str, family: str, gpu: RooflineDevice) -> tuple[str, str]:
    """Give the formats that a kernel runs in: the next wider ones that the device has."""
    if family in ("elementwise", "collective"):
        return own, stored
    runs = gpu.runs_in(format_code("fp8_e4m3" if own == "fp8" else own))
    first = "fp8" if runs == "fp8_e4m3" else runs
    return first, first if stored == own else stored


def _served(
    key: Key, gpu: RooflineDevice, chip: Machine, among: Callable[[str], tuple[Calibration, ...]]
) -> tuple[Calibration | Ratio, str]:  # fmt: skip
    items = among(key.family)
    try:
        if key.family == "collective":
            found = linked(key, gpu.interconnect_bytes_per_s, items)
            return found.calibration, found.remark
        return find_consistent(key, chip, items)
    except SpecError:
        return uncalibrated(key), "no calibration: default coefficients"


def _columns(parts: Sequence[_Part]) -> tuple[dict[str, Array], list[int]]:
    """Put the sizes of kernels one below the other: a row a kernel, or as many as there are design points."""
    names = list(parts[0].kernel.sizes)
    blocks, sizes = [], []
    for part in parts:
        values = [*(part.kernel.sizes[name] for name in names), part.hot]
        if part.points is not None:
            values = [np.broadcast_to(value, np.shape(part.kernel.w_format))[part.points] for value in values]
        blocks.append(np.atleast_2d(np.array(np.broadcast_arrays(*values), dtype=float).T))
        sizes.append(0 if all(np.ndim(value) == 0 for value in values) else len(blocks[-1]))
    table = np.concatenate(blocks)
    return {name: table[:, place] for place, name in enumerate([*names, "hot"])}, sizes


def _split(values: Array, sizes: Sequence[int]) -> list[Num]:
    """Take rows apart again: a number a kernel, or its batch."""
    out: list[Num] = []
    start = 0
    for size in sizes:
        out.append(float(values[start]) if size == 0 else values[start : start + size])
        start += max(size, 1)
    return out


def _with_hot(record: Any, hot: Array) -> Any:
    return replace(record, hot=hot) if hasattr(record, "hot") else record


def _total(rows: Sequence[KernelTime], dispatch_us: float) -> WholeTime:
    """Add kernels up; a host that takes `dispatch_us` a kernel runs ahead of them, or they wait for it."""
    total: Num = 0.0
    sheet: Num = 0.0
    end: Num = 0.0
    launched: Num = 0.0
    for row in rows:
        count = row.kernel.count
        total = total + count * row.time_us
        sheet = sheet + count * row.roofline_us
        launched = launched + count * dispatch_us
        end = np.maximum(end, launched) + count * row.time_us
    independent, shared = _deviations(rows)
    whole = WholeTime(kernels=tuple(rows), roofline_us=sheet, time_us=total, low_us=total, high_us=total,
                      sd_independent_us=independent, sd_shared_us=shared)  # fmt: skip
    return _stretched(whole, end if dispatch_us else total)


def _stretched(whole: WholeTime, time: Num) -> WholeTime:
    """Give a sum another time, with the same relative error, and its band."""
    ratio = time / whole.time_us if np.all(whole.time_us) else 1.0
    independent, shared = whole.sd_independent_us * ratio, whole.sd_shared_us * ratio
    spread = np.exp(np.sqrt(independent**2 + shared**2) / np.maximum(time, 1e-12) / (2 * TO_SD))
    return replace(whole, time_us=time, low_us=time / spread, high_us=time * spread, sd_independent_us=independent,
                   sd_shared_us=shared)  # fmt: skip


def _deviations(rows: Sequence[KernelTime]) -> tuple[Num, Num]:
    """Give the standard deviations of a sum: of errors apart from kernel to kernel, and of those in common [us]."""
    alike: defaultdict[tuple[object, ...], Num] = defaultdict(float)
    for row in rows:
        kernel = row.kernel
        sizes = tuple((name, np.asarray(value).tobytes()) for name, value in kernel.sizes.items())
        spread = (row.high_us - row.low_us) * TO_SD * kernel.count
        for name in np.unique(kernel.w_format):
            served = (kernel.family, kernel.op, kernel.a_format, str(name))
            here = spread if isinstance(kernel.w_format, str) else spread * (kernel.w_format == name)
            alike[served, sizes] = alike[served, sizes] + here
    together: defaultdict[object, Num] = defaultdict(float)
    variance: Num = 0.0
    for (owner, _), spread in alike.items():
        variance = variance + (1 - SHARED) * spread**2
        together[owner] = together[owner] + SHARED**0.5 * spread
    shared: Num = 0.0
    for spread in together.values():
        shared = shared + spread**2
    return variance**0.5, shared**0.5
