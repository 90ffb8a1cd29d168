"""What rows cost on devices: (n_devices, n_rows) at once, exactly as the cost model says, or a lower bound."""

from __future__ import annotations

import numpy as np

from hwmodels.mapping.fronts.knobs import Devices
from hwmodels.mapping.fronts.rows import Layout, Make
from hwmodels.mapping.timing import Bandwidth, Floats, Loads, cycles_of

__all__ = ["costs", "least_costs", "totals"]

ONE = 1.0 - 1e-12
"""Keeps a sum that is a whole number of cycles but for rounding from being rounded up."""


def costs(make: Make, table: Floats, devices: Devices) -> tuple[Floats, Floats]:
    """Give energy [J] and cycles of rows; (n_devices, n_rows); inf: it does not fit.

    Args:
        make: Of the rows and the devices.
        table: Rows.
        devices: Where they run.
    """
    bandwidths = devices.bandwidths(make.accelerator, make.rules)
    cycles = cycles_of(make.layout.loads(table), bandwidths)
    return _priced(make, table, devices, np.broadcast_to(cycles, (len(devices), len(table))))


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
    nothing = loads.compute * 0.0
    busy = cycles_of(Loads(nothing, loads.overlapped, (), (), nothing), bandwidths)
    waiting = cycles_of(Loads(loads.compute, ({}, {}), loads.stages, (), nothing), bandwidths)
    return np.asarray(np.ceil((np.maximum(busy, waiting * ONE) + loads.fill) * ONE))


def _priced(make: Make, table: Floats, devices: Devices, cycles: Floats) -> tuple[Floats, Floats]:
    place, every = make.layout.place, range(make.layout.levels)
    energy = devices.read_j @ table[:, [place["read", at] for at in every]].T
    energy += devices.write_j @ table[:, [place["write", at] for at in every]].T
    energy += (make.problem.macs * devices.mac_j)[:, None]
    if devices.static_w.any():
        energy += (devices.static_w / devices.clock_hz)[:, None] * cycles
    fits = np.ones(cycles.shape, dtype=bool)
    needs: list[tuple[tuple[str | int, ...], Floats]] = [(("need", at), devices.usable[:, at]) for at in every]
    needs += [(key, devices.shares[:, number]) for number, key in enumerate(k for k in place if k[0] == "share")]
    for key, room in needs:
        need = table[:, place[key]]
        if need.max(initial=0.0) > room.min(initial=np.inf):
            fits &= need[None, :] <= room[:, None]
    return np.where(fits, energy, np.inf), np.where(fits, cycles, np.inf)


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
