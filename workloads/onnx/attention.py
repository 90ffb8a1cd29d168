"""Fused attention as the operators that it computes: scores, scale and mask, softmax, context; one kernel.

Every handler of a fused attention ends here. Counts: the products cover the rectangle of all queries and all keys that
some query reaches. A causal kernel skips nearly half of a prompt's rectangle; that is not taken off, as in a graph
that writes the mask out. A local window of w positions limits the keys of s queries to the last w + s - 1, which is
exact for the cache that is read. With grouped queries a head of keys is read once for its whole group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workloads.errors import WorkloadError
from workloads.formats import FORMATS
from workloads.onnx.builder import Builder, Node, Value, plain
from workloads.onnx.heads import Heads
from workloads.operator import Axis, Tensor, axis

__all__ = ["Extras", "attend", "rotate"]

# Dao et al. 2022 name the steps; FLOPs per score: scale 1, added mask or bias 1 each, soft cap (div, tanh, mul) 3,
# softmax 5 (see `opcounts`).
_SCALE, _BIAS, _SOFTCAP, _SOFTMAX = 1.0, 1.0, 3.0, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What an attention does besides the two products and the softmax.

    Attributes:
        biases: Added to the scores (a boolean one chooses, without arithmetic); aligned at the right of
            [batch, heads, queries, keys].
        masks: Lengths and padding masks of other shapes: read, no arithmetic.
        softcap: Whether scores pass through cap x tanh(score / cap).
        sinks: Stored logits that join the softmax, one per head.
        keys: How many keys some query reaches.
        first: The first of them.
        stages: Where scores go that the graph wants too: "raw", "masked" or "softmax" to the output.
    """

    biases: Sequence[Value] = ()
    masks: Sequence[Value] = ()
    softcap: bool = False
    sinks: Value | None = None
    keys: int
    first: int = 0
    stages: Mapping[str, Value] = field(default_factory=dict)


def attend(node: Node, builder: Builder, q: Heads, k: Heads, v: Heads, output: Heads, extras: Extras) -> None:
    """Emit scores, scale and mask, softmax and context.

    Args:
        node: The node.
        builder: The state of the load.
        q: Queries.
        k: Keys; their positions may be a cache with room for more.
        v: Values, as many positions and heads as the keys.
        output: The result: positions and heads of the queries, features of the values.
        extras: Masks and the rest.

    Raises:
        WorkloadError: The sizes do not fit each other.
    """
    _check(node, q, k, v, extras)
    group, code = q.heads // k.heads, q.value.code
    outer = {"b0": q.batch, "b1": k.heads} | ({"g": group} if group > 1 else {})
    shape = (q.batch, q.heads, q.length, extras.keys)
    stages = [
        Heads(
            extras.stages.get(stage) or builder.inner(node, stage, shape, code), "bhsd", q.batch, q.heads, q.length, 0
        )
        for stage in ("raw", "masked", "softmax")
    ]
    raw, masked, softmax = (builder.tensor(stage.value, stage.axes("m", "n", group)) for stage in stages)

    def inside(heads: Heads, keys: str, feature: str) -> Tensor:
        steps = plain(keys) if heads.length == extras.keys else axis(keys, offset=extras.first, extent=heads.length)
        return builder.tensor(heads.value, heads.axes(steps, feature))

    inputs = [builder.tensor(q.value, q.axes("m", "k", group)), inside(k, "n", "k")]
    dims = outer | {"m": q.length, "n": extras.keys, "k": q.size}
    builder.emit(node, "matmul", dims, inputs, [raw], 2, code=code, suffix=":scores", op_type="MatMul")
    square = outer | {"m": q.length, "n": extras.keys}
    inputs, flops = _masks(builder, extras, group, square)
    inputs = [raw, *inputs]
    builder.emit(node, "elementwise", square, inputs, [masked], flops, code=code, suffix=":mask", op_type="ScaleMask")
    inputs = [masked]
    if extras.sinks is not None:
        inputs.append(builder.tensor(extras.sinks, [axis(extent=extras.sinks.size)]))
    builder.emit(node, "softmax", square, inputs, [softmax], _SOFTMAX, code=code, suffix=":softmax", op_type="Softmax")
    inputs = [builder.tensor(stages[2].value, stages[2].axes("m", "k", group)), inside(v, "k", "n")]
    dims = outer | {"m": q.length, "n": v.size, "k": extras.keys}
    result = [builder.tensor(output.value, output.axes("m", "n", group))]
    builder.emit(node, "matmul", dims, inputs, result, 2, code=code, suffix=":context", op_type="MatMul")


def _masks(builder: Builder, extras: Extras, group: int, dims: Mapping[str, int]) -> tuple[list[Tensor], float]:
    """Give what is read with the scores, and the FLOPs per score."""
    read = [builder.tensor(bias, _over_scores(bias, extras, group, dims)) for bias in extras.biases]
    read += [builder.tensor(mask, [axis(extent=extent) for extent in mask.shape]) for mask in extras.masks]
    sums = sum(FORMATS[bias.code].kind == "float" for bias in extras.biases)
    return read, _SCALE + _BIAS * sums + _SOFTCAP * extras.softcap


def _check(node: Node, q: Heads, k: Heads, v: Heads, extras: Extras) -> None:
    fits = (
        q.size == k.size
        and k.heads == v.heads
        and k.heads > 0
        and q.heads % k.heads == 0
        and q.batch == k.batch == v.batch
        and k.length == v.length
        and (k.length == extras.keys or 0 <= extras.first <= extras.first + extras.keys <= k.length)
    )
    if not fits:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): queries {q.value.shape} ({q.heads} heads of {q.size}), keys "
            f"{k.value.shape} ({k.heads} heads of {k.size}) and values {v.value.shape} ({v.heads} heads) do not fit "
            "each other; check the sizes given for the symbolic dims, and num_heads and its kin"
        )


def _over_scores(bias: Value, extras: Extras, group: int, dims: Mapping[str, int]) -> list[Axis]:
    """Give the axes of a mask or bias, aligned at the right of [batch, heads, queries, keys]; size 1 broadcasts."""
    head = axis((group, "b1"), (1, "g")) if group > 1 else plain("b1")
    keys = axis("n", offset=extras.first)
    sizes = (dims["b0"], dims["b1"] * group, dims["m"], extras.keys)
    walked = (plain("b0"), head, plain("m"), keys)
    axes = []
    for extent, size, item in zip(bias.shape[::-1], sizes[::-1], walked[::-1], strict=False):
        if item is keys and extent != 1:
            axes.append(plain("n") if extent == size else axis("n", offset=extras.first, extent=extent))
        else:
            axes.append(item if extent == size else axis(extent=extent))
    return axes[::-1]


def rotate(
    node: Node,
    builder: Builder,
    x: Heads,
    output: Value,
    tables: Sequence[Value],
    positions: Value | None = None,
    rotated: int = 0,
    suffix: str = "",
) -> Heads:
    """Emit a rotary embedding: x cos + rotated(x) sin, three FLOPs per rotated value.

    Args:
        node: The node.
        builder: The state of the load.
        x: Queries or keys.
        output: The result, laid out like `x`.
        tables: Cosines and sines: [positions, size / 2], of which each position's row is read, or
            [batch, positions, size / 2].
        positions: Which rows.
        rotated: Leading features that turn; 0: all.
        suffix: Of the operator's name.

    Source: Su et al., RoFormer, 2021; ONNX operator specification, RotaryEmbedding 23.
    """
    after = Heads(output, x.layout, x.batch, x.heads, x.length, x.size)
    dims = {"b0": x.batch, "b1": x.heads, "m": x.length, "k": x.size}
    inputs = [builder.tensor(x.value, x.axes("m", "k"))]
    for table in tables:
        rows = (
            [axis("m", extent=table.shape[0])]
            if table.rank == 2
            else [plain("b0") if table.shape[0] == x.batch else axis(extent=table.shape[0]), plain("m")]
        )
        inputs.append(builder.tensor(table, [*rows, axis(extent=table.shape[-1])]))
    if positions is not None:
        inputs.append(builder.tensor(positions, [axis(extent=extent) for extent in positions.shape]))
    flops = 3.0 * (rotated or x.size) / max(x.size, 1)
    outputs = [builder.tensor(output, after.axes("m", "k"))]
    builder.emit(
        node, "elementwise", dims, inputs, outputs, flops, code=x.value.code, suffix=suffix, op_type="RotaryEmbedding"
    )
    return after
