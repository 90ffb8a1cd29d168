"""On-chip SRAM: CACTI's macros without CACTI, see `sram`."""

from hwmodels.energy.sram.macro import Macro, sram
from hwmodels.energy.sram.quality import Quality
from hwmodels.energy.sram.stored import DEVICES, OBJECTIVES

__all__ = ["DEVICES", "OBJECTIVES", "Macro", "Quality", "sram"]
