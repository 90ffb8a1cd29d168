"""Handlers of products and look-ups whose weight is stored in blocks of few bits, with a scale per block.

The weight is described as a plain matrix of its true width, with scales and zero points as overhead. Kernels unpack it
on the way in: that work is a `convert` operator of the same kernel. Where a kernel multiplies in int8 (accuracy level
4) the activations are quantized per block inside it and nothing is unpacked.

Source: ONNX Runtime, documentation of the contributed operators (ContribOperators.md).
"""

from __future__ import annotations

import math
from dataclasses import replace

from workloads.errors import WorkloadError
from workloads.formats import FORMATS, format_code, integer_code
from workloads.onnx.builder import Builder, Node, Value, index_names, plain
from workloads.onnx.epilogue import activate
from workloads.onnx.products import emit_matmul, matmul_shape
from workloads.opcounts import NORMS
from workloads.operator import axis

__all__ = [
    "gather_block_quantized",
    "matmul_blocks",
    "matmul_bnb4",
    "matmul_nbits",
    "matmul_nbits_mlp",
    "matmul_nbits_qkv",
]

_INT8_ACTIVATIONS = 4
"""The accuracy level at which activations are quantized to int8."""


def matmul_nbits(node: Node, builder: Builder) -> None:
    """MatMulNBits: blocks of 2 to 8 bits along k."""
    a = builder.value(node, 0)
    weight = _nbits(node, builder, (1, 2, 3), node.int("N"), a.code)
    output = builder.put(node, matmul_shape(node, a.shape, weight.shape), a.code)
    _emit(node, builder, a, weight, builder.optional(node, 5), output)


def matmul_bnb4(node: Node, builder: Builder) -> None:
    """MatMulBnb4: blocks of 4 bits (FP4 or NF4) of the flattened weight."""
    a, packed, scales = (builder.value(node, index) for index in range(3))
    k, n = node.int("K"), node.int("N")
    weight = _weight(packed, (k, n), a.code, format_code("fp4_e2m1"), _bits(scales), (node.name,))
    output = builder.put(node, matmul_shape(node, a.shape, weight.shape), a.code)
    start = len(builder.operators)
    _emit(node, builder, a, weight, None, output)
    builder.fuse(node, start)


def matmul_blocks(node: Node, builder: Builder) -> None:
    """MatMulBlockQuantizedFp8Weight and ...Fp4Weight: a weight [n, k] in FP8, or two FP4 values in a byte."""
    a, packed, scales = (builder.value(node, index) for index in range(3))
    fp4 = node.op_type.endswith("Fp4Weight")
    n, k = packed.shape[0], packed.shape[1] * (2 if fp4 else 1)
    code = format_code("fp4_e2m1" if fp4 else "fp8_e4m3")
    narrow = not fp4 and builder.optional(node, 3) is not None  # activations become FP8 too
    weight = _weight(packed, (k, n), a.code, code, _bits(scales), () if narrow else (node.name,))
    output = builder.put(node, matmul_shape(node, a.shape, weight.shape), a.code)
    start = len(builder.operators)
    _emit(node, builder, a, weight, builder.optional(node, 5 if fp4 else 4), output, code if narrow else -1)
    builder.fuse(node, start)


def matmul_nbits_mlp(node: Node, builder: Builder) -> None:
    """MatMulNBitsMlp: perhaps a norm, then gate and up, then activation(gate) up."""
    start = len(builder.operators)
    a = _normed(node, builder, skip=1, scale=2, sums=1)
    n, parts = node.int("N"), []
    for part, index in (("gate", 3), ("up", 6)):
        weight = _nbits(node, builder, (index, index + 1, -1), n, a.code)
        value = builder.inner(node, part, matmul_shape(node, a.shape, weight.shape), a.code)
        _emit(node, builder, a, weight, builder.optional(node, index + 2), value, suffix=f":{part}")
        parts.append(value)
    function = {"silu": "Swish", "swish": "Swish", "gelu": "Gelu", "relu": "Relu"}.get(node.text("activation").lower())
    if function is None:
        raise WorkloadError(f"node {node.name!r} (MatMulNBitsMlp): unknown activation {node.text('activation')!r}")
    activate(node, builder, parts[0], function, parts[1])
    builder.fuse(node, start)


def matmul_nbits_qkv(node: Node, builder: Builder) -> None:
    """MatMulNBitsQkv: a norm, then the products of queries, keys and values."""
    start = len(builder.operators)
    a = _normed(node, builder, skip=1, scale=2, sums=3)
    for number, (part, n) in enumerate((("query", "Nq"), ("key", "Nkv"), ("value", "Nkv"))):
        index = 3 + 3 * number
        weight = _nbits(node, builder, (index, index + 1, -1), node.int(n), a.code)
        output = builder.put(node, matmul_shape(node, a.shape, weight.shape), a.code, number)
        _emit(node, builder, a, weight, builder.optional(node, index + 2), output, suffix=f":{part}")
    builder.fuse(node, start)


def _normed(node: Node, builder: Builder, skip: int, scale: int, sums: int) -> Value:
    """Emit the norm before fused products, and the sum with the residual where it is wanted."""
    a, added, weight = builder.value(node, 0), builder.optional(node, skip), builder.optional(node, scale)
    if weight is None:
        return a
    names = index_names(a.rank)
    axes = [plain(name) for name in names]
    normed = builder.inner(node, "normed", a.shape, a.code)
    results = [normed, *([builder.put(node, a.shape, a.code, sums)] if node.has(sums) else [])]
    inputs = [builder.tensor(value, axes) for value in (a, added) if value is not None]
    inputs.append(builder.tensor(weight, axes[-1:]))
    flops = NORMS["SimplifiedLayerNormalization" if added is None else "SkipSimplifiedLayerNormalization"]
    builder.emit(
        node, "norm", dict(zip(names, a.shape, strict=True)), inputs, [builder.tensor(r, axes) for r in results], flops,
        code=a.code, suffix=":norm", op_type="SimplifiedLayerNormalization",
    )  # fmt: skip
    return normed


def gather_block_quantized(node: Node, builder: Builder) -> None:
    """GatherBlockQuantized: rows of a table of few bits, turned into floats on the way.

    A uint8 table packs 8 / bits values in a byte of its last axis.
    """
    table, indices, scales = (builder.value(node, index) for index in range(3))
    position = builder.position(node, node.int("gather_axis"), table.rank)
    bits = node.int("bits", 4)
    packing = 8 // bits if FORMATS[table.code].name == "uint8" else 1
    shape = (*table.shape[:-1], table.shape[-1] * packing)
    code = table.stored if packing == 1 else int(integer_code(bits))
    zeros = builder.optional(node, 3)
    overhead = _bits(scales) + (_bits(zeros) if zeros is not None else 0.0)
    stored = _weight(table, shape, scales.code, code, overhead, ())
    kept, walked = [f"j{i}" for i in range(len(shape))], index_names(indices.rank)
    output = builder.put(node, (*shape[:position], *indices.shape, *shape[position + 1 :]), scales.code)
    dims = dict(zip(walked, indices.shape, strict=True))
    dims |= {kept[i]: extent for i, extent in enumerate(shape) if i != position}
    rows = [axis(extent=shape[i]) if i == position else plain(kept[i]) for i in range(len(shape))]
    written = [plain(name) for name in (*kept[:position], *walked, *kept[position + 1 :])]
    touched = min(1.0, indices.size / max(1, shape[position]))
    inputs = [builder.tensor(stored, rows, touched), builder.tensor(indices, [plain(name) for name in walked])]
    builder.emit(node, "gather", dims, inputs, [builder.tensor(output, written)], 2, code=scales.code)


def _bits(value: Value) -> float:
    return float(value.size * FORMATS[value.code].bits)


def _weight(
    packed: Value, shape: tuple[int, ...], code: int, stored: int, overhead: float, chain: tuple[str, ...]
) -> Value:
    """Describe a packed weight by its true shape and width; a width in the file's metadata goes before the container's.

    Args:
        packed: As it is stored.
        shape: Of the weight.
        code: Number format that readers see.
        stored: Number format of the stored values.
        overhead: Bits of all scales and zero points [bit].
        chain: The node, if its kernel unpacks the weight.
    """
    true = packed.stored != packed.code
    return Value(
        f"{packed.name}:matrix",
        shape,
        code,
        constant=True,
        root=packed.root,
        bits=packed.bits if true else float(FORMATS[stored].bits),
        overhead_bits=overhead / max(1, math.prod(shape)),
        stored=packed.stored if true else stored,
        chain=chain,
    )


def _nbits(node: Node, builder: Builder, inputs: tuple[int, int, int], n: int, code: int) -> Value:
    """Describe one weight of the MatMulNBits layout; inputs: packed weight, scales, zero points."""
    packed, scales = builder.value(node, inputs[0]), builder.value(node, inputs[1])
    k, block, bits = node.int("K"), node.int("block_size"), node.int("bits", 4)
    overhead = _bits(scales)
    zero = builder.optional(node, inputs[2]) if inputs[2] >= 0 else None
    if zero is not None:
        packed_zero = FORMATS[zero.code].kind in ("int", "uint")
        overhead += n * math.ceil(k / block) * bits if packed_zero else _bits(zero)
    chain = () if node.int("accuracy_level") == _INT8_ACTIVATIONS else (node.name,)
    return _weight(packed, (k, n), code, int(integer_code(bits)), overhead, chain)


def _emit(
    node: Node,
    builder: Builder,
    a: Value,
    weight: Value,
    bias: Value | None,
    output: Value,
    code: int = -1,
    suffix: str = "",
) -> None:
    """Emit a product and, where its kernel unpacks the weight, the conversion; that one has no node of its own."""
    start = len(builder.operators)
    if code < 0:
        code = builder.pair_format(a, weight) if weight.chain else format_code("int8")
    emit_matmul(node, builder, a, weight, output, code=code, bias=bias, suffix=suffix)
    for index in range(start, len(builder.operators)):
        made = builder.operators[index]
        if made.kind == "convert":
            builder.operators[index] = replace(made, nodes=())
        elif suffix:
            builder.operators[index] = replace(made, op_type="MatMulNBits")
