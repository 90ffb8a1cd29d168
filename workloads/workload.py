"""`Workload`: operators in topological order, joined by tensor names; `Program`: an expectation over workloads."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import WorkloadError
from workloads.operator import Num, Operator, Tensor, is_batch

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Choice", "Program", "Workload"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Workload:
    """What is computed: operators in topological order; edges are tensor names.

    Attributes:
        name: Of the model.
        operators: In an order in which every tensor is written before it is read.
        inputs: Names of the tensors that come from outside.
        outputs: Names of the tensors that are the result.
        folded: Names of the ONNX nodes that compute constants (shapes, folded weights): they cost nothing at run time.
        groups: Fused groups, each a tuple of operator names that run as one kernel.
        bindings: Symbolic dims of the source and the sizes they were given.
        held: What a caller keeps in memory while this runs, by tensor: its size [B], or 0 where another one's covers
            it. The operators may read it; it does not count again.
    """

    name: str
    operators: tuple[Operator, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    bindings: Mapping[str, int] = field(default_factory=dict)
    held: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Say in a line what it is: its fields written out are megabytes."""
        sizes = ", ".join(f"{name}={size}" for name, size in self.bindings.items())
        return f"<Workload {self.name!r}: {len(self.operators)} operators{f', {sizes}' if sizes else ''}>"

    def __iter__(self) -> Iterator[Operator]:
        return iter(self.operators)

    def __len__(self) -> int:
        return len(self.operators)

    def __getitem__(self, name: str) -> Operator:
        for operator in self.operators:
            if operator.name == name:
                return operator
        raise WorkloadError(f"workload {self.name!r} has no operator {name!r}")

    def flops(self) -> Num:
        """Count the FLOPs of one execution."""
        return sum((op.count * op.flops() for op in self.operators), start=0.0)

    def dram_bytes(self) -> Num:
        """Give the least bytes of one execution: every operator reads its inputs and writes its outputs once [B]."""
        return sum((op.count * op.dram_bytes() for op in self.operators), start=0.0)

    def macs(self, *kinds: str) -> Num:
        """Count multiply-adds of the given kinds (default: matmul and conv)."""
        wanted = kinds or ("matmul", "conv")
        return sum((op.count * op.points() for op in self.operators if op.kind in wanted), start=0.0)

    def weights(self) -> dict[str, tuple[Tensor, Operator]]:
        """Give every weight tensor once, by name, with its first reader."""
        found: dict[str, tuple[Tensor, Operator]] = {}
        for op in self.operators:
            for tensor in op.inputs:
                if tensor.role == "weight":
                    found.setdefault(tensor.name, (tensor, op))
        return found

    def weight_bytes(self) -> Num:
        """Give the bytes that all weights occupy, each once [B]."""
        return _stored_bytes(self.weights())

    def weight_count(self) -> Num:
        """Count the weight values (parameters that the graph reads)."""
        return _stored_values(self.weights())

    def digest(self) -> str:
        """Hash what determines cost: signatures, edges and groups (hex, 16 characters); not the names of operators."""
        index = {op.name: position for position, op in enumerate(self.operators)}
        edges = {tensor: number for number, tensor in enumerate(self._tensor_names())}
        text = repr(
            [(op.signature(), [edges[tensor.name] for tensor in op.tensors()]) for op in self.operators]
            + [tuple(index[name] for name in group) for group in self.groups]
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _tensor_names(self) -> list[str]:
        return list(dict.fromkeys(tensor.name for op in self.operators for tensor in op.tensors()))

    def producers(self) -> dict[str, Operator]:
        """Map each tensor name to the operator that writes it."""
        return {tensor.name: op for op in self.operators for tensor in op.outputs}

    def consumers(self) -> dict[str, list[Operator]]:
        """Map each tensor name to the operators that read it, in order."""
        readers: defaultdict[str, list[Operator]] = defaultdict(list)
        for op in self.operators:
            for tensor in op.inputs:
                readers[tensor.name].append(op)
        return dict(readers)

    def to_networkx(self) -> nx.MultiDiGraph[Any]:
        """Give a graph with one node per operator (attribute `operator`) and one edge per tensor (attribute `tensor`).

        Two operators may share several tensors (Split and Concat), so it is a multigraph; a tensor's name is its key.
        """
        import networkx

        graph: nx.MultiDiGraph[Any] = networkx.MultiDiGraph(name=self.name)
        producers = self.producers()
        for op in self.operators:
            graph.add_node(op.name, operator=op, kind=op.kind, block=op.block)
            for tensor in op.inputs:
                if tensor.name in producers:
                    graph.add_edge(producers[tensor.name].name, op.name, key=tensor.name, tensor=tensor.name)
        return graph


def _stored_bytes(weights: Mapping[str, tuple[Tensor, Operator]]) -> Num:
    scalar, batch = 0.0, None
    for tensor, op in weights.values():
        size = tensor.stored_bytes(op.dims)
        if not is_batch(size):
            scalar += size  # type: ignore[assignment]  # no batch here
        elif batch is None:
            batch = np.array(size, dtype=np.float64)
        else:
            batch += size  # in place: a third of the time of a new array per weight
    return scalar if batch is None else batch + scalar


def _stored_values(weights: Mapping[str, tuple[Tensor, Operator]]) -> Num:
    total: Num = 0.0
    for tensor, op in weights.values():
        size: Num = 1.0
        for extent in tensor.shape(op.dims):
            size = size * extent
        total = total + size
    return total


@dataclass(frozen=True, slots=True)
class Choice:
    """One of two or more exclusive alternatives, one of which runs.

    Attributes:
        decision: What is decided: the name of an If node.
        outcome: Which alternative this is.
        probability: Of this outcome.
        times: How often the decision is made in one execution of the program.
    """

    decision: str
    outcome: str
    probability: float
    times: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Program:
    """An expectation over workloads: decode over context lengths, control flow, a histogram of lengths.

    Equal names of weights in several parts mean the same weight.

    Attributes:
        name: Of the program.
        parts: (weight, workload) pairs; a weight is an expected number of executions, so weights need not sum to one.
        paths: For each part the choices that lead to it, the outermost first. Empty: nothing is known of them.
    """

    name: str
    parts: tuple[tuple[Num, Workload], ...]
    paths: tuple[tuple[Choice, ...], ...] = ()

    def __repr__(self) -> str:
        """Say in a line what it is."""
        return f"<Program {self.name!r}: {len(self.parts)} parts>"

    def __iter__(self) -> Iterator[tuple[Num, Workload]]:
        return iter(self.parts)

    @property
    def operators(self) -> tuple[Operator, ...]:
        """Operators of all parts, counted as often as they run in the mean; names may repeat."""
        return tuple(replace(op, count=op.count * weight) for weight, work in self.parts for op in work.operators)

    @property
    def bindings(self) -> Mapping[str, int]:
        """Sizes of the symbolic dims, where all parts have the same; else of the first."""
        return self.parts[0][1].bindings if self.parts else {}

    def flops(self) -> Num:
        """Count the expected FLOPs."""
        return sum((weight * workload.flops() for weight, workload in self.parts), start=0.0)

    def macs(self, *kinds: str) -> Num:
        """Count the expected multiply-adds of the given kinds (default: matmul and conv)."""
        return sum((weight * workload.macs(*kinds) for weight, workload in self.parts), start=0.0)

    def dram_bytes(self) -> Num:
        """Give the expected least bytes that operators move [B]."""
        return sum((weight * workload.dram_bytes() for weight, workload in self.parts), start=0.0)

    def weights(self) -> dict[str, tuple[Tensor, Operator]]:
        """Give every weight tensor of all parts once, by name, with its first reader."""
        found: dict[str, tuple[Tensor, Operator]] = {}
        for _, workload in self.parts:
            found = workload.weights() | found
        return found

    def weight_bytes(self) -> Num:
        """Give the bytes that the weights of all parts occupy, each once [B]."""
        return _stored_bytes(self.weights())

    def weight_count(self) -> Num:
        """Count the weight values of all parts, each once."""
        return _stored_values(self.weights())

    def digest(self) -> str:
        """Hash what determines cost: the parts and their weights (hex, 16 characters)."""
        text = repr([(weight, workload.digest()) for weight, workload in self.parts])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def map(self, function: Callable[[Workload], Workload]) -> Program:
        """Give the program with another workload in the place of each: compressed, say."""
        return Program(
            name=self.name,
            parts=tuple((weight, function(workload)) for weight, workload in self.parts),
            paths=self.paths,
        )

    def scenarios(self) -> tuple[tuple[float, Program], ...]:
        """Give what may happen: pairs of a probability and the program of what then runs, for a distribution of costs.

        Decisions are taken to be independent. What is no alternative keeps its weight in every scenario.

        Raises:
            WorkloadError: A decision is made anew in every trip of a loop, or there are more than 4096 scenarios.

        Example:
            >>> either = Program(name="p", parts=((0.25, Workload(name="a", operators=())),
            ...     (0.75, Workload(name="b", operators=()))),
            ...     paths=((Choice("if", "then", 0.25),), (Choice("if", "else", 0.75),)))
            >>> [(p, [work.name for _, work in program]) for p, program in either.scenarios()]
            [(0.25, ['a']), (0.75, ['b'])]
        """
        worlds: list[tuple[float, dict[str, str]]] = [(1.0, {})]
        for choices in self.paths:
            for depth, choice in enumerate(choices, start=1):
                worlds = _split(worlds, choices[:depth], self.paths)
                if choice.times / np.prod([outer.probability for outer in choices[: depth - 1]]) != 1:
                    raise WorkloadError(
                        f"program {self.name!r}: {choice.decision!r} is decided anew in every trip of a loop; only its "
                        "expectation is known"
                    )
        return tuple((probability, self._given(world)) for probability, world in worlds)

    def _given(self, world: Mapping[str, str]) -> Program:
        """Give what runs when decisions have these outcomes."""
        kept = [
            (weight / float(np.prod([choice.probability for choice in path])), workload)
            for (weight, workload), path in zip(self.parts, self.paths or ((),) * len(self.parts), strict=True)
            if all(world.get(choice.decision) == choice.outcome for choice in path)
        ]
        return Program(name=self.name, parts=tuple(kept))


def _split(
    worlds: list[tuple[float, dict[str, str]]], path: tuple[Choice, ...], paths: tuple[tuple[Choice, ...], ...]
) -> list[tuple[float, dict[str, str]]]:
    """Split the worlds that reach the last decision of a path into its outcomes."""
    *outer, last = path
    outcomes = {
        choice.outcome: choice.probability for other in paths for choice in other if choice.decision == last.decision
    }
    split = []
    for probability, world in worlds:
        if last.decision in world or any(world.get(choice.decision) != choice.outcome for choice in outer):
            split.append((probability, world))
        else:
            split += [(probability * chance, {**world, last.decision: name}) for name, chance in outcomes.items()]
    if len(split) > _MOST_SCENARIOS:
        raise WorkloadError(f"more than {_MOST_SCENARIOS} scenarios; use the expectation")
    return split


_MOST_SCENARIOS = 4096
