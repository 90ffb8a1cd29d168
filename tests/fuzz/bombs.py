"""Mutations that ask for much with little: nodes whose results are gigantic, bodies in bodies, data in odd places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from tests.fuzz.structured import EXTREMES, Mutation, all_graphs, pick

__all__ = ["BOMBS", "LOCATIONS"]

HUGE = (2**20, 2**31 - 1, 2**32, 2**40, 2**62, 2**63 - 1)

LOCATIONS = (
    "data.bin", "/etc/passwd", "../secret.bin", "link.bin", "fifo", "device", "circle", "folder", "up/secret.bin", "",
    ".", "..", "folder/../../secret.bin", "C:\\secret.bin", "..\\secret.bin", "\\\\host\\share", "a" * 300, "a/" * 2000,
    "data.bin\0", "missing.bin", "./data.bin", "//etc/passwd", "~/secret", "data.bin/x",
    "\udcff".encode("utf-8", "replace").decode(),
)  # fmt: skip
"""Where external data may claim to be: good places, missing ones, and ways out of the model's folder."""


def _first_edge(model: onnx.ModelProto) -> str:
    return model.graph.input[0].name if model.graph.input else ""


def _append(
    model: onnx.ModelProto,
    op_type: str,
    inputs: Sequence[str],
    arrays: dict[str, Any],
    outputs: int = 1,
    **attributes: Any,
) -> list[str]:
    """Append a node, with its stored inputs, to the graph; give its outputs."""
    number = len(model.graph.node)
    for name, array in arrays.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), f"bomb_{number}_{name}"))
    names = [f"bomb_{number}_{name}" if name in arrays else name for name in inputs]
    results = [f"bomb_{number}_{index}" for index in range(outputs)]
    model.graph.node.append(helper.make_node(op_type, names, results, f"bomb_{number}", **attributes))
    return results


def _extent(rng: np.random.Generator) -> int:
    """Give an extent that is gigantic, odd or small: so that not every product of them is impossible."""
    return int(pick(rng, pick(rng, (HUGE, EXTREMES, (1, 2, 3), (1, 2, 8)))))


def _shape(rng: np.random.Generator) -> Any:
    return np.array([_extent(rng) for _ in range(int(rng.integers(1, 5)))], np.int64)


def gigantic_constant(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    out = _append(model, "ConstantOfShape", ["shape"], {"shape": _shape(rng)})
    _append(model, pick(rng, ("NonZero", "Neg", "Transpose", "ReduceSum", "Cast", "CumSum", "Trilu", "TopK")), out, {})


def gigantic_expand(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    source = ["one"] if rng.integers(2) else [_first_edge(model)]
    _append(model, "Expand", [*source, "shape"], {"shape": _shape(rng), "one": np.ones(1, np.float32)})


def gigantic_tile(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    _append(model, "Tile", ["one", "repeats"], {"one": np.ones((2, 2), np.float32), "repeats": _shape(rng)[:2]})


def gigantic_range(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    dtype = np.float32 if rng.integers(2) else np.int64
    limits = {name: np.array(pick(rng, EXTREMES)).astype(dtype) for name in ("a", "b", "c")}
    _append(model, "Range", list(limits), limits)


def gigantic_pad(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    _append(
        model,
        "Pad",
        ["one", "pads"],
        {"one": np.ones((2, 2), np.float32), "pads": np.array([pick(rng, EXTREMES) for _ in range(4)])},
    )


def gigantic_resize(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    arrays: dict[str, Any] = {"x": np.ones((1, 1, 2, 2), np.float32)}
    if rng.integers(2):
        arrays["scales"] = np.array([1, 1, pick(rng, (1e30, np.nan, np.inf, -1, 0)), 2], np.float32)
        _append(model, "Resize", ["x", "", "scales"], arrays)
    else:
        arrays["sizes"] = np.array([1, 1, pick(rng, EXTREMES), pick(rng, EXTREMES)])
        _append(model, "Resize", ["x", "", "", "sizes"], arrays)


def gigantic_window(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Slide a window over an input of any size, with any stride, dilation and padding."""
    item = model.graph.input.add()
    item.CopyFrom(
        helper.make_tensor_value_info(
            "bomb_x", 1, [1, 2, int(pick(rng, (7, 64, *HUGE))), int(pick(rng, (3, 3, 64, *HUGE)))]
        )
    )
    values: dict[str, Any] = {
        "kernel_shape": [int(pick(rng, (1, 3, *EXTREMES))) for _ in range(2)],
        "strides": [int(pick(rng, (1, 2, *EXTREMES))) for _ in range(2)],
        "dilations": [int(pick(rng, (1, 1, 2, *EXTREMES))) for _ in range(2)],
        "pads": [int(pick(rng, (0, 1, *EXTREMES))) for _ in range(4)],
    }
    chosen = {name: value for name, value in values.items() if name == "kernel_shape" or rng.integers(2)}
    if rng.integers(2):
        _append(model, pick(rng, ("MaxPool", "AveragePool", "LpPool")), ["bomb_x"], {}, **chosen)
    else:
        if rng.integers(2):
            del chosen["kernel_shape"]
        _append(
            model,
            pick(rng, ("Conv", "ConvTranspose")),
            ["bomb_x", "w"],
            {"w": np.ones((2, 2, 3, 3), np.float32)},
            **chosen,
        )


def gigantic_gather(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Look up many rows of a long table, twice."""
    table = _append(model, "ConstantOfShape", ["shape"], {"shape": np.array([3, int(pick(rng, HUGE))])})
    rows = _append(model, "Gather", [*table, "index"], {"index": np.zeros((64, 1000), np.int64)})
    _append(
        model,
        pick(rng, ("Gather", "GatherElements", "GatherND", "OneHot")),
        [*rows, "index"],
        {"index": np.zeros((64, 64), np.int64)},
    )


def doubling(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Double a tensor in every node: shapes, folded data, or strings."""
    if rng.integers(2):
        model.graph.initializer.append(numpy_helper.from_array(np.array(["a"], object), "bomb_s"))
        edge, op_type = "bomb_s", pick(rng, ("Add", "StringConcat", "Concat"))
    else:
        model.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.int64), "bomb_s"))
        edge, op_type = "bomb_s", pick(rng, ("Concat", "Mul", "Pow", "Add"))
    for index in range(int(pick(rng, (20, 70, 300)))):
        attributes: dict[str, Any] = {"axis": 0} if op_type == "Concat" else {}
        model.graph.node.append(
            helper.make_node(op_type, [edge, edge], [f"bomb_d{index}"], f"bomb_d{index}", **attributes)
        )
        edge = f"bomb_d{index}"
    model.graph.node.append(helper.make_node("Expand", [_first_edge(model), edge], ["bomb_end"], "bomb_end"))


def many_digits(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Cut a flat index into many digits that do not fit each other."""
    item = model.graph.input.add()
    item.CopyFrom(helper.make_tensor_value_info("bomb_v", 1, [2] * 60))
    edge = "bomb_v"
    for index in range(int(pick(rng, (1, 30)))):
        count = int(rng.integers(1, 60))
        shape = [2] * count + [2 ** (60 - count)] if rng.integers(2) else [1] * int(pick(rng, (5, 2000))) + [2**60]
        (edge,) = _append(model, "Reshape", [edge, "shape"], {"shape": np.array(shape)})
        if index % 3 == 0:
            (edge,) = _append(model, "Transpose", [edge], {})


_EQUATIONS = (
    "ij,jk->ik", "ij,kj->ik", "...ij,...jk", "i->" + "i" * 70, "abcdefgh,ijklmnop->abcdefghijklmnop", "", ",,,",
    "ii->i", "ii", "é->é", "a" * 5000, "i->i", "ij->", "bij,bjk->bik", "abc,cde->abde",
)  # fmt: skip


def einsum(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Contract tensors that are gigantic, many, or not those of the equation."""
    equation = str(pick(rng, _EQUATIONS))
    rank = len(equation.partition(",")[0].partition("-")[0]) if rng.integers(4) else int(rng.integers(1, 9))
    item = model.graph.input.add()
    item.CopyFrom(helper.make_tensor_value_info("bomb_e", 1, [_extent(rng)] * min(rank, 100)))
    _append(model, "Einsum", ["bomb_e"] * int(pick(rng, (1, 2, 2, 30))), {}, equation=equation)


def deep_branches(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Nest Ifs until the parser or the loader gives up."""
    body = helper.make_graph(
        [helper.make_node("Neg", [_first_edge(model)], ["o"])], "b", [], [onnx.ValueInfoProto(name="o")]
    )
    for _ in range(int(pick(rng, (3, 20, 28, 30)))):  # `cases` nests deeper, in bytes: a message cannot be built so
        other = helper.make_graph([helper.make_node("Exp", [_first_edge(model)], ["o"])], "e", [], list(body.output))
        node = helper.make_node("If", ["bomb_flag"], ["o"], then_branch=body, else_branch=other)
        if len(node.SerializeToString()) > 300_000:
            break
        body = helper.make_graph([node], "b", [], [onnx.ValueInfoProto(name="o")])
    model.graph.initializer.append(numpy_helper.from_array(np.array(bool(rng.integers(2))), "bomb_flag"))
    model.graph.node.append(helper.make_node("If", ["bomb_flag"], ["bomb_o"], then_branch=body, else_branch=body))


def endless_loop(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Loop very often, around a carried value that may grow, shrink or double, in loops of their own."""
    grow = pick(rng, ("Concat", "Identity", "Mul", "Expand"))
    value = helper.make_tensor_value_info("v", 1, None)
    ports = [helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("c", 9, []), value]
    known: dict[str, tuple[list[str], dict[str, Any]]] = {
        "Concat": (["v", "v"], {"axis": 0}),
        "Expand": (["v", "i"], {}),
    }
    inner = known.get(grow, (["v", "v"] if grow == "Mul" else ["v"], {}))
    nodes = [helper.make_node(grow, inner[0], ["w"], **inner[1]), helper.make_node("Identity", ["c"], ["d"])]
    body = helper.make_graph(nodes, "body", ports, [onnx.ValueInfoProto(name=name) for name in ("d", "w")])
    for _ in range(int(rng.integers(3))):
        loop = helper.make_node("Loop", ["bomb_n", "", "v"], ["w"], body=body)
        outs = [onnx.ValueInfoProto(name=name) for name in ("d", "w")]
        body = helper.make_graph([loop, helper.make_node("Identity", ["c"], ["d"])], "body", ports, outs)
    trips = pick(rng, (0, 1, 50, 10**6, 2**40, 2**63 - 1, -1))
    model.graph.initializer.append(numpy_helper.from_array(np.array(trips), "bomb_n"))
    model.graph.node.append(helper.make_node("Loop", ["bomb_n", "", _first_edge(model)], ["bomb_l"], body=body))


def doubling_functions(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Call a function that calls the one below twice, and so on down: 2^n nodes from n functions."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("bomb", 1)]
    nodes = [helper.make_node("Neg", ["a"], ["o"])]
    height = int(pick(rng, (2, 8, 12, 13, 14, 30, 49, 60, 200)))
    for level in range(height):
        model.functions.append(helper.make_function("bomb", f"F{level}", ["a"], ["o"], nodes, imports))
        calls = [(["a"], ["m"]), (["m"], ["o"])]
        nodes = [helper.make_node(f"F{level}", *ports, domain="bomb") for ports in calls]
    call = helper.make_node(f"F{height - 1}", [_first_edge(model)], ["bomb_f"], "bomb_f", domain="bomb")
    model.graph.node.append(call)


def external_place(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Keep the data of any tensor (stored, in a Constant, in a body, sparse) in any other file."""
    tensors = [tensor for graph in all_graphs(model.graph) for tensor in graph.initializer]
    tensors += [
        item.t for graph in all_graphs(model.graph) for node in graph.node for item in node.attribute
        if item.type == AttributeProto.TENSOR
    ]  # fmt: skip
    tensors += [sparse.values for sparse in model.graph.sparse_initializer]
    if not tensors or rng.integers(4) == 0:
        constant = helper.make_node(
            "Constant", [], ["bomb_c"], "bomb_c", value=numpy_helper.from_array(np.ones(2, np.int64))
        )
        model.graph.node.append(constant)
        tensors = [model.graph.node[-1].attribute[0].t]
    tensor = pick(rng, tensors)
    for name in ("raw_data", "float_data", "int64_data", "int32_data"):
        tensor.ClearField(name)
    del tensor.external_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    entries = {
        "location": pick(rng, LOCATIONS),
        "offset": pick(rng, ("0", "-1", "128", "99999999999999999999", "x", "")),
        "length": pick(rng, ("0", "8", "-8", "2", str(2**70), "1e3")),
    }
    for key, value in entries.items():
        if rng.integers(4):
            tensor.external_data.add(key=key, value=value)


BOMBS: dict[str, Mutation] = {
    "deep branches": deep_branches,
    "doubling": doubling,
    "doubling functions": doubling_functions,
    "einsum": einsum,
    "endless loop": endless_loop,
    "external place": external_place,
    "gigantic constant": gigantic_constant,
    "gigantic expand": gigantic_expand,
    "gigantic gather": gigantic_gather,
    "gigantic pad": gigantic_pad,
    "gigantic range": gigantic_range,
    "gigantic resize": gigantic_resize,
    "gigantic tile": gigantic_tile,
    "gigantic window": gigantic_window,
    "many digits": many_digits,
}
"""Name to mutation."""
