"""Building blocks that architectures share: products, norms, positions, masks, attention, feed-forward blocks.

Shapes: b batch, l tokens, t tokens attended, h heads, kv heads of keys and values, g = h / kv, d head width. Keys are
kept as [b, kv, d, t], so that no step transposes a whole cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from workloads.errors import WorkloadError, nearest
from workloads.zoo.graph import GraphWriter, transposed
from workloads.zoo.sinks import softmax_with_sink

__all__ = [
    "ACTIVATIONS",
    "HIDDEN_MASK",
    "Heads",
    "activation",
    "attend",
    "causal_mask",
    "embedding",
    "feed_forward",
    "keys_cached",
    "layer_norm",
    "linear",
    "merge_heads",
    "padding_mask",
    "rms_norm",
    "rotary_tables",
    "rotate",
    "softcap",
    "split_heads",
    "split_keys",
]

HIDDEN_MASK = -10000.0
"""Added to a masked score: exp() of it is zero in every format, and it fits fp16."""

ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    # The names that Hugging Face configurations use (transformers, activations.py ACT2FN).
    "gelu": ("Gelu", {}),
    "gelu_fast": ("Gelu", {"approximate": "tanh"}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "hardswish": ("HardSwish", {}),
    "quick_gelu": ("Swish", {"alpha": 1.702}),
    "relu": ("Relu", {}),
    "relu6": ("Clip", {}),
    "sigmoid": ("Sigmoid", {}),
    "silu": ("Swish", {}),
    "swish": ("Swish", {}),
    "tanh": ("Tanh", {}),
}


@dataclass(frozen=True, slots=True)
class Heads:
    """The heads of one attention: how many ask, how many keys and values there are, how wide they are.

    Attributes:
        count: Query heads.
        groups: Heads of keys and values (equal to `count`: MHA; 1: MQA).
        width: Of queries and keys.
        value_width: Of values; None: as `width`.
    """

    count: int
    groups: int
    width: int
    value_width: int | None = None

    def __post_init__(self) -> None:
        if self.count < 1 or self.groups < 1 or self.count % self.groups:
            raise WorkloadError(f"{self.count} query heads do not share {self.groups} key/value heads evenly")

    @property
    def shared(self) -> int:
        """Query heads per key/value head."""
        return self.count // self.groups

    @property
    def out(self) -> int:
        """Width of a value."""
        return self.width if self.value_width is None else self.value_width


def linear(g: GraphWriter, x: str, name: str, n_in: int, n_out: int, *, bias: bool = True, layout: str = "oi") -> str:
    """Multiply by a stored matrix: [.., n_in] to [.., n_out].

    Args:
        g: The graph.
        x: Input edge.
        name: Parameter name, below the scope; ".weight" and ".bias" are added.
        n_in: Input width.
        n_out: Output width.
        bias: Add a stored vector.
        layout: How the checkpoint keeps the matrix: "oi" [out, in] (torch Linear), "io" [in, out] (GPT-2's Conv1D).
    """
    full = g.path(f"{name}.weight")
    make = transposed(full) if layout == "oi" else None
    y = g.node("MatMul", x, g.parameter(f"{name}.weight", (n_in, n_out), make))
    return g.node("Add", y, g.parameter(f"{name}.bias", (n_out,), fill=0.0)) if bias else y


def embedding(g: GraphWriter, ids: str, name: str, rows: int, width: int) -> str:
    """Look rows up in a stored table: [..] to [.., width]."""
    return g.node("Gather", g.parameter(f"{name}.weight", (rows, width)), ids)


def layer_norm(g: GraphWriter, x: str, name: str, width: int, eps: float, *, bias: bool = True) -> str:
    """LayerNorm over the last axis. Source: Ba et al. 2016, arXiv 1607.06450."""
    scale = g.parameter(f"{name}.weight", (width,), fill=1.0)
    inputs = (x, scale, g.parameter(f"{name}.bias", (width,), fill=0.0)) if bias else (x, scale)
    return g.node("LayerNormalization", *inputs, epsilon=eps)


def rms_norm(g: GraphWriter, x: str, name: str, width: int, eps: float, *, offset: float = 0.0) -> str:
    """RMSNorm over the last axis; Gemma stores scale - 1 (offset 1).

    Source: Zhang and Sennrich 2019, arXiv 1910.07467.
    """
    full = g.path(f"{name}.weight")
    make = (lambda state: state[full] + offset) if offset else None
    return g.node("RMSNormalization", x, g.parameter(f"{name}.weight", (width,), make, fill=1.0), epsilon=eps)


def activation(g: GraphWriter, x: str, name: str) -> str:
    """Apply an activation function by the name that configurations use.

    Raises:
        WorkloadError: No such function.
    """
    if name not in ACTIVATIONS:
        raise WorkloadError(f"{g.name}: unknown activation function {name!r}; {nearest(name, ACTIVATIONS)}")
    op_type, attributes = ACTIVATIONS[name]
    if name == "relu6":
        return g.node(op_type, x, g.scalar(0.0), g.scalar(6.0))
    return g.node(op_type, x, **attributes)


def softcap(g: GraphWriter, x: str, cap: float | None) -> str:
    """Bound values smoothly: cap * tanh(x / cap). Source: Gemma Team 2024, arXiv 2408.00118, section 2."""
    if not cap:
        return x
    return g.node("Mul", g.node("Tanh", g.node("Mul", x, g.scalar(1 / cap))), g.scalar(cap))


def feed_forward(
    g: GraphWriter, x: str, up: str, down: str, width: int, inner: int, act: str, *, gate: str = "", bias: bool = True,
    layout: str = "oi",
) -> str:  # fmt: skip
    """Two products with an activation function between, gated where `gate` is given.

    Source of the gated form: Shazeer 2020, arXiv 2002.05202.
    """
    lifted = linear(g, x, up, width, inner, bias=bias, layout=layout)
    if gate:
        opened = activation(g, linear(g, x, gate, width, inner, bias=bias, layout=layout), act)
        lifted = g.node("Mul", opened, lifted)
    else:
        lifted = activation(g, lifted, act)
    return linear(g, lifted, down, inner, width, bias=bias, layout=layout)


def split_heads(g: GraphWriter, x: str, heads: Heads) -> str:
    """Give queries [b, kv, g, l, d] (or [b, h, l, d] where every head has its own keys) from [b, l, h * d]."""
    if heads.shared == 1:
        cut = g.node("Reshape", x, g.constant([0, 0, heads.count, heads.width]))
        return g.node("Transpose", cut, perm=[0, 2, 1, 3])
    cut = g.node("Reshape", x, g.constant([0, 0, heads.groups, heads.shared, heads.width]))
    return g.node("Transpose", cut, perm=[0, 2, 3, 1, 4])


def split_keys(g: GraphWriter, x: str, groups: int, width: int, *, values: bool = False) -> str:
    """Give keys [b, kv, d, t] (values: [b, kv, t, d]) from [b, t, kv * d]."""
    cut = g.node("Reshape", x, g.constant([0, 0, groups, width]))
    return g.node("Transpose", cut, perm=[0, 2, 1, 3] if values else [0, 2, 3, 1])


def merge_heads(g: GraphWriter, x: str, heads: Heads) -> str:
    """Give [b, l, h * d] from what `attend` returns."""
    back = g.node("Transpose", x, perm=[0, 2, 1, 3] if heads.shared == 1 else [0, 3, 1, 2, 4])
    return g.node("Reshape", back, g.constant([0, 0, heads.count * heads.out]))


def attend(
    g: GraphWriter,
    q: str,
    k: str,
    v: str,
    heads: Heads,
    *,
    scale: float | None = None,
    mask: str = "",
    cap: float | None = None,
    sink: str = "",
) -> str:
    """Scaled dot-product attention. Source: Vaswani et al. 2017, arXiv 1706.03762, equation 1.

    Args:
        g: The graph.
        q: From `split_heads`.
        k: [b, kv, d, t].
        v: [b, kv, t, d].
        heads: The heads.
        scale: Factor of the scores; None: none.
        mask: Added to the scores [b, h, l, t]; it broadcasts. Where heads share keys it has one axis more.
        cap: Soft bound of the scores.
        sink: A score that every row has beside those of its keys, for no value; it broadcasts to [b, h, l, 1].

    Returns:
        [b, h, l, d], or [b, kv, g, l, d] where heads share keys.
    """
    if scale is not None and scale != 1.0:
        q = g.node("Mul", q, g.scalar(scale))  # l x d values, and not l x t
    if heads.shared > 1:
        axis = g.constant([2])
        k, v = g.node("Unsqueeze", k, axis), g.node("Unsqueeze", v, axis)
    scores = softcap(g, g.node("MatMul", q, k), cap)
    if mask:
        scores = g.node("Add", scores, mask)
    if sink:
        return g.node("MatMul", softmax_with_sink(g, scores, sink), v)
    return g.node("MatMul", g.node("Softmax", scores, axis=-1), v)


def causal_mask(g: GraphWriter, ids: str, *, window: int | None = None) -> str:
    """Give [l, l] for tokens [b, l]: zero where a token may look, `HIDDEN_MASK` elsewhere.

    Args:
        g: The graph.
        ids: [b, l], for its length.
        window: Tokens that a token sees, itself included; None: all before it.
    """
    length = g.node("Squeeze", g.node("Shape", ids, start=1, end=2))
    index = g.node("Range", g.constant(0), length, g.constant(1))
    row, column = g.node("Unsqueeze", index, g.constant([1])), g.node("Unsqueeze", index, g.constant([0]))
    seen = g.node("GreaterOrEqual", row, column)
    if window is not None:
        recent = g.node("Less", g.node("Sub", row, column), g.constant(window))
        seen = g.node("And", seen, recent)
    return g.node("Where", seen, g.scalar(0.0), g.scalar(HIDDEN_MASK))


def padding_mask(g: GraphWriter, mask: str) -> str:
    """Give [b, 1, 1, t] from an attention mask [b, t] of ones and zeros (int64)."""
    real = g.node("Cast", mask, to=g.float_type)
    hidden = g.node("Mul", g.node("Sub", g.scalar(1.0), real), g.scalar(HIDDEN_MASK))
    return g.node("Unsqueeze", hidden, g.constant([1, 2]))


def rotary_tables(g: GraphWriter, positions: str, frequencies: list[float], factor: float = 1.0) -> tuple[str, str]:
    """Give cos and sin [b, l, d / 2] of positions [b, l] (int64).

    Args:
        g: The graph.
        positions: Token positions.
        frequencies: Inverse wavelengths, d / 2 of them.
        factor: Of both (long-context variants scale attention here).

    Source: Su et al. 2021, arXiv 2104.09864.
    """
    angle = g.node("Unsqueeze", g.node("Cast", positions, to=1), g.constant([2]))  # FLOAT: half formats round positions
    angle = g.node("Mul", angle, g.constant(frequencies, "fp32"))
    tables = []
    for function in ("Cos", "Sin"):
        table = g.node(function, angle)
        if factor != 1.0:
            table = g.node("Mul", table, g.constant(factor, "fp32"))
        tables.append(table if g.dtype == "fp32" else g.node("Cast", table, to=g.float_type))
    return tables[0], tables[1]


def rotate(
    g: GraphWriter, x: str, tables: tuple[str, str], heads: int, *, width: int = 0, interleaved: bool = False
) -> str:
    """Rotate queries or keys [b, l, heads * d] by their positions.

    Args:
        g: The graph.
        x: The input.
        tables: From `rotary_tables`.
        heads: Number of heads.
        width: Values of a head that are rotated; 0: all.
        interleaved: Pairs are neighbours, not halves.
    """
    cos, sin = tables
    return g.node(
        "RotaryEmbedding", x, cos, sin, num_heads=heads, rotary_embedding_dim=width, interleaved=int(interleaved)
    )


def keys_cached(g: GraphWriter, new: str, past: str, at: str, axis: int) -> str:
    """Write the new token's keys or values into a cache in place, and give the whole cache.

    Args:
        g: The graph.
        new: One token's keys [b, kv, d, 1] or values [b, kv, 1, d].
        past: The cache, with room for the token.
        at: Index to write at, [b] (int64).
        axis: The axis of the tokens.
    """
    return g.node("TensorScatter", past, new, at, axis=axis)
