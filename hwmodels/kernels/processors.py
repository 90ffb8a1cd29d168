"""CPUs as kernels see them: ceilings by number format and function, cache levels, threads; by name, file or `local`.

The ceilings of one library on one CPU are what `dse devices --local` measures; a calibration turns them to each
library, format and kind of kernel.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from hwmodels.kernels.records import Array
from hwmodels.schema import DeviceSpec
from workloads.errors import SpecError, nearest

__all__ = ["LOCAL", "Level", "Processor", "is_processor", "processor", "processor_names"]

LOCAL = "local"
PREFIX = "processor-"
SHARPNESS = 4.0
"""How sharply a growing footprint leaves a cache: hit = 1 / (1 + (footprint / capacity)^4).

Assumption, as for L2 in `hwmodels.kernels.gemm`; between half and twice the capacity it goes from 94 to 6 %.
"""


@dataclass(frozen=True, slots=True)
class Level:
    """A cache as one core sees it: capacity [B], bandwidth of one thread from it [B/s]."""

    capacity_bytes: float
    bytes_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """A CPU by what one thread reaches on it.

    Attributes:
        name: "local", or of a shipped or given device file.
        peaks: Products by number format [FLOP/s].
        vector: Functions by kind: softmax, norm, gelu, elementwise, convert [FLOP/s].
        levels: Caches, innermost first.
        dram_bytes_per_s: Of one thread [B/s].
        launch_us: Of one more operator [us].
    """

    name: str
    peaks: Mapping[str, float]
    vector: Mapping[str, float]
    levels: tuple[Level, ...]
    dram_bytes_per_s: float
    launch_us: float

    def peak(self, a_format: str) -> float:
        """Give the peak of products in a format [FLOP/s]; a format without one runs as fp32.

        Raises:
            SpecError: There is none for fp32 either.
        """
        found = self.peaks.get(a_format, self.peaks.get("fp32", 0.0))
        if found <= 0:
            raise SpecError(
                f"{self.name} has no peak for {a_format}, and none for fp32; its device file gives [matrix.peak]"
            )
        return found

    def seconds_per_byte(self, footprint: Array) -> Array:
        """Give how long a byte takes from where it lies when so much was touched since its last use [s/B].

        Args:
            footprint: Shape (rows,) [B].
        """
        left: Array = np.ones(np.shape(footprint))
        total: Array = np.zeros(np.shape(footprint))
        for level in self.levels:
            hit = 1 / (1 + (footprint / level.capacity_bytes) ** SHARPNESS)
            total = total + left * hit / level.bytes_per_s
            left = left * (1 - hit)
        return total + left / self.dram_bytes_per_s


def processor_names() -> tuple[str, ...]:
    """List the CPUs whose kernels were measured and ship as an example.

    Example:
        >>> "epyc-naples" in processor_names()
        True
    """
    folder = resources.files("hwmodels") / "calibration"
    stems = [item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")]
    return tuple(sorted(stem.removeprefix(PREFIX) for stem in stems if stem.startswith(PREFIX)))


@lru_cache(maxsize=64)
def is_processor(name: str) -> bool:
    """Say whether a device of a table is a CPU: `local`, one that ships, or the file of one.

    Example:
        >>> is_processor("local"), is_processor("h100-sxm")
        (True, False)
    """
    if name == LOCAL or name in processor_names():
        return True
    if not name.endswith(".toml") or not Path(name).is_file():
        return False
    return _spec(name).kind == "cpu"


def processor(name: str | os.PathLike[str]) -> Processor:
    """Find a CPU.

    Args:
        name: One of `processor_names()`, `local` (what `dse devices --local` wrote), or the path of a device file.

    Raises:
        SpecError: Unknown, never measured, or a file that is no CPU's.

    Example:
        >>> found = processor("epyc-naples")
        >>> found.peak("fp32") > 1e9, len(found.levels)
        (True, 2)
    """
    text = os.fspath(name)
    if text == LOCAL:
        from workloads.zoo.fetch import cache_folder

        path = cache_folder() / "local.toml"
        if not path.is_file():
            raise SpecError("this CPU was not measured yet; run: dse devices --local")
        return _from_spec(_spec(str(path)), LOCAL)
    if text in processor_names():
        from hwmodels.specs import read_spec

        origin = f"calibration/{PREFIX}{text}.toml"
        content = (resources.files("hwmodels") / "calibration" / f"{PREFIX}{text}.toml").read_text(encoding="utf-8")
        return _from_spec(read_spec(content, origin), text)
    if not text.endswith(".toml"):
        raise SpecError(f"unknown CPU {text!r}; {nearest(text, (LOCAL, *processor_names()))}; or give a .toml file")
    spec = _spec(text)
    if spec.kind != "cpu":
        raise SpecError(f"{text}: kind = {spec.kind!r}; the kernels of a CPU need the file of one")
    return _from_spec(spec, text)


def _spec(path: str) -> DeviceSpec:
    from hwmodels.specs import read_spec

    try:
        content = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read the device file {path!r}: {error}") from None
    return read_spec(content, path)


def _from_spec(spec: DeviceSpec, name: str) -> Processor:
    """Take one thread's share: of a measured file its threads', of a data sheet its cores'."""
    share = 1.0 / (spec.threads or spec.cores or 1)
    vector = spec.vector.peak
    kinds = spec.vector_peaks.peak if spec.vector_peaks else {}
    dram = spec.memory[-1].bandwidth or 0.0
    if dram <= 0:
        raise SpecError(f"{name}: no bandwidth of its memory; the device file gives it in the last [[memory]]")
    copies = 1.0 if spec.threads else share  # a data sheet states the caches of all cores together
    # A cache without a stated bandwidth: twice that of what is outside of it. Assumption.
    rate, levels = dram * share, []
    for level in reversed(spec.memory[:-1]):
        rate = level.bandwidth * share if level.bandwidth else 2 * rate
        levels.append(Level(level.capacity * copies, rate))
    return Processor(
        name=name,
        peaks={key: value * share for key, value in spec.matrix.peak.items()},
        vector={"elementwise": vector * share, **{key: value * share for key, value in kinds.items()}},
        levels=tuple(reversed(levels)),
        dram_bytes_per_s=dram * share,
        launch_us=spec.launch.overhead * 1e6,
    )
