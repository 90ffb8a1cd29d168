"""Figures of the energy models: what they say beside what others printed, with error bands."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dse.plots.style import BESIDE, COLOURS, GREY, MARKERS, figure_path, save_figure
from hwmodels.energy import dram_energy, mac_energy
from hwmodels.energy.sram import sram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "Deviation",
    "SramPoints",
    "dram_parts",
    "error_distributions",
    "operation_energy",
    "published_deviations",
    "sram_over_capacity",
]

Floats = NDArray[np.float64]

MICRO = "\N{MICRO SIGN}"
SQUARED = "mm\N{SUPERSCRIPT TWO}"


class SramPoints(NamedTuple):
    """What a tool printed for one word width: capacities [B], read energies [J] and areas [mm2], shape (n_points,)."""

    size_bytes: Floats
    read_j: Floats
    area_mm2: Floats


def sram_over_capacity(
    points: Mapping[int, SramPoints],
    path: str | os.PathLike[str],
    *,
    node_nm: float = 45.0,
    device: str = "itrs-hp",
) -> Path:
    """Draw read energy and area of SRAM over the capacity: a tool's points, our curve, and a square-root law.

    The law is constant x sqrt(capacity), the constant of a word being the median over its points.

    Args:
        points: By word [B].
        path: .png, .svg or .pdf.
        node_nm: Of the points.
        device: Of the points.

    Returns:
        The path.

    Raises:
        StoreError: The file type is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    figure = Figure(figsize=(10.5, 4.3), layout="constrained")
    energy, area = figure.subplots(1, 2)
    for at, (word, found) in enumerate(sorted(points.items())):
        words = np.unique(np.geomspace(found.size_bytes.min() / word, found.size_bytes.max() / word, 1500).astype(int))
        sizes = words * float(word)
        ours = sram(sizes, float(word), node_nm=node_nm, device=device)
        for axes, printed, curve, scale in (
            (energy, found.read_j, ours.read_j, 1e12),
            (area, found.area_mm2, ours.area_mm2, 1.0),
        ):
            constant = np.median(printed / np.sqrt(found.size_bytes))
            law = constant * np.sqrt(sizes)
            axes.plot(sizes, np.asarray(curve) * scale, color=COLOURS[at], lw=1.2, label=f"{word} B words")
            axes.plot(sizes, law * scale, color=COLOURS[at], lw=1.0, ls="--", alpha=0.8)
            axes.plot(found.size_bytes, printed * scale, MARKERS[at], color=COLOURS[at], ms=4.5, mfc="white")
    _capacity_axis(energy, "read energy of a word [pJ]")
    _capacity_axis(area, f"area [{SQUARED}]")
    area.plot([], [], "o", color=GREY, mfc="white", ms=4.5, label="CACTI 7")
    area.plot([], [], color=GREY, lw=1.2, label="ours")
    area.plot([], [], color=GREY, lw=1.0, ls="--", label="square-root law")
    area.legend(**BESIDE)
    figure.suptitle(f"SRAM, {node_nm:g} nm, {device}, one port", fontsize=11, x=0.01, ha="left")
    return save_figure(figure, target)


def _capacity_axis(axes: Axes, label: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    low, high = np.log2(axes.get_xlim())
    ticks = 2.0 ** np.arange(np.ceil(low), np.floor(high) + 1)
    ticks = ticks[np.log2(ticks) % 4 == 0]
    axes.set_xticks(ticks, [_capacity(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="capacity", ylabel=label)
    axes.grid(color="#e6e6e6", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _capacity(size_bytes: float) -> str:
    for scale, unit in ((2**20, "MiB"), (2**10, "KiB")):
        if size_bytes >= scale:
            return f"{size_bytes / scale:g} {unit}"
    return f"{size_bytes:g} B"


def error_distributions(
    errors: Mapping[str, Mapping[str, Mapping[str, Floats]]],
    path: str | os.PathLike[str],
    *,
    asked: Mapping[str, tuple[float, float]] | None = None,
) -> Path:
    """Draw which share of points is within which relative error: a panel for each quantity.

    Args:
        errors: Relative errors by quantity, by what was left out (a colour each) and by model (the first drawn through,
            the others dashed and dotted), shape (n_points,).
        path: .png, .svg or .pdf.
        asked: Median and 95th percentile that are asked for, by quantity, in percent: drawn as crosses.

    Returns:
        The path.

    Raises:
        StoreError: The file type is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    columns = 2
    rows = -(-len(errors) // columns)
    figure = Figure(figsize=(11.5, 0.6 + 3.1 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
    styles = ("-", "--", ":")
    splits = list(dict.fromkeys(split for found in errors.values() for split in found))
    models = list(dict.fromkeys(model for found in errors.values() for split in found.values() for model in split))
    for axes, (quantity, found) in zip(panels, errors.items(), strict=False):
        for split, by_model in found.items():
            for model, values in by_model.items():
                finite = np.sort(100 * values[np.isfinite(values)])
                share = np.arange(1, len(finite) + 1) / len(finite)
                axes.plot(np.maximum(finite, 1e-3), share, color=COLOURS[splits.index(split)], lw=1.2,
                          ls=styles[models.index(model)])  # fmt: skip
        for place, value in zip((0.5, 0.95), (asked or {}).get(quantity, ()), strict=False):
            axes.plot(value, place, "x", color="black", ms=8, mew=1.8, zorder=5)
        axes.set(xscale="log", xlim=(1e-2, 1e3), ylim=(0, 1.02))
        axes.set_title(quantity, fontsize=10, loc="left")
        axes.set_xticks([0.01, 0.1, 1, 10, 100, 1000], ["0.01", "0.1", "1", "10", "100", "1000"])
        axes.set_yticks([0, 0.25, 0.5, 0.75, 0.95], ["0", "25 %", "50 %", "75 %", "95 %"])
        axes.minorticks_off()
        axes.grid(color="#e6e6e6", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in figure.axes[len(errors) :]:
        axes.set_visible(False)
    figure.supxlabel("relative error at most [%]", fontsize=10)
    figure.supylabel("share of points", fontsize=10)
    handles = _legend(figure.axes[0], splits, models, styles, asked is not None)
    figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=9)
    return save_figure(figure, target)


def _legend(
    axes: Axes, splits: Sequence[str], models: Sequence[str], styles: Sequence[str], crosses: bool
) -> list[Any]:
    lines = [axes.plot([], [], color=COLOURS[at], lw=2.5, label=split)[0] for at, split in enumerate(splits)]
    lines += [axes.plot([], [], color=GREY, ls=styles[at], lw=1.2, label=model)[0] for at, model in enumerate(models)]
    if crosses:
        lines += [axes.plot([], [], "x", color="black", ms=8, mew=1.8, label="asked, at most")[0]]
    return lines


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
    axes.set(yscale="log", ylabel="energy of a multiply-add [pJ]", xlim=(-0.6, len(formats) - 0.4))
    axes.set_xticks(range(len(formats)), formats, rotation=20)
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
    axes.plot([], [], color="black", lw=0.9, label="error band")
    axes.set(
        yticks=range(len(found)),
        yticklabels=[each.technology for each in found],
        xlabel="energy, device and I/O [pJ/bit]",
    )
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
