"""One spatial vector of a search, and the tiles that its buffers can hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.mapper.factors import Codes, Floats, Ints, divisors, grid, unary_codes
from hwmodels.mapping.mapper.frames import Frame
from hwmodels.mapping.mapper.linear import Forms
from hwmodels.mapping.mapper.spatial import Unrolled
from hwmodels.mapping.pricing import usable_words
from hwmodels.mapping.windows import first_words, piece_words
from hwmodels.spatial import ROLES
from workloads.errors import MappingError

__all__ = ["Nest", "Tiles", "subset_product"]

Bools = NDArray[np.bool_]


MOST_TILES = 1 << 20
"""Of one level: they are held as arrays, 100 bytes a tile."""


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tiles of one level, without the spatial part: one array per dim, and the code of `unary_codes`.

    Attributes:
        values: Of each dim, shape (n,).
        code: Shape (n,).
        index: Of each dim, the place among the divisors of its bound; (n,).
    """

    values: tuple[Floats, ...]
    code: Codes
    index: tuple[Ints, ...]

    def __len__(self) -> int:
        return len(self.code)

    def take(self, rows: Ints | Bools) -> Tiles:
        """Give some of them."""
        return Tiles(
            tuple(value[rows] for value in self.values), self.code[rows], tuple(place[rows] for place in self.index)
        )


def subset_product(values: Sequence[Floats], dims: Iterable[int]) -> Floats | float:
    """Multiply the values of some dims; 1.0 for none."""
    total: Floats | float = 1.0
    for dim in dims:
        total = values[dim] * total
    return total


@dataclass(frozen=True, eq=False)
class Nest:
    """One spatial vector of a frame.

    Attributes:
        frame: What it belongs to.
        choice: Its place among the spatial vectors.
        bounds: What is left of each dim for temporal loops.
        spans: Spatial factors at and inside each level; (levels + 1, dims).
        forms: Costs of all spatial vectors.
        fill: Cycles in which the array fills and drains.
        passing: As `SpatialChoices.passing`, its row; (1, levels, roles).
        loops: Spatial loops, by level of the device.
    """

    frame: Frame
    choice: int
    bounds: tuple[int, ...]
    spans: Ints
    forms: Forms
    fill: int
    passing: Ints
    loops: tuple[Unrolled, ...]

    @property
    def exact(self) -> bool:
        """Say whether costs in closed form are exact here, not only bounds.

        Windows that are spread at two levels below the one that feeds the MACs are counted as if no temporal loop stood
        between these levels, which is the least that can be.
        """
        frame = self.frame
        factors = self.spans[:-1] // self.spans[1:]
        for operand, dims, role in zip(frame.operands, frame.windowed, ROLES, strict=True):
            last = max(level for level, roles in enumerate(frame.keeps) if role in roles)
            for window in operand.windows:
                places = [place for place in dims if frame.names[place] in window.dims]
                if int((factors[last:, places] > 1).any(axis=1).sum()) > 1:
                    return False
        return frame.exact

    def tiles(self, level: int) -> Tiles:
        """Enumerate the tiles that a level's buffers can hold; of the innermost level, only with loops that it is for.

        Loops of the innermost level that index nothing it keeps may as well run above it: they are left out.
        """
        frame = self.frame
        kept = [ROLES.index(role) for role in frame.keeps[level]]
        useful = frozenset().union(*(frame.indexed[role] for role in kept))
        free = [level < frame.depth - 1 or dim in useful for dim in range(len(self.bounds))]
        columns = [
            np.array(divisors(bound), dtype=np.float64) if here else np.ones(1)
            for bound, here in zip(self.bounds, free, strict=True)
        ]
        count = math.prod(len(column) for column in columns)
        if count > MOST_TILES:
            raise MappingError(
                f"{frame.problem.name}: {count:,} tiles of {frame.accelerator.levels[level].name} with perfect "
                f"factors, at most {MOST_TILES:,} are searched; cut the operator, or choose sizes with fewer divisors"
            )
        codes = [code[: len(column)] for code, column in zip(unary_codes(self.bounds), columns, strict=True)]
        values = grid(columns)
        code = np.bitwise_or.reduce(grid(codes), axis=0)
        index = tuple(grid([np.arange(len(column)) for column in columns]))
        tiles = Tiles(tuple(values), code, index)  # type: ignore[arg-type]
        return tiles.take(np.flatnonzero(self.fits(level, tiles.values)))

    def footprint(self, role: int, level: int, values: Sequence[Floats]) -> Floats | float:
        """Count the elements of a tensor that one copy of a level holds."""
        frame = self.frame
        operand, names, span = frame.operands[role], frame.names, self.spans[level]
        dims = [names.index(dim) for dim in operand.dims]
        words = subset_product(values, dims) * float(np.prod(span[dims]))
        for window in operand.windows:
            sizes = [(values[names.index(dim)] * span[names.index(dim)]).astype(np.int64) for dim in window.dims]
            words = words * piece_words(window, sizes, frame.rules.exact_windows)  # type: ignore[assignment]
        return words

    def least_footprint(self, role: int, level: int, values: Sequence[Floats]) -> Floats | float:
        """Count the elements of a tensor that the work on a tile of a level uses, gaps in its windows left out."""
        operand, names, span = self.frame.operands[role], self.frame.names, self.spans[level]
        dims = [names.index(dim) for dim in operand.dims]
        words = subset_product(values, dims) * float(np.prod(span[dims]))
        for window in operand.windows:
            sizes = [(values[names.index(dim)] * span[names.index(dim)]).astype(np.int64) for dim in window.dims]
            words = words * piece_words(window, sizes, True)  # type: ignore[assignment]
        return words

    def first_footprint(self, role: int, parent: int, values: Sequence[Floats]) -> Floats | float:
        """Bound the elements of a tensor that one copy of a level sends for the first tiles of the next inner level.

        Args:
            role: Place of the tensor.
            parent: The level.
            values: Tiles of the next inner level, without the spatial part.
        """
        operand, names, span = self.frame.operands[role], self.frame.names, self.spans[parent]
        apart = self.spans[0] // span
        dims = [names.index(dim) for dim in operand.dims]
        words = subset_product(values, dims) * float(np.prod(span[dims]))
        for window in operand.windows:
            places = [names.index(dim) for dim in window.dims]
            if window.extent is not None and (apart[places] > 1).any():
                return np.zeros(len(values[0]))  # some copies may begin or end in the padding
            words = words * first_words(window, [(values[at] * span[at]).astype(np.int64) for at in places])  # type: ignore[assignment]
        return words

    def demand(self, level: int, values: Sequence[Floats]) -> list[tuple[int, Floats | float]]:
        """Give the words that each tensor takes in a level: (role, words)."""
        roles = [ROLES.index(role) for role in self.frame.keeps[level]]
        roles = [role for role in roles if self.frame.homes.get(role) != level]
        return [(role, self.footprint(role, level, values) * self.frame.words[level][role]) for role in roles]

    def room(self, role: int, level: int, values: Sequence[Floats]) -> Bools:
        """Say for which tiles a level has room for one tensor, were it alone there."""
        if self.frame.homes.get(role) == level:
            return np.ones(len(values[0]), dtype=bool)
        buffer, rules = self.frame.accelerator.levels[level], self.frame.rules
        most = min(usable_words(buffer, rules), usable_words(buffer, rules, ROLES[role]))
        words = self.footprint(role, level, values) * self.frame.words[level][role]
        return np.broadcast_to(np.asarray(words <= most), len(values[0]))

    def fits(self, level: int, values: Sequence[Floats]) -> Bools:
        """Say which tiles a level's buffers can hold."""
        buffer, rules = self.frame.accelerator.levels[level], self.frame.rules
        total: Floats | float = 0.0
        good = np.ones(len(values[0]), dtype=bool)
        for role, words in self.demand(level, values):
            total = words + total
            if ROLES[role] in buffer.partitions:
                good &= words <= usable_words(buffer, rules, ROLES[role])
        return good & (total <= usable_words(buffer, rules))
