"""Where a label goes: the first of several places at which no drawn point touches it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

__all__ = ["Circle", "circles_of", "place_label"]

Circle = tuple[float, float, float]
"""Centre and radius of a point on the canvas [pixel]."""

_CLEAR = 2.0
"""Distance between a label and a point [pixel]."""


def circles_of(axes: Axes, xs: Sequence[float], ys: Sequence[float], areas: Sequence[float]) -> list[Circle]:
    """Give the circles that hold the markers of a scatter plot.

    Args:
        axes: With its final limits and place.
        xs: Data coordinates.
        ys: Data coordinates.
        areas: As `scatter` takes them [point^2].
    """
    figure: Any = axes.figure
    pixels = figure.dpi / 72
    centres: Any = axes.transData.transform(list(zip(xs, ys, strict=True))) if len(xs) else []
    return [
        (float(x), float(y), math.sqrt(area) / 2 * math.sqrt(2) * pixels)  # sqrt 2: a square's corner
        for (x, y), area in zip(centres, areas, strict=True)
    ]


def place_label(
    axes: Axes, text: str, candidates: Iterable[tuple[tuple[float, float], dict[str, Any]]], circles: Sequence[Circle]
) -> Text:
    """Write a text at the first candidate where no circle touches it; at the one that is touched least if all are.

    Args:
        axes: With its final limits and place.
        text: The label.
        candidates: Data coordinates, and options of `annotate`; at least one.
        circles: What it must not touch.
    """
    best: tuple[float, Any] | None = None
    for point, options in candidates:
        label = axes.annotate(text, point, **options)
        overlap = sum(_overlap(label, circle) for circle in circles)
        if best is not None and overlap >= best[0]:
            label.remove()
            continue
        if best is not None:
            best[1].remove()
        best = (overlap, label)
        if not overlap:
            break
    assert best is not None
    placed: Text = best[1]
    return placed


def _overlap(label: Any, circle: Circle) -> float:
    """Say how far a circle reaches into a text's (rotated) box, and its surroundings; 0: it does not [pixel]."""
    angle = label.get_rotation()
    box = label.get_window_extent()
    middle = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
    label.set_rotation(0)
    flat = label.get_window_extent()
    label.set_rotation(angle)
    turn = math.radians(-angle)
    dx, dy = circle[0] - middle[0], circle[1] - middle[1]
    x = abs(dx * math.cos(turn) - dy * math.sin(turn)) - flat.width / 2
    y = abs(dx * math.sin(turn) + dy * math.cos(turn)) - flat.height / 2
    distance = math.hypot(max(x, 0.0), max(y, 0.0))
    return max(circle[2] + _CLEAR - distance, 0.0)
