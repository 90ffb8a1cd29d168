"""Figures of the SRAM model: over the capacity, and its errors on what it did not see."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dse.plots.style import BESIDE, COLOURS, GREY, MARKERS, figure_path, save_figure
from hwmodels.energy.sram import sram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SramPoints", "error_distributions", "sram_over_capacity"]

Floats = NDArray[np.float64]

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
    axes.yaxis.set_major_formatter("{x:g}")
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
        axes.set_xticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
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
