"""Published energies of a DRAM bit: which row is the anchor of a technology and scope, and how far the others lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache as remember

import numpy as np

from hwmodels.cited import cited_rows
from hwmodels.energy.estimate import Estimate
from workloads.errors import SpecError, nearest

__all__ = ["SCOPES", "anchor", "join_sources", "pooled_spread", "scopes_of", "technologies"]

SCOPES: Mapping[str, str] = {
    "core": "activation, arrays and data paths on the die; no pins",
    "io": "the interface, both ends, termination included",
    "device": "a device or stack as its vendor counts it",
    "device+io": "core and interface at both ends; no memory controller",
    "system incremental": "what a processor pays for a DRAM bit on top of its last cache: device, interface, "
    "controller, transport; constant power left out",
}
"""What a figure includes; scopes differ by up to four times for one technology and are never mixed."""

COUNTED = ("anchor", "spread")
OWN_SPREAD_FROM = 3
"""Published values from which a technology's own spread is its band."""


@remember
def technologies() -> tuple[str, ...]:
    """Give every technology that has an anchor or parts, in order of the tables."""
    anchors = [row["technology"] for row in cited_rows("dram_energy") if row["use"] == "anchor"]
    parts = [row["technology"] for row in cited_rows("dram_parts")]
    return tuple(dict.fromkeys([*anchors, *parts]))


def scopes_of(technology: str) -> tuple[str, ...]:
    """Give the scopes in which a technology's total is published.

    Args:
        technology: "LPDDR4".

    Raises:
        SpecError: An unknown technology.

    Example:
        >>> scopes_of("HBM2")
        ('device+io', 'system incremental')
    """
    if technology not in technologies():
        raise SpecError(f"DRAM technology {technology!r} is unknown; {nearest(str(technology), technologies())}")
    rows = cited_rows("dram_energy")
    return tuple(s for s in SCOPES if any(_is_anchor(row, technology, s) for row in rows))


@remember
def anchor(technology: str, scope: str) -> Estimate | None:
    """Give the published total of a technology in a scope, or nothing.

    A primary paper or measurement comes before a consensus figure, and that before what another tool restates.

    Args:
        technology: "LPDDR4".
        scope: One of `SCOPES`.
    """
    rows = [row for row in cited_rows("dram_energy") if row["technology"] == technology and row["scope"] == scope]
    chosen = next((row for row in rows if row["use"] == "anchor"), None)
    if chosen is None:
        return None
    value = float(chosen["pj_per_bit"])
    numbers = [number for row in rows if row["use"] in COUNTED for number in _numbers(row)]
    if len(numbers) >= OWN_SPREAD_FROM:
        low, high = min(numbers), max(numbers)
        band = f"band: the {len(numbers)} published figures of this technology and scope"
    else:
        low, high = (value * factor for factor in pooled_spread())
        band = "band: few figures of its own, so the 90 % spread around the anchors of all technologies"
    note = f" ({chosen['note']})" if chosen["note"] else ""
    return Estimate(
        value=value * 1e-12,
        unit="J/bit",
        low=low * 1e-12,
        high=high * 1e-12,
        origin="anchor",
        formula=f"{technology}, scope {scope}: {chosen['pj_per_bit']} pJ/bit as published{note}; {band}",
        source=chosen["source"],
    )


@remember
def pooled_spread() -> tuple[float, float]:
    """Give the factors around an anchor between which 90 % of the other figures of its technology and scope lie."""
    rows = [row for row in cited_rows("dram_energy") if row["use"] in COUNTED]
    logs = []
    for row in rows:
        best = next(r for r in rows if _is_anchor(r, row["technology"], row["scope"]))
        if row is not best:
            logs += [np.log(number / float(best["pj_per_bit"])) for number in _numbers(row)]
    low, high = np.exp(np.quantile(logs, [0.05, 0.95]))
    return float(low), float(high)


def join_sources(sources: Iterable[str]) -> str:
    """Join citations, each once.

    Args:
        sources: Citations, or several of them with semicolons between.
    """
    return "; ".join(dict.fromkeys(single for source in sources for single in source.split("; ")))


def _is_anchor(row: Mapping[str, str], technology: str, scope: str) -> bool:
    return row["technology"] == technology and row["scope"] == scope and row["use"] == "anchor"


def _numbers(row: Mapping[str, str]) -> list[float]:
    return [float(row[name]) for name in ("pj_per_bit", "low_pj_per_bit", "high_pj_per_bit") if row[name]]
