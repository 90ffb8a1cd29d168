"""The pictures of `reports.energy`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dse.plots import (
    Deviation,
    SramPoints,
    dram_parts,
    error_distributions,
    operation_energy,
    published_deviations,
    sram_over_capacity,
)
from hwmodels.energy import arithmetic_deviations, published_checks, published_srams, published_wires
from hwmodels.energy.dram.published import technologies
from hwmodels.energy.sram.leave_out import COMPARED
from reports.energy_others import FORMATS
from reports.energy_splits import Floats, leave_out_splits, random_splits, truth
from reports.energy_sram import ASKED, TITLES

WORDS = (2, 16, 128)


def draw(folder: Path) -> list[Path]:
    """Draw all pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        sram_over_capacity(_points(), folder / "energy_sram.png"),
        error_distributions(
            _errors(), folder / "energy_errors.png", asked={TITLES[name]: ASKED[name] for name in ASKED}
        ),
        operation_energy(FORMATS, folder / "energy_operations.png"),
        dram_parts(technologies(), folder / "energy_dram.png"),
        published_deviations(_deviations(), folder / "energy_deviations.png"),
    ]


def _points() -> dict[int, SramPoints]:
    known = truth("itrs-hp", 45.0)
    found = {}
    for word in WORDS:
        pairs = sorted(pair for pair in known if pair[0] == word)
        values = np.array([known[pair] for pair in pairs])
        sizes = np.array([float(width * depth) for width, depth in pairs])
        read, area = (values[:, COMPARED.index(name)] for name in ("read_j", "area_mm2"))
        found[word] = SramPoints(sizes, read, area)
    return found


def _errors() -> Mapping[str, Mapping[str, Mapping[str, Floats]]]:
    splits = {
        "random pairs": leave_out_splits()[0],
        "whole capacities": leave_out_splits()[1],
        "no powers of two": leave_out_splits()[2],
        "whole word widths": leave_out_splits()[3],
        "random points,\nwidths of the table": random_splits()[0],
        "random points,\nother widths": random_splits()[1],
    }
    return {
        TITLES[quantity]: {
            name: {model: errors[:, COMPARED.index(quantity)] for model, errors in split.errors.items()
                   if model == "ours" or name == "random pairs"}
            for name, split in splits.items()
        }
        for quantity in ASKED
    }  # fmt: skip


def _short(source: str) -> str:
    return " ".join(source.split(",")[0].split()[:3])


def _deviations() -> list[Deviation]:
    rows = []
    for check in published_checks():
        ends = (
            float(end) / check.published for end in (check.predicted.value, check.predicted.low, check.predicted.high)
        )
        rows.append(Deviation("chips", f"{check.chip}: {check.item}", *ends))
    for wire in published_wires():
        if wire.comparable and wire.model is not None:
            ends = (float(end / wire.published.value) for end in (wire.model.value, wire.model.low, wire.model.high))
            rows.append(Deviation("wires", f"wire, {wire.node_nm:g} nm, {wire.published.source.split(',')[0]}", *ends))
    for each in arithmetic_deviations("energy"):
        if each.scope in ("component", "unit"):
            ends = (float(end) / each.published for end in (each.estimate.value, each.estimate.low, each.estimate.high))
            rows.append(Deviation("arithmetic", f"{each.what}, {_short(each.source)}", *ends))
    for macro in published_srams():
        if macro.kind == "figure":
            law, model = next(iter(macro.models.items()))
            ends = (float(end / macro.published.value) for end in (model.value, model.low, model.high))
            size = (
                f"{macro.size_bytes / 1024:g} KiB" if macro.size_bytes < 2**20 else f"{macro.size_bytes / 2**20:g} MiB"
            )
            name = f"SRAM read, {macro.node_nm:g} nm, {size}, {macro.published.source.split(',')[0]} ({law})"
            rows.append(Deviation("SRAM", name, *ends))
    return rows
