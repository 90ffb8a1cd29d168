"""Back ends for those who have CACTI: its outputs read into records, the user's binary run and its results kept."""

from hwmodels.energy.cacti.reading import read_output
from hwmodels.energy.cacti.records import Report, ReportedWire
from hwmodels.energy.cacti.running import cacti_cache, run, run_settings
from hwmodels.energy.cacti.settings import OBJECTIVES, Objective, Settings, input_text

__all__ = [
    "OBJECTIVES",
    "Objective",
    "Report",
    "ReportedWire",
    "Settings",
    "cacti_cache",
    "input_text",
    "read_output",
    "run",
    "run_settings",
]
