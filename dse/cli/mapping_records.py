"""What `dse map` found, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dse.cli.mapping_settings import MapSettings
    from hwmodels.mapping import Result
    from hwmodels.mapping.network import MappedNetwork

__all__ = ["front_rows", "network_record"]


def network_record(network: MappedNetwork, bind: Mapping[str, int], settings: MapSettings) -> dict[str, Any]:
    """Give a mapped network as plain data.

    Args:
        network: What was mapped.
        bind: Sizes of its symbolic dims.
        settings: How.
    """
    from hwmodels.mapping import mapping_text
    from hwmodels.mapping.network_rows import level_rows, operator_rows

    *rows, total = operator_rows(network)
    operators = [
        {**row, "names": list(item.names), "mapping": mapping_text(item.finding.mapping, item.operator.dims)}
        for row, item in zip(rows, network.operators, strict=True)
    ]
    levels = [{name: None if value == "" else value for name, value in row.items()} for row in level_rows(network)]
    left = [
        {"operator": item.name, "op_type": item.op_type, "flops": item.flops, "reason": item.reason}
        for item in network.unmapped
    ]
    return {
        "model": network.name,
        "device": network.accelerator.name,
        "bind": dict(bind),
        "objective": settings.objective,
        "relaxed": settings.relaxed,
        "conventions": network.accelerator.conventions.name,
        "narrowed_from_bits": network.narrowed_from or None,
        "waiting": network.waiting,
        "totals": {name: value for name, value in total.items() if value != "" and name != "operator"},
        "operators": operators,
        "levels": levels,
        "unmapped": left,
    }


def front_rows(result: Result) -> list[dict[str, Any]]:
    """Give the points of a front, by ascending cycles.

    Args:
        result: Of a search for "pareto".
    """
    return [
        {
            "point": number,
            "cycles": float(cost.cycles[0]),
            "latency_s": float(cost.latency_s[0]),
            "energy_j": float(cost.energy_j[0]),
            "edp_j_cycles": float(cost.edp_j_cycles[0]),
            "utilization": float(cost.utilization[0]),
            "bound": cost.bounds[cost.bound[0]],
        }
        for number, cost in enumerate((point.cost for point in result.points), start=1)
    ]
