# mypy: disable-error-code="no-untyped-def"
"""Products with weights of 3, 4 and 8 bits, unpacked to the activations' 16 bits on the way to the tensor cores.

`narrow_kernel` takes uniform weights with a scale per group and tables per output feature alike; see `packing`.
"""

from typing import Any

from ..bounds import product_bound, product_statement
from ..formats import torch_type
from ..kernel import Device, Judgement, Kernel, Launch, Maker, Operands
from ..language import jit, tl
from ..signatures import Signature
from .dense import finish
from .packing import BLOCK, pack, unpack
from .tiles import ceil_div, power_of_two, splits, stages_of

__all__ = ["NARROW", "dense_weight", "make_codes", "narrow_parts", "whole_blocks"]

HALF = ("fp16", "bf16")


@jit
def narrow_kernel(
    a_ptr, w_ptr, table_ptr, out_ptr, M, N, K, per_split, group,
    BITS: tl.constexpr, LUT: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Multiply (M, K) by packed (K, N) into (splits, M, N); `per_split` blocks of 128 features each.

    `table_ptr`: scales (K / group, N), or with LUT tables (N, 2^BITS).
    """
    split = tl.program_id(1)
    rows = tl.program_id(2) * BM + tl.arange(0, BM)
    cols = tl.program_id(0) * BN + tl.arange(0, BN)
    row_ok = rows < M
    col_ok = cols < N
    PARTS: tl.constexpr = 8 // BITS if BITS != 3 else 4  # codes in a byte
    DEEP: tl.constexpr = 128 // PARTS
    deep = tl.arange(0, DEEP)
    a_row = a_ptr + rows[:, None].to(tl.int64) * K
    w_col = w_ptr + cols[None, :]
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for block in range(split * per_split, min((split + 1) * per_split, K // 128)):
        base = block * (16 * BITS)  # rows of bytes before this block
        packed = tl.load(w_col + (base + deep[:, None]).to(tl.int64) * N, mask=col_ok[None, :], other=0).to(tl.int32)
        if BITS == 3:
            tops = tl.load(w_col + (base + 32 + deep[:, None] % 16).to(tl.int64) * N, mask=col_ok[None, :], other=0)
            tops = tops.to(tl.int32) >> (deep[:, None] // 16)
        for part in tl.static_range(PARTS):
            if BITS == 8:
                code = packed
            elif BITS == 4:
                code = (packed >> (4 * part)) & 15
            else:
                code = ((packed >> (2 * part)) & 3) | (((tops >> (2 * part)) & 1) << 2)
            at = block * 128 + part * DEEP
            if LUT:
                w = tl.load(table_ptr + cols[None, :] * (1 << BITS) + code, mask=col_ok[None, :], other=0.0)
            else:
                share = (at + deep[:, None]) // group
                scale = tl.load(table_ptr + share * N + cols[None, :], mask=col_ok[None, :], other=0.0)
                w = (code - (1 << (BITS - 1))).to(tl.float32) * scale.to(tl.float32)
            a = tl.load(a_row + (at + deep)[None, :], mask=row_ok[:, None], other=0.0)
            total = tl.dot(a, w.to(a.dtype), total)
    place = (split * M + rows[:, None].to(tl.int64)) * N + cols[None, :]
    tl.store(out_ptr + place, total.to(out_ptr.dtype.element_ty), mask=row_ok[:, None] & col_ok[None, :])


def make_codes(signature: Signature, maker: Maker) -> Operands:
    """Make `a` (m, k), packed codes `w`, and scales per group (k / group, n) or tables (n, 2^bits) as `table`."""
    s = signature
    lut = s.w_dtype.startswith("lut")
    bits = int(s.w_dtype[3])
    codes = maker.integers(s.k, s.n, low=0, high=1 << bits).to(_uint8())
    if lut:
        table = maker.normal(s.n, 1 << bits, dtype=s.a_dtype, scale=s.k**-0.5)
    else:
        table = (maker.uniform(s.k // s.group, s.n, low=0.5, high=1.5) * s.k**-0.5).to(torch_type(s.a_dtype))
    a = maker.normal(s.m, s.k, dtype=s.a_dtype)
    return {
        "a": a,
        "w": pack(codes, bits),
        "table": table,
        "bits": bits,
        "lut": lut,
        "group": s.group,
        "out": s.a_dtype,
    }


def _uint8() -> Any:
    import torch

    return torch.uint8


def dense_weight(operands: Operands) -> Any:
    """Give the weights in float64, shape (k, n), by the definition of their storage, rounded as the kernel does."""
    import torch

    codes = unpack(operands["w"], operands["bits"]).long()
    table = operands["table"]
    if operands["lut"]:
        return torch.gather(table.double().t(), 0, codes)
    scale = table.double().repeat_interleave(operands["group"], dim=0)
    # The tensor cores take 16 bits, so a weight is rounded once: that is part of the format, not an error.
    return ((codes - (1 << (operands["bits"] - 1))) * scale).to(table.dtype).double()


def judge_narrow(operands: Operands) -> Judgement:
    """Give the product in float64 with the weights as unpacked, and its bound."""
    a, w, out = operands["a"].double(), dense_weight(operands), operands["out"]
    expected = a @ w
    return Judgement(expected, product_bound(a, w, expected, out, out), product_statement(out, out))


def narrow_parts(operands: Operands, launch: Launch, dtype: Any = None) -> Any:
    """Multiply; give the sums of each split, shape (splits, m, n), in fp32, or one whole in a torch type."""
    import torch

    a, table = operands["a"], operands["table"]
    m, k = a.shape
    n = operands["w"].shape[1]
    tall, across = min(max(power_of_two(m), 16), 64), 64 if n <= 64 or m <= 32 else 128
    blocks, steps = ceil_div(m, tall) * ceil_div(n, across), k // BLOCK
    split = splits(blocks, steps, launch.device)
    per_split = ceil_div(steps, split)
    split = ceil_div(steps, per_split)
    whole = split == 1 and dtype is not None
    out = torch.empty((split, m, n), dtype=dtype if whole else torch.float32, device=a.device)
    launch(
        narrow_kernel, (ceil_div(n, across), split, ceil_div(m, tall)),
        a, operands["w"], table, out, m, n, k, per_split, operands["group"],
        BITS=operands["bits"], LUT=operands["lut"], BM=tall, BN=across,
        num_warps=8 if tall * across == 64 * 128 else 4, num_stages=stages_of(launch.device),
    )  # fmt: skip
    return out


def run_narrow(operands: Operands, launch: Launch) -> Any:
    """Multiply with `narrow_kernel` and add the splits up."""
    dtype = torch_type(operands["out"])
    parts = narrow_parts(operands, launch, dtype)
    return parts[0] if parts.dtype == dtype else finish(parts, dtype, launch)


def whole_blocks(signature: Signature, device: Device) -> str:
    """Refuse what does not fill blocks of 128 features, or groups that do not share them evenly."""
    s = signature
    if s.k % BLOCK:
        return f"k={s.k} is no multiple of {BLOCK}, the block of the packing"
    if not s.w_dtype.startswith("lut") and s.k % s.group:
        return f"k={s.k} is no multiple of the group of {s.group}"
    return ""


def _narrow(name: str, weights: str) -> Kernel:
    return Kernel(
        name=name,
        op="gemm",
        library="triton",
        formats=tuple((half, weights) for half in HALF),
        make=make_codes,
        run=run_narrow,
        judge=judge_narrow,
        refuses=whole_blocks,
    )


NARROW = (
    _narrow("triton_int8_weight_gemm", "int8"),
    _narrow("triton_int4_gemm", "int4"),
    _narrow("triton_int3_gemm", "int3"),
    _narrow("triton_lut4_gemm", "lut4"),
    _narrow("triton_lut3_gemm", "lut3"),
)
"""Products with narrow weights: uniform, and by tables."""
