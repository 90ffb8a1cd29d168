"""The state of a load while it walks a graph: the value behind every edge, and the operators made so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from workloads.errors import WorkloadError
from workloads.formats import FORMATS, arithmetic_format
from workloads.onnx.limits import MAX_AXES, MAX_VALUES, check_shape
from workloads.onnx.nests import (
    broadcast_axes,
    check_nest,
    dim_axes,
    dim_names,
    index_axes,
    index_names,
    plain,
    whole,
)
from workloads.onnx.nodes import Node
from workloads.onnx.values import FP32, Value
from workloads.operator import Axis, Operator, Role, Tensor

__all__ = [
    "Builder",
    "Node",
    "Value",
    "broadcast_axes",
    "dim_axes",
    "dim_names",
    "index_axes",
    "index_names",
    "plain",
    "whole",
]


@dataclass(slots=True)
class Builder:
    """The state of one load: values by edge name, operators in order, fused groups of them, nodes that fold away.

    It changes while the graph is walked; that is its purpose. Handlers read values and call `emit` and `put`. While
    `quiet` is set (every input of the node is constant) nothing is emitted: the node folds away. The body of a control
    flow node has a builder of its own (`inside`), which sees all values.
    """

    opset: int
    values: dict[str, Value] = field(default_factory=dict)
    operators: list[Operator] = field(default_factory=list)
    folded: list[str] = field(default_factory=list)
    groups: list[tuple[str, ...]] = field(default_factory=list)
    converted: set[str] = field(default_factory=set)
    quiet: bool = False
    folder: Path | None = None
    parent: Builder | None = None
    level: int = 0
    mark: str = ""

    def inside(self, *, apart: bool) -> Builder:
        """Give the builder of a body: with the same values, and with the same operators or, apart, with its own."""
        inner = Builder(self.opset, self.values, folder=self.folder, parent=self, level=self.level + 1, mark=self.mark)
        if not apart:
            inner.operators, inner.folded = self.operators, self.folded
            inner.groups, inner.converted = self.groups, self.converted
        return inner

    def value(self, node: Node, index: int) -> Value:
        """Give the value behind an input.

        Raises:
            WorkloadError: The input is missing, or nothing writes it.
        """
        if index < len(node.inputs) and node.inputs[index]:
            value = self.values.get(node.inputs[index])
            if value is not None and value.items is None:
                return value
        raise self._no_tensor(node, index)

    def _no_tensor(self, node: Node, index: int) -> WorkloadError:
        where = f"node {node.name!r} ({node.op_type})"
        if index >= len(node.inputs) or not node.inputs[index]:
            return WorkloadError(f"{where}: input {index} is missing; check the exporter")
        if node.inputs[index] not in self.values:
            return WorkloadError(
                f"{where}: nothing writes its input {node.inputs[index]!r}; "
                "the graph is not in topological order, or it was cut: run onnx.checker on it"
            )
        return WorkloadError(
            f"{where}: its input {node.inputs[index]!r} is a sequence, no tensor; run onnx.checker on the model"
        )

    def inputs(self, node: Node) -> list[Value | None]:
        """Give the values behind all inputs, None where an optional one is left out.

        Raises:
            WorkloadError: Nothing writes one of them.
        """
        return [self.value(node, index) if name else None for index, name in enumerate(node.inputs)]

    def optional(self, node: Node, index: int) -> Value | None:
        """Give the value behind an optional input, or None."""
        if index >= len(node.inputs) or not node.inputs[index]:
            return None
        return self.value(node, index)

    def position(self, node: Node, axis: int, rank: int) -> int:
        """Give the position of an axis that may count from the back.

        Raises:
            WorkloadError: There is no such axis.
        """
        if not -rank <= axis < rank:
            raise WorkloadError(
                f"node {node.name!r} ({node.op_type}): axis {axis} is outside a tensor of {rank} axes; "
                "run onnx.checker on the model"
            )
        return axis % rank

    def known(self, node: Node, index: int, what: str) -> NDArray[Any]:
        """Give the data of an input that must be known before run time.

        Raises:
            WorkloadError: It depends on the data, so the shape does too.
        """
        value = self.value(node, index)
        if value.data is None:
            raise WorkloadError(
                f"node {node.name!r} ({node.op_type}): its {what} ({value.name!r}) depends on run-time data; "
                "export the model with static shapes there, or fold the constant first"
            )
        return value.data

    def put(self, node: Node, shape: Sequence[int], code: int, index: int = 0, **extra: Any) -> Value:
        """Record the value behind an output."""
        sizes = tuple(map(int, shape))
        if len(sizes) > MAX_AXES or prod(sizes) > MAX_VALUES or (sizes and min(sizes) < 0):
            check_shape(sizes, f"node {node.name!r} ({node.op_type})")
        value = Value(node.outputs[index], sizes, code, level=self.level, **extra)
        self.values[value.name] = value
        return value

    def tensor(self, value: Value, axes: Sequence[Axis], touched: float = 1.0) -> Tensor:
        """Describe a value as an operator sees it; a constant is a weight under its stored name and width."""
        if not value.constant or value.computed:
            bits = FORMATS[value.code].bits
            role: Role = "activation" if value.computed else value.role
            name = value.root if value.computed else value.name
            return Tensor(name=name, axes=tuple(axes), role=role, bits=bits, format=value.code, touched=touched)
        if value.chain and not self.quiet:
            self._convert(value)
        return Tensor(
            name=value.root,
            axes=tuple(axes),
            role="weight",
            bits=value.bits,
            format=value.stored,
            overhead_bits=value.overhead_bits,
            touched=touched,
        )

    def _convert(self, value: Value) -> None:
        """Append the operator that turns stored integers into floats at run time, once per stored tensor.

        It runs where its nodes stand: outside a loop, and once, if the loop's body only reads the result.
        """
        if self.parent is not None and value.level < self.level:
            self.parent._convert(value)
            return
        if value.root in self.converted:
            return
        self.converted.add(value.root)
        names, axes = index_names(value.rank), index_axes(value.rank)
        stored = Tensor(
            name=value.root, axes=axes, role="weight", bits=value.bits, format=value.stored,
            overhead_bits=value.overhead_bits,
        )  # fmt: skip
        floats = Tensor(
            name=f"{value.root}:dequantized{self.mark}", axes=axes, bits=FORMATS[value.code].bits, format=value.code
        )  # fmt: skip
        self.operators.append(
            Operator(
                name=f"{value.root}:dequantize{self.mark}",
                op_type="DequantizeLinear",
                kind="convert",
                dims=dict(zip(names, value.shape, strict=True)),
                inputs=(stored,),
                outputs=(floats,),
                nodes=value.chain,
                flops_per_point=2.0,  # subtract the zero point, multiply by the scale
                format=value.code,
            )
        )

    def emit(
        self,
        node: Node,
        kind: str,
        dims: Mapping[str, int],
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        flops: float = 0.0,
        *,
        code: int | None = None,
        suffix: str = "",
        op_type: str = "",
        nodes: tuple[str, ...] | None = None,
    ) -> None:
        """Append an operator that stands for the node."""
        if self.quiet:
            return
        check_nest(node, dims, inputs, outputs, flops)
        self.operators.append(
            Operator(
                name=node.name + suffix,
                op_type=op_type or node.op_type,
                kind=kind,
                dims=dims,
                inputs=tuple(inputs),
                outputs=tuple(outputs),
                nodes=(node.name,) if nodes is None else nodes,
                flops_per_point=float(flops),
                format=FP32 if code is None else code,
            )
        )

    def inner(self, node: Node, part: str, shape: Sequence[int], code: int) -> Value:
        """Name a tensor inside a fused operator: no edge of the graph carries it."""
        return Value(f"{node.name}:{part}", tuple(shape), code)

    def fuse(self, node: Node, start: int) -> None:
        """Say that a node's operators run as one kernel; what other nodes unpack stays theirs.

        Args:
            node: The node.
            start: How many operators there were before it.
        """
        made = self.operators[start:]
        names = tuple(op.name for op in made if not op.nodes or node.name in op.nodes)
        if len(names) > 1:
            self.groups.append(names)

    def pair_format(self, a: Value, b: Value) -> int:
        """Give the arithmetic format of two operands, from the formats they have when they meet."""
        return _pair_format(a.code, b.code)


@lru_cache(maxsize=1024)
def _pair_format(a: int, b: int) -> int:
    return int(arithmetic_format(a, b))
