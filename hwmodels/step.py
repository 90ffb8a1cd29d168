"""`Step`: one kernel on one engine; what a device's plan is made of. And the merging of steps that cost the same."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from hwmodels.cost import Cost
from workloads.identity import dims_identity, identity, tensor_identity
from workloads.operator import Num, Operator, Tensor
from workloads.workload import Workload

__all__ = ["Device", "Step", "charged_tensors", "merge_steps"]

StepKind = Literal["operator", "fused", "transfer", "conversion", "collective"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One kernel on one engine.

    Attributes:
        operators: What it computes, in order; more than one in a fused step.
        engine: Where it runs.
        kind: operator, fused, transfer, conversion, collective.
        resident: Names of tensors that stay on chip (or cost nothing to read again): not charged to DRAM.
        count: How many steps of this cost there are, once `merge_steps` has merged them.
    """

    operators: tuple[Operator, ...]
    engine: str = "device"
    kind: StepKind = "operator"
    resident: frozenset[str] = frozenset()
    count: Num = 1


class Device(Protocol):
    """What `evaluate` needs of a device."""

    @property
    def name(self) -> str:
        """Name of the device."""
        ...

    @property
    def capacity_bytes(self) -> float:
        """Capacity of the outermost memory [B]."""
        ...

    def plan(self, workload: Workload) -> tuple[Step, ...]:
        """Put every operator of a workload into a step."""
        ...

    def cost(self, step: Step) -> Cost:
        """Cost one step, alone."""
        ...

    def total(self, steps: Collection[Step]) -> Cost:
        """Cost steps in series: the sum of `cost`, in one pass."""
        ...


def charged_tensors(step: Step) -> tuple[tuple[Tensor, ...], ...]:
    """List, per operator of a step, the tensors that move to or from DRAM.

    An operator alone moves all of its tensors. Inside a fused step every tensor moves at most once: one from outside
    with its first reader, one that is needed outside with its writer, a resident one never.

    Example:
        >>> from workloads import axis
        >>> x, y, z = (Tensor(name=name, axes=(axis("n"),)) for name in "xyz")
        >>> ops = [Operator(name=f"{a.name}{b.name}", op_type="Relu", kind="elementwise", dims={"n": 8}, inputs=(a,),
        ...                 outputs=(b,)) for a, b in ((x, y), (y, z))]
        >>> step = Step(operators=tuple(ops), kind="fused", resident=frozenset("y"))
        >>> [[tensor.name for tensor in moved] for moved in charged_tensors(step)]
        [['x'], ['z']]
    """
    if len(step.operators) == 1 and not step.resident:
        return (step.operators[0].tensors(),)
    on_chip = set(step.resident)
    charged: list[tuple[Tensor, ...]] = []
    for op in step.operators:
        moved = tuple(tensor for tensor in op.tensors() if tensor.name not in on_chip)
        on_chip.update(tensor.name for tensor in moved)
        charged.append(moved)
    return tuple(charged)


def merge_steps(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Merge steps that cost the same into one with a count: twelve equal layers are costed once.

    Scalars are compared by value and arrays by identity, so a merge never looks into a batch.

    Example:
        >>> from workloads import axis
        >>> ops = [Operator(name=name, op_type="Relu", kind="elementwise", dims={"n": size}, outputs=(),
        ...                 inputs=(Tensor(name=name, axes=(axis("n"),)),))
        ...        for name, size in (("a", 8), ("b", 8), ("c", 9))]
        >>> [step.count for step in merge_steps([Step(operators=(op,)) for op in ops])]
        [2, 1]
    """
    first: dict[object, Step] = {}
    counts: dict[object, Num] = {}
    for step in steps:
        key = _step_identity(step)
        first.setdefault(key, step)
        counts[key] = counts.get(key, 0) + step.count
    return tuple(replace(step, count=counts[key]) for key, step in first.items())


def _step_identity(step: Step) -> object:
    return (
        step.engine,
        step.kind,
        tuple(_operator_identity(op, moved) for op, moved in zip(step.operators, charged_tensors(step), strict=True)),
    )


def _operator_identity(op: Operator, moved: tuple[Tensor, ...]) -> object:
    tensors = moved if op.kind != "convert" else op.tensors()  # a conversion's traffic is not only what it moves
    return (
        op.kind,
        op.op_type,
        dims_identity(op.dims),
        identity(op.flops_per_point),
        identity(op.format),
        identity(op.count),
        tuple([tensor_identity(tensor) for tensor in tensors]),
        tuple([identity(tensor.pattern) for tensor in op.inputs]),
    )
