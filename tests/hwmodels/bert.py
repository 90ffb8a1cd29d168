"""BERT-Base by hand: about 300 operators, for tests and benchmarks of the cost path.

Source of the sizes: Devlin et al., BERT, 2018: 12 layers, hidden 768, 12 heads, feed-forward 3072.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workloads import Operator, Tensor, Workload, axis, format_code

HIDDEN, HEADS, HEAD_DIM, FFN, LAYERS = 768, 12, 64, 3072, 12
WEIGHTS = ("q", "k", "v", "out", "up", "down")
_FP16 = format_code("fp16")


def act(name: str, *axes: str, bits: Any = 16) -> Tensor:
    return Tensor(name=name, axes=tuple(axis(a) for a in axes), bits=bits, format=_FP16)


def weight(name: str, *axes: str, bits: Any = 16, pattern: Any = 0) -> Tensor:
    return Tensor(name=name, axes=tuple(axis(a) for a in axes), role="weight", bits=bits, format=_FP16, pattern=pattern)


def operator(name: str, kind: str, dims: dict[str, Any], inputs: Any, output: Tensor, flops: float, op_type: str = "",
             code: Any = _FP16) -> Operator:  # fmt: skip
    return Operator(
        name=name,
        op_type=op_type or kind,
        kind=kind,
        dims=dims,
        inputs=tuple(inputs),
        outputs=(output,),
        flops_per_point=flops,
        format=code,
        block=name.rsplit(".", 1)[0],
    )


def bert(
    tokens: Any = 128,
    batch: int = 1,
    bits: Sequence[Any] | None = None,
    heads: Any = HEADS,
    codes: Sequence[Any] | None = None,
    layers: int = LAYERS,
) -> Workload:
    """Build it.

    Args:
        tokens: Sequence length.
        batch: Samples.
        bits: Widths of the weights, six a layer in the order of `WEIGHTS`; one value or shape (n_points,) each.
        heads: Heads that are left, one value or shape (n_points,).
        codes: Arithmetic formats of the products with weights, as `bits`.
        layers: Number of layers.
    """
    ops: list[Operator] = []
    widths = list(bits) if bits is not None else [16] * (6 * layers)
    formats = list(codes) if codes is not None else [_FP16] * (6 * layers)
    x = "x"
    for layer in range(layers):
        x = _layer(ops, f"layer.{layer}", x, batch, tokens, heads, widths[6 * layer :], formats[6 * layer :])
    return Workload(name="bert", operators=tuple(ops), inputs=("x",), outputs=(x,))


def _linear(ops: list[Operator], at: str, x: str, m: Any, k: Any, n: Any, bits: Any, code: Any) -> str:
    dims = {"m": m, "n": n, "k": k}
    ops.append(
        operator(f"{at}.matmul", "matmul", dims, [act(x, "m", "k"), weight(f"{at}.w", "k", "n", bits=bits)],
                 act(f"{at}.y", "m", "n"), 2.0, "MatMul", code)
    )  # fmt: skip
    return _pointwise(ops, f"{at}.bias", m, n, [act(f"{at}.y", "m", "n"), weight(f"{at}.b", "n")])


def _pointwise(ops: list[Operator], at: str, m: Any, n: Any, inputs: Any, kind: str = "elementwise", flops: float = 1,
               op_type: str = "Add") -> str:  # fmt: skip
    ops.append(operator(at, kind, {"m": m, "n": n}, inputs, act(f"{at}:0", "m", "n"), flops, op_type))
    return f"{at}:0"


def _layer(ops: list[Operator], at: str, x: str, batch: int, tokens: Any, heads: Any, bits: Any, codes: Any) -> str:
    m = batch * tokens
    width = heads * HEAD_DIM
    q, k, v = (_linear(ops, f"{at}.{name}", x, m, HIDDEN, width, bits[i], codes[i]) for i, name in enumerate("qkv"))
    nest = {"b": batch, "h": heads, "i": tokens, "j": tokens, "d": HEAD_DIM}
    scores = act(f"{at}.scores:0", "b", "h", "i", "j")
    queries, keys = act(q, "b", "h", "i", "d"), act(k, "b", "h", "j", "d")
    ops.append(operator(f"{at}.scores", "matmul", nest, [queries, keys], scores, 2.0, "MatMul"))
    flat = {"b": batch, "h": heads, "i": tokens, "j": tokens}
    for name, kind, flops in (("scale", "elementwise", 1.0), ("mask", "elementwise", 1.0), ("softmax", "softmax", 5.0)):
        result = act(f"{at}.{name}:0", "b", "h", "i", "j")
        ops.append(operator(f"{at}.{name}", kind, flat, [scores], result, flops))
        scores = result
    ops.append(operator(f"{at}.context", "matmul", nest, [scores, act(v, "b", "h", "j", "d")],
                        act(f"{at}.context:0", "b", "i", "h", "d"), 2.0, "MatMul"))  # fmt: skip
    ops.append(operator(f"{at}.merge", "move", {"b": batch, "h": heads, "i": tokens, "d": HEAD_DIM},
                        [act(f"{at}.context:0", "b", "i", "h", "d")], act(f"{at}.merged", "b", "i", "h", "d"), 0.0,
                        "Transpose"))  # fmt: skip
    attended = _linear(ops, f"{at}.out", f"{at}.merged", m, width, HIDDEN, bits[3], codes[3])
    x = _norm(ops, f"{at}.attention", m, attended, x)
    up = _linear(ops, f"{at}.up", x, m, HIDDEN, FFN, bits[4], codes[4])
    up = _pointwise(ops, f"{at}.gelu", m, FFN, [act(up, "m", "n")], "gelu", 8.0, "Gelu")
    down = _linear(ops, f"{at}.down", up, m, FFN, HIDDEN, bits[5], codes[5])
    return _norm(ops, f"{at}.ffn", m, down, x)


def _norm(ops: list[Operator], at: str, m: Any, y: str, x: str) -> str:
    total = _pointwise(ops, f"{at}.residual", m, HIDDEN, [act(y, "m", "n"), act(x, "m", "n")])
    inputs = [act(total, "m", "n"), weight(f"{at}.gamma", "n"), weight(f"{at}.beta", "n")]
    return _pointwise(ops, f"{at}.norm", m, HIDDEN, inputs, "norm", 7.0, "LayerNormalization")
