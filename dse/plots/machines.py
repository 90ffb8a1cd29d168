"""A network on an accelerator: which engine works when and for what, and where the energy goes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dse.plots.style import BESIDE, COLOURS, GREY, axis_label, figure_path, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hwmodels.machines import MachineRun

__all__ = ["machine_run"]

MOST_KINDS = 6
"""Kinds of work that have a colour of their own."""


def machine_run(run: MachineRun, path: str | os.PathLike[str]) -> Path:
    """Draw a network on an accelerator: a row per engine over the time, and energy by component.

    Args:
        run: The network.
        path: FILE.png, .svg or .pdf.

    Raises:
        StoreError: An unknown file type.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    figure = Figure(figsize=(9.0, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(1, 1))
    _draw_time(above, run)
    _draw_energy(below, run)
    figure.suptitle(f"{run.name} on {run.accelerator.name}, predicted", fontsize=11)
    return save_figure(figure, target)


def _kinds(run: MachineRun) -> dict[str, str]:
    """Give a colour to the kinds of work that take most time; the rest is grey."""
    total: dict[str, float] = {}
    for cost in run.costs:
        name = _kind(cost.task.op_type)
        total[name] = total.get(name, 0.0) + cost.latency_s * cost.task.executions
    largest = sorted(total, key=lambda name: -total[name])[:MOST_KINDS]
    return dict(zip(largest, COLOURS, strict=False))


def _kind(op_type: str) -> str:
    return op_type if len(op_type) <= 30 else op_type[:29] + "…"


def _draw_time(axes: Axes, run: MachineRun) -> None:
    from matplotlib.patches import Patch

    engines, colours = list(run.busy_s), _kinds(run)
    _, ends = axis_label("time_s", np.array([run.latency_s]))
    scale = run.latency_s / float(ends[0]) if run.latency_s else 1.0
    for name in (*colours, ""):
        for place, engine in enumerate(engines):
            bars = [
                (start / scale, cost.latency_s * cost.task.executions / scale)
                for cost, start in zip(run.costs, run.starts_s, strict=True)
                if cost.task.engine == engine and (colours.get(_kind(cost.task.op_type)) is None) == (not name)
                and (not name or _kind(cost.task.op_type) == name)
            ]  # fmt: skip
            if bars:
                axes.broken_barh(bars, (place - 0.38, 0.76), facecolors=colours.get(name, GREY), linewidth=0)
    names = [f"{engine}\n{busy / run.latency_s:.0%}" for engine, busy in run.busy_s.items()]
    axes.set_yticks(range(len(engines)), names)
    axes.set_ylim(len(engines) - 0.5, -0.5)
    axes.set_xlim(0, float(ends[0]))
    axes.set_xlabel(axis_label("time_s", np.array([run.latency_s]))[0])
    patches = [Patch(color=colour, label=name) for name, colour in colours.items()]
    axes.legend(handles=[*patches, Patch(color=GREY, label="other")], title="engine busy with", **BESIDE)


def _draw_energy(axes: Axes, run: MachineRun) -> None:
    names = [name for name, joules in run.energy_by.items() if joules]
    label, values = axis_label("energy_j", np.array([run.energy_by[name] for name in names]))
    axes.barh(range(len(names)), values, color=COLOURS[0])
    for place, value in enumerate(values):
        axes.annotate(f" {value / values.sum():.1%}", (value, place), va="center", fontsize=8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel(label)
