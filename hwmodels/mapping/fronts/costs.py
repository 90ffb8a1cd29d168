"""What rows cost on devices: (n_devices, n_rows) at once, exactly as the cost model says, or a lower bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hwmodels.mapping.fronts.knobs import Devices
from hwmodels.mapping.fronts.rows import Layout, Make
from hwmodels.mapping.timing import ONE, Bandwidth, Floats, Loads, Moved, cycles_of

__all__ = ["costs", "least_costs", "pair_costs", "totals"]


def costs(make: Make, table: Floats, devices: Devices) -> tuple[Floats, Floats]:
    """Give energy [J] and cycles of rows; (n_devices, n_rows); of what does not fit, the energy is inf.

    Args:
        make: Of the rows and the devices.
        table: Rows.
        devices: Where they run.
    """
    bandwidths = devices.bandwidths(make.accelerator, make.rules)
    cycles = cycles_of(make.layout.loads(table), bandwidths)
    return _priced(make, table, devices, np.broadcast_to(cycles, (len(devices), len(table))))


def pair_costs(make: Make, table: Floats, devices: Devices) -> tuple[Floats, Floats]:
    """Give `costs` of one row for each device; (n,) each."""
    bandwidths = tuple(
        replace(level, read=_flat(level.read), write=_flat(level.write))
        for level in devices.bandwidths(make.accelerator, make.rules)
    )
    cycles = cycles_of(make.layout.loads(table), bandwidths)
    place, every = make.layout.place, range(make.layout.levels)
    energy = (devices.read_j * table[:, [place["read", at] for at in every]]).sum(axis=1)
    energy += (devices.write_j * table[:, [place["write", at] for at in every]]).sum(axis=1)
    energy += make.problem.macs * devices.mac_j + devices.static_w / devices.clock_hz * cycles
    fits = np.ones(len(table), dtype=bool)
    for key, room in _rooms(make, devices):
        fits &= table[:, place[key]] <= room
    return np.where(fits, energy, np.inf), np.where(fits, cycles, np.inf)


def _flat(rate: Floats | float | None) -> Floats | None:
    return None if rate is None else np.ravel(rate)


def _rooms(make: Make, devices: Devices) -> list[tuple[tuple[str | int, ...], Floats]]:
    """Give what limits each need: (n_devices,) words."""
    rooms: list[tuple[tuple[str | int, ...], Floats]] = [
        (("need", at), devices.usable[:, at]) for at in range(make.layout.levels)
    ]
    shares = [key for key in make.layout.place if key[0] == "share"]
    return rooms + [(key, devices.shares[:, number]) for number, key in enumerate(shares)]


def least_costs(make: Make, table: Floats, devices: Devices) -> tuple[Floats, Floats]:
    """Give lower bounds of `costs` of all rows that `totals` gives a row for that is at least as large.

    The work before the first step and after the last takes at least as long as any port is busy with it. So no port can
    take longer than all its words need, and the bound rises with all words of a port and with those of the stages.
    """
    bandwidths = devices.bandwidths(make.accelerator, make.rules)
    cycles = _least_cycles(make.layout.loads(table), bandwidths)
    return _priced(make, table, devices, np.broadcast_to(cycles, (len(devices), len(table))))


def _least_cycles(loads: Loads, bandwidths: tuple[Bandwidth, ...]) -> Floats:
    if loads.moves:
        return np.asarray(cycles_of(loads, bandwidths) * ONE)
    whole: Floats = loads.compute * ONE
    for stage in loads.stages:
        whole = whole + _longest(stage, bandwidths, 0.0) * ONE
    floor = float(loads.compute.min(initial=np.inf)) * ONE
    whole = np.maximum(whole, _longest(loads.overlapped, bandwidths, floor))
    whole += loads.fill * ONE
    return np.asarray(np.ceil(whole, out=whole))


def _longest(moved: Moved, bandwidths: tuple[Bandwidth, ...], floor: float) -> Floats:
    """Give the cycles of the slowest port, but for ports that never take longer than `floor`."""
    longest: Floats = np.zeros((1, 1))
    for place, level in enumerate(bandwidths):
        parts = [
            words[place] / rate
            for words, rate in ((moved[0], level.read), (moved[1], level.write))
            if rate is not None and place in words and words[place].max(initial=0.0) / float(np.min(rate)) > floor / 2
        ]
        if level.shared and len(parts) > 1:
            parts = [parts[0] + parts[1]]
        for part in parts:
            longest = np.maximum(longest, part)
    return longest


def _priced(make: Make, table: Floats, devices: Devices, cycles: Floats) -> tuple[Floats, Floats]:
    place, every = make.layout.place, range(make.layout.levels)
    energy = devices.read_j @ table[:, [place["read", at] for at in every]].T
    energy += devices.write_j @ table[:, [place["write", at] for at in every]].T
    energy += (make.problem.macs * devices.mac_j)[:, None]
    if devices.static_w.any():
        energy += (devices.static_w / devices.clock_hz)[:, None] * cycles
    large = np.zeros(cycles.shape, dtype=bool)
    for key, room in _rooms(make, devices):
        need = table[:, place[key]]
        if need.max(initial=0.0) > room.min(initial=np.inf):
            large |= need[None, :] > room[:, None]
    energy[large] = np.inf
    return energy, cycles


def totals(layout: Layout, table: Floats) -> Floats:
    """Give rows for `least_costs`: ports with all their words, those of the stages included.

    Of serial levels nothing is relaxed: bounds are costs.
    """
    if any(layout.serial) or ("last", 0) not in layout.place:
        return table
    whole = table.copy()
    for at in range(layout.levels):
        leading = [layout.place["lead into", parent, at] for parent in range(at)]
        whole[:, layout.place["out", at]] += table[:, layout.place["lead out", at]]
        whole[:, layout.place["into", at]] += table[:, leading].sum(axis=1) + table[:, layout.place["last", at]]
    whole[:, layout.columns("out", "into")] *= ONE
    return whole
