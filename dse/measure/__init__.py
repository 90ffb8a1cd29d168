"""Real kernels on this machine: models taken apart and timed operator by operator, the CPU measured as a device."""

from dse.measure.feeds import random_feeds
from dse.measure.local import load_local, local_path, measure_local
from dse.measure.model import Job, measure_model
from dse.measure.per_operator import operators
from dse.measure.timing import Quartiles, Timing, ratio, time_models

__all__ = [
    "Job",
    "Quartiles",
    "Timing",
    "load_local",
    "local_path",
    "measure_local",
    "measure_model",
    "operators",
    "random_feeds",
    "ratio",
    "time_models",
]
