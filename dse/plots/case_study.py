"""The survey's case study: shares of the time in bars, utilization over two buffers as maps, ours beside printed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dse.plots.style import BESIDE, COLOURS, GREY, figure_path, save_figure
from workloads.errors import SpaceError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

__all__ = ["buffer_grids", "time_shares"]

REST = "other"
"""Kind of work that is drawn grey; so is what is missing to 100 %."""

FAINT = 0.35
"""Opacity of that grey."""


def time_shares(
    path: str | os.PathLike[str],
    shares: Mapping[str, Mapping[str, float]],
    printed: Mapping[str, Mapping[str, float]] | None = None,
) -> Path:
    """Draw where the time goes: a bar per machine, and below it what is printed of it.

    Args:
        path: .png, .svg or .pdf.
        shares: Machine to kind of work to its share of the time [%].
        printed: The same, as printed. Several kinds in one are named "a + b".

    Raises:
        SpaceError: There is nothing to draw.
        StoreError: The file type is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    target = figure_path(path)
    bars: list[tuple[str, Mapping[str, float]]] = []
    for name, found in shares.items():
        bars.append((name, found))
        if printed and name in printed:
            bars.append((f"{name}, printed", printed[name]))
    if not bars or not all(found for _, found in bars):
        raise SpaceError("nothing to draw: give shares of at least one machine")
    kinds = list(dict.fromkeys(kind for found in shares.values() for kind in found if kind != REST))
    colours = dict(zip(kinds, COLOURS, strict=False))
    figure = Figure(figsize=(9.2, 1.1 + 0.5 * len(bars)), layout="constrained")
    axes = figure.subplots()
    for place, (_, found) in enumerate(bars):
        _bar(axes, place, found, colours)
    axes.set_yticks(range(len(bars)), [name for name, _ in bars], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 102)
    axes.set_xlabel("share of the time [%]")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    handles = [Patch(color=colour, label=kind) for kind, colour in colours.items()]
    axes.legend(handles=[*handles, Patch(color=GREY, alpha=FAINT, label="other, or not printed")], **BESIDE)
    return save_figure(figure, target)


def _bar(axes: Axes, place: int, found: Mapping[str, float], colours: Mapping[str, str]) -> None:
    """Draw one bar; of a kind that is several, the colour of the first and a hatch of the second."""
    left = 0.0
    for kind, share in found.items():
        if kind == REST:
            continue
        parts = kind.split(" + ")
        colour = colours.get(parts[0], GREY)
        others = [colours[part] for part in parts[1:] if part in colours]
        bars = axes.barh(place, share, left=left, color=colour, height=0.7, linewidth=0)
        if others:
            bars[0].set(hatch="///", edgecolor=others[0])
        if share >= 3:
            axes.text(left + share / 2, place, f"{share:.0f}", ha="center", va="center", fontsize=8.5, color="white",
                      bbox={"boxstyle": "square,pad=0.1", "color": colour} if others else None)  # fmt: skip
        left += share
    if left < 99.5:
        axes.barh(place, 100 - left, left=left, color=GREY, height=0.7, alpha=FAINT, linewidth=0)


def buffer_grids(path: str | os.PathLike[str], grids: Mapping[str, Mapping[tuple[int, int], float]]) -> Path:
    """Draw utilization over the sizes of accumulator and scratchpad, a map per title, all in one scale.

    Args:
        path: .png, .svg or .pdf.
        grids: Title to (accumulator, scratchpad) [kB] to utilization, 0 to 1; all over the same sizes.

    Raises:
        SpaceError: There is nothing to draw, or sizes differ.
        StoreError: The file type is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    sizes = {frozenset(found) for found in grids.values()}
    if len(sizes) != 1 or not all(grids.values()):
        raise SpaceError("nothing to draw: give maps of at least one title, all over the same sizes of buffers")
    columns = min(len(grids), 3)
    rows = -(-len(grids) // columns)
    figure = Figure(figsize=(2.9 * columns + 0.8, 2.7 * rows + 0.3), layout="constrained")
    every = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (title, found) in zip(every, grids.items(), strict=False):
        image = _map(axes, title, found)
    for axes in every[len(grids) :]:
        axes.set_visible(False)
    figure.colorbar(image, ax=list(every[: len(grids)]), label="utilization of the array [%]", shrink=0.8)
    figure.supxlabel("scratchpad [kB]", fontsize=10)
    figure.supylabel("accumulator [kB]", fontsize=10)
    return save_figure(figure, target)


def _map(axes: Axes, title: str, found: Mapping[tuple[int, int], float]) -> AxesImage:
    """Draw one map with its numbers, and give the image."""
    accumulators, scratchpads = (sorted({pair[at] for pair in found}) for at in (0, 1))
    values = 100 * np.array([[found[row, column] for column in scratchpads] for row in accumulators])
    image = axes.imshow(values, vmin=40, vmax=100, cmap="cividis", aspect="auto", origin="lower")
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            colour = "white" if value < 75 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=10, color=colour)
    axes.set_xticks(range(len(scratchpads)), [str(size) for size in scratchpads], fontsize=9)
    axes.set_yticks(range(len(accumulators)), [str(size) for size in accumulators], fontsize=9)
    axes.tick_params(length=0)
    axes.set_title(title, fontsize=9.5)
    return image
