"""Which axes shrink together when a head or a neuron goes: one dim, followed through every tensor that carries it.

Every index of a carried axis has a label: the head (or neuron) that it belongs to. Axes that split or join dims
(n = head_dim x head + d) carry the labels repeated; the slices of every stored weight follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import TechniqueError
from workloads.operator import Operator
from workloads.workload import Workload

__all__ = ["Group", "trace_group"]

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Everything that one prunable dim reaches.

    Attributes:
        units: How many heads or neurons there are.
        dims: (operator name, dim name) pairs that shrink in proportion.
        axes: (tensor name, axis position) to labels, for every tensor; weights are sliced by them.
        whole: (tensor name, axis position) pairs whose extent is fixed in the axis, not in a dim.
        weights: Names of the stored tensors among them.
    """

    units: int
    dims: frozenset[tuple[str, str]]
    axes: dict[tuple[str, int], Labels]
    whole: frozenset[tuple[str, int]]
    weights: frozenset[str]


@lru_cache(maxsize=256)
def trace_group(workload: Workload, operator: str, dim: str) -> Group:
    """Follow a dim through the workload.

    Args:
        workload: Scalar.
        operator: Name of an operator.
        dim: The dim of it whose points are the heads or neurons.

    Raises:
        TechniqueError: The dim reaches an output or input of the model, or an axis where it cannot be cut out.
    """
    return _Trace(workload).run(workload[operator], dim)


class _Trace:
    """The walk; it holds what has been reached and what is still to be looked at."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.touching: dict[str, list[Operator]] = {}
        for op in workload.operators:
            for tensor in op.tensors():
                self.touching.setdefault(tensor.name, []).append(op)
        self.axes: dict[tuple[str, int], Labels] = {}
        self.dims: dict[tuple[str, str], Labels] = {}
        self.whole: set[tuple[str, int]] = set()
        self.weights: set[str] = set()
        self.pending: list[tuple[str, int]] = []

    def run(self, start: Operator, dim: str) -> Group:
        units = int(start.dims[dim])  # type: ignore[arg-type]  # scalar workload
        self._reach_dim(start, dim, np.arange(units))
        while self.pending:
            name, position = self.pending.pop()
            for op in self.touching[name]:
                self._enter(op, name, position)
        for name in (*self.workload.outputs, *self.workload.inputs):
            reached = [position for tensor, position in self.axes if tensor == name]
            if reached:
                raise TechniqueError(
                    f"{start.name}: its {dim} reaches axis {reached[0]} of {name!r}, an input or output of the model; "
                    "pruning it would change the model's interface"
                )
        return Group(units, frozenset(self.dims), self.axes, frozenset(self.whole), frozenset(self.weights))

    def _reach_dim(self, op: Operator, dim: str, labels: Labels) -> None:
        key = (op.name, dim)
        if key in self.dims:
            if not np.array_equal(self.dims[key], labels):
                raise TechniqueError(f"{op.name}: its {dim} carries two different orders of the pruned units")
            return
        self.dims[key] = labels
        for tensor in op.tensors():
            for position, axis in enumerate(tensor.axes):
                if any(name == dim for _, name in axis.terms):
                    self._reach_axis(tensor.name, position, self._spread(op, tensor.name, position, dim, labels))
                    if tensor.role == "weight":
                        self.weights.add(tensor.name)

    def _spread(self, op: Operator, tensor: str, position: int, dim: str, labels: Labels) -> Labels:
        """Label every index of an axis, given the labels of its outermost dim."""
        axis = next(item for item in op.tensors() if item.name == tensor).axes[position]
        outer = max(axis.terms, key=lambda term: term[0])
        if outer[1] != dim or axis.offset or axis.extent is not None:
            raise TechniqueError(
                f"{op.name} ({op.op_type}): axis {position} of {tensor!r} mixes the pruned dim with others "
                "(a flattened batch, or a slice); export the model with separate batch and head axes"
            )
        return np.repeat(labels, outer[0])

    def _reach_axis(self, tensor: str, position: int, labels: Labels) -> None:
        key = (tensor, position)
        if key in self.axes:
            if not np.array_equal(self.axes[key], labels):
                raise TechniqueError(f"tensor {tensor!r}: axis {position} carries two different orders of the pruned units")
            return
        self.axes[key] = labels
        self.pending.append(key)

    def _enter(self, op: Operator, name: str, position: int) -> None:
        """Carry the labels of a tensor's axis into an operator that reads or writes the tensor."""
        labels = self.axes[name, position]
        for tensor in op.tensors():
            if tensor.name != name:
                continue
            axis = tensor.axes[position]
            if not axis.terms:
                self._enter_whole(op, name, position, labels)
                continue
            coefficient, dim = max(axis.terms, key=lambda term: term[0])
            outer = labels[::coefficient]
            if not np.array_equal(np.repeat(outer, coefficient), labels):
                raise TechniqueError(
                    f"{op.name} ({op.op_type}): axis {position} of {name!r} is cut across the pruned units; "
                    "they cannot be taken out there"
                )
            self._reach_dim(op, dim, outer)

    def _enter_whole(self, op: Operator, name: str, position: int, labels: Labels) -> None:
        """Pass through an axis that is read whole: an equal split, or a single value that broadcasts."""
        if labels.size == 1:
            return
        self.whole.add((name, position))
        if op.op_type != "Split":
            raise TechniqueError(
                f"{op.name} ({op.op_type}): axis {position} of {name!r} cannot be cut there; only Split can"
            )
        source = op.inputs[0]
        parts = len(op.outputs)
        if name == source.name:
            each = np.split(labels, parts) if labels.size % parts == 0 else []
            if not each:
                raise TechniqueError(f"{op.name} (Split): unequal parts cannot be pruned together")
            for tensor, part in zip(op.outputs, each, strict=True):
                self.whole.add((tensor.name, position))
                self._reach_axis(tensor.name, position, part)
        elif all(tensor.axes[position].extent == labels.size for tensor in op.outputs):
            self.whole.add((source.name, position))
            self._reach_axis(source.name, position, np.tile(labels, parts))
        else:
            raise TechniqueError(f"{op.name} (Split): unequal parts cannot be pruned together")
