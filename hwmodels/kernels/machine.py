"""What the kernel formulas need to know of a GPU, out of its device file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from hwmodels.roofline import RooflineDevice
from hwmodels.spatial import Accelerator
from hwmodels.specs import gpu_names, load
from workloads.errors import SpecError, nearest
from workloads.formats import FORMATS
from workloads.operator import PATTERNS

__all__ = ["Machine", "machine", "machine_names"]

EIGHT_BIT_FLOAT = "fp8_e4m3"
"""What "fp8" means in the measured tables. Source: Micikevicius et al., FP8 formats for deep learning, 2022."""

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A GPU as its data sheet has it; of one with several dies that software sees, one of them.

    Attributes:
        name: As in the measured tables: "a100_sxm_80gb".
        architecture: Family whose calibration a GPU without measurements takes.
        sms: Multiprocessors.
        clock_hz: Clock at which the peaks of products are stated [Hz].
        l2_bytes: Last-level cache [B].
        dram_bytes_per_s: Bandwidth of the memory [B/s].
        peaks: Dense peaks of products by format [FLOP/s].
        sparsity: By pattern ("2:4") and format, how many times faster than dense its products are at the peak.
        launch_us: From one kernel's end to the next one's start when launches are queued [us].
    """

    name: str
    architecture: str
    sms: int
    clock_hz: float
    l2_bytes: float
    dram_bytes_per_s: float
    peaks: Mapping[str, float]
    sparsity: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    launch_us: float = 0.0

    def peak(self, a_format: str, w_format: str) -> float:
        """Give the dense peak of a product: weights narrower than the activations are unpacked to their format.

        Raises:
            SpecError: The device has no such path.
        """
        name = a_format
        if self.peaks.get(name, 0.0) <= 0:
            raise SpecError(f"{self.name} has no peak for {a_format} x {w_format}; it has: {', '.join(self.peaks)}")
        return self.peaks[name]

    def speedup(self, pattern: str, a_format: str) -> float:
        """Give how many times the dense peak a sparse product reaches; 1: the pattern saves no time here.

        Example:
            >>> machine("a100_sxm_80gb").speedup("2:4", "fp16"), machine("t4").speedup("2:4", "fp16")
            (2.0, 1.0)
        """
        return self.sparsity.get(pattern, {}).get(a_format, 1.0)


def machine_names() -> tuple[str, ...]:
    """List the GPUs that kernels are predicted on, as the measured tables spell them.

    Example:
        >>> "h100_sxm_80gb" in machine_names()
        True
    """
    return tuple(gpu_names().values())


def machine(device: str | os.PathLike[str] | RooflineDevice) -> Machine:
    """Find a GPU by its name, read one from a TOML file, or take a device at hand, at its own clock and bandwidth.

    Args:
        device: "h100_sxm_80gb", "h100-sxm", the path of a device file (`specs/README.md`), or a device.

    Raises:
        SpecError: Unknown; a CPU or a spatial accelerator; a device that does not say how many multiprocessors there
            are, or has no cache; one whose clock or bandwidth is a batch.

    Example:
        >>> machine("RTX4090").sms
        128
        >>> import hwmodels
        >>> machine(hwmodels.load("a100-sxm-80gb").at(clock_scale=0.5)).clock_hz / 1e6
        705.0
    """
    return _of_device(device) if isinstance(device, RooflineDevice) else _of_name(os.fspath(device))


def _of_name(name: str) -> Machine:
    if name.endswith(".toml"):  # a file may change
        return _of_device(_loaded(name), name)
    return _of_shipped(name)


@lru_cache(maxsize=128)
def _of_shipped(name: str) -> Machine:
    return _of_device(_loaded(name))


def _loaded(name: str) -> RooflineDevice | Accelerator:
    try:
        return load(name)
    except SpecError as error:
        if name.endswith(".toml"):
            raise
        raise SpecError(
            f"unknown GPU {name!r}; {nearest(name, machine_names())}; or give the path of a .toml file"
        ) from error


def _of_device(device: RooflineDevice | Accelerator, origin: str = "") -> Machine:
    if not isinstance(device, RooflineDevice) or device.kind != "gpu":
        raise SpecError(
            f"{origin or device.name} is of kind {device.kind}; kernels are predicted on GPUs: "
            f"{', '.join(machine_names())}, or a file of kind gpu"
        )
    caches = [level.capacity_bytes for level in device.memory[:-1]]
    if device.cores < 1 or not caches:
        raise SpecError(
            f"{origin or device.name}: kernels are predicted on a GPU whose file gives cores = its multiprocessors, "
            "and a cache inside its DRAM"
        )
    peaks = _peaks(device)
    return Machine(
        name=gpu_names().get(device.name, device.name),
        architecture=device.architecture or UNKNOWN,
        sms=device.cores // device.dies,
        clock_hz=device.matrix_hz * _one(device, "clock_scale"),
        l2_bytes=caches[-1] / device.dies,
        dram_bytes_per_s=device.dram.bytes_per_s * _one(device, "bandwidth_scale") / device.dies,
        peaks=peaks,
        sparsity=_sparsity(device, peaks),
        launch_us=_digits(device.launch_s * 1e6),
    )


def _one(device: RooflineDevice, knob: str) -> float:
    value = np.asarray(getattr(device, knob), dtype=float)
    if value.ndim:
        raise SpecError(f"{device.name}: {knob} is a batch of {value.size}; kernels are predicted at one value of it")
    return float(value)


def _digits(value: float) -> float:
    """Drop the rounding of a rate that was kept per cycle."""
    return float(f"{value:.12g}")


def _codes(device: RooflineDevice) -> dict[str, int]:
    """Find the formats that have a path of their own, and the tables' name of one."""
    codes = {entry.name: code for code, entry in enumerate(FORMATS) if device.native[code] == code}
    if EIGHT_BIT_FLOAT in codes:
        codes["fp8"] = codes[EIGHT_BIT_FLOAT]
    return codes


def _peaks(device: RooflineDevice) -> dict[str, float]:
    scale = _one(device, "clock_scale") / device.dies
    return {name: _digits(device.peak[code] * scale) for name, code in _codes(device).items()}


def _sparsity(device: RooflineDevice, peaks: Mapping[str, float]) -> dict[str, dict[str, float]]:
    codes, table = _codes(device), device.matrix_flops_per_cycle
    return {
        pattern: {
            name: _digits(factor)
            for name in peaks
            if (factor := table[codes[name], PATTERNS.index(pattern)] / table[codes[name], 0]) > 1
        }
        for pattern in device.exploits
    }
