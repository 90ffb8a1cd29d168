# mypy: disable-error-code="no-untyped-def"
"""Dense and sparse: weights by tables, and the few that matter most kept in full beside them, in CSR by output feature.

Source: Kim et al., SqueezeLLM, arXiv 2306.07629, section 4.2: 0.45 % of the weights are kept sparse.
"""

from typing import Any

from ..bounds import product_bound, product_statement
from ..formats import torch_type
from ..kernel import Judgement, Kernel, Launch, Maker, Operands
from ..language import jit, tl
from ..signatures import Signature
from .narrow import dense_weight, make_codes, narrow_parts, whole_blocks
from .tiles import ceil_div, power_of_two

__all__ = ["OUTLIERS", "SHARE"]

SHARE = 0.0045
"""Part of the weights that is sparse. Source: SqueezeLLM, section 5.1 (0.45 %)."""


@jit
def outlier_kernel(
    parts_ptr, a_ptr, starts_ptr, features_ptr, values_ptr, out_ptr, M, N, K,
    PARTS: tl.constexpr, BM: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add (PARTS, M, N) up, and to each output feature its sparse weights times the activations, into (M, N)."""
    col = tl.program_id(0)
    rows = tl.program_id(1) * BM + tl.arange(0, BM)
    row_ok = rows < M
    lane = tl.arange(0, BLOCK)
    begin = tl.load(starts_ptr + col)
    end = tl.load(starts_ptr + col + 1)
    sums = tl.zeros((BM, BLOCK), dtype=tl.float32)
    for start in range(begin, end, BLOCK):
        at = start + lane
        ok = at < end
        feature = tl.load(features_ptr + at, mask=ok, other=0)
        value = tl.load(values_ptr + at, mask=ok, other=0.0).to(tl.float32)
        a = tl.load(
            a_ptr + rows[:, None].to(tl.int64) * K + feature[None, :], mask=row_ok[:, None] & ok[None, :], other=0.0
        )
        sums += a.to(tl.float32) * value[None, :]
    total = tl.sum(sums, axis=1)
    for part in tl.static_range(PARTS):
        total += tl.load(parts_ptr + (part * M + rows.to(tl.int64)) * N + col, mask=row_ok, other=0.0)
    tl.store(out_ptr + rows.to(tl.int64) * N + col, total.to(out_ptr.dtype.element_ty), mask=row_ok)


def make_outliers(signature: Signature, maker: Maker) -> Operands:
    """Make the operands of a table product, and CSR arrays: `starts` (n + 1,), `features` and `values` (kept,)."""
    import torch

    s = signature
    kept = max(1, round(s.k * s.n * SHARE))
    places = maker.integers(kept, low=0, high=s.n).long().sort().values  # output features, as many as fall on each
    features = maker.integers(kept, low=0, high=s.k)
    starts = torch.zeros(s.n + 1, dtype=torch.int32, device=places.device)
    starts[1:] = torch.bincount(places, minlength=s.n).cumsum(0).to(torch.int32)
    values = maker.normal(kept, dtype=s.a_dtype, scale=4 * s.k**-0.5)
    return {**make_codes(signature, maker), "starts": starts, "features": features, "values": values}


def judge_outliers(operands: Operands) -> Judgement:
    """Give the product in float64 with table weights plus sparse ones, and its bound."""
    import torch

    a, out = operands["a"].double(), operands["out"]
    w = dense_weight(operands)
    counts = operands["starts"].long().diff()
    cols = torch.arange(w.shape[1], device=w.device).repeat_interleave(counts)
    w.index_put_((operands["features"].long(), cols), operands["values"].double(), accumulate=True)
    expected = a @ w
    return Judgement(expected, product_bound(a, w, expected, out, out), product_statement(out, out))


def run_outliers(operands: Operands, launch: Launch) -> Any:
    """Multiply by tables, then add the sparse weights while the splits are added up."""
    import torch

    a, starts = operands["a"], operands["starts"]
    m, k = a.shape
    n = starts.shape[0] - 1
    parts = narrow_parts(operands, launch)
    out = torch.empty((m, n), dtype=torch_type(operands["out"]), device=a.device)
    tall = min(power_of_two(m), 16)
    launch(
        outlier_kernel, (n, ceil_div(m, tall)),
        parts, a, starts, operands["features"], operands["values"], out, m, n, k,
        PARTS=parts.shape[0], BM=tall, BLOCK=32, num_warps=1, num_stages=2,
    )  # fmt: skip
    return out


OUTLIERS = (
    Kernel(
        name="triton_dense_and_sparse_gemm",
        op="gemm",
        library="triton",
        formats=tuple((half, f"{lut}+csr") for half in ("fp16", "bf16") for lut in ("lut4", "lut3")),
        make=make_outliers,
        run=run_outliers,
        judge=judge_outliers,
        refuses=whole_blocks,
    ),
)
"""Tables and outliers."""
