"""Energy and port cycles as linear forms of the mapper's unknowns, one row per spatial vector.

The unknowns belong to *flows*: a tensor on its way from a level that keeps it to the next inner one that does. For a
tensor without windows the unknown is a multiplier: how often the whole tensor makes that way, 1 being compulsory. For
one with windows it is a number of elements, one unknown for what the parent reads and one for what its children are
sent, since neighbours share words. With perfect factors everything else about traffic follows from the spatial vector
alone, also what feeds the MACs, for which every step counts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hwmodels.mapping.mapper.factors import Floats, Ints
from hwmodels.mapping.mapper.spatial import SpatialChoices, passes_on
from hwmodels.mapping.pricing import element_words
from hwmodels.mapping.problem import Operand, Problem, Window
from hwmodels.mapping.walks import AxisLoop
from hwmodels.mapping.windows import window_sums
from hwmodels.spatial import ROLES, Accelerator, Conventions

__all__ = ["Flow", "Forms", "cost_forms", "flows_of"]

O = ROLES.index("O")  # noqa: E741


@dataclass(frozen=True, slots=True)
class Flow:
    """A tensor on its way between two levels that keep it.

    Attributes:
        role: Place of the tensor in W, I, O.
        parent: Place of the outer level.
        child: Place of the inner level.
        side: "": a multiplier; of a tensor with windows "out": elements read at the parent, "in": sent to the children.
    """

    role: int
    parent: int
    child: int
    side: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Forms:
    """Costs of one operator on one accelerator with given kept tensors: base + sum over flows of coefficient x unknown.

    Attributes:
        flows: The unknowns.
        energy: [J] per unit of the unknown, last the base, but for static power; (n_choices, n_flows + 1).
        ports: Level and name of the ports with a finite bandwidth.
        port: Cycles per unit of the unknown, last the base; (n_choices, n_ports, n_flows + 1).
        outer_energy: As `energy`, what the outermost level spends on each tensor; (n_choices, roles, n_flows + 1).
        outer_port: As `port`, what it moves of each tensor; (n_choices, n_ports, roles, n_flows + 1).
        steps: Cycles of computing; (n_choices,).
        static_j: Energy per cycle that flows whatever runs [J].
    """

    flows: tuple[Flow, ...]
    energy: Floats
    ports: tuple[tuple[int, str], ...]
    port: Floats
    outer_energy: Floats
    outer_port: Floats
    steps: Floats
    static_j: float


def flows_of(keeps: Sequence[Sequence[str]], windowed: Sequence[str] = ()) -> tuple[Flow, ...]:
    """List the flows between levels, W, I, O, outermost first.

    Args:
        keeps: Roles that each level holds.
        windowed: Roles of tensors with windows.

    Example:
        >>> [(flow.role, flow.parent, flow.child) for flow in flows_of([("W", "I", "O"), ("I",), ("O",)])]
        [(1, 0, 1), (2, 0, 2)]
    """
    flows = []
    for column, role in enumerate(ROLES):
        kept = [level for level, roles in enumerate(keeps) if role in roles]
        for parent, child in itertools.pairwise(kept):
            flows += [Flow(column, parent, child, side) for side in (("out", "in") if role in windowed else ("",))]
    return tuple(flows)


def cost_forms(
    problem: Problem,
    accelerator: Accelerator,
    rules: Conventions,
    keeps: Sequence[Sequence[str]],
    choices: SpatialChoices,
    places: Sequence[int],
    fed: dict[tuple[int, int], Floats],
    homes: Mapping[int, int] | None = None,
) -> Forms:
    """Give the linear forms of every spatial vector.

    Args:
        problem: The operator.
        accelerator: Prices and bandwidths.
        rules: What a word is.
        keeps: Roles that each level holds.
        choices: Spatial vectors.
        places: Of each level, its place in the device.
        fed: What is known of the elements that feed the MACs, by tensor and place of the level; added to.
        homes: Levels that tensors lie whole in, by place of the tensor.
    """
    homes = {} if homes is None else homes
    factors = choices.factors
    windowed = [role for role in ROLES if problem.operands[role].windows]
    flows = flows_of(keeps, windowed)
    depth, n = len(accelerator.levels), len(factors)
    above = np.ones((n, depth + 1, factors.shape[2]), dtype=np.int64)
    np.cumprod(factors, axis=1, out=above[:, 1:])
    temporal = np.array(list(problem.sizes.values()), dtype=np.int64) / above[:, -1]
    tables = _Tables(np.zeros((2, n, len(ROLES), depth, len(flows) + 1)), flows)
    for column, role in enumerate(ROLES):
        kept = [level for level, roles in enumerate(keeps) if role in roles]
        if role not in windowed:
            _plain_flows(tables, problem, column, kept, above, temporal, homes.get(column, 0))
            continue
        key = (column, places[kept[-1]])
        if key not in fed:
            forwards = passes_on(choices.passing, column, kept[-1], depth)
            fed[key] = _fed(problem, rules, column, above[:, kept[-1]], above[:, depth] // above[:, kept[-1]], forwards)
        _window_flows(tables, column, kept, fed[key], homes.get(column, 0))
    outlet = homes.get(O, 0)
    return _priced(problem, accelerator, rules, tables, above, np.ceil(temporal).prod(axis=1), outlet)


@dataclass(frozen=True, slots=True, eq=False)
class _Tables:
    """Elements that leave (0) and enter (1) each level: (2, n_choices, roles, levels, flows + 1), the last is constant.

    Filled flow by flow, then read.
    """

    values: Floats
    flows: tuple[Flow, ...]

    def out(self, column: int, level: int, flow: int, elements: Floats) -> None:
        self.values[0, :, column, level, flow] += elements

    def into(self, column: int, level: int, flow: int, elements: Floats) -> None:
        self.values[1, :, column, level, flow] += elements


def _plain_flows(
    tables: _Tables, problem: Problem, column: int, kept: list[int], above: Ints, temporal: Floats, home: int
) -> None:
    """Fill in a tensor without windows: its size, for all copies that hold the same, times the multiplier.

    What it would move outside its home is left out; finished outputs that are not kept there enter it all the same.
    """
    role, depth = ROLES[column], above.shape[1] - 1
    indexed = np.array([dim in problem.operands[role].indexed for dim in problem.sizes])
    size = math.prod(size for size, here in zip(problem.sizes.values(), indexed, strict=True) if here)
    copies = above[:, :, ~indexed].prod(axis=2) * float(size)
    for parent, child in zip(kept, [*kept[1:], depth], strict=True):
        to_macs = child == depth
        if child <= home:
            continue
        flow = -1 if to_macs else tables.flows.index(Flow(column, parent, child))
        sent = copies[:, parent] * (temporal[:, ~indexed].prod(axis=1) if to_macs else 1.0)
        end = max(parent, home)
        tables.out(column, end, flow, sent)
        if role == "O":
            tables.into(column, end, flow, sent)
            tables.out(column, end, -1, -copies[:, parent])
        if not to_macs:
            tables.into(column, child, flow, copies[:, child])
            if role == "O":
                tables.into(column, child, -1, -copies[:, child])


def _window_flows(tables: _Tables, column: int, kept: list[int], fed: Floats, home: int) -> None:
    """Fill in an input with windows: elements are the unknowns; what feeds the MACs follows from the spatial vector."""
    ones = np.ones(len(fed))
    for parent, child in itertools.pairwise(kept):
        if child <= home:
            continue
        tables.out(column, parent, tables.flows.index(Flow(column, parent, child, "out")), ones)
        tables.into(column, child, tables.flows.index(Flow(column, parent, child, "in")), ones)
    tables.out(column, kept[-1], -1, fed)


def _fed(problem: Problem, rules: Conventions, column: int, apart: Ints, joined: Ints, forwards: Ints) -> Floats:
    """Count the elements of a tensor with windows that feed the MACs, over all steps.

    Args:
        problem: The operator.
        rules: Boxes or sets.
        column: Place of the tensor.
        apart: Spatial factors above the level that feeds the MACs; (n_choices, dims).
        joined: Those below it; loops inside them are taken to be spatial alone.
        forwards: Whether neighbours pass its words on; (n_choices,).
    """
    operand = problem.operands[ROLES[column]]
    total = np.ones(len(apart))
    for place, (dim, size) in enumerate(problem.sizes.items()):
        if dim in operand.dims:
            total *= size
        elif dim not in operand.indexed:
            total *= size / joined[:, place]
    for window in operand.windows:
        for passes in (False, True):
            rows = forwards == passes
            if rows.any():
                total[rows] *= _window_fed(problem, rules, operand, window, apart[rows], joined[rows], passes)
    return total


def _window_fed(
    problem: Problem, rules: Conventions, operand: Operand, window: Window, apart: Ints, joined: Ints, forwards: bool
) -> Floats:
    names = list(problem.sizes)
    sizes = [problem.sizes[dim] for dim in window.dims]
    places = [names.index(dim) for dim in window.dims]
    loops = [
        AxisLoop(at, -(-size // apart[:, place]), "apart")
        for at, (size, place) in enumerate(zip(sizes, places, strict=True))
    ]
    loops += [AxisLoop(at, joined[:, place], "temporal") for at, place in enumerate(places)]
    loops += [AxisLoop(at, np.ones(len(apart), dtype=np.int64), "joined") for at in range(len(places))]
    exact = rules.exact_windows or operand.role != "I"
    return window_sums(window, sizes, loops, len(apart), exact, forwards).new[-1].astype(np.float64)


def _priced(
    problem: Problem,
    accelerator: Accelerator,
    rules: Conventions,
    tables: _Tables,
    above: Ints,
    steps: Floats,
    outlet: int,
) -> Forms:
    """Turn elements into words, and these into energy and cycles."""
    n, columns = len(above), len(tables.flows) + 1
    words = [tables.values[:, :, :, place] * element_words(problem, level, rules)[None, None, :, None]
             for place, level in enumerate(accelerator.levels)]  # fmt: skip
    extra = float(problem.extra_values)
    if rules.bit_true:
        if not outlet or "O" not in accelerator.levels[outlet].keeps:
            stored = problem.operands["O"].bits - problem.acc_bits
            words[outlet][1, :, O, -1] += math.prod(problem.sizes[dim] for dim in problem.operands["O"].dims) * (
                stored / accelerator.levels[outlet].word_bits
            )
        extra = problem.extra_bits / accelerator.levels[0].word_bits
    by_role = [part[0] * level.read_j + part[1] * level.write_j
               for part, level in zip(words, accelerator.levels, strict=True)]  # fmt: skip
    energy = np.asarray(sum(part.sum(axis=1) for part in by_role))
    energy[:, -1] += problem.macs * accelerator.mac_j + extra * accelerator.levels[0].read_j
    names, tensors = _ports(accelerator, rules, words, above.prod(axis=2))
    port = tensors.sum(axis=2)
    outermost = [place for place, (level, _) in enumerate(names) if level == 0]
    reads = accelerator.levels[0].read_words_per_cycle
    for place in outermost:
        if reads and names[place][1] != "write":
            port[:, place, -1] += extra / reads
    outer = np.zeros((n, len(names), len(ROLES), columns))
    outer[:, outermost] = tensors[:, outermost]
    return Forms(
        tables.flows,
        energy,
        tuple(names),
        port,
        by_role[0],
        outer,
        steps / accelerator.macs_per_cycle,
        accelerator.static_w / accelerator.clock_hz,
    )


def _ports(
    accelerator: Accelerator, rules: Conventions, words: list[Floats], used: Ints
) -> tuple[list[tuple[int, str]], Floats]:
    """Name the ports with a finite bandwidth, and give their cycles: (n_choices, ports, roles, flows + 1)."""
    names: list[tuple[int, str]] = []
    rows: list[Floats] = []
    for place, level in enumerate(accelerator.levels):
        each = words[place] / used[None, :, place, None, None]
        loads = {}
        if level.read_words_per_cycle:
            loads["read"] = each[0] / level.read_words_per_cycle
        if level.write_words_per_cycle:
            loads["write"] = each[1] / level.write_words_per_cycle
        if rules.shared_ports and level.shared_port:
            loads = {"port": np.asarray(sum(loads.values()))} if loads else {}
        names += [(place, name) for name in loads]
        rows += list(loads.values())
    shape = words[0].shape
    return names, np.stack(rows, axis=1) if rows else np.zeros((shape[1], 0, *shape[2:]))
