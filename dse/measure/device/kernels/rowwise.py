# mypy: disable-error-code="no-untyped-def"
"""LayerNorm, RMSNorm and softmax in Triton: one block a row, read once, written once."""

from collections.abc import Callable
from typing import Any

from ..bounds import rounded
from ..formats import ROUNDOFF
from ..kernel import Device, Judgement, Kernel, Launch, Maker, Operands
from ..language import jit, tl
from ..signatures import Signature
from .tiles import power_of_two

__all__ = ["EPSILON", "FLOATS", "ROWWISE", "judge_norm", "judge_softmax", "make_rows", "warps_of"]

EPSILON = 1e-5
FLOATS = (("fp32", ""), ("fp16", ""), ("bf16", ""))
WIDEST = 1 << 16
"""Longest row that one block holds in its registers."""


@jit
def norm_kernel(
    x_ptr, weight_ptr, bias_ptr, out_ptr, cols, epsilon, CENTERED: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Normalise each row of (rows, cols): LayerNorm with CENTERED, else RMSNorm."""
    at = tl.arange(0, BLOCK)
    ok = at < cols
    place = tl.program_id(0).to(tl.int64) * cols + at
    x = tl.load(x_ptr + place, mask=ok, other=0.0).to(tl.float32)
    if CENTERED:
        x = tl.where(ok, x - tl.sum(x, axis=0) / cols, 0.0)
    y = x * (1.0 / tl.sqrt(tl.sum(x * x, axis=0) / cols + epsilon))
    y = y * tl.load(weight_ptr + at, mask=ok, other=0.0).to(tl.float32)
    if CENTERED:
        y += tl.load(bias_ptr + at, mask=ok, other=0.0).to(tl.float32)
    tl.store(out_ptr + place, y.to(out_ptr.dtype.element_ty), mask=ok)


@jit
def softmax_kernel(x_ptr, out_ptr, cols, BLOCK: tl.constexpr):
    """Take the softmax of each row of (rows, cols)."""
    at = tl.arange(0, BLOCK)
    ok = at < cols
    place = tl.program_id(0).to(tl.int64) * cols + at
    x = tl.load(x_ptr + place, mask=ok, other=-float("inf")).to(tl.float32)
    weights = tl.exp(x - tl.max(x, axis=0))
    y = weights / tl.sum(weights, axis=0)
    tl.store(out_ptr + place, y.to(out_ptr.dtype.element_ty), mask=ok)


def make_rows(signature: Signature, maker: Maker) -> Operands:
    """Make `x` (rows, cols) and, for norms, `weight` and `bias` (cols,)."""
    s = signature
    made: dict[str, Any] = {"x": maker.normal(s.rows, s.cols, dtype=s.a_dtype), "out": s.a_dtype}
    if s.op != "softmax":
        made["weight"] = maker.normal(s.cols, dtype=s.a_dtype)
        made["bias"] = maker.normal(s.cols, dtype=s.a_dtype)
    return made


def judge_norm(centered: bool) -> Callable[[Operands], Judgement]:
    """Make the judge of LayerNorm or RMSNorm.

    Sums of n fp32 values in any order are off by n u of the sum of magnitudes at most, and by far less with random
    signs: 5 sqrt(n) u. The mean's error moves every element, that of the variance scales it.
    """

    def judge(operands: Operands) -> Judgement:
        x, weight, out = operands["x"].double(), operands["weight"].double(), operands["out"]
        if centered:
            x = x - x.mean(-1, keepdim=True)
        scale = (x.square().mean(-1, keepdim=True) + EPSILON).rsqrt()
        expected = x * scale * weight + (operands["bias"].double() if centered else 0.0)
        sums = (5 * x.shape[-1] ** 0.5 + 8) * ROUNDOFF["fp32"]
        slack = sums * (scale * x.abs().mean(-1, keepdim=True) + (x * scale).abs()) * weight.abs()
        slack = slack + 4 * ROUNDOFF["fp32"] * expected.abs()
        text = f"(5 sqrt(n) + 8) {ROUNDOFF['fp32']:.3g} (mean|z| + |z|) |w| + {ROUNDOFF[out]:.3g} |y|"
        return Judgement(expected, slack + rounded(expected, out), text)

    return judge


def judge_softmax(operands: Operands) -> Judgement:
    """Give the softmax in float64; exponents are off by u |x - max|, their sum of positive terms by 5 sqrt(n) u."""
    x, out = operands["x"].double(), operands["out"]
    expected = x.softmax(-1)
    shifted = (x - x.amax(-1, keepdim=True)).abs()
    relative = (4 * shifted + 5 * x.shape[-1] ** 0.5 + 8) * ROUNDOFF["fp32"]
    text = f"(4 |x - max| + 5 sqrt(n) + 8) {ROUNDOFF['fp32']:.3g} y + {ROUNDOFF[out]:.3g} y"
    # Below the least normal number a GPU may flush to zero.
    return Judgement(expected, expected * relative + rounded(expected, out) + 2.0**-126, text)


def warps_of(block: int) -> int:
    """Give the warps for a row: some eight values a thread, 4 to 16 warps."""
    return min(max(block // 256, 4), 16)


def run_norm(centered: bool) -> Callable[[Operands, Launch], Any]:
    """Make the launcher of LayerNorm or RMSNorm."""

    def run(operands: Operands, launch: Launch) -> Any:
        import torch

        x = operands["x"]
        rows, cols = x.shape
        out, block = torch.empty_like(x), power_of_two(cols)
        launch(
            norm_kernel, (rows,), x, operands["weight"], operands["bias"], out, cols, EPSILON,
            CENTERED=centered, BLOCK=block, num_warps=warps_of(block), num_stages=1,
        )  # fmt: skip
        return out

    return run


def run_softmax(operands: Operands, launch: Launch) -> Any:
    """Take the softmax with `softmax_kernel`."""
    import torch

    x = operands["x"]
    rows, cols = x.shape
    out, block = torch.empty_like(x), power_of_two(cols)
    launch(softmax_kernel, (rows,), x, out, cols, BLOCK=block, num_warps=warps_of(block), num_stages=1)
    return out


def _refuses(signature: Signature, device: Device) -> str:
    return "" if signature.cols <= WIDEST else f"cols={signature.cols}: one block holds a row of {WIDEST} at most"


ROWWISE = tuple(
    Kernel(
        name=f"triton_{op}",
        op=op,
        library="triton",
        formats=FLOATS,
        make=make_rows,
        run=run,
        judge=judge,
        refuses=_refuses,
    )
    for op, run, judge in (
        ("layernorm", run_norm(True), judge_norm(True)),
        ("rmsnorm", run_norm(False), judge_norm(False)),
        ("softmax", run_softmax, judge_softmax),
    )
)
"""Functions of whole rows."""
