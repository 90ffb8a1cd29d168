"""Figures of the survey and of the memory wall: what is drawn is what was counted; no text covers another or is cut."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import onnx
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import hwmodels
from dse import plots
from hwmodels import trends
from workloads import SpaceError, StoreError, survey
from workloads.onnx import load_onnx
from workloads.workload import Workload
from workloads.zoo import architecture, generation

SCALING = Path(__file__).parents[1] / "golden" / "reference" / "survey" / "end_to_end_scaling.csv"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
PRINTED = {"BERT-Base": {128: 1.0, 4096: 84.0}, "GPT-2": {128: 45.0, 4096: 2344.0}}  # Fig. 9


@pytest.fixture(scope="module")
def resnet50() -> Workload:
    return load_onnx(LIGHT / "light_resnet50.onnx")


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


def text_faults(figure: Any) -> list[str]:
    """Name texts that are cut off or lie on one another."""
    figure.draw_without_rendering()
    renderer: Any = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    texts = list(figure.texts)
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        texts += _ticks(axes.xaxis, axes.get_xlim()) + _ticks(axes.yaxis, axes.get_ylim())
        texts += axes.get_legend().get_texts() if axes.get_legend() else []
    for legend in figure.legends:
        texts += legend.get_texts()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_text()]
    width, height = figure.bbox.width, figure.bbox.height
    faults = [
        f"{name!r} is cut off"
        for name, box in boxes
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]
    for number, (name, box) in enumerate(boxes):
        smaller = box.padded(-1.5)  # boxes that touch by a pixel or two cover no ink
        faults += [f"{name!r} overlaps {other!r}" for other, its in boxes[number + 1 :] if smaller.overlaps(its)]
    return faults


def _ticks(axis: Any, limits: tuple[float, float]) -> list[Any]:
    """Give the tick labels that are drawn: those within the limits."""
    low, high = sorted(limits)
    labels = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)  # inner axes share theirs
    return [label for place, label in labels if low <= place <= high and label.get_visible()]


FIGURES: dict[str, Callable[[Path, Workload], Path]] = {
    "op classes": lambda path, _: plots.op_class_bars(path),
    "one op class": lambda path, _: plots.op_class_bars(path, plots.survey_counts(["GPT-2"], [128, 4096])),
    "intensity": lambda path, _: plots.intensity_over_length(path, printed=PRINTED),
    "latency": lambda path, _: plots.normalized_latency(path, PRINTED, printed=PRINTED),
    "breakdown": lambda path, _: plots.flops_breakdown(
        path, {name: survey.count(survey.architecture(name), 512) for name in survey.ARCHITECTURES}
    ),
    "resnet": lambda path, work: plots.resnet_beside_bert(
        path, survey.convolution_classes(work), printed={"ResNet-50": (7.31, 66.94), "BERT-Base": (22.42, 159.68)}
    ),
    "hardware": lambda path, _: plots.hardware_scaling(path),
    "model sizes": lambda path, _: plots.model_size_scaling(path),
    "training": lambda path, _: plots.training_compute_scaling(path),
}


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_is_cut_off_or_overlaps(name: str, drawn: list[Any], tmp_path: Path, resnet50: Workload) -> None:
    path = FIGURES[name](tmp_path / "figure.png", resnet50)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert [item.name for item in tmp_path.iterdir()] == ["figure.png"]
    assert text_faults(drawn[0]) == []


@pytest.mark.parametrize("name", ["hardware", "model sizes", "training"])
def test_labels_of_points_stay_inside_the_axes(name: str, drawn: list[Any], tmp_path: Path, resnet50: Workload) -> None:
    FIGURES[name](tmp_path / "figure.png", resnet50)
    drawn[0].draw_without_rendering()
    (axes,) = drawn[0].axes
    inside = axes.get_window_extent()
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert [name for name, box in boxes.items() if box.x0 < inside.x0 or box.x1 > inside.x1] == []


def test_the_check_of_texts_sees_an_overlap_and_a_cut(tmp_path: Path) -> None:
    figure = matplotlib.figure.Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.text(0.5, 0.5, "one text")
    axes.text(0.52, 0.5, "another")
    axes.text(3.0, 0.5, "outside", ha="right")
    faults = text_faults(figure)
    assert "'one text' overlaps 'another'" in faults
    figure.text(0.98, 0.5, "runs over the edge")
    assert "'runs over the edge' is cut off" in text_faults(figure)


def test_bars_are_the_counts(drawn: list[Any], tmp_path: Path) -> None:
    counts = plots.survey_counts()
    plots.op_class_bars(tmp_path / "bars.svg", counts)
    grid = np.array(drawn[0].axes).reshape(3, len(counts))
    for column, (model, by_length) in enumerate(counts.items()):
        assert grid[0, column].get_title() == model
        for row, field in enumerate(("flops", "mops")):
            heights = np.array([bar.get_height() for bar in grid[row, column].patches]).reshape(4, len(by_length))
            assert heights.sum(axis=0) == pytest.approx(100)
            for index, found in enumerate(by_length.values()):
                total = float(getattr(found["total"], field))
                expected = [100 * float(getattr(found[name], field)) / total for name in survey.CLASSES]
                assert heights[:, index] == pytest.approx(expected)
        heights = np.array([bar.get_height() for bar in grid[2, column].patches]).reshape(5, len(by_length))
        assert heights[-1] == pytest.approx([float(found["total"].intensity) for found in by_length.values()])


def test_latencies_are_relative_to_the_first_model_at_its_shortest_length(drawn: list[Any], tmp_path: Path) -> None:
    plots.normalized_latency(tmp_path / "a.png", {"a": {256: 4e-3, 128: 2e-3}, "b": {128: 1e-3, 256: 8e-3}})
    (axes,) = drawn[0].axes
    assert {line.get_label(): list(line.get_ydata()) for line in axes.lines} == {"a": [2, 1], "b": [0.5, 4]}


CONFIGS: dict[str, dict[str, Any]] = {
    name: {"model_type": "bert", "hidden_size": arch.d_model, "num_hidden_layers": arch.layers,
           "num_attention_heads": arch.heads, "intermediate_size": arch.d_ff, "max_position_embeddings": 4096,
           "vocab_size": 30522, "type_vocab_size": 2, "hidden_act": "gelu"}
    for name, arch in survey.ARCHITECTURES.items() if not arch.generates
} | {"GPT-2": {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 8192,
               "vocab_size": 50257, "activation_function": "gelu_new"}}  # fmt: skip


@pytest.mark.parametrize("device", ["xeon-8480", "h100-sxm"])
def test_predicted_latencies_have_the_order_and_trend_of_the_printed_ones(device: str) -> None:
    """Digits belong to the source's machines (Figs. 9 and 32); which model is slower, and how it grows, does not."""
    with SCALING.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lengths = (128, 512, 4096)
    found = {}
    for name in plots.SURVEY_MODELS:
        for tokens in lengths:
            work = (
                generation(CONFIGS[name], prompt=1, tokens=tokens, dtype="bf16")
                if name == "GPT-2"
                else architecture(CONFIGS[name], seq=tokens, dtype="bf16")
            )
            found[name, tokens] = float(hwmodels.evaluate(work, hwmodels.load(device)).latency_s)
    for figure in (found, *(printed_latencies(rows, name) for name in ("fig9_cpu", "fig32_analytic"))):
        for tokens in lengths:
            base, large, decoder = (figure[name, tokens] for name in plots.SURVEY_MODELS)
            assert base < large < decoder
            assert decoder > 10 * base  # at equal FLOPs
        growth = [figure[name, 4096] / figure[name, 512] for name in plots.SURVEY_MODELS]
        assert min(growth) > 8  # more than linear: attention
        assert growth[2] < min(growth[:2])  # a decoder is bound by its weights longer


def printed_latencies(rows: list[dict[str, str]], figure: str) -> dict[tuple[str, int], float]:
    return {
        (row["model"], int(row["seq_len"])): float(row["value"])
        for row in rows
        if row["quantity"] == f"{figure}_normalized_latency"
    }


def test_trends_of_the_figures_are_the_refitted_ones(drawn: list[Any], tmp_path: Path) -> None:
    plots.hardware_scaling(tmp_path / "hardware.png")
    (axes,) = drawn[0].axes
    slopes = []
    for line in axes.lines:
        x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        slopes.append(float(np.log(y[-1] / y[0]) / (x[-1] - x[0])))
    fits = trends.refit()
    names = ("peak_compute", "dram_bandwidth", "interconnect_bandwidth")
    assert slopes == pytest.approx([fits[name].rate for name in names])
    markers = [len(item.get_offsets()) for item in axes.collections if len(item.get_offsets()) > 1]
    assert markers == [fits[name].count for name in names]


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match="at least one model"):
        plots.op_class_bars(tmp_path / "a.png", {})
    with pytest.raises(SpaceError, match="at least one model"):
        plots.normalized_latency(tmp_path / "a.png", {"a": {}})
    with pytest.raises(SpaceError, match='"flops" or "mops"'):
        plots.flops_breakdown(tmp_path / "a.png", {"a": survey.count(survey.architecture("GPT-2"), 8)}, field="bytes")
    for draw in (plots.hardware_scaling, plots.op_class_bars):
        with pytest.raises(StoreError, match=r"one of \.png"):
            draw(tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())
