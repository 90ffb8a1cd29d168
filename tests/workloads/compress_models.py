"""Small transformers written node by node, for tests of compression: every way in which exporters store a matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from workloads import Axis, Operator, Tensor, Workload

WIDTH, HEADS, HEAD_DIM, NEURONS, VOCABULARY = 24, 4, 6, 40, 11
Linear = Literal["matmul", "gemm", "gemm_trans", "transposed"]


@dataclass(kw_only=True)
class Net:
    """Builds one model; it changes while nodes are added.

    Attributes:
        linear: How a layer stores and multiplies its matrix.
        fused: One matrix for queries, keys and values, and a Split.
        pre_norm: LayerNorm before the blocks (GPT, ViT) or after (BERT).
        gated: SwiGLU in place of up, ReLU, down.
        tied: Token inputs, and a head that reads the embedding behind a Transpose.
        shared_bias: One zero bias for all layers of a size, as exporters make it.
        half: fp16 weights and activations.
    """

    layers: int = 2
    linear: Linear = "matmul"
    fused: bool = False
    pre_norm: bool = True
    gated: bool = False
    tied: bool = False
    shared_bias: bool = False
    half: bool = False
    seed: int = 0
    nodes: list[Any] = field(default_factory=list)
    stored: dict[str, NDArray[Any]] = field(default_factory=dict)

    def build(self) -> onnx.ModelProto:
        self.rng = np.random.default_rng(self.seed)
        self.float = np.float16 if self.half else np.float32
        element = TensorProto.FLOAT16 if self.half else TensorProto.FLOAT
        if self.tied:
            given = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "seq"])
            self.store("embedding", self.rng.normal(size=(VOCABULARY, WIDTH)))
            x = self.node("Gather", ["embedding", "ids"], "x0")
        else:
            given = helper.make_tensor_value_info("x", element, ["batch", "seq", WIDTH])
            x = self.node("Mul", ["x", self.store("one", np.ones(()))], "x0")
        for layer in range(self.layers):
            x = self.layer(x, f"l{layer}")
        if self.tied:
            x = self.node("MatMul", [x, self.node("Transpose", ["embedding"], "embedding_t", perm=[1, 0])], "logits")
        size = VOCABULARY if self.tied else WIDTH
        result = helper.make_tensor_value_info(x, element, ["batch", "seq", size])
        stored = [numpy_helper.from_array(array, name) for name, array in self.stored.items()]
        graph = helper.make_graph(self.nodes, "net", [given], [result], stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)

    def layer(self, x: str, name: str) -> str:
        y = self.norm(x, f"{name}.norm1") if self.pre_norm else x
        x = self.node("Add", [x, self.attention(y, name)], f"{name}.sum1")
        x = x if self.pre_norm else self.norm(x, f"{name}.norm1")
        y = self.norm(x, f"{name}.norm2") if self.pre_norm else x
        x = self.node("Add", [x, self.feed_forward(y, name)], f"{name}.sum2")
        return x if self.pre_norm else self.norm(x, f"{name}.norm2")

    def attention(self, x: str, name: str) -> str:
        inner = HEADS * HEAD_DIM
        if self.fused:
            parts = [f"{name}.{role}" for role in "qkv"]
            joined = self.matrix(x, f"{name}.qkv", WIDTH, 3 * inner)
            sizes = self.store(f"{name}.sizes", np.array([inner] * 3))
            self.nodes.append(helper.make_node("Split", [joined, sizes], parts, f"{name}.split", axis=2))
        else:
            parts = [self.matrix(x, f"{name}.{role}", WIDTH, inner) for role in "qkv"]
        target = self.store("split_heads", np.array([0, 0, HEADS, HEAD_DIM]))
        q, k, v = (
            self.node("Transpose", [self.node("Reshape", [part, target], f"{part}.4d")], f"{part}.t", perm=perm)
            for part, perm in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True)
        )
        scores = self.node("MatMul", [q, k], f"{name}.scores")
        scaled = self.node("Mul", [scores, self.store("scale", np.array(HEAD_DIM**-0.5))], f"{name}.scaled")
        probabilities = self.node("Softmax", [scaled], f"{name}.probabilities", axis=-1)
        context = self.node("MatMul", [probabilities, v], f"{name}.context")
        moved = self.node("Transpose", [context], f"{name}.moved", perm=[0, 2, 1, 3])
        flat = self.node("Reshape", [moved, self.store("join_heads", np.array([0, 0, inner]))], f"{name}.flat")
        return self.matrix(flat, f"{name}.out", inner, WIDTH)

    def feed_forward(self, x: str, name: str) -> str:
        up = self.matrix(x, f"{name}.up", WIDTH, NEURONS)
        if not self.gated:
            return self.matrix(self.node("Relu", [up], f"{name}.relu"), f"{name}.down", NEURONS, WIDTH)
        gate = self.matrix(x, f"{name}.gate", WIDTH, NEURONS)
        swish = self.node("Mul", [gate, self.node("Sigmoid", [gate], f"{name}.sigmoid")], f"{name}.swish")
        return self.matrix(self.node("Mul", [swish, up], f"{name}.product"), f"{name}.down", NEURONS, WIDTH)

    def matrix(self, x: str, name: str, k: int, n: int) -> str:
        """Multiply with a stored [k, n] matrix and add a bias; the product's node is called like the layer."""
        weight = self.rng.normal(size=(k, n)) / np.sqrt(k)
        if self.shared_bias:
            bias = self.store(f"zero.{n}", np.zeros(n))
        else:
            bias = self.store(f"{name}.bias", self.rng.normal(size=n) / 4)
        if self.linear in ("matmul", "transposed"):
            right = self.store(f"{name}.weight", weight.T if self.linear == "transposed" else weight)
            if self.linear == "transposed":
                right = self.node("Transpose", [right], f"{name}.kn", perm=[1, 0])
            return self.node("Add", [self.node("MatMul", [x, right], name), bias], f"{name}.biased")
        trans = self.linear == "gemm_trans"
        right = self.store(f"{name}.weight", weight.T if trans else weight)
        flat = self.node("Reshape", [x, self.store(f"rows.{k}", np.array([-1, k]))], f"{name}.rows")
        product = self.node("Gemm", [flat, right, bias], name, transB=int(trans))
        leading = self.node("Shape", [x], f"{name}.leading", start=0, end=2)
        shape = self.node("Concat", [leading, self.store(f"size.{n}", np.array([n]))], f"{name}.target", axis=0)
        return self.node("Reshape", [product, shape], f"{name}.3d")

    def norm(self, x: str, name: str) -> str:
        scale = self.store(f"{name}.scale", self.rng.uniform(0.5, 1.5, WIDTH))
        bias = self.store(f"zero.{WIDTH}", np.zeros(WIDTH))  # the bias that the matrices share too
        return self.node("LayerNormalization", [x, scale, bias], name, axis=-1)

    def store(self, name: str, array: NDArray[Any]) -> str:
        self.stored[name] = np.asarray(array, dtype=self.float if array.dtype.kind == "f" else np.int64)
        return name

    def node(self, op_type: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op_type, inputs, [output], output, **attributes))
        return output


NETS: Mapping[str, Mapping[str, Any]] = {
    "pre-norm": {},
    "post-norm, one zero bias": {"pre_norm": False, "shared_bias": True},
    "fused qkv Gemm and Split, tied head": {"linear": "gemm", "fused": True, "tied": True},
    "SwiGLU, Gemm transB": {"linear": "gemm_trans", "gated": True},
    "weights behind Transpose, one zero bias": {"linear": "transposed", "shared_bias": True},
    "fp16": {"half": True},
}


def feeds(model: onnx.ModelProto, batch: int = 2, seq: int = 5, seed: int = 1) -> dict[str, NDArray[Any]]:
    """Make random inputs."""
    rng = np.random.default_rng(seed)
    (given,) = model.graph.input
    if given.name == "ids":
        return {"ids": rng.integers(0, VOCABULARY, (batch, seq))}
    sizes = [dim.dim_value for dim in given.type.tensor_type.shape.dim]
    shape = [batch, *sizes[1:]] if sizes[1] else [batch, seq, *sizes[2:]]
    element = np.float16 if given.type.tensor_type.elem_type == TensorProto.FLOAT16 else np.float32
    return {given.name: rng.normal(size=shape).astype(element)}


def run(model: onnx.ModelProto, inputs: Mapping[str, NDArray[Any]], *, optimized: bool = False) -> NDArray[Any]:
    """Run a model in ONNX Runtime on one thread; by default node by node, as it is written."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, dict(inputs))[0], dtype=np.float64)


def signatures(workload: Workload) -> Counter[Hashable]:
    """Count the operators by what they cost: dims of one, which exporters write or leave out, do not matter."""
    return Counter(map(_canonical, workload))


def _canonical(op: Operator) -> Hashable:
    kept = [name for name, size in op.dims.items() if size != 1]
    names = {name: f"d{number}" for number, name in enumerate(kept)}

    def axis(item: Axis) -> Hashable:
        terms = tuple((factor, names[name]) for factor, name in item.terms if name in names)
        extent = None if item.extent is None else float(item.extent)
        return (terms, item.offset, extent) if terms else (None if extent == 1 else extent)

    def tensor(item: Tensor) -> Hashable:
        widths = (item.bits, item.format, item.density, item.overhead_bits, item.pattern, item.touched)
        return (tuple(map(axis, item.axes)), item.role, widths)

    numbers = (op.flops_per_point, op.format, op.acc_bits, op.count)
    dims = tuple((names[name], op.dims[name]) for name in kept)
    return (op.kind, dims, numbers, tuple(map(tensor, op.inputs)), tuple(map(tensor, op.outputs)))


def tensors(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Read every stored tensor."""
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def dequantized_reference(model: onnx.ModelProto, applied: onnx.ModelProto) -> onnx.ModelProto:
    """Put the values that the applied model's integers stand for back into the untouched graph.

    The integers are unpacked here by their documented layout, bit by bit, not by the code under test.
    """
    reference = onnx.ModelProto()
    reference.CopyFrom(model)
    changed = {node.name: node for node in applied.graph.node}
    for node in reference.graph.node:
        if node.op_type not in ("MatMul", "Gemm") or node.name not in changed:
            continue
        matrix = _stored_values(applied, changed[node.name])
        if matrix is None:
            continue
        transposed = any(item.name == "transB" and item.i for item in node.attribute)
        name = f"{node.name}:reference"
        reference.graph.initializer.append(numpy_helper.from_array(matrix.T.copy() if transposed else matrix, name))
        node.input[1] = name
    return reference


def _stored_values(model: onnx.ModelProto, node: Any) -> NDArray[Any] | None:
    stored = tensors(model)
    nodes = {output: item for item in model.graph.node for output in item.output}
    if node.op_type == "MatMulNBits":
        return unpacked_blocks(stored[node.input[1]], stored[node.input[2]], _attributes(node))
    if node.op_type == "MatMulInteger":
        scaling = next(item for item in model.graph.node if item.name == f"{node.name}:scale")
        scale = stored[scaling.input[1]]
        return np.asarray(stored[node.input[1]].astype(scale.dtype) * scale)
    source = nodes.get(node.input[1])
    if source is None or source.op_type != "DequantizeLinear":
        return None
    integers, scale = stored[source.input[0]], stored[source.input[1]]
    axis = _attributes(source).get("axis", 1)
    spread = scale if scale.ndim == 0 or axis == 1 else scale[:, None]
    values = np.asarray(integers.astype(np.int8).astype(scale.dtype) * spread)
    return values.T.copy() if _attributes(node).get("transB") else values


def unpacked_blocks(blobs: NDArray[Any], scales: NDArray[Any], attributes: Mapping[str, Any]) -> NDArray[Any]:
    """Unpack MatMulNBits weights: [n, blocks, bytes], low bits first, zero point 2^(bits-1).

    Source: ONNX Runtime contributed operators, com.microsoft.MatMulNBits.
    """
    k, n, bits, block = (attributes[name] for name in ("K", "N", "bits", "block_size"))
    values = np.zeros((k, n), dtype=scales.dtype)
    per_byte = 8 // bits
    for column in range(n):
        for row in range(k):
            inside = row % block
            byte = int(blobs[column, row // block, inside // per_byte])
            integer = (byte >> (inside % per_byte * bits)) % 2**bits - 2 ** (bits - 1)
            values[row, column] = integer * scales.reshape(n, -1)[column, row // block]
    return values


def _attributes(node: Any) -> dict[str, Any]:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}
