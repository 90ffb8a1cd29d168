"""Which one to pick: design spaces, sweeps, searches, accuracy, measurements and reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dse.accelerating import AcceleratorModel, accelerator_model
    from dse.model import StandardModel, standard_model
    from dse.pareto import crowding_distance, front_ranks, hypervolume, non_dominated
    from dse.pipeline import Optimized, optimize
    from dse.results import Result
    from dse.running import run
    from dse.space import Knob, Points, Space, choice, grid, log_uniform, per_layer, uniform
    from dse.sweeps import sweep

__all__ = [
    "AcceleratorModel",
    "Knob",
    "Optimized",
    "Points",
    "Result",
    "Space",
    "StandardModel",
    "accelerator_model",
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

_HOME = {
    **dict.fromkeys(("AcceleratorModel", "accelerator_model"), "dse.accelerating"),
    **dict.fromkeys(("StandardModel", "standard_model"), "dse.model"),
    **dict.fromkeys(("crowding_distance", "front_ranks", "hypervolume", "non_dominated"), "dse.pareto"),
    **dict.fromkeys(("Optimized", "optimize"), "dse.pipeline"),
    "Result": "dse.results",
    "run": "dse.running",
    **dict.fromkeys(("Knob", "Points", "Space", "choice", "grid", "log_uniform", "per_layer", "uniform"), "dse.space"),
    "sweep": "dse.sweeps",
}
"""Public name to module. All of them wait until they are asked for, so that the command starts at once: an interrupt is
then handled, however early it comes."""


def __getattr__(name: str) -> Any:
    """Import a public name, or a module of this package, when it is asked for."""
    from importlib import import_module

    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if not name.startswith("_"):
        try:
            return import_module(f"dse.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"dse.{name}":
                raise
    raise AttributeError(f"module 'dse' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names beside what is already loaded."""
    return sorted({*globals(), *__all__})
