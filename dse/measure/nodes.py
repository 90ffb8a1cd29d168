"""A graph as ONNX Runtime runs it, node by node: each as a model of its own, with the values that it meets.

ONNX Runtime fuses and packs before it runs. What it writes as the optimized graph is what is timed, so that the times
of the nodes are those of the kernels that run, and add up.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dse.measure.families import Columns, Shaped, columns_of
from dse.measure.timing import Feeds, session_of
from workloads.errors import MeasureError

if TYPE_CHECKING:
    import onnx

__all__ = ["Node", "nodes_of", "optimized_graph", "single_node"]

Array = NDArray[Any]

VIEWS = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity", "Shape", "Size"})
"""Op types whose output shares the memory of the input: they cost a node's launch."""

LARGEST_GRAPH = 1_500_000_000
"""A model is one protobuf message when it is taken apart: no more than 2 GB, with room for the rest [B]."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """Equal nodes of an optimized graph.

    Attributes:
        names: Of all of them, in order.
        edges: The first result of each.
        proto: The first one.
        columns: As the measured tables have it.
        arrays: What the first one reads and writes, by edge.
        stored: Those of them that are weights.
        shares_memory: A view: no kernel runs.
    """

    names: tuple[str, ...]
    edges: tuple[str, ...]
    proto: onnx.NodeProto
    columns: Columns
    arrays: Mapping[str, Array]
    stored: frozenset[str]
    shares_memory: bool


def optimized_graph(model: onnx.ModelProto | str | Path, name: str, threads: int = 1) -> onnx.ModelProto:
    """Give the graph that ONNX Runtime really runs on this CPU, every node with a name.

    Raises:
        MeasureError: ONNX Runtime refuses it, it is larger than one protobuf message, or holds control flow.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        session_of(model, name, threads, path)
        if path.stat().st_size > LARGEST_GRAPH:
            raise MeasureError(
                f"model {name!r}: {path.stat().st_size / 1e9:.1f} GB are too many to take apart; time a smaller one of "
                "the family, or fewer layers"
            )
        found = onnx.load(str(path))
    for position, node in enumerate(found.graph.node):
        node.name = node.name or f"{node.op_type}_{position}"
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise MeasureError(f"model {name!r}: {node.op_type} {node.name!r} has a body; bodies are not taken apart")
    return found


def nodes_of(graph: onnx.ModelProto, feeds: Feeds, name: str) -> list[Node]:
    """Take an optimized graph apart: equal nodes once, with the values of one run.

    Args:
        graph: From `optimized_graph`.
        feeds: Inputs of the model.
        name: Of the model, for messages.

    Raises:
        MeasureError: ONNX Runtime cannot run it.
    """
    from onnx import numpy_helper

    stored = {item.name: numpy_helper.to_array(item) for item in graph.graph.initializer}
    values = {**stored, **dict(feeds), **_edges(graph, feeds, name)}
    groups: dict[object, list[Any]] = {}
    for node in graph.graph.node:
        groups.setdefault(_signature(node, values, stored), []).append(node)
    return [_node(group, values, stored) for group in groups.values()]


def _edges(graph: onnx.ModelProto, feeds: Feeds, name: str) -> dict[str, Array]:
    """Run the graph once with every edge as an output."""
    import onnx
    from onnx import helper

    whole = onnx.ModelProto()
    whole.CopyFrom(graph)
    known = {item.name for item in whole.graph.output}
    edges = [edge for node in whole.graph.node for edge in node.output if edge and edge not in known]
    whole.graph.output.extend(helper.make_empty_tensor_value_info(edge) for edge in edges)
    session = session_of(whole, name, as_it_is=True)
    wanted = [*edges, *sorted(known)]
    inputs = {item.name: feeds[item.name] for item in session.get_inputs()}
    try:
        found = session.run(wanted, inputs)
    except Exception as error:  # ONNX Runtime's exceptions share no base of their own
        raise MeasureError(f"model {name!r}: cannot be run node by node: {str(error).splitlines()[0]}") from None
    return {edge: np.asarray(value) for edge, value in zip(wanted, found, strict=True)}


def _signature(node: Any, values: Mapping[str, Array], stored: Collection[str]) -> object:
    attributes = tuple(sorted(item.SerializeToString(deterministic=True) for item in node.attribute))
    shapes = tuple(
        None if not edge else (values[edge].shape, values[edge].dtype.str, edge in stored) if edge in values else edge
        for edge in (*node.input, *node.output)
    )
    return node.domain, node.op_type, attributes, shapes


def _node(group: Sequence[Any], values: Mapping[str, Array], stored: Collection[str]) -> Node:
    first = group[0]
    used = [edge for edge in (*first.input, *first.output) if edge]
    arrays = {edge: values[edge] for edge in used}
    shaped = Shaped(
        op_type=first.op_type,
        inputs=tuple(values[edge] if edge else None for edge in first.input),
        outputs=tuple(values[edge] for edge in first.output if edge),
        stored=tuple(edge in stored for edge in first.input),
        attributes=_attributes(first),
    )
    return Node(
        names=tuple(node.name for node in group),
        edges=tuple(node.output[0] for node in group),
        proto=first,
        columns=columns_of(shaped),
        arrays=arrays,
        stored=frozenset(edge for edge in used if edge in stored),
        shares_memory=first.op_type in VIEWS,
    )


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def single_node(node: Node, graph: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, Array], dict[str, Array]]:
    """Build the model of one node.

    Returns:
        The model, the arrays that are fed, the arrays that it writes (their shapes and types are what counts).
    """
    from onnx import helper, numpy_helper

    reads = list(dict.fromkeys(edge for edge in node.proto.input if edge))
    fed = {edge: node.arrays[edge] for edge in reads if edge not in node.stored}
    fixed = [numpy_helper.from_array(node.arrays[edge], edge) for edge in reads if edge in node.stored]
    written = {edge: node.arrays[edge] for edge in node.proto.output if edge}

    def described(arrays: Mapping[str, Array]) -> list[Any]:
        return [
            helper.make_tensor_value_info(edge, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for edge, array in arrays.items()
        ]

    body = helper.make_graph([node.proto], "node", described(fed), described(written), fixed)
    return helper.make_model(body, opset_imports=list(graph.opset_import), ir_version=graph.ir_version), fed, written
