"""What an access, an operation, a wire and a square millimetre cost, with error bands and sources."""

from hwmodels.energy.applying import priced
from hwmodels.energy.area import Component, Phy, dram_phy, dram_phys, logic_leakage
from hwmodels.energy.arithmetic import (
    add_area,
    add_energy,
    mac_area,
    mac_energy,
    multiply_area,
    multiply_energy,
)
from hwmodels.energy.arithmetic_checks import LeftOut, leave_one_out
from hwmodels.energy.arithmetic_conversions import (
    dequantize_area,
    dequantize_energy,
    requantize_area,
    requantize_energy,
)
from hwmodels.energy.arithmetic_formats import Number, exact_accumulator, floating, integer
from hwmodels.energy.arithmetic_published import (
    ArithmeticDeviation,
    arithmetic_deviations,
    arithmetic_tables,
    circuit_spread,
)
from hwmodels.energy.bill import Bill
from hwmodels.energy.boards import board_static_power, static_power
from hwmodels.energy.caches import CacheMacro, cache
from hwmodels.energy.clocks import Clocking, clocking
from hwmodels.energy.dram import (
    DramEnergy,
    dram_background_w,
    dram_deviations,
    dram_energy,
    dram_interface_energy,
)
from hwmodels.energy.dram_dies import DramDie, StackedDie, dram_die, stacked_dram_die
from hwmodels.energy.embedded_dram import EdramMacro, edram
from hwmodels.energy.estimate import Estimate, Explained, explain
from hwmodels.energy.gpu import LevelBits, PeakPower, level_energies, operand_delivery, peak_power
from hwmodels.energy.links import known_links, link_energy
from hwmodels.energy.low_swing_wires import LowSwing, low_swing
from hwmodels.energy.noc import Delivery, broadcast_energy, hops, multicast_energy, reduction_energy
from hwmodels.energy.noc_parts import neighbour_energy, pe_pitch, peer_distance, router_energy
from hwmodels.energy.pricing import price
from hwmodels.energy.processing import Arithmetic
from hwmodels.energy.published import PublishedCheck, published_checks
from hwmodels.energy.sram_published import PublishedSram, SramCalibration, published_srams, sram_calibration
from hwmodels.energy.sram_tables import predict_table
from hwmodels.energy.technology import (
    LAWS,
    clock_at_voltage,
    clock_range,
    node_range,
    nominal_supply,
    relative_delay,
    relative_energy,
    scaling,
    supply_range,
    voltage_at_clock,
)
from hwmodels.energy.vector import FUNCTIONS, VectorUnit
from hwmodels.energy.wire_checks import PublishedWire, published_wires
from hwmodels.energy.wires import RANDOM_DATA, wire_area, wire_delay, wire_energy, wire_leakage

__all__ = [
    "FUNCTIONS",
    "LAWS",
    "RANDOM_DATA",
    "Arithmetic",
    "ArithmeticDeviation",
    "Bill",
    "CacheMacro",
    "Clocking",
    "Component",
    "Delivery",
    "DramDie",
    "DramEnergy",
    "EdramMacro",
    "Estimate",
    "Explained",
    "LeftOut",
    "LevelBits",
    "LowSwing",
    "Number",
    "PeakPower",
    "Phy",
    "PublishedCheck",
    "PublishedSram",
    "PublishedWire",
    "SramCalibration",
    "StackedDie",
    "VectorUnit",
    "add_area",
    "add_energy",
    "arithmetic_deviations",
    "arithmetic_tables",
    "board_static_power",
    "broadcast_energy",
    "cache",
    "circuit_spread",
    "clock_at_voltage",
    "clock_range",
    "clocking",
    "dequantize_area",
    "dequantize_energy",
    "dram_background_w",
    "dram_deviations",
    "dram_die",
    "dram_energy",
    "dram_interface_energy",
    "dram_phy",
    "dram_phys",
    "edram",
    "exact_accumulator",
    "explain",
    "floating",
    "hops",
    "integer",
    "known_links",
    "leave_one_out",
    "level_energies",
    "link_energy",
    "logic_leakage",
    "low_swing",
    "mac_area",
    "mac_energy",
    "multicast_energy",
    "multiply_area",
    "multiply_energy",
    "neighbour_energy",
    "node_range",
    "nominal_supply",
    "operand_delivery",
    "pe_pitch",
    "peak_power",
    "peer_distance",
    "predict_table",
    "price",
    "priced",
    "published_checks",
    "published_srams",
    "published_wires",
    "reduction_energy",
    "relative_delay",
    "relative_energy",
    "requantize_area",
    "requantize_energy",
    "router_energy",
    "scaling",
    "sram_calibration",
    "stacked_dram_die",
    "static_power",
    "supply_range",
    "voltage_at_clock",
    "wire_area",
    "wire_delay",
    "wire_energy",
    "wire_leakage",
]
