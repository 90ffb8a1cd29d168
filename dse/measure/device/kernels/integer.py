# mypy: disable-error-code="no-untyped-def"
"""I-BERT's softmax, GELU and LayerNorm in Triton, with integers alone; `integers` says what each step is.

Source: Kim et al., I-BERT: Integer-only BERT Quantization, ICML 2021, Algorithms 1 to 4.
"""

from typing import Any

from ..integers import NORM_BITS, RECIPROCAL_BITS, SHIFTS, exp_constants, gelu_constants, i_gelu, i_layernorm, i_softmax
from ..kernel import Device, Judgement, Kernel, Launch, Maker, Operands
from ..language import jit, tl
from ..signatures import Signature
from .rowwise import WIDEST, warps_of
from .tiles import ceil_div, power_of_two

__all__ = ["INTEGER", "SCALE"]

SCALE = 2.0**-10
"""Of the 32-bit inputs of softmax and GELU. Assumption: fine enough that rounding them is not what is seen."""

PROBABILITY_BITS = 8
BLOCK = 1024


@jit
def i_softmax_kernel(
    q_ptr, out_ptr, cols, ln2, b, c, SHIFTS: tl.constexpr, WIDE: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Take i-softmax of each row of int32 (rows, cols) into uint8; WIDE: bits of the reciprocal of the sum."""
    at = tl.arange(0, BLOCK)
    ok = at < cols
    place = tl.program_id(0).to(tl.int64) * cols + at
    q = tl.load(q_ptr + place, mask=ok, other=-2147483648)
    q = tl.maximum(q.to(tl.int64) - tl.max(q, axis=0), -SHIFTS * ln2).to(tl.int32)
    z = (-q) // ln2
    p = q + z * ln2
    values = tl.where(ok, ((p + b) * (p + b) + c) >> z, 0).to(tl.int64)
    total = tl.sum(values, axis=0)
    one = tl.full((), 1, dtype=tl.int64)
    factor = (one << WIDE) // total
    y = tl.minimum((values * factor) >> (WIDE - BITS), (1 << BITS) - 1)
    tl.store(out_ptr + place, y.to(out_ptr.dtype.element_ty), mask=ok)


@jit
def i_gelu_kernel(q_ptr, out_ptr, size, b, c, one, BLOCK: tl.constexpr):
    """Take i-GELU of `size` int32 elements into int64."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    ok = at < size
    q = tl.load(q_ptr + at, mask=ok, other=0)
    magnitude = tl.where(q < 0, -q, q)
    inner = tl.minimum(magnitude, -b) + b
    erf = inner * inner + c
    erf = tl.where(q < 0, -erf, tl.where(q > 0, erf, 0))
    tl.store(out_ptr + at, q.to(tl.int64) * (erf + one).to(tl.int64), mask=ok)


@jit
def i_layernorm_kernel(q_ptr, weight_ptr, bias_ptr, out_ptr, cols, WIDE: tl.constexpr, BLOCK: tl.constexpr):
    """Take i-LayerNorm of each row of int32 (rows, cols) into int64."""
    at = tl.arange(0, BLOCK)
    ok = at < cols
    place = tl.program_id(0).to(tl.int64) * cols + at
    q = tl.load(q_ptr + place, mask=ok, other=0).to(tl.int64)
    # Rounded to nearest, halves up. Division truncates, so what is below zero is corrected.
    twice = 2 * tl.sum(q, axis=0) + cols
    mean = twice // (2 * cols)
    mean = tl.where(mean * (2 * cols) > twice, mean - 1, mean)
    centered = tl.where(ok, q - mean, 0)
    square = tl.sum(centered * centered, axis=0)
    # i-sqrt, Algorithm 4: Newton's method from a power of two above the root, until it no longer falls.
    bits = tl.full((), 0, dtype=tl.int64)
    left = square
    for step in tl.static_range(6):
        big = (left >> (32 >> step)) > 0
        bits += tl.where(big, 32 >> step, 0)
        left = tl.where(big, left >> (32 >> step), left)
    bits += left  # 1 where anything is left: the length in bits
    root = tl.full((), 1, dtype=tl.int64) << ((bits + 1) // 2)
    for _ in tl.static_range(12):
        root = tl.minimum(root, (root + square // tl.maximum(root, 1)) >> 1)
    factor = (tl.full((), 1, dtype=tl.int64) << (WIDE + 1)) // tl.maximum(root, 1)
    weight = tl.load(weight_ptr + at, mask=ok, other=0).to(tl.int64)
    bias = tl.load(bias_ptr + at, mask=ok, other=0).to(tl.int64)
    tl.store(out_ptr + place, ((centered * factor) >> 1) * weight + bias, mask=ok)


def make_integers(signature: Signature, maker: Maker) -> Operands:
    """Make `q` int32 (rows, cols), about normal of scale `SCALE`, and for LayerNorm integers `weight`, `bias`."""
    import torch

    s = signature
    spread = 3.0 if s.op == "i_softmax" else 1.0
    q = (maker.normal(s.rows, s.cols, scale=spread) / SCALE).round().to(torch.int32)
    made: dict[str, Any] = {"q": q, "op": s.op}
    if s.op == "i_layernorm":
        made["weight"] = maker.integers(s.cols, low=-127, high=128)
        made["bias"] = maker.integers(s.cols, low=-(2**30), high=2**30)
    return made


def judge_integers(operands: Operands) -> Judgement:
    """Give the exact integers of the reference."""
    import torch

    q = operands["q"].cpu().numpy().astype("int64")
    if operands["op"] == "i_softmax":
        found = i_softmax(q, SCALE, PROBABILITY_BITS)
    elif operands["op"] == "i_gelu":
        found = i_gelu(q, SCALE)
    else:
        weight, bias = (operands[name].cpu().numpy().astype("int64") for name in ("weight", "bias"))
        found = i_layernorm(q, weight, bias)
    return Judgement(torch.from_numpy(found).to(operands["q"].device), None, "equal, bit for bit")


def run_integers(operands: Operands, launch: Launch) -> Any:
    """Compute with the kernel of the operation."""
    import torch

    q, op = operands["q"], operands["op"]
    rows, cols = q.shape
    block = power_of_two(cols)
    warps = {"num_warps": warps_of(block), "num_stages": 1}
    if op == "i_softmax":
        out, k = torch.empty((rows, cols), dtype=torch.uint8, device=q.device), exp_constants(SCALE)
        launch(
            i_softmax_kernel, (rows,), q, out, cols, k.ln2, k.b, k.c,
            SHIFTS=SHIFTS, WIDE=RECIPROCAL_BITS, BITS=PROBABILITY_BITS, BLOCK=block, **warps,
        )  # fmt: skip
        return out
    out = torch.empty((rows, cols), dtype=torch.int64, device=q.device)
    if op == "i_gelu":
        g = gelu_constants(SCALE)
        grid = (ceil_div(q.numel(), BLOCK),)
        launch(i_gelu_kernel, grid, q, out, q.numel(), g.b, g.c, g.one, BLOCK=BLOCK, num_warps=4, num_stages=1)
    else:
        launch(
            i_layernorm_kernel, (rows,), q, operands["weight"], operands["bias"], out, cols,
            WIDE=NORM_BITS, BLOCK=block, **warps,
        )  # fmt: skip
    return out


def _refuses(signature: Signature, device: Device) -> str:
    return "" if signature.cols <= WIDEST else f"cols={signature.cols}: one block holds a row of {WIDEST} at most"


INTEGER = tuple(
    Kernel(
        name=f"triton_{op}",
        op=op,
        library="triton",
        formats=(("int32", ""),),
        make=make_integers,
        run=run_integers,
        judge=judge_integers,
        refuses=_refuses,
    )
    for op in ("i_softmax", "i_gelu", "i_layernorm")
)
"""Integer-only functions."""
