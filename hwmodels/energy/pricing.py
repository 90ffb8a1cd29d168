"""Pricing a spatial accelerator: area, leakage and energy per event of every component, and the knobs that move them.

What is not counted is named in the bill. `hwmodels.energy.priced` puts the energies into the accelerator.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.energy.area import Component, dram_phy, dram_phys
from hwmodels.energy.bill import NOT_COUNTED, Bill
from hwmodels.energy.checking import checked, number, one_length
from hwmodels.energy.clocks import Clocking, clocking
from hwmodels.energy.combining import product
from hwmodels.energy.estimate import Estimate
from hwmodels.energy.network import array_network
from hwmodels.energy.ports import Buffer, build_buffer, ports_of
from hwmodels.energy.processing import Arithmetic, mac_units, passing_bits, pipeline_registers
from hwmodels.energy.sram import sram
from hwmodels.energy.vector import VectorUnit, vector_component
from hwmodels.spatial import Accelerator, BufferLevel, Organisation
from workloads.errors import SpecError, nearest
from workloads.operator import Num

__all__ = ["price"]

Scales = Mapping[str, Num]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Site:
    """What every component of one price shares."""

    accelerator: Accelerator
    node_nm: Num
    device: str
    temperature_k: Num
    law: str | None
    clocked: Clocking
    low_power: Estimate | None
    capacity: Scales
    bandwidth: Scales


@checked
def price(
    accelerator: Accelerator,
    *,
    node_nm: Num | None = None,
    device: str | None = None,
    temperature_k: Num = 350.0,
    clock_scale: Num = 1.0,
    capacity: Scales | None = None,
    bandwidth: Scales | None = None,
    dram: str | None = None,
    arithmetic: Arithmetic | None = None,
    vector_units: Sequence[VectorUnit] = (),
    organisations: Mapping[str, Organisation] | None = None,
    law: str | None = None,
) -> Bill:
    """Price an accelerator: area, leakage, and energy per event of every component.

    Args:
        accelerator: Its own clock is taken as that of the nominal supply.
        node_nm: Technology node, one or shape (n_points,) [nm]; None: the one that `accelerator.process` names.
        device: Device class: "itrs-hp", "itrs-lstp", "itrs-lop"; None: "itrs-lstp" where the process says LP, else
            "itrs-hp".
        temperature_k: Junction temperature [K].
        clock_scale: Clock relative to the accelerator's, one or shape (n_points,): priced through the supply, and
            through the banks that a memory of its cycle time needs.
        capacity: Factors on the capacity by level, each one or shape (n_points,): priced through the SRAM.
        bandwidth: Factors on the bandwidth by level, likewise: priced through rows, ports and banks, and for the
            outermost level through PHYs and controllers.
        dram: DRAM technology of the outermost level, a key of `dram_phys()`; None: its interface is not counted, and
            its bandwidth cannot be turned.
        arithmetic: Formats of the MACs; None: integers as wide as the accelerator says.
        vector_units: Units beside the array.
        organisations: How levels are built, by name, instead of what the accelerator says.
        law: Of "sram energy" in `LAWS`: carries memories to nodes outside CACTI's 22 to 90 nm. Logic and wires follow
            the first of their own laws.

    Raises:
        SpecError: No node, a node that the memories do not reach without a law, a level that is not there, a knob
            without a price, or a clock or bandwidth out of reach.

    Example:
        >>> import hwmodels
        >>> bill = price(hwmodels.load("gemmini"))
        >>> [part.name for part in bill.components]
        ['MACs', 'pipeline registers', 'Scratchpad', 'Accumulator', 'WReg', 'array wires']
        >>> 0.1 < bill.area_mm2.value < 10
        True
    """
    site = _site(accelerator, node_nm, device, temperature_k, law, clock_scale, capacity, bandwidth, dram)
    _check_names(accelerator, "organisations", {} if organisations is None else organisations)
    built = {**accelerator.organisations, **(organisations or {})}
    cores = _cores(site, arithmetic or _integers(accelerator))
    buffers = {
        level.name: _buffer(site, level, built.get(level.name))
        for level in accelerator.levels
        if level.capacity_words is not None
    }
    parts = [
        _level_component(site, level, buffers[level.name]) for level in accelerator.levels if level.name in buffers
    ]
    others = [vector_component(unit, node_nm=site.node_nm, clocked=site.clocked, low_power=site.low_power)
              for unit in vector_units]  # fmt: skip
    if dram is not None:
        others.append(dram_phy(dram, _dram_bytes_per_s(site), node_nm=site.node_nm))
    network = array_network(
        accelerator, _grown(site, cores, buffers), node_nm=site.node_nm, clocked=site.clocked, device=site.device
    )
    if network.component is not None:
        parts.append(network.component)
    return Bill(
        accelerator=accelerator.name,
        node_nm=site.node_nm,
        device=site.device,
        clock_hz=accelerator.clock_hz * clock_scale,
        supply_v=site.clocked.supply_v,
        components=(*cores, *parts, *others),
        buffers=buffers,
        network=network,
        not_counted=NOT_COUNTED + (() if dram else ("DRAM interface",)),
        clock_scale=clock_scale,
        capacity=site.capacity, bandwidth=site.bandwidth, dram=dram,
    )  # fmt: skip


def _site(
    accelerator: Accelerator, node_nm: Num | None, device: str | None, temperature_k: Num, law: str | None,
    clock_scale: Num, capacity: Scales | None, bandwidth: Scales | None, dram: str | None,
) -> _Site:  # fmt: skip
    """Find node and device class, and check the knobs."""
    capacity, bandwidth = (
        _scales(accelerator, what, {} if scales is None else scales)
        for what, scales in (("capacity", capacity), ("bandwidth", bandwidth))
    )
    knobs = (node_nm, temperature_k, clock_scale, *capacity.values(), *bandwidth.values())
    one_length({np.size(knob) for knob in knobs if knob is not None}, f"the price of {accelerator.name}")
    _check_prices(accelerator, capacity, bandwidth, dram)
    node = _node_of(accelerator) if node_nm is None else node_nm
    chosen = device or ("itrs-lstp" if re.search(r"\bLP\b", accelerator.process) else "itrs-hp")
    return _Site(
        accelerator=accelerator,
        node_nm=node,
        device=chosen,
        temperature_k=temperature_k,
        law=law,
        clocked=clocking(node, clock_scale),
        low_power=_low_power(chosen, node, temperature_k, law),
        capacity=capacity,
        bandwidth=bandwidth,
    )


def _scales(accelerator: Accelerator, what: str, scales: Scales) -> Scales:
    _check_names(accelerator, what, scales)
    found = {name: number(scale, "Num", f"{what} of {name}", accelerator.name) for name, scale in scales.items()}
    for name, scale in found.items():
        if not np.all(np.isfinite(scale) & np.greater(scale, 0)):
            raise SpecError(f"{accelerator.name}: {what} of {name} times {np.min(scale):g}; give more than zero")
    return found


def _check_names(accelerator: Accelerator, what: str, by_level: Mapping[str, object]) -> None:
    if not isinstance(by_level, Mapping):
        raise SpecError(f'{accelerator.name}: {what} is {by_level!r}; give it by level: {{"Level": ...}}')
    known = [level.name for level in accelerator.levels]
    for name in by_level:
        if name not in known:
            raise SpecError(f"{accelerator.name}: {what} of an unknown level {name!r}; {nearest(name, known)}")


def _check_prices(accelerator: Accelerator, capacity: Scales, bandwidth: Scales, dram: str | None) -> None:
    """Refuse a knob that nothing would pay for."""
    outermost = accelerator.levels[0].name
    for level in accelerator.levels:
        if level.name in capacity and level.capacity_words is None:
            raise SpecError(f"{accelerator.name}: the capacity of {level.name} has no price: it has no bound")
        if level.name in bandwidth and level.read_words_per_cycle is None:
            raise SpecError(f"{accelerator.name}: the bandwidth of {level.name} has no price: the device states none")
    if outermost in bandwidth and dram is None:
        raise SpecError(
            f"{accelerator.name}: the bandwidth of {outermost} has no price without its technology; "
            f"give dram, one of {', '.join(dram_phys())}"
        )


def _node_of(accelerator: Accelerator) -> float:
    found = re.search(r"(\d+(?:\.\d+)?)\s*nm", accelerator.process)
    if found is None:
        raise SpecError(
            f"{accelerator.name}: its process {accelerator.process!r} names no technology node; give node_nm, as in "
            "node_nm=45"
        )
    return float(found[1])


def _low_power(device: str, node_nm: Num, temperature_k: Num, law: str | None) -> Estimate | None:
    """Give the leakage of a device class over that of itrs-hp, as of an SRAM; None: that is the class."""
    if device == "itrs-hp":
        return None
    leaks = [sram(32768.0, 8.0, node_nm=node_nm, device=name, temperature_k=temperature_k, law=law).leakage_w
             for name in (device, "itrs-hp")]  # fmt: skip
    ratio = leaks[0] / leaks[1]
    return Estimate(
        value=ratio, unit="", low=ratio / 2, high=ratio * 2, origin="assumption", source="CACTI 7, ITRS device tables",
        formula=f"leakage of an SRAM of 32 KiB in {device} over itrs-hp; band: a factor of two, as for no SRAM",
    )  # fmt: skip


def _integers(accelerator: Accelerator) -> Arithmetic:
    if accelerator.operand_bits is None:
        raise SpecError(
            f"{accelerator.name}: states no width of its operands; give arithmetic, as in "
            'Arithmetic(operand="fp16", accumulator="fp32")'
        )
    return Arithmetic(
        operand=f"int{accelerator.operand_bits}",
        accumulator=f"int{accelerator.acc_bits or 2 * accelerator.operand_bits}",
    )


def _cores(site: _Site, arithmetic: Arithmetic) -> list[Component]:
    accelerator = site.accelerator
    count = accelerator.mac_instances
    units = count * math.ceil(accelerator.macs_per_cycle)
    parts = [mac_units(units, arithmetic, node_nm=site.node_nm, clocked=site.clocked, low_power=site.low_power)]
    bits = sum(passing_bits(accelerator).values())
    if bits:
        registers = pipeline_registers(
            count, bits, node_nm=site.node_nm, clocked=site.clocked, device=site.device,
            temperature_k=site.temperature_k, law=site.law,
        )  # fmt: skip
        parts.append(registers)
    return parts


def _buffer(site: _Site, level: BufferLevel, organisation: Organisation | None) -> Buffer:
    assert level.capacity_words is not None
    word = level.word_bits / 8
    copies = 2 if level.buffering == "shadow" and level.capacity_words == 1 else 1  # a word cannot be replaced in use
    return build_buffer(
        level,
        site.accelerator.clock_hz * site.clocked.scale,
        site.clocked,
        capacity_bytes=copies * level.capacity_words * word * site.capacity.get(level.name, 1.0),
        bytes_per_cycle=ports_of(level, word),
        bandwidth_scale=site.bandwidth.get(level.name, 1.0),
        node_nm=site.node_nm, device=site.device, temperature_k=site.temperature_k, organisation=organisation,
        law=site.law,
    )  # fmt: skip


def _level_component(site: _Site, level: BufferLevel, buffer: Buffer) -> Component:
    found = buffer.macro.estimates()
    instances = site.accelerator.instances(site.accelerator.level_index(level.name))
    count = instances * buffer.memories
    return Component(
        name=level.name,
        count=instances,
        area_mm2=product(found["area_mm2"], count, formula=f"{count} of them"),
        static_w=product(found["leakage_w"], site.clocked.leakage, count, formula=f"{count} of them"),
        energy_j={
            event: product(
                found[f"{event}_j"], site.clocked.energy, 1 / buffer.words_per_row, formula="a word of a row"
            )
            for event in ("read", "write")
        },
    )


def _dram_bytes_per_s(site: _Site) -> Num:
    level = site.accelerator.levels[0]
    if level.read_words_per_cycle is None:
        raise SpecError(f"{site.accelerator.name}: {level.name} states no bandwidth; its interface has no price")
    nominal = level.read_words_per_cycle * level.word_bits / 8 * site.accelerator.clock_hz
    return nominal * site.bandwidth.get(level.name, 1.0)


def _grown(site: _Site, cores: Sequence[Component], buffers: Mapping[str, Buffer]) -> list[Num]:
    """Give the area of one instance of each level with all that is inside it, outermost first, and of one MAC [mm2]."""
    area: Num = sum((part.area_mm2.value for part in cores), 0.0) / site.accelerator.mac_instances
    grown: list[Num] = [area]
    for level in reversed(site.accelerator.levels):
        area = area * level.fan_out
        if level.name in buffers:
            area = area + buffers[level.name].memories * buffers[level.name].macro.area_mm2
        grown.append(area)
    return grown[::-1]
