"""What is computed: number formats, operators, workloads, the ONNX loader, structure, compression and tasks."""

from workloads.capturing import capture
from workloads.errors import (
    DseError,
    MappingError,
    MeasureError,
    SpaceError,
    SpecError,
    StoreError,
    TaskError,
    TechniqueError,
    WorkloadError,
)
from workloads.formats import FORMATS, Format, arithmetic_format, format_code, integer_code
from workloads.liveness import activation_peak_bytes, peak_bytes
from workloads.onnx.loader import load_onnx, load_program
from workloads.onnx.weight_tables import weight_table
from workloads.operator import PATTERNS, Axis, Operator, Tensor, axis, pattern_code
from workloads.workload import Choice, Program, Workload

__all__ = [
    "FORMATS",
    "PATTERNS",
    "Axis",
    "Choice",
    "DseError",
    "Format",
    "MappingError",
    "MeasureError",
    "Operator",
    "Program",
    "SpaceError",
    "SpecError",
    "StoreError",
    "TaskError",
    "TechniqueError",
    "Tensor",
    "Workload",
    "WorkloadError",
    "activation_peak_bytes",
    "arithmetic_format",
    "axis",
    "capture",
    "format_code",
    "integer_code",
    "load_onnx",
    "load_program",
    "pattern_code",
    "peak_bytes",
    "weight_table",
]
