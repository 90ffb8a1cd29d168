"""A loop nest walked literally, with sets of indices: what `hwmodels.mapping.evaluate` must agree with.

Nothing of the package's counting is used: each instance of each level keeps the set of elements that it holds, and
every step of the temporal loops looks at all instances.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping as Dict
from itertools import product
from typing import Any

from hwmodels.mapping import Loop, Mapping
from workloads.operator import Tensor

Point = tuple[int, ...]


def interpret(
    sizes: Dict[str, int], tensors: Dict[str, Tensor], mapping: Mapping, boxes: bool = False, forwards: str = ""
) -> dict[str, Any]:
    """Count reads, fills, updates and partition by (level, role), and the steps of the nest.

    Args:
        sizes: Of the dims.
        tensors: By role W, I, O.
        mapping: What to walk.
        boxes: Tiles of I are bounding boxes; a move along several axes reuses nothing; a read is shared only by
            children that hold the same before and after.
        forwards: Roles of which a child may have the words that any sibling held in the step before.
    """
    loops = [(place, loop) for place, level in enumerate(mapping.levels) for loop in (*level.temporal, *level.spatial)]
    out: dict[str, Any] = {name: defaultdict(int) for name in ("reads", "fills", "updates", "partition", "tile")}
    for role, tensor in tensors.items():
        kept = [place for place, level in enumerate(mapping.levels) if role in level.keeps]
        for parent, child in zip(kept, [*kept[1:], len(mapping.levels)], strict=True):
            to_macs = child == len(mapping.levels)
            _walk_hop(sizes, tensor, role, loops, parent, child, to_macs, boxes and role == "I", forwards, out)
        whole = {dim: range(size) for dim, size in sizes.items()}
        out["tile"][0, role] = len(_elements(tensor, whole, boxes and role == "I"))
        out["partition"][0, role] = out["tile"][0, role]
        for level in kept if role == "O" else ():
            out["reads"][level, role] -= out["partition"][level, role]
            out["fills"][level, role] -= out["partition"][level, role] if level else 0
    temporal = [place for place, (_, loop) in enumerate(loops) if not loop.axis]
    out["steps"] = len({tuple(index[place] for place in temporal) for index, _ in _walk(sizes, loops)})
    return out


def _walk(sizes: Dict[str, int], loops: list[tuple[int, Loop]]) -> list[tuple[Point, dict[str, range]]]:
    """List, in order, the index of every loop with the piece of every dim that it leaves."""
    found: list[tuple[Point, dict[str, range]]] = [((), {dim: range(size) for dim, size in sizes.items()})]
    for _, loop in loops:
        found = [
            ((*index, i), {**pieces, loop.dim: pieces[loop.dim][start : start + loop.step]})
            for index, pieces in found
            for i, start in enumerate(range(0, len(pieces[loop.dim]), loop.step))
        ]
    return found


def _elements(tensor: Tensor, pieces: dict[str, range], boxes: bool) -> frozenset[Point]:
    axes = []
    for axis in tensor.axes:
        values = {axis.offset + sum(c * i for (c, _), i in zip(axis.terms, point, strict=True))
                  for point in product(*[pieces[dim] for _, dim in axis.terms])}  # fmt: skip
        held = range(min(values), max(values) + 1) if boxes else values
        axes.append([v for v in held if axis.extent is None or 0 <= v < int(axis.extent)])
    return frozenset(product(*axes))


def _walk_hop(
    sizes: Dict[str, int], tensor: Tensor, role: str, loops: list[tuple[int, Loop]], parent: int, child: int,
    to_macs: bool, boxes: bool, forwards: str, out: dict[str, Any],
) -> None:  # fmt: skip
    above = [(place, loop) for place, loop in loops if place < child]
    steps: dict[Point, list[tuple[Point, Point, frozenset[Point]]]] = {}
    for index, pieces in _walk(sizes, above):
        time = tuple(i for i, (_, loop) in zip(index, above, strict=True) if not loop.axis)
        copy = tuple(i for i, (_, loop) in zip(index, above, strict=True) if loop.axis)
        owner = tuple(i for i, (place, loop) in zip(index, above, strict=True) if loop.axis and place < parent)
        steps.setdefault(time, []).append((copy, owner, _elements(tensor, pieces, boxes)))
    held: dict[Point, frozenset[Point]] = defaultdict(frozenset)
    visited: dict[Point, set[Point]] = defaultdict(set)
    for time in sorted(steps):
        sent: dict[Point, set[Any]] = defaultdict(set)
        before = defaultdict(frozenset, held)
        near: dict[Point, set[Point]] = defaultdict(set)
        for copy, owner, _ in steps[time]:
            near[owner] |= before[copy] if role in forwards else set()
        for copy, owner, tile in steps[time]:
            moved = sum({p[a] for p in tile} != {p[a] for p in held[copy]} for a in range(len(tensor.axes)))
            new = tile if boxes and moved > 1 else tile - held[copy]
            sent[owner] |= {(tile, held[copy], p) for p in new} if boxes else new - near[owner]
            out["fills"][child, role] += 0 if to_macs else len(new)
            held[copy] = frozenset() if to_macs else tile  # MACs have no registers
            visited[copy] |= tile
        words = sum(map(len, sent.values()))
        out["reads"][parent, role] += words
        out["updates"][parent, role] += words if role == "O" else 0
    if not to_macs:
        out["partition"][child, role] = sum(map(len, visited.values()))
        out["tile"][child, role] = max(len(tile) for step in steps.values() for _, _, tile in step)
