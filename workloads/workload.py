"""`Workload`: operators in topological order, joined by tensor names; `Program`: an expectation over workloads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import WorkloadError
from workloads.operator import Num, Operator, Tensor, is_batch

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Program", "Workload"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
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
    """

    name: str
    operators: tuple[Operator, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    bindings: Mapping[str, int] = field(default_factory=dict)

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
        scalar, batch = 0.0, None
        for tensor, op in self.weights().values():
            size = tensor.stored_bytes(op.dims)
            if not is_batch(size):
                scalar += size  # type: ignore[assignment]  # no batch here
            elif batch is None:
                batch = np.array(size, dtype=np.float64)
            else:
                batch += size  # in place: a third of the time of a new array per weight
        return scalar if batch is None else batch + scalar

    def weight_count(self) -> Num:
        """Count the weight values (parameters that the graph reads)."""
        total: Num = 0.0
        for tensor, op in self.weights().values():
            size: Num = 1.0
            for extent in tensor.shape(op.dims):
                size = size * extent
            total = total + size
        return total

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
        readers: dict[str, list[Operator]] = {}
        for op in self.operators:
            for tensor in op.inputs:
                readers.setdefault(tensor.name, []).append(op)
        return readers

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Program:
    """An expectation over workloads: decode over context lengths, control flow, a histogram of lengths.

    Attributes:
        name: Of the program.
        parts: (weight, workload) pairs; a weight is an expected number of executions, so weights need not sum to one.
    """

    name: str
    parts: tuple[tuple[Num, Workload], ...]

    def __iter__(self) -> Iterator[tuple[Num, Workload]]:
        return iter(self.parts)

    def flops(self) -> Num:
        """Count the expected FLOPs."""
        return sum((weight * workload.flops() for weight, workload in self.parts), start=0.0)
