"""Accelerators of a sweep in latency and energy, their area as colour, the front of all three, and known machines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dse.pareto import non_dominated
from dse.plots.style import axis_label, figure_path, save_figure
from workloads.errors import SpaceError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["hardware_front"]

COLUMNS = ("latency_s", "energy_j", "area_mm2")


def hardware_front(
    data: Mapping[str, NDArray[Any]],
    path: str | os.PathLike[str],
    *,
    marks: Mapping[str, Mapping[str, float]] | None = None,
    title: str = "",
) -> Path:
    """Draw accelerators: latency across, energy up, area as colour; those on the front of all three large.

    Args:
        data: Columns latency_s, energy_j, area_mm2 of shape (n_points,).
        path: .png, .svg or .pdf.
        marks: Known machines: name to the same columns.
        title: Above the figure.

    Returns:
        The path.

    Raises:
        SpaceError: A column is missing, or no point is finite.
        StoreError: The file type is unknown, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> columns = {name: np.array([1.0, 2.0]) for name in COLUMNS}
        >>> hardware_front(columns, Path(tempfile.mkdtemp()) / "front.svg").name
        'front.svg'
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    missing = [name for name in COLUMNS if name not in data]
    if missing:
        raise SpaceError(f"a picture of accelerators needs the column {missing[0]!r}")
    table = np.stack([np.asarray(data[name], dtype=float) for name in COLUMNS], axis=1)
    table = table[np.isfinite(table).all(axis=1)]
    if not len(table):
        raise SpaceError("no accelerator fits: there is nothing to draw")
    front = non_dominated(table)
    (label_x, across), (label_y, up) = (axis_label(name, table[:, at]) for at, name in enumerate(COLUMNS[:2]))
    scales = [across[0] / table[0, 0], up[0] / table[0, 1]]
    figure = Figure(figsize=(8.0, 5.2), layout="constrained")
    axes = figure.subplots()
    _draw_points(axes, across, up, table[:, 2], front)
    axes.set(xscale="log", yscale="log", xlabel=label_x, ylabel=label_y)
    _draw_marks(axes, {} if marks is None else marks, scales)
    axes.grid(alpha=0.2, which="both")
    axes.set_title(title, fontsize=11)
    return save_figure(figure, target)


def _draw_points(axes: Axes, x: NDArray[Any], y: NDArray[Any], area: NDArray[Any], front: NDArray[Any]) -> None:
    from matplotlib.colors import LogNorm

    norm = LogNorm(area.min(), area.max())
    axes.scatter(x[~front], y[~front], c=area[~front], norm=norm, s=5, alpha=0.35, lw=0, rasterized=True)
    drawn = axes.scatter(x[front], y[front], c=area[front], norm=norm, s=26, edgecolors="black", lw=0.4, zorder=3,
                         label=f"front of latency, energy and area: {int(front.sum())} of {len(front):,}")  # fmt: skip
    assert axes.figure is not None
    axes.figure.colorbar(drawn, ax=axes, label="area [mm2]")
    axes.legend(loc="upper right", frameon=False, fontsize=9)


def _draw_marks(axes: Axes, marks: Mapping[str, Mapping[str, float]], scales: list[float]) -> None:
    places = {
        f"{name}, {one['area_mm2']:.3g} mm2": (one["latency_s"] * scales[0], one["energy_j"] * scales[1])
        for name, one in marks.items()
    }
    for x, y in places.values():
        axes.scatter([x], [y], s=170, marker="*", color="#D55E00", edgecolors="black", lw=0.8, zorder=5)
    for name, (x, y) in places.items():
        axes.annotate(name, (x, y), xytext=(9, 7), textcoords="offset points", fontsize=9, zorder=6,
                      bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 1.0})  # fmt: skip
