"""Peak memory by liveness: weights stay, an activation lives from its writer to its last reader."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from workloads.identity import dims_identity, tensor_identity
from workloads.operator import Num, Operator, Tensor, is_batch
from workloads.workload import Program, Workload

__all__ = ["activation_peak_bytes", "live_bytes", "peak_bytes"]


def peak_bytes(
    workload: Workload | Program, on_chip: Collection[str] = (), kernels: Iterable[Collection[str]] = ()
) -> Num:
    """Give the peak memory of one execution: all weights, plus the largest sum of live activations [B].

    A view shares the buffer of its input. Inputs live from the start; outputs live to the end. Of a program: the
    weights of all parts, each once, plus the largest part, with what its caller keeps.

    Args:
        workload: Its numbers may be batches of shape (n_points,).
        on_chip: Names of activations that never reach memory: inside a fused kernel. By default they count like any
            other, and the peak is an upper bound.
        kernels: Names of operators that run as one kernel, which holds its inputs until it ends.
    """
    return workload.weight_bytes() + activation_peak_bytes(workload, on_chip, kernels)


def activation_peak_bytes(
    workload: Workload | Program, on_chip: Collection[str] = (), kernels: Iterable[Collection[str]] = ()
) -> Num:
    """Give the largest sum of activations (and KV cache) that are live at once [B]."""
    if isinstance(workload, Program):
        none: Num = 0.0
        return reduce(_larger, [activation_peak_bytes(part, on_chip, kernels) for _, part in workload], none)
    held = sum(workload.held.values())
    on_chip = {*on_chip, *workload.held} if workload.held else on_chip
    return _peak_inside(workload, on_chip, kernels) + held


def _larger(a: Num, b: Num) -> Num:
    return np.maximum(a, b) if is_batch(a) or is_batch(b) else max(a, b)


def _peak_inside(workload: Workload, on_chip: Collection[str], kernels: Iterable[Collection[str]]) -> Num:
    buffer_of = _buffers(workload.operators)
    if any(is_batch(op.count) and op.inputs and op.inputs[0].role != "weight" for op in workload.operators):
        return _mixed_peak_bytes(workload, buffer_of, on_chip, kernels)
    frees = _frees(workload, buffer_of, kernels)
    live = _LiveSet()
    for name, (tensor, op) in _outside(workload.operators, buffer_of).items():
        if name not in on_chip:
            live.add(name, tensor, op.dims)
    for op, freed in zip(workload.operators, frees, strict=True):
        for tensor in op.outputs:
            if buffer_of.get(tensor.name) == tensor.name and tensor.name not in on_chip:
                live.add(tensor.name, tensor, op.dims)
        if freed:
            live.note()  # the set grows until something is freed: only here can a peak be
            for name in freed:
                live.remove(name)
    live.note()
    return live.peak()


@dataclass(slots=True)
class _LiveSet:
    """The live buffers as a number and a multiset of batches; it changes while the workload is walked.

    Equal layers have equal live sets, so a batch is summed once per distinct set and not once per operator: 30 times
    fewer array operations for twelve layers.
    """

    scalar: float = 0.0
    counts: dict[Hashable, int] = field(default_factory=dict)
    batches: dict[Hashable, Num] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)
    keys: dict[str, Hashable] = field(default_factory=dict)
    noted: dict[frozenset[tuple[Hashable, int]], float] = field(default_factory=dict)

    def add(self, name: str, tensor: Tensor, dims: Mapping[str, Num]) -> None:
        key = _size_identity(tensor, dims)
        if key not in self.batches:
            size = tensor.stored_bytes(dims)
            if not is_batch(size):
                self.sizes[name] = float(size)
                self.scalar += float(size)
                return
            self.batches[key] = size
        self.keys[name] = key
        self.counts[key] = self.counts.get(key, 0) + 1

    def remove(self, name: str) -> None:
        self.scalar -= self.sizes.pop(name, 0.0)
        key = self.keys.pop(name, None)
        if key is not None:
            self.counts[key] -= 1
            if not self.counts[key]:
                del self.counts[key]

    def note(self) -> None:
        live = frozenset(self.counts.items())
        self.noted[live] = max(self.noted.get(live, 0.0), self.scalar)

    def peak(self) -> Num:
        largest: Num = 0.0
        for live, scalar in self.noted.items():
            total: Num = scalar
            for key, count in live:
                total = total + (self.batches[key] if count == 1 else count * self.batches[key])
            largest = _larger(largest, total)
        return largest


def _mixed_peak_bytes(
    workload: Workload, buffer_of: dict[str, str], on_chip: Collection[str], kernels: Iterable[Collection[str]]
) -> Num:
    """Give the peak where operators do not run in every design point: so the last reader differs from point to point.

    An operator with count 0 reads nothing, and its outputs have no bits; a tensor may have one writer per alternative.
    """
    touched = _touched(workload, buffer_of, kernels)
    kept = {buffer_of[name] for name in workload.outputs if name in buffer_of}
    sizes: dict[str, Num] = {}
    for name, (tensor, op) in _outside(workload.operators, buffer_of).items():
        if name not in on_chip:
            sizes[name] = tensor.stored_bytes(op.dims)
    total: Num = sum(sizes.values(), start=0.0)
    peak = total
    for position, op in enumerate(workload.operators):
        for tensor in op.outputs:
            if buffer_of.get(tensor.name) == tensor.name and tensor.name not in on_chip:
                size = tensor.stored_bytes(op.dims)
                sizes[tensor.name] = sizes.get(tensor.name, 0.0) + size
                total = total + size
        peak = np.maximum(peak, total)
        for root, needed in touched[position]:
            if root in sizes and root not in kept:
                left = sizes[root] * needed
                total = total - (sizes[root] - left)
                sizes[root] = left
    return peak


def _touched(
    workload: Workload, buffer_of: Mapping[str, str], kernels: Iterable[Collection[str]]
) -> list[list[tuple[str, Num]]]:
    """List, per position, the buffers that are touched there, and whether (1 or 0) a later operator needs them."""
    at = {op.name: position for position, op in enumerate(workload.operators)}
    end = {name: max(at[member] for member in kernel) for kernel in kernels for name in kernel}
    runs: dict[tuple[int, str], Num] = {}
    for position, op in enumerate(workload.operators):
        for root in {buffer_of[tensor.name] for tensor in op.tensors() if tensor.name in buffer_of}:
            key = (end.get(op.name, position), root)
            runs[key] = np.maximum(runs.get(key, 0), np.not_equal(op.count, 0)) if is_batch(op.count) else 1
    later: dict[str, Num] = {}
    touched: list[list[tuple[str, Num]]] = [[] for _ in workload.operators]
    for position, root in sorted(runs, reverse=True):
        needed = later.get(root, 0)
        if is_batch(needed) or needed == 0:  # else it stays in every design point
            touched[position].append((root, needed))
            ran = runs[position, root]
            later[root] = np.maximum(needed, ran) if is_batch(needed) or is_batch(ran) else max(needed, ran)
    return touched


def _buffers(operators: Sequence[Operator]) -> dict[str, str]:
    """Map each activation to the one whose memory it shares: a view writes nothing of its own."""
    written = {tensor.name for op in operators for tensor in op.outputs}
    buffer_of = {
        tensor.name: tensor.name
        for op in operators
        for tensor in op.inputs
        if tensor.role != "weight" and tensor.name not in written
    }
    for op in operators:
        for tensor in op.outputs:
            if op.kind != "view" or not op.inputs:
                buffer_of[tensor.name] = tensor.name
            elif op.inputs[0].name in buffer_of:  # a view of a weight is part of the weight
                buffer_of[tensor.name] = buffer_of[op.inputs[0].name]
    return buffer_of


def _outside(operators: Sequence[Operator], buffer_of: dict[str, str]) -> dict[str, tuple[Tensor, Operator]]:
    """Give every activation that no operator writes, with its first reader."""
    written = {tensor.name for op in operators for tensor in op.outputs}
    found: dict[str, tuple[Tensor, Operator]] = {}
    for op in operators:
        for tensor in op.inputs:
            if tensor.name in buffer_of and tensor.name not in written:
                found.setdefault(tensor.name, (tensor, op))
    return found


def _frees(workload: Workload, buffer_of: dict[str, str], kernels: Iterable[Collection[str]]) -> list[list[str]]:
    """List, per operator, the buffers that nobody needs after it."""
    at = {op.name: position for position, op in enumerate(workload.operators)}
    end = {name: max(at[member] for member in kernel) for kernel in kernels for name in kernel}
    last: dict[str, int] = {}
    for position, op in enumerate(workload.operators):
        for tensor in op.tensors():
            if tensor.name in buffer_of:
                root = buffer_of[tensor.name]
                last[root] = max(last.get(root, 0), end.get(op.name, position))
    kept = {buffer_of[name] for name in workload.outputs if name in buffer_of}
    frees: list[list[str]] = [[] for _ in workload.operators]
    for root, position in last.items():
        if root not in kept:
            frees[position].append(root)
    return frees


def live_bytes(
    workload: Workload, name: str, ended: Collection[str] = (), collected: Collection[str] = ()
) -> dict[str, float]:
    """Give the buffers of a scalar workload that stay in memory while one operator runs, with their sizes [B].

    What the operator reads for the last time, and what it writes, are not among them.

    Args:
        workload: The workload.
        name: Of the operator: a loop, say.
        ended: Tensors that stay though the operator is their last reader.
        collected: Results of the operator that are there from its start and fill up.
    """
    buffer_of = _buffers(workload.operators)
    position = next(index for index, op in enumerate(workload.operators) if op.name == name)
    stays = {buffer_of[tensor] for tensor in (*workload.outputs, *ended) if tensor in buffer_of}
    for op in workload.operators[position + 1 :]:
        stays |= {buffer_of[tensor.name] for tensor in op.inputs if tensor.name in buffer_of}
    stays -= {tensor.name for tensor in workload.operators[position].outputs} - set(collected)
    stays |= set(collected)
    sizes: dict[str, Num] = {
        root: tensor.stored_bytes(op.dims) for root, (tensor, op) in _outside(workload.operators, buffer_of).items()
    }
    for op in workload.operators[: position + 1]:
        sizes |= {t.name: t.stored_bytes(op.dims) for t in op.outputs if buffer_of.get(t.name) == t.name}
    return {root: float(size) for root, size in sizes.items() if root in stays}


def _size_identity(tensor: Tensor, dims: Mapping[str, Num]) -> Hashable:
    used = {name: dims[name] for axis in tensor.axes for _, name in axis.terms}
    return (tensor_identity(tensor), dims_identity(used))
