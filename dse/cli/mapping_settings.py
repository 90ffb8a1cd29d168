"""What `dse map` was asked for, checked before any work is done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from workloads.errors import MappingError, StoreError, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from hwmodels import Accelerator
    from hwmodels.mapping import Conventions, Result
    from hwmodels.mapping.mapper.goals import Objective
    from hwmodels.mapping.mapper.memo import Memo
    from hwmodels.mapping.mapper.search import Factors
    from workloads.operator import Operator

__all__ = ["MapSettings", "map_settings", "rules_of"]

OBJECTIVES: dict[str, Objective] = {"edp": "edp", "energy": "energy", "latency": "latency", "pareto": "pareto"}
FACTORS: dict[str, Factors] = {"perfect": "perfect", "imperfect": "imperfect"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSettings:
    """How operators are mapped and what becomes of it.

    Attributes:
        accelerator: Where; it counts as was asked for.
        objective: Of each operator.
        factors: perfect, or imperfect: edge tiles too.
        relaxed: Whether unrolling and bypass may do what the device cannot wire.
        remember: Whether mappings of earlier runs are used, and kept for later ones.
        out: Folder for tables, mappings and pictures.
        draw: Mappings to draw: all, none, or an operator's name or block.
        as_json: Whether stdout gets JSON.
    """

    accelerator: Accelerator
    objective: Objective
    factors: Factors
    relaxed: bool
    remember: bool
    out: Path | None
    draw: str
    as_json: bool

    def memo(self) -> Memo:
        """Give a memory of searches, with those of earlier runs if these are used."""
        from hwmodels.mapping.mapper.memo import Memo

        return Memo(_memory() if self.remember else None)

    def finder(self) -> Callable[[Operator], Result]:
        """Give the mapper, which remembers what it found in earlier runs."""
        return partial(
            self.memo().search,
            accelerator=self.accelerator,
            objective=self.objective,
            factors=self.factors,
            relaxed=self.relaxed,
        )


def map_settings(
    device: str | None,
    objective: str,
    *,
    factors: str,
    relaxed: bool,
    remember: bool,
    conventions: str | None,
    out: Path | None,
    draw: str | None,
    as_json: bool,
) -> MapSettings:
    """Check the options of `dse map`.

    Args:
        device: Name or file of a spatial accelerator.
        objective: edp, energy, latency or pareto.
        factors: perfect or imperfect.
        relaxed: As it is.
        remember: As it is.
        conventions: reference or silicon; None: those of the accelerator.
        out: As it is.
        draw: all, none, or an operator; None: what is usual.
        as_json: As it is.

    Raises:
        MappingError: An option has a value that there is not, or needs another one.
        SpecError: There is no such device, or it is none of the kind.
    """
    import hwmodels

    if device is None:
        raise MappingError(f"no device: give --device {' or '.join(hwmodels.accelerators())}, or a TOML file")
    if objective not in OBJECTIVES:
        raise MappingError(f"--objective {objective!r}: unknown; {nearest(objective, OBJECTIVES)}")
    if factors not in FACTORS:
        raise MappingError(f"--factors {factors!r}: unknown; {nearest(factors, FACTORS)}")
    if draw not in (None, "none") and out is None:
        raise MappingError("--draw writes pictures: give a folder for them with --out")
    accelerator = hwmodels.load(device, kind=hwmodels.Accelerator)
    rules = rules_of(conventions)
    return MapSettings(
        accelerator=accelerator if rules is None else replace(accelerator, conventions=rules),
        objective=OBJECTIVES[objective],
        factors=FACTORS[factors],
        relaxed=relaxed,
        remember=remember,
        out=out,
        draw=draw or ("none" if objective == "pareto" else "all"),
        as_json=as_json,
    )


def _memory() -> Path | None:
    """Give the folder of mappings that were found before; None where it cannot be written to: then none are kept."""
    from dse.files import output_folder
    from hwmodels.mapping.mapper.memo import mapping_cache

    try:
        return output_folder(mapping_cache())
    except StoreError:
        return None


def rules_of(conventions: str | None) -> Conventions | None:
    """Give counting conventions by name; None where none is given.

    Raises:
        MappingError: There are none of that name.
    """
    from hwmodels.mapping import REFERENCE, SILICON

    known = {rules.name: rules for rules in (REFERENCE, SILICON)}
    if conventions is not None and conventions not in known:
        raise MappingError(f"--conventions {conventions!r}: unknown; {nearest(conventions, known)}")
    return None if conventions is None else known[conventions]
