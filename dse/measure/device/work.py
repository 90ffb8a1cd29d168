"""What a kernel must do at least: operations, and bytes of global memory."""

from __future__ import annotations

from .formats import stored_bits
from .signatures import Signature, family_of

__all__ = ["flops", "least_bytes"]

PER_ELEMENT = {
    "add": 1, "mul": 1, "relu": 1, "tanh": 6, "gelu": 8, "silu_mul": 5,
    "rope": 3, "softmax": 5, "layernorm": 7, "rmsnorm": 5,
    "i_softmax": 12, "i_gelu": 9, "i_layernorm": 10,
}  # fmt: skip
"""Operations on one element, counted off the kernels' own lines; a division or a function counts as one."""

STREAMS = {"add": 3, "mul": 3, "silu_mul": 3}
"""Tensors read and written; two where nothing else is said."""

INTEGER_BYTES = {"i_softmax": 4 + 1, "i_gelu": 4 + 8, "i_layernorm": 4 + 8}


def flops(s: Signature) -> float:
    """Count the operations of a kernel, two for a product with its addition.

    Example:
        >>> flops(Signature(op="gemm", m=2, n=3, k=4))
        48.0
    """
    family = family_of(s.op)
    if family == "gemm":
        return 2.0 * s.batch * s.m * s.n * s.k
    if family == "attention":
        pairs = s.q_len * s.kv_len - s.causal * s.q_len * (s.q_len - 1) / 2
        return 4.0 * s.batch * s.heads * s.head_dim * pairs
    return float(PER_ELEMENT[s.op] * s.rows * s.cols)


def least_bytes(s: Signature) -> float:
    """Count the bytes of operands read once and of results written once; scales and tables included [B].

    Example:
        >>> least_bytes(Signature(op="add", rows=10, cols=10, a_dtype="fp16"))
        600.0
    """
    family = family_of(s.op)
    if family == "elementwise":
        each = INTEGER_BYTES.get(s.op) or STREAMS.get(s.op, 2) * stored_bits(s.a_dtype) / 8
        return float(each * s.rows * s.cols)
    a = stored_bits(s.a_dtype) / 8
    if family == "gemm":
        weights = s.k * s.n * stored_bits(s.w_dtype) / 8 + _tables(s)
        return s.batch * (s.m * s.k * a + weights + s.m * s.n * max(a, 2.0))
    cache = stored_bits(s.kv_dtype) / 8 * s.head_dim + (4 if s.kv_dtype == "int8" else 0)
    return 2.0 * s.batch * (s.heads * s.q_len * s.head_dim * a + s.kv_heads * s.kv_len * cache)


def _tables(s: Signature) -> float:
    if s.w_dtype == s.a_dtype:
        return 0.0
    if s.w_dtype.startswith("lut"):
        sparse = 6 * 0.0045 * s.k * s.n if s.w_dtype.endswith("+csr") else 0.0  # 16-bit value and 32-bit place each
        return 2.0 * s.n * (1 << int(s.w_dtype[3])) + sparse
    return 2.0 * s.k / s.group * s.n if s.w_dtype in ("int3", "int4", "int8") else 0.0
