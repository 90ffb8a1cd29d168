"""Fronts that were solved before, in memory and on disk, and what stands in for one where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hwmodels.mapping.fronts.knobs import Devices, same_make
from hwmodels.mapping.fronts.lookup import Answer, Front, with_capacity
from hwmodels.mapping.fronts.store import front_key, read_front, write_front
from hwmodels.mapping.mapper.goals import Objective
from hwmodels.mapping.mapper.memo import Memo
from hwmodels.mapping.problem import problem_on
from hwmodels.mapping.records import Mapping
from hwmodels.spatial import Accelerator, Conventions
from workloads.errors import MappingError
from workloads.operator import Operator

__all__ = ["FrontMemo", "Searched", "front"]

CAPACITY = 4.0
"""Times the capacity of the device that a front is solved for unless a caller says otherwise."""


@dataclass(slots=True, eq=False)
class Searched:
    """Answers as a front does, by searching for each device, once: for operators with sliding windows.

    Attributes:
        operator: What is mapped.
        accelerator: One of the make.
        memo: Of the searches.
        found: Mappings, in the order in which they were found.
    """

    operator: Operator
    accelerator: Accelerator
    memo: Memo = field(default_factory=Memo)
    found: list[Mapping] = field(default_factory=list)

    def answer(self, devices: Devices | Sequence[Accelerator], objective: Objective = "edp") -> Answer:
        """Give each device its best mapping, as `Front.answer`."""
        rules = self.accelerator.conventions
        if not isinstance(devices, Devices):
            for one in devices:
                same_make(self.accelerator, one)
            devices = Devices.of(devices, rules)
        n = len(devices)
        energy, cycles, row = np.full(n, np.inf), np.full(n, np.inf), np.full(n, -1)
        for place in range(n):
            try:
                result = self.memo.search(self.operator, devices.accelerator(self.accelerator, place), objective)
            except MappingError:
                continue
            energy[place], cycles[place] = result.cost.energy_j[0], result.cost.cycles[0]
            row[place] = len(self.found)
            self.found.append(result.mapping)
        return Answer(energy, cycles, np.where(row < 0, -1, 0), row)

    def mapping(self, answer: Answer, device: int) -> Mapping:
        """Give the mapping of one device.

        Raises:
            MappingError: Nothing fits.
        """
        if answer.row[device] < 0:
            raise MappingError(f"{self.operator.name}: no mapping fits device {device}; give it more capacity")
        return self.found[int(answer.row[device])]


def front(
    operator: Operator,
    accelerator: Accelerator,
    *,
    capacity: float = CAPACITY,
    conventions: Conventions | None = None,
) -> Front | Searched:
    """Prepare an operator for all devices of an accelerator's make.

    Args:
        operator: A scalar product of two tensors.
        accelerator: One of the make.
        capacity: Most capacity that is asked for, in times that of the accelerator; at every level.
        conventions: What counts include; default: those of the accelerator.

    Raises:
        MappingError: The operator cannot be mapped.

    Example:
        >>> import hwmodels
        >>> from hwmodels.mapping.cases import gemm_operator
        >>> from hwmodels.mapping import narrowed
        >>> gemmini = hwmodels.load("gemmini")
        >>> gemm = narrowed(gemm_operator("g", {"M": 64, "N": 64, "K": 64}), 8)
        >>> found = front(gemm, gemmini).answer([gemmini])
        >>> float(found.cycles[0])
        1378.0
    """
    if conventions is not None:
        accelerator = replace(accelerator, conventions=conventions)
    problem = problem_on(operator, accelerator, accelerator.conventions)
    if any(operand.windows for operand in problem.operands.values()):
        return Searched(operator, accelerator)
    return Front.of(problem, with_capacity(accelerator, capacity))


@dataclass(slots=True)
class FrontMemo:
    """Remembers fronts.

    Attributes:
        folder: Where they are kept across runs; None: in memory only.
        known: By what was asked.
        hits: How many were there already.
    """

    folder: Path | None = None
    known: dict[str, Front | Searched] = field(default_factory=dict)
    hits: int = 0

    def front(self, operator: Operator, accelerator: Accelerator, capacity: float) -> Front | Searched:
        """Give what `front` prepares, as far as it was solved before."""
        key = front_key(operator, with_capacity(accelerator, capacity))
        found = self.known.get(key)
        if found is not None:
            self.hits += 1
            return found
        found = front(operator, accelerator, capacity=capacity)
        if isinstance(found, Searched):
            found.memo.folder = self.folder
        elif self.folder is not None and read_front(self._path(key), found):
            found.stored = found.solved
            self.hits += 1
        self.known[key] = found
        return found

    def keep(self) -> None:
        """Write what was solved since.

        Raises:
            StoreError: The folder cannot be written.
        """
        for key, found in self.known.items():
            if self.folder is None or isinstance(found, Searched) or found.stored == found.solved:
                continue
            write_front(self._path(key), found)
            found.stored = found.solved

    def forget(self) -> None:
        """Write what was solved since, and let the memory go: fronts are read again, or solved, when asked for.

        Raises:
            StoreError: The folder cannot be written.
        """
        self.keep()
        self.known.clear()

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"front-{key}.npz"
