"""Figures of mapspaces: how good random mappings are, and how fast a search comes near the proven optimum."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.plots.style import BESIDE, COLOURS, GREY, MARKERS, figure_path, save_figure
from workloads.errors import SpaceError

__all__ = ["gap_over_time", "random_mappings_edp"]

DRAWN = 2000
"""Points of a curve: more cannot be told apart."""
LEAST_GAP = 1e-3
"""Gaps below a thousandth stand at the lower edge."""


def random_mappings_edp(
    path: str | os.PathLike[str],
    relative: Mapping[str, NDArray[np.float64]],
    printed: Mapping[str, float] | None = None,
    title: str = "Random valid mappings",
) -> Path:
    """Draw the energy-delay products of random mappings over the best one: sorted, and as a cumulative share.

    Args:
        path: .png, .svg or .pdf.
        relative: Operator to EDP over the base, ascending; (n,) each.
        printed: Operator to a published 10th percentile, marked on the cumulative curves.
        title: Above the plots.

    Returns:
        The path.

    Raises:
        SpaceError: There is nothing to draw.
        StoreError: The file type is unknown, or the file cannot be written.

    Source: Kim et al., arXiv 2302.14017, Figs. 18 and 19.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    if not relative or not all(len(values) for values in relative.values()):
        raise SpaceError("nothing to draw: give the energy-delay products of at least one operator's mappings")
    figure = Figure(figsize=(11.0, 4.4), layout="constrained")
    ranked, shares = figure.subplots(1, 2)
    for number, (name, values) in enumerate(relative.items()):
        colour = COLOURS[number % len(COLOURS)]
        rows = np.unique(np.linspace(0, len(values) - 1, DRAWN).astype(np.int64))
        share = (rows + 1) / len(values) * 100.0
        ranked.plot(share, values[rows], color=colour, lw=1.5)
        shares.plot(values[rows], share, color=colour, lw=1.5, label=name)
        if printed and name in printed:
            shares.plot([printed[name]], [10.0], marker="o", ms=7, mfc="none", mec=colour, ls="none")
    ranked.set(yscale="log", xlabel="mappings, sorted [%]", ylabel="energy x cycles over the best")
    shares.set(xscale="log", xlabel="energy x cycles over the best", ylabel="mappings up to there [%]")
    shares.axhline(10.0, color=GREY, lw=0.8, ls=":")
    shares.set_xlim(left=1.0)
    if printed:
        shares.plot([], [], marker="o", ms=7, mfc="none", mec=GREY, ls="none", label="published 10 %")
    for axes in (ranked, shares):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
    figure.suptitle(title, fontsize=11)
    shares.legend(**BESIDE)
    return save_figure(figure, target)


def gap_over_time(
    path: str | os.PathLike[str],
    traces: Mapping[str, Sequence[tuple[float, float]]],
    exact: Mapping[str, float] | None = None,
    title: str = "Gap to the proven optimum over time",
) -> Path:
    """Draw how near searches came to the optimum, over their CPU time.

    Args:
        path: .png, .svg or .pdf.
        traces: Name to (CPU time [s], value over the optimum less 1), by time.
        exact: Name to the CPU time of the exact search [s], marked at the lower edge.
        title: Above the plot.

    Returns:
        The path.

    Raises:
        SpaceError: There is nothing to draw.
        StoreError: The file type is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    if not traces or not all(traces.values()):
        raise SpaceError("nothing to draw: give the trace of at least one search")
    figure = Figure(figsize=(8.2, 4.4), layout="constrained")
    axes = figure.subplots()
    for number, (name, trace) in enumerate(traces.items()):
        style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        seconds, gaps = zip(*trace, strict=True)
        axes.plot(seconds, np.maximum(gaps, LEAST_GAP) * 100.0, lw=1.5, ms=5, label=name, **style)
        if exact and name in exact:
            axes.plot([exact[name]], [LEAST_GAP * 100.0], ms=10, mfc="none", ls="none", clip_on=False, **style)
    if exact:
        axes.plot([], [], marker="o", ms=10, mfc="none", mec=GREY, ls="none", label="exact search, proven")
    axes.set(xscale="log", yscale="log", xlabel="CPU time [s]", ylabel="above the optimum [%]; lowest: 0.1 % or less")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    axes.set_title(title, fontsize=11)
    axes.legend(**BESIDE)
    return save_figure(figure, target)
