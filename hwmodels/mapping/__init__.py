"""Mapping operators on spatial accelerators: what a mapping moves and costs, and how it is written."""

from hwmodels.mapping.certificate import write_certificate
from hwmodels.mapping.checker import Report, check_certificate
from hwmodels.mapping.mapper.results import Point, Result, Space
from hwmodels.mapping.mapper.search import search
from hwmodels.mapping.mapspace_study import Mapspace, mapspace
from hwmodels.mapping.problem import Operand, Problem, Window, narrowed, problem_of, problem_on
from hwmodels.mapping.records import LevelMapping, Loop, Mapping, MappingBatch, Slot, Structure, from_factors
from hwmodels.mapping.runtime_tiles import runtime_mapping
from hwmodels.mapping.sampling import Sample, random_mappings
from hwmodels.mapping.text import mapping_text, parse_mapping
from hwmodels.mapping.traffic import Traffic, evaluate
from hwmodels.spatial import REFERENCE, ROLES, SILICON, Accelerator, BufferLevel, Conventions, MeshAxis

__all__ = [
    "REFERENCE",
    "ROLES",
    "SILICON",
    "Accelerator",
    "BufferLevel",
    "Conventions",
    "LevelMapping",
    "Loop",
    "Mapping",
    "MappingBatch",
    "Mapspace",
    "MeshAxis",
    "Operand",
    "Point",
    "Problem",
    "Report",
    "Result",
    "Sample",
    "Slot",
    "Space",
    "Structure",
    "Traffic",
    "Window",
    "check_certificate",
    "evaluate",
    "from_factors",
    "mapping_text",
    "mapspace",
    "narrowed",
    "parse_mapping",
    "problem_of",
    "problem_on",
    "random_mappings",
    "runtime_mapping",
    "search",
    "write_certificate",
]
