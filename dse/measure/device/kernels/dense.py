# mypy: disable-error-code="no-untyped-def"
"""Dense products in Triton: fp32, tf32, 16 bits, and fp8 and int8 with a scale per row and per column."""

from typing import Any

from ..bounds import product_bound, product_statement
from ..formats import torch_type
from ..kernel import Device, Judgement, Kernel, Launch, Maker, Operands
from ..language import jit, tl
from ..signatures import Signature
from .tiles import ceil_div, splits, tiles_of

__all__ = ["DENSE", "finish", "judge_dense", "make_dense", "needs_fp8"]

SCALED = ("fp8", "int8")
"""Formats whose products are scaled by row and column into bf16."""


@jit
def product_kernel(
    a_ptr, b_ptr, out_ptr, a_scale_ptr, b_scale_ptr, M, N, K, batches, per_split,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr,
    INTEGER: tl.constexpr, SCALE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Multiply row-major (batch, M, K) by (batch, K, N) into (splits, batch, M, N); `per_split` steps of K each."""
    tile = tl.program_id(0)
    split = tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    # Tiles in groups of GROUP rows of tiles, so that neighbours find each other's operands in L2.
    across = tl.cdiv(N, BN)
    wide = GROUP * across
    first = (tile // wide) * GROUP
    high = tl.minimum(tl.cdiv(M, BM) - first, GROUP)
    rows = (first + (tile % wide) % high) * BM + tl.arange(0, BM)
    cols = ((tile % wide) // high) * BN + tl.arange(0, BN)
    deep = tl.arange(0, BK)
    row_ok = rows < M
    col_ok = cols < N
    a_row = a_ptr + batch * M * K + rows[:, None].to(tl.int64) * K
    b_col = b_ptr + batch * K * N + cols[None, :]
    total = tl.zeros((BM, BN), dtype=tl.int32 if INTEGER else tl.float32)
    for step in range(split * per_split, min((split + 1) * per_split, tl.cdiv(K, BK))):
        at = step * BK + deep
        ok = at < K
        a = tl.load(a_row + at[None, :], mask=row_ok[:, None] & ok[None, :], other=0.0)
        b = tl.load(b_col + at[:, None].to(tl.int64) * N, mask=ok[:, None] & col_ok[None, :], other=0.0)
        if INTEGER:  # noqa: SIM108
            total = tl.dot(a, b, total, out_dtype=tl.int32)
        else:
            total = tl.dot(a, b, total, input_precision=PRECISION)
    if SCALE:
        a_scale = tl.load(a_scale_ptr + rows, mask=row_ok, other=0.0)
        b_scale = tl.load(b_scale_ptr + cols, mask=col_ok, other=0.0)
        total = total.to(tl.float32) * a_scale[:, None] * b_scale[None, :]
    place = ((split * batches + batch) * M + rows[:, None].to(tl.int64)) * N + cols[None, :]
    tl.store(out_ptr + place, total.to(out_ptr.dtype.element_ty), mask=row_ok[:, None] & col_ok[None, :])


@jit
def sum_parts_kernel(parts_ptr, out_ptr, size, PARTS: tl.constexpr, BLOCK: tl.constexpr):
    """Add (PARTS, size) up, in order, into (size,)."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    ok = at < size
    total = tl.load(parts_ptr + at, mask=ok, other=0.0)
    for part in tl.static_range(1, PARTS):
        total += tl.load(parts_ptr + part * size.to(tl.int64) + at, mask=ok, other=0.0)
    tl.store(out_ptr + at, total.to(out_ptr.dtype.element_ty), mask=ok)


def finish(parts: Any, dtype: Any, launch: Launch) -> Any:
    """Add partial sums, shape (parts, ...), up to a result of a torch type."""
    import torch

    out = torch.empty(parts.shape[1:], dtype=dtype, device=parts.device)
    size, block = out.numel(), 1024
    launch(sum_parts_kernel, (ceil_div(size, block),), parts, out, size, PARTS=parts.shape[0], BLOCK=block)
    return out


def make_dense(signature: Signature, maker: Maker) -> Operands:
    """Make `a` (batch, m, k), `b` (batch, k, n) and, for 8 bits, the scales of rows and columns."""
    s = signature
    made: dict[str, Any] = {
        "a": maker.normal(s.batch, s.m, s.k, dtype=s.a_dtype),
        "b": maker.normal(s.batch, s.k, s.n, dtype=s.w_dtype),
        "inner": s.a_dtype,
        "out": "bf16" if s.a_dtype in SCALED else s.a_dtype,
    }
    if s.a_dtype in SCALED:
        made["a_scale"] = maker.uniform(s.m, low=0.01, high=0.02)
        made["b_scale"] = maker.uniform(s.n, low=0.01, high=0.02)
    return made


def judge_dense(operands: Operands, splits_rounded: bool = False) -> Judgement:
    """Give the product in float64 of the operands as stored, and its bound."""
    a, b = operands["a"].double(), operands["b"].double()
    if "a_scale" in operands:
        a = a * operands["a_scale"].double()[:, None]
        b = b * operands["b_scale"].double()
    expected = a @ b
    inner, out = operands["inner"], operands["out"]
    bound = product_bound(a, b, expected, inner, out, splits_rounded)
    return Judgement(expected, bound, product_statement(inner, out, splits_rounded))


def run_dense(operands: Operands, launch: Launch) -> Any:
    """Multiply with `product_kernel`."""
    import torch

    a, b = operands["a"], operands["b"]
    batch, m, k = a.shape
    n = b.shape[2]
    tile = tiles_of(m, n, a.element_size(), launch.device)
    blocks, steps = ceil_div(m, tile.m) * ceil_div(n, tile.n), ceil_div(k, tile.k)
    split = splits(blocks * batch, steps, launch.device)
    per_split = ceil_div(steps, split)
    split = ceil_div(steps, per_split)
    dtype = torch_type(operands["out"])
    out = torch.empty((split, batch, m, n), dtype=torch.float32 if split > 1 else dtype, device=a.device)
    scaled = "a_scale" in operands
    launch(
        product_kernel, (blocks, split, batch),
        a, b, out, operands["a_scale"] if scaled else a, operands["b_scale"] if scaled else a,
        m, n, k, batch, per_split,
        BM=tile.m, BN=tile.n, BK=max(tile.k, 16), GROUP=8, INTEGER=operands["inner"] == "int8", SCALE=scaled,
        PRECISION="tf32" if operands["inner"] == "tf32" else "ieee", num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    return finish(out, dtype, launch) if split > 1 else out[0]


def needs_fp8(signature: Signature, device: Device) -> str:
    """Refuse fp8 where the GPU has no instructions for it."""
    if "fp8" in (signature.a_dtype, signature.second) and device.capability < 89:
        return f"fp8 needs compute capability 8.9; this GPU has {device.capability / 10:.1f}"
    return ""


DENSE = (
    Kernel(
        name="triton_gemm",
        op="gemm bgemm",
        library="triton",
        formats=tuple((name, name) for name in ("fp32", "tf32", "fp16", "bf16")),
        make=make_dense,
        run=run_dense,
        judge=judge_dense,
    ),
    Kernel(
        name="triton_scaled_gemm",
        op="gemm",
        library="triton",
        formats=(("fp8", "fp8"), ("int8", "int8")),
        make=make_dense,
        run=run_dense,
        judge=judge_dense,
        refuses=needs_fp8,
    ),
)
"""Dense products."""
