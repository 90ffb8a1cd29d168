"""Handlers of recurrent layers: LSTM, GRU, RNN, and the LSTM with 8-bit weights.

A layer is three operators of one kernel: the product of all inputs with the weights of the gates, the product of the
states with the recurrent weights (the nest has all steps), and the element-wise cell. States stay on chip between
steps, and the recurrent weights are read once: a device whose memories cannot hold them pays more.

Source: ONNX operator specification, LSTM 22, GRU 22, RNN 22: equations, layouts, shapes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from workloads.errors import WorkloadError
from workloads.formats import FORMATS
from workloads.onnx.builder import Builder, Node, Value, plain
from workloads.opcounts import ACTIVATIONS
from workloads.operator import Axis, Tensor, axis

__all__ = ["recurrent"]

# Per hidden value. Sums of gates: input + recurrent, one each. LSTM: three sigmoids, two tanh, c = f c + i g, h = o
# tanh(c). GRU: two sigmoids, a tanh, r (R h), h = (1 - z) g + z h. RNN: a tanh.
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_CELL = {
    "LSTM": 4 + 3 * ACTIVATIONS["Sigmoid"] + 2 * ACTIVATIONS["Tanh"] + 3 + 1,
    "GRU": 3 + 2 * ACTIVATIONS["Sigmoid"] + ACTIVATIONS["Tanh"] + 1 + 4,
    "RNN": 1 + ACTIVATIONS["Tanh"],
}


@dataclass(frozen=True, slots=True)
class _Layer:
    """The sizes of a layer, and the layout of its tensors."""

    kind: str
    length: int
    batch: int
    directions: int
    hidden: int
    batch_first: bool
    transposed: bool

    def steps(self, last: Axis) -> tuple[Axis, ...]:
        """Give the axes of [length, batch, x], or batch first."""
        order = ("b0", "t") if self.batch_first else ("t", "b0")
        return (*map(plain, order), last)

    def states(self) -> tuple[Axis, ...]:
        """Give the axes of [directions, batch, hidden], or batch first."""
        order = ("b0", "d", "n") if self.batch_first else ("d", "b0", "n")
        return tuple(map(plain, order))

    def weights(self) -> tuple[Axis, ...]:
        """Give the axes of [directions, gates, k]; the 8-bit ones are stored [directions, k, gates]."""
        return tuple(map(plain, ("d", "k", "n") if self.transposed else ("d", "n", "k")))


def recurrent(node: Node, builder: Builder) -> None:
    """LSTM, GRU, RNN and DynamicQuantizeLSTM; sequence lengths are an upper bound: every step counts."""
    layer = _layer(node, builder)
    x, w, r = builder.value(node, 0), _stored(node, builder, 1), _stored(node, builder, 2)
    gates = _GATES[layer.kind] * layer.hidden
    start = len(builder.operators)
    outer = {"d": layer.directions, "t": layer.length, "b0": layer.batch}
    shape = (*outer.values(), gates)
    walked = (plain("d"), plain("t"), plain("b0"), plain("n"))
    code = x.code
    entered = builder.inner(node, "inputs", shape, code)
    inputs = [builder.tensor(x, layer.steps(plain("k"))), builder.tensor(w, layer.weights())]
    inputs += [builder.tensor(bias, (plain("d"), axis(extent=bias.shape[1])))
               for bias in [builder.optional(node, 3)] if bias is not None]  # fmt: skip
    width = x.shape[2]
    builder.emit(node, "matmul", outer | {"n": gates, "k": width}, inputs, [builder.tensor(entered, walked)], 2,
                 code=code, suffix=":inputs", op_type="MatMul")  # fmt: skip
    recalled = builder.inner(node, "states", shape, code)
    first = builder.optional(node, 5)
    inputs = [builder.tensor(entered, walked), builder.tensor(r, layer.weights())]
    inputs += [] if first is None else [builder.tensor(first, _initial(layer, "k"))]
    builder.emit(node, "matmul", outer | {"n": gates, "k": layer.hidden}, inputs, [builder.tensor(recalled, walked)], 2,
                 code=code, suffix=":states", op_type="MatMul")  # fmt: skip
    _emit_cell(node, builder, layer, recalled, outer)
    builder.fuse(node, start)


def _layer(node: Node, builder: Builder) -> _Layer:
    x, r = builder.value(node, 0), builder.value(node, 2)
    quantized = node.op_type == "DynamicQuantizeLSTM"
    kind = "LSTM" if quantized else node.op_type
    batch_first = bool(node.int("layout"))
    hidden = node.int("hidden_size", r.shape[1 if quantized else 2])
    wanted = 2 if node.text("direction", "forward") == "bidirectional" else 1
    gates = r.shape[2 if quantized else 1]
    if x.rank != 3 or r.rank != 3 or r.shape[0] != wanted or gates != _GATES[kind] * hidden:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): input {x.shape} and recurrent weights {r.shape} do not fit "
            f"{wanted} direction(s) of {hidden} hidden values"
        )
    length, batch = x.shape[1::-1] if batch_first else x.shape[:2]
    return _Layer(kind, length, batch, wanted, hidden, batch_first, quantized)


def _stored(node: Node, builder: Builder, index: int) -> Value:
    """Give a weight; the scales and zero points of an 8-bit one are its overhead."""
    weight = builder.value(node, index)
    if node.op_type != "DynamicQuantizeLSTM":
        return weight
    scales = [builder.value(node, 8 + 2 * (index - 1) + offset) for offset in (0, 1)]
    extra = sum(scale.size * FORMATS[scale.code].bits for scale in scales) / max(1, weight.size)
    return replace(weight, overhead_bits=weight.overhead_bits + extra)


def _initial(layer: _Layer, feature: str) -> tuple[Axis, ...]:
    """Give the axes of an initial state, [directions, batch, hidden]."""
    return tuple(plain(feature) if item == plain("n") else item for item in layer.states())


def _emit_cell(node: Node, builder: Builder, layer: _Layer, sums: Value, outer: dict[str, int]) -> None:
    """Emit the element-wise part, which writes what the graph wants of outputs and last states."""
    dims = outer | {"n": layer.hidden}
    sequence = (layer.batch, layer.length, layer.directions) if layer.batch_first else (
        layer.length, layer.directions, layer.batch
    )  # fmt: skip
    order = ("b0", "t", "d", "n") if layer.batch_first else ("t", "d", "b0", "n")
    last = (layer.batch, layer.directions) if layer.batch_first else (layer.directions, layer.batch)
    code = builder.value(node, 0).code
    outputs: list[Tensor] = []
    if node.has(0):
        output = builder.put(node, (*sequence, layer.hidden), code)
        outputs.append(builder.tensor(output, tuple(map(plain, order))))
    for index in (1, 2):
        if node.has(index):
            state = builder.put(node, (*last, layer.hidden), code, index)
            outputs.append(builder.tensor(state, layer.states()))
    inputs = [builder.tensor(sums, (plain("d"), plain("t"), plain("b0"), axis(extent=sums.shape[3])))]
    lengths, cell = builder.optional(node, 4), builder.optional(node, 6) if layer.kind == "LSTM" else None
    peepholes = builder.optional(node, 7) if layer.kind == "LSTM" else None
    inputs += [] if cell is None else [builder.tensor(cell, _initial(layer, "n"))]
    inputs += [builder.tensor(value, [axis(extent=extent) for extent in value.shape])
               for value in (lengths, peepholes) if value is not None]  # fmt: skip
    flops = _CELL[layer.kind] + (6 if peepholes is not None else 0)
    builder.emit(node, "elementwise", dims, inputs, outputs, flops, code=code, suffix=":cell", op_type=node.op_type)
