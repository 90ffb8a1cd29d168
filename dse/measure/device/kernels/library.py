"""What torch and the libraries behind it have: cuBLAS products, cuSPARSELt, fused attention, norms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..formats import ROUNDOFF
from ..kernel import Device, Judgement, Kernel, Launch, Maker, Operands
from ..signatures import Signature
from .decode import judge_decode, make_decode
from .dense import judge_dense, make_dense, needs_fp8
from .pointwise import judge_pointwise, make_pointwise
from .prefill import judge_prefill, make_prefill
from .rowwise import EPSILON, FLOATS, judge_norm, judge_softmax, make_rows
from .two_of_four import dense_pairs, judge_pairs, make_pairs

__all__ = ["LIBRARY"]


def run_matmul(operands: Operands, launch: Launch) -> Any:
    """Multiply with torch; tf32 only where it was asked for."""
    import torch

    torch.set_float32_matmul_precision("high" if operands["inner"] == "tf32" else "highest")
    a, b = operands["a"], operands["b"]
    return torch.bmm(a, b) if a.shape[0] > 1 else torch.mm(a[0], b[0])[None]


def judge_matmul(operands: Operands) -> Judgement:
    """Judge as `judge_dense`, with what cuBLAS may do to sums of splits in 16 bits."""
    return judge_dense(operands, splits_rounded=operands["out"] in ("fp16", "bf16"))


def make_per_tensor(signature: Signature, maker: Maker) -> Operands:
    """Make fp8 operands with one scale each; `b` lies column by column, as the library wants it."""
    s = signature
    b = maker.normal(1, s.n, s.k, dtype="fp8").transpose(1, 2)
    a_scale, b_scale = maker.uniform(1, low=0.01, high=0.02), maker.uniform(1, low=0.01, high=0.02)
    a = maker.normal(1, s.m, s.k, dtype="fp8")
    return {"a": a, "b": b, "a_scale": a_scale, "b_scale": b_scale, "inner": "fp8", "out": "bf16"}


def run_scaled(operands: Operands, launch: Launch) -> Any:
    """Multiply fp8 with torch, sums promoted to fp32 on the way."""
    import torch

    a, b = operands["a"][0], operands["b"][0]
    scales = {"scale_a": operands["a_scale"], "scale_b": operands["b_scale"]}
    return torch._scaled_mm(a, b, **scales, out_dtype=torch.bfloat16)[None]


def make_integer(signature: Signature, maker: Maker) -> Operands:
    """Make int8 operands without scales; `b` lies column by column, as the library wants it."""
    a = maker.normal(signature.m, signature.k, dtype="int8")
    return {"a": a, "b": maker.normal(signature.n, signature.k, dtype="int8").t()}


def run_integer(operands: Operands, launch: Launch) -> Any:
    """Multiply int8 into int32 with torch."""
    import torch

    return torch._int_mm(operands["a"], operands["b"])


def judge_integer(operands: Operands) -> Judgement:
    """Give the exact product; float64 holds its sums exactly."""
    expected = (operands["a"].double() @ operands["b"].double()).long()
    return Judgement(expected, None, "equal")


def compressed(operands: Operands) -> Operands:
    """Compress the weights as the library stores them: the transposed ones are the sparse left operand."""
    from torch.sparse import to_sparse_semi_structured

    return {**operands, "sparse": to_sparse_semi_structured(dense_pairs(operands).t().contiguous())}


def run_sparse(operands: Operands, launch: Launch) -> Any:
    """Multiply 2:4 sparse weights by torch: (W^T a^T)^T, as `torch.nn.functional.linear` does it."""
    import torch

    return torch.nn.functional.linear(operands["a"], operands["sparse"])


def run_sdpa(operands: Operands, launch: Launch) -> Any:
    """Attend with torch's fused attention."""
    import torch

    q, k, v = operands["q"], operands["k"], operands["v"]
    one = q.dim() == 3  # decoding: the cache is (batch, keys, heads, dim)
    if one:
        q, k, v = q[:, :, None], k.transpose(1, 2), v.transpose(1, 2)
    shared: dict[str, Any] = {"enable_gqa": True} if q.shape[1] != k.shape[1] else {}
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=operands.get("causal", False), **shared)
    return out[:, :, 0] if one else out


def run_torch(operands: Operands, launch: Launch, op: str) -> Any:
    """Compute an element-wise operation with torch, eagerly: `silu_mul` is two kernels."""
    import torch
    from torch.nn import functional

    x = operands["x"]
    if op in ("add", "mul"):
        return x + operands["y"] if op == "add" else x * operands["y"]
    if op in ("relu", "tanh"):
        return torch.relu(x) if op == "relu" else torch.tanh(x)
    if op == "silu_mul":
        return functional.silu(x) * operands["y"]
    if op == "gelu":
        return functional.gelu(x)
    if op == "softmax":
        return torch.softmax(x, -1)
    if op == "rmsnorm":
        return functional.rms_norm(x, (x.shape[-1],), operands["weight"], EPSILON)
    return functional.layer_norm(x, (x.shape[-1],), operands["weight"], operands["bias"], EPSILON)


def _per_op(op: str) -> Callable[[Operands, Launch], Any]:
    return lambda operands, launch: run_torch(operands, launch, op)


def twice_rounded(judge: Callable[[Operands], Judgement], factors: int = 1) -> Callable[[Operands], Judgement]:
    """Allow for results between an operation's own kernels that are rounded to its format."""

    def wider(operands: Operands) -> Judgement:
        found, u = judge(operands), ROUNDOFF[operands["out"]]
        assert found.bound is not None
        more = 1.01 * factors * u * found.expected.abs()
        return Judgement(found.expected, found.bound + more, f"{found.statement} + {factors} x {u:.3g} |y|")

    return wider


def _refuses_scaled(signature: Signature, device: Device) -> str:
    uneven = signature.n % 16 or signature.k % 16
    return "n and k must be multiples of 16 for torch._scaled_mm" if uneven else needs_fp8(signature, device)


def _refuses_integer(signature: Signature, device: Device) -> str:
    if signature.m <= 16 or signature.n % 8 or signature.k % 8:
        return "torch._int_mm wants m above 16, and n and k as multiples of 8"
    return ""


def _refuses_sparse(signature: Signature, device: Device) -> str:
    if device.capability < 80:
        return f"2:4 needs compute capability 8.0; this GPU has {device.capability / 10:.1f}"
    return "" if signature.n % 64 == 0 and signature.k % 128 == 0 else "n must be a multiple of 64 and k of 128"


def _refuses_decode(signature: Signature, device: Device) -> str:
    return "torch has no attention over paged caches" if signature.page_size else ""


def _refuses_prefill(signature: Signature, device: Device) -> str:
    uneven = signature.causal and signature.q_len != signature.kv_len
    return "torch aligns the causal mask at the first key, not at the last" if uneven else ""


def _kernel(name: str, op: str, formats: tuple[tuple[str, str], ...], *functions: Any, **more: Any) -> Kernel:
    make, run, judge = functions
    return Kernel(name=name, op=op, library="torch", formats=formats, make=make, run=run, judge=judge, **more)


PLAIN = tuple((name, name) for name in ("fp32", "tf32", "fp16", "bf16"))
HALF = (("fp16", "fp16"), ("bf16", "bf16"))
SPARSE = (("fp16", "fp16_2:4"), ("bf16", "bf16_2:4"))

LIBRARY = (
    _kernel("torch_matmul", "gemm bgemm", PLAIN, make_dense, run_matmul, judge_matmul),
    _kernel(
        "torch_scaled_mm", "gemm", (("fp8", "fp8"),), make_per_tensor, run_scaled, judge_dense, refuses=_refuses_scaled
    ),
    _kernel(
        "torch_int_mm", "gemm", (("int8", "int8"),), make_integer, run_integer, judge_integer, refuses=_refuses_integer
    ),
    _kernel(
        "torch_two_of_four_gemm",
        "gemm",
        SPARSE,
        make_pairs,
        run_sparse,
        judge_pairs,
        refuses=_refuses_sparse,
        prepare=compressed,
    ),
    _kernel("torch_sdpa", "attention_prefill", HALF, make_prefill, run_sdpa, judge_prefill, refuses=_refuses_prefill),
    _kernel("torch_sdpa", "attention_decode", HALF, make_decode, run_sdpa, judge_decode, refuses=_refuses_decode),
    *(
        _kernel(f"torch_{op}", op, FLOATS, make_pointwise, _per_op(op), judge_pointwise)
        for op in ("add", "mul", "relu", "tanh", "gelu")
    ),
    _kernel("torch_silu_mul", "silu_mul", FLOATS, make_pointwise, _per_op("silu_mul"), twice_rounded(judge_pointwise)),
    _kernel("torch_softmax", "softmax", FLOATS, make_rows, _per_op("softmax"), judge_softmax),
    _kernel("torch_layernorm", "layernorm", FLOATS, make_rows, _per_op("layernorm"), judge_norm(True)),
    _kernel("torch_rmsnorm", "rmsnorm", FLOATS, make_rows, _per_op("rmsnorm"), twice_rounded(judge_norm(False), 3)),
)
"""Kernels of libraries."""
