"""Handlers of operators that make values: random numbers, identity matrices, windows, filter banks; and losses."""

from __future__ import annotations

from collections.abc import Sequence

from workloads.formats import format_code
from workloads.onnx.builder import Builder, Node, Value, index_names, plain
from workloads.onnx.dtypes import code_of_onnx
from workloads.operator import Tensor, axis

__all__ = ["bernoulli", "eye_like", "loss", "mel_weights", "multinomial", "random", "random_like", "window"]


def random(node: Node, builder: Builder) -> None:
    """RandomNormal and RandomUniform: one FLOP per value that is drawn."""
    code = code_of_onnx(node.int("dtype", 1), node.name)
    _emit(node, builder, [], builder.put(node, node.ints("shape"), code), 1)


def random_like(node: Node, builder: Builder) -> None:
    """RandomNormalLike and RandomUniformLike: the input gives the shape and is not read."""
    x = builder.value(node, 0)
    code = code_of_onnx(node.int("dtype"), node.name) if "dtype" in node.attributes else x.code
    _emit(node, builder, [], builder.put(node, x.shape, code), 1)


def bernoulli(node: Node, builder: Builder) -> None:
    """Bernoulli: a draw and a comparison per value."""
    x = builder.value(node, 0)
    code = code_of_onnx(node.int("dtype"), node.name) if "dtype" in node.attributes else x.code
    _emit(node, builder, [x], builder.put(node, x.shape, code), 2)


def multinomial(node: Node, builder: Builder) -> None:
    """Multinomial: exp and a running sum per class, then draws."""
    x = builder.value(node, 0)
    code = code_of_onnx(node.int("dtype", 6), node.name)
    output = builder.put(node, (x.shape[0], node.int("sample_size", 1)), code)
    inputs = [builder.tensor(x, (plain("i0"), plain("i1")))]
    written = [builder.tensor(output, (plain("i0"), axis(extent=output.shape[1])))]
    builder.emit(node, "reduce", {"i0": x.shape[0], "i1": x.shape[1]}, inputs, written, 2, code=x.code)


def eye_like(node: Node, builder: Builder) -> None:
    """EyeLike: it follows from the size of its input, so it is made before run time."""
    x = builder.value(node, 0)
    code = code_of_onnx(node.int("dtype"), node.name) if "dtype" in node.attributes else x.code
    builder.put(node, x.shape, code, constant=True, computed=True)
    if not builder.quiet:
        builder.folded.append(node.name)


def window(node: Node, builder: Builder) -> None:
    """HannWindow, HammingWindow, BlackmanWindow of a length that is known before run time: made once, not stored."""
    length = int(builder.known(node, 0, "length").ravel()[0])
    code = code_of_onnx(node.int("output_datatype", 1), node.name)
    builder.put(node, (length,), code, constant=True, computed=True)


def mel_weights(node: Node, builder: Builder) -> None:
    """MelWeightMatrix, [bins of the spectrum, bands]: made once, not stored."""
    bands, length = (int(builder.known(node, index, "size").ravel()[0]) for index in (0, 1))
    code = code_of_onnx(node.int("output_datatype", 1), node.name)
    builder.put(node, (length // 2 + 1, bands), code, constant=True, computed=True)


def loss(node: Node, builder: Builder) -> None:
    """SoftmaxCrossEntropyLoss (a log-softmax of every score) and NegativeLogLikelihoodLoss (one score per label)."""
    scores, labels, weights = builder.value(node, 0), builder.value(node, 1), builder.optional(node, 2)
    full = node.op_type == "SoftmaxCrossEntropyLoss"
    names = index_names(scores.rank)
    walked = [plain(name) for name in names]
    rows = [walked[0], *walked[2:]]
    shape = labels.shape if node.text("reduction", "mean") == "none" else ()
    output = builder.put(node, shape, scores.code)
    written: list[Tensor] = [builder.tensor(output, rows if shape else ())]
    if node.has(1):
        written.append(builder.tensor(builder.put(node, scores.shape, scores.code, 1), walked))
    dims = dict(zip(names, scores.shape, strict=True))
    touched = 1.0
    if not full:
        classes = dims.pop(names[1])
        walked[1], touched = axis(extent=classes), 1.0 / max(1, classes)
    inputs = [builder.tensor(scores, walked, touched), builder.tensor(labels, rows)]
    inputs += [] if weights is None else [builder.tensor(weights, (axis(extent=weights.size),))]
    kind, flops = ("softmax", 5.0) if full else ("reduce", 2.0)
    builder.emit(node, kind, dims, inputs, written, flops, code=scores.code)


def _emit(node: Node, builder: Builder, values: Sequence[Value], output: Value, flops: float) -> None:
    names = index_names(output.rank)
    axes = [plain(name) for name in names]
    builder.emit(
        node, "elementwise", dict(zip(names, output.shape, strict=True)), [builder.tensor(v, axes) for v in values],
        [builder.tensor(output, axes)], flops, code=output.code if values else format_code("fp32"),
    )  # fmt: skip
