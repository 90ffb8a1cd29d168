"""What a row of measurements must say of its machine: names, caches, clocks, versions."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from dse.measure.host import read_host

__all__ = ["Facts", "machine_facts"]

CLOCK = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")  # [kHz]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A machine, as the columns of a table of measurements name it.

    Attributes:
        cpu: Its name.
        cores: That this process may use.
        isa: Instruction sets of interest, separated by blanks.
        caches: "L2 512 KiB, L3 8192 KiB": of the copies that one core uses.
        clock_mhz: That the system reports [MHz].
        clock_source: Where from; of a virtual machine it is nominal.
        memory_gb: Main memory [GB].
        os: Kernel and its version.
        gpu: Name; "": none.
        driver: Of the GPU.
    """

    cpu: str
    cores: int
    isa: str
    caches: str
    clock_mhz: float
    clock_source: str
    memory_gb: float
    os: str
    gpu: str = ""
    driver: str = ""

    def columns(self) -> dict[str, object]:
        """Give the facts as columns."""
        return asdict(self)


def machine_facts(clock: str | os.PathLike[str] = CLOCK) -> Facts:
    """Read what this machine says of itself.

    Args:
        clock: File with the present clock [kHz], where the system has one.

    Example:
        >>> machine_facts().cores >= 1
        True
    """
    host = read_host()
    path = Path(clock)
    try:
        megahertz, origin = float(path.read_text(encoding="ascii")) / 1e3, "cpufreq"
    except (OSError, ValueError):
        megahertz, origin = host.clock_hz / 1e6, "cpuinfo"
    return Facts(
        cpu=host.cpu,
        cores=host.cores,
        isa=" ".join(name.replace(" ", "_") for name in host.isa),
        caches=", ".join(f"{item.name} {item.capacity_bytes / 1024:g} KiB" for item in host.caches),
        clock_mhz=round(megahertz, 1),
        clock_source=origin,
        memory_gb=round(host.memory_bytes / 1e9, 1),
        os=f"{platform.system()} {platform.release().partition('-')[0]}",
    )
