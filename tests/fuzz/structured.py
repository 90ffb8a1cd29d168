"""Mutations of a parsed model: sizes, names, edges, op types, attributes, data. Each changes the model in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from workloads.onnx import HANDLERS

__all__ = ["EXTREMES", "REALS", "STRUCTURED", "Mutation", "all_graphs", "any_node", "pick"]

Mutation = Callable[[onnx.ModelProto, np.random.Generator], None]

EXTREMES = (
    0, 1, -1, 2, 3, 5, -2, 64, 127, 1000, 65537, 2**20, 2**31 - 1, 2**31, -(2**31), 2**32, 10**12, 2**40, 2**62,
    2**63 - 1, -(2**63),
)  # fmt: skip
REALS = (0.0, -1.0, 0.5, 1e30, 3e38, -3e38, float("inf"), float("-inf"), float("nan"), 1e-40)
OP_TYPES = tuple(sorted({name.rpartition("::")[2] for name in HANDLERS} | {
    "Constant", "ConstantOfShape", "Shape", "Size", "If", "Loop", "Scan", "SequenceAt", "SequenceEmpty",
    "SequenceConstruct", "SequenceInsert", "SplitToSequence", "ConcatFromSequence", "Optional", "OptionalGetElement",
    "Unheard", "NonZero", "StringConcat", "ImageDecoder", "Unique", "TopK",
}))  # fmt: skip


def pick(rng: np.random.Generator, options: Any) -> Any:
    """Choose one of a sequence, which may be empty: then None."""
    return options[int(rng.integers(len(options)))] if len(options) else None


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Give a graph and its bodies."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from all_graphs(attribute.g)


def any_graph(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.GraphProto:
    found: onnx.GraphProto = pick(rng, list(all_graphs(model.graph)))
    return found


def any_node(model: onnx.ModelProto, rng: np.random.Generator) -> onnx.NodeProto | None:
    """Choose a node of the graph, a body or a function."""
    lists = [graph.node for graph in all_graphs(model.graph)] + [function.node for function in model.functions]
    found: onnx.NodeProto | None = pick(rng, [node for nodes in lists for node in nodes])
    return found


def all_tensors(model: onnx.ModelProto) -> list[TensorProto]:
    tensors = [tensor for graph in all_graphs(model.graph) for tensor in graph.initializer]
    nodes = [node for graph in all_graphs(model.graph) for node in graph.node]
    return tensors + [item.t for node in nodes for item in node.attribute if item.type == AttributeProto.TENSOR]


def extreme_input_dim(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    item = pick(rng, model.graph.input)
    dim = pick(rng, item.type.tensor_type.shape.dim) if item is not None else None
    if dim is not None:
        dim.dim_value = int(pick(rng, EXTREMES))


def symbolic_input_dim(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    item = pick(rng, model.graph.input)
    dim = pick(rng, item.type.tensor_type.shape.dim) if item is not None else None
    if dim is not None:
        dim.dim_param = pick(rng, ("", "batch", "a b", "x" * 5000, "ß\n", "None", "source", "batch=1"))


def input_kind(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    item = pick(rng, model.graph.input)
    if item is None:
        return
    kind = int(rng.integers(5))
    if kind == 0:
        item.type.Clear()
    elif kind == 1:
        item.type.tensor_type.ClearField("shape")
    elif kind == 2:
        item.type.tensor_type.elem_type = int(pick(rng, (0, 8, 14, 15, 24, 99, -1, 7)))
    elif kind == 3:
        item.type.CopyFrom(helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, (2,))))
    else:
        item.type.CopyFrom(helper.make_optional_type_proto(helper.make_tensor_type_proto(1, (2,))))


def many_input_dims(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    item = pick(rng, model.graph.input)
    if item is not None:
        for _ in range(int(pick(rng, (1, 5, 70, 3000)))):
            item.type.tensor_type.shape.dim.add().dim_value = int(pick(rng, (1, 1, 2, 2**31)))


def extreme_stored_dim(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    tensor = pick(rng, all_tensors(model))
    if tensor is not None and len(tensor.dims):
        tensor.dims[int(rng.integers(len(tensor.dims)))] = int(pick(rng, EXTREMES))


def many_stored_dims(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    tensor = pick(rng, all_tensors(model))
    if tensor is not None:
        tensor.dims.extend([int(pick(rng, (1, 1, 2**62)))] * int(pick(rng, (1, 70, 20000))))


def stored_type(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    tensor = pick(rng, all_tensors(model))
    if tensor is not None:
        tensor.data_type = int(pick(rng, (0, 1, 2, 7, 8, 9, 10, 14, 16, 17, 21, 22, 23, 24, 26, 99, -5)))


def stored_values(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Replace the data of a small tensor, which may be a shape, by extremes."""
    small = [
        t for t in all_tensors(model) if int(np.prod(t.dims or [1], dtype=float)) <= 16 and t.data_type in (1, 6, 7)
    ]
    tensor = pick(rng, small)
    if tensor is None:
        return
    size = int(np.prod(tensor.dims or [1]))
    if tensor.data_type == 1:
        array: Any = np.array([pick(rng, REALS) for _ in range(size)], np.float32)
    else:
        dtype = np.int64 if tensor.data_type == 7 else np.int32
        limits = np.iinfo(dtype)
        array = np.array([min(max(pick(rng, EXTREMES), limits.min), limits.max) for _ in range(size)], dtype)
    made = numpy_helper.from_array(array.reshape([max(extent, 0) for extent in tensor.dims]), tensor.name)
    tensor.CopyFrom(made)


def stored_metadata(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    tensor = pick(rng, model.graph.initializer)
    if tensor is not None:
        entry = tensor.metadata_props.add()
        entry.key, entry.value = "dse.bits", pick(rng, ("3", "", "abc", "-1", "1e9", "999999999999", "2.5", "nan", "0"))


def sparse_initializer(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Turn an initializer into a sparse one, of any claimed shape."""
    if not model.graph.initializer:
        return
    at = int(rng.integers(len(model.graph.initializer)))
    tensor = model.graph.initializer[at]
    values = numpy_helper.from_array(np.ones(1, np.float32), tensor.name)
    dims = [int(extent) for extent in tensor.dims]
    if dims and rng.integers(2):
        dims[int(rng.integers(len(dims)))] = int(pick(rng, EXTREMES))
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(np.zeros(1, np.int64)), dims)
    )
    del model.graph.initializer[at]


def string_tensor(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    tensor = pick(rng, all_tensors(model))
    if tensor is not None and len(tensor.dims) < 8:
        size = min(int(np.prod([abs(extent) for extent in tensor.dims] or [1], dtype=float)), 100)
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(np.array(["word"] * size, object), name))


def change_attribute(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    node = any_node(model, rng)
    item = pick(rng, node.attribute) if node is not None else None
    if item is None:
        return
    if item.type == AttributeProto.INT:
        item.i = int(pick(rng, EXTREMES))
    elif item.type == AttributeProto.INTS and len(item.ints):
        item.ints[int(rng.integers(len(item.ints)))] = int(pick(rng, EXTREMES))
    elif item.type == AttributeProto.FLOAT:
        item.f = float(pick(rng, REALS))
    elif item.type == AttributeProto.FLOATS and len(item.floats):
        item.floats[int(rng.integers(len(item.floats)))] = float(pick(rng, REALS))
    elif item.type == AttributeProto.STRING:
        item.s = pick(rng, (b"", b"SAME_UPPER", b"VALID", b"\xff\xfe", b"a" * 1000))
    else:
        item.type = int(pick(rng, (0, 1, 2, 3, 4, 5, 7, 13)))


def remove_attribute(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    node = any_node(model, rng)
    if node is not None and node.attribute:
        del node.attribute[int(rng.integers(len(node.attribute)))]


def add_attribute(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    node = any_node(model, rng)
    names = ("axis", "axes", "perm", "to", "group", "strides", "dilations", "kernel_shape", "pads", "keepdims", "split",
             "num_outputs", "transA", "block_size", "bits", "K", "N", "num_heads", "batch_dims", "hidden_size", "body",
             "num_scan_inputs", "new_axis", "direction", "equation", "value", "shape", "blocksize")  # fmt: skip
    if node is None:
        return
    values: tuple[Any, ...] = (
        int(pick(rng, EXTREMES)), [int(pick(rng, EXTREMES)) for _ in range(int(rng.integers(1, 6)))],
        float(pick(rng, REALS)), "ab,bc->ac", b"\xff", numpy_helper.from_array(np.array([2**40])),
    )  # fmt: skip
    node.attribute.append(helper.make_attribute(pick(rng, names), pick(rng, values)))


def change_op_type(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    node = any_node(model, rng)
    if node is not None:
        node.op_type = pick(rng, OP_TYPES)


def change_domain(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    node = any_node(model, rng)
    if node is not None:
        node.domain = pick(rng, ("", "ai.onnx", "com.microsoft", "ai.onnx.ml", "own", "acme"))
        node.op_type = pick(rng, OP_TYPES)


def rewire(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Let a node read another edge: often one that is written later, so that the graph has a circle."""
    node = any_node(model, rng)
    edges = [name for graph in all_graphs(model.graph) for item in graph.node for name in (*item.output, *item.input)]
    if node is not None and node.input and edges:
        node.input[int(rng.integers(len(node.input)))] = pick(rng, [*edges, "", "nothing"])


def change_arity(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    node = any_node(model, rng)
    if node is None:
        return
    kind = int(rng.integers(5))
    if kind == 0 and node.input:
        del node.input[int(rng.integers(len(node.input)))]
    elif kind == 1:
        node.input.append(pick(rng, [*node.input, ""]) or "")
    elif kind == 2 and node.output:
        del node.output[int(rng.integers(len(node.output)))]
    elif kind == 3:
        node.output.append(f"more_{int(rng.integers(1000))}")
    else:
        del node.input[:]


def duplicate_name(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Let two nodes, initializers or inputs have one name."""
    graph = any_graph(model, rng)
    lists: tuple[Any, ...] = (graph.node, graph.initializer, graph.input)
    chosen = pick(rng, [items for items in lists if len(items)])
    if chosen is None:
        return
    item, other = pick(rng, chosen), pick(rng, chosen)
    if hasattr(item, "op_type"):
        if item.output and other.output and rng.integers(2):
            item.output[0] = other.output[0]
        item.name = other.name
    else:
        item.name = pick(rng, (other.name, graph.node[0].output[0] if graph.node and graph.node[0].output else "x"))


def reorder(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    graph = any_graph(model, rng)
    if len(graph.node) > 1:
        a, b = (int(at) for at in rng.integers(len(graph.node), size=2))
        first, second = onnx.NodeProto(), onnx.NodeProto()
        first.CopyFrom(graph.node[a])
        second.CopyFrom(graph.node[b])
        graph.node[a].CopyFrom(second)
        graph.node[b].CopyFrom(first)


def remove_node(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    graph = any_graph(model, rng)
    if graph.node:
        del graph.node[int(rng.integers(len(graph.node)))]


def operator_set(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    kind = int(rng.integers(3))
    if kind == 0:
        del model.opset_import[:]
    elif model.opset_import:
        model.opset_import[0].version = int(pick(rng, (*EXTREMES, 6, 7, 9, 10, 11, 12, 13, 18, 21, 25)))


def self_calling_function(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Define an op type of the graph as a function that calls itself, or calls two that call each other."""
    node = any_node(model, rng)
    if node is None:
        return
    imports = [helper.make_opsetid("", 17)]
    ports = ["a"], ["out"]
    inner = [helper.make_node(node.op_type, *ports, domain=node.domain)]
    if rng.integers(2):
        inner = [
            helper.make_node("Other", ["a"], ["m"], domain="own"),
            helper.make_node("Other", ["m"], ["out"], domain="own"),
        ]
        model.functions.append(
            helper.make_function(
                "own", "Other", *ports, [helper.make_node(node.op_type, *ports, domain=node.domain)], imports
            )
        )
    model.functions.append(helper.make_function(node.domain, node.op_type, *ports, inner, imports))


STRUCTURED: dict[str, Mutation] = {
    "add attribute": add_attribute,
    "change arity": change_arity,
    "change attribute": change_attribute,
    "change domain": change_domain,
    "change op type": change_op_type,
    "duplicate name": duplicate_name,
    "extreme input dim": extreme_input_dim,
    "extreme stored dim": extreme_stored_dim,
    "input kind": input_kind,
    "many input dims": many_input_dims,
    "many stored dims": many_stored_dims,
    "operator set": operator_set,
    "remove attribute": remove_attribute,
    "remove node": remove_node,
    "reorder": reorder,
    "rewire": rewire,
    "self-calling function": self_calling_function,
    "sparse initializer": sparse_initializer,
    "stored metadata": stored_metadata,
    "stored type": stored_type,
    "stored values": stored_values,
    "string tensor": string_tensor,
    "symbolic input dim": symbolic_input_dim,
}
"""Name to mutation."""
