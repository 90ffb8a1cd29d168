"""Small ONNX graphs to time: one kernel, or a chain of equal ones.

Constants sit in initializers, as in real models, because ONNX Runtime packs the weights of a product only then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

__all__ = ["Array", "Graph", "Part", "chain", "ffn_stack", "product", "single", "stored"]

Array = NDArray[Any]

OPSET = 20  # the first with Gelu
IR_VERSION = 10  # the newest that ONNX Runtime 1.20 reads
MICROSOFT = "com.microsoft"

_CONTRIBUTED = {"MatMulNBits", "FastGelu", "QuickGelu", "SkipLayerNormalization", "BiasGelu"}


@dataclass(frozen=True, slots=True)
class Part:
    """One node of a chain: its op type, attributes, and the constants that follow its data input."""

    op_type: str
    constants: tuple[Array, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    residual: bool = False  # the chain's own input is the second input


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A model and the inputs to run it with."""

    model: onnx.ModelProto
    feeds: Mapping[str, Array]


def single(
    op_type: str, arrays: Sequence[Array | None], constant: Sequence[int] = (), outputs: int = 1, **attributes: Any
) -> Graph:
    """Build a model of one node.

    Args:
        op_type: In the default domain, or one of ONNX Runtime's own.
        arrays: Inputs in order; None leaves an optional one out.
        constant: Positions of the inputs that are initializers; the rest are fed.
        outputs: Number of outputs.
        **attributes: Of the node.

    Example:
        >>> graph = single("Add", [np.ones(3, np.float32), np.ones(3, np.float32)], constant=[1])
        >>> sorted(graph.feeds)
        ['x0']
    """
    from onnx import helper

    names = ["" if array is None else f"x{position}" for position, array in enumerate(arrays)]
    results = [f"y{position}" for position in range(outputs)]
    node = helper.make_node(op_type, names, results, domain=MICROSOFT if op_type in _CONTRIBUTED else "", **attributes)
    fixed = {
        names[position]: array for position, array in enumerate(arrays) if array is not None and position in constant
    }
    fed = {name: array for name, array in zip(names, arrays, strict=True) if array is not None and name not in fixed}
    return Graph(_model([node], fed, fixed, results), fed)


def chain(parts: Sequence[Part], start: Array) -> Graph:
    """Build a model of nodes in a row, each reading the one before.

    Example:
        >>> len(chain([Part("Neg"), Part("Abs")], np.ones(4, np.float32)).model.graph.node)
        2
    """
    from onnx import helper

    nodes, fixed = [], {}
    for position, part in enumerate(parts):
        names = [f"x{position}", *(["x0"] if part.residual else [])]
        for number, array in enumerate(part.constants):
            names.append(f"c{position}_{number}")
            fixed[names[-1]] = array
        nodes.append(helper.make_node(part.op_type, names, [f"x{position + 1}"], **part.attributes))
    return Graph(_model(nodes, {"x0": start}, fixed, [f"x{len(parts)}"]), {"x0": start})


def product(m: int, k: int, n: int, kind: str, rng: np.random.Generator) -> Graph:
    """Build one matrix product [m, k] x [k, n] with a stored second operand.

    Args:
        m: Rows.
        k: Summed over.
        n: Columns.
        kind: "fp32" (MatMul), "int8" (MatMulInteger, uint8 by int8), "int4" (MatMulNBits, groups of 32).
        rng: For the values.
    """
    if kind == "int8":
        left = rng.integers(0, 256, (m, k)).astype(np.uint8)
        right = rng.integers(-127, 128, (k, n)).astype(np.int8)
        return single("MatMulInteger", [left, right], [1])
    rows = rng.standard_normal((m, k), dtype=np.float32)
    if kind == "int4":
        groups = -(-k // 32)
        packed = rng.integers(0, 256, (n, groups, 16)).astype(np.uint8)
        scales = np.full((n, groups), 0.01, np.float32)
        return single("MatMulNBits", [rows, packed, scales], [1, 2], K=k, N=n, bits=4, block_size=32)
    return single("MatMul", [rows, rng.standard_normal((k, n), dtype=np.float32)], [1])


def ffn_stack(rows: int, width: int, layers: int, dynamic_int8: bool, rng: np.random.Generator) -> Graph:
    """Build feed-forward products [rows, d] x [d, 4 d] x [4 d, d] in a row, each layer with weights of its own.

    Args:
        rows: Tokens.
        width: d.
        layers: Each has 8 d^2 weights; enough of them, and they come from memory and not from a cache.
        dynamic_int8: Quantize activations at run time and multiply in int8: the nodes that
            `workloads.compress.Quantize(activation_bits=8)` writes.
        rng: For the values.
    """
    from onnx import helper

    nodes: list[Any] = []
    fixed: dict[str, Array] = {}
    name = "x0"
    for position in range(2 * layers):
        shape = (width, 4 * width) if position % 2 == 0 else (4 * width, width)
        weight, result = f"w{position}", f"x{position + 1}"
        if dynamic_int8:
            fixed[weight] = rng.integers(-127, 128, shape, dtype=np.int8)
            fixed[f"{weight}s"] = np.full(shape[1], 1e-3, np.float32)
            inner = [f"{result}{letter}" for letter in "qszifp"]
            quantized, scale, zero, sums, floats, scales = inner
            nodes += [
                helper.make_node("DynamicQuantizeLinear", [name], [quantized, scale, zero]),
                helper.make_node("MatMulInteger", [quantized, weight, zero], [sums]),
                helper.make_node("Cast", [sums], [floats], to=1),
                helper.make_node("Mul", [scale, f"{weight}s"], [scales]),
                helper.make_node("Mul", [floats, scales], [result]),
            ]
        else:
            fixed[weight] = rng.standard_normal(shape, dtype=np.float32) / np.float32(np.sqrt(shape[0]))
            nodes.append(helper.make_node("MatMul", [name, weight], [result]))
        name = result
    start = rng.standard_normal((rows, width), dtype=np.float32)
    return Graph(_model(nodes, {"x0": start}, fixed, [name]), {"x0": start})


def stored(
    rows: Array, k: int, n: int, bits: int, rng: np.random.Generator, scale: Literal["channel", "tensor"] = "channel"
) -> Graph:
    """Build a product with a stored integer weight, in the nodes that `workloads.compress.Quantize` writes.

    Args:
        rows: Left operand, shape (..., k).
        k: Summed over.
        n: Columns.
        bits: Of the container: 4 or 8.
        rng: For the values.
        scale: One per column, or one.
    """
    from onnx import TensorProto, helper

    top = 2 ** (bits - 1) - 1
    weight = rng.integers(-top, top + 1, (k, n), dtype=np.int8)
    scales = np.full(n if scale == "channel" else (), 0.01, np.float32)
    along: dict[str, Any] = {"axis": 1} if scale == "channel" else {}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["floats"], domain=MICROSOFT, **along),
        helper.make_node("MatMul", ["x0", "floats"], ["y0"]),
    ]
    model = _model(nodes, {"x0": rows}, {"w": weight, "s": scales}, ["y0"])
    if bits == 4:
        packed = helper.make_tensor("w", TensorProto.INT4, (k, n), weight.ravel().tolist())
        model.graph.initializer[0].CopyFrom(packed)
    return Graph(model, {"x0": rows})


def _model(
    nodes: Sequence[Any], fed: Mapping[str, Array], fixed: Mapping[str, Array], results: Sequence[str]
) -> onnx.ModelProto:
    from onnx import helper, numpy_helper

    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in fed.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in results]
    stored = [numpy_helper.from_array(array, name) for name, array in fixed.items()]
    graph = helper.make_graph(list(nodes), "kernel", inputs, outputs, stored)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
