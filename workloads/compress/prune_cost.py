"""Cost view of pruning: which operators change is found once per workload; a call only scales their dims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from workloads.compress.copying import changed
from workloads.compress.dependency import Group, private_names
from workloads.identity import identity
from workloads.operator import Num, Operator, Tensor, is_batch
from workloads.workload import Workload

__all__ = ["Finder", "shrink"]

Finder = Callable[[Workload], Mapping[str, Group]]
"""Finds the prunable groups of a workload, by block."""

Scaled = Callable[[Num, str], Num]


@dataclass(frozen=True, slots=True)
class _Change:
    """What pruning changes in one operator: (dim, block) pairs, own copies of weights, (tensor, axis) extents."""

    dims: tuple[tuple[str, str], ...]
    names: Mapping[str, str]
    extents: Mapping[tuple[str, int], str]


@lru_cache(maxsize=64)
def _changes(base: Workload, find: Finder, blocks: tuple[str, ...]) -> dict[str, _Change]:
    """List the operators that change when the given blocks are pruned."""
    groups = {block: group for block, group in find(base).items() if block in blocks}
    dims: dict[str, list[tuple[str, str]]] = {}
    whole: dict[tuple[str, int], str] = {}
    for block, group in groups.items():
        for operator, dim in sorted(group.dims):
            dims.setdefault(operator, []).append((dim, block))
        whole |= dict.fromkeys(group.whole, block)
    copies = private_names(base, groups)
    changes = {}
    for op in base.operators:
        extents = {
            (tensor.name, position): whole[tensor.name, position]
            for tensor in op.tensors()
            for position, axis in enumerate(tensor.axes)
            if (tensor.name, position) in whole and not axis.terms and axis.extent != 1
        }
        names = {tensor.name: copies[op.name, tensor.name] for tensor in op.inputs if (op.name, tensor.name) in copies}
        if op.name in dims or extents or names:
            changes[op.name] = _Change(tuple(dims.get(op.name, ())), names, extents)
    return changes


def shrink(workload: Workload, base: Workload, find: Finder, counts: Mapping[str, Num]) -> Workload:
    """Scale every dim that carries a block's units.

    Args:
        workload: What other techniques left of `base`.
        base: Scalar; the groups are found on it.
        find: Finds the groups.
        counts: Block to how many units stay, one number or shape (n_points,).
    """
    changes = _changes(base, find, tuple(counts))
    units = {block: group.units for block, group in find(base).items()}
    sizes: dict[object, Num] = {}

    def scaled(size: Num, block: str) -> Num:
        kept = counts[block]
        key = (identity(kept), units[block], identity(size))
        if key not in sizes:  # the same object for equal sizes: the cost model merges operators by it
            each = size / units[block]
            sizes[key] = kept * each if is_batch(kept) or is_batch(size) else int(kept * each)
        return sizes[key]

    operators = tuple(
        op if op.name not in changes else _changed(op, changes[op.name], scaled) for op in workload.operators
    )
    return replace(workload, operators=operators)


def _changed(op: Operator, change: _Change, scaled: Scaled) -> Operator:
    dims = dict(op.dims)
    for dim, block in change.dims:
        dims[dim] = scaled(dims[dim], block)
    inputs, outputs = op.inputs, op.outputs
    if change.names:
        inputs = tuple(replace(t, name=change.names[t.name]) if t.name in change.names else t for t in inputs)
    if change.extents:
        inputs = tuple(_with_extents(tensor, change.extents, scaled) for tensor in inputs)
        outputs = tuple(_with_extents(tensor, change.extents, scaled) for tensor in outputs)
    return changed(op, dims=dims, inputs=inputs, outputs=outputs)


def _with_extents(tensor: Tensor, extents: Mapping[tuple[str, int], str], scaled: Scaled) -> Tensor:
    """Scale axes that an operator reads whole (the parts of a Split)."""
    axes = tuple(
        replace(axis, extent=scaled(axis.extent, extents[tensor.name, position]))  # type: ignore[arg-type]  # it has one
        if (tensor.name, position) in extents
        else axis
        for position, axis in enumerate(tensor.axes)
    )
    return replace(tensor, axes=axes)
