"""A network on thousands of accelerators of one kind: fronts of its operators, and sweeps of hardware knobs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwmodels.mapping.fronts.lookup import Front
from hwmodels.mapping.fronts.prices import SIZES, check_knobs, priced_devices
from hwmodels.mapping.fronts.solving import FrontMemo, Searched
from hwmodels.mapping.mapper.goals import Objective
from hwmodels.mapping.network import Members, Unmapped, grouped
from hwmodels.mapping.timing import Floats
from hwmodels.resizing import resized
from hwmodels.spatial import Accelerator
from workloads.errors import MappingError
from workloads.operator import Operator
from workloads.workload import Program, Workload

__all__ = ["NetworkFronts", "Product", "network_fronts"]


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """Operators of one signature.

    Attributes:
        operator: One of them, with elements as wide as the array takes.
        names: All of them.
        executions: Of all of them together.
    """

    operator: Operator
    names: tuple[str, ...]
    executions: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetworkFronts:
    """A network's matrix operators, answered from fronts.

    Attributes:
        name: Of the network.
        accelerator: What knobs are turned of.
        products: Operators that the array runs.
        unmapped: Those that it does not; they are in none of the columns of a sweep.
        memo: Of the fronts.
    """

    name: str
    accelerator: Accelerator
    products: tuple[Product, ...]
    unmapped: tuple[Unmapped, ...]
    memo: FrontMemo = field(default_factory=FrontMemo)

    def sweep(
        self, knobs: Mapping[str, ArrayLike], objective: Objective = "edp", *, dram: str | None = None
    ) -> dict[str, Floats]:
        """Cost the products on accelerators with turned knobs: each operator mapped for each of them.

        Args:
            knobs: By name (see `prices`): one number, or shape (n_points,).
            objective: Of each operator's mapping: "edp", "energy" or "latency".
            dram: Technology of the outermost level, a key of `hwmodels.energy.dram_phys()`.

        Returns:
            Columns of shape (n_points,): latency_s, energy_j, edp_j_s, area_mm2, cycles, utilization. What does not fit
            has infinite latency and energy.

        Raises:
            SpecError: A knob that is unknown, without a price, or out of reach.
            MappingError: Another objective.

        Example:
            >>> import hwmodels
            >>> from workloads import zoo
            >>> fronts = network_fronts(zoo.architecture("bert-tiny", seq=32), hwmodels.load("gemmini"))
            >>> found = fronts.sweep({"capacity_scale.Scratchpad": [0.25, 1.0]})
            >>> bool(found["area_mm2"][0] < found["area_mm2"][1])
            True
        """
        n = check_knobs(self.accelerator, knobs)
        every = {name: np.broadcast_to(np.asarray(value, dtype=float), (n,)) for name, value in knobs.items()}
        names = ("latency_s", "energy_j", "edp_j_s", "area_mm2", "cycles", "utilization")
        columns = {name: np.zeros(n) for name in names}
        groups = _by_size(every, n)
        for sizes, rows in groups:
            device = resized(self.accelerator, rows=sizes.get("array_rows"), columns=sizes.get("array_columns"))
            mine = {name: value[rows] for name, value in every.items() if name not in SIZES}
            for name, values in self._sized(device, mine, len(rows), objective, dram).items():
                columns[name][rows] = values
            if len(groups) > 1:  # hundreds of megabytes for each size of the array
                self.memo.forget()
        self.memo.keep()
        return columns

    def _sized(
        self, device: Accelerator, knobs: Mapping[str, NDArray[Any]], n: int, objective: Objective, dram: str | None
    ) -> dict[str, Floats]:
        """Cost points with one size of the array."""
        devices, area = priced_devices(device, knobs, n, dram=dram)
        largest = max(
            (float(np.max(value)) for name, value in knobs.items() if name.startswith("capacity_scale.")), default=1.0
        )
        factor = 2.0 ** np.ceil(np.log2(max(largest, 1.0)))
        energy, cycles, macs = np.zeros(n), np.zeros(n), 0.0
        for product in self.products:
            found = self.front(product, device, factor).answer(devices, objective)
            energy += product.executions * found.energy_j
            cycles += product.executions * found.cycles
            macs += product.executions * math.prod(int(size) for size in product.operator.dims.values())
        latency = cycles / devices.clock_hz
        with np.errstate(invalid="ignore"):
            return {
                "latency_s": latency,
                "energy_j": energy,
                "edp_j_s": energy * latency,
                "area_mm2": area,
                "cycles": cycles,
                "utilization": macs / (cycles * device.mac_instances * device.macs_per_cycle),
            }

    def front(self, product: Product, device: Accelerator, capacity: float) -> Front | Searched:
        """Give the front of a product on an accelerator, solved as far as it was asked before.

        Args:
            product: One of the network's.
            device: The accelerator, or one with another size of the array.
            capacity: Most capacity that is asked for, in times that of the device.
        """
        return self.memo.front(product.operator, device, capacity)


def network_fronts(work: Workload | Program, accelerator: Accelerator, memo: FrontMemo | None = None) -> NetworkFronts:
    """Prepare a network for sweeps.

    Elements wider than the array takes are costed as if they were quantized to its width.

    Args:
        work: Scalar.
        accelerator: What knobs are turned of.
        memo: Of fronts; None: a new one, in memory.

    Raises:
        MappingError: The network has no product that the array runs.
    """
    network, groups = grouped(work, accelerator)
    if not groups:
        raise MappingError(f"{work.name}: has no matrix product or convolution; there is nothing to map on an array")
    return NetworkFronts(
        name=work.name,
        accelerator=accelerator,
        products=tuple(map(_product, groups)),
        unmapped=network.unmapped,
        memo=FrontMemo() if memo is None else memo,
    )


def _product(members: Members) -> Product:
    names = tuple(dict.fromkeys(op.name for op, _ in members))
    return Product(members[0][0], names, sum(executions for _, executions in members))


def _by_size(knobs: Mapping[str, NDArray[Any]], n: int) -> list[tuple[dict[str, int], NDArray[np.int64]]]:
    """Group points by the size of the array."""
    names = [name for name in SIZES if name in knobs]
    if not names:
        return [({}, np.arange(n))]
    table = np.stack([knobs[name].astype(np.int64) for name in names], axis=1)
    unique, which = np.unique(table, axis=0, return_inverse=True)
    return [
        ({name: int(size) for name, size in zip(names, sizes, strict=True)}, np.flatnonzero(which.reshape(-1) == at))
        for at, sizes in enumerate(unique)
    ]
