"""What a workload costs on a device: `evaluate` for the whole, `breakdown` by operator."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from hwmodels.cost import Cost, larger
from hwmodels.records import Demand, add_demands
from hwmodels.roofline import RooflineDevice
from hwmodels.spatial import Accelerator
from hwmodels.step import Device, Step, merge_steps
from workloads.errors import SpecError
from workloads.liveness import activation_peak_bytes
from workloads.operator import Num, Operator, is_batch
from workloads.workload import Program, Workload

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["OperatorCost", "breakdown", "breakdown_records", "evaluate", "fits", "largest_batch"]


def evaluate(work: Workload | Program, device: Device, *, enforce_capacity: bool = False) -> Cost:
    """Cost a workload, or the expectation of a program, on a device.

    Args:
        work: Any of its numbers may be a batch of shape (n_points,).
        device: Its knobs may be batches too.
        enforce_capacity: Give infinite latency and energy where the peak memory exceeds the device's DRAM;
            `peak_bytes` keeps the demand.

    Raises:
        SpecError: The device is a spatial accelerator: its costs follow from mappings (`hwmodels.mapping`).

    Returns:
        Its `peak_bytes` counts all weights and the largest set of live activations; tensors that stay on chip inside
        a fused step need no memory. A program holds the weights of all its parts, and the activations of one at a time.

    Example:
        >>> import hwmodels
        >>> from workloads import Operator, Tensor, Workload, axis
        >>> x, w, y = (Tensor(name=n, axes=(axis(a), axis(b)), role=r) for n, a, b, r in
        ...            (("x", "m", "k", "activation"), ("w", "k", "n", "weight"), ("y", "m", "n", "activation")))
        >>> product = Operator(name="p", op_type="MatMul", kind="matmul", dims={"m": 8, "n": 1024, "k": 1024},
        ...                    inputs=(x, w), outputs=(y,))
        >>> work = Workload(name="one", operators=(product,), inputs=("x",), outputs=("y",))
        >>> cost = evaluate(work, hwmodels.load("a100-sxm-80gb"))
        >>> round(cost.latency_s * 1e6, 2), cost.dram_bytes
        (4.89, 4259840.0)
    """
    _refuse_spatial(device, "evaluate")
    if isinstance(work, Program):
        costs = [evaluate(part, device) for _, part in work]
        total = reduce(Cost.__add__, [weight * cost for (weight, _), cost in zip(work, costs, strict=True)], Cost())
        weights = work.weight_bytes()
        live = reduce(larger, [cost.peak_bytes - cost.weight_bytes for cost in costs], _NOTHING)
        cost = replace(total, peak_bytes=weights + live, weight_bytes=weights)
    else:
        steps = device.plan(work)
        on_chip = frozenset[str]().union(*[step.resident for step in steps if step.resident])
        kernels = [[op.name for op in step.operators] for step in steps if len(step.operators) > 1]
        weights = work.weight_bytes()
        peak = weights + activation_peak_bytes(work, on_chip, kernels)
        cost = replace(device.total(merge_steps(steps)), peak_bytes=peak, weight_bytes=weights)
    return _bounded(cost, device) if enforce_capacity else cost


def _refuse_spatial(device: object, what: str) -> None:
    if isinstance(device, Accelerator):
        raise SpecError(
            f"{what}: {device.name} is a spatial accelerator, whose costs follow from how every operator is mapped; "
            "use hwmodels.mapping.network.map_network, or `dse map`"
        )


_NOTHING: Num = 0.0


def fits(cost: Cost, device: Device) -> Any:
    """Say whether the peak memory of a cost is within the device's DRAM: one bool, or an array of them.

    Example:
        >>> import hwmodels
        >>> fits(Cost(peak_bytes=20e9), hwmodels.load("t4"))
        False
    """
    return cost.peak_bytes <= device.capacity_bytes


def _bounded(cost: Cost, device: Device) -> Cost:
    fitting = fits(cost, device)
    if is_batch(fitting):
        # A batch in one number makes a batch of the others: broadcasting is all that is needed.
        return replace(
            cost,
            latency_s=np.where(fitting, cost.latency_s, math.inf),
            energy_j=np.where(fitting, cost.energy_j, math.inf),
        )
    return cost if fitting else replace(cost, latency_s=cost.latency_s + math.inf, energy_j=cost.energy_j + math.inf)


def largest_batch(load: Callable[[int], Workload | Program], device: Device, limit: int = 1 << 40) -> int:
    """Find the largest batch size whose peak memory is within the device's DRAM, by doubling and bisection.

    Args:
        load: Gives the workload or program at a batch size.
        device: Where it must fit.
        limit: Largest batch size to try.

    Returns:
        0 if not even one sample fits. Assumes that the peak grows with the batch size.

    Example:
        >>> import hwmodels
        >>> from workloads import Operator, Tensor, Workload, axis
        >>> def load(batch):  # reads 1 GB a sample
        ...     x = Tensor(name="x", axes=(axis("b"), axis("n")), bits=8)
        ...     read = Operator(name="r", op_type="Abs", kind="elementwise", dims={"b": batch, "n": 10**9}, inputs=(x,),
        ...                     outputs=())
        ...     return Workload(name="w", operators=(read,), inputs=("x",))
        >>> largest_batch(load, hwmodels.load("t4"))
        16
    """

    def is_within(batch: int) -> bool:
        return bool(fits(evaluate(load(batch), device), device))

    good, bad = 0, 1
    while bad <= limit and is_within(bad):
        good, bad = bad, 2 * bad
    bad = min(bad, limit + 1)
    while bad - good > 1:
        middle = (good + bad) // 2
        if is_within(middle):
            good = middle
        else:
            bad = middle
    return good


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCost:
    """One row of a breakdown.

    Attributes:
        name: Of the operator.
        op_type: What the source calls it.
        kind: matmul, softmax, ...
        block: Where it sits.
        step: Position of its step in the plan; operators of one kernel share it. -1: it runs nowhere (a view).
        flops: Of all its executions.
        dram_bytes: What it moves to and from DRAM [B].
        intensity: FLOPs per DRAM byte; inf where nothing is moved.
        bound: compute | memory | launch: the longest of the three. Empty for a view.
        latency_s: Its part of the step's time, launch included, in proportion to its own time [s].
        energy_j: Its own dynamic energy and the static energy of its part of the time [J].
        share: Part of the workload's latency.
        energy_by: The same energy by component [J]: one entry per memory level, innermost first ("L1", "L2", "DRAM":
            what the level adds to the bits that come through it), then "compute" and "static".
    """

    name: str
    op_type: str
    kind: str
    block: str
    step: int
    flops: float
    dram_bytes: float
    intensity: float
    bound: str
    latency_s: float
    energy_j: float
    share: float
    energy_by: Mapping[str, float] = field(default_factory=dict)

    def columns(self) -> dict[str, Any]:
        """Give the row of a table: the fields, with a column `NAME_j` per component in place of `energy_by`.

        Example:
            >>> row = OperatorCost(name="p", op_type="MatMul", kind="matmul", block="", step=0, flops=1.0,
            ...                    dram_bytes=1.0, intensity=1.0, bound="memory", latency_s=1.0, energy_j=3.0,
            ...                    share=1.0, energy_by={"DRAM": 2.0, "static": 1.0})
            >>> row.columns()["DRAM_j"], "energy_by" in row.columns()
            (2.0, False)
        """
        plain = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "energy_by"}
        return plain | {f"{name}_j": value for name, value in self.energy_by.items()}


def breakdown(workload: Workload | Program, device: RooflineDevice) -> pd.DataFrame:
    """Give one row per operator, in order: see `OperatorCost`. Latencies and energies add up to `evaluate`'s.

    Columns `L1_j`, `L2_j`, `DRAM_j` (one per memory level of the device), `compute_j` and `static_j` say where the
    energy of an operator goes, and add up to `energy_j`.

    Of a program, the rows of every part, as often as it runs in the mean; steps are numbered through.

    Raises:
        SpecError: The workload or the device holds a batch of design points, or the device is a spatial accelerator.

    Example:
        >>> import hwmodels
        >>> from workloads import Workload
        >>> len(breakdown(Workload(name="nothing", operators=()), hwmodels.load("t4")))
        0
    """
    import pandas

    rows = [row.columns() for row in breakdown_records(workload, device)]
    names = [item.name for item in fields(OperatorCost) if item.name != "energy_by"]
    names += [f"{component}_j" for component in device.energy_components]
    return pandas.DataFrame(rows, columns=names)


def breakdown_records(workload: Workload | Program, device: RooflineDevice) -> tuple[OperatorCost, ...]:
    """Give the rows of `breakdown` without pandas.

    Raises:
        SpecError: The workload or the device holds a batch of design points, or the device is a spatial accelerator.

    Example:
        >>> import hwmodels
        >>> from workloads import Operator, Tensor, Workload, axis
        >>> x, y = (Tensor(name=name, axes=(axis("n"),)) for name in "xy")
        >>> relu = Operator(name="relu", op_type="Relu", kind="elementwise", dims={"n": 10**8}, inputs=(x,),
        ...                 outputs=(y,), flops_per_point=1.0)
        >>> (row,) = breakdown_records(Workload(name="w", operators=(relu,)), hwmodels.load("t4"))
        >>> row.bound, row.intensity
        ('memory', 0.125)
    """
    _refuse_spatial(device, "breakdown")
    rows = _program_rows(workload, device) if isinstance(workload, Program) else _rows(workload, device)
    total = sum(row.latency_s for row in rows)
    return tuple(replace(row, share=row.latency_s / total if total else 0.0) for row in rows)


def _program_rows(program: Program, device: RooflineDevice) -> list[OperatorCost]:
    """Give the rows of all parts; where two parts have an operator of one name, the part's name goes before it."""
    names = Counter(op.name for _, part in program for op in part.operators)
    rows: list[OperatorCost] = []
    for weight, part in program:
        if is_batch(weight):
            raise SpecError(f"{program.name}: a breakdown is of one design point, and its weights are a batch")
        first = 1 + max((row.step for row in rows), default=-1)
        for row in _rows(part, device):
            times = float(weight)
            rows.append(
                replace(
                    row,
                    name=row.name if names[row.name] == 1 else f"{part.name}: {row.name}",
                    step=row.step + first if row.step >= 0 else -1,
                    flops=times * row.flops,
                    dram_bytes=times * row.dram_bytes,
                    latency_s=times * row.latency_s,
                    energy_j=times * row.energy_j,
                    energy_by={name: times * joules for name, joules in row.energy_by.items()},
                )
            )
    return rows


def _rows(workload: Workload, device: RooflineDevice) -> list[OperatorCost]:
    found: dict[str, OperatorCost] = {}
    for position, step in enumerate(device.plan(workload)):
        for row in _step_rows(step, position, device):
            found[row.name] = row
    return [found.get(op.name) or _view_row(op, device) for op in workload.operators]


def _step_rows(step: Step, position: int, device: RooflineDevice) -> list[OperatorCost]:
    """Share a step's latency out to its operators in proportion to their own times."""
    demands = device.demands(step)
    total_s = device.step_latency_s(step, add_demands(demands))
    if is_batch(total_s):
        raise SpecError(
            f"{step.operators[0].name}: a breakdown is of one design point, and this is a batch; "
            "take one row of it first"
        )
    launch_s = device.launch_overhead_s(step)
    own = [max(device.times_s(demand)) for demand in demands]
    rows = []
    for op, demand, own_s in zip(step.operators, demands, own, strict=True):
        part = own_s / sum(own) if sum(own) else 1.0 / len(own)
        rows.append(_row(op, position, demand, device, float(total_s * part), float(launch_s)))
    return rows


def _row(
    op: Operator, position: int, demand: Demand, device: RooflineDevice, latency_s: float, launch_s: float
) -> OperatorCost:
    compute_s, memory_s = device.times_s(demand)
    bound = "memory" if memory_s > compute_s else "compute"
    if launch_s >= max(compute_s, memory_s):
        bound = "launch"
    flops, moved = float(demand.flops), float(demand.dram_bytes)
    energy_by = {name: float(joules) for name, joules in device.energy_by_level_j(demand, latency_s).items()}
    return OperatorCost(
        name=op.name,
        op_type=op.op_type,
        kind=op.kind,
        block=op.block,
        step=position,
        flops=flops,
        dram_bytes=moved,
        intensity=flops / moved if moved else (math.inf if flops else 0.0),
        bound=bound,
        latency_s=latency_s,
        energy_j=sum(energy_by.values()),
        share=0.0,
        energy_by=energy_by,
    )


def _view_row(op: Operator, device: RooflineDevice) -> OperatorCost:
    return OperatorCost(
        name=op.name, op_type=op.op_type, kind=op.kind, block=op.block, step=-1, flops=0.0, dram_bytes=0.0,
        intensity=0.0, bound="", latency_s=0.0, energy_j=0.0, share=0.0,
        energy_by=dict.fromkeys(device.energy_components, 0.0),
    )  # fmt: skip
