"""Mappings as Gemmini's runtime picks them: output tiles as large as half the accumulator, the reduction innermost.

Nothing is searched, so the reuse of the operands follows the accumulator alone: what a larger scratchpad holds is read
again for the next output tile all the same. The runtime keeps the rows' operand between output tiles only where all of
it is at most two tiles; elsewhere it reads a tile again even if it is still there. A loop nest would reuse it, so there
the depth is cut in two: the same steps, and the traffic of the runtime.

Source: ucb-bar/gemmini-rocc-tests, include/gemmini.h, tiled_matmul_auto and tiled_matmul_outer (weight-stationary,
double-buffered; a_reuse).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hwmodels.mapping.problem import Problem, problem_on
from hwmodels.mapping.records import LevelMapping, Loop, Mapping
from hwmodels.spatial import ROLES, Accelerator, BufferLevel, Role
from workloads.errors import MappingError
from workloads.operator import Operator

__all__ = ["runtime_mapping", "runtime_tiles"]

MOST_KEPT = 2
"""Tiles of an operand that the runtime keeps from one output tile to the next, if it has no more."""


@dataclass(frozen=True, slots=True)
class _Machine:
    """A weight-stationary array of Gemmini's make.

    Attributes:
        scratchpad: Level of both operands.
        accumulator: Level of the sums, above the array.
        side: Rows and columns of the array: a block is side x side elements.
    """

    scratchpad: BufferLevel
    accumulator: BufferLevel
    side: int

    @property
    def operand_blocks(self) -> int:
        """Blocks of operands in half the scratchpad: the other half is being filled."""
        assert self.scratchpad.capacity_words is not None
        return self.scratchpad.capacity_words // 2 // self.side**2

    @property
    def sum_blocks(self) -> int:
        """Blocks of sums in half the accumulator."""
        assert self.accumulator.capacity_words is not None
        return self.accumulator.capacity_words // 2 // self.side**2


def runtime_tiles(rows: int, columns: int, depth: int, accelerator: Accelerator) -> tuple[int, int, int]:
    """Give the tile of a matrix product that Gemmini's runtime picks, in elements of its rows, columns and depth.

    It starts from a square of output blocks that fills half the accumulator, as deep as half the scratchpad allows, and
    adds a block to columns, rows and depth in turn while all of it fits.

    Args:
        rows: Of the output.
        columns: Of the output.
        depth: Of the reduction.
        accelerator: Of Gemmini's make.

    Raises:
        MappingError: It is not.

    Example:
        >>> import hwmodels
        >>> runtime_tiles(512, 768, 768, hwmodels.load("gemmini"))
        (80, 80, 768)
    """
    machine = _machine(accelerator)
    most = [math.ceil(size / machine.side) for size in (columns, rows, depth)]
    square = math.isqrt(machine.sum_blocks)
    if not square or machine.operand_blocks < 2 * square:
        raise MappingError(
            f"{accelerator.name}: the runtime's rule finds no tile: half of {machine.accumulator.name} holds {square} "
            f"x {square} blocks of {machine.side} x {machine.side} sums; half of {machine.scratchpad.name} has to hold "
            f"{max(2 * square, 2)} blocks of operands, and holds {machine.operand_blocks}; enlarge it, or search()"
        )
    tile = [min(most[0], square), min(most[1], square), min(most[2], machine.operand_blocks // 2 // square)]
    grew = True
    while grew:
        grew = False
        for place in range(3):
            larger = [blocks + (at == place) for at, blocks in enumerate(tile)]
            if larger[place] <= most[place] and _fits(larger, machine):
                tile, grew = larger, True
    wide, high, deep = (blocks * machine.side for blocks in tile)
    return min(high, rows), min(wide, columns), min(deep, depth)


def _fits(tile: list[int], machine: _Machine) -> bool:
    wide, high, deep = tile
    return (high + wide) * deep <= machine.operand_blocks and high * wide <= machine.sum_blocks


def runtime_mapping(operator: Operator, accelerator: Accelerator) -> Mapping:
    """Map a matrix product as Gemmini's runtime does; batches one by one.

    Args:
        operator: A product of two matrices, or a batch of them.
        accelerator: Of Gemmini's make: outermost memory, scratchpad, accumulator at the array, a weight in each PE.

    Raises:
        MappingError: Another make, or another product.

    Example:
        >>> import hwmodels
        >>> from hwmodels.mapping.cases import gemm_operator
        >>> found = runtime_mapping(gemm_operator("g", {"M": 512, "N": 768, "K": 768}), hwmodels.load("gemmini"))
        >>> [(loop.dim, loop.step) for loop in found.levels[0].temporal]
        [('M', 80), ('N', 80), ('K', 384)]
    """
    machine = _machine(accelerator)
    problem = problem_on(operator, accelerator, accelerator.conventions)
    row, column, deep = (_dim(problem, roles) for roles in (("I", "O"), ("W", "O"), ("W", "I")))
    batches = [dim for dim in problem.sizes if dim not in (row, column, deep)]
    if any(operand.windows for operand in problem.operands.values()):
        raise MappingError(f"{operator.name}: its windows are no matrix product; fold them first")
    sizes = (problem.sizes[row], problem.sizes[column], problem.sizes[deep])
    high, wide, depth = runtime_tiles(*sizes, accelerator)
    if depth == sizes[2] > machine.side and wide < sizes[1] and math.ceil(sizes[0] / high) > MOST_KEPT:
        depth = math.ceil(depth / 2 / machine.side) * machine.side
    outer = [Loop(dim, 1) for dim in batches]
    outer += [Loop(row, high), Loop(column, wide), Loop(deep, depth)]
    inner = (Loop(column, min(machine.side, wide)), Loop(deep, min(machine.side, depth)), Loop(row, 1))
    across, down = (axis.name for axis in machine.accumulator.mesh)
    memory, _, _, register = accelerator.levels
    return Mapping((
        LevelMapping(memory.name, ROLES, tuple(outer)),
        LevelMapping(machine.scratchpad.name, ("W", "I")),
        LevelMapping(machine.accumulator.name, ("O",), inner, (Loop(column, 1, across), Loop(deep, 1, down))),
        LevelMapping(register.name, ("W",)),
    ))  # fmt: skip


def _machine(accelerator: Accelerator) -> _Machine:
    """Take an accelerator apart.

    Raises:
        MappingError: It is not of Gemmini's make.
    """
    levels = accelerator.levels
    keeps = [set(level.keeps) for level in levels]
    alike = keeps == [{"W", "I", "O"}, {"W", "I"}, {"O"}, {"W"}] and not any(
        level.mesh for level in (*levels[:2], levels[3])
    )
    if alike:
        axes = levels[2].mesh
        alike = len(axes) == 2 and axes[0].size == axes[1].size
        alike = alike and set(axes[0].distinct) == {"W", "O"} and set(axes[1].distinct) == {"W", "I"}
    if not alike or levels[1].capacity_words is None or levels[2].capacity_words is None:
        raise MappingError(
            f"{accelerator.name}: Gemmini's runtime maps a square weight-stationary array below a scratchpad of both "
            "operands and an accumulator; map this one with search()"
        )
    return _Machine(levels[1], levels[2], levels[2].mesh[0].size)


def _dim(problem: Problem, roles: tuple[Role, Role]) -> str:
    """Give the one dim that two of the three tensors share.

    Raises:
        MappingError: There are several, or none.
    """
    found = [dim for dim in problem.sizes if problem.indexes(dim) == frozenset(roles)]
    if len(found) != 1:
        raise MappingError(
            f"{problem.name}: {len(found)} dims index {' and '.join(roles)} alone; give a product with one of each"
        )
    return found[0]
