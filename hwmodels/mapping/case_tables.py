"""Mapping cases as tables: rows with the columns of `counts.csv` and `summary.csv` of the reference set."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from hwmodels.mapping.cases import PJ, Case
from hwmodels.mapping.traffic import Traffic, evaluate
from hwmodels.spatial import ROLES, Conventions
from workloads.errors import MappingError

__all__ = ["case_tables"]


def case_tables(
    cases: Iterable[Case], conventions: Conventions | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Evaluate cases.

    Args:
        cases: What to evaluate.
        conventions: What counts include; default: those of each accelerator.

    Returns:
        Rows of `counts.csv` (case, level, tensor) and of `summary.csv` (case). Energies in pJ. A case that does not fit
        has no counts, and a summary with infinite cycles and energy whose `bound` says what it needs where.

    Raises:
        MappingError: A case is not valid.
    """
    counts: list[dict[str, Any]] = []
    summary: list[dict[str, Any]] = []
    for case in cases:
        try:
            traffic = evaluate(case.operator, case.accelerator, case.mapping, conventions)
        except MappingError as error:
            raise MappingError(f"case {case.name}: {error}") from None
        if traffic.fits[0]:
            counts += _count_rows(case, traffic)
        summary.append(_summary_row(case, traffic))
    return counts, summary


def _count_rows(case: Case, traffic: Traffic) -> Iterable[dict[str, Any]]:
    for place, level in enumerate(case.mapping.levels):
        copies = int(traffic.instances[0, place])
        for column, role in enumerate(ROLES):
            if role not in level.keeps:
                continue
            totals = {name: int(getattr(traffic, name)[0, place, column]) for name in ("reads", "fills", "updates")}
            yield {
                "case": case.name,
                "level": level.level,
                "tensor": role,
                "instances_used": copies,
                "tile_words_per_instance": int(traffic.tile[0, place, column]),
                "partition_words_per_instance": _share(int(traffic.partition[0, place, column]), copies),
                **{f"{name}_per_instance": _share(total, copies) for name, total in totals.items()},
                **{f"{name}_total": total for name, total in totals.items()},
                "energy_pJ": _picojoules(traffic.level_j[0, place, column]),
            }


def _summary_row(case: Case, traffic: Traffic) -> dict[str, Any]:
    fits = bool(traffic.fits[0])
    cycles = int(traffic.cycles[0]) if fits else math.inf
    energy = _picojoules(traffic.energy_j[0]) if fits else math.inf
    return {
        "case": case.name,
        "architecture": case.accelerator.name,
        "layer": case.layer,
        "macs": traffic.macs,
        "compute_cycles": math.ceil(traffic.compute_cycles[0]),
        "cycles": cycles,
        "bound": traffic.bounds[traffic.bound[0]] if fits else _misfit(traffic),
        "utilization": round(float(traffic.utilization[0]), 6) if fits else 0.0,
        "energy_pJ": energy,
        "edp_pJ_cycles": energy * cycles,
        "independent_check": "-",
    }


def _misfit(traffic: Traffic) -> str:
    """Say in one line what does not fit."""
    try:
        traffic.require_fit()
    except MappingError as error:
        return f"does not fit: {'; '.join(str(error).splitlines())}"
    raise AssertionError("a mapping that fits has a bound")


def _share(total: int, copies: int) -> int | float:
    """Give the average over the instances, whole where it is."""
    return total / copies if total % copies else total // copies


def _picojoules(energy_j: float) -> float:
    return float(f"{energy_j / PJ:.12g}")  # twelve digits: what is left of exact decimal inputs
