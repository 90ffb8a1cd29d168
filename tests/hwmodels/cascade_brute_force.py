"""Every fused mapping of a tiny cascade, walked iteration by iteration: what `search_cascade` must not miss.

Nothing of `hwmodels.cascades` but its records of operators is used: loops, residents, rooms, loads, revisits
and times are worked out here, step by step; the cost model prices every mapping of every tile.

What is walked: queries x keys -> functions -> x values (or without the last product) on devices whose sums lie in one
level with ports that never bind, so that adding to sums costs their reading and no time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import permutations, product
from math import ceil, prod
from typing import Any

import numpy as np

from hwmodels.cascades import Cascade
from hwmodels.engines import Engine, function_of
from hwmodels.mapping import MappingBatch, Structure, evaluate
from hwmodels.spatial import ROLES, Accelerator, Conventions
from tests.hwmodels.brute_force import _chains, _loops, _spatial, _spreads
from workloads.operator import Operator, Tensor

PAD, SUMS = "Pad", "Sums"

ONLINE = {"softmax": (5.0, 1.0, 0.0), "layernorm": (8.0, 0.0, 3.0)}


@dataclass
class Walk:
    """The best of all fused mappings so far.

    Attributes:
        cascade: One link or two.
        device: DRAM, `PAD` for operands, `SUMS`.
        rules: Of the device.
        best: Least value by objective.
        one_by_one: Dims that index everything, of which stages in series take one index at a time.
        seen: Fused mappings but for the products' own.
        known: Costs of all mappings of a tile, by what they depend on.
    """

    cascade: Cascade
    device: Accelerator
    rules: Conventions
    best: dict[str, float] = field(default_factory=dict)
    one_by_one: frozenset[str] = frozenset()
    seen: int = 0
    known: dict[Any, np.ndarray] = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        return self.device.engines[0]

    def run(self) -> dict[str, float]:
        """Walk all fused mappings."""
        first = self.cascade.links[0]
        sizes = {dim: int(size) for dim, size in first.product.dims.items() if dim in _dims(first.sums) and size > 1}
        for tile in product(*[_divisors(size) for size in sizes.values()]):
            tiles = dict(zip(sizes, tile, strict=True))
            loops = [dim for dim in sizes if tiles[dim] < sizes[dim]]
            for order in permutations(loops):
                for overlap in (False, True):
                    if not overlap and any(tiles[dim] > 1 for dim in self.one_by_one & set(tiles)):
                        continue
                    for passing in (False, True):
                        if not overlap or loops:
                            self._residents(sizes, tiles, order, overlap, passing)
        return self.best

    def _residents(
        self, sizes: dict[str, int], tiles: dict[str, int], order: tuple[str, ...], overlap: bool, passing: bool
    ) -> None:
        trips = {dim: sizes[dim] // tiles[dim] for dim in sizes}
        number = prod(trips.values())
        links = self.cascade.links
        rows = {dim for op in links[0].functions for dim in _row(op)}
        cut = any(trips.get(dim, 1) > 1 for dim in rows)
        if passing and (rows or any(self.engine.passes.get(function_of(op), 1) > 1 for op in links[0].functions)):
            return
        if passing and len(links) == 1 and number > 1:
            return
        if cut and len(links) == 1:
            return
        names = [tensor.name for link in links for tensor in link.product.inputs[:2]]
        free = [name for name in names if name != links[0].result.name]
        free = [name for name in free if self._loads(name, order, trips) < number]
        for chosen in product((False, True), repeat=len(free)):
            stay = {name for name, yes in zip(free, chosen, strict=True) if yes}
            self.seen += 1
            self._fused(_Way(tiles, trips, order, overlap, passing, cut, stay))

    def _loads(self, name: str, order: tuple[str, ...], trips: dict[str, int]) -> int:
        """Count by walking how often the tile of a tensor changes."""
        dims = self._indexed(name)
        last, count = None, 0
        for at in _walk(order, trips):
            here = tuple(at[dim] for dim in dims if dim in at)
            count += here != last
            last = here
        return count

    def _indexed(self, name: str) -> list[str]:
        ops = [op for link in self.cascade.links for op in link.operators]
        tensor = next(one for op in ops for one in op.tensors() if one.name == name)
        return sorted(_dims(tensor))

    def _fused(self, way: _Way) -> None:
        links, device = self.cascade.links, self.device
        pair = len(links) == 2
        adds = pair and any(trip > 1 for dim, trip in way.trips.items() if dim not in _dims(links[1].sums))
        if way.online and (not pair or not adds):
            return
        homes: list[dict[str, str]] = [{}, {}]
        items: list[_Item] = []
        trips, order, twice = way.trips, way.order, 2 if way.overlap else 1
        for at, link in enumerate(links):
            for tensor in link.product.inputs[:2]:
                role, words = _role(link.product, tensor.name), self._tile(tensor, way)
                if tensor.name in way.stay:
                    homes[at][role] = PAD
                    copies = 2 if way.overlap and self._loads(tensor.name, order, trips) > 1 else 1
                    items.append(_Item(PAD, words, copies, EVERY, {at}))
                if at == 1 and tensor.name == links[0].result.name:
                    homes[1][role] = PAD
                    stages = EVERY if way.overlap or way.passing else {1, 2}
                    items.append(_Item(PAD, words, twice, stages, {0, 1} if way.passing else {1}))
        if way.passing and pair:
            homes[0]["O"] = PAD
        elif not way.passing:
            homes[0]["O"] = SUMS
            stages = EVERY if way.overlap else {0, 2}
            items.append(_Item(SUMS, self._tile(links[0].sums, way), twice, stages, {0}))
        blocks = self._loads(links[-1].sums.name, order, trips)
        if adds or (pair and links[1].functions):
            homes[1]["O"] = SUMS
            copies = twice if blocks > 1 or not adds else 1
            items.append(
                _Item(SUMS, self._tile(links[1].sums, way), copies, EVERY if way.overlap or adds else {1}, {1})
            )
        for tensor in (one for link in links for one in _further(link)):
            if not _same(tensor, links[0].sums):
                copies = 2 if way.overlap and self._loads(tensor.name, order, trips) > 1 else 1
                items.append(_Item(SUMS, self._tile(tensor, way), copies, EVERY, set()))
        if way.online:
            rows = {dim for op in links[0].functions for dim in _row(op)}
            if blocks > prod(trip for dim, trip in trips.items() if dim in _dims(links[1].sums)):
                return  # outputs that go out unfinished cannot be scaled again
            count = prod(size for dim, size in way.tiles.items() if dim not in rows)
            changes = _changes(sorted(set(way.tiles) - rows), order, trips)
            items.append(_Item(SUMS, 2 * count, 2 if way.overlap and changes > 1 else 1, EVERY, set()))
        room = {level.name: np.inf if level.capacity_words is None else level.capacity_words for level in device.levels}
        for name, words in room.items():
            if any(sum(one.taken for one in items if one.level == name and s in one.stages) > words for s in EVERY):
                return
        costs = []
        for at in range(len(links)):
            live = [one for one in items if at in one.stages]
            mine = {name: words - sum(one.taken for one in live if one.level == name)
                    + sum(one.words for one in live if one.level == name and at in one.owners)
                    for name, words in room.items()}  # fmt: skip
            found = self._mappings(self._stage(at, way), homes[at], mine, not order)
            if found is None:
                return
            costs.append(found)
        self._offer(way, costs, adds)

    def _tile(self, tensor: Tensor, way: _Way) -> float:
        sizes = {**self.cascade.sizes, **way.tiles}
        return float(ceil(prod(sizes[dim] for dim in _dims(tensor))))  # one word an element

    def _stage(self, at: int, way: _Way) -> Operator:
        op = self.cascade.links[at].product
        return replace(op, dims={dim: way.tiles.get(dim, size) for dim, size in op.dims.items()})

    def _mappings(self, op: Operator, homes: dict[str, str], room: dict[str, float], alone: bool) -> np.ndarray | None:
        """Give energy, cycles, outermost reads and writes of all mappings that no other one matches or beats in all."""
        if min(room.values()) < 0:
            return None
        key = (tuple(op.dims.items()), op.name, tuple(sorted(homes.items())), alone)
        if key not in self.known:
            levels = tuple(replace(level, capacity_words=None) for level in self.device.levels)
            device = replace(self.device, levels=levels, static_w=0.0)
            rules = replace(self.rules, fill_drain=self.rules.fill_drain and alone)
            self.known[key] = _every_cost(op, device, rules, homes)
        table = self.known[key]
        for at, level in enumerate(self.device.levels[1:]):
            own = sum(prod(op.dims[dim] for dim in _dims(tensor)) for tensor in op.tensors()
                      if homes.get(_role(op, tensor.name)) == level.name)  # fmt: skip
            left = room[level.name] - own
            table = table[table[:, 4 + at] <= (left // 2 if level.buffering == "double" else left)]
        return table[:, :4] if len(table) else None

    def _offer(self, way: _Way, costs: list[np.ndarray], adds: bool) -> None:
        """Add up the walk, for all pairs of the products' mappings at once."""
        device = self.device
        rates = [
            rate or np.inf for rate in (device.levels[0].read_words_per_cycle, device.levels[0].write_words_per_cycle)
        ]
        shared = device.levels[0].shared_port
        stages = [
            _Stage(*np.moveaxis(table[:, None] if at == 0 else table[None], 2, 0)) for at, table in enumerate(costs)
        ]
        total, first = _Sums(), _Sums()
        once: set[str] = set()
        energy: Any = 0.0
        for kind, joules, cycles, read, written in self._events(way, stages, adds):
            busy = _port(read / rates[0], written / rates[1], shared)
            alone = cycles if kind[0] == "product" else np.maximum(cycles, busy)
            energy = energy + joules
            total.add(alone, kind, read / rates[0], written / rates[1])
            if kind[1] not in once:
                once.add(kind[1])
                first.add(alone, kind, read / rates[0], written / rates[1])
        fill = sum(axis.size - 1 for axis in device.levels[-1].mesh) if self.rules.fill_drain else 0
        cycles = total.series + (total.products * fill if way.order else 0)
        if way.overlap:
            ports = [_port(one.read, one.written, shared) for one in (total, first)]
            rests = ports[0] - ports[1], total.array - first.array, total.vector - first.vector
            cycles = first.series + np.maximum(np.maximum(*rests[:2]), rests[2]) + fill
        energy = energy + device.static_w * cycles / device.clock_hz
        for name, value in (("edp", energy * cycles), ("energy", energy), ("latency", cycles)):
            self.best[name] = min(self.best.get(name, np.inf), float(np.min(value)))

    def _events(
        self, way: _Way, stages: list[_Stage], adds: bool
    ) -> Iterator[tuple[tuple[str, str, Any, Any], Any, Any, Any, Any]]:
        """Walk the iterations: what happens, its energy, cycles on the chip, words read from and written to DRAM."""
        links, (dram, pad, sums) = self.cascade.links, self.device.levels
        visits = list(_walk(way.order, way.trips))
        seen: set[tuple[int, ...]] = set()
        state: dict[str, Any] = {}
        shared = [sorted(_dims(link.sums) & set(way.trips)) for link in links]
        for step, at in enumerate(visits):
            for link in links:
                for tensor in link.product.inputs[:2]:
                    if tensor.name in way.stay:
                        yield from self._load(tensor, way, at, state, pad)
                for tensor in _further(link):
                    yield from self._load(tensor, way, at, state, sums)
            yield self._product(0, way, stages[0], 0.0)
            if not way.passing:
                yield self._functions(0, way)
            if way.online:
                yield self._online(way, 0)
            if len(links) == 1:
                continue
            key = tuple(at[dim] for dim in shared[1])
            again = adds and key in seen
            outputs = self._tile(links[1].sums, way)
            if again and state.get("outputs") != key:  # it went out unfinished, and comes back
                yield (
                    ("transfer", "back", 0.0, 0.0),
                    outputs * (dram.read_j + sums.write_j),
                    outputs / (sums.write_words_per_cycle or np.inf),
                    outputs,
                    0.0,
                )
            seen.add(key)
            state["outputs"] = key
            yield self._product(1, way, stages[1], outputs * sums.read_j if again else 0.0)
            later = visits[step + 1 :]
            leaves = not later or tuple(later[0][dim] for dim in shared[1]) != key
            done = all(tuple(one[dim] for dim in shared[1]) != key for one in later)
            if done:
                if way.online and ONLINE[self._row_function()][2]:
                    yield self._online(way, 2)
                if links[1].functions:
                    yield self._functions(1, way)
                elif adds:
                    yield ("transfer", "out", 0.0, 0.0), outputs * dram.write_j, 0.0, 0.0, outputs
            elif leaves and adds:
                yield ("transfer", "unfinished", 0.0, 0.0), outputs * dram.write_j, 0.0, 0.0, outputs

    def _row_function(self) -> str:
        return next(function_of(op) for op in self.cascade.links[0].functions if _row(op))

    def _load(self, tensor: Tensor, way: _Way, at: dict[str, int], state: dict[str, Any], level: Any) -> Iterator[Any]:
        key = tuple(at[dim] for dim in sorted(_dims(tensor) & set(at)))
        if state.get(tensor.name) == key:
            return
        state[tensor.name] = key
        words = self._tile(tensor, way)
        cycles = words / level.write_words_per_cycle if level.write_words_per_cycle else 0.0
        yield (
            ("transfer", f"load {tensor.name}", 0.0, 0.0),
            words * (self.device.levels[0].read_j + level.write_j),
            cycles,
            words,
            0.0,
        )

    def _product(self, place: int, way: _Way, stage: _Stage, more_j: float) -> Any:
        link = self.cascade.links[place]
        if place == 0 and way.passing and link.functions:
            _, joules, cycles, _, _ = self._functions(0, way)
            longest = np.maximum(stage.cycles, cycles)
            return (
                ("both", "product 0", stage.cycles, cycles),
                stage.energy_j + joules,
                longest,
                stage.read,
                stage.written,
            )
        return (
            ("product", f"product {place}", stage.cycles, 0.0),
            stage.energy_j + more_j,
            stage.cycles,
            stage.read,
            stage.written,
        )

    def _functions(self, place: int, way: _Way) -> Any:
        links, engine, (dram, pad, sums) = self.cascade.links, self.engine, self.device.levels
        link = links[place]
        elements = self._tile(link.sums, way)
        passes = max(engine.passes.get(function_of(op), 1) for op in link.functions)
        read = passes * (elements + sum(self._tile(tensor, way) for tensor in _further(link)))
        joules = read * sums.read_j
        cycles = sum(elements * engine.element_cycles(op) for op in link.functions)
        joules += cycles * engine.cycle_j
        cycles /= engine.lanes
        cycles *= self.device.clock_hz / engine.clock_hz
        written = 0.0
        if not way.passing or place == 1:
            if place == len(links) - 1:
                written = elements
                joules += elements * dram.write_j
            else:
                joules += elements * pad.write_j
                cycles = max(cycles, elements / (pad.write_words_per_cycle or np.inf))
        return ("function", f"function {place}", 0.0, cycles), joules, cycles, 0.0, written

    def _online(self, way: _Way, part: int) -> Any:
        engine, sums = self.engine, self.device.levels[2]
        per_row, per_output, at_end = ONLINE[self._row_function()]
        rows = {dim for op in self.cascade.links[0].functions for dim in _row(op)}
        count = prod(size for dim, size in way.tiles.items() if dim not in rows)
        outputs = self._tile(self.cascade.links[1].sums, way)
        each = engine.cycles.get("multiply", engine.cycles.get("flop", 0.0))
        flops = count * per_row + outputs * per_output if part == 0 else outputs * at_end
        moves = outputs if (per_output if part == 0 else at_end) else 0.0
        cycles = flops * each / engine.lanes * self.device.clock_hz / engine.clock_hz
        joules = flops * each * engine.cycle_j + moves * (sums.read_j + sums.write_j)
        return ("function", f"online {part}", 0.0, cycles), joules, cycles, 0.0, 0.0


@dataclass(frozen=True)
class _Way:
    tiles: dict[str, int]
    trips: dict[str, int]
    order: tuple[str, ...]
    overlap: bool
    passing: bool
    online: bool
    stay: set[str]


EVERY = {0, 1, 2}
"""Stages of an iteration: the products, and the functions between them."""


@dataclass(frozen=True)
class _Item:
    level: str
    words: float
    copies: int
    stages: set[int]
    owners: set[int]

    @property
    def taken(self) -> float:
        return self.words * self.copies


@dataclass(frozen=True)
class _Stage:
    energy_j: Any
    cycles: Any
    read: Any
    written: Any


@dataclass
class _Sums:
    series: Any = 0.0
    array: Any = 0.0
    vector: Any = 0.0
    read: Any = 0.0
    written: Any = 0.0
    products: int = 0

    def add(self, alone: Any, kind: tuple[str, str, Any, Any], read: Any, written: Any) -> None:
        self.series = self.series + alone
        self.products += kind[0] in ("product", "both")
        self.array = self.array + kind[2]
        self.vector = self.vector + kind[3]
        self.read = self.read + read
        self.written = self.written + written


def _port(read: Any, written: Any, shared: bool) -> Any:
    return read + written if shared else np.maximum(read, written)


def _every_cost(op: Operator, device: Accelerator, rules: Conventions, homes: dict[str, str]) -> np.ndarray:
    """Give energy, cycles, words read from and written to DRAM, and words of tiles in the other levels."""
    parts = []
    for batch in _every_batch(op, device, rules):
        cost = evaluate(op, device, batch, rules, resident=homes)
        dram = cost.read_words[:, 0].sum(axis=1), cost.written_words[:, 0].sum(axis=1)
        parts.append(np.stack([cost.energy_j, cost.cycles, *dram, *cost.tile_words[:, 1:].sum(axis=2).T], axis=1))
    table = np.unique(np.concatenate(parts), axis=0)
    return np.array([row for row in table if not ((table <= row).all(axis=1) & (table < row).any(axis=1)).any()])


def _every_batch(op: Operator, device: Accelerator, rules: Conventions) -> Iterator[MappingBatch]:
    """List all mappings in which every level keeps what it can; loops above the MACs have one order: none matters."""
    sizes = {dim: int(size) for dim, size in op.dims.items() if size > 1} or {next(iter(op.dims)): 1}
    depth = len(device.levels)
    keeps = tuple(level.keeps for level in device.levels)
    names = tuple(level.name for level in device.levels)
    for spread in _spreads(op, device, rules):
        left = [size // _spatial(spread, dim) for dim, size in sizes.items()]
        chains = np.array(list(product(*[_chains(size, depth) for size in left])), dtype=np.int64)
        trips = [dict(zip(sizes, chains[:, :, level].T, strict=True)) for level in range(depth)]
        for orders in product(permutations(sizes), repeat=depth - 1):
            slots, steps = _loops(spread, trips, (*orders, tuple(sizes)))
            yield MappingBatch(Structure(names, keeps, tuple(slots)), np.stack(steps, axis=1))


def _walk(order: tuple[str, ...], trips: dict[str, int]) -> Iterator[dict[str, int]]:
    rest = dict.fromkeys(trips, 0)
    for values in product(*[range(trips[dim]) for dim in order]):
        yield {**rest, **dict(zip(order, values, strict=True))}


def _changes(dims: list[str], order: tuple[str, ...], trips: dict[str, int]) -> int:
    last, count = None, 0
    for at in _walk(order, trips):
        here = tuple(at[dim] for dim in dims)
        count += here != last
        last = here
    return count


def _dims(tensor: Tensor) -> set[str]:
    return {dim for item in tensor.axes for _, dim in item.terms}


def _same(tensor: Tensor, sums: Tensor) -> bool:
    return _dims(tensor) == _dims(sums)


def _row(op: Operator) -> set[str]:
    return {dim for _, dim in op.inputs[0].axes[-1].terms} if function_of(op) in ONLINE else set()


def _role(op: Operator, name: str) -> str:
    weight = next((at for at, tensor in enumerate(op.inputs[:2]) if tensor.role == "weight"), 1)
    return {op.inputs[weight].name: "W", op.inputs[1 - weight].name: "I"}.get(name, "O")


def _further(link: Any) -> list[Tensor]:
    made = {link.sums.name, *(op.outputs[0].name for op in link.functions)}
    return [tensor for op in link.functions for tensor in op.inputs if tensor.name not in made]


def _divisors(size: int) -> list[int]:
    return [one for one in range(1, size + 1) if size % one == 0]


assert ROLES == ("W", "I", "O")
