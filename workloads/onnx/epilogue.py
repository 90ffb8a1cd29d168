"""What a product's kernel does on its way out: activation functions, added tensors, scaling of integer sums."""

from __future__ import annotations

from collections.abc import Sequence

from workloads.errors import WorkloadError
from workloads.onnx.builder import Builder, Node, Value, broadcast_axes, index_names, plain
from workloads.opcounts import ACTIVATIONS
from workloads.operator import axis

__all__ = ["activate", "requantize"]

# Scale, round, shift: the integer sums of a product become 8-bit values.
_REQUANTIZE = 3.0


def activate(node: Node, builder: Builder, value: Value, function: str, added: Value | None = None) -> None:
    """Emit the activation function (and the addition before it) of a fused product, and put the node's output.

    Raises:
        WorkloadError: The function is not known.
    """
    if function and function not in ACTIVATIONS:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): unknown activation {function!r}; known: {', '.join(ACTIVATIONS)}"
        )
    names = index_names(value.rank)
    axes = [plain(name) for name in names]
    output = builder.put(node, value.shape, value.code)
    inputs = [builder.tensor(value, axes)]
    if added is not None:
        inputs.append(builder.tensor(added, broadcast_axes(added.shape, names, value.shape)))
    kind = "gelu" if "gelu" in function.lower() else "activation" if function else "elementwise"
    flops = ACTIVATIONS.get(function, 0.0) + (added is not None)
    builder.emit(
        node, kind, dict(zip(names, value.shape, strict=True)), inputs, [builder.tensor(output, axes)], flops,
        code=value.code, suffix=":activation", op_type=function or "Add",
    )  # fmt: skip


def requantize(
    node: Node,
    builder: Builder,
    sums: Value,
    output: Value,
    scales: Sequence[int],
    channel: int = -1,
    flops: float = _REQUANTIZE,
) -> None:
    """Emit the scaling of a product's int32 sums.

    Args:
        node: The node.
        builder: The state of the load.
        sums: The product.
        output: The result.
        scales: Which inputs are scales and zero points.
        channel: The axis along which scales of more than one value lie.
        flops: Per value; by default of the way to 8 bits.
    """
    names = index_names(sums.rank)
    axes = [plain(name) for name in names]
    inputs = [builder.tensor(sums, axes)]
    for index in scales:
        scale = builder.optional(node, index)
        if scale is not None:
            along = scale.rank == 1 and scale.size == sums.shape[channel] > 1
            inputs.append(
                builder.tensor(scale, [axes[channel]] if along else [axis(extent=extent) for extent in scale.shape])
            )
    builder.emit(
        node, "convert", dict(zip(names, sums.shape, strict=True)), inputs, [builder.tensor(output, axes)], flops,
        code=sums.code, suffix=":requantize", op_type="Requantize",
    )  # fmt: skip
