"""Every mapping of a tiny operator, one by one: what `hwmodels.mapping.search` must not miss.

Nothing of the mapper is used: spatial loops, bypass, tiles and all permutations are enumerated here, and the cost model
prices them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations, permutations, product
from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping import MappingBatch, Slot, Structure, evaluate
from hwmodels.mapping.cases import gemm_operator
from hwmodels.mapping.problem import problem_on
from hwmodels.spatial import ROLES, Accelerator, BufferLevel, Conventions, MeshAxis
from workloads.operator import Operator, Tensor, axis

Spread = tuple[tuple[tuple[str, str, int], ...], ...]
"""By level, (axis, dim, factor)."""


def every_cost(operator: Operator, accelerator: Accelerator, rules: Conventions) -> NDArray[np.float64]:
    """Price every mapping with perfect factors: rows of energy [J] and cycles; inf where tiles do not fit."""
    costs = [evaluate(operator, accelerator, batch, rules) for batch in every_batch(operator, accelerator, rules)]
    return np.concatenate([np.stack([cost.energy_j, cost.cycles], axis=1) for cost in costs])


def structures(operator: Operator, accelerator: Accelerator, rules: Conventions) -> int:
    """Count the batches that `every_batch` gives."""
    keeps = sum(len(level.keeps) for level in accelerator.levels[1:])
    active = max(sum(int(size) > 1 for size in operator.dims.values()), 1)
    spreads = len(list(_spreads(operator, accelerator, rules)))
    return int(2**keeps * spreads * factorial(active) ** len(accelerator.levels))


def every_batch(operator: Operator, accelerator: Accelerator, rules: Conventions) -> Iterator[MappingBatch]:
    """List all mappings: each choice of kept tensors, spatial loops and order is a batch of all tiles."""
    sizes = {dim: int(size) for dim, size in operator.dims.items() if int(size) > 1} or {next(iter(operator.dims)): 1}
    names, depth = tuple(level.name for level in accelerator.levels), len(accelerator.levels)
    for keeps in product(*[_subsets(level.keeps) if place else [level.keeps]
                           for place, level in enumerate(accelerator.levels)]):  # fmt: skip
        for spread in _spreads(operator, accelerator, rules):
            left = [size // _spatial(spread, dim) for dim, size in sizes.items()]
            chains = np.array(list(product(*[_chains(size, depth) for size in left])), dtype=np.int64)
            trips = [dict(zip(sizes, chains[:, :, level].T, strict=True)) for level in range(depth)]
            for orders in product(permutations(sizes), repeat=depth):
                slots, steps = _loops(spread, trips, orders)
                yield MappingBatch(Structure(names, keeps, tuple(slots)), np.stack(steps, axis=1))


def _subsets(roles: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [some for count in range(len(roles) + 1) for some in combinations(roles, count)]


def _spreads(operator: Operator, accelerator: Accelerator, rules: Conventions) -> Iterator[Spread]:
    problem = problem_on(operator, accelerator, rules)
    axes = [(place, mesh) for place, level in enumerate(accelerator.levels) for mesh in level.mesh]
    options = []
    for _, mesh in axes:
        allowed = [dim for dim in problem.sizes if mesh.allows(dim, problem.indexes(dim))]
        factors = [[f for f in range(1, problem.sizes[dim] + 1) if problem.sizes[dim] % f == 0] for dim in allowed]
        options.append([dict(zip(allowed, way, strict=True)) for way in product(*factors) if np.prod(way) <= mesh.size])
    for chosen in product(*options):
        used = dict.fromkeys(problem.sizes, 1)
        for way in chosen:
            for dim, factor in way.items():
                used[dim] *= factor
        if all(problem.sizes[dim] % count == 0 for dim, count in used.items()):
            yield tuple(
                tuple((mesh.name, dim, factor) for (at, mesh), way in zip(axes, chosen, strict=True) if at == place
                      for dim, factor in way.items() if factor > 1)
                for place in range(len(accelerator.levels))
            )  # fmt: skip


def _spatial(spread: Spread, dim: str) -> int:
    return int(np.prod([factor for level in spread for _, name, factor in level if name == dim]))


def _chains(size: int, depth: int) -> list[tuple[int, ...]]:
    if depth == 1:
        return [(size,)]
    return [(first, *rest) for first in range(1, size + 1) if size % first == 0
            for rest in _chains(size // first, depth - 1)]  # fmt: skip


def _loops(
    spread: Spread, trips: list[dict[str, NDArray[np.int64]]], orders: tuple[tuple[str, ...], ...]
) -> tuple[list[Slot], list[NDArray[np.int64]]]:
    """Give all loops with their steps, outermost first."""
    inside = {dim: np.ones_like(count) for dim, count in trips[0].items()}
    slots, steps = [], []
    for place in reversed(range(len(trips))):
        loops: list[tuple[str, str, Any]] = [(name, dim, factor) for name, dim, factor in spread[place]]
        for name, dim, count in reversed([("", dim, trips[place][dim]) for dim in orders[place]] + loops):
            slots.append(Slot(place, dim, name))
            steps.append(inside[dim])
            inside[dim] = inside[dim] * count
    return slots[::-1], steps[::-1]


def front(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the rows that no other one matches or beats in energy and cycles, by ascending cycles."""
    order = np.lexsort((costs[:, 0], costs[:, 1]))
    kept, least = [], np.inf
    for row in order:
        if np.isfinite(costs[row]).all() and costs[row, 0] < least * (1 - 1e-9):
            kept.append(row)
            least = costs[row, 0]
    return costs[kept]


def tiny(seed: int, rules: Conventions) -> tuple[Operator, Accelerator]:
    """Draw an operator and an accelerator whose mappings can all be listed.

    Matrix products, and convolutions with stride, dilation and padding; two to four levels with any capacities,
    bandwidths and prices, and mesh axes that carry what they happen to carry.
    """
    draw = random.Random(seed)
    depth = draw.choice([2, 2, 3, 3, 4])
    operator = _product(draw) if draw.random() < 0.5 else _convolution(draw)
    levels = []
    for place in range(depth):
        mesh: tuple[MeshAxis, ...] = ()
        if place == depth - 1 or draw.random() < 0.3:
            mesh = tuple(_axis(draw, name) for name in "XY"[: draw.choice([0, 1, 1, 2])])
        price = [100e-12, 10e-12, 1e-12, 0.1e-12][place]
        levels.append(
            BufferLevel(
                name=f"L{place}",
                keeps=ROLES if place == 0 else tuple(role for role in ROLES if draw.random() < 0.75),
                capacity_words=None if place == 0 else draw.choice([2, 4, 6, 8, 12, 20, 40, 100]),
                word_bits=8,
                read_words_per_cycle=draw.choice([None, 0.5, 1, 2]),
                write_words_per_cycle=draw.choice([None, 0.5, 1, 2]),
                read_j=price * draw.choice([0.5, 1, 2]),
                write_j=price * draw.choice([0.5, 1, 2]),
                mesh=mesh,
                buffering=draw.choice(["double", "shadow", "serial"]),
                shared_port=place == 0 and draw.random() < 0.5,
                burst_bits=draw.choice([0, 16, 32]) if place == 0 else 0,
            )
        )
    power = draw.choice([0.0, 1e-3])
    return operator, Accelerator(name=f"tiny {seed}", levels=tuple(levels), mac_j=1e-12, static_w=power)


def _axis(draw: random.Random, name: str) -> MeshAxis:
    some = [tuple(role for role in ROLES if draw.random() < 0.8) for _ in range(2)]
    forwards = ("I",) if draw.random() < 0.5 else ()
    return MeshAxis(name=name, size=draw.choice([1, 2, 3, 4]), distinct=some[0], shared=some[1], forwards=forwards)


def _product(draw: random.Random) -> Operator:
    return gemm_operator("product", {"M": draw.choice([1, 2, 3, 4, 6]), "N": draw.choice([1, 2, 4, 5]),
                                     "K": draw.choice([1, 2, 3, 4])})  # fmt: skip


def _convolution(draw: random.Random) -> Operator:
    sizes = {
        "R": draw.choice([1, 2, 3]),
        "P": draw.choice([2, 3, 4]),
        "C": draw.choice([1, 2]),
        "K": draw.choice([1, 2]),
    }
    stride, dilation, before = draw.choice([1, 1, 2, 3]), draw.choice([1, 1, 2]), draw.choice([0, 0, 1])
    reach = stride * (sizes["P"] - 1) + dilation * (sizes["R"] - 1) + 1
    extent = max(1, reach - before - draw.choice([0, 1])) if before else None
    window = axis((stride, "P"), (dilation, "R"), offset=-before, extent=extent)
    tensors = (
        Tensor(name="I", axes=(axis("C"), window), bits=8),
        Tensor(name="W", axes=(axis("K"), axis("C"), axis("R")), role="weight", bits=8),
        Tensor(name="O", axes=(axis("K"), axis("P")), bits=8),
    )
    return Operator(name="conv", op_type="Conv", kind="conv", dims=sizes, inputs=tensors[:2], outputs=tensors[2:])
