"""Peak memory by liveness: weights stay, an activation lives from its writer to its last reader."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workloads.operator import Num, Operator
from workloads.workload import Workload

__all__ = ["activation_peak_bytes", "peak_bytes"]


def peak_bytes(workload: Workload) -> Num:
    """Give the peak memory of one execution: all weights, plus the largest sum of live activations [B].

    A view shares the buffer of its input. Inputs live from the start; outputs live to the end. Tensors inside a fused
    group count like any other: a fused kernel needs them only in part, so the peak is an upper bound there.
    """
    return workload.weight_bytes() + activation_peak_bytes(workload)


def activation_peak_bytes(workload: Workload) -> Num:
    """Give the largest sum of activations (and KV cache) that are live at once [B]."""
    buffer_of = _buffers(workload.operators)
    frees = _frees(workload, buffer_of)
    sizes = _outside(workload.operators, buffer_of)
    live: Num = sum(sizes.values(), start=0.0)
    peak = live
    for op, freed in zip(workload.operators, frees, strict=True):
        for tensor in op.outputs:
            if buffer_of[tensor.name] == tensor.name:
                sizes[tensor.name] = tensor.stored_bytes(op.dims)
                live = live + sizes[tensor.name]
        peak = _larger(peak, live)
        for root in freed:
            live = live - sizes[root]
    return peak


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
            source = op.inputs[0].name if op.kind == "view" and op.inputs else tensor.name
            buffer_of[tensor.name] = buffer_of.get(source, tensor.name)
    return buffer_of


def _outside(operators: Sequence[Operator], buffer_of: dict[str, str]) -> dict[str, Num]:
    """Give the size of every activation that no operator writes [B]."""
    written = {tensor.name for op in operators for tensor in op.outputs}
    sizes: dict[str, Num] = {}
    for op in operators:
        for tensor in op.inputs:
            if tensor.name in buffer_of and tensor.name not in written and tensor.name not in sizes:
                sizes[tensor.name] = tensor.stored_bytes(op.dims)
    return sizes


def _frees(workload: Workload, buffer_of: dict[str, str]) -> list[list[str]]:
    """List, per operator, the buffers that nobody needs after it."""
    last: dict[str, int] = {}
    for position, op in enumerate(workload.operators):
        for tensor in op.tensors():
            if tensor.name in buffer_of:
                last[buffer_of[tensor.name]] = position
    kept = {buffer_of[name] for name in workload.outputs if name in buffer_of}
    frees: list[list[str]] = [[] for _ in workload.operators]
    for root, position in last.items():
        if root not in kept:
            frees[position].append(root)
    return frees


def _larger(a: Num, b: Num) -> Num:
    return np.maximum(a, b) if isinstance(a, np.ndarray) or isinstance(b, np.ndarray) else max(a, b)
