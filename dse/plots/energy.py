"""Figures of the energy models: what they say beside what others printed, with error bands."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dse.plots.style import BESIDE, COLOURS, GREY, MARKERS, figure_path, save_figure
from hwmodels.energy import dram_energy, mac_energy

__all__ = ["Deviation", "dram_parts", "operation_energy", "published_deviations"]


def operation_energy(
    formats: Sequence[str],
    path: str | os.PathLike[str],
    *,
    nodes_nm: Sequence[float] = (45.0, 28.0, 16.0, 7.0, 5.0),
) -> Path:
    """Draw the energy of a multiply-add by format and node, with its error band.

    Args:
        formats: Names, up to as many as fit: ten.
        path: .png, .svg or .pdf.
        nodes_nm: Up to seven technology nodes [nm].

    Returns:
        The path.

    Raises:
        SpecError: No such format, or a node out of range.
        StoreError: The file type is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    figure = Figure(figsize=(9.5, 4.4), layout="constrained")
    axes = figure.subplots()
    step = 0.8 / len(nodes_nm)
    for at, node in enumerate(nodes_nm):
        found = [mac_energy(name, node_nm=node) for name in formats]
        values, low, high = (1e12 * np.array([float(getattr(each, end)) for each in found])
                             for end in ("value", "low", "high"))  # fmt: skip
        places = np.arange(len(formats)) + step * (at - (len(nodes_nm) - 1) / 2)
        axes.errorbar(places, values, yerr=[values - low, high - values], fmt=MARKERS[at], color=COLOURS[at], ms=5,
                      elinewidth=0.9, label=f"{node:g} nm")  # fmt: skip
    axes.set(yscale="log", ylabel="energy of a multiply-add, with its error band [pJ]", xlim=(-0.6, len(formats) - 0.4))
    axes.set_xticks(range(len(formats)), formats, rotation=20)
    axes.yaxis.set_major_formatter("{x:g}")
    for place in range(len(formats) - 1):
        axes.axvline(place + 0.5, color="#e6e6e6", lw=0.8)
    axes.grid(axis="y", color="#e6e6e6", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title="node", **BESIDE)
    return save_figure(figure, target)


PARTS = ("activate", "array", "io")


def dram_parts(technologies: Sequence[str], path: str | os.PathLike[str]) -> Path:
    """Draw the energy of a DRAM bit by technology, stacked by part; grey where nobody published a split.

    Args:
        technologies: Names.
        path: .png, .svg or .pdf.

    Returns:
        The path.

    Raises:
        SpecError: No such technology.
        StoreError: The file type is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    found = sorted((dram_energy(name) for name in technologies), key=lambda each: float(each.total.value))
    figure = Figure(figsize=(9.5, 1.2 + 0.34 * len(found)), layout="constrained")
    axes = figure.subplots()
    names = {"activate": "activate", "array": "array", "io": "I/O"}
    for row, each in enumerate(found):
        start = 0.0
        for at, part in enumerate(PARTS):
            if part in each.parts:
                width = float(each.parts[part].value) * 1e12
                axes.barh(row, width, left=start, color=COLOURS[at], height=0.62)
                start += width
        total, low, high = (float(number) * 1e12 for number in (each.total.value, each.total.low, each.total.high))
        axes.barh(row, total - start, left=start, color="#bbbbbb", height=0.62)
        axes.errorbar(
            total, row, xerr=[[total - low], [high - total]], fmt="none", ecolor="black", elinewidth=0.9, capsize=2
        )
        axes.text(high, row, f"  {total:.3g}", va="center", fontsize=8.5, color=GREY)
    for at, part in enumerate(PARTS):
        axes.barh(0, 0, color=COLOURS[at], label=names[part])
    axes.barh(0, 0, color="#bbbbbb", label="not split")
    axes.errorbar([], [], xerr=[], color="black", elinewidth=0.9, capsize=2, ls="", label="error band")
    axes.set(
        yticks=range(len(found)),
        yticklabels=[each.technology for each in found],
        xlabel="energy, device and I/O [pJ/bit]",
    )
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.set_xlim(0, 1.08 * max(float(each.total.high) for each in found) * 1e12)
    axes.grid(axis="x", color="#e6e6e6", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(**BESIDE)
    return save_figure(figure, target)


class Deviation(NamedTuple):
    """A predicted number over a published one: value and ends of the band; groups share a colour."""

    group: str
    name: str
    ratio: float
    low: float
    high: float


def published_deviations(rows: Sequence[Deviation], path: str | os.PathLike[str]) -> Path:
    """Draw predicted over published numbers with their error bands, a row each; the line is 1.

    Args:
        rows: In the order of drawing, from the top; a band of no width is drawn as a dot alone.
        path: .png, .svg or .pdf.

    Returns:
        The path.

    Raises:
        StoreError: The file type is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    groups = list(dict.fromkeys(row.group for row in rows))
    figure = Figure(figsize=(10.5, 1.0 + 0.25 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(1, color="black", lw=0.9)
    for group_at, group in enumerate(groups):
        mine = [(place, row) for place, row in enumerate(rows) if row.group == group]
        places = [place for place, _ in mine]
        values = np.array([row.ratio for _, row in mine])
        ends = np.abs(np.array([[row.low for _, row in mine], [row.high for _, row in mine]]) - values)
        axes.errorbar(values, places, xerr=ends, fmt=MARKERS[group_at % 7], color=COLOURS[group_at % 7], ms=5,
                      elinewidth=1.0, label=group)  # fmt: skip
    axes.set(xscale="log", ylim=(len(rows) - 0.4, -0.6), xlabel="predicted over published")
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=8)
    reach = [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20]
    low, high = axes.get_xlim()
    ticks = [tick for tick in reach if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(axis="x", color="#e6e6e6", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(**BESIDE)
    return save_figure(figure, target)
