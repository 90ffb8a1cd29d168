"""What the loader knows while it walks a graph: the value behind every edge, and the operators made so far."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from workloads.errors import WorkloadError
from workloads.formats import FORMATS, arithmetic_format, format_code
from workloads.onnx.limits import MAX_AXES, MAX_POINTS, MAX_VALUES, check_shape
from workloads.operator import Axis, Operator, Role, Tensor, axis

__all__ = ["Builder", "Node", "Value", "broadcast_axes", "index_names", "plain"]

FP32 = format_code("fp32")
INT64 = format_code("int64")


@dataclass(slots=True)
class Value:
    """The tensor behind one edge.

    Attributes:
        name: Edge name.
        shape: Concrete shape.
        code: Number format that readers see.
        data: The values, where they are small and known before run time.
        constant: Known before run time (a weight, or computed from weights and shapes).
        role: weight, activation or kv_cache.
        root: For a constant: the stored initializer that it comes from.
        bits: Stored width of one value of the root [bit].
        overhead_bits: Scales and zero points per value of the root [bit].
        stored: Number format of the root.
        chain: Nodes that turn the stored integers into floats at run time; empty where nothing is left to do.
        computed: A constant that follows from the sizes of the inputs (positions, masks), so that no file stores it: it
            is made once per size, lies in memory like an activation, and is no parameter.
        opaque: The shape could not be found, because an unknown operator stands before it.
        items: Of a sequence, or of an optional (one or none): its tensors. None: this is a tensor.
        level: How many bodies deep the node or initializer stands that makes it; by default in the innermost.
    """

    name: str
    shape: tuple[int, ...]
    code: int = FP32
    data: NDArray[Any] | None = None
    constant: bool = False
    role: Role = "activation"
    root: str = ""
    bits: float = 0.0
    overhead_bits: float = 0.0
    stored: int = -1
    chain: tuple[str, ...] = ()
    computed: bool = False
    opaque: bool = False
    items: tuple[Value, ...] | None = None
    level: int = 1 << 30

    def __post_init__(self) -> None:
        if self.stored < 0:
            self.stored = self.code
        if not self.bits:
            self.bits = float(FORMATS[self.stored].bits)
        if not self.root:
            self.root = self.name

    @property
    def size(self) -> int:
        """Number of values."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)


@dataclass(frozen=True, slots=True)
class Node:
    """One ONNX node with a name that is unique in the graph and its attributes as Python values."""

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def int(self, name: str, default: int = 0) -> int:
        """Give an integer attribute."""
        return int(self.attributes.get(name, default))

    def ints(self, name: str, default: Sequence[builtins.int] = ()) -> tuple[builtins.int, ...]:
        """Give an integer-list attribute."""
        return tuple(int(item) for item in self.attributes.get(name, default))

    def float(self, name: str, default: builtins.float = 0.0) -> builtins.float:
        """Give a floating-point attribute."""
        return float(self.attributes.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        """Give a string attribute."""
        value = self.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def has(self, index: builtins.int) -> bool:
        """Say whether an optional output is wanted."""
        return index < len(self.outputs) and bool(self.outputs[index])


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
        if index >= len(node.inputs) or not node.inputs[index]:
            raise WorkloadError(f"node {node.name!r} ({node.op_type}): input {index} is missing; check the exporter")
        try:
            value = self.values[node.inputs[index]]
        except KeyError:
            raise WorkloadError(
                f"node {node.name!r} ({node.op_type}): nothing writes its input {node.inputs[index]!r}; "
                "the graph is not in topological order, or it was cut: run onnx.checker on it"
            ) from None
        if value.items is not None:
            raise WorkloadError(
                f"node {node.name!r} ({node.op_type}): its input {node.inputs[index]!r} is a sequence, no tensor; "
                "run onnx.checker on the model"
            )
        return value

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
        value = Value(node.outputs[index], tuple(map(int, shape)), code, level=self.level, **extra)
        if len(value.shape) > MAX_AXES or min(value.shape, default=0) < 0 or prod(value.shape) > MAX_VALUES:
            check_shape(value.shape, f"node {node.name!r} ({node.op_type})")
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
        names = index_names(value.rank)
        axes = tuple(plain(name) for name in names)
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
        _check_nest(node, dims, inputs, outputs, flops)
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
        return int(arithmetic_format(a.code, b.code))


def _check_nest(
    node: Node, dims: Mapping[str, int], inputs: Sequence[Tensor], outputs: Sequence[Tensor], flops: float
) -> None:
    """Refuse a loop nest that no tensors can have, or whose footprints cannot be counted."""
    if prod(dims.values()) > MAX_POINTS or min(dims.values(), default=0) < 0 or not 0 <= flops <= MAX_POINTS:
        raise WorkloadError(
            f"node {node.name!r} ({node.op_type}): the impossible loop nest {dict(dims)} of {flops:.3g} FLOPs per "
            "point; the file is damaged"
        )
    for tensor in (*inputs, *outputs):
        for item in tensor.axes:
            terms, extent = item.terms, item.extent
            if extent is None and len(terms) == 1 and terms[0][1] in dims:
                continue  # nearly every axis
            if any(name not in dims for _, name in terms) or (extent is not None and extent < 0):
                raise WorkloadError(
                    f"node {node.name!r} ({node.op_type}): {tensor.name!r} has an axis that is none of the loop "
                    "nest's; its inputs have ranks that do not fit the op type: run onnx.checker on the model"
                )
            if len(terms) > 1 and extent is not None:  # a window: counted once, and kept
                try:
                    item.footprint(dims)
                except WorkloadError as error:
                    raise WorkloadError(f"node {node.name!r} ({node.op_type}): {error}") from None


@lru_cache(maxsize=4096)
def plain(name: str) -> Axis:
    """Give the axis that one dim walks."""
    return axis(name)


@lru_cache(maxsize=64)
def index_names(rank: int) -> tuple[str, ...]:
    """Name the dims of an element-wise nest: i0, i1, ..."""
    return tuple(f"i{position}" for position in range(rank))


def broadcast_axes(shape: Sequence[int], names: Sequence[str], sizes: Sequence[int]) -> tuple[Axis, ...]:
    """Give the axes of an operand that broadcasts against a nest of the given dims (aligned at the right)."""
    shift = len(names) - len(shape)
    return tuple(
        plain(names[shift + position]) if extent == sizes[shift + position] else axis(extent=extent)
        for position, extent in enumerate(shape)
    )
