"""A mapping: which loops run at which level, in which order, in what steps; and a batch of mappings of one structure.

Interface. A loop walks the piece of its dim that it is handed in pieces of `step`: the last piece may be smaller
(edge tiles). The outermost loop of a dim is handed the whole dim; every inner loop one piece of the next outer loop
of that dim, be it temporal or spatial. The innermost loop of every dim longer than 1 has step 1. So a dim of 49 in
steps of 16 and then 1 is 3 pieces of 16 and one of 1. With perfect factors a loop's trip count is (outer step) /
step.

The loops of a level run above the tiles that the *next* level holds: a level's own tile is what all loops at and
below the level touch. Spatial loops of a level are inside its temporal loops.

A batch (`MappingBatch`) shares one `Structure` (which loops, in which order, what is kept) and holds an array of
steps of shape (n_mappings, n_loops): `evaluate` works on all its rows at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as MappingABC
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodels.spatial import Role
from workloads.errors import MappingError

__all__ = ["LevelMapping", "Loop", "Mapping", "MappingBatch", "Slot", "Structure", "from_factors"]


@dataclass(frozen=True, slots=True)
class Loop:
    """One loop.

    Attributes:
        dim: What it walks.
        step: Size of the pieces that it hands inwards; the last may be smaller.
        axis: Mesh axis that it is spread over; "": temporal.
    """

    dim: str
    step: int
    axis: str = ""


@dataclass(frozen=True, slots=True)
class LevelMapping:
    """The loops of one level.

    Attributes:
        level: Name.
        keeps: Roles that it holds; the others bypass it.
        temporal: Outermost first.
        spatial: Loops between this level and the next inner one, outermost first; each names its axis.
    """

    level: str
    keeps: tuple[Role, ...]
    temporal: tuple[Loop, ...] = ()
    spatial: tuple[Loop, ...] = ()


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping of one operator on one accelerator: one entry per level, outermost first."""

    levels: tuple[LevelMapping, ...]

    def loops(self) -> tuple[Loop, ...]:
        """Give all loops, outermost first."""
        return tuple(loop for level in self.levels for loop in (*level.temporal, *level.spatial))

    def structure(self) -> Structure:
        """Give the mapping without its numbers."""
        slots = tuple(
            Slot(place, loop.dim, loop.axis)
            for place, level in enumerate(self.levels)
            for loop in (*level.temporal, *level.spatial)
        )
        return Structure(
            tuple(entry.level for entry in self.levels), tuple(entry.keeps for entry in self.levels), slots
        )

    def batch(self) -> MappingBatch:
        """Give a batch of this one mapping."""
        steps = np.array([[loop.step for loop in self.loops()]], dtype=np.int64)
        return MappingBatch(self.structure(), steps)


@dataclass(frozen=True, slots=True)
class Slot:
    """A loop without its step.

    Attributes:
        level: Place of its level, outermost 0.
        dim: What it walks.
        axis: Mesh axis; "": temporal.
    """

    level: int
    dim: str
    axis: str = ""


@dataclass(frozen=True, slots=True)
class Structure:
    """What the mappings of a batch share.

    Attributes:
        levels: Names, outermost first.
        keeps: Roles that each level holds.
        slots: All loops, outermost first: per level the temporal ones, then the spatial ones.
    """

    levels: tuple[str, ...]
    keeps: tuple[tuple[Role, ...], ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True, eq=False)
class MappingBatch:
    """Mappings of one structure.

    Attributes:
        structure: Loops, order, kept tensors.
        steps: Shape (n_mappings, n_loops), integers: the step of each slot.
    """

    structure: Structure
    steps: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.steps)

    def mapping(self, row: int) -> Mapping:
        """Give one row as a mapping.

        Example:
            >>> levels = (LevelMapping("DRAM", ("W", "I", "O"), (Loop("m", 4), Loop("m", 1))),)
            >>> Mapping(levels).batch().mapping(0) == Mapping(levels)
            True
        """
        levels = []
        for place, (name, keeps) in enumerate(zip(self.structure.levels, self.structure.keeps, strict=True)):
            loops = [
                Loop(slot.dim, int(step), slot.axis)
                for slot, step in zip(self.structure.slots, self.steps[row], strict=True)
                if slot.level == place
            ]
            temporal = tuple(loop for loop in loops if not loop.axis)
            levels.append(LevelMapping(name, keeps, temporal, tuple(loop for loop in loops if loop.axis)))
        return Mapping(tuple(levels))


Factors = Iterable[tuple[str, int]]


def from_factors(
    levels: Iterable[tuple[str, tuple[Role, ...], Factors, MappingABC[str, Factors]]], sizes: MappingABC[str, Any]
) -> Mapping:
    """Build a mapping from trip counts: a loop's step is the product of the factors of its dim inside it.

    Args:
        levels: Outermost first: name, kept roles, temporal (dim, factor) outermost first, spatial (dim, factor) by
            axis.
        sizes: Size of each dim.

    Raises:
        MappingError: The factors of a dim do not multiply to at least its size.

    Example:
        >>> nest = [("DRAM", ("W", "I", "O"), [("m", 4)], {}), ("Buffer", ("W", "I", "O"), [("m", 2)], {})]
        >>> [loop.step for loop in from_factors(nest, {"m": 7}).loops()]
        [2, 1]
    """
    entries = [
        (name, keeps, list(temporal), [(axis, dim, factor) for axis, pairs in spatial.items() for dim, factor in pairs])
        for name, keeps, temporal, spatial in levels
    ]
    inside = dict.fromkeys(sizes, 1)
    built: list[LevelMapping] = []
    for name, keeps, temporal, spatial in reversed(entries):
        inner = [_loop(dim, factor, axis, inside) for axis, dim, factor in reversed(spatial)]
        outer = [_loop(dim, factor, "", inside) for dim, factor in reversed(temporal)]
        built.append(LevelMapping(name, keeps, tuple(reversed(outer)), tuple(reversed(inner))))
    short = {dim: reached for dim, reached in inside.items() if reached < sizes[dim]}
    if short:
        dim = next(iter(short))
        raise MappingError(
            f"the factors of dim {dim!r} multiply to {short[dim]}, but it has {sizes[dim]}; cover it all"
        )
    return Mapping(tuple(reversed(built)))


def _loop(dim: str, factor: int, axis: str, inside: dict[str, int]) -> Loop:
    if dim not in inside:
        raise MappingError(f"the operator has no dim {dim!r}; it has {', '.join(inside)}")
    if factor < 1:
        raise MappingError(f"factor {factor} of dim {dim!r} is not a positive whole number")
    loop = Loop(dim, inside[dim], axis)
    inside[dim] *= factor
    return loop
