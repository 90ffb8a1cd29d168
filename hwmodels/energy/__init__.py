"""What an access, an operation, a wire and a square millimetre cost, with error bands and sources."""

from hwmodels.energy.caches import CacheMacro, cache
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
from hwmodels.energy.links import known_links, link_energy
from hwmodels.energy.low_swing_wires import LowSwing, low_swing
from hwmodels.energy.noc import Delivery, broadcast_energy, hops, multicast_energy, reduction_energy
from hwmodels.energy.noc_parts import neighbour_energy, pe_pitch, peer_distance, router_energy
from hwmodels.energy.wire_checks import PublishedWire, published_wires
from hwmodels.energy.wires import RANDOM_DATA, wire_area, wire_delay, wire_energy, wire_leakage

__all__ = [
    "RANDOM_DATA",
    "CacheMacro",
    "Delivery",
    "DramDie",
    "DramEnergy",
    "EdramMacro",
    "Estimate",
    "Explained",
    "LowSwing",
    "PublishedWire",
    "StackedDie",
    "broadcast_energy",
    "cache",
    "dram_background_w",
    "dram_deviations",
    "dram_die",
    "dram_energy",
    "dram_interface_energy",
    "edram",
    "explain",
    "hops",
    "known_links",
    "link_energy",
    "low_swing",
    "multicast_energy",
    "neighbour_energy",
    "pe_pitch",
    "peer_distance",
    "published_wires",
    "reduction_energy",
    "router_energy",
    "stacked_dram_die",
    "wire_area",
    "wire_delay",
    "wire_energy",
    "wire_leakage",
]
