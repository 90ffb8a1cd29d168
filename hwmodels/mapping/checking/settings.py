"""What the checker walks over: the ways of tensors between levels, what a bypass pattern fixes, classes of mappings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.problem import Operand, Problem, Window
from hwmodels.spatial import ROLES, Accelerator, Conventions, Role

__all__ = ["Classes", "Floats", "Flow", "Ints", "Line", "Setting", "setting_of", "tile_elements"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Line:
    """An axis of a tensor that several dims share: index = sum(coefficient x dim).

    Attributes:
        dims: Places of the dims.
        coefficients: Theirs, as positive numbers.
        offset: First index.
        extent: Stored length if indices outside of it are skipped.
        rising: No coefficient is negative.
        used: Elements that are used.
        valid: Share of the combinations of the dims that meet a stored element.
    """

    dims: tuple[int, ...]
    coefficients: tuple[int, ...]
    offset: int
    extent: int | None
    rising: bool
    used: int
    valid: float

    @property
    def plain(self) -> bool:
        """Say whether nothing is skipped and no coefficient is negative: all pieces of one size are alike."""
        return self.extent is None and self.rising

    def span(self, sizes: Ints) -> Ints:
        """Give the length of a contiguous piece, skipped indices included; sizes of its dims (n, line dims)."""
        return np.asarray(1 + ((sizes - 1) * np.array(self.coefficients)).sum(axis=1))

    def box(self, sizes: Ints) -> Ints:
        """Give the length of a contiguous piece; sizes of its dims (n, line dims)."""
        length = self.span(sizes)
        return length if self.extent is None else np.minimum(length, self.extent)

    def elements(self, sizes: Ints) -> Ints:
        """Count the elements of a contiguous piece that are used; sizes of its dims (n, line dims)."""
        if not self.dims or not len(sizes):
            return np.ones(len(sizes), dtype=np.int64)
        code = sizes @ np.cumprod([1, *(int(column.max()) + 1 for column in sizes.T[:-1])])
        _, first, back = np.unique(code, return_index=True, return_inverse=True)
        counts = [_distinct(self.coefficients, tuple(map(int, row))) for row in sizes[first]]
        number: Ints = np.array(counts, dtype=np.int64)[back]
        return number if self.extent is None else np.minimum(number, self.extent)

    def first(self, sizes: Ints, exact: bool) -> Ints:
        """Count the stored elements of the first piece, if all coefficients are positive; sizes (n, line dims)."""
        if self.extent is None:
            return self.elements(sizes) if exact else self.box(sizes)
        if not self.dims or not len(sizes):
            return np.full(len(sizes), self.used, dtype=np.int64)
        unique, back = np.unique(sizes, axis=0, return_inverse=True)
        counts = []
        for row in unique:
            index = self.offset + _reached(self.coefficients, tuple(map(int, row)))
            box = max(min(int(index[-1]), self.extent - 1) - max(self.offset, 0) + 1, 0)
            counts.append(int(((index >= 0) & (index < self.extent)).sum()) if exact else box)
        return np.asarray(np.array(counts, dtype=np.int64)[back.reshape(-1)])


@lru_cache(maxsize=65536)
def _distinct(coefficients: tuple[int, ...], sizes: tuple[int, ...]) -> int:
    return len(_reached(coefficients, sizes))


def _reached(coefficients: tuple[int, ...], sizes: tuple[int, ...]) -> Ints:
    reached = np.zeros(1, dtype=np.int64)
    for coefficient, size in zip(coefficients, sizes, strict=True):
        reached = np.unique(reached[:, None] + coefficient * np.arange(size))
    return reached


@dataclass(frozen=True, slots=True)
class Flow:
    """A tensor's way from a level that keeps it to the next one, or to the MACs.

    Attributes:
        role: W, I, O.
        parent: Place of the outer level.
        child: Place of the inner one; the number of levels: the MACs.
        simple: Places of the dims that index it alone.
        free: Places of the dims that do not index it.
        lines: Axes that dims share.
    """

    role: Role
    parent: int
    child: int
    simple: tuple[int, ...]
    free: tuple[int, ...]
    lines: tuple[Line, ...]

    @property
    def used(self) -> int:
        """Elements that are used along the shared axes."""
        return math.prod(line.used for line in self.lines)


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """What a bypass pattern fixes.

    Attributes:
        problem: The operator.
        accelerator: Where it runs.
        rules: How it is counted.
        keeps: Roles that each level keeps.
        sizes: Of the dims longer than 1.
        names: Of the same.
        flows: All ways between levels.
        groups: Dims that may stand for each other as the innermost loop: those that index the same tensors alone, or
            one dim that shares an axis.
        factors: Spatial vectors, (n_vectors, levels, dims).
        fill: Least sum over mesh axes of (instances - 1); (n_vectors,).
    """

    problem: Problem
    accelerator: Accelerator
    rules: Conventions
    keeps: tuple[tuple[Role, ...], ...]
    sizes: tuple[int, ...]
    names: tuple[str, ...]
    flows: tuple[Flow, ...]
    groups: tuple[tuple[int, ...], ...]
    factors: Ints
    fill: Ints

    @property
    def depth(self) -> int:
        """Number of levels."""
        return len(self.keeps)

    @property
    def ordered(self) -> int:
        """Place of the innermost level that keeps something: orders of loops further in change nothing."""
        return max(place for place, roles in enumerate(self.keeps) if roles)


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """Classes of mappings, one a row.

    Attributes:
        vector: Spatial vector; (n,).
        tiles: Of levels 0 (the whole nest) to the innermost one that is decided; (n, decided + 1, dims).
        inner: Group of the innermost loop longer than 1 of the levels above the last of them, -1: none, or of no
            matter; (n, decided).
    """

    vector: Ints
    tiles: Ints
    inner: Ints

    def __len__(self) -> int:
        return len(self.vector)

    def take(self, rows: NDArray[np.bool_] | Ints | slice) -> Classes:
        """Give some of them."""
        return Classes(self.vector[rows], self.tiles[rows], self.inner[rows])


def setting_of(
    problem: Problem,
    accelerator: Accelerator,
    rules: Conventions,
    keeps: tuple[tuple[Role, ...], ...],
    factors: Ints,
    fill: Ints,
) -> Setting:
    """Give what a bypass pattern fixes."""
    names = tuple(dim for dim, size in problem.sizes.items() if size > 1) or tuple(problem.sizes)[:1]
    flows = tuple(flow for role in ROLES for flow in _flows(problem, role, keeps, names))
    shared = {dim for flow in flows for line in flow.lines for dim in line.dims}
    alike: dict[object, list[int]] = {}
    for place, dim in enumerate(names):
        alike.setdefault(place if place in shared else problem.indexes(dim), []).append(place)
    groups = tuple(map(tuple, alike.values()))
    sizes = tuple(problem.sizes[dim] for dim in names)
    return Setting(problem, accelerator, rules, keeps, sizes, names, flows, groups, factors, fill)


def _flows(problem: Problem, role: Role, keeps: tuple[tuple[Role, ...], ...], names: tuple[str, ...]) -> Iterator[Flow]:
    operand = problem.operands[role]
    kept = [place for place, roles in enumerate(keeps) if role in roles]
    lines = tuple(_line(problem, window, names) for window in operand.windows)
    simple = tuple(place for place, dim in enumerate(names) if dim in operand.dims)
    free = tuple(place for place, dim in enumerate(names) if dim not in operand.indexed)
    for parent, child in itertools.pairwise([*kept, len(keeps)]):
        yield Flow(role, parent, child, simple, free, lines)


def _line(problem: Problem, window: Window, names: tuple[str, ...]) -> Line:
    terms = [(coefficient, names.index(dim)) for coefficient, dim in window.terms if dim in names]
    index = np.full(1, window.offset, dtype=np.int64)
    for coefficient, place in terms:
        index = (index[:, None] + coefficient * np.arange(problem.sizes[names[place]])).reshape(-1)
    stored = np.ones_like(index, dtype=bool) if window.extent is None else (index >= 0) & (index < window.extent)
    return Line(
        dims=tuple(place for _, place in terms),
        coefficients=tuple(abs(coefficient) for coefficient, _ in terms),
        offset=window.offset,
        extent=window.extent,
        rising=all(coefficient > 0 for coefficient, _ in terms),
        used=len(np.unique(index[stored])),
        valid=float(stored.mean()),
    )


def tile_elements(operand: Operand, setting: Setting, tiles: Ints) -> Ints:
    """Count the elements that a tile of a tensor takes room for; (n,)."""
    flow = next(flow for flow in setting.flows if flow.role == operand.role)
    elements: Ints = tiles[:, flow.simple].prod(axis=1)
    for line in flow.lines:
        pieces = tiles[:, line.dims]
        exact = setting.rules.exact_windows or operand.role != "I"
        elements = elements * (line.elements(pieces) if exact else line.box(pieces))
    return elements
