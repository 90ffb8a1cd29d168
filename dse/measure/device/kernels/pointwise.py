# mypy: disable-error-code="no-untyped-def"
"""GELU, SiLU times a gate, sums and rotary positions in Triton."""

from typing import Any

from ..bounds import rounded
from ..formats import ROUNDOFF
from ..kernel import Device, Judgement, Kernel, Launch, Maker, Operands
from ..language import jit, tl
from ..signatures import Signature
from .rowwise import FLOATS
from .tiles import ceil_div, power_of_two

__all__ = ["POINTWISE", "judge_pointwise", "make_pointwise"]

BLOCK = 1024
ALONE = ("gelu", "relu", "tanh")
"""Functions of one tensor."""


@jit
def pointwise_kernel(x_ptr, y_ptr, out_ptr, size, OP: tl.constexpr, BLOCK: tl.constexpr):
    """Compute a function of x, or of x and y, of `size` elements."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    ok = at < size
    x = tl.load(x_ptr + at, mask=ok, other=0.0).to(tl.float32)
    if OP == "gelu":
        out = 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))
    elif OP == "tanh":
        out = 1.0 - 2.0 / (tl.exp(2.0 * x) + 1.0)
    elif OP == "relu":
        out = tl.maximum(x, 0.0)
    else:
        y = tl.load(y_ptr + at, mask=ok, other=0.0).to(tl.float32)
        if OP == "add":
            out = x + y
        elif OP == "mul":
            out = x * y
        else:
            out = x / (1.0 + tl.exp(-x)) * y
    tl.store(out_ptr + at, out.to(out_ptr.dtype.element_ty), mask=ok)


@jit
def rope_kernel(
    x_ptr, cos_ptr, sin_ptr, out_ptr, heads, HALF: tl.constexpr, HP: tl.constexpr, TALL: tl.constexpr
):  # fmt: skip
    """Rotate each head of (tokens, heads, 2 HALF): x_i cos - x_(i+HALF) sin, x_(i+HALF) cos + x_i sin."""
    token = tl.program_id(0)
    head = tl.program_id(1) * TALL + tl.arange(0, TALL)
    dims = tl.arange(0, HP)
    dim_ok = dims < HALF
    cos = tl.load(cos_ptr + token * HALF + dims, mask=dim_ok, other=0.0)[None, :]
    sin = tl.load(sin_ptr + token * HALF + dims, mask=dim_ok, other=0.0)[None, :]
    place = (token.to(tl.int64) * heads + head[:, None]) * (2 * HALF) + dims[None, :]
    ok = (head < heads)[:, None] & dim_ok[None, :]
    low = tl.load(x_ptr + place, mask=ok, other=0.0).to(tl.float32)
    high = tl.load(x_ptr + place + HALF, mask=ok, other=0.0).to(tl.float32)
    tl.store(out_ptr + place, (low * cos - high * sin).to(out_ptr.dtype.element_ty), mask=ok)
    tl.store(out_ptr + place + HALF, (high * cos + low * sin).to(out_ptr.dtype.element_ty), mask=ok)


def head_of(signature: Signature) -> int:
    """Give the elements of a head to rotate; where nothing says it, 128 or what divides the columns."""
    return signature.head_dim or (128 if signature.cols % 128 == 0 else 64)


def make_pointwise(signature: Signature, maker: Maker) -> Operands:
    """Make `x` and `y` (rows, cols); for rope `x` (tokens, heads, head_dim), `cos` and `sin` (tokens, head_dim / 2)."""
    import torch

    s = signature
    if s.op == "rope":
        dim = head_of(s)
        angles = maker.uniform(s.rows, dim // 2, low=-3.2, high=3.2)
        x = maker.normal(s.rows, s.cols // dim, dim, dtype=s.a_dtype)
        return {"x": x, "cos": torch.cos(angles), "sin": torch.sin(angles), "op": "rope", "out": s.a_dtype}
    made = {"x": maker.normal(s.rows, s.cols, dtype=s.a_dtype), "op": s.op, "out": s.a_dtype}
    return made if s.op in ALONE else {**made, "y": maker.normal(s.rows, s.cols, dtype=s.a_dtype)}


def judge_pointwise(operands: Operands) -> Judgement:
    """Give the result in float64; fp32 steps are off by a few of their unit roundoffs of what they add up."""
    import torch

    x, op, out = operands["x"].double(), operands["op"], operands["out"]
    u = ROUNDOFF["fp32"]
    if op == "gelu":
        expected, terms = x * 0.5 * torch.erfc(-x * 0.5**0.5), x.abs()
    elif op == "rope":
        half = x.shape[-1] // 2
        cos, sin = operands["cos"].double()[:, None], operands["sin"].double()[:, None]
        low, high = x[..., :half], x[..., half:]
        expected = torch.cat([low * cos - high * sin, high * cos + low * sin], -1)
        terms = torch.cat([(low * cos).abs() + (high * sin).abs(), (high * cos).abs() + (low * sin).abs()], -1)
    elif op == "tanh":
        expected, terms = x.tanh(), 1 + x.abs()
    elif op == "relu":
        expected, terms = x.clamp(min=0), x.abs()
    else:
        y = operands["y"].double()
        expected = x + y if op == "add" else x * y if op == "mul" else x * torch.sigmoid(x) * y
        terms = x.abs() + y.abs() if op == "add" else expected.abs() * (2 + x.abs())
    return Judgement(expected, 8 * u * terms + rounded(expected, out), f"8 {u:.3g} terms + {ROUNDOFF[out]:.3g} |y|")


def run_pointwise(operands: Operands, launch: Launch) -> Any:
    """Compute with `pointwise_kernel`."""
    import torch

    x = operands["x"]
    out = torch.empty_like(x)
    launch(
        pointwise_kernel, (ceil_div(x.numel(), BLOCK),), x, operands.get("y", x), out, x.numel(),
        OP=operands["op"], BLOCK=BLOCK, num_warps=4, num_stages=1,
    )  # fmt: skip
    return out


def run_rope(operands: Operands, launch: Launch) -> Any:
    """Rotate with `rope_kernel`."""
    import torch

    x = operands["x"]
    tokens, heads, dim = x.shape
    out = torch.empty_like(x)
    half = power_of_two(dim // 2)
    tall = max(1, min(power_of_two(heads), 2048 // half))
    launch(
        rope_kernel, (tokens, ceil_div(heads, tall)), x, operands["cos"], operands["sin"], out, heads,
        HALF=dim // 2, HP=half, TALL=tall, num_warps=4, num_stages=1,
    )  # fmt: skip
    return out


def _refuses(signature: Signature, device: Device) -> str:
    dim = head_of(signature)
    return f"cols={signature.cols} is no multiple of the head of {dim}" if signature.cols % dim or dim % 2 else ""


POINTWISE = (
    Kernel(
        name="triton_pointwise",
        op="gelu silu_mul add mul relu tanh",
        library="triton",
        formats=FLOATS,
        make=make_pointwise,
        run=run_pointwise,
        judge=judge_pointwise,
    ),
    Kernel(
        name="triton_rope",
        op="rope",
        library="triton",
        formats=FLOATS,
        make=make_pointwise,
        run=run_rope,
        judge=judge_pointwise,
        refuses=_refuses,
    ),
)
"""Functions of single elements, and of pairs."""
