"""Workloads as GPU kernels: every operator in one of them, with the sizes that the formula of its family takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hwmodels.kernels.clusters import STYLES, Cluster, Style, clusters
from hwmodels.kernels.shapes import Names, attention_sizes, elementwise_sizes, format_name, product_sizes, stored_format
from workloads.errors import SpecError, nearest
from workloads.operator import Num, Operator, Tensor
from workloads.workload import Workload

__all__ = ["Kernel", "lower_kernels", "style_of"]

Pairs = list[tuple[Operator, Tensor]]

OPERATIONS = {
    "Add": "add", "Sub": "add", "Mul": "mul", "Div": "mul", "Relu": "relu", "Tanh": "tanh", "Clip": "relu",
    "RMSNormalization": "rmsnorm", "SimplifiedLayerNormalization": "rmsnorm", "RotaryEmbedding": "rope",
}  # fmt: skip
FEW_CHANNELS = 2
"""Channels of a group up to which a convolution has no product worth the name: depthwise ones have one."""

KINDS = {"softmax": "softmax", "norm": "layernorm", "gelu": "gelu", "activation": "tanh"}
"""Operations of the measured tables by op type, else by kind; what has none moves bytes as an addition does."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kernel:
    """One GPU kernel of a workload.

    Attributes:
        name: Of its operator, or of the first one.
        operators: Names of all of them.
        block: Where it sits: "layer.3.ffn.up".
        family: Key of `FAMILIES`.
        op: Operation of the measured tables: "gemm", "softmax", "attention_decode".
        sizes: Columns of its family; numbers or batches of design points of shape (n_points,).
        a_format: Of activations: "bf16".
        w_format: Of weights or of the cache; "": none; a name for each design point where widths are a batch.
        reads: Bytes by tensor that it reads.
        writes: Bytes by tensor that it writes.
        weights: Names of the tensors among `reads` that are stored weights.
        count: Executions.
    """

    name: str
    operators: tuple[str, ...]
    block: str
    family: str
    op: str
    sizes: Mapping[str, Num]
    a_format: str
    w_format: str | Names
    reads: Mapping[str, Num]
    writes: Mapping[str, Num]
    weights: frozenset[str] = frozenset()
    count: Num = 1


def style_of(style: str | Style) -> Style:
    """Give a style by name.

    Raises:
        SpecError: Unknown name.
    """
    if isinstance(style, Style):
        return style
    if style not in STYLES:
        raise SpecError(f"unknown style {style!r}; {nearest(style, STYLES)}")
    return STYLES[style]


def lower_kernels(workload: Workload, style: str | Style = "library") -> tuple[Kernel, ...]:
    """Turn a workload into the kernels that a software stack runs, in order.

    Args:
        workload: One phase; its numbers may be batches.
        style: Key of `clusters.STYLES`, or one of your own.

    Raises:
        SpecError: Unknown style.

    Example:
        >>> from workloads import Operator, Tensor, axis
        >>> x, w, y = (Tensor(name=n, axes=(axis(a), axis(b)), role=r, bits=16, format=3) for n, a, b, r in
        ...            (("x", "m", "k", "activation"), ("w", "k", "n", "weight"), ("y", "m", "n", "activation")))
        >>> product = Operator(name="p", op_type="MatMul", kind="matmul", dims={"m": 8, "n": 64, "k": 32},
        ...                    inputs=(x, w), outputs=(y,), format=3)
        >>> (kernel,) = lower_kernels(Workload(name="one", operators=(product,)))
        >>> kernel.op, kernel.a_format, kernel.sizes["m"], kernel.sizes["n"], kernel.sizes["k"]
        ('gemm', 'fp16', 8.0, 64.0, 32.0)
    """
    chosen = style_of(style)
    edges = _Edges(_roots(workload), workload.consumers())
    made: list[Kernel] = []
    for cluster in clusters(workload, chosen):
        made += _kernels(cluster, chosen, edges)
    return tuple(_with_siblings(made) if chosen.siblings else made)


def _with_siblings(kernels: list[Kernel]) -> list[Kernel]:
    """Join products in a row that multiply one left operand with stored weights."""
    out: list[Kernel] = []
    for kernel in kernels:
        if out and _are_siblings(out[-1], kernel):
            out[-1] = _joined(out[-1], kernel)
        else:
            out.append(kernel)
    return out


def _are_siblings(one: Kernel, other: Kernel) -> bool:
    if one.op != "gemm" or other.op != "gemm" or not one.weights or not other.weights:
        return False
    same = all(np.array_equal(one.sizes[name], other.sizes[name]) for name in ("batch", "m", "k"))
    inputs = [set(item.reads) - item.weights for item in (one, other)]
    formats = one.a_format == other.a_format and np.array_equal(one.w_format, other.w_format)
    return same and formats and inputs[0] == inputs[1]


def _joined(one: Kernel, other: Kernel) -> Kernel:
    stem, _, end = one.block.rpartition(".")
    return replace(
        one,
        operators=one.operators + other.operators,
        block=f"{stem}.qkv" if stem.endswith("attn") else one.block if end else other.block,
        sizes={**one.sizes, "n": one.sizes["n"] + other.sizes["n"]},
        reads={**one.reads, **other.reads},
        writes={**one.writes, **other.writes},
        weights=one.weights | other.weights,
    )


def _kernels(cluster: Cluster, style: Style, edges: _Edges) -> list[Kernel]:
    if cluster.kind == "nothing":
        return []
    if cluster.kind == "attention" and cluster.attention is not None:
        return [_attention(cluster, edges)]
    if cluster.kind == "product":
        return [_direct(cluster, edges) or _product(cluster, edges)]
    op = cluster.operators[0]
    kernel = _elementwise(cluster, _operation(cluster), edges)
    names = style.expand.get(op.kind, ()) if len(cluster.operators) == 1 else ()
    return [_elementwise(cluster, name, edges) for name in names] or [kernel]


def _operation(cluster: Cluster) -> str:
    if cluster.kind == "gated":
        return "silu_mul"
    if cluster.kind in ("rope", "copy"):
        return "rope" if cluster.kind == "rope" else "add"
    slowest = max(cluster.operators, key=lambda op: op.kind in ("norm", "softmax"))
    return OPERATIONS.get(slowest.op_type, KINDS.get(slowest.kind, "add"))


@dataclass(frozen=True, slots=True)
class _Edges:
    """Which tensors share memory, and who reads what."""

    root: Mapping[str, str]
    readers: Mapping[str, Sequence[Operator]]

    def of(self, cluster: Cluster) -> tuple[Pairs, Pairs]:
        """Give what a cluster reads from outside, and what it writes that others read, each tensor once."""
        inside = {op.name for op in cluster.operators}
        written = {tensor.name for op in cluster.operators for tensor in op.outputs}
        read = {t.name: (op, t) for op in reversed(cluster.operators) for t in op.inputs if t.name not in written}
        kept = {t.name: (op, t) for op in cluster.operators for t in op.outputs if self._leaves(t, inside)}
        last = cluster.operators[-1]
        return list(read.values()), list(kept.values()) or [(last, last.outputs[0])]

    def _leaves(self, tensor: Tensor, inside: set[str]) -> bool:
        readers = self.readers.get(tensor.name, ())
        return not readers or any(op.name not in inside for op in readers)


def _bytes(pairs: Iterable[tuple[Operator, Tensor]], root: Mapping[str, str]) -> dict[str, Num]:
    found: dict[str, Num] = {}
    for op, tensor in pairs:
        found.setdefault(root.get(tensor.name, tensor.name), tensor.bytes(op.dims))
    return found


def _weights(pairs: Iterable[tuple[Operator, Tensor]]) -> frozenset[str]:
    return frozenset(tensor.name for _, tensor in pairs if tensor.role == "weight")


def _common(cluster: Cluster, op: Operator, edges: _Edges) -> dict[str, Any]:
    """Give what every kernel has, named after one of its operators and run as often."""
    read, written = edges.of(cluster)
    return {
        "name": op.name,
        "operators": tuple(one.name for one in cluster.operators),
        "block": op.block,
        "reads": _bytes(read, edges.root),
        "writes": _bytes(written, edges.root),
        "weights": _weights(read),
        "count": op.count,
    }


def _attention(cluster: Cluster, edges: _Edges) -> Kernel:
    assert cluster.attention is not None
    scores = next(op for op in cluster.operators if op.name == cluster.attention.scores)
    context = next(op for op in cluster.operators if op.name == cluster.attention.context)
    cached = [t for op in cluster.operators for t in op.inputs if t.role == "kv_cache"]
    mask = _causal_mask(cluster, scores, context)
    one_query = bool(cached) and not mask
    sizes = attention_sizes(scores, bool(mask), one_query)
    for part in cluster.operators:
        if part.kind == "matmul" and part not in (scores, context):  # another part of each head
            sizes["head_dim"] = sizes["head_dim"] + product_sizes(part)["k"]
    formats = format_name(int(np.max(scores.inputs[0].format)))
    stored = format_name(int(np.max(cached[0].format))) if cached else formats
    op = "attention_decode" if one_query else "attention_prefill"
    made = _common(cluster, scores, edges) | {"block": scores.block.removesuffix(".scores")}
    made["reads"] = {name: size for name, size in made["reads"].items() if name != edges.root.get(mask, mask)}
    return Kernel(**made, family=op, op=op,
                  sizes=sizes, a_format=formats, w_format=stored)  # fmt: skip


def _causal_mask(cluster: Cluster, scores: Operator, context: Operator) -> str:
    """Name the mask over queries and keys alone that is put on the scores; "": none.

    With one a query sees what is before it; a fused kernel counts places and reads no such mask.
    """
    result = scores.outputs[0]
    shape = [float(np.max(size)) for size in result.shape(scores.dims)]
    if shape[-2] < 2:
        return ""
    inside = {tensor.name for op in cluster.operators for tensor in op.outputs}
    for op in cluster.operators:
        if op.op_type not in ("Add", "Where") or op.name in (scores.name, context.name):
            continue
        for tensor in op.inputs:
            other = [float(np.max(size)) for size in tensor.shape(op.dims)]
            alone = len(other) >= 2 and all(size == 1 for size in other[:-2])
            if alone and other[-2:] == shape[-2:] and tensor.name not in inside:
                return tensor.name
    return ""


def _product(cluster: Cluster, edges: _Edges) -> Kernel:
    op = next(one for one in cluster.operators if one.kind in ("matmul", "conv"))
    computed = format_name(int(np.max(op.format)))
    weight = next((tensor for tensor in op.inputs[1:2]), op.inputs[0])
    sizes = product_sizes(op)
    one = float(np.max(sizes["batch"])) == 1
    return Kernel(**_common(cluster, op, edges), family="gemm", op="gemm" if one else "bgemm",
                  sizes=sizes, a_format=computed, w_format=stored_format(weight, computed))  # fmt: skip


def _direct(cluster: Cluster, edges: _Edges) -> Kernel | None:
    """Make a convolution of single channels a kernel that streams its tensors: it reuses too little for a product."""
    conv = next((op for op in cluster.operators if op.kind == "conv"), None)
    if conv is None or float(np.max(product_sizes(conv)["n"])) > FEW_CHANNELS:
        return None
    return _elementwise(Cluster("elementwise", (conv,)), "add", edges)


def _elementwise(cluster: Cluster, name: str, edges: _Edges) -> Kernel:
    read, written = edges.of(cluster)
    widths = [format_name(int(np.max(tensor.format))) for _, tensor in written]
    made = _common(cluster, cluster.operators[0], edges)
    return Kernel(**made, family="elementwise", op=name, sizes=elementwise_sizes(read, written),
                  a_format=widths[0], w_format="")  # fmt: skip


def _roots(workload: Workload) -> dict[str, str]:
    """Map each result of an operator that only lays out to the tensor whose memory it shares."""
    found: dict[str, str] = {}
    for op in workload.operators:
        if op.kind == "view" and op.inputs:
            source = op.inputs[0].name
            found.update({tensor.name: found.get(source, source) for tensor in op.outputs})
    return found
