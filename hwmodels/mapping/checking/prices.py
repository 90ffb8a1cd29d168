"""Lower bounds of energy and cycles of classes of mappings, from what each tensor moves at least (`flows`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels.mapping.checking.flows import least_sent
from hwmodels.mapping.checking.settings import Classes, Floats, Flow, Ints, Setting, tile_elements
from hwmodels.mapping.pricing import element_words, usable_words
from hwmodels.spatial import ROLES

__all__ = ["fitting", "least_costs"]

_LESS = 1.0 - 1e-12
"""Sums of a few dozen float64 terms differ by less."""


@dataclass(frozen=True, slots=True, eq=False)
class _Load:
    """Words that one instance of each level moves at least; arrays of shape (n, levels).

    Attributes:
        out: Read.
        into: Written.
        first: Of those read, the words of the first tiles.
        arriving: Of those written, likewise.
        last: Of those written, the words of one tile of outputs.
    """

    out: Floats
    into: Floats
    first: Floats
    arriving: Floats
    last: Floats

    @classmethod
    def none(cls, n: int, depth: int) -> _Load:
        """Start from nothing."""
        return cls(*(np.zeros((n, depth)) for _ in range(5)))


def fitting(setting: Setting, classes: Classes) -> NDArray[np.bool_]:
    """Say of which classes the innermost decided tile fits in its level."""
    place = classes.tiles.shape[1] - 1
    level, tiles = setting.accelerator.levels[place], classes.tiles[:, -1]
    words = element_words(setting.problem, level, setting.rules)
    taken = np.zeros(len(classes))
    fits = np.ones(len(classes), dtype=bool)
    for column, role in enumerate(ROLES):
        if role not in setting.keeps[place]:
            continue
        mine = tile_elements(setting.problem.operands[role], setting, tiles) * words[column]
        taken = taken + mine
        if role in level.partitions:
            fits &= mine <= usable_words(level, setting.rules, role)
    return np.asarray(fits & (taken <= usable_words(level, setting.rules)))


def least_costs(setting: Setting, classes: Classes) -> tuple[Floats, Floats]:
    """Bound energy [J] and cycles of classes of mappings.

    Bounds leave out: waiting for serial loads, and bursts while the tile that is sent from the outermost level is open.

    Returns:
        Energy and cycles, each of shape (n,): no mapping of the class has less.
    """
    problem, rules, accelerator = setting.problem, setting.rules, setting.accelerator
    spread = setting.factors[classes.vector]
    above = np.ones((len(classes), setting.depth + 1, len(setting.sizes)), dtype=np.int64)
    np.cumprod(spread, axis=1, out=above[:, 1:])
    copies = above.prod(axis=2, dtype=float)
    bits = problem.extra_bits / accelerator.levels[0].word_bits
    extra = bits if rules.bit_true else float(problem.extra_values)
    energy = np.full(len(classes), problem.macs * accelerator.mac_j + extra * accelerator.levels[0].read_j)
    load = _Load.none(len(classes), setting.depth)
    load.out[:, 0] += extra
    for flow in setting.flows:
        energy += _charge(setting, flow, classes, above, copies, load)
    steps = problem.macs / copies[:, -1] / accelerator.macs_per_cycle
    complete = classes.tiles.shape[1] >= setting.depth
    sure = np.full(len(classes), complete)
    for flow in setting.flows:
        if flow.child < setting.depth:
            for line in flow.lines:
                sure &= line.rising & (above[:, flow.child][:, line.dims] == 1).all(axis=1)
            sure &= _sole(setting, flow)
    cycles = _cycles(setting, load, steps, complete, sure)
    if rules.fill_drain:
        cycles += setting.fill[classes.vector]
    cycles = np.ceil(cycles * _LESS)
    return energy + accelerator.static_w * cycles / accelerator.clock_hz, cycles


def _charge(setting: Setting, flow: Flow, classes: Classes, above: Ints, copies: Floats, load: _Load) -> Floats:
    """Add what one way moves to the loads; give its energy."""
    column, parent, child = ROLES.index(flow.role), flow.parent, flow.child
    levels = setting.accelerator.levels
    words = element_words(setting.problem, levels[parent], setting.rules)[column]
    sent = least_sent(setting, flow, classes)
    whole = float(np.prod([setting.sizes[dim] for dim in flow.simple])) * flow.used
    output = flow.role == "O"
    own = whole * above[:, parent][:, flow.free].prod(axis=1) if output else np.zeros(len(sent))
    scale = _bursts(setting, flow, classes) if parent == 0 else np.ones(len(sent))
    reads = (sent - own) * words * scale
    updates = np.zeros(len(sent))
    stored = _stored(setting) if parent == 0 and output else words
    if output:
        updates = (sent * words + own * (stored - words)) * scale
    load.out[:, parent] += reads / copies[:, parent]
    load.into[:, parent] += updates / copies[:, parent]
    energy: Floats = reads * levels[parent].read_j + updates * levels[parent].write_j
    if child == setting.depth:
        return energy
    inner = element_words(setting.problem, levels[child], setting.rules)[column]
    fills = sent * (above[:, child] // above[:, parent])[:, flow.free].prod(axis=1)
    if output:
        fills = fills - whole * above[:, child][:, flow.free].prod(axis=1)
    load.into[:, child] += fills * inner / copies[:, child]
    if child < classes.tiles.shape[1]:
        _charge_first(setting, flow, classes, above, stored * scale, load)
    return np.asarray(energy + fills * inner * levels[child].write_j)


def _charge_first(setting: Setting, flow: Flow, classes: Classes, above: Ints, words: Floats, load: _Load) -> None:
    """Add what is loaded before the first step and stored after the last one, once the tile is known."""
    tile = classes.tiles[:, flow.child]
    together = tile * (above[:, flow.child] // above[:, flow.parent])
    elements = together[:, flow.simple].prod(axis=1)
    held = tile_elements(setting.problem.operands[flow.role], setting, tile)
    for line in flow.lines:  # children may share all but one of their windows: count one child's
        alone = tile[:, line.dims]
        exact = setting.rules.exact_windows or flow.role != "I"
        elements = elements * (line.first(alone, exact) if line.rising else 0)
    if flow.role == "O":
        load.last[:, flow.parent] += elements * words
        return
    load.first[:, flow.parent] += elements * words
    inner = element_words(setting.problem, setting.accelerator.levels[flow.child], setting.rules)
    load.arriving[:, flow.child] += held * inner[ROLES.index(flow.role)]


def _stored(setting: Setting) -> float:
    """Give the words that a finished output takes in the outermost level."""
    level = setting.accelerator.levels[0]
    return setting.problem.operands["O"].bits / level.word_bits if setting.rules.bit_true else 1.0


def _bursts(setting: Setting, flow: Flow, classes: Classes) -> Floats:
    """Give how many words the outermost level moves at least per word that is asked for."""
    level, operand = setting.accelerator.levels[0], setting.problem.operands[flow.role]
    decided = classes.tiles.shape[1] - 1
    to_macs = flow.child == setting.depth
    if not setting.rules.bursts or not level.burst_bits or (flow.child > decided and not to_macs):
        return np.ones(len(classes))
    tile = np.ones_like(classes.tiles[:, 0]) if to_macs else classes.tiles[:, flow.child]
    run, whole = np.ones(len(tile)), np.ones(len(tile), dtype=bool)
    for entry in reversed(operand.layout):
        if isinstance(entry, str):
            place = setting.names.index(entry) if entry in setting.names else None
            piece, length = (tile[:, place], setting.sizes[place]) if place is not None else (np.ones(len(tile)), 1)
        else:
            line = flow.lines[entry]
            piece = line.box(tile[:, line.dims])
            length = line.extent or int(line.box(classes.tiles[:1, 0][:, line.dims])[0])
        run = np.where(whole, run * piece, run)
        whole &= piece == length
    bits = run * (operand.bits if setting.rules.bit_true else level.word_bits)
    return np.asarray(np.ceil(bits / level.burst_bits) * level.burst_bits / bits)


def _cycles(setting: Setting, load: _Load, steps: Floats, complete: bool, sure: NDArray[np.bool_]) -> Floats:
    """Give the longest of computing and of all ports; with what comes before and after, if that counts.

    Args:
        setting: The bypass pattern.
        load: Words of each level.
        steps: Cycles of computing; (n,).
        complete: All tiles are decided.
        sure: The words of all first tiles are exact; (n,).
    """
    nothing = np.zeros_like(load.out)
    if not setting.rules.fill_drain:
        return np.maximum(steps, _slowest(setting, load.out, load.into, complete))
    ends = np.zeros(len(steps))
    for parent in range(setting.depth):
        reads, writes, back = nothing.copy(), nothing.copy(), nothing.copy()
        reads[:, parent], back[:, parent] = load.first[:, parent], load.last[:, parent]
        for flow in setting.flows:
            if flow.parent == parent and flow.child < setting.depth and flow.role != "O":
                writes[:, flow.child] = load.arriving[:, flow.child] if _sole(setting, flow) else 0.0
        ends += _slowest(setting, reads, writes, False) + _slowest(setting, nothing, back, False)
    rest = _slowest(setting, load.out, load.into, False)  # the ends keep every port busy with its own first tiles
    if sure.any():
        out, into = np.maximum(load.out - load.first, 0.0), np.maximum(load.into - load.arriving - load.last, 0.0)
        rest = np.where(sure, ends + _slowest(setting, out, into, False), rest)
    return np.maximum(steps + ends, rest)


def _sole(setting: Setting, flow: Flow) -> bool:
    """Say whether all inputs of a child come from one parent: their first tiles then arrive together."""
    parents = {other.parent for other in setting.flows if other.child == flow.child and other.role != "O"}
    return len(parents) == 1


def _slowest(setting: Setting, out: Floats, into: Floats, complete: bool) -> Floats:
    """Give the cycles of the slowest port; whole cycles if the words are those of a port's whole work."""
    slowest = np.zeros(len(out))
    for place, level in enumerate(setting.accelerator.levels):
        rates = (level.read_words_per_cycle, level.write_words_per_cycle)
        times = [words[:, place] / rate for words, rate in zip((out, into), rates, strict=True) if rate]
        if setting.rules.shared_ports and level.shared_port and times:
            times = [np.sum(times, axis=0)]
        for time in times:
            slowest = np.maximum(slowest, np.ceil(time * _LESS) if complete else time)
    return slowest
