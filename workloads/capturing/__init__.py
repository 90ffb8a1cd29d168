"""Torch modules to workloads: export, check against torch on another shape, keep the names of the parameters."""

from workloads.capturing.parameters import PARAMETER_KEY, TRANSPOSED_KEY
from workloads.capturing.torch_module import capture

__all__ = ["PARAMETER_KEY", "TRANSPOSED_KEY", "capture"]
