"""A mapped network as tables: a row per mapping, and a row per mapping, level and tensor, with their totals."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwmodels.mapping.network import MappedNetwork, MappedOperator
from hwmodels.spatial import ROLES

__all__ = ["TOTAL", "level_rows", "operator_rows"]

TOTAL = "total"
"""What the last rows are called."""


def operator_rows(network: MappedNetwork) -> list[dict[str, Any]]:
    """Give one row per mapping, and the total: numbers of all executions together.

    Columns `NAME_j` of every level, `mac_j` and `other_j` (static power, and what is read beside the mapping) say where
    the energy goes, and add up to `energy_j`.

    Args:
        network: What was mapped.
    """
    rows: list[dict[str, Any]] = []
    for item in network.operators:
        cost, times = item.cost, item.executions
        rows.append(
            {
                "operator": item.names[0],
                "block": item.operator.block,
                "op_type": item.operator.op_type,
                "dims": " ".join(f"{dim}={int(size)}" for dim, size in item.operator.dims.items()),
                "operators": len(item.names),
                "executions": times,
                "macs": times * cost.macs,
                "compute_cycles": times * float(cost.compute_cycles[0]),
                "cycles": times * float(cost.cycles[0]),
                "bound": cost.bounds[cost.bound[0]],
                "utilization": float(cost.utilization[0]),
                "latency_s": times * float(cost.latency_s[0]),
                "energy_j": times * float(cost.energy_j[0]),
                **{name: times * joules for name, joules in _components(item).items()},
                "gap": float(item.finding.gap),
                "candidates": int(item.finding.candidates),
            }
        )
    sums = ["operators", "executions", "macs", "compute_cycles", "cycles", "latency_s", "energy_j", "candidates"]
    sums += _components(network.operators[0])
    total: dict[str, Any] = dict.fromkeys(rows[0], "") | {name: sum(row[name] for row in rows) for name in sums}
    peak = network.accelerator.mac_instances * network.accelerator.macs_per_cycle
    total |= {"operator": TOTAL, "utilization": total["macs"] / (total["cycles"] * peak)}
    return [*rows, total | {"gap": max(row["gap"] for row in rows)}]


def _components(item: MappedOperator) -> dict[str, float]:
    """Give the energy of one execution by level, of the MACs, and of the rest [J]."""
    cost = item.cost
    levels = {f"{name}_j": float(cost.level_j[0, place].sum()) for place, name in enumerate(cost.levels)}
    return levels | {"mac_j": float(cost.mac_j), "other_j": float(cost.other_j[0])}


def level_rows(network: MappedNetwork) -> list[dict[str, Any]]:
    """Give one row per mapping, level and tensor, and their totals: elements and energy of all executions together.

    Args:
        network: What was mapped.
    """
    rows: list[dict[str, Any]] = []
    for item in network.operators:
        for place, name in enumerate(item.cost.levels):
            for column, role in enumerate(ROLES):
                if role in item.finding.mapping.levels[place].keeps:
                    rows.append(_level_row(item, place, name, column, role))
    totals: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        total = totals.setdefault((row["level"], row["tensor"]), dict.fromkeys(row, "") | _NO_TRAFFIC)
        for key in _NO_TRAFFIC:
            total[key] += row[key]
        total |= {"operator": TOTAL, "level": row["level"], "tensor": row["tensor"]}
    return rows + list(totals.values())


_NO_TRAFFIC: dict[str, Any] = {"reads": 0.0, "fills": 0.0, "updates": 0.0, "energy_j": 0.0}


def _level_row(item: MappedOperator, place: int, name: str, column: int, role: str) -> dict[str, Any]:
    cost, times = item.cost, item.executions
    moved = {key: times * int(getattr(cost, key)[0, place, column]) for key in ("reads", "fills", "updates")}
    return {
        "operator": item.names[0],
        "level": name,
        "tensor": role,
        "instances": int(cost.instances[0, place]),
        "tile_elements": int(cost.tile[0, place, column]),
        "tile_words": float(cost.tile_words[0, place, column]),
        "usable_words": float(cost.usable_words[place]) if np.isfinite(cost.usable_words[place]) else "",
        **moved,
        "energy_j": times * float(cost.level_j[0, place, column]),
    }
