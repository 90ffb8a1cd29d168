"""A figure of fusion: what it gains or loses, beside published changes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dse.plots.style import COLOURS, figure_path, save_figure
from workloads.errors import SpaceError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["fusion_changes"]


def fusion_changes(
    path: str | os.PathLike[str],
    panels: Mapping[str, Mapping[str, Mapping[str, float]]],
    title: str = "What fusing changes",
) -> Path:
    """Draw changes by fusion as bars around zero: below it fusing gains, above it loses.

    Args:
        path: .png, .svg or .pdf.
        panels: Name of a panel to series (a machine, "published") to changes by cascade, as fractions of the unfused;
            a cascade that a series lacks has no bar.
        title: Above the plots.

    Returns:
        The path.

    Raises:
        SpaceError: There is nothing to draw.
        StoreError: The file type is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    if not panels or not all(series and all(series.values()) for series in panels.values()):
        raise SpaceError("nothing to draw: give the changes of at least one cascade in every panel")
    widths = [len(_names(series)) + 1 for series in panels.values()]
    figure = Figure(figsize=(2.0 + 0.95 * sum(widths), 4.8), layout="constrained")
    plots = np.atleast_1d(figure.subplots(1, len(panels), width_ratios=widths))
    for axes, (name, series) in zip(plots, panels.items(), strict=True):
        _bars(axes, series)
        axes.set_title(name, fontsize=10)
    figure.suptitle(title)
    return save_figure(figure, target)


def _names(series: Mapping[str, Mapping[str, float]]) -> Sequence[str]:
    return list(dict.fromkeys(name for changes in series.values() for name in changes))


def _bars(axes: Axes, series: Mapping[str, Mapping[str, float]]) -> None:
    names = _names(series)
    width = 0.8 / len(series)
    for number, (label, changes) in enumerate(series.items()):
        places = [at + (number - (len(series) - 1) / 2) * width for at, name in enumerate(names) if name in changes]
        values = [100.0 * changes[name] for name in names if name in changes]
        axes.bar(places, values, width * 0.92, color=COLOURS[number % len(COLOURS)], label=label)
        for place, value in zip(places, values, strict=True):
            axes.annotate(
                f"{value:+.0f}", (place, value), ha="center", va="bottom" if value >= 0 else "top", fontsize=6.5
            )
    axes.axhline(0.0, color="black", lw=0.8)
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", fontsize=8)
    axes.set_ylabel("change by fusing [%]")
    axes.margins(y=0.12)
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.2)
