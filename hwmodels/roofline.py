"""GPUs and CPUs as rooflines: time of a kernel = launch + the longer of computing and moving its data.

Source: Williams, Waterman, Patterson, Roofline: an insightful visual performance model, CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodels.accumulate import Sum, add_up, where_larger
from hwmodels.cost import Cost, larger
from hwmodels.fusion import PRODUCTS, plan_steps
from hwmodels.records import Citation, Demand, MemoryLevel, add_demands
from hwmodels.step import Step, charged_tensors
from hwmodels.unpacking import is_part_of_product, quantizes_inside, slowdown
from workloads.formats import FORMATS, format_code
from workloads.identity import dims_identity, identity
from workloads.operator import Num, Operator, Tensor
from workloads.workload import Workload

__all__ = ["RooflineDevice"]

_FP32 = format_code("fp32")

# Below this share of the nominal voltage a chip does not run, whatever its clock.
# Assumption: vendor curves of 0.7 to 0.75 V at low clocks against 1.0 to 1.05 V at boost.
LOWEST_VOLTAGE = 0.7


Arithmetic = dict[Hashable, tuple[Num, ...]]
"""FLOPs, compute time and energy by identity: valid while the arrays that its keys name are alive."""


def _is(value: Num, scalar: float) -> bool:
    """Say whether a number is that scalar: an array operation saved on the hot path."""
    return not isinstance(value, np.ndarray) and value == scalar


def _scalar_or_array(value: Any) -> Num:
    return value if isinstance(value, np.ndarray) else float(value)


@dataclass(frozen=True, kw_only=True, eq=False)
class RooflineDevice:
    """A GPU or CPU described by its ceilings. Every scale may be a batch of shape (n_points,).

    Attributes:
        name: As in `hwmodels.names()`.
        kind: gpu | cpu.
        matrix_flops_per_cycle: Dense peak of matrix products by format code and sparsity pattern code [FLOP/cycle];
            a format without a path of its own has that of `native`.
        native: Code of the format that each format code runs in; -1: none.
        matrix_hz: Clock at which the matrix peaks are stated [Hz].
        vector_flops_per_cycle: Peak of everything else [FLOP/cycle].
        vector_hz: Clock of the vector peak [Hz].
        vector_kinds: Peaks of single operator kinds that differ from the vector peak [FLOP/s].
        j_per_flop: Dynamic arithmetic energy by format code at nominal voltage [J/FLOP].
        memory: Levels, innermost first; the last is DRAM.
        launch_s: Overhead of one kernel [s].
        tdp_w: Thermal design power: a bound for checks, never a coefficient [W].
        static_w: Power that flows whatever runs [W].
        static_memory_share: Part of `static_w` that belongs to the memory system.
        vendor: Maker.
        process: Its node: "4 nm".
        fuses: What its kernels fuse by themselves: keys of `fusion.FUSIONS`.
        exploits: Names of the sparsity patterns that speed its matrix products up.
        efficiency: Factors on the compute peak by op type: kernels known to reach less.
        unpacking: Speed of products that unpack a stored weight of up to so many bits, relative to one of full width.
        architecture: Whose kernels it runs: "hopper"; devices of one architecture lend each other calibrations.
        cores: Cores of a CPU, multiprocessors of a GPU; 0: not stated.
        dies: Devices that software sees in it, each with its part of everything: a kernel runs on one of them.
        threads: Threads that the ceilings were measured with; 0: not stated.
        year: When it came out, or the year it is projected to; 0: not stated.
        interconnect_bytes_per_s: Bandwidth to other devices, both directions together [B/s]; 0: not stated.
        clock_scale: Clock relative to nominal.
        bandwidth_scale: DRAM bandwidth relative to nominal.
        sources: Citation of each group of numbers.
    """

    name: str
    kind: str
    matrix_flops_per_cycle: NDArray[np.float64]
    native: NDArray[np.integer[Any]]
    matrix_hz: float
    vector_flops_per_cycle: float
    vector_hz: float
    j_per_flop: NDArray[np.float64]
    memory: tuple[MemoryLevel, ...]
    launch_s: float
    tdp_w: float
    static_w: float
    static_memory_share: float = 0.0
    vector_kinds: Mapping[str, float] = field(default_factory=dict)
    vendor: str = ""
    process: str = ""
    architecture: str = ""
    fuses: tuple[str, ...] = ()
    exploits: tuple[str, ...] = ()
    efficiency: Mapping[str, float] = field(default_factory=dict)
    unpacking: Mapping[int, float] = field(default_factory=dict)
    cores: int = 0
    dies: int = 1
    threads: int = 0
    year: float = 0.0
    interconnect_bytes_per_s: float = 0.0
    clock_scale: Num = 1.0
    bandwidth_scale: Num = 1.0
    sources: Mapping[str, Citation] = field(default_factory=dict)

    @property
    def peak(self) -> NDArray[np.float64]:
        """Dense matrix peak by format code at nominal clock [FLOP/s]: `device.peak[format_code("fp16")]`."""
        return self.matrix_flops_per_cycle[:, 0] * self.matrix_hz

    @property
    def vector_peak(self) -> float:
        """Peak of everything but matrix products at nominal clock [FLOP/s]."""
        return self.vector_flops_per_cycle * self.vector_hz

    @property
    def dram(self) -> MemoryLevel:
        """The outermost memory."""
        return self.memory[-1]

    @property
    def capacity_bytes(self) -> float:
        """Capacity of the outermost memory [B]."""
        return self.dram.capacity_bytes

    @property
    def dram_j_per_bit(self) -> float:
        """Energy of a bit between DRAM and the arithmetic: the increments of all levels [J/bit]."""
        return sum(level.j_per_bit for level in self.memory)

    @property
    def energy_components(self) -> tuple[str, ...]:
        """Names of what `energy_by_level_j` tells apart."""
        return (*(level.name for level in self.memory), "compute", "static")

    def runs_in(self, code: int) -> str:
        """Name the format that a format's matrix products run in: the next wider that the device has.

        Example:
            >>> import hwmodels
            >>> from workloads import format_code
            >>> hwmodels.load("h100-sxm").runs_in(format_code("int4"))
            'int8'
        """
        return FORMATS[self.native[code]].name if self.native[code] >= 0 else "none"

    def ridge_point(self, code: int) -> Num:
        """Give the arithmetic intensity at which a format's matrix products turn from memory to compute bound [FLOP/B].

        Example:
            >>> import hwmodels
            >>> from workloads import format_code
            >>> round(hwmodels.load("a100-sxm-80gb").ridge_point(format_code("fp16")), 1)
            153.0
        """
        return float(self.peak[code]) * self.clock_scale / (self.dram.bytes_per_s * self.bandwidth_scale)

    def at(self, clock_scale: Num = 1.0, bandwidth_scale: Num = 1.0) -> RooflineDevice:
        """Turn the knobs of a device; factors multiply those already turned.

        The clock moves every compute peak, and through the voltage the arithmetic energy (V^2) and the static power of
        the logic (V). The voltage follows the clock linearly, down to `LOWEST_VOLTAGE`. Bandwidth moves the DRAM
        bandwidth and the static power of the memory system: more pins or stacks, each with its idle power. Energy per
        DRAM bit, capacities and the launch overhead (host work) stay. TDP throttling is not modelled.

        Args:
            clock_scale: Factor on the clock, one or shape (n_points,).
            bandwidth_scale: Factor on the DRAM bandwidth, one or shape (n_points,).

        Source: P_dynamic = C V^2 f: Mudge, Power: a first-class architectural design constraint, IEEE Computer 34(4),
            2001.

        Example:
            >>> import hwmodels
            >>> slow = hwmodels.load("a100-sxm-80gb").at(bandwidth_scale=0.5)
            >>> round(slow.ridge_point(3), 1)
            306.0
        """
        return replace(
            self,
            clock_scale=self.clock_scale * clock_scale,
            bandwidth_scale=self.bandwidth_scale * bandwidth_scale,
        )

    def voltage_scale(self) -> Num:
        """Give the supply voltage relative to nominal."""
        return larger(self.clock_scale, LOWEST_VOLTAGE)

    def static_power_w(self) -> Num:
        """Give the static power at the present clock and bandwidth scale [W]."""
        memory = self.static_memory_share
        return self.static_w * ((1 - memory) * self.voltage_scale() + memory * self.bandwidth_scale)

    def plan(self, workload: Workload) -> tuple[Step, ...]:
        """Put every operator of a workload into a step: one launch each."""
        return plan_steps(workload, self.fuses)

    @cached_property
    def matrix_s_per_flop(self) -> NDArray[np.float64]:
        """Give seconds per FLOP of matrix products by format and pattern code at nominal clock; inf: no path [s]."""
        with np.errstate(divide="ignore"):
            return 1.0 / (self.matrix_flops_per_cycle * self.matrix_hz)

    def seconds_per_flop(self, op: Operator) -> Num:
        """Give the time that an operator's arithmetic takes at its ceiling and nominal clock [s/FLOP]."""
        if op.kind in PRODUCTS:
            pattern = next((tensor.pattern for tensor in op.inputs if tensor.role == "weight"), 0)
            inside = bool(self.unpacking) and quantizes_inside(op)
            code = op.inputs[0].format if inside else op.format
            seconds = slowdown(op, self.unpacking) * _scalar_or_array(self.matrix_s_per_flop[code, pattern])
            if inside:
                return seconds
        else:
            seconds = 1.0 / self.vector_kinds.get(op.kind, self.vector_peak)
        factor = self.efficiency.get(op.op_type, 1.0)
        return seconds if factor == 1.0 else seconds / factor

    def energy_per_flop(self, op: Operator) -> Num:
        """Give the arithmetic energy of an operator at nominal voltage [J/FLOP]; vector work runs in fp32."""
        return _scalar_or_array(self.j_per_flop[op.format if op.kind in PRODUCTS else _FP32])

    def demands(self, step: Step, known: Arithmetic | None = None) -> tuple[Demand, ...]:
        """Give what each operator of a step asks for; a step asks for their sum."""
        known = {} if known is None else known
        moved = charged_tensors(step)
        return tuple([self.operator_demand(*pair, step, known) for pair in zip(step.operators, moved, strict=True)])

    def operator_demand(self, op: Operator, moved: Collection[Tensor], step: Step, known: Arithmetic) -> Demand:
        """Give what one operator of a step asks for.

        Args:
            op: The operator.
            moved: Those of its tensors that move to or from DRAM.
            step: The step that it is part of.
            known: The arithmetic of operators that were looked at before; it grows.
        """
        if step.kind == "conversion" and not step.resident:
            # Read as stored, written at full width, and the product that reads it (and is charged the stored width)
            # reads full - stored more.
            traffic: Num = 2.0 * add_up(tensor.bytes(op.dims) for tensor in op.outputs)
        else:
            traffic = add_up([tensor.bytes(op.dims) for tensor in moved])
        flops, compute_s, compute_j = self.arithmetic(op, known)
        if self.unpacking and is_part_of_product(op, step, self.unpacking):
            compute_s = 0.0
        return Demand(
            compute_s=compute_s,
            dram_bytes=traffic if _is(op.count, 1) or _is(traffic, 0) else op.count * traffic,
            flops=flops,
            compute_j=compute_j,
        )

    def arithmetic(self, op: Operator, known: Arithmetic) -> tuple[Num, Num, Num]:
        """Give FLOPs, compute time [s] and arithmetic energy [J] of all executions of an operator.

        Layers that differ in their weights only share all three: each is computed once per batch.
        """
        shape = (dims_identity(op.dims), identity(op.flops_per_point))
        if shape not in known:
            known[shape] = (op.flops(),)
        (flops,) = known[shape]
        if isinstance(op.count, np.ndarray):  # another one in every layer: not worth keeping
            flops = op.count * flops
            return flops, flops * self.seconds_per_flop(op), flops * self.energy_per_flop(op)
        weight = next((tensor for tensor in op.inputs if tensor.role == "weight"), None)
        bits = weight.bits if weight is not None and self.unpacking else 0
        stored = (0 if weight is None else identity(weight.pattern), identity(bits))
        key = (shape, op.kind, op.op_type, identity(op.format), stored, op.count)
        if key not in known:
            flops = flops if op.count == 1 else op.count * flops
            known[key] = (flops, flops * self.seconds_per_flop(op), flops * self.energy_per_flop(op))
        flops, compute_s, compute_j = known[key]
        return flops, compute_s, compute_j

    def launches(self, step: Step) -> Num:
        """Count the kernels of a step: none for a conversion inside another kernel."""
        if step.kind == "conversion" and step.resident:
            return 0.0
        return reduce(larger, [op.count for op in step.operators])

    def launch_overhead_s(self, step: Step) -> Num:
        """Give the launch overhead of a step [s]."""
        return self.launch_s * self.launches(step)

    def seconds(self) -> tuple[Num, Num]:
        """Give the scale of nominal compute time, and the time per byte of DRAM traffic, at the present knobs [s]."""
        return 1.0 / self.clock_scale, 1.0 / (self.dram.bytes_per_s * self.bandwidth_scale)

    def times_s(self, demand: Demand, seconds: tuple[Num, Num] | None = None) -> tuple[Num, Num]:
        """Give the time to compute and the time to move data [s].

        Args:
            demand: Of an operator or a step.
            seconds: From `seconds()`, where many demands share it.
        """
        per_compute, per_byte = seconds or self.seconds()
        return demand.compute_s * per_compute, demand.dram_bytes * per_byte

    def step_latency_s(self, step: Step, demand: Demand) -> Num:
        """Give the time of a step that asks for a demand: launch, then the longer of computing and moving data [s]."""
        return self.launch_overhead_s(step) + larger(*self.times_s(demand))

    def energy_j(self, demand: Demand, latency_s: Num) -> dict[str, Num]:
        """Give the energy of a demand and of the static power while it runs, at the present knobs [J]."""
        voltage = self.voltage_scale()
        return {
            "dram": demand.dram_bytes * (8 * self.dram_j_per_bit),
            "compute": demand.compute_j * (voltage * voltage),
            "static": self.static_power_w() * latency_s,
        }

    def energy_by_level_j(self, demand: Demand, latency_s: Num) -> dict[str, Num]:
        """Give `energy_j` with the memory's part split by level, innermost first: a DRAM bit pays every level [J]."""
        whole = self.energy_j(demand, latency_s)
        bits = 8 * demand.dram_bytes
        levels = {level.name: bits * level.j_per_bit for level in self.memory}
        return levels | {"compute": whole["compute"], "static": whole["static"]}

    def cost(self, step: Step) -> Cost:
        """Cost one step, alone; the peak is left to the workload's liveness."""
        return self.total((step,))

    def total(self, steps: Collection[Step]) -> Cost:
        """Cost steps in series.

        Times are composed step by step; energies only from the sums, since they are linear in FLOPs, bytes and time.
        """
        seconds = self.seconds()
        busy, in_memory, launches, dram_bytes, flops, compute_j = (Sum() for _ in range(6))
        known: Arithmetic = {}
        for step in steps:
            demand = add_demands(self.demands(step, known))
            compute_s, memory_s = self.times_s(demand, seconds)
            busy.add(larger(compute_s, memory_s), step.count)
            in_memory.add(where_larger(memory_s, compute_s), step.count)
            launches.add(self.launches(step), step.count)
            dram_bytes.add(demand.dram_bytes, step.count)
            flops.add(demand.flops, step.count)
            compute_j.add(demand.compute_j, step.count)
        demand = Demand(0.0, dram_bytes.value, flops.value, compute_j.value)
        launch_s = self.launch_s * launches.value
        latency_s = busy.value + launch_s
        energy_by = self.energy_j(demand, latency_s)
        return Cost(
            latency_s=latency_s,
            energy_j=add_up(energy_by.values()),
            flops=demand.flops,
            dram_bytes=demand.dram_bytes,
            latency_by={
                "compute": busy.value - in_memory.value,
                "memory": in_memory.value,
                "launch": launch_s,
            },
            energy_by=energy_by,
        )
