"""Costs of unknowns, and least unknowns of mappings of which only the outermost loops are known."""

from __future__ import annotations

import math

import numpy as np

from hwmodels.mapping.mapper.factors import Floats
from hwmodels.mapping.mapper.linear import Flow
from hwmodels.mapping.mapper.nests import Nest, Tiles, subset_product
from hwmodels.mapping.mapper.orders import Dims
from hwmodels.mapping.mapper.silicon import Details
from hwmodels.mapping.pricing import usable_words
from hwmodels.mapping.timing import ONE
from hwmodels.spatial import ROLES

__all__ = ["Unknowns", "costs", "least_unknowns"]

Unknowns = dict[int, Floats]
"""By flow: multipliers, or elements of tensors with windows."""


def costs(nest: Nest, unknowns: Unknowns, details: Details | None = None) -> tuple[Floats, Floats]:
    """Give energy [J] and cycles of unknowns, one for each flow; lower bounds unless `Nest.exact`.

    Args:
        nest: Spatial vector.
        unknowns: By flow; (n,) each.
        details: What bursts, filling and draining add.
    """
    forms, row = nest.forms, nest.choice
    scales = details.scales if details is not None else {}
    energy = _sum(forms.energy[row], unknowns)
    for role, scale in scales.items():
        energy = energy + (scale - 1.0) * _sum(forms.outer_energy[row, role], unknowns)
    cycles: Floats = np.asarray(forms.steps[row])
    for port, (level, _) in enumerate(forms.ports):
        load = _sum(forms.port[row, port], unknowns)
        for role, scale in scales.items() if level == 0 else ():
            load = load + (scale - 1.0) * _sum(forms.outer_port[row, port, role], unknowns)
        cycles = np.maximum(cycles, load if details is None else load - details.ports[port])
    cycles = np.maximum(cycles, _serial(nest, unknowns, details))
    if details is not None:
        cycles = cycles + details.cycles
    cycles = np.ceil(cycles * ONE)
    return energy + cycles * forms.static_j if forms.static_j else energy, cycles


def _serial(nest: Nest, unknowns: Unknowns, details: Details | None) -> Floats:
    """Give the steps, and with them the loads of levels that stop the work inside them while they load."""
    forms, row, frame = nest.forms, nest.choice, nest.frame
    cycles: Floats = np.asarray(forms.steps[row])
    for level, buffer in enumerate(frame.accelerator.levels):
        if not (frame.rules.device_buffering and buffer.buffering == "serial"):
            continue
        load: Floats = np.asarray(0.0)
        flows = [place for place, flow in enumerate(frame.flows) if flow.child == level and ROLES[flow.role] != "O"]
        for port in range(len(forms.ports)):
            own: Floats = np.asarray(0.0)
            for place in flows:
                coefficient: Floats = np.asarray(forms.port[row, port, place])
                scale = None if details is None else details.scales.get(frame.flows[place].role)
                if scale is not None:
                    outer = forms.outer_port[row, port, frame.flows[place].role, place]
                    coefficient = coefficient + (scale - 1.0) * outer
                own = own + unknowns[place] * coefficient
            load = np.maximum(load, own if details is None else own - details.ports[port])
        cycles = cycles + load
    return cycles


def _sum(form: Floats, unknowns: Unknowns) -> Floats:
    total: Floats = np.asarray(form[-1])
    for flow, unknown in unknowns.items():
        if form[flow]:
            total = total + unknown * form[flow]
    return total


def least_unknowns(
    nest: Nest, tiles: Tiles, trips: tuple[Floats, ...], runs: tuple[Dims, ...], but: frozenset[int] = frozenset()
) -> Unknowns:
    """Give least unknowns when the outermost loops have at most some stationary runs.

    Multipliers of flows into level 1 are exact; the others are as if no further loop cost anything. A flow further in
    keeps the outermost run only if no loop in between indexes the tensor: if its child has room for all that the tile
    of level 1 needs of it.

    Args:
        nest: Spatial vector.
        tiles: Of level 1; (n,).
        trips: Of the outermost loops; (n,) each.
        runs: By role.
        but: Flows to leave out.
    """
    dims = frozenset(range(len(trips)))
    least: Unknowns = {}
    for place, flow in enumerate(nest.frame.flows):
        if place in but:
            continue
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
    tensor repeats a block of at least two tiles; each repetition finds at most one tile of it there. Further in, a
    child that has no room for what the tile of level 1 needs is sent all of it every time, but for what the children
    hold at first.
    """
    frame, spans = nest.frame, nest.spans
    every_dim = frozenset(range(len(trips)))
    indexed = frame.indexed[flow.role]
    passing = sorted(every_dim - indexed)
    used = float(frame.used_elements(flow.role))
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
