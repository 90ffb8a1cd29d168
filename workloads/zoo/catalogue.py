"""Published architectures by name: their configurations, where those are stated, and their parameter counts."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from workloads.errors import WorkloadError, nearest

__all__ = ["Published", "published", "published_names"]

LISTING = "`dse zoo` lists them"

_FOLDER = Path(__file__).parent / "published"


@dataclass(frozen=True, slots=True)
class Published:
    """One published architecture.

    Attributes:
        name: What users call it.
        config: As in a Hugging Face config.json.
        parameters: Published number of parameters.
        counted: What that number includes, where it is not every parameter of the model.
        counted_with: Fields of the configuration that the number was counted with, where they differ: a head on top.
        source: Where configuration and number are stated.
    """

    name: str
    config: Mapping[str, Any]
    parameters: float
    counted: str
    counted_with: Mapping[str, Any]
    source: str


@cache
def _all() -> dict[str, Published]:
    """Read every table once; they do not change while a process runs."""
    found: dict[str, Published] = {}
    for path in sorted(_FOLDER.glob("*.toml")):
        for name, entry in tomllib.loads(path.read_text(encoding="utf-8")).items():
            found[name] = Published(
                name=name,
                config=entry["config"] | dict.fromkeys(entry.get("null", ())),  # TOML has no null
                parameters=float(entry["parameters"]),
                counted=entry.get("counted", ""),
                counted_with=entry.get("counted_with", {}),
                source=entry["source"],
            )
    return found


def published_names() -> tuple[str, ...]:
    """List the names, sorted."""
    return tuple(sorted(_all()))


def published(name: str) -> Published:
    """Look an architecture up.

    Raises:
        WorkloadError: No such name.

    Example:
        >>> published("llama-2-7b").config["num_hidden_layers"]
        32
    """
    known = _all()
    if name not in known:
        raise WorkloadError(f"no published architecture {name!r}; {nearest(str(name), known, LISTING)}")
    return known[name]
