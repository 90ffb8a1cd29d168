"""Handlers of attention with a recurrent state, and of the causal convolution before it.

A state [d_k, d_v] per head stays on chip while a sequence passes; it is read once before and written once after. Per
token and head: the update k v^T (one multiply-add per value of the state), the read-out q^T S; with a decay one
multiplication, in the delta rule also the retrieval S^T k. Chunked algorithms do more arithmetic for fewer steps; what
the recurrence itself needs is counted.

Source: Yang et al., Gated Delta Networks, 2024; ONNX operator specification, LinearAttention 27 and
CausalConvWithState 27.
"""

from __future__ import annotations

from workloads.errors import WorkloadError
from workloads.onnx.builder import Builder, Node, Value, plain
from workloads.onnx.epilogue import activate
from workloads.onnx.heads import Heads
from workloads.operator import Axis, Tensor, axis

__all__ = ["causal_conv", "linear_attention"]


def linear_attention(node: Node, builder: Builder) -> None:
    """LinearAttention of the standard and of com.microsoft: linear, gated, delta and gated delta rule."""
    query_heads, shared = node.int("q_num_heads"), node.int("kv_num_heads")
    q = Heads.read(node, builder.value(node, 0), query_heads)
    k, v = (Heads.read(node, builder.value(node, index), shared) for index in (1, 2))
    if max(query_heads, shared) % max(1, min(query_heads, shared)) or q.size != k.size or k.length != v.length:
        raise WorkloadError(
            f"node {node.name!r} (LinearAttention): queries {q.value.shape}, keys {k.value.shape} and values "
            f"{v.value.shape} do not fit {query_heads} and {shared} heads"
        )
    rule, code = node.text("update_rule", "gated_delta"), q.value.code
    past, decay, beta = (builder.optional(node, index) for index in (3, 4, 5))
    start = len(builder.operators)
    stored = v.value.code if past is None else past.code
    window = node.int("state_window")
    shape = (*((window,) if window else ()), k.batch, shared, k.size, v.size)
    present = builder.put(node, shape, stored, 1) if node.has(1) else builder.inner(node, "state", shape, stored)
    state = (*((axis(extent=window),) if window else ()), *map(plain, ("b0", "b1", "k", "n")))
    outer = {"b0": k.batch, "b1": shared}
    before = [] if past is None else [builder.tensor(past, state, 1 / window if window else 1.0)]
    keys, values = builder.tensor(k.value, k.axes("m", "k")), builder.tensor(v.value, v.axes("m", "n"))
    update = values
    if "delta" in rule:
        found = builder.inner(node, "found", (k.batch, shared, k.length, v.size), code)
        written = tuple(map(plain, ("b0", "b1", "m", "n")))
        dims = outer | {"m": k.length, "n": v.size, "k": k.size}
        builder.emit(node, "matmul", dims, [keys, *before], [builder.tensor(found, written)], 2, code=code,
                     suffix=":retrieve", op_type="MatMul")  # fmt: skip
        changes = builder.inner(node, "changes", found.shape, code)
        rates = [] if beta is None else [builder.tensor(beta, (plain("b0"), plain("m"), plain("b1") if
                 beta.shape[2] == shared else axis(extent=beta.shape[2])))]  # fmt: skip
        inputs = [values, builder.tensor(found, written), *rates]
        dims = outer | {"m": k.length, "n": v.size}
        builder.emit(node, "elementwise", dims, inputs, [builder.tensor(changes, written)], 2, code=code,
                     suffix=":change", op_type="Mul")  # fmt: skip
        update = builder.tensor(changes, written)
    if "gated" in rule and decay is not None:
        before += [_decayed(node, builder, k, v, decay, outer, code)]
    dims = outer | {"k": k.size, "n": v.size, "m": k.length}
    builder.emit(node, "matmul", dims, [keys, update, *before], [builder.tensor(present, state)], 2, code=code,
                 suffix=":update", op_type="MatMul")  # fmt: skip
    _read_out(node, builder, q, v, present, state)
    builder.fuse(node, start)


def _decayed(
    node: Node, builder: Builder, k: Heads, v: Heads, decay: Value, outer: dict[str, int], code: int
) -> Tensor:
    """Emit the decay of the state at every step: exp of each rate, a multiplication per value of the state."""
    result = builder.inner(node, "decay", (k.batch, k.heads, k.size, v.size), code)
    per_feature = decay.shape[2] == k.heads * k.size
    rates = axis((k.size, "b1"), "k") if per_feature else plain("b1")
    inputs = [builder.tensor(decay, (plain("b0"), plain("m"), rates))]
    dims = outer | {"m": k.length, "k": k.size, "n": v.size}
    exps = 1.0 / v.size if per_feature else 1.0 / (k.size * v.size)
    written = builder.tensor(result, tuple(map(plain, ("b0", "b1", "k", "n"))))
    builder.emit(node, "elementwise", dims, inputs, [written], 1 + exps, code=code, suffix=":decay", op_type="Mul")
    return written


def _read_out(node: Node, builder: Builder, q: Heads, v: Heads, present: Value, state: tuple[Axis, ...]) -> None:
    """Emit q^T S for every query head, or for every head of keys where those are more."""
    heads = max(q.heads, v.heads)
    output = builder.put(node, (q.batch, q.length, heads * v.size), q.value.code)
    group = max(1, q.heads // v.heads)
    dims = {"b0": q.batch, "b1": v.heads} | ({"g": group} if group > 1 else {})
    dims |= {"m": q.length, "n": v.size, "k": q.size}
    after = Heads(output, "bsc", q.batch, heads, q.length, v.size)
    if q.heads >= v.heads:
        queries = builder.tensor(q.value, q.axes("m", "k", group))
    else:
        queries = builder.tensor(q.value, (plain("b0"), plain("m"), axis(extent=q.heads * q.size)))
    inputs = [queries, builder.tensor(present, state)]
    written = [builder.tensor(output, after.axes("m", "n", group))]
    builder.emit(node, "matmul", dims, inputs, written, 2, code=q.value.code, suffix=":read", op_type="MatMul")


def causal_conv(node: Node, builder: Builder) -> None:
    """CausalConvWithState: every channel filtered by its past; the last inputs are carried over.

    Raises:
        WorkloadError: More than one spatial axis, or channels last: only some devices of one runtime have them.
    """
    if node.int("ndim", 1) != 1 or node.int("channels_last") or node.int("state_window"):
        raise WorkloadError(
            f"node {node.name!r} (CausalConvWithState): only one spatial axis, channels first and no state window are "
            "described; give a handler of your own (extra_ops)"
        )
    x, w = builder.value(node, 0), builder.value(node, 1)
    bias, past = builder.optional(node, 2), builder.optional(node, 3)
    batch, channels, length = x.shape
    kernel, dilation = w.shape[2], node.int("dilation", 1)
    history = (kernel - 1) * dilation
    start = len(builder.operators)
    dims = {"b": batch, "g": channels, "m": 1, "c": 1, "p0": length, "r0": kernel}
    reached = axis("p0", (dilation, "r0"), offset=-history, extent=length)
    inputs = [
        builder.tensor(x, (plain("b"), plain("g"), reached)),
        builder.tensor(w, (plain("g"), plain("c"), plain("r0"))),
    ]
    inputs += [builder.tensor(bias, (plain("g"),))] if bias is not None else []
    carried = (plain("b"), plain("g"), axis(extent=history))
    inputs += [builder.tensor(past, carried)] if past is not None else []
    function = {"silu": "Swish", "swish": "Swish"}.get(node.text("activation", "none"), "")
    filtered = builder.inner(node, "conv", x.shape, x.code) if function else builder.put(node, x.shape, x.code)
    written = [builder.tensor(filtered, (plain("b"), plain("g"), plain("p0")))]
    builder.emit(node, "conv", dims, inputs, written, 2, code=builder.pair_format(x, w), suffix=":conv",
                 op_type="Conv")  # fmt: skip
    if node.has(1):
        present = builder.put(node, (batch, channels, history), x.code, 1)
        kept = min(history, length)
        recent = axis("p0", offset=length - kept, extent=length)
        inputs = [builder.tensor(x, (plain("b"), plain("g"), recent))]
        inputs += [builder.tensor(past, carried)] if past is not None and kept < history else []
        moved = {"b": batch, "g": channels, "p0": kept}
        builder.emit(node, "move", moved, inputs, [builder.tensor(present, carried)], code=x.code, suffix=":state",
                     op_type="Slice")  # fmt: skip
    if function:
        activate(node, builder, filtered, function)
    builder.fuse(node, start)
