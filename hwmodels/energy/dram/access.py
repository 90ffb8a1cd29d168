"""Energy of a DRAM bit by technology and scope, in its parts, as a function of the row-hit rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hwmodels.energy.checking import checked, fraction, positive
from hwmodels.energy.dram.background import dram_background_w
from hwmodels.energy.dram.published import SCOPES, anchor, join_sources, scopes_of, technologies
from hwmodels.energy.dram.split import Split, split_of
from hwmodels.energy.estimate import Estimate
from workloads.errors import SpecError, nearest
from workloads.operator import Num

__all__ = ["DramEnergy", "bits_per_activation", "dram_energy"]

SPLIT_SCOPES = ("core", "io", "device+io")
"""Scopes that follow from the parts where nobody published a total."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DramEnergy:
    """What moving a bit to or from DRAM costs.

    Attributes:
        technology: "LPDDR4".
        scope: What the total includes: one of `SCOPES`.
        total: J per bit.
        parts: Those of "activate", "array", "io", "controller" and "background" that the scope includes and that are
            known; they add up to the total. Empty where nobody published a split.
        reference_row_hit_rate: The row-hit rate at which the parts add up to the published total; 0 without a split.
    """

    technology: str
    scope: str
    total: Estimate
    parts: Mapping[str, Estimate]
    reference_row_hit_rate: float

    def estimates(self) -> Mapping[str, Estimate]:
        """Give the total; its parts are inside of it."""
        return {"total": self.total}


def bits_per_activation(row_hit_rate: Num, *, page_bits: Num, burst_bits: Num) -> Num:
    """Give how many bits an opened page delivers before it is closed.

    An access that hits finds its page open, so one activation serves 1 / (1 - row_hit_rate) bursts; a page is read
    through once at most.

    Args:
        row_hit_rate: Share of bursts that find their page open, 0 to 1; one value, or shape (n_points,).
        page_bits: Of one device or channel.
        burst_bits: Of one access to it, at most the page.

    Raises:
        SpecError: A rate outside of 0 to 1, a size that is not above zero, a burst larger than its page.

    Example:
        >>> print(bits_per_activation(0.75, page_bits=8192, burst_bits=256))
        1024.0
    """
    rate = np.asarray(fraction(row_hit_rate, "row_hit_rate", "bits_per_activation"))
    page = np.asarray(positive(page_bits, "page_bits", "bits_per_activation"))
    burst = np.asarray(positive(burst_bits, "burst_bits", "bits_per_activation"))
    if np.any(burst > page):
        raise SpecError(
            f"bits_per_activation: burst_bits {np.max(burst):g} is larger than page_bits {np.min(page):g}; "
            "a burst stays inside of one page"
        )
    bits: Num = burst / np.maximum(1 - rate, burst / page)
    return bits if np.ndim(bits) else float(bits)


@checked
def dram_energy(
    technology: str,
    *,
    scope: str = "device+io",
    row_hit_rate: Num | None = None,
    page_bits: Num | None = None,
    burst_bits: Num | None = None,
    capacity_bytes: Num | None = None,
    bandwidth_b_per_s: Num | None = None,
) -> DramEnergy:
    """Give the energy of a DRAM bit.

    Without a row-hit rate the published total comes back unchanged. With one, activation moves and the rest stays:
    total = page energy / `bits_per_activation` + array + I/O (+ controller). Reads and writes cost the same: data-sheet
    currents put a write's array part at 0.73 (LPDDR4) to 1.14 (LPDDR3) of a read's, well inside of the bands.

    Args:
        technology: One of `technologies()`: "DDR4", "LPDDR5", "HBM2E", ...
        scope: One of `SCOPES`; "device+io" is what an accelerator without a modelled controller pays. "system
            incremental" is what a GPU was measured to pay on top of L2: device+io, controller and transport.
        row_hit_rate: Share of bursts that find their page open, 0 to 1; one value, or shape (n_points,). One burst at
            a random place: 0; streaming: 1.
        page_bits: Of one device or channel, if not the technology's own; needs `row_hit_rate`.
        burst_bits: Of one access to it, if not the technology's own; needs `row_hit_rate`.
        capacity_bytes: With `bandwidth_b_per_s`, adds standby and refresh as a part "background".
        bandwidth_b_per_s: Traffic that the background is shared by, B/s.

    Raises:
        SpecError: An unknown technology or scope; a scope that nobody published for this technology and that does not
            follow from its parts; a rate outside of 0 to 1; a split that nobody published.

    Source: tables `dram_energy`, `dram_parts`, `dram_currents`; O'Connor et al., Fine-Grained DRAM, MICRO 2017.

    Example:
        >>> for rate in (None, 0.0, 1.0):
        ...     print(f"{dram_energy('HBM2', row_hit_rate=rate).total.value * 1e12:.2f} pJ/bit")
        3.97 pJ/bit
        6.31 pJ/bit
        2.87 pJ/bit
    """
    split = _check(technology, scope)
    if row_hit_rate is not None:
        fraction(row_hit_rate, "row_hit_rate", "dram_energy")
    published = anchor(technology, scope)
    if published is not None and (split is None or scope == "device"):
        _refuse_split(technology, scope, row_hit_rate, page_bits, burst_bits, capacity_bytes)
        return DramEnergy(technology=technology, scope=scope, total=published, parts={}, reference_row_hit_rate=0.0)
    assert split is not None
    if row_hit_rate is None and not (page_bits is None and burst_bits is None):
        raise SpecError("dram_energy: page_bits and burst_bits act through the row-hit rate; give row_hit_rate too")
    parts = _parts(split, technology, scope, published)
    reference = 1 - split.burst_bits / (split.page_j / float(parts["activate"].value)) if "activate" in parts else 0.0
    if row_hit_rate is not None and "activate" in parts:
        parts["activate"] = _activation(split, row_hit_rate, page_bits, burst_bits)
    at_reference = row_hit_rate is None or "activate" not in parts
    total = published if published is not None and at_reference else _sum(parts, technology, scope)
    if capacity_bytes is not None or bandwidth_b_per_s is not None:
        parts["background"] = _background(technology, scope, capacity_bytes, bandwidth_b_per_s)
        total = _sum({"total": total, "background": parts["background"]}, technology, scope)
    return DramEnergy(
        technology=technology,
        scope=scope,
        total=replace(total, parts=parts),
        parts=parts,
        reference_row_hit_rate=reference,
    )


def _check(technology: str, scope: str) -> Split | None:
    published = scopes_of(technology)
    if scope not in SCOPES:
        raise SpecError(f"dram_energy: scope {scope!r} is unknown; {nearest(str(scope), SCOPES)}")
    split = split_of(technology)
    if scope in published or (split is not None and scope in SPLIT_SCOPES):
        return split
    others = [name for name in technologies() if scope in scopes_of(name)]
    derived = [name for name in SPLIT_SCOPES if split is not None and name not in published]
    raise SpecError(
        f"dram_energy: nobody published scope {scope!r} for {technology}; it has {', '.join([*published, *derived])}; "
        f"{scope!r} is there for {', '.join(others) or 'no technology'}; scopes are not converted into each other: "
        "take device+io, and add the controller and the transport of your chip"
    )


def _refuse_split(technology: str, scope: str, *given: Num | None) -> None:
    if any(value is not None for value in given):
        raise SpecError(
            f"dram_energy: nobody published a split of {technology} in scope {scope!r}; leave row_hit_rate, page_bits, "
            "burst_bits and capacity_bytes out"
            + (", or take scope='device+io'" if split_of(technology) is not None else "")
        )


def _parts(split: Split, technology: str, scope: str, published: Estimate | None) -> dict[str, Estimate]:
    """Give the parts of a scope at the reference row-hit rate."""
    activate, array = split.activate, split.array
    if scope == "core" and published is not None:
        # As for device+io: the total less the array is activation, at least that of streaming.
        array = min(array, float(published.value) - split.page_j / split.page_bits)
        activate = float(published.value) - array
    low, high = split.activate_factors
    parts = {
        "activate": _part("activate", activate, (low, high), split),
        "array": _part("array", array, split.factors, split),
        "io": _part("I/O", split.io, split.factors, split),
    }
    if scope == "system incremental" and published is not None:
        rest = float(published.value) - split.total
        parts["controller"] = replace(
            _part("", rest, (float(published.low / published.value), float(published.high / published.value)), split),
            formula="controller and transport: the measured total less device+io",
            source=f"{published.source}; {split.source}",
        )
    wanted = {"core": ("activate", "array"), "io": ("io",)}.get(scope, tuple(parts))
    return {name: parts[name] for name in wanted}


def _part(name: str, value: float, factors: tuple[float, float], split: Split) -> Estimate:
    return Estimate(
        value=value,
        unit="J/bit",
        low=value * factors[0],
        high=value * factors[1],
        origin="derived",
        formula=f"{name}: {split.rule}",
        source=split.source,
    )


def _activation(split: Split, row_hit_rate: Num, page_bits: Num | None, burst_bits: Num | None) -> Estimate:
    """Divide the energy of a page, which is proportional to its bits, by the bits that it delivers."""
    page = split.page_bits if page_bits is None else page_bits
    burst = split.burst_bits if burst_bits is None else burst_bits
    bits = bits_per_activation(row_hit_rate, page_bits=page, burst_bits=burst)
    value = split.page_j / split.page_bits * page / bits
    low, high = split.activate_factors
    return Estimate(
        value=value,
        unit="J/bit",
        low=value * low,
        high=value * high,
        origin="derived",
        formula=f"{split.page_j / split.page_bits * 1e12:.3g} pJ per bit of the page x page / bits that it delivers; "
        f"{split.rule}; band: spread between devices of one technology",
        source=split.source,
    )


def _background(technology: str, scope: str, capacity: Num | None, bandwidth: Num | None) -> Estimate:
    if capacity is None or bandwidth is None:
        raise SpecError("dram_energy: background is power over traffic; give capacity_bytes and bandwidth_b_per_s both")
    if scope != "device+io":
        raise SpecError(
            f"dram_energy: scope {scope!r} has no background; the constant power of a system is counted once over its "
            "time, with dram_background_w or the static power of the device"
        )
    traffic = 8 * positive(bandwidth, "bandwidth_b_per_s", "dram_energy")
    power = dram_background_w(technology, capacity)
    return Estimate(
        value=power.value / traffic,
        unit="J/bit",
        low=power.low / traffic,
        high=power.high / traffic,
        origin=power.origin,
        formula=f"background / traffic; {power.formula}",
        source=power.source,
        parts=power.parts,
    )


def _sum(parts: Mapping[str, Estimate], technology: str, scope: str) -> Estimate:
    return Estimate(
        value=sum(part.value for part in parts.values()),
        unit="J/bit",
        low=sum(part.low for part in parts.values()),
        high=sum(part.high for part in parts.values()),
        origin="derived",
        formula=f"{technology}, scope {scope}: {' + '.join(parts)}; bands add up",
        source=join_sources(part.source for part in parts.values()),
    )
