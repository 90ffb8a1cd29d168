"""Queries, keys and values: how the axes of a stored tensor carry batch, head, position and feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workloads.errors import WorkloadError
from workloads.onnx.builder import Builder, Node, Value, plain
from workloads.operator import Axis, Tensor, axis

__all__ = ["Heads", "append", "separate", "split_packed", "write_in_place"]


@dataclass(frozen=True, slots=True)
class Heads:
    """Queries, keys or values.

    Attributes:
        value: The tensor.
        layout: Order of its axes: "bhsd", "bshd", "bsc" with c = head x size + feature, "tc" and "thd" with
            t = batch x length + position.
        batch: Number of sequences.
        heads: Number of heads.
        length: Number of positions that the tensor has room for.
        size: Features per head.
    """

    value: Value
    layout: str
    batch: int
    heads: int
    length: int
    size: int

    def axes(self, position: Axis | str, feature: str, group: int = 1) -> tuple[Axis, ...]:
        """Give the axes of the tensor in a nest over b0 (batch), b1 (heads, in groups of `group` over g).

        Args:
            position: The dim of the positions, or their axis where only a part of them is walked.
            feature: The dim of the features.
            group: Query heads that share one head of keys: they are b1 x group + g.
        """
        head = ((group, "b1"), (1, "g")) if group > 1 else ((1, "b1"),)
        steps = plain(position) if isinstance(position, str) else position
        parts = {"b": plain("b0"), "s": steps}
        if "h" in self.layout:
            parts |= {"h": axis(*head), "d": plain(feature)}
        else:
            parts["c"] = axis(*((self.size * coefficient, dim) for coefficient, dim in head), feature)
        if "t" in self.layout:
            parts["t"] = axis((self.length, "b0"), *steps.terms)
        return tuple(parts[letter] for letter in self.layout)

    @classmethod
    def read(cls, node: Node, value: Value, heads: int) -> Heads:
        """Describe [batch, heads, positions, size], or [batch, positions, heads x size], by its rank.

        Raises:
            WorkloadError: The rank is another, or the width is no multiple of the heads.
        """
        layout = {3: "bsc", 4: "bhsd"}.get(value.rank, "")
        if not layout:
            raise WorkloadError(
                f"node {node.name!r} ({node.op_type}): {value.name!r} has shape {value.shape}, and this input has "
                "3 or 4 axes; run onnx.checker on the model"
            )
        sizes = dict(zip(layout, value.shape, strict=True))
        if "c" in sizes:
            if heads < 1 or sizes["c"] % heads:
                raise WorkloadError(
                    f"node {node.name!r} ({node.op_type}): the last axis of {value.name!r}, {value.shape}, does not "
                    f"divide into {heads} heads; check num_heads and its kin"
                )
            sizes |= {"h": heads, "d": sizes["c"] // heads}
        return cls(value, layout, sizes["b"], sizes["h"], sizes["s"], sizes["d"])


def split_packed(
    node: Node, builder: Builder, packed: Value, heads: Mapping[str, int], size: Mapping[str, int]
) -> tuple[Heads, ...]:
    """Cut [batch, positions, sum of heads x size] into named parts that share its memory.

    Args:
        node: The node.
        builder: The state of the load.
        packed: The tensor.
        heads: Part to its number of heads, in order.
        size: Part to its features per head.
    """
    batch, length, width = packed.shape
    if width != sum(count * size[part] for part, count in heads.items()):
        listed = ", ".join(f"{count} x {size[part]} for {part}" for part, count in heads.items())
        raise WorkloadError(f"node {node.name!r} ({node.op_type}): {packed.shape} does not pack {listed}")
    parts = {
        part: builder.inner(node, part, (batch, length, count * size[part]), packed.code)
        for part, count in heads.items()
    }
    separate(node, builder, packed, tuple(parts.values()), (plain("b0"), plain("m")), {"b0": batch, "m": length})
    return tuple(Heads(parts[part], "bsc", batch, heads[part], length, size[part]) for part in heads)


def separate(
    node: Node,
    builder: Builder,
    packed: Value,
    parts: Sequence[Value],
    shared: Sequence[Axis],
    dims: Mapping[str, int],
    position: int | None = None,
) -> None:
    """Emit the view of a tensor as parts along one axis; each has its own name, so each is charged when it is read.

    Args:
        node: The node.
        builder: The state of the load.
        packed: The whole.
        parts: Without the axis where it is dropped (an axis of two or three: keys and values).
        shared: Axes of the whole but the one that is cut.
        dims: Sizes of what the shared axes walk.
        position: Of the axis that is cut; by default the last.
    """
    at = len(shared) if position is None else position

    def axes(value: Value) -> list[Axis]:
        if value.rank == len(shared):
            return list(shared)
        return [*shared[:at], axis(extent=value.shape[at]), *shared[at:]]

    builder.emit(
        node,
        "view",
        dims,
        [builder.tensor(packed, axes(packed))],
        [builder.tensor(part, axes(part)) for part in parts],
        code=packed.code,
        suffix=f":{packed.name.rpartition(':')[2]}:parts",
        op_type="Split",
    )


def append(node: Node, builder: Builder, new: Heads, past: Value | None, present: Value, part: str) -> Heads:
    """Append keys or values to their cache [batch, heads, positions, size] and give what attention reads.

    A cache with room for more than the past is written in place: only the new positions move. Else the past and the new
    positions are copied into the present, as ONNX Runtime does.

    Args:
        node: The node.
        builder: The state of the load.
        new: What is appended.
        past: The cache before, if there is one.
        present: The cache after.
        part: "key" or "value": names what is made here.
    """
    dims = {"b0": new.batch, "b1": new.heads, "m": new.length, "k": new.size}
    outer, inner = (plain("b0"), plain("b1")), plain("k")
    source, room = builder.tensor(new.value, new.axes("m", "k")), present.shape[2]
    if past is not None and past.shape == present.shape and past.size:
        added = builder.inner(node, f"{part}:appended", (new.batch, new.heads, new.length, new.size), present.code)
        axes = (*outer, plain("m"), inner), (*outer, plain("n"), inner)
        write_in_place(node, builder, [source], added, past, present, axes, dims, {"n": room}, f":{part}")
    else:
        inputs = [source]
        if past is not None and past.size:
            inputs.insert(0, builder.tensor(past, (*outer, axis(extent=past.shape[2]), inner)))
        target = [builder.tensor(present, (*outer, axis(extent=room), inner))]
        suffix = f":{part}:append"
        builder.emit(node, "move", dims, inputs, target, code=new.value.code, suffix=suffix, op_type="Concat")
    return Heads(present, "bhsd", new.batch, new.heads, room, new.size)


def write_in_place(
    node: Node,
    builder: Builder,
    sources: Sequence[Tensor],
    added: Value,
    past: Value,
    present: Value,
    axes: tuple[Sequence[Axis], Sequence[Axis]],
    dims: Mapping[str, int],
    whole: Mapping[str, int],
    prefix: str = "",
) -> None:
    """Emit the move of new positions into a cache, and the present as a view of the past: it is the same memory.

    Args:
        node: The node.
        builder: The state of the load.
        sources: What is read.
        added: What is written.
        past: The cache before.
        present: The cache after.
        axes: Of what is written, and of the whole cache.
        dims: Sizes of what the written axes walk.
        whole: Sizes of what the axes of the whole walk besides.
        prefix: Of the operators' names.
    """
    added.role = past.role if past.role == "kv_cache" else present.role
    op_type, code = "ScatterND" if prefix else node.op_type, present.code
    written = builder.tensor(added, axes[0])
    builder.emit(node, "move", dims, sources, [written], code=code, suffix=f"{prefix}:append", op_type=op_type)
    inputs, outputs = [builder.tensor(past, axes[1]), written], [builder.tensor(present, axes[1])]
    suffix = f"{prefix}:present" if prefix else ""
    builder.emit(node, "view", {**dims, **whole}, inputs, outputs, code=code, suffix=suffix, op_type=op_type)
