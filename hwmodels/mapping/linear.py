"""Energy and port cycles as linear forms of the mapper's unknowns, one row per spatial vector.

The unknowns are *multipliers*, one per flow. A flow is a tensor on its way from a level that keeps it to the next inner one
that does; its multiplier says how often the whole tensor makes that way: 1 is compulsory. With perfect factors everything
else about traffic follows from the spatial vector alone, also what feeds the MACs, for which every step counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.factors import Floats, Ints
from hwmodels.mapping.pricing import element_words
from hwmodels.mapping.problem import Problem
from hwmodels.spatial import ROLES, Accelerator, Conventions

__all__ = ["Flow", "Forms", "cost_forms", "flows_of"]

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Flow:
    """A tensor on its way between two levels that keep it; tensor by its place in W, I, O."""

    role: int
    parent: int
    child: int


@dataclass(frozen=True, slots=True, eq=False)
class Forms:
    """Costs of one operator on one accelerator with given kept tensors: base + sum over flows of coefficient x multiplier.

    Attributes:
        flows: The unknowns.
        energy_base: Energy [J]; (n_choices,).
        energy: [J] per multiplier; (n_choices, n_flows).
        ports: Names of the ports with a finite bandwidth.
        port_base: Cycles; (n_choices, n_ports).
        port: Cycles per multiplier; (n_choices, n_ports, n_flows).
        steps: Cycles of computing; (n_choices,).
    """

    flows: tuple[Flow, ...]
    energy_base: Floats
    energy: Floats
    ports: tuple[str, ...]
    port_base: Floats
    port: Floats
    steps: Floats


def flows_of(keeps: Sequence[Sequence[str]]) -> tuple[Flow, ...]:
    """List the flows between levels, W, I, O, outermost first.

    Example:
        >>> [(flow.role, flow.parent, flow.child) for flow in flows_of([("W", "I", "O"), ("I",), ("O",)])]
        [(1, 0, 1), (2, 0, 2)]
    """
    flows = []
    for column, role in enumerate(ROLES):
        kept = [level for level, roles in enumerate(keeps) if role in roles]
        flows += [Flow(column, parent, child) for parent, child in zip(kept, kept[1:], strict=False)]
    return tuple(flows)


def cost_forms(
    problem: Problem, accelerator: Accelerator, rules: Conventions, keeps: Sequence[Sequence[str]], factors: Ints
) -> Forms:
    """Give the linear forms of every spatial vector.

    Args:
        problem: The operator; tensors without windows.
        accelerator: Prices and bandwidths.
        rules: What a word is.
        keeps: Roles that each level holds.
        factors: Spatial vectors, (n_choices, levels, dims).
    """
    flows = flows_of(keeps)
    depth, n = len(accelerator.levels), len(factors)
    above = np.ones((n, depth + 1, factors.shape[2]), dtype=np.int64)
    np.cumprod(factors, axis=1, out=above[:, 1:])
    sizes = np.array(list(problem.sizes.values()), dtype=np.int64)
    temporal = sizes / above[:, -1]
    out = _Table(n, depth, len(flows))
    into = _Table(n, depth, len(flows))
    for column, role in enumerate(ROLES):
        indexed = np.array([dim in problem.operands[role].indexed for dim in problem.sizes])
        size = float(np.prod(sizes[indexed]))
        copies = above[:, :, ~indexed].prod(axis=2) * size
        kept = [level for level, roles in enumerate(keeps) if role in roles]
        for parent, child in zip(kept, [*kept[1:], depth], strict=True):
            flow = flows.index(Flow(column, parent, child)) if child < depth else -1
            every = temporal[:, ~indexed].prod(axis=1) if flow < 0 else np.ones(n)
            out.add(column, parent, flow, copies[:, parent] * every)
            if role == "O":
                into.add(column, parent, flow, copies[:, parent] * every)
                out.add(column, parent, -1, -copies[:, parent])
            if flow >= 0:
                into.add(column, child, flow, copies[:, child])
                if role == "O":
                    into.add(column, child, -1, -copies[:, child])
    return _priced(problem, accelerator, rules, flows, above, temporal.prod(axis=1), out, into)


class _Table:
    """Elements that leave or enter each level, as linear forms: filled flow by flow, then read."""

    def __init__(self, n: int, depth: int, flows: int) -> None:
        self.values = np.zeros((n, len(ROLES), depth, flows + 1))

    def add(self, column: int, level: int, flow: int, elements: Floats) -> None:
        """Add elements that go with the multiplier of a flow; flow -1: with none."""
        self.values[:, column, level, flow] += elements


def _priced(
    problem: Problem,
    accelerator: Accelerator,
    rules: Conventions,
    flows: tuple[Flow, ...],
    above: Ints,
    steps: Floats,
    out: _Table,
    into: _Table,
) -> Forms:
    """Turn elements into words, and these into energy and cycles."""
    n = len(above)
    energy = np.zeros((n, len(flows) + 1))
    energy[:, -1] = problem.macs * accelerator.mac_j
    names: list[str] = []
    rows: list[Floats] = []
    used = above.prod(axis=2)
    for place, level in enumerate(accelerator.levels):
        width = element_words(problem, level, rules)
        reads = np.einsum("nrf,r->nf", out.values[:, :, place], width)
        writes = np.einsum("nrf,r->nf", into.values[:, :, place], width)
        energy += reads * level.read_j + writes * level.write_j
        for words, per_cycle, name in (
            (reads, level.read_words_per_cycle, "read"),
            (writes, level.write_words_per_cycle, "write"),
        ):
            if per_cycle:
                names.append(f"{level.name} {name}")
                rows.append(words / used[:, place, None] / per_cycle)
    ports = np.stack(rows, axis=1) if rows else np.zeros((n, 0, len(flows) + 1))
    return Forms(
        flows,
        energy[:, -1],
        energy[:, :-1],
        tuple(names),
        ports[:, :, -1],
        ports[:, :, :-1],
        steps / accelerator.macs_per_cycle,
    )
