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

MANY = 40
"""Names from which a message does not list them all."""


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


def nearest(name: str, known: Iterable[str], listing: str = "") -> str:
    """Say which known names look like a misspelt one, whatever their case, with hyphens or underscores.

    Args:
        name: The misspelt one.
        known: Names; more than `MANY` are not all written out.
        listing: Where many names stand: "`dse zoo` lists them".

    Example:
        >>> nearest("H100_sxn", ["h100-sxm", "t4"])
        'nearest: h100-sxm; known: h100-sxm, t4'
        >>> nearest("name77", [f"name{number}" for number in range(78)], "the table lists them")
        'nearest: name77, name7, name76; 78 are known, the table lists them'
    """
    names = sorted(set(known))
    spelt: dict[str, list[str]] = {}
    for item in names:
        spelt.setdefault(_plain(item), []).append(item)
    matches = difflib.get_close_matches(_plain(str(name)), spelt, n=3, cutoff=0.5)
    close = f"nearest: {', '.join(item for match in matches for item in spelt[match])}; " if matches else ""
    if len(names) <= MANY:
        return f"{close}known: {', '.join(names) or '(none)'}"
    return f"{close}{len(names)} are known, {listing or f'such as {names[0]}, {names[len(names) // 2]}, {names[-1]}'}"


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-")
