"""Mapping operators on spatial accelerators: what a mapping moves and costs, and how it is written."""

from hwmodels.mapping.problem import Operand, Problem, Window, problem_of
from hwmodels.mapping.records import LevelMapping, Loop, Mapping, MappingBatch, Slot, Structure, from_factors
from hwmodels.mapping.text import mapping_text, parse_mapping
from hwmodels.mapping.traffic import Traffic, evaluate

__all__ = [
    "LevelMapping",
    "Loop",
    "Mapping",
    "MappingBatch",
    "Operand",
    "Problem",
    "Slot",
    "Structure",
    "Traffic",
    "Window",
    "evaluate",
    "from_factors",
    "mapping_text",
    "parse_mapping",
    "problem_of",
]
