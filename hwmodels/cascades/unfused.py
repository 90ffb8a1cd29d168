"""The same operators one by one: every product in its own best mapping, functions from and to the outermost level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hwmodels.cascades.chain import Link
from hwmodels.cascades.functions import parameters_of
from hwmodels.cascades.setting import Setting
from hwmodels.machines.costing import Coster, Find
from hwmodels.machines.records import TaskCost
from hwmodels.machines.tasks import ARRAY, Task, Use
from hwmodels.mapping.mapper.goals import Objective
from hwmodels.mapping.mapper.results import Result
from hwmodels.mapping.mapper.search import search
from hwmodels.spatial import Accelerator
from workloads.operator import Operator, Tensor

__all__ = ["Finder", "Unfused", "unfused"]

Finder = Find
"""Finds a mapping of a product, given where it runs and the levels that its tensors lie in."""


@dataclass(frozen=True, slots=True, eq=False)
class Unfused:
    """Operators in series.

    Attributes:
        parts: Products, and functions chained as `hwmodels.machines` chains them.
        latency_s: Of all [s].
        energy_j: Of all, static power included [J].
        outer_bytes: Moved at the outermost level [B].
    """

    parts: tuple[TaskCost, ...]
    latency_s: float
    energy_j: float
    outer_bytes: float

    @property
    def edp_js(self) -> float:
        """Energy x latency [J s]."""
        return self.energy_j * self.latency_s


def unfused(setting: Setting, objective: Objective, find: Finder | None = None) -> Unfused:
    """Cost the operators of a cascade one by one.

    Args:
        setting: The cascade.
        objective: What each product's mapping is best in.
        find: The mapper; None: `search`.
    """
    device = replace(setting.accelerator, conventions=setting.rules)

    def own(product: Operator, accelerator: Accelerator, homes: Mapping[str, str]) -> Result:
        return search(product, accelerator, objective, resident=homes)

    coster = Coster(device, own if find is None else find)
    tasks = [task for at, link in enumerate(setting.cascade.links) for task in _tasks(setting, at, link)]
    parts = [coster.cost(task, {}, {}) for task in tasks]
    latency = sum(part.latency_s for part in parts)
    outer = device.levels[0].name
    return Unfused(
        tuple(parts),
        latency,
        sum(part.energy_j for part in parts) + device.static_w * latency,
        sum(part.read_bytes.get(outer, 0.0) + part.written_bytes.get(outer, 0.0) for part in parts),
    )


def _tasks(setting: Setting, at: int, link: Link) -> list[Task]:
    """Give a link's product and its functions as tasks."""
    product, problem = link.product, setting.problems[at]
    roles = {operand.name: role for role, operand in problem.operands.items()}
    tasks = [
        Task(
            name=product.name,
            kind="product",
            engine=ARRAY,
            operators=(product,),
            reads=tuple(_use(tensor, product, roles.get(tensor.name, "")) for tensor in product.inputs),
            writes=(_use(link.sums, product, "O"),),
            product=product,
        )
    ]
    engine = setting.engines[at]
    if engine is not None:
        first = link.functions[0]
        reads = [_use(link.sums, first)]
        for op in link.functions:
            names = {tensor.name for tensor in parameters_of(link)} - {use.name for use in reads}
            reads += [_use(tensor, op) for tensor in op.inputs if tensor.name in names]
        tasks.append(
            Task(
                name=first.name,
                kind="function",
                engine=engine.name,
                operators=link.functions,
                reads=tuple(reads),
                writes=(_use(link.result, link.functions[-1]),),
            )
        )
    return tasks


def _use(tensor: Tensor, op: Operator, role: str = "") -> Use:
    return Use(
        name=tensor.name,
        bytes=float(tensor.bytes(op.dims)),
        bits=float(tensor.bits_per_value()),
        role=role,
        constant=tensor.role == "weight",
    )
