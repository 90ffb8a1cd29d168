"""Large graphs for timings: a decoder of the Llama 3 70B kind as exporters write it, and a BERT many times in a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["decoder", "deep_graph"]

FIXTURES = Path(__file__).parents[1] / "fixtures" / "graph_kinds"

FP16, INT64 = TensorProto.FLOAT16, TensorProto.INT64


class _Writer:
    """Nodes and stored tensors under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.stored: list[TensorProto] = []
        self.offset = 0

    def __call__(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def weight(self, name: str, *shape: int) -> str:
        """Store a tensor by its place in another file, as exporters of large models do."""
        item = TensorProto(name=name, dims=shape, data_type=FP16, data_location=TensorProto.EXTERNAL)
        length = 2 * int(np.prod(shape))
        for key, value in (("location", "model.onnx.data"), ("offset", self.offset), ("length", length)):
            item.external_data.add(key=key, value=str(value))
        self.offset += length
        self.stored.append(item)
        return name

    def shape(self, values: Sequence[int]) -> str:
        name = f"const_{len(self.stored)}"
        self.stored.append(numpy_helper.from_array(np.asarray(values, np.int64), name))
        return name


def decoder(
    layers: int = 80, width: int = 8192, heads: int = 64, groups: int = 8, inner: int = 28672, vocabulary: int = 128256
) -> onnx.ModelProto:
    """Write a decoder; the defaults are Llama 3 70B.

    Source: Grattafiori et al., The Llama 3 Herd of Models, 2024, Table 3.
    """
    g = _Writer()
    size = width // heads
    hidden = g("Gather", g.weight("embed", vocabulary, width), "input_ids")
    shape = g("Shape", "input_ids")
    batch, seq = (g("Gather", shape, g.shape([axis])) for axis in (0, 1))
    cos, sin = (g("Gather", g.weight(name, 8192, size), "position_ids") for name in ("cos", "sin"))
    cos, sin = (g("Unsqueeze", table, g.shape([1])) for table in (cos, sin))
    mask = g("Unsqueeze", g("Trilu", g("Expand", g.shape([0]), g("Concat", seq, seq, axis=0))), g.shape([0]))
    mask = g("Cast", g("Mul", mask, g.shape([-65504])), to=FP16)
    for layer in range(layers):
        x = _norm(g, hidden, f"l{layer}.norm1", width)
        q = _rotated(g, _heads(g, x, f"l{layer}.q", width, heads, size, batch, seq), cos, sin, size)
        k = _rotated(g, _heads(g, x, f"l{layer}.k", width, groups, size, batch, seq), cos, sin, size)
        v = _heads(g, x, f"l{layer}.v", width, groups, size, batch, seq)
        k, v = (_repeated(g, item, heads, groups, size, batch, seq) for item in (k, v))
        scores = g("MatMul", q, g("Transpose", k, perm=[0, 1, 3, 2]))
        scores = g("Add", g("Mul", scores, g.weight(f"l{layer}.scale", 1)), mask)
        probabilities = g("Cast", g("Softmax", g("Cast", scores, to=TensorProto.FLOAT), axis=-1), to=FP16)
        context = g("Transpose", g("MatMul", probabilities, v), perm=[0, 2, 1, 3])
        context = g("Reshape", context, g("Concat", batch, seq, g.shape([width]), axis=0))
        hidden = g("Add", hidden, g("MatMul", context, g.weight(f"l{layer}.o", width, width)))
        x = _norm(g, hidden, f"l{layer}.norm2", width)
        gate = g("MatMul", x, g.weight(f"l{layer}.gate", width, inner))
        up = g("MatMul", x, g.weight(f"l{layer}.up", width, inner))
        gated = g("Mul", g("Mul", gate, g("Sigmoid", gate)), up)
        hidden = g("Add", hidden, g("MatMul", gated, g.weight(f"l{layer}.down", inner, width)))
    logits = g("MatMul", _norm(g, hidden, "norm", width), g.weight("head", width, vocabulary))
    ports = [helper.make_tensor_value_info(name, INT64, ["batch", "seq"]) for name in ("input_ids", "position_ids")]
    graph = helper.make_graph(g.nodes, "decoder", ports, [onnx.ValueInfoProto(name=logits)], g.stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def _norm(g: _Writer, x: str, name: str, width: int) -> str:
    """Write RMSNorm: in float32, as torch does it."""
    wide = g("Cast", x, to=TensorProto.FLOAT)
    square = g("ReduceMean", g("Pow", wide, g.shape([2])), axes=[-1])
    scaled = g("Mul", wide, g("Reciprocal", g("Sqrt", g("Add", square, g.weight(f"{name}.eps", 1)))))
    return g("Mul", g("Cast", scaled, to=FP16), g.weight(name, width))


def _heads(g: _Writer, x: str, name: str, width: int, count: int, size: int, batch: str, seq: str) -> str:
    product = g("MatMul", x, g.weight(name, width, count * size))
    cut = g("Reshape", product, g("Concat", batch, seq, g.shape([count]), g.shape([size]), axis=0))
    return g("Transpose", cut, perm=[0, 2, 1, 3])


def _rotated(g: _Writer, x: str, cos: str, sin: str, size: int) -> str:
    """Write a rotary embedding: x cos + [-x2, x1] sin."""
    half = size // 2
    first = g("Slice", x, g.shape([0]), g.shape([half]), g.shape([3]))
    second = g("Slice", x, g.shape([half]), g.shape([2**63 - 1]), g.shape([3]))
    turned = g("Concat", g("Neg", second), first, axis=-1)
    return g("Add", g("Mul", x, cos), g("Mul", turned, sin))


def _repeated(g: _Writer, x: str, heads: int, groups: int, size: int, batch: str, seq: str) -> str:
    """Write repeat_kv: every group of queries reads its own copy."""
    wanted = g("Concat", batch, g.shape([groups]), g.shape([heads // groups]), seq, g.shape([size]), axis=0)
    wide = g("Expand", g("Unsqueeze", x, g.shape([2])), wanted)
    return g("Reshape", wide, g("Concat", batch, g.shape([heads]), seq, g.shape([size]), axis=0))


def deep_graph(folder: Path) -> Path:
    """Repeat the layers of the dynamic BERT fixture until the graph has about 1,700 nodes."""
    model = onnx.load(str(FIXTURES / "bert4_eager_dynamic.onnx"), load_external_data=False)
    path = folder / "deep.onnx"
    onnx.save(deepened(model), str(path))
    return path


def deepened(model: Any) -> Any:
    """Append copies of the graph to itself: the states of one copy stand in for the embeddings of the next."""
    graph, copies = model.graph, 11
    original, states = list(graph.node), graph.output[0].name
    stored, outside = {tensor.name for tensor in graph.initializer}, {item.name for item in graph.input}
    first = next(node.output[0] for node in original if node.op_type == "LayerNormalization")
    del graph.node[:]
    last = ""
    for copy in range(copies):
        names = {} if copy == copies - 1 else {name: f"{name}.{copy}" for node in original for name in node.output}
        for node in original:
            added = graph.node.add()
            added.CopyFrom(node)
            added.name = f"{node.name}.{copy}"
            added.input[:] = [
                name
                if name in stored | outside or not name
                else last
                if name == first and last
                else names.get(name, name)
                for name in node.input
            ]
            added.output[:] = [names.get(name, name) for name in node.output]
        last = names.get(states, states)
    return model
