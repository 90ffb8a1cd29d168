"""Pictures of mappings: every loop and every level is there, no text overlaps or is cut off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.figure
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from dse.plots import mappings
from hwmodels.mapping import evaluate
from hwmodels.mapping.cases import Case, read_architectures, read_cases
from workloads.errors import StoreError

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "reference" / "mapping"
CASES = read_cases(GOLDEN / "cases.yaml", read_architectures(GOLDEN / "architectures.yaml"))


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


def faults(figure: Any) -> list[str]:
    """List texts that leave the figure or overlap another one."""
    figure.draw_without_rendering()
    renderer: Any = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    texts = [text for axes in figure.axes for text in axes.texts] + figure.texts
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts if text.get_text()]
    width, height = figure.bbox.width, figure.bbox.height
    found = [f"{t!r} is cut off" for t, b in boxes if b.x0 < 0 or b.y0 < 0 or b.x1 > width or b.y1 > height]
    for number, (name, box) in enumerate(boxes):
        found += [f"{name!r} overlaps {other!r}" for other, its in boxes[number + 1 :] if box.overlaps(its)]
    return found


@pytest.mark.parametrize("case", [case for case in CASES if case.name in ("tb01", "gw10", "rg2", "ey01", "re1")],
                         ids=lambda case: case.name)  # fmt: skip
def test_pictures_show_all_loops_and_levels_without_overlap(case: Case, drawn: list[Any], tmp_path: Path) -> None:
    cost = evaluate(case.operator, case.accelerator, case.mapping)
    assert mappings.loop_nest(case.operator, case.mapping, cost, tmp_path / "nest.png").is_file()
    assert mappings.level_traffic(cost, tmp_path / "traffic.svg").is_file()
    nest, traffic = drawn
    assert faults(nest) == []
    assert faults(traffic) == []
    written = [text.get_text() for text in nest.axes[0].texts]
    for level in case.mapping.levels:
        assert level.level in written
        for loop in (*level.temporal, *level.spatial):
            assert (f"parallel {loop.dim} on {loop.axis}" if loop.axis else f"for {loop.dim}") in written
    bars = traffic.axes[1]
    names = [label.get_text() for label in bars.get_yticklabels()]
    assert names == [*cost.levels, "MACs"]
    total = sum(patch.get_width() for patch in bars.patches)
    label = bars.get_xlabel()
    scale = {"pJ": 1e-12, "nJ": 1e-9, "\N{MICRO SIGN}J": 1e-6, "mJ": 1e-3}[label.partition("[")[2].rstrip("]")]
    assert total * scale == pytest.approx(cost.energy_j[0])


def test_long_names_are_broken_and_every_bar_is_told(drawn: list[Any], tmp_path: Path) -> None:
    """A level that moves a thousandth of another one's elements still shows; the dims of the longest name too."""
    case = next(case for case in CASES if case.name == "gw07")
    operator = replace(case.operator, name="/model/encoder/" + "stages.1/layers.1/" * 6 + "conv/Conv")
    cost = evaluate(operator, case.accelerator, case.mapping)
    mappings.loop_nest(operator, case.mapping, cost, tmp_path / "nest.png")
    mappings.level_traffic(cost, tmp_path / "traffic.png", f"{operator.name}: traffic of one execution")
    for figure in drawn:
        assert faults(figure) == []
        assert operator.name in figure._suptitle.get_text().replace("\n", "")
    moved = drawn[1].axes[0]
    elements = (cost.reads + cost.fills + cost.updates)[0]
    assert sorted(patch.get_width() for patch in moved.patches) == sorted(elements[elements > 0])
    assert all(patch.get_width() > moved.get_xlim()[0] for patch in moved.patches)
    assert len(moved.texts) == len(moved.patches)


def test_a_picture_of_an_unknown_type_is_refused(tmp_path: Path) -> None:
    case = CASES[0]
    cost = evaluate(case.operator, case.accelerator, case.mapping)
    with pytest.raises(StoreError, match=r"a figure is one of \.png, \.svg, \.pdf"):
        mappings.loop_nest(case.operator, case.mapping, cost, tmp_path / "nest.txt")
