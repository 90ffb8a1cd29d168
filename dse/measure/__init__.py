"""Real kernels on this machine: models and operators timed, the CPU measured as a device."""

from dse.measure.feeds import random_feeds
from dse.measure.local import load_local, local_path, measure_local
from dse.measure.per_operator import operators
from dse.measure.timing import Quartiles, Timing, ratio, time_models

__all__ = [
    "Quartiles",
    "Timing",
    "load_local",
    "local_path",
    "measure_local",
    "operators",
    "random_feeds",
    "ratio",
    "time_models",
]
