"""Power that DRAM draws while nobody accesses it: standby, refresh, the idle interface."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodels.cited import cited_rows
from hwmodels.energy.checking import checked, positive
from hwmodels.energy.dram.currents import STATES, Span, devices, spans
from hwmodels.energy.dram.published import join_sources, scopes_of
from hwmodels.energy.estimate import Estimate, Origin
from workloads.errors import SpecError, nearest
from workloads.operator import Num

__all__ = ["dram_background_w"]

CARRIED = {"DDR5": ("DDR4", "DDR3"), "LPDDR5": ("LPDDR4", "LPDDR3"), "LPDDR5X": ("LPDDR4", "LPDDR3")}
"""Technologies without tabled currents: whose power per byte they get, and the generation before that."""

STACKED = ("HBM2", "HBM2E", "HBM3", "HBM3E")
GPU, GPU_HBM_BYTES = "A100 SXM4 40GB", 40 * 2**30
"""The GPU whose constant power was attributed, and its HBM2: five stacks of 8 GiB (data sheet)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PerByte:
    """Power per byte of capacity, how it came about, and where from."""

    span: Span
    origin: Origin
    formula: str
    source: str


@checked
def dram_background_w(
    technology: str, capacity_bytes: Num, *, state: str = "standby", interface_peak_b_per_s: Num | None = None
) -> Estimate:
    """Estimate the power of a DRAM that holds its data and moves none.

    Args:
        technology: DDR3 to DDR5, LPDDR3 to LPDDR5X from data-sheet currents; HBM2 to HBM3E from the share of an A100's
            constant power that was attributed to its HBM, standby only.
        capacity_bytes: One value, or shape (n_points,).
        state: "active" (pages open), "standby" (pages closed), "power-down" (clock off), all with refresh, or
            "self-refresh".
        interface_peak_b_per_s: Adds the idle power of a DDR3 or DDR4 interface of this peak bandwidth (CACTI-IO, one
            rank); idle DDR3 is terminated to mid-supply and draws as much as its devices, idle DDR4 draws none there.

    Raises:
        SpecError: A technology without sound data, an unknown state, a size that is not above zero.

    Source: Micron TN-40-07, tables `dram_currents` and `dram_io`; for HBM: Antepara et al., SC 2025, Table 2.

    Example:
        >>> print(f"{dram_background_w('DDR4', 16 * 2**30).value:.2f} W")
        1.15 W
    """
    scopes_of(technology)
    if state not in STATES:
        raise SpecError(f"dram_background_w: state {state!r} is unknown; {nearest(str(state), STATES)}")
    size = positive(capacity_bytes, "capacity_bytes", "dram_background_w")
    parts = {name: _scaled(per_byte, size) for name, per_byte in _per_byte(technology, state).items()}
    if interface_peak_b_per_s is not None:
        parts["interface"] = _interface(technology, interface_peak_b_per_s)
    return Estimate(
        value=sum(part.value for part in parts.values()),
        unit="W",
        low=sum(part.low for part in parts.values()),
        high=sum(part.high for part in parts.values()),
        origin=next(iter(parts.values())).origin,
        formula=f"{technology}, {state}: {' + '.join(parts)}; bands add up",
        source=join_sources(part.source for part in parts.values()),
        parts=parts,
    )


def _per_byte(technology: str, state: str) -> dict[str, _PerByte]:
    if devices(technology):
        return {name: _measured(technology, name) for name in _names(state)}
    if technology in CARRIED:
        return {name: _carried(technology, name) for name in _names(state)}
    if technology in STACKED:
        if state != "standby":
            raise SpecError(f"dram_background_w: nobody published {technology} in state {state!r}; take 'standby'")
        return {"standby and refresh": _attributed(technology)}
    known = sorted({row["technology"] for row in cited_rows("dram_currents")} | set(CARRIED) | set(STACKED))
    raise SpecError(
        f"dram_background_w: no sound data for the idle power of {technology}; known: {', '.join(known)}; "
        "take the standby currents of your part's data sheet"
    )


def _names(state: str) -> tuple[str, ...]:
    return (state,) if state == "self-refresh" else (state, "refresh")


def _span(technology: str, name: str) -> Span:
    if name == "refresh":
        return spans(technology, lambda device: device.refresh_w_per_byte)
    return spans(technology, lambda device: device.state_w_per_byte[name])


def _measured(technology: str, name: str) -> _PerByte:
    parts, span, band = (
        ", ".join(device.part for device in devices(technology)),
        _span(technology, name),
        "their spread",
    )
    if span.low == span.high:
        both = [_span(other, name) for other in ("DDR3", "DDR4")]
        span = Span(
            mean=span.mean,
            low=span.mean * min(other.low / other.mean for other in both),
            high=span.mean * max(other.high / other.mean for other in both),
        )
        band = "the spread that devices of DDR3 and DDR4 show"
    return _PerByte(
        span=span,
        origin="derived",
        formula=f"{name}: data-sheet currents per byte of {parts}; band: {band}",
        source="; ".join(sorted({device.source for device in devices(technology)})),
    )


def _carried(technology: str, name: str) -> _PerByte:
    """Take the power per byte of the generation before; the band is what one generation changed."""
    near, far = CARRIED[technology]
    before, earlier = _measured(near, name).span, _span(far, name)
    step = max(earlier.mean / before.mean, before.mean / earlier.mean)
    return _PerByte(
        span=Span(mean=before.mean, low=before.low / step, high=before.high * step),
        origin="assumption",
        formula=f"{name}: per byte as {near}; band: the step of {step:.2g} times from {far} to {near}",
        source=_measured(near, name).source,
    )


def _attributed(technology: str) -> _PerByte:
    """Share out the measured constant power of one GPU over its HBM."""
    row = next(row for row in cited_rows("static_power") if row["chip"] == GPU)
    whole = float(row["static_w"]) / GPU_HBM_BYTES
    devices_alone = _span("DDR4", "standby").low + _span("DDR4", "refresh").low
    return _PerByte(
        span=Span(mean=whole * float(row["memory_share"]), low=devices_alone, high=whole),
        origin="derived" if technology == "HBM2" else "assumption",
        formula=f"the part of the constant power of {GPU} that is attributed to HBM refresh, per byte, PHY and clocks "
        "included; band: DDR4 devices of this capacity to all of the constant power; do not add it to that",
        source=row["source"],
    )


def _scaled(per_byte: _PerByte, size: Num) -> Estimate:
    span = per_byte.span
    return Estimate(
        value=span.mean * size,
        unit="W",
        low=span.low * size,
        high=span.high * size,
        origin=per_byte.origin,
        formula=per_byte.formula,
        source=per_byte.source,
    )


def _interface(technology: str, peak: Num) -> Estimate:
    """Scale the idle power of CACTI-IO's fastest interface with sound timing; the band is one to four ranks."""
    bandwidth = positive(peak, "interface_peak_b_per_s", "dram_background_w")
    rows = [row for row in cited_rows("dram_io") if row["interface"] == technology]
    sound = [float(row["bus_mhz"]) for row in rows if row["state"] == "READ" and row["timing_ok"] == "1"]
    if not technology.startswith("DDR") or not sound:
        raise SpecError(
            f"dram_background_w: CACTI-IO has no sound idle interface of {technology}; leave interface_peak_b_per_s out"
        )
    idle = [row for row in rows if row["state"] == "IDLE" and float(row["bus_mhz"]) == max(sound)]
    names = ("io_dynamic_mw", "phy_mw", "termination_bias_mw")
    watts = {row["ranks"]: sum(float(row[name]) for name in names) * 1e-3 for row in idle}
    per_rate = 1 / (2 * max(sound) * 1e6 * float(idle[0]["dq_pins"]) / 8)
    return Estimate(
        value=watts["1"] * per_rate * bandwidth,
        unit="W",
        low=min(watts.values()) * per_rate * bandwidth,
        high=max(watts.values()) * per_rate * bandwidth,
        origin="table",
        formula=f"interface idle at {max(sound):g} MHz, one rank, per B/s of peak; band: one to four ranks",
        source=idle[0]["source"],
    )
