"""The survey's figures in bars: operator classes over the length, shares of work, ResNet-50 beside BERT."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dse.plots.style import BESIDE, COLOURS, GREY, figure_path, save_figure
from hwmodels import format_si
from workloads import survey
from workloads.errors import SpaceError
from workloads.survey import CLASSES, TITLES, Count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "SURVEY_LENGTHS",
    "SURVEY_MODELS",
    "Counts",
    "filled",
    "flops_breakdown",
    "op_class_bars",
    "resnet_beside_bert",
    "survey_counts",
]

SURVEY_MODELS = ("BERT-Base", "BERT-Large", "GPT-2")
SURVEY_LENGTHS = (128, 256, 512, 1024, 2048, 4096)

Counts = Mapping[str, Mapping[int, Mapping[str, Count]]]
"""Model to length to operator class (and "total") to count."""

_COLOUR_OF = dict(zip(CLASSES, COLOURS, strict=False)) | {"total": COLOURS[6]}
_SHORT = {
    "mha_proj": "MHA projections",
    "act_act": "MHA act-to-act",
    "ffn_proj": "FFN",
    "other": "other",
    "total": "total",
}


def survey_counts(
    models: Sequence[str] = SURVEY_MODELS, lengths: Sequence[int] = SURVEY_LENGTHS
) -> dict[str, dict[int, dict[str, Count]]]:
    """Count the survey's models from their numbers, by its convention.

    Example:
        >>> round(survey_counts(["GPT-2"], [512])["GPT-2"][512]["total"].intensity, 2)
        2.0
    """
    return {name: {n: survey.count(survey.architecture(name), n) for n in lengths} for name in models}


def op_class_bars(path: str | os.PathLike[str], counts: Counts | None = None) -> Path:
    """Draw, per model and length, the shares of the operator classes in FLOPs and MOPs, and their intensities.

    Args:
        path: .png, .svg or .pdf.
        counts: Of any models; default: the survey's three at 128 to 4096 tokens.

    Returns:
        The path.

    Raises:
        StoreError: The file type is unknown, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> op_class_bars(Path(tempfile.mkdtemp()) / "classes.png", survey_counts(["GPT-2"], [128])).name
        'classes.png'
    """
    from matplotlib.figure import Figure

    target, counts = figure_path(path), filled(counts)
    figure = Figure(figsize=(3.3 * len(counts) + 1.9, 8.4), layout="constrained")
    grid = figure.subplots(3, len(counts), sharey="row", squeeze=False)
    for column, (model, by_length) in enumerate(counts.items()):
        grid[0, column].set_title(model, fontsize=11)
        _stacked(grid[0, column], by_length, "flops", 1e9, "G")
        _stacked(grid[1, column], by_length, "mops", 1e9, "G")
        _intensities(grid[2, column], by_length)
    for axes, label in zip(
        grid[:, 0], ("share of FLOPs [%]", "share of MOPs (bytes) [%]", "intensity [FLOP/B]"), strict=True
    ):
        axes.set_ylabel(label)
    figure.supxlabel("tokens; above a bar: total in GFLOP, in GB with every value at 8 bits", fontsize=10)
    handles, labels = grid[2, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=9)
    return save_figure(figure, target)


def filled(counts: Counts | None) -> Counts:
    """Give counts, by default those of the survey's models.

    Raises:
        SpaceError: There are none.
    """
    found = survey_counts() if counts is None else counts
    if not found or not all(found.values()):
        raise SpaceError("nothing to draw: give counts of at least one model at one length")
    return found


def _stacked(axes: Axes, by_length: Mapping[int, Mapping[str, Count]], field: str, scale: float, unit: str) -> None:
    """Draw shares as stacked bars, with the total above each."""
    below = np.zeros(len(by_length))
    totals = np.array([float(getattr(counts["total"], field)) for counts in by_length.values()])
    for name in CLASSES:
        shares = 100 * np.array([float(getattr(counts[name], field)) for counts in by_length.values()]) / totals
        axes.bar(range(len(by_length)), shares, bottom=below, color=_COLOUR_OF[name], width=0.78, label=_SHORT[name])
        below += shares
    for position, total in enumerate(totals):
        axes.annotate(
            f"{total / scale:.3g}" if total / scale < 1000 else f"{total / scale:.0f}",
            (position, 100),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=GREY,
        )
    axes.set_ylim(0, 110)
    axes.set_yticks(range(0, 101, 20))
    _name_lengths(axes, by_length)


def _intensities(axes: Axes, by_length: Mapping[int, Mapping[str, Count]]) -> None:
    names = (*CLASSES, "total")
    width = 0.86 / len(names)
    for number, name in enumerate(names):
        values = [float(counts[name].intensity) for counts in by_length.values()]
        positions = np.arange(len(by_length)) + (number - (len(names) - 1) / 2) * width
        axes.bar(positions, values, width=width, color=_COLOUR_OF[name], label=_SHORT[name])
    axes.set_yscale("log")
    axes.set_ylim(bottom=1)
    _name_lengths(axes, by_length)


def _name_lengths(axes: Axes, by_length: Mapping[int, Any]) -> None:
    axes.set_xticks(range(len(by_length)), [str(length) for length in by_length], fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.2)
    axes.set_axisbelow(True)


def flops_breakdown(
    path: str | os.PathLike[str], counts: Mapping[str, Mapping[str, Count]], *, field: str = "flops"
) -> Path:
    """Draw the shares of the operator classes of single workloads, one bar each, with the share written in it.

    Args:
        path: .png, .svg or .pdf.
        counts: Name to operator class to count, as `survey.count` and `survey.count_workload` give it.
        field: "flops" or "mops".

    Returns:
        The path.

    Raises:
        SpaceError: There is nothing to draw, or no such field.
        StoreError: The file type is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    if not counts or field not in ("flops", "mops"):
        raise SpaceError('nothing to draw: give counts of at least one workload, and the field "flops" or "mops"')
    target = figure_path(path)
    figure = Figure(figsize=(8.6, 1.3 + 0.5 * len(counts)), layout="constrained")
    axes = figure.subplots()
    unit = {"flops": "FLOP", "mops": "B"}[field]
    left = np.zeros(len(counts))
    totals = np.array([float(getattr(found["total"], field)) for found in counts.values()])
    for name in CLASSES:
        shares = 100 * np.array([float(getattr(found[name], field)) for found in counts.values()]) / totals
        axes.barh(range(len(counts)), shares, left=left, color=_COLOUR_OF[name], height=0.7, label=TITLES[name])
        for row, share in enumerate(shares):
            if share >= 5:
                axes.text(
                    left[row] + share / 2, row, f"{share:.0f} %", ha="center", va="center", fontsize=8.5, color="w"
                )
        left += shares
    labels = [f"{name}\n{format_si(total, unit, 3)}" for name, total in zip(counts, totals, strict=True)]
    axes.set_yticks(range(len(counts)), labels, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel(f"share of {'FLOPs' if field == 'flops' else 'bytes at 8 bits'} [%]")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.legend(**BESIDE)
    return save_figure(figure, target)


def resnet_beside_bert(
    path: str | os.PathLike[str],
    resnet50: Mapping[str, Count],
    bert: Mapping[str, Count] | None = None,
    printed: Mapping[str, tuple[float, float]] | None = None,
) -> Path:
    """Draw FLOPs, MOPs and intensity of ResNet-50, norms and ReLUs apart and fused, beside BERT-Base.

    Args:
        path: .png, .svg or .pdf.
        resnet50: As `survey.convolution_classes` gives it.
        bert: Counts of BERT; default: BERT-Base at 128 tokens, as the source compares.
        printed: Name of a bar ("ResNet-50", "ResNet-50, fused", "BERT-Base") to printed GFLOP and intensity.

    Returns:
        The path.

    Raises:
        StoreError: The file type is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    found = bert if bert is not None else survey.count(survey.architecture("BERT-Base"), 128)
    bars = {
        "ResNet-50": resnet50["total_unfused"],
        "ResNet-50, fused": resnet50["total_fused"],
        "BERT-Base": found["total"],
    }
    panels = {
        "work [GFLOP]": [float(item.flops) / 1e9 for item in bars.values()],
        "traffic [MB at 8 bits]": [float(item.mops) / 1e6 for item in bars.values()],
        "intensity [FLOP/B]": [float(item.intensity) for item in bars.values()],
    }
    stated = [(printed or {}).get(name) for name in bars]
    marks = {
        "work [GFLOP]": [None if item is None else item[0] for item in stated],
        "traffic [MB at 8 bits]": [None if item is None else 1e3 * item[0] / item[1] for item in stated],
        "intensity [FLOP/B]": [None if item is None else item[1] for item in stated],
    }
    figure = Figure(figsize=(8.8, 3.4), layout="constrained")
    for axes, (title, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        _panel(axes, title, list(bars), values, marks[title])
    if printed:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", frameon=False, fontsize=9)
    return save_figure(figure, target)


def _panel(
    axes: Axes, title: str, names: Sequence[str], values: Sequence[float], marks: Sequence[float | None]
) -> None:
    positions = range(len(names))
    axes.bar(positions, values, color=[COLOURS[0], COLOURS[5], COLOURS[1]], width=0.62)
    for position, value in zip(positions, values, strict=True):
        axes.text(position, 0.5 * value, f"{value:.3g}", ha="center", va="center", fontsize=9, color="white")
    drawn = [(position, mark) for position, mark in zip(positions, marks, strict=True) if mark is not None]
    if drawn:
        across, up = zip(*drawn, strict=True)
        axes.scatter(across, up, marker="D", s=30, color="black", zorder=3, label="printed in the survey")
    top = max([*values, *(mark for mark in marks if mark is not None)])
    axes.set_ylim(0, 1.12 * top)
    axes.set_xticks(positions, [name.replace(", ", "\n") for name in names], fontsize=9)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.2)
    axes.set_axisbelow(True)
