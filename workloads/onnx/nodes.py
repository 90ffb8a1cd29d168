"""One ONNX node, with its attributes as Python values."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workloads.quick import quick

__all__ = ["Node"]


@quick
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
        return tuple(map(builtins.int, self.attributes.get(name, default)))

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
