"""Design points in two columns, with their front."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dse.pareto import non_dominated
from dse.plots.style import BESIDE, COLOURS, GREY, MARKERS, axis_label, figure_path, save_figure
from workloads.errors import SpaceError, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["pareto"]


def pareto(
    data: Any,
    x: str,
    y: str,
    path: str | os.PathLike[str],
    *,
    front: ArrayLike | None = None,
    measured: ArrayLike | None = None,
    by: str | None = None,
    title: str = "",
) -> Path:
    """Draw design points in two columns, the front filled and joined.

    Args:
        data: A `Result`, a data frame, or a mapping of column name to values of shape (n_points,).
        x: Column of the horizontal axis; its unit is read from its name ("latency_s").
        y: Column of the vertical axis.
        path: .png, .svg or .pdf.
        front: Which points are on the front, shape (n_points,); default: the non-dominated ones in x and y.
        measured: Which points were measured, shape (n_points,); drawn as stars.
        by: Column of names, such as the device: one colour and marker each.
        title: Above the figure.

    Returns:
        The path.

    Raises:
        SpaceError: There is no such column.
        StoreError: The file type is unknown, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> columns = {"latency_s": [1e-3, 2e-3], "energy_j": [2.0, 1.0]}
        >>> pareto(columns, "latency_s", "energy_j", Path(tempfile.mkdtemp()) / "front.svg").name
        'front.svg'
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    (label_x, across), (label_y, up) = (axis_label(name, _column(data, name)) for name in (x, y))
    if front is None:
        front = non_dominated(np.stack([across, up], axis=1))
    finite = np.isfinite(across) & np.isfinite(up)
    on = np.asarray(front, dtype=bool) & finite
    names = np.full(len(across), "") if by is None else _column(data, by, numeric=False)
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(dict.fromkeys(names.tolist())):
        style = (COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)])
        _draw_points(axes, across, up, on & (names == name), ~on & finite & (names == name), style, str(name))
    if measured is not None and np.any(measured):
        stars = np.asarray(measured, dtype=bool) & finite
        axes.scatter(across[stars], up[stars], s=110, marker="*", color="black", zorder=4, label="measured")
    axes.set(xlabel=label_x, ylabel=label_y)
    _draw_front(axes, across[on], up[on])
    _log_where_wide(axes, across[finite], up[finite])
    axes.grid(alpha=0.2)
    axes.set_title(title, fontsize=11)
    axes.legend(**BESIDE)
    return save_figure(figure, target)


Style = tuple[str, str]


def _draw_points(
    axes: Axes, x: NDArray[Any], y: NDArray[Any], on: NDArray[Any], off: NDArray[Any], style: Style, name: str
) -> None:
    """Draw the points of one name: those on the front filled and joined in order, the others hollow and faint."""
    colour, marker = style
    hollow = np.flatnonzero(off)
    if len(hollow) > 5000:  # an SVG of a million points opens nowhere; every n-th shows the same cloud
        hollow = hollow[:: len(hollow) // 5000]
    axes.scatter(x[hollow], y[hollow], s=12, marker=marker, facecolors="none", edgecolors=colour, alpha=0.3, lw=0.7)
    label = f"{name}: {on.sum()} on the front" if name else f"front of {on.sum()}"
    axes.scatter(x[on], y[on], s=34, marker=marker, color=colour, zorder=3, label=label)


def _draw_front(axes: Axes, x: NDArray[Any], y: NDArray[Any]) -> None:
    """Join the points of a front by steps, where it is a front of these two columns alone."""
    order = np.argsort(x, kind="stable")
    if len(order) > 1 and (np.diff(y[order]) <= 0).all():
        axes.plot(x[order], y[order], drawstyle="steps-post", color=GREY, lw=0.8, zorder=1)


def _log_where_wide(axes: Axes, x: NDArray[Any], y: NDArray[Any]) -> None:
    """Make an axis logarithmic where its values span more than a factor of 10."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    for values, scale, axis in ((x, axes.set_xscale, axes.xaxis), (y, axes.set_yscale, axes.yaxis)):
        if values.size and values.min() > 0 and values.max() / values.min() > 10:
            scale("log")
            if values.max() / values.min() < 1e3:
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter(StrMethodFormatter("{x:g}"))
                axis.set_minor_formatter(NullFormatter())


def _column(data: Any, name: str, *, numeric: bool = True) -> NDArray[Any]:
    """Take a column out of a `Result`, a data frame or a mapping."""
    columns = data
    if hasattr(data, "points"):
        count = len(data)
        knobs = {key: np.broadcast_to(np.asarray(value), (count,)) for key, value in data.points.columns().items()}
        columns = {**knobs, **data.columns}
    if name not in columns:
        raise SpaceError(f"there is no column {name!r} to draw; {nearest(name, list(columns))}")
    values = np.asarray(columns[name])
    return values.astype(np.float64) if numeric else values
