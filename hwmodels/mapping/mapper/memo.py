"""Searches that were done before, in memory and on disk: equal operators on equal accelerators are mapped once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hwmodels.mapping.homes import Resident
from hwmodels.mapping.mapper.goals import Objective
from hwmodels.mapping.mapper.results import Point, Result, Space
from hwmodels.mapping.mapper.search import BUDGET, Factors, search
from hwmodels.mapping.problem import problem_on
from hwmodels.mapping.residency import with_room
from hwmodels.mapping.text import mapping_text, parse_mapping
from hwmodels.mapping.traffic import evaluate
from hwmodels.spatial import Accelerator, Conventions
from workloads.errors import MappingError, StoreError
from workloads.operator import Operator
from workloads.zoo.fetch import cache_folder, write_by_rename

__all__ = ["Memo", "mapping_cache"]

EDITION = 3
"""Of the mapper: raised when it finds other mappings than before."""


def mapping_cache() -> Path:
    """Give the folder for mappings in the user's cache (``DSE_CACHE`` names another one)."""
    return cache_folder() / "mappings"


@dataclass(slots=True)
class Memo:
    """Remembers what searches found.

    Mappings from disk are priced anew by the cost model; a file that does not say what that finds is searched again.

    Attributes:
        folder: Where results are kept across runs; None: in memory only.
        known: Results by what was asked.
        hits: How many searches were spared.
    """

    folder: Path | None = None
    known: dict[Hashable, Result] = field(default_factory=dict)
    hits: int = 0

    def search(
        self,
        operator: Operator,
        accelerator: Accelerator,
        objective: Objective = "edp",
        *,
        conventions: Conventions | None = None,
        factors: Factors = "perfect",
        relaxed: bool = False,
        budget: int = BUDGET,
        resident: Resident | None = None,
    ) -> Result:
        """Give what `search` finds, from memory or disk if it was found before.

        Args:
            operator: As in `search`, like all others.
            accelerator: Where it runs.
            objective: What is looked for.
            conventions: What counts include.
            factors: perfect or imperfect.
            relaxed: Looser spatial rules and bypass.
            budget: For the cost model.
            resident: Levels that tensors lie whole in.

        Raises:
            MappingError: As `search`.
            StoreError: The folder cannot be written.
        """
        rules = accelerator.conventions if conventions is None else conventions
        key = _key(operator, accelerator, objective, rules, factors, relaxed, budget, resident or {})
        found = self.known.get(key)
        if found is None and self.folder is not None:
            found = _read(self.folder / f"{key}.json", operator, accelerator, rules, objective, resident)
        if found is not None:
            self.hits += 1
        else:
            found = search(
                operator, accelerator, objective, conventions=rules, factors=factors, relaxed=relaxed, budget=budget,
                resident=resident,
            )  # fmt: skip
            if self.folder is not None:
                _write(self.folder / f"{key}.json", found)
        self.known[key] = found
        return found


def _key(
    operator: Operator,
    accelerator: Accelerator,
    objective: str,
    rules: Conventions,
    factors: str,
    relaxed: bool,
    budget: int,
    resident: Resident,
) -> str:
    device: dict[str, Any] = asdict(accelerator)
    for name in ("name", "sources", "vendor", "process", "conventions", "organisations", "engines", "absorbs"):
        device.pop(name)
    asked = [
        EDITION,
        repr(operator.signature()),
        device,
        objective,
        asdict(rules),
        factors,
        relaxed,
        budget,
        dict(resident),
    ]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]


def _write(path: Path, result: Result) -> None:
    sizes = result.operator.dims
    data = {
        "objective": result.objective,
        "value": result.value,
        "lower_bound": result.lower_bound,
        "mappings": [mapping_text(point.mapping, sizes) for point in result.points],
        "candidates": result.candidates,
        "bounded": result.bounded,
        "evaluated": result.evaluated,
        "opened": result.opened,
        "space": asdict(result.space),
    }
    try:
        write_by_rename(path, lambda part: part.write_text(json.dumps(data, indent=1), encoding="utf-8"))
    except OSError as error:
        raise StoreError(
            f"{path.parent}: cannot keep mappings there ({error.strerror}); name another folder, or none"
        ) from error


def _read(
    path: Path,
    operator: Operator,
    accelerator: Accelerator,
    rules: Conventions,
    objective: str,
    resident: Resident | None,
) -> Result | None:
    """Give what a file says, if it is whole and the cost model agrees."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["objective"] != objective or not data["mappings"]:
            return None
        problem = problem_on(operator, accelerator, rules, resident)
        device = with_room(problem, accelerator, rules)
        mappings = [parse_mapping(text) for text in data["mappings"]]
        points = tuple(Point(mapping, evaluate(problem, device, mapping, rules, relaxed=True)) for mapping in mappings)
        result = Result(
            operator=operator,
            accelerator=accelerator,
            conventions=rules,
            objective=data["objective"],
            points=points,
            value=float(data["value"]),
            lower_bound=float(data["lower_bound"]),
            candidates=int(data["candidates"]),
            bounded=int(data["bounded"]),
            evaluated=int(data["evaluated"]),
            opened=int(data["opened"]),
            space=Space(**data["space"]),
            resident={} if resident is None else dict(resident),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, MappingError):
        return None
    true = np.isclose(result.objective_at(0), result.value, rtol=1e-9, atol=0.0)
    return result if true and 0.0 <= result.lower_bound <= result.value else None
