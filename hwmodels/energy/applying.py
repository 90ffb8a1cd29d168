"""An accelerator with the modelled energies in it, so that mappings and sweeps see what a knob costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hwmodels.energy.bill import Bill
from hwmodels.energy.checking import checked
from hwmodels.energy.dram import dram_energy
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.pricing import price
from hwmodels.records import Citation
from hwmodels.spatial import Accelerator, BufferLevel
from workloads.errors import SpecError
from workloads.operator import Num, is_batch

__all__ = ["priced", "word_energies"]


@checked
def priced(accelerator: Accelerator, bill: Bill | None = None, *, law: str | None = None) -> Accelerator:
    """Give an accelerator whose energies, leakage and turned knobs are those of its bill.

    Energies of the levels, of a MAC and the static power come from the models; the outermost level keeps its energy
    unless the bill names its technology. Capacities, bandwidths and the clock are the turned ones. On-chip bandwidth
    is in words a cycle, so it moves with the clock; that of the outermost level stays in bytes a second.

    Args:
        accelerator: What was priced.
        bill: Its bill, of one design point; None: `price(accelerator, law=law)`.
        law: Of the bill that is made here; a bill that is given has its own.

    Raises:
        SpecError: The bill is of another accelerator or of a batch, a law beside a bill, or see `price`.

    Example:
        >>> import hwmodels
        >>> gemmini = hwmodels.load("gemmini")
        >>> slow = priced(gemmini, price(gemmini, clock_scale=0.5))
        >>> slow.clock_hz, slow.static_w > 0, slow.mac_j < priced(gemmini).mac_j
        (500000000.0, True, True)
    """
    if bill is not None and law is not None:
        raise SpecError(f"the bill of {bill.accelerator} is made already: give law={law!r} to the price that made it")
    bill = price(accelerator, law=law) if bill is None else bill
    if bill.accelerator != accelerator.name:
        raise SpecError(f"the bill is of {bill.accelerator}, not of {accelerator.name}; price that one")
    numbers = {"clock": bill.clock_hz, "mac": bill.mac_j.value, "static": bill.static_w.value}
    batch = [name for name, number in numbers.items() if is_batch(number)]
    if batch:
        raise SpecError(f"{bill.accelerator}: the bill is of a batch of design points ({batch[0]}); price one of them")
    levels = tuple(_level(level, bill, place == 0) for place, level in enumerate(accelerator.levels))
    return replace(
        accelerator,
        levels=levels,
        mac_j=float(bill.mac_j.value),
        static_w=float(bill.static_w.value),
        clock_hz=float(bill.clock_hz),
        sources={**accelerator.sources, **_citations(bill, accelerator.levels[0].name)},
    )


def _level(level: BufferLevel, bill: Bill, outermost: bool) -> BufferLevel:
    capacity, bandwidth = bill.capacity.get(level.name, 1.0), bill.bandwidth.get(level.name, 1.0)
    per_cycle = bandwidth / bill.clock_scale if outermost else bandwidth
    read_j, write_j = word_energies(level, bill)
    return replace(
        level,
        capacity_words=None if level.capacity_words is None else _whole(level.capacity_words * capacity),
        partitions={role: _whole(words * capacity) for role, words in level.partitions.items()},
        read_words_per_cycle=_times(level.read_words_per_cycle, per_cycle),
        write_words_per_cycle=_times(level.write_words_per_cycle, per_cycle),
        read_j=float(read_j),
        write_j=float(write_j),
    )


def word_energies(level: BufferLevel, bill: Bill) -> tuple[Num, Num]:
    """Give the energy of reading and of writing a word of a level, one or shape (n_points,) [J]."""
    if level.name in bill.buffers:
        return bill.access_j(level.name, "read").value, bill.access_j(level.name, "write").value
    bus: Num = bill.network.delivery[level.name].value if level.name in bill.network.delivery else 0.0
    if bill.dram is None:
        return level.read_j + bus, level.write_j + bus
    word = dram_energy(bill.dram).total.value * level.word_bits
    return word + bus, word + bus


def _whole(words: Num) -> int:
    return max(1, round(float(words)))


def _times(words: float | None, factor: Num) -> float | None:
    return None if words is None else words * float(factor)


def _citations(bill: Bill, outermost: str) -> Mapping[str, Citation]:
    """Cite the models in place of what they replace."""
    modelled = {f"level.{name}.energy": bill.access_j(name, "read") for name in bill.buffers}
    modelled |= {"array": bill.mac_j, "power": bill.static_w}
    if bill.dram is not None:
        modelled[f"level.{outermost}.energy"] = dram_energy(bill.dram).total
    return {name: Citation(_source_of(estimate), "derived", f"hwmodels.energy: {estimate.formula}")
            for name, estimate in modelled.items()}  # fmt: skip


def _source_of(estimate: Estimate) -> str:
    """Name all sources inside an estimate."""
    inside = [source for part in estimate.parts.values() for source in _source_of(part).split("; ")]
    own = [] if estimate.parts else estimate.source.split("; ")
    return "; ".join(dict.fromkeys([*own, *inside]))
