"""What a workload costs on a device: `evaluate`; whether it fits, and the largest batch that does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from hwmodels.cost import Cost, larger
from hwmodels.kernels.device import KernelDevice
from hwmodels.spatial import Accelerator
from hwmodels.step import Device, merge_steps
from workloads.liveness import activation_peak_bytes
from workloads.operator import Num, is_batch
from workloads.workload import Program, Workload

__all__ = ["evaluate", "fits", "largest_batch"]


def evaluate(
    work: Workload | Program, device: Device | KernelDevice | Accelerator, *, enforce_capacity: bool = False
) -> Cost:
    """Cost a workload, or the expectation of a program, on a device.

    Args:
        work: Any of its numbers may be a batch of shape (n_points,).
        device: A roofline, a GPU of calibrated kernels (`hwmodels.calibrated`) or an accelerator; its knobs may be
            batches too.
        enforce_capacity: Give infinite latency and energy where the peak memory exceeds the device's DRAM;
            `peak_bytes` keeps the demand.

    Raises:
        MappingError: On a spatial accelerator (`hwmodels.machines`): an operator that nothing takes, or does not fit.

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
    if isinstance(device, Accelerator):
        return _on_machine(work, device)
    if isinstance(device, KernelDevice):
        cost = device.cost_of(work)
        return _bounded(cost, device) if enforce_capacity else cost
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


def _on_machine(work: Workload | Program, device: Accelerator) -> Cost:
    from hwmodels.machines import run, run_cost

    return run_cost(run(work, device), work)


_NOTHING: Num = 0.0


def fits(cost: Cost, device: Device | KernelDevice) -> Any:
    """Say whether the peak memory of a cost is within the device's DRAM: one bool, or an array of them.

    Example:
        >>> import hwmodels
        >>> fits(Cost(peak_bytes=20e9), hwmodels.load("t4"))
        False
    """
    return cost.peak_bytes <= device.capacity_bytes


def _bounded(cost: Cost, device: Device | KernelDevice) -> Cost:
    fitting = fits(cost, device)
    if is_batch(fitting):
        # A batch in one number makes a batch of the others: broadcasting is all that is needed.
        return replace(
            cost,
            latency_s=np.where(fitting, cost.latency_s, math.inf),
            energy_j=np.where(fitting, cost.energy_j, math.inf),
        )
    return cost if fitting else replace(cost, latency_s=cost.latency_s + math.inf, energy_j=cost.energy_j + math.inf)


def largest_batch(
    load: Callable[[int], Workload | Program], device: Device | KernelDevice, limit: int = 1 << 40
) -> int:
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
