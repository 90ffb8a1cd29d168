"""What the operating system says about this CPU, and the bandwidth of its caches and memory."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["Cache", "Host", "bandwidth", "read_host"]

ISA_FLAGS: dict[str, str] = {
    "avx2": "AVX2",
    "fma": "FMA",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "avx512_fp16": "AVX-512 FP16",
    "amx_tile": "AMX",
    "amx_int8": "AMX int8",
    "amx_bf16": "AMX bf16",
    "asimd": "NEON",
    "asimddp": "NEON dot product",
    "i8mm": "int8 matrix",
    "sve": "SVE",
    "bf16": "Arm bf16",
}
"""Instruction sets that decide the ceilings: flag of /proc/cpuinfo to name."""

BUFFERS = 3  # a = b + c


@dataclass(frozen=True, slots=True)
class Cache:
    """A data or unified cache as one core sees it.

    Attributes:
        name: "L2".
        capacity_bytes: Of the copy that one core uses [B].
        is_known: Read from the system; otherwise a guess.
    """

    name: str
    capacity_bytes: float
    is_known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """This machine.

    Attributes:
        cpu: Its name.
        cores: Logical processors that this process may use.
        clock_hz: Clock that the system reports [Hz]; 1 GHz where it reports none.
        isa: Instruction sets of interest.
        caches: Innermost first, from L2 on.
        memory_bytes: Main memory [B].
    """

    cpu: str
    cores: int
    clock_hz: float
    isa: tuple[str, ...]
    caches: tuple[Cache, ...]
    memory_bytes: float


def read_host(cpuinfo: str | None = None) -> Host:
    r"""Describe this machine from /proc and /sys, or with Python's own means where there is neither.

    Args:
        cpuinfo: Text of /proc/cpuinfo; by default this machine's.

    Example:
        >>> host = read_host("model name\t: Some CPU\ncpu MHz\t: 2500.0\nflags\t: fpu avx2 avx512f\n")
        >>> host.cpu, host.clock_hz, host.isa
        ('Some CPU', 2500000000.0, ('AVX2', 'AVX-512'))
    """
    text = _read(Path("/proc/cpuinfo")) if cpuinfo is None else cpuinfo
    flags = set(_field(text, "flags", "Features").split())
    megahertz = _field(text, "cpu MHz")
    return Host(
        cpu=_field(text, "model name", "Model") or platform.processor() or platform.machine() or "CPU",
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        clock_hz=float(megahertz) * 1e6 if megahertz else 1e9,
        isa=tuple(name for flag, name in ISA_FLAGS.items() if flag in flags),
        caches=_caches(),
        memory_bytes=_memory_bytes(),
    )


def _field(text: str, *names: str) -> str:
    for name in names:
        if found := re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE):
            return found[1].strip()
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _caches() -> tuple[Cache, ...]:
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, size = _read(folder / "level").strip(), re.match(r"(\d+)K", _read(folder / "size"))
        if level not in ("", "1") and size and _read(folder / "type").strip() != "Instruction":
            found[f"L{level}"] = Cache(f"L{level}", float(size[1]) * 1024)
    # Assumption: common sizes of server cores, where the system says nothing.
    return tuple(found.values()) or (Cache("L2", 1 << 20, False), Cache("L3", 32 << 20, False))


def _memory_bytes() -> float:
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return 8e9  # assumption: nothing says so


def bandwidth(footprints: Sequence[float], seconds: float) -> list[float]:
    """Measure the bandwidth of a = b + c on one thread for several footprints, interleaved, best of N by CPU time.

    Args:
        footprints: Bytes of the three arrays together [B].
        seconds: Wall time to spend; each footprint is measured at least twice whatever it takes [s].

    Returns:
        Bytes read and written per second, one per footprint, counted once each: a store's own read of the line that it
        overwrites is not counted [B/s].

    Source: McCalpin, Memory bandwidth and machine balance in current high performance computers, IEEE TCCA
        Newsletter, 1995 (STREAM, kernel "add").
    """
    arrays = [
        tuple(np.ones(max(1, int(size) // (BUFFERS * 4)), np.float32) for _ in range(BUFFERS)) for size in footprints
    ]
    largest = max(footprints)
    loops = [max(1, int(min(largest, 48e6) // size)) for size in footprints]  # as long a sample for small ones
    best = [np.inf] * len(arrays)
    end = time.perf_counter() + seconds
    done = 0
    while done < 3 or time.perf_counter() < end:  # the first round touches the pages
        for position, ((a, b, c), times) in enumerate(zip(arrays, loops, strict=True)):
            np.add(b, c, out=a)  # the other footprints drove it out of the cache
            begin = time.thread_time()
            for _ in range(times):
                np.add(b, c, out=a)
            taken = (time.thread_time() - begin) / times
            if done:
                best[position] = min(best[position], taken)
        done += 1
    return [sum(array.nbytes for array in group) / taken for group, taken in zip(arrays, best, strict=True)]
