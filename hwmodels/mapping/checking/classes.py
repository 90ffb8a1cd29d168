"""All classes of mappings with perfect factors: bypass, spatial vectors, tiles level by level, innermost loops.

Ways to spread loops over mesh axes that come to the same factors below every level move the same words; they differ in
how long the array fills and, where neighbours pass words on, in which axes do. Bounds take the best of them, and
`Spread.ways` keeps one of each kind for the cost model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.checking.settings import Classes, Ints, Setting
from hwmodels.mapping.problem import Problem
from hwmodels.spatial import Accelerator, BufferLevel, Role

__all__ = ["Spread", "bypass_patterns", "inwards", "spreads"]

Way = tuple[tuple[str, str, int], ...]
"""Spatial loops below one level: (axis, dim, factor)."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A spatial vector.

    Attributes:
        factors: Of each dim below each level.
        ways: Loops of all levels that come to that, with the sum over axes of (instances - 1).
    """

    factors: tuple[tuple[int, ...], ...]
    ways: tuple[tuple[tuple[Way, ...], int], ...]

    @property
    def fill(self) -> int:
        """Least sum over mesh axes of (instances - 1)."""
        return min(fill for _, fill in self.ways)


def bypass_patterns(accelerator: Accelerator, relaxed: bool) -> list[tuple[tuple[Role, ...], ...]]:
    """List all choices of what each level keeps; the outermost keeps everything.

    Args:
        accelerator: Whose levels.
        relaxed: Whatever a level keeps may go past it.

    Example:
        >>> from hwmodels.spatial import ROLES
        >>> levels = (
        ...     BufferLevel(name="DRAM", keeps=ROLES, capacity_words=None, word_bits=8),
        ...     BufferLevel(name="Buffer", keeps=("W", "I"), capacity_words=12, word_bits=8, bypass=("I",)),
        ... )
        >>> bypass_patterns(Accelerator(name="toy", levels=levels, mac_j=0.0), relaxed=False)
        [(('W', 'I', 'O'), ('W',)), (('W', 'I', 'O'), ('W', 'I'))]
    """
    choices: list[list[tuple[Role, ...]]] = [[accelerator.levels[0].keeps]]
    for level in accelerator.levels[1:]:
        may = level.keeps if relaxed or level.bypass is None else level.bypass
        sets = itertools.product(*[(False, True) if role in may else (True,) for role in level.keeps])
        choices.append([tuple(itertools.compress(level.keeps, kept)) for kept in sets])
    return list(itertools.product(*choices))


def spreads(problem: Problem, accelerator: Accelerator, relaxed: bool) -> list[Spread]:
    """List all spatial vectors with perfect factors of the dims longer than 1.

    Args:
        problem: The operator.
        accelerator: Its mesh axes.
        relaxed: Any dim may lie on any axis, whatever its wires carry.
    """
    names = tuple(dim for dim, size in problem.sizes.items() if size > 1) or tuple(problem.sizes)[:1]
    sizes = tuple(problem.sizes[dim] for dim in names)
    options = [_below(problem, level, names, sizes, relaxed) for level in accelerator.levels]
    found = []
    for factors in itertools.product(*options):
        if any(size % math.prod(column) for size, column in zip(sizes, zip(*factors, strict=True), strict=True)):
            continue
        kinds = itertools.product(*[options[place][mine].values() for place, mine in enumerate(factors)])
        ways = [(tuple(way for way, _ in kind), sum(fill for _, fill in kind)) for kind in kinds]
        found.append(Spread(factors, tuple(ways)))
    return found


def _below(
    problem: Problem, level: BufferLevel, names: tuple[str, ...], sizes: tuple[int, ...], relaxed: bool
) -> dict[tuple[int, ...], dict[bool, tuple[Way, int]]]:
    """Give what can be spread below a level: factors to whether windows are passed on, to a way with the least fill."""
    shared = {dim for window in problem.operands["I"].windows for dim in window.dims}
    found: dict[tuple[int, ...], dict[bool, tuple[Way, int]]] = {(1,) * len(names): {True: ((), 0)}}
    for axis in level.mesh:
        allowed = [relaxed or axis.allows(dim, problem.indexes(dim)) for dim in names]
        choices = [
            [factor for factor in range(1, (axis.size if may else 1) + 1) if size % factor == 0]
            for size, may in zip(sizes, allowed, strict=True)
        ]
        along = list(_within(choices, axis.size))
        grown: dict[tuple[int, ...], dict[bool, tuple[Way, int]]] = {}
        for factors, kinds in found.items():
            for way in along:
                both = tuple(map(math.prod, zip(factors, way, strict=True)))
                if any(size % factor for size, factor in zip(sizes, both, strict=True)):
                    continue
                loops = tuple((axis.name, dim, factor) for dim, factor in zip(names, way, strict=True) if factor > 1)
                passing = "I" in axis.forwards or not shared & {dim for _, dim, _ in loops}
                mine = grown.setdefault(both, {})
                for forwards, (before, fill) in kinds.items():
                    total = fill + math.prod(way) - 1
                    key = forwards and passing
                    if key not in mine or total < mine[key][1]:
                        mine[key] = ((*before, *loops), total)
        found = grown
    return found


def _within(choices: list[list[int]], most: int) -> Iterator[tuple[int, ...]]:
    """List the choices of one factor each whose product is at most so much."""
    if not choices:
        yield ()
        return
    for factor in choices[0]:
        if factor > most:
            break
        for rest in _within(choices[1:], most // factor):
            yield (factor, *rest)


def inwards(setting: Setting, classes: Classes) -> Iterator[Classes]:
    """Decide one more tile of some classes, and the innermost loop above it: all ways to.

    Args:
        setting: Their bypass pattern.
        classes: All decided to the same level.

    Yields:
        Classes by what their tiles can hand inwards.
    """
    level = classes.tiles.shape[1] - 1
    below = setting.factors[:, level + 1 :].prod(axis=1)[classes.vector]
    rest = classes.tiles[:, -1] // (setting.factors[classes.vector, level] * below)
    unique, back = np.unique(rest, axis=0, return_inverse=True)
    order = np.argsort(back.reshape(-1), kind="stable")
    pieces = np.split(order, np.cumsum(np.bincount(back.reshape(-1)))[:-1])
    for sizes, rows in zip(unique, pieces, strict=True):
        inner = np.array(list(itertools.product(*[_divisors(int(size)) for size in sizes])), dtype=np.int64)
        part = classes.take(np.repeat(rows, len(inner)))
        tiles = np.tile(inner, (len(rows), 1)) * np.repeat(below[rows], len(inner), axis=0)
        active = np.tile(inner < sizes, (len(rows), 1))
        yield from _with_innermost(setting, part, np.concatenate([part.tiles, tiles[:, None]], axis=1), active)


def _with_innermost(setting: Setting, classes: Classes, tiles: Ints, active: NDArray[np.bool_]) -> Iterator[Classes]:
    """Tell apart which loop is innermost at the level whose loops have just been decided."""
    none = np.full(len(classes), -1, dtype=np.int64)
    if classes.tiles.shape[1] - 1 >= setting.ordered:
        yield Classes(classes.vector, tiles, np.column_stack([classes.inner, none]))
        return
    still: NDArray[np.bool_] = np.asarray(~active.any(axis=1))
    whole = Classes(classes.vector, tiles, np.column_stack([classes.inner, none]))
    if still.any():
        yield whole.take(still)
    for number, group in enumerate(setting.groups):
        rows: NDArray[np.bool_] = np.asarray(active[:, group].any(axis=1))
        if rows.any():
            part = whole.take(rows)
            part.inner[:, -1] = number
            yield part


@lru_cache(maxsize=4096)
def _divisors(size: int) -> tuple[int, ...]:
    return tuple(divisor for divisor in range(1, size + 1) if size % divisor == 0)
