# mypy: disable-error-code="no-untyped-def"
"""Attention over a prompt in Triton: scores, softmax and context in one kernel, causal or not, with shared keys.

Source: Dao, FlashAttention-2, arXiv 2307.08691, Algorithm 1 (running maximum and sum, one pass over the keys).
"""

from typing import Any

from ..formats import ACCUMULATE, ROUNDOFF
from ..kernel import Judgement, Kernel, Launch, Maker, Operands
from ..language import jit, tl
from ..signatures import Signature
from .tiles import ceil_div, power_of_two

__all__ = ["PREFILL", "attend", "judge_prefill", "make_prefill"]

LOG2_E = 1.4426950408889634


@jit
def prefill_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, scale, Q, KV, heads, kv_heads,
    D: tl.constexpr, DP: tl.constexpr, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """Attend with (batch, heads, Q, D) to (batch, kv_heads, KV, D); `scale` includes log2(e). DP: D rounded up."""
    tile = tl.program_id(0)
    batch = tl.program_id(1) // heads
    head = tl.program_id(1) % heads
    kv_at = (batch * kv_heads + head // (heads // kv_heads)).to(tl.int64) * KV * D
    q_at = (batch * heads + head).to(tl.int64) * Q * D
    rows = tile * BM + tl.arange(0, BM)
    dims = tl.arange(0, DP)
    dim_ok = dims < D
    q_ok = (rows[:, None] < Q) & dim_ok[None, :]
    q = tl.load(q_ptr + q_at + rows[:, None] * D + dims[None, :], mask=q_ok, other=0.0)
    high = tl.full((BM,), -float("inf"), dtype=tl.float32)
    total = tl.zeros((BM,), dtype=tl.float32)
    context = tl.zeros((BM, DP), dtype=tl.float32)
    last = KV
    if CAUSAL:
        last = min(KV, (tile + 1) * BM + KV - Q)
    for start in range(0, last, BN):
        keys = start + tl.arange(0, BN)
        key_ok = keys < KV
        k = tl.load(
            k_ptr + kv_at + keys[None, :] * D + dims[:, None], mask=key_ok[None, :] & dim_ok[:, None], other=0.0
        )
        scores = tl.dot(q, k) * scale
        seen = key_ok[None, :]
        if CAUSAL:
            seen = seen & (keys[None, :] <= rows[:, None] + (KV - Q))
        scores = tl.where(seen, scores, -float("inf"))
        new_high = tl.maximum(high, tl.max(scores, axis=1))
        safe = tl.where(new_high == -float("inf"), 0.0, new_high)
        weights = tl.exp2(scores - safe[:, None])
        shrink = tl.exp2(high - safe)
        total = total * shrink + tl.sum(weights, axis=1)
        v = tl.load(
            v_ptr + kv_at + keys[:, None] * D + dims[None, :], mask=key_ok[:, None] & dim_ok[None, :], other=0.0
        )
        context = tl.dot(weights.to(v.dtype), v, context * shrink[:, None])
        high = new_high
    context = context / total[:, None]
    tl.store(out_ptr + q_at + rows[:, None] * D + dims[None, :], context.to(out_ptr.dtype.element_ty), mask=q_ok)


def make_prefill(signature: Signature, maker: Maker) -> Operands:
    """Make `q` (batch, heads, q_len, head_dim) and `k`, `v` (batch, kv_heads, kv_len, head_dim)."""
    s = signature
    q = maker.normal(s.batch, s.heads, s.q_len, s.head_dim, dtype=s.a_dtype)
    k = maker.normal(s.batch, s.kv_heads, s.kv_len, s.head_dim, dtype=s.a_dtype)
    v = maker.normal(s.batch, s.kv_heads, s.kv_len, s.head_dim, dtype=s.a_dtype)
    return {"q": q, "k": k, "v": v, "causal": bool(s.causal), "out": s.a_dtype}


def attend(q: Any, k: Any, v: Any, causal: bool, out: str, inner: str) -> Judgement:
    """Attend in float64, and bound what a kernel may be off by, head by head.

    With P the exact weights, a kernel that keeps scores and sums in fp32 and rounds weights to `inner` before the
    second product is off by 2 ds sum_j P_j |v_j| from errors ds of the scores (their own and the maximum's), by
    u(inner) sum_j P_j |v_j| from the rounded weights, by k u(fp32) of the same from the sums, and by u(out) |y|.
    """
    import torch

    batch, heads, queries, dim = q.shape
    group = heads // k.shape[1]
    keys = k.shape[2]
    expected = torch.empty((batch, heads, queries, dim), dtype=torch.float64, device=q.device)
    bound = torch.empty_like(expected)
    seen = torch.ones((queries, keys), dtype=torch.bool, device=q.device).tril(keys - queries) if causal else None
    u = ACCUMULATE[inner if inner in ("fp16", "bf16", "fp32") else "fp16"]
    for b in range(batch):
        for h in range(heads):
            query, key, value = q[b, h].double(), k[b, h // group].double(), v[b, h // group].double()
            scores = query @ key.t() * dim**-0.5
            # 5 sigmas, d products; and exp2 and its argument, of 4 units each with the scores that large
            slack = (5 * dim**0.5 * u * ((query**2) @ (key**2).t()).sqrt()).amax() + 8 * u * scores.abs().amax()
            if seen is not None:
                scores = scores.masked_fill(~seen, -torch.inf)
            weights = torch.softmax(scores, dim=-1)
            expected[b, h] = weights @ value
            spread = weights @ value.abs()
            sums = 5 * u * keys**0.5
            bound[b, h] = spread * (2 * slack + 2 * ROUNDOFF[inner] + sums + 8 * u) + expected[b, h].abs() * (
                1.01 * ROUNDOFF[out]
            )
    return Judgement(expected, bound, f"(2 ds + 2 {ROUNDOFF[inner]:.3g}) sum P|v| + {ROUNDOFF[out]:.3g} |y|")


def judge_prefill(operands: Operands) -> Judgement:
    """Give the attention in float64 and its bound."""
    out = operands["out"]
    return attend(operands["q"], operands["k"], operands["v"], operands["causal"], out, out)


def run_prefill(operands: Operands, launch: Launch) -> Any:
    """Attend with `prefill_kernel`."""
    import torch

    q, k, v = operands["q"], operands["k"], operands["v"]
    batch, heads, queries, dim = q.shape
    kv_heads, keys = k.shape[1:3]
    out = torch.empty_like(q)
    padded = max(power_of_two(dim), 16)
    tall = 128 if queries > 64 and padded <= 128 else 64 if queries > 16 else 16
    deep = 64 if padded <= 64 or (padded <= 128 and launch.device.capability >= 90) else 32
    launch(
        prefill_kernel, (ceil_div(queries, tall), batch * heads),
        q, k, v, out, dim**-0.5 * LOG2_E, queries, keys, heads, kv_heads,
        D=dim, DP=padded, CAUSAL=operands["causal"], BM=tall, BN=deep,
        num_warps=8 if tall * padded >= 128 * 128 else 4, num_stages=2,
    )  # fmt: skip
    return out


PREFILL = (
    Kernel(
        name="triton_flash_prefill",
        op="attention_prefill",
        library="triton",
        formats=(("fp16", "fp16"), ("bf16", "bf16")),
        make=make_prefill,
        run=run_prefill,
        judge=judge_prefill,
    ),
)
"""Attention over a prompt."""
