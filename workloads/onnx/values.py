"""What the loader knows of an edge: shape, format, data where they are small, and where a constant is stored."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from numpy.typing import NDArray

from workloads.formats import FORMATS, format_code
from workloads.operator import Role

__all__ = ["FP32", "INT64", "Value"]

FP32 = format_code("fp32")
INT64 = format_code("int64")

_BITS = tuple([float(entry.bits) for entry in FORMATS])


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
            self.bits = _BITS[self.stored]
        if not self.root:
            self.root = self.name

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)
