"""The model of a design point that is an accelerator: a network's products mapped on it, with area, from fronts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import hwmodels
from dse.digests import digest_of
from dse.space import Space
from hwmodels.mapping.fronts import FrontMemo, NetworkFronts, network_fronts
from hwmodels.mapping.mapper.goals import Objective
from hwmodels.spatial import Accelerator
from workloads.workload import Program, Workload

__all__ = ["AcceleratorModel", "accelerator_model"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AcceleratorModel:
    """A function from design points to columns.

    Knobs are those of `hwmodels.mapping.fronts`: ``array_rows``, ``array_columns``, ``clock_scale``,
    ``capacity_scale.LEVEL``, ``bandwidth_scale.LEVEL``, ``energy_scale.LEVEL``; each is priced, or refused.

    Attributes:
        fronts: Of the network.
        objective: Of each operator's mapping.
        dram: Technology of the outermost level; its bandwidth has no price without.
        work: The network.
    """

    fronts: NetworkFronts
    objective: Objective = "edp"
    dram: str | None = None
    work: Workload | Program = field(repr=False)

    def __call__(self, point: Any) -> dict[str, Any]:
        """Cost a design point or a batch of them.

        Returns:
            Columns latency_s, energy_j, edp_j_s, area_mm2, cycles, utilization, of the products that the array runs
            (`fronts.unmapped` names the others). What does not fit has infinite latency and energy.
        """
        knobs = {name: getattr(point, name) for name in point.names}
        found = self.fronts.sweep(knobs, self.objective, dram=self.dram)
        one = all(np.ndim(value) == 0 for value in knobs.values())
        return {name: float(values[0]) if one else values for name, values in found.items()}

    def describe(self, space: Space) -> dict[str, Any]:
        """Give what the columns follow from and where it comes from, for `run.toml`: digests and citations."""
        device = self.fronts.accelerator
        parts = [self.work] if isinstance(self.work, Workload) else [part for _, part in self.work]
        return {
            "workloads": {part.name: part.digest() for part in parts},
            "devices": {device.name: digest_of(device)},
            "objective": self.objective,
            "dram": self.dram or "",
            "left_out": sorted({item.op_type for item in self.fronts.unmapped}),
            "sources": {device.name: {group: citation.source for group, citation in device.sources.items()}},
        }


def accelerator_model(
    work: Workload | Program,
    device: str | Accelerator = "gemmini",
    *,
    objective: Objective = "edp",
    dram: str | None = None,
    folder: Path | None = None,
) -> AcceleratorModel:
    """Make the model of a network on a spatial accelerator, for `sweep` and `run`.

    Args:
        work: Scalar.
        device: Name, TOML path, or accelerator whose knobs are turned.
        objective: Of each operator's mapping: "edp", "energy" or "latency".
        dram: Technology of the outermost level, a key of `hwmodels.energy.dram_phys()`.
        folder: Where fronts are kept across runs; None: in memory.

    Raises:
        SpecError: No such accelerator.
        MappingError: The network has no product that the array runs.

    Example:
        >>> import dse
        >>> from workloads import zoo
        >>> space = dse.Space(**{"capacity_scale.Scratchpad": [0.5, 1.0], "array_rows": [8, 16]})
        >>> model = dse.accelerator_model(zoo.architecture("bert-tiny", seq=32), "gemmini")
        >>> result = dse.sweep(space, model, minimize=["latency_s", "area_mm2"])
        >>> len(result)
        4
    """
    machine = hwmodels.load(device, kind=Accelerator) if isinstance(device, str) else device
    return AcceleratorModel(
        fronts=network_fronts(work, machine, FrontMemo(folder)), objective=objective, dram=dram, work=work
    )


COLUMNS: Mapping[str, str] = {
    "latency_s": "s",
    "energy_j": "J",
    "edp_j_s": "J s",
    "area_mm2": "mm2",
    "cycles": "",
    "utilization": "",
}
"""Of the model: what may be minimised or bounded, and the unit."""
