"""Power, energy and clocks of a GPU, from NVIDIA's management library where it can be loaded; no other package.

Source: NVML API reference, nvmlDeviceGetTotalEnergyConsumption (mJ since the driver was loaded),
nvmlDeviceGetPowerUsage (mW), nvmlDeviceGetClockInfo (MHz), nvmlDeviceGetEnforcedPowerLimit (mW).
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Nvml", "Window", "open_nvml"]

SM_CLOCK, MEMORY_CLOCK = 1, 2  # nvmlClockType_t
SAMPLE_S = 0.01


@dataclass(frozen=True, slots=True)
class Nvml:
    """An open GPU.

    Attributes:
        library: The loaded library, or what behaves like it.
        handle: Of the GPU.
    """

    library: Any
    handle: Any

    def _number(self, name: str, kind: Any, *arguments: Any) -> float | None:
        function = getattr(self.library, name, None)
        value = kind()
        if function is None or function(self.handle, *arguments, ctypes.byref(value)) != 0:
            return None
        return float(value.value)

    def power_w(self) -> float | None:
        """Power now [W]; None: not to be had."""
        found = self._number("nvmlDeviceGetPowerUsage", ctypes.c_uint)
        return None if found is None else found / 1e3

    def power_limit_w(self) -> float | None:
        """Power limit in force [W]."""
        found = self._number("nvmlDeviceGetEnforcedPowerLimit", ctypes.c_uint)
        return None if found is None else found / 1e3

    def energy_j(self) -> float | None:
        """Energy since the driver was loaded [J]; Volta and later."""
        found = self._number("nvmlDeviceGetTotalEnergyConsumption", ctypes.c_ulonglong)
        return None if found is None else found / 1e3

    def clock_mhz(self, kind: int = SM_CLOCK) -> float | None:
        """Clock of the multiprocessors or of the memory now [MHz]."""
        return self._number("nvmlDeviceGetClockInfo", ctypes.c_uint, kind)

    def max_clock_mhz(self, kind: int = SM_CLOCK) -> float | None:
        """Highest clock [MHz]."""
        return self._number("nvmlDeviceGetMaxClockInfo", ctypes.c_uint, kind)

    def temperature_c(self) -> float | None:
        """Temperature of the die [degrees Celsius]."""
        return self._number("nvmlDeviceGetTemperature", ctypes.c_uint, 0)

    def throttle(self) -> int | None:
        """Bit mask of why clocks are held back (4: power cap)."""
        found = self._number("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong)
        return None if found is None else int(found)

    def driver(self) -> str:
        """Version of the driver; "": not to be had."""
        text = ctypes.create_string_buffer(80)
        function = getattr(self.library, "nvmlSystemGetDriverVersion", None)
        return "" if function is None or function(text, 80) != 0 else text.value.decode("ascii", "replace")


def open_nvml(bus: str = "", library: Any = None) -> Nvml | None:
    """Open a GPU by its PCI address ("0000:3b:00.0"), or the first one; None where that is not possible.

    Args:
        bus: Address; indices of CUDA and NVML can differ, addresses cannot.
        library: By default libnvidia-ml.so.1.
    """
    try:
        found = library or ctypes.CDLL("libnvidia-ml.so.1")
        if found.nvmlInit_v2() != 0:
            return None
        handle = ctypes.c_void_p()
        if bus and found.nvmlDeviceGetHandleByPciBusId_v2(bus.encode(), ctypes.byref(handle)) == 0:
            return Nvml(found, handle)
        return Nvml(found, handle) if found.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)) == 0 else None
    except (OSError, AttributeError):
        return None


@dataclass(frozen=True, slots=True)
class Window:
    """What was read while a kernel ran over and over.

    Attributes:
        seconds: Length [s].
        calls: Executions of the kernel.
        energy_j: Of one execution [J]; None: not to be had.
        power_w: Mean power [W].
        sm_mhz: Median clock of the multiprocessors [MHz].
        memory_mhz: Median clock of the memory [MHz].
        temperature_c: At the end [degrees Celsius].
        method: "counter": the energy counter; "sampled": mean of power samples times time; "": neither.
        throttle: Bit mask of why clocks were held back, over all samples.
    """

    seconds: float
    calls: int
    energy_j: float | None
    power_w: float | None
    sm_mhz: float | None
    memory_mhz: float | None
    temperature_c: float | None
    method: str
    throttle: int | None


def watch(nvml: Nvml, run: Callable[[], None], calls: int, seconds: float) -> Window:
    """Run something that ends with the GPU idle, again and again for a while, and read the GPU meanwhile.

    Args:
        nvml: The GPU.
        run: Executes the kernel `calls` times and waits for it.
        calls: As above.
        seconds: At least [s].
    """
    samples: list[tuple[float | None, ...]] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_S):
            samples.append((nvml.power_w(), nvml.clock_mhz(), nvml.clock_mhz(MEMORY_CLOCK), nvml.throttle()))

    thread = threading.Thread(target=sample, daemon=True)
    run()  # the power rises before the window, not in it
    thread.start()
    before, begin, runs = nvml.energy_j(), time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        run()
        runs += 1
    after, taken = nvml.energy_j(), time.perf_counter() - begin
    done.set()
    thread.join()
    powers, clocks, memories, reasons = ([value for row in samples if (value := row[i]) is not None] for i in range(4))
    total, method = (after - before, "counter") if before is not None and after is not None else (None, "")
    if (total is None or total <= 0) and powers:
        total, method = sum(powers) / len(powers) * taken, "sampled"
    throttle = 0
    for reason in reasons:
        throttle |= int(reason)
    return Window(
        seconds=taken,
        calls=runs * calls,
        energy_j=None if total is None else total / (runs * calls),
        power_w=None if total is None else total / taken,
        sm_mhz=_median(clocks),
        memory_mhz=_median(memories),
        temperature_c=nvml.temperature_c(),
        method=method,
        throttle=throttle if reasons else None,
    )


def _median(values: list[float]) -> float | None:
    return float(sorted(values)[len(values) // 2]) if values else None
