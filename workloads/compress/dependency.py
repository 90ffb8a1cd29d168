"""Which axes shrink together when a head or a neuron goes: one dim, followed through every activation that carries it.

Every index of a carried axis has a label: the head (or neuron) that it belongs to. Axes that split or join dims
(n = head_dim x head + d) carry the labels repeated; the slices of every stored weight follow. Labels never pass through
a stored tensor: two layers that read one zero bias (exporters join equal constants) are not one layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.errors import TechniqueError
from workloads.operator import Operator, Tensor
from workloads.workload import Workload

__all__ = ["Group", "Labels", "private_names", "trace_group"]

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Everything that one prunable dim reaches.

    Attributes:
        units: How many heads or neurons there are.
        dims: (operator name, dim name) pairs that shrink in proportion.
        axes: (activation name, axis position) to labels.
        reads: (operator name, weight name, axis position) to labels: how each reader slices a stored tensor.
        whole: (activation name, axis position) pairs whose extent is fixed in the axis, not in a dim.
    """

    units: int
    dims: frozenset[tuple[str, str]]
    axes: dict[tuple[str, int], Labels]
    reads: dict[tuple[str, str, int], Labels]
    whole: frozenset[tuple[str, int]]


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


def private_names(workload: Workload, groups: Mapping[str, Group]) -> dict[tuple[str, str], str]:
    """Name the copies of shared weights: a weight with readers that slice it differently is stored once per slicing.

    Args:
        workload: Scalar, the one on which the groups were found.
        groups: Those that are pruned, by block.

    Returns:
        (operator name, weight name) to the name of the reader's own copy; a weight that all its readers slice alike is
        not listed.
    """
    slicing: dict[tuple[str, str], list[tuple[str, int, bytes]]] = {}
    for block, group in groups.items():
        for (operator, weight, position), labels in group.reads.items():
            slicing.setdefault((operator, weight), []).append((block, position, labels.tobytes()))
    shared = {weight for _, weight in slicing}
    classes: dict[str, dict[tuple[Any, ...], list[str]]] = {}
    for op in workload.operators:
        for tensor in op.inputs:
            if tensor.role == "weight" and tensor.name in shared:
                key = tuple(sorted(slicing.get((op.name, tensor.name), [])))
                classes.setdefault(tensor.name, {}).setdefault(key, []).append(op.name)
    names = {}
    for weight, by_key in classes.items():
        sliced = [(key, operators) for key, operators in by_key.items() if key]
        for number, (key, operators) in enumerate(sliced if len(by_key) > 1 else ()):
            for operator in operators:
                names[operator, weight] = f"{weight}@{key[0][0]}.{number}"
    return names


class _Trace:
    """The walk; it holds what has been reached and what is still to be looked at."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.touching: dict[str, list[Operator]] = {}
        for op in workload.operators:
            for name in dict.fromkeys(tensor.name for tensor in op.tensors() if tensor.role != "weight"):
                self.touching.setdefault(name, []).append(op)
        self.axes: dict[tuple[str, int], Labels] = {}
        self.reads: dict[tuple[str, str, int], Labels] = {}
        self.dims: dict[tuple[str, str], Labels] = {}
        self.whole: set[tuple[str, int]] = set()
        self.pending: list[tuple[str, int]] = []

    def run(self, start: Operator, dim: str) -> Group:
        units = int(start.dims[dim])
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
        return Group(units, frozenset(self.dims), self.axes, self.reads, frozenset(self.whole))

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
                    spread = _spread(op, tensor, position, dim, labels)
                    if tensor.role == "weight":
                        self.reads[op.name, tensor.name, position] = spread
                    else:
                        self._reach_axis(tensor.name, position, spread)

    def _reach_axis(self, tensor: str, position: int, labels: Labels) -> None:
        key = (tensor, position)
        if key in self.axes:
            if not np.array_equal(self.axes[key], labels):
                raise TechniqueError(
                    f"tensor {tensor!r}: axis {position} carries two different orders of the pruned units"
                )
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
            if not each or any(tensor.axes[position].extent != each[0].size for tensor in op.outputs):
                raise TechniqueError(f"{op.name} (Split): unequal parts cannot be pruned together")
            for tensor, part in zip(op.outputs, each, strict=True):
                self.whole.add((tensor.name, position))
                self._reach_axis(tensor.name, position, part)
        elif all(tensor.axes[position].extent == labels.size for tensor in op.outputs):
            self.whole.add((source.name, position))
            self._reach_axis(source.name, position, np.tile(labels, parts))
        else:
            raise TechniqueError(f"{op.name} (Split): unequal parts cannot be pruned together")


def _spread(op: Operator, tensor: Tensor, position: int, dim: str, labels: Labels) -> Labels:
    """Label every index of an axis, given the labels of its outermost dim."""
    axis = tensor.axes[position]
    outer = max(axis.terms, key=lambda term: term[0])
    if outer[1] != dim or axis.offset or axis.extent is not None:
        raise TechniqueError(
            f"{op.name} ({op.op_type}): axis {position} of {tensor.name!r} mixes the pruned dim with others "
            "(a flattened batch, or a slice); export the model with separate batch and head axes"
        )
    return np.repeat(labels, outer[0])
