"""Figures: a roofline with every operator on it, a Pareto front. Drawn without a window, written by rename."""

from dse.plots.fronts import pareto
from dse.plots.rooflines import roofline
from dse.plots.style import COLOURS, FILE_TYPES, axis_label, save_figure

__all__ = ["COLOURS", "FILE_TYPES", "axis_label", "pareto", "roofline", "save_figure"]
