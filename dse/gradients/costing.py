"""Energy, cycles and room of points: `hwmodels.mapping.pricing` and `timing` in torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dse.gradients.relaxation import Hardware, Point, Relaxation
from dse.gradients.traffic import Moves, count_moves
from hwmodels.spatial import ROLES

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Costs", "costs"]

O = ROLES.index("O")  # noqa: E741
WHOLE = 1.0 - 1e-12
"""Keeps a number that is whole but for rounding from being rounded up."""


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """What points cost; (n,) each.

    Attributes:
        energy_j: Of the whole operator [J].
        cycles: Likewise.
        excess: What asks for more than there is: logarithms of demand over room, summed over levels and mesh axes; 0:
            the point fits.
    """

    energy_j: Tensor
    cycles: Tensor
    excess: Tensor

    @property
    def log_edp(self) -> Tensor:
        """Logarithm of energy x cycles."""
        return self.energy_j.log() + self.cycles.log()


def costs(
    relaxation: Relaxation,
    point: Point,
    hardware: Hardware | None = None,
    *,
    blur: float = 0.0,
    exact: bool = False,
) -> Costs:
    """Give what points cost.

    Args:
        relaxation: Operator and accelerator.
        point: The points.
        hardware: Prices and room of the levels; default: the accelerator's.
        blur: Of the maximum over computing and ports: a p-norm, p = 1 / blur; 0: the maximum.
        exact: Cycles and bursts are rounded up: of mappings these are the costs of `evaluate`.

    Example:
        >>> import hwmodels, numpy as np
        >>> from hwmodels.mapping.cases import gemm_operator
        >>> from dse.gradients.relaxation import relax
        >>> found = relax(gemm_operator("g", {"M": 4, "N": 4, "K": 4}), hwmodels.load("gemmini"))
        >>> factors = np.ones((1, 3, len(found.maker.places)), dtype=np.int64)
        >>> factors[:, :, 0] = 4  # everything at the outermost level
        >>> here = costs(found, found.point(factors, np.zeros((1, 4), dtype=np.int64), np.zeros(1, dtype=np.int64)))
        >>> float(here.excess), bool(here.energy_j > 0)
        (0.0, True)
    """
    import torch

    numbers = relaxation.hardware() if hardware is None else hardware
    moves = count_moves(relaxation, point, exact)
    cycles = _cycles(relaxation, point, moves, blur, exact)
    accelerator, problem = relaxation.accelerator, relaxation.maker.problem
    out, into = torch.stack(moves.out, dim=1).sum(dim=2), torch.stack(moves.into, dim=1).sum(dim=2)
    energy = (out * numbers.read_j + into * numbers.write_j).sum(dim=1) + problem.macs * accelerator.mac_j
    extra = _extra_words(relaxation)
    if extra:
        outer = numbers.read_j[..., 0]
        energy = energy + extra * outer
    energy = energy + numbers.static_w / accelerator.clock_hz * cycles
    return Costs(energy, cycles, _excess(relaxation, point, moves, numbers))


def _extra_words(relaxation: Relaxation) -> float:
    """Give the words of further inputs (a bias), read once from the outermost level."""
    problem, outermost = relaxation.maker.problem, relaxation.accelerator.levels[0]
    return problem.extra_bits / outermost.word_bits if relaxation.rules.bit_true else float(problem.extra_values)


def _excess(relaxation: Relaxation, point: Point, moves: Moves, numbers: Hardware) -> Tensor:
    """Sum the logarithms of demand over room, of levels and mesh axes that are asked for more than they have."""
    import torch

    total = torch.zeros_like(moves.steps)
    words = torch.tensor(relaxation.words)
    for place, level in enumerate(relaxation.accelerator.levels):
        taken = torch.exp(moves.tiles[place]) * words[place] * point.kept[:, place]
        if level.capacity_words is not None:
            total = total + torch.relu(torch.log(taken.sum(dim=1) + 1e-300) - numbers.usable[..., place].log() - 1e-9)
        for role in level.partitions:
            room = level.partitions[role] * (numbers.usable[..., place] / _capacity(relaxation, place))
            total = total + torch.relu(torch.log(taken[:, ROLES.index(role)] + 1e-300) - room.log() - 1e-9)
        for at in relaxation.spatial(place):
            size = level.axis(relaxation.maker.places[at][1]).size
            total = total + torch.relu(point.logs[:, :, at].sum(dim=1) - math.log(size) - 1e-9)
    return total


def _capacity(relaxation: Relaxation, place: int) -> float:
    """Give the stated capacity that `Hardware.usable` may be a part of."""
    capacity = relaxation.accelerator.levels[place].capacity_words
    return float(capacity) if capacity is not None else 1.0


Ports = dict[tuple[int, str], "Tensor"]
Round = Callable[["Tensor"], "Tensor"]


def _cycles(relaxation: Relaxation, point: Point, moves: Moves, blur: float, exact: bool) -> Tensor:
    """Give the cycles: the longest of computing and of all ports, and what filling and draining add."""
    import torch

    rounded: Round = (lambda value: torch.ceil(value * WHOLE)) if exact else (lambda value: value)
    copies = [torch.exp(used)[:, None] for used in moves.used[: relaxation.depth]]
    out, into = ([part / each for part, each in zip(parts, copies, strict=True)] for parts in (moves.out, moves.into))
    sums_out, sums_in = [part.sum(dim=1) for part in out], [part.sum(dim=1) for part in into]
    sums_out[0] = sums_out[0] + _extra_words(relaxation)
    ends = torch.zeros_like(moves.steps)
    if relaxation.rules.fill_drain:
        ends, first_out, first_in = _ends(relaxation, moves, rounded)
        ends = ends + _array_cycles(relaxation, point)
        sums_out = [torch.relu(whole - part) for whole, part in zip(sums_out, first_out, strict=True)]
        sums_in = [torch.relu(whole - part) for whole, part in zip(sums_in, first_in, strict=True)]
    compute = torch.exp(moves.steps) / relaxation.accelerator.macs_per_cycle
    ports = _ports(relaxation, sums_out, sums_in, rounded)
    return rounded(_longest([compute, *ports.values()], blur) + ends)


def _longest(parts: list[Tensor], blur: float) -> Tensor:
    import torch

    table = torch.stack(parts, dim=1)
    if not blur:
        return table.max(dim=1).values
    return torch.exp(blur * torch.logsumexp(torch.log(table + 1e-300) / blur, dim=1))


def _ports(relaxation: Relaxation, out: list[Tensor], into: list[Tensor], rounded: Round) -> Ports:
    """Give the cycles of the ports with a finite bandwidth, from the words of one instance; (n,) each."""
    ports: Ports = {}
    for place, level in enumerate(relaxation.accelerator.levels):
        loads: dict[str, Tensor] = {}
        if level.read_words_per_cycle:
            loads["read"] = out[place] / level.read_words_per_cycle
        if level.write_words_per_cycle:
            loads["write"] = into[place] / level.write_words_per_cycle
        if relaxation.rules.shared_ports and level.shared_port and loads:
            loads = {"port": sum(list(loads.values())[1:], start=next(iter(loads.values())))}
        ports |= {(place, name): rounded(load) for name, load in loads.items()}
    return ports


def _array_cycles(relaxation: Relaxation, point: Point) -> Tensor:
    """Give the cycles in which the array fills and drains: along each mesh axis, instances in use less one."""
    import torch

    axes = [at for level in range(relaxation.depth) for at in relaxation.spatial(level)]
    return (torch.exp(point.logs[:, :, axes].sum(dim=1)) - 1.0).sum(dim=1)


def _ends(relaxation: Relaxation, moves: Moves, rounded: Round) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Give the cycles before the first step and after the last, and the words that each level moves in them.

    A level loads the tiles of the next inner levels once its own are there, and stores in the opposite order.
    """
    import torch

    depth, words = relaxation.depth, torch.tensor(relaxation.words)
    none = torch.zeros_like(moves.steps)
    cycles, first_out, first_in = none, [none] * depth, [none] * depth
    for parent in range(depth):
        loads, stores, arrive = [none] * depth, [none] * depth, [none] * depth
        for child in range(parent + 1, depth):
            weight = moves.pairs[parent, child]
            sent = weight * _first(relaxation, moves, parent, child)
            held = weight * torch.exp(moves.tiles[child]) * words[child]
            loads[parent] = loads[parent] + sent[:, :O].sum(dim=1)
            stores[parent] = stores[parent] + sent[:, O]
            arrive[child] = arrive[child] + held[:, :O].sum(dim=1)
        for out, into in ((loads, arrive), ([none] * depth, stores)):
            ports = _ports(relaxation, out, into, rounded)
            cycles = cycles + _longest([none, *ports.values()], 0.0)
        first_out = [whole + part for whole, part in zip(first_out, loads, strict=True)]
        first_in = [whole + a + b for whole, a, b in zip(first_in, arrive, stores, strict=True)]
    return cycles, first_out, first_in


def _first(relaxation: Relaxation, moves: Moves, parent: int, child: int) -> Tensor:
    """Give the words that one copy of a parent reads for the first tiles of its children; of O, updates of one tile."""
    import torch

    words = torch.tensor(relaxation.words[parent])
    if parent == 0:
        problem, outermost = relaxation.maker.problem, relaxation.accelerator.levels[0]
        if relaxation.rules.bit_true:
            words = words.clone()
            words[O] = problem.operands["O"].bits / outermost.word_bits
        words = words * moves.scale[child]
    return torch.exp(moves.tiles[child] + moves.shared[parent, child]) * words
