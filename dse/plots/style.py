"""What all figures share: colours, units in labels, files that appear by rename."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dse.files import atomic_write
from hwmodels.units import si_scale
from workloads.errors import StoreError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BESIDE", "COLOURS", "FILE_TYPES", "GREY", "MARKERS", "axis_label", "figure_path", "save_figure"]

# Okabe and Ito, Color Universal Design, 2008: distinguishable with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#555555"

FILE_TYPES = (".png", ".svg", ".pdf")
"""What a figure may be written as."""

BESIDE: dict[str, Any] = {
    "loc": "center left",
    "bbox_to_anchor": (1.01, 0.5),
    "frameon": False,
    "fontsize": 9,
    "title_fontsize": 9,
    "alignment": "left",
}
"""A legend beside the axes hides no point."""


_UNITS = {"s": "s", "j": "J", "w": "W", "bytes": "B", "mm2": "mm2", "hz": "Hz", "flops": "FLOP"}


def axis_label(name: str, values: NDArray[Any]) -> tuple[str, NDArray[Any]]:
    """Give the label of a column, with its unit, and the values in that unit.

    Example:
        >>> axis_label("latency_s", np.array([1e-3, 2e-3]))
        ('latency [ms]', array([1., 2.]))
    """
    words = name.split("_")
    unit = _UNITS.get(words[-1].lower())
    if unit is None:
        return name.replace("_", " "), values
    words = words if words[-1] == "flops" else words[:-1]
    finite = np.abs(values[np.isfinite(values) & (values != 0)])
    size = float(finite.max()) if finite.size and unit != "mm2" else 1.0
    scale, prefix = si_scale(size)
    prefix = prefix.replace("u", "\N{MICRO SIGN}")
    return f"{' '.join(words)} [{prefix}{unit}]", values / scale


def figure_path(path: str | os.PathLike[str]) -> Path:
    """Check that a figure can be written as what its path says.

    Raises:
        StoreError: The file type is unknown.

    Example:
        >>> figure_path("front.svg").suffix
        '.svg'
    """
    target = Path(path)
    if target.suffix.lower() not in FILE_TYPES:
        raise StoreError(f"cannot draw {str(target)!r}: a figure is one of {', '.join(FILE_TYPES)}; rename it")
    return target


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure by rename."""
    with atomic_write(path) as part:
        figure.savefig(part, format=path.suffix[1:].lower(), dpi=150)
    return path
