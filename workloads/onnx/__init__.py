"""ONNX files to workloads."""

from workloads.onnx.builder import Builder, Node, Value
from workloads.onnx.constants import BITS_KEY
from workloads.onnx.loader import load_onnx, load_program
from workloads.onnx.registry import HANDLERS, Handler
from workloads.onnx.scope import named_nodes
from workloads.onnx.selection import worst_case

__all__ = [
    "BITS_KEY",
    "HANDLERS",
    "Builder",
    "Handler",
    "Node",
    "Value",
    "load_onnx",
    "load_program",
    "named_nodes",
    "worst_case",
]
