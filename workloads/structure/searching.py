"""Which operator of a kind stands nearest above or below every other one: each table in one pass over the workload.

A search from every softmax and activation would be quadratic where long chains of element-wise operators lead nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from workloads.operator import Operator, Tensor
from workloads.workload import Workload

__all__ = ["first_above", "first_below"]

Wanted = Callable[[Operator], bool]


def first_above(workload: Workload, through: Collection[str], wanted: Wanted) -> Callable[[str], Operator | None]:
    """Give a function from a tensor's name to the wanted operator that it comes from.

    Of several activations the largest one is followed first; the others lead past a KV cache.

    Args:
        workload: Scalar, in topological order.
        through: Kinds of operators that are passed.
        wanted: Which operator to find.
    """
    found: dict[str, Operator] = {}
    for op in workload.operators:
        nearest: Operator | None = None
        if wanted(op):
            nearest = op
        elif op.kind in through:
            above = [tensor for tensor in op.inputs if tensor.name in found and tensor.role != "weight"]
            if above:
                largest = max(above, key=lambda tensor: _volume(tensor, op)) if len(above) > 1 else above[0]
                nearest = found[largest.name]
        if nearest is not None:
            for tensor in op.outputs:
                found[tensor.name] = nearest
    return found.get


def _volume(tensor: Tensor, op: Operator) -> float:
    size = 1.0
    for extent in tensor.shape(op.dims):
        size *= float(extent)  # structure is found on scalar workloads
    return size


def first_below(
    workload: Workload, consumers: Mapping[str, list[Operator]], through: Collection[str], wanted: Wanted
) -> Callable[[Operator], Operator | None]:
    """Give a function from an operator to the nearest wanted operator that works on its result.

    Of several at one distance, the one that a breadth-first search finds first.

    Args:
        workload: In topological order.
        consumers: Of the workload.
        through: Kinds of operators that are passed.
        wanted: Which operator to find.
    """
    found: dict[str, tuple[int, Operator]] = {}
    hits = {op.name for op in workload.operators if wanted(op)}
    for op in reversed(workload.operators):
        best: tuple[int, Operator] | None = None
        for reader in (reader for tensor in op.outputs for reader in consumers.get(tensor.name, ())):
            if reader.name in hits:
                best = (1, reader)
                break
            below = found.get(reader.name) if reader.kind in through else None
            if below is not None and (best is None or below[0] + 1 < best[0]):
                best = (below[0] + 1, below[1])
        if best is not None:
            found[op.name] = best
    return lambda op: found[op.name][1] if op.name in found else None
