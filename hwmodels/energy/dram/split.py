"""The published energy of a DRAM bit taken apart: activation, array and I/O, by a stated rule for each technology."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache as remember

from hwmodels.cited import cited_rows
from hwmodels.energy.dram.currents import devices, spans
from hwmodels.energy.dram.published import anchor, pooled_spread

__all__ = ["Split", "activate_spread", "split_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The device+io energy of a bit in its parts.

    Attributes:
        page_bits: Of one device or channel.
        burst_bits: The least that one access moves.
        page_j: Opening and closing a page.
        activate: Per bit, at the row-hit rate that the published total was taken at.
        array: Per bit: cells to the edge of the die.
        io: Per bit: pins and wires, both ends.
        activate_factors: Band of `page_j`.
        factors: Band of array and I/O: that of the published total.
        rule: How the parts came about.
        source: Of the parts.
    """

    page_bits: float
    burst_bits: float
    page_j: float
    activate: float
    array: float
    io: float
    activate_factors: tuple[float, float]
    factors: tuple[float, float]
    rule: str
    source: str

    @property
    def total(self) -> float:
        """J per bit."""
        return self.activate + self.array + self.io


@remember
def split_of(technology: str) -> Split | None:
    """Take the device+io energy of a technology apart; nothing where no rule holds.

    Args:
        technology: One of `technologies()`.
    """
    row = next((row for row in cited_rows("dram_parts") if row["technology"] == technology), None)
    if row is None:
        return None
    rules = {"currents": _from_currents, "given": _from_paper, "shares": _from_sibling}
    return rules[row["rule"]](row)


def _from_currents(row: Mapping[str, str]) -> Split:
    """Page and array from data sheets, I/O from CACTI-IO or the I/O rail; the published total less these is activation.

    Where array and I/O already exceed the total, it stands for streaming over whole pages, and the array gives way.
    """
    technology, page_bits = row["technology"], float(row["page_bits"])
    per_bit = spans(technology, lambda device: device.activate_j_per_page_bit)
    array = spans(technology, lambda device: device.read_j_per_bit).mean
    given = row["io_pj_per_bit"]
    io = float(given) * 1e-12 if given else spans(technology, lambda device: device.io_j_per_bit).mean
    total = anchor(technology, "device+io")
    bound = float(total.value) if total else per_bit.mean + array + io
    left = bound - io - per_bit.mean
    sources = {device.source for device in devices(technology)}
    return Split(
        page_bits=page_bits,
        burst_bits=float(row["burst_bits"]),
        page_j=per_bit.mean * page_bits,
        activate=bound - io - min(array, left),
        array=min(array, left),
        io=io,
        activate_factors=_widest(per_bit.low / per_bit.mean, per_bit.high / per_bit.mean),
        factors=_factors(technology),
        rule="page and array from data-sheet currents (Micron TN-40-07)"
        + (
            ""
            if array <= left
            else f", the array cut from {array * 1e12:.2f} to {left * 1e12:.2f} pJ/bit to fit the total"
        )
        + ("; what the published total leaves over is activation" if total else "; nobody published a total"),
        source="; ".join([*sorted(sources), row["source"]]),
    )


def _from_paper(row: Mapping[str, str]) -> Split:
    """Page, array and the bits used of a page from a paper; I/O is what the published total leaves over."""
    total = anchor(row["technology"], "device+io")
    assert total is not None
    page_j = float(row["activate_pj"]) * 1e-12
    array = float(row["array_pj_per_bit"]) * 1e-12
    activate = page_j / float(row["reference_bits"])
    return Split(
        page_bits=float(row["page_bits"]),
        burst_bits=float(row["burst_bits"]),
        page_j=page_j,
        activate=activate,
        array=array,
        io=float(total.value) - activate - array,
        activate_factors=activate_spread(),
        factors=_factors(row["technology"]),
        rule=row["note"],
        source=row["source"],
    )


def _from_sibling(row: Mapping[str, str]) -> Split:
    """Parts in the proportions of the sibling; its page energy per bit of the page scales with the total."""
    sibling, total = split_of(row["sibling"]), anchor(row["technology"], "device+io")
    assert sibling is not None
    assert total is not None
    ratio = float(total.value) / sibling.total
    page_bits, factors = float(row["page_bits"]), _factors(row["technology"])
    low, high = activate_spread()
    return replace(
        sibling,
        page_bits=page_bits,
        burst_bits=float(row["burst_bits"]),
        page_j=sibling.page_j * ratio * page_bits / sibling.page_bits,
        activate=sibling.activate * ratio,
        array=sibling.array * ratio,
        io=sibling.io * ratio,
        activate_factors=(low * factors[0], high * factors[1]),
        factors=factors,
        rule=f"in the proportions of {row['sibling']}: nobody published a split",
        source=f"{row['source']}; split: {sibling.source}",
    )


@remember
def activate_spread() -> tuple[float, float]:
    """Give the widest spread that the page energy per bit shows between devices of one technology."""
    measured = [row["technology"] for row in cited_rows("dram_parts") if len(devices(row["technology"])) > 1]
    each = [spans(technology, lambda device: device.activate_j_per_page_bit) for technology in measured]
    return min(span.low / span.mean for span in each), max(span.high / span.mean for span in each)


def _widest(low: float, high: float) -> tuple[float, float]:
    """Give a single device the spread that others show."""
    return (low, high) if low < high else activate_spread()


def _factors(technology: str) -> tuple[float, float]:
    total = anchor(technology, "device+io")
    if total is None:
        return pooled_spread()
    return float(total.low / total.value), float(total.high / total.value)
