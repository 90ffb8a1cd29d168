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
from dse.plots.placing import Circle, circles_of, place_label
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
    title = f"{work.name} on {device.name}: {hwmodels.format_si(total, 's', 3)}, predicted"
    axes.set_title("\n".join(filter(None, (title, _what_runs(work)))), fontsize=11)
    axes.grid(alpha=0.2, which="major")
    axes.legend(title=_legend_title(device, rows), **BESIDE)
    _name_roofs(figure, axes, roofs, _Memory(device.dram.name, bandwidth), points)
    return save_figure(figure, target)


@dataclass(frozen=True, slots=True)
class _Place:
    """Operators of one kind at one place of the plot."""

    kind: str
    intensity: float
    rate: float
    share: float


@dataclass(frozen=True, slots=True)
class _Memory:
    """The outermost memory and its present bandwidth [B/s]."""

    name: str
    bandwidth: float


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
    low, high = min(rates) / 10, max(roofs.values())
    axes.set_ylim(low, high * max(3.0, (high / low) ** 0.12))  # room for labels at the foot and above the roof


def _draw_roofs(axes: Axes, roofs: Mapping[str, float], bandwidth: float) -> None:
    left, right = axes.get_xlim()
    top = max(roofs.values())
    axes.plot([left, top / bandwidth], [left * bandwidth, top], color=GREY, lw=1.2, zorder=1)
    for peak in _grouped(roofs):
        ridge = peak / bandwidth
        axes.plot([ridge, right], [peak, peak], color=GREY, lw=1.2, zorder=1)
        axes.plot([ridge, ridge], [axes.get_ylim()[0], peak], color=GREY, lw=0.7, ls=":", zorder=1)
        style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "color": GREY}
        at_foot = (ridge, axes.get_ylim()[0])
        axes.annotate(f"ridge {ridge:.3g}", at_foot, xytext=(3, 4), ha="left", va="bottom", rotation=90, **style)


def _name_roofs(
    figure: Figure, axes: Axes, roofs: Mapping[str, float], device: _Memory, points: Sequence[_Place]
) -> None:
    """Write the roofs' names where no point covers them: places and angles are known only once the layout is."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    areas = [_area(place) for place in points]
    circles = circles_of(axes, [place.intensity for place in points], [place.rate for place in points], areas)
    right = axes.get_xlim()[1]
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "color": GREY, "va": "bottom"}
    for peak, names in _grouped(roofs).items():
        label = f"{', '.join(names)}: {hwmodels.format_si(peak, 'FLOP/s', 3)}"
        ridge = peak / device.bandwidth
        ends = [((right, peak), -4.0, "right"), ((ridge, peak), 8.0, "left")]
        ends += [((right ** (1 - share) * ridge**share, peak), 0.0, "center") for share in (0.3, 0.5, 0.7)]
        candidates = [
            (at, {**style, "xytext": (shift, above), "ha": align})
            for above in (3.0, 10.0, 17.0, 22.0)
            for at, shift, align in ends
        ]
        place_label(axes, label, candidates, circles)
    _name_bandwidth(axes, device, circles, style)


def _name_bandwidth(axes: Axes, device: _Memory, circles: Sequence[Circle], style: Mapping[str, Any]) -> None:
    """Write the bandwidth along its line."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    ends = np.log([max(left, low / device.bandwidth), min(right, high / device.bandwidth)])
    candidates = []
    for share in (0.35, 0.45, 0.55, 0.65, 0.25, 0.75):
        at = float(np.exp((1 - share) * ends[0] + share * ends[1]))
        here, there = axes.transData.transform([(x, x * device.bandwidth) for x in (at, 2 * at)])
        angle = math.degrees(math.atan2(there[1] - here[1], there[0] - here[0]))
        options = {"xytext": (-3, 4), "rotation": angle, "rotation_mode": "anchor", "ha": "center"}
        candidates.append(((at, at * device.bandwidth), {**style, **options}))
    text = f"{device.name}: {hwmodels.format_si(device.bandwidth, 'B/s', 3)}"
    place_label(axes, text, candidates, circles)


def _grouped(roofs: Mapping[str, float]) -> dict[float, list[str]]:
    """Group roofs that are too close for two labels (less than a factor of 1.25)."""
    groups: dict[float, list[str]] = {}
    for name, peak in roofs.items():
        near = next((other for other in groups if other / peak < 1.25), peak)
        groups.setdefault(near, []).append(name)
    return groups


def _area(place: _Place) -> float:
    """Give the area of a marker [point^2]."""
    return 14 + 1500 * place.share


def _draw_operators(axes: Axes, points: Sequence[_Place]) -> None:
    for kind, (colour, marker) in _STYLES.items():
        chosen = [place for place in points if place.kind == kind]
        if not chosen:
            continue
        axes.scatter(
            [place.intensity for place in chosen],
            [place.rate for place in chosen],
            s=[_area(place) for place in chosen],
            color=colour,
            marker=marker,
            alpha=0.75,
            linewidths=0.5,
            edgecolors="white",
            zorder=2,
        )
        label = f"{kind} ({sum(place.share for place in chosen):.1%})"
        axes.scatter([], [], s=40, color=colour, marker=marker, label=label)


def _what_runs(work: Workload | Program) -> str:
    """Say with which sizes a workload runs; of a program how often it runs, and with which sizes at first and last."""

    def sizes(part: Workload) -> str:
        return ", ".join(f"{name}={size}" for name, size in part.bindings.items())

    if isinstance(work, Workload):
        return sizes(work)
    runs = sum(float(weight) for weight, _ in work.parts)
    first, last = (sizes(work.parts[index][1]) for index in (0, -1))
    parts = first if first == last or not last else f"{first} to {last}"
    return f"{runs:.6g} runs" + (f": {parts}" if parts else "")


def _legend_title(device: hwmodels.RooflineDevice, rows: Sequence[hwmodels.OperatorCost]) -> str:
    moving = sum(row.share for row in rows if not (row.flops > 0 and row.dram_bytes > 0))
    note = f"\nnot drawn: data movement ({moving:.1%})" if moving > 0 else ""
    own = [kind for kind in device.vector_kinds if any(row.kind == kind for row in rows)]
    note += f"\nceilings of their own:\n{', '.join(own)}" if own else ""
    return f"kind (share of latency;\narea of a point: its share){note}"
