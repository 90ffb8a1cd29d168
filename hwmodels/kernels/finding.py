"""Which calibration serves a kernel: the very one, or the nearest with a wider band, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hwmodels.kernels.calibration import Calibration
from hwmodels.kernels.families import FAMILIES
from hwmodels.kernels.machine import Machine, machine
from hwmodels.kernels.records import element_bytes
from hwmodels.kernels.tables import Key
from workloads.errors import SpecError

__all__ = ["Found", "find", "linked", "plain_name", "same_kernel", "timing_kind", "uncalibrated"]

FOREIGN = {"gemm": 3.0, "elementwise": 3.0, "attention_prefill": 6.0, "attention_decode": 6.0, "collective": 3.0}
"""How much wider, in logarithms, the band of a device is that took another one's calibration, by family.

Assumption, about what reports/kernels.md shows: mean errors on devices that the fit did not see are 1.5 to 3.4 times
those of held-out shapes on devices that it saw for 16-bit products, 3 to 7 times for attention. For element-wise
kernels nothing was verified.
"""


UNRELATED = 1.5
"""How much wider still where the architecture is another one. Assumption: nothing of it can be verified."""


@dataclass(frozen=True, slots=True)
class Found:
    """The calibration that serves a key, and what it is not: "" where it is the very one."""

    calibration: Calibration
    remark: str


TIMINGS = {
    "kineto_kernel_time": "kernel",
    "profiler_kernel_time": "kernel",
    "kernel_rotating": "kernel",
    "cuda_graph_or_event_loop": "graph",
    "cuda_graph": "graph",
    "nccl_tests": "graph",
    "cuda_event_eager": "eager",
    "host_clock_with_sync": "eager",
    "eager": "eager",
}
"""What a time holds: the kernel alone, with the gap between queued launches, or with the host's launch.
A key's timing may be one of these three."""

AS = {
    "mul": "add", "relu": "mul", "tanh": "relu", "gelu": "tanh", "silu_mul": "mul", "rope": "silu_mul",
    "rmsnorm": "layernorm", "layernorm": "rmsnorm", "softmax": "layernorm", "bgemm": "gemm",
    "all_gather": "all_reduce", "reduce_scatter": "all_gather", "alltoall": "all_gather",
}  # fmt: skip
"""What serves a kernel that was never measured."""

SIXTEEN = {"bf16": "fp16"}


def timing_kind(timing: str) -> str:
    """Give the kind of a timing: kernel, graph or eager; "" where it is none that is known."""
    return timing if timing in TIMINGS.values() else TIMINGS.get(timing, "")


def find(key: Key, device: Machine | None, among: tuple[Calibration, ...]) -> Found:
    """Find the calibration nearest to a key: kernel and formats, then device, architecture, timing, framework.

    A kernel that was never measured takes that of `AS`, a stored format that of its width, an element-wise kernel any
    format. Where times were taken another way the constant is moved by what launches cost there and here.

    Args:
        key: What is to be predicted; its timing may be a kind.
        device: Its machine; None: collectives.
        among: Calibrations of the family.

    Raises:
        SpecError: None of the kernel and formats; collectives of another machine.
    """
    kernel, fitting = key.kernel, _fitting(key, key.kernel, among)
    tried = {kernel}
    while not fitting and (kernel := AS.get(kernel, kernel)) not in tried:
        tried.add(kernel)
        fitting = _fitting(key, kernel, among)
    if not fitting:
        raise SpecError(f"no calibration of {key.kernel} with {key.a_format} {key.w_format}".rstrip())
    best = max(fitting, key=lambda item: _nearness(item.key, key, device))
    other = plain_name(best.key.device) != plain_name(device.name if device else key.device)
    if other and device is None:
        raise SpecError(f"no calibration of {key.kernel} on {key.device}: links of another machine say nothing of it")
    remarks = _differences(best.key, key, other)
    if not remarks:
        return Found(best, "")
    wider = FOREIGN[key.family] / (1 if other else 2)
    if other and device is not None and machine(best.key.device).architecture != device.architecture:
        wider *= UNRELATED
    moved = _moved(best, key.timing, among)
    return Found(replace(moved, band=(best.band[0] * wider, best.band[1] * wider)), "; ".join(remarks))


def _fitting(key: Key, kernel: str, among: tuple[Calibration, ...]) -> list[Calibration]:
    same = [item for item in among if item.key.kernel == kernel]
    if key.family == "elementwise":  # their bytes say what the format does
        return same
    exact = [item for item in same if _formats(item.key) == _formats(key)]
    return exact or [item for item in same if _formats(item.key) == _nearest_formats(key, same)]


def _formats(key: Key) -> tuple[str, str]:
    """Give the formats of a key; both of 16 bit run on the same path."""
    return SIXTEEN.get(key.a_format, key.a_format), SIXTEEN.get(key.w_format, key.w_format)


def same_kernel(one: Key, two: Key) -> bool:
    """Say whether two keys are of one operation in one pair of formats."""
    return one.kernel == two.kernel and _formats(one) == _formats(two)


def _nearest_formats(key: Key, among: list[Calibration]) -> tuple[str, str]:
    """Give the measured formats that are nearest: the same activations, weights of the next width or dense ones."""
    first, second = _formats(key)
    dense = SIXTEEN.get(second.partition("_")[0], second.partition("_")[0])
    have = {_formats(item.key) for item in among if _formats(item.key)[0] == first}
    if (first, dense) in have:
        return first, dense
    width = element_bytes(second) if second else 0.0
    wider = sorted((pair for pair in have if pair[1]), key=lambda pair: abs(np.log(element_bytes(pair[1]) / width)))
    narrow = width < element_bytes(first) if second else False
    return wider[0] if wider and narrow and wider[0][1] != first else (first, second)


def _differences(found: Key, key: Key, other: bool) -> list[str]:
    remarks = [f"calibrated on {found.device}"] if other else []
    if found.kernel != key.kernel:
        remarks.append(f"as {found.kernel}")
    if _formats(found) != _formats(key) and key.family != "elementwise":
        remarks.append(f"formats {found.a_format} {found.w_format}".rstrip())
    if key.timing not in (found.timing, timing_kind(found.timing)):
        remarks.append(f"timing {found.timing}")
    if key.framework and found.framework != key.framework:
        remarks.append(f"framework {found.framework}")
    return remarks


def _moved(item: Calibration, timing: str, among: tuple[Calibration, ...]) -> Calibration:
    """Move a calibration's constant from the kind of its timing to another one."""
    have, want = timing_kind(item.key.timing), timing_kind(timing)
    if have == want or not want or not have:
        return item
    floors = {kind: _floor(kind, among) for kind in (have, want)}
    constant = max(item.coefficients.t0_us + floors[want] - floors[have], min(floors.values()) / 2)
    return replace(item, coefficients=replace(item.coefficients, t0_us=constant))


def _floor(kind: str, among: tuple[Calibration, ...]) -> float:
    """Give the constant of a kind of timing: the median of the calibrations, or `LAUNCH_US`."""
    constants = [item.coefficients.t0_us for item in among if timing_kind(item.key.timing) == kind]
    return float(np.median(constants)) if constants else LAUNCH_US[kind]


LAUNCH_US = {"kernel": 2.0, "graph": 3.0, "eager": 27.0}
"""Floors by kind of timing, where a family has none [us].
Source: README of the measured tables, on the timing column."""


def linked(key: Key, bytes_per_s: float, among: tuple[Calibration, ...]) -> Found:
    """Find the calibration of a collective, or that of other links with their bandwidth turned to these.

    Args:
        key: What is to be predicted.
        bytes_per_s: Of the links of its device, both directions together; 0: not stated [B/s].
        among: Calibrations of collectives.

    Raises:
        SpecError: Unknown operation, or links that say nothing.
    """
    try:
        return find(key, None, among)
    except SpecError:
        if not bytes_per_s:
            raise
    near = min(LINKS, key=lambda name: abs(np.log(LINKS[name] / bytes_per_s)))
    found = find(replace(key, device=near), None, among)
    scale = bytes_per_s / LINKS[near]
    coefficients = replace(
        found.calibration.coefficients, bus_gb_per_s=found.calibration.coefficients.bus_gb_per_s * scale
    )
    wider = FOREIGN["collective"]
    band = (found.calibration.band[0] * wider, found.calibration.band[1] * wider)
    turned = replace(found.calibration, coefficients=coefficients, band=band)
    return Found(turned, f"links of {near} at {scale:.3g} of their bandwidth")


LINKS = {"a100_sxm_80gb": 600e9, "h100_sxm_80gb": 900e9}
"""Links whose collectives were measured [B/s], both directions together. Source: their device files."""


def uncalibrated(key: Key) -> Calibration:
    """Give the formula with default coefficients, for what nothing was measured of; off by up to a factor of two."""
    coefficients = FAMILIES[key.family].coefficients()
    moved = replace(coefficients, t0_us=LAUNCH_US.get(timing_kind(key.timing), coefficients.t0_us))
    return Calibration(key=key, coefficients=moved, surface=None, band=(-UNSURE, UNSURE), rows=0, split="none",
                       mean=UNSURE, median=UNSURE, date="", source="default coefficients")  # fmt: skip


UNSURE = float(np.log(2))
"""Half width of the band of default coefficients. Assumption: a roofline alone is off by 30 to 80 % on these tables."""


def _nearness(one: Key, key: Key, device: Machine | None) -> tuple[bool, ...]:
    name = device.name if device else key.device
    same = plain_name(one.device) == plain_name(name)
    related = device is not None and machine(one.device).architecture == device.architecture
    kind = timing_kind(one.timing) == timing_kind(key.timing)
    alike = (one.timing == key.timing, one.framework == key.framework, one.a_format == key.a_format)
    return same, related, kind, *alike


def plain_name(name: str) -> str:
    """Give a device's name as it is compared: `A100-SXM` and `a100_sxm` are one."""
    return name.lower().replace("-", "_")
