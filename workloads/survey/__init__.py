"""The full-stack survey's counting convention, its tables cell by cell, and its known defects.

Source: Kim et al., Full Stack Optimization of Transformer Inference: a Survey, arXiv 2302.14017v1, 2023.
"""

from workloads.survey.cells import Cell, compare, rounds_to
from workloads.survey.classes import EXCLUDED, classify, count_workload, own_count
from workloads.survey.constants import ConstantRow, constants_table, own_constants
from workloads.survey.convention import (
    ARCHITECTURES,
    CLASSES,
    LEAST_SQUARES,
    PRINTED,
    TITLES,
    Architecture,
    Constants,
    Count,
    architecture,
    count,
)
from workloads.survey.convolutions import (
    CONVOLUTION_CLASSES,
    RESNET50_LAYERS,
    ConvLayer,
    convolution_classes,
    convolution_intensities,
    resnet50_convolutions,
)
from workloads.survey.derivations import without_a_projection
from workloads.survey.discrepancies import DISCREPANCIES, Discrepancy
from workloads.survey.tiling import L2_BYTES, tiled_bytes, tiled_count

__all__ = [
    "ARCHITECTURES",
    "CLASSES",
    "CONVOLUTION_CLASSES",
    "DISCREPANCIES",
    "EXCLUDED",
    "L2_BYTES",
    "LEAST_SQUARES",
    "PRINTED",
    "RESNET50_LAYERS",
    "TITLES",
    "Architecture",
    "Cell",
    "ConstantRow",
    "Constants",
    "ConvLayer",
    "Count",
    "Discrepancy",
    "architecture",
    "classify",
    "compare",
    "constants_table",
    "convolution_classes",
    "convolution_intensities",
    "count",
    "count_workload",
    "own_constants",
    "own_count",
    "resnet50_convolutions",
    "rounds_to",
    "tiled_bytes",
    "tiled_count",
    "without_a_projection",
]
