"""Mapping every matrix operator of a network: equal operators once, and what is left over by name."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from hwmodels.mapping.problem import narrowed, problem_on
from hwmodels.mapping.records import Mapping
from hwmodels.mapping.traffic import Traffic, evaluate
from hwmodels.spatial import ROLES, Accelerator
from workloads.errors import MappingError
from workloads.operator import FREE_KINDS, Operator
from workloads.workload import Program, Workload

__all__ = ["Finding", "MappedNetwork", "MappedOperator", "Unmapped", "level_rows", "map_network", "operator_rows"]

PRODUCTS = ("matmul", "conv")
"""Operator kinds that run on the array."""

TOTAL = "total"


class Finding(Protocol):
    """What a mapper finds for an operator."""

    @property
    def mapping(self) -> Mapping:
        """The mapping."""
        ...

    @property
    def gap(self) -> float:
        """Relative distance to the lower bound; 0: proven to be the best."""
        ...

    @property
    def candidates(self) -> int:
        """How many were looked at."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MappedOperator:
    """One mapping and the operators that it serves.

    Attributes:
        operator: The first of them, with elements as wide as the array takes.
        names: All of them.
        executions: Of all of them together.
        finding: What the mapper says.
        cost: Of one execution.
    """

    operator: Operator
    names: tuple[str, ...]
    executions: float
    finding: Finding
    cost: Traffic


@dataclass(frozen=True, slots=True)
class Unmapped:
    """An operator that the array does not run.

    Attributes:
        name: Of the operator.
        op_type: What the source calls it.
        flops: Of all its executions.
        reason: Why.
    """

    name: str
    op_type: str
    flops: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MappedNetwork:
    """A network on an accelerator.

    Attributes:
        name: Of the network.
        accelerator: What it runs on.
        operators: What is mapped, in the order of the network.
        unmapped: What is not, none of it free.
        narrowed_from: Widest element of the network's products, if that is more than the array takes [bit]; else 0.
    """

    name: str
    accelerator: Accelerator
    operators: tuple[MappedOperator, ...]
    unmapped: tuple[Unmapped, ...]
    narrowed_from: float = 0.0


def map_network(
    work: Workload | Program,
    accelerator: Accelerator,
    find: Callable[[Operator], Finding],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> MappedNetwork:
    """Map every matrix operator of a network, operators that cost the same once.

    Elements wider than the array takes are costed as if they were quantized to its width.

    Args:
        work: Scalar.
        accelerator: Where it runs.
        find: The mapper.
        progress: Told how many mappings of how many are found.

    Raises:
        MappingError: The network has no product of two tensors, or none of the mapper's fits.
    """
    parts = [(1.0, work)] if isinstance(work, Workload) else [(float(weight), part) for weight, part in work]
    groups: dict[Hashable, list[tuple[Operator, float]]] = {}
    unmapped: list[Unmapped] = []
    widest = 0.0
    for weight, part in parts:
        for op in part.operators:
            executions = weight * float(op.count)
            reason = _refusal(op, accelerator)
            if reason is None:
                widest = max(widest, *[float(tensor.bits) for tensor in op.inputs[:2]])
                fitted = _fitted(op, accelerator)
                groups.setdefault(fitted.signature(), []).append((fitted, executions))
            elif op.kind not in FREE_KINDS:
                unmapped.append(Unmapped(op.name, op.op_type, executions * float(op.flops()), reason))
    if not groups:
        raise MappingError(f"{work.name}: has no matrix product or convolution; there is nothing to map on an array")
    mapped = []
    for members in groups.values():
        mapped.append(_mapped(members, accelerator, find))
        progress(len(mapped), len(groups))
    most = accelerator.operand_bits
    too_wide = widest if most is not None and widest > most else 0.0
    return MappedNetwork(
        name=work.name,
        accelerator=accelerator,
        operators=tuple(mapped),
        unmapped=tuple(unmapped),
        narrowed_from=too_wide,
    )


def _fitted(op: Operator, accelerator: Accelerator) -> Operator:
    single = replace(op, count=1)
    return single if accelerator.operand_bits is None else narrowed(single, accelerator.operand_bits)


def _refusal(op: Operator, accelerator: Accelerator) -> str | None:
    """Say why an operator does not run on the array; None: it does."""
    if op.kind not in PRODUCTS:
        return f"{op.kind}: no product of two tensors"
    try:
        problem_on(_fitted(op, accelerator), accelerator, accelerator.conventions)
    except MappingError as error:
        return str(error)
    return None


def _mapped(
    members: list[tuple[Operator, float]], accelerator: Accelerator, find: Callable[[Operator], Finding]
) -> MappedOperator:
    operator = members[0][0]
    finding = find(operator)
    cost = evaluate(operator, accelerator, finding.mapping)
    cost.require_fit()
    names = tuple(dict.fromkeys(op.name for op, _ in members))
    return MappedOperator(
        operator=operator,
        names=names,
        executions=sum(executions for _, executions in members),
        finding=finding,
        cost=cost,
    )


def operator_rows(network: MappedNetwork) -> list[dict[str, Any]]:
    """Give one row per mapping, and the total: numbers of all executions together.

    Args:
        network: What was mapped.
    """
    rows: list[dict[str, Any]] = []
    for item in network.operators:
        cost, times = item.cost, item.executions
        rows.append(
            {
                "operator": item.names[0],
                "block": item.operator.block,
                "op_type": item.operator.op_type,
                "dims": " ".join(f"{dim}={int(size)}" for dim, size in item.operator.dims.items()),
                "operators": len(item.names),
                "executions": times,
                "macs": times * cost.macs,
                "compute_cycles": times * float(cost.compute_cycles[0]),
                "cycles": times * float(cost.cycles[0]),
                "bound": cost.bounds[cost.bound[0]],
                "utilization": float(cost.utilization[0]),
                "latency_s": times * float(cost.latency_s[0]),
                "energy_j": times * float(cost.energy_j[0]),
                "gap": float(item.finding.gap),
                "candidates": int(item.finding.candidates),
            }
        )
    sums = ("operators", "executions", "macs", "compute_cycles", "cycles", "latency_s", "energy_j", "candidates")
    total: dict[str, Any] = dict.fromkeys(rows[0], "") | {name: sum(row[name] for row in rows) for name in sums}
    peak = network.accelerator.mac_instances * network.accelerator.macs_per_cycle
    total |= {"operator": TOTAL, "utilization": total["macs"] / (total["cycles"] * peak)}
    return [*rows, total | {"gap": max(row["gap"] for row in rows)}]


def level_rows(network: MappedNetwork) -> list[dict[str, Any]]:
    """Give one row per mapping, level and tensor, and their totals: elements and energy of all executions together.

    Args:
        network: What was mapped.
    """
    rows: list[dict[str, Any]] = []
    for item in network.operators:
        for place, name in enumerate(item.cost.levels):
            for column, role in enumerate(ROLES):
                if role in item.finding.mapping.levels[place].keeps:
                    rows.append(_level_row(item, place, name, column, role))
    totals: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        total = totals.setdefault((row["level"], row["tensor"]), dict.fromkeys(row, "") | _NO_TRAFFIC)
        for key in _NO_TRAFFIC:
            total[key] += row[key]
        total |= {"operator": TOTAL, "level": row["level"], "tensor": row["tensor"]}
    return rows + list(totals.values())


_NO_TRAFFIC: dict[str, Any] = {"reads": 0.0, "fills": 0.0, "updates": 0.0, "energy_j": 0.0}


def _level_row(item: MappedOperator, place: int, name: str, column: int, role: str) -> dict[str, Any]:
    cost, times = item.cost, item.executions
    moved = {key: times * int(getattr(cost, key)[0, place, column]) for key in ("reads", "fills", "updates")}
    return {
        "operator": item.names[0],
        "level": name,
        "tensor": role,
        "instances": int(cost.instances[0, place]),
        "tile_elements": int(cost.tile[0, place, column]),
        "tile_words": float(cost.tile_words[0, place, column]),
        "usable_words": float(cost.usable_words[place]) if np.isfinite(cost.usable_words[place]) else "",
        **moved,
        "energy_j": times * float(cost.level_j[0, place, column]),
    }
