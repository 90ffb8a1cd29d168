# mypy: disable-error-code="no-untyped-def"
"""Attention of one new token per sequence in Triton: keys split over blocks, queries that share keys packed together.

The cache is one piece per sequence or paged, in the activations' format, in fp8 with one scale, or in int8 with a scale
per token and head.

Source: Dao et al., Flash-Decoding, 2023 (splits of the keys, then one pass that joins them); Kwon et al., Efficient
Memory Management for LLM Serving with PagedAttention, SOSP 2023 (pages).
"""

from typing import Any

from ..kernel import Device, Judgement, Kernel, Launch, Maker, Operands
from ..language import jit, tl
from ..signatures import Signature
from .dense import needs_fp8
from .prefill import LOG2_E, attend
from .tiles import ceil_div, power_of_two

__all__ = ["DECODE", "judge_decode", "make_decode", "stored_cache"]

KEYS = 64
"""Keys of one step of a block."""


@jit
def decode_kernel(
    q_ptr, k_ptr, v_ptr, k_scale_ptr, v_scale_ptr, pages_ptr, parts_ptr, high_ptr, total_ptr,
    scale, KV, heads, kv_heads, per_split, table_width, splits,
    D: tl.constexpr, DP: tl.constexpr, GROUP: tl.constexpr, GP: tl.constexpr, BN: tl.constexpr,
    PAGE: tl.constexpr, SCALE: tl.constexpr,
):  # fmt: skip
    """Attend to one split of the keys of one key head.

    Caches are (page, PAGE, kv_heads, D), or with PAGE 0 (batch, KV, kv_heads, D); SCALE: 0 none, 1 one number, 2 per
    token and head. Writes context before division (batch, heads, splits, D), maxima and sums (batch, heads, splits).
    """
    batch = tl.program_id(0) // kv_heads
    kv_head = tl.program_id(0) % kv_heads
    split = tl.program_id(1)
    queries = tl.arange(0, GP)
    query_ok = queries < GROUP
    dims = tl.arange(0, DP)
    dim_ok = dims < D
    head = batch * heads + kv_head * GROUP + queries
    q = tl.load(q_ptr + head[:, None] * D + dims[None, :], mask=query_ok[:, None] & dim_ok[None, :], other=0.0)
    high = tl.full((GP,), -float("inf"), dtype=tl.float32)
    total = tl.zeros((GP,), dtype=tl.float32)
    context = tl.zeros((GP, DP), dtype=tl.float32)
    k_one = 1.0
    v_one = 1.0
    if SCALE == 1:
        k_one = tl.load(k_scale_ptr)
        v_one = tl.load(v_scale_ptr)
    begin = split * per_split
    for start in range(begin, min(begin + per_split, KV), BN):
        keys = start + tl.arange(0, BN)
        key_ok = keys < KV
        if PAGE > 0:
            page = tl.load(pages_ptr + batch * table_width + keys // PAGE, mask=key_ok, other=0).to(tl.int64)
            token = (page * PAGE + keys % PAGE) * kv_heads + kv_head
        else:
            token = (batch.to(tl.int64) * KV + keys) * kv_heads + kv_head
        place = token[:, None] * D + dims[None, :]
        ok = key_ok[:, None] & dim_ok[None, :]
        k = tl.load(k_ptr + place, mask=ok, other=0.0).to(q.dtype)
        scores = tl.dot(q, tl.trans(k)) * (scale * k_one)
        if SCALE == 2:
            scores = scores * tl.load(k_scale_ptr + token, mask=key_ok, other=0.0)[None, :]
        scores = tl.where(key_ok[None, :], scores, -float("inf"))
        new_high = tl.maximum(high, tl.max(scores, axis=1))
        weights = tl.exp2(scores - new_high[:, None])
        shrink = tl.exp2(high - new_high)
        total = total * shrink + tl.sum(weights, axis=1)
        v = tl.load(v_ptr + place, mask=ok, other=0.0).to(q.dtype)
        if SCALE == 2:
            weights = weights * tl.load(v_scale_ptr + token, mask=key_ok, other=0.0)[None, :]
        context = tl.dot(weights.to(q.dtype), v, context * shrink[:, None])
        high = new_high
    at = head * splits + split
    tl.store(high_ptr + at, high, mask=query_ok)
    tl.store(total_ptr + at, total, mask=query_ok)
    out_ok = query_ok[:, None] & dim_ok[None, :]
    tl.store(parts_ptr + at[:, None].to(tl.int64) * D + dims[None, :], context * v_one, mask=out_ok)


@jit
def join_kernel(
    parts_ptr, high_ptr, total_ptr, out_ptr, splits, D: tl.constexpr, DP: tl.constexpr, SP: tl.constexpr
):  # fmt: skip
    """Join the splits of one query head: parts (heads, splits, D) into (heads, D). SP: splits rounded up."""
    head = tl.program_id(0)
    split = tl.arange(0, SP)
    ok = split < splits
    dims = tl.arange(0, DP)
    high = tl.load(high_ptr + head * splits + split, mask=ok, other=-float("inf"))
    share = tl.exp2(high - tl.max(high, axis=0))
    total = tl.sum(share * tl.load(total_ptr + head * splits + split, mask=ok, other=0.0), axis=0)
    part_ok = ok[:, None] & (dims < D)[None, :]
    place = (head.to(tl.int64) * splits + split[:, None]) * D + dims[None, :]
    parts = tl.load(parts_ptr + place, mask=part_ok, other=0.0)
    context = tl.sum(parts * share[:, None], axis=0) / total
    tl.store(out_ptr + head * D + dims, context.to(out_ptr.dtype.element_ty), mask=dims < D)


def make_decode(signature: Signature, maker: Maker) -> Operands:
    """Make `q` (batch, heads, head_dim), caches `k`, `v` and, where it has them, `pages`, `k_scale`, `v_scale`."""
    s = signature
    page = s.page_size
    if page:
        width = ceil_div(s.kv_len, page)
        shape: tuple[int, ...] = (s.batch * width, page, s.kv_heads, s.head_dim)
    else:
        width, shape = 0, (s.batch, s.kv_len, s.kv_heads, s.head_dim)
    made: dict[str, Any] = {"q": maker.normal(s.batch, s.heads, s.head_dim, dtype=s.a_dtype), "out": s.a_dtype}
    for name in ("k", "v"):
        made[name] = maker.normal(*shape, dtype=s.kv_dtype)
        if s.kv_dtype == "int8":
            made[f"{name}_scale"] = maker.uniform(*shape[:3], low=0.02, high=0.04)
        elif s.kv_dtype == "fp8":
            made[f"{name}_scale"] = maker.uniform(1, low=0.8, high=1.2)
    if page:
        made["pages"] = maker.permutation(s.batch * width).reshape(s.batch, width)
    return {**made, "kv_len": s.kv_len, "kv_dtype": s.kv_dtype}


def stored_cache(operands: Operands, name: str) -> Any:
    """Give a cache in float64, shape (batch, kv_heads, kv_len, head_dim), by the definition of its storage."""
    cache = operands[name].double()
    if operands["kv_dtype"] == "int8":
        cache = cache * operands[f"{name}_scale"].double()[..., None]
    elif operands["kv_dtype"] == "fp8":
        cache = cache * operands[f"{name}_scale"].double()
    if "pages" in operands:
        cache = cache[operands["pages"].long()].flatten(1, 2)[:, : operands["kv_len"]]
    return cache.transpose(1, 2)


def judge_decode(operands: Operands) -> Judgement:
    """Give the attention in float64 and its bound."""
    q, out = operands["q"][:, :, None], operands["out"]
    found = attend(q, stored_cache(operands, "k"), stored_cache(operands, "v"), False, out, out)
    assert found.bound is not None
    return Judgement(found.expected[:, :, 0], found.bound[:, :, 0], found.statement)


def run_decode(operands: Operands, launch: Launch) -> Any:
    """Attend with `decode_kernel`, then join the splits."""
    import torch

    q, k, v = operands["q"], operands["k"], operands["v"]
    batch, heads, dim = q.shape
    keys, kv_heads = operands["kv_len"], k.shape[2]
    group = heads // kv_heads
    wanted = max(1, min(2 * launch.device.sms // (batch * kv_heads), ceil_div(keys, 2 * KEYS), 64))
    per_split = ceil_div(ceil_div(keys, wanted), KEYS) * KEYS
    split = ceil_div(keys, per_split)
    padded = max(power_of_two(dim), 16)
    parts = torch.empty((batch, heads, split, dim), dtype=torch.float32, device=q.device)
    high = torch.empty((batch, heads, split), dtype=torch.float32, device=q.device)
    total, out = torch.empty_like(high), torch.empty_like(q)
    pages = operands.get("pages")
    launch(
        decode_kernel, (batch * kv_heads, split),
        q, k, v, operands.get("k_scale", q), operands.get("v_scale", q), q if pages is None else pages,
        parts, high, total, dim**-0.5 * LOG2_E, keys, heads, kv_heads, per_split,
        0 if pages is None else pages.shape[1], split,
        D=dim, DP=padded, GROUP=group, GP=max(power_of_two(group), 16), BN=KEYS,
        PAGE=0 if pages is None else k.shape[1], SCALE={"int8": 2, "fp8": 1}.get(operands["kv_dtype"], 0),
        num_warps=4, num_stages=3 if padded <= 128 else 2,
    )  # fmt: skip
    launch(
        join_kernel, (batch * heads,), parts, high, total, out, split,
        D=dim, DP=padded, SP=power_of_two(split), num_warps=4, num_stages=2,
    )  # fmt: skip
    return out


def _refuses(signature: Signature, device: Device) -> str:
    if signature.q_len != 1:
        return f"q_len={signature.q_len}: decoding takes one query token per sequence"
    if signature.heads % signature.kv_heads:
        return f"heads={signature.heads} is no multiple of kv_heads={signature.kv_heads}"
    return needs_fp8(signature, device)


DECODE = (
    Kernel(
        name="triton_flash_decode",
        op="attention_decode",
        library="triton",
        formats=tuple((half, cache) for half in ("fp16", "bf16") for cache in (half, "int8", "fp8")),
        make=make_decode,
        run=run_decode,
        judge=judge_decode,
        refuses=_refuses,
    ),
)
"""Attention of one new token per sequence."""
