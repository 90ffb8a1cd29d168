"""The roofline: every operator of a workload under the roofs of a device."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hwmodels
from dse.plots.style import BESIDE, COLOURS, GREY, figure_path, save_figure
from workloads.formats import FORMATS
from workloads.workload import Program, Workload

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["roofline"]

_STYLES: dict[str, tuple[str, str]] = {
    "matmul": (COLOURS[0], "o"),
    "conv": (COLOURS[1], "s"),
    "softmax": (COLOURS[2], "^"),
    "norm": (COLOURS[3], "D"),
    "gelu": (COLOURS[4], "v"),
    "elementwise": (COLOURS[5], "P"),
    "reduce": (COLOURS[6], "X"),
    "convert": ("#999999", "*"),
    "other": ("#999999", "h"),
}
"""Colour and marker of an operator kind: the same in every figure."""

_PRODUCTS = ("matmul", "conv")


def roofline(work: Workload | Program, device: hwmodels.RooflineDevice, path: str | os.PathLike[str]) -> Path:
    """Draw every operator that computes: intensity against the FLOP rate it reaches, sized by its share of the latency.

    Operators at the same place are drawn as one point with their shares added. The roofs are those of the formats that
    the workload computes in, at the device's present clock and bandwidth.

    Args:
        work: Scalar. Of a program, the operators of all parts, as often as they run in the mean.
        device: Scalar.
        path: .png, .svg or .pdf.

    Returns:
        The path.

    Raises:
        StoreError: The file type is unknown, or the file cannot be written.

    Example:
        >>> import tempfile
        >>> from workloads.onnx import load_onnx
        >>> from workloads.zoo import embedded_model
        >>> work = load_onnx(embedded_model(), batch=1)
        >>> roofline(work, hwmodels.load("t4"), Path(tempfile.mkdtemp()) / "roofline.png").name
        'roofline.png'

    Source: Williams, Waterman, Patterson, Roofline: an insightful visual performance model, CACM 52(4), 2009.
    """
    from matplotlib.figure import Figure

    target = figure_path(path)
    rows = hwmodels.breakdown_records(work, device)
    points = _places(rows)
    roofs = _roofs(work, device)
    bandwidth = float(device.dram.bytes_per_s * device.bandwidth_scale)
    figure = Figure(figsize=(8.4, 5.2), layout="constrained")
    axes = figure.subplots()
    _limit_axes(axes, points, roofs, bandwidth)
    _draw_roofs(axes, roofs, bandwidth)
    _draw_operators(axes, points)
    axes.set(xlabel="arithmetic intensity [FLOP/B of DRAM traffic]", ylabel="performance [FLOP/s]")
    total = sum(row.latency_s for row in rows)
    axes.set_title(f"{work.name} on {device.name}: {hwmodels.format_si(total, 's', 3)}, predicted", fontsize=11)
    axes.grid(alpha=0.2, which="major")
    axes.legend(title=_legend_title(device, rows), **BESIDE)
    _name_bandwidth(figure, axes, bandwidth, device.dram.name)
    return save_figure(figure, target)


@dataclass(frozen=True, slots=True)
class _Place:
    """Operators of one kind at one place of the plot."""

    kind: str
    intensity: float
    rate: float
    share: float


def _places(rows: Sequence[hwmodels.OperatorCost]) -> list[_Place]:
    """Merge the operators that compute and move data by kind and place (to three digits)."""
    shares: dict[tuple[str, str, str], float] = {}
    for row in rows:
        if row.flops > 0 and row.dram_bytes > 0 and row.latency_s > 0:
            kind = row.kind if row.kind in _STYLES else "other"
            key = (kind, f"{row.intensity:.3g}", f"{row.flops / row.latency_s:.3g}")
            shares[key] = shares.get(key, 0.0) + row.share
    return [_Place(kind, float(x), float(y), share) for (kind, x, y), share in shares.items()]


def _roofs(work: Workload | Program, device: hwmodels.RooflineDevice) -> dict[str, float]:
    """Give the compute roofs that the workload's operators run under: label to FLOP/s, highest first."""
    scale = float(np.asarray(device.clock_scale))
    roofs: dict[str, float] = {}
    for op in work.operators:
        if op.kind in _PRODUCTS:
            code = int(np.asarray(op.format))
            runs_in, stored = device.runs_in(code), FORMATS[code].name
            label = stored if runs_in == stored else f"{stored} (as {runs_in})"
            if runs_in != "none":
                roofs[label] = float(device.peak[code]) * scale
    roofs["vector"] = float(device.vector_peak) * scale
    return dict(sorted(roofs.items(), key=lambda item: -item[1]))


def _limit_axes(axes: Axes, points: Sequence[_Place], roofs: Mapping[str, float], bandwidth: float) -> None:
    ridges = [peak / bandwidth for peak in roofs.values()]
    intensities = [place.intensity for place in points] + ridges
    rates = [place.rate for place in points] or [min(roofs.values()) / 100]
    axes.set(xscale="log", yscale="log")
    axes.set_xlim(min(intensities) / 2.5, max(max(ridges) * 25, max(intensities) * 3))
    axes.set_ylim(min(rates) / 10, max(roofs.values()) * 3)  # room for labels at the foot and above the roof


def _draw_roofs(axes: Axes, roofs: Mapping[str, float], bandwidth: float) -> None:
    left, right = axes.get_xlim()
    top = max(roofs.values())
    axes.plot([left, top / bandwidth], [left * bandwidth, top], color=GREY, lw=1.2, zorder=1)
    for peak, names in _grouped(roofs).items():
        ridge = peak / bandwidth
        axes.plot([ridge, right], [peak, peak], color=GREY, lw=1.2, zorder=1)
        axes.plot([ridge, ridge], [axes.get_ylim()[0], peak], color=GREY, lw=0.7, ls=":", zorder=1)
        style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "color": GREY}
        label = f"{', '.join(names)}: {hwmodels.format_si(peak, 'FLOP/s', 3)}"
        axes.annotate(label, (right, peak), xytext=(-4, 3), ha="right", va="bottom", **style)
        at_foot = (ridge, axes.get_ylim()[0])
        axes.annotate(f"ridge {ridge:.3g}", at_foot, xytext=(3, 4), ha="left", va="bottom", rotation=90, **style)


def _name_bandwidth(figure: Figure, axes: Axes, bandwidth: float, memory: str) -> None:
    """Write the bandwidth along its line: the angle is known only once the layout is."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    ends = np.log([max(left, low / bandwidth), min(right, high / bandwidth)])
    middle = float(np.exp(0.65 * ends[0] + 0.35 * ends[1]))
    here, there = axes.transData.transform([(middle, middle * bandwidth), (2 * middle, 2 * middle * bandwidth)])
    angle = math.degrees(math.atan2(there[1] - here[1], there[0] - here[0]))
    axes.annotate(
        f"{memory}: {hwmodels.format_si(bandwidth, 'B/s', 3)}",
        (middle, middle * bandwidth),
        xytext=(-3, 4),
        textcoords="offset points",
        rotation=angle,
        rotation_mode="anchor",
        ha="center",
        va="bottom",
        fontsize=8,
        color=GREY,
    )


def _grouped(roofs: Mapping[str, float]) -> dict[float, list[str]]:
    """Group roofs that are too close for two labels (less than a factor of 1.25)."""
    groups: dict[float, list[str]] = {}
    for name, peak in roofs.items():
        near = next((other for other in groups if other / peak < 1.25), peak)
        groups.setdefault(near, []).append(name)
    return groups


def _draw_operators(axes: Axes, points: Sequence[_Place]) -> None:
    for kind, (colour, marker) in _STYLES.items():
        chosen = [place for place in points if place.kind == kind]
        if not chosen:
            continue
        axes.scatter(
            [place.intensity for place in chosen],
            [place.rate for place in chosen],
            s=[14 + 1500 * place.share for place in chosen],
            color=colour,
            marker=marker,
            alpha=0.75,
            linewidths=0.5,
            edgecolors="white",
            zorder=2,
        )
        label = f"{kind} ({sum(place.share for place in chosen):.1%})"
        axes.scatter([], [], s=40, color=colour, marker=marker, label=label)


def _legend_title(device: hwmodels.RooflineDevice, rows: Sequence[hwmodels.OperatorCost]) -> str:
    moving = sum(row.share for row in rows if not (row.flops > 0 and row.dram_bytes > 0))
    note = f"\nnot drawn: data movement ({moving:.1%})" if moving > 0 else ""
    own = [kind for kind in device.vector_kinds if any(row.kind == kind for row in rows)]
    note += f"\nceilings of their own:\n{', '.join(own)}" if own else ""
    return f"kind (share of latency;\narea of a point: its share){note}"
