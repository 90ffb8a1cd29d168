"""The survey's figures in lines: intensity and latency over the length, ours beside the printed ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dse.plots.style import BESIDE, COLOURS, MARKERS, figure_path, save_figure
from dse.plots.survey import Counts, filled
from workloads.errors import SpaceError

__all__ = ["intensity_over_length", "normalized_latency"]


def intensity_over_length(
    path: str | os.PathLike[str],
    counts: Counts | None = None,
    printed: Mapping[str, Mapping[int, float]] | None = None,
) -> Path:
    """Draw the arithmetic intensity of whole models over the length.

    Args:
        path: .png, .svg or .pdf.
        counts: Of any models; default: the survey's three.
        printed: Model to length to a printed intensity, drawn hollow beside ours.

    Returns:
        The path.

    Raises:
        StoreError: The file type is unknown, or the file cannot be written.
    """
    series = {
        model: {length: float(found["total"].intensity) for length, found in by_length.items()}
        for model, by_length in filled(counts).items()
    }
    return _lines(path, series, printed, "arithmetic intensity [FLOP/B], 8-bit values", "Intensity over the length")


def normalized_latency(
    path: str | os.PathLike[str],
    latencies: Mapping[str, Mapping[int, float]],
    printed: Mapping[str, Mapping[int, float]] | None = None,
    title: str = "Latency over the length",
) -> Path:
    """Draw latencies over the length, relative to the first model at its shortest length.

    Args:
        path: .png, .svg or .pdf.
        latencies: Model to length to latency [s].
        printed: Model to length to a printed normalized latency, drawn hollow beside ours.
        title: Above the plot.

    Returns:
        The path.

    Raises:
        SpaceError: There is nothing to draw.
        StoreError: The file type is unknown, or the file cannot be written.
    """
    if not latencies or not all(latencies.values()):
        raise SpaceError("nothing to draw: give latencies of at least one model at one length")
    first = next(iter(latencies.values()))
    reference = first[min(first)]
    series = {
        model: {length: value / reference for length, value in found.items()} for model, found in latencies.items()
    }
    base = f"{next(iter(latencies))} at {min(first)} tokens = 1"
    return _lines(path, series, printed, f"latency ({base})", title)


def _lines(
    path: str | os.PathLike[str],
    series: Mapping[str, Mapping[int, float]],
    printed: Mapping[str, Mapping[int, float]] | None,
    label: str,
    title: str,
) -> Path:
    from matplotlib.figure import Figure

    target = figure_path(path)
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    lengths = sorted({length for found in series.values() for length in found})
    for number, (model, found) in enumerate(series.items()):
        style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        axes.plot(list(found), list(found.values()), lw=1.5, ms=5, label=model, **style)
        if printed and model in printed:
            other = printed[model]
            axes.plot(
                list(other), list(other.values()), ls=":", lw=1, ms=9, mfc="none", label=f"{model}, printed", **style
            )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.minorticks_off()
    axes.set(xlabel="tokens", ylabel=label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    axes.set_title(title, fontsize=11)
    axes.legend(**BESIDE)
    return save_figure(figure, target)
