"""Pictures of the energy models: everything given is drawn, where it belongs, and no text is cut off or overlaps."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pytest

from dse import plots
from hwmodels.energy import dram_energy, mac_energy
from hwmodels.energy.sram import sram
from tests.dse.test_plots_mappings import faults
from workloads.errors import SpecError, StoreError

SIZES = 8.0 * np.array([32, 48, 64, 1000, 65536, 2**22])


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


def ticks_apart(axes: Any) -> bool:
    """Say whether no two labels of the horizontal axis touch."""
    axes.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
    return all(left.x1 < right.x0 for left, right in pairwise(boxes))


def points() -> dict[int, plots.SramPoints]:
    macro = sram(SIZES, 8.0)
    return {8: plots.SramPoints(SIZES, np.asarray(macro.read_j) * 1.5, np.asarray(macro.area_mm2))}


def test_sram_has_its_points_our_curve_and_the_root_law(drawn: list[Any], tmp_path: Path) -> None:
    assert plots.sram_over_capacity(points(), tmp_path / "sram.png").is_file()
    (figure,) = drawn
    assert faults(figure) == []
    read = figure.axes[0]
    curve, law, printed = read.lines
    assert read.get_ylabel() == "read energy of a word [pJ]"
    assert printed.get_ydata() == pytest.approx(points()[8].read_j * 1e12)
    x, y = (np.asarray(data) for data in curve.get_data())
    assert y == pytest.approx(np.asarray(sram(x, 8.0).read_j) * 1e12)
    roots = np.asarray(law.get_ydata()) / np.sqrt(x)
    assert roots == pytest.approx(np.full(len(x), roots[0]))
    assert np.median(points()[8].read_j / np.sqrt(SIZES)) * 1e12 == pytest.approx(roots[0])
    assert ticks_apart(read)


def test_errors_are_sorted_shares_and_what_is_asked_is_marked(drawn: list[Any], tmp_path: Path) -> None:
    values = np.array([0.5, 0.01, np.nan, 0.1, 0.02])
    errors = {"read": {"pairs": {"ours": values, "law": 2 * values}}, "area": {"pairs": {"ours": values}}}
    plots.error_distributions(errors, tmp_path / "errors.svg", asked={"read": (4.2, 20.0)})
    (figure,) = drawn
    assert faults(figure) == []
    read, area = figure.axes
    ours, law = read.lines[0], read.lines[1]
    assert ours.get_xdata() == pytest.approx([1, 2, 10, 50])
    assert ours.get_ydata() == pytest.approx([0.25, 0.5, 0.75, 1])
    assert law.get_xdata() == pytest.approx([2, 4, 20, 100])
    marks = [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in read.lines
             if line.get_marker() == "x" and len(line.get_xdata())]  # fmt: skip
    assert marks == [(4.2, 0.5), (20.0, 0.95)]
    assert not [line for line in area.lines if line.get_marker() == "x"]
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"pairs", "ours", "law", "asked, at most"}


def test_every_format_and_node_has_its_energy_and_band(drawn: list[Any], tmp_path: Path) -> None:
    formats, nodes = ("int8", "fp16", "fp32"), (45.0, 7.0)
    plots.operation_energy(formats, tmp_path / "mac.png", nodes_nm=nodes)
    (figure,) = drawn
    (axes,) = figure.axes
    assert len(axes.containers) == len(nodes)
    for node, bars in zip(nodes, axes.containers, strict=True):
        found = [mac_energy(name, node_nm=node) for name in formats]
        assert bars.lines[0].get_ydata() == pytest.approx([float(each.value) * 1e12 for each in found])
        ends = [segment[:, 1] for segment in bars.lines[2][0].get_segments()]
        assert ends == [pytest.approx([float(each.low) * 1e12, float(each.high) * 1e12]) for each in found]
    assert [label.get_text() for label in axes.get_xticklabels()] == list(formats)
    assert faults(figure) == []


def test_parts_of_a_dram_bit_are_stacked_to_their_total(drawn: list[Any], tmp_path: Path) -> None:
    plots.dram_parts(["DDR4", "HBM2", "LPDDR2"], tmp_path / "dram.png")
    (figure,) = drawn
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["HBM2", "DDR4", "LPDDR2"]
    for row, name in enumerate(names):
        bars = [patch for patch in axes.patches if abs(patch.get_y() + patch.get_height() / 2 - row) < 1e-9]
        found = dram_energy(name)
        widths = [bar.get_width() for bar in bars if bar.get_width() > 1e-9]
        assert sum(widths) == pytest.approx(float(found.total.value) * 1e12)
        assert len(widths) == max(len(found.parts), 1)
    assert faults(figure) == []


def test_deviations_stand_in_order_with_their_bands(drawn: list[Any], tmp_path: Path) -> None:
    rows = [
        plots.Deviation("chips", "eyeriss: core area", 0.15, 0.13, 0.28),
        plots.Deviation("wires", "wire, 40 nm", 0.94, 0.7, 1.1),
        plots.Deviation("chips", "a name that is so long that it takes half of the figure's width, or so", 8, 2, 30),
    ]
    plots.published_deviations(rows, tmp_path / "deviations.pdf")
    (figure,) = drawn
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [row.name for row in rows]
    chips, wires = axes.containers
    assert chips.lines[0].get_xdata() == pytest.approx([0.15, 8])
    assert list(chips.lines[0].get_ydata()) == [0, 2]
    assert [list(segment[:, 0]) for segment in wires.lines[2][0].get_segments()] == [pytest.approx([0.7, 1.1])]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is on top
    figure.draw_without_rendering()
    assert min(label.get_window_extent().x0 for label in axes.get_yticklabels()) >= 0
    assert ticks_apart(axes)


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"a figure is one of \.png, \.svg, \.pdf"):
        plots.dram_parts(["DDR4"], tmp_path / "dram.txt")
    with pytest.raises(SpecError, match="DDR44"):
        plots.dram_parts(["DDR44"], tmp_path / "dram.png")
