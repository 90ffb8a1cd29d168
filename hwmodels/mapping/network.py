"""Mapping every matrix operator of a network: equal operators once, and what is left over by name."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from hwmodels.mapping.problem import narrowed, problem_on
from hwmodels.mapping.records import Mapping
from hwmodels.mapping.traffic import Traffic
from hwmodels.spatial import Accelerator
from workloads.errors import MappingError
from workloads.operator import FREE_KINDS, Operator
from workloads.workload import Program, Workload

__all__ = [
    "PRODUCTS",
    "Finding",
    "MappedNetwork",
    "MappedOperator",
    "Unmapped",
    "grouped",
    "map_network",
    "partly_mapped",
]

PRODUCTS = ("matmul", "conv")
"""Operator kinds that run on the array."""


class Finding(Protocol):
    """What a mapper finds for an operator."""

    @property
    def mapping(self) -> Mapping:
        """The mapping."""
        ...

    @property
    def cost(self) -> Traffic:
        """What the mapping costs: of one execution, this mapping alone."""
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
    """

    operator: Operator
    names: tuple[str, ...]
    executions: float
    finding: Finding

    @property
    def cost(self) -> Traffic:
        """Of one execution."""
        return self.finding.cost


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
        waiting: Mappings that are still to be looked for: more than 0 while the work is going on.
    """

    name: str
    accelerator: Accelerator
    operators: tuple[MappedOperator, ...]
    unmapped: tuple[Unmapped, ...]
    narrowed_from: float = 0.0
    waiting: int = 0


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
        find: The mapper; what it refuses with a `MappingError` is left unmapped, for that reason.
        progress: Told how many mappings of how many are done.

    Raises:
        MappingError: The network has no product of two tensors, or none of them can be mapped.
    """
    network = None
    for done, network in enumerate(partly_mapped(work, accelerator, find), start=1):
        progress(done, done + network.waiting)
    assert network is not None
    return network


def partly_mapped(
    work: Workload | Program, accelerator: Accelerator, find: Callable[[Operator], Finding]
) -> Iterator[MappedNetwork]:
    """Map a network as `map_network` does, and give what there is of it after each mapping.

    Args:
        work: Scalar.
        accelerator: Where it runs.
        find: The mapper.

    Raises:
        MappingError: See `map_network`.
    """
    network, groups = grouped(work, accelerator)
    if not groups:
        raise MappingError(f"{work.name}: has no matrix product or convolution; there is nothing to map on an array")
    for waiting, members in zip(reversed(range(len(groups))), groups, strict=True):
        try:
            item = _mapped(members, find)
            network = replace(network, operators=(*network.operators, item), waiting=waiting)
        except MappingError as error:
            left = [_unmapped(op, executions, str(error)) for op, executions in members]
            network = replace(network, unmapped=(*network.unmapped, *left), waiting=waiting)
        if not waiting and not network.operators:
            raise MappingError(f"{work.name}: nothing of it can be mapped; {network.unmapped[-1].reason}")
        yield network


Members = list[tuple[Operator, float]]
"""Operators of one signature, and how often each is executed."""


def grouped(work: Workload | Program, accelerator: Accelerator) -> tuple[MappedNetwork, list[Members]]:
    """Sort the operators: those that the array runs by signature, the others into a network without mappings.

    Args:
        work: Scalar.
        accelerator: Where it runs; elements are as wide as it takes them.
    """
    parts = [(1.0, work)] if isinstance(work, Workload) else [(float(weight), part) for weight, part in work]
    groups: dict[Hashable, Members] = {}
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
                unmapped.append(_unmapped(op, executions, reason))
    most = accelerator.operand_bits
    network = MappedNetwork(
        name=work.name,
        accelerator=accelerator,
        operators=(),
        unmapped=tuple(unmapped),
        narrowed_from=widest if most is not None and widest > most else 0.0,
        waiting=len(groups),
    )
    return network, list(groups.values())


def _unmapped(op: Operator, executions: float, reason: str) -> Unmapped:
    return Unmapped(op.name, op.op_type, executions * float(op.flops()), reason)


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


def _mapped(members: Members, find: Callable[[Operator], Finding]) -> MappedOperator:
    operator = members[0][0]
    finding = find(operator)
    finding.cost.require_fit()
    names = tuple(dict.fromkeys(op.name for op, _ in members))
    executions = sum(executions for _, executions in members)
    return MappedOperator(operator=operator, names=names, executions=executions, finding=finding)
