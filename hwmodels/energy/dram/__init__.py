"""DRAM: energy of a bit by technology and scope, idle power, interfaces; and how far that is from what is published."""

from hwmodels.energy.dram.access import DramEnergy, bits_per_activation, dram_energy
from hwmodels.energy.dram.background import dram_background_w
from hwmodels.energy.dram.deviations import Deviation, dram_deviations
from hwmodels.energy.dram.interface import dram_interface_energy
from hwmodels.energy.dram.published import SCOPES, scopes_of, technologies

__all__ = [
    "SCOPES",
    "Deviation",
    "DramEnergy",
    "bits_per_activation",
    "dram_background_w",
    "dram_deviations",
    "dram_energy",
    "dram_interface_energy",
    "scopes_of",
    "technologies",
]
