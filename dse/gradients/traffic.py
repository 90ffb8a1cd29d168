"""What points move between the levels: the traffic formulas of `mapper.linear` in torch.

A tensor makes its way from a level that keeps it to the next inner one that does, as often as its *multiplier* says:
the product of the steps of all loops above the inner level that do not index it, but for its stationary run. Which
level is the next inner one is a choice too: every pair of levels counts with the weight that both keep the tensor and
none between them does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dse.gradients.relaxation import HALF, Point, Relaxation
from hwmodels.spatial import ROLES

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Moves", "count_moves"]

O = ROLES.index("O")  # noqa: E741


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """Elements and words of a batch of points; lists are by level, outermost first.

    Attributes:
        used: Logarithm of the copies of each level that hold data, and of the MACs last; (n,) each.
        tiles: Logarithm of the elements of each tensor's tile; (n, roles) each, last those of the MACs (one).
        shared: By (parent, child): logarithm of the different tiles that the children of one parent hold; (n, roles).
        pairs: By (parent, child), child = depth being the MACs: weight that a tensor goes that way; (n, roles).
        out: Words read out of each level; (n, roles) each, all copies together.
        into: Words written into each level; likewise.
        scale: By child of the outermost level: words that bursts move per word that is asked for; (n, roles).
        steps: Logarithm of the temporal steps; (n,).
    """

    used: list[Tensor]
    tiles: list[Tensor]
    shared: dict[tuple[int, int], Tensor]
    pairs: dict[tuple[int, int], Tensor]
    out: list[Tensor]
    into: list[Tensor]
    scale: dict[int, Tensor]
    steps: Tensor


def count_moves(relaxation: Relaxation, point: Point, exact: bool) -> Moves:
    """Count what points move.

    Args:
        relaxation: Operator and accelerator.
        point: The points.
        exact: Bursts are whole, as in `evaluate`; else a run is at least one burst.
    """
    import torch

    depth = relaxation.depth
    indexed = torch.tensor(relaxation.indexed, dtype=torch.float64)
    loops = [point.logs[:, :, relaxation.temporal(level)] for level in range(depth)]
    spread = [point.logs[:, :, relaxation.spatial(level)].sum(dim=2) for level in range(depth)]
    above = [torch.zeros_like(loops[0])]
    for level in range(depth):
        above.append(above[-1] + spread[level])
    inside = [torch.zeros_like(loops[0])]
    for level in reversed(range(depth)):
        inside.insert(0, inside[0] + loops[level] + spread[level])
    pieces = inside  # by level: logarithm of the piece of each dim that one copy holds
    steps = torch.stack(loops).sum(dim=0)
    every = _multipliers(relaxation, point, loops)
    every[depth] = torch.exp(steps @ (1.0 - indexed).T)  # MACs have no registers: every step counts
    pairs = _pairs(point.kept, depth)
    scale = _bursts(relaxation, pieces, exact)
    copies = [torch.exp(part @ (1.0 - indexed).T) * torch.tensor(relaxation.elements) for part in above]
    out, into = _words(relaxation, pairs, every, copies, scale)
    return Moves(
        [part.sum(dim=1) for part in above],
        [piece @ indexed.T for piece in pieces],
        {(parent, child): (above[child] - above[parent]) @ indexed.T for parent, child in pairs},
        pairs,
        out,
        into,
        scale,
        steps.sum(dim=1),
    )


def _multipliers(relaxation: Relaxation, point: Point, loops: list[Tensor]) -> dict[int, Tensor]:
    """Give how often each tensor is sent into each level but the outermost; (n, roles) by child."""
    import torch

    depth, orders = relaxation.depth, torch.tensor(relaxation.orders)
    indexed = torch.tensor(relaxation.indexed)
    gates = [torch.clamp(loop / HALF, 0.0, 1.0) for loop in loops]
    still = [torch.where(indexed, 1.0 - gate[:, None, :], 1.0) for gate in gates]  # no loop here changes the tile
    whole = [part.prod(dim=2) for part in still]
    every: dict[int, Tensor] = {}
    for child in range(1, depth):
        total = torch.ones_like(whole[0])
        run = torch.ones_like(whole[0])
        for level in reversed(range(child)):
            total = total * _level_multiplier(loops[level], still[level], run, point.orders[:, level], orders, indexed)
            run = run * whole[level]
        every[child] = total
    return every


def _level_multiplier(
    loops: Tensor, still: Tensor, run: Tensor, weights: Tensor, orders: Tensor, indexed: Tensor
) -> Tensor:
    """Give how often the loops of one level send each tensor, over the orders by weight; (n, roles).

    Args:
        loops: Logarithms of their steps; (n, dims).
        still: Whether a loop leaves the tile as it is; (n, roles, dims).
        run: Whether all loops further in do; (n, roles).
        weights: Of the orders; (n, orders).
        orders: Innermost dim first; (orders, dims).
        indexed: (roles, dims).
    """
    import torch

    left = run[:, :, None].expand(*run.shape, len(orders))
    power = torch.zeros_like(left)
    for position in range(orders.shape[1]):
        dim = orders[:, position]
        power = power + torch.where(indexed[:, dim], 0.0, (1.0 - left) * loops[:, None, dim])
        left = left * still[:, :, dim]
    return (weights[:, None, :] * torch.exp(power)).sum(dim=2)


def _pairs(kept: Tensor, depth: int) -> dict[tuple[int, int], Tensor]:
    """Give the weight that each level hands each tensor to each inner one, or to the MACs; (n, roles)."""
    pairs: dict[tuple[int, int], Tensor] = {}
    for parent in range(depth):
        left = kept[:, parent]
        for child in range(parent + 1, depth):
            pairs[parent, child] = left * kept[:, child]
            left = left * (1.0 - kept[:, child])
        pairs[parent, depth] = left
    return pairs


def _words(
    relaxation: Relaxation,
    pairs: dict[tuple[int, int], Tensor],
    every: dict[int, Tensor],
    copies: list[Tensor],
    scale: dict[int, Tensor],
) -> tuple[list[Tensor], list[Tensor]]:
    """Give the words that leave and enter each level: see `hwmodels.mapping.mapper.linear`."""
    import torch

    depth, words = relaxation.depth, torch.tensor(relaxation.words)
    sums = torch.zeros(len(ROLES), dtype=torch.float64)
    sums[O] = 1.0
    out = [torch.zeros_like(copies[0]) for _ in range(depth)]
    into = [torch.zeros_like(copies[0]) for _ in range(depth)]
    for (parent, child), weight in pairs.items():
        sent = copies[parent] * every[child]
        read, written = (sent - sums * copies[parent]) * words[parent], sums * sent * words[parent]
        if parent == 0:
            written = written + sums * copies[0] * _narrower(relaxation)
            read, written = read * scale[child], written * scale[child]
        out[parent] = out[parent] + weight * read
        into[parent] = into[parent] + weight * written
        if child < depth:
            into[child] = into[child] + weight * copies[child] * (every[child] - sums) * words[child]
    return out, into


def _narrower(relaxation: Relaxation) -> float:
    """Give the words by which a finished output is wider than a partial sum in the outermost level."""
    problem, outermost = relaxation.maker.problem, relaxation.accelerator.levels[0]
    stored = problem.operands["O"].bits / outermost.word_bits
    return stored - float(relaxation.words[0, O]) if relaxation.rules.bit_true else 0.0


def _bursts(relaxation: Relaxation, pieces: list[Tensor], exact: bool) -> dict[int, Tensor]:
    """Give the words that the outermost level moves per word that is asked for, by child; (n, roles)."""
    import torch

    outermost, problem = relaxation.accelerator.levels[0], relaxation.maker.problem
    shape = (len(pieces[0]), len(ROLES))
    burst = outermost.burst_bits if relaxation.rules.bursts else 0
    if not burst:
        return dict.fromkeys(range(1, relaxation.depth + 1), torch.ones(shape, dtype=torch.float64))
    scale = {}
    for child in range(1, relaxation.depth + 1):
        columns = []
        for role in ROLES:
            width = problem.operands[role].bits if relaxation.rules.bit_true else outermost.word_bits
            bits = torch.exp(_run(relaxation, role, pieces[child])) * width
            whole = torch.ceil(bits / burst * (1.0 - 1e-12)) * burst if exact else torch.clamp(bits, min=float(burst))
            columns.append(whole / bits)
        scale[child] = torch.stack(columns, dim=1)
    return scale


def _run(relaxation: Relaxation, role: str, piece: Tensor) -> Tensor:
    """Give the logarithm of the elements of a tile that lie side by side in the outermost level; (n,)."""
    import torch

    dims = relaxation.maker.dims
    run, whole = torch.zeros(len(piece), dtype=torch.float64), torch.ones(len(piece), dtype=torch.float64)
    for entry in reversed(relaxation.maker.problem.operands[role].layout):
        assert isinstance(entry, str)  # `relax` refuses windows
        if entry not in dims:
            continue
        place = dims.index(entry)
        run = run + whole * piece[:, place]
        missing = np.log(relaxation.sizes[place]) - piece[:, place]
        whole = whole * torch.clamp(1.0 - missing / HALF, 0.0, 1.0)
    return run
