"""Costs of unknowns, and least unknowns of mappings of which only the outermost loops are known."""

from __future__ import annotations

import math

import numpy as np

from hwmodels.mapping.factors import Floats
from hwmodels.mapping.linear import Flow
from hwmodels.mapping.nests import Dims, Nest, Tiles, subset_product
from hwmodels.mapping.pricing import usable_words
from hwmodels.spatial import ROLES

__all__ = ["Unknowns", "costs", "least_unknowns"]

Unknowns = dict[int, Floats]
"""By flow: multipliers, or elements of tensors with windows."""

ONE = 1.0 - 1e-12
"""Keeps a sum that is a whole number of cycles but for rounding from being rounded up."""


def costs(nest: Nest, unknowns: Unknowns) -> tuple[Floats, Floats]:
    """Give energy [J] and cycles of unknowns, one for each flow."""
    forms, row = nest.forms, nest.choice
    energy: Floats = np.asarray(forms.energy_base[row])
    for flow, unknown in unknowns.items():
        energy = energy + unknown * forms.energy[row, flow]
    cycles: Floats = np.asarray(forms.steps[row])
    for port in range(len(forms.ports)):
        load: Floats = np.asarray(forms.port_base[row, port])
        for flow, unknown in unknowns.items():
            if forms.port[row, port, flow]:
                load = load + unknown * forms.port[row, port, flow]
        cycles = np.maximum(cycles, load)
    cycles = np.ceil(cycles * ONE)
    return energy + cycles * forms.static_j if forms.static_j else energy, cycles


def least_unknowns(nest: Nest, tiles: Tiles, trips: tuple[Floats, ...], runs: tuple[Dims, ...]) -> Unknowns:
    """Give least unknowns when the outermost loops have at most some stationary runs.

    Multipliers of flows into level 1 are exact; the others are as if no further loop cost anything. A flow further in
    keeps the outermost run only if no loop in between indexes the tensor: if its child has room for all that the tile
    of
    level 1 needs of it.

    Args:
        nest: Spatial vector.
        tiles: Of level 1; (n,).
        trips: Of the outermost loops; (n,) each.
        runs: By role.
    """
    dims = frozenset(range(len(trips)))
    least: Unknowns = {}
    for place, flow in enumerate(nest.frame.flows):
        if flow.side:
            least[place] = _least_elements(nest, flow, tiles, trips, runs[flow.role])
            continue
        passing = dims - nest.frame.indexed[flow.role]
        run = runs[flow.role]
        if flow.child == 1 or not run:
            least[place] = np.asarray(subset_product(trips, passing - run))
            continue
        stays = nest.room(flow.role, flow.child, tiles.values)
        least[place] = np.where(stays, subset_product(trips, passing - run), subset_product(trips, passing))
    return least


def _least_elements(nest: Nest, flow: Flow, tiles: Tiles, trips: tuple[Floats, ...], run: Dims) -> Floats:
    """Bound the elements of a tensor with windows that a flow moves.

    Every element that is used moves once, to every copy. A loop outside the stationary run that does not index the
    tensor
    repeats a block of at least two tiles; each repetition finds at most one tile of it there. Further in, a child that
    has no room for what the tile of level 1 needs is sent all of it every time, but for what the children hold at
    first.
    """
    frame, spans = nest.frame, nest.spans
    every_dim = frozenset(range(len(trips)))
    indexed = frame.indexed[flow.role]
    passing = sorted(every_dim - indexed)
    used = float(nest.used_elements(flow.role))
    end = flow.parent if flow.side == "out" else flow.child
    copies = float(np.prod(spans[0][passing] // spans[end][passing]))
    tile = nest.footprint(flow.role, 1, tiles.values) * float(
        np.prod(spans[0][sorted(indexed)] // spans[1][sorted(indexed)])
    )
    fewest = np.min([np.where(trips[dim] > 1, trips[dim], np.inf) for dim in indexed], axis=0)
    again = subset_product(trips, every_dim - indexed - run)
    total = used + (again - 1.0) * np.maximum(used - subset_product(trips, indexed) * tile / fewest, 0.0)
    total = np.broadcast_to(total, len(tiles)) * copies
    if flow.child == 1:
        return total
    held = _held_elements(nest, flow)
    runs = subset_product(trips, every_dim) * float(np.prod(spans[0] // spans[1]))
    if any(window.extent is not None for window in frame.operands[flow.role].windows):
        sent = used * subset_product(trips, passing) * copies - runs * held
    else:
        beside = float(np.prod(spans[1][passing] // spans[end][passing]))
        sent = runs * beside * (nest.least_footprint(flow.role, 1, tiles.values) - held)
    stays = nest.room(flow.role, flow.child, tiles.values)
    return np.where(stays, used * copies, np.maximum(sent, used * copies))


def _held_elements(nest: Nest, flow: Flow) -> float:
    """Give the most elements that the children of one parent hold that are told apart by dims of the tensor."""
    frame = nest.frame
    buffer = frame.accelerator.levels[flow.child]
    words = min(usable_words(buffer, frame.rules), usable_words(buffer, frame.rules, ROLES[flow.role]))
    indexed = sorted(frame.indexed[flow.role])
    apart = math.prod(int(nest.spans[flow.parent][dim] // nest.spans[flow.child][dim]) for dim in indexed)
    return words / float(frame.words[flow.child][flow.role]) * apart
