"""Devices in `dse energy`: the bill of a spatial accelerator, the memory levels of a GPU or CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dse.cli import inputs
from dse.cli.energy_items import KINDS, Given, Looked
from dse.cli.energy_options import typed
from dse.cli.energy_output import number
from dse.cli.output import console, print_table
from dse.numbers import si
from workloads.errors import SpecError

if TYPE_CHECKING:
    from hwmodels import Accelerator, RooflineDevice
    from hwmodels.energy import Bill, Component

__all__ = ["ACCELERATOR_OPTIONS", "bill_of", "look_up_device", "print_bill"]

ACCELERATOR_OPTIONS = ("node", "device", "temperature", "law", "dram", "clock-scale", "capacity", "bandwidth")
"""Options that move the bill of a spatial accelerator; a GPU or CPU has none."""


def look_up_device(name: str, given: Given) -> tuple[Looked, Bill | None]:
    """Price a device.

    Args:
        name: A name, an alias, or a TOML file.
        given: Options.

    Returns:
        Its figures; for a spatial accelerator its bill too.

    Raises:
        SpecError: No such device, or no price.
    """
    import hwmodels

    try:
        device: RooflineDevice | Accelerator = hwmodels.load(name)
    except SpecError as error:
        raise SpecError(f"{error}; figures go by kind: {', '.join(kind.example for kind in KINDS.values())}") from None
    if not isinstance(device, hwmodels.Accelerator):
        return _levels(device), None
    with typed(name):
        bill = bill_of(device, given)
    return Looked(name, f"{bill.node_nm:g} nm {bill.device}", bill.estimates(), _details(bill)), bill


def bill_of(device: Accelerator, given: Given) -> Bill:
    """Price a spatial accelerator with its knobs turned as given."""
    from hwmodels.energy import price

    turned: dict[str, Any] = {
        "node_nm": None if given.node is None else given.node_nm,
        "device": given.device,
        "dram": given.dram,
        "capacity": inputs.parse_expected(given.capacity or (), "--capacity"),
        "bandwidth": inputs.parse_expected(given.bandwidth or (), "--bandwidth"),
    }
    if given.temperature is not None:
        turned["temperature_k"] = given.temperature
    return price(device, **turned, **given.of("clock_scale", "law"))


def _levels(device: RooflineDevice) -> Looked:
    from hwmodels.energy import level_energies, peak_power

    figures = {name: one for level in level_energies(device) for name, one in level.estimates().items()}
    power = peak_power(device)
    figures |= {f"{name} at peak" if name != "static" else name: one for name, one in power.estimates().items()}
    return Looked(device.name, f"{power.format}, TDP {si(power.tdp_w, 'W')}", figures, {"tdp_w": power.tdp_w})


def _details(bill: Bill) -> dict[str, Any]:
    return {
        "accelerator": bill.accelerator,
        "node_nm": float(bill.node_nm),
        "device": bill.device,
        "clock_hz": float(bill.clock_hz),
        "supply_v": float(bill.supply_v),
        "components": [
            {name: float(cell) if isinstance(cell, float | np.generic) else cell for name, cell in row.items()}
            for row in bill.rows()
        ],
        "not_counted": list(bill.not_counted),
    }


def _share(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if float(whole) else 0.0


def print_bill(bill: Bill) -> None:
    """Print what every component of an accelerator takes, and the sums with their bands."""
    out = console()
    title = (
        f"{bill.accelerator} at {bill.node_nm:g} nm {bill.device}: {si(float(bill.clock_hz), 'Hz')} "
        f"at {float(bill.supply_v):.3g} V, modelled"
    )
    rows = [_row(part, bill) for part in bill.components]
    header = ["component", "count", "area", "share", "leakage", "share", "energy of"]
    print_table(header, rows, left=(0, 6), cut=(), cut_end=(0,), title=title)
    out.print()
    sums = [
        [name, *(number(float(end), one.unit) for end in (one.value, one.low, one.high)), one.origin]
        for name, one in (("area", bill.area_mm2), ("leakage", bill.static_w), ("a MAC, with its hops", bill.mac_j))
    ]
    print_table(["all together", "value", "low", "high", "origin"], sums, left=(0, 4))
    out.print()
    out.print(f"not counted: {', '.join(bill.not_counted)}", soft_wrap=True)


def _row(part: Component, bill: Bill) -> list[str]:
    events = [f"{name} {number(float(one.value), one.unit)}" for name, one in part.energy_j.items()]
    return [
        part.name,
        f"{part.count}",
        number(float(part.area_mm2.value), "mm2"),
        f"{_share(part.area_mm2.value, bill.area_mm2.value):.1%}",
        si(float(part.static_w.value), "W"),
        f"{_share(part.static_w.value, bill.static_w.value):.1%}",
        "\n".join(events) or "-",
    ]
