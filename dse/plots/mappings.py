"""A mapping as a loop-nest picture, and what it moves at each level."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from dse.numbers import si
from dse.plots.style import BESIDE, COLOURS, GREY, figure_path, save_figure
from hwmodels.mapping import ROLES, Mapping, Traffic
from hwmodels.mapping.text import pieces_text
from hwmodels.units import si_scale
from workloads.operator import Operator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from hwmodels.mapping.network import MappedNetwork

__all__ = ["level_traffic", "loop_nest", "network_traffic"]

TENSORS = dict(zip(ROLES, COLOURS[:3], strict=True))
"""Colour of a tensor: the same in every figure."""

NAMES = {"W": "W weights", "I": "I inputs", "O": "O outputs"}
BANDS = ("#f2f2f2", "#ffffff")
WIDTH = 9.5
"""Of a figure [in]."""
LETTERS = 95
"""What of a headline fits in a line."""
BAR = 0.27
"""Height of one of up to three bars of a level, of the room that the level has."""
ROW = 0.26
"""Height of a line [in]."""


def loop_nest(
    operator: Operator, mapping: Mapping, cost: Traffic, path: str | os.PathLike[str], title: str = ""
) -> Path:
    """Draw a mapping: its loops from the outermost inwards, and beside them how full each level is.

    Args:
        operator: What is mapped.
        mapping: How.
        cost: Of this mapping alone (its first row is drawn).
        path: .png, .svg or .pdf.
        title: Above the picture; default: the operator, cycles, energy and utilization.

    Returns:
        The path.

    Raises:
        StoreError: The file type is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    lines = sum(1 + len(level.temporal) + len(level.spatial) for level in mapping.levels)
    headline = _wrapped(title or _title(operator, cost))
    figure = Figure(figsize=(WIDTH, 0.9 + ROW * (lines + headline.count("\n") + 1)), layout="constrained")
    nest, room = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1.5))
    rows = _draw_nest(nest, operator, mapping, lines)
    _draw_room(room, cost, rows)
    figure.suptitle(headline, fontsize=11, x=0.01, ha="left")
    return save_figure(figure, target)


def _title(operator: Operator, cost: Traffic) -> str:
    sizes = ", ".join(f"{dim} {int(size)}" for dim, size in operator.dims.items() if size > 1)
    energy = _micro(si(cost.energy_j[0], "J"))
    result = f"{si(cost.cycles[0])} cycles, {energy}, utilization {cost.utilization[0]:.1%}"
    return f"{operator.name} ({sizes})\n{result}, bound by {cost.bounds[cost.bound[0]]}"


def _wrapped(text: str) -> str:
    """Break lines that would leave the figure."""
    return "\n".join(fill(line, LETTERS) for line in text.splitlines())


def _draw_nest(axes: Axes, operator: Operator, mapping: Mapping, lines: int) -> list[tuple[int, int]]:
    """Write the loops, one a line; give the first and last line of each level."""
    left = {dim: int(size) for dim, size in operator.dims.items()}
    axes.set(xlim=(0, 1), ylim=(lines, 0))
    axes.axis("off")
    axes.set_title("pieces x size", fontsize=9, loc="right", color=GREY)
    axes.set_title(f"level, and what it keeps ({', '.join(NAMES.values())})", fontsize=9, loc="left", color=GREY)
    at = depth = 0
    rows = []
    for number, level in enumerate(mapping.levels):
        height = 1 + len(level.temporal) + len(level.spatial)
        axes.axhspan(at, at + height, color=BANDS[number % 2], lw=0, zorder=0)
        axes.text(0.01, at + 0.5, level.level, va="center", fontsize=9.5, fontweight="bold")
        _draw_kept(axes, level.keeps, at)
        rows.append((at, at + height))
        for loop in (*level.temporal, *level.spatial):
            at += 1
            parallel = bool(loop.axis)
            words = f"parallel {loop.dim} on {loop.axis}" if parallel else f"for {loop.dim}"
            indent = 0.04 + 0.022 * depth
            axes.plot([indent - 0.008] * 2, [at, rows[-1][1]], color="#cccccc", lw=0.8, zorder=1)
            style: dict[str, Any] = {"va": "center", "fontsize": 9, "family": "monospace"}
            colour = COLOURS[3] if parallel else "black"
            axes.text(indent, at + 0.5, words, color=colour, fontweight="bold" if parallel else "normal", **style)
            axes.text(0.99, at + 0.5, pieces_text(left[loop.dim], loop.step), ha="right", color=GREY, **style)
            left[loop.dim] = loop.step
            depth += 1
        at += 1
    return rows


def _draw_kept(axes: Axes, keeps: Sequence[str], at: float) -> None:
    for place, role in enumerate(ROLES):
        if role in keeps:
            axes.text(0.32 + 0.05 * place, at + 0.5, role, va="center", ha="center", fontsize=9, color="white",
                      bbox={"boxstyle": "round,pad=0.2", "fc": TENSORS[role], "lw": 0})  # fmt: skip


def _draw_room(axes: Axes, cost: Traffic, rows: Sequence[tuple[int, int]]) -> None:
    """Draw how much of its usable capacity each level's tiles take, by tensor."""
    axes.set(xlim=(0, 1))
    for number, (top, bottom) in enumerate(rows):
        axes.axhspan(top, bottom, color=BANDS[number % 2], lw=0, zorder=0)
        usable, tiles = cost.usable_words[number], cost.tile_words[0, number]
        if not math.isfinite(usable):
            axes.text(0.02, top + 0.5, "unbounded", va="center", fontsize=8, color=GREY)
            continue
        start = 0.0
        axes.barh(top + 0.5, 1.0, height=0.62, color="white", edgecolor=GREY, lw=0.7, zorder=1)
        for role, words in zip(ROLES, tiles, strict=True):
            axes.barh(top + 0.5, words / usable, left=start, height=0.62, color=TENSORS[role], zorder=2)
            start += words / usable
        many = f" in each of {int(cost.instances[0, number])}" if cost.instances[0, number] > 1 else ""
        text = f"{tiles.sum() / usable:.0%} of {usable:,.0f} word{'s' if usable > 1 else ''}{many}"
        inside = bottom - top < 2
        behind = {"boxstyle": "round,pad=0.15", "fc": "white", "lw": 0, "alpha": 0.85} if inside else None
        axes.text(0.98 if inside else 0.02, top + (0.5 if inside else 1.5), text, va="center",
                  ha="right" if inside else "left", fontsize=8, color=GREY, zorder=3, bbox=behind)  # fmt: skip
    axes.set_title("room that the tiles take", fontsize=9, loc="left", color=GREY)
    axes.tick_params(left=False, labelleft=False, bottom=False, labelbottom=False)
    for side in axes.spines.values():
        side.set_visible(False)


def level_traffic(cost: Traffic, path: str | os.PathLike[str], title: str = "") -> Path:
    """Draw what a mapping moves and what that costs, level by level and tensor by tensor.

    Args:
        cost: Of one mapping (its first row), or sums over many.
        path: .png, .svg or .pdf.
        title: Above the picture.

    Returns:
        The path.

    Raises:
        StoreError: The file type is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    headline = _wrapped(title or _micro(f"{si(cost.energy_j[0], 'J')} in all"))
    height = 1.2 + 0.5 * (len(cost.levels) + 2) + 0.2 * (headline.count("\n") + 1)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    moved, spent = figure.subplots(1, 2)
    elements = (cost.reads + cost.fills + cost.updates)[0]
    _draw_moved(moved, cost.levels, elements.astype(float))
    others = {"MACs": cost.mac_j, "bias, static": float(cost.other_j[0])}
    extra = {name: value for name, value in others.items() if value}
    joules = np.concatenate([cost.level_j[0], np.array([[0.0, 0.0, 0.0]] * len(extra)).reshape(-1, 3)])
    _draw_levels(spent, (*cost.levels, *extra), joules, "energy", "J", tuple(extra.values()))
    spent.legend(title="tensor", **BESIDE)
    figure.suptitle(headline, fontsize=11, x=0.01, ha="left")
    return save_figure(figure, target)


def _draw_moved(axes: Axes, names: Sequence[str], elements: np.typing.NDArray[np.float64]) -> None:
    """Draw a bar for each level and tensor, on a logarithmic axis: levels differ by orders of magnitude."""
    most = float(elements.max()) or 1.0
    least = float(elements[elements > 0].min(initial=most))
    for row, level in enumerate(elements):
        there = [column for column in range(len(ROLES)) if level[column] > 0]
        for place, column in enumerate(there):
            at = row + BAR * (place - (len(there) - 1) / 2)
            axes.barh(at, level[column], height=BAR, color=TENSORS[ROLES[column]])
            axes.text(level[column], at, f" {si(level[column])}", va="center", fontsize=8, color=GREY)
    axes.set(xscale="log", xlim=(least / 3, most * (most / least * 9) ** 0.22), ylim=(len(names) - 0.5, -0.5))
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel="elements read and written, all instances")
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)


def _draw_levels(
    axes: Axes,
    names: Sequence[str],
    values: np.typing.NDArray[np.float64],
    label: str,
    unit: str,
    grey: Sequence[float] = (),
) -> None:
    """Draw a bar a row, stacked by tensor; the last rows, `grey`, belong to none."""
    whole = values.sum(axis=1)
    whole[len(names) - len(grey) :] += grey
    scale, prefix = si_scale(float(whole.max()) or 1.0)
    start = np.zeros(len(names))
    for column, role in enumerate(ROLES):
        axes.barh(range(len(names)), values[:, column] / scale, left=start, color=TENSORS[role], label=NAMES[role])
        start += values[:, column] / scale
    rest = whole / scale - start
    axes.barh(range(len(names)), rest, left=start, color=GREY)
    for row, value in enumerate(whole):
        axes.text(value / scale, row, f" {_micro(si(value, unit))}", va="center", fontsize=8, color=GREY)
    suffix = _micro(f" [{prefix}{unit}]") if prefix or unit else ""
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel=f"{label}{suffix}")
    axes.set_xlim(0, 1.25 * float(whole.max() / scale or 1.0))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


def _micro(text: str) -> str:
    return re.sub(r"\bu(?=[A-Z])", "\N{MICRO SIGN}", text)


def network_traffic(network: MappedNetwork, path: str | os.PathLike[str]) -> Path:
    """Draw what all mapped operators of a network move and what that costs, level by level and tensor by tensor.

    Args:
        network: What was mapped.
        path: .png, .svg or .pdf.

    Returns:
        The path.

    Raises:
        StoreError: The file type is unknown, or the file cannot be written.
    """
    items = network.operators
    times = [item.executions for item in items]

    def summed(name: str) -> Any:
        return sum(n * getattr(item.cost, name) for n, item in zip(times, items, strict=True))

    names = ("reads", "fills", "updates", "level_j", "mac_j", "other_j", "energy_j")
    whole = replace(items[0].cost, **{name: summed(name) for name in names})
    energy = _micro(si(whole.energy_j[0], "J"))
    return level_traffic(whole, path, f"{network.name} on {network.accelerator.name}: {energy} in mapped operators")
