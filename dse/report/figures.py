"""The figures of an optimisation report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dse.files import atomic_write
from dse.pipeline import Optimized

__all__ = ["pareto_figure", "prediction_figure"]

# Okabe & Ito 2008: distinguishable with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")


def pareto_figure(found: Optimized, path: Path) -> None:
    """Draw measured drop against predicted latency and packed size, one panel each; fronts filled, chosen ringed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    drops = np.array([design.measured.drop.value for design in found.designs]) * 100
    for number, (device, front) in enumerate(found.fronts.items()):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        latency = np.array([design.columns[device]["latency_s"] for design in found.designs]) * 1e3
        on = np.array([design.name in front for design in found.designs])
        left.scatter(latency[~on], drops[~on], s=22, marker=marker, facecolors="none", edgecolors=colour, alpha=0.6)
        left.scatter(latency[on], drops[on], s=34, marker=marker, color=colour, label=Path(device).stem)
        left.scatter(latency[0], drops[0], s=90, marker="*", color=colour, edgecolors="black", linewidths=0.6)
        index = [design.name for design in found.designs].index(found.chosen[device])
        left.scatter(latency[index], drops[index], s=170, marker="o", facecolors="none", edgecolors="black")
    size = np.array([design.sizes.packed_bytes for design in found.designs]) / 1e3
    errors = np.array([design.measured.drop.standard_error for design in found.designs]) * 100
    right.errorbar(size, drops, yerr=errors, fmt="o", ms=5, lw=1, color="#444444", ecolor="#999999")
    right.scatter(size[0], drops[0], s=90, marker="*", color="#444444", edgecolors="black", zorder=3)
    for name in dict.fromkeys(found.chosen.values()):
        index = [design.name for design in found.designs].index(name)
        right.scatter(size[index], drops[index], s=170, marker="o", facecolors="none", edgecolors="black")
    left.set(xlabel="latency, predicted [ms]", xscale="log")
    right.set(xlabel="weights, packed, measured [kB]")
    for axes in (left, right):
        _drop_axis(axes, found, drops)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    title = "filled: on the device's front; ringed: chosen; star: uncompressed"
    figure.suptitle(f"{found.workload.name}, measured designs ({title})", fontsize=11)
    _save(figure, path)


def _drop_axis(axes: Any, found: Optimized, drops: Any) -> None:
    """Show small drops on a line, large ones on a logarithm, and the limit."""
    from matplotlib.ticker import FixedLocator, FormatStrFormatter, NullLocator

    allowed = found.allowed * 100
    axes.set_yscale("symlog", linthresh=1.0)
    low = min(-0.25, float(drops.min()) * 1.3)
    axes.set_ylim(low, max(2.0, float(drops.max()) * 1.5))
    axes.yaxis.set_major_locator(FixedLocator([-5, -2, -1, -0.5, 0, 0.5, 1, 2, 5, 10, 20, 50, 100]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.set(ylabel=f"drop of {found.reference.metric}, measured\n[points; linear to 1, then logarithmic]")
    axes.axhline(allowed, color="black", lw=0.8, ls="--")
    axes.grid(alpha=0.25)
    axes.text(0.99, allowed, "allowed", transform=axes.get_yaxis_transform(), va="bottom", ha="right", fontsize=8)


def prediction_figure(found: Optimized, path: Path) -> None:
    """Draw predicted against measured drop of the designs that were predicted before they were measured."""
    from matplotlib.figure import Figure

    designs = [design for design in found.designs[1:] if np.isfinite(design.predicted_drop)]
    figure = Figure(figsize=(4.8, 4.4), layout="constrained")
    axes = figure.subplots()
    predicted = np.array([design.predicted_drop for design in designs]) * 100
    measured = np.array([design.measured.drop.value for design in designs]) * 100
    errors = np.array([design.measured.drop.standard_error for design in designs]) * 100
    axes.errorbar(predicted, measured, yerr=errors, fmt="o", ms=5, color="#0072B2", ecolor="#9ecae1")
    top = float(max([1.0, *predicted, *measured])) * 1.1
    axes.plot([0, top], [0, top], color="black", lw=0.8)
    axes.set(
        xlabel="drop predicted before measuring [points]",
        ylabel=f"drop of {found.reference.metric}, measured [points]",
    )
    axes.set_title("designs predicted before they were measured\n(line: equal; bars: one standard error)", fontsize=10)
    axes.grid(alpha=0.25)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    with atomic_write(path) as part:
        figure.savefig(part, format=path.suffix.lstrip("."), dpi=150)
