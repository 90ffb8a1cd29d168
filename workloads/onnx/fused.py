"""Handlers of element-wise operators that runtimes fuse: biases, residuals, gates, activation functions, norms."""

from __future__ import annotations

from collections.abc import Sequence

from workloads.errors import WorkloadError
from workloads.formats import format_code
from workloads.onnx.builder import Builder, Node, Value, broadcast_axes, index_names, plain
from workloads.onnx.elementwise import broadcast_shape
from workloads.onnx.products import emit_matmul, matmul_shape
from workloads.opcounts import ACTIVATIONS, NORMS
from workloads.operator import Axis, Tensor, axis

__all__ = [
    "bias_add",
    "bias_dropout",
    "bias_softmax",
    "bias_split_gelu",
    "biased_activation",
    "bitmask_dropout",
    "branchwise_rms_norm",
    "complex_product",
    "gated_add",
    "gated_rms_norm",
    "linear_attention_gate",
    "router_gate_up",
    "swiglu",
]

_ADDED = {"BiasGelu": ACTIVATIONS["Gelu"], "FastGelu": ACTIVATIONS["FastGelu"]}


def biased_activation(node: Node, builder: Builder) -> None:
    """BiasGelu and FastGelu: an activation function, of a sum where there is a bias."""
    x, bias = builder.value(node, 0), builder.optional(node, 1)
    flops = _ADDED[node.op_type] + (bias is not None)
    _emit(node, builder, "gelu", [x] if bias is None else [x, bias], [builder.put(node, x.shape, x.code)], flops)


def bias_add(node: Node, builder: Builder) -> None:
    """BiasAdd: input, bias and residual, summed."""
    values = [builder.value(node, index) for index in range(3)]
    _emit(node, builder, "elementwise", values, [builder.put(node, values[0].shape, values[0].code)], 2)


def bias_softmax(node: Node, builder: Builder) -> None:
    """BiasSoftmax: softmax(scores + bias)."""
    x, bias = builder.value(node, 0), builder.value(node, 1)
    _emit(node, builder, "softmax", [x, bias], [builder.put(node, x.shape, x.code)], 6)


def bias_split_gelu(node: Node, builder: Builder) -> None:
    """BiasSplitGelu: after the bias, the left half times Gelu of the right half."""
    x, bias = builder.value(node, 0), builder.value(node, 1)
    output = builder.put(node, (*x.shape[:-1], x.shape[-1] // 2), x.code)
    _emit(node, builder, "gelu", [x, bias], [output], 2 + ACTIVATIONS["Gelu"] + 1)


def bias_dropout(node: Node, builder: Builder) -> None:
    """BiasDropout and BitmaskBiasDropout at inference: input, bias and perhaps a residual, summed."""
    values = [value for value in (builder.optional(node, index) for index in range(3)) if value is not None]
    output = builder.put(node, values[0].shape, values[0].code)
    _emit(node, builder, "elementwise", values, [output], len(values) - 1)
    _mask(node, builder, output)


def bitmask_dropout(node: Node, builder: Builder) -> None:
    """BitmaskDropout at inference: a copy."""
    x = builder.value(node, 0)
    output = builder.put(node, x.shape, x.code)
    _emit(node, builder, "view", [x], [output], 0)
    _mask(node, builder, output)


def _mask(node: Node, builder: Builder, output: Value) -> None:
    """Put the mask of a dropout: unused at inference."""
    if node.has(1) and node.op_type.startswith("Bitmask"):
        builder.put(node, (-(-output.size // 32),), format_code("uint32"), 1, constant=True)
    elif node.has(1):
        builder.put(node, output.shape, format_code("bool"), 1, constant=True)


def swiglu(node: Node, builder: Builder) -> None:
    """SwiGLU: Swish of the gate, times the other half; clamped where com.microsoft's has a limit.

    Source: Shazeer, GLU Variants Improve Transformer, 2020.
    """
    gate, up = builder.value(node, 0), builder.optional(node, 1)
    shape = gate.shape if up is not None else (*gate.shape[:-1], gate.shape[-1] // 2)
    flops = ACTIVATIONS["Swish"] + 1 + 3 * (node.float("limit") > 0) + (node.float("activation_beta") != 0)
    values = [gate] if up is None else [gate, up]
    _emit(node, builder, "activation", values, [builder.put(node, shape, gate.code)], flops)


def gated_rms_norm(node: Node, builder: Builder) -> None:
    """GatedRMSNorm: RMS norm of each head, times an activation of the gate."""
    x, scale, gate = (builder.value(node, index) for index in range(3))
    function = "Sigmoid" if node.text("activation", "silu") == "sigmoid" else "Swish"
    flops = NORMS["RMSNormalization"] + ACTIVATIONS[function] + 1
    _emit(node, builder, "norm", [x, gate, scale], [builder.put(node, x.shape, x.code)], flops)


def branchwise_rms_norm(node: Node, builder: Builder) -> None:
    """BranchwiseRMSNorm: RMS norm of each branch."""
    x, scale = builder.value(node, 0), builder.optional(node, 1)
    flops = NORMS["RMSNormalization"] - (scale is None)
    values = [x] if scale is None else [x, scale]
    _emit(node, builder, "norm", values, [builder.put(node, x.shape, x.code)], flops)


def linear_attention_gate(node: Node, builder: Builder) -> None:
    """LinearAttentionGate: scale x Softplus(a + bias), and Sigmoid(b)."""
    a, bias, scale = (builder.value(node, index) for index in range(3))
    b = builder.optional(node, 3)
    outputs, flops = [builder.put(node, a.shape, a.code)], 2 + ACTIVATIONS["Softplus"]
    if node.has(1):
        outputs.append(builder.put(node, a.shape, a.code, 1))
        flops += ACTIVATIONS["Sigmoid"]
    values = [a, *([b] if b is not None else []), bias, scale]
    _emit(node, builder, "activation", values, outputs, flops)


def gated_add(node: Node, builder: Builder) -> None:
    """GatedAdd: X + gate x Y; with a gate weight the gate is the sigmoid of a projection.

    Raises:
        WorkloadError: The gate is neither a column nor a matrix of rows to project.
    """
    x, y, gate = (builder.value(node, index) for index in range(3))
    weight = builder.optional(node, 3)
    output = builder.put(node, x.shape, x.code)
    start = len(builder.operators)
    flops = 2.0
    if weight is not None:
        column = builder.inner(node, "gate", matmul_shape(node, gate.shape, weight.shape), gate.code)
        emit_matmul(node, builder, gate, weight, column, code=builder.pair_format(gate, weight), suffix=":gate")
        gate, flops = column, flops + ACTIVATIONS["Sigmoid"] / max(1, x.shape[-1])  # of one value per row
    if gate.shape != (*x.shape[:-1], 1):
        raise WorkloadError(f"node {node.name!r} (GatedAdd): a gate of shape {gate.shape} for rows of {x.shape}")
    _emit(node, builder, "elementwise", [x, y, gate], [output], flops)
    builder.fuse(node, start)


def router_gate_up(node: Node, builder: Builder) -> None:
    """RouterGateUpProj: one product whose columns are router logits, gate and up; SwiGLU of the latter two."""
    x, w = builder.value(node, 0), builder.value(node, 1)
    shape, router = matmul_shape(node, x.shape, w.shape), node.int("router_size")
    inner = (shape[-1] - router) // 2
    start = len(builder.operators)
    product = builder.inner(node, "product", shape, x.code)
    emit_matmul(node, builder, x, w, product, code=builder.pair_format(x, w), suffix=":product")
    outputs = [builder.put(node, (*shape[:-1], router), x.code), builder.put(node, (*shape[:-1], inner), x.code, 1)]
    names = index_names(len(shape))
    rows = [plain(name) for name in names[:-1]]
    dims = dict(zip(names, (*shape[:-1], inner), strict=True))
    results = [builder.tensor(outputs[0], [*rows, axis(extent=router)])]
    results.append(builder.tensor(outputs[1], [*rows, plain(names[-1])]))
    inputs = [builder.tensor(product, [*rows, axis(extent=shape[-1])])]
    flops = ACTIVATIONS["Swish"] + 1
    builder.emit(node, "activation", dims, inputs, results, flops, code=x.code, suffix=":activation", op_type="SwiGLU")
    builder.fuse(node, start)


def complex_product(node: Node, builder: Builder) -> None:
    """ComplexMul and ComplexMulConj: the last axis holds real and imaginary part; six FLOPs per complex product."""
    a, b = builder.value(node, 0), builder.value(node, 1)
    output = builder.put(node, broadcast_shape(node, [a.shape, b.shape]), a.code)
    _emit(node, builder, "elementwise", [a, b], [output], 3)


def _emit(
    node: Node, builder: Builder, kind: str, values: Sequence[Value], outputs: Sequence[Value], flops: float
) -> None:
    """Emit an operator over the points of its first output; operands broadcast against it, or are read whole."""
    shape = outputs[0].shape
    names = index_names(len(shape))

    def read(value: Value) -> Tensor:
        fits = value.rank <= len(shape) and all(
            extent in (1, size) for extent, size in zip(value.shape[::-1], shape[::-1], strict=False)
        )
        if fits:
            return builder.tensor(value, broadcast_axes(value.shape, names, shape))
        alike = value.rank == len(shape)
        axes: list[Axis] = [
            plain(name) if alike and extent == size else axis(extent=extent)
            for name, extent, size in zip(names, value.shape, shape, strict=False)
        ]
        return builder.tensor(value, axes + [axis(extent=extent) for extent in value.shape[len(axes) :]])

    written = [plain(name) for name in names]
    builder.emit(
        node,
        kind,
        dict(zip(names, shape, strict=True)),
        [read(value) for value in values],
        [builder.tensor(output, written) for output in outputs],
        flops,
        code=values[0].code,
    )
