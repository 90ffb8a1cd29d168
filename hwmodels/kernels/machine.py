"""What the kernel formulas need to know of a GPU: data-sheet numbers, multiprocessors, architecture."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from hwmodels.cited import cited_rows
from hwmodels.schema import DeviceSpec
from workloads.errors import SpecError, nearest

__all__ = ["Machine", "machine", "machine_names"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A GPU as its data sheet has it.

    Attributes:
        name: As in the measured tables: "a100_sxm_80gb".
        architecture: Family whose calibration a GPU without measurements takes.
        sms: Multiprocessors.
        clock_hz: Clock at which the peaks of products are stated [Hz].
        l2_bytes: Last-level cache [B].
        dram_bytes_per_s: Bandwidth of the memory [B/s].
        peaks: Dense peaks of products by format [FLOP/s].
    """

    name: str
    architecture: str
    sms: int
    clock_hz: float
    l2_bytes: float
    dram_bytes_per_s: float
    peaks: Mapping[str, float]

    def peak(self, a_format: str, w_format: str) -> float:
        """Give the dense peak of a product: weights narrower than the activations are unpacked to their format.

        Raises:
            SpecError: The device has no such path.
        """
        name = a_format
        if self.peaks.get(name, 0.0) <= 0:
            raise SpecError(f"{self.name} has no peak for {a_format} x {w_format}; it has: {', '.join(self.peaks)}")
        return self.peaks[name]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@lru_cache(maxsize=1)
def _known() -> dict[str, Mapping[str, str]]:
    known: dict[str, Mapping[str, str]] = {}
    for row in cited_rows("gpus"):
        for alias in (row["device"], row["spec"], *row["aliases"].split()):
            if alias:
                known[_plain(alias)] = row
    return known


def machine_names() -> tuple[str, ...]:
    """List the GPUs that kernels are predicted on, as the measured tables spell them.

    Example:
        >>> "h100_sxm_80gb" in machine_names()
        True
    """
    return tuple(row["device"] for row in cited_rows("gpus"))


@lru_cache(maxsize=64)
def machine(name: str | os.PathLike[str]) -> Machine:
    """Find a GPU by its name, or read one from a TOML file (`specs/README.md`; `cores` are its multiprocessors).

    Args:
        name: "h100_sxm_80gb", "h100-sxm", or the path of a device file.

    Raises:
        SpecError: Unknown, or a file that does not say how many multiprocessors there are.

    Example:
        >>> machine("RTX4090").sms
        128
    """
    text = os.fspath(name)
    if text.endswith(".toml"):
        return _from_file(text)
    row = _known().get(_plain(text))
    if row is None:
        raise SpecError(f"unknown GPU {text!r}; {nearest(text, machine_names())}; or give the path of a .toml file")
    if row["spec"]:
        from hwmodels.specs import read_spec, spec_text

        spec = read_spec(spec_text(row["spec"]), row["spec"])
        return _from_spec(spec, row["device"], row["architecture"], int(row["sms"]))
    peaks = {key: float(row[key]) * 1e12 for key in ("fp32", "fp16", "int8", "fp8") if row[key]}
    if row["bf16"] == "yes":
        peaks["bf16"] = peaks["fp16"]
    return Machine(
        name=row["device"],
        architecture=row["architecture"],
        sms=int(row["sms"]),
        clock_hz=float(row["clock_mhz"]) * 1e6,
        l2_bytes=float(row["l2_mb"]) * 1e6,
        dram_bytes_per_s=float(row["dram_gb_per_s"]) * 1e9,
        peaks=peaks,
    )


def _from_file(path: str) -> Machine:
    from pathlib import Path

    from hwmodels.specs import read_spec

    try:
        content = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read the device file {path!r}: {error}") from None
    spec = read_spec(content, path)
    if spec.kind != "gpu" or spec.cores < 1:
        raise SpecError(f"{path}: kernels are predicted on a GPU whose file gives cores = its multiprocessors")
    return _from_spec(spec, spec.name, "unknown", spec.cores)


def _from_spec(spec: DeviceSpec, name: str, architecture: str, sms: int) -> Machine:
    peaks = dict(spec.matrix.peak)
    if "fp8_e4m3" in peaks:
        peaks["fp8"] = peaks["fp8_e4m3"]
    caches = [level.capacity for level in spec.memory[:-1]]
    return Machine(
        name=name,
        architecture=architecture,
        sms=sms,
        clock_hz=spec.matrix.clock,
        l2_bytes=caches[-1] if caches else 4e6,
        dram_bytes_per_s=spec.memory[-1].bandwidth or 0.0,
        peaks=peaks,
    )
