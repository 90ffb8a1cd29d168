"""Figures: what is drawn is what was computed, nothing overlaps or is cut off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import hwmodels
from dse import plots
from dse.plots import rooflines
from workloads import compress
from workloads.errors import SpaceError, StoreError
from workloads.onnx import load_onnx
from workloads.workload import Workload
from workloads.zoo import embedded_model, generation


@pytest.fixture(scope="module")
def work() -> Workload:
    loaded = load_onnx(embedded_model(), batch=16)
    return compress.cost(loaded, compress.Quantize(weight_bits=8, activation_bits=8))


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Keep every figure that is saved."""
    figures: list[Any] = []
    save = matplotlib.figure.Figure.savefig

    def keep(figure: Any, *arguments: Any, **options: Any) -> None:
        figures.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", keep)
    return figures


def texts_outside_or_overlapping(figure: Any) -> list[str]:
    figure.draw_without_rendering()
    renderer: Any = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    (axes,) = figure.axes
    texts = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts, *axes.get_legend().get_texts()]
    boxes = {text.get_text(): text.get_window_extent(renderer) for text in texts if text.get_text()}
    width, height = figure.bbox.width, figure.bbox.height
    faults = [
        f"{name!r} is cut off"
        for name, box in boxes.items()
        if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height
    ]
    upright = [item for item in boxes.items() if "/s" not in item[0] or "DRAM" not in item[0]]
    for number, (name, box) in enumerate(upright):
        faults += [f"{name!r} overlaps {other!r}" for other, its in upright[number + 1 :] if box.overlaps(its)]
    return faults


@pytest.mark.parametrize("device", ["h100-sxm", "t4", "xeon-8480"])
def test_no_text_of_a_roofline_is_cut_off_or_overlaps(
    work: Workload, drawn: list[Any], tmp_path: Path, device: str
) -> None:
    plots.roofline(work, hwmodels.load(device), tmp_path / "roofline.png")
    assert texts_outside_or_overlapping(drawn[0]) == []


def _pixels(figure: Any, visible: Any) -> Any:
    """Draw some artists of the only axes, and give which pixels they cover."""
    (axes,) = figure.axes
    figure.set_layout_engine("none")
    kept = {artist: artist.get_visible() for artist in axes.get_children()}
    drawn = []
    for shown in ((), visible):
        for artist in kept:
            artist.set_visible(artist in shown)
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        drawn.append(np.asarray(canvas.buffer_rgba()).astype(int))
    for artist, was in kept.items():
        artist.set_visible(was)
    return (np.abs(drawn[1] - drawn[0]) > 8).any(-1)


@pytest.mark.parametrize("case", ["generation on h100-sxm", "few roofs, large points", "t4"])
def test_no_point_covers_a_label(work: Workload, drawn: list[Any], tmp_path: Path, case: str) -> None:
    whole: Any = work
    device = hwmodels.load("t4")
    if case.startswith("gen"):
        whole, device = generation("llama-3-8b", prompt=1024, tokens=512), hwmodels.load("h100-sxm")
    if case.startswith("few"):  # a slow core: the largest points lie on its roof
        slow = hwmodels.load("epyc-9654")
        device = replace(slow, matrix_flops_per_cycle=slow.matrix_flops_per_cycle / 200)
        whole = load_onnx(embedded_model(), batch=64)
    plots.roofline(whole, device, tmp_path / "roofline.png")
    (axes,) = drawn[0].axes
    labels, points = _pixels(drawn[0], list(axes.texts)), _pixels(drawn[0], list(axes.collections))
    assert labels.sum() > 200
    assert points.sum() > 200
    assert not (labels & points).any()
    assert texts_outside_or_overlapping(drawn[0]) == []


def test_the_title_says_which_sizes_run(work: Workload, drawn: list[Any], tmp_path: Path) -> None:
    plots.roofline(work, hwmodels.load("t4"), tmp_path / "a.png")
    assert drawn[0].axes[0].get_title().splitlines()[1] == "batch=16"
    whole = generation("gpt2", prompt=8, tokens=5)
    plots.roofline(whole, hwmodels.load("t4"), tmp_path / "b.png")
    assert drawn[1].axes[0].get_title().splitlines()[1] == "5 runs: batch=1, seq=8 to batch=1, total=12"


def test_points_of_a_roofline_lie_below_the_roofs_and_add_up(work: Workload) -> None:
    device = hwmodels.load("t4")
    rows = hwmodels.breakdown_records(work, device)
    places = rooflines._places(rows)
    roof = max(rooflines._roofs(work, device).values())
    for place in places:
        assert place.rate <= min(roof, place.intensity * device.dram.bytes_per_s) * 1.01
    drawn = sum(row.share for row in rows if row.flops and row.dram_bytes)
    assert sum(place.share for place in places) == pytest.approx(drawn)


def test_roofs_are_those_of_the_formats_in_use_at_the_present_clock(work: Workload) -> None:
    device = hwmodels.load("t4")
    roofs = rooflines._roofs(work, device)
    assert roofs == pytest.approx({"int8": 130e12, "fp32": 8.1e12, "vector": 8.1e12})
    assert rooflines._roofs(work, device.at(clock_scale=0.5))["int8"] == pytest.approx(65e12)


@pytest.mark.parametrize("suffix", plots.FILE_TYPES)
def test_a_pareto_plot_is_written_as_what_its_name_says(drawn: list[Any], tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    columns = {
        "latency_s": rng.uniform(1e-3, 1e-1, 200),
        "energy_j": rng.uniform(1e-6, 1e-5, 200),
        "device": np.array(["a", "b"], dtype=object)[rng.integers(2, size=200)],
    }
    columns["energy_j"][0] = np.inf
    path = plots.pareto(
        columns,
        "latency_s",
        "energy_j",
        tmp_path / f"front{suffix}",
        by="device",
        measured=np.arange(200) < 3,
        title="t",
    )
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix]
    assert path.read_bytes().startswith(start)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]
    assert texts_outside_or_overlapping(drawn[0]) == []
    (axes,) = drawn[0].axes
    assert axes.get_xlabel() == "latency [ms]"
    assert axes.get_ylabel() == "energy [µJ]"


def test_units_of_labels_follow_the_column_names() -> None:
    assert plots.axis_label("peak_bytes", np.array([2e9]))[0] == "peak [GB]"
    assert plots.axis_label("flops", np.array([2e9]))[0] == "flops [GFLOP]"
    assert plots.axis_label("weight_bits", np.array([4.0]))[0] == "weight bits"
    assert plots.axis_label("area_mm2", np.array([400.0]))[0] == "area [mm2]"
    assert plots.axis_label("latency_s", np.array([np.inf]))[0] == "latency [s]"


def test_faults_are_named(tmp_path: Path, work: Workload) -> None:
    with pytest.raises(SpaceError, match=r"'latency'.*nearest: latency_s"):
        plots.pareto({"latency_s": [1.0]}, "latency", "latency_s", tmp_path / "a.png")
    with pytest.raises(StoreError, match=r"one of \.png"):
        plots.roofline(work, hwmodels.load("t4"), tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())


def test_one_point_and_none_that_fits_can_be_drawn(tmp_path: Path) -> None:
    plots.pareto({"latency_s": [1.0], "energy_j": [1.0]}, "latency_s", "energy_j", tmp_path / "one.png")
    plots.pareto({"latency_s": [np.inf], "energy_j": [np.inf]}, "latency_s", "energy_j", tmp_path / "none.png")
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "none.png"}
