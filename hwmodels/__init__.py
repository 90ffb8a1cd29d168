"""What it costs: devices as cited data, and the cost of a workload on them."""

from hwmodels.calibrating import calibrated
from hwmodels.cost import Cost
from hwmodels.costing import evaluate, fits, largest_batch
from hwmodels.kernels.device import KernelDevice
from hwmodels.operator_costs import OperatorCost, breakdown, breakdown_records
from hwmodels.records import Citation, MemoryLevel
from hwmodels.resizing import resized
from hwmodels.roofline import RooflineDevice
from hwmodels.schema import DeviceSpec
from hwmodels.spatial import Accelerator
from hwmodels.specs import accelerators, load, names, read_spec
from hwmodels.step import Device, Step
from hwmodels.trends import project, refit
from hwmodels.units import format_si, parse_quantity
from hwmodels.writing import write_spec

__all__ = [
    "Accelerator",
    "Citation",
    "Cost",
    "Device",
    "DeviceSpec",
    "KernelDevice",
    "MemoryLevel",
    "OperatorCost",
    "RooflineDevice",
    "Step",
    "accelerators",
    "breakdown",
    "breakdown_records",
    "calibrated",
    "evaluate",
    "fits",
    "format_si",
    "largest_batch",
    "load",
    "names",
    "parse_quantity",
    "project",
    "read_spec",
    "refit",
    "resized",
    "write_spec",
]
