"""Figures: rooflines, fronts, mappings, energy, the survey, the memory wall: drawn without a window, written whole."""

from dse.plots.case_study import buffer_grids, time_shares
from dse.plots.chips import hardware_front
from dse.plots.energy import Deviation, dram_parts, operation_energy, published_deviations
from dse.plots.energy_sram import SramPoints, error_distributions, sram_over_capacity
from dse.plots.fronts import pareto
from dse.plots.lengths import intensity_over_length, normalized_latency
from dse.plots.machines import machine_run
from dse.plots.mappings import level_traffic, loop_nest, network_traffic
from dse.plots.mapspaces import gap_over_time, random_mappings_edp
from dse.plots.memory_wall import hardware_scaling, model_size_scaling, training_compute_scaling
from dse.plots.rooflines import roofline
from dse.plots.style import COLOURS, FILE_TYPES, axis_label, save_figure
from dse.plots.survey import (
    SURVEY_LENGTHS,
    SURVEY_MODELS,
    flops_breakdown,
    op_class_bars,
    resnet_beside_bert,
    survey_counts,
)

__all__ = [
    "COLOURS",
    "FILE_TYPES",
    "SURVEY_LENGTHS",
    "SURVEY_MODELS",
    "Deviation",
    "SramPoints",
    "axis_label",
    "buffer_grids",
    "dram_parts",
    "error_distributions",
    "flops_breakdown",
    "gap_over_time",
    "hardware_front",
    "hardware_scaling",
    "intensity_over_length",
    "level_traffic",
    "loop_nest",
    "machine_run",
    "model_size_scaling",
    "network_traffic",
    "normalized_latency",
    "op_class_bars",
    "operation_energy",
    "pareto",
    "published_deviations",
    "random_mappings_edp",
    "resnet_beside_bert",
    "roofline",
    "save_figure",
    "sram_over_capacity",
    "survey_counts",
    "time_shares",
    "training_compute_scaling",
]
