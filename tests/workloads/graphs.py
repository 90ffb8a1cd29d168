"""Small ONNX graphs for tests, their truth by ONNX Runtime, and what a workload says of every tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from workloads import FORMATS, Operator, Tensor, Workload
from workloads.onnx import load_onnx

__all__ = ["FLOAT", "Graph", "bytes_of_views", "check_against_runtime", "run", "shapes_of", "single"]

Array = NDArray[Any]
FLOAT = TensorProto.FLOAT

_FORMAT_OF_DTYPE = {
    "float32": "fp32", "float64": "fp64", "float16": "fp16", "bool": "bool", "int8": "int8", "uint8": "uint8",
    "int16": "int16", "uint16": "uint16", "int32": "int32", "int64": "int64",
}  # fmt: skip


class Graph:
    """A graph under construction: nodes are appended in order, constants become initializers."""

    def __init__(self, opset: int = 17, domains: Sequence[str] = ()) -> None:
        self.opset = opset
        self.domains = domains
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.constants: dict[str, Array] = {}
        self.count = 0

    def input(self, name: str, shape: Sequence[int | str | None] | None, dtype: int = FLOAT) -> str:
        """Declare a graph input."""
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def constant(self, array: Any, dtype: Any = None, name: str = "") -> str:
        """Store an initializer."""
        self.count += 1
        name = name or f"const_{self.count}"
        self.constants[name] = np.asarray(array, dtype=dtype)
        return name

    def node(
        self, op_type: str, *inputs: str, outputs: int | Sequence[str] = 1, domain: str = "", **attributes: Any
    ) -> Any:
        """Append a node; give the name of its output, or a list of names."""
        self.count += 1
        names = [f"{op_type.lower()}_{self.count}_{i}" for i in range(outputs)] if isinstance(outputs, int) else outputs
        proto = helper.make_node(
            op_type, list(inputs), list(names), f"{op_type}.{self.count}", domain=domain, **attributes
        )
        self.nodes.append(proto)
        return names[0] if len(names) == 1 else list(names)

    def model(self, *outputs: str) -> onnx.ModelProto:
        """Close the graph."""
        graph = helper.make_graph(
            self.nodes,
            "graph",
            self.inputs,
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(domain, 1) for domain in self.domains)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10 if self.opset < 24 else 12)


def single(
    op_type: str,
    arrays: Sequence[Any],
    constant: Sequence[int] = (),
    *,
    opset: int = 17,
    outputs: int | Sequence[str] = 1,
    domain: str = "",
    **attributes: Any,
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Make a graph of one node. Inputs whose position is in `constant` are initializers; the rest are fed.

    Outputs are a number of them, or their names ("": left out).

    Returns:
        The model, and its feeds.
    """
    graph = Graph(opset, [domain] if domain else [])
    names, feeds = [], {}
    for position, array in enumerate(arrays):
        if array is None:
            names.append("")
        elif position in constant:
            names.append(graph.constant(array))
        else:
            name = f"x{position}"
            names.append(graph.input(name, array.shape, helper.np_dtype_to_tensor_dtype(array.dtype)))
            feeds[name] = array
    written = [f"y{i}" for i in range(outputs)] if isinstance(outputs, int) else list(outputs)
    graph.node(op_type, *names, outputs=written, domain=domain, **attributes)
    return graph.model(*filter(None, written)), feeds


def run(model: onnx.ModelProto, feeds: Mapping[str, Array], every: bool = False) -> dict[str, Array]:
    """Execute a model in ONNX Runtime; give its outputs (or the output of every node) by name."""
    if every:
        model = onnx.ModelProto.FromString(model.SerializeToString())
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=n) for node in model.graph.node for n in node.output if n)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def shapes_of(workload: Workload) -> dict[str, tuple[int, ...]]:
    """Give the stored shape of every tensor that an operator writes."""
    return {tensor.name: shape(op, tensor) for op in workload for tensor in op.outputs}


def shape(op: Operator, tensor: Tensor) -> tuple[int, ...]:
    """Give the stored shape of a tensor as an operator sees it."""
    return tuple(int(extent) for extent in tensor.shape(op.dims))  # scalar workloads


def bytes_of_views(workload: Workload) -> float:
    """Give the bytes that views move, which must be none."""
    return float(sum(op.dram_bytes() for op in workload if op.kind == "view"))


def check_against_runtime(
    model: onnx.ModelProto, feeds: Mapping[str, Array], **options: Any
) -> tuple[Workload, dict[str, Array]]:
    """Assert that a workload has the shapes and element types that ONNX Runtime really produces.

    Also asserts what must hold for every operator: it writes each value of its outputs exactly once in its footprint,
    never reads more values than an input holds, and a tensor has one shape for everybody who sees it.
    """
    truth = run(model, feeds, every=True)
    workload = load_onnx(model, structure=False, **options)
    real = {**feeds, **truth, **{item.name: numpy_helper.to_array(item) for item in model.graph.initializer}}
    for op in workload:
        for tensor in op.outputs:
            if tensor.name not in real:  # inside a kernel: a dequantized weight
                continue
            assert shape(op, tensor) == real[tensor.name].shape, (op.op_type, tensor.name)
            assert tensor.values(op.dims) == real[tensor.name].size, (op.op_type, tensor.name)
            assert FORMATS[int(tensor.format)].name == _FORMAT_OF_DTYPE[real[tensor.name].dtype.name], tensor.name
        for tensor in op.inputs:
            if tensor.name in real and tensor.role != "weight":
                assert shape(op, tensor) == real[tensor.name].shape, (op.op_type, tensor.name)
                assert 0 <= tensor.values(op.dims) <= real[tensor.name].size, (op.op_type, tensor.name)
    return workload, truth
