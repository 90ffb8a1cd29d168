"""What `dse map` says of the engines beside the array: the whole network, every tensor through the outermost level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from workloads.errors import MappingError

if TYPE_CHECKING:
    from dse.cli.mapping_settings import MapSettings
    from hwmodels import Accelerator
    from hwmodels.machines import MachineRun
    from hwmodels.mapping import Result
    from hwmodels.mapping.network import MappedNetwork
    from workloads.operator import Operator
    from workloads.workload import Program, Workload

__all__ = ["whole_run"]


def whole_run(work: Workload | Program, network: MappedNetwork, settings: MapSettings) -> tuple[MachineRun | None, str]:
    """Run a mapped network on all engines of its accelerator.

    Args:
        work: The network.
        network: As far as it is mapped.
        settings: How.

    Returns:
        The run, or None and why there is none: "" where nobody would expect one.
    """
    from hwmodels.machines import run

    accelerator = settings.accelerator
    if network.waiting or not network.unmapped or settings.objective == "pareto" or settings.relaxed:
        return None, ""
    if not accelerator.engines:
        return None, f"{accelerator.name} has no engine beside its array: its file may add [[engine]] tables"
    memo = settings.memo()

    def find(product: Operator, machine: Accelerator, homes: Mapping[str, str]) -> Result:
        return memo.search(product, machine, settings.objective, factors=settings.factors, resident=homes)

    try:
        return run(work, accelerator, settings.objective, find=find, keep=False), ""
    except MappingError as error:
        return None, str(error)
