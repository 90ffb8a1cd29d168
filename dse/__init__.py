"""Which one to pick: design spaces, sweeps, searches, accuracy, measurements and reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dse.pareto import crowding_distance, front_ranks, hypervolume, non_dominated
from dse.results import Result
from dse.running import run
from dse.space import Knob, Points, Space, choice, grid, log_uniform, per_layer, uniform
from dse.sweeps import sweep

if TYPE_CHECKING:
    from dse.model import StandardModel, standard_model
    from dse.pipeline import Optimized, optimize

__all__ = [
    "Knob",
    "Optimized",
    "Points",
    "Result",
    "Space",
    "StandardModel",
    "choice",
    "crowding_distance",
    "front_ranks",
    "grid",
    "hypervolume",
    "log_uniform",
    "non_dominated",
    "optimize",
    "per_layer",
    "run",
    "standard_model",
    "sweep",
    "uniform",
]

_LAZY = {
    "Optimized": "dse.pipeline",
    "StandardModel": "dse.model",
    "optimize": "dse.pipeline",
    "standard_model": "dse.model",
}


def __getattr__(name: str) -> Any:
    """Import what needs heavier modules only when it is asked for."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'dse' has no attribute {name!r}")
