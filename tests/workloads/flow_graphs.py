"""Graphs with control flow for tests, and how often ONNX Runtime really executes each of their nodes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = [
    "BOOL",
    "FLOAT",
    "INT64",
    "Body",
    "decoding",
    "executions",
    "model_of",
    "repeated",
    "tensor",
    "two_branches",
]

Array = NDArray[Any]
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def tensor(name: str, shape: Sequence[int | str | None] | None = None, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    """Describe an input or output."""
    return helper.make_tensor_value_info(name, dtype, shape)


class Body:
    """A graph under construction: the graph itself or a body; edges are named by the caller."""

    def __init__(self, name: str, inputs: Sequence[onnx.ValueInfoProto] = ()) -> None:
        self.name = name
        self.inputs = list(inputs)
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[onnx.TensorProto] = []

    def node(self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Body:
        """Append a node that is called after its first output."""
        name = attributes.pop("name", f"{op_type}.{outputs[0]}")
        self.nodes.append(helper.make_node(op_type, list(inputs), list(outputs), name, **attributes))
        return self

    def store(self, name: str, array: Any, dtype: Any = None) -> Body:
        """Store an initializer."""
        self.stored.append(numpy_helper.from_array(np.asarray(array, dtype=dtype), name))
        return self

    def graph(self, *outputs: str | onnx.ValueInfoProto) -> onnx.GraphProto:
        """Close the graph."""
        ends = [onnx.ValueInfoProto(name=item) if isinstance(item, str) else item for item in outputs]
        return helper.make_graph(self.nodes, self.name, self.inputs, ends, self.stored)


def model_of(graph: onnx.GraphProto, opset: int = 17, **options: Any) -> onnx.ModelProto:
    """Make a model of a graph."""
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in options.pop("domains", ()))]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, **options)


def executions(model: onnx.ModelProto, feeds: Mapping[str, Array], folder: Path) -> tuple[Counter[str], list[Array]]:
    """Run a model in ONNX Runtime; count the executions of every node by name, and give the outputs."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results = session.run(None, dict(feeds))
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    ends = "_kernel_time"
    counted = Counter(event["name"].removesuffix(ends) for event in events if event["name"].endswith(ends))
    return counted, [np.asarray(result) for result in results]


def two_branches(condition: bool | None = None, other_rows: int = 2) -> onnx.ModelProto:
    """Give a product, then a product more or a negation; the condition is an input or a constant."""
    main = Body("main", [tensor("x", (2, 4)), *([tensor("flag", (), BOOL)] if condition is None else [])])
    if condition is not None:
        main.store("flag", condition)
    main.store("w", np.ones((4, 4)), np.float32).node("MatMul", ["x", "w"], ["h"])
    then = Body("then").store("w2", np.ones((4, 4)), np.float32).node("MatMul", ["h", "w2"], ["a"])
    then.node("Relu", ["a"], ["t"])
    other = Body("else").node("Neg", ["h"], ["e"])
    if other_rows != 2:
        other.store("shape", [other_rows, 8 // other_rows], np.int64).node("Reshape", ["e", "shape"], ["r"])
    ends = "r" if other_rows != 2 else "e"
    main.node("If", ["flag"], ["y"], then_branch=then.graph("t"), else_branch=other.graph(ends), name="choose")
    main.node("Relu", ["y"], ["z"])
    return model_of(main.graph(tensor("z")))


def repeated(trips: int | None, body_trips: str = "n", condition: str = "") -> onnx.ModelProto:
    """Give a loop around x = relu(x w) that also collects a sum; the number of trips is an input or a constant."""
    main = Body("main", [tensor("x", (2, 4)), *([tensor("n", (), INT64)] if trips is None else [])])
    if trips is not None:
        main.store("n", trips, np.int64)
    main.store("w", np.ones((4, 4)), np.float32)
    body = Body("step", [tensor("i", (), INT64), tensor("go", (), BOOL), tensor("state")])
    body.node("MatMul", ["state", "w"], ["p"]).node("Relu", ["p"], ["next"])
    body.node("ReduceSum", ["next"], ["sum"], keepdims=0)
    if condition == "data":
        body.node("Cast", ["sum"], ["goes"], to=BOOL)
    else:
        body.node("Identity", ["go"], ["goes"])
    main.node("Loop", [body_trips, "", "x"], ["y", "sums"], body=body.graph("goes", "next", "sum"), name="loop")
    main.node("Neg", ["y"], ["z"]).node("Neg", ["sums"], ["all"])
    return model_of(main.graph(tensor("z"), tensor("all")))


def decoding(trips: int | None = None, rows: int = 3) -> onnx.ModelProto:
    """Give a loop whose cache grows by one row in every trip: scores and context of one head."""
    main = Body("main", [tensor("x", (1, 4)), tensor("past", (rows, 4))])
    if trips is None:
        main.inputs.append(tensor("n", (), INT64))
    else:
        main.store("n", trips, np.int64)
    body = Body("step", [tensor("i", (), INT64), tensor("go", (), BOOL), tensor("cache")])
    body.node("Concat", ["cache", "x"], ["grown"], axis=0).node("Transpose", ["grown"], ["keys"], perm=[1, 0])
    body.node("MatMul", ["x", "keys"], ["scores"]).node("Softmax", ["scores"], ["probabilities"])
    body.node("MatMul", ["probabilities", "grown"], ["context"]).node("Identity", ["go"], ["goes"])
    main.node(
        "Loop", ["n", "", "past"], ["cache_out", "contexts"], body=body.graph("goes", "grown", "context"), name="d"
    )
    main.node("Relu", ["contexts"], ["z"])
    return model_of(main.graph(tensor("z"), tensor("cache_out")))
