"""Handlers of determinants, inverses and pairwise distances of matrices."""

from __future__ import annotations

from workloads.errors import WorkloadError
from workloads.onnx.builder import Builder, Node, Value, index_names, plain

__all__ = ["cdist", "det", "inverse"]

# Golub and Van Loan, Matrix Computations, 4th edition, 2013, section 3.2: LU of n x n takes 2/3 n^3 FLOPs; with the
# solution for n unit vectors an inverse takes 2 n^3.
_LU, _INVERSE = 2 / 3, 2.0


def det(node: Node, builder: Builder) -> None:
    """Det: an LU decomposition per matrix."""
    x = builder.value(node, 0)
    _emit(node, builder, x, builder.put(node, x.shape[:-2], x.code), _LU)


def inverse(node: Node, builder: Builder) -> None:
    """Inverse: an LU decomposition per matrix, and its solution for every unit vector."""
    x = builder.value(node, 0)
    _emit(node, builder, x, builder.put(node, x.shape, x.code), _INVERSE)


def _emit(node: Node, builder: Builder, x: Value, output: Value, flops: float) -> None:
    if x.rank < 2 or x.shape[-1] != x.shape[-2]:
        raise WorkloadError(f"node {node.name!r} ({node.op_type}): needs square matrices, got shape {x.shape}")
    batch = index_names(x.rank - 2)
    dims = dict(zip(batch, x.shape, strict=False)) | {"m": x.shape[-1], "n": x.shape[-1], "k": x.shape[-1]}
    axes = (*map(plain, batch), plain("m"), plain("n"))
    outputs = [builder.tensor(output, axes[: output.rank])]
    builder.emit(node, "reduce", dims, [builder.tensor(x, axes)], outputs, flops, code=x.code)


def cdist(node: Node, builder: Builder) -> None:
    """CDist: squared differences summed, for every pair of rows."""
    a, b = builder.value(node, 0), builder.value(node, 1)
    if a.rank != 2 or b.rank != 2 or a.shape[1] != b.shape[1]:
        raise WorkloadError(f"node {node.name!r} (CDist): rows of {a.shape} and {b.shape} differ in length")
    output = builder.put(node, (a.shape[0], b.shape[0]), a.code)
    dims = {"m": a.shape[0], "n": b.shape[0], "k": a.shape[1]}
    inputs = [builder.tensor(a, (plain("m"), plain("k"))), builder.tensor(b, (plain("n"), plain("k")))]
    written = [builder.tensor(output, (plain("m"), plain("n")))]
    builder.emit(node, "reduce", dims, inputs, written, 3, code=a.code)
