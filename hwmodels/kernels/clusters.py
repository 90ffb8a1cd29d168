"""Which operators of a workload run as one kernel, by the style of the software that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from hwmodels.fusion import PRODUCTS, plan_steps
from workloads.operator import FREE_KINDS, Operator, Tensor
from workloads.structure import Attention, find_attention
from workloads.structure.patterns import is_activation_product
from workloads.workload import Workload

__all__ = ["STYLES", "Cluster", "Style", "clusters", "fused_groups"]

ClusterKind = Literal["attention", "gated", "rope", "product", "elementwise", "copy", "nothing"]

SHUFFLES = {"Transpose", "Expand", "Split", "Slice", "Unsqueeze", "Squeeze", "Reshape"}
"""Operators that only say where values lie; a kernel that takes strides reads through them."""

POINTWISE = {"elementwise", "gelu", "activation", "convert", "norm", "softmax", "reduce"}
"""Kinds that a compiler writes as one loop with their neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a software stack turns a graph into kernels.

    Attributes:
        name: Key of `STYLES`.
        attention: Scores, scale, mask, softmax and context are one kernel.
        gated: An activation and the product with its gate are one kernel; so are a residual addition and the norm
            behind it, the rotations of queries and keys, and what appends keys and values to a cache.
        siblings: Products with one left operand are one product: queries, keys, values; gate and up.
        chains: Neighbouring element-wise operators, norms and softmax are one kernel.
        copies: A transpose is a kernel; else whatever reads it takes strides.
        expand: Operator kinds that run as several kernels, each an operation of the measured tables.
    """

    name: str
    attention: bool
    gated: bool
    siblings: bool
    chains: bool
    copies: bool
    expand: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


STYLES = {
    "library": Style(name="library", attention=True, gated=True, siblings=True, chains=False, copies=False),
    "compiled": Style(name="compiled", attention=False, gated=True, siblings=False, chains=True, copies=False),
    "eager": Style(name="eager", attention=False, gated=False, siblings=False, chains=False, copies=True),
}
"""library: an inference engine with fused attention (vLLM, TensorRT-LLM); compiled: what a compiler of loops makes of
the graph (torch.compile); eager: a kernel an operator (PyTorch)."""


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """Operators that run as one kernel, in order; of attention also the block that they are."""

    kind: ClusterKind
    operators: tuple[Operator, ...]
    attention: Attention | None = None


def clusters(workload: Workload, style: Style) -> tuple[Cluster, ...]:
    """Put every operator into a cluster, in the order of their last operators.

    Biases join their products and unpacked weights too, as in `hwmodels.fusion`. Views and control cost nothing.

    Args:
        workload: Scalar or batch.
        style: Of `STYLES` or of your own.
    """
    graph = _Graph(workload)
    order = {op.name: place for place, op in enumerate(workload.operators)}
    home: dict[str, int] = {}
    made: list[Cluster] = []

    def put(kind: ClusterKind, names: Iterable[str], attention: Attention | None = None) -> None:
        inside = [workload.operators[place] for place in sorted(order[name] for name in names if name not in home)]
        home.update({op.name: len(made) for op in inside})
        made.append(Cluster(kind, tuple(inside), attention))

    if style.attention:
        for block in find_attention(workload):
            put("attention", graph.around(block), block)
    if style.gated:
        _put_gated(workload, graph, put, home)
        _put_pairs(workload, graph, put, home)
    for step in plan_steps(workload, ("dequantize", "epilogue")):
        names = [op.name for op in step.operators if op.name not in home]
        if names:
            put(_kind_of([op for op in step.operators if op.name in names], style), names)
    if style.chains:
        made = _chained(made, graph)
    filled = [item for item in made if item.operators]
    return tuple(sorted(filled, key=lambda item: order[item.operators[-1].name]))


def fused_groups(workload: Workload, style: Style) -> tuple[tuple[str, ...], ...]:
    """Name the operators of each fused attention, in order.

    Args:
        workload: What runs.
        style: How.
    """
    if not style.attention:
        return ()
    taken = {name for group in workload.groups for name in group}
    found = [item.operators for item in clusters(workload, style) if item.kind == "attention"]
    named = [tuple(op.name for op in operators if op.kind != "view") for operators in found]
    return tuple(group for group in named if not taken & set(group))


Put = Callable[[ClusterKind, Iterable[str]], None]


def _put_gated(workload: Workload, graph: _Graph, put: Put, home: Mapping[str, int]) -> None:
    """Join an activation with the product of it and its gate, and a residual addition with the norm behind it."""
    for op in workload.operators:
        if op.kind == "norm" and op.name not in home:
            added = [one for one in graph.writers(op) if one.op_type == "Add" and one.name not in home]
            if added and all(tensor.role != "weight" for tensor in added[0].inputs):
                put("elementwise", [added[0].name, op.name])
        if op.kind not in ("activation", "gelu") or op.name in home:
            continue
        readers = graph.readers(op)
        if len(readers) == 1 and readers[0].op_type == "Mul" and readers[0].name not in home:
            put("gated", [op.name, readers[0].name])


def _put_pairs(workload: Workload, graph: _Graph, put: Put, home: Mapping[str, int]) -> None:
    """Join the rotations of queries and keys, and what appends keys and values to a cache, quantizing them first."""
    waiting: dict[str, list[str]] = {"RotaryEmbedding": [], "TensorScatter": []}
    for op in workload.operators:
        if op.op_type not in waiting or op.kind == "view" or op.name in home:
            continue
        pair = waiting[op.op_type]
        pair += [one.name for one in graph.writers(op) if one.op_type == "QuantizeLinear"] + [op.name]
        if _ends(pair, graph, op.op_type) == 2:
            put("rope" if op.op_type == "RotaryEmbedding" else "copy", list(pair))
            pair.clear()
    for op_type, pair in waiting.items():
        if pair:
            put("rope" if op_type == "RotaryEmbedding" else "copy", pair)


def _ends(names: Iterable[str], graph: _Graph, op_type: str) -> int:
    return sum(graph.named(name).op_type == op_type for name in names)


def _kind_of(operators: list[Operator], style: Style) -> ClusterKind:
    if any(op.kind in ("matmul", "conv") for op in operators):
        return "product"
    op = operators[0]
    if op.kind in FREE_KINDS or (op.op_type in SHUFFLES and (op.op_type != "Transpose" or not style.copies)):
        return "nothing"
    return "copy" if op.kind in ("move", "gather") else "elementwise"


def _chained(made: list[Cluster], graph: _Graph) -> list[Cluster]:
    """Merge point-wise clusters with the first of their readers, if that is point-wise too.

    The first reader in order can be merged without a cycle: whatever else leads to it would be an earlier reader.
    """
    home = {op.name: number for number, item in enumerate(made) for op in item.operators}
    order = [op.name for op in graph.workload.operators if op.name in home]
    place = {name: number for number, name in enumerate(order)}
    group: dict[int, list[int]] = {number: [number] for number in range(len(made))}
    for name in order:
        mine = group[home[name]]
        if not all(_is_pointwise(made[one]) for one in mine):
            continue
        readers = [op for one in mine for inner in made[one].operators for op in graph.readers(inner)]
        outside = [op.name for op in readers if op.name in home and group[home[op.name]] is not mine]
        if outside:
            other = group[home[min(outside, key=place.__getitem__)]]
            if all(_is_pointwise(made[one]) for one in other):
                mine += other
                group.update(dict.fromkeys(other, mine))
    out = []
    for numbers in {id(one): one for one in group.values()}.values():
        operators = sorted((op for one in numbers for op in made[one].operators), key=lambda op: place[op.name])
        kind = made[numbers[0]].kind if len(numbers) == 1 else "elementwise"
        out.append(Cluster(kind, tuple(operators), made[numbers[0]].attention))
    return out


def _is_pointwise(item: Cluster) -> bool:
    return item.kind in ("elementwise", "gated") and all(op.kind in POINTWISE for op in item.operators)


class _Graph:
    """Who writes and who reads what, through operators that cost nothing. Built once, never changed."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self._by_name = {op.name: op for op in workload.operators}
        self._producers, self._consumers = workload.producers(), workload.consumers()

    def named(self, name: str) -> Operator:
        """Give an operator by name."""
        return self._by_name[name]

    def readers(self, op: Operator) -> list[Operator]:
        """Give the operators that read what an operator writes, through views."""
        found: list[Operator] = []
        for tensor in op.outputs:
            for reader in self._consumers.get(tensor.name, ()):
                found += self.readers(reader) if reader.kind == "view" else [reader]
        return found

    def writers(self, op: Operator) -> list[Operator]:
        """Give the operators that wrote what an operator reads, through views."""
        found: list[Operator] = []
        for tensor in op.inputs:
            writer = self._producers.get(tensor.name)
            if writer is not None:
                found += self.writers(writer) if writer.kind == "view" else [writer]
        return found

    def around(self, block: Attention) -> set[str]:
        """Name what fused attention takes in: all between scores and context, and what only lays their operands out."""
        scores, context = self._by_name[block.scores], self._by_name[block.context]
        inside = {block.scores, block.softmax, block.context} | self._between(scores, context)
        waiting = [*scores.inputs, *context.inputs]
        for part in self._summands(inside):  # scores of another part of each head: rotated dims beside plain ones
            inside.add(part.name)
            waiting += part.inputs
        while waiting:
            writer = self._producers.get(waiting.pop().name)
            if writer is None or writer.name in inside or not _lays_out(writer):
                continue
            if all(reader.name in inside for t in writer.outputs for reader in self._consumers.get(t.name, ())):
                inside.add(writer.name)
                waiting += writer.inputs
        below = context
        while True:
            readers = [one for tensor in below.outputs for one in self._consumers.get(tensor.name, ())]
            if len(readers) != 1 or readers[0].op_type not in SHUFFLES:
                return inside
            below = readers[0]
            inside.add(below.name)

    def _summands(self, inside: set[str]) -> list[Operator]:
        """Give the products outside of an attention that are added to its scores and read by nothing else."""
        found = []
        for name in inside:
            op = self._by_name[name]
            for tensor in op.inputs if op.op_type == "Add" else ():
                writer = self._producers.get(tensor.name)
                if writer is not None and writer.name not in inside and is_activation_product(writer):
                    found += [writer] if len(self._consumers.get(tensor.name, ())) == 1 else []
        return found

    def _between(self, scores: Operator, context: Operator) -> set[str]:
        """Name the operators that come from the scores and lead to the context."""
        below, waiting = {scores.name}, [scores]
        while waiting:
            for tensor in waiting.pop().outputs:
                for reader in self._consumers.get(tensor.name, ()):
                    if reader.name not in below and reader.kind not in PRODUCTS:
                        below.add(reader.name)
                        waiting.append(reader)
        leading, waiting = set[str](), [context]
        while waiting:
            for tensor in waiting.pop().inputs:
                name = self._writer(tensor)
                if name in below and name not in leading:
                    leading.add(name)
                    waiting.append(self._producers[tensor.name])
        return leading

    def _writer(self, tensor: Tensor) -> str:
        writer = self._producers.get(tensor.name)
        return writer.name if writer is not None else ""


def _lays_out(op: Operator) -> bool:
    """Say whether an operator only shuffles, scales or unpacks an operand of attention."""
    if op.op_type in SHUFFLES:
        return True
    if op.kind == "convert":
        return op.op_type == "DequantizeLinear"
    return op.op_type in ("Mul", "Div") and any(not tensor.axes for tensor in op.inputs)
