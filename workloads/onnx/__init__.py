"""ONNX files to workloads."""

from workloads.onnx.builder import Builder, Node, Value
from workloads.onnx.loader import BITS_KEY, load_onnx, named_nodes
from workloads.onnx.registry import HANDLERS, Handler

__all__ = ["BITS_KEY", "HANDLERS", "Builder", "Handler", "Node", "Value", "load_onnx", "named_nodes"]
