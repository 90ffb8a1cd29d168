"""From one technology node to another, and from one supply voltage to another, by laws that have a name.

SRAM, logic, wires and DRAM scale apart, each by several published laws: `LAWS` lists them, `scaling` applies one.
"""

from hwmodels.energy.technology.factors import LAWS, node_range, scaling
from hwmodels.energy.technology.supply import (
    clock_at_voltage,
    clock_range,
    nominal_supply,
    relative_delay,
    relative_energy,
    supply_range,
    voltage_at_clock,
)

__all__ = [
    "LAWS",
    "clock_at_voltage",
    "clock_range",
    "node_range",
    "nominal_supply",
    "relative_delay",
    "relative_energy",
    "scaling",
    "supply_range",
    "voltage_at_clock",
]
