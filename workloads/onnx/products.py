"""Handlers of matrix products, convolutions and pools."""

from __future__ import annotations

from collections.abc import Sequence

from workloads.errors import WorkloadError
from workloads.formats import format_code
from workloads.onnx.builder import Builder, Node, Value, broadcast_axes, plain
from workloads.onnx.elementwise import broadcast_shape
from workloads.operator import Axis, axis

__all__ = ["conv", "gemm", "matmul", "matmul_integer", "pool"]


def matmul(node: Node, builder: Builder) -> None:
    """MatMul with NumPy broadcasting: dims b0.., m, n, k."""
    a, b = builder.value(node, 0), builder.value(node, 1)
    _emit_matmul(node, builder, a, b, code=builder.pair_format(a, b), out=a.code)


def matmul_integer(node: Node, builder: Builder) -> None:
    """MatMulInteger: int8 operands, int32 result; zero points ride along."""
    a, b = builder.value(node, 0), builder.value(node, 1)
    _emit_matmul(node, builder, a, b, code=format_code("int8"), out=format_code("int32"))


def _emit_matmul(node: Node, builder: Builder, a: Value, b: Value, code: int, out: int) -> None:
    if not a.rank or not b.rank:
        raise WorkloadError(f"node {node.name!r} (MatMul): a scalar operand, shapes {a.shape} and {b.shape}")
    a_shape = a.shape if a.rank > 1 else (1, *a.shape)
    b_shape = b.shape if b.rank > 1 else (*b.shape, 1)
    if a_shape[-1] != b_shape[-2]:
        raise WorkloadError(
            f"node {node.name!r} (MatMul): inner sizes differ, {a.shape} x {b.shape}; "
            "check the sizes given for the symbolic dims"
        )
    batch = broadcast_shape(node, [a_shape[:-2], b_shape[:-2]]) if a.rank > 2 or b.rank > 2 else ()
    names = tuple(f"b{position}" for position in range(len(batch)))
    dims = dict(zip(names, batch, strict=True)) | {"m": a_shape[-2], "n": b_shape[-1], "k": a_shape[-1]}
    m, n, k = plain("m"), plain("n"), plain("k")
    a_axes = (*broadcast_axes(a_shape[:-2], names, batch), m, k) if a.rank > 1 else (k,)
    b_axes = (*broadcast_axes(b_shape[:-2], names, batch), k, n) if b.rank > 1 else (k,)
    out_shape = (*batch, *((a_shape[-2],) if a.rank > 1 else ()), *((b_shape[-1],) if b.rank > 1 else ()))
    out_axes = (*map(plain, names), *((m,) if a.rank > 1 else ()), *((n,) if b.rank > 1 else ()))
    output = builder.put(node, out_shape, out)
    inputs = [builder.tensor(a, a_axes), builder.tensor(b, b_axes)]
    builder.emit(node, "matmul", dims, inputs, [builder.tensor(output, out_axes)], 2, code=code)


def gemm(node: Node, builder: Builder) -> None:
    """Gemm: alpha A B + beta C with optional transposes; C is read, its additions are not counted."""
    a, b = builder.value(node, 0), builder.value(node, 1)
    if a.rank != 2 or b.rank != 2:
        raise WorkloadError(f"node {node.name!r} (Gemm): needs matrices, got shapes {a.shape} and {b.shape}")
    m_size, k_size = a.shape[::-1] if node.int("transA") else a.shape
    kb_size, n_size = b.shape[::-1] if node.int("transB") else b.shape
    if k_size != kb_size:
        raise WorkloadError(f"node {node.name!r} (Gemm): inner sizes differ, {a.shape} x {b.shape}")
    m, n, k = plain("m"), plain("n"), plain("k")
    output = builder.put(node, (m_size, n_size), a.code)
    inputs = [
        builder.tensor(a, (k, m) if node.int("transA") else (m, k)),
        builder.tensor(b, (n, k) if node.int("transB") else (k, n)),
    ]
    bias = builder.optional(node, 2)
    if bias is not None:
        inputs.append(builder.tensor(bias, broadcast_axes(bias.shape, ("m", "n"), (m_size, n_size))))
    dims = {"m": m_size, "n": n_size, "k": k_size}
    builder.emit(node, "matmul", dims, inputs, [builder.tensor(output, (m, n))], 2, code=builder.pair_format(a, b))


def conv(node: Node, builder: Builder) -> None:
    """Conv of any rank, grouped, strided, dilated, padded: dims b, g, m, c, p0.., r0..; footprints are exact."""
    x, w = builder.value(node, 0), builder.value(node, 1)
    rank = x.rank - 2
    if rank < 1 or w.rank != x.rank:
        raise WorkloadError(f"node {node.name!r} (Conv): input {x.shape} and weight {w.shape} do not fit each other")
    groups = node.int("group", 1)
    filters, channels = w.shape[0] // groups, w.shape[1]
    if channels * groups != x.shape[1]:
        raise WorkloadError(
            f"node {node.name!r} (Conv): {x.shape[1]} input channels, but the weight {w.shape} "
            f"in {groups} group(s) takes {channels * groups}"
        )
    kernel = node.ints("kernel_shape", w.shape[2:])
    sizes, windows = _windows(node, x.shape[2:], kernel)
    grouped = groups > 1
    dims = {"b": x.shape[0]} | ({"g": groups} if grouped else {}) | {"m": filters, "c": channels}
    dims |= {f"p{i}": size for i, size in enumerate(sizes)} | {f"r{i}": size for i, size in enumerate(kernel)}
    in_channel = axis((channels, "g"), "c") if grouped else plain("c")
    out_channel = axis((filters, "g"), "m") if grouped else plain("m")
    spatial = [plain(f"p{i}") for i in range(rank)]
    output = builder.put(node, (x.shape[0], w.shape[0], *sizes), x.code)
    inputs = [
        builder.tensor(x, (plain("b"), in_channel, *windows)),
        builder.tensor(w, (out_channel, plain("c"), *(plain(f"r{i}") for i in range(rank)))),
    ]
    bias = builder.optional(node, 2)
    if bias is not None:
        inputs.append(builder.tensor(bias, (out_channel,)))
    code = builder.pair_format(x, w)
    builder.emit(
        node, "conv", dims, inputs, [builder.tensor(output, (plain("b"), out_channel, *spatial))], 2, code=code
    )


def pool(node: Node, builder: Builder) -> None:
    """MaxPool and AveragePool: one FLOP per point of the window."""
    x = builder.value(node, 0)
    kernel = node.ints("kernel_shape")
    sizes, windows = _windows(node, x.shape[2:], kernel)
    dims = {"b": x.shape[0], "c": x.shape[1]} | {f"p{i}": size for i, size in enumerate(sizes)}
    dims |= {f"r{i}": size for i, size in enumerate(kernel)}
    outer = (plain("b"), plain("c"))
    output = builder.put(node, (*x.shape[:2], *sizes), x.code)
    if len(node.outputs) > 1 and node.outputs[1]:  # MaxPool's indices: for unpooling, unused at inference
        builder.put(node, output.shape, format_code("int64"), 1)
    axes = (*outer, *(plain(f"p{i}") for i in range(len(sizes))))
    builder.emit(
        node, "pool", dims, [builder.tensor(x, (*outer, *windows))], [builder.tensor(output, axes)], 1, code=x.code
    )


def _windows(node: Node, extents: Sequence[int], kernel: Sequence[int]) -> tuple[list[int], list[Axis]]:
    """Give output sizes and input axes of a sliding window.

    Source: ONNX operator specification, Conv and MaxPool (auto_pad, ceil_mode).
    """
    rank = len(extents)
    strides = node.ints("strides", (1,) * rank)
    dilations = node.ints("dilations", (1,) * rank)
    pads = node.ints("pads", (0,) * (2 * rank))
    mode = node.attributes.get("auto_pad", b"NOTSET")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    sizes, windows = [], []
    for i in range(rank):
        reach = dilations[i] * (kernel[i] - 1) + 1
        before, after = pads[i], pads[i + rank]
        if mode.startswith("SAME"):
            size = -(-extents[i] // strides[i])
            total = max((size - 1) * strides[i] + reach - extents[i], 0)
            before = total // 2 if mode == "SAME_UPPER" else total - total // 2
        else:
            span = extents[i] + (0 if mode == "VALID" else before + after) - reach
            size = (-(-span // strides[i]) if node.int("ceil_mode") else span // strides[i]) + 1
            if node.int("ceil_mode") and (size - 1) * strides[i] >= extents[i] + before:
                size -= 1  # a window must start inside the input or its left padding
        if size < 1:
            raise WorkloadError(
                f"node {node.name!r} ({node.op_type}): a window of {reach} does not fit an input of {extents[i]} "
                f"with padding {before}+{after}; check the sizes given for the symbolic dims"
            )
        sizes.append(size)
        windows.append(axis((strides[i], f"p{i}"), (dilations[i], f"r{i}"), offset=-before, extent=extents[i]))
    return sizes, windows
