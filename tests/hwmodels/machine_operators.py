"""Operators that machines are asked to map: products, batched and grouped ones, convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workloads.operator import Axis, Operator, Tensor, axis


def product(name: str, dims: Mapping[str, int], inputs: str, weights: str, outputs: str) -> Operator:
    """Give a product whose tensors are indexed by the letters of their axes."""
    i, w, o = (
        Tensor(name=tensor, axes=tuple(map(axis, letters)), bits=8)
        for tensor, letters in (("I", inputs), ("W", weights), ("O", outputs))
    )
    return Operator(name=name, op_type="MatMul", kind="matmul", dims=dict(dims), inputs=(i, w), outputs=(o,))


def scores(heads: int, tokens: int, width: int) -> Operator:
    """Give a product of queries and keys, every head with keys of its own."""
    return product("scores", {"h": heads, "m": tokens, "n": tokens, "k": width}, "hmk", "hkn", "hmn")


def shared_scores(groups: int, heads: int, m: int, n: int, k: int) -> Operator:
    """Give a product of queries and keys in which the heads `g` of a group `b` share keys: W has no g."""
    return product("shared scores", {"b": groups, "g": heads, "m": m, "n": n, "k": k}, "bgmk", "bkn", "bgmn")


def conv(dims: Mapping[str, int], stride: int = 1, pad: int = 0) -> Operator:
    """Give a convolution over p, q and r, s; c, m and g (groups) where dims has them."""

    def window(place: str, tap: str) -> Axis:
        extent = stride * (dims[place] - 1) + dims[tap] - 2 * pad
        return axis((stride, place), tap, offset=-pad, extent=extent)

    def some(letters: Sequence[str]) -> list[Axis]:
        return [axis(letter) for letter in letters if letter in dims]

    tensors = (
        Tensor(name="I", axes=(*some("gc"), window("p", "r"), window("q", "s")), bits=8),
        Tensor(name="W", axes=(*some("gmc"), axis("r"), axis("s")), role="weight", bits=8),
        Tensor(name="O", axes=(*some("gm"), axis("p"), axis("q")), bits=8),
    )
    return Operator(name="conv", op_type="Conv", kind="conv", dims=dict(dims), inputs=tensors[:2], outputs=tensors[2:])
