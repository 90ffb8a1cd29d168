"""The memory wall's figures: hardware, model sizes and training compute over time, with refitted trends."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dse.plots.style import BESIDE, COLOURS, GREY, MARKERS, figure_path, save_figure
from hwmodels.trends import Fit, Point, fit, points_of, quantity, refit, table, years

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["hardware_scaling", "model_size_scaling", "training_compute_scaling"]

_SOURCE = "data: Gholami et al., AI and Memory Wall, arXiv 2403.14123; bands: one standard error of the rate"

# Where a label goes from its point [points]: chosen so that none covers another.
_HARDWARE_LABELS: dict[str, tuple[float, float]] = {
    "R10000": (-7, -3),
    "Pentium II Xeon": (7, -4),
    "Itanium 2": (-6, 5),
    "V100": (-7, 6),
    "A100": (-7, 5),
    "H100": (-7, 4),
    "TPUv2": (7, -9),
    "TPUv4": (6, -11),
    "GDDR4": (-4, 7),
    "GDDR5": (-4, 7),
    "HBM": (-5, 7),
    "HBM2E": (6, 2),
    "PCIe 1.0a": (6, -17),
    "PCIe 3.0": (0, -14),
    "PCIe 5.0": (2, -14),
    "NVLink 4.0": (6, -6),
}
_LEFT_OF = ("R10000", "Itanium 2", "V100", "A100", "H100", "GDDR4", "GDDR5", "HBM")


def hardware_scaling(path: str | os.PathLike[str]) -> Path:
    """Draw peak compute, DRAM bandwidth and interconnect over time, each relative to its first point, with trends.

    Args:
        path: .png, .svg or .pdf.

    Returns:
        The path.

    Raises:
        StoreError: The file type is unknown, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> hardware_scaling(Path(tempfile.mkdtemp()) / "hardware.png").name
        'hardware.png'
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    figure = Figure(figsize=(8.6, 4.8), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(("peak_compute", "dram_bandwidth", "interconnect_bandwidth")):
        points = points_of(name)
        first = points[0].value
        relative = [Point(point.year, point.value / first, point.label) for point in points]
        _draw_trend(axes, relative, fit(relative, name, quantity(name).headline), number, quantity(name).title)
        _label(axes, relative, _HARDWARE_LABELS, COLOURS[number], _LEFT_OF)
    _finish(figure, axes, "growth relative to the first point", "Hardware scaling")
    return save_figure(figure, target)


_MODEL_LABELS: dict[str, tuple[float, float]] = {
    "Transformer": (-4, -14),
    "GPT-1": (7, -8),
    "BERT": (-10, 4),
    "GPT-2": (-7, 5),
    "Megatron LM": (-7, 5),
    "Microsoft T-NLG": (7, -9),
    "GPT-3": (-7, 3),
    "GShard": (-7, 4),
    "Switch Transformer": (-7, 4),
    "Megatron-Turing": (-8, -14),
    "ResNet50": (-3, -15),
    "Inception V4": (-8, 9),
    "Xception": (15, -4),
    "ResNext101": (7, -5),
    "P100": (-7, 4),
    "V100": (-7, 5),
    "A100-80": (-7, 5),
    "H100": (6, -11),
}
_MODELS_LEFT_OF = (
    "BERT", "GPT-2", "Megatron LM", "GPT-3", "GShard", "Switch Transformer", "P100", "V100", "A100-80"
)  # fmt: skip


def model_size_scaling(path: str | os.PathLike[str]) -> Path:
    """Draw the parameters of models and the memory of accelerators over time, with trends.

    Args:
        path: .png, .svg or .pdf.

    Returns:
        The path.

    Raises:
        StoreError: The file type is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    figure = Figure(figsize=(8.6, 4.8), layout="constrained")
    axes = figure.subplots()
    fits = refit()
    others = _of_kind("model_size", "value", "cnn")
    _draw_points(axes, others, GREY, MARKERS[3], "convolutional networks\n[billion parameters]")
    _label(axes, others, _MODEL_LABELS, GREY, _MODELS_LEFT_OF)
    for number, name in enumerate(("model_parameters", "memory_capacity")):
        points = points_of(name)
        title = {"model_parameters": "transformers\n[billion parameters]", "memory_capacity": "accelerators [GB]"}[name]
        _draw_trend(axes, points, fits[name], number, title)
        _label(axes, points, _MODEL_LABELS, COLOURS[number], _MODELS_LEFT_OF)
    _finish(figure, axes, "billion parameters, or GB", "Model size and accelerator memory")
    return save_figure(figure, target)


_TRAINING_LABELS: dict[str, tuple[float, float]] = {
    "AlexNet": (0, 8),
    "Seq2Seq": (7, 5),
    "VGG": (-7, -11),
    "InceptionV3": (-7, 5),
    "ResNet": (-7, -10),
    "Xception": (-7, 5),
    "ResNeXt": (7, 3),
    "DenseNet": (4, -14),
    "ELMo": (4, -14),
    "MoCo ResNet50": (7, -9),
    "Wav2Vec 2.0": (7, -3),
    "Transformer": (-7, 5),
    "GPT-1": (7, -9),
    "BERT Large": (-7, 5),
    "RoBERTa Large": (-15, -3),
    "ALBERT xxl": (-7, 4),
    "Megatron": (-7, 5),
    "Microsoft T-NLG": (7, -2),
    "ELECTRA Large": (7, -11),
    "GPT-3": (-7, 4),
}
_TRAINING_LEFT_OF = (
    "VGG", "InceptionV3", "ResNet", "Xception", "Transformer", "BERT Large", "RoBERTa Large", "ALBERT xxl", "Megatron",
    "GPT-3",
)  # fmt: skip


def training_compute_scaling(path: str | os.PathLike[str]) -> Path:
    """Draw the FLOPs that training took over time, with the trend of transformers.

    Args:
        path: .png, .svg or .pdf.

    Returns:
        The path.

    Raises:
        StoreError: The file type is unknown, or the file cannot be written.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    figure = Figure(figsize=(8.6, 4.8), layout="constrained")
    axes = figure.subplots()
    others = _of_kind("training_compute", "training_compute", "other")
    _draw_points(axes, others, GREY, MARKERS[3], "other models")
    _label(axes, others, _TRAINING_LABELS, GREY, _TRAINING_LEFT_OF)
    points = points_of("training_compute")
    _draw_trend(axes, points, refit()["training_compute"], 0, "transformers")
    _label(axes, points, _TRAINING_LABELS, COLOURS[0], _TRAINING_LEFT_OF)
    _finish(figure, axes, "training compute [PFLOP]", "Training compute", margin=0.22)
    return save_figure(figure, target)


def _of_kind(name: str, column: str, kind: str) -> list[Point]:
    rows = [row for row in table(name) if row["kind"] == kind]
    return [Point(years(row["date"]), float(row[column]), row["label"]) for row in rows]


def _draw_points(axes: Axes, points: Sequence[Point], colour: str, marker: str, label: str) -> None:
    axes.scatter(
        [point.year for point in points],
        [point.value for point in points],
        s=26,
        color=colour,
        marker=marker,
        edgecolors="white",
        linewidths=0.5,
        zorder=3,
        label=label,
    )


def _draw_trend(axes: Axes, points: Sequence[Point], found: Fit, number: int, title: str) -> None:
    """Draw points, their trend, and the band of one standard error of the rate around its centre."""
    colour = COLOURS[number]
    _draw_points(axes, points, colour, MARKERS[number], title)
    span = np.linspace(points[0].year, points[-1].year, 50)
    centre = np.exp(found.log_value)
    middle, low, high = (centre * found.growth(span - found.mean_year, errors) for errors in (0.0, -1.0, 1.0))
    label = f"{found.per_two_years:.3g}x in two years\n(published {found.headline:g}x)"
    axes.plot(span, middle, color=colour, lw=1.3, label=label, zorder=2)
    axes.fill_between(span, np.minimum(low, high), np.maximum(low, high), color=colour, alpha=0.15, lw=0, zorder=1)


def _label(
    axes: Axes, points: Sequence[Point], offsets: dict[str, tuple[float, float]], colour: str, left_of: Sequence[str]
) -> None:
    for point in points:
        if point.label in offsets:
            style: dict[str, Any] = {"ha": "right" if point.label in left_of else "left", "va": "baseline"}
            axes.annotate(
                point.label,
                (point.year, point.value),
                xytext=offsets[point.label],
                textcoords="offset points",
                fontsize=7.5,
                color=colour,
                **style,
            )


def _finish(figure: Figure, axes: Axes, y_label: str, title: str, margin: float = 0.14) -> None:
    axes.set_yscale("log")
    axes.set(xlabel="year", ylabel=y_label)
    figure.supxlabel(_SOURCE, fontsize=8.5, color=GREY)
    axes.margins(x=margin, y=0.08)
    axes.grid(alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=11)
    axes.legend(**BESIDE)
