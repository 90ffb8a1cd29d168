"""Handlers of matrix products: plain, transposed, with an epilogue, of integers."""

from __future__ import annotations

from collections.abc import Sequence

from workloads.errors import WorkloadError
from workloads.formats import format_code
from workloads.onnx.builder import Builder, Node, Value, broadcast_axes, dim_axes, dim_names, plain
from workloads.onnx.dtypes import code_of_onnx
from workloads.onnx.elementwise import broadcast_shape
from workloads.onnx.epilogue import activate
from workloads.operator import Axis

__all__ = [
    "emit_gemm",
    "emit_matmul",
    "fused_gemm",
    "fused_matmul",
    "gemm",
    "gemm_fast_gelu",
    "matmul",
    "matmul_integer",
]


def matmul(node: Node, builder: Builder) -> None:
    """MatMul with NumPy broadcasting: dims b0.., m, n, k."""
    a, b = builder.value(node, 0), builder.value(node, 1)
    output = builder.put(node, matmul_shape(node, a.shape, b.shape), a.code)
    emit_matmul(node, builder, a, b, output, code=builder.pair_format(a, b))


def matmul_integer(node: Node, builder: Builder) -> None:
    """MatMulInteger: int8 operands (int16 in MatMulInteger16), int32 result; zero points ride along."""
    a, b = builder.value(node, 0), builder.value(node, 1)
    output = builder.put(node, matmul_shape(node, a.shape, b.shape), format_code("int32"))
    emit_matmul(node, builder, a, b, output, code=builder.pair_format(a, b))


def fused_matmul(node: Node, builder: Builder) -> None:
    """FusedMatMul (TransposeMatMul, FusedMatMulActivation): operands may be transposed; the scale alpha is free.

    With transBatchA the rows are the first axis, before the batch: [rows, batch.., k].
    """
    a, b = builder.value(node, 0), builder.value(node, 1)
    orders = (_order(node, a, "A"), _order(node, b, "B"))
    logical = [tuple(value.shape[i] for i in order) for value, order in zip((a, b), orders, strict=True)]
    shape = matmul_shape(node, logical[0], logical[1])
    code = builder.pair_format(a, b)
    function = node.text("activation")
    start = len(builder.operators)
    if not function:
        emit_matmul(node, builder, a, b, builder.put(node, shape, a.code), code=code, orders=orders)
        return
    product = builder.inner(node, "product", shape, a.code)
    emit_matmul(node, builder, a, b, product, code=code, orders=orders, suffix=":product")
    activate(node, builder, product, function)
    builder.fuse(node, start)


def _order(node: Node, value: Value, letter: str) -> tuple[int, ...]:
    """Give the order of a stored operand's axes that makes it [batch.., rows, columns]."""
    order = list(range(value.rank))
    if node.int(f"transBatch{letter}") and value.rank > 2:
        order = [*order[1:-1], order[0], order[-1]]
    if node.int(f"trans{letter}") and value.rank > 1:
        order[-2:] = order[:-3:-1]
    return tuple(order)


def gemm_fast_gelu(node: Node, builder: Builder) -> None:
    """GemmFastGelu: a product, its bias and the activation function in one kernel."""
    a, b = builder.value(node, 0), builder.value(node, 1)
    start = len(builder.operators)
    product = builder.inner(node, "product", matmul_shape(node, a.shape, b.shape), a.code)
    emit_matmul(
        node, builder, a, b, product, code=builder.pair_format(a, b), bias=builder.optional(node, 2), suffix=":product"
    )
    activate(node, builder, product, "FastGelu")
    builder.fuse(node, start)


def matmul_shape(node: Node, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """Give the shape of a product.

    Raises:
        WorkloadError: The operands do not fit each other.
    """
    if not a or not b:
        raise WorkloadError(f"node {node.name!r} ({node.op_type}): a scalar operand, shapes {a} and {b}")
    if a[-1] != b[-2 if len(b) > 1 else -1]:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): inner sizes differ, {a} x {b}; "
            "check the sizes given for the symbolic dims"
        )
    batch = broadcast_shape(node, [a[:-2], b[:-2]]) if len(a) > 2 or len(b) > 2 else ()
    return (*batch, *(a[-2:-1] if len(a) > 1 else ()), *(b[-1:] if len(b) > 1 else ()))


def emit_matmul(
    node: Node,
    builder: Builder,
    a: Value,
    b: Value,
    output: Value,
    *,
    code: int,
    bias: Value | None = None,
    orders: tuple[Sequence[int], Sequence[int]] | None = None,
    suffix: str = "",
) -> None:
    """Emit a product over b0.., m, n, k; the operands' shapes are known to fit (`matmul_shape`).

    Args:
        node: The node.
        builder: The state of the load.
        a: [batch.., m, k] or [k].
        b: [batch.., k, n] or [k].
        output: The result.
        code: Arithmetic format.
        bias: Vector [n] that is read; its additions are not counted.
        orders: For each operand, the order of its stored axes that makes it so; by default they are.
        suffix: Of the operator's name; then its op type is MatMul.
    """
    a_shape = a.shape if orders is None else tuple(a.shape[i] for i in orders[0])
    b_shape = b.shape if orders is None else tuple(b.shape[i] for i in orders[1])
    matrix = (len(a_shape) > 1) + (len(b_shape) > 1)
    batch = output.shape[: output.rank - matrix]
    names = dim_names("b", len(batch))
    m, n, k = plain("m"), plain("n"), plain("k")
    dims = dict(zip(names, batch, strict=True))
    dims |= {"m": a_shape[-2] if len(a_shape) > 1 else 1, "n": b_shape[-1] if len(b_shape) > 1 else 1}
    dims["k"] = a_shape[-1]
    a_axes = (*broadcast_axes(a_shape[:-2], names, batch), m, k) if len(a_shape) > 1 else (k,)
    b_axes = (*broadcast_axes(b_shape[:-2], names, batch), k, n) if len(b_shape) > 1 else (k,)
    if orders is not None:
        a_axes, b_axes = _stored(a_axes, orders[0]), _stored(b_axes, orders[1])
    written = (*dim_axes("b", len(batch)), *((m,) if len(a_shape) > 1 else ()), *((n,) if len(b_shape) > 1 else ()))
    inputs = [builder.tensor(a, a_axes), builder.tensor(b, b_axes)]
    if bias is not None:
        inputs.append(builder.tensor(bias, broadcast_axes(bias.shape, ("n",), (dims["n"],))))
    op_type = "MatMul" if suffix else ""
    outputs = [builder.tensor(output, written)]
    builder.emit(node, "matmul", dims, inputs, outputs, 2, code=code, suffix=suffix, op_type=op_type)


def _stored(axes: Sequence[Axis], order: Sequence[int]) -> tuple[Axis, ...]:
    """Put axes back into the order in which they are stored."""
    return tuple(axes[order.index(position)] for position in range(len(order)))


def gemm(node: Node, builder: Builder) -> None:
    """Gemm: alpha A B + beta C with optional transposes; C is read, its additions are not counted."""
    a, b = builder.value(node, 0), builder.value(node, 1)
    output = builder.put(node, gemm_shape(node, a, b), a.code)
    emit_gemm(node, builder, a, b, builder.optional(node, 2), output, builder.pair_format(a, b))


def fused_gemm(node: Node, builder: Builder) -> None:
    """FusedGemm and GemmFloat8: the same with an activation function; products of FP8 have a type of their own."""
    a, b = builder.value(node, 0), builder.value(node, 1)
    function, code = node.text("activation"), a.code
    if node.op_type == "GemmFloat8":
        function, code = function.capitalize(), code_of_onnx(node.int("dtype", 1), node.name)
    start = len(builder.operators)
    if function in ("", "None"):
        output = builder.put(node, gemm_shape(node, a, b), code)
        emit_gemm(node, builder, a, b, builder.optional(node, 2), output, builder.pair_format(a, b))
        return
    product = builder.inner(node, "product", gemm_shape(node, a, b), code)
    emit_gemm(node, builder, a, b, builder.optional(node, 2), product, builder.pair_format(a, b), ":product")
    activate(node, builder, product, function)
    builder.fuse(node, start)


def gemm_shape(node: Node, a: Value, b: Value) -> tuple[int, int]:
    """Give the shape of a product of matrices that may be transposed.

    Raises:
        WorkloadError: They are no matrices, or do not fit each other.
    """
    if a.rank != 2 or b.rank != 2:
        raise WorkloadError(f"node {node.name!r} ({node.op_type}): needs matrices, got shapes {a.shape} and {b.shape}")
    m, k = a.shape[::-1] if node.int("transA") else a.shape
    kb, n = b.shape[::-1] if node.int("transB") else b.shape
    if k != kb:
        raise WorkloadError(f"node {node.name!r} ({node.op_type}): inner sizes differ, {a.shape} x {b.shape}")
    return m, n


def emit_gemm(
    node: Node, builder: Builder, a: Value, b: Value, c: Value | None, output: Value, code: int, suffix: str = ""
) -> None:
    """Emit the product of matrices whose shapes are known to fit (`gemm_shape`)."""
    m, n, k = plain("m"), plain("n"), plain("k")
    inputs = [
        builder.tensor(a, (k, m) if node.int("transA") else (m, k)),
        builder.tensor(b, (n, k) if node.int("transB") else (k, n)),
    ]
    if c is not None and node.float("beta", 1.0) != 0.0:
        inputs.append(builder.tensor(c, broadcast_axes(c.shape, ("m", "n"), output.shape)))
    dims = {"m": output.shape[0], "n": output.shape[1], "k": a.shape[0 if node.int("transA") else 1]}
    op_type = "Gemm" if suffix else ""
    outputs = [builder.tensor(output, (m, n))]
    builder.emit(node, "matmul", dims, inputs, outputs, 2, code=code, suffix=suffix, op_type=op_type)
