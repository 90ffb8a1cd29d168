# mypy: disable-error-code="no-untyped-def"
"""Products with 2:4 sparse weights in Triton: two of each four input features are stored, with their places.

Triton has no sparse tensor-core instruction: this kernel saves the bytes, not the products; torch's has both
(`library`).

Storage, for weights (k, n), k a multiple of 128: `values` (k / 2, n), the two kept values of group g in rows 2 g and
2 g + 1; `places` uint8 (k / 8, n). Blocks of 128 features are 32 groups; byte (16 b + r, n) holds group 32 b + r in its
low and group 32 b + r + 16 in its high four bits, each as first place + 4 * second place.
"""

from typing import Any

from ..bounds import product_bound, product_statement
from ..formats import torch_type
from ..kernel import Device, Judgement, Kernel, Launch, Maker, Operands
from ..language import jit, tl
from ..signatures import Signature
from .dense import finish
from .tiles import ceil_div, power_of_two, splits, stages_of

__all__ = ["TWO_OF_FOUR", "dense_pairs", "judge_pairs", "make_pairs"]

PAIRS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
"""Places that two of four values can have."""


@jit
def pairs_kernel(
    a_ptr, values_ptr, places_ptr, out_ptr, M, N, K, per_split, BM: tl.constexpr, BN: tl.constexpr
):  # fmt: skip
    """Multiply (M, K) by 2:4 sparse (K, N) into (splits, M, N); `per_split` blocks of 128 features each."""
    split = tl.program_id(1)
    rows = tl.program_id(2) * BM + tl.arange(0, BM)
    cols = tl.program_id(0) * BN + tl.arange(0, BN)
    row_ok = rows < M
    col_ok = cols < N
    groups = tl.arange(0, 16)
    a_row = a_ptr + rows[:, None].to(tl.int64) * K
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for block in range(split * per_split, min((split + 1) * per_split, K // 128)):
        bytes_at = (block * 16 + groups[:, None]).to(tl.int64) * N + cols[None, :]
        packed = tl.load(places_ptr + bytes_at, mask=col_ok[None, :], other=0).to(tl.int32)
        for half in tl.static_range(2):
            code = (packed >> (4 * half)) & 15
            group = block * 32 + half * 16 + groups
            pair_at = (2 * group[:, None]).to(tl.int64) * N + cols[None, :]
            first = tl.load(values_ptr + pair_at, mask=col_ok[None, :], other=0.0)
            second = tl.load(values_ptr + pair_at + N, mask=col_ok[None, :], other=0.0)
            for place in tl.static_range(4):
                # The weights of feature 4 g + place of each group: rows of a dense tile, with zeros between.
                w = tl.where((code & 3) == place, first, tl.where((code >> 2) == place, second, 0.0))
                a = tl.load(a_row + (4 * group + place)[None, :], mask=row_ok[:, None], other=0.0)
                total = tl.dot(a, w.to(a.dtype), total)
    at = (split * M + rows[:, None].to(tl.int64)) * N + cols[None, :]
    tl.store(out_ptr + at, total.to(out_ptr.dtype.element_ty), mask=row_ok[:, None] & col_ok[None, :])


def make_pairs(signature: Signature, maker: Maker) -> Operands:
    """Make `a` (m, k), `values` (k / 2, n) and `places` (k / 8, n)."""
    import torch

    s = signature
    a = maker.normal(s.m, s.k, dtype=s.a_dtype)
    values = maker.normal(s.k // 2, s.n, dtype=s.a_dtype, scale=s.k**-0.5)
    codes = torch.tensor([first + 4 * second for first, second in PAIRS], dtype=torch.uint8, device=a.device)
    chosen = codes[maker.integers(s.k // 4, s.n, low=0, high=len(PAIRS)).long()].reshape(-1, 2, 16, s.n)
    places = (chosen[:, 0] | (chosen[:, 1] << 4)).reshape(s.k // 8, s.n).contiguous()
    return {"a": a, "values": values, "places": places, "out": s.a_dtype}


def dense_pairs(operands: Operands) -> Any:
    """Give the weights with their zeros, shape (k, n), in their own format, by the definition of the storage."""
    import torch

    values, places = operands["values"], operands["places"]
    k, n = 2 * values.shape[0], values.shape[1]
    blocks = places.reshape(-1, 16, n)
    codes = torch.cat([blocks & 15, blocks >> 4], dim=1).reshape(k // 4, n).long()
    dense = torch.zeros((k // 4, 4, n), dtype=values.dtype, device=values.device)
    pairs = values.reshape(k // 4, 2, n)
    dense.scatter_(1, (codes & 3)[:, None], pairs[:, :1])
    dense.scatter_(1, (codes >> 2)[:, None], pairs[:, 1:])
    return dense.reshape(k, n)


def judge_pairs(operands: Operands) -> Judgement:
    """Give the product in float64 with the weights as dense ones, and its bound."""
    a, w, out = operands["a"].double(), dense_pairs(operands).double(), operands["out"]
    expected = a @ w
    return Judgement(expected, product_bound(a, w, expected, out, out), product_statement(out, out))


def run_pairs(operands: Operands, launch: Launch) -> Any:
    """Multiply with `pairs_kernel` and add the splits up."""
    import torch

    a, values = operands["a"], operands["values"]
    m, k = a.shape
    n = values.shape[1]
    dtype = torch_type(operands["out"])
    tall, across = min(max(power_of_two(m), 16), 64), 64 if n <= 64 or m <= 32 else 128
    steps = k // 128
    split = splits(ceil_div(m, tall) * ceil_div(n, across), steps, launch.device)
    per_split = ceil_div(steps, split)
    split = ceil_div(steps, per_split)
    out = torch.empty((split, m, n), dtype=torch.float32 if split > 1 else dtype, device=a.device)
    launch(
        pairs_kernel, (ceil_div(n, across), split, ceil_div(m, tall)),
        a, values, operands["places"], out, m, n, k, per_split,
        BM=tall, BN=across, num_warps=8 if tall * across == 64 * 128 else 4, num_stages=stages_of(launch.device),
    )  # fmt: skip
    return finish(out, dtype, launch) if split > 1 else out[0]


def _whole(signature: Signature, device: Device) -> str:
    return f"k={signature.k} is no multiple of 128, the block of the storage" if signature.k % 128 else ""


TWO_OF_FOUR = (
    Kernel(
        name="triton_two_of_four_gemm",
        op="gemm",
        library="triton",
        formats=(("fp16", "fp16_2:4"), ("bf16", "bf16_2:4")),
        make=make_pairs,
        run=run_pairs,
        judge=judge_pairs,
        refuses=_whole,
    ),
)
"""2:4 sparse products."""
