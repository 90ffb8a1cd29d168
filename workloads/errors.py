"""The exception tree: one sentence per class, every message names the fault, the place and the mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "DseError",
    "MappingError",
    "MeasureError",
    "SpaceError",
    "SpecError",
    "StoreError",
    "TaskError",
    "TechniqueError",
    "WorkloadError",
    "nearest",
]


class DseError(Exception):
    """Base of every error that this project raises for a user's mistake or an unusable input."""


class WorkloadError(DseError):
    """A model file, graph or dimension cannot be turned into a workload."""


class SpecError(DseError):
    """A device description is missing, malformed, without a source, or unknown."""


class MappingError(DseError):
    """An operator does not fit on an accelerator, or a mapping is not valid for it."""


class SpaceError(DseError):
    """A design space, objective or constraint is not usable."""


class StoreError(DseError):
    """A run directory cannot be written, read or resumed."""


class MeasureError(DseError):
    """A real kernel or model could not be run or timed."""


class TechniqueError(DseError):
    """A compression technique does not apply to this model, or its parameters are out of range."""


class TaskError(DseError):
    """A task, its data or its model cannot be loaded or scored."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known names look like a misspelt one.

    Example:
        >>> nearest("h100", ["h100-sxm", "t4"])
        'nearest: h100-sxm; known: h100-sxm, t4'
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    listed = f"known: {', '.join(names) if names else '(none)'}"
    return f"nearest: {', '.join(close)}; {listed}" if close else listed
