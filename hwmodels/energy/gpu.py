"""Where the watts of a GPU or CPU go: per level inclusive and as an increment, at its own peaks, and against its TDP.

The coefficients are those of the device: increments of pJ/bit per memory level, pJ/FLOP per format, one constant power.
TDP is a bound that the sums are held against; nothing is ever derived from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwmodels.cited import cited_rows
from hwmodels.energy.boards import reading_band
from hwmodels.energy.checking import checked
from hwmodels.energy.estimate import Estimate
from hwmodels.roofline import RooflineDevice
from workloads.errors import SpecError
from workloads.formats import FORMATS, format_code

__all__ = ["LevelBits", "PeakPower", "level_energies", "operand_delivery", "peak_power"]

MEASURED_SPREAD = 0.15
"""Relative error of a measured coefficient: the residual of the regression on an RTX 3090 (tables/level_energy.csv)."""

SCOPE_SPREAD = 3.0
"""System-level measurements over "device+io" figures of one technology: 13.11 over 3.7 to 4.6 (dram_energy.csv)."""

TILE = (128, 128)
"""Outputs of a thread block: the usual tile of 16-bit products. Source: NVIDIA CUTLASS, default GEMM configurations."""

WARP_TILE = (64, 64)
"""Outputs of a warp. Source: the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelBits:
    """Energy of a bit at one memory level of a GPU or CPU.

    Attributes:
        name: "L1", "L2", "DRAM".
        increment: On top of the levels inside it [J/bit].
        inclusive: From the level to the arithmetic: its increment and those of all levels inside it [J/bit].
    """

    name: str
    increment: Estimate
    inclusive: Estimate

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its numbers by name."""
        return {f"{self.name} increment": self.increment, f"{self.name} inclusive": self.inclusive}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakPower:
    """What a GPU or CPU draws at its own ceilings.

    Attributes:
        device: Name.
        format: What the products are computed in.
        compute: Products at their dense peak: multipliers and adders [W].
        memory: DRAM at its peak bandwidth, all levels on the way [W].
        static: The constant power [W].
        tdp_w: Thermal design power: a bound [W].
    """

    device: str
    format: str
    compute: Estimate
    memory: Estimate
    static: Estimate
    tdp_w: float

    @property
    def one_w(self) -> float:
        """The larger of the two resources saturated, and the constant power [W]."""
        return float(max(self.compute.value, self.memory.value) + self.static.value)

    @property
    def both_w(self) -> float:
        """Compute and bandwidth saturated at once, and the constant power [W]: a board may have to throttle there."""
        return float(self.compute.value + self.memory.value + self.static.value)

    def estimates(self) -> Mapping[str, Estimate]:
        """Give its numbers by name."""
        return {"compute": self.compute, "memory": self.memory, "static": self.static}


@checked
def level_energies(device: RooflineDevice) -> tuple[LevelBits, ...]:
    """Give the energy of a bit at every memory level, innermost first, as an increment and inclusive.

    Args:
        device: A GPU or CPU.

    Returns:
        A record per level, both numbers in J/bit.

    Raises:
        SpecError: Something else than a GPU or CPU.

    Source: of the device's own levels, see its `sources`.

    Example:
        >>> import hwmodels
        >>> *_, dram = level_energies(hwmodels.load("a100-sxm-80gb"))
        >>> round(dram.increment.value * 1e12, 2), round(dram.inclusive.value * 1e12, 2)
        (13.11, 19.41)
    """
    found: list[LevelBits] = []
    inside = 0.0
    citation = device.sources.get("memory_energy")
    source = citation.source if citation else "the caller's device"
    measured = citation is not None and citation.origin == "read" and "device+io" not in citation.note
    high = 1 + MEASURED_SPREAD if measured else SCOPE_SPREAD
    for level in device.memory:
        inside += level.j_per_bit
        increment, inclusive = (
            Estimate(
                value=value,
                unit="J/bit",
                low=value * (1 - MEASURED_SPREAD),
                high=value * high,
                origin="anchor" if measured else "derived",
                formula=formula,
                source=source,
            )
            for value, formula in (
                (level.j_per_bit, f"increment of {level.name} over the levels inside it"),
                (inside, f"sum of the increments up to {level.name}"),
            )
        )
        found.append(LevelBits(name=level.name, increment=increment, inclusive=inclusive))
    return tuple(found)


@checked
def operand_delivery(
    device: RooflineDevice,
    format: str = "fp16",
    *,
    tile: tuple[int, int] = TILE,
    warp: tuple[int, int] = WARP_TILE,
) -> Estimate:
    """Estimate what carrying operands to the multipliers takes on top of the arithmetic [J/FLOP].

    Per step of k, a thread block of m x n outputs reads m + n operands from L2 for 2 m n FLOPs, and every warp reads
    its own m + n from L1. `Cost` leaves this out: no measured device of ours separates it from the arithmetic. It is
    the upper end of the band of `peak_power`.

    Args:
        device: A GPU with levels L1 and L2.
        format: Of both operands.
        tile: Outputs of a thread block (m, n).
        warp: Outputs of a warp.

    Raises:
        SpecError: The device has no L1 and L2, or a tile is empty.

    Example:
        >>> import hwmodels
        >>> round(operand_delivery(hwmodels.load("a100-sxm-80gb")).value * 1e12, 2)
        1.19
    """
    levels = {level.name: level for level in device.memory}
    if not {"L1", "L2"} <= levels.keys():
        raise SpecError(f"{device.name}: operand delivery needs levels L1 and L2; it has {', '.join(levels)}")
    for name, shape in (("tile", tile), ("warp", warp)):
        sides = shape if isinstance(shape, tuple | list) else ()
        if len(sides) != 2 or not all(isinstance(side, int | np.integer) and 1 <= side < 2**53 for side in sides):
            raise SpecError(f"operand_delivery: {name} is {shape!r}; at least one output each way, as in (128, 64)")
    bits = FORMATS[format_code(format)].bits
    per_flop = [bits * (m + n) / (2 * m * n) for m, n in (tile, warp)]
    from_l2 = per_flop[0] * (levels["L2"].j_per_bit + levels["L1"].j_per_bit)
    from_l1 = per_flop[1] * levels["L1"].j_per_bit
    return Estimate(
        value=from_l2 + from_l1,
        unit="J/FLOP",
        low=0.0,
        high=2 * (from_l2 + from_l1),
        origin="assumption",
        formula=f"{format} tiles of {tile} from L2 and of {warp} from L1; none to twice as much",
        source="NVIDIA CUTLASS, default GEMM configurations; increments of the device",
    )


@checked
def peak_power(device: RooflineDevice, format: str = "fp16") -> PeakPower:
    """Give what a device draws at its own peaks, for a check against its TDP.

    Args:
        device: A GPU or CPU; its own knobs count as nominal.
        format: What the products are computed in.

    Raises:
        SpecError: Unknown format, or no path for it.

    Example:
        >>> import hwmodels
        >>> power = peak_power(hwmodels.load("a100-sxm-80gb"))
        >>> round(power.compute.value, 1), round(power.memory.value, 1), power.one_w < power.tdp_w
        (112.3, 316.6, True)
    """
    code = format_code(format)
    rate = float(device.peak[code])
    if not rate > 0:
        raise SpecError(f"{device.name}: has no path for products in {format}; give one of its formats")
    arithmetic = rate * float(device.j_per_flop[code])
    tensor = next(row for row in cited_rows("gpu_energy") if row["item"] == "tensor core fp16 increment")
    with_operands, operands = arithmetic, "the arithmetic alone, for operand delivery is modelled of GPUs only"
    if device.kind == "gpu":
        operands = "with operand delivery from L2 and L1"
        with_operands += rate * float(operand_delivery(device, format).value)
    *_, dram = level_energies(device)
    bits = 8 * device.dram.bytes_per_s
    return PeakPower(
        device=device.name,
        format=format,
        compute=Estimate(
            value=arithmetic,
            unit="W",
            low=arithmetic * float(tensor["value"]) / 0.36,
            high=with_operands,
            origin="derived",
            formula="peak rate x J/FLOP of multiplier and adder; low: measured tensor core over the 7 nm figure, "
            f"high: {operands}",
            source=f"arithmetic of the device; {tensor['source']}",
        ),
        memory=_times(dram.inclusive, bits, "W", f"{bits:g} bit/s x inclusive J/bit of {dram.name}"),
        static=_static(device),
        tdp_w=device.tdp_w,
    )


def _static(device: RooflineDevice) -> Estimate:
    low, high = reading_band()
    citation = device.sources.get("power")
    stated = citation.origin if citation else "assumption"
    return Estimate(
        value=device.static_w,
        unit="W",
        low=device.static_w * low,
        high=device.static_w * high,
        origin="anchor" if stated in ("read", "measured") else "derived" if stated == "derived" else "assumption",
        formula="constant power of the device; low: boards at rest over the same boards ready, high: the most that a "
        "reading lies above what others say of its board (tables/static_power.csv)",
        source=citation.source if citation else "the caller's device",
    )


def _times(estimate: Estimate, factor: float, unit: str, formula: str) -> Estimate:
    return Estimate(
        value=estimate.value * factor,
        unit=unit,
        low=estimate.low * factor,
        high=estimate.high * factor,
        origin="derived",
        formula=formula,
        source=estimate.source,
    )
