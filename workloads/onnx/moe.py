"""Handlers of mixtures of experts: MoE and QMoE of com.microsoft.

Every token runs through k of E experts, so t tokens cost t k experts. How many distinct experts they touch, and so how
much weight is read, depends on the routing. With uniform independent routing an expert is missed by a token with
probability 1 - k/E, so the expected fraction that is touched is 1 - (1 - k/E)^t: it is `Tensor.touched`.

Two kernels after the routing: the first product with its activation, the second with the weighted sum of the experts.

Source: Shazeer et al., Outrageously Large Neural Networks, 2017 (top-k routing); ONNX Runtime, documentation of the
contributed operators (ContribOperators.md): layouts of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from workloads.errors import WorkloadError
from workloads.formats import FORMATS, format_code, integer_code
from workloads.onnx.builder import Builder, Node, Value, plain
from workloads.opcounts import ACTIVATIONS
from workloads.operator import Axis, axis

__all__ = ["moe", "quantized_moe", "touched_fraction"]

# Op type and FLOPs per value of the activation: gated ones also multiply by the second half. geglu: the tanh form.
_ACTIVATION: dict[str, tuple[str, float]] = {
    "gelu": ("Gelu", ACTIVATIONS["Gelu"]),
    "geglu": ("GeGLU", ACTIVATIONS["FastGelu"] + 1),
    "identity": ("Identity", 0.0),
    "relu": ("Relu", ACTIVATIONS["Relu"]),
    "relu2": ("Relu", ACTIVATIONS["Relu"] + 1),
    "silu": ("Swish", ACTIVATIONS["Swish"]),
    "swiglu": ("SwiGLU", ACTIVATIONS["Swish"] + 1),
}
_QUANTIZED_FLOATS = {"fp4": "fp4_e2m1", "nvfp4": "fp4_e2m1", "wfp4afp8": "fp4_e2m1", "fp8": "fp8_e4m3"}


def touched_fraction(tokens: int, chosen: int, experts: int) -> float:
    """Give the expected fraction of the experts that some token is routed to, if routing is uniform.

    Example:
        >>> touched_fraction(1, 2, 8), touched_fraction(10_000, 2, 8)
        (0.25, 1.0)
    """
    return float(1.0 - (1.0 - chosen / experts) ** tokens)


@dataclass(frozen=True, slots=True)
class _Layer:
    """The sizes of one mixture, and the axes of its tokens."""

    outer: dict[str, int]
    experts: int
    chosen: int
    touched: float
    width: int
    code: int

    @property
    def tokens(self) -> tuple[Axis, ...]:
        return tuple(map(plain, self.outer))

    @property
    def flat(self) -> Axis:
        """The axis of a tensor with one row per token."""
        return plain("m") if "b0" not in self.outer else axis((self.outer["m"], "b0"), "m")

    def inner(self, node: Node, builder: Builder, part: str, size: int) -> Value:
        """Name a tensor with a row per token and chosen expert."""
        return builder.inner(node, part, (*self.outer.values(), self.chosen, size), self.code)


@dataclass(frozen=True, slots=True)
class _Matrix:
    """The stored matrices of all experts, [experts, n, k] or, in older files, [experts, k, n]; and their biases."""

    value: Value
    n: int
    k: int
    axes: tuple[Axis, ...]
    bias: Value | None


def moe(node: Node, builder: Builder) -> None:
    """MoE: float experts."""
    layer = _layer(node, builder)
    first = _matrix(node, builder, layer.width, 2, 3)
    third = _matrix(node, builder, layer.width, 6, 7) if builder.optional(node, 6) is not None else None
    second = _matrix(node, builder, third.n if third else _inner_width(node, first.n), 4, 5)
    _emit(node, builder, layer, first, second, third, mixing=None)


def quantized_moe(node: Node, builder: Builder) -> None:
    """QMoE: experts stored as integers or narrow floats with scales; unpacked inside the kernels, where touched."""
    layer = _layer(node, builder)
    first = _packed(node, builder, layer, layer.width, 2, 11, "fc1_expert_weight_bits")
    third = None
    if builder.optional(node, 8) is not None:
        third = _packed(node, builder, layer, layer.width, 8, 13, "fc3_expert_weight_bits")
    inner = third.n if third else _inner_width(node, first.n)
    second = _packed(node, builder, layer, inner, 5, 12, "fc2_expert_weight_bits")
    _emit(node, builder, layer, first, second, third, builder.optional(node, 14), unpack=True)


def _layer(node: Node, builder: Builder) -> _Layer:
    x, router = builder.value(node, 0), builder.value(node, 1)
    experts, chosen = router.shape[-1], node.int("k", 1)
    tokens = x.size // max(1, x.shape[-1])
    if not 1 <= chosen <= experts or x.rank not in (2, 3) or router.size != tokens * experts:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): tokens {x.shape}, routing {router.shape} and k = {chosen} do not "
            "fit each other; check the sizes given for the symbolic dims"
        )
    outer = dict(zip(("b0", "m")[-x.rank + 1 :], x.shape[:-1], strict=True))
    touched = touched_fraction(tokens, chosen, experts)
    return _Layer(outer, experts, chosen, touched, x.shape[-1], x.code)


def _inner_width(node: Node, width: int) -> int:
    """Give the width after the activation: half where gate and up are two halves of one product."""
    kind = node.text("activation_type", "relu")
    return width // 2 if kind == "geglu" or (kind == "swiglu" and node.int("swiglu_fusion")) else width


def _matrix(node: Node, builder: Builder, k: int, index: int, bias: int) -> _Matrix:
    value = builder.value(node, index)
    if value.rank != 3 or k not in value.shape[1:]:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): expert weights {value.shape} have no axis of the {k} features that "
            "they are multiplied with"
        )
    last = value.shape[2] == k
    n = value.shape[1] if last else value.shape[2]
    axes = (axis(extent=value.shape[0]), *map(plain, ("n", "k") if last else ("k", "n")))
    return _Matrix(value, n, k, axes, builder.optional(node, bias))


def _packed(node: Node, builder: Builder, layer: _Layer, k: int, index: int, zero: int, override: str) -> _Matrix:
    """Describe packed experts by their true shape and width, with scales and zero points as overhead."""
    packed, scales, zeros = builder.value(node, index), builder.optional(node, index + 1), builder.optional(node, zero)
    kind = node.text("quant_type", "int")
    bits = node.int(override, node.int("expert_weight_bits", 4))
    code = int(integer_code(bits)) if kind == "int" else format_code(_QUANTIZED_FLOATS[kind])
    width = FORMATS[code].bits
    n = packed.shape[1] if packed.shape[2] * 8 == k * width else packed.size * 8 // (width * layer.experts * k)
    extra = sum(other.size * FORMATS[other.code].bits for other in (scales, zeros) if other is not None)
    size = layer.experts * n * k
    value = Value(
        f"{packed.name}:experts",
        (layer.experts, n, k),
        layer.code,
        constant=True,
        root=packed.root,
        bits=packed.bits if packed.stored != packed.code else float(width),
        overhead_bits=extra / max(1, size),
        stored=packed.stored if packed.stored != packed.code else code,
    )
    axes = (axis(extent=layer.experts), plain("n"), plain("k"))
    return _Matrix(value, n, k, axes, builder.optional(node, index + 2))


def _emit(
    node: Node,
    builder: Builder,
    layer: _Layer,
    first: _Matrix,
    second: _Matrix,
    third: _Matrix | None,
    mixing: Value | None,
    unpack: bool = False,
) -> None:
    x = builder.value(node, 0)
    output = builder.put(node, x.shape, x.code)
    routed = _emit_routing(node, builder, layer, mixing)
    start = len(builder.operators)
    up = _emit_product(node, builder, layer, first, x, routed, "up", unpack)
    gate = None if third is None else _emit_product(node, builder, layer, third, x, routed, "gate", unpack)
    hidden = _emit_activation(node, builder, layer, up, gate, second.k)
    builder.fuse(node, start)
    start = len(builder.operators)
    down = _emit_product(node, builder, layer, second, hidden, routed, "down", unpack)
    inputs = [
        builder.tensor(down, (*layer.tokens, plain("s"), plain("n"))),
        builder.tensor(routed, (*layer.tokens, plain("s"))),
    ]
    dims = layer.outer | {"s": layer.chosen, "n": layer.width}
    result = builder.tensor(output, (*layer.tokens, plain("n")))
    builder.emit(node, "reduce", dims, inputs, [result], 2, code=x.code, suffix=":combine", op_type="ReduceSum")
    builder.fuse(node, start)


def _emit_routing(node: Node, builder: Builder, layer: _Layer, mixing: Value | None) -> Value:
    """Emit softmax and top-k; where the mixing weights are given, top-k alone."""
    router = builder.value(node, 1)
    routed = builder.inner(node, "routed", (*layer.outer.values(), layer.chosen), router.code)
    tables = [builder.tensor(value, (layer.flat, plain("n"))) for value in (router, mixing) if value is not None]
    result = builder.tensor(routed, (*layer.tokens, axis(extent=layer.chosen)))
    dims, flops = layer.outer | {"n": layer.experts}, 1.0 if mixing is not None else 6.0
    builder.emit(node, "reduce", dims, tables, [result], flops, code=router.code, suffix=":route", op_type="TopK")
    return routed


def _emit_product(
    node: Node, builder: Builder, layer: _Layer, matrix: _Matrix, x: Value, routed: Value, part: str, unpack: bool
) -> Value:
    """Emit the product of every token with its chosen experts."""
    if unpack:
        _emit_unpacking(node, builder, layer, matrix, part)
    result = layer.inner(node, builder, part, matrix.n)
    chosen = (plain("s"),) if x.rank == len(layer.outer) + 2 else ()
    inputs = [
        builder.tensor(x, (*layer.tokens, *chosen, plain("k"))),
        builder.tensor(matrix.value, matrix.axes, layer.touched),
        builder.tensor(routed, (*layer.tokens, plain("s"))),
    ]
    if matrix.bias is not None:
        inputs.append(builder.tensor(matrix.bias, (axis(extent=layer.experts), plain("n")), layer.touched))
    dims = layer.outer | {"s": layer.chosen, "n": matrix.n, "k": matrix.k}
    output = builder.tensor(result, (*layer.tokens, plain("s"), plain("n")))
    builder.emit(node, "matmul", dims, inputs, [output], 2, code=layer.code, suffix=f":{part}", op_type="MatMul")
    return result


def _emit_unpacking(node: Node, builder: Builder, layer: _Layer, matrix: _Matrix, part: str) -> None:
    """Emit the conversion of the touched experts to floats, inside the kernel."""
    dims = {"e": layer.experts, "n": matrix.n, "k": matrix.k}
    axes = tuple(map(plain, dims))
    stored = builder.tensor(matrix.value, axes, layer.touched)
    floats = builder.tensor(
        Value(f"{matrix.value.root}:dequantized", matrix.value.shape, layer.code), axes, layer.touched
    )
    flops = 2.0 * layer.touched
    builder.emit(
        node, "convert", dims, [stored], [floats], flops, code=layer.code, suffix=f":{part}:dequantize",
        op_type="DequantizeLinear",
    )  # fmt: skip


def _emit_activation(node: Node, builder: Builder, layer: _Layer, up: Value, gate: Value | None, width: int) -> Value:
    """Emit the activation function, and the gate's product where there is one."""
    kind = node.text("activation_type", "relu")
    if kind not in _ACTIVATION:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): unknown activation {kind!r}; known: {', '.join(_ACTIVATION)}"
        )
    op_type, flops = _ACTIVATION[kind]
    flops += gate is not None and not kind.endswith("glu")
    if not flops:
        return up
    hidden = layer.inner(node, builder, "hidden", width)
    rows = (*layer.tokens, plain("s"))
    halves = plain("n") if up.shape[-1] == width else axis(extent=up.shape[-1])
    inputs = [builder.tensor(up, (*rows, halves))]
    if gate is not None:
        inputs.append(builder.tensor(gate, (*rows, plain("n"))))
    dims = layer.outer | {"s": layer.chosen, "n": width}
    result = builder.tensor(hidden, (*rows, plain("n")))
    function = "gelu" if kind.startswith("ge") else "activation"
    builder.emit(node, function, dims, inputs, [result], flops, code=layer.code, suffix=":activation", op_type=op_type)
    return hidden
